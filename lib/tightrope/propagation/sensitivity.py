"""Sensitivity of a relaxation: the degree of its bounds as rational functions of a shift of the first layer.

Section 4.2 of jovanovic2022-paradox: the first layer's weight becomes W + delta D. As long as no neuron changes its
stability, no sign that decides between two lines and no weight of the first layer its sign, a bound is p(delta) /
q(delta); its degree is the larger one of p and q. The paper bounds it by formulas, for layers of M neurons,

    Box, hBox: 1,      DeepZ, CROWN: 2 3^B M^(B+1),      CROWN-IBP (R): (2 M^(B+2) - M^(B+1) - M) / (M - 1),

with B = ceil(L / 2) - 1 for L layers, ReLU counted as layers. Its own argument starts with degree 2 M above the first
ReLU and has one factor for each later pair of ReLU and linear layer: H - 1 of them with H hidden layers, where B = H.
Here the degree itself is computed: the same bounds as :func:`tightrope.propagation.bounds.bounds`, in exact numbers.

It is lower, since the neurons of a layer share denominators. Let the coefficients and bounds of a layer have numerators
of degree a over one denominator of degree a - 1. The slopes u / (u - l) lose it, and have the M denominators u - l of
degree a (DeepZ, CROWN) or 1 (CROWN-IBP (R), where l and u come from intervals). So the next layer has the one
denominator of degree a - 1 + M a or a - 1 + M, and with a = 1 at first the outputs have degree (M + 1)^H or H M + 1 at
most.

What is made of delta by +, -, * and / is a rational function p / q. A :class:`Number` keeps its value at delta = 0, a
fraction, by which numbers are compared, and p and q modulo a prime, without a common factor. The prime can hide a
coefficient that it divides, which is why a degree is computed with two of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from flint import nmod_poly

from tightrope.errors import InputError
from tightrope.names import known_name
from tightrope.networks import FeedForward
from tightrope.propagation.lines import SAME, Relaxation, relaxation

METHODS = ("box", "hbox", "crown_ibp", "deepz", "crown")
PRIMES = (2**31 - 1, 2**31 - 19)

_Operand: TypeAlias = "Number | Fraction | int"


@dataclass(frozen=True, eq=False)
class Number:
    """A rational function p / q of delta: its value at delta = 0, and p and q modulo a prime.

    Examples
    --------
    >>> delta = shift()
    >>> found = 2 / (delta * delta + 1) + 3
    >>> found.p, found.q
    (3*x^2 + 5, x^2 + 1)
    """

    value: Fraction
    p: nmod_poly
    q: nmod_poly

    def __post_init__(self) -> None:
        common = self.p.gcd(self.q) * self.q.leading_coefficient()  # q becomes monic
        object.__setattr__(self, "p", self.p // common)
        object.__setattr__(self, "q", self.q // common)

    def _with(self, other: _Operand) -> "Number":
        if isinstance(other, Number):
            return other
        value = Fraction(other)
        return Number(value, *(nmod_poly([n], self.q.modulus()) for n in value.as_integer_ratio()))

    def __add__(self, other: _Operand) -> "Number":
        other = self._with(other)
        return Number(self.value + other.value, self.p * other.q + other.p * self.q, self.q * other.q)

    def __neg__(self) -> "Number":
        return Number(-self.value, -self.p, self.q)

    def __sub__(self, other: _Operand) -> "Number":
        return self + -self._with(other)

    def __mul__(self, other: _Operand) -> "Number":
        other = self._with(other)
        return Number(self.value * other.value, self.p * other.p, self.q * other.q)

    def __truediv__(self, other: _Operand) -> "Number":
        other = self._with(other)
        return Number(self.value / other.value, self.p * other.q, self.q * other.p)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: _Operand) -> "Number":
        return -self + other

    def __rtruediv__(self, other: _Operand) -> "Number":
        return self._with(other) / self

    def __abs__(self) -> "Number":
        return self if self.sign >= 0 else -self

    @property
    def sign(self) -> int:
        """Return the sign of the value at 0: -1, 0 or 1. A function that is 0 there and not everywhere has none."""
        if self.value == 0 and not self.p.is_zero():
            raise InputError("delta = 0 is on a kink: a choice depends on the sign of something that is 0 there.")
        return (self.value > 0) - (self.value < 0)

    @property
    def degree(self) -> int:
        """The larger of the degrees of p and q."""
        return max(self.p.degree(), self.q.degree())


def shift(prime: int = PRIMES[0]) -> Number:
    """delta itself."""
    return Number(Fraction(0), nmod_poly([0, 1], prime), nmod_poly([1], prime))


def degree_formula(method: str, neurons: int, blocks: int) -> int:
    """The paper's bound of the degree for layers of `neurons` and B = `blocks`.

    Examples
    --------
    >>> [degree_formula(name, 3, blocks) for name in ("deepz", "crown_ibp") for blocks in (0, 1)]
    [6, 54, 6, 21]
    """
    method = known_name("relaxation", method, METHODS, SAME)
    if method in ("box", "hbox"):
        return 1
    if method == "crown_ibp":  # the geometric series, without its division by M - 1
        found = 2 * neurons
        for _ in range(blocks):
            found = (found + 1) * neurons
        return found
    return 2 * 3**blocks * neurons ** (blocks + 1)


def shared_degree(method: str, neurons: int, hidden: int) -> int:
    """The bound of the degree that counts the denominators which the neurons of a layer share once.

    Examples
    --------
    >>> [shared_degree(name, 3, 2) for name in ("box", "crown_ibp", "crown", "deepz")]
    [1, 7, 16, 16]
    """
    method = known_name("relaxation", method, METHODS, SAME)
    if method in ("box", "hbox"):
        return 1
    return hidden * neurons + 1 if method == "crown_ibp" else (neurons + 1) ** hidden


def bound_degrees(
    network: FeedForward, direction: np.ndarray, lower: Sequence[float], upper: Sequence[float], method: str
) -> tuple[tuple[int, int], ...]:
    """Degrees (lower, upper) of the bounds of each output over a box, as functions of a shift of the first weight.

    The network is dense; its weights and biases are taken as the fractions that they are. The direction has the first
    weight's shape, the ends of the box are (p0,). InputError if delta = 0 is on a kink, where the bound is not one
    rational function.

    Examples
    --------
    >>> network = FeedForward.dense(([[1.0, 2.0], [3.0, -1.0]], [[1.0, -2.0]]), ([0.5, 0.25], [0.0]))
    >>> direction = np.array([[1.0, 3.0], [2.0, 1.0]])
    >>> [bound_degrees(network, direction, [-1, -1], [1, 1], name) for name in ("box", "deepz")]
    [((1, 1),), ((2, 3),)]
    """
    sides = (exact_bounds(network, direction, lower, upper, method, prime) for prime in PRIMES)
    low, high = np.max([[[bound.degree for bound in side] for side in both] for both in sides], axis=0).tolist()
    return tuple(zip(low, high, strict=True))


def exact_bounds(
    network: FeedForward,
    direction: np.ndarray,
    lower: Sequence[float],
    upper: Sequence[float],
    method: str,
    prime: int = PRIMES[0],
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds (K,) of the outputs: arrays of :class:`Number`."""
    network.require_relu("degrees of bounds are of networks with")
    method = known_name("relaxation", method, METHODS, SAME)
    if np.shape(direction) != network.weights[0].shape:
        raise InputError(f"direction: shape {np.shape(direction)}; the first weight's is {network.weights[0].shape}.")
    delta = shift(prime)
    exact = np.vectorize(lambda entry: delta * 0 + Fraction(float(entry)), otypes=[object])
    weights, biases = [exact(W) for W in network.weights], [exact(b) for b in network.biases]
    weights[0] = weights[0] + exact(direction) * delta
    return _propagate(weights, biases, exact(lower), exact(upper), relaxation(method))


# All arrays below are of Number. They are added, multiplied and compared entry by entry.
_sign = np.vectorize(lambda number: number.sign, otypes=[int])


def _propagate(
    weights: list[np.ndarray], biases: list[np.ndarray], lower: np.ndarray, upper: np.ndarray, chosen: Relaxation
) -> tuple[np.ndarray, np.ndarray]:
    """Layer by layer, as `tightrope.propagation.bounds.Hidden`."""
    lines: list[tuple[np.ndarray, ...]] = []
    low, high, radius = lower, upper, None
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        spread = b * 0 if radius is None else np.abs(W) @ radius
        if i == 0:
            low, high = _highest(W, b, [], upper, lower), _highest(W, b, [], lower, upper)
        elif chosen.lines is None or (chosen.by_intervals and i < len(weights) - 1):
            low, high = (np.where(_sign(end) > 0, end, end * 0) for end in (low, high))
            low, high = _highest(W, b, [], high, low), _highest(W, b, [], low, high)
        else:
            below = list(zip(weights[:i], biases[:i], lines, strict=True))
            high = _highest(W, b, below, lower, upper) + spread
            low = -_highest(-W, -b, below, lower, upper) - spread
        if i == len(weights) - 1:
            break
        if chosen.uncorrelated:
            radius = np.where(_unstable(low, high), high / 2, spread * (_sign(low) >= 0))
        lines.append(_lines(chosen.name, low, high))
    return low, high


def _lines(name: str, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
    """Slope and intercept of the lower line, then of the upper line; as `tightrope.propagation.lines`."""
    zero, free = low * 0, _unstable(low, high)
    stable, slope = zero + (_sign(low) >= 0), zero.copy()
    if name == "hbox":  # the middle; the interval around it is carried by itself
        middle = np.where(free, high / 2, zero)
        return stable, middle, stable, middle
    slope[free] = high[free] / (high - low)[free]
    below = slope if name == "deepz" else free & (_sign(high + low) > 0)
    return stable + below, zero, stable + slope, -slope * low


def _highest(
    A: np.ndarray, constant: np.ndarray, below: Sequence[tuple], lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Upper bounds (m,) of A z + constant by back-substitution; the lowest values if the box's ends are exchanged."""
    for W, b, (low_slope, low_end, high_slope, high_end) in reversed(below):
        above = _sign(A) >= 0
        constant = constant + (A * np.where(above, high_end, low_end)).sum(1)
        A = A * np.where(above, high_slope, low_slope)
        constant, A = constant + A @ b, A @ W
    return constant + (A * np.where(_sign(A) >= 0, upper, lower)).sum(1)


def _unstable(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (_sign(low) < 0) & (_sign(high) > 0)
