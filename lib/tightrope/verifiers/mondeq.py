"""Shor's relaxation of a monDEQ on a region: the stage that decides what an attack does not reach."""

import time
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import scipy.sparse as sp

import tightrope
from tightrope import gram_proofs
from tightrope.errors import CertificateError, RegionError
from tightrope.problems.robustness import robustness_model
from tightrope.proofs import DualBound
from tightrope.question import Question, Verdict
from tightrope.relaxations.shor import MomentProgram, objective_matrix, shor_constraints
from tightrope.solvers import conic
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint, Iterate
from tightrope.solvers.report import SolveReport, Status, end_if
from tightrope.solvers.sound import SoundBound, sound_bound
from tightrope.solvers.transfer import Transfer, supports
from tightrope.verifiers.report import LabelDecision
from tightrope.verifiers.robustness import Progress
from tightrope.verifiers.tightening import LIMITS, Reweighting, Tightening, reweightable


def by_shor(progress: Progress, ellipsoids: bool = False) -> None:
    """Decide the open targets, the closest label first: what proves it proves most of the others too.

    With `ellipsoids`, for boxes of many inputs, order 1 is that of :class:`tightrope.verifiers.tightening.Reweighting`.
    """
    decide = _Decider(progress, ellipsoids)
    for target in sorted(progress.open, key=lambda t: -progress.decisions[t].nominal_margin):
        progress.decisions[target] = decide(target)


class _Decider:
    """Decides one target after the other by a relaxation, sharing what the targets of a region share."""

    def __init__(self, progress: Progress, ellipsoids: bool):
        question = progress.question
        self.progress, self.limits = progress, progress.limits
        self.network, self.region, self.label = question.mondeq, question.region, question.label
        self.method, self.order = progress.method, progress.order
        self.model = robustness_model(self.network, self.region, self.label)
        self._transfer = Transfer(self.model) if self.method == "cascade" and supports(self.model) else None
        self._warm: Iterate | None = None
        self._reweighting = None
        if ellipsoids and reweightable(self._tightening.base):
            self._reweighting = Reweighting(self._tightening.base, progress.open)

    def __call__(self, target: int) -> LabelDecision:
        end_if(self.limits.stop)
        began = time.perf_counter()
        decision = self._first_order(target, began)
        if self.order != "1" and (decision.verdict is not Verdict.CERTIFIED or self.method == "interior-point"):
            return (self._second_order if self.order == "2" else self._tightened)(target, decision, began)
        return decision

    def _first_order(self, target: int, began: float) -> LabelDecision:
        if self._reweighting is not None:
            found = self._reweighting(target, self.limits)
            return self._decision(target, found.report, found.bound, began, found.multipliers)
        objective = objective_matrix(self.model.problem(target).objective)
        if self._transfer is not None:
            value, multipliers = self._transfer(target)  # those of the targets solved so far, adapted to this one
            bound = sound_bound(self.data, objective, multipliers) if np.isfinite(value) else None
            if bound is not None and bound.value < 0:
                return self._decision(target, None, bound, began)
        report = (self._conic if self.method in conic.SOLVERS else self._structured)(objective)
        bound = None if report.multipliers is None else sound_bound(self.data, objective, report.multipliers)
        return self._decision(target, report, bound, began)

    def _second_order(self, target: int, decision: LabelDecision, began: float) -> LabelDecision:
        """Return the decision by Lasserre's order 2, if it proves more than order 1 did."""
        try:
            proof = gram_proofs.margin(Question(self.network, self.region, self.label, [target]), self.limits)
        except (RegionError, CertificateError) as error:  # a norm, or numbers, that no file states
            return replace(decision, seconds=time.perf_counter() - began, reason=str(error))
        decision, bound = replace(decision, seconds=time.perf_counter() - began), gram_proofs.bound_of(proof)
        if bound is None or (decision.bound is not None and bound >= decision.bound):
            return decision
        return decision.bounded(bound, solver="clarabel", dual=None, proof=proof)

    def _tightened(self, target: int, decision: LabelDecision, began: float) -> LabelDecision:
        """Return the decision with bounds on h, and after rounds of cuts, if they prove more than order 1 did."""
        limits = replace(self.limits, tolerance=max(self.limits.tolerance, LIMITS.tolerance))
        cut = self._reweighting if self.order == "1+cuts" else None
        found = None if cut is None else cut.cut(target, limits)
        if found is None or found.bound is None or not found.bound.value < 0:
            found = self._tightening(target, limits)
        if found.bound is None or (decision.bound is not None and found.bound.value >= decision.bound):
            return replace(decision, seconds=time.perf_counter() - began)
        return self._decision(target, found.report, found.bound, began, found.multipliers)

    @cached_property
    def data(self) -> ArrowData:
        """The constraints of order 1."""
        return ArrowData(shor_constraints(self.model))

    @cached_property
    def _tightening(self) -> Tightening:
        return Tightening(self.model, **({} if self.order == "1+cuts" else {"rounds": 0}))

    @cached_property
    def _interior_point(self) -> InteriorPoint:
        return InteriorPoint(self.data)

    def _conic(self, objective: sp.csr_array) -> SolveReport:
        program = MomentProgram(objective, self.data.constraints)
        return conic.solve(program, self.method, tolerance=self.limits.tolerance, time_limit=self.limits.time)

    def _structured(self, objective: sp.csr_array) -> SolveReport:
        sign_only = self.method == "cascade"
        solve = partial(self._interior_point.solve, objective, sign_only=sign_only, **self.limits.options)
        start = self._warm if sign_only else None
        report, warm = solve(start=start)
        if start is not None and report.status in (Status.NUMERICAL, Status.FAILED):  # too close to the boundary
            report, warm = solve()
        self._warm = warm if report.multipliers is not None else None
        if self._transfer is not None:
            self._transfer.add(self._interior_point.multipliers(warm))
        return report

    def _decision(
        self, target: int, report: SolveReport | None, bound: SoundBound | None, began: float, own: dict | None = None
    ) -> LabelDecision:
        """Without a report the multipliers were transferred; `own` ones, by group, are those of a tightened problem."""
        new = replace(self.progress.decisions[target], method=self.method, seconds=time.perf_counter() - began)
        if report is None:
            new, status = replace(new, solver=f"transfer {tightrope.__version__}"), Status.SIGN_KNOWN
        else:
            gap, status = report.gap if np.isfinite(report.gap) else None, report.status
            new = replace(new, solver=f"{report.solver} {report.version}", gap=gap, iterations=report.iterations)
        if bound is None:
            return replace(new, verdict=Verdict.FAILED, bound=None, reason=str(status), dual=None)
        named = self.data.constraints.split(bound.multipliers) if own is None else own
        dual = DualBound(target, bound.value, named, None if own is None else self._tightening.bounds)
        new = new.bounded(bound.value, dual=dual)
        known = bound.value < 0 or status in (Status.SOLVED, Status.SIGN_KNOWN)
        return new if known else replace(new, reason=str(status))
