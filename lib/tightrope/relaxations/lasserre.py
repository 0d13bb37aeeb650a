"""Order 2 of Lasserre's hierarchy, dense: for problems with at most six variables, as a yardstick for cheaper ones.

For max f(v) subject to g_k(v) >= 0, e_j(v) = 0, all of degree at most 2, any identity between polynomials

    gamma - f = sigma_0 + sum_k sigma_k g_k + sum_j tau_j e_j + r,    sigma_k sums of squares,

proves f <= gamma - min r on the set, and |v| <= B there bounds r by its coefficients. sigma_0 has degree 4, the others
and tau_j degree 2. The moment problem is what a solver sees (solvers.conic); its multipliers are the sigma and tau, and
:func:`proven_bound` forms r from them, whatever their quality.

The problem of order "1+cuts" with all products of facts as constraints has an order-2 bound at most as large as the
bound of 1+cuts: its constant sigma_k are the multipliers there.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tightrope.errors import InputError
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.relaxations.cuts import CutModel
from tightrope.semialgebraic import Products

LARGEST = 6  # variables


@dataclass(frozen=True, eq=False)
class LasserreProgram:
    """max L(objective) over linear functionals L on the polynomials of degree at most 4, L(1) = 1.

    Attributes
    ----------
    monomials
        (M, n) exponents of degree at most 4, the constant first.
    objective
        (M,) coefficients.
    gram
        (M, b * b): L -> moment matrix, by L(monomial_i monomial_j) for the b monomials of degree at most 2.
    localizing
        For each inequality an (M, c * c) map L -> L(g m_i m_j), m the c monomials of degree at most 1.
    equalities
        (M, s): L -> L(e_j m), m of degree at most 2.
    magnitude
        (M,) bounds of the absolute values of the monomials on the set.
    """

    monomials: np.ndarray
    objective: np.ndarray
    gram: np.ndarray
    localizing: tuple[np.ndarray, ...]
    equalities: np.ndarray
    magnitude: np.ndarray


def all_pairs(model: CutModel) -> CutModel:
    """Return the tightened model with every product of facts: small networks only."""
    rows, columns = np.meshgrid(np.arange(model.core_facts.shape[0]), np.arange(model.facts.shape[0]), indexing="ij")
    once = rows <= columns
    return model.with_pairs(np.stack([rows[once], columns[once]], axis=1))


def lasserre(problem: PolynomialProblem) -> LasserreProgram:
    """Return Lasserre's order 2 of a problem whose objective and constraints are products of affine forms.

    Raises
    ------
    InputError
        With more than six variables.
    """
    n = problem.space.size - 1
    if n > LARGEST:
        raise InputError(f"order: 2 is for at most {LARGEST} variables in all, this problem has {n}; use 1+cuts.")
    exponents = [e for degree in range(5) for e in exponents_of_degree(n, degree)]
    index = {e: i for i, e in enumerate(exponents)}
    degree = np.array([sum(e) for e in exponents])
    low, mid = np.flatnonzero(degree <= 1), np.flatnonzero(degree <= 2)
    M = len(exponents)

    def times(polynomial: dict, factor: tuple) -> np.ndarray:
        column = np.zeros(M)
        for e, value in polynomial.items():
            column[index[tuple(a + b for a, b in zip(e, factor, strict=True))]] += value
        return column

    def matrix(polynomial: dict, basis: np.ndarray) -> np.ndarray:
        pairs = itertools.product(basis, repeat=2)
        sums = [tuple(a + b for a, b in zip(exponents[i], exponents[j], strict=True)) for i, j in pairs]
        return np.stack([times(polynomial, e) for e in sums], axis=1)

    one = {tuple([0] * n): 1.0}
    localizing, equalities = [], []
    for constraint in problem.constraints:
        for polynomial in polynomials(constraint.body, n):
            scale = max(map(abs, polynomial.values()), default=0.0)
            if scale == 0:
                continue
            polynomial = {e: value / scale for e, value in polynomial.items()}
            if constraint.equality:
                equalities += [times(polynomial, exponents[i]) for i in mid]
            else:
                localizing.append(matrix(polynomial, low))
    objective = times(polynomials(problem.objective, n)[0], tuple([0] * n))
    radius = np.sqrt(max(problem.squared_norm - 1, 1.0))
    block = np.full(n, radius)
    where = problem.space.slices["d"]
    block[where.start - 1 : where.stop - 1] = 1.0  # d lies in a unit ball or box
    return LasserreProgram(
        monomials=np.array(exponents),
        objective=objective,
        gram=matrix(one, mid),
        localizing=tuple(localizing),
        equalities=np.stack(equalities, axis=1) if equalities else np.zeros((M, 0)),
        magnitude=np.prod(block ** np.array(exponents), axis=1),
    )


def proven_bound(
    program: LasserreProgram, gram: np.ndarray, localizing: list[np.ndarray], equalities: np.ndarray
) -> float:
    """Return the bound that proposed multipliers prove: Gram matrices are made semidefinite, r is formed and paid for.

    Parameters
    ----------
    gram
        (b, b) of sigma_0.
    localizing
        (c, c) of each sigma_k.
    equalities
        (s,) coefficients of the tau.
    """
    pairs = [(program.gram, semidefinite_part(gram).ravel())]
    pairs += [(A, semidefinite_part(Q).ravel()) for A, Q in zip(program.localizing, localizing, strict=True)]
    pairs.append((program.equalities, equalities))
    # r = gamma - f - sum of the parts; gamma cancels its constant term.
    rest = -program.objective - sum(A @ x for A, x in pairs)
    size = np.abs(program.objective) + sum(np.abs(A) @ np.abs(x) for A, x in pairs)
    noise = 1e-12 * float(size @ program.magnitude)  # of these sums in float64
    return float(-rest[0] + np.abs(rest[1:]) @ program.magnitude[1:] + noise)


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
