"""Order 2 of Lasserre's hierarchy, dense: for problems with at most six variables, as a yardstick for cheaper ones.

For max f(v) subject to g_k(v) >= 0, e_j(v) = 0, all of degree at most 2, any identity between polynomials

    gamma - f = sigma_0 + sum_k sigma_k g_k + sum_j tau_j e_j + r,    sigma_k sums of squares,

proves f <= gamma - min r on the set, and |v| <= B there bounds r by its coefficients. sigma_0 has degree 4, the others
and tau_j degree 2. The moment problem is what a solver sees (solvers.conic); its multipliers are the sigma and tau, and
:func:`proven_bound` forms r from them, whatever their quality.

The problem of order "1+cuts" with all products of facts as constraints has an order-2 bound at most as large as the
bound of 1+cuts: its constant sigma_k are the multipliers there.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.relaxations.cuts import CutModel
from tightrope.relaxations.heuristic import Subset, moment_block, polynomials

LARGEST = 6  # variables


@dataclass(frozen=True, eq=False)
class LasserreProgram:
    """max L(objective) over linear functionals L on the polynomials of degree at most 4, L(1) = 1.

    `monomials` (M, n) are exponents, the constant first; `gram` (M, b * b) makes of L the moment matrix of the b
    monomials of degree at most 2, `localizing`, (M, c * c) for each inequality, the matrix L(g m_i m_j) of the c of
    degree at most 1, and `equalities` (M, s) make L(e_j m), m of degree at most 2. `magnitude` (M,) bounds the absolute
    values of the monomials on the set.
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
    """Return Lasserre's order 2 of a problem in at most six variables, of products of affine forms."""
    n = problem.space.size - 1
    if n > LARGEST:
        raise InputError(f"order: 2 is for at most {LARGEST} variables in all, this problem has {n}; use 1+cuts.")
    rows = [(p, c.equality) for c in problem.constraints for p in polynomials(c.body, n)]
    forms = sp.csr_array(sp.eye_array(n + 1, format="csr")[1:])
    block = moment_block(Subset(forms, tuple(rows)), 2)
    gram, *localizing = (A.toarray() for A in block.psd)
    (objective,) = polynomials(problem.objective, n)
    size = np.full(n, np.sqrt(max(problem.squared_norm - 1, 1.0)))
    where = problem.space.slices["d"]
    size[where.start - 1 : where.stop - 1] = 1.0  # d lies in a unit ball or box
    return LasserreProgram(
        monomials=block.monomials,
        objective=np.array([objective.get(tuple(e), 0.0) for e in block.monomials.tolist()]),
        gram=gram,
        localizing=tuple(localizing),
        equalities=block.equalities.toarray(),
        magnitude=np.prod(size**block.monomials, axis=1),
    )


def proven_bound(
    program: LasserreProgram, gram: np.ndarray, localizing: list[np.ndarray], equalities: np.ndarray
) -> float:
    """Return the bound that proposed multipliers prove: Gram matrices are made semidefinite, r is formed and paid for.

    `gram` (b, b) is that of sigma_0, `localizing` (c, c) those of each sigma_k, `equalities` (s,) are the coefficients
    of the tau.
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
