"""The papers' tables and figures: printed numbers, solved cases, comparison, and the notebooks that run them.

One module per paper (`chen2021_mondeq`), with one function per printed result; the rest is common machinery.
"""
