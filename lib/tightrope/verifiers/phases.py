"""Branch and bound on the ReLU phases of a monDEQ: an exact answer where a relaxation leaves a label open.

The root is Shor's relaxation with bounds ("1+bounds", relaxations.cuts); a node is the same relaxation with the signs
of some h_i. Bounds are not propagated in nodes, which would save next to nothing, so that a leaf is its signs and its
multipliers: l_i = 0 where h_i >= 0 is assumed, u_i = 0 where h_i <= 0, and the root's bounds elsewhere. Once every sign
is known the network is affine, and the relaxation of a ball of norm 1, 2 or infinity, clipped or not, is exact: then
the tree ends with an answer.

**Ellipsoids.** An ellipsoid around a box of many inputs (relaxations.around) takes a tenth of the time. So every part
is solved over one, whose weights are the geometric mean of those of the part above it and of the best ones for the
solution there; with all multipliers of the inputs only what has no unstable neuron left, where that is exact. On the
ten hardest questions of Table 2 of chen2021-mondeq at L-infinity 0.05 and 0.1 that makes 112 nodes, where all
multipliers at every node make 84, each of which takes six times as long.

**Limits.** A tree that a limit ends can be kept in a file (`Limits.trees`), and then goes on from there.
"""

import heapq
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

import tightrope
from tightrope import attacks
from tightrope.attacks import Attack
from tightrope.checker.trees import complete, in_leaf
from tightrope.errors import InputError, RegionError
from tightrope.outward import at_least, at_most
from tightrope.problems.robustness import RobustnessModel, robustness_model
from tightrope.propagation.fixpoint import Box, fixpoint_bounds, inductive
from tightrope.question import DEFAULT, Limits, Question, Verdict
from tightrope.regions import INFINITY, Ball, Region
from tightrope.relaxations.around import BOX, Around, best_weights, expected_weights
from tightrope.relaxations.cuts import CutModel, cut_model
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.report import SolveReport, end_if
from tightrope.solvers.sound import sound_bound
from tightrope.threads import one_blas_thread
from tightrope.verifiers.robustness import Progress
from tightrope.verifiers.tightening import STORED
from tightrope.verifiers.unfinished import Unfinished

#: Seconds of processor time for the tree of one label, where nothing else is said.
PATIENCE = 60.0
#: Relative gap of a node, and of one without unstable neurons, where nothing is left to split.
TOLERANCE, FINEST = 5e-3, 1e-8


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
        `nodes`, the verdict is UNKNOWN, with the proven bound and the largest margin so far. Both count what was done
        before, where the tree is kept in `limits.trees` and goes on. The first ellipsoid is that of the `multipliers`
        of order 1 by group, where they are known. Without `ellipsoids` every node is solved with all multipliers.
        """
        if nodes is not None and nodes < 1:
            raise InputError(f"nodes: got {nodes}; give a positive number.")
        return _Search(self, target, limits, nodes, ellipsoids).run(multipliers)


@dataclass(frozen=True, eq=False)
class _Node:
    """A part that was bounded; an open one has the neuron to split, and the weights of the ellipsoid for both sides.

    `leaf` is what proves its bound, of this part or of one above it.
    """

    signs: np.ndarray
    leaf: Leaf
    neuron: int | None
    weights: np.ndarray | None


class _Search:
    """The tree of one target while it grows."""

    def __init__(self, phases: Phases, target: int, limits: Limits, most: int | None, ellipsoids: bool):
        self.ellipsoids = ellipsoids
        self.model, self.region, self.invariant = phases.model, phases.region, phases.invariant
        self.target, self.limits, self.most = target, limits, most
        self.question = Question(self.model.network, self.region, self.model.label, [target])
        self.began, self.began_cpu = time.perf_counter(), time.process_time()
        self.nodes = self.whole = self.iterations = 0
        self.margin, self.best = -np.inf, self.region.center
        self.attack: Attack | None = None
        self.leaves: list[Leaf] = []
        self.stuck: list[_Node] = []
        self.open: list[tuple[float, int, _Node]] = []
        self._number = itertools.count()

    def run(self, multipliers: Mapping[str, np.ndarray] | None) -> Tree:
        file = Unfinished.of(self.question, "phases", self.limits.trees)
        if file is None or not self.resumed(file):
            signs = np.zeros(self.model.network.width, np.int8)
            self.add(self.solve(signs, None, self.around(self.first(multipliers or {}))))
        reason = ""
        while self.open and self.attack is None and not (reason := self.limit()):
            worst = heapq.heappop(self.open)[2]
            around = self.around(worst.weights)
            for sign in (1, -1):
                signs = worst.signs.copy()
                signs[worst.neuron] = sign
                self.add(self.solve(signs, worst.leaf, around))
        left = (node.leaf for node in (*self.stuck, *(node for _, _, node in self.open)))
        bound = max(leaf.bound for leaf in (*self.leaves, *left))
        if file is not None:
            file.keep(self.parts() if reason and np.isfinite(bound) else None)
        if self.stuck and not reason:
            reason = "with all phases known the relaxation's bound is not below 0"
        verdict = Verdict.CERTIFIED
        if self.attack is not None:
            verdict, reason = Verdict.FALSIFIED, ""
        elif reason:
            verdict = Verdict.UNKNOWN
            reason = f"branch and bound: {reason}; the largest margin is in [{at_least(self.margin)}, {at_most(bound)}]"
        work = self.nodes, self.whole, self.iterations, time.perf_counter() - self.began
        return Tree(verdict, bound, self.margin, self.attack, self.invariant, tuple(self.leaves), *work, reason)

    def parts(self) -> dict[str, np.ndarray]:
        """Return the parts of the tree so far as the arrays of a file.

        Each is the signs of a part (parts, p), those for which its multipliers prove a bound, and the neuron to split,
        -1 for none. The multipliers (k,) are those of one part after the other, each by the order of the groups' names.
        """
        nodes = [_Node(leaf.signs, leaf, None, None) for leaf in self.leaves]
        nodes += [*self.stuck, *(node for _, _, node in self.open)]
        return {
            "signs": np.array([node.signs for node in nodes], np.int8),
            "proven": np.array([node.leaf.signs for node in nodes], np.int8),
            "neuron": np.array([-1 if node.neuron is None else node.neuron for node in nodes], np.int32),
            "multipliers": np.concatenate([own for node in nodes for _, own in sorted(node.leaf.multipliers.items())]),
            "best": self.best,
            "work": np.array([self.whole, self.iterations, self.spent(), time.perf_counter() - self.began]),
        }

    def resumed(self, file: Unfinished) -> bool:
        """Go on from a file, whose bounds are evaluated anew; False if there is none."""
        found = file.read(signs=np.int8, proven=np.int8, neuron=np.int32, multipliers=float, best=float, work=float)
        if found is None:
            return False
        signs, proven, neuron, multipliers, best, work = found.values()
        p, count = self.model.network.width, len(neuron)
        file.require(signs.shape == proven.shape == (count, p) and best.shape == (self.region.size,))
        file.require(work.shape == (4,) and bool((work >= 0).all() and np.isfinite([*work, *best]).all()))
        file.require(complete(signs) and bool(((proven == 0) | (proven == signs)).all()))
        start = 0
        for own, above, split in zip(signs, proven, neuron.tolist(), strict=True):
            part = _Relaxation(self, cut_model(self.model, self.bounds(above)))
            groups = sorted(part.data.constraints.groups.items())
            sizes = [where.stop - where.start for _, where in groups]
            ends = start + np.cumsum([0, *sizes])
            file.require(ends[-1] <= len(multipliers))
            values, start = [multipliers[a:b] for a, b in pairwise(ends)], int(ends[-1])
            part.prove(part.vector({name: own for (name, _), own in zip(groups, values, strict=True)}))
            low, high = self.bounds(own).lower, self.bounds(own).upper
            free = np.flatnonzero((low < 0) & (high > 0))
            file.require(split == -1 or split in free)
            leaf = Leaf(above, part.value, part.multipliers)
            first = int(free[0]) if len(free) else None
            self.add(_Node(own, leaf, first if split < 0 else split, leaf.multipliers.get(BOX)))
        file.require(start == len(multipliers))
        self.nodes, self.whole, self.iterations = 2 * count - 1, int(work[0]), int(work[1])
        self.began_cpu -= work[2]
        self.began -= work[3]
        self.look(best)
        return True

    def add(self, node: _Node) -> None:
        """Put a node where it belongs."""
        if node.leaf.bound < 0:
            self.leaves.append(node.leaf)
        elif node.neuron is None:
            self.stuck.append(node)
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

    def bounds(self, signs: np.ndarray) -> Box:
        """Return the bounds of h on the part with these signs."""
        return Box(*in_leaf(self.invariant.lower, self.invariant.upper, signs))

    def solve(self, signs: np.ndarray, above: Leaf | None, around: Around | None) -> _Node:
        """Bound one part, over the ellipsoid if there is one; `above` is what proves a bound of it already."""
        end_if(self.limits.stop)
        self.nodes += 1
        bounds = self.bounds(signs)
        if around is not None:
            part = _Relaxation(self, cut_model(around.model, bounds))
            report = part.bound()
            above = _better(Leaf(signs, part.value, around.of_box(part.multipliers)), above)
            if part.value < 0 or len(part.model.unstable):
                return _Node(signs, above, self.neuron(part, report), part.weights(report, around))
        self.whole += 1
        part = _Relaxation(self, cut_model(self.model, bounds))
        report = part.bound()
        leaf = _better(Leaf(signs, part.value, part.multipliers), above)
        return _Node(signs, leaf, self.neuron(part, report), part.multipliers.get(BOX))

    def neuron(self, part: "_Relaxation", report: SolveReport) -> int | None:
        """Return the neuron to split, if there is any, after a look at the input of the relaxed solution."""
        model = part.model
        neuron = None if part.value < 0 or not len(model.unstable) else int(model.unstable[0])
        if part.value < 0 or report.mean is None:
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
        t = part.multipliers.get("z (z - h) = 0", np.ones(len(slack)))
        return int(model.unstable[np.argmax(np.abs(t) * slack**2)])

    def first(self, multipliers: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the weights of the root's ellipsoid: of the multipliers that are known, else the expected ones."""
        if BOX in multipliers or not self.region.is_box:
            return multipliers.get(BOX)
        return expected_weights(self.model, self.invariant, [self.target])

    def around(self, weights: np.ndarray | None) -> Around | None:
        """Return the ellipsoid of these weights around a box of more inputs than neurons."""
        if weights is None or not (self.ellipsoids and self.region.is_box and len(weights) > self.model.network.width):
            return None
        return Around.box(self.model, weights) if weights.max() > 0 else None

    def look(self, x: np.ndarray) -> None:
        """Ask the network at the point of the region that is nearest to an input."""
        x = self.region.project(x[None])[0]
        margin = float(attacks.margins_at(self.model.network, self.model.label, x)[self.target])
        if margin > self.margin:
            self.margin, self.best = margin, x
        if margin >= 0:
            self.attack = attacks.check(self.question, x)


def _better(leaf: Leaf, above: Leaf | None) -> Leaf:
    """Return what proves the smaller bound of a part: its own multipliers, or those of a part above it."""
    return leaf if above is None or leaf.bound <= above.bound else above


class _Relaxation:
    """The relaxation of one part: its best proven bound, inf while there is none, and its multipliers by group."""

    def __init__(self, search: _Search, model: CutModel):
        self.search, self.model = search, model
        self.data = ArrowData(shor_constraints(model))
        self.objective = objective_matrix(model.problem(search.target).objective)
        self.value, self.multipliers = np.inf, dict[str, np.ndarray]()

    @cached_property
    def solver(self) -> InteriorPoint:
        """The solver, which a bound that is only evaluated does without."""
        return InteriorPoint(self.data)

    def bound(self) -> SolveReport:
        """Solve until the sign is known.

        Where nothing is left to split, a bound that is not negative is solved to the end, for the input that reaches
        it; not before, because a part without states has no smallest bound.
        """
        report = self.solve(TOLERANCE, sign_only=True)
        return report if self.value < 0 or len(self.model.unstable) else self.solve(FINEST)

    def solve(self, tolerance: float, *, sign_only: bool = False) -> SolveReport:
        """Solve, and keep the bound if it is the best."""
        search = self.search
        limits = replace(search.limits.after(search.spent()), tolerance=tolerance)
        report, _ = self.solver.solve(self.objective, sign_only=sign_only, **limits.options)
        search.iterations += report.iterations
        if report.multipliers is not None:
            self.prove(report.multipliers)
        return report

    def prove(self, multipliers: np.ndarray) -> None:
        """Keep what multipliers (k,) prove, if it is the best."""
        proven = sound_bound(self.data, self.objective, multipliers)
        if proven is not None and proven.value < self.value:
            self.value, self.multipliers = proven.value, self.data.constraints.split(proven.multipliers)

    def vector(self, named: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return multipliers by group as one vector (k,)."""
        y = np.zeros(len(self.data.constraints.equality))
        for name, where in self.data.constraints.groups.items():
            y[where] = named[name]
        return y

    def weights(self, report: SolveReport, around: Around) -> np.ndarray:
        """Return the weights of the ellipsoid around the parts of this one: (n,) for its inputs, of any scale."""
        old, V = 1 / around.axes**2, self.model.model.coordinates.V
        if report.multipliers is None or report.core is None or self.data.n != V.shape[1]:
            return old
        # What multiplies d in the dual matrix does so through V d: of the box it is R V^-1 times its own V.
        R = self.data.adjoint(report.multipliers).plus(self.data.arrow(self.objective)).cd
        R = np.linalg.lstsq(V.T, R.T)[0].T @ self.search.model.coordinates.V
        weights: np.ndarray = np.sqrt(best_weights(R, report.core) * old)
        return weights if weights.any() else old


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
