"""The papers' tables and figures: one package per paper, one module per printed result."""
