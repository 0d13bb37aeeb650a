"""Relaxations of a ReLU network by linear constraints: Triangle and Parallelogram, as rows and columns.

Columns are the inputs x_0, then for each hidden layer its preactivations h and activations z. Where l < 0 < u,

    Triangle:       z >= 0,  z >= h,  z <= s (h - l),  s = u / (u - l),      the convex hull of the ReLU's graph;
    Parallelogram:  z >= 0,  z >= h,  z <= u,  z <= h - l,                   slopes that do not depend on l and u;

z = h where l >= 0, and z = 0 where u <= 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import scipy.sparse

from tightrope.errors import InputError, UnknownNameError
from tightrope.networks.layers import Layer

#: Room for the rounding of slope and intercept: relative, and for products that underflow.
ROOM, TINY = 1e-14, np.finfo(float).tiny


def _triangle(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    slope = upper / (upper - lower)
    return slope, -slope * lower + (ROOM * (upper - lower) + TINY)


#: Name -> slope and intercept of the upper line beside z <= u. Both have the lower sides z >= 0 and z >= h.
KINDS: Mapping[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = MappingProxyType(
    {"triangle": _triangle, "parallelogram": lambda lower, upper: (np.ones_like(lower), -lower)}
)


@dataclass(frozen=True, eq=False)
class LayerConstraints:
    """What one hidden layer adds to a linear program that has the activations below it as its last columns.

    `lower` and `upper` (2 n,) bound the new columns, h then z; the rows of `matrix` (m, k + 2 n) are over the k columns
    of the activations below and the 2 n new ones.
    """

    lower: np.ndarray
    upper: np.ndarray
    matrix: scipy.sparse.csr_array
    row_lower: np.ndarray
    row_upper: np.ndarray


def layer_constraints(kind: str, layer: Layer, lower: np.ndarray, upper: np.ndarray) -> LayerConstraints:
    """Return the columns and rows of one hidden layer with n outputs and k inputs, its preactivations bounded (n,).

    Examples
    --------
    >>> from tightrope.networks.layers import Dense
    >>> found = layer_constraints("triangle", Dense([[1.0]], [0.0]), np.array([-1.0]), np.array([3.0]))
    >>> found.matrix.toarray().round(2).tolist()
    [[1.0, -1.0, 0.0], [0.0, -1.0, 1.0], [0.0, -0.75, 1.0]]
    """
    if kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    W, b = layer.sparse()
    n, k = W.shape
    lower, upper = np.asarray(lower, float), np.asarray(upper, float)
    if lower.shape != (n,) or upper.shape != (n,) or not (lower <= upper).all():
        raise InputError(f"lower, upper: expected ({n},) bounds with lower <= upper.")
    unit = scipy.sparse.eye_array(n, format="csr")
    none = scipy.sparse.csr_array((n, n))
    on, off = lower >= 0, upper <= 0
    open_ = np.flatnonzero(~on & ~off)
    below = scipy.sparse.csr_array((n, k))
    equal = scipy.sparse.hstack([W, -unit, none], format="csr")  # W z - h = -b
    above = scipy.sparse.hstack([below, -unit, unit], format="csr")  # z - h >= 0, = 0 where stable and on
    slope, intercept = KINDS[kind](lower[open_], upper[open_])
    chord = scipy.sparse.hstack([below[open_], -scipy.sparse.diags_array(slope) @ unit[open_], unit[open_]])
    kept = np.flatnonzero(~off)
    return LayerConstraints(
        lower=np.r_[lower, np.where(on, lower, 0.0)],
        upper=np.r_[upper, np.where(off, 0.0, upper)],
        matrix=scipy.sparse.vstack([equal, above[kept], chord], format="csr"),
        row_lower=np.r_[-b, np.zeros(len(kept)), np.full(len(open_), -np.inf)],
        row_upper=np.r_[-b, np.where(on[kept], 0.0, np.inf), intercept],
    )


def corners(kind: str, lower: float, upper: float) -> list[tuple[float, float]]:
    """Return the corners (h, z) of the region of one neuron with l < 0 < u, in order around it.

    Examples
    --------
    >>> corners("triangle", -1.0, 2.0)
    [(-1.0, 0.0), (0.0, 0.0), (2.0, 2.0)]
    """
    slope = upper / (upper - lower)
    zero, top, chord = (lower, 0.0), (upper, upper), [(upper, upper), (lower, 0.0)]
    match kind:
        case "box" | "hbox":
            return [zero, (upper, 0.0), top, (lower, upper)]
        case "deepz":
            return [(lower, slope * lower), (upper, slope * upper), *chord]
        case "crown" | "crown_ibp" | "crown_0":
            flat = kind == "crown_0" or -lower >= upper
            return [zero, (upper, 0.0), top] if flat else [(lower, lower), *chord]
        case "parallelogram":
            return [zero, (0.0, 0.0), top, (upper + lower, upper)]
    return [zero, (0.0, 0.0), top]


def area(kind: str, lower: float, upper: float) -> float:
    """Return the area of the region of one neuron with l < 0 < u in the plane of h and z; 0 where it is stable.

    Examples
    --------
    >>> [area(kind, -1.0, 2.0) for kind in ("triangle", "deepz", "crown", "box", "parallelogram")]
    [1.0, 2.0, 1.5, 6.0, 2.0]
    """
    if lower >= 0 or upper <= 0:
        return 0.0
    width, slope = upper - lower, upper / (upper - lower)
    crown = upper * width / 2 if -lower >= upper else -lower * width / 2  # below the chord and above 0 or h
    areas = {
        "triangle": -lower * upper / 2,
        "parallelogram": -lower * upper,
        "deepz": -slope * lower * width,
        "crown": crown,
        "crown_ibp": crown,
        "crown_0": upper * width / 2,
        "box": upper * width,
        "hbox": upper * width,
    }
    if kind not in areas:
        raise UnknownNameError("relaxation", kind, areas)
    return areas[kind]
