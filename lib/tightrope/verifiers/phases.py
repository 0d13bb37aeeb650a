"""Branch and bound on the ReLU phases of a monDEQ: an exact answer where a relaxation leaves a label open.

The root is Shor's relaxation with bounds ("1+bounds", relaxations.cuts); a node is the same relaxation with the signs
of some h_i. Bounds are not propagated in nodes, which would save next to nothing, so that a leaf is its signs and its
multipliers: l_i = 0 where h_i >= 0 is assumed, u_i = 0 where h_i <= 0, and the root's bounds elsewhere. Once every sign
is known the network is affine, and the relaxation of a ball of norm 1, 2 or infinity, clipped or not, is exact: then
the tree ends with an answer.

**Ellipsoids.** An ellipsoid around a box of many inputs (relaxations.around) takes a tenth of the time. So a node
takes the ratios of a node above it, and is solved with all multipliers only at every fourth level and where that can be
expected to close it. That costs few nodes and saves half of the time: on the two hardest images of Table 2 of
chen2021-mondeq at L-infinity 0.05 there are 23 and 27 nodes, against 17 and 27 with all multipliers at each of them.
What was solved over the ellipsoid is where a solve with all multipliers starts (`InteriorPoint.central`): 10 iterations
on average on these images, 17 from a cold start.
"""

import heapq
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

import tightrope
from tightrope import attacks
from tightrope.attacks import Attack
from tightrope.errors import InputError, RegionError
from tightrope.outward import at_least, at_most
from tightrope.problems.robustness import RobustnessModel, robustness_model
from tightrope.propagation.fixpoint import Box, fixpoint_bounds, inductive
from tightrope.question import DEFAULT, Limits, Question, Verdict
from tightrope.regions import INFINITY, Ball, Region
from tightrope.relaxations.around import BOX, Around
from tightrope.relaxations.cuts import CutModel, cut_model
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint, Iterate
from tightrope.solvers.report import SolveReport, Status, end_if
from tightrope.solvers.sound import sound_bound
from tightrope.threads import one_blas_thread
from tightrope.verifiers.robustness import Progress
from tightrope.verifiers.tightening import STORED

#: Seconds of processor time for the tree of one label, where nothing else is said.
PATIENCE = 60.0
#: Levels of the tree from one solve with all multipliers of the inputs to the next.
LEVELS = 4
#: Relative gap of a node, and of one without unstable neurons, where nothing is left to split.
TOLERANCE, FINEST = 5e-3, 1e-8
#: Most iterations of a solve, and of one from a warm start before it is tried from a cold one.
COLD, WARM = 80, 16


@dataclass(frozen=True, eq=False)
class Leaf:
    """A part of the region, by the signs of some preactivations, and the proof of its bound of F_target - F_label.

    `signs` (p,) int8 are 1 where h_i >= 0 is assumed, -1 where h_i <= 0, else 0; the `multipliers` go by the name of a
    fact of `cut_model` with the leaf's own bounds.
    """

    signs: np.ndarray
    bound: float
    multipliers: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Tree:
    """What branch and bound found of max F_target - F_label: CERTIFIED, FALSIFIED with the attack, or UNKNOWN.

    `bound` is a proven upper bound, not tightened beyond its sign; `margin` the largest margin that was met, -inf if
    none was looked at; `invariant` (p,) each l <= h <= u on the whole region. The `leaves` are the parts that are
    closed; they cover the region if the verdict is CERTIFIED. So many `nodes` were bounded, of which the `whole` ones
    were solved with all multipliers of the inputs; `iterations` and `seconds` are those of all solves.
    """

    verdict: Verdict
    bound: float
    margin: float
    attack: Attack | None
    invariant: Box
    leaves: tuple[Leaf, ...]
    nodes: int
    whole: int
    iterations: int
    seconds: float
    reason: str = ""

    @property
    def signs(self) -> np.ndarray:
        """The signs of the leaves, (leaves, p) int8."""
        return np.array([leaf.signs for leaf in self.leaves], np.int8).reshape(-1, len(self.invariant.lower))

    @property
    def multipliers(self) -> list[dict[str, np.ndarray]]:
        """The multipliers of the leaves by the name of a fact, in the order of `signs`."""
        return [leaf.multipliers for leaf in self.leaves]


def by_phases(progress: Progress) -> None:
    """Decide the open targets one after the other, each by its tree; other regions are left open, with the reason."""
    question, limits = progress.question, progress.limits
    try:
        grow = Phases(robustness_model(question.mondeq, question.region, question.label))
    except RegionError as error:
        progress.because(str(error))
        return
    for target in list(progress.open):
        if question.everything and progress.attacks:
            progress.end("not pursued, as another label is reached")
            return
        old = progress.decisions[target]
        known = None if old.dual is None or old.dual.bounds is not None else old.dual.multipliers
        tree = grow(target, replace(limits, time=limits.time or PATIENCE), multipliers=known)
        better = old.bound is None or tree.bound < old.bound
        bound, dual = (tree.bound, None) if better else (old.bound, old.dual)
        margins = [margin for margin in (old.attack_margin, tree.margin) if margin is not None and np.isfinite(margin)]
        new = replace(old, verdict=tree.verdict, bound=bound, dual=dual, gap=None, reason=tree.reason, tree=tree)
        new = replace(new, attack_margin=max(margins, default=None), iterations=old.iterations + tree.iterations)
        new = replace(new, method=progress.method, solver=f"phases {tightrope.__version__}")
        progress.decisions[target] = replace(new, seconds=old.seconds + tree.seconds)
        if tree.attack is not None:
            progress.reached(tree.attack, "phases")


def require_phases(region: Region) -> Ball:
    """Return the region if it is one that trees are for: a ball of norm 1, 2 or infinity; else a RegionError."""
    ball = region.require_ball("branch and bound on phases is")
    if ball.norm not in (1.0, 2.0, INFINITY):
        raise RegionError(f"region: branch and bound on phases is for the norms 1, 2 and inf, not for L{ball.norm:g}.")
    return ball


class Phases:
    """Trees for the targets of one Robustness Model over a ball of norm 1, 2 or infinity, clipped or not."""

    def __init__(self, model: RobustnessModel):
        self.model, self.region = model, require_phases(model.region)
        known = fixpoint_bounds(model.network, self.region)
        self.invariant = inductive(model.network, known.inputs, known.h.outward(STORED))

    @one_blas_thread()
    def __call__(
        self,
        target: int,
        limits: Limits = DEFAULT,
        *,
        multipliers: Mapping[str, np.ndarray] | None = None,
        nodes: int | None = None,
        ellipsoids: bool = True,
    ) -> Tree:
        """Decide one target.

        The time of `limits` is processor time, which does not depend on what else runs; at the limit, or with so many
        `nodes`, the verdict is UNKNOWN, with the proven bound and the largest margin so far. The root starts from the
        `multipliers` of order 1 by group, where they are known. Without `ellipsoids`, which save solves with all
        multipliers, every node is solved anew.
        """
        if nodes is not None and nodes < 1:
            raise InputError(f"nodes: got {nodes}; give a positive number.")
        return _Search(self, target, limits, nodes, ellipsoids).run(multipliers)


@dataclass(frozen=True, eq=False)
class _Node:
    """A part that was bounded; an open one has the neuron to split, and the ellipsoid that its children start from.

    `gain` is by how much a solve with all multipliers was better than the ellipsoid's, here or above.
    """

    leaf: Leaf
    neuron: int | None
    around: Around | None
    gain: float


class _Search:
    """The tree of one target while it grows."""

    def __init__(self, phases: Phases, target: int, limits: Limits, most: int | None, ellipsoids: bool):
        self.ellipsoids = ellipsoids
        self.model, self.region, self.invariant = phases.model, phases.region, phases.invariant
        self.target, self.limits, self.most = target, limits, most
        self.began, self.began_cpu = time.perf_counter(), time.process_time()
        self.nodes = self.whole = self.iterations = 0
        self.margin = -np.inf
        self.attack: Attack | None = None
        self.leaves: list[Leaf] = []
        self.stuck: list[Leaf] = []
        self.open: list[tuple[float, int, _Node]] = []
        self._number = itertools.count()

    def run(self, multipliers: Mapping[str, np.ndarray] | None) -> Tree:
        signs = np.zeros(self.model.network.width, np.int8)
        self.add(self.solve(signs, np.inf, self.around(multipliers or {}), 0.0))
        reason = ""
        while self.open and self.attack is None and not (reason := self.limit()):
            worst = heapq.heappop(self.open)[2]
            for sign in (1, -1):
                signs = worst.leaf.signs.copy()
                signs[worst.neuron] = sign
                self.add(self.solve(signs, worst.leaf.bound, worst.around, worst.gain))
        if self.stuck and not reason:
            reason = "with all phases known the relaxation's bound is not below 0"
        bound = max(leaf.bound for leaf in (*self.leaves, *self.stuck, *(node.leaf for _, _, node in self.open)))
        verdict = Verdict.CERTIFIED
        if self.attack is not None:
            verdict, reason = Verdict.FALSIFIED, ""
        elif reason:
            verdict = Verdict.UNKNOWN
            reason = f"branch and bound: {reason}; the largest margin is in [{at_least(self.margin)}, {at_most(bound)}]"
        work = self.nodes, self.whole, self.iterations, time.perf_counter() - self.began
        return Tree(verdict, bound, self.margin, self.attack, self.invariant, tuple(self.leaves), *work, reason)

    def add(self, node: _Node) -> None:
        """Put a node where it belongs."""
        if node.leaf.bound < 0:
            self.leaves.append(node.leaf)
        elif node.neuron is None:
            self.stuck.append(node.leaf)
        else:
            heapq.heappush(self.open, (-node.leaf.bound, next(self._number), node))

    def spent(self) -> float:
        """Return the seconds of processor time so far."""
        return time.process_time() - self.began_cpu

    def limit(self) -> str:
        """Return which limit is reached, or nothing."""
        if self.limits.time is not None and self.spent() >= self.limits.time:
            return f"time limit of {self.limits.time:g} s"
        return "" if self.most is None or self.nodes < self.most else f"limit of {self.most} nodes"

    def solve(self, signs: np.ndarray, known: float, around: Around | None, gain: float) -> _Node:
        """Bound one part of which a bound is known already, over the ellipsoid first if there is one."""
        end_if(self.limits.stop)
        self.nodes += 1
        low, high = self.invariant.lower, self.invariant.upper
        lower, upper = np.where(signs > 0, np.maximum(low, 0), low), np.where(signs < 0, np.minimum(high, 0), high)
        bounds, part = Box(lower, upper), None
        if around is not None:
            part = _Relaxation(self, cut_model(around.model, bounds))
            report = part.bound()
            later = np.count_nonzero(signs) % LEVELS and part.value > gain and len(part.model.unstable)
            leaf = Leaf(signs, min(part.value, known), around.of_box(part.multipliers))
            if part.value < 0 or later:
                return _Node(leaf, self.neuron(leaf, part.model, report), around, gain)
            known = leaf.bound
        self.whole += 1
        whole = _Relaxation(self, cut_model(self.model, bounds))
        report = whole.bound(None if part is None or around is None else part.towards(whole, around))
        leaf = Leaf(signs, min(whole.value, known), whole.multipliers)
        gain = known - whole.value if around is not None else 0.0
        return _Node(leaf, self.neuron(leaf, whole.model, report), self.around(whole.multipliers), gain)

    def neuron(self, leaf: Leaf, model: CutModel, report: SolveReport) -> int | None:
        """Return the neuron to split, if there is any, after a look at the input of the relaxed solution."""
        neuron = None if leaf.bound < 0 or not len(model.unstable) else int(model.unstable[0])
        if leaf.bound < 0 or report.mean is None:
            return neuron
        network, coords = model.model.network, model.model.coordinates
        full = model.lift @ report.mean
        z, d = (full[model.model.space.slices[name]] for name in ("z", "d"))
        self.look(input_at(model.model, d))
        if neuron is None or report.multipliers is None:
            return neuron
        # The neuron whose phase is least decided, weighted by what its complementarity costs the bound.
        h = network.W @ z + coords.V @ d + network.U @ coords.origin + network.u
        slack = np.minimum(np.abs(z), np.abs(z - h))[model.unstable]
        t = leaf.multipliers.get("z (z - h) = 0", np.ones(len(slack)))
        return int(model.unstable[np.argmax(np.abs(t) * slack**2)])

    def around(self, multipliers: Mapping[str, np.ndarray]) -> Around | None:
        """Return the ellipsoid of these multipliers around a box of more inputs than neurons."""
        weights = multipliers.get(BOX, np.zeros(0))
        worthwhile = self.ellipsoids and self.region.is_box and len(weights) > self.model.network.width
        return Around.box(self.model, weights) if worthwhile and weights.max() > 0 else None

    def look(self, x: np.ndarray) -> None:
        """Ask the network at the point of the region that is nearest to an input."""
        x = self.region.project(x[None])[0]
        margin = float(attacks.margins_at(self.model.network, self.model.label, x)[self.target])
        self.margin = max(self.margin, margin)
        if margin >= 0:
            self.attack = attacks.check(Question(self.model.network, self.region, self.model.label, [self.target]), x)


class _Relaxation:
    """The relaxation of one part: its best proven bound, inf while there is none, and its multipliers by group."""

    def __init__(self, search: _Search, model: CutModel):
        self.search, self.model = search, model
        self.data = ArrowData(shor_constraints(model))
        self.objective = objective_matrix(model.problem(search.target).objective)
        self.solver = InteriorPoint(self.data)
        self.value, self.multipliers = np.inf, dict[str, np.ndarray]()
        self.point: Iterate | None = None

    def bound(self, start: Iterate | None = None) -> SolveReport:
        """Solve until the sign is known.

        Where nothing is left to split, a bound that is not negative is solved to the end, for the input that reaches
        it; not before, because a part without states has no smallest bound.
        """
        report = self.solve(TOLERANCE, sign_only=True, start=start)
        if start is not None and report.status not in (Status.SIGN_KNOWN, Status.SOLVED):
            report = self.solve(TOLERANCE, sign_only=True)  # it started too near to the boundary
        return report if self.value < 0 or len(self.model.unstable) else self.solve(FINEST)

    def solve(self, tolerance: float, *, sign_only: bool = False, start: Iterate | None = None) -> SolveReport:
        """Solve, and keep the bound if it is the best."""
        search, most = self.search, COLD if start is None else WARM
        limits = replace(search.limits.after(search.spent()), tolerance=tolerance)
        solve = partial(self.solver.solve, max_iterations=most, sign_only=sign_only, start=start)
        report, self.point = solve(self.objective, **limits.options)
        search.iterations += report.iterations
        if report.multipliers is not None:
            proven = sound_bound(self.data, self.objective, report.multipliers)
            if proven is not None and proven.value < self.value:
                self.value, self.multipliers = proven.value, self.data.constraints.split(proven.multipliers)
        return report

    def towards(self, whole: "_Relaxation", around: Around) -> Iterate | None:
        """Return a start for the relaxation with all multipliers of the inputs from this one over the ellipsoid."""
        if self.point is None:
            return None
        named = around.of_box(self.data.constraints.split(self.solver.multipliers(self.point)))
        y = np.zeros(len(whole.data.constraints.equality))
        for name, where in whole.data.constraints.groups.items():
            y[where] = named[name]
        mu = float(np.mean(self.point.w * self.point.y[self.solver.inequality]))
        return whole.solver.central(whole.objective, y, mu)


def input_at(model: RobustnessModel, d: np.ndarray) -> np.ndarray:
    """Return an input (p0,) of a ball or an ellipsoid with the coordinates d (n,): the one nearest to the origin."""
    coords, region, U = model.coordinates, model.region, model.network.U
    if coords.kind == "box" and region.generators is None:
        lower, upper = region.bounding_box()
        return coords.origin + np.diag((upper - lower) / 2)[:, upper > lower] @ d
    G = region.generators
    if G is None:
        ball = require_phases(region)
        wide = np.full(ball.size, True) if ball.lower is None or ball.upper is None else ball.upper > ball.lower
        G = np.diag(np.full(ball.size, ball.radius))[:, wide]
    if len(d) == G.shape[1]:
        return coords.origin + G @ d
    if not len(d):
        return coords.origin
    # V d = U G e for the e that is seen; the smallest one is in the row space of U G.
    seen = U @ G
    return coords.origin + G @ (seen.T @ np.linalg.lstsq(seen @ seen.T, coords.V @ d)[0])
