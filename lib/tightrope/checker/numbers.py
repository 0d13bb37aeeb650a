"""Exact arrays: integers times one rational scale. A float stands for itself, since it is a dyadic rational."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import reduce
from math import gcd, inf, lcm, nextafter
from typing import Any

import numpy as np
from flint import fmpz_mat

#: Bits of numbers that may be rounded, below the largest of an array.
BITS = 60


class Refused(Exception):
    """A file does not prove what it claims; the message says why."""


class Exact:
    """An array of rational numbers: ``integers * scale``, Python integers of any shape and a fraction above 0.

    Examples
    --------
    >>> (Exact.of([0.5, 3.0]) + Exact.of([0.1, 0.0])).fractions()
    [Fraction(21617278211378381, 36028797018963968), Fraction(3, 1)]
    """

    __slots__ = ("integers", "scale")

    def __init__(self, integers: Any, scale: Fraction = Fraction(1)):
        self.integers, self.scale = np.asarray(integers, dtype=object), scale

    @classmethod
    def of(cls, values: object) -> "Exact":
        """Return floats or integers as they are."""
        array = np.asarray(values)
        if array.dtype.kind in "biu":
            return cls(_each(int, array))
        floats = array.astype(np.float64)
        if not np.isfinite(floats).all():
            raise Refused("a number is not finite")
        mantissa, exponent = np.frexp(floats)
        significand = (mantissa * 2.0**53).astype(np.int64)  # exact: a float has 53 bits
        nonzero = significand != 0
        least = int(exponent[nonzero].min()) - 53 if nonzero.any() else 0
        shifts = np.where(nonzero, exponent - 53 - least, 0)
        return cls(_each(lambda n, k: int(n) << int(k), significand, shifts), Fraction(2) ** least)

    @classmethod
    def rational(cls, values: object) -> "Exact":
        """Return a fraction, or an array or a list of them, over their common denominator."""
        fractions = np.asarray(values, dtype=object)
        unit = lcm(*(value.denominator for value in fractions.ravel()))
        return cls(_each(lambda value: int(value * unit), fractions), Fraction(1, unit))

    @classmethod
    def zeros(cls, *shape: int) -> "Exact":
        return cls(np.zeros(shape, dtype=object))

    @classmethod
    def ones(cls, *shape: int) -> "Exact":
        return cls(np.ones(shape, dtype=object))

    def over(self, scale: Fraction) -> np.ndarray:
        """Return the integers over a scale of which this one's is a multiple."""
        factor = self.scale / scale
        return self.integers if factor == 1 else self.integers * factor.numerator

    def __add__(self, other: "Exact") -> "Exact":
        scale = common(self.scale, other.scale)
        return Exact(self.over(scale) + other.over(scale), scale)

    def __sub__(self, other: "Exact") -> "Exact":
        return self + (-other)

    def __neg__(self) -> "Exact":
        return Exact(-self.integers, self.scale)

    def __abs__(self) -> "Exact":
        return Exact(np.abs(self.integers), self.scale)

    def __mul__(self, other: "Exact | Fraction | int") -> "Exact":
        if isinstance(other, Exact):
            return Exact(self.integers * other.integers, self.scale * other.scale)
        if not isinstance(other, Fraction | int):
            return NotImplemented
        if other <= 0:  # a scale is above 0
            return Exact(self.integers * other.numerator, self.scale / other.denominator)
        return Exact(self.integers, self.scale * other)

    def __matmul__(self, other: "Exact") -> "Exact":
        if not isinstance(other, Exact):
            return NotImplemented
        return Exact(_product(self.integers, other.integers), self.scale * other.scale)

    def __getitem__(self, index: Any) -> "Exact":
        return Exact(self.integers[index], self.scale)

    def __len__(self) -> int:
        return len(self.integers)

    def __iter__(self) -> Iterator["Exact"]:
        return (self[i] for i in range(len(self)))

    @property
    def T(self) -> "Exact":
        return Exact(self.integers.T, self.scale)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.integers.shape

    @property
    def signs(self) -> np.ndarray:
        """-1, 0 or 1 for each entry, as integers."""
        return np.asarray(np.sign(self.integers), dtype=int)

    def column(self) -> "Exact":
        """Return a vector, or a number, as a column."""
        return Exact(self.integers.reshape(-1, 1), self.scale)

    def row(self) -> "Exact":
        """Return a vector, or a number, as a row."""
        return Exact(self.integers.reshape(1, -1), self.scale)

    def sum(self, axis: int | None = None) -> "Exact":
        """Return the sum of all entries, or along an axis."""
        return Exact(self.integers.sum(axis=axis), self.scale)

    def maximum(self, other: "Exact") -> "Exact":
        """Return the larger one, entry by entry."""
        scale = common(self.scale, other.scale)
        return Exact(np.maximum(self.over(scale), other.over(scale)), scale)

    def minimum(self, other: "Exact") -> "Exact":
        """Return the smaller one, entry by entry."""
        return -((-self).maximum(-other))

    def positive(self) -> "Exact":
        """Return the larger one of each entry and 0."""
        return Exact(np.maximum(self.integers, 0), self.scale)

    def fraction(self) -> Fraction:
        """Return the value of a number."""
        return int(self.integers) * self.scale

    def fractions(self) -> list[Fraction]:
        """Return the values of all entries."""
        return [int(n) * self.scale for n in self.integers.ravel()]

    def floats(self) -> np.ndarray:
        """Return floats close to the values: for what is proposed and proven afterwards, never for a decision."""
        top, unit = self.scale.numerator, self.scale.denominator
        return _each(lambda n: nearest(n * top, unit), self.integers).astype(float)

    def shortened(self) -> "Exact":
        """Return an array nearby of integers with at most BITS bits: for what may be any numbers."""
        spare = max((abs(int(n)).bit_length() for n in self.integers.ravel()), default=0) - BITS
        return self if spare <= 0 else Exact(self.integers >> spare, self.scale * 2**spare)

    def up(self) -> "Exact":
        """Return floats at or above the values, as exact numbers: shorter integers for what may be larger."""
        return Exact.of(_each(lambda n: above(n * self.scale), self.integers).astype(float))


def common(one: Fraction, other: Fraction) -> Fraction:
    """Return the largest scale of which both are integer multiples: gcd(a / b, c / d) = gcd(a d, c b) / (b d)."""
    if one == other:
        return one
    top = gcd(one.numerator * other.denominator, other.numerator * one.denominator)
    return Fraction(top, one.denominator * other.denominator)


def times(one: Exact, other: Exact) -> Exact:
    """Return the product of two matrices, where a vector stands for the diagonal matrix."""
    if one.shape[-1] != other.shape[0]:  # NumPy would repeat a single number
        raise Refused(f"matrices of the shapes {one.shape} and {other.shape} do not fit each other")
    if len(one.shape) == len(other.shape) == 1:
        return one * other
    if len(one.shape) == 1:
        return one.column() * other
    return one @ other if len(other.shape) == 2 else one * other.row()


def dense(matrix: Exact) -> Exact:
    """Return a matrix, where a vector stands for the diagonal one."""
    return matrix if len(matrix.shape) == 2 else Exact(np.diag(matrix.integers), matrix.scale)


def stack(blocks: list[list[Exact]]) -> Exact:
    """Return a matrix from blocks, as `numpy.block` does."""
    scale = reduce(common, (block.scale for row in blocks for block in row))
    return Exact(np.block([[block.over(scale) for block in row] for row in blocks]), scale)


def nearest(top: int, unit: int) -> float:
    """Return the float nearest to top / unit, where unit > 0; infinite where it is too large for one."""
    try:
        return top / unit  # Python rounds the quotient of integers correctly, whatever they have in common
    except OverflowError:
        return inf if top > 0 else -inf


def above(value: Fraction) -> float:
    """Return the smallest float that is at least a fraction."""
    found = nearest(value.numerator, value.denominator)
    return nextafter(found, inf) if found < value else found  # the comparison is exact


def _each(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    values = [function(*entry) for entry in zip(*(array.ravel().tolist() for array in arrays), strict=True)]
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found.reshape(arrays[0].shape)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product of integer matrices, by FLINT where the size is worth it."""
    if a.ndim != 2 or b.ndim != 2 or min(*a.shape, *b.shape) < 8:
        return a @ b
    one, other = (fmpz_mat(len(m), m.shape[1], m.ravel().tolist()) for m in (a, b))
    found = np.empty(len(a) * b.shape[1], dtype=object)
    found[:] = [*map(int, (one * other).entries())]
    return found.reshape(len(a), b.shape[1])
