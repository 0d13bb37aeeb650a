"""Optimal convex relaxations of activations: the greatest convex function below, the least concave one above.

Between bounds l <= x <= u the convex hull of a graph z = f(x) lies between two envelopes (Salman et al. 2019, eq. 6):

- convex f (ReLU, ELU): f itself below, the chord above;
- S-shaped f (sigmoid, tanh, arctan), convex for x <= 0 and concave for x >= 0: below, f up to the point whose tangent
  meets (u, f(u)), then that tangent; above, the same of -f(-x);
- step, closed: below, max(0, x / u), above, min(1, (x - l) / -l) where l < 0 < u;
- max over a box: max itself below. Above, with p_k = (x_k - l_k) / (u_k - l_k) the weight of the upper end and L the
  largest l: L + sum_k (u_k - L)+ q_k, where q takes the coordinates by falling u_k, q_k = min(p_k, 1 - what is taken).
  For the envelope at x is the best mixture of vertices with the means p, max over a vertex is the largest u_k that is
  on, and so it is best never to waste a u_k under a larger one;
- average: linear, so it is its own envelope.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tightrope.errors import InputError
from tightrope.names import known_name


@dataclass(frozen=True)
class Activation:
    """A function of one variable: f and its derivative, elementwise, and its shape, "convex", "s" or "step"."""

    name: str
    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    shape: str


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(x / 2))


_ALL = (
    Activation("relu", lambda x: np.maximum(x, 0.0), lambda x: (x > 0).astype(float), "convex"),
    Activation(
        "elu", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), lambda x: np.exp(np.minimum(x, 0)), "convex"
    ),
    Activation("sigmoid", _sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x), "s"),
    Activation("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, "s"),
    Activation("arctan", np.arctan, lambda x: 1 / (1 + x**2), "s"),
    Activation("step", lambda x: (x > 0).astype(float), np.zeros_like, "step"),
)
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({one.name: one for one in _ALL})


def activation(name: str) -> Activation:
    """Return an activation by name: relu, elu, sigmoid, tanh, arctan or step."""
    return ACTIVATIONS[known_name("activation", name, ACTIVATIONS)]


def envelopes(name: str, x: np.ndarray, lower: float, upper: float) -> tuple[np.ndarray, np.ndarray]:
    """Return both envelopes at points x of [lower, upper], shapes of x.

    Examples
    --------
    >>> [float(side[0]) for side in envelopes("relu", np.array([0.0]), -1.0, 3.0)]
    [0.0, 0.75]
    >>> [float(side[0]) for side in envelopes("step", np.array([1.0]), -1.0, 2.0)]
    [0.5, 1.0]
    """
    chosen, x = activation(name), np.asarray(x, float)
    if not (np.isfinite([lower, upper]).all() and lower < upper):
        raise InputError(f"lower, upper: expected finite lower < upper, got {lower!r} and {upper!r}.")
    if not ((x >= lower) & (x <= upper)).all():
        raise InputError("x: points outside [lower, upper], where the envelopes do not exist.")
    if chosen.shape == "convex":
        return chosen.value(x), _line(x, lower, upper, *chosen.value(np.array([lower, upper])))
    if chosen.shape == "step":
        if lower > 0 or upper <= 0:
            return chosen.value(x), chosen.value(x)
        above = np.ones_like(x) if lower == 0 else np.minimum(1.0, (x - lower) / -lower)
        return np.maximum(0.0, x / upper), above
    mirrored = Activation(name, lambda t: -chosen.value(-t), lambda t: chosen.slope(-t), "s")
    return _below(chosen, x, lower, upper), -_below(mirrored, -x, -upper, -lower)


def _line(x: np.ndarray, a: float, b: float, at_a: float, at_b: float) -> np.ndarray:
    return at_a + (at_b - at_a) / (b - a) * (x - a)


def _below(f: Activation, x: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """Return the convex envelope of an S-shaped function."""
    if upper <= 0:
        return f.value(x)
    touch = _tangent(f, lower, upper) if lower < 0 else lower
    line = _line(x, touch, upper, *f.value(np.array([touch, upper])))
    return np.where(x <= touch, f.value(x), line)


def _tangent(f: Activation, lower: float, upper: float) -> float:
    """Return the d in [lower, 0] whose tangent meets (upper, f(upper)); lower if every tangent passes above it."""

    def gap(d: float) -> float:  # of the tangent at d, above f(upper) if positive; grows with d on the convex part
        point = np.array(d)
        return float(f.value(point) + f.slope(point) * (upper - d) - f.value(np.array(upper)))

    low, high = lower, 0.0
    if gap(low) >= 0:
        return low
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if gap(middle) < 0 else (low, middle)
    # The left end: its tangent passes below (upper, f(upper)), so the line to that point stays below f.
    return low


def max_envelopes(x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both envelopes of max_k x_k over a box at points x (N, k); lower and upper (k,).

    Examples
    --------
    >>> below, above = max_envelopes(np.array([[0.5, 0.5]]), np.zeros(2), np.ones(2))
    >>> float(below[0]), float(above[0])
    (0.5, 1.0)
    """
    x, lower, upper = np.atleast_2d(np.asarray(x, float)), np.asarray(lower, float), np.asarray(upper, float)
    if lower.shape != upper.shape or x.shape[1:] != lower.shape or not (lower <= upper).all():
        raise InputError(f"lower, upper: shapes {lower.shape} and {upper.shape} for x {x.shape}; give lower <= upper.")
    if not ((x >= lower) & (x <= upper)).all():
        raise InputError("x: points outside the box, where the envelopes do not exist.")
    width = upper - lower
    p = np.where(width > 0, (x - lower) / np.where(width > 0, width, 1.0), 1.0)
    least = lower.max()
    above, left = np.full(len(x), least), np.ones(len(x))
    for k in np.argsort(-upper, kind="stable"):
        q = np.minimum(p[:, k], left)
        above = above + max(0.0, upper[k] - least) * q
        left = left - q
    return x.max(1), above


def max_bounds_ehlers(x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return the bound of max pooling that the paper's eq. (5) cites, sum_k (x_k - l_k) + max_k l_k: not optimal."""
    x = np.atleast_2d(np.asarray(x, float))
    return (x - np.asarray(lower, float)).sum(1) + float(np.max(lower))


def average_envelopes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both envelopes of the mean over the last axis: the mean itself."""
    mean = np.asarray(x, float).mean(-1)
    return mean, mean
