"""The Schur complement of an interior-point step, M_kl = <A_k, X A_l Z^-1>, from Gram matrices of the affine forms.

For products A = sym(f g'):

    4 M_kl = (g_k'X f_l)(g_l'Z^-1 f_k) + (g_k'X g_l)(f_l'Z^-1 f_k)
           + (f_k'X f_l)(g_l'Z^-1 g_k) + (f_k'X g_l)(f_l'Z^-1 g_k),

so M is a sum of Hadamard products; sums of products take W M W' with their weights in W. Products of one kind, such as
u_j h_j for all j, have forms that follow each other: their Gram entries are blocks of G, used in place. M is made in
blocks, which go where W puts them while they are in the cache.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack

from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.hkm import Completed, Inverted, Squares

#: Products of a run that is worth a block of its own, and of a block that stays in the processor's cache.
SHORTEST, LONGEST = 16, 256
#: Diagonal blocks of W up to which W M W' is added up from them, block of M by block; and products for each of them,
#: because adding up a pair of blocks takes as long as a hundred and more entries of the whole matrix of products.
DIAGONALS, PRODUCTS_PER_DIAGONAL = 200, 12
#: Squares of the tip for each other constraint, or for FEW if those are fewer, above which their block is not formed.
MANY_SQUARES, FEW = 4, 16


class SchurComplement:
    """M for one set of constraints; holds their products split by kind.

    `data` are the constraints in the order used inside, constants folded if `fold_constants`, which X_00 = 1 allows:
    position k holds the program's constraint order[k]. <A_k, X> {= or >=} b_k, `inequality` (k,) says which.
    """

    def __init__(self, data: ArrowData, fold_constants: bool = True):
        """Split the products into core ones (f, g), squares of tip coordinates (e_j, e_j), and the constant 1 * 1.

        Gram entries of the second kind are plain entries of X and Z^-1. The third kind moves to the right-hand side,
        because X_00 = 1: A_k + a_k E_00 >= 0 becomes A_k >= -a_k, which keeps M free of the dense rows of E_00.
        """
        c = data.constraints
        forms = c.forms[:, data.order].tocsr()
        lone = np.diff(forms.indptr) == 1
        where, value = forms.indices[forms.indptr[:-1][lone]], forms.data[forms.indptr[:-1][lone]]
        tip = np.full(forms.shape[0], -1)
        tip[lone] = np.where((where >= data.q) & (value == 1), where - data.q, -1)
        constant = np.zeros(forms.shape[0])
        constant[lone] = np.where(where == 0, value, 0)
        ones = (constant[c.left] != 0) & (constant[c.right] != 0)
        square = (c.left == c.right) & (tip[c.left] >= 0)
        if not fold_constants:
            ones[:] = False
        core = ~ones & ~square

        self.b = -(c.weights[:, ones] @ (constant[c.left] * constant[c.right])[ones])
        used = np.unique(np.concatenate([c.left[core], c.right[core]]))
        place = np.full(forms.shape[0], -1)
        place[used] = np.arange(len(used))
        self._left, self._right = place[c.left[core]], place[c.right[core]]
        dense = forms[used].toarray()
        self._Fc, self._Fd = np.ascontiguousarray(dense[:, : data.q]), np.ascontiguousarray(dense[:, data.q :])
        self._distinct, self._row, self._sign = _distinct(self._Fd)
        self._tips = tip[c.left[square]]
        self._runs = _runs(self._left, self._right)
        self._all = [run.where for run in self._runs]  # of all products, with the squares of the tip last
        if len(self._tips):
            self._all.append(slice(len(self._left), len(self._left) + len(self._tips)))
        # Constraints in the order of their products, so that in the common case (one product each, used once) M is the
        # matrix of the products, entry for entry; otherwise M = W M_products W'.
        self._W = sp.csr_array(sp.hstack([c.weights[:, core], c.weights[:, square]]))
        simple = (np.diff(self._W.indptr) == 1).all() and len(np.unique(self._W.indices)) == self._W.shape[0]
        self._scale, self._pieces = None, None
        self.eliminated = 0
        if simple and self._W.shape[0] == self._W.shape[1]:
            self.order = np.argsort(self._W.indices)
            self._scale = self._W.data[self.order]
            if len(self._tips) > MANY_SQUARES * max(FEW, len(self._left)):
                self.eliminated = len(self._tips)
        else:
            self.order = np.arange(self._W.shape[0])
            self._pieces = _pieces(self._W, self._all)
        self.b = self.b[self.order]
        self.inequality = ~c.equality[self.order]
        self.data = data.reordered(self.order, self.b)

    def unordered(self, y: np.ndarray) -> np.ndarray:
        """Return multipliers (k,) of the order used inside in that of the program."""
        multipliers = np.empty_like(y)
        multipliers[self.order] = y
        return multipliers

    def squares(self, X: Completed, Zi: Inverted) -> Squares | None:
        """Return the block of the `eliminated` last constraints, which are squares of the tip; None if there are none.

        M_jl = s_j s_l X_jl Z^-1_jl with X = K'K + diag(D) and Z^-1 = B'B + diag(1/dd) on the tip.
        """
        if not self.eliminated or self._scale is None:
            return None
        s, tips = self._scale[-self.eliminated :], self._tips
        K, B = X.K[:, tips] * s, Zi.B[:, tips]
        diagonal = s**2 * X.D[tips] * Zi.arrow.dd[tips] + np.einsum("ij,ij->j", K, K) / Zi.dd[tips]
        return Squares(K, B, diagonal)

    def matrix(self, X: Completed, Zi: Inverted, without: int = 0) -> np.ndarray:
        """Return M_kl = <A_k, X A_l Z^-1> with a border for A_0 = -E_00, (1 + k, 1 + k); the upper triangle only.

        The last rows, `without` of them (all squares of the tip, or none), are left out.
        """
        Fc, Fd, left, right = self._Fc, self._Fd, self._left, self._right
        once, row, sign = self._distinct, self._row, self._sign  # Fd = sign * once[row]
        signs = np.outer(sign, sign)

        def tip(weights: np.ndarray) -> np.ndarray:
            """Fd diag(weights) Fd'."""
            return signs * ((once * weights) @ once.T)[np.ix_(row, row)]

        # X = [L; K'] [L; K']' + diag(0, D), and Z^-1 in the same way with L^-T and -B'. Gram matrices of factors are
        # as exact as their diagonals are small; F X F' would lose what cancels in it.
        FX = Fc @ X.L + sign[:, None] * (once @ X.K.T)[row]
        FZ = lapack.dtrtrs(Zi.L, (Fc - sign[:, None] * (once @ Zi.H.T)[row]).T, lower=1)[0].T
        GX, GZ = FX @ FX.T + tip(X.D), FZ @ FZ.T + tip(1 / Zi.dd)
        FX0, FZ0 = FX @ X.L[0], FZ @ lapack.dtrtrs(Zi.L, np.eye(len(Fc.T), 1), lower=1)[0][:, 0]  # (F X)_0, (F Z^-1)_0
        FXd, FZd = (FX @ X.K + Fd * X.D, Fd / Zi.dd - FZ @ Zi.B) if len(self._tips) else (Fd, Fd)

        # The bordered matrix [[corner, -zero'], [-zero, M]]: row 0 belongs to A_0 = e_0 e_0', the product of the form 1
        # with itself; its sign comes from dZ = dy_0 E_00 - sum dy_k A_k. Only the upper triangle is filled.
        border = -0.5 * (FX0[left] * FZ0[right] + FX0[right] * FZ0[left])
        border = np.concatenate([border, -X.R[0, self._tips] * Zi.arrow.cd[0, self._tips]])
        blocks = self._blocks(X, Zi, GX, GZ, FXd, FZd, squares=not without)
        k = len(self.b)
        bordered = np.zeros((1 + k - without, 1 + k))
        bordered[0, 0] = X.Y[0, 0] * Zi.Si[0, 0]
        inner = bordered[1:, 1:]
        if self._scale is not None:
            bordered[0, 1:] = border * self._scale
            for a, b, block in blocks:
                rows, columns = self._all[a], self._all[b]
                np.multiply(block, self._scale[rows, None] * self._scale[columns], out=inner[rows, columns])
            return bordered
        bordered[0, 1:] = self._W @ border
        if self._pieces is not None:
            for a, b, block in blocks:
                _scatter(inner, block, self._pieces[a], self._pieces[b], a == b)
            return bordered
        whole = np.empty((len(border),) * 2)
        for a, b, block in blocks:
            whole[self._all[a], self._all[b]] = block
            whole[self._all[b], self._all[a]] = block.T
        inner[:] = self._W @ (self._W @ whole).T
        return bordered

    def _blocks(
        self,
        X: Completed,
        Zi: Inverted,
        GX: np.ndarray,
        GZ: np.ndarray,
        FXd: np.ndarray,
        FZd: np.ndarray,
        squares: bool,
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """M of the products in blocks (a, b, entries), a <= b indices into `_all`; squares of the tip come last.

        Without `squares`, their block among themselves is left out.
        """
        for a, (_, left, right) in enumerate(self._runs):
            Xl, Xr, Zl, Zr = GX[left], GX[right], GZ[left], GZ[right]
            for b, (_, f, g) in enumerate(self._runs[a:], a):
                Xlg, Zlg = Xl[:, g], Zl[:, g]
                Xrf, Zrf = (Xlg.T, Zlg.T) if a == b else (Xr[:, f], Zr[:, f])
                block = Xr[:, g] * Zl[:, f] + Xl[:, f] * Zr[:, g]
                block = block + Xrf * Zlg + Xlg * Zrf
                block *= 0.25
                yield a, b, block
        n, last = len(self._tips), len(self._runs)
        if not n:
            return
        tips = self._tips if n != self.data.n or (self._tips != np.arange(n)).any() else slice(None)
        K, B, FXt, FZt = X.K[:, tips], Zi.B[:, tips], FXd[:, tips], FZd[:, tips]
        for a, (_, left, right) in enumerate(self._runs):
            block = FXt[right] * FZt[left] + FXt[left] * FZt[right]
            block *= 0.5
            yield a, last, block
        if not squares:
            return
        block, other = K.T @ K, B.T @ B
        block[np.diag_indices(n)] = X.dd[tips]
        other[np.diag_indices(n)] = Zi.arrow.dd[tips]
        block *= other
        yield last, last, block


def _scatter(target: np.ndarray, block: np.ndarray, rows: list, columns: list, same: bool) -> None:
    """Add W_a block W_b' and its transpose (once if a and b are the `same`) to the upper triangle of `target`."""
    for i, inside, w in rows:
        scaled = block[inside] if w is None else block[inside] * w[:, None]
        for j, where, v in columns:
            part = scaled[:, where] if v is None else scaled[:, where] * v
            if i.start < j.stop:
                target[i, j] += part
            if not same and j.start < i.stop:
                target[j, i] += part.T


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct rows (r, n) up to their sign, which of them each one is, and its sign: 1, -1, or 0 for 0."""
    filled = np.flatnonzero(rows.any(axis=1))
    sign = np.zeros(len(rows))
    if len(filled):
        sign[filled] = np.sign(rows[filled, (rows[filled] != 0).argmax(axis=1)])
    found: dict[bytes, int] = {}
    row = np.array(
        [found.setdefault((s * r + 0.0).tobytes(), len(found)) if s else 0 for r, s in zip(rows, sign, strict=True)],
        int,
    )
    once = np.zeros((max(1, len(found)), rows.shape[1]))
    once[row[filled]] = sign[filled, None] * rows[filled]
    return once, row, sign


class _Run(NamedTuple):
    """Products `where`, and their forms: slices (of length 1 if all products have the same one) or indices."""

    where: slice
    left: slice | np.ndarray
    right: slice | np.ndarray


def _runs(left: np.ndarray, right: np.ndarray) -> list[_Run]:
    """Split products (c,) into runs of forms that stay or advance by one together; ragged ones become one block."""
    steps = np.stack([np.diff(left), np.diff(right)])
    kind = np.where(((steps == 0) | (steps == 1)).all(0), 2 * steps[0] + steps[1], -1)
    pieces, start = list[tuple[int, int, bool]](), 0
    while start < len(left):
        stop = start + 1
        while stop < len(left) and kind[stop - 1] == kind[start] >= 0 and stop - start < LONGEST:
            stop += 1
        ragged = stop - start < SHORTEST
        if ragged and pieces and pieces[-1][2]:
            pieces[-1] = (pieces[-1][0], stop, True)
        else:
            pieces.append((start, stop, ragged))
        start = stop
    return [_Run(slice(a, b), _span(left[a:b]), _span(right[a:b])) for a, b, _ in pieces]


def _span(index: np.ndarray) -> slice | np.ndarray:
    """Indices as a slice where they are all the same (length 1) or consecutive."""
    first = int(index[0])
    if (index == first).all():
        return slice(first, first + 1)
    return slice(first, first + len(index)) if (np.diff(index) == 1).all() else index


def _pieces(W: sp.csr_array, runs: list[slice]) -> list[list[tuple[slice, slice, np.ndarray | None]]] | None:
    """Return for each run of products the diagonal blocks of W on it: constraints, products of the run, weights.

    None in place of weights that are all one; None for a W that would take too many blocks.
    """
    entries = W.tocoo()
    starts = np.array([run.start for run in runs])
    owner = np.searchsorted(starts, entries.col, side="right") - 1
    order = np.lexsort((entries.row, entries.col - entries.row, owner))
    i, j, value, owner = entries.row[order], entries.col[order], entries.data[order], owner[order]
    cuts = np.flatnonzero((np.diff(i) != 1) | (np.diff(j) != 1) | (np.diff(owner) != 0)) + 1
    dear = len(cuts) * PRODUCTS_PER_DIAGONAL > W.shape[1]
    if len(cuts) >= DIAGONALS or dear or not len(i):
        return None
    found: list[list] = [[] for _ in runs]
    for a, b in zip([0, *cuts.tolist()], [*cuts.tolist(), len(i)], strict=True):
        first, inside = int(i[a]), int(j[a] - starts[owner[a]])
        weights = None if (value[a:b] == 1).all() else value[a:b]
        found[owner[a]].append((slice(first, first + b - a), slice(inside, inside + b - a), weights))
    return found
