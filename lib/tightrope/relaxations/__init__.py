"""Relaxations: from a polynomial problem to a conic or linear program."""
