"""Stages that decide whether a feed-forward network is robust: linear bounds, branch and bound, Shor, MILP."""

import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import cast

import numpy as np

from tightrope import relu_proofs
from tightrope.attacks import check
from tightrope.errors import CertificateError, InputError, NetworkError
from tightrope.networks import Composition, Dense, FeedForward
from tightrope.proofs import Proof
from tightrope.propagation import layerwise
from tightrope.propagation.certify import composition_error, proven_margins, unstable_neurons
from tightrope.propagation.inputs import InputSet
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import Ball
from tightrope.solvers.report import end_if
from tightrope.verifiers import mondeq
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.mixed_integer import hidden_bounds, mixed_integer
from tightrope.verifiers.report import LabelDecision, RobustnessReport
from tightrope.verifiers.robustness import Progress, joined, run

TREE, MILP = "branch-and-bound", "milp"
#: Most neurons of either sign for which the cascade goes on with LP-ALL and branch and bound: about a minute.
MOST_UNSTABLE = 1500
#: Seconds of branch and bound without a time limit.
PATIENCE = 60.0
#: Most hidden neurons for which the cascade goes on with Shor's relaxation; on boxes, most neurons of either sign, and
#: most hidden neurons of all: seconds a label.
LARGEST_SDP, MOST_UNSTABLE_SDP, LARGEST_STACK = 300, 400, 600


def by_lines(progress: Progress, name: str) -> None:
    """Decide all open targets at once by linear bounds, rounding included; a polytope's are those of its box."""
    began, question, left = time.perf_counter(), progress.question, progress.open
    proven = proven_margins(progress.question.layers, question.region, question.label, name)
    if not np.isfinite(proven).all():
        progress.because(f"{name}: a bound is not finite")
    progress.bounded(left, proven[left], name, time.perf_counter() - began)


def by_milp(progress: Progress) -> None:
    """Decide the open targets by mixed-integer programs: COMPUTED at best, and without a bound, as none is proven."""
    question = progress.question
    if question.box is None:
        return
    hidden, limits = hidden_bounds(question), replace(progress.limits, time=progress.limits.time or PATIENCE)
    for target in progress.open:
        end_if(limits.stop)
        asked = Question(question.network, question.region, question.label, [target])
        found = mixed_integer(asked, limits, hidden=hidden)
        if found.attack is not None:
            progress.reached(found.attack, "highs")
        new = replace(progress.decisions[target], verdict=found.verdict, reason=found.reason, solver="highs")
        progress.decisions[target] = replace(new, method=MILP, seconds=found.seconds)


def by_lp_all(progress: Progress) -> None:
    """Decide by LP-ALL, on boxes, if at most :data:`MOST_UNSTABLE` neurons have either sign."""
    if progress.question.box is not None and not _too_many(progress, MOST_UNSTABLE):
        _lp_all(progress, progress.question.box)


def _lp_all(progress: Progress, box: Ball) -> tuple[FeedForward, layerwise.Layerwise]:
    """Bound the open targets by LP-ALL; return the network of the label's output and theirs, with the bounds."""
    began, still = time.perf_counter(), progress.open
    few = _outputs(progress.question.layers, [progress.question.label, *still])
    root = layerwise.layerwise(few, InputSet.from_balls([box]), 0, decide=True)
    progress.bounded(still, root.margins.numpy()[1:], "lp-all", time.perf_counter() - began)
    return few, root


def by_tree(progress: Progress) -> None:
    """Decide by LP-ALL, then branch and bound on the open targets together; again on the rest after each attack.

    On boxes only; in the cascade if at most :data:`MOST_UNSTABLE` neurons have either sign. Of another nonlinearity
    than ReLU it ends with LP-ALL.
    """
    network, label, box = progress.question.layers, progress.question.label, progress.question.box
    if box is None:
        return
    if progress.method == "cascade" and (unstable := _too_many(progress, MOST_UNSTABLE)):
        progress.because(f"{unstable} unstable neurons, more than {MOST_UNSTABLE}: try method={TREE!r}")
        return
    patience = progress.limits.time or PATIENCE
    ends = time.perf_counter() + patience
    while progress.open:
        few, root = _lp_all(progress, box)
        rest, left = progress.open, ends - time.perf_counter()
        if rest and not network.is_relu:
            progress.because("branch and bound splits ReLU only")
            break
        if not rest or left <= 0:
            progress.because(f"branch and bound: time limit of {patience:g} s")
            break
        found = branch_and_bound(Question(few, box, 0), replace(progress.limits, time=left), root=root)
        hit = None if found.attack is None else check(Question(network, box, label, rest), found.attack.point)
        proven = found.bound if found.verdict is Verdict.CERTIFIED else np.inf
        progress.bounded(rest, np.full(len(rest), proven), TREE, found.seconds, found.subproblems)
        if hit is not None:
            progress.reached(hit, TREE)
        elif progress.open:
            progress.because(f"branch and bound: {found.reason or 'its attack did not hold'}")
            break


def by_shor(progress: Progress) -> None:
    """Decide the open targets by Shor's relaxation of the same function as a monDEQ; the best bounds so far are kept.

    In the cascade for dense layers on boxes with at most :data:`MOST_UNSTABLE_SDP` neurons of either sign of at most
    :data:`LARGEST_STACK`, by reweighting (:mod:`tightrope.verifiers.tightening`); else with at most
    :data:`LARGEST_SDP` neurons.
    """
    question, network = progress.question, progress.question.layers
    cascade, shared = progress.method == "cascade", question.box is not None and network.is_dense
    if cascade:
        most = LARGEST_STACK if shared else LARGEST_SDP
        if question.neurons > most:
            progress.because(f"Shor's relaxation is for at most {most} hidden neurons, not {question.neurons}")
            return
        if shared and (unstable := _too_many(progress, MOST_UNSTABLE_SDP)):
            progress.because(f"Shor's relaxation is for at most {MOST_UNSTABLE_SDP} unstable neurons, not {unstable}")
            return
    try:
        same = network.to_mondeq()
    except NetworkError as error:  # its scales have no common one
        progress.because(f"Shor's relaxation: {error}")
        return
    asked = Question(same, question.region, question.label, progress.open)
    stage = partial(mondeq.by_shor, ellipsoids=cascade and shared)
    report = run(asked, (stage,), progress.method, progress.order, progress.limits)
    inexact = composition_error(network, question.region)
    for new in report.decisions:
        new = _loosened(new, float(inexact[new.label] + inexact[question.label]))
        old = progress.decisions[new.label]
        seconds = old.seconds + new.seconds
        new = replace(new, nominal_margin=old.nominal_margin, attack_margin=old.attack_margin)
        if new.verdict is not Verdict.CERTIFIED and (old.bound is not None or new.bound is not None):
            better = new.bound is not None and (old.bound is None or new.bound < old.bound)
            new = replace(new if better else old, reason=joined(old.reason, new.reason))
        progress.decisions[new.label] = replace(new, seconds=seconds)


def _loosened(decision: LabelDecision, error: float) -> LabelDecision:
    """Return the decision for a network whose margins are off by at most the error."""
    if error == 0 or decision.bound is None:
        return decision
    bound = float(np.nextafter(decision.bound + error, np.inf))
    if not np.isfinite(bound):
        return replace(decision, bound=None, verdict=Verdict.UNKNOWN, reason="composed layers: rounding overflows")
    if decision.verdict is Verdict.CERTIFIED and not bound < 0:
        return replace(decision, bound=bound, verdict=Verdict.UNKNOWN, reason="0 up to the rounding of composed layers")
    return replace(decision, bound=bound)


def certificates(report: RobustnessReport, decisions: Sequence[LabelDecision]) -> Proof:
    """Return one file for the labels that are certified, or if none is, for those with a bound.

    What decided them is solved again, as a report keeps no slopes and no trees. If that was Shor's relaxation, the file
    is about the network's :meth:`~tightrope.networks.FeedForward.to_mondeq`, and so are the bounds of its other labels;
    an InputError if it does not prove these, or cannot be exact.
    """
    question, network, box = report.question, report.question.layers, report.question.box
    certified = [decision for decision in decisions if decision.verdict is Verdict.CERTIFIED]
    chosen = certified or [decision for decision in decisions if decision.bound is not None]
    names = dict.fromkeys(decision.method for decision in chosen)
    labels = [question.label, *(decision.label for decision in chosen)]
    if not chosen:
        raise InputError("certificate: nothing is proven of these labels that has one.")
    if any(decision.provable for decision in chosen):
        return _as_mondeq(report, chosen)
    if box is None or not {*layerwise.METHODS, TREE} & {*names}:
        proof = relu_proofs.linear(Question(network, question.region, question.label, labels[1:]), *names)
    else:
        few = _outputs(network, labels)
        name = report.method if report.method in layerwise.METHODS else "lp-all"
        root = layerwise.layerwise(few, InputSet.from_balls([box]), 0, name, keep=True)
        leaves: tuple[relu_proofs.Leaves, ...] = ()
        if certified and network.is_relu and not root.worst < 0:
            leaves = branch_and_bound(Question(few, box, 0), root=root, keep=True).leaves
        proof = relu_proofs.layerwise(network, box, root, leaves, labels)
    claims = () if proof.certificate is None else proof.certificate.claims
    weak = [claim["target"] for claim in claims if "bound" in claim and not Fraction(claim["bound"]) < 0]
    if certified and weak:
        raise CertificateError(f"certificate: the checker's arithmetic does not prove the sign of labels {weak}.")
    return proof


def _as_mondeq(report: RobustnessReport, decisions: Sequence[LabelDecision]) -> Proof:
    """Return the file about the network as a monDEQ; what other stages decided is solved by Shor's relaxation too."""
    question, network = report.question, report.question.layers
    if composition_error(network, question.region).any():
        raise InputError("certificate: by Shor's relaxation there is none of a network with composed layers.")
    known = [decision for decision in decisions if decision.provable]
    others = [decision.label for decision in decisions if not decision.provable]
    same = replace(report, question=Question(network.to_mondeq(), question.region, question.label), attack=None)
    if others:
        asked = Question(same.network, question.region, question.label, others)
        more = run(asked, (partial(mondeq.by_shor, ellipsoids=True),), "cascade", "1", Limits())
        if more.verdict is not Verdict.CERTIFIED:
            raise InputError("certificate: Shor's relaxation proves some labels only; ask for certificate(label).")
        known += more.decisions
    return replace(same, decisions=tuple(known)).certificates()


def _too_many(progress: Progress, most: int) -> int:
    """Return the number of neurons of either sign on the box if there are more than `most`, else 0."""
    found = unstable_neurons(progress.question.layers, cast(Ball, progress.question.box))
    return found if found > most else 0


def _outputs(network: FeedForward, labels: list[int]) -> FeedForward:
    """Return the network with these of its outputs only."""
    select = Dense(np.eye(network.classes)[labels], np.zeros(len(labels)))
    return replace(network, layers=(*network.layers[:-1], Composition((network.layers[-1], select))))
