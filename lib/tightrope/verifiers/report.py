"""What a verifier answers, for every kind of network, and what every verifier does: check, attack, put together."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from tightrope import proofs
from tightrope.attacks import Attack, margins_at, pgd
from tightrope.certificates import Certificate, Verdict
from tightrope.errors import InputError, RegionError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.regions import Ball, Region
from tightrope.threads import one_blas_thread
from tightrope.verifiers.phases import Tree

#: Reasons of decisions on which nothing better can be said.
NOTHING, NOT_CERTIFIED = "nothing was tried", "not certified by this relaxation"


@dataclass(frozen=True, eq=False)
class LabelDecision:
    """What is known of max F_label - F_y over the region.

    Attributes
    ----------
    label
        The target label.
    verdict
        CERTIFIED (proven below 0), COMPUTED (below 0 by a solver's word), FALSIFIED (an attack is known), UNKNOWN or
        FAILED; `reason` says why.
    bound
        Proven upper bound, or None if none was computed. When a solve stops at the sign it is not the tightest one.
    nominal_margin
        F_label - F_y at the region's centre.
    attack_margin
        The largest F_label - F_y that the attack found, or None without an attack.
    method, solver, iterations, gap, seconds
        Who decided, and at what cost; gap is that of the solver, None without a solve.
    certificate
        The proof of `bound`, or None.
    tree
        What branch and bound on phases found, or None; its leaves prove `bound` if the label is certified.
    """

    label: int
    verdict: Verdict
    bound: float | None
    nominal_margin: float
    attack_margin: float | None
    method: str
    solver: str
    gap: float | None
    iterations: int
    seconds: float
    reason: str = ""
    certificate: Certificate | None = None
    tree: Tree | None = None


@dataclass(frozen=True, eq=False)
class RobustnessReport:
    """The decisions of all target labels and what follows from them.

    Attributes
    ----------
    network, region
        What was asked about.
    """

    verdict: Verdict
    label: int
    predicted: int
    decisions: tuple[LabelDecision, ...]
    attack: Attack | None
    seconds: float
    network: MonDEQ | FeedForward
    region: Region

    def certificate(self, label: int) -> proofs.Proof:
        """Return the file that proves what is known of one target label: its bound, or the attack that reaches it.

        Raises
        ------
        InputError
            The label was not asked for, or nothing is known of it that has a certificate.
        """
        if self.attack is not None and self.attack.label == label:
            return proofs.attack(self.network, self.region, self.label, self.attack)
        for decision in self.decisions:
            if decision.label == label and (tree := _proven(decision)) is not None:
                return self._with_trees([], {label: tree})
        known = {certificate.target: certificate for certificate in self._known()}
        if label not in known:
            raise InputError(f"label: got {label!r}; the labels with a certificate are {list(known)}.")
        return proofs.margins(self.network, self.region, [known[label]])

    def certificates(self) -> proofs.Proof:
        """Return one file for all target labels that have a certificate; that of the attack if there are none.

        Raises
        ------
        InputError
            There is neither.
        """
        known = self._known()
        trees = {own.label: tree for own in self.decisions if (tree := _proven(own)) is not None}
        if trees:
            return self._with_trees(known, trees)
        if known:
            return proofs.margins(self.network, self.region, known)
        if self.attack is None:
            raise InputError("certificates: no label of this report has one.")
        return proofs.attack(self.network, self.region, self.label, self.attack)

    def _with_trees(self, known: list[Certificate], trees: dict[int, Tree]) -> proofs.Proof:
        """Return one file for certificates and trees, which a monDEQ has over balls."""
        network, region = cast(MonDEQ, self.network), cast(Ball, self.region)
        grown = [(target, tree.bound, tree.signs, tree.multipliers) for target, tree in trees.items()]
        invariant = next(iter(trees.values())).invariant
        return proofs.margins_and_trees(network, region, self.label, invariant, known, grown)

    def _known(self) -> list[Certificate]:
        return [decision.certificate for decision in self.decisions if decision.certificate is not None]


def _proven(decision: LabelDecision) -> Tree | None:
    """Return the tree that proves a label's bound, if one does."""
    return decision.tree if decision.verdict is Verdict.CERTIFIED else None


def combined(decisions: Iterable[LabelDecision]) -> Verdict:
    """Return the verdict of all decisions together, which is that of the weakest.

    One attack falsifies; a failure is reported before an unknown, and an unknown before what is computed only.
    """
    verdicts = {decision.verdict for decision in decisions}
    for verdict in (Verdict.FALSIFIED, Verdict.FAILED, Verdict.UNKNOWN, Verdict.COMPUTED):
        if verdict in verdicts:
            return verdict
    return Verdict.CERTIFIED


def checked_targets(
    network: MonDEQ | FeedForward, region: Region, label: int, targets: Iterable[int] | None
) -> list[int]:
    """Return the labels to decide, all others than `label` by default; errors say which argument is wrong."""
    if region.size != network.input_size:
        raise RegionError(f"region: {region.size} inputs, but the network has {network.input_size}.")
    labels = range(network.classes)
    if not isinstance(label, int | np.integer) or label not in labels:
        raise InputError(f"label: got {label!r}; write one of 0..{network.classes - 1}.")
    if targets is None:
        return [j for j in labels if j != label]
    chosen = list(dict.fromkeys(targets))
    for target in chosen:
        if not isinstance(target, int | np.integer) or target not in labels or target == label:
            raise InputError(f"targets: got {target!r}; write labels in 0..{network.classes - 1} other than {label}.")
    if not chosen:
        raise InputError("targets: got none; leave targets out to decide all labels.")
    return [int(target) for target in chosen]


def undecided(decisions: dict[int, LabelDecision]) -> list[int]:
    """Return the target labels whose verdict is UNKNOWN."""
    return [target for target, decision in decisions.items() if decision.verdict is Verdict.UNKNOWN]


def falsified(decision: LabelDecision, hit: Attack) -> LabelDecision:
    """Return the decision of a label that an attack reaches."""
    margin = hit.margin if decision.attack_margin is None else max(hit.margin, decision.attack_margin)
    return replace(decision, verdict=Verdict.FALSIFIED, attack_margin=margin, method="attack", solver="pgd", reason="")


def attack_then_prove(
    network: MonDEQ | FeedForward,
    region: Region,
    label: int,
    targets: list[int],
    prove: Callable[[dict[int, LabelDecision], bool], list[Attack]],
    *,
    effort: tuple[int, int] | None,
    seed: int,
    cascade: bool,
) -> RobustnessReport:
    """Attack, have the rest proven, and put the decisions together.

    Parameters
    ----------
    targets
        Labels to decide, as :func:`checked_targets` returns them.
    prove
        Replaces UNKNOWN decisions, which come by target label, by better ones; its second argument says whether an
        attack has reached any label. It returns the attacks that it found itself.
    effort
        Restarts and steps of the attack, or None for none. The region's centre is always looked at: it may be labelled
        wrongly, whatever the targets are, and a tie counts against the label.
    cascade
        Whether an attack decides its target; otherwise a target is left to `prove` for its bound unless the centre
        reaches it, and falsified afterwards.

    Raises
    ------
    InputError
        If the scores at the region's centre are not finite.
    """
    began = time.perf_counter()
    with one_blas_thread():  # the attack's matrices are small too
        scores = network.logits(region.center)
        if not np.isfinite(scores).all():
            raise InputError("network: its scores at the region's centre are not finite; scale its weights down.")
        nominal = scores - scores[label]
        attacks: dict[int, Attack] = {}
        best_margin = np.full(network.classes, np.nan)
        if effort is not None:
            restarts, steps = effort
            result = pgd(network, region, label, targets=targets, restarts=restarts, steps=steps, seed=seed)
            attacks, best_margin = dict(result.attacks), result.best_margin
        at_center = margins_at(network, label, region.center)
        reached = (at_center >= 0) & (np.arange(network.classes) != label)
        if reached.any():
            reached &= bool(region.holds(region.center))
        for target in map(int, np.flatnonzero(reached)):
            attacks.setdefault(target, Attack(region.center.copy(), target, float(at_center[target])))
        decisions = {}
        for target in targets:
            margin = float(best_margin[target]) if np.isfinite(best_margin[target]) else None
            margins = float(nominal[target]), margin
            decisions[target] = LabelDecision(target, Verdict.UNKNOWN, None, *margins, "", "", None, 0, 0.0, NOTHING)
            if target in attacks and (cascade or reached[target]):
                decisions[target] = falsified(decisions[target], attacks[target])
        for hit in prove(decisions, bool(attacks)):
            attacks[hit.label] = hit
    for target, hit in attacks.items():
        if target in decisions and decisions[target].verdict is not Verdict.FALSIFIED:
            old = decisions[target]
            margin = hit.margin if old.attack_margin is None else max(hit.margin, old.attack_margin)
            reason = "an attack reaches this label"
            decisions[target] = replace(old, verdict=Verdict.FALSIFIED, reason=reason, attack_margin=margin)
    best = max(attacks.values(), key=lambda hit: hit.margin, default=None)
    ordered = tuple(decisions[target] for target in sorted(decisions))
    verdict = Verdict.FALSIFIED if attacks else combined(ordered)
    predicted, seconds = int(np.argmax(scores)), time.perf_counter() - began
    return RobustnessReport(verdict, label, predicted, ordered, best, seconds, network, region)
