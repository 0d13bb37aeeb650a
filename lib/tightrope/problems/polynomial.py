"""A polynomial problem: maximise a sum of products of affine forms subject to such sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tightrope.semialgebraic import Constraint, Products, Space


class Constrained(Protocol):
    """What has constraints to relax: a polynomial problem, or a model that several problems share."""

    @property
    def space(self) -> Space:
        """The variables."""

    @property
    def constraints(self) -> Sequence[Constraint]:
        """What holds of every point."""

    @property
    def squared_norm(self) -> float:
        """A bound on the squared length of homogeneous coordinates."""

    @property
    def center(self) -> np.ndarray:
        """(N,) a feasible point."""

    @property
    def spread(self) -> np.ndarray:
        """(N,) variances around it."""


@dataclass(frozen=True, eq=False)
class PolynomialProblem:
    """max objective(v) subject to constraints(v), v in homogeneous coordinates; the objective is one function.

    The multipliers of a certificate go by the names of the constraints' groups. `squared_norm` R^2 >= ||v||^2, the
    leading 1 included, for every feasible v is the trace bound that turns a slightly indefinite dual matrix into a
    sound bound.
    """

    space: Space
    objective: Products
    constraints: tuple[Constraint, ...]
    squared_norm: float
    center: np.ndarray
    spread: np.ndarray

    def violations(self, v: np.ndarray) -> dict[str, float]:
        """The largest violation of each group of constraints at points v (..., N); all 0 at feasible points."""
        return {c.name: float(c.violation(v).max(initial=0.0)) for c in self.constraints}
