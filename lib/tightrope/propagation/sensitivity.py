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
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from tightrope.errors import InputError
from tightrope.names import known_name
from tightrope.networks import FeedForward
from tightrope.propagation.lines import SAME, Relaxation, relaxation
from tightrope.propagation.rational import PRIMES, Number, TooFewPointsError, degree, shift

METHODS = ("box", "hbox", "crown_ibp", "deepz", "crown")
#: Points for a function: doubled from the first number to the last, until they are enough.
POINTS = (64, 4096)


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

    def degrees(prime: int, count: int = POINTS[0]) -> list[list[int]]:
        sides = exact_bounds(network, direction, lower, upper, method, count, prime)
        try:
            return [[degree(bound) for bound in side] for side in sides]
        except TooFewPointsError:
            if count >= POINTS[1]:
                raise
            return degrees(prime, 2 * count)

    found = np.max([degrees(prime) for prime in PRIMES], axis=0)
    return tuple((int(low), int(high)) for low, high in found.T)


_Numbers = Sequence[Number] | np.ndarray  # an array of Number


def exact_bounds(
    network: FeedForward,
    direction: np.ndarray,
    lower: Sequence[float],
    upper: Sequence[float],
    method: str,
    count: int = POINTS[0],
    prime: int = PRIMES[0],
) -> tuple[list[Number], list[Number]]:
    """Lower and upper bounds of the outputs, each as a :class:`tightrope.propagation.rational.Number`."""
    network.require_relu("degrees of bounds are of networks with")
    method = known_name("relaxation", method, METHODS, SAME)
    if np.shape(direction) != network.weights[0].shape:
        raise InputError(f"direction: shape {np.shape(direction)}; the first weight's is {network.weights[0].shape}.")
    delta = shift(count, prime)
    exact = np.vectorize(lambda entry: delta * 0 + Fraction(float(entry)), otypes=[object])
    weights, biases = [exact(W) for W in network.weights], [exact(b) for b in network.biases]
    weights[0] = weights[0] + exact(direction) * delta
    return _propagate(weights, biases, exact(lower), exact(upper), relaxation(method), delta * 0)


def _propagate(
    weights: list[np.ndarray],
    biases: list[np.ndarray],
    lower: np.ndarray,
    upper: np.ndarray,
    chosen: Relaxation,
    zero: Number,
) -> tuple[list[Number], list[Number]]:
    """Layer by layer, as `tightrope.propagation.bounds.Hidden`."""
    lines: list[list[tuple]] = []
    low: list[Number] = []
    high: list[Number] = []
    carried: list[Number] | None = None
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        spread = None if carried is None else [_sum(zero, (a * r for a, r in pairs)) for pairs in _sizes(W, carried)]
        if i == 0:
            low, high = _interval(W, b, lower, upper)
        elif chosen.lines is None or (chosen.by_intervals and i < len(weights) - 1):
            low, high = _interval(W, b, *([_relu(end) for end in side] for side in (low, high)))
        else:
            below = list(zip(weights[:i], biases[:i], lines, strict=True))
            high = [_highest(row, c, below, lower, upper) for row, c in zip(W, b, strict=True)]
            low = [-_highest(-row, -c, below, lower, upper) for row, c in zip(W, b, strict=True)]
            if spread is not None:
                low = [a - r for a, r in zip(low, spread, strict=True)]
                high = [a + r for a, r in zip(high, spread, strict=True)]
        if i == len(weights) - 1:
            return low, high
        if chosen.uncorrelated:
            carried = [
                top / 2 if _unstable(end, top) else r if end.sign >= 0 else zero
                for end, top, r in zip(low, high, spread or [zero] * len(low), strict=True)
            ]
        lines.append([_lines(chosen.name, *ends, zero) for ends in zip(low, high, strict=True)])
    raise InputError("network: it has no layers.")


def _lines(name: str, low: Number, high: Number, zero: Number) -> tuple[Number, Number, Number, Number]:
    """Slope and intercept of the lower line, then of the upper line; as `tightrope.propagation.lines`."""
    if low.sign >= 0:
        return zero + 1, zero, zero + 1, zero
    if not _unstable(low, high):
        return (zero,) * 4
    if name == "hbox":  # the middle; the interval around it is carried by itself
        return zero, high / 2, zero, high / 2
    slope = high / (high - low)
    if name == "deepz":
        return slope, zero, slope, -slope * low
    return zero + int((high + low).sign > 0), zero, slope, -slope * low


def _highest(A: np.ndarray, constant: Number, below: Sequence[tuple], lower: np.ndarray, upper: np.ndarray) -> Number:
    """Upper bound of A z + constant by back-substitution."""
    for W, b, lines in reversed(below):
        form = []
        for a, (low_slope, low_end, high_slope, high_end) in zip(A, lines, strict=True):
            slope, end = (high_slope, high_end) if a.sign >= 0 else (low_slope, low_end)
            form.append(a * slope)
            constant = constant + a * end
        constant = _sum(constant, (a * c for a, c in zip(form, b, strict=True)))
        A = np.array(form, dtype=object) @ W
    return _sum(constant, (a * (high if a.sign >= 0 else low) for a, low, high in zip(A, lower, upper, strict=True)))


def _interval(W: np.ndarray, b: np.ndarray, lower: _Numbers, upper: _Numbers) -> tuple[list[Number], list[Number]]:
    def least(x: _Numbers, y: _Numbers) -> list[Number]:
        """The least values if x is below y, the largest ones if it is above."""
        ends = [[p if a.sign >= 0 else q for a, p, q in zip(row, x, y, strict=True)] for row in W]
        return [_sum(c, row * np.array(end, dtype=object)) for row, c, end in zip(W, b, ends, strict=True)]

    return least(lower, upper), least(upper, lower)


def _sizes(W: np.ndarray, radius: list[Number]) -> Iterator[list[tuple[Number, Number]]]:
    return ([(a if a.sign >= 0 else -a, r) for a, r in zip(row, radius, strict=True)] for row in W)


def _sum(first: Number, terms: Iterable[Number]) -> Number:
    for term in terms:
        first = first + term
    return first


def _relu(number: Number) -> Number:
    return number if number.sign > 0 else number * 0


def _unstable(low: Number, high: Number) -> bool:
    return low.sign < 0 < high.sign
