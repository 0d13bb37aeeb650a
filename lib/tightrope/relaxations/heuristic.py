"""The heuristic hierarchy HR-d of chen2020-lipschitz (section 4), and the sparse Lasserre hierarchy beside it.

HR-d keeps Shor's relaxation, the dense first-order moment matrix with L(g) >= 0 for every constraint, and adds for
small subsets I_k of variables the moment matrix of order d and localizing matrices of the constraints that involve only
I_k. Constraints that destroy this sparsity stay first-order ones. The sparse hierarchy (Waki et al. 2006) has no dense
matrix, and needs subsets that hold every constraint and every term of the objective.

A subset is given by affine forms w = (w_1, ..., w_s) of the variables, |w_i| <= 1 on the set. So z_j = a_j'x + b_j of
the paper needs no variable: (z - A x - b)^2 = 0 says that the moment matrix is one of (1, x, t, u), z substituted.
Moments of degree <= 2 of the forms are entries of the first-order matrix, those of degree 3, ..., 2 d are variables of
the subset alone.

For one hidden layer, HR-2 lies between two of the refinements in :mod:`tightrope.problems.relu_lipschitz`:
``corners <= HR-2 <= signs``. On {u_j, z_j} its second-order matrices say exactly u z >= 0 and (u - 1) z >= 0: both
are entries of the localizing matrix of (u - 1/2) z, since u^2 = u; and the moments z^3, z^4 are free to be large
enough for all the rest, as no bound of z_j is among the constraints of the subset. On {x_j, t_j}, order 2
proves (1 - x)(1 - t) >= -0.01124, and (1 - x)(1 - t) >= 0 (all four signs) gives the hull.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.relaxations.shor import ShorConstraints, objective_matrix, shor_constraints
from tightrope.semialgebraic import Forms, Products

Polynomial: TypeAlias = dict[tuple[int, ...], float]  # exponents -> coefficient


@dataclass(frozen=True, eq=False)
class Subset:
    """Forms (s, N), each in [-1, 1] on the set, and what is known of them: (polynomial, whether it is 0 or >= 0)."""

    forms: Forms
    constraints: tuple[tuple[Polynomial, bool], ...]


@dataclass(frozen=True, eq=False)
class MomentBlock:
    """The matrices of one subset, by its forms (s, N), as linear functions of its moments.

    `monomials` (M, s) are exponents of degree at most 2 d; the first `low` of them have degree at most 2. Each of `psd`
    (M, b * b) makes of moments a matrix that is positive semidefinite; `equalities` (M, e) combine them to 0.
    """

    forms: Forms
    monomials: np.ndarray
    low: int
    psd: tuple[sp.csr_array, ...]
    equalities: sp.csr_array

    def quadratic(self, coefficients: np.ndarray) -> sp.csr_array:
        """Return the (N, N) matrix of the polynomial with these coefficients (M,), its degree <= 2 part."""
        N = self.forms.shape[1]
        one = sp.csr_array(([1.0], ([0], [0])), shape=(1, N))
        rows = sp.csr_array(sp.vstack([one, self.forms]))
        S = np.zeros((rows.shape[0],) * 2)
        for exponents, value in zip(self.monomials[: self.low], coefficients[: self.low], strict=True):
            i, j = _factors(exponents)
            S[i, j] += value / 2
            S[j, i] += value / 2
        return sp.csr_array(rows.T @ sp.csr_array(S) @ rows)

    def moments(self) -> list[tuple[int, int]]:
        """Return for each moment of degree <= 2 the two rows of (1, forms) that it multiplies."""
        return [_factors(e) for e in self.monomials[: self.low]]


def _factors(exponents: np.ndarray) -> tuple[int, int]:
    """Return a monomial of degree <= 2 as a product of two of (1, w_1, ..., w_s)."""
    found = [i + 1 for i, e in enumerate(exponents) for _ in range(int(e))]
    return (0,) * (2 - len(found)) + tuple(found)  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class MomentProgram:
    """max <C, X> : X_00 = 1, Shor's constraints, the matrices of every block; X >= 0 if `dense`; C is sparse (N, N)."""

    objective: sp.csr_array
    constraints: ShorConstraints
    blocks: tuple[MomentBlock, ...]
    dense: bool

    @property
    def sizes(self) -> dict[str, int]:
        """Number of PSD matrices and of moments, and the size of the largest matrix."""
        sides = [round(A.shape[1] ** 0.5) for block in self.blocks for A in block.psd]
        sides += [self.constraints.size] if self.dense else []
        own = sum(len(block.monomials) - block.low for block in self.blocks)
        N = self.constraints.size
        return {"matrices": len(sides), "largest": max(sides, default=0), "moments": N * (N + 1) // 2 + own}


def heuristic(problem: PolynomialProblem, subsets: Sequence[Subset], order: int) -> MomentProgram:
    """Return HR-d with these subsets; HR-1 is Shor's relaxation, whatever they are."""
    if order not in (1, 2, 3):
        raise InputError(f"order: got {order!r}; write 1, 2 or 3.")
    blocks = tuple(moment_block(subset, order) for subset in subsets) if order > 1 else ()
    return MomentProgram(objective_matrix(problem.objective), shor_constraints(problem), blocks, dense=True)


def sparse_lasserre(problem: PolynomialProblem, order: int, scale: np.ndarray, largest: int = 10) -> MomentProgram:
    """Return the sparse hierarchy of order d on the cliques of a chordal extension of the correlative sparsity graph.

    The cliques satisfy the running intersection property, and every constraint and term of the objective lies in one.
    `scale` (N,) bounds |v_i| on the set, the first for the constant 1. A clique larger than `largest` is an InputError:
    the problem is not sparse enough.
    """
    if order not in (1, 2, 3):
        raise InputError(f"order: got {order!r}; write 1, 2 or 3.")
    n = problem.space.size - 1
    rows = [(p, c.equality) for c in problem.constraints for p in polynomials(c.body, n)]
    (objective,) = polynomials(problem.objective, n)
    terms = [[{i for i, e in enumerate(m) if e}] for m in objective]
    supports = [set().union(*({i for i, e in enumerate(m) if e} for m in p)) for p, _ in rows]
    cliques = chordal_cliques(n, [s for [s] in terms] + supports)
    widest = max(map(len, cliques))
    if widest > largest:
        raise InputError(f"problem: its sparsity has a clique of {widest} variables, more than {largest}; use HR-2.")
    subsets: list[list] = [[] for _ in cliques]
    for (polynomial, equality), support in zip(rows, supports, strict=True):
        for k, clique in enumerate(cliques):
            if support <= set(clique):
                units = {
                    tuple(m[i] for i in clique): v * np.prod(scale[1:] ** np.array(m)) for m, v in polynomial.items()
                }
                subsets[k].append((units, equality))
    blocks = []
    for clique, constraints in zip(cliques, subsets, strict=True):
        where = np.array(clique) + 1
        forms = sp.csr_array((1 / scale[where], (np.arange(len(where)), where)), shape=(len(where), n + 1))
        blocks.append(moment_block(Subset(forms, tuple(constraints)), order))
    return MomentProgram(objective_matrix(problem.objective), shor_constraints(problem), tuple(blocks), dense=False)


def chordal_cliques(n: int, supports: Sequence[set[int]]) -> list[tuple[int, ...]]:
    """Return the maximal cliques of a chordal extension of the graph that joins the elements of each support.

    The elimination order is that of minimum degree.

    >>> chordal_cliques(4, [{0, 1}, {1, 2}, {2, 3}])
    [(0, 1), (1, 2), (2, 3)]
    """
    neighbours: list[set[int]] = [set() for _ in range(n)]
    for support in supports:
        for i in support:
            neighbours[i] |= support - {i}
    left, cliques = set(range(n)), list[frozenset[int]]()
    while left:
        v = min(left, key=lambda i: (len(neighbours[i] & left), i))
        around = neighbours[v] & left
        clique = frozenset(around | {v})
        if not any(clique <= other for other in cliques):
            cliques.append(clique)
        for i in around:
            neighbours[i] |= around - {i}
        left.remove(v)
    return sorted(tuple(sorted(c)) for c in cliques)


def moment_block(subset: Subset, order: int) -> MomentBlock:
    """Return the moment matrix of order d and localizing matrices of order d - 1: all constraints are quadratic."""
    s = subset.forms.shape[0]
    exponents = [e for degree in range(2 * order + 1) for e in exponents_of_degree(s, degree)]
    index = {e: i for i, e in enumerate(exponents)}
    degree = np.array([sum(e) for e in exponents])
    basis, inner = [[e for e, k in zip(exponents, degree, strict=True) if k <= top] for top in (order, order - 1)]
    twice = [e for e, k in zip(exponents, degree, strict=True) if k <= 2 * order - 2]

    def columns(polynomial: Polynomial, factors: list) -> sp.csr_array:
        entries = [(index[_add(e, f)], k, value) for k, f in enumerate(factors) for e, value in polynomial.items()]
        i, k, value = map(np.array, zip(*entries, strict=True))
        return sp.csr_array((value, (i, k)), shape=(len(exponents), len(factors)))

    one = {(0,) * s: 1.0}
    psd = [columns(one, [_add(a, b) for a, b in itertools.product(basis, repeat=2)])]
    equal = []
    for polynomial, equality in subset.constraints:
        size = max(map(abs, polynomial.values()), default=0.0)
        if size == 0:
            continue
        scaled = {e: value / size for e, value in polynomial.items()}
        if equality:
            equal.append(columns(scaled, twice))
        else:
            psd.append(columns(scaled, [_add(a, b) for a, b in itertools.product(inner, repeat=2)]))
    equalities = sp.csr_array(sp.hstack(equal)) if equal else sp.csr_array((len(exponents), 0))
    return MomentBlock(subset.forms, np.array(exponents), int((degree <= 2).sum()), tuple(psd), equalities)


def _add(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def exponents_of_degree(n: int, degree: int) -> Iterator[tuple[int, ...]]:
    """Yield the exponents of the monomials of one degree in n variables."""
    for choice in itertools.combinations_with_replacement(range(n), degree):
        yield tuple(choice.count(i) for i in range(n))


def polynomials(body: Products, n: int) -> list[Polynomial]:
    """Return each function as exponent -> coefficient."""
    units = [tuple(int(i == j) for j in range(1, n + 1)) for i in range(n + 1)]  # coordinate 0 is the constant 1
    left, right, weights = body.left.toarray(), body.right.toarray(), body.weights.toarray()
    found = []
    for row in weights:
        quadratic = (left * row[:, None]).T @ right
        polynomial: Polynomial = {}
        for i, j in np.argwhere(quadratic):
            e = _add(units[i], units[j])
            polynomial[e] = polynomial.get(e, 0.0) + quadratic[i, j]
        found.append(polynomial)
    return found
