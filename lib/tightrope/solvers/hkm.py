"""The linear algebra of one interior-point step on arrow matrices: what the HKM direction needs, and nothing N x N.

The direction towards X Z = target I is dX = -X + target Z^-1 - sym(X dZ Z^-1), here evaluated on the arrow pattern only
(solvers.interior_point says why that suffices). q and n are the sizes of core and tip.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from scipy.linalg import blas, lapack

from tightrope.solvers.arrow import Arrow, ArrowData
from tightrope.threads import lapack_threads

STEP = 0.97  # fraction of the way to the boundary
REST = 0.03  # square of a row of F beside the diagonal, below which a preconditioner leaves it out
SHIFTS = (1e-14, 1e-12, 1e-10)  # of a diagonal, relative to itself, until a Cholesky factorisation succeeds
LARGER_SHIFTS = (1e-9, 1e-8, 1e-7)  # where the preconditioner is not the matrix itself anyway

Solver: TypeAlias = Callable[[float, np.ndarray], tuple[float, np.ndarray]]  # (rhs_0, rhs) -> (dy_0, dy)
Factors: TypeAlias = tuple[np.ndarray, ...]  # what :func:`sandwich` keeps for :func:`second_order`
Direction: TypeAlias = tuple[Arrow, Arrow, float, np.ndarray, np.ndarray, Factors]  # dX, dZ, dy_0, dy, dw


class Completed:
    """X > 0 given by its arrow entries Y, R, dd: with Y = L L' and K = L^-1 R, X = [Y, R; R', K' K + diag(D)].

    D = dd - diag(K' K) > 0. K' K is R' Y^-1 R without the inverse, so the completed block is symmetric to the last bit.
    """

    def __init__(self, X: Arrow):
        self.Y, self.R, self.dd = X
        self.L, info = lapack.dpotrf(self.Y, lower=1, clean=1)
        if info:
            raise np.linalg.LinAlgError("X is not positive definite")
        self.K = lapack.dtrtrs(self.L, self.R, lower=1)[0] if self.R.size else self.R
        self.D = self.dd - np.einsum("ij,ij->j", self.K, self.K)
        if not (self.D > 0).all():
            raise np.linalg.LinAlgError("X is not positive definite")

    def times(self, core: np.ndarray, tip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return X [core; tip] for blocks (q, j) and (n, j)."""
        return self.Y @ core + self.R @ tip, self.R.T @ core + self.K.T @ (self.K @ tip) + self.D[:, None] * tip


class Inverted:
    """Z^-1 of an arrow Z > 0: with H = cd / dd and S = cc - H cd', it is G S^-1 G' + diag(0, 1/dd), G = [I; -H'].

    S = L L' and B = L^-1 H, so that H' S^-1 H = B' B.
    """

    def __init__(self, Z: Arrow):
        self.dd = Z.dd
        self.H = Z.cd / Z.dd
        self.L, info = lapack.dpotrf(symmetrised(Z.cc - self.H @ Z.cd.T), lower=1, clean=1)
        if info:
            raise np.linalg.LinAlgError("Z is not positive definite")
        lower = np.tril(lapack.dpotri(self.L, lower=1)[0])
        self.Si = lower + np.tril(lower, -1).T
        self.B = lapack.dtrtrs(self.L, self.H, lower=1)[0] if self.H.size else self.H
        self.arrow = Arrow(self.Si, -self.Si @ self.H, 1 / Z.dd + np.einsum("ij,ij->j", self.B, self.B))


@dataclass(frozen=True, eq=False)
class Squares:
    """The block diag(diagonal) + (K'K) o (B'B) of a Schur complement, for n squares; K and B are (q, n).

    As the Hadamard product of two Gram matrices it is F'F with rows F_ab = k_a o b_b for pairs of rows of K and of B,
    each rotated first. Few of the q^2 are not small beside the diagonal (about 100 of 7744 where the bound is tight).
    P is the block without the others but for their diagonal; with `root` the root of its diagonal part and F the kept
    rows over `root`,

        P = diag(root) (I + F'F) diag(root),    P^-1 = diag(1/root) (I - F'(I + FF')^-1 F) diag(1/root).
    """

    K: np.ndarray
    B: np.ndarray
    diagonal: np.ndarray

    def times(self, x: np.ndarray) -> np.ndarray:
        """Return the block times x (n,): entry j of the product is k_j' (K diag(x) B') b_j."""
        return self.diagonal * x + np.einsum("ij,ij->j", self.K, ((self.K * x) @ self.B.T) @ self.B)

    def low_rank(self) -> tuple[np.ndarray, np.ndarray]:
        """Return `root` (n,) and F (r, n)."""
        root = np.sqrt(self.diagonal)
        K, B = (np.linalg.eigh((V / root) @ V.T)[1].T @ V for V in (self.K, self.B))
        weight = ((K / root) ** 2 @ (B**2).T).ravel()
        kept = min(max(int((weight > REST).sum()), 1), len(root) // 2)
        order = np.argsort(-weight, kind="stable")[:kept]
        a, b = np.divmod(order, len(B))
        F = K[a] * B[b]
        rest = np.einsum("ij,ij->j", K, K) * np.einsum("ij,ij->j", B, B) - np.einsum("ij,ij->j", F, F)
        root = np.sqrt(self.diagonal + np.maximum(rest, 0))
        return root, F / root


def factorise(
    bordered: np.ndarray, inequality: np.ndarray, ratio: np.ndarray, squares: Squares | None = None
) -> Solver | None:
    """Return a solver of (bordered + diag(0, w / y on inequalities)) (dy_0, dy) = (rhs_0, rhs), or None.

    The Cholesky factor of the slightly regularised matrix preconditions conjugate gradients on the matrix itself: near
    the optimum it is close to singular, and the directions' accuracy decides how far the primal residual falls.

    With `squares` the rows of the last n constraints are missing in `bordered`, [M, E'] for the matrix [M, E'; E, S],
    S their block. The preconditioner then has the low-rank P of :class:`Squares` in the place of S, and eliminates it:
    M - E'P^-1 E is of the size of the other constraints.
    """
    m = len(bordered)
    full = bordered[:, :m].T  # Fortran order, lower triangle
    weights = np.zeros(bordered.shape[1])
    weights[np.flatnonzero(inequality) + 1] = ratio
    diagonal = np.diag_indices(m)
    full[diagonal] += weights[:m]
    if squares is None:
        factor = _cholesky(full, full[diagonal])
        if factor is None:
            return None
        return _refined(
            lambda x: blas.dsymv(1.0, full, x, lower=1), lambda r: lapack.dpotrs(factor, r, lower=1)[0], full[diagonal]
        )
    full, E = np.asfortranarray(full), bordered[:, m:]
    squares = replace(squares, diagonal=squares.diagonal + weights[m:])
    root, F = squares.low_rank()
    small = _cholesky(np.asfortranarray(np.eye(len(F)) + F @ F.T), np.zeros(len(F)))
    if small is None:
        return None
    scaled = E / root
    half = lapack.dtrtrs(small, F @ scaled.T, lower=1)[0]
    inner = np.asfortranarray(full - scaled @ scaled.T + half.T @ half)
    factor = _cholesky(inner, full[diagonal], SHIFTS + LARGER_SHIFTS)
    if factor is None:
        return None

    def times(x: np.ndarray) -> np.ndarray:
        first, last = x[:m], x[m:]
        return np.concatenate([blas.dsymv(1.0, full, first, lower=1) + E @ last, first @ E + squares.times(last)])

    def solved(r: np.ndarray) -> np.ndarray:
        """Return P^-1 r (n,)."""
        v = r / root
        return (v - lapack.dpotrs(small, F @ v, lower=1)[0] @ F) / root

    def inverse(r: np.ndarray) -> np.ndarray:
        first = lapack.dpotrs(factor, r[:m] - E @ solved(r[m:]), lower=1)[0]
        return np.concatenate([first, solved(r[m:] - first @ E)])

    block = squares.diagonal + np.einsum("ij,ij->j", squares.K, squares.K) * np.einsum("ij,ij->j", squares.B, squares.B)
    return _refined(times, inverse, np.concatenate([full[diagonal], block]), accuracy=1e-10, steps=60, patience=10)


def _cholesky(matrix: np.ndarray, scale: np.ndarray, shifts: tuple[float, ...] = SHIFTS) -> np.ndarray | None:
    """Return the lower factor of matrix + shift diag(scale) with the least shift that allows one; None without one."""
    diagonal = np.diag_indices(len(matrix))
    for shift in shifts:
        regular = matrix.copy(order="F")
        regular[diagonal] += shift * scale
        with lapack_threads(len(matrix)):
            factor, info = lapack.dpotrf(regular, lower=1, clean=0, overwrite_a=1)
        if info == 0:
            return factor
    return None


def _refined(
    times: Callable[[np.ndarray], np.ndarray],
    inverse: Callable[[np.ndarray], np.ndarray],
    diagonal: np.ndarray,
    accuracy: float = 1e-13,
    steps: int = 12,
    patience: int = 1,
) -> Solver:
    """Return a solver by conjugate gradients on `times`, preconditioned by `inverse`.

    Norms do not depend on the scale of the constraints: residuals are measured in the metric of the diagonal.
    """
    metric = 1 / diagonal

    def solve(rhs0: float, rhs: np.ndarray) -> tuple[float, np.ndarray]:
        b = np.concatenate([[rhs0], rhs])
        x = inverse(b)
        r = b - times(x)
        goal = accuracy**2 * (b @ (metric * b))
        best, best_norm = x, r @ (metric * r)
        p, rho, worse = None, 0.0, 0
        for _ in range(steps):
            if best_norm <= goal:
                break
            s = inverse(r)
            rho, old = r @ s, rho
            p = s if p is None else s + (rho / old) * p
            Ap = times(p)
            step = rho / (p @ Ap)
            x = x + step * p
            r = r - step * Ap
            norm = r @ (metric * r)
            worse += 1
            if norm < best_norm:
                best, best_norm, worse = x, norm, 0
            elif worse == patience:
                break
        return best[0], best[1:]

    return solve


def directions(
    data: ArrowData,
    iq: np.ndarray,
    b: np.ndarray,
    X: Completed,
    Zi: Inverted,
    Rd: Arrow | None,
    v: np.ndarray,
    w: np.ndarray,
    factor: Solver,
    corner: bool = True,
) -> Callable[..., Direction]:
    """Return the HKM direction at an iterate as a function of its target; v are the multipliers of the inequalities iq.

    Linearise A(X) - w = b, Z = y_0 E_00 - C - sum y_k A_k (up to the residual Rd) and the complementarity conditions:

        dX = -X + target Z^-1 - sym(X dZ Z^-1) - second,    dZ = dy_0 E_00 - sum dy_k A_k - Rd,
        dw = -w + e - (w / v) dv,                           e = (target - second_w) / v,

    where `second` = sym(dX dZ Z^-1) and `second_w` = dw dv of the predictor. Without `corner` there is no y_0 and
    X_00 is free; `factor` then has the unit matrix in its border.
    """
    AZi = data.forward(Zi.arrow)
    ARd0, ARd = 0.0, np.zeros(len(b))
    if Rd is not None:
        T = sandwich(X, Zi, Rd)[0]
        ARd0, ARd = T.cc[0, 0], data.forward(T)

    def direction(target: float, second: Arrow | None = None, second_w: np.ndarray | float = 0.0) -> Direction:
        rhs0 = -(1 - target * Zi.Si[0, 0] - ARd0)
        rhs = b - target * AZi - ARd
        if second is not None:
            rhs0 -= second.cc[0, 0]
            rhs += data.forward(second)
        e = (target - second_w) / v
        rhs[iq] += e
        dy0, dy = factor(rhs0 if corner else 0.0, rhs)
        dZ = data.adjoint(-dy)
        if Rd is not None:
            dZ = dZ.plus(Rd, -1.0)
        dZ.cc[0, 0] += dy0
        S, pieces = sandwich(X, Zi, dZ)
        dX = Arrow(*(target * part - old - step for part, old, step in zip(Zi.arrow, (X.Y, X.R, X.dd), S, strict=True)))
        if second is not None:
            dX = dX.plus(second, -1.0)
        return dX, dZ, dy0, dy, -w + e - (w / v) * dy[iq], pieces

    return direction


def sandwich(X: Completed, Zi: Inverted, dZ: Arrow) -> tuple[Arrow, Factors]:
    """Return the arrow entries of sym(X dZ Z^-1), and the factors that :func:`second_order` uses again.

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


def second_order(X: Completed, Zi: Inverted, dZ: Arrow, pieces: Factors) -> Arrow:
    """Return the arrow entries of sym(dX dZ Z^-1) for the predictor dX = -X - sym(X dZ Z^-1).

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
        -symmetrised(XQc + (V2c + T3cc) / 2),
        -((T1cd + XQd.T) / 2 + ((T2cd + V2d.T) / 2 + T3cd) / 2),
        -(T1dd + (T2dd + T3dd) / 2),
    )


def centred(
    data: ArrowData, b: np.ndarray, iq: np.ndarray, mu: Callable[[Arrow], float], scale: float = 1.0
) -> tuple[Arrow, Arrow, np.ndarray, np.ndarray]:
    """Return a centred, infeasible start X, Z, y, w: X `scale` times the moments around the centre, Z = mu X^-1.

    Any strictly positive start is valid; against X = I this one halves the iterations.
    """
    q = data.q
    v, s = data.constraints.center[data.order], data.constraints.spread[data.order]
    cc, none = np.outer(v[:q], v[:q]) + np.diag(s[:q]), np.zeros((q, data.n))
    X = Arrow(scale * cc, none, scale * (v[q:] ** 2 + s[q:]))
    slack = (data.forward(X) - b)[iq]
    w = np.maximum(slack, 0.1 * np.abs(slack).mean() if len(slack) else 0)
    size = mu(X)
    y = np.zeros(len(iq))
    y[iq] = size / w
    return X, Arrow(size * np.linalg.inv(X.cc), none, size / X.dd), y, w


def step_length(inside: Callable[[Arrow], bool], V: Arrow, dV: Arrow, v: np.ndarray, dv: np.ndarray) -> float:
    """Return the largest tried step in (0, 1] that keeps V + step dV > 0 and v + step dv > 0, with a margin."""
    alpha, falling = 1.0, dv < 0
    if falling.any():
        alpha = min(alpha, STEP * float(np.min(-v[falling] / dv[falling])))
    while alpha > 1e-8 and not inside(V.plus(dV, alpha / STEP)):
        alpha *= 0.8
    return alpha


def least_corner(slack: Arrow) -> float | None:
    """Return the smallest c with slack + c E_00 semidefinite (a Schur complement in row 0), or None."""
    if not (slack.dd > 0).all():
        return None
    S = slack.cc - (slack.cd / slack.dd) @ slack.cd.T
    factor, info = lapack.dpotrf(S[1:, 1:], lower=1, clean=1)
    if info:
        return None
    half = lapack.dtrtrs(factor, S[1:, :1], lower=1)[0] if len(S) > 1 else np.zeros(1)
    return float(np.vdot(half, half) - S[0, 0])


def dual_inside(Z: Arrow) -> bool:
    """Return whether the arrow matrix Z is positive definite."""
    if not (Z.dd > 0).all():
        return False
    return bool(lapack.dpotrf(Z.cc - (Z.cd / Z.dd) @ Z.cd.T, lower=1, clean=0)[1] == 0)


def primal_inside(X: Arrow) -> bool:
    """Return whether the arrow entries X have a positive definite completion."""
    try:
        Completed(X)
    except np.linalg.LinAlgError:
        return False
    return True


def symmetrised(T: np.ndarray) -> np.ndarray:
    """Return the symmetric part of T (q, q)."""
    return (T + T.T) / 2
