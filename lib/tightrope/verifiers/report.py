"""What a verifier answers, for every kind of network; checks of a question that every verifier makes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tightrope.attacks import Attack
from tightrope.certificates import Certificate, Verdict
from tightrope.errors import InputError, RegionError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.regions import Region


@dataclass(frozen=True, eq=False)
class LabelDecision:
    """What is known of max F_label - F_y over the region.

    Attributes
    ----------
    label
        The target label.
    verdict
        CERTIFIED (proven below 0), FALSIFIED (an attack is known), UNKNOWN or FAILED; `reason` says why.
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


@dataclass(frozen=True, eq=False)
class RobustnessReport:
    """The decisions of all target labels and what follows from them."""

    verdict: Verdict
    label: int
    predicted: int
    decisions: tuple[LabelDecision, ...]
    attack: Attack | None
    seconds: float


def combined(decisions: list[LabelDecision]) -> Verdict:
    """One attack falsifies; otherwise all labels must be certified; a failure is reported before an unknown."""
    verdicts = {decision.verdict for decision in decisions}
    for verdict in (Verdict.FALSIFIED, Verdict.FAILED, Verdict.UNKNOWN):
        if verdict in verdicts:
            return verdict
    return Verdict.CERTIFIED


def checked_targets(
    network: MonDEQ | FeedForward, region: Region, label: int, targets: Iterable[int] | None
) -> list[int]:
    """The labels to decide, all others than `label` by default, or an error that says which argument is wrong."""
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
