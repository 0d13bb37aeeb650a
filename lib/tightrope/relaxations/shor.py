"""Shor's relaxation (order 1 of Lasserre's hierarchy): (1, v)(1, v)' becomes X >= 0 with X_00 = 1.

A product f(v) g(v) becomes <A, X> with A = sym(f g') = (f g' + g f') / 2. The program keeps the distinct products and
their forms, because a structured solver works with these, and gives matrices only on demand.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from tightrope.problems.polynomial import Constrained, PolynomialProblem
from tightrope.relaxations.lasserre import MomentBlock
from tightrope.semialgebraic import Products


@dataclass(frozen=True, eq=False)
class ShorConstraints:
    """<A_k, X> = 0 or >= 0, with A_k = sum_r weights[k, r] sym(left_r right_r').

    `forms` (D, N) are distinct affine forms, and `left` and `right` (P,) rows of them whose products are distinct;
    `weights` are (k, P). `groups` and `blocks` name slices of the k constraints and of the N coordinates (coordinate 0
    is the homogenising one). `squared_norm` bounds trace(X) over the moment matrices of feasible points; `center` is
    one, with the variances `spread` (N,) around it.
    """

    forms: sp.csr_array
    left: np.ndarray
    right: np.ndarray
    weights: sp.csr_array
    equality: np.ndarray
    groups: dict[str, slice]
    blocks: dict[str, slice]
    squared_norm: float
    center: np.ndarray
    spread: np.ndarray

    @property
    def size(self) -> int:
        """N, the size of the PSD matrix."""
        return self.forms.shape[1]

    def matrix(self, y: np.ndarray) -> sp.csr_array:
        """Return sum_k y_k A_k, sparse and symmetric (N, N), for multipliers y (k,)."""
        return _symmetric(self.forms, self.left, self.right, self.weights.T @ y)

    def absolute_matrix(self, y: np.ndarray) -> sp.csr_array:
        """Return sum_k |y_k| |A_k|, before anything cancels: the scale of the rounding errors of :meth:`matrix`."""
        return _symmetric(abs(self.forms), self.left, self.right, abs(self.weights).T @ np.abs(y))

    @property
    def terms(self) -> int:
        """At least the number of terms that an entry of :meth:`matrix` is summed from."""
        return sum(self.weights.shape)

    def matrices(self) -> list[sp.csr_array]:
        """Return the k matrices A_k."""
        return [self.matrix(unit) for unit in np.eye(self.weights.shape[0])]

    def only(self, rows: np.ndarray) -> "ShorConstraints":
        """Return the constraints that a boolean (k,) selects, under the same names of groups."""
        place = np.concatenate([[0], np.cumsum(rows)])
        groups = {name: slice(int(place[g.start]), int(place[g.stop])) for name, g in self.groups.items()}
        return replace(self, weights=self.weights[rows], equality=self.equality[rows], groups=groups)

    def split(self, y: np.ndarray) -> dict[str, np.ndarray]:
        """Return the multipliers (k,) by the name of their group."""
        return {name: y[where] for name, where in self.groups.items()}


@dataclass(frozen=True, eq=False)
class MomentProgram:
    """max <objective, X>, sparse symmetric (N, N) : X_00 = 1, `constraints`, the matrices of every block, X >= 0.

    Without blocks it is Shor's relaxation; X need not be >= 0 if it is not `dense` (relaxations.heuristic).
    """

    objective: sp.csr_array
    constraints: ShorConstraints
    blocks: tuple[MomentBlock, ...] = ()
    dense: bool = True

    @property
    def sizes(self) -> dict[str, int]:
        """Number of PSD matrices and of moments, and the size of the largest matrix."""
        sides = [round(A.shape[1] ** 0.5) for block in self.blocks for A in block.psd]
        sides += [self.constraints.size] if self.dense else []
        own = sum(len(block.monomials) - block.low for block in self.blocks)
        N = self.constraints.size
        return {"matrices": len(sides), "largest": max(sides, default=0), "moments": N * (N + 1) // 2 + own}


def _symmetric(forms: sp.csr_array, left: np.ndarray, right: np.ndarray, w: np.ndarray) -> sp.csr_array:
    """Return sum_r w_r sym(left_r right_r')."""
    D = forms.shape[0]
    coupling = sp.csr_array((w, (left, right)), shape=(D, D))
    product = forms.T @ (coupling @ forms)
    return sp.csr_array((product + product.T) / 2)


def shor_constraints(problem: Constrained) -> ShorConstraints:
    """Relax the constraints of a problem.

    Products and forms that occur several times are kept once, in the order in which they occur first, so that the
    products of a group stay together (solvers.schur uses that).
    """
    groups = problem.constraints
    lefts = sp.vstack([g.body.left for g in groups], format="csr")
    rights = sp.vstack([g.body.right for g in groups], format="csr")
    weights = sp.block_diag([g.body.weights for g in groups], format="csr")
    count = lefts.shape[0]
    forms, index = _distinct_rows(sp.vstack([lefts, rights], format="csr"))
    pairs = np.sort(np.stack([index[:count], index[count:]], axis=1), axis=1)  # f g = g f
    pairs, first, where = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place, pairs = np.argsort(order)[where.ravel()], pairs[order]
    merge = sp.csr_array((np.ones(count), (np.arange(count), place)), shape=(count, len(pairs)))
    sizes = np.cumsum([0] + [len(g.body) for g in groups])
    return ShorConstraints(
        forms=forms,
        left=pairs[:, 0],
        right=pairs[:, 1],
        weights=sp.csr_array(weights @ merge),
        equality=np.concatenate([np.full(len(g.body), g.equality) for g in groups]),
        groups={g.name: slice(int(a), int(b)) for g, a, b in zip(groups, sizes, sizes[1:], strict=False)},
        blocks=dict(problem.space.slices),
        squared_norm=problem.squared_norm,
        center=problem.center,
        spread=problem.spread,
    )


def objective_matrix(objective: Products) -> sp.csr_array:
    """Return the matrix <C, X> of one function."""
    w = objective.weights.toarray()[0]
    k = np.arange(len(w))
    forms = sp.vstack([objective.left, objective.right], format="csr")
    return _symmetric(forms, k, k + len(w), w)


def shor(problem: PolynomialProblem) -> MomentProgram:
    """Return Shor's relaxation of a polynomial problem; its value is an upper bound of the problem's."""
    return MomentProgram(objective_matrix(problem.objective), shor_constraints(problem))


def _distinct_rows(rows: sp.csr_array) -> tuple[sp.csr_array, np.ndarray]:
    """Return distinct rows of a CSR array in order of first appearance, and the index of each row among them."""
    rows.sum_duplicates()
    rows.eliminate_zeros()
    where, what = rows.indices.tobytes(), rows.data.tobytes()
    wide, long = rows.indices.itemsize, rows.data.itemsize
    seen: dict[tuple[bytes, bytes], int] = {}
    index = np.array(
        [
            seen.setdefault((where[a * wide : b * wide], what[a * long : b * long]), len(seen))
            for a, b in itertools.pairwise(rows.indptr.tolist())
        ],
        int,
    )
    return sp.csr_array(rows[np.unique(index, return_index=True)[1]]), index
