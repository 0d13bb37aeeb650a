"""The interior-point method with a log-determinant objective: the Ellipsoid Model.

    minimise -log det Q(y)  subject to  Z = Z_0 - sum_k y_k A_k >= 0,  y_k >= 0 for inequalities,

where Q (K, K) is a part of y. The optimality conditions differ from those of solvers.interior_point in one place: the
linear objective's gradient b becomes that of log det, which moves with y,

    <A_k, X> - w_k = -dphi/dy_k,   phi = -log det Q,   dphi/dQ_ab = -(2 - [a = b]) (Q^-1)_ab,

so Newton's equations have M + H with H = d2phi, <E, H E'> = tr(Q^-1 E Q^-1 E'), in the place of M.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

import tightrope
from tightrope.problems.ellipsoid import B_GROUP, Q_GROUP, EllipsoidModel
from tightrope.question import Stop
from tightrope.solvers import hkm
from tightrope.solvers.arrow import Arrow, ArrowData
from tightrope.solvers.report import SolveReport, Status, end_if
from tightrope.solvers.schur import SchurComplement
from tightrope.threads import one_blas_thread

UNBOUNDED = 40.0  # log det Q per dimension from which on the image counts as flat: half-axes of e^-40


@dataclass(frozen=True, eq=False)
class _LogDet:
    """phi = -log det Q as a function of y; `q` are the positions of Q's upper triangle in y."""

    q: np.ndarray
    K: int

    def matrix(self, y: np.ndarray) -> np.ndarray:
        """Return Q (K, K) of the multipliers y (k,)."""
        Q = np.zeros((self.K, self.K))
        Q[np.triu_indices(self.K)] = y[self.q]
        return Q + np.triu(Q, 1).T

    def negative_gradient(self, Qi: np.ndarray, size: int) -> np.ndarray:
        """Return -dphi/dy (size,) from Q^-1 (K, K)."""
        rows, columns = np.triu_indices(self.K)
        gradient = np.zeros(size)
        gradient[self.q] = np.where(rows == columns, 1, 2) * Qi[rows, columns]
        return gradient

    def hessian(self, Qi: np.ndarray) -> np.ndarray:
        """Return tr(Q^-1 E_ab Q^-1 E_cd): 2 (Qi_ac Qi_bd + Qi_ad Qi_bc), halved for each of a = b and c = d."""
        a, b = np.triu_indices(self.K)
        both = Qi[np.ix_(a, a)] * Qi[np.ix_(b, b)] + Qi[np.ix_(a, b)] * Qi[np.ix_(b, a)]
        weight = np.where(a == b, 0.5, 1.0)
        return 2 * both * weight[:, None] * weight


@one_blas_thread()
def solve(
    model: EllipsoidModel,
    data: ArrowData,
    start: tuple[np.ndarray, np.ndarray],
    *,
    tolerance: float = 2e-5,
    max_iterations: int = 80,
    time_limit: float | None = None,
    stop: Stop | None = None,
    log: Callable[[str], None] | None = None,
) -> SolveReport:
    """Solve the Ellipsoid Model, with its constraints on their arrow pattern.

    The start is the rough size and place of the image, Q (K, K) positive definite and b (K,). The tolerance is for the
    gap relative to 1 + K, and relative residuals; `stop` is asked before every iteration, True ends the solve with a
    :class:`StoppedError`; `log` receives one line per iteration.

    The report's multipliers are in the order of the model's constraints (Q and b among them). Its `dual_value` is the
    log det Q that they prove (:func:`tightrope.verifiers.ellipsoid.proven_ellipsoid` checks it), `primal_value` the
    value from the other side: the optimum is at most that, up to the primal residual.
    """
    began = time.perf_counter()
    complement = SchurComplement(data, fold_constants=False)
    data, iq = complement.data, complement.inequality
    groups, K = data.constraints.groups, model.classes
    position = complement.unordered(np.arange(len(iq)))
    phi = _LogDet(position[groups[Q_GROUP]], K)
    Z0 = data.arrow(model.identity())
    Z0.cc[0, 0] += 1
    # X is K / 2 times the moments of states, its trace at the optimum; Q and b are as given.
    X, Z, y, w = hkm.centred(data, np.zeros(len(iq)), iq, lambda X: 0.1, K / 2)
    y[phi.q], y[position[groups[B_GROUP]]] = start[0][np.triu_indices(K)], start[1]
    rank = data.q + data.n + len(w)
    z_norm = 1 + Z0.norm()
    status = Status.ITERATION_LIMIT
    best: tuple[float, np.ndarray] | None = None
    gaps: list[float] = []
    gap: float = np.inf
    primal_residual = dual_residual = upper = gap
    iteration = 0

    def lengths(dX: Arrow, dZ: Arrow, dy: np.ndarray, dw: np.ndarray) -> tuple[float, float]:
        """Primal and dual step lengths; the dual one also keeps Q positive definite."""
        dual = hkm.step_length(hkm.dual_inside, Z, dZ, y[iq], dy[iq])
        while dual > 1e-8 and lapack.dpotrf(phi.matrix(y + dual / hkm.STEP * dy), lower=1)[1]:
            dual *= 0.8
        return hkm.step_length(hkm.primal_inside, X, dX, w, dw), dual

    for iteration in range(max_iterations + 1):
        end_if(stop)
        try:
            XX, Zi = hkm.Completed(X), hkm.Inverted(Z)
            Qi = np.linalg.inv(phi.matrix(y))
        except np.linalg.LinAlgError:
            status = Status.NUMERICAL
            break
        Rd = Z.plus(data.adjoint(y)).plus(Z0, -1.0)
        dual_residual = Rd.norm() / z_norm
        b = phi.negative_gradient(Qi, len(y))
        r = b - data.forward(X)
        r[iq] += w
        scale = 1 + np.linalg.norm(b / data.norms)
        primal_residual = float(np.linalg.norm(r / data.norms) / scale)
        mu = (X.inner(Z) + w @ y[iq]) / rank
        value = float(np.linalg.slogdet(phi.matrix(y))[1])
        # Any y proves Q and b divided by the root of the y_0 that makes y_0 E_00 + E_oo - sum y_k A_k semidefinite.
        # Without one that matrix lacks at most ||Rd||, for which the trace bound pays.
        least, lacks = hkm.least_corner(Z.plus(Rd, -1.0)), Rd.norm()
        paid = (1 + lacks) * (1 + lacks * (1 + data.constraints.squared_norm))
        corner = paid if least is None or least <= -1 else 1 + least
        proven = value - K / 2 * np.log(corner)
        if dual_residual < 1e-2 and np.isfinite(proven) and (best is None or proven > best[0]):
            best = (proven, y.copy())
        gap, upper = mu * rank / (1 + K), value + mu * rank
        if best is not None and primal_residual < 1e-4:
            gap = max(gap, (upper - best[0]) / (1 + K))
        if log:
            residuals = f"rp {primal_residual:.1e} rd {dual_residual:.1e}"
            log(f"{iteration:3d} log det {value:.6f} proven {proven:.6f} gap {gap:.1e} {residuals}")
        if best is not None and gap < tolerance and primal_residual < max(1e-5, 10 * tolerance):
            status = Status.SOLVED
            break
        if value > UNBOUNDED * K:
            status = Status.UNBOUNDED
            break
        gaps.append(gap)
        if gap < 1e-3 and len(gaps) > 8 and gap > 0.9 * gaps[-7]:  # rounding: no progress in six iterations
            status = Status.NUMERICAL
            break
        if time_limit is not None and time.perf_counter() - began > time_limit:
            status = Status.TIME_LIMIT
            break
        bordered = complement.matrix(XX, Zi)
        bordered[0], bordered[0, 0] = 0.0, 1.0  # no multiplier of E_00 here
        bordered[np.ix_(phi.q + 1, phi.q + 1)] += phi.hessian(Qi)
        factor = hkm.factorise(bordered, iq, w / y[iq])
        if factor is None:
            status = Status.NUMERICAL
            break
        direction = hkm.directions(data, iq, b, XX, Zi, Rd, y[iq], w, factor, corner=False)
        dX, dZ, _, dy, dw, pieces = direction(0.0)
        ap, ad = lengths(dX, dZ, dy, dw)
        mu_affine = (X.plus(dX, ap).inner(Z.plus(dZ, ad)) + (w + ap * dw) @ (y[iq] + ad * dy[iq])) / rank
        sigma = min(1.0, max(1e-3, (max(mu_affine, 0.0) / mu) ** (3 if min(ap, ad) > 0.3 else 1.5)))
        second = hkm.second_order(XX, Zi, dZ, pieces)
        dX, dZ, _, dy, dw, _ = direction(sigma * mu, second, dw * dy[iq])
        ap, ad = lengths(dX, dZ, dy, dw)
        if max(ap, ad) < 1e-6:
            status = Status.NUMERICAL
            break
        X, w = X.plus(dX, ap), w + ap * dw
        Z, y = Z.plus(dZ, ad), y + ad * dy
    if best is None and status is not Status.UNBOUNDED:
        status = Status.FAILED
    return SolveReport(
        status=status,
        primal_value=float(upper),
        dual_value=best[0] if best is not None else np.nan,
        multipliers=None if best is None else complement.unordered(best[1]),
        primal_residual=float(primal_residual),
        dual_residual=float(dual_residual),
        gap=float(gap),
        iterations=iteration,
        seconds=time.perf_counter() - began,
        solver="log-det-interior-point",
        version=tightrope.__version__,
    )
