"""Operator splitting for the equilibrium of a monDEQ and for its adjoint.

Both are inclusions ``0 in G z - b + N(z)`` with a strongly monotone matrix G and the normal cone N of a set
whose projection is cheap: the nonnegative vectors (projection: ReLU) for the equilibrium, the vectors that
vanish outside the active neurons (projection: multiplication by 0 or 1) for the adjoint. The loops below are
written for a batch of rows and use only what NumPy arrays and torch tensors have in common.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tightrope.errors import ConvergenceError

Rows: TypeAlias = Any  # numpy array or torch tensor, (N, p)


def peaceman_rachford_step(G: np.ndarray) -> float:
    """Return the step alpha that makes the Peaceman-Rachford iteration contract fastest.

    The iteration contracts at least by ``||(I - alpha G) (I + alpha G)^-1||``. That norm is minimised over a
    grid of a factor 100 around ``1 / sqrt(lambda_min lambda_max)``, the best step of a symmetric G.
    """
    identity = np.eye(len(G))
    m = np.linalg.eigvalsh((G + G.T) / 2)[0]
    L = np.linalg.norm(G, 2)
    steps = np.geomspace(0.1, 10, 17) / np.sqrt(m * L)
    rates = [np.linalg.norm(np.linalg.solve(identity + a * G.T, identity - a * G.T), 2) for a in steps]
    return float(steps[int(np.argmin(rates))])


def largest_row_norm(rows: Rows) -> float:
    """Return the largest Euclidean norm of a row, nan if any entry is; 0 for no rows."""
    return float(((rows * rows).sum(-1)).max()) ** 0.5 if len(rows) else 0.0


def peaceman_rachford(
    G: Rows,
    V: Rows,
    alpha: float,
    b: Rows,
    project: Callable[[Rows], Rows],
    z0: Rows,
    tolerance: float,
    max_iterations: int,
) -> Rows:
    """Solve ``z = project(z - (G z - b))`` row by row with Peaceman-Rachford splitting.

    G (p, p) and the factor V = ``(I + alpha G)^-1`` are computed once for many calls; alpha is the step, positive; b
    and z0 (N, p) are right-hand sides and starting points; `project` maps (N, p) rows onto the set. The loop stops when
    every row has ``||z - project(z - (G z - b))|| <= tolerance * max(1, ||z||)``, with the largest ``||z||`` of the
    batch.
    """
    # With y = V (s + alpha b) the resolvent of G, alpha (b - G y) = y - s holds exactly: the natural residual
    # at y costs no product with G. It only says when to look; what is returned is checked with G itself.
    Gt, Vt, drift = G.T, V.T, (alpha * b) @ V.T
    w = z0 + alpha * (b - z0 @ Gt)  # at a solution, w = z + alpha (b - G z)
    z = project(w)
    safety, residual = 1.0, float("inf")
    for _ in range(max_iterations):
        s = 2 * z - w
        y = s @ Vt + drift
        candidate = project(y + (y - s) / alpha)
        target = tolerance * max(1.0, largest_row_norm(candidate))
        if not largest_row_norm(candidate - y) > safety * target:
            residual = largest_row_norm(candidate - project(candidate - candidate @ Gt + b))
            if residual <= target:
                return candidate
            safety /= 4
        w = 2 * y - s
        z = project(w)
    reached = f"residual {residual:.3g} after max_iterations={max_iterations}, above {tolerance:.3g}"
    raise ConvergenceError(f"Peaceman-Rachford splitting: {reached}. Give more max_iterations or a larger tolerance.")


def pivoting(G: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Solve ``z >= 0, G z - b >= 0, z'(G z - b) = 0`` for one right-hand side (p,) by changing the active set.

    All coordinates with a wrong sign change sides, and only the last one where that has not helped for a while: this
    ends for every G with positive principal minors (Kostreva 1978), so for every strongly monotone one, whatever its
    condition. ConvergenceError if rounding decides the signs, or after 100 + 10 p steps.
    """
    on, fewest, patience, identity = b > 0, len(b) + 1, 3, np.eye(len(b))
    for _ in range(100 + 10 * len(b)):
        z = np.zeros(len(b))
        try:
            z[on] = np.linalg.solve(G[np.ix_(on, on)], b[on])
        except np.linalg.LinAlgError:
            break
        noise = 4 * (len(b) + 3) * np.finfo(float).eps * (np.abs(G) @ np.abs(z) + np.abs(b))
        wrong = np.where(on, z < 0, G @ z - b < -noise)
        positive = np.maximum(z, 0)
        residual = positive - np.maximum(positive - (G @ positive - b), 0)
        if not wrong.any() or np.hypot.reduce(residual) <= np.hypot.reduce(noise):
            return positive
        if wrong.sum() < fewest:
            fewest, patience = int(wrong.sum()), 3
        elif patience > 0:
            patience -= 1
        else:
            wrong = identity[np.flatnonzero(wrong)[-1]] > 0
        on = on ^ wrong
    raise ConvergenceError(
        "pivoting: no active set was found whose solution has the right signs. W is too near to not being monotone for "
        "double precision; give a network with a larger m."
    )
