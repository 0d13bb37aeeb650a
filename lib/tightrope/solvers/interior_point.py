"""A primal-dual interior-point method for Shor programs, built on their products of affine forms.

The pair, with C the objective and A_0 = E_00, b = (1, 0, ..., 0):

    max <C, X>   : <A_k, X> - w_k = b_k,  X >= 0,  w_k >= 0 (w_k = 0 for equalities)
    min y_0      : Z = y_0 E_00 - C - sum_k y_k A_k >= 0,  y_k >= 0 for inequalities.

The method is Mehrotra's predictor-corrector with the HKM direction, and three structural savings, all exact:

1. The Schur complement M_kl = <A_k, X A_l Z^-1> of products A = sym(f g') needs only Gram matrices of the forms:
   4 M_kl = (g_k'X f_l)(g_l'Z^-1 f_k) + (g_k'X g_l)(f_l'Z^-1 f_k) + (f_k'X f_l)(g_l'Z^-1 g_k) + (f_k'X g_l)(f_l'Z^-1 g_k).
2. Z is an arrow (solvers.arrow): its factorisation and inverse cost O(n q^2).
3. Only the arrow entries of X matter. X is taken to be their maximum-determinant completion (Fukuda, Kojima, Murota
   and Nakata 2001), the unique completion whose inverse is again an arrow; on the central path X = mu Z^-1 is one. With
   cc = Y, cd = R, dd = diag(R' Y^-1 R) + D this is X = [Y, R; R', R' Y^-1 R + diag(D)], so a step never forms an N x N
   matrix and never factors one. What remains is the Cholesky factorisation of M.

Notation in the code: q and n are the sizes of core and tip; `Zi` is Z^-1.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack

import tightrope
from tightrope.solvers.arrow import Arrow, ArrowData
from tightrope.solvers.report import SolveReport, Status
from tightrope.solvers.threads import single_thread

STEP = 0.97  # fraction of the way to the boundary


@dataclass(frozen=True, eq=False)
class Iterate:
    """A strictly interior point for the objective C: X and Z positive definite, y_ineq > 0, w > 0; a warm start."""

    C: Arrow
    X: Arrow
    Z: Arrow
    y0: float
    y: np.ndarray
    w: np.ndarray


class _Completed:
    """X > 0 given by its arrow entries Y, R, dd: with Y = L L' and K = L^-1 R, X = [Y, R; R', K' K + diag(D)].

    D = dd - diag(K' K) > 0. K' K is R' Y^-1 R without the inverse, so the completed block is symmetric to the last bit.
    """

    def __init__(self, X: Arrow):
        self.Y, self.R, self.dd = X
        L, info = lapack.dpotrf(self.Y, lower=1, clean=1)
        if info:
            raise np.linalg.LinAlgError("X is not positive definite")
        self.K = lapack.dtrtrs(L, self.R, lower=1)[0] if self.R.size else self.R
        self.D = self.dd - np.einsum("ij,ij->j", self.K, self.K)
        if not (self.D > 0).all():
            raise np.linalg.LinAlgError("X is not positive definite")

    def times(self, core: np.ndarray, tip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """X [core; tip] for blocks (q, j) and (n, j)."""
        return self.Y @ core + self.R @ tip, self.R.T @ core + self.K.T @ (self.K @ tip) + self.D[:, None] * tip


class _Inverted:
    """Z^-1 of an arrow Z > 0: with H = cd / dd and S = cc - H cd', it is G S^-1 G' + diag(0, 1/dd), G = [I; -H']."""

    def __init__(self, Z: Arrow):
        self.dd = Z.dd
        self.H = Z.cd / Z.dd
        self.Si = _inverse(_symmetrised(Z.cc - self.H @ Z.cd.T))
        self.SiH = self.Si @ self.H
        self.arrow = Arrow(self.Si, -self.SiH, 1 / Z.dd + np.einsum("ij,ij->j", self.H, self.SiH))


class InteriorPoint:
    """The solver for one set of constraints; every objective (target label) reuses what is prepared here.

    Parameters
    ----------
    data
        The constraints on their arrow pattern.
    """

    name = "interior-point"

    def __init__(self, data: ArrowData):
        self._prepare_products(data)

    def _prepare_products(self, data: ArrowData) -> None:
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

    def schur(self, X: _Completed, Zi: _Inverted) -> tuple[np.ndarray, np.ndarray, float]:
        """M_kl = <A_k, X A_l Z^-1> (k, k); its column for A_0 = E_00, and its corner."""
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
        c, n = len(left), len(self._tips)
        M = np.empty((c + n, c + n))
        cc, cd, dd = M[:c, :c], M[:c, c:], M[c:, c:]
        np.multiply(Xgg, Zff, out=cc)
        cc += Xff * Zgg
        cc += Xfg.T * Zfg
        cc += Xfg * Zfg.T
        cc *= 0.25
        if n:
            tips = self._tips if n != self.data.n or (self._tips != np.arange(n)).any() else slice(None)
            R, K, H, SiH = X.R[:, tips], X.K[:, tips], Zi.H[:, tips], Zi.SiH[:, tips]
            FXt, FZt = FXd[:, tips], FZd[:, tips]
            np.multiply(FXt[right], FZt[left], out=cd)
            cd += FXt[left] * FZt[right]
            cd *= 0.5
            M[c:, :c] = cd.T
            np.matmul(K.T, K, out=dd)
            dd[np.diag_indices(n)] = X.dd[tips]
            ZiDD = H.T @ SiH
            ZiDD[np.diag_indices(n)] = Zi.arrow.dd[tips]
            dd *= ZiDD
        # A_0 = e_0 e_0' is the product of the form 1 with itself.
        zero = np.empty(c + n)
        zero[:c] = 0.5 * (FXc[left, 0] * FZc[right, 0] + FXc[right, 0] * FZc[left, 0])
        if n:
            zero[c:] = R[0] * Zi.arrow.cd[0][tips]
        if self._scale is None:
            M, zero = self._W @ (self._W @ M).T, self._W @ zero
        elif (self._scale != 1).any():
            M *= self._scale
            M *= self._scale[:, None]
            zero *= self._scale
        return M, zero, float(X.Y[0, 0] * Zi.Si[0, 0])

    def start(self, C: Arrow) -> Iterate:
        """A centred, infeasible start: X ~ moments of points around the problem's centre, Z = mu X^-1.

        Any strictly positive start is valid; against X = I this one halves the iterations.
        """
        data, iq = self.data, self.inequality
        q = data.q
        v, s = data.constraints.center[data.order], data.constraints.spread[data.order]
        X = Arrow(np.outer(v[:q], v[:q]) + np.diag(s[:q]), np.zeros((q, data.n)), v[q:] ** 2 + s[q:])
        slack = (data.forward(X) - self.b)[iq]
        w = np.maximum(slack, 0.1 * np.abs(slack).mean() if len(slack) else 0)
        CX = C.cc @ X.cc
        mu = 0.05 * (abs(C.inner(X)) + np.sqrt(np.vdot(CX, CX.T)) + 1e-3)
        Z = Arrow(mu * _inverse(X.cc), np.zeros((q, data.n)), mu / X.dd)
        y = np.zeros(len(iq))
        y[iq] = mu / w
        return Iterate(C, X, Z, 0.0, y, w)

    def shift(self, point: Iterate, C: Arrow) -> Iterate:
        """A warm start for the objective C from an iterate of another one that differs in row 0 of the core only.

        X stays feasible. Z must absorb a = -(C - C_old) in row 0: y_0 is raised so that the Schur complement of Z_00 in
        Z, 1 / (Z^-1)_00, keeps its value.
        """
        q = self.data.q
        change = point.C.plus(C, -1.0)
        if np.abs(change.cc[1:, 1:]).max(initial=0) > 0 or np.abs(change.cd).max(initial=0) > 0 or change.dd.any():
            raise ValueError("C: differs from the warm start's objective outside row 0 of the core.")
        Zi = _Inverted(point.Z)
        Z = point.Z.plus(change)
        # S = cc - H cd' is the core's Schur complement; row 0 against the rest of it.
        S = _symmetrised(Z.cc - Zi.H @ Z.cd.T)
        rest = S[1:, 1:]
        need = S[0, 1:] @ np.linalg.solve(rest, S[0, 1:]) if q > 1 else 0.0
        raised = 1 / Zi.Si[0, 0] + need - S[0, 0]
        Z.cc[0, 0] += raised
        return Iterate(C, point.X, Z, point.y0 + raised, point.y, point.w)

    def solve(
        self,
        objective: sp.csr_array,
        *,
        tolerance: float = 1e-5,
        max_iterations: int = 80,
        time_limit: float | None = None,
        sign_only: bool = False,
        start: Iterate | None = None,
        log: Callable[[str], None] | None = None,
    ) -> tuple[SolveReport, Iterate]:
        """Solve for one objective (N, N).

        Parameters
        ----------
        tolerance
            Relative gap and residuals to reach.
        sign_only
            Stop as soon as a dual-feasible y_0 < 0 is known, or when the primal value is clearly positive.
        start
            An iterate of another objective of the same constraints: a warm start.
        log
            Receives one line per iteration.

        Returns
        -------
        report, warm
            `warm` is the iterate two steps before the last: still central enough to start another objective from.
        """
        with single_thread():
            return self._solve(objective, tolerance, max_iterations, time_limit, sign_only, start, log)

    def _solve(self, objective, tolerance, max_iterations, time_limit, sign_only, start, log):
        began = time.perf_counter()
        data, iq = self.data, self.inequality
        C = data.arrow(objective)
        point = self.shift(start, C) if start is not None else self.start(C)
        X, Z, y0, y, w = point.X, point.Z, point.y0, point.y.copy(), point.w.copy()
        rank = data.q + data.n + len(w)
        c_norm = 1 + C.norm()
        trail = [point]
        best: tuple[float, np.ndarray] | None = None
        status = Status.ITERATION_LIMIT
        primal = dual = gap = primal_residual = dual_residual = np.inf
        iteration = 0
        for iteration in range(max_iterations + 1):  # noqa: B007
            try:
                XX, Zi = _Completed(X), _Inverted(Z)
            except np.linalg.LinAlgError:
                status = Status.NUMERICAL
                break
            Rd = self._dual_residual(C, Z, y0, y)
            dual_residual = Rd.norm() / c_norm
            AX = data.forward(X)
            r0, r = 1 - X.cc[0, 0], self.b - AX
            r[iq] += w
            primal_residual = float(np.sqrt(r0**2 + np.sum((r / data.norms) ** 2))) / 2
            mu = (X.inner(Z) + w @ y[iq]) / rank
            primal, dual = C.inner(X), y0 - self.b @ y
            gap = abs(primal - dual) / (1 + abs(primal) + abs(dual))
            # Any y proves the y_0 that makes its Z semidefinite, feasible iterate or not.
            proven = self._corner(C, y)
            if proven is not None and (best is None or proven - self.b @ y < best[0]):
                best = (proven - self.b @ y, y.copy())
            if log:
                log(f"{iteration:3d} dual {dual:.6f} primal {primal:.6f} rp {primal_residual:.1e} "
                    f"rd {dual_residual:.1e} mu {mu:.1e}")  # fmt: skip
            if sign_only and best is not None and best[0] < 0:
                status = Status.SIGN_KNOWN
                break
            if sign_only and primal_residual < 1e-4 and primal > 0 and dual > 0 and gap < 0.5:
                status = Status.SIGN_KNOWN
                break
            if max(dual_residual, gap) < tolerance and primal_residual < max(1e-4, 10 * tolerance):
                status = Status.SOLVED
                break
            if time_limit is not None and time.perf_counter() - began > time_limit:
                status = Status.TIME_LIMIT
                break
            M, zero, corner = self.schur(XX, Zi)
            solve = _factor(M, zero, corner, iq, w / y[iq])
            if solve is None:
                status = Status.NUMERICAL
                break
            AZi = data.forward(Zi.arrow)
            infeasible = dual_residual > 1e-12
            ARd0, ARd = 0.0, 0.0
            if infeasible:
                T = _sandwich(XX, Zi, Rd)[0]
                ARd0, ARd = T.cc[0, 0], data.forward(T)

            def direction(target, second=None, second_w=0.0):
                """HKM direction towards X Z = target * I; `second` is sym(dX dZ Z^-1) of the predictor."""
                # dX = -X + target Z^-1 - sym(X dZ Z^-1) - second,  dZ = dy_0 E_00 - sum dy_k A_k - Rd.
                rhs0 = -(1 - target * Zi.Si[0, 0] - ARd0)
                rhs = target * AZi + ARd - self.b
                if second is not None:
                    rhs0 -= second.cc[0, 0]
                    rhs = rhs - data.forward(second)
                e = (target - second_w) / y[iq]
                # inequality rows: w + dw = e - (w / y) dy
                rhs = -rhs
                rhs[iq] += e
                dy0, dy = solve(rhs0, rhs)
                dZ = data.adjoint(-dy).plus(Rd, -1.0)
                dZ.cc[0, 0] += dy0
                S, pieces = _sandwich(XX, Zi, dZ)
                dX = Arrow(
                    target * Zi.arrow.cc - X.cc - S.cc,
                    target * Zi.arrow.cd - X.cd - S.cd,
                    target * Zi.arrow.dd - X.dd - S.dd,
                )
                if second is not None:
                    dX = dX.plus(second, -1.0)
                dw = -w + e - (w / y[iq]) * dy[iq]
                return dX, dZ, dy0, dy, dw, pieces

            dX, dZ, dy0, dy, dw, pieces = direction(0.0)
            ap = _step(_primal_inside, X, dX, w, dw)
            ad = _step(_dual_inside, Z, dZ, y[iq], dy[iq])
            mu_affine = (X.plus(dX, ap).inner(Z.plus(dZ, ad)) + (w + ap * dw) @ (y[iq] + ad * dy[iq])) / rank
            sigma = min(1.0, max(1e-4, (mu_affine / mu) ** (3 if min(ap, ad) > 0.3 else 1.5)))
            second = _second_order(XX, Zi, dZ, pieces)
            dX, dZ, dy0, dy, dw, _ = direction(sigma * mu, second, dw * dy[iq])
            ap = _step(_primal_inside, X, dX, w, dw)
            ad = _step(_dual_inside, Z, dZ, y[iq], dy[iq])
            if max(ap, ad) < 1e-6:
                status = Status.NUMERICAL
                break
            X, w = X.plus(dX, ap), w + ap * dw
            Z, y0, y = Z.plus(dZ, ad), y0 + ad * dy0, y + ad * dy
            trail = [*trail[-2:], Iterate(C, X, Z, y0, y, w)]
        multipliers = None
        if best is not None:
            dual, ordered = best
            gap = abs(primal - dual) / (1 + abs(primal) + abs(dual))
            multipliers = np.empty_like(ordered)
            multipliers[self.order] = ordered
        else:
            status, dual, gap = Status.FAILED, np.nan, np.nan
        report = SolveReport(
            status=status,
            primal_value=float(primal),
            dual_value=float(dual),
            multipliers=multipliers,
            primal_residual=float(primal_residual),
            dual_residual=float(dual_residual),
            gap=float(gap),
            iterations=iteration,
            seconds=time.perf_counter() - began,
            solver=self.name,
            version=tightrope.__version__,
        )
        return report, trail[0]

    def _corner(self, C: Arrow, y: np.ndarray) -> float | None:
        """The smallest y_0 with y_0 E_00 - C - sum y_k A_k >= 0 (its Schur complement in row 0), or None."""
        slack = self.data.adjoint(y).plus(C)
        if not (slack.dd < 0).all():
            return None
        S = -slack.cc + (slack.cd / slack.dd) @ slack.cd.T
        factor, info = lapack.dpotrf(S[1:, 1:], lower=1, clean=1)
        if info:
            return None
        half = lapack.dtrtrs(factor, S[1:, :1], lower=1)[0] if len(S) > 1 else np.zeros(1)
        return float(np.vdot(half, half) - S[0, 0])

    def _dual_residual(self, C: Arrow, Z: Arrow, y0: float, y: np.ndarray) -> Arrow:
        """Rd = Z - (y_0 E_00 - C - sum y_k A_k), so that Z - Rd is dual feasible."""
        slack = self.data.adjoint(y).plus(C).plus(Z)
        slack.cc[0, 0] -= y0
        return slack


def _factor(M, zero, corner, inequality, ratio):
    """A solver of the bordered system [[corner, -zero'], [-zero, M + diag(w / y)]].

    The sign of the border comes from dZ = dy_0 E_00 - sum dy_k A_k. The Cholesky factor of the equilibrated, slightly
    regularised matrix preconditions conjugate gradients on the matrix itself: near the optimum M is close to singular,
    and the directions' accuracy decides how far the primal residual falls.
    """
    k = len(M)
    full = np.empty((k + 1, k + 1), order="F")
    full[0, 0] = corner
    full[1:, 0] = full[0, 1:] = -zero
    full[1:, 1:] = M
    inner = np.flatnonzero(inequality) + 1
    full[inner, inner] += ratio
    scale = 1 / np.sqrt(np.diag(full))
    full *= scale[:, None]
    full *= scale
    for shift in (1e-14, 1e-12, 1e-10):
        regular = full.copy(order="F")
        regular[np.diag_indices(k + 1)] += shift
        factor, info = lapack.dpotrf(regular, lower=1, clean=0, overwrite_a=1)
        if info == 0:
            break
    else:
        return None

    def precondition(r):
        return lapack.dpotrs(factor, r, lower=1)[0]

    def solve(rhs0, rhs):
        b = scale * np.concatenate([[rhs0], rhs])
        x = precondition(b)
        r = b - full @ x
        goal = 1e-13 * np.linalg.norm(b)
        p, rho = None, 0.0
        best, best_norm = x, np.linalg.norm(r)
        for _ in range(12):
            if best_norm <= goal:
                break
            s = precondition(r)
            rho, old = r @ s, rho
            p = s if p is None else s + (rho / old) * p
            Ap = full @ p
            step = rho / (p @ Ap)
            x = x + step * p
            r = r - step * Ap
            norm = np.linalg.norm(r)
            if not norm < best_norm:
                break
            best, best_norm = x, norm
        x = scale * best
        return x[0], x[1:]

    return solve


def _sandwich(X: _Completed, Zi: _Inverted, dZ: Arrow):
    """The arrow entries of sym(X dZ Z^-1), and the factors that :func:`_second_order` uses again.

    E = dZ Z^-1 = Q S^-1 G' + E_c J' + diag(0, e) with Q = dZ G, J = [0; (dcd / dd)'], e = ddd / dd.
    """
    H, Si = Zi.H, Zi.Si
    Qc = dZ.cc - dZ.cd @ H.T
    Qd = dZ.cd.T - (H * dZ.dd).T
    QSc, QSd = Qc @ Si, Qd @ Si
    e, Jd = dZ.dd / Zi.dd, dZ.cd / Zi.dd  # Jd is J' on the tip, (q, n)
    XQc, XQd = X.times(QSc, QSd)
    # T1 = X E, by blocks
    T1cd = -XQc @ H + X.Y @ Jd + X.R * e
    T1dd = -np.einsum("ji,ij->j", XQd, H) + np.einsum("ij,ij->j", X.R, Jd) + X.dd * e
    arrow = Arrow((XQc + XQc.T) / 2, (T1cd + XQd.T) / 2, T1dd)
    return arrow, (QSc, QSd, e, Jd, XQc, XQd, T1cd, T1dd)


def _second_order(X: _Completed, Zi: _Inverted, dZ: Arrow, pieces) -> Arrow:
    """The arrow entries of sym(dX dZ Z^-1) for the predictor dX = -X - sym(X dZ Z^-1).

    With E = dZ Z^-1 and T1 = X E: dX E = -T1 - (T1 E + T1' E) / 2, and T1' E = E' X E is symmetric.
    """
    QSc, QSd, e, Jd, XQc, XQd, T1cd, T1dd = pieces
    H = Zi.H
    # T2 = T1 E; its core columns are X E (Q S^-1).
    inner = QSc - H @ QSd
    V2c, V2d = X.times(QSc @ inner + Jd @ QSd, QSd @ inner + e[:, None] * QSd)
    T2cd = -V2c @ H + XQc @ Jd + T1cd * e
    T2dd = -np.einsum("ji,ij->j", V2d, H) + np.einsum("ji,ij->j", XQd, Jd) + T1dd * e
    # T3 = E' T1
    T3cc = QSc.T @ XQc + QSd.T @ XQd
    T3cd = -T3cc @ H + XQc.T @ Jd + XQd.T * e
    T3dd = -np.einsum("ij,ij->j", H, T3cd) + np.einsum("ij,ij->j", Jd, T1cd) + e * T1dd
    return Arrow(
        -_symmetrised(XQc + (V2c + T3cc) / 2),
        -((T1cd + XQd.T) / 2 + ((T2cd + V2d.T) / 2 + T3cd) / 2),
        -(T1dd + (T2dd + T3dd) / 2),
    )


def _step(inside, V: Arrow, dV: Arrow, v: np.ndarray, dv: np.ndarray) -> float:
    """The largest tried step in (0, 1] that keeps V + step dV > 0 and v + step dv > 0, with a margin."""
    alpha = 1.0
    falling = dv < 0
    if falling.any():
        alpha = min(alpha, STEP * float(np.min(-v[falling] / dv[falling])))
    while alpha > 1e-8 and not inside(V.plus(dV, alpha / STEP)):
        alpha *= 0.8
    return alpha


def _dual_inside(Z: Arrow) -> bool:
    if not (Z.dd > 0).all():
        return False
    return lapack.dpotrf(Z.cc - (Z.cd / Z.dd) @ Z.cd.T, lower=1, clean=0)[1] == 0


def _primal_inside(X: Arrow) -> bool:
    factor, info = lapack.dpotrf(X.cc, lower=1, clean=1)
    if info:
        return False
    if not X.cd.size:
        return True
    half = lapack.dtrtrs(factor, X.cd, lower=1)[0]
    return bool((X.dd > np.einsum("ij,ij->j", half, half)).all())


def _symmetrised(T: np.ndarray) -> np.ndarray:
    return (T + T.T) / 2


def _inverse(A: np.ndarray) -> np.ndarray:
    """The inverse of a symmetric positive definite matrix; LinAlgError otherwise."""
    factor, info = lapack.dpotrf(A, lower=1, clean=0)
    if info:
        raise np.linalg.LinAlgError("matrix is not positive definite")
    lower = np.tril(lapack.dpotri(factor, lower=1)[0])
    return lower + np.tril(lower, -1).T
