"""Branch and bound on the ReLU phases of a monDEQ: an exact answer where a relaxation leaves a label open.

The root is Shor's relaxation with bounds ("1+bounds", relaxations.cuts); a node is the same relaxation with the signs
of some h_i. Bounds are not propagated in nodes, which would save next to nothing, so that a leaf is its signs and its
multipliers: l_i = 0 where h_i >= 0 is assumed, u_i = 0 where h_i <= 0, and the root's bounds elsewhere. Once every sign
is known the network is affine and the relaxation of a box or an L2 ball is exact, so that the tree ends.

**Ellipsoids.** In a box of many inputs nearly all of a solve is spent on the multipliers lambda_j of 1 - d_j^2 >= 0.
With their ratios fixed, at those of the parent, the box becomes the ellipsoid sum lambda_j d_j^2 <= sum lambda_j, which
contains it and of which the network sees at most p coordinates: a tenth of the time. Half of the nodes end there. The
others are solved with all multipliers, from the point where the ellipsoid's solve was two thirds of its way.
"""

import heapq
import itertools
import time
from dataclasses import dataclass

import numpy as np

from tightrope import attacks
from tightrope.attacks import Attack
from tightrope.certificates import Verdict, sound_bound
from tightrope.errors import InputError, RegionError
from tightrope.problems.robustness import RobustnessModel, robustness_model
from tightrope.propagation.fixpoint import Box, fixpoint_bounds
from tightrope.regions import INFINITY, Ball, EllipsoidRegion
from tightrope.relaxations.cuts import RELU, CutModel, cut_model
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import Arrow, ArrowData
from tightrope.solvers.interior_point import InteriorPoint, Iterate
from tightrope.solvers.report import SolveReport, Stop, end_if
from tightrope.threads import one_blas_thread
from tightrope.verifiers.tightening import STORED

#: Seconds for the tree of one label, where nothing else is said.
PATIENCE = 60.0
#: Relative gap of a node, and of one without unstable neurons, where nothing is left to split.
TOLERANCE, FINEST = 5e-3, 1e-8
#: By how much the ellipsoid around a box is larger than exact arithmetic would have it, and the least multiplier of an
#: input relative to the largest.
ROOM, FLATTEST = 1e-9, 1e-9
#: The groups of multipliers of a box and of an ellipsoid.
ALWAYS, NEVER = "always active: h - l >= 0", "never active: -h >= 0"
#: The groups with a multiplier for each unstable neuron.
FREE = (*RELU, "z (u - z) >= 0", "u (h - l) - (u - l) z >= 0")
PIXELS, WHOLE = "1 - d_j^2 >= 0", "1 - |d|^2 >= 0"


@dataclass(frozen=True, eq=False)
class Leaf:
    """A part of the region, by the signs of some preactivations, and the proof of its bound.

    Attributes
    ----------
    signs
        (p,) int8: 1 where h_i >= 0 is assumed, -1 where h_i <= 0, else 0.
    bound
        Proven upper bound of F_target - F_label on the part.
    multipliers
        By the name of a fact, as `cut_model` has them with the leaf's own bounds.
    """

    signs: np.ndarray
    bound: float
    multipliers: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Tree:
    """What branch and bound found of max F_target - F_label.

    Attributes
    ----------
    verdict
        CERTIFIED, FALSIFIED with the attack, or UNKNOWN with the reason.
    bound
        Proven upper bound; the largest of the leaves' if certified, and then not tightened beyond its sign.
    margin
        The largest margin that was met, -inf if none was looked at.
    invariant
        (p,) each: l <= h <= u on the whole region.
    leaves
        The nodes that are closed.
    nodes, iterations, seconds
        Work done.
    """

    verdict: Verdict
    bound: float
    margin: float
    attack: Attack | None
    invariant: Box
    leaves: tuple[Leaf, ...]
    nodes: int
    iterations: int
    seconds: float
    reason: str = ""


@dataclass(frozen=True, eq=False)
class _Point:
    """Where a solve was two thirds of its way: X, the multipliers by group, and the mean product mu of X and Z."""

    unstable: np.ndarray
    X: Arrow
    multipliers: dict[str, np.ndarray]
    mu: float


@dataclass(frozen=True, eq=False)
class _Node:
    """An open part: its leaf's data, the neuron to split (None: no unstable one is left) and what its children use."""

    leaf: Leaf
    neuron: int | None = None
    point: _Point | None = None
    around: "_Around | None" = None


class Phases:
    """Trees for the targets of one Robustness Model over a ball.

    Parameters
    ----------
    model
        The model of order 1, over a ball of norm 1, 2 or infinity, clipped or not.

    Raises
    ------
    RegionError
        Another region.
    """

    def __init__(self, model: RobustnessModel):
        self.model, self.region = model, _ball(model)
        self.invariant = fixpoint_bounds(model.network, self.region).h.outward(STORED)

    @one_blas_thread()
    def __call__(
        self,
        target: int,
        *,
        multipliers: dict[str, np.ndarray] | None = None,
        time_limit: float = PATIENCE,
        node_limit: int | None = None,
        stop: Stop | None = None,
    ) -> Tree:
        """Decide one target.

        Parameters
        ----------
        multipliers
            Of order 1 by group, where they are known: what the root starts from.
        time_limit
            Seconds; at the limit the verdict is UNKNOWN, with the proven bound and the largest margin so far.
        node_limit
            Most nodes, likewise.
        stop
            Asked within every solve; True ends everything with a :class:`tightrope.errors.StoppedError`.
        """
        if not time_limit > 0 or (node_limit is not None and node_limit < 1):
            raise InputError(f"time_limit={time_limit}, node_limit={node_limit}: give positive numbers.")
        return _Search(self, target, time_limit, node_limit, stop).run(multipliers)


def _ball(model: RobustnessModel) -> Ball:
    region = model.region
    if not isinstance(region, Ball) or region.norm not in (1.0, 2.0, INFINITY):
        what = f"an L{region.norm:g} ball" if isinstance(region, Ball) else f"a {type(region).__name__}"
        raise RegionError(f"region: branch and bound on phases is for balls of norm 1, 2 and inf, not for {what}.")
    return region


class _Search:
    """The tree of one target while it grows."""

    def __init__(self, phases: Phases, target: int, time_limit: float, node_limit: int | None, stop: Stop | None):
        self.model, self.region, self.invariant = phases.model, phases.region, phases.invariant
        self.directions = _directions(phases.model)
        self.target, self.time_limit, self.node_limit, self.stop = target, time_limit, node_limit, stop
        self.began = time.perf_counter()
        self.nodes = self.iterations = 0
        self.margin, self.attack = -np.inf, None
        self.leaves: list[Leaf] = []
        self.stuck: list[Leaf] = []

    def run(self, multipliers: dict[str, np.ndarray] | None) -> Tree:
        number = itertools.count()
        open_: list[tuple[float, int, _Node]] = []

        def grow(node: _Node) -> None:
            if node.leaf.bound < 0:
                self.leaves.append(node.leaf)
            elif node.neuron is None:
                self.stuck.append(node.leaf)
            else:
                heapq.heappush(open_, (-node.leaf.bound, next(number), node))

        reason = ""
        grow(self.solve(np.zeros(self.model.network.width, np.int8), None, self.around(multipliers)))
        while open_ and self.attack is None:
            reason = self.limit()
            if reason:
                break
            worst = heapq.heappop(open_)[2]
            for sign in (1, -1):
                signs = worst.leaf.signs.copy()
                signs[worst.neuron] = sign
                grow(self.solve(signs, worst, worst.around))
        if not reason and self.stuck and self.attack is None:
            reason = "with all phases known the bound is 0 up to rounding"
        remaining = [*self.leaves, *self.stuck, *(node.leaf for _, _, node in open_)]
        bound = max(leaf.bound for leaf in remaining)
        verdict = Verdict.FALSIFIED if self.attack else Verdict.UNKNOWN if reason else Verdict.CERTIFIED
        if verdict is Verdict.UNKNOWN:
            reason += f"; the largest margin is in [{self.margin:.4g}, {bound:.4g}]"
        seconds = time.perf_counter() - self.began
        work = self.nodes, self.iterations, seconds
        leaves = tuple(self.leaves)
        return Tree(verdict, bound, self.margin, self.attack, self.invariant, leaves, *work, reason)

    def limit(self) -> str:
        """Return which limit is reached, or nothing."""
        if self.left() <= 0:
            return f"time limit of {self.time_limit:g} s"
        if self.node_limit is not None and self.nodes >= self.node_limit:
            return f"limit of {self.node_limit} nodes"
        return ""

    def left(self) -> float:
        return self.time_limit - (time.perf_counter() - self.began)

    def solve(self, signs: np.ndarray, parent: _Node | None, around: "_Around | None") -> _Node:
        """Bound one part, by the ellipsoid around the region first where there is one."""
        end_if(self.stop)
        self.nodes += 1
        known = np.inf if parent is None else parent.leaf.bound
        lower, upper = self.invariant.lower.copy(), self.invariant.upper.copy()
        lower[signs > 0] = np.maximum(lower[signs > 0], 0)
        upper[signs < 0] = np.minimum(upper[signs < 0], 0)
        bounds = Box(lower, upper)
        if around is not None:
            problem = _Problem(cut_model(around.model, bounds), self.target)
            report, _ = self.bound(problem)
            value, multipliers = problem.proven(report)
            if value < 0:
                return _Node(Leaf(signs, value, around.of_box(multipliers)))
            known = min(known, value)
            import os
            if parent is not None and len(problem.model.unstable) and value < float(os.environ.get("RAT","1"))*parent.leaf.bound:
                if report.mean is not None: self.look2(around, report.mean[problem.model.space.slices["d"]])
                return _Node(Leaf(signs,known,around.of_box(multipliers)), problem.worst(report), None, around)
        problem = _Problem(cut_model(self.model, bounds), self.target)
        start = None if parent is None or parent.point is None else problem.start(parent.point, signs)
        report, warm = self.bound(problem, start)
        value, multipliers = problem.proven(report)
        leaf = Leaf(signs, min(value, known), multipliers)
        if leaf.bound < 0:
            return _Node(leaf)
        if report.mean is not None:
            self.look(report.mean[problem.model.space.slices["d"]])
        return _Node(leaf, problem.worst(report), problem.point(warm), self.around(multipliers))

    def around(self, multipliers: dict[str, np.ndarray] | None) -> "_Around | None":
        """Return the ellipsoid of these multipliers around a box of more inputs than neurons."""
        weights = (multipliers or {}).get(PIXELS, np.zeros(0))
        return _Around.box(self.model, weights) if len(weights) > self.model.network.width else None

    def bound(self, problem: "_Problem", start: Iterate | None = None) -> tuple[SolveReport, Iterate]:
        split = len(problem.model.unstable) > 0
        report, warm = problem.solver.solve(
            problem.objective,
            tolerance=TOLERANCE if split else FINEST,
            sign_only=split,
            time_limit=max(self.left(), 1e-3),
            start=start,
            stop=self.stop,
        )
        self.iterations += report.iterations
        return report, warm

    def look2(self, around, d): pass
    def look(self, d: np.ndarray) -> None:
        """Ask the network at the input of a relaxed solution."""
        x = self.region.project((self.model.coordinates.origin + d @ self.directions)[None])[0]
        margin = float(attacks.margins_at(self.model.network, self.model.label, x)[self.target])
        self.margin = max(self.margin, margin)
        if margin >= 0:
            self.attack = attacks.check(self.model.network, self.region, self.model.label, x, [self.target])


def _directions(model: RobustnessModel) -> np.ndarray:
    """Return B (n, p0) with x = origin + d B for the model's coordinates d."""
    ball, V = _ball(model), model.coordinates.V
    if not V.shape[1]:
        return np.zeros((0, ball.size))
    if ball.norm == INFINITY:
        lower, upper = ball.bounding_box()
        return np.diag((upper - lower) / 2)[upper > lower]
    scaled = ball.radius * np.eye(ball.size)
    if ball.lower is not None and ball.upper is not None:
        return scaled[ball.upper > ball.lower]
    return scaled if V.shape[1] == ball.size else np.linalg.lstsq(V, ball.radius * model.network.U)[0]


class _Problem:
    """The relaxation of one part, for one target."""

    def __init__(self, model: CutModel, target: int):
        self.model = model
        self.data = ArrowData(shor_constraints(model))
        self.objective = objective_matrix(model.problem(target).objective)
        self.solver = InteriorPoint(self.data)

    def proven(self, report: SolveReport) -> tuple[float, dict[str, np.ndarray]]:
        """Return the proven bound of a solve, inf for none, and its multipliers by group."""
        proven = None if report.multipliers is None else sound_bound(self.data, self.objective, report.multipliers)
        if proven is None:
            return np.inf, {}
        return proven.value, self.data.constraints.split(proven.multipliers)

    def point(self, warm: Iterate) -> _Point:
        """Return what a child starts from."""
        y = warm.y[self.solver.inequality]
        mu = (warm.X.inner(warm.Z) + warm.w @ y) / (self.data.q + self.data.n + len(y))
        multipliers = self.data.constraints.split(self.solver.multipliers(warm))
        return _Point(self.model.unstable, warm.X, multipliers, mu)

    def start(self, parent: _Point, signs: np.ndarray) -> Iterate | None:
        """Return the start from the parent's point, without the neuron that has a sign now; None if it is none.

        The parent's Z on the subspace where z_i = h_i or z_i = 0 is positive definite; the facts of z_i that become
        facts of h_i keep their multipliers.
        """
        unstable = self.model.unstable
        (gone,) = np.setdiff1d(parent.unstable, unstable)
        place = int(np.flatnonzero(parent.unstable == gone)[0])
        named = dict(parent.multipliers)
        fact, fate = ("z >= 0", ALWAYS) if signs[gone] > 0 else ("z - h >= 0", NEVER)
        others = np.flatnonzero(self.model.bounds.lower >= 0 if signs[gone] > 0 else self.model.bounds.upper <= 0)
        where = int(np.flatnonzero(others == gone)[0])
        named[fate] = np.insert(named.get(fate, np.zeros(0)), where, named[fact][place])
        for name in FREE:
            named[name] = np.delete(named[name], place)
        multipliers = np.zeros(len(self.data.constraints.equality))
        for name, part in self.data.constraints.groups.items():
            multipliers[part] = named[name]
        row = self.model.space.slices["z"].start + place
        if not np.array_equal(self.data.core[:row + 1], np.arange(row + 1)) or len(parent.X.cc) != self.data.q + 1:
            return None
        cc = np.delete(np.delete(parent.X.cc, row, 0), row, 1)
        X = Arrow(cc, np.delete(parent.X.cd, row, 0), parent.X.dd)
        try:
            return self.solver.near(self.objective, X, multipliers, parent.mu)
        except np.linalg.LinAlgError:
            return None

    def worst(self, report: SolveReport) -> int | None:
        """Return the unstable neuron whose phase is least decided, |t_i| min(z_i, z_i - h_i)^2; None if there is none."""
        unstable = self.model.unstable
        if not len(unstable):
            return None
        if report.mean is None or report.multipliers is None:
            return int(unstable[0])
        base = self.model.model
        full = self.model.lift @ report.mean
        z, d = (full[base.space.slices[name]] for name in ("z", "d"))
        network, coords = base.network, base.coordinates
        h = network.W @ z + coords.V @ d + network.U @ coords.origin + network.u
        t = self.data.constraints.split(report.multipliers)["z (z - h) = 0"]
        z, h = z[unstable], h[unstable]
        return int(unstable[np.argmax(np.abs(t) * np.minimum(np.abs(z), np.abs(z - h)) ** 2)])


@dataclass(frozen=True, eq=False)
class _Around:
    """An ellipsoid around a box, {d : sum d_j^2 / axes_j^2 <= 1} in the box's unit coordinates.

    Attributes
    ----------
    model
        Over the ellipsoid.
    axes
        (n,).
    """

    model: RobustnessModel
    axes: np.ndarray

    @classmethod
    def box(cls, model: RobustnessModel, weights: np.ndarray) -> "_Around":
        """Return sum_j weights_j d_j^2 <= sum_j weights_j."""
        weights = np.maximum(weights, FLATTEST * weights.max())
        axes = (1 + ROOM) * np.sqrt(weights.sum() / weights)
        G = (_directions(model) * axes[:, None]).T
        around = robustness_model(model.network, EllipsoidRegion(model.coordinates.origin, G), model.label)
        return cls(around, axes)

    def of_box(self, multipliers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return multipliers of the box that prove what these of the ellipsoid do."""
        return {**multipliers, PIXELS: multipliers[WHOLE] / self.axes**2}

