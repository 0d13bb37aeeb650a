"""Is a monDEQ robust on a region? Attack, then Shor's relaxation, then branch and bound, label by label."""

import time
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property, partial
from typing import cast

import numpy as np
import scipy.sparse as sp

import tightrope
from tightrope.arguments import require_network, require_region
from tightrope.attacks import Attack
from tightrope.certificates import Certificate, Cuts, SoundBound, Verdict, region_sha256, sound_bound
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.regions import Ball, Region
from tightrope.relaxations.cuts import cut_model
from tightrope.relaxations.lasserre import LARGEST, all_pairs, lasserre
from tightrope.relaxations.shor import ShorProgram, objective_matrix, shor_constraints
from tightrope.solvers import conic
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint, Iterate
from tightrope.solvers.report import SolveReport, Status, Stop, end_if
from tightrope.solvers.transfer import Transfer, supports
from tightrope.verifiers.phases import PATIENCE, Phases
from tightrope.verifiers.report import (
    NOT_CERTIFIED,
    LabelDecision,
    RobustnessReport,
    attack_then_prove,
    checked_targets,
    falsified,
    undecided,
)
from tightrope.verifiers.tightening import Tightening

METHODS = ("cascade", "interior-point", *conic.SOLVERS)
#: Other names of some of them.
SAME = {"shor": "interior-point"}
ORDERS = ("1", "1+bounds", "1+cuts", "2")
#: Restarts and steps of the attack.
RESTARTS, STEPS = 2, 20


def verify_mondeq(
    network: MonDEQ,
    region: Region,
    label: int,
    *,
    targets: Iterable[int] | None = None,
    method: str = "cascade",
    order: str = "1",
    complete: bool = True,
    attack: bool = True,
    tolerance: float = 1e-5,
    time_limit: float | None = None,
    seed: int = 0,
    stop: Stop | None = None,
) -> RobustnessReport:
    """Decide for each target label whether it can reach the score of `label` on the region.

    Parameters and errors are those of :func:`tightrope.verifiers.robustness.verify`.
    """
    targets = checked(network, region, label, targets, method, tolerance, time_limit)
    check_order(order, method, network.width, region)

    def prove(decisions: dict[int, LabelDecision], attacked: bool) -> list[Attack]:
        hits: list[Attack] = []
        still = undecided(decisions)
        if not still:
            return hits
        decide = _Decider(
            network,
            region,
            label,
            method=method,
            order=str(order),
            tolerance=tolerance,
            time_limit=time_limit,
            stop=stop,
        )
        # The closest label first: what proves it proves most of the others too.
        for target in sorted(still, key=lambda t: -decisions[t].nominal_margin):
            old = decisions[target]
            new = decide(target)
            decisions[target] = replace(new, nominal_margin=old.nominal_margin, attack_margin=old.attack_margin)
        if complete and method == "cascade":
            for target in undecided(decisions):
                decisions[target], hit = decide.exactly(decisions[target])
                hits += [hit] if hit is not None else []
        return hits

    effort, cascade = (RESTARTS, STEPS) if attack else None, method == "cascade"
    return attack_then_prove(network, region, label, targets, prove, effort=effort, seed=seed, cascade=cascade)


def checked(
    network: MonDEQ | FeedForward,
    region: Region,
    label: int,
    targets: Iterable[int] | None,
    method: str,
    tolerance: float,
    time_limit: float | None,
) -> list[int]:
    """Return the list of targets, after every check that needs no solve."""
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    if method in conic.SOLVERS:
        conic.require(method)
    require_network(network)
    require_region(region)
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

    def __init__(
        self,
        network: MonDEQ,
        region: Region,
        label: int,
        *,
        method: str,
        order: str,
        tolerance: float,
        time_limit: float | None,
        stop: Stop | None,
    ):
        self.network, self.region, self.label = network, region, label
        self.method, self.order, self.tolerance, self.time_limit = method, order, tolerance, time_limit
        self.stop = stop
        self.model = robustness_model(network, region, label)
        self.data = ArrowData(shor_constraints(self.model))
        self._transfer = Transfer(self.model) if method == "cascade" and supports(self.model) else None
        self._warm: Iterate | None = None
        self._tightening: Tightening | None = None
        self._phases: Phases | None = None

    def __call__(self, target: int) -> LabelDecision:
        end_if(self.stop)
        began = time.perf_counter()
        objective = objective_matrix(self.model.problem(target).objective)
        if self._transfer is not None:
            adapted, bound = self._transferred(self._transfer, target, objective)
            if bound is not None and bound.value < 0:
                return self._decision(target, adapted, bound, time.perf_counter() - began)
        report = (self._conic if self.method in conic.SOLVERS else self._structured)(objective)
        bound = None if report.multipliers is None else sound_bound(self.data, objective, report.multipliers)
        decision = self._decision(target, report, bound, time.perf_counter() - began)
        if self.order != "1" and (decision.verdict is not Verdict.CERTIFIED or self.method == "interior-point"):
            return (self._second_order if self.order == "2" else self._tightened)(target, decision, began)
        return decision

    def exactly(self, old: LabelDecision) -> tuple[LabelDecision, Attack | None]:
        """Return the decision of a label that the relaxation leaves open by its tree, and the attack if it met one."""
        if self._phases is None:
            try:
                self._phases = Phases(self.model)
            except RegionError as error:
                return replace(old, reason=f"{old.reason}; {error}"), None
        known = None if old.certificate is None or old.certificate.cuts is not None else old.certificate.multipliers
        limit = PATIENCE if self.time_limit is None else self.time_limit
        tree = self._phases(old.label, multipliers=known, time_limit=limit, stop=self.stop)
        better = old.bound is None or tree.bound < old.bound
        margins = [margin for margin in (old.attack_margin, tree.margin) if margin is not None and np.isfinite(margin)]
        new = replace(
            old,
            verdict=tree.verdict,
            bound=tree.bound if better else old.bound,
            attack_margin=max(margins, default=None),
            solver=f"phases {tightrope.__version__}",
            gap=None,
            iterations=old.iterations + tree.iterations,
            seconds=old.seconds + tree.seconds,
            reason=tree.reason,
            certificate=None if better else old.certificate,
            tree=tree,
        )
        return (new if tree.attack is None else falsified(new, tree.attack)), tree.attack

    def _second_order(self, target: int, decision: LabelDecision, began: float) -> LabelDecision:
        """Return the decision by Lasserre's order 2, if it proves more than order 1 did."""
        ball = cast(Ball, self.region)  # by check_order
        model = all_pairs(cut_model(self.model, fixpoint_bounds(self.network, ball).h))
        bound = conic.solve_lasserre(lasserre(model.problem(target)), "clarabel", time_limit=self.time_limit)
        if bound is None or not np.isfinite(bound) or (decision.bound is not None and bound >= decision.bound):
            return replace(decision, seconds=time.perf_counter() - began)
        verdict, reason = Verdict.UNKNOWN, NOT_CERTIFIED
        if bound < 0:
            verdict, reason = Verdict.CERTIFIED, "order 2: proven here, without a certificate"
        seconds, solver = time.perf_counter() - began, "clarabel"
        return replace(
            decision, verdict=verdict, bound=bound, solver=solver, seconds=seconds, reason=reason, certificate=None
        )

    def _tightened(self, target: int, decision: LabelDecision, began: float) -> LabelDecision:
        """Return the decision with bounds on h, and after rounds of cuts, if they prove more than order 1 did."""
        if self._tightening is None:
            rounds = {} if self.order == "1+cuts" else {"rounds": 0}
            self._tightening = Tightening(self.model, **rounds)
        found = self._tightening(
            target, tolerance=max(self.tolerance, 1e-4), time_limit=self.time_limit, stop=self.stop
        )
        seconds = time.perf_counter() - began
        if found.bound is None or (decision.bound is not None and found.bound.value >= decision.bound):
            return replace(decision, seconds=seconds)
        return self._decision(target, found.report, found.bound, seconds, found.multipliers, found.cuts)

    @cached_property
    def _interior_point(self) -> InteriorPoint:
        return InteriorPoint(self.data)

    def _conic(self, objective: sp.csr_array) -> SolveReport:
        program = ShorProgram(objective, self.data.constraints)
        return conic.solve(program, self.method, tolerance=self.tolerance, time_limit=self.time_limit)

    def _structured(self, objective: sp.csr_array) -> SolveReport:
        sign_only = self.method == "cascade"
        solve = partial(
            self._interior_point.solve,
            objective,
            tolerance=self.tolerance,
            time_limit=self.time_limit,
            sign_only=sign_only,
            stop=self.stop,
        )
        start = self._warm if sign_only else None
        report, warm = solve(start=start)
        if start is not None and report.status in (Status.NUMERICAL, Status.FAILED):  # too close to the boundary
            report, warm = solve()
        self._warm = warm if report.multipliers is not None else None
        if self._transfer is not None:
            self._transfer.add(self._interior_point.multipliers(warm))
        return report

    def _transferred(
        self, transfer: Transfer, target: int, objective: sp.csr_array
    ) -> tuple[SolveReport, SoundBound | None]:
        """Return the multipliers of the targets solved so far, adapted to this one, and the bound that they prove."""
        began = time.perf_counter()
        value, multipliers = transfer(target)
        bound = sound_bound(self.data, objective, multipliers) if np.isfinite(value) else None
        report = SolveReport(
            status=Status.SIGN_KNOWN,
            primal_value=np.nan,
            dual_value=value,
            multipliers=multipliers,
            primal_residual=np.nan,
            dual_residual=0.0,
            gap=np.nan,
            iterations=0,
            seconds=time.perf_counter() - began,
            solver="transfer",
            version=tightrope.__version__,
        )
        return report, bound

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
                reason = NOT_CERTIFIED if settled else str(report.status)
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
