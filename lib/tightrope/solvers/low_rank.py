"""A low-rank method for  max <B, T W'> : unit vectors as rows of T and W, and the dual point it proposes.

Burer and Monteiro's factorisation of  max <C, X> : X >= 0, X_kk = 1, for a bipartite C, such as Shor's relaxation of
max t'B w over t, w in boxes. With W fixed the best rows of T are those of B W, normalised, and the other way round:
two matrix products per sweep. At a stationary point alpha = |rows of B W| and beta = |rows of B'T| satisfy
<B, T W'> = sum alpha = sum beta, and if it is a global maximum (it is, for a rank above sqrt(2 n), up to exceptions
that a check tells) the matrix [diag alpha, -B; -B', diag beta] is positive semidefinite: a dual solution with the same
value.
"""

import numpy as np

from tightrope.errors import InputError
from tightrope.threads import one_blas_thread

SWEEPS = 20_000  # at most


def bipartite_maxcut(B: np.ndarray, *, tolerance: float = 1e-7) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Alternate between T and W until a sweep gains less than `tolerance`, relative, for ten sweeps.

    B is (n, k); the rank, columns of T and W, is above sqrt(2 (n + k)). Returns the proposed diagonals alpha (n,) and
    beta (k,), the value <B, T W'>, a lower bound of the maximum, and the sweeps made.

    Examples
    --------
    >>> alpha, beta, value, _ = bipartite_maxcut(np.array([[1.0, -2.0], [2.0, 1.0]]))
    >>> round(value, 4), round(float(alpha.sum() + beta.sum()) / 2, 4)
    (4.4721, 4.4721)
    """
    B = np.asarray(B, float)
    if B.ndim != 2 or not np.isfinite(B).all():
        raise InputError(f"B: expected a finite matrix (n, k), got shape {B.shape}.")
    n, k = B.shape
    rank = int(np.ceil(np.sqrt(2 * (n + k)))) + 1
    W = _normalised(np.random.default_rng(0).normal(size=(k, rank)))
    previous, quiet, count = -np.inf, 0, 0
    with one_blas_thread():
        for count in range(1, SWEEPS + 1):  # noqa: B007
            BW = B @ W
            T = _normalised(BW)
            BT = B.T @ T
            W = _normalised(BT)
            value = float(np.linalg.norm(BT, axis=1).sum())
            quiet = quiet + 1 if value - previous <= tolerance * (1 + abs(value)) * 0.1 else 0
            previous = value
            if quiet >= 10:
                break
        alpha, beta = np.linalg.norm(B @ W, axis=1), np.linalg.norm(BT, axis=1)
    return alpha, beta, previous, count


def _normalised(rows: np.ndarray) -> np.ndarray:
    """Return rows of length 1; a row of zeros stays one, which changes no value."""
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(size > 0, size, 1.0)
