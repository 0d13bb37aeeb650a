"""Order "1+cuts": when Shor's relaxation cannot decide a label, add bounds and products of facts until it can.

Rounds of: solve, keep the proven bound, add the products that the moment matrix violates most. Measured on seven labels
of the published network that order 1 leaves open (L-infinity 0.05 and 0.1): zonotope bounds and the elimination of
stable neurons lower the bound by 0.01 to 0.12, the first 500 products by 0.06 to 0.30, the next 500 by 0.01 to 0.05.
Tightening all h in turn by linear programs (16 s a round) changed it by at most 0.02, so that is not part of this.
"""

import time
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from tightrope.problems.robustness import RobustnessModel
from tightrope.propagation.fixpoint import fixpoint_bounds, inductive
from tightrope.question import Limits
from tightrope.regions import Ball
from tightrope.relaxations.cuts import NO_PAIRS, cut_model
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint, Iterate
from tightrope.solvers.report import SolveReport
from tightrope.solvers.sound import SoundBound, sound_bound

LIMITS = Limits(1e-4)
STORED = 1e-7  # by how much stored bounds are wider than computed ones, relative


@dataclass(frozen=True, eq=False)
class Tightened:
    """The best round of a target.

    Attributes
    ----------
    bound
        Proven, or None.
    report
        The solve behind the bound.
    multipliers
        By name of the constraint group, and "pairs" (r, 2): the rows of relaxations.cuts.CutModel.core_facts and .facts
        of which products were added.
    values
        The proven bound after each round, from the bounds alone on.
    seconds
        The time of each round.
    """

    bound: SoundBound | None
    report: SolveReport
    multipliers: dict[str, np.ndarray]
    values: tuple[float, ...]
    seconds: tuple[float, ...]


class Tightening:
    """Proofs of order "1+cuts" for the targets of one Robustness Model over a ball.

    Parameters
    ----------
    model
        The model of order 1.
    rounds
        How often products are added, at most.
    count
        Products added in each round.
    """

    def __init__(self, model: RobustnessModel, *, rounds: int = 3, count: int = 500):
        ball = cast(Ball, model.region)  # other regions have no fixpoint bounds, and are refused by name there
        known = fixpoint_bounds(model.network, ball)
        self.bounds = inductive(model.network, known.inputs, known.h.outward(STORED))
        self.base = cut_model(model, self.bounds)
        self.rounds, self.count = rounds, count

    def __call__(self, target: int, limits: Limits = LIMITS) -> Tightened:
        """Solve for one target, stopping at the first bound below 0 or where another round promises nothing."""
        began = time.perf_counter()
        model, best, values, seconds = self.base, None, list[float](), list[float]()
        for round_ in range(self.rounds + 1):
            left = None if limits.time is None else limits.time - (time.perf_counter() - began)
            if left is not None and left <= 0 and best is not None:
                break
            started = time.perf_counter()
            data = ArrowData(shor_constraints(model))
            objective = objective_matrix(model.problem(target).objective)
            now = limits if left is None else replace(limits, time=max(left, 1e-3))
            report, warm = InteriorPoint(data).solve(objective, **now.options)
            bound = None if report.multipliers is None else sound_bound(data, objective, report.multipliers)
            value = np.inf if bound is None else bound.value
            if best is None or value < min(values):
                multipliers = {} if bound is None else data.constraints.split(bound.multipliers)
                best = Tightened(bound, report, {**multipliers, "pairs": model.pairs}, (), ())
            values.append(value)
            seconds.append(time.perf_counter() - started)
            if value < 0 or round_ == self.rounds or not np.isfinite(value) or _hopeless(values, self.rounds):
                break
            rows = _rows(data, warm)
            pairs = model.violated(rows, self.count) if rows is not None else NO_PAIRS
            if not len(pairs):
                break
            model = model.with_pairs(np.concatenate([model.pairs, pairs]))
        return replace(cast(Tightened, best), values=tuple(values), seconds=tuple(seconds))


def _hopeless(values: list[float], rounds: int) -> bool:
    """Gains shrink from round to round: stop when the last gain, repeated, would not reach 0."""
    if len(values) < 2:
        return False
    return values[-1] - (values[-2] - values[-1]) * (rounds + 1 - len(values)) > 0


def _rows(data: ArrowData, point: Iterate) -> np.ndarray | None:
    """Return the moment matrix's rows for 1 and z (q, N), in the order of the coordinates; None if z is in the tip."""
    q = data.constraints.blocks["z"].stop
    place = np.empty(data.constraints.size, int)
    place[data.order] = np.arange(len(place))
    head = place[:q]
    if (head >= data.q).any():  # one neuron, no perturbation
        return None
    X = np.hstack([point.X.cc, point.X.cd])
    return X[head][:, place] / point.X.cc[head[0], head[0]]
