"""The optimal convex relaxation of each nonlinearity at points (Salman et al. 2019, eq. 6), for pictures and tests.

Each envelope is the best of the lines of :mod:`tightrope.networks.activations`, where the rest of the library takes its
lines from; their intercepts are rounded outward, so that the graph is between the envelopes.
"""

import numpy as np

from tightrope.errors import InputError
from tightrope.networks.activations import Activation, MaxPool


def envelopes(one: Activation, x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both envelopes at points x (..., n) of the box from lower to upper (n,), (..., m).

    Examples
    --------
    >>> from tightrope.networks import ReLU
    >>> [round(float(side[0]), 6) + 0 for side in envelopes(ReLU(), [0.0], -1.0, 3.0)]
    [0.0, 0.75]
    """
    x, lower, upper = np.asarray(x, float), np.asarray(lower, float), np.asarray(upper, float)
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower < upper).all()):
        raise InputError(f"lower, upper: expected finite lower < upper, got {lower!r} and {upper!r}.")
    if not ((x >= lower) & (x <= upper)).all():
        raise InputError("x: points outside the box, where the envelopes do not exist.")
    low, high = np.broadcast_to(lower, x.shape), np.broadcast_to(upper, x.shape)
    sides = []
    for above in (False, True):
        slope = one.best(x, low, high, above)
        value = slope * one.gathered(x)
        sides.append((value if one.windows is None else value.sum(-1)) + one.intercept(slope, low, high, above)[0])
    return sides[0], sides[1]


def pool_of(count: int) -> MaxPool:
    """Return the maximum of `count` numbers."""
    return MaxPool((1, 1, count), (1, count), (1, 1))


def max_bounds_ehlers(x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return the bound of max pooling that the paper's eq. (5) cites, sum_k (x_k - l_k) + max_k l_k: not optimal."""
    x = np.atleast_2d(np.asarray(x, float))
    return (x - np.asarray(lower, float)).sum(1) + float(np.max(lower))
