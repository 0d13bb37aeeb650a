"""Bounds pushed through a network: intervals, zonotopes and what contains a fixpoint."""
