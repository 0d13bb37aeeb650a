"""Lower bounds of a monDEQ's Lipschitz constants: Jacobians at points, and an ascent over activation patterns.

Every bound names an input at which the network's own Jacobian has that norm. Points near it then have outputs that far
apart, so no smaller number is a Lipschitz constant of the network on a set with that input in its interior.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.regions import INFINITY
from tightrope.verifiers.lipschitz import known_norm


@dataclass(frozen=True, eq=False)
class LargestJacobian:
    """The largest norm of a Jacobian that was found, and where: `point` (p0,) in network-input units, or None.

    `value` is at most ||dF/dx||_norm there: less what the computed Jacobian can be off by; 0 if no point certainly had
    a derivative.
    """

    norm: float
    value: float
    point: np.ndarray | None


def sampled(network: MonDEQ, norm: object, points: np.ndarray, *, batch: int = 100) -> LargestJacobian:
    """Return the largest norm of a Jacobian at given inputs (N, p0)."""
    q = known_norm(norm)
    points = np.atleast_2d(np.asarray(points, float))
    if points.ndim != 2 or points.shape[1] != network.input_size or not np.isfinite(points).all():
        raise InputError(f"points: expected finite inputs (N, {network.input_size}), got shape {points.shape}.")
    best = LargestJacobian(q, 0.0, None)
    for start in range(0, len(points), batch):
        x = points[start : start + batch]
        J, error = network.jacobian_and_error(x)
        certain = np.isfinite(error).all((1, 2))
        values = np.zeros(len(x))
        values[certain] = _at_least(J[certain], error[certain], q)
        k = int(np.argmax(values))
        if values[k] > best.value:
            best = LargestJacobian(q, float(values[k]), x[k].copy())
    return best


def ascent(
    network: MonDEQ, norm: object, points: np.ndarray, *, restarts: int = 10, seed: int = 0, steps: int = 200
) -> LargestJacobian:
    """Climb over activation patterns, from those of `points` with the largest Jacobians and from random ones.

    With t and v fixed, t'U'y as a function of one s_i is (a + b s_i) / (c + d s_i), so what a flip of s_i gains is
    known for all i from one inverse; flips alternate with the best t and v for the pattern. Each pattern s found is
    then realised by an input x with U x = h - W z - u, h positive exactly where s_i = 1 and z = s h: such an x exists
    when U has full row rank (p <= p0). Only the Jacobian at x counts: a pattern without an input does no harm.
    """
    q = known_norm(norm)
    if restarts < 1 or steps < 1:
        raise InputError(f"restarts, steps: expected at least 1 each, got {restarts!r} and {steps!r}.")
    points = np.atleast_2d(np.asarray(points, float))
    best = sampled(network, q, points)
    states = network.preactivation(points, network.equilibrium(points)) > 0
    rng = np.random.default_rng(seed)
    random = rng.random((restarts, network.width)) < rng.uniform(0.2, 0.8, (restarts, 1))
    # The L-infinity norm is the largest over the outputs: climb for each of them. L1: let the columns compete.
    for row in np.eye(network.classes) if q == INFINITY else [None]:
        first = states[np.argsort(-_evaluate(network, states, q, row)[0])[:restarts]]
        patterns = _climb(network, np.concatenate([first, random]), q, row, steps)
        best = max(best, sampled(network, q, realise(network, patterns)), key=lambda b: b.value)
    return best


def realise(network: MonDEQ, patterns: np.ndarray) -> np.ndarray:
    """Return inputs (n, p0) with preactivations +1 where a pattern (n, p) is true and -1 elsewhere, if any."""
    h = np.where(patterns, 1.0, -1.0)
    z = np.where(patterns, h, 0.0)
    return np.linalg.lstsq(network.U, (h - z @ network.W.T - network.u).T, rcond=None)[0].T


def _at_least(J: np.ndarray, error: np.ndarray, q: float) -> np.ndarray:
    """Lower bounds of ||J*||_q (N,) for all J* within `error`, entry by entry, of J (N, K, p0)."""
    norms = partial(np.linalg.norm, ord=q, axis=(-2, -1))
    off = np.hypot.reduce(error, axis=(-2, -1)) if q == 2 else norms(error)
    rounding = 8 * sum(J.shape[1:]) * np.finfo(float).eps
    return np.maximum(norms(J) * (1 - rounding) - off * (1 + rounding), 0.0)


def _climb(network: MonDEQ, patterns: np.ndarray, q: float, row: np.ndarray | None, steps: int) -> np.ndarray:
    """Return patterns (n, p) that no single flip improves, or the last ones after `steps`."""
    s = patterns.copy()
    value, gain = _evaluate(network, s, q, row)
    for _ in range(steps):
        top = gain.max(-1, keepdims=True)
        moving = top[:, 0] > 1e-9 * (1 + value)
        if not moving.any():
            break
        # Many flips at once where that helps, else the best one alone, which cannot fail to help.
        for fraction in (0.3, 1.0):
            rows = np.flatnonzero(moving)
            if not len(rows):
                break
            trial = s[rows] ^ (gain[rows] >= fraction * top[rows])
            new_value, new_gain = _evaluate(network, trial, q, row)
            better = new_value > value[rows]
            s[rows[better]], value[rows[better]] = trial[better], new_value[better]
            gain[rows[better]] = new_gain[better]
            moving[rows[better]] = False
        gain[np.flatnonzero(moving)] = 0  # rounding: no flip helps any more
    return s


def _evaluate(network: MonDEQ, patterns: np.ndarray, q: float, row: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return ||v'J|| (n,) for the best t (and v, unless it is `row`), and what each flip gains with these.

    N = (I - S W)^-1, r = N'C'v, k = (I - W S)^-1 U t = U t + W N S U t. Flipping s_i by delta_i changes t'U'y by
    delta_i r_i k_i / (1 - delta_i (W N)_ii) (Sherman and Morrison).
    """
    W, U = network.W, network.U
    S = patterns.astype(float)
    values, gains = np.empty(len(S)), np.empty(S.shape)
    for n, s in enumerate(S):
        N = np.linalg.inv(np.eye(len(W)) - s[:, None] * W)
        C = network.C if row is None else row[None] @ network.C
        J = ((C @ N) * s) @ U
        values[n], t, v = _directions(J, q if row is None else INFINITY)
        b = U @ t
        r = N.T @ (C.T @ v)
        k = b + W @ (N @ (s * b))
        delta = 1 - 2 * s
        gains[n] = delta * r * k / (1 - delta * np.einsum("ij,ji->i", W, N))
    return values, gains


def _directions(J: np.ndarray, q: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Return t, v with v'J t = ||J||_q, ||t||_q <= 1 and v in the dual ball."""
    if q == 2:
        left, sigma, right = np.linalg.svd(J, full_matrices=False)
        return float(sigma[0]), right[0], left[:, 0]
    sums = np.abs(J).sum(1 if q == INFINITY else 0)
    k = int(np.argmax(sums))
    if q == INFINITY:
        return float(sums[k]), np.sign(J[k]), np.eye(len(J))[k]
    return float(sums[k]), np.eye(J.shape[1])[k], np.sign(J[:, k])
