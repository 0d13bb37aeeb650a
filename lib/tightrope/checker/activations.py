"""Nonlinearities of one variable other than ReLU: at least the largest A sigma(t) - mu t for low <= t <= high.

Each consists of two closed pieces, t <= 0 and t >= 0, so that of a jump at 0 both values count. On a piece sigma is
convex, concave or a line. Where A sigma is convex, A sigma(t) - mu t is largest at an end of the piece. Where it is
concave, each of its tangents is above it, and a line is largest at an end; which tangents are looked at decides how
good the bound is, and nothing else. All values are balls, and what is returned is the upper end of one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from flint import arb, fmpq

from tightrope.checker.numbers import Exact, Refused
from tightrope.checker.pooling import Pool

LARGEST = 2000  # exponent of 2 of the numbers that a bound may have


@dataclass(frozen=True)
class Piece:
    """sigma on one side of 0: 1 where it is convex, -1 where it is concave, 0 where it is a line."""

    curvature: int
    value: Callable[[arb], arb]
    slope: Callable[[arb], arb]
    #: Where the slope is nearly this, in floats; any float may come of it, and nan.
    turning: Callable[[np.ndarray], np.ndarray] = np.zeros_like


def _line(slope: float, constant: float = 0.0) -> Piece:
    return Piece(0, lambda t: slope * t + constant, lambda t: arb(slope))


def _sigmoidal(value: Callable, slope: Callable, turning: Callable) -> tuple[Piece, Piece]:
    """Return the pieces of a function that is convex below 0 and concave above, with the same slope at t and -t."""
    return Piece(1, value, slope, lambda r: -turning(r)), Piece(-1, value, slope, turning)


def _elu(alpha: float) -> tuple[Piece, Piece]:
    left = Piece(1, lambda t: alpha * t.expm1(), lambda t: alpha * t.exp(), lambda r: np.log(r / alpha))
    return left, _line(1.0)


def _logistic(t: arb) -> arb:
    return 1 / (1 + (-t).exp())


def _logistic_turning(r: np.ndarray) -> np.ndarray:  # sigma (1 - sigma) = r
    return np.log((1 + np.sqrt(1 - 4 * r)) ** 2 / (4 * r))


SIGMOID = _sigmoidal(_logistic, lambda t: _logistic(t) * _logistic(-t), _logistic_turning)
TANH = _sigmoidal(arb.tanh, lambda t: 1 - t.tanh() ** 2, lambda r: np.log((1 + np.sqrt(1 - r)) / np.sqrt(r)))
ARCTAN = _sigmoidal(arb.atan, lambda t: 1 / (1 + t**2), lambda r: np.sqrt((1 - r) / r))
#: Name -> what makes the pieces t <= 0 and t >= 0 of the function's parameters, and how many these are.
KINDS: dict[str, tuple[Callable[..., tuple[Piece, Piece]], int]] = {
    "leaky_relu": (lambda slope: (_line(slope), _line(1.0)), 1),
    "elu": (_elu, 1),
    "sigmoid": (lambda: SIGMOID, 0),
    "tanh": (lambda: TANH, 0),
    "arctan": (lambda: ARCTAN, 0),
    "step": (lambda: (_line(0.0), _line(0.0, 1.0)), 0),
}


def read(name: str, parameters: np.ndarray) -> tuple[Piece, Piece] | Pool:
    """Return the pieces of the function of this name with these parameters, or the windows of max pooling."""
    if name == "max_pool":
        return Pool.read(parameters)
    if name not in KINDS or parameters.shape != (KINDS[name][1],) or (name == "elu" and not parameters[0] > 0):
        raise Refused(f"network: {name!r} with {parameters.size} parameters is no nonlinearity that is known")
    return KINDS[name][0](*parameters.astype(float).tolist())


@np.errstate(all="ignore")
def peaks(pieces: tuple[Piece, Piece], A: Exact, mu: Exact, low: np.ndarray, high: np.ndarray) -> Exact:
    """Return the sum over neurons (rows,) of at least the largest A sigma(t) - mu t, for A and mu (rows, n)."""
    slopes, signs = mu.floats() / A.floats(), A.signs
    totals = [Fraction(0)] * len(A)
    sides = [(low, np.minimum(high, 0.0)), (np.maximum(low, 0.0), high)]
    for j in range(len(low)):
        parts = []
        for piece, (starts, ends) in zip(pieces, sides, strict=True):
            if starts[j] <= ends[j]:
                near = np.clip(np.nan_to_num(piece.turning(slopes[:, j])), starts[j], ends[j])
                parts.append((piece, near.tolist(), [(arb(t), piece.value(arb(t))) for t in (starts[j], ends[j])]))
        for row, (one, other) in enumerate(zip(A[:, j], mu[:, j], strict=True)):
            a, m = (arb(fmpq(value.numerator, value.denominator)) for value in (one.fraction(), other.fraction()))
            found = []
            for piece, near, limits in parts:
                if signs[row, j] * piece.curvature >= 0:
                    found.append(max(_above(a * value - m * t) for t, value in limits))
                    continue
                tangents, point = [], arb(near[row])
                for s, value in (*limits, (point, piece.value(point))):
                    base, rise = a * value - m * s, a * piece.slope(s) - m
                    tangents.append(max(_above(base + rise * (t - s)) for t, _ in limits))
                found.append(min(tangents))
            totals[row] += max(found)
    return Exact.rational(totals)


def _above(ball: arb) -> Fraction:
    """Return a number at or above a ball: its upper end, or a tiny number where that has no use and no end."""
    if not ball.is_finite():
        raise Refused("a bound is beyond all measure")
    mantissa, exponent = ball.upper().man_exp()
    size = int(exponent) + int(mantissa).bit_length()
    if size > LARGEST:
        raise Refused("a bound is beyond all measure")
    if size < -LARGEST:  # 2^exponent may have more digits than there is memory
        return Fraction(int(mantissa > 0), 2**LARGEST)
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
