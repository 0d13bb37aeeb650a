"""Order "1+cuts": when Shor's relaxation cannot decide a label, add bounds and products of facts until it can.

Rounds of: solve, keep the proven bound, add the products that the moment matrix violates most. Measured on seven labels
of the published network that order 1 leaves open (L-infinity 0.05 and 0.1): zonotope bounds and the elimination of
stable neurons lower the bound by 0.01 to 0.12, the first 500 products by 0.06 to 0.30, the next 500 by 0.01 to 0.05.
Tightening all h in turn by linear programs (16 s a round) changed it by at most 0.02, so that is not part of this.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

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


#: The solve of a round, what it proves, and the multipliers of that by group.
Round: TypeAlias = tuple[SolveReport, SoundBound | None, dict[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Tightened:
    """The best round of a target: a proven bound, or None, and the solve behind it.

    The `multipliers` go by name of the constraint group, and "pairs" (r, 2): the rows of
    relaxations.cuts.CutModel.core_facts and .facts of which products were added. `values` and `seconds` are those of
    each round, from the bounds alone on.
    """

    bound: SoundBound | None
    report: SolveReport
    multipliers: dict[str, np.ndarray]
    values: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()


def best_round(
    rounds: Iterator[Round], most: int, limits: Limits, hopeless: Callable[[list[float]], bool]
) -> Tightened:
    """Return the best of 1 + `most` rounds; the first bound below 0 is the last, or where another promises nothing."""
    began, best, values, ends = time.perf_counter(), None, list[float](), list[float]()
    for report, bound, multipliers in itertools.islice(rounds, 1 + most):
        value = np.inf if bound is None else bound.value
        if best is None or value < min(values):
            best = Tightened(bound, report, multipliers)
        values.append(value)
        ends.append(time.perf_counter() - began)
        if value < 0 or not np.isfinite(value) or hopeless(values) or ends[-1] >= (limits.time or np.inf):
            break
    return replace(cast(Tightened, best), values=tuple(values), seconds=tuple(np.diff(ends, prepend=0.0).tolist()))


class Tightening:
    """Proofs of order "1+cuts" for the targets of one Robustness Model over a ball: `count` products in each round."""

    def __init__(self, model: RobustnessModel, *, rounds: int = 3, count: int = 500):
        ball = cast(Ball, model.region)  # other regions have no fixpoint bounds, and are refused by name there
        known = fixpoint_bounds(model.network, ball)
        self.bounds = inductive(model.network, known.inputs, known.h.outward(STORED))
        self.base = cut_model(model, self.bounds)
        self.rounds, self.count = rounds, count

    def __call__(self, target: int, limits: Limits = LIMITS) -> Tightened:
        """Solve for one target, stopping at the first bound below 0 or where another round promises nothing."""
        return best_round(self._rounds(target, limits), self.rounds, limits, self._hopeless)

    def _rounds(self, target: int, limits: Limits) -> Iterator[Round]:
        """Solve, and add the products that are violated most, as long as there are any."""
        began, model = time.perf_counter(), self.base
        while True:
            data = ArrowData(shor_constraints(model))
            objective = objective_matrix(model.problem(target).objective)
            report, warm = InteriorPoint(data).solve(objective, **limits.after(time.perf_counter() - began).options)
            bound = None if report.multipliers is None else sound_bound(data, objective, report.multipliers)
            multipliers = {} if bound is None else data.constraints.split(bound.multipliers)
            yield report, bound, {**multipliers, "pairs": model.pairs}
            rows = _rows(data, warm)
            pairs = NO_PAIRS if rows is None else model.violated(rows, self.count)
            if not len(pairs):
                return
            model = model.with_pairs(np.concatenate([model.pairs, pairs]))

    def _hopeless(self, values: list[float]) -> bool:
        """Gains shrink from round to round: stop when the last gain, repeated, would not reach 0."""
        return len(values) > 1 and values[-1] - (values[-2] - values[-1]) * (self.rounds + 1 - len(values)) > 0


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
