"""Where Shor's relaxation does not decide a label, or is too large: rounds of solves until one does.

**Cuts**, order "1+cuts". Rounds of: solve, keep the proven bound, add the products that the moment matrix violates
most. Measured on seven labels of the published network that order 1 leaves open (L-infinity 0.05 and 0.1): zonotope
bounds and the elimination of stable neurons lower the bound by 0.01 to 0.12, the first 500 products by 0.06 to 0.30,
the next 500 by 0.01 to 0.05. Tightening all h in turn by linear programs (16 s a round) changed it by at most 0.02, so
that is not part of this.

**Reweighting**, order 1 over a box of many inputs, for stacked ReLU layers. The relaxation has the variables and
constraints of order 1 without the neurons whose sign is known (relaxations.cuts). It is solved over an ellipsoid around
the box (relaxations.around), a tenth of the work, and what comes out is evaluated on the box. All targets share the
first ellipsoid, so that only the objective changes and each solve starts from the one before; a target that stays open
gets ellipsoids of its own. Their weights are the best ones for the solution before, lambda_j = sqrt(<R_j R_j', X>), and
from the third on the geometric mean of these and the old ones: without the mean the bounds go up and down (NOR-MLP-B at
0.05, image 1, label 1: 3.29, 0.79, 0.87, 1.08, ...), with it they come down to the box's own optimum, 0.60 (0.70, 0.62,
0.61, ...).

**Both.** What stays open goes on over ellipsoids with cuts: 500 products take 1.1 to 1.5 s a label of NOR-MLP-B at
0.05, 1,000 another 3; the box takes 4 to 24 s (images 1 and 19). Of the 13 labels that order 1 leaves open on images 1,
13, 19, 21 and 27, 9 are certified.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, cast

import numpy as np

from tightrope.problems.robustness import RobustnessModel
from tightrope.propagation.fixpoint import fixpoint_bounds, inductive
from tightrope.question import DEFAULT, Limits
from tightrope.regions import Ball
from tightrope.relaxations.around import BOX, Around, best_weights, expected_weights
from tightrope.relaxations.cuts import NO_PAIRS, CutModel, cut_model
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint, Iterate
from tightrope.solvers.report import SolveReport, Status
from tightrope.solvers.sound import SoundBound, sound_bound

LIMITS = Limits(1e-4)
STORED = 1e-7  # by how much stored bounds are wider than computed ones, relative
#: Facts of order 1+bounds that cost as much as they are many and move bounds by little.
BEYOND = ("z (u - z) >= 0", "u (h - l) - (u - l) z >= 0")
#: Ellipsoids of a target beside the shared one, at most; and the relative gap of a solve.
OWN, TOLERANCE = 3, 5e-3
#: Products that a round over an ellipsoid adds, and such rounds after the first one, at most.
CUTS, MORE_CUTS = 500, 1
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


def _rows(data: ArrowData, point: Iterate | None) -> np.ndarray | None:
    """Return the moment matrix's rows for 1 and z (q, N), in the order of the coordinates.

    None without a point, or if z is in the tip.
    """
    q = data.constraints.blocks["z"].stop
    place = np.empty(data.constraints.size, int)
    place[data.order] = np.arange(len(place))
    head = place[:q]
    if point is None or (head >= data.q).any():  # one neuron, no perturbation
        return None
    X = np.hstack([point.X.cc, point.X.cd])
    return X[head][:, place] / point.X.cc[head[0], head[0]]


def reweightable(base: CutModel) -> bool:
    """Whether a model is over a box that some unstable neuron sees."""
    return base.model.coordinates.kind == "box" and bool(base.model.coordinates.V.any()) and len(base.unstable) > 0


class _Solver:
    """The relaxation over one ellipsoid, with products of these pairs of facts."""

    def __init__(self, base: CutModel, weights: np.ndarray, pairs: np.ndarray = NO_PAIRS):
        self.around = Around.box(base.model, weights)
        model = cut_model(self.around.model, base.bounds, pairs)
        self.model = replace(model, constraints=tuple(c for c in model.constraints if c.name not in BEYOND))
        self.data = ArrowData(shor_constraints(self.model), core=("z",))
        self._solver = InteriorPoint(self.data)
        self.last: Iterate | None = None

    def __call__(self, target: int, limits: Limits, sign_only: bool) -> SolveReport:
        """Solve for a target, from the solution of the one before if there is one."""
        objective = objective_matrix(self.model.problem(target).objective)
        solve = partial(self._solver.solve, objective, sign_only=sign_only, **limits.options)
        report, last = solve(start=self.last)
        if self.last is not None and report.status in (Status.NUMERICAL, Status.FAILED):  # too close to the boundary
            report, last = solve()
        self.last = last if report.multipliers is not None else None
        return report


@dataclass(frozen=True, eq=False)
class _After:
    """What a round leaves for the next: its model, rows of its moment matrix, the next weights (n,), and its bound."""

    model: CutModel
    rows: np.ndarray | None
    weights: np.ndarray
    value: float

    def pairs(self, count: int) -> np.ndarray:
        """Return the products so far and the `count` that are violated most."""
        new = NO_PAIRS if self.rows is None or not count else self.model.violated(self.rows, count)
        return np.concatenate([self.model.pairs, new])


class Reweighting:
    """Proofs of order 1, and then with cuts, for the targets of one model over a box.

    The model is :attr:`Tightening.base`, which is :func:`reweightable` and has bounds on h; the shared ellipsoid is
    made for the targets. Bounds and multipliers are those of the box.
    """

    def __init__(self, base: CutModel, targets: Sequence[int]):
        self.base = base
        self.data = ArrowData(shor_constraints(base), core=("z",))
        self._shared = _Solver(base, expected_weights(base.model, base.bounds, targets))
        self._after: dict[int, _After] = {}

    def __call__(self, target: int, limits: Limits = DEFAULT) -> Tightened:
        """Solve for one target, stopping at the first bound below 0 or where another ellipsoid promises nothing."""
        self._after.pop(target, None)
        return best_round(self._rounds(target, limits, 0), OWN, limits, _hopeless)

    def cut(self, target: int, limits: Limits = DEFAULT) -> Tightened:
        """Go on where the call for this target ended, with the products that its solution violates most."""
        known = self._after[target].value if target in self._after else np.inf
        return best_round(self._rounds(target, limits, CUTS), MORE_CUTS, limits, lambda v: _hopeless([known, *v]))

    def _rounds(self, target: int, limits: Limits, count: int) -> Iterator[Round]:
        """Solve over the shared ellipsoid, then over those that solutions ask for, each with `count` products more."""
        began, objective = time.perf_counter(), objective_matrix(self.base.problem(target).objective)
        while True:
            after = self._after.get(target)
            solver = self._shared if after is None else _Solver(self.base, after.weights, after.pairs(count))
            now = replace(limits.after(time.perf_counter() - began), tolerance=TOLERANCE)
            report = solver(target, now, sign_only=after is None)
            if report.multipliers is None:
                yield report, None, {}
                return
            pairs = solver.model.pairs
            data = self.data
            if len(pairs):
                data = ArrowData(shor_constraints(self.base.with_pairs(pairs)), core=("z",))
            named = solver.around.of_box(solver.data.constraints.split(report.multipliers))
            y = np.zeros(len(data.constraints.equality))  # 0 for the groups that the ellipsoid's relaxation leaves out
            for name, values in named.items():
                y[data.constraints.groups[name]] = values
            bound = sound_bound(data, objective, y)
            if bound is not None and report.core is not None and not bound.value < 0:
                R = data.adjoint(bound.multipliers).plus(data.arrow(objective)).cd
                weights = best_weights(R, report.core)
                weights = weights if after is None else np.sqrt(weights * named[BOX])
                self._after[target] = _After(solver.model, _rows(solver.data, solver.last), weights, bound.value)
            yield report, bound, {} if bound is None else {**data.constraints.split(bound.multipliers), "pairs": pairs}
            if bound is None or report.core is None:
                return


def _hopeless(values: Sequence[float]) -> bool:
    """Gains shrink by more than half from one ellipsoid to the next."""
    return len(values) > 1 and values[-1] > (values[-2] - values[-1]) / 2
