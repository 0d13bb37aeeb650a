"""Is a feed-forward network robust on a region? Attack, linear bounds, branch and bound, Shor's relaxation."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

import tightrope
from tightrope.attacks import Attack, check, pgd
from tightrope.certificates import Verdict
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.networks import Composition, Dense, FeedForward
from tightrope.propagation import layerwise
from tightrope.propagation.lines import RELAXATIONS
from tightrope.propagation.margins import proven_margins
from tightrope.regions import INFINITY, Ball, Region
from tightrope.solvers.report import Stop, end_if
from tightrope.solvers.threads import single_thread
from tightrope.verifiers import robustness
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.report import LabelDecision, RobustnessReport, combined

TREE = "branch-and-bound"
BOUNDS = (*RELAXATIONS, *layerwise.METHODS)
METHODS = (*robustness.METHODS, *BOUNDS, TREE)
#: Relaxations of the cascade, from the cheapest; of the first three none is always tighter than another. The last is
#: for boxes.
CASCADE = ("box", "crown", "deepz", "lp-all")
#: Seconds of branch and bound without a time limit.
PATIENCE = 60.0
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
        "cascade": the labels that the attack does not reach by linear bounds (:data:`CASCADE`). If it reached none and
        the region is an L-infinity ball, what is open by branch and bound, which is exact given time. What is open then
        by Shor's relaxation of the same function written as a monDEQ (:meth:`FeedForward.to_mondeq`), with at most
        :data:`LARGEST_SDP` hidden neurons. The last two are left out where a label has been reached and the targets are
        all labels: the answer is known.
        One of :data:`BOUNDS`: these linear bounds only. "branch-and-bound": that only. The others of
        :data:`tightrope.verifiers.robustness.METHODS`: Shor's relaxation by that solver.
    order
        Of Shor's relaxation.

    Returns
    -------
    RobustnessReport
        Linear bounds include their rounding (:mod:`tightrope.propagation.rounding`) and come without a certificate, as
        those of branch and bound do; those of Shor's relaxation have one, for the monDEQ. Boxes and balls are taken as
        they are; a polytope's linear bounds are those of its box, and balls of other norms than 1, 2 and infinity those
        of an enclosure.
    """
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    everything = targets is None
    conic_method = method if method in robustness.METHODS else "cascade"
    targets = robustness.checked(network, region, label, targets, conic_method, tolerance, time_limit)
    robustness.check_order(order, conic_method, sum(network.sizes[1:-1]), region)
    if method not in robustness.METHODS and str(order) != "1":
        raise InputError(f"order: {order} goes with Shor's relaxation, not with {method}.")
    if method in (TREE, *layerwise.METHODS) and not _is_box(region):
        raise RegionError(f"method: {method} is for boxes; give a Ball of norm inf, or another method.")
    options = {"method": method, "order": order, "tolerance": tolerance, "time_limit": time_limit, "stop": stop}
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
        answered = everything and bool(found.attacks)
        hits = _prove(network, region, label, decisions, options, answered)
        found.attacks.update({hit.label: hit for hit in hits})
    for target, hit in found.attacks.items():
        if target in decisions and decisions[target].verdict is not Verdict.FALSIFIED:
            decisions[target] = replace(
                decisions[target],
                verdict=Verdict.FALSIFIED,
                reason="an attack reaches this label",
                attack_margin=max(hit.margin, decisions[target].attack_margin or hit.margin),
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


def _prove(network, region, label, decisions: dict[int, LabelDecision], options: dict, answered: bool) -> list[Attack]:
    """Replace the open decisions by what bounds prove, from the cheapest method to the tightest; return new attacks.

    `answered`: an attack has reached a label and no more is asked, so that the expensive methods are left out.
    """
    method, stop = options["method"], options["stop"]
    for name in CASCADE if method == "cascade" else (method,) if method in BOUNDS else ():
        if _undecided(decisions) and (_is_box(region) or name not in layerwise.METHODS):
            end_if(stop)
            _by_lines(network, region, label, name, decisions)
    if method in BOUNDS or not _undecided(decisions):
        return []
    if method == "cascade" and answered:
        _because(decisions, "not certified by linear bounds; not pursued, as another label is reached")
        return []
    hits = []
    if method == TREE or (method == "cascade" and _is_box(region)):
        hits = _by_tree(network, region, label, decisions, options["time_limit"] or PATIENCE, stop)
    neurons = sum(network.sizes[1:-1])
    if method == "cascade" and neurons > LARGEST_SDP:
        _because(decisions, f"Shor's relaxation is for at most {LARGEST_SDP} hidden neurons, not {neurons}")
    elif method != TREE and _undecided(decisions):
        _by_shor(network, region, label, decisions, options)
    return hits


def _is_box(region: Region) -> bool:
    return isinstance(region, Ball) and region.norm == INFINITY


def _because(decisions: dict[int, LabelDecision], reason: str) -> None:
    """Add a reason to the open decisions."""
    for target in _undecided(decisions):
        parts = [part for part in (decisions[target].reason, reason) if part and part != _OPEN]
        decisions[target] = replace(decisions[target], reason="; ".join(parts))


def _by_tree(network, region, label, decisions, patience: float, stop) -> list[Attack]:
    """Branch and bound on the open targets together, again on the rest after each attack, until the time is up."""
    hits, ends = [], time.perf_counter() + patience
    while undecided := _undecided(decisions):
        left = ends - time.perf_counter()
        if left <= 0:
            _because(decisions, f"branch and bound: time limit of {patience:g} s")
            break
        outputs = [label, *undecided]
        select = Dense(np.eye(network.classes)[outputs], np.zeros(len(outputs)))
        last = network.layers[-1]
        few = FeedForward((*network.layers[:-1], Composition((last, select))))
        found = branch_and_bound(few, region, 0, time_limit=left, stop=stop)
        seconds = found.seconds / len(undecided)
        for target in undecided:
            decisions[target] = replace(decisions[target], seconds=decisions[target].seconds + seconds)
        hit = None if found.attack is None else check(network, region, label, found.attack.point)
        if hit is not None and hit.label in undecided:
            hits.append(hit)
            decisions[hit.label] = replace(_falsified(decisions[hit.label], hit), solver=TREE)
        elif found.verdict is Verdict.CERTIFIED:
            for target in undecided:
                bound = found.bound if decisions[target].bound is None else min(found.bound, decisions[target].bound)
                decisions[target] = replace(
                    decisions[target], verdict=Verdict.CERTIFIED, bound=bound, method=TREE, reason="",
                    solver=f"{TREE} {tightrope.__version__}", iterations=found.subproblems,
                )  # fmt: skip
        else:
            _because(decisions, f"branch and bound: {found.reason or 'its attack did not hold'}")
            break
    return hits


def _by_shor(network, region, label, decisions, options) -> None:
    """Shor's relaxation of the open targets; a bound is kept where it is the best so far."""
    undecided = _undecided(decisions)
    report = robustness.verify(network.to_mondeq(), region, label, targets=undecided, attack=False, **options)
    for new in report.decisions:
        old = decisions[new.label]
        if new.bound is None and old.bound is not None:  # a failed solve leaves the linear bound
            decisions[new.label] = replace(old, reason=f"{old.reason}; Shor's relaxation: {new.reason}")
        elif old.bound is None or new.bound < old.bound:
            seconds = old.seconds + new.seconds
            decisions[new.label] = replace(
                new, nominal_margin=old.nominal_margin, attack_margin=old.attack_margin, seconds=seconds
            )


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
        spent = old.seconds + seconds
        if not np.isfinite(bound):
            decisions[target] = replace(old, seconds=spent, reason=f"{name}: the bound is not finite")
        elif old.bound is None or bound < old.bound:
            verdict, reason = (Verdict.CERTIFIED, "") if bound < 0 else (Verdict.UNKNOWN, _OPEN)
            decisions[target] = replace(
                old, verdict=verdict, bound=bound, method=name, solver=f"{name} {tightrope.__version__}", seconds=spent,
                reason=reason,
            )  # fmt: skip
        else:
            decisions[target] = replace(old, seconds=spent)
