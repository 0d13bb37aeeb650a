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

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from tightrope.errors import InputError
from tightrope.names import known_name
from tightrope.networks import FeedForward
from tightrope.propagation.lines import SAME, Relaxation, relaxation
from tightrope.propagation.rational import PRIMES, shift

METHODS = ("box", "hbox", "crown_ibp", "deepz", "crown")


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
    """Lower and upper bounds (K,) of the outputs: arrays of :class:`tightrope.propagation.rational.Number`."""
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
