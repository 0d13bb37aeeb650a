"""The minimum distortion of an image: from below by what certifies, from above by an attack, both by bisection.

A method certifies some radii; whether it certifies a smaller radius too need not be, so nothing is concluded from one
radius for another: the lower end of a bracket is a radius that was certified itself. The upper end is a radius at
which the method gave no proof, or the distance of a point with another label, which bounds the distortion itself.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tightrope import attacks, relu_proofs
from tightrope.arguments import require_network
from tightrope.certificates import Verdict
from tightrope.errors import InputError
from tightrope.names import known_name
from tightrope.networks import FeedForward
from tightrope.outward import at_least, at_most
from tightrope.proofs import Proof, decimal_below
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import METHODS, layerwise
from tightrope.regions import INFINITY, Ball
from tightrope.threads import one_blas_thread
from tightrope.verifiers.report import Report

#: Parts of the certified radius that a certificate file is tried for: the checker's arithmetic is not the method's.
SHRUNK = (1.0, 0.999, 0.99, 0.9)


@dataclass(frozen=True)
class Bracket:
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
    hit
        The point found, of an attack.
    """

    lower: float
    upper: float
    steps: int
    hit: attacks.Attack | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Distortion(Report):
    """The minimum distortion of an image: above `certified.lower`, at most `attacked.upper`.

    Attributes
    ----------
    network, center, label, box, method, ascent
        What was asked; `ascent` is the number of steps of the dual ascent.
    """

    certified: Bracket
    attacked: Bracket
    network: FeedForward
    center: np.ndarray
    label: int
    method: str
    box: tuple[float, float] | None
    ascent: int
    seconds: float
    facts = ("verdict", "lower", "upper", "method", "seconds")

    @property
    def verdict(self) -> Verdict:
        """CERTIFIED if no point up to the lower end has another label; FALSIFIED if the image has; else UNKNOWN."""
        if self.upper == 0:
            return Verdict.FALSIFIED
        return Verdict.CERTIFIED if self.lower > 0 else Verdict.UNKNOWN

    @property
    def headline(self) -> str:
        """Both ends in one line, rounded outward."""
        ends = f"{at_least(self.lower)} to {at_most(self.upper)}"
        return f"minimum distortion of label {self.label}: {ends} (L-inf, input units), {self.verdict}"

    @property
    def lower(self) -> float:
        """The radius that is certified."""
        return self.certified.lower

    @property
    def upper(self) -> float:
        """The distance of the point with another label."""
        return self.attacked.upper

    def certificates(self) -> Proof:
        """Return the file that proves both ends; the lower one may be some per cent smaller there.

        Raises
        ------
        InputError
            No point with another label is known.
        """
        hit = self.attacked.hit
        if hit is None:
            raise InputError("attacked: no point with another label was found; the lower end alone has no certificate.")
        for part in SHRUNK if self.lower > 0 else ():
            radius = float(decimal_below(self.lower * part, relu_proofs.DISTANCE_DIGITS))
            region = _ball(self.center, radius, self.box)
            inputs = InputSet.from_balls([region])
            with one_blas_thread():
                found = layerwise(self.network, inputs, self.label, self.method, steps=self.ascent, keep=True)
            inside = relu_proofs.layerwise(self.network, region, found)
            proof = relu_proofs.distortion(self.network, region, self.label, hit, inside)
            if proof.proven:
                return proof
        return relu_proofs.distortion(self.network, _ball(self.center, 0.0, self.box), self.label, hit, None)


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


def minimum_distortion(
    network: FeedForward,
    center: np.ndarray,
    label: int,
    method: str = "lp-all",
    *,
    box: tuple[float, float] | None = None,
    largest: float = 1.0,
    tolerance: float = 0.01,
    steps: int = 40,
    seed: int = 0,
) -> Distortion:
    """Bracket the minimum distortion of an image by an attack and a method; parameters are those of both below.

    An image of another shape than (p0,) is flattened row by row.

    Examples
    --------
    >>> network = FeedForward.dense([[[1.0], [-1.0]]], [[0.5, 0.0]])
    >>> found = minimum_distortion(network, np.zeros(1), 0)
    >>> print(found.certificates().findings[-1])
    PROVEN (exact)  the Linf distance of label 0 from another is above 0.2480468 and at most 0.2500001 (input units)
    """
    require_network(
        network, FeedForward, instead="write certify(network, Ball(center, radius, norm), label) at some radii"
    )
    center, began = np.ravel(np.asarray(center, float)), time.perf_counter()
    attack = attacked_distortion(network, center, label, box=box, largest=largest, tolerance=tolerance, seed=seed)
    certified = Bracket(0.0, 0.0, 0)
    if attack.upper > 0:
        upper = min(attack.upper, largest)
        certified = certified_distortion(
            network, center, label, method, upper, box=box, tolerance=tolerance, steps=steps
        )
    return Distortion(certified, attack, network, center, label, method, box, steps, time.perf_counter() - began)


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
    method, center = known_name("method", method, METHODS), np.asarray(center, float)

    def certified(radius: float) -> bool:
        inputs = InputSet.from_balls([_ball(center, radius, box)])
        return layerwise(network, inputs, label, method, steps=steps, decide=True).worst < 0

    with one_blas_thread():
        if attacks.check(network, _ball(center, 0.0, box), label, center) is not None:
            return Bracket(0.0, 0.0, 0)
        return bisect(certified, lower, upper, tolerance)


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
    center = np.asarray(center, float)
    nearest: list[attacks.Attack] = []

    def distance(hit: attacks.Attack) -> float:
        return float(np.abs(hit.point - center).max())

    def survives(radius: float) -> bool:
        found = attacks.pgd(network, _ball(center, radius, box), label, restarts=restarts, steps=steps, seed=seed)
        nearest[:] = sorted([*nearest, *found.attacks.values()], key=distance)[:1]
        return not found.attacks

    with one_blas_thread():
        if network.predict(center) != label:
            return Bracket(0.0, 0.0, 0, attacks.check(network, _ball(center, 0.0, box), label, center))
        if survives(largest):
            return Bracket(largest, INFINITY, 1)
        found = bisect(survives, 0.0, largest, tolerance)
    return Bracket(found.lower, distance(nearest[0]), found.steps + 1, nearest[0])
