"""Symmetric matrices whose trailing block is diagonal ("arrows"), and SDP data in that form.

In every model of this package some variables (the input perturbation d) are coupled to each other only through their
squares. Order the coordinates as (core, tip): then C and all A_k have the pattern

    [ cc  cd ]      cc (q, q) dense, cd (q, n) dense, dd (n,) diagonal,
    [ cd' dd ]

and so has the dual matrix Z = y_0 E_00 - C - sum y_k A_k. Products with it, its Cholesky test and its inverse cost
O(n q^2) instead of O((q + n)^3).
"""

import copy
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError
from tightrope.relaxations.shor import ShorConstraints


class Arrow(NamedTuple):
    """The stored part of an arrow matrix, or of any symmetric matrix seen on that pattern."""

    cc: np.ndarray
    cd: np.ndarray
    dd: np.ndarray

    def plus(self, other: "Arrow", scale: float = 1.0) -> "Arrow":
        """Return self + scale * other."""
        return Arrow(self.cc + scale * other.cc, self.cd + scale * other.cd, self.dd + scale * other.dd)

    def inner(self, other: "Arrow") -> float:
        """Return <self, other> of two matrices, one of which has the arrow pattern."""
        return float(np.vdot(self.cc, other.cc) + 2 * np.vdot(self.cd, other.cd) + self.dd @ other.dd)

    def norm(self) -> float:
        """Return the Frobenius norm of an arrow matrix."""
        return float(np.sqrt(self.inner(self)))

    def vector(self) -> np.ndarray:
        """Return all stored entries in one vector (q^2 + q n + n,)."""
        return np.concatenate([self.cc.ravel(), self.cd.ravel(), self.dd])

    def dense(self) -> np.ndarray:
        """Return the (q + n, q + n) matrix, core first."""
        return np.block([[self.cc, self.cd], [self.cd.T, np.diag(self.dd)]])


class ArrowData:
    """The constraints of a Shor program on the arrow pattern: the maps y -> sum y_k A_k and X -> (<A_k, X>)_k.

    `core` and `tip` are the coordinates (indices into 0..N-1) of the two parts; the tip may be empty. Blocks that are
    named as core stay out of the tip although the constraints would allow them in: those that the objective multiplies
    with other variables.
    """

    def __init__(self, constraints: ShorConstraints, core: Iterable[str] = ()):
        self.constraints = constraints
        self.tip = _tip(constraints, set(core))
        self.core = np.setdiff1d(np.arange(constraints.size), self.tip)
        self.q, self.n = len(self.core), len(self.tip)
        self.order = np.concatenate([self.core, self.tip])
        self._double = np.concatenate([np.ones(self.q**2), np.full(self.q * self.n, 2.0), np.ones(self.n)])
        self._set(sp.csr_array(self._entries() @ constraints.weights.T))

    def reordered(self, order: np.ndarray, constants: np.ndarray) -> "ArrowData":
        """Return a copy with the constraints in another order, constants (k,) added to the (0, 0) of each A_k."""
        other = copy.copy(self)
        corner = sp.csr_array(([1.0], ([0], [0])), shape=(self._adjoint.shape[0], 1))
        other._set(sp.csr_array(self._adjoint[:, order] + corner @ sp.csr_array(constants[None])))
        return other

    def _set(self, adjoint: sp.csr_array) -> None:
        self._adjoint = adjoint  # (stored entries, k)
        self._forward = sp.csr_array(adjoint.T)
        squares = adjoint.multiply(adjoint)
        self.norms = np.sqrt(np.maximum(squares.T @ self._double, 1e-300))  # Frobenius norms of the A_k

    def adjoint(self, y: np.ndarray) -> Arrow:
        """Return sum_k y_k A_k."""
        return self.unpack(self._adjoint @ y)

    def forward(self, X: Arrow) -> np.ndarray:
        """Return (<A_k, X>)_k for X given on the pattern."""
        return self._forward @ (self._double * X.vector())

    def unpack(self, entries: np.ndarray) -> Arrow:
        """Return the inverse of :meth:`Arrow.vector`."""
        q, n = self.q, self.n
        cc, cd, dd = np.split(entries, [q * q, q * q + q * n])
        return Arrow(cc.reshape(q, q), cd.reshape(q, n), dd)

    def arrow(self, matrix: sp.csr_array) -> Arrow:
        """Return a sparse symmetric matrix with the arrow pattern (an objective, say), checked to have it."""
        ordered = sp.csr_array(matrix)[self.order][:, self.order].tocsr()
        q = self.q
        dd = ordered[q:, q:]
        diagonal = dd.diagonal()
        if abs(dd - sp.diags_array(diagonal)).sum() > 0:
            raise InputError("matrix: couples two coordinates of the tip; it does not have the arrow pattern.")
        return Arrow(ordered[:q, :q].toarray(), ordered[:q, q:].toarray(), diagonal)

    def _entries(self) -> sp.csr_array:
        """Stored entries of sym(f g') for each product, as columns (q^2 + q n + n, P)."""
        c = self.constraints
        q, n = self.q, self.n
        place = np.empty(c.size, int)
        place[self.order] = np.arange(c.size)
        f, g = c.forms[c.left], c.forms[c.right]
        nf, ng = np.diff(f.indptr), np.diff(g.indptr)
        # All pairs (i in support of f_r, j in support of g_r): each f entry is repeated ng times, g entries are tiled.
        owner = np.repeat(np.arange(len(nf)), nf)  # of each entry of f
        times = ng[owner]
        ends = np.cumsum(times)
        gi = np.arange(ends[-1] if len(ends) else 0) + np.repeat(g.indptr[owner] - ends + times, times)
        r, i, j = np.repeat(owner, times), np.repeat(place[f.indices], times), place[g.indices][gi]
        value = np.repeat(f.data, times) * g.data[gi]
        i, j = np.minimum(i, j), np.maximum(i, j)
        in_core, in_tip = j < q, i >= q
        cross = ~in_core & ~in_tip
        places = (
            i[in_core] * q + j[in_core],
            j[in_core] * q + i[in_core],
            q * q + i[cross] * n + (j[cross] - q),
            q * q + q * n + (i[in_tip] - q),
        )
        values = np.concatenate([value[in_core] / 2, value[in_core] / 2, value[cross] / 2, value[in_tip]])
        columns = np.concatenate([r[in_core], r[in_core], r[cross], r[in_tip]])
        shape = (q * q + q * n + n, len(c.left))
        return sp.csr_array((values, (np.concatenate(places), columns)), shape=shape)


def _tip(constraints: ShorConstraints, core: set[str]) -> np.ndarray:
    """Return the coordinates whose mutual block is diagonal in every A_k: whole blocks, the largest first."""
    forms, count = abs(constraints.forms), constraints.forms.shape[0]
    ones = np.ones(len(constraints.left))
    coupling = sp.csr_array((ones, (constraints.left, constraints.right)), shape=(count, count))
    pattern = sp.csr_array(forms.T @ (coupling + coupling.T) @ forms)
    tip = np.empty(0, int)
    blocks = [block for name, block in constraints.blocks.items() if name not in core]
    blocks.sort(key=lambda s: s.start - s.stop)
    for block in blocks:
        candidate = np.concatenate([tip, np.arange(block.start, block.stop)])
        part = pattern[candidate][:, candidate]
        if abs(part - sp.diags_array(part.diagonal())).sum() == 0:
            tip = candidate
    return np.sort(tip)
