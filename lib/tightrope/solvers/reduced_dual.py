"""The reduced dual of the Robustness Model: fast, batched proofs of sign, with x eliminated in closed form.

With multipliers t (of z (z - h) = 0), mu (z >= 0), nu (z - h >= 0) and lambda (the ball), all of Shor's dual is

    bound = c_0 + sum lambda - nu'b + 1/4 nu'K nu + 1/4 r'M^-1 r
    K = V Lambda^-1 V',   M = sym(T (I - W)) - 1/4 T K T,   r = xi + mu + (I - W')nu + T b - 1/2 T K nu,

where T = diag(t) and h = W z + V d + b: the maximum over d of -d'Lambda d + d'V'(T z - nu) is
1/4 (T z - nu)'K (T z - nu), and the rest is a concave quadratic in z exactly when M > 0. Every multiplier with M > 0
therefore proves a bound. All multipliers are exponentials of free variables (which restricts t to be positive; a free
t was measured to descend far more slowly), and a batch of targets descends together by L-BFGS on
bound - tau log det M with falling tau. A target leaves the batch when its bound is below 0.

The variables of a target are one row of a torch tensor, so the same code runs on a GPU.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

import tightrope
from tightrope.errors import InputError
from tightrope.problems.robustness import RobustnessModel
from tightrope.solvers.report import SolveReport, Status, Stop, end_if
from tightrope.solvers.transfer import supports
from tightrope.threads import one_torch_thread

HISTORY = 25
TAUS = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


@dataclass(frozen=True, eq=False)
class _Data:
    """Tensors that all targets share; `one` says whether the ball has one multiplier (L2) or one per coordinate."""

    W: torch.Tensor
    V: torch.Tensor
    b: torch.Tensor
    one: bool
    m: float


def solve(
    model: RobustnessModel,
    targets: list[int],
    *,
    iterations: int = 100,
    stop_at_sign: bool = True,
    time_limit: float | None = None,
    device: str = "cpu",
    stop: Stop | None = None,
) -> list[SolveReport]:
    """Multipliers for several targets of one region.

    Parameters
    ----------
    model
        A Robustness Model whose region :func:`supports` covers.
    targets
        Labels j: each maximises F_j - F_label.
    iterations
        L-BFGS steps for each value of tau.
    stop_at_sign
        Leave a target as soon as its bound is negative.
    time_limit
        Seconds for all targets, or None.
    device
        Of torch.
    stop
        Asked before every step; True ends the solve with a :class:`StoppedError`.

    Returns
    -------
    list of SolveReport
        In the order of `targets`; multipliers in the order of the model's constraints. `primal_value` and residuals are
        nan: there is no primal side.
    """
    if not supports(model):
        raise InputError(
            "region: the reduced dual covers L-infinity balls and L2 balls without clipping; use interior-point."
        )
    began = time.perf_counter()
    with one_torch_thread():
        best, w, steps = _descend(model, targets, iterations, stop_at_sign, time_limit, device, stop)
    seconds = (time.perf_counter() - began) / len(targets)
    reports = []
    for value, row in zip(best, w, strict=True):
        known = np.isfinite(value)
        status = Status.SIGN_KNOWN if value < 0 else Status.ITERATION_LIMIT if known else Status.FAILED
        reports.append(
            SolveReport(
                status=status,
                primal_value=np.nan,
                dual_value=float(value) if known else np.nan,
                multipliers=row if known else None,
                primal_residual=np.nan,
                dual_residual=0.0 if known else np.nan,
                gap=np.nan,
                iterations=steps,
                seconds=seconds,
                solver="reduced-dual",
                version=tightrope.__version__,
            )
        )
    return reports


def _descend(model, targets, iterations, stop_at_sign, time_limit, device, stop):
    """Best bounds (B,), multipliers (B, k) in the model's order, and the number of L-BFGS steps."""
    deadline = None if time_limit is None else time.perf_counter() + time_limit
    network, coords = model.network, model.coordinates

    def tensor(array):
        return torch.as_tensor(np.array(array), dtype=torch.float64, device=device)

    data = _Data(
        W=tensor(network.W),
        V=tensor(coords.V),
        b=tensor(network.U @ coords.origin + network.u),
        one=coords.kind == "l2" and coords.V.shape[1] > 0,
        m=network.m,
    )
    xi = tensor(network.C[targets] - network.C[model.label])
    c0 = tensor(network.c[targets] - network.c[model.label])
    w = _start(data, xi, c0)
    best = torch.full((len(targets),), np.inf, dtype=torch.float64, device=device)
    best_w = w.clone()
    active = torch.arange(len(targets), device=device)
    memory = _Memory()
    steps = 0
    for tau in TAUS:
        value, objective, gradient = _evaluate(data, w, xi[active], c0[active], tau)
        memory = _Memory()
        for _ in range(iterations):
            end_if(stop)
            better = value < best[active]
            best[active[better]], best_w[active[better]] = value[better], w[better]
            if stop_at_sign:
                left = best[active] >= 0
                if not left.all():
                    active, w, value = active[left], w[left], value[left]
                    objective, gradient = objective[left], gradient[left]
                    memory.keep(left)
            if not len(active) or (deadline is not None and time.perf_counter() > deadline):
                break
            steps += 1
            direction = memory.direction(gradient)
            slope = (direction * gradient).sum(1)
            uphill = slope >= 0
            direction[uphill] = -gradient[uphill]
            slope = (direction * gradient).sum(1)
            step = (2.0 / direction.abs().amax(1)).clamp(max=1.0)
            w_new, value, objective_new, gradient_new = _search(
                data, w, xi[active], c0[active], tau, direction, step, slope, objective
            )
            memory.push(w_new - w, gradient_new - gradient)
            gain = (objective - objective_new).max()
            w, objective, gradient = w_new, objective_new, gradient_new
            if gain < 1e-5 * (1 + objective.abs().max()):
                break
        else:
            continue
        if not len(active) or (deadline is not None and time.perf_counter() > deadline):
            break
    return best.cpu().numpy(), _multipliers(model, data, best_w), steps


def _split(data: _Data, w: torch.Tensor):
    """t, mu, nu (B, p) and lambda (B, n or 1) of a batch of rows of logarithms."""
    p = len(data.b)
    return torch.split(w.exp(), [p, p, p, w.shape[1] - 3 * p], dim=1)


def _evaluate(data: _Data, w: torch.Tensor, xi: torch.Tensor, c0: torch.Tensor, tau: float):
    """Bound, f = bound - tau log det M, and the gradient of f, by rows of w.

    With z = M^-1 r / 2, u = T z - nu, a = b - (I - W) z + K u / 2 (that is h - z at the maximising d),
    Q = (I - W') - T K / 2 and G = u u' + tau T M^-1 T:

        df/dmu = z,   df/dnu = -a,   df/dt = z a - tau diag(M^-1 Q),   df/dlambda_j = 1 - v_j'G v_j / (4 lambda_j^2).

    A logarithm multiplies by the variable. f is infinite where M is not positive definite.
    """
    t, mu, nu, lam = _split(data, w)
    eye = torch.eye(len(data.b), dtype=w.dtype, device=w.device)
    K = (data.V / lam[:, None, :]) @ data.V.T
    TK = t[:, :, None] * K
    TIW = t[:, :, None] * (eye - data.W)
    L, info = torch.linalg.cholesky_ex((TIW + TIW.mT) / 2 - 0.25 * TK * t[:, None, :])
    good = info == 0
    L = torch.where(good[:, None, None], L, eye)
    Mi = torch.cholesky_inverse(L)
    Q = (eye - data.W.T) - 0.5 * TK

    def times(matrix, vector):
        return torch.einsum("bij,bj->bi", matrix, vector)

    r = xi + mu + times(Q, nu) + t * data.b
    z = 0.5 * times(Mi, r)
    value = c0 + lam.sum(1) - nu @ data.b + 0.25 * (nu * times(K, nu)).sum(1) + 0.5 * (r * z).sum(1)
    objective = value - 2 * tau * torch.log(torch.diagonal(L, dim1=1, dim2=2)).sum(1)

    u = t * z - nu
    a = data.b - z + z @ data.W.T + 0.5 * times(K, u)
    diagonal_MiQ = (Mi * Q.mT).sum(2)
    G = u[:, :, None] * u[:, None, :] + tau * (t[:, :, None] * Mi) * t[:, None, :]
    pull = 0.25 * ((G @ data.V) * data.V).sum(1)
    if data.one:
        pull = pull.sum(1, keepdim=True)
    gradient = torch.cat([t * (z * a - tau * diagonal_MiQ), mu * z, -nu * a, lam - pull / lam], dim=1)
    inf = torch.tensor(np.inf, dtype=w.dtype, device=w.device)
    return torch.where(good, value, inf), torch.where(good, objective, inf), gradient


def _search(data, w, xi, c0, tau, direction, step, slope, objective):
    """Backtracking for all rows at once; a row that finds no decrease stays where it is."""
    accepted = torch.zeros(len(w), dtype=torch.bool, device=w.device)
    result = None
    for _ in range(14):
        trial = w + step[:, None] * direction
        fresh = (trial, *_evaluate(data, trial, xi, c0, tau))
        good = fresh[2] <= objective + 1e-4 * step * slope
        if result is None:
            result = fresh
        else:
            for old, new in zip(result, fresh, strict=True):
                old[good & ~accepted] = new[good & ~accepted]
        accepted |= good
        if accepted.all():
            return result
        step = torch.where(accepted, step, step * 0.4)
    for old, same in zip(result, (w, *_evaluate(data, w, xi, c0, tau)), strict=True):
        old[~accepted] = same[~accepted]
    return result


class _Memory:
    """The L-BFGS pairs of a batch; a row whose curvature is not positive skips the pair."""

    def __init__(self):
        self.pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def push(self, s: torch.Tensor, y: torch.Tensor) -> None:
        curvature = (s * y).sum(1)
        good = curvature > 1e-12 * s.norm(dim=1) * y.norm(dim=1)
        rho = torch.where(good, 1 / curvature.clamp_min(1e-300), torch.zeros_like(curvature))
        self.pairs = [*self.pairs[-(HISTORY - 1) :], (s, y, rho)]

    def keep(self, rows: torch.Tensor) -> None:
        self.pairs = [(s[rows], y[rows], rho[rows]) for s, y, rho in self.pairs]

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """-H gradient by the two-loop recursion."""
        q = gradient.clone()
        alphas = []
        for s, y, rho in reversed(self.pairs):
            alpha = rho * (s * q).sum(1)
            q = q - alpha[:, None] * y
            alphas.append(alpha)
        if self.pairs:
            s, y, rho = self.pairs[-1]
            gamma = torch.where(rho > 0, 1 / (rho * (y**2).sum(1)).clamp_min(1e-300), torch.ones_like(rho))
            q = q * gamma[:, None]
        else:
            q = q * (0.1 / gradient.norm(dim=1).clamp_min(1e-12))[:, None]
        for (s, y, rho), alpha in zip(self.pairs, reversed(alphas), strict=True):
            beta = rho * (y * q).sum(1)
            q = q + (alpha - beta)[:, None] * s
        return -q


def _start(data: _Data, xi: torch.Tensor, c0: torch.Tensor) -> torch.Tensor:
    """The best of a line of feasible points t = tau, lambda = tau s norms of V's columns.

    M >= tau m - tau^2 / 4 K, so s = lambda_max(V diag(1 / norms) V') / (2 m) leaves M >= tau m / 2.
    """
    p = data.V.shape[0]
    norms = torch.ones(1, dtype=xi.dtype, device=xi.device) if data.one else data.V.norm(dim=0).clamp_min(1e-12)
    s = torch.linalg.eigvalsh((data.V / norms) @ data.V.T)[-1].clamp_min(1e-12) / (2 * data.m)
    rows, values = [], []
    for log_tau in np.linspace(-6, 4, 21):
        w = torch.full((len(xi), 3 * p + len(norms)), -4.0, dtype=xi.dtype, device=xi.device)
        w[:, :p] = log_tau
        w[:, 3 * p :] = log_tau + torch.log(s * norms)
        rows.append(w)
        values.append(_evaluate(data, w, xi, c0, 0.0)[0])
    choice = torch.stack(values).argmin(0)
    return torch.stack(rows)[choice, torch.arange(len(xi), device=xi.device)]


def _multipliers(model: RobustnessModel, data: _Data, w: torch.Tensor) -> np.ndarray:
    """(B, k) in the order of the model's constraints: z (z - h) = 0 has -t, then mu, nu and lambda."""
    t, mu, nu, lam = (part.detach().cpu().numpy() for part in _split(data, w))
    return np.concatenate([-t, mu, nu, lam], axis=1)
