"""Rational functions of one parameter, computed exactly.

What is made of delta by +, -, * and / is a rational function p / q. A :class:`Number` keeps its value at delta = 0, a
fraction, by which numbers are compared, and its values at many points modulo a prime. Enough of them determine p and q
modulo the prime, without a common factor: of all pairs that Euclid's algorithm meets, those of the largest quotient
(Monagan, Maximal quotient rational reconstruction, 2004). The prime can hide a coefficient that it divides, which is
why a degree is computed with two of them.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from flint import nmod_poly

from tightrope.errors import InputError

#: Primes below 2^31, so that products of residues fit into 64 bits.
PRIMES = (2**31 - 1, 2**31 - 19)
#: Least degree of the quotient that singles out p and q: points more than they need.
MARGIN = 8
FIRST = 987654321


class TooFewPointsError(InputError):
    """A function needs more points than it was given."""


_Operand: TypeAlias = "Number | Fraction | int"


@dataclass(frozen=True, eq=False)
class Number:
    """A rational function of delta: its value at delta = 0, and its values at N points, modulo a prime, as int64.

    Examples
    --------
    >>> delta = shift(32)
    >>> function(2 / (delta * delta + 1) + 3)  # (3 delta^2 + 5) / (delta^2 + 1)
    ([5, 0, 3], [1, 0, 1])
    """

    value: Fraction
    residues: np.ndarray
    prime: int

    def _with(self, other: _Operand) -> "Number":
        if isinstance(other, Number):
            return other
        value = Fraction(other)
        residue = value.numerator * pow(value.denominator, -1, self.prime) % self.prime
        return Number(value, np.full_like(self.residues, residue), self.prime)

    def __add__(self, other: _Operand) -> "Number":
        other = self._with(other)
        return Number(self.value + other.value, (self.residues + other.residues) % self.prime, self.prime)

    def __neg__(self) -> "Number":
        return Number(-self.value, -self.residues % self.prime, self.prime)

    def __sub__(self, other: _Operand) -> "Number":
        return self + -self._with(other)

    def __mul__(self, other: _Operand) -> "Number":
        other = self._with(other)
        return Number(self.value * other.value, self.residues * other.residues % self.prime, self.prime)

    def __truediv__(self, other: _Operand) -> "Number":
        other = self._with(other)
        if not other.residues.all():
            raise ZeroDivisionError("a denominator is 0 at one of the points; take others.")
        inverse = _power(other.residues, self.prime - 2, self.prime)
        return Number(self.value / other.value, self.residues * inverse % self.prime, self.prime)

    def __radd__(self, other: _Operand) -> "Number":
        return self + other

    __rmul__ = __mul__

    def __rsub__(self, other: _Operand) -> "Number":
        return -self + other

    def __rtruediv__(self, other: _Operand) -> "Number":
        return self._with(other) / self

    @property
    def sign(self) -> int:
        """Return the sign of the value at 0: -1, 0 or 1. A function that is 0 there and not everywhere has none."""
        if self.value == 0 and self.residues.any():
            raise InputError("delta = 0 is on a kink: a choice depends on the sign of something that is 0 there.")
        return (self.value > 0) - (self.value < 0)


def shift(count: int, prime: int = PRIMES[0]) -> Number:
    """delta itself, at `count` successive points, far from 0 so that denominators of small integers do not vanish."""
    return Number(Fraction(0), FIRST + np.arange(count, dtype=np.int64), prime)


def function(number: Number) -> tuple[list[int], list[int]]:
    """Coefficients modulo the prime of p and q, constant first, q with leading coefficient 1.

    Raises TooFewPointsError if there are too few points for what the number is.
    """
    points = shift(len(number.residues), number.prime).residues.tolist()
    modulus, poly = _interpolate(points, number.residues, number.prime)
    zero, one = (nmod_poly([c], number.prime) for c in (0, 1))
    older, old = (modulus, zero), (poly, one)
    most, best = len(points) + 1 if poly.is_zero() else 0, old
    while not old[0].is_zero():
        quotient, rest = divmod(older[0], old[0])
        if quotient.degree() > most:
            most, best = quotient.degree(), old
        older, old = old, (rest, older[1] - quotient * old[1])
    if most < MARGIN:
        raise TooFewPointsError(f"{len(points)} points are too few for this function; give more.")
    scale = 1 / best[1].leading_coefficient()
    numerator, denominator = ([int(c) for c in (part * scale).coeffs()] for part in best)
    return numerator or [0], denominator


def degree(number: Number) -> int:
    """The larger of the degrees of p and q."""
    return max(map(len, function(number))) - 1


def _power(base: np.ndarray, exponent: int, prime: int) -> np.ndarray:
    result = np.ones_like(base)
    while exponent:
        if exponent & 1:
            result = result * base % prime
        base, exponent = base * base % prime, exponent >> 1
    return result


def _interpolate(points: list[int], values: np.ndarray, prime: int) -> tuple[nmod_poly, nmod_poly]:
    """The product of all x - t and the polynomial through the values, by Newton's differences at successive points."""
    count, differences = len(points), values.copy()
    for j in range(1, count):
        differences[j:] = (differences[j:] - differences[j - 1 : -1]) % prime * pow(j, -1, prime) % prime
    x, modulus, poly = nmod_poly([0, 1], prime), nmod_poly([1], prime), nmod_poly([0], prime)
    for point, difference in zip(reversed(points), reversed(differences.tolist()), strict=True):
        modulus, poly = modulus * (x - point), poly * (x - point) + difference
    return modulus, poly
