"""What can be proven: a theory's name -> the claims of its files, and what proves one of a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tightrope.checker import distortion, ellipsoid, gram, lipschitz, mondeq, phases, relu, relu_lipschitz
from tightrope.checker.claims import EXACT, Finding, values, words
from tightrope.checker.file import Certificate, digest
from tightrope.checker.numbers import Refused

#: The claim of a finding that refuses all at once.
WHOLE_FILE = "the whole file"


@dataclass(frozen=True)
class Theory:
    """One kind of proof.

    `begin` reads a file and the network's arrays, refusing all at once, and returns what proves one claim: a function
    of the claim's number and, by key, of what it says, which returns how numbers were computed, None for EXACT.
    """

    kind: str  # of the network: "mondeq" or "relu"
    begin: Callable[[Certificate, Mapping[str, np.ndarray]], Callable[..., str | None]]
    claims: tuple[str, ...]  # the keys that a claim may have, together


MARGIN, LAYER = "label target bound", "layer rule"
PHASES = (MARGIN, f"{MARGIN} leaves")
LINEAR = (LAYER, f"{MARGIN} rule", f"{MARGIN} rule leaves")
THEORIES: dict[str, Theory] = {
    "mondeq-order-1": Theory("mondeq", mondeq.margins, (MARGIN,)),
    "mondeq-order-2": Theory("mondeq", gram.margins, (MARGIN, "holds")),
    "mondeq-phases": Theory("mondeq", phases.margins, PHASES),
    "mondeq-lipschitz": Theory("mondeq", lipschitz.everywhere, ("norm bound", "norm bound pair")),
    "mondeq-lipschitz-local": Theory("mondeq", lipschitz.on_region, ("norm bound", "norm bound pair")),
    "mondeq-ellipsoid": Theory("mondeq", ellipsoid.outer, ("holds", f"{MARGIN} multiplier")),
    "mondeq-point": Theory("mondeq", mondeq.points, ("label target least m",)),
    "mondeq-distortion": Theory("mondeq", distortion.of_equilibrium, (*PHASES, "label target distance m")),
    "relu-linear": Theory("relu", relu.linear, LINEAR),
    "relu-point": Theory("relu", relu.points, ("label target least",)),
    "relu-distortion": Theory("relu", distortion.of_layers, (*LINEAR, "label target distance")),
    "relu-lipschitz": Theory("relu", relu_lipschitz.upper, (LAYER, "part norm bound rule")),
    "relu-lipschitz-points": Theory("relu", relu_lipschitz.lower, ("part norm least",)),
}


def check(certificate: Certificate, network: Mapping[str, np.ndarray]) -> list[Finding]:
    """Check every claim of a certificate against the arrays of a network.

    A claim is proven only if the network is the one whose SHA-256 the file states.
    """
    try:
        if certificate.theory not in THEORIES:
            raise Refused(f"unknown theory {certificate.theory!r}; known: {', '.join(THEORIES)}")
        if not certificate.claims:
            raise Refused("the file claims nothing")
        theory = THEORIES[certificate.theory]
        own = {name: network[name] for name in network if theory.kind != "mondeq" or name in mondeq.ARRAYS}
        if any(np.asarray(array).dtype.kind not in "biuf" for array in own.values()):
            raise Refused("network: an array is not made of numbers")
        if digest(theory.kind, own) != certificate.network:
            raise Refused("the network is not the one that the file is about (SHA-256 differs)")
        prove = theory.begin(certificate, own)
    except Refused as refusal:
        return [Finding(WHOLE_FILE, False, reason=str(refusal))]
    findings = []
    for number, claim in enumerate(certificate.claims):
        text = words(claim, certificate)
        try:
            by = prove(number, **values(claim, theory.claims))
        except Refused as refusal:
            findings.append(Finding(text, False, reason=str(refusal)))
        else:
            findings.append(Finding(text, True, by or EXACT))
    return findings
