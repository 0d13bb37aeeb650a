"""Solvers: from a conic or linear program to a SolveReport; none changes silently to another."""
