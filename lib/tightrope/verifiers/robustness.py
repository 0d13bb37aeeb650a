"""Is a network robust on a region? One decision per target label, each a proof, an attack, or an honest unknown.

An attack comes first, then stage after stage on the labels that are open, until none is.
"""

import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

import tightrope
from tightrope.attacks import Attack, margins_at, pgd
from tightrope.errors import InputError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.question import DEFAULT, Limits, Question, Stop, Verdict
from tightrope.regions import Region
from tightrope.solvers.report import end_if
from tightrope.threads import one_blas_thread
from tightrope.verifiers.methods import METHODS, ORDERS, Stage, known_method, methods
from tightrope.verifiers.report import NOT_CERTIFIED, NOTHING, LabelDecision, RobustnessReport, combined

__all__ = ["METHODS", "ORDERS", "LabelDecision", "RobustnessReport", "certify", "known_method", "methods"]


def certify(
    network: MonDEQ | FeedForward,
    region: Region,
    label: int,
    *,
    targets: Iterable[int] | str | None = None,
    method: str = "cascade",
    order: str = "1",
    complete: bool = True,
    attack: bool = True,
    limits: Limits = DEFAULT,
) -> RobustnessReport:
    """Decide for each target label whether it can reach the score of `label` on the region.

    Parameters
    ----------
    region, label
        A ball, zonotope, ellipsoid or polytope in the network's input units, and the true label y.
    targets
        Labels to decide, or "all". Left out, all others than y, but only until the question is answered: once an attack
        reaches a label, the cascade leaves the others as they are.
    method
        One of :func:`methods`. "cascade": for a monDEQ the closest label by the interior point, stopped at the first
        proof of the sign; the others by its multipliers (solvers.transfer) where they suffice, else by the interior
        point, warm-started; what that leaves open by branch and bound on phases (verifiers.phases), over balls of norm
        1, 2 and infinity. For a feed-forward network linear bounds, LP-ALL on boxes, Shor's relaxation, and on boxes
        branch and bound; where all labels are asked for and an attack reaches one, linear bounds only.
    order
        The order of Shor's relaxation, one of :data:`ORDERS`.
    complete
        Whether the cascade goes on to branch and bound; without it a label that relaxations leave open is unknown.
    attack
        Whether to attack first; a target that is reached needs no relaxation (the methods other than the cascade still
        solve it, for the value).
    limits
        Tolerance, seconds, seed and stop of the solves; the seconds are for one solve, and for one tree.

    What does not go together is an UnknownNameError, SolverUnavailableError or InputError before any solve.

    Examples
    --------
    >>> from tightrope.regions import Ball
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 1.5]))
    >>> print(certify(network, Ball([0.0], 1.0, "inf"), 1, method="deepz").verdict)  # |x| < 1.5
    certified
    """
    question, chosen, order = Question(network, region, label, targets), known_method(network, method), str(order)
    chosen.check(question, order)
    effort = EFFORT[isinstance(network, MonDEQ)] if attack else None
    return run(question, chosen.stages(network, complete), chosen.name, order, limits, effort)


def verify(
    network: MonDEQ | FeedForward,
    region: Region,
    label: int,
    *,
    tolerance: float = 1e-5,
    time_limit: float | None = None,
    seed: int = 0,
    stop: Stop | None = None,
    **options: object,
) -> RobustnessReport:
    """Do as :func:`certify`, which is its name now."""
    message = "robustness.verify is robustness.certify(..., limits=Limits(...)) now; `verify` checks certificate files"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return certify(network, region, label, limits=Limits(tolerance, time_limit, seed, stop), **options)  # type: ignore[arg-type]


def attack(
    network: MonDEQ | FeedForward, region: Region, label: int, *, targets: Iterable[int] | None = None, seed: int = 0
) -> RobustnessReport:
    """Search the region for points with another label, by projected gradient ascent: :func:`tightrope.attacks.pgd`.

    The report's `attack` is the clearest one; a label that is not reached stays unknown, as nothing is proven of it.

    Examples
    --------
    >>> from tightrope.regions import Ball
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 1.5]))
    >>> attack(network, Ball([0.0], 2.0, "inf"), 1).attack.label  # |x| < 1.5
    0
    """
    question, said = Question(network, region, label, targets), "the attack does not reach it, which proves nothing"
    return run(question, (lambda progress: progress.because(said),), "attack", "", Limits(seed=seed), EFFORT_ALONE)


#: Restarts and steps of the attack before a proof, on monDEQs and on layers, and of an attack alone.
EFFORT = {True: (2, 20), False: (3, 40)}
EFFORT_ALONE = (5, 50)


class Progress:
    """What is known so far of a question; stages change it.

    `decisions` are by target label, `attacks` by the label that they reach, which may be none of the targets. Once it
    has `ended` no further stage is run.
    """

    def __init__(self, question: Question, limits: Limits, method: str, order: str) -> None:
        self.question, self.limits, self.method, self.order = question, limits, method, order
        self.decisions: dict[int, LabelDecision] = {}
        self.attacks: dict[int, Attack] = {}
        self.ended = False

    @property
    def open(self) -> list[int]:
        """The target labels whose verdict is UNKNOWN; none once it has ended."""
        unknown = (target for target, decision in self.decisions.items() if decision.verdict is Verdict.UNKNOWN)
        return [] if self.ended else list(unknown)

    def because(self, reason: str) -> None:
        """Add a reason to the open decisions."""
        for target in self.open:
            old = self.decisions[target]
            self.decisions[target] = replace(old, reason=joined(old.reason, reason))

    def end(self, reason: str) -> None:
        """Leave what is open as it is."""
        self.because(reason)
        self.ended = True

    def reached(self, hit: Attack, solver: str) -> None:
        """Keep an attack, which decides its label."""
        self.attacks[hit.label] = hit
        self.decisions[hit.label] = replace(self._lost(hit), method="attack", solver=solver, reason="")

    def lose(self) -> None:
        """Let every attack decide its label, those too that were left to the stages for their bounds."""
        for target, decision in self.decisions.items():
            if target in self.attacks and decision.verdict is not Verdict.FALSIFIED:
                lost = self._lost(self.attacks[target])
                self.decisions[target] = replace(lost, reason="an attack reaches this label")

    def _lost(self, hit: Attack) -> LabelDecision:
        decision = self.decisions[hit.label]
        margin = hit.margin if decision.attack_margin is None else max(hit.margin, decision.attack_margin)
        return replace(decision, verdict=Verdict.FALSIFIED, attack_margin=margin)

    def bounded(
        self, targets: Sequence[int], proven: np.ndarray, name: str, seconds: float, iterations: int = 0
    ) -> None:
        """Keep each proven bound that is the best so far; the time is shared by the targets."""
        for target, bound in zip(targets, map(float, proven), strict=True):
            old = self.decisions[target]
            new = replace(old, seconds=old.seconds + seconds / len(targets))
            if np.isfinite(bound) and (old.bound is None or bound < old.bound):
                solver = f"{name} {tightrope.__version__}"
                new = new.bounded(bound, method=name, solver=solver, iterations=iterations)
            self.decisions[target] = new


def joined(*reasons: str) -> str:
    """Return reasons in one line; that a relaxation was not enough is said only if there is nothing else to say."""
    parts = [part for part in dict.fromkeys(reasons) if part and part not in (NOT_CERTIFIED, NOTHING)]
    return "; ".join(parts) or NOT_CERTIFIED


def run(
    question: Question,
    stages: Sequence[Stage],
    method: str,
    order: str,
    limits: Limits,
    effort: tuple[int, int] | None = None,
) -> RobustnessReport:
    """Attack, run the stages on what is open, from the cheapest to the dearest, and put the decisions together.

    The attack's `effort` are its restarts and steps, None for none. In the cascade an attack decides its target; by
    another `method` the target is left to the stages for its bound, unless the centre reaches it, and falsified
    afterwards. The region's centre is looked at without an attack too: it may be labelled wrongly, whatever the targets
    are, and a tie counts against the label.
    """
    began = time.perf_counter()
    progress = Progress(question, limits, method, order)
    with one_blas_thread():  # the attack's matrices are small too
        predicted = _attacked(progress, effort)
        for stage in stages:
            if not progress.open:
                break
            end_if(limits.stop)
            stage(progress)
    progress.lose()
    best = max(progress.attacks.values(), key=lambda hit: hit.margin, default=None)
    ordered = tuple(progress.decisions[target] for target in sorted(progress.decisions))
    verdict = Verdict.FALSIFIED if best is not None else combined(decision.verdict for decision in ordered)
    return RobustnessReport(verdict, time.perf_counter() - began, question, method, predicted, ordered, best)


def _attacked(progress: Progress, effort: tuple[int, int] | None) -> int:
    """Fill in what the attack says of each target, and return the label at the region's centre."""
    question = progress.question
    network, region, label = question.network, question.region, question.label
    scores = network.logits(region.center)
    if not np.isfinite(scores).all():
        raise InputError("network: its scores at the region's centre are not finite; scale its weights down.")
    nominal = scores - scores[label]
    best_margin = np.full(network.classes, np.nan)
    if effort is not None:
        restarts, steps = effort
        result = pgd(question, restarts=restarts, steps=steps, seed=progress.limits.seed)
        progress.attacks, best_margin = dict(result.attacks), result.best_margin
    at_center = margins_at(network, label, region.center)
    reached = (at_center >= 0) & (np.arange(network.classes) != label)
    if reached.any():
        reached &= bool(region.holds(region.center))
    for target in map(int, np.flatnonzero(reached)):
        progress.attacks.setdefault(target, Attack(region.center.copy(), target, float(at_center[target])))
    for target in question.targets:
        margin = float(best_margin[target]) if np.isfinite(best_margin[target]) else None
        progress.decisions[target] = LabelDecision(target, float(nominal[target]), margin)
    for target in question.targets:  # an attack may reach another label than the one it was aimed at
        if target in progress.attacks and (progress.method in ("cascade", "attack") or reached[target]):
            progress.reached(progress.attacks[target], "pgd")
    return int(np.argmax(scores))
