"""What can be proven: a theory's name -> how the claims of a file are checked against a network."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tightrope.checker import mondeq, regions
from tightrope.checker.file import Certificate, digest
from tightrope.checker.numbers import Refused

EXACT = "exact"


@dataclass(frozen=True)
class Finding:
    """What became of one claim.

    Attributes
    ----------
    claim : str
        In words.
    proven : bool
    by : str
        How numbers were computed: EXACT.
    reason : str
        Why it is refused; empty if it is proven.
    """

    claim: str
    proven: bool
    by: str = EXACT
    reason: str = ""

    def __str__(self) -> str:
        return f"PROVEN ({self.by})  {self.claim}" if self.proven else f"REFUSED  {self.claim}: {self.reason}"


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
        own = {name: network[name] for name in theory.arrays if name in network}
        if digest(theory.kind, own) != certificate.network:
            raise Refused("the network is not the one that the file is about (SHA-256 differs)")
        return list(theory.check(certificate, network))
    except Refused as refusal:
        return [Finding("the whole file", False, reason=str(refusal))]


@dataclass(frozen=True)
class Theory:
    """One kind of proof: the kind of network, its arrays, and what checks the claims."""

    kind: str
    arrays: tuple[str, ...]
    check: Callable[[Certificate, Mapping[str, np.ndarray]], Iterator[Finding]]


def _mondeq_margins(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"label", "target", "bound"}: F_target - F_label <= bound; row i of each array belongs to claim i."""
    network = mondeq.Network.read(arrays)
    region = regions.read(certificate.region, certificate.arrays)
    names = [name for name in ("t", "mu", "nu", "q", "clip") if name in certificate.arrays]
    for number, claim in enumerate(certificate.claims):
        words = f"F_{claim.get('target')} - F_{claim.get('label')} <= {claim.get('bound')} on {_ball(certificate)}"
        try:
            label, target = (_index(claim, name) for name in ("label", "target"))
            bound = regions.decimal(claim, "bound")
            own = {name: _row(certificate.arrays[name], number, name) for name in names}
            multipliers = mondeq.Multipliers.read(own, len(network.u), network.U.shape[1])
            mondeq.prove_margin(network, region, label, target, bound, multipliers)
        except Refused as refusal:
            yield Finding(words, False, reason=str(refusal))
        else:
            yield Finding(words, True)


def _index(claim: Mapping, name: str) -> int:
    value = claim.get(name)
    if type(value) is not int:
        raise Refused(f"{name}: expected a whole number, got {value!r}")
    return value


def _row(array: np.ndarray, number: int, name: str) -> np.ndarray:
    if array.ndim != 2 or number >= len(array):
        raise Refused(f"{name}: expected one row for each claim")
    return array[number]


def _ball(certificate: Certificate) -> str:
    region = certificate.region
    clipped = " in the pixel range" if region.get("clip") is True or "lower" in certificate.arrays else ""
    unit = "pixel units" if "pixels" in certificate.arrays else "input units"
    return f"the L{region.get('norm')} ball of radius {region.get('radius')} ({unit}){clipped}"


THEORIES: dict[str, Theory] = {"mondeq-order-1": Theory("mondeq", mondeq.ARRAYS, _mondeq_margins)}
