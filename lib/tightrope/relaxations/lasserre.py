"""Order 2 of Lasserre's hierarchy, dense: for problems with a few variables, as a yardstick for cheaper ones.

For max f(v) subject to g_k(v) >= 0, e_j(v) = 0, all of degree at most 2, an identity between polynomials

    gamma - f = sigma_0 + sum_k sigma_k g_k + sum_j tau_j e_j,    sigma_k sums of squares,

proves f <= gamma on the set. sigma_0 has degree 4, the others and tau_j degree 2. The moment problem is what a solver
sees (solvers.conic); its multipliers are the sigma and tau, which :mod:`tightrope.gram_proofs` makes exact.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tightrope.semialgebraic import Products

LARGEST = 6  # variables
Polynomial: TypeAlias = Mapping[tuple[int, ...], float]  # exponents -> coefficient


@dataclass(frozen=True, eq=False)
class LasserreProgram:
    """max L(objective) over linear functionals L on the polynomials of degree at most 4, L(1) = 1.

    Attributes
    ----------
    objective
        (M,) coefficients of the monomials, the constant first.
    gram
        (M, b * b): L -> moment matrix, by L(monomial_i monomial_j) for the b monomials of degree at most 2.
    localizing
        For each inequality an (M, c * c) map L -> L(g m_i m_j), m the c monomials of degree at most 1.
    equalities
        (M, s): L -> L(e_j m), m of degree at most 2.
    """

    objective: np.ndarray
    gram: np.ndarray
    localizing: tuple[np.ndarray, ...]
    equalities: np.ndarray


def lasserre(
    objective: Polynomial, inequalities: Sequence[Polynomial], equalities: Sequence[Polynomial], size: int
) -> LasserreProgram:
    """Return Lasserre's order 2 for polynomials of degree at most 2 in `size` variables."""
    exponents = [e for degree in range(5) for e in exponents_of_degree(size, degree)]
    index = {e: i for i, e in enumerate(exponents)}
    low, mid = ([e for e in exponents if sum(e) <= degree] for degree in (1, 2))

    def times(polynomial: Polynomial, factor: tuple[int, ...]) -> np.ndarray:
        column = np.zeros(len(exponents))
        for e, value in polynomial.items():
            column[index[tuple(map(sum, zip(e, factor, strict=True)))]] += value
        return column

    def matrix(polynomial: Polynomial, basis: list[tuple[int, ...]]) -> np.ndarray:
        pairs = itertools.product(basis, repeat=2)
        return np.stack([times(polynomial, tuple(map(sum, zip(*pair, strict=True)))) for pair in pairs], axis=1)

    one = (0,) * size
    columns = [times(polynomial, e) for polynomial in equalities for e in mid]
    return LasserreProgram(
        objective=times(objective, one),
        gram=matrix({one: 1.0}, mid),
        localizing=tuple(matrix(polynomial, low) for polynomial in inequalities),
        equalities=np.stack(columns, axis=1) if columns else np.zeros((len(exponents), 0)),
    )


def semidefinite_part(Q: np.ndarray) -> np.ndarray:
    """Return the positive semidefinite part of the symmetric part of Q (b, b)."""
    values, vectors = np.linalg.eigh((Q + Q.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0))
    return root @ root.T


def exponents_of_degree(n: int, degree: int) -> Iterator[tuple[int, ...]]:
    """Yield the exponents of the monomials of one degree in n variables."""
    for choice in itertools.combinations_with_replacement(range(n), degree):
        yield tuple(choice.count(i) for i in range(n))


def polynomials(body: Products, n: int) -> list[dict]:
    """Return each function as exponent -> coefficient."""
    units = [tuple(int(i == j) for j in range(1, n + 1)) for i in range(n + 1)]  # coordinate 0 is the constant 1
    left, right, weights = body.left.toarray(), body.right.toarray(), body.weights.toarray()
    found = []
    for row in weights:
        quadratic = (left * row[:, None]).T @ right
        polynomial: dict = {}
        for i, j in np.argwhere(quadratic):
            e = tuple(a + b for a, b in zip(units[i], units[j], strict=True))
            polynomial[e] = polynomial.get(e, 0.0) + quadratic[i, j]
        found.append(polynomial)
    return found
