"""Answers to questions, by orchestrating attacks, relaxations, solvers and certificates."""
