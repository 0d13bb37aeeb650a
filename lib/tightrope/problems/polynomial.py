"""A polynomial problem: maximise a sum of products of affine forms subject to such sums."""

from dataclasses import dataclass

import numpy as np

from tightrope.semialgebraic import Constraint, Products, Space


@dataclass(frozen=True, eq=False)
class Constrained:
    """Constraints on v in homogeneous coordinates: those of one polynomial problem, or of several that share them.

    The multipliers of a certificate go by the names of the constraints' groups. `squared_norm` R^2 >= ||v||^2, the
    leading 1 included, for every feasible v is the trace bound that turns a slightly indefinite dual matrix into a
    sound bound; `center` (N,) is a feasible point, with the variances `spread` (N,) around it.
    """

    space: Space
    constraints: tuple[Constraint, ...]
    squared_norm: float
    center: np.ndarray
    spread: np.ndarray

    def maximise(self, objective: Products) -> "PolynomialProblem":
        """Return max objective(v) subject to these constraints; the objective is one function."""
        return PolynomialProblem(self.space, self.constraints, self.squared_norm, self.center, self.spread, objective)


@dataclass(frozen=True, eq=False)
class PolynomialProblem(Constrained):
    """max objective(v) subject to constraints(v); the objective is one function."""

    objective: Products

    def violations(self, v: np.ndarray) -> dict[str, float]:
        """The largest violation of each group of constraints at points v (..., N); all 0 at feasible points."""
        return {c.name: float(c.violation(v).max(initial=0.0)) for c in self.constraints}
