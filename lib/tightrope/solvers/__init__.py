"""Solvers: from a conic or linear program to a SolveReport. Each states its version; none changes silently to another."""
