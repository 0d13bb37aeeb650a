"""An L2 ball seen through a matrix: only the row space matters."""

import numpy as np

EPS = np.finfo(float).eps


def row_space(U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R' (p, p) and rounding (p,): U t, for ||t||_2 <= 1 and p0 > p, takes the values R' s, ||s||_2 <= 1.

    With U' = Q R, U t = R'(Q't). Householder's R is that of a matrix whose columns are off by less than 10 p0 p u times
    their length (Higham, Accuracy and stability, theorem 19.4), which is the rounding of each row.

    Examples
    --------
    >>> R, rounding = row_space(np.array([[3.0, 4.0]]))
    >>> abs(R.round(12)), bool((rounding < 1e-13).all())
    (array([[5.]]), True)
    """
    R: np.ndarray = np.linalg.qr(U.T, mode="r")  # type: ignore[assignment]  # an array in this mode
    return R.T, 10 * U.size * EPS * lengths(U)


def lengths(A: np.ndarray) -> np.ndarray:
    """||a||_2 of each row a of A (..., n), and what squares that underflow can have taken: 2^-1074 each, of the square.

    Examples
    --------
    >>> bool(lengths(np.array([3e-170, 4e-170])) > 5e-170), float(lengths(np.array([3.0, 4.0])))
    (True, 5.0)
    """
    return np.linalg.norm(A, axis=-1) + np.sqrt(A.shape[-1] * np.finfo(float).smallest_subnormal)
