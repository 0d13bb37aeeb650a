"""The distance of the nearest other label: its two ends, and their certificate files."""

import numpy as np
from flint import fmpq

from tests.soundness import certificates
from tests.soundness.bed import Bed, near
from tests.soundness.exact import ZERO, domain, q
from tests.soundness.pieces import Pieces, feedforward_pieces, mondeq_pieces, rounding
from tightrope import minimum_distortion, proofs
from tightrope.networks import FeedForward, MonDEQ
from tightrope.propagation.layerwise import METHODS
from tightrope.question import Limits, Question
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers.distortion import attacked_distortion, certified_distortion

LIMITS = Limits(0.1, time=2.0)


def within(network: FeedForward | MonDEQ, center: np.ndarray, radius: float, stated: bool = False) -> Pieces:
    """The pieces on a ball around the centre."""
    make = mondeq_pieces if isinstance(network, MonDEQ) else feedforward_pieces
    return make(network, domain(Ball(center, radius, INFINITY), stated=stated))


def largest(network: FeedForward | MonDEQ, label: int, center: np.ndarray, radius: float, stated: bool = False) -> fmpq:
    """The largest margin of another label there."""
    return max(within(network, center, radius, stated).largest_margins(label).values())


def distortion(bed: Bed, rng, network: FeedForward, region: Ball) -> None:
    """The radius that is certified, and that of a point with another label."""
    label = int(network.predict(region.center))
    method, question = str(rng.choice(METHODS)), Question(network, Ball(region.center, 1.0, INFINITY), label)
    with bed.asking(f"distortion, {method}"):
        found = certified_distortion(question, method, LIMITS)
        if found.lower > 0:
            true = largest(network, label, region.center, found.lower) < 0
            bed.holds(f"distortion, {method}", true, f"{found.lower!r} is certified, but another label is reached")
    with bed.asking("distortion, attack"):
        found = attacked_distortion(question, LIMITS, steps=10)
        reached(bed, "distortion, attack", network, label, region.center, found.upper)
    minimum(bed, rng, "minimum distortion", network, label, region.center, method)


def reached(bed: Bed, kind: str, network, label: int, center: np.ndarray, radius: float) -> None:
    """There is another label within this radius."""
    if 0 < radius < np.inf:
        value = largest(network, label, center, radius)
        error = ZERO
        if isinstance(network, FeedForward):
            error = rounding(network, [abs(q(v)) + q(radius) for v in center])
        bed.holds(kind, value >= -error, f"no other label within {radius!r}: {near(value)!r}")


def minimum(bed: Bed, rng, kind: str, network, label: int, center: np.ndarray, method: str) -> None:
    """Both ends, and the file of them."""
    with bed.asking(kind):
        found = minimum_distortion(network, Ball(center, 1.0, INFINITY), label, method, LIMITS)
        if found.lower > 0:
            value = largest(network, label, center, found.lower)
            bed.holds(kind, value < 0, f"{found.lower!r} is certified, but {near(value)!r} is attained")
        reached(bed, kind, network, label, center, found.upper)
        if found.attacked.hit is None:
            return
        file = certificates.issued(bed, kind, found.certificates(), network)
        if file is None:
            return
        *inside, last = range(len(file.claims))
        claim, arrays = file.claims[last], proofs.arrays_of(network)[1]
        value = largest(network, label, center, float(claim["distance"]), stated=True)
        bed.holds(f"certificates: {kind}", value >= 0, f"no other label within {claim['distance']}: {near(value)!r}")
        nearer = {last: {"distance": repr(float(claim["distance"]) / 2)}}
        if largest(network, label, center, float(claim["distance"]) / 2, stated=True) < 0:
            false = certificates.altered(file, nearer)
            certificates.refused(bed, kind, false, arrays, [last], "half of the distance")
        if inside:
            own = within(network, center, float(file.region["radius"]), stated=True)
            certificates.margins(bed, kind, file, rng, network, own)
            ball = Ball(center, found.upper, INFINITY)
            further = certificates.moved(file, ball)
            wide = within(network, center, found.upper, stated=True)
            if max(wide.largest_margins(label).values()) >= 0:
                certificates.refused(bed, kind, further, arrays, [last], f"{ball.radius!r} without another label")
        certificates.other_networks(bed, kind, file, rng, arrays)
