"""Regions, polytopes and matrices in rational numbers, for exact answers.

A region is a set of parameters d (n,), n <= 3, with x = origin + basis d: the coordinates of a ball that can move, or
the weights of the generators of a zonotope or an ellipsoid. It is a polytope, or its part with ||d||_2 <= radius. A
polytope is a list of corners, each with the half-spaces on whose boundary it lies, and is cut by half-spaces one after
the other (the double description method), so that flat pieces, ties and duplicates need no exceptions. Nothing of the
library's own arithmetic is used.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np
from flint import fmpq, fmpq_mat

from tightrope.regions import INFINITY, Ball, EllipsoidRegion, Polytope, Region, Zonotope

ZERO, ONE = fmpq(0), fmpq(1)
Row = tuple[fmpq, ...]


def q(value: float) -> fmpq:
    """A float as it stands."""
    return fmpq(*float(value).as_integer_ratio())


def matrix(array: np.ndarray) -> fmpq_mat:
    """Floats (m, n) as they stand."""
    array = np.asarray(array, float)
    return fmpq_mat(*array.shape, [q(v) for v in array.ravel()])


def root(value: fmpq) -> fmpq:
    """A rational number below the square root of one, by less than 1e-30 of it."""
    top, bottom = int(value.p), int(value.q)
    shift = max(0, 110 - (top * bottom).bit_length() // 2)
    return fmpq(isqrt(top * bottom << 2 * shift), bottom << shift)


def dot(a: Sequence[fmpq], b: Sequence[fmpq]) -> fmpq:
    """The sum of products."""
    return sum((x * y for x, y in zip(a, b, strict=True)), ZERO)


# regions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """A polytope of parameters, and what the network is on it.

    Attributes
    ----------
    corners
        (point, mask): bit i of the mask says that half-space i is tight there.
    sides
        Half-space i: row (n + 1,) with row @ (d, 1) >= 0.
    values : (k, n + 1) matrix
        k affine functions of (d, 1) on it.
    """

    corners: tuple[tuple[Row, int], ...]
    sides: tuple[Row, ...]
    values: fmpq_mat | None = None

    def cut(self, row: Row) -> "Piece | None":
        """What is left where row @ (d, 1) >= 0; None if that is nothing."""
        bit, n = 1 << len(self.sides), len(row) - 1
        at = [dot(row, (*point, ONE)) for point, _ in self.corners]
        kept = [
            (point, mask | bit if not v else mask) for (point, mask), v in zip(self.corners, at, strict=True) if v >= 0
        ]
        if not kept:
            return None
        low = [i for i, v in enumerate(at) if v < 0]
        high = [i for i, v in enumerate(at) if v > 0]
        for i, j in itertools.product(high, low):
            (p, a), (r, b) = self.corners[i], self.corners[j]
            common = a & b
            if common.bit_count() < n - 1 or any(
                common & mask == common for k, (_, mask) in enumerate(self.corners) if k not in (i, j)
            ):
                continue  # no edge
            t = at[i] / (at[i] - at[j])
            kept.append((tuple(x + t * (y - x) for x, y in zip(p, r, strict=True)), common | bit))
        return Piece(tuple(kept), (*self.sides, row))

    def solid(self) -> bool:
        """Whether it has an interior."""
        everywhere = (1 << len(self.sides)) - 1
        for _, mask in self.corners:
            everywhere &= mask
        return not everywhere


@dataclass(frozen=True)
class Domain:
    """A region as parameters: x = origin + basis d for d in `whole`, and ||d||_2 <= radius unless that is None."""

    origin: fmpq_mat
    basis: fmpq_mat
    whole: Piece
    radius: fmpq | None

    @property
    def size(self) -> int:
        return self.basis.ncols()

    @property
    def affine(self) -> fmpq_mat:
        """The inputs as rows (p0, n + 1) of (d, 1)."""
        rows = self.origin.nrows()
        return fmpq_mat(
            rows, self.size + 1, [v for i in range(rows) for v in (*self.basis.tolist()[i], self.origin[i, 0])]
        )

    def input(self, d: Row) -> list[fmpq]:
        """x (p0,)."""
        rows = self.affine.tolist()
        return [dot(row, (*d, ONE)) for row in rows]


def box(bounds: Sequence[tuple[fmpq, fmpq]]) -> Piece:
    """The corners of low <= d <= high, (low, high) for each coordinate, low < high."""
    n = len(bounds)
    sides = []
    for j, (low, high) in enumerate(bounds):
        unit = [ONE if i == j else ZERO for i in range(n)]
        sides += [(*unit, -low), (*(-v for v in unit), high)]
    corners = []
    for choice in itertools.product((0, 1), repeat=n):
        point = tuple(pair[c] for pair, c in zip(bounds, choice, strict=True))
        corners.append((point, sum(1 << (2 * j + c) for j, c in enumerate(choice))))
    return Piece(tuple(corners), tuple(sides))


def domain(region: Region, stated: bool = False) -> Domain:
    """The parameters of a ball of norm 1, 2 or inf, a zonotope, an ellipsoid or a polytope.

    With `stated`, the radius is the decimal number that is written for a float: 0.1 and not what is next to it. That is
    the region of a certificate file.
    """
    if isinstance(region, Zonotope | EllipsoidRegion):
        n = region.G.shape[1]
        radius = ONE if isinstance(region, EllipsoidRegion) else None
        return Domain(matrix(region.center[:, None]), matrix(region.G), box([(-ONE, ONE)] * n), radius)
    if isinstance(region, Polytope):
        return _polytope(region)
    radius = fmpq(*Fraction(repr(region.radius)).as_integer_ratio()) if stated else q(region.radius)
    bounds, free = [], []
    for j in range(region.size):
        low, high = -radius, radius
        if region.lower is not None:
            low = max(low, q(region.lower[j]) - q(region.center[j]))
            high = min(high, q(region.upper[j]) - q(region.center[j]))
        if low < high:
            free.append(j)
            bounds.append((low, high))
    basis = np.eye(region.size)[:, free].reshape(region.size, len(free))
    whole = box(bounds)
    if region.norm == 1:
        for signs in itertools.product((ONE, -ONE), repeat=len(free)):
            whole = whole.cut((*signs, radius))
    return Domain(matrix(region.center[:, None]), matrix(basis), whole, radius if region.norm == 2 else None)


def _polytope(region: Polytope) -> Domain:
    """Parameters are steps from the lower corner of its box."""
    wide = np.flatnonzero(region.lower < region.upper)
    lower = [q(v) for v in region.lower]
    whole = box([(ZERO, q(region.upper[j]) - lower[j]) for j in wide])
    for a, b in zip(region.A, region.b, strict=True):
        a = [q(v) for v in a]
        whole = whole.cut((*(-a[j] for j in wide), q(b) - dot(a, lower)))
    return Domain(matrix(region.lower[:, None]), matrix(np.eye(region.size)[:, wide]), whole, None)


def inscribed(region: Ball) -> Domain:
    """A box in a ball of L2 or L-infinity, with the ball's clipping."""
    where = domain(region)
    if where.radius is None or not where.size:
        return where
    half = root(where.radius**2 / where.size)
    bounds = []
    for j in range(where.size):
        values = [point[j] for point, _ in where.whole.corners]
        bounds.append((max(min(values), -half), min(max(values), half)))
    return Domain(where.origin, where.basis, box(bounds), None)


def everywhere(size: int) -> Domain:
    """So large a box that every pattern of a network with ordinary weights shows in it."""
    far = fmpq(2) ** 400
    return Domain(matrix(np.zeros((size, 1))), matrix(np.eye(size)), box([(-far, far)] * size), None)


def inside(region: Ball | Polytope, x: np.ndarray, stated: bool = False) -> bool:
    """Whether a point is in a ball or a polytope as its numbers stand; with `stated` as a file does (domain)."""
    if isinstance(region, Polytope):
        rows = zip(matrix(region.A).tolist() if len(region.A) else [], region.b, strict=True)
        held = all(dot(row, [q(v) for v in x]) <= q(end) for row, end in rows)
        return held and bool(((region.lower <= x) & (x <= region.upper)).all())
    if region.lower is not None and not ((region.lower <= x) & (x <= region.upper)).all():
        return False
    step = [abs(q(a) - q(b)) for a, b in zip(x, region.center, strict=True)]
    radius = fmpq(*Fraction(repr(region.radius)).as_integer_ratio()) if stated else q(region.radius)
    if region.norm == INFINITY:
        return max(step) <= radius
    return sum(step, ZERO) <= radius if region.norm == 1 else dot(step, step) <= radius * radius


# matrices ------------------------------------------------------------------------------------------------------


def operator_norm_exceeds(J: fmpq_mat, norm: float, value: fmpq) -> bool:
    """Whether ||J||, as an operator from L_norm to L_norm, is above a number >= 0."""
    return not positive(_rest(J, value), semidefinite=True) if norm == 2 else _largest_sum(J, norm) > value


def operator_norm_below(J: fmpq_mat, norm: float, value: fmpq) -> bool:
    """Whether ||J|| is below a number > 0."""
    return positive(_rest(J, value)) if norm == 2 else _largest_sum(J, norm) < value


def _largest_sum(J: fmpq_mat, norm: float) -> fmpq:
    """The largest sum of absolute values of a row, or of a column."""
    rows = J.tolist() if norm == INFINITY else J.transpose().tolist()
    return max((sum(map(abs, row), ZERO) for row in rows), default=ZERO)


def _rest(J: fmpq_mat, value: fmpq) -> fmpq_mat:
    """value^2 I - J J'."""
    gram = J * J.transpose()
    k = gram.nrows()
    return fmpq_mat(k, k, [(value * value if i == j else ZERO) - gram[i, j] for i in range(k) for j in range(k)])


def positive(A: fmpq_mat, semidefinite: bool = False) -> bool:
    """Whether a symmetric matrix is positive (semi)definite, by elimination."""
    rows = A.tolist()
    while rows:
        pivot = rows[0][0]
        if pivot < 0 or (not pivot and (not semidefinite or any(rows[0]))):
            return False
        rows = [
            [v - row[0] * w / pivot if pivot else v for v, w in zip(row[1:], rows[0][1:], strict=True)]
            for row in rows[1:]
        ]
    return True
