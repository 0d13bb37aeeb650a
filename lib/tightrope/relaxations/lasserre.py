"""Moment and localizing matrices; order 2 of Lasserre's hierarchy, dense, as a yardstick for cheaper relaxations.

For max f(v) subject to g_k(v) >= 0, e_j(v) = 0, all of degree at most 2, an identity between polynomials

    gamma - f = sigma_0 + sum_k sigma_k g_k + sum_j tau_j e_j,    sigma_k sums of squares,

proves f <= gamma on the set. sigma_0 has degree 2 d, the others and tau_j degree 2 d - 2. The moment problem is what a
solver sees (solvers.conic); its multipliers are the sigma and tau, which :mod:`tightrope.gram_proofs` makes exact for
order d = 2 of all variables; :mod:`tightrope.relaxations.heuristic` has matrices of small subsets of them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from tightrope.semialgebraic import Forms, Products

LARGEST = 6  # variables
Exponents: TypeAlias = tuple[int, ...]
Polynomial: TypeAlias = Mapping[Exponents, float]  # exponents -> coefficient
Condition: TypeAlias = tuple[Polynomial, bool]  # a polynomial, and whether it is 0 or nonnegative


@dataclass(frozen=True, eq=False)
class MomentBlock:
    """The matrices of a set of forms (s, N) of the variables, as linear functions of the moments of the forms.

    `monomials` (M, s) are exponents of degree at most 2 d; the first `low` of them have degree at most 2. Each of `psd`
    (M, b * b) makes of moments a matrix that is positive semidefinite: first the moment matrix, then a localizing one
    for each inequality. `equalities` (M, e) combine moments to 0.
    """

    forms: Forms
    monomials: np.ndarray
    low: int
    psd: tuple[sp.csr_array, ...]
    equalities: sp.csr_array

    def quadratic(self, coefficients: np.ndarray) -> sp.csr_array:
        """Return the (N, N) matrix of the polynomial with these coefficients (M,), its degree <= 2 part."""
        one = sp.csr_array(([1.0], ([0], [0])), shape=(1, self.forms.shape[1]))
        rows = sp.csr_array(sp.vstack([one, self.forms]))
        S = np.zeros((rows.shape[0],) * 2)
        for (i, j), value in zip(self.moments(), coefficients[: self.low], strict=True):
            S[i, j] += value / 2
            S[j, i] += value / 2
        return sp.csr_array(rows.T @ sp.csr_array(S) @ rows)

    def moments(self) -> list[tuple[int, int]]:
        """Return for each moment of degree <= 2 the two rows of (1, forms) that it multiplies."""
        factors = ([i + 1 for i, e in enumerate(m) for _ in range(int(e))] for m in self.monomials[: self.low])
        return [(0,) * (2 - len(found)) + tuple(found) for found in factors]  # type: ignore[misc]


def moment_block(forms: Forms, conditions: Sequence[Condition], order: int) -> MomentBlock:
    """Return the moment matrix of order d of forms (s, N), and the localizing matrices of conditions on them.

    The conditions are quadratic, the localizing matrices of order d - 1; equalities take monomials of degree 2 d - 2.
    """
    s = forms.shape[0]
    exponents = [e for degree in range(2 * order + 1) for e in exponents_of_degree(s, degree)]
    index = {e: i for i, e in enumerate(exponents)}
    basis, inner, twice = ([e for e in exponents if sum(e) <= top] for top in (order, order - 1, 2 * order - 2))

    def columns(polynomial: Polynomial, factors: list[Exponents]) -> sp.csr_array:
        entries = [(index[_add(e, f)], k, value) for k, f in enumerate(factors) for e, value in polynomial.items()]
        i, k, value = np.array(entries, float).reshape(-1, 3).T
        return sp.csr_array((value, (i.astype(int), k.astype(int))), shape=(len(exponents), len(factors)))

    def matrix(polynomial: Polynomial, basis: list[Exponents]) -> sp.csr_array:
        return columns(polynomial, [_add(a, b) for a, b in itertools.product(basis, repeat=2)])

    psd = [matrix({(0,) * s: 1.0}, basis), *(matrix(g, inner) for g, equality in conditions if not equality)]
    equal = [columns(e, twice) for e, equality in conditions if equality]
    equalities = sp.csr_array(sp.hstack(equal)) if equal else sp.csr_array((len(exponents), 0))
    low = sum(sum(e) <= 2 for e in exponents)
    return MomentBlock(forms, np.array(exponents).reshape(-1, s), low, tuple(psd), equalities)


def lasserre(
    objective: Polynomial, inequalities: Sequence[Polynomial], equalities: Sequence[Polynomial], size: int
) -> tuple[np.ndarray, MomentBlock]:
    """Return Lasserre's order 2 for polynomials of degree at most 2 in `size` variables.

    These are the objective's coefficients (M,) by monomial, the constant first, and the matrices of all variables.
    """
    conditions = [*((g, False) for g in inequalities), *((e, True) for e in equalities)]
    block = moment_block(sp.csr_array(np.eye(size, size + 1, 1)), conditions, 2)
    coefficients = np.array([float(objective.get(e, 0.0)) for e in map(tuple, block.monomials.tolist())])
    return coefficients, block


def semidefinite_part(Q: np.ndarray) -> np.ndarray:
    """Return the positive semidefinite part of the symmetric part of Q (b, b)."""
    values, vectors = np.linalg.eigh((Q + Q.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0))
    return root @ root.T


def exponents_of_degree(n: int, degree: int) -> Iterator[Exponents]:
    """Yield the exponents of the monomials of one degree in n variables."""
    for choice in itertools.combinations_with_replacement(range(n), degree):
        yield tuple(choice.count(i) for i in range(n))


def polynomials(body: Products, n: int) -> list[Polynomial]:
    """Return each function as exponent -> coefficient."""
    units = [tuple(int(i == j) for j in range(1, n + 1)) for i in range(n + 1)]  # coordinate 0 is the constant 1
    left, right, weights = body.left.toarray(), body.right.toarray(), body.weights.toarray()
    found: list[Polynomial] = []
    for row in weights:
        quadratic = (left * row[:, None]).T @ right
        polynomial: dict[Exponents, float] = {}
        for i, j in np.argwhere(quadratic):
            e = _add(units[i], units[j])
            polynomial[e] = polynomial.get(e, 0.0) + quadratic[i, j]
        found.append(polynomial)
    return found


def _add(a: Exponents, b: Exponents) -> Exponents:
    return tuple(x + y for x, y in zip(a, b, strict=True))
