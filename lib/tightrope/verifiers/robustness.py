"""Is a network robust on a region? One decision per target label, each a proof, an attack, or an honest unknown.

:func:`verify` takes every kind of network; what is here is for monDEQs, :mod:`tightrope.verifiers.feedforward` has the
rest.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

import tightrope
from tightrope.attacks import Attack, margins_at, pgd
from tightrope.certificates import Certificate, Cuts, SoundBound, Verdict, region_sha256, sound_bound
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.regions import INFINITY, Ball, Polytope, Region
from tightrope.relaxations.cuts import cut_model
from tightrope.relaxations.lasserre import LARGEST, all_pairs, lasserre
from tightrope.relaxations.shor import ShorProgram, objective_matrix, shor_constraints
from tightrope.solvers import conic
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint, Iterate
from tightrope.solvers.report import SolveReport, Status, Stop, end_if
from tightrope.solvers.transfer import Transfer, supports
from tightrope.threads import one_blas_thread
from tightrope.verifiers.report import LabelDecision, RobustnessReport, checked_targets, combined
from tightrope.verifiers.tightening import Tightening

METHODS = ("cascade", "interior-point", "reduced-dual", *conic.SOLVERS)
ORDERS = ("1", "1+cuts", "2")


def methods(network: MonDEQ | FeedForward) -> tuple[str, ...]:
    """Return the names that :func:`verify` takes as `method` for this network."""
    if isinstance(network, FeedForward):
        from tightrope.verifiers import feedforward

        return feedforward.METHODS
    return METHODS


def verify(
    network: MonDEQ | FeedForward,
    region: Region,
    label: int,
    *,
    targets: Iterable[int] | None = None,
    method: str = "cascade",
    order: str = "1",
    attack: bool = True,
    tolerance: float = 1e-5,
    time_limit: float | None = None,
    seed: int = 0,
    stop: Stop | None = None,
) -> RobustnessReport:
    """Decide for each target label whether it can reach the score of `label` on the region.

    Parameters
    ----------
    network, region
        The network, and a ball, zonotope, ellipsoid or polytope in its input units.
    label
        The true label y.
    targets
        Labels to decide; all others than y by default.
    method
        "cascade": the closest label by the interior point, stopped at the first proof of the sign; the others by its
        multipliers (solvers.transfer) where they suffice, else by the interior point, warm-started.
        "interior-point", "scs", "clarabel", "mosek": Shor's relaxation solved to `tolerance` by that solver.
        "reduced-dual": multipliers of the reduced dual, all targets together, stopped at the sign.
        For feed-forward networks "cascade" starts with linear bounds, and the names of
        :data:`tightrope.propagation.lines.RELAXATIONS` (box, deepz, crown, ...) are methods too; see
        :func:`tightrope.verifiers.feedforward.verify_feedforward`.
    order
        "1": Shor's relaxation, the paper's model. "1+cuts": what that leaves open (with method interior-point: every
        label) is solved again with bounds on z and h and products of facts (verifiers.tightening); for balls, with the
        methods cascade and interior-point. "2": Lasserre's order 2 of the problem with all products of facts, for balls
        and at most six variables (relaxations.lasserre), by Clarabel; its proof has no certificate.
    attack
        Whether to attack first; a target that is reached needs no relaxation (the methods other than the cascade still
        solve it, for the value).
    tolerance
        Relative gap of a solve.
    time_limit
        Seconds for one solve.
    seed
        For the attack.
    stop
        Asked between the iterations of a solve and before each target (Clarabel, SCS and MOSEK cannot be asked inside
        a solve); True ends everything with a :class:`StoppedError`: for a question that nobody waits for any more.

    Raises
    ------
    UnknownNameError, SolverUnavailableError, InputError
        Before any solve.
    """
    if isinstance(network, FeedForward):
        from tightrope.verifiers.feedforward import verify_feedforward  # which calls this function in its turn

        return verify_feedforward(
            network, region, label, targets=targets, method=method, order=order, attack=attack, tolerance=tolerance,
            time_limit=time_limit, seed=seed, stop=stop,
        )  # fmt: skip
    targets = checked(network, region, label, targets, method, tolerance, time_limit)
    check_order(order, method, network.width, region)
    with one_blas_thread():  # the attack's matrices are small too
        return _verified(network, region, label, targets, method, order, attack, tolerance, time_limit, seed, stop)


def _verified(network, region, label, targets, method, order, attack, tolerance, time_limit, seed, stop):
    """:func:`verify` with checked arguments."""
    began = time.perf_counter()
    scores = network.logits(region.center)
    if not np.isfinite(scores).all():
        raise InputError("network: its scores at the region's centre are not finite; scale its weights down.")
    predicted = int(np.argmax(scores))
    nominal = scores - scores[label]
    found: dict[int, Attack] = {}
    best_margin = np.full(network.classes, np.nan)
    if attack:
        result = pgd(network, region, label, targets=targets, restarts=2, steps=20, seed=seed)
        found, best_margin = dict(result.attacks), result.best_margin
    # The centre itself may be labelled wrongly, whatever the targets are; a tie counts against the label.
    at_center = margins_at(network, label, region.center)
    reached = (at_center >= 0) & (np.arange(network.classes) != label)
    if reached.any():
        reached &= bool(region.contains(region.center))
    for target in range(network.classes):
        if reached[target] and target not in found:
            found[target] = Attack(region.center.copy(), target, float(at_center[target]))
    open_targets = [t for t in targets if not reached[t]]
    decide = _Decider(network, region, label, open_targets, method, tolerance, time_limit, str(order), stop)
    decisions = []
    # The closest label first: what proves it proves most of the others too.
    for target in sorted(targets, key=lambda t: -nominal[t]):
        margin = float(best_margin[target]) if np.isfinite(best_margin[target]) else None
        if target in found and (method == "cascade" or reached[target]):
            margin = max(found[target].margin, -np.inf if margin is None else margin)
            decision = LabelDecision(
                target, Verdict.FALSIFIED, None, float(nominal[target]), margin, "attack", "pgd", None, 0, 0.0
            )
        else:
            decision = replace(decide(target), nominal_margin=float(nominal[target]), attack_margin=margin)
            if target in found:
                decision = replace(decision, verdict=Verdict.FALSIFIED, reason="an attack reaches this label")
        decisions.append(decision)
    decisions.sort(key=lambda decision: decision.label)
    best = max(found.values(), key=lambda a: a.margin, default=None)
    verdict = Verdict.FALSIFIED if found else combined(decisions)
    return RobustnessReport(verdict, label, predicted, tuple(decisions), best, time.perf_counter() - began)


def checked(network, region, label, targets, method, tolerance, time_limit) -> list[int]:
    """The list of targets, after every check that needs no solve."""
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    if method in conic.SOLVERS:
        conic.require(method)
    if not isinstance(network, MonDEQ | FeedForward):
        raise InputError(f"network: expected a MonDEQ or a FeedForward, got {type(network).__name__}.")
    if method == "reduced-dual" and isinstance(region, Polytope):
        raise RegionError("method: reduced-dual covers no polytopes; use interior-point.")
    if method == "reduced-dual" and not (region.norm == INFINITY or (region.norm == 2 and not region.clipped)):
        raise RegionError(
            f"method: reduced-dual covers L-infinity balls and L2 balls without clipping, not L{region.norm:g}"
            f"{' with clipping' if region.clipped else ''}; use interior-point."
        )
    if not 0 < tolerance < np.inf:
        raise InputError(f"tolerance: expected a positive number, got {tolerance!r}.")
    if time_limit is not None and not time_limit > 0:
        raise InputError(f"time_limit: expected a positive number of seconds or None, got {time_limit!r}.")
    return checked_targets(network, region, label, targets)


def check_order(order: object, method: str, width: int, region: Region) -> None:
    """Raise unless the order is known and goes with the method, the region and the number of hidden neurons."""
    if str(order) not in ORDERS:
        raise UnknownNameError("order", order, ORDERS)
    order = str(order)
    if order != "1" and method not in ("cascade", "interior-point"):
        raise InputError(f"order: {order} goes with the methods cascade and interior-point, not {method}.")
    if order != "1" and not isinstance(region, Ball):
        raise RegionError(f"order: {order} needs bounds that are known for balls, not for a {type(region).__name__}.")
    if order == "2":
        conic.require("clarabel")
        if width + region.size > LARGEST:
            raise InputError(f"order: 2 is for p + p0 <= {LARGEST}, not {width} + {region.size}; use 1+cuts.")


class _Decider:
    """Decides one target after the other by a relaxation, sharing what the targets of a region share."""

    def __init__(self, network, region, label, targets, method, tolerance, time_limit, order, stop):
        self.network, self.region, self.label, self.targets = network, region, label, targets
        self.method, self.tolerance, self.time_limit, self.order = method, tolerance, time_limit, order
        self.stop = stop
        self._tightening: Tightening | None = None
        self._solve: Callable | None = None
        self._reports: dict[int, SolveReport] | None = None
        self._warm: Iterate | None = None
        self._transfer: Transfer | None = None

    def __call__(self, target: int) -> LabelDecision:
        end_if(self.stop)
        began = time.perf_counter()
        if self._solve is None:  # prepared at the first target that needs it
            self._prepare()
        objective = objective_matrix(self.model.problem(target).objective)
        if self._transfer is not None:
            report = self._transferred(target, began)
            bound = None if report is None else sound_bound(self.data, objective, report.multipliers)
            if bound is not None and bound.value < 0:
                return self._decision(target, report, bound, time.perf_counter() - began)
        report = self._solve(target, objective)
        bound = None if report.multipliers is None else sound_bound(self.data, objective, report.multipliers)
        decision = self._decision(target, report, bound, time.perf_counter() - began)
        if self.order != "1" and (decision.verdict is not Verdict.CERTIFIED or self.method == "interior-point"):
            return (self._second_order if self.order == "2" else self._tightened)(target, decision, began)
        return decision

    def _second_order(self, target: int, decision: LabelDecision, began: float) -> LabelDecision:
        """The decision by Lasserre's order 2, if it proves more than order 1 did."""
        model = all_pairs(cut_model(self.model, fixpoint_bounds(self.network, self.region).h))
        bound = conic.solve_moments(lasserre(model.problem(target)), "clarabel", time_limit=self.time_limit)
        if bound is None or not np.isfinite(bound) or (decision.bound is not None and bound >= decision.bound):
            return replace(decision, seconds=time.perf_counter() - began)
        verdict, reason = Verdict.UNKNOWN, "not certified by this relaxation"
        if bound < 0:
            verdict, reason = Verdict.CERTIFIED, "order 2: proven here, without a certificate"
        seconds, solver = time.perf_counter() - began, "clarabel"
        return replace(
            decision, verdict=verdict, bound=bound, solver=solver, seconds=seconds, reason=reason, certificate=None
        )

    def _tightened(self, target: int, decision: LabelDecision, began: float) -> LabelDecision:
        """The decision after rounds of cuts, if they prove more than order 1 did."""
        if self._tightening is None:
            self._tightening = Tightening(self.model)
        found = self._tightening(
            target, tolerance=max(self.tolerance, 1e-4), time_limit=self.time_limit, stop=self.stop
        )
        seconds = time.perf_counter() - began
        if found.bound is None or (decision.bound is not None and found.bound.value >= decision.bound):
            return replace(decision, seconds=seconds)
        return self._decision(target, found.report, found.bound, seconds, found.multipliers, found.cuts)

    def _prepare(self) -> None:
        self.model = robustness_model(self.network, self.region, self.label)
        self.data = ArrowData(shor_constraints(self.model))
        if self.method in conic.SOLVERS:
            self._solve = self._conic
        elif self.method == "reduced-dual":
            self._solve = self._reduced
        else:
            self._interior_point = InteriorPoint(self.data)
            self._solve = self._structured
            if self.method == "cascade" and supports(self.model):
                self._transfer = Transfer(self.model)

    def _conic(self, target, objective) -> SolveReport:
        program = ShorProgram(objective, self.data.constraints)
        return conic.solve(program, self.method, tolerance=self.tolerance, time_limit=self.time_limit)

    def _reduced(self, target, objective) -> SolveReport:
        """All targets descend together, at the first one asked for."""
        from tightrope.solvers import reduced_dual  # PyTorch: seconds to import, and only this method needs it

        if self._reports is None:
            reports = reduced_dual.solve(self.model, self.targets, time_limit=self.time_limit, stop=self.stop)
            self._reports = dict(zip(self.targets, reports, strict=True))
        return self._reports[target]

    def _structured(self, target, objective) -> SolveReport:
        sign_only = self.method == "cascade"
        options = {
            "tolerance": self.tolerance,
            "time_limit": self.time_limit,
            "sign_only": sign_only,
            "stop": self.stop,
        }
        start = self._warm if sign_only else None
        report, warm = self._interior_point.solve(objective, start=start, **options)
        if start is not None and report.status in (Status.NUMERICAL, Status.FAILED):  # too close to the boundary
            report, warm = self._interior_point.solve(objective, **options)
        self._warm = warm if report.multipliers is not None else None
        if self._transfer is not None:
            self._transfer.add(self._interior_point.multipliers(warm))
        return report

    def _transferred(self, target: int, began: float) -> SolveReport | None:
        """Multipliers of the targets solved so far, adapted to this one; None if there are none."""
        with one_blas_thread():
            value, multipliers = self._transfer(target)
        if not np.isfinite(value):
            return None
        seconds = time.perf_counter() - began
        return SolveReport(
            Status.SIGN_KNOWN,
            np.nan,
            value,
            multipliers,
            np.nan,
            0.0,
            np.nan,
            0,
            seconds,
            "transfer",
            tightrope.__version__,
        )

    def _decision(
        self,
        target: int,
        report: SolveReport,
        bound: SoundBound | None,
        seconds: float,
        multipliers: dict[str, np.ndarray] | None = None,
        cuts: Cuts | None = None,
    ) -> LabelDecision:
        """`multipliers` by group and `cuts` are those of a tightened problem; without them the problem is order 1's."""
        certificate = None
        if bound is None:
            verdict, reason = Verdict.FAILED, str(report.status)
        else:
            certificate = Certificate(
                self.label,
                target,
                bound.value,
                bound.y0,
                bound.shift,
                self.data.constraints.split(bound.multipliers) if multipliers is None else multipliers,
                self.network.sha256(),
                region_sha256(self.region),
                cuts,
            )
            verdict, reason = certificate.verdict, ""
            if verdict is Verdict.UNKNOWN:
                settled = report.status in (Status.SOLVED, Status.SIGN_KNOWN)
                reason = "not certified by this relaxation" if settled else str(report.status)
        return LabelDecision(
            label=target,
            verdict=verdict,
            bound=None if bound is None else bound.value,
            nominal_margin=np.nan,
            attack_margin=None,
            method=self.method,
            solver=f"{report.solver} {report.version}",
            gap=report.gap if np.isfinite(report.gap) else None,
            iterations=report.iterations,
            seconds=seconds,
            reason=reason,
            certificate=certificate,
        )
