"""Affine forms of blocks of variables, and quadratic ones: what the identities of README.md are made of, exactly.

A vector in the place of a matrix stands for the diagonal one, so that a block of many inputs stays small.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tightrope.checker.numbers import Exact, Refused, above, dense, stack, times
from tightrope.checker.positive import is_semidefinite

#: Variables of a block whose quadratic form may be dense where it is minimised out: a second or two.
LARGEST = 128


@dataclass(frozen=True)
class Form:
    """Affine forms (r,): the sum over blocks of a matrix (r, size), or (r,), times the block; "1" is 1 itself."""

    parts: Mapping[str, Exact]

    @classmethod
    def constant(cls, values: Exact) -> "Form":
        """Return numbers (r,)."""
        return cls({"1": values.column()})

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __add__(self, other: "Form") -> "Form":
        both = dict(self.parts)
        for name, part in other.parts.items():
            both[name] = _sum(both[name], part) if name in both else part
        return Form(both)

    def __neg__(self) -> "Form":
        return Form({name: -part for name, part in self.parts.items()})

    def __sub__(self, other: "Form") -> "Form":
        return self + (-other)

    def __rmatmul__(self, A: Exact) -> "Form":
        """Return A times the forms; with a vector, each form times its number."""
        return Form({name: times(A, part) for name, part in self.parts.items()})

    __rmul__ = __rmatmul__


ONE = Form.constant(Exact.ones(1))


class Quadratic:
    """A quadratic form: the sum of x_a' blocks[a, b] x_b over pairs of blocks of variables."""

    def __init__(self, constant: Fraction = Fraction(0)) -> None:
        self.blocks: dict[tuple[str, str], Exact] = {("1", "1"): Exact.rational(constant).row()}

    def add(self, m: Exact, form: Form, other: Form | None = None) -> None:
        """Add sum_i m_i other_i form_i for m (r,), sum_ij m_ij other_i form_j for m (r, s); `other` is 1 if None."""
        other = Form.constant(Exact.ones(len(m))) if other is None else other
        for b, right in form.parts.items():
            term = times(m, right)
            for a, left in other.parts.items():
                self._add(a, b, times(left.T, term))

    def substitute(self, name: str, form: Form) -> None:
        """Put forms in the place of a block, which only the right sides have."""
        for a, b in [pair for pair in self.blocks if pair[1] == name]:
            block = self.blocks.pop((a, b))
            for c, part in form.parts.items():
                self._add(a, c, times(block, part))

    def _add(self, a: str, b: str, block: Exact) -> None:
        self.blocks[a, b] = _sum(self.blocks[a, b], block) if (a, b) in self.blocks else block

    def minimise(self, name: str) -> None:
        """Take out a block d: with d'Q d + d'D y for all that it is in, leave at most the least of this over all d.

        Q diagonal must be at least 0, and above where D is not 0: -D'Q^-1 D / 4, with floats at or above the inverse.
        """
        Q = self.blocks.pop((name, name), Exact.zeros(1))
        sides: dict[str, Exact] = {}
        for a, b in [pair for pair in self.blocks if name in pair]:
            block = dense(self.blocks.pop((a, b)))
            other, block = (a, block) if b == name else (b, block.T)
            sides[other] = sides[other] + block if other in sides else block
        seen = np.zeros(Q.shape[-1], bool)
        for side in sides.values():
            seen = seen | (side.signs != 0).any(0)
        if len(Q.shape) == 2:
            seen = seen | (Q.signs != 0).any(0) | (Q.signs != 0).any(1)
            inverse = _inverse_up(((Q + Q.T) * Fraction(1, 2))[np.ix_(seen, seen)])
        else:
            weights = Exact(np.broadcast_to(Q.integers, seen.shape), Q.scale)[seen]
            if (Q.signs < 0).any() or (weights.signs == 0).any():
                raise Refused(f"{name}: a coordinate has a negative weight, or one that the network sees has none")
            inverse = Exact.of(np.array([above(1 / weight) for weight in weights.fractions()]))
        for a, one in sides.items():
            for b, two in sides.items():
                self._add(a, b, times(times(one[:, seen], inverse), two[:, seen].T) * Fraction(-1, 4))

    def matrix(self) -> Exact:
        """Return the symmetric matrix of the form in 1 and all blocks, in the order in which they came."""
        sizes = {name: size for (a, b), M in self.blocks.items() for name, size in ((a, M.shape[0]), (b, M.shape[-1]))}

        def part(a: str, b: str) -> Exact:
            return dense(self.blocks[a, b]) if (a, b) in self.blocks else Exact.zeros(sizes[a], sizes[b])

        return stack([[(part(a, b) + part(b, a).T) * Fraction(1, 2) for b in sizes] for a in sizes])

    def is_nonnegative(self) -> bool:
        """Return True only if the form is proven to be at least 0 for all values of its variables."""
        return is_semidefinite(self.matrix())


def _sum(one: Exact, other: Exact) -> Exact:
    if len(one.shape) != len(other.shape):
        one, other = dense(one), dense(other)
    if one.shape != other.shape:
        raise Refused(f"blocks of the sizes {one.shape} and {other.shape} do not fit each other")
    return one + other


def _inverse_up(M: Exact) -> Exact:
    """Return floats G (n, n), G >= M^-1 for M > 0: a float inverse, a little larger, if [[M, I], [I, G]] >= 0."""
    n, one = len(M), dense(Exact.ones(len(M)))
    if n > LARGEST:
        raise Refused(f"rows: products of two facts about the inputs are for at most {LARGEST} of these")
    try:
        inverse = np.linalg.inv(M.floats())
    except np.linalg.LinAlgError:
        inverse = np.full((n, n), np.nan)
    for more in (1e-11, 1e-9, 1e-7):
        G = Exact.of((inverse + inverse.T) / 2 + more * np.diag(np.abs(inverse).sum(1)))
        if is_semidefinite(stack([[M, one], [one, G]])):
            return G
    raise Refused("q, rows: the form in the inputs is not proven to be positive")
