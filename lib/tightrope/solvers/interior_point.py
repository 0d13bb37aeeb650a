"""A primal-dual interior-point method for Shor programs, built on their products of affine forms.

The pair, with C the objective and A_0 = E_00, b = (1, 0, ..., 0):

    max <C, X>   : <A_k, X> - w_k = b_k,  X >= 0,  w_k >= 0 (w_k = 0 for equalities)
    min y_0      : Z = y_0 E_00 - C - sum_k y_k A_k >= 0,  y_k >= 0 for inequalities.

The method is Mehrotra's predictor-corrector with the HKM direction, and three structural savings, all exact:

1. The Schur complement M_kl = <A_k, X A_l Z^-1> needs only Gram matrices of the affine forms (solvers.schur), and where
   most constraints are squares of the tip, their block is diagonal plus low rank (solvers.hkm.Squares).
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

import tightrope
from tightrope.errors import InputError
from tightrope.question import Stop
from tightrope.solvers import hkm
from tightrope.solvers.arrow import Arrow, ArrowData
from tightrope.solvers.report import SolveReport, Status, end_if, relative_gap
from tightrope.solvers.schur import SchurComplement
from tightrope.threads import one_blas_thread


@dataclass(frozen=True, eq=False)
class Iterate:
    """A strictly interior point for the objective C: X and Z positive definite, y_ineq > 0, w > 0; a warm start."""

    C: Arrow
    X: Arrow
    Z: Arrow
    y0: float
    y: np.ndarray
    w: np.ndarray


class InteriorPoint:
    """The solver for one set of constraints; every objective (target label) reuses what is prepared here."""

    name = "interior-point"

    def __init__(self, data: ArrowData):
        self.schur = SchurComplement(data)
        self.data, self.b, self.inequality = self.schur.data, self.schur.b, self.schur.inequality

    def start(self, C: Arrow) -> Iterate:
        """Return the start of :func:`tightrope.solvers.hkm.centred` for an objective."""

        def mu(X: Arrow) -> float:
            # X^1/2 C X^1/2 measures C on the scale of X; X is block diagonal here.
            CX = C.cc @ X.cc
            size = np.vdot(CX, CX.T) + 2 * np.vdot((X.cc @ C.cd) * X.dd, C.cd) + np.sum((C.dd * X.dd) ** 2)
            return 0.05 * (abs(C.inner(X)) + np.sqrt(max(size, 0.0)) + 1e-3)

        X, Z, y, w = hkm.centred(self.data, self.b, self.inequality, mu)
        return Iterate(C, X, Z, 0.0, y, w)

    def shift(self, point: Iterate, C: Arrow) -> Iterate:
        """Return a warm start for the objective C from an iterate of another one that differs in row 0 only.

        X stays feasible. Z must absorb a = -(C - C_old) in row 0: y_0 is raised so that the Schur complement of Z_00 in
        Z, 1 / (Z^-1)_00, keeps its value.
        """
        q = self.data.q
        change = point.C.plus(C, -1.0)
        if change.cc[1:, 1:].any() or change.cd[1:].any() or change.dd.any():
            raise InputError("C: differs from the warm start's objective outside row 0.")
        Zi = hkm.Inverted(point.Z)
        Z = point.Z.plus(change)
        # S = cc - cd dd^-1 cd' is the core's Schur complement; row 0 against the rest of it.
        S = hkm.symmetrised(Z.cc - (Z.cd / Z.dd) @ Z.cd.T)
        rest = S[1:, 1:]
        need = S[0, 1:] @ np.linalg.solve(rest, S[0, 1:]) if q > 1 else 0.0
        raised = 1 / Zi.Si[0, 0] + need - S[0, 0]
        Z.cc[0, 0] += raised
        return Iterate(C, point.X, Z, point.y0 + raised, point.y, point.w)

    def multipliers(self, point: Iterate) -> np.ndarray:
        """Return the multipliers (k,) of an iterate, in the order of the program's constraints."""
        return self.schur.unordered(point.y)

    @one_blas_thread()
    def solve(
        self,
        objective: sp.csr_array,
        *,
        tolerance: float = 1e-5,
        max_iterations: int = 80,
        time_limit: float | None = None,
        sign_only: bool = False,
        start: Iterate | None = None,
        stop: Stop | None = None,
        log: Callable[[str], None] | None = None,
    ) -> tuple[SolveReport, Iterate]:
        """Solve for one objective (N, N); also return an iterate central enough to start another objective from.

        The tolerance is for the relative gap and residuals; `sign_only` ends the solve as soon as a dual-feasible
        y_0 < 0 is known, or when the primal value is clearly positive. `start` is an iterate of another objective of
        the same constraints: a warm start. `stop` is asked before every iteration, True ends the
        solve with a :class:`StoppedError`; `log` receives one line per iteration.
        """
        began = time.perf_counter()
        data, iq = self.data, self.inequality
        C = data.arrow(objective)
        point = self.shift(start, C) if start is not None else self.start(C)
        X, Z, y0, y, w = point.X, point.Z, point.y0, point.y.copy(), point.w.copy()
        rank = data.q + data.n + len(w)
        c_norm = 1 + C.norm()
        trail = [point]

        def lengths(dX: Arrow, dZ: Arrow, dy: np.ndarray, dw: np.ndarray) -> tuple[float, float]:
            primal, dual = (hkm.primal_inside, X, dX, w, dw), (hkm.dual_inside, Z, dZ, y[iq], dy[iq])
            return hkm.step_length(*primal), hkm.step_length(*dual)

        best: tuple[float, np.ndarray] | None = None
        status = Status.ITERATION_LIMIT
        primal = dual = gap = primal_residual = dual_residual = np.inf
        iteration = 0
        for iteration in range(max_iterations + 1):
            end_if(stop)
            try:
                XX, Zi = hkm.Completed(X), hkm.Inverted(Z)
            except np.linalg.LinAlgError:
                status = Status.NUMERICAL
                break
            slack = data.adjoint(y).plus(C)  # -Z for y_0 = 0
            Rd = slack.plus(Z)  # Z - Rd is dual feasible
            Rd.cc[0, 0] -= y0
            dual_residual = Rd.norm() / c_norm
            AX = data.forward(X)
            r0, r = 1 - X.cc[0, 0], self.b - AX
            r[iq] += w
            primal_residual = float(np.sqrt(r0**2 + np.sum((r / data.norms) ** 2))) / 2
            mu = (X.inner(Z) + w @ y[iq]) / rank
            primal, dual = C.inner(X), y0 - self.b @ y
            # Any y proves the y_0 that makes its Z semidefinite, feasible iterate or not. Without one, Z lacks at most
            # ||Rd||, for which the trace bound pays.
            corner = hkm.least_corner(Arrow(*(-part for part in slack)))
            proven = dual + Rd.norm() * data.constraints.squared_norm if corner is None else corner - self.b @ y
            if best is None or proven < best[0]:
                best = (proven, y.copy())
            gap = max(relative_gap(primal, dual), relative_gap(primal, best[0]))
            if log:
                residuals = f"rp {primal_residual:.1e} rd {dual_residual:.1e}"
                log(f"{iteration:3d} dual {dual:.6f} primal {primal:.6f} {residuals} mu {mu:.1e}")
            weak = (
                primal > 0 and dual > 0 and relative_gap(primal, dual) < 0.5 and primal_residual < max(1e-4, tolerance)
            )
            if sign_only and (best[0] < 0 or weak):
                status = Status.SIGN_KNOWN
                break
            if max(dual_residual, gap) < tolerance and primal_residual < max(1e-4, 10 * tolerance):
                status = Status.SOLVED
                break
            if time_limit is not None and time.perf_counter() - began > time_limit:
                status = Status.TIME_LIMIT
                break
            bordered = self.schur.matrix(XX, Zi, without=self.schur.eliminated)
            factor = hkm.factorise(bordered, iq, w / y[iq], self.schur.squares(XX, Zi))
            if factor is None:
                status = Status.NUMERICAL
                break
            residual = Rd if dual_residual > 1e-12 else None
            direction = hkm.directions(data, iq, self.b, XX, Zi, residual, y[iq], w, factor)
            dX, dZ, dy0, dy, dw, pieces = direction(0.0)
            ap, ad = lengths(dX, dZ, dy, dw)
            mu_affine = (X.plus(dX, ap).inner(Z.plus(dZ, ad)) + (w + ap * dw) @ (y[iq] + ad * dy[iq])) / rank
            sigma = min(1.0, max(1e-4, (mu_affine / mu) ** (3 if min(ap, ad) > 0.3 else 1.5)))
            second = hkm.second_order(XX, Zi, dZ, pieces)
            dX, dZ, dy0, dy, dw, _ = direction(sigma * mu, second, dw * dy[iq])
            ap, ad = lengths(dX, dZ, dy, dw)
            if ap < 0.2 and gap < 1e-5:
                # The smallest eigenvalues of X are near its rounding: smaller steps down the central path, without the
                # second-order term, whose own rounding is what stops X.
                dX, dZ, dy0, dy, dw, _ = direction(0.8 * mu)
                ap, ad = lengths(dX, dZ, dy, dw)
            if max(ap, ad) < 1e-6:
                status = Status.NUMERICAL
                break
            X, w = X.plus(dX, ap), w + ap * dw
            Z, y0, y = Z.plus(dZ, ad), y0 + ad * dy0, y + ad * dy
            trail.append(Iterate(C, X, Z, y0, y, w))
        mean = np.empty(len(data.order))
        mean[data.order] = np.concatenate([X.cc[0], X.cd[0]]) / X.cc[0, 0]
        if best is None:
            status, dual = Status.FAILED, np.nan
        else:
            dual = best[0]
        report = SolveReport(
            status=status,
            primal_value=float(primal),
            dual_value=float(dual),
            multipliers=None if best is None else self.schur.unordered(best[1]),
            primal_residual=float(primal_residual),
            dual_residual=float(dual_residual),
            gap=float(relative_gap(primal, dual)),
            iterations=iteration,
            seconds=time.perf_counter() - began,
            solver=self.name,
            version=tightrope.__version__,
            mean=mean,
            core=X.cc / X.cc[0, 0],
        )
        return report, trail[int(0.65 * (len(trail) - 1))]
