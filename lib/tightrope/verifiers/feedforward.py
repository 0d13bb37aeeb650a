"""Is a feed-forward network robust on a region? Attack, then linear bounds, then Shor's relaxation where it fits."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

import tightrope
from tightrope.attacks import Attack, pgd
from tightrope.certificates import Verdict
from tightrope.errors import InputError, UnknownNameError
from tightrope.networks import FeedForward
from tightrope.propagation.lines import RELAXATIONS
from tightrope.propagation.margins import proven_margins
from tightrope.regions import Region
from tightrope.solvers.report import Stop, end_if
from tightrope.solvers.threads import single_thread
from tightrope.verifiers import robustness
from tightrope.verifiers.report import LabelDecision, RobustnessReport, combined

METHODS = (*robustness.METHODS, *RELAXATIONS)
#: Relaxations of the cascade, from the cheapest; none is always tighter than another.
CASCADE = ("box", "crown", "deepz")
#: Most hidden neurons for which the cascade goes on with Shor's relaxation.
LARGEST_SDP = 300
_OPEN = "not certified by this relaxation"


def verify_feedforward(
    network: FeedForward,
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
    network, region, label, targets, attack, tolerance, time_limit, seed, stop
        As in :func:`tightrope.verifiers.robustness.verify`, which calls this function.
    method
        "cascade": the labels that the attack does not reach by linear bounds (:data:`CASCADE`); what they leave open
        by Shor's relaxation of the same function written as a monDEQ (:meth:`FeedForward.to_mondeq`), with at most
        :data:`LARGEST_SDP` hidden neurons. A name of :data:`tightrope.propagation.lines.RELAXATIONS`: these linear
        bounds only. The others of :data:`tightrope.verifiers.robustness.METHODS`: Shor's relaxation by that solver.
    order
        Of Shor's relaxation.

    Returns
    -------
    RobustnessReport
        Linear bounds include their rounding (:mod:`tightrope.propagation.rounding`) and come without a certificate;
        those of Shor's relaxation have one, for the monDEQ. Boxes and balls are taken as they are; a polytope's linear
        bounds are those of its box, and balls of other norms than 1, 2 and infinity those of an enclosure.
    """
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    conic_method = "cascade" if method in RELAXATIONS else method
    targets = robustness.checked(network, region, label, targets, conic_method, tolerance, time_limit)
    robustness.check_order(order, conic_method, sum(network.sizes[1:-1]), region)
    options = {"method": method, "order": order, "tolerance": tolerance, "time_limit": time_limit, "stop": stop}
    if method in RELAXATIONS and str(order) != "1":
        raise InputError(f"order: {order} goes with Shor's relaxation, not with {method}.")
    began = time.perf_counter()
    with single_thread():
        scores = network.logits(region.center)
        if not np.isfinite(scores).all():
            raise InputError("network: its scores at the region's centre are not finite; scale its weights down.")
        found = _attacked(network, region, label, targets, scores, attack, seed)
        margins = scores - scores[label]
        decisions = {t: _open(t, float(margins[t]), found.best_margin[t]) for t in targets}
        for target, hit in found.attacks.items():
            if target in decisions and (method == "cascade" or margins[target] >= 0):
                decisions[target] = _falsified(decisions[target], hit)
        _prove(network, region, label, decisions, options)
    for target, hit in found.attacks.items():
        if target in decisions and decisions[target].verdict is not Verdict.FALSIFIED:
            decisions[target] = replace(
                decisions[target],
                verdict=Verdict.FALSIFIED,
                reason="an attack reaches this label",
                attack_margin=hit.margin,
            )
    ordered = tuple(decisions[target] for target in sorted(decisions))
    best = max(found.attacks.values(), key=lambda hit: hit.margin, default=None)
    verdict = Verdict.FALSIFIED if found.attacks else combined(list(ordered))
    return RobustnessReport(verdict, label, int(np.argmax(scores)), ordered, best, time.perf_counter() - began)


@dataclass(frozen=True, eq=False)
class _Found:
    attacks: dict[int, Attack]
    best_margin: np.ndarray


def _attacked(network, region, label, targets, scores, attack, seed) -> _Found:
    """Attacks on the targets, and those at the centre on any label; a tie counts against the label."""
    attacks, best = {}, np.full(network.classes, np.nan)
    if attack:
        result = pgd(network, region, label, targets=targets, restarts=3, steps=40, seed=seed)
        attacks, best = dict(result.attacks), result.best_margin
    for target in range(network.classes):
        margin = float(scores[target] - scores[label])
        if target != label and margin >= 0 and target not in attacks:
            attacks[target] = Attack(region.center.copy(), target, margin)
    return _Found(attacks, best)


def _open(target: int, nominal: float, best: float) -> LabelDecision:
    margin = float(best) if np.isfinite(best) else None
    return LabelDecision(target, Verdict.UNKNOWN, None, nominal, margin, "", "", None, 0, 0.0, "nothing was tried")


def _falsified(decision: LabelDecision, hit: Attack) -> LabelDecision:
    margin = hit.margin if decision.attack_margin is None else max(hit.margin, decision.attack_margin)
    return replace(decision, verdict=Verdict.FALSIFIED, attack_margin=margin, method="attack", solver="pgd", reason="")


def _prove(network: FeedForward, region: Region, label: int, decisions: dict[int, LabelDecision], options: dict):
    """Replace the open decisions by what bounds prove, from the cheapest method to the tightest."""
    method, stop = options["method"], options["stop"]
    for name in CASCADE if method == "cascade" else (method,) if method in RELAXATIONS else ():
        if _undecided(decisions):
            end_if(stop)
            _by_lines(network, region, label, name, decisions)
    undecided = _undecided(decisions)
    if method in RELAXATIONS or not undecided:
        return
    neurons = sum(network.sizes[1:-1])
    if method == "cascade" and neurons > LARGEST_SDP:
        for target in undecided:
            reason = (
                f"not certified by linear bounds; Shor's relaxation is for {LARGEST_SDP} hidden neurons, not {neurons}"
            )
            decisions[target] = replace(decisions[target], reason=reason)
        return
    report = robustness.verify(network.to_mondeq(), region, label, targets=undecided, attack=False, **options)
    for new in report.decisions:
        old = decisions[new.label]
        if new.bound is None and old.bound is not None:  # a failed solve leaves the linear bound
            decisions[new.label] = replace(old, reason=f"{old.reason}; Shor's relaxation: {new.reason}")
        elif old.bound is None or new.bound < old.bound:
            decisions[new.label] = replace(new, nominal_margin=old.nominal_margin, attack_margin=old.attack_margin)


def _undecided(decisions: dict[int, LabelDecision]) -> list[int]:
    return [target for target, decision in decisions.items() if decision.verdict is Verdict.UNKNOWN]


def _by_lines(network: FeedForward, region: Region, label: int, name: str, decisions: dict[int, LabelDecision]):
    """Linear bounds of all open targets at once; a bound is kept where it is the best so far."""
    began = time.perf_counter()
    proven = proven_margins(network, region, label, name)
    undecided = _undecided(decisions)
    seconds = (time.perf_counter() - began) / len(undecided)
    for target in undecided:
        old, bound = decisions[target], float(proven[target])
        seconds += old.seconds
        if not np.isfinite(bound):
            decisions[target] = replace(old, seconds=seconds, reason=f"{name}: the bound is not finite")
        elif old.bound is None or bound < old.bound:
            verdict, reason = (Verdict.CERTIFIED, "") if bound < 0 else (Verdict.UNKNOWN, _OPEN)
            decisions[target] = replace(
                old, verdict=verdict, bound=bound, method=name, solver=f"propagation {tightrope.__version__}",
                seconds=seconds, reason=reason,
            )  # fmt: skip
