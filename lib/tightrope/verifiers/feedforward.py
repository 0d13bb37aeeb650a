"""Is a feed-forward network robust on a region? Attack, linear bounds, branch and bound, Shor's relaxation."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

import tightrope
from tightrope.attacks import Attack, check, pgd
from tightrope.certificates import Verdict
from tightrope.errors import InputError, NetworkError, RegionError, UnknownNameError
from tightrope.networks import Composition, Dense, FeedForward
from tightrope.propagation import layerwise
from tightrope.propagation.lines import RELAXATIONS
from tightrope.propagation.margins import composition_error, proven_margins, rooted, unstable_neurons
from tightrope.regions import INFINITY, Ball, Region
from tightrope.solvers.report import Stop, end_if
from tightrope.threads import one_blas_thread
from tightrope.verifiers import robustness
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.report import LabelDecision, RobustnessReport, combined

TREE = "branch-and-bound"
BOUNDS = (*RELAXATIONS, *layerwise.METHODS)
METHODS = (*robustness.METHODS, *BOUNDS, TREE)
#: Relaxations of the cascade, from the cheapest; none is always tighter than another.
CASCADE = ("box", "crown", "deepz")
#: Most neurons of either sign for which the cascade goes on with LP-ALL and branch and bound: about a minute.
MOST_UNSTABLE = 1500
#: Seconds of branch and bound without a time limit.
PATIENCE = 60.0
#: Most hidden neurons for which the cascade goes on with Shor's relaxation.
LARGEST_SDP = 300
_OPEN, _NOTHING = "not certified by this relaxation", "nothing was tried"


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
        "cascade": the labels that the attack does not reach by linear bounds (:data:`CASCADE`); on an L-infinity ball,
        what is open then by LP-ALL and branch and bound, which is exact given time, if at most :data:`MOST_UNSTABLE`
        neurons have either sign; what is open then by Shor's relaxation of the same function written as a monDEQ
        (:meth:`FeedForward.to_mondeq`), with at most :data:`LARGEST_SDP` hidden neurons. Where an attack has reached a
        label and the targets are all labels, the answer is known and only the linear bounds are computed.
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
    with one_blas_thread():
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
        if target != label and margin >= 0 and target not in attacks and region.contains(region.center):
            attacks[target] = Attack(region.center.copy(), target, margin)
    return _Found(attacks, best)


def _open(target: int, nominal: float, best: float) -> LabelDecision:
    margin = float(best) if np.isfinite(best) else None
    return LabelDecision(target, Verdict.UNKNOWN, None, nominal, margin, "", "", None, 0, 0.0, _NOTHING)


def _falsified(decision: LabelDecision, hit: Attack) -> LabelDecision:
    margin = hit.margin if decision.attack_margin is None else max(hit.margin, decision.attack_margin)
    return replace(decision, verdict=Verdict.FALSIFIED, attack_margin=margin, method="attack", solver="pgd", reason="")


def _prove(network, region, label, decisions: dict[int, LabelDecision], options: dict, answered: bool) -> list[Attack]:
    """Replace the open decisions by what bounds prove, from the cheapest method to the tightest; return new attacks.

    `answered`: an attack has reached a label and no more is asked, so that the expensive methods are left out.
    """
    method, stop = options["method"], options["stop"]
    for name in CASCADE if method == "cascade" else (method,) if method in BOUNDS else ():
        if _undecided(decisions):
            end_if(stop)
            _by_lines(network, region, label, name, decisions)
    if method in BOUNDS or not _undecided(decisions):
        return []
    if method == "cascade" and answered:
        _because(decisions, "not certified by linear bounds; not pursued, as another label is reached")
        return []
    hits = []
    if method == TREE or (method == "cascade" and _is_box(region)):
        end_if(stop)
        unstable = unstable_neurons(network, region)
        if method == "cascade" and unstable > MOST_UNSTABLE:
            _because(decisions, f"{unstable} unstable neurons, more than {MOST_UNSTABLE}: try method={TREE!r}")
        else:
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
        decisions[target] = replace(decisions[target], reason=_joined(decisions[target].reason, reason))


def _by_tree(network, region, label, decisions, patience: float, stop) -> list[Attack]:
    """LP-ALL, then branch and bound on the open targets together; again on the rest after each attack."""
    hits, ends = [], time.perf_counter() + patience
    while undecided := _undecided(decisions):
        began = time.perf_counter()
        select = Dense(np.eye(network.classes)[[label, *undecided]], np.zeros(len(undecided) + 1))
        few = FeedForward((*network.layers[:-1], Composition((network.layers[-1], select))))
        root = rooted(few, region, 0)
        _bounded(decisions, undecided, root.margins.numpy()[1:], "lp-all", (time.perf_counter() - began))
        rest, left = _undecided(decisions), ends - time.perf_counter()
        if not rest or left <= 0:
            _because(decisions, f"branch and bound: time limit of {patience:g} s")
            break
        found = branch_and_bound(few, region, 0, root=root, time_limit=left, stop=stop)
        hit = None if found.attack is None else check(network, region, label, found.attack.point, rest)
        proven = found.bound if found.verdict is Verdict.CERTIFIED else np.inf
        _bounded(decisions, rest, np.full(len(rest), proven), TREE, found.seconds, found.subproblems)
        if hit is not None:
            hits.append(hit)
            decisions[hit.label] = replace(_falsified(decisions[hit.label], hit), solver=TREE)
        elif _undecided(decisions):
            _because(decisions, f"branch and bound: {found.reason or 'its attack did not hold'}")
            break
    return hits


def _by_shor(network, region, label, decisions, options) -> None:
    """Shor's relaxation of the open targets; a bound is kept where it is the best so far."""
    undecided = _undecided(decisions)
    try:
        mondeq = network.to_mondeq()
    except NetworkError as error:  # its scales have no common one
        _because(decisions, f"Shor's relaxation: {error}")
        return
    report = robustness.verify(mondeq, region, label, targets=undecided, attack=False, **options)
    inexact = composition_error(network, region)
    for new in report.decisions:
        new = _loosened(new, float(inexact[new.label] + inexact[label]))
        old = decisions[new.label]
        kept = {"nominal_margin": old.nominal_margin, "attack_margin": old.attack_margin}
        kept["seconds"] = old.seconds + new.seconds
        if new.verdict is Verdict.CERTIFIED:
            decisions[new.label] = replace(new, **kept)
        elif new.bound is not None and (old.bound is None or new.bound < old.bound):
            decisions[new.label] = replace(new, reason=_joined(old.reason, new.reason), **kept)
        elif old.bound is not None:  # a failed solve leaves the linear bound
            decisions[new.label] = replace(old, reason=_joined(old.reason, new.reason), seconds=kept["seconds"])
        else:
            decisions[new.label] = replace(new, **kept)


def _loosened(decision: LabelDecision, error: float) -> LabelDecision:
    """The decision for a network whose margins are off by at most the error."""
    if error == 0 or decision.bound is None:
        return decision
    bound = float(np.nextafter(decision.bound + error, np.inf))
    if not np.isfinite(bound):
        return replace(decision, bound=None, verdict=Verdict.UNKNOWN, reason="composed layers: rounding overflows")
    if decision.verdict is Verdict.CERTIFIED and not bound < 0:
        return replace(decision, bound=bound, verdict=Verdict.UNKNOWN, reason="0 up to the rounding of composed layers")
    return replace(decision, bound=bound)


def _joined(*reasons: str) -> str:
    """Reasons in one line; that a relaxation was not enough is said only if there is nothing else to say."""
    parts = [part for part in dict.fromkeys(reasons) if part and part not in (_OPEN, _NOTHING)]
    return "; ".join(parts) or _OPEN


def _undecided(decisions: dict[int, LabelDecision]) -> list[int]:
    return [target for target, decision in decisions.items() if decision.verdict is Verdict.UNKNOWN]


def _by_lines(network: FeedForward, region: Region, label: int, name: str, decisions: dict[int, LabelDecision]):
    """Linear bounds of all open targets at once."""
    began = time.perf_counter()
    proven = proven_margins(network, region, label, name)
    undecided = _undecided(decisions)
    if not np.isfinite(proven).all():
        _because(decisions, f"{name}: a bound is not finite")
    _bounded(decisions, undecided, proven[undecided], name, time.perf_counter() - began)


def _bounded(decisions, targets: list[int], proven: np.ndarray, name: str, seconds: float, iterations: int = 0) -> None:
    """Keep each proven bound that is the best so far; the time is shared by the targets."""
    for target, bound in zip(targets, map(float, proven), strict=True):
        old = decisions[target]
        spent = old.seconds + seconds / len(targets)
        if not np.isfinite(bound) or (old.bound is not None and old.bound <= bound):
            decisions[target] = replace(old, seconds=spent)
            continue
        verdict, reason = (Verdict.CERTIFIED, "") if bound < 0 else (Verdict.UNKNOWN, _OPEN)
        decisions[target] = replace(
            old, verdict=verdict, bound=bound, method=name, solver=f"{name} {tightrope.__version__}",
            iterations=iterations, seconds=spent, reason=reason,
        )  # fmt: skip
