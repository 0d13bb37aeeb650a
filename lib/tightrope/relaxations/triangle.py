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


@dataclass(frozen=True, eq=False)
class Sides:
    """Rows z - slope h <= intercept of one layer's unstable neurons, and the box of z.

    Attributes
    ----------
    slope, intercept : (n,) arrays
        The upper line of each neuron.
    """

    slope: np.ndarray
    intercept: np.ndarray


#: Room for the rounding of slope and intercept: relative, and for products that underflow.
ROOM, TINY = 1e-14, np.finfo(float).tiny


def _triangle(lower: np.ndarray, upper: np.ndarray) -> Sides:
    slope = upper / (upper - lower)
    return Sides(slope, -slope * lower + (ROOM * (upper - lower) + TINY))


def _parallelogram(lower: np.ndarray, upper: np.ndarray) -> Sides:
    return Sides(np.ones_like(lower), -lower)


#: Name -> the upper line beside z <= u. Both have the lower sides z >= 0 and z >= h.
KINDS: Mapping[str, Callable[[np.ndarray, np.ndarray], Sides]] = MappingProxyType(
    {"triangle": _triangle, "parallelogram": _parallelogram}
)


@dataclass(frozen=True, eq=False)
class LayerConstraints:
    """What one hidden layer adds to a linear program that has the activations below it as its last columns.

    Attributes
    ----------
    lower, upper : (2 n,) arrays
        Bounds of the new columns, h then z.
    matrix : (m, k + 2 n) sparse
        Rows over the k columns of the activations below and the 2 n new ones.
    row_lower, row_upper : (m,) arrays
    """

    lower: np.ndarray
    upper: np.ndarray
    matrix: scipy.sparse.csr_array
    row_lower: np.ndarray
    row_upper: np.ndarray


def layer_constraints(kind: str, layer: Layer, lower: np.ndarray, upper: np.ndarray) -> LayerConstraints:
    """Return the columns and rows of one hidden layer.

    Parameters
    ----------
    kind : {"triangle", "parallelogram"}
    layer : Layer
        The affine layer, n outputs, k inputs.
    lower, upper : (n,)
        Bounds of its preactivations.

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
    sides = KINDS[kind](lower[open_], upper[open_])
    slope = scipy.sparse.csr_array((sides.slope, (np.arange(len(open_)), open_)), shape=(len(open_), n))
    chord = scipy.sparse.hstack([below[open_], -slope, unit[open_]], format="csr")
    kept = np.flatnonzero(~off)
    infinite = np.inf
    return LayerConstraints(
        lower=np.r_[lower, np.where(on, lower, 0.0)],
        upper=np.r_[upper, np.where(off, 0.0, upper)],
        matrix=scipy.sparse.vstack([equal, above[kept], chord], format="csr"),
        row_lower=np.r_[-b, np.zeros(len(kept)), np.full(len(open_), -infinite)],
        row_upper=np.r_[-b, np.where(on[kept], 0.0, infinite), sides.intercept],
    )


def corners(kind: str, lower: float, upper: float) -> list[tuple[float, float]]:
    """Return the corners (h, z) of the region of one neuron with l < 0 < u, in order around it.

    Examples
    --------
    >>> corners("triangle", -1.0, 2.0)
    [(-1.0, 0.0), (0.0, 0.0), (2.0, 2.0)]
    """
    slope = upper / (upper - lower)
    chord = [(upper, upper), (lower, 0.0)]
    if kind in ("box", "hbox"):
        return [(lower, 0.0), (upper, 0.0), (upper, upper), (lower, upper)]
    if kind == "deepz":
        return [(lower, slope * lower), (upper, slope * upper), *chord]
    if kind in ("crown", "crown_ibp", "crown_0"):
        flat = kind == "crown_0" or -lower >= upper
        return [(lower, 0.0), (upper, 0.0), (upper, upper)] if flat else [(lower, lower), *chord]
    if kind == "parallelogram":
        return [(lower, 0.0), (0.0, 0.0), (upper, upper), (upper + lower, upper)]
    return [(lower, 0.0), (0.0, 0.0), (upper, upper)]


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
    areas = {
        "triangle": -lower * upper / 2,
        "parallelogram": -lower * upper,
        "deepz": -slope * lower * width,
        # below the chord and above 0 (if -l >= u) or h
        "crown": upper * width / 2 if -lower >= upper else -lower * width / 2,
        "crown_0": upper * width / 2,
        "box": upper * width,
        "hbox": upper * width,
    }
    areas["crown_ibp"] = areas["crown"]
    if kind not in areas:
        raise UnknownNameError("relaxation", kind, areas)
    return areas[kind]
