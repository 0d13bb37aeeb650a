"""The one cascade: attack, then stage after stage on the labels that are open, until none is."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

import tightrope
from tightrope.attacks import Attack, margins_at, pgd
from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.question import Limits, Question, Stop, Verdict
from tightrope.solvers.report import end_if
from tightrope.threads import one_blas_thread
from tightrope.verifiers.report import NOT_CERTIFIED, NOTHING, LabelDecision, RobustnessReport, combined

#: Restarts and steps of the attack on monDEQs and on layers.
EFFORT = {True: (2, 20), False: (3, 40)}


class Progress:
    """What is known so far; stages change it.

    Attributes
    ----------
    question, limits
        What is asked.
    method, order
        How: a name of :data:`tightrope.verifiers.methods.METHODS`, and the order of Shor's relaxation.
    decisions
        By target label.
    attacks
        By the label that they reach, which may be none of the targets.
    ended
        Whether no further stage is run.
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
                self.decisions[target] = replace(
                    self._lost(self.attacks[target]), reason="an attack reaches this label"
                )

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
                verdict, reason = (Verdict.CERTIFIED, "") if bound < 0 else (Verdict.UNKNOWN, NOT_CERTIFIED)
                solver = f"{name} {tightrope.__version__}"
                new = replace(new, verdict=verdict, bound=bound, reason=reason, method=name, solver=solver)
                new = replace(new, iterations=iterations)
            self.decisions[target] = new


def joined(*reasons: str) -> str:
    """Return reasons in one line; that a relaxation was not enough is said only if there is nothing else to say."""
    parts = [part for part in dict.fromkeys(reasons) if part and part not in (NOT_CERTIFIED, NOTHING)]
    return "; ".join(parts) or NOT_CERTIFIED


class Unfinished(Protocol):
    """What stages work on; `open` is empty or false when nothing is left to do."""

    @property
    def open(self) -> object: ...


Work = TypeVar("Work", bound=Unfinished)


def through(stages: Iterable[Callable[[Work], None]], work: Work, stop: Stop | None = None) -> None:
    """Run stage after stage, from the cheapest to the dearest, as long as something is open."""
    for stage in stages:
        if not work.open:
            return
        end_if(stop)
        stage(work)


def run(
    question: Question,
    stages: Sequence[Callable[[Progress], None]],
    method: str,
    order: str,
    limits: Limits,
    attack: bool = True,
) -> RobustnessReport:
    """Attack, run the stages on what is open, and put the decisions together.

    Parameters
    ----------
    method
        In the cascade an attack decides its target; otherwise a target is left to the stages for its bound, unless the
        centre reaches it, and falsified afterwards.
    attack
        Whether to attack. The region's centre is always looked at: it may be labelled wrongly, whatever the targets
        are, and a tie counts against the label.

    Raises
    ------
    InputError
        If the scores at the region's centre are not finite.
    """
    began = time.perf_counter()
    progress = Progress(question, limits, method, order)
    with one_blas_thread():  # the attack's matrices are small too
        predicted = _attacked(progress, attack)
        through(stages, progress, limits.stop)
    progress.lose()
    best = max(progress.attacks.values(), key=lambda hit: hit.margin, default=None)
    ordered = tuple(progress.decisions[target] for target in sorted(progress.decisions))
    verdict = Verdict.FALSIFIED if best is not None else combined(decision.verdict for decision in ordered)
    seconds = time.perf_counter() - began
    return RobustnessReport(verdict, seconds, question, method, predicted, ordered, best)


def _attacked(progress: Progress, attack: bool) -> int:
    """Fill in what the attack says of each target, and return the label at the region's centre."""
    question = progress.question
    network, region, label = question.network, question.region, question.label
    scores = network.logits(region.center)
    if not np.isfinite(scores).all():
        raise InputError("network: its scores at the region's centre are not finite; scale its weights down.")
    nominal = scores - scores[label]
    best_margin = np.full(network.classes, np.nan)
    if attack:
        restarts, steps = EFFORT[isinstance(network, MonDEQ)]
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
    for target in question.targets:
        if target in progress.attacks and (progress.method == "cascade" or reached[target]):
            progress.reached(progress.attacks[target], "pgd")
    return int(np.argmax(scores))
