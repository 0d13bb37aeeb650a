"""The Schur complement of an interior-point step, M_kl = <A_k, X A_l Z^-1>, from Gram matrices of the affine forms.

For products A = sym(f g'):

    4 M_kl = (g_k'X f_l)(g_l'Z^-1 f_k) + (g_k'X g_l)(f_l'Z^-1 f_k)
           + (f_k'X f_l)(g_l'Z^-1 g_k) + (f_k'X g_l)(f_l'Z^-1 g_k),

so M is a sum of Hadamard products; sums of products take W M W' with their weights in W.
"""

import numpy as np
import scipy.sparse as sp

from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.hkm import Completed, Inverted


class SchurComplement:
    """M for one set of constraints; holds their products split by kind.

    Parameters
    ----------
    data
        The constraints on their arrow pattern.
    fold_constants
        Whether X_00 = 1 holds, so that constants can move to the right-hand side.

    Attributes
    ----------
    data
        The constraints in the order used inside, constants folded.
    order
        Position k inside holds the program's constraint order[k].
    b
        (k,) right-hand sides: <A_k, X> {= or >=} b_k.
    inequality
        (k,) bool.
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
        self._tips = tip[c.left[square]]
        # Constraints in the order of their products, so that in the common case (one product each, used once) M is the
        # matrix of the products, entry for entry; otherwise M = W M_products W'.
        self._W = sp.csr_array(sp.hstack([c.weights[:, core], c.weights[:, square]]))
        simple = (np.diff(self._W.indptr) == 1).all() and len(np.unique(self._W.indices)) == self._W.shape[0]
        self._scale = None
        if simple and self._W.shape[0] == self._W.shape[1]:
            self.order = np.argsort(self._W.indices)
            self._scale = self._W.data[self.order]
        else:
            self.order = np.arange(self._W.shape[0])
        self.b = self.b[self.order]
        self.inequality = ~c.equality[self.order]
        self.data = data.reordered(self.order, self.b)

    def matrix(self, X: Completed, Zi: Inverted) -> np.ndarray:
        """M_kl = <A_k, X A_l Z^-1>, bordered by A_0 = -E_00: (1 + k, 1 + k), upper triangle."""
        Fc, Fd, left, right = self._Fc, self._Fd, self._left, self._right
        FXc = Fc @ X.Y + Fd @ X.R.T
        FXd = Fc @ X.R + (Fd @ X.K.T) @ X.K + Fd * X.D
        FZc = (Fc - Fd @ Zi.H.T) @ Zi.Si
        FZd = Fd / Zi.dd - FZc @ Zi.H
        GX = FXc @ Fc.T + FXd @ Fd.T
        GZ = FZc @ Fc.T + FZd @ Fd.T

        def grams(G):
            rows_left, rows_right = G[left], G[right]
            return rows_left[:, left], rows_left[:, right], rows_right[:, right]

        Xff, Xfg, Xgg = grams(GX)
        Zff, Zfg, Zgg = grams(GZ)
        # The bordered matrix [[corner, -zero'], [-zero, M]]: row 0 belongs to A_0 = e_0 e_0', the product of the form 1
        # with itself; its sign comes from dZ = dy_0 E_00 - sum dy_k A_k. Only the upper triangle is filled.
        c, n = len(left), len(self._tips)
        bordered = np.empty((1 + c + n, 1 + c + n))
        bordered[0, 0] = X.Y[0, 0] * Zi.Si[0, 0]
        bordered[0, 1 : 1 + c] = -0.5 * (FXc[left, 0] * FZc[right, 0] + FXc[right, 0] * FZc[left, 0])
        cc, cd, dd = bordered[1 : 1 + c, 1 : 1 + c], bordered[1 : 1 + c, 1 + c :], bordered[1 + c :, 1 + c :]
        np.multiply(Xgg, Zff, out=cc)
        cc += Xff * Zgg
        cc += Xfg.T * Zfg
        cc += Xfg * Zfg.T
        cc *= 0.25
        if n:
            tips = self._tips if n != self.data.n or (self._tips != np.arange(n)).any() else slice(None)
            K, B, FXt, FZt = X.K[:, tips], Zi.B[:, tips], FXd[:, tips], FZd[:, tips]
            bordered[0, 1 + c :] = -X.R[0, tips] * Zi.arrow.cd[0, tips]
            np.multiply(FXt[right], FZt[left], out=cd)
            cd += FXt[left] * FZt[right]
            cd *= 0.5
            np.matmul(K.T, K, out=dd)
            dd[np.diag_indices(n)] = X.dd[tips]
            ZiDD = B.T @ B
            ZiDD[np.diag_indices(n)] = Zi.arrow.dd[tips]
            dd *= ZiDD
        if self._scale is not None:
            head, tail = self._scale[:c], self._scale[c:]
            bordered[0, 1:] *= self._scale
            _rescale(cc, head, head)
            _rescale(cd, head, tail)
            _rescale(dd, tail, tail)
            return bordered
        W = sp.block_array([[sp.csr_array([[1.0]]), None], [None, self._W]], format="csr")
        whole = np.triu(bordered) + np.triu(bordered, 1).T
        return W @ (W @ whole).T


def _rescale(block: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    """diag(rows) block diag(columns) in place, without a pass where that is the identity."""
    if block.size and (rows == rows[0]).all() and (columns == columns[0]).all():
        if rows[0] * columns[0] != 1:
            block *= rows[0] * columns[0]
    else:
        block *= rows[:, None]
        block *= columns
