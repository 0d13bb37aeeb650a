"""Multipliers of one target label, turned into multipliers of another by a small convex quadratic program.

With multipliers t (of z (z - h) = 0), mu (z >= 0), nu (z - h >= 0) and lambda (the ball), and x eliminated in closed
form, Shor's dual is

    bound = c_0 + sum lambda - nu'b + 1/4 nu'K nu + 1/4 r'M^-1 r,   r = xi + T b + mu + Q nu,
    K = V Lambda^-1 V',   M = sym(T (I - W)) - 1/4 T K T,   Q = (I - W') - 1/2 T K,

where T = diag(t) and h = W z + V d + b: the maximum over d of -d'Lambda d + d'V'(T z - nu) is
1/4 (T z - nu)'K (T z - nu), and the rest is a concave quadratic in z exactly when M > 0.

The t and lambda of a central iterate describe the network on the region more than they describe the question. With
both fixed, the bound is a convex quadratic in mu, nu >= 0, with K and M of the size of the hidden layer: milliseconds
instead of an interior-point solve. It is valid for every mu, nu >= 0, so the descent may be stopped anywhere; how good
it is decides only how often the solve is needed after all.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from tightrope.errors import InputError
from tightrope.problems.robustness import RobustnessModel

SCALES = (1.0, 1.5, 0.6, 3.0)  # of (t, lambda) together, in the order in which they are tried


def supports(model: RobustnessModel) -> bool:
    """Return whether the region is an L-infinity ball, clipped or not, or an L2 ball without clipping.

    Other regions keep more multipliers than t, mu, nu and lambda.
    """
    return model.coordinates.kind in ("box", "l2") and model.coordinates.lower is None


@dataclass(frozen=True, eq=False)
class _Fixed:
    """What the quadratic programs of all targets share for one (t, lambda): M^-1, Q, the Hessian and lambda's sum."""

    t: np.ndarray
    lam: np.ndarray
    Mi: np.ndarray
    Q: np.ndarray
    hessian: np.ndarray


class Transfer:
    """Proofs for the targets of one region, from the multipliers of targets solved before; see :func:`supports`."""

    def __init__(self, model: RobustnessModel):
        if not supports(model):
            raise InputError("model: transfer is for a box or an L2 ball without clipping.")
        self.model = model
        self.b = model.network.U @ model.coordinates.origin + model.network.u
        self._sources: list[list[_Fixed]] = []

    def add(self, multipliers: np.ndarray) -> None:
        """Take t and lambda from the multipliers (k,) of a solved target, in the order of the model's constraints."""
        p = len(self.b)
        t, lam = -multipliers[:p], np.maximum(multipliers[3 * p :], 1e-12)
        fixed = [self._fixed(scale * t, scale * lam) for scale in SCALES]
        self._sources.insert(0, [part for part in fixed if part is not None])

    def __call__(self, target: int) -> tuple[float, np.ndarray]:
        """Return the best bound (not yet checked) and its multipliers (k,); stops at the first negative one."""
        network, label = self.model.network, self.model.label
        xi, c0 = network.C[target] - network.C[label], network.c[target] - network.c[label]
        best = (np.inf, np.zeros(0))
        for source in self._sources:
            for fixed in source:
                value, inequalities = self._minimise(fixed, xi, c0)
                if value < best[0]:
                    best = (value, np.concatenate([-fixed.t, inequalities, fixed.lam]))
                if value < 0:
                    return best
        return best

    def _fixed(self, t: np.ndarray, lam: np.ndarray) -> _Fixed | None:
        W, V = self.model.network.W, self.model.coordinates.V
        eye = np.eye(len(t))
        K = (V / lam) @ V.T
        TK = t[:, None] * K
        M = t[:, None] * (eye - W)
        M = (M + M.T) / 2 - 0.25 * TK * t
        factor, info = lapack.dpotrf(M, lower=1, clean=1)
        if info:
            return None
        lower = np.tril(lapack.dpotri(factor, lower=1)[0])
        Mi = lower + np.tril(lower, -1).T
        Q = eye - W.T - 0.5 * TK
        MiQ = Mi @ Q
        return _Fixed(t, lam, Mi, Q, 0.5 * np.block([[Mi, MiQ], [MiQ.T, K + Q.T @ MiQ]]))

    def _minimise(self, fixed: _Fixed, xi: np.ndarray, c0: float) -> tuple[float, np.ndarray]:
        from scipy.optimize import minimize  # slow to import: after the first picture of an explorer

        r0 = xi + fixed.t * self.b
        half = 0.5 * fixed.Mi @ r0
        linear = np.concatenate([half, fixed.Q.T @ half - self.b])
        constant = c0 + fixed.lam.sum() + 0.5 * r0 @ half

        def quadratic(x: np.ndarray) -> tuple[float, np.ndarray]:
            slope = fixed.hessian @ x
            return constant + linear @ x + 0.5 * x @ slope, linear + slope

        start = np.zeros(len(linear))
        bounds = [(0, None)] * len(start)
        result = minimize(quadratic, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 80})
        return float(result.fun), np.maximum(result.x, 0)
