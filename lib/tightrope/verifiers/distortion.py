"""The minimum distortion of an image: from below by what certifies, from above by an attack, both by bisection.

A method certifies some radii; whether it certifies a smaller radius too need not be, so nothing is concluded from one
radius for another: the lower end of a bracket is a radius that was certified itself. The upper end is a radius at
which the method gave no proof, or the distance of a point with another label, which bounds the distortion itself.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tightrope import attacks, relu_proofs
from tightrope.attacks import Attack
from tightrope.certificates import Verdict
from tightrope.errors import InputError
from tightrope.names import known_name
from tightrope.networks import FeedForward
from tightrope.proofs import Proof
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import METHODS, Layerwise, layerwise
from tightrope.regions import INFINITY, Ball
from tightrope.threads import one_blas_thread
from tightrope.verifiers.report import Report


@dataclass(frozen=True)
class Bracket(Report):
    """Two radii in network-input units.

    Attributes
    ----------
    lower
        Certified, if it is above 0: no point within this distance has another label. For an attack: no point was found
        within it.
    upper
        Not certified; 0 where the image itself has another label. For an attack: the distance of the point found; inf
        if none was.
    steps
        How many radii were tried.
    verdict
        CERTIFIED if the lower end is; FALSIFIED if a point is known at the upper end; else UNKNOWN.
    proof
        Makes the certificate file of that end.
    """

    lower: float
    upper: float
    steps: int
    verdict: Verdict = Verdict.UNKNOWN
    seconds: float = 0.0
    proof: Callable[[], Proof] | None = field(default=None, repr=False, compare=False)
    facts = ("verdict", "lower", "upper", "steps", "seconds")

    def certificates(self) -> Proof:
        """Return the file of what the verdict is: the bounds at the lower end, solved again, or the point found."""
        return super().certificates() if self.proof is None else self.proof()


def bisect(succeeds: Callable[[float], bool], lower: float, upper: float, tolerance: float) -> Bracket:
    """Narrow [lower, upper] to a relative width: `succeeds` is taken as true at lower and false at upper.

    Examples
    --------
    >>> found = bisect(lambda radius: radius < 0.3, 0.0, 1.0, 0.1)
    >>> found.lower < 0.3 <= found.upper <= 1.1 * found.lower
    True
    """
    if not (0 <= lower < upper < INFINITY) or not tolerance > 0:
        raise InputError(f"lower, upper, tolerance: got {lower!r}, {upper!r}, {tolerance!r}; give 0 <= lower < upper.")
    steps = 0
    while upper > lower * (1 + tolerance) and upper > 1e-9:
        middle = (lower + upper) / 2
        lower, upper = (middle, upper) if succeeds(middle) else (lower, middle)
        steps += 1
    return Bracket(lower, upper, steps)


def _ball(center: np.ndarray, radius: float, box: tuple[float, float] | None) -> Ball:
    sides = (None, None) if box is None else (np.full_like(center, box[0]), np.full_like(center, box[1]))
    return Ball(center, radius, INFINITY, *sides)


def certified_distortion(
    network: FeedForward,
    center: np.ndarray,
    label: int,
    method: str,
    upper: float,
    *,
    lower: float = 0.0,
    box: tuple[float, float] | None = None,
    tolerance: float = 0.01,
    steps: int = 40,
) -> Bracket:
    """Return the largest radius that a method certifies, within a bracket.

    Parameters
    ----------
    network : FeedForward
    center : (p0,)
        The image in network-input units.
    label : int
    method
        lp-greedy, lp-last or lp-all.
    upper
        A radius at which nothing can be certified: that of an attack.
    lower
        A radius that a looser method certifies (0 if none), where the search may start.
    box
        (lowest, highest) input, to which balls are cut.
    tolerance
        Relative width of the bracket.
    steps
        How many the dual ascent takes.
    """
    method, began = known_name("method", method, METHODS), time.perf_counter()
    center = np.asarray(center, float)

    def solved(radius: float, keep: bool = False) -> Layerwise:
        inputs = InputSet.from_balls([_ball(center, radius, box)])
        return layerwise(network, inputs, label, method, steps=steps, decide=True, keep=keep)

    def proof() -> Proof:
        with one_blas_thread():
            kept = solved(found.lower, keep=True)
        return relu_proofs.layerwise(network, _ball(center, found.lower, box), kept)

    with one_blas_thread():
        if attacks.check(network, _ball(center, 0.0, box), label, center) is not None:
            return Bracket(0.0, 0.0, 0, Verdict.FALSIFIED)
        found = bisect(lambda radius: solved(radius).worst < 0, lower, upper, tolerance)
    found = replace(found, seconds=time.perf_counter() - began)
    return replace(found, verdict=Verdict.CERTIFIED, proof=proof) if found.lower > 0 else found


def attacked_distortion(
    network: FeedForward,
    center: np.ndarray,
    label: int,
    *,
    box: tuple[float, float] | None = None,
    largest: float = 1.0,
    tolerance: float = 0.01,
    restarts: int = 2,
    steps: int = 40,
    seed: int = 0,
) -> Bracket:
    """Return the smallest distance at which projected gradient ascent finds another label.

    Parameters
    ----------
    largest
        The first radius that is tried; the upper end is inf if nothing is found there.
    restarts, steps, seed
        Those of :func:`tightrope.attacks.pgd`.
    """
    center, began = np.asarray(center, float), time.perf_counter()
    hits: list[Attack] = []

    def distance(hit: Attack) -> float:
        return float(np.abs(hit.point - center).max())

    def survives(radius: float) -> bool:
        found = attacks.pgd(network, _ball(center, radius, box), label, restarts=restarts, steps=steps, seed=seed)
        hits.extend(found.attacks.values())
        return not found.attacks

    def proof() -> Proof:
        return relu_proofs.attack(network, _ball(center, np.nextafter(upper, INFINITY), box), label, nearest)

    with one_blas_thread():
        if network.predict(center) != label:
            return Bracket(0.0, 0.0, 0, Verdict.FALSIFIED)
        if survives(largest):
            return Bracket(largest, INFINITY, 1, seconds=time.perf_counter() - began)
        found = bisect(survives, 0.0, largest, tolerance)
    nearest = min(hits, key=distance)
    upper, seconds = distance(nearest), time.perf_counter() - began
    return Bracket(found.lower, upper, found.steps + 1, Verdict.FALSIFIED, seconds, proof)
