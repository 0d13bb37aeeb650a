"""Is a feed-forward network robust on a region? Attack, linear bounds, branch and bound, Shor's relaxation, MILP."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np

import tightrope
from tightrope.arguments import require_network, require_region
from tightrope.attacks import Attack, check
from tightrope.certificates import Verdict
from tightrope.errors import InputError, NetworkError, RegionError
from tightrope.names import known_name
from tightrope.networks import Composition, Dense, FeedForward
from tightrope.propagation import layerwise, lines
from tightrope.propagation.margins import composition_error, proven_margins, rooted, unstable_neurons
from tightrope.regions import INFINITY, Ball, Region
from tightrope.solvers.report import Stop, end_if
from tightrope.verifiers import mondeq
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.mixed_integer import hidden_bounds, mixed_integer
from tightrope.verifiers.report import (
    NOT_CERTIFIED,
    NOTHING,
    LabelDecision,
    RobustnessReport,
    attack_then_prove,
    falsified,
    undecided,
)

TREE, MILP = "branch-and-bound", "milp"
BOUNDS = (*lines.RELAXATIONS, *layerwise.METHODS)
METHODS = (*mondeq.METHODS, *BOUNDS, TREE, MILP)
#: Other names of some of them.
SAME = {**mondeq.SAME, **lines.SAME}
#: Relaxations of the cascade, from the cheapest; none is always tighter than another.
CASCADE = ("box", "crown", "deepz")
#: Most neurons of either sign for which the cascade goes on with LP-ALL and branch and bound: about a minute.
MOST_UNSTABLE = 1500
#: Seconds of branch and bound without a time limit.
PATIENCE = 60.0
#: Most hidden neurons for which the cascade goes on with Shor's relaxation.
LARGEST_SDP = 300
#: Restarts and steps of the attack.
RESTARTS, STEPS = 3, 40


def verify_feedforward(
    network: FeedForward,
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

    Parameters
    ----------
    network, region, label, targets, complete, attack, tolerance, time_limit, seed, stop
        As in :func:`tightrope.verifiers.robustness.verify`, which calls this function.
    method
        "cascade": the labels that the attack does not reach by linear bounds (:data:`CASCADE`); on an L-infinity ball,
        what is open then by LP-ALL and branch and bound, which is exact given time, if at most :data:`MOST_UNSTABLE`
        neurons have either sign; what is open then by Shor's relaxation of the same function written as a monDEQ
        (:meth:`FeedForward.to_mondeq`), with at most :data:`LARGEST_SDP` hidden neurons. Where an attack has reached a
        label and the targets are all labels, the answer is known and only the linear bounds are computed.
        One of :data:`BOUNDS`: these linear bounds only. "branch-and-bound": that only. "milp": the mixed-integer
        program of each label by HiGHS, for boxes, which computes an answer and proves none
        (:mod:`tightrope.verifiers.mixed_integer`). The others of :data:`tightrope.verifiers.mondeq.METHODS`: Shor's
        relaxation by that solver.
    order
        The order of Shor's relaxation.

    Returns
    -------
    RobustnessReport
        Linear bounds include their rounding (:mod:`tightrope.propagation.rounding`) and come without a certificate, as
        those of branch and bound do; those of Shor's relaxation have one, for the monDEQ. Boxes and balls are taken as
        they are; a polytope's linear bounds are those of its box, and balls of other norms than 1, 2 and infinity those
        of an enclosure.
    """
    require_network(network, FeedForward)
    require_region(region)
    method = known_name("method", method, METHODS, SAME)
    conic_method = method if method in mondeq.METHODS else "cascade"
    everything = targets is None
    chosen = mondeq.checked(network, region, label, targets, conic_method, tolerance, time_limit)
    mondeq.check_order(order, conic_method, sum(network.sizes[1:-1]), region)
    if method not in mondeq.METHODS and str(order) != "1":
        raise InputError(f"order: {order} goes with Shor's relaxation, not with {method}.")
    box = region if isinstance(region, Ball) and region.norm == INFINITY else None
    if method in (TREE, MILP, *layerwise.METHODS) and box is None:
        raise RegionError(f"method: {method} is for boxes; give a Ball of norm inf, or another method.")

    def prove(decisions: dict[int, LabelDecision], attacked: bool) -> list[Attack]:
        """Go from the cheapest method to the tightest; the expensive ones only where no label is reached."""
        for name in CASCADE if method == "cascade" else (method,) if method in BOUNDS else ():
            if undecided(decisions):
                end_if(stop)
                _by_lines(network, region, label, name, decisions)
        if method in BOUNDS or not undecided(decisions):
            return []
        if method == "cascade" and everything and attacked:
            _because(decisions, "not certified by linear bounds; not pursued, as another label is reached")
            return []
        if method == MILP and box is not None:
            return _by_milp(network, box, label, decisions, time_limit or PATIENCE, stop)
        hits = []
        if (method == TREE or (method == "cascade" and complete)) and box is not None:
            end_if(stop)
            unstable = unstable_neurons(network, box)
            if method == "cascade" and unstable > MOST_UNSTABLE:
                _because(decisions, f"{unstable} unstable neurons, more than {MOST_UNSTABLE}: try method={TREE!r}")
            else:
                hits = _by_tree(network, box, label, decisions, time_limit or PATIENCE, stop)
        neurons = sum(network.sizes[1:-1])
        if method == "cascade" and neurons > LARGEST_SDP:
            _because(decisions, f"Shor's relaxation is for at most {LARGEST_SDP} hidden neurons, not {neurons}")
        elif method != TREE and undecided(decisions):
            shor = partial(
                mondeq.verify_mondeq,
                region=region,
                label=label,
                method=method,
                order=order,
                complete=False,
                attack=False,
                tolerance=tolerance,
                time_limit=time_limit,
                stop=stop,
            )
            _by_shor(network, region, label, decisions, shor)
        return hits

    effort, cascade = (RESTARTS, STEPS) if attack else None, method == "cascade"
    return attack_then_prove(network, region, label, chosen, prove, effort=effort, seed=seed, cascade=cascade)


def _because(decisions: dict[int, LabelDecision], reason: str) -> None:
    """Add a reason to the open decisions."""
    for target in undecided(decisions):
        decisions[target] = replace(decisions[target], reason=_joined(decisions[target].reason, reason))


def _by_milp(
    network: FeedForward,
    region: Ball,
    label: int,
    decisions: dict[int, LabelDecision],
    time_limit: float,
    stop: Stop | None,
) -> list[Attack]:
    """Decide the open targets by mixed-integer programs: COMPUTED at best, and without a bound, as none is proven."""
    hits, hidden = [], hidden_bounds(network, region, label)
    for target in undecided(decisions):
        end_if(stop)
        found = mixed_integer(network, region, label, targets=[target], hidden=hidden, time_limit=time_limit)
        new = replace(decisions[target], verdict=found.verdict, reason=found.reason)
        if found.attack is not None:
            hits.append(found.attack)
            new = falsified(new, found.attack)
        decisions[target] = replace(new, method=MILP, solver="highs", seconds=found.seconds)
    return hits


def _by_tree(
    network: FeedForward,
    region: Ball,
    label: int,
    decisions: dict[int, LabelDecision],
    patience: float,
    stop: Stop | None,
) -> list[Attack]:
    """Decide by LP-ALL, then branch and bound on the open targets together; again on the rest after each attack."""
    hits, ends = [], time.perf_counter() + patience
    while still := undecided(decisions):
        began = time.perf_counter()
        select = Dense(np.eye(network.classes)[[label, *still]], np.zeros(len(still) + 1))
        few = FeedForward((*network.layers[:-1], Composition((network.layers[-1], select))))
        root = rooted(few, region, 0)
        _bounded(decisions, still, root.margins.numpy()[1:], "lp-all", (time.perf_counter() - began))
        rest, left = undecided(decisions), ends - time.perf_counter()
        if not rest or left <= 0:
            _because(decisions, f"branch and bound: time limit of {patience:g} s")
            break
        found = branch_and_bound(few, region, 0, root=root, time_limit=left, stop=stop)
        hit = None if found.attack is None else check(network, region, label, found.attack.point, rest)
        proven = found.bound if found.verdict is Verdict.CERTIFIED else np.inf
        _bounded(decisions, rest, np.full(len(rest), proven), TREE, found.seconds, found.subproblems)
        if hit is not None:
            hits.append(hit)
            decisions[hit.label] = replace(falsified(decisions[hit.label], hit), solver=TREE)
        elif undecided(decisions):
            _because(decisions, f"branch and bound: {found.reason or 'its attack did not hold'}")
            break
    return hits


def _by_shor(
    network: FeedForward,
    region: Region,
    label: int,
    decisions: dict[int, LabelDecision],
    shor: Callable[..., RobustnessReport],
) -> None:
    """Decide the open targets by Shor's relaxation; a bound is kept where it is the best so far."""
    try:
        same = network.to_mondeq()
    except NetworkError as error:  # its scales have no common one
        _because(decisions, f"Shor's relaxation: {error}")
        return
    report = shor(same, targets=undecided(decisions))
    inexact = composition_error(network, region)
    for new in report.decisions:
        new = _loosened(new, float(inexact[new.label] + inexact[label]))
        old = decisions[new.label]
        seconds, reason = old.seconds + new.seconds, _joined(old.reason, new.reason)
        new = replace(new, nominal_margin=old.nominal_margin, attack_margin=old.attack_margin, seconds=seconds)
        if new.verdict is Verdict.CERTIFIED:
            decisions[new.label] = new
        elif new.bound is not None and (old.bound is None or new.bound < old.bound):
            decisions[new.label] = replace(new, reason=reason)
        elif old.bound is not None:  # a failed solve leaves the linear bound
            decisions[new.label] = replace(old, reason=reason, seconds=seconds)
        else:
            decisions[new.label] = new


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


def _joined(*reasons: str) -> str:
    """Reasons in one line; that a relaxation was not enough is said only if there is nothing else to say."""
    parts = [part for part in dict.fromkeys(reasons) if part and part not in (NOT_CERTIFIED, NOTHING)]
    return "; ".join(parts) or NOT_CERTIFIED


def _by_lines(network: FeedForward, region: Region, label: int, name: str, decisions: dict[int, LabelDecision]) -> None:
    """Decide all open targets at once by linear bounds."""
    began = time.perf_counter()
    proven = proven_margins(network, region, label, name)
    left = undecided(decisions)
    if not np.isfinite(proven).all():
        _because(decisions, f"{name}: a bound is not finite")
    _bounded(decisions, left, proven[left], name, time.perf_counter() - began)


def _bounded(
    decisions: dict[int, LabelDecision],
    targets: list[int],
    proven: np.ndarray,
    name: str,
    seconds: float,
    iterations: int = 0,
) -> None:
    """Keep each proven bound that is the best so far; the time is shared by the targets."""
    for target, bound in zip(targets, map(float, proven), strict=True):
        old = decisions[target]
        spent = old.seconds + seconds / len(targets)
        if not np.isfinite(bound) or (old.bound is not None and old.bound <= bound):
            decisions[target] = replace(old, seconds=spent)
            continue
        verdict, reason = (Verdict.CERTIFIED, "") if bound < 0 else (Verdict.UNKNOWN, NOT_CERTIFIED)
        solver = f"{name} {tightrope.__version__}"
        new = replace(old, verdict=verdict, bound=bound, reason=reason, method=name, solver=solver)
        decisions[target] = replace(new, iterations=iterations, seconds=spent)
