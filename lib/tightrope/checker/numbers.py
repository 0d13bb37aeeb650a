"""Exact arrays: integers times one rational scale. A float stands for itself, since it is a dyadic rational."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import reduce
from math import gcd, lcm, ldexp
from typing import Any

import numpy as np

try:
    import flint
except ImportError:  # the same answers from Python's integers, several times slower
    flint = None  # type: ignore[assignment]

#: Bits of numbers that may be rounded, below the largest of an array.
BITS = 60

Index = int | slice | list | tuple | np.ndarray


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

    def __init__(self, integers: np.ndarray, scale: Fraction = Fraction(1)):
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
    def rational(cls, values: Iterable[Fraction] | Fraction) -> "Exact":
        """Return fractions, one or a list of them, over their common denominator."""
        if isinstance(values, Fraction):
            return cls(np.array(values.numerator, dtype=object), Fraction(1, values.denominator))
        fractions = [Fraction(value) for value in values]
        unit = lcm(*(value.denominator for value in fractions))
        return cls(np.array([int(value * unit) for value in fractions], dtype=object), Fraction(1, unit))

    @classmethod
    def zeros(cls, *shape: int) -> "Exact":
        """Return zeros."""
        return cls(np.zeros(shape, dtype=object))

    @classmethod
    def identity(cls, size: int) -> "Exact":
        """Return the identity matrix."""
        return cls(_each(int, np.eye(size, dtype=int)))

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

    def __mul__(self, other: "Exact | Fraction | int") -> "Exact":
        if isinstance(other, Exact):
            return Exact(self.integers * other.integers, self.scale * other.scale)
        factor = Fraction(other)
        if factor <= 0:
            return Exact(self.integers * factor.numerator, self.scale / factor.denominator)
        return Exact(self.integers, self.scale * factor)

    def __matmul__(self, other: "Exact") -> "Exact":
        return Exact(_product(self.integers, other.integers), self.scale * other.scale)

    def __getitem__(self, index: Index) -> "Exact":
        return Exact(self.integers[index], self.scale)

    @property
    def T(self) -> "Exact":
        """The transpose."""
        return Exact(self.integers.T, self.scale)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.integers.shape

    def __len__(self) -> int:
        return len(self.integers)

    def __iter__(self) -> Iterator["Exact"]:
        return (self[i] for i in range(len(self)))

    def column(self) -> "Exact":
        """Return a vector as a column."""
        return self[:, None]

    def row(self) -> "Exact":
        """Return a vector, or a number, as a row."""
        return Exact(self.integers.reshape(1, -1), self.scale)

    def sum(self) -> "Exact":
        """Return the sum of all entries, a number."""
        return Exact(np.array(sum(self.integers.ravel().tolist()), dtype=object), self.scale)

    def maximum(self, other: "Exact") -> "Exact":
        """Return the larger one, entry by entry."""
        scale = common(self.scale, other.scale)
        return Exact(np.maximum(self.over(scale), other.over(scale)), scale)

    def minimum(self, other: "Exact") -> "Exact":
        """Return the smaller one, entry by entry."""
        return -((-self).maximum(-other))

    def __abs__(self) -> "Exact":
        return Exact(np.abs(self.integers), self.scale)

    @property
    def signs(self) -> np.ndarray:
        """-1, 0 or 1 for each entry, as integers."""
        return np.asarray(np.sign(self.integers), dtype=int)

    def fraction(self) -> Fraction:
        """Return the value of a number."""
        return int(self.integers) * self.scale

    def fractions(self) -> list[Fraction]:
        """Return the values of a vector."""
        return [int(n) * self.scale for n in self.integers.ravel()]

    def floats(self) -> np.ndarray:
        """Return floats close to the values: for what is proposed and proven afterwards, never for a decision."""
        return _each(lambda n: nearest(n * self.scale), self.integers).astype(float)

    def shortened(self) -> "Exact":
        """Return an array nearby of integers with at most BITS bits: for what may be any numbers."""
        spare = max((abs(int(n)).bit_length() for n in self.integers.ravel()), default=0) - BITS
        return self if spare <= 0 else Exact(self.integers >> spare, self.scale * 2**spare)

    def up(self) -> "Exact":
        """Return floats at or above the values, as exact numbers: shorter integers for what may be larger."""
        return Exact.of(_each(lambda n: above(n * self.scale), self.integers).astype(float))


def diagonal(entries: Exact) -> Exact:
    """Return the matrix (n, n) with these entries (n,) on its diagonal."""
    return Exact.identity(len(entries)) * entries.column()


def stack(blocks: list[list[Exact]]) -> Exact:
    """Return a matrix from blocks, as `numpy.block` does."""
    scale = reduce(common, (block.scale for row in blocks for block in row))
    return Exact(np.block([[block.over(scale) for block in row] for row in blocks]), scale)


def nearest(value: Fraction) -> float:
    """Return a float near a fraction; infinite where it is too large for one."""
    shift = value.numerator.bit_length() - value.denominator.bit_length()
    try:
        return ldexp(float(value / Fraction(2) ** shift), shift)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def above(value: Fraction) -> float:
    """Return the smallest float that is at least a fraction."""
    found = nearest(value)
    while np.isfinite(found) and Fraction(found) < value:
        found = float(np.nextafter(found, np.inf))
    below = float(np.nextafter(found, -np.inf))
    while np.isfinite(below) and Fraction(below) >= value:
        found, below = below, float(np.nextafter(below, -np.inf))
    return found


def _each(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    values = [function(*entry) for entry in zip(*(array.ravel().tolist() for array in arrays), strict=True)]
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found.reshape(arrays[0].shape)


def common(one: Fraction, other: Fraction) -> Fraction:
    """Return the largest scale of which both are integer multiples: gcd(a / b, c / d) = gcd(a d, c b) / (b d)."""
    if one == other:
        return one
    top = gcd(one.numerator * other.denominator, other.numerator * one.denominator)
    return Fraction(top, one.denominator * other.denominator)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product of integer matrices; by FLINT where it is there and the size is worth it."""
    if flint is None or a.ndim != 2 or b.ndim != 2 or min(*a.shape, *b.shape) < 8:
        return a @ b
    one, other = (flint.fmpz_mat(len(m), m.shape[1], m.ravel().tolist()) for m in (a, b))
    found = one * other
    return _each(int, np.array(found.entries(), dtype=object)).reshape(len(a), b.shape[1])
