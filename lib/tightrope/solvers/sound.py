"""Sound bounds from multipliers, whatever solver proposed them.

For max <C, X> : <A_k, X> {= or >=} 0, X_00 = 1, X >= 0, any y with y_k >= 0 on the inequalities gives, by weak duality,

    <C, X> <= y_0 + R^2 max(0, -lambda_min(Z)),   Z = y_0 E_00 - C - sum_k y_k A_k,   trace(X) <= R^2.

Nothing here trusts a solver: y is clipped to its signs, y_0 is recomputed, and positive definiteness is established by
a Cholesky factorisation of a matrix shifted by a bound on all rounding errors, from the numbers of the Shor program on.
The rounding of these numbers themselves, such as of b = U x_0 + u and of V, is in the problems: see
:attr:`tightrope.problems.robustness.RobustnessModel.rounding`. A verdict rests on this; a certificate file, which
:mod:`tightrope.checker` decides in exact arithmetic, does not.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack

from tightrope.errors import InputError
from tightrope.solvers.arrow import Arrow, ArrowData

UNIT = np.finfo(float).eps / 2  # unit roundoff
TINY = 1e-150  # what is smaller is taken for 0, so that no product underflows


@dataclass(frozen=True, eq=False)
class SoundBound:
    """A proven upper bound and what proves it: `value >= y0 + shift * R^2` with Z + shift * I positive definite."""

    value: float
    y0: float
    shift: float
    multipliers: np.ndarray


@np.errstate(all="ignore")  # multipliers beyond all measure overflow to inf and nan, which prove nothing
def sound_bound(data: ArrowData, objective: sp.csr_array, multipliers: np.ndarray) -> SoundBound | None:
    """Return the bound that the multipliers (k,) prove, or None if they are not finite numbers or prove nothing.

    The multiplier y_0 is chosen here: the smallest for which Z + shift I is proven positive definite.
    """
    c = data.constraints
    y = np.asarray(multipliers, float)
    if y.shape != c.equality.shape:
        raise InputError(f"multipliers: expected shape {c.equality.shape}, got {y.shape}; one per constraint.")
    if not np.isfinite(y).all():
        return None
    y, C = np.where(c.equality, y, np.maximum(y, 0)), data.arrow(objective)
    Z = Arrow(*(-part for part in data.adjoint(y).plus(C)))
    size = data.arrow(c.absolute_matrix(y)).plus(Arrow(*map(np.abs, C)))
    shift = max(0.0, -1.01 * float(Z.dd.min(initial=0)))
    best = None
    for _ in range(60):
        y0 = _corner(Z, size, shift, c.terms)
        if y0 is not None:
            cost = shift * c.squared_norm
            value = float(y0 + cost + 4 * UNIT * (abs(y0) + cost))
            if not np.isfinite(value) or (best is not None and value >= best.value):
                break
            best = SoundBound(value, float(y0), float(shift), y)
            if shift == 0:
                break
        # A larger shift than needed costs R^2 times as much, but allows a smaller y_0.
        shift = max(2 * shift, 1e-13 * (1 + float(np.abs(size.cc).max())))
    return best


def _corner(Z: Arrow, size: Arrow, shift: float, terms: int) -> float | None:
    """Return the smallest proven y_0 with Z + y_0 E_00 + shift I positive definite, or None.

    With S = cc - cd (dd)^-1 cd' the core's Schur complement, it suffices that dd > 0 and S > 0. Rounding: an entry of Z
    is off by at most gamma_(terms + 4) < g / 2 times the same sum of absolute values (`size`). With dd > 2 g size_dd,
    1 / dd is off by at most 4/3 of its first-order error, so |dS| is at most

        g (size_cc + 2 |cd| dd^-1 size_cd' + |cd| dd^-2 size_dd |cd|') + g^2 size_cd dd^-1 size_cd'
        + gamma_(n + 4) |cd| dd^-1 |cd|',

    all taken twice. (The square matters where cd almost cancels and dd is small.) A Cholesky factorisation that
    succeeds on S - c I, with c that error's norm plus Cholesky's own gamma_(q + 1) trace(S), proves S > 0 (Rump 2006).
    """
    q, n = Z.cd.shape
    dd = Z.dd + shift
    g = 2 * (terms + 4) * UNIT
    if not (dd > 2 * g * size.dd + TINY).all():
        return None
    W = Z.cd / dd
    S = Z.cc - W @ Z.cd.T
    S = (S + S.T) / 2
    S[np.diag_indices(q)] += shift
    A = np.abs(W)
    error = g * (size.cc + 2 * A @ size.cd.T + (A * size.dd) @ A.T + (g * size.cd / dd) @ size.cd.T)
    error += 2 * (n + 4) * UNIT * (A @ np.abs(Z.cd).T)
    norm = 2 * float(np.linalg.norm(error)) + 2 * (q + 4) * UNIT * float(np.abs(np.diag(S)).sum()) + TINY
    if not (np.isfinite(norm) and np.isfinite(S).all()):  # Cholesky routines let nan pass
        return None
    # y_0 enters row 0 only and is a number of ours, without error; the rest decides.
    rest = S[1:, 1:] - norm * np.eye(q - 1)
    factor, info = lapack.dpotrf(rest, lower=1, clean=1)
    if info:
        return None
    half = lapack.dtrtrs(factor, S[1:, :1], lower=1)[0][:, 0] if q > 1 else np.zeros(0)
    need = float(half @ half)
    y0 = need - S[0, 0] + norm
    y0 += 4 * (q + 4) * UNIT * (need + abs(S[0, 0])) + 2 * norm
    for _ in range(40):
        if not np.isfinite(y0):
            return None
        whole = S - norm * np.eye(q)
        whole[0, 0] += y0 - 2 * (q + 4) * UNIT * abs(y0)
        if lapack.dpotrf(whole, lower=1, clean=0)[1] == 0:
            return y0
        y0 += 1e-12 * (1 + abs(y0)) + norm
        norm *= 1.5
    return None
