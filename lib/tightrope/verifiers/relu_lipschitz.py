"""Upper and lower bounds of the Lipschitz constant of a ReLU network's output: one function, methods by name.

Every upper bound is a dual bound that has been checked in float64 outside the solver: for semidefinite programs by
:func:`tightrope.solvers.sound.sound_bound`, for linear ones by :mod:`tightrope.solvers.highs`, for HR-d by
:func:`tightrope.verifiers.moments.proven_bound`. A limit of time or memory is a verdict with a reason, not a number.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tightrope import relu_lipschitz_proofs as proofs
from tightrope.arguments import require_network, require_region
from tightrope.errors import InputError
from tightrope.names import known_name
from tightrope.networks import FeedForward
from tightrope.problems.relu_lipschitz import CORNERS, CURVE, relative_rounding, relu_lipschitz_problem, slope_problem
from tightrope.problems.relu_question import TINY, Question, gradient_bounds, gradient_rounding, question, underflow
from tightrope.proofs import Proof
from tightrope.question import Limits
from tightrope.regions import INFINITY, Ball
from tightrope.relaxations.heuristic import hr, sparse
from tightrope.relaxations.krivine import TooLarge, gradient_polynomial, krivine
from tightrope.relaxations.krivine_cuts import bipartite, triangles, violated_cycles, violated_triangles
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.conic import solve_moment_program
from tightrope.solvers.highs import LinearProgram
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.low_rank import bipartite_maxcut
from tightrope.solvers.report import Status
from tightrope.solvers.sound import sound_bound
from tightrope.verifiers import relu_lipschitz_lower as lower
from tightrope.verifiers.moments import proven_bound
from tightrope.verifiers.report import LipschitzReport

LIMITS = Limits(tolerance=1e-4)
CERTIFIED, TIME, MEMORY, FAILED = "certified", "time", "OfM", "failed"
#: What underflow may cost a bound; beyond, nothing is solved.
LOST = 1e-9
UNDERFLOW = "underflow: large weights meet small ones; scale the network's layers to numbers of size 1"


class Method(NamedTuple):
    """A way to bound the constant.

    What tables call it, what it is, its side ("upper", "lower" or "exact"), and if it is Shor's relaxation of
    problems.relu_lipschitz, with which constraints.
    """

    title: str
    about: str
    side: str
    refinement: str | None = None


#: Methods by name, in the order of a table.
METHODS: Mapping[str, Method] = {
    "product-shor": Method("product Shor", "Shor with the products of each pair", "upper", "products"),
    "shor": Method("SHOR", "Shor's relaxation of (LCEP)", "upper", "printed"),
    "hr-1": Method("HR-1", "first-order heuristic relaxation", "upper", "printed"),
    "hr-2-signs": Method("HR-2, at most", "at least HR-2: without the pairs {x, t}", "upper", "signs"),
    "hr-2-products": Method("HR-2, at least", "at most HR-2: its pairs as products", "upper", "corners"),
    "hr-2": Method("HR-2 (moments)", "second-order heuristic relaxation", "upper"),
    "hr-3": Method("HR-3 (moments)", "third-order heuristic relaxation", "upper"),
    "lipopt-3": Method("LipOpt-3", "Krivine-Stengle LP of degree 3", "upper"),
    "lipopt-4": Method("LipOpt-4", "Krivine-Stengle LP of degree 4", "upper"),
    "qcqp": Method("Shor of LipOpt's QCQP", "Shor of LipOpt's QCQP (grad-cert)", "upper"),
    "lbs": Method("LBS", "gradients at random points", "lower"),
    "ascent": Method("ascent", "ascent over activation patterns", "lower"),
    "exact": Method("exact", "all activation patterns", "exact"),
    "intervals": Method("intervals", "intervals of the gradient", "upper"),
    "sparse-lasserre": Method("sparse Lasserre", "sparse Lasserre hierarchy of order 2", "upper"),
}
#: Above this number of inputs product Shor leaves out the products that couple them with each other or with t (of x_j
#: and t_j, and h (h^ u + l (1 - u) - h) of the first layer): x has a diagonal block then.
COUPLED_UP_TO = 200
#: HR-2: the interior-point solver up to this size of the dense matrix, the first-order one above.
CLARABEL_UP_TO = 45


@dataclass(frozen=True, eq=False, repr=False)
class ReluBound(LipschitzReport):
    """What one method says about the Lipschitz constant of one output (or difference of two) on a ball.

    `value` is a proven bound from the method's side; of "exact" the constant itself, up to the tolerance of linear
    programs. It is None unless the `verdict` is "certified", or "time" with a bound that holds and is below that of
    intervals, although the method would have improved it; others are "OfM" (memory) and "failed". `sizes` are those of
    the program by name; `ask` and `evidence`, the question and what the method found, are for :meth:`certificates`.
    """

    method: str
    part: int | tuple[int, int]
    value: float | None
    verdict: str
    reason: str
    seconds: float
    iterations: int
    sizes: dict[str, int]
    ask: Question
    evidence: proofs.Evidence
    facts = ("norm", "method", "part", "value", "verdict", "reason", "seconds", "iterations", "sizes")

    @property
    def norm(self) -> float:
        """That of the region, in which inputs are measured; outputs are numbers."""
        return self.ask.region.norm

    @property
    def network(self) -> FeedForward:
        """The network that was asked about."""
        return self.ask.network

    @property
    def region(self) -> Ball:
        """The region that was asked about."""
        return self.ask.region

    @property
    def subject(self) -> str:
        """The output, or the difference of two, in words."""
        return " - ".join(f"F_{k}" for k in np.atleast_1d(self.part))

    @property
    def sides(self) -> Mapping[str, str]:  # type: ignore[override]
        """That of the method."""
        return {"value": METHODS[self.method].side}

    def certificates(self) -> Proof:
        """Return the file that proves the bound; what its checker refuses is not in it, and the reason is given.

        An InputError if there is no bound, or none that a file states: sparse-lasserre, exact.
        """
        if self.value is None:
            raise InputError(f"bound: there is none ({self.verdict}: {self.reason}).")
        if self.method in ("exact", "sparse-lasserre"):
            raise InputError(f"method: no certificate file states what {self.method} finds; take another method.")
        prove = proofs.lower if METHODS[self.method].side == "lower" else proofs.upper
        return prove(self.ask, self.part, self.value, self.evidence)


@np.errstate(over="ignore", invalid="ignore")  # what overflows is a verdict
def lipschitz_bound(
    network: FeedForward,
    region: Ball,
    part: int | tuple[int, int] | None = None,
    method: str = "product-shor",
    *,
    limits: Limits = LIMITS,
    memory_limit: float = 12_000,
    samples: int = 50_000,
) -> ReluBound:
    """Bound the largest dual norm of the gradient of one output on a ball.

    Parameters
    ----------
    region
        L-infinity (clipped or not) or L2; the norm of the inputs is its norm. Global constants of the paper: radius 10.
    part
        An output, or a pair (i, j) for F_i - F_j; both count from 0. It may be left out if there is one output only;
        for the whole map see :func:`tightrope.verifiers.constants.lipschitz_bound`.
    method
        One of :data:`METHODS`.
    limits, memory_limit
        Of the solve, and the seed of all methods that draw; MiB.
    samples
        Points of "lbs"; "ascent" starts from the best of `samples / 25` points.
    """
    method = known_name("method", method, METHODS)
    if not memory_limit > 0:
        raise InputError(f"memory_limit: expected a positive number of MiB, got {memory_limit!r}.")
    began = time.perf_counter()
    require_network(network, FeedForward, instead="write tightrope.lipschitz_bound(network, region)")
    require_region(region, Ball)
    if part is None and network.classes > 1:
        whole = "tightrope.lipschitz_bound(network, region) for all of them"
        raise InputError(f"part: the network has {network.classes} outputs; write part=0, or {whole}.")
    part = 0 if part is None else part
    ask, side = question(network, region, part), METHODS[method].side
    rounded = side == "upper" and method != "intervals"  # whether the forms of a program are
    rounding, lost = gradient_rounding(ask, factored=rounded), underflow(ask) if rounded else 0.0
    numbers = (rounding, relative_rounding(ask), *map(np.sum, (*ask.lower, *ask.upper)))
    if not np.isfinite(numbers).all():
        outcome = _Outcome(None, FAILED, "overflow")
    elif not lost < LOST:
        outcome = _Outcome(None, FAILED, UNDERFLOW)
    elif ask.depth == 0 or not ask.c.any():  # an affine or constant output
        slope = ask.c if ask.depth == 0 else np.zeros(region.size)
        outcome = _Outcome(float(lower.dual_norms(ask, slope)), CERTIFIED, "constant gradient")
    elif METHODS[method].refinement or method == "qcqp":
        outcome = _semidefinite(ask, method, limits, memory_limit)
    elif method in ("hr-2", "hr-3", "sparse-lasserre"):
        outcome = _moments(ask, method, limits, memory_limit)
    elif method.startswith("lipopt"):
        outcome = _lipopt(ask, int(method[-1]), limits.time)
    elif method == "intervals":
        outcome = _Outcome(_intervals(ask))
    elif method == "lbs":
        outcome = _at(lower.sampled(ask, samples, limits.seed))
    elif method == "ascent":
        outcome = _at(lower.ascent(ask, max(1, samples // 25), seed=limits.seed))
    else:
        outcome = _Outcome(lower.exact(ask).value)
    value, verdict, reason = outcome.value, outcome.verdict, outcome.reason
    if value is not None and side != "exact" and ask.sizes[-1][0].any():  # a row of zeros rounds nothing
        rounding += lost
        value = _raised(value, rounding) if side == "upper" else max(0.0, -_raised(-value, rounding))
    if value is not None and not np.isfinite(value):
        verdict, reason = FAILED, "overflow"
    if verdict == FAILED or (verdict == TIME and value is not None and value >= _intervals(ask)):
        value = None  # a failure is no number, and multipliers far from optimal prove less than intervals do
    work = (time.perf_counter() - began, outcome.iterations, outcome.sizes or {})
    return ReluBound(method, part, value, verdict, reason, *work, ask, outcome.evidence)


@dataclass(frozen=True, eq=False)
class _Outcome:
    value: float | None
    verdict: str = CERTIFIED
    reason: str = ""
    iterations: int = 0
    sizes: dict[str, int] | None = None
    evidence: proofs.Evidence = None


def _at(found: lower.LargestGradient) -> _Outcome:
    return _Outcome(found.value, evidence=None if found.point is None else proofs.Place(found.point, found.patterns))


def _intervals(ask: Question) -> float:
    """Return the dual norm's bound from intervals of g_1 and u_1; a method's bound is worth showing only below it."""
    low, high = gradient_bounds(ask)
    on, off = ask.lower[0] > 0, ask.upper[0] < 0
    rl = np.where(off, 0, np.where(on, low[0], np.minimum(low[0], 0)))
    rh = np.where(off, 0, np.where(on, high[0], np.maximum(high[0], 0)))
    A, size = ask.weights[0].T, ask.sizes[0][0].T
    centre, reach = A @ ((rl + rh) / 2), np.abs(A) @ ((rh - rl) / 2)
    noise = 4 * (sum(A.shape) + 4) * np.finfo(float).eps * (size @ (np.maximum(np.abs(rl), np.abs(rh)) + TINY) + TINY)
    largest = (np.abs(centre) + reach) * (1 + 1e-12 * len(A)) + noise
    return float(largest.sum() if ask.region.norm == INFINITY else np.linalg.norm(largest)) * (1 + 1e-12)


def _semidefinite(ask: Question, method: str, limits: Limits, memory_limit: float) -> _Outcome:
    refinement = METHODS[method].refinement
    problem = relu_lipschitz_problem(ask, refinement) if refinement else slope_problem(ask)
    reason = ""
    if method == "product-shor" and ask.region.norm == INFINITY and ask.region.size > COUPLED_UP_TO:
        kept = tuple(c for c in problem.constraints if c.name not in (*CORNERS, CURVE))
        problem, reason = replace(problem, constraints=kept), "without the products that couple inputs"
    constraints = shor_constraints(problem)
    sizes = {"psd": constraints.size, "constraints": len(constraints.equality)}
    # Schur complement with its copies, in the products and in the constraints.
    need = 8 * (5 * len(constraints.left) ** 2 + 4 * len(constraints.equality) ** 2 + 12 * constraints.size**2) / 2**20
    if need > memory_limit:
        return _Outcome(None, MEMORY, f"needs about {need:.0f} MiB", sizes=sizes)
    core = [name for name in problem.space.slices if name not in ("t", "d")]
    data = ArrowData(constraints, core)
    objective = objective_matrix(problem.objective)
    if method == "qcqp" and ask.depth == 1 and ask.region.norm == INFINITY:
        multipliers, sweeps = _low_rank(ask, limits.tolerance)
        bound = sound_bound(data, objective, multipliers)
        if bound is not None and np.isfinite(bound.value):
            evidence = proofs.Shor(None, constraints.split(multipliers))
            return _Outcome(bound.value + _of_forms(ask, multipliers), CERTIFIED, "low rank", sweeps, sizes, evidence)
    # Products with an h that is 0 everywhere bound nothing: any multiplier of theirs is optimal, the largest too.
    size = abs(constraints.forms).sum(axis=1)
    some = abs(constraints.weights) @ (size[constraints.left] * size[constraints.right]) > TINY
    solved = data if some.all() else ArrowData(constraints.only(some), core)
    try:
        report, _ = InteriorPoint(solved).solve(objective, **limits.options)
    except np.linalg.LinAlgError:  # squares of its start's spreads underflow
        return _Outcome(None, FAILED, UNDERFLOW, sizes=sizes)
    multipliers = np.zeros(len(some))
    if report.multipliers is not None:
        multipliers[some] = report.multipliers
    bound = None if report.multipliers is None else sound_bound(data, objective, multipliers)
    if bound is None or not np.isfinite(bound.value):
        return _Outcome(None, FAILED, str(report.status), report.iterations, sizes)
    verdict = TIME if report.status == Status.TIME_LIMIT else CERTIFIED
    if report.status not in (Status.SOLVED, Status.TIME_LIMIT):
        reason = "; ".join(filter(None, (reason, f"gap {report.gap:.1e}: {report.status}")))
    evidence = proofs.Shor(refinement, constraints.split(multipliers))
    value = bound.value + _of_forms(ask, multipliers)
    return _Outcome(value, verdict, reason, report.iterations, sizes, evidence)


def _of_forms(ask: Question, multipliers: np.ndarray) -> float:
    """Return what exact forms h and g may add to a bound that these multipliers prove.

    A constraint is a product of forms of size at most 1 and 2, or a sum of such: with forms that are off by e it is off
    by at most 4 e, and the bound by the multiplier as often.
    """
    return float(4 * 1.01 * (relative_rounding(ask) + underflow(ask)) * np.abs(multipliers).sum())


def _low_rank(ask: Question, tolerance: float) -> tuple[np.ndarray, int]:
    """Return multipliers of slope_problem by its form max <B, t w'>, w = 2 u - 1, w_0 = 1: 1 - w^2 = 4 u (1 - u)."""
    low, high = gradient_bounds(ask)
    some = (low[0] != 0) | (high[0] != 0)  # as in slope_problem
    rows = ask.weights[0][some] * ask.c[some][:, None]
    B = 0.5 * np.concatenate([rows.sum(0)[:, None], rows.T], axis=1)
    alpha, beta, _, sweeps = bipartite_maxcut(B, tolerance=min(1e-7, 1e-3 * tolerance))
    return np.concatenate([alpha / 2, 2 * beta[1:]]), sweeps


def _moments(ask: Question, method: str, limits: Limits, memory_limit: float) -> _Outcome:
    program, scale = sparse(ask, 2) if method == "sparse-lasserre" else (hr(ask, int(method[-1])), None)
    N = program.constraints.size
    solver = "clarabel" if program.sizes["largest"] <= CLARABEL_UP_TO else "scs"
    need = (8 * (N * (N + 1) / 2) ** 2 if solver == "clarabel" else 8 * 60 * N**2) / 2**20
    if need > memory_limit:
        return _Outcome(None, MEMORY, f"needs about {need:.0f} MiB", sizes=program.sizes)
    accuracy = min(limits.tolerance * 1e-2, 1e-6) if solver == "clarabel" else limits.tolerance
    began = time.perf_counter()
    found = solve_moment_program(program, solver, tolerance=accuracy, time_limit=limits.time)
    if found.report.multipliers is None:
        late = limits.time is not None and time.perf_counter() - began >= limits.time
        return _Outcome(None, TIME if late else FAILED, f"{solver} returned no multipliers", sizes=program.sizes)
    value = proven_bound(program, found, scale, relative_rounding(ask) + underflow(ask))
    if value is None:
        return _Outcome(None, FAILED, "the multipliers prove nothing", sizes=program.sizes)
    verdict = TIME if found.report.status == Status.TIME_LIMIT else CERTIFIED
    return _Outcome(value, verdict, solver, sizes=program.sizes, evidence=proofs.Moments(program, found))


def _raised(a: float, b: float) -> float:
    """Return a number that is at least a + b."""
    return float(np.nextafter(a + b, np.inf)) if b else a


def _lipopt(ask: Question, degree: int, time_limit: float | None, batch: int = 6_000) -> _Outcome:
    began, most = time.perf_counter(), np.inf if time_limit is None else time_limit
    p = gradient_polynomial(ask)
    if degree < p.degree:
        raise InputError(f"method: lipopt-{degree} needs a degree of at least {p.degree} for this network.")
    try:
        program = krivine(p, degree)
    except TooLarge as error:
        return _Outcome(None, MEMORY, str(error))
    n = len(program.objective)
    if not n:  # no neuron is undecided and no input matters
        return _Outcome(_raised(program.constant, p.rounding))
    solver = LinearProgram(interior=True)
    columns = solver.add_columns(np.zeros(n), np.ones(n))
    graph = bipartite(p, program, ask.region.size) if degree == 3 else None
    where = None
    cuts = (program.rows, program.offsets)
    made: list[np.ndarray] = []  # the products that the cuts are sums of
    best, iterations = np.inf, 0
    while True:
        solver.add_rows(cuts[0], cuts[1], np.full(len(cuts[1]), np.inf))
        if time_limit is not None:
            solver.limit_time(time_limit - (time.perf_counter() - began))
        report = solver.maximise(columns, program.objective)
        iterations += 1
        sizes = {"variables": n, "rows": solver.rows}
        best = float(min(best, _raised(_raised(program.constant, report.bound), p.rounding)))
        if report.x is None or time.perf_counter() - began > most:
            late = report.status == Status.TIME_LIMIT or report.x is not None
            reason = "cuts were still missing" if degree == 3 else "stopped before the optimum"
            return _Outcome(best, TIME if late else FAILED, reason, iterations, sizes)
        if degree != 3 or (graph is not None and best - graph.floor <= 1e-6 * (1 + abs(best))):
            break
        found = violated_cycles(graph, report.x, batch) if graph is not None else None
        if (found is None or not len(found[1])) and not (graph is not None and graph.complete):
            if where is None:
                where = triangles(p, program, largest=2_000_000)
            if where is None:
                return _Outcome(best, MEMORY, "too many triangles; the bound is without them", iterations, sizes)
            found = violated_triangles(where, report.x, batch)
        if found is None or not len(found[1]):
            break
        cuts = found[:2]
        made.append(found[2])
    if report.status != Status.SOLVED:
        return _Outcome(best, FAILED, f"HiGHS: {report.reason}", iterations, sizes)
    return _Outcome(best, CERTIFIED, "", iterations, sizes, proofs.Products(program, made, report.multipliers))
