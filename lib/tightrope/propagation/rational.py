"""Rational functions of one parameter, computed exactly.

What is made of delta by +, -, * and / is a rational function p / q. A :class:`Number` keeps its value at delta = 0, a
fraction, by which numbers are compared, and p and q modulo a prime, without a common factor. The prime can hide a
coefficient that it divides, which is why a degree is computed with two of them.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from flint import nmod_poly

from tightrope.errors import InputError

PRIMES = (2**31 - 1, 2**31 - 19)

_Operand: TypeAlias = "Number | Fraction | int"


@dataclass(frozen=True, eq=False)
class Number:
    """A rational function p / q of delta: its value at delta = 0, and p and q modulo a prime.

    Examples
    --------
    >>> delta = shift()
    >>> (2 / (delta * delta + 1) + 3).coefficients  # (3 delta^2 + 5) / (delta^2 + 1)
    ([5, 0, 3], [1, 0, 1])
    """

    value: Fraction
    p: nmod_poly
    q: nmod_poly

    def __post_init__(self) -> None:
        common = self.p.gcd(self.q) * self.q.leading_coefficient()  # q becomes monic
        object.__setattr__(self, "p", self.p // common)
        object.__setattr__(self, "q", self.q // common)

    def _with(self, other: _Operand) -> "Number":
        if isinstance(other, Number):
            return other
        value = Fraction(other)
        return Number(value, *(nmod_poly([n], self.q.modulus()) for n in value.as_integer_ratio()))

    def __add__(self, other: _Operand) -> "Number":
        other = self._with(other)
        return Number(self.value + other.value, self.p * other.q + other.p * self.q, self.q * other.q)

    def __neg__(self) -> "Number":
        return Number(-self.value, -self.p, self.q)

    def __sub__(self, other: _Operand) -> "Number":
        return self + -self._with(other)

    def __mul__(self, other: _Operand) -> "Number":
        other = self._with(other)
        return Number(self.value * other.value, self.p * other.p, self.q * other.q)

    def __truediv__(self, other: _Operand) -> "Number":
        other = self._with(other)
        return Number(self.value / other.value, self.p * other.q, self.q * other.p)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: _Operand) -> "Number":
        return -self + other

    def __rtruediv__(self, other: _Operand) -> "Number":
        return self._with(other) / self

    def __abs__(self) -> "Number":
        return self if self.sign >= 0 else -self

    @property
    def sign(self) -> int:
        """Return the sign of the value at 0: -1, 0 or 1. A function that is 0 there and not everywhere has none."""
        if self.value == 0 and not self.p.is_zero():
            raise InputError("delta = 0 is on a kink: a choice depends on the sign of something that is 0 there.")
        return (self.value > 0) - (self.value < 0)

    @property
    def coefficients(self) -> tuple[list[int], list[int]]:
        """Coefficients modulo the prime of p and q, constant first, q with leading coefficient 1."""
        return [int(c) for c in self.p.coeffs()] or [0], [int(c) for c in self.q.coeffs()]

    @property
    def degree(self) -> int:
        """The larger of the degrees of p and q."""
        return max(self.p.degree(), self.q.degree())


def shift(prime: int = PRIMES[0]) -> Number:
    """delta itself."""
    return Number(Fraction(0), nmod_poly([0, 1], prime), nmod_poly([1], prime))
