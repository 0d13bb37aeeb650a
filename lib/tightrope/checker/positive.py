"""Whether a symmetric matrix of rational numbers is positive semidefinite: proposed in floating point, proven exactly.

With D a diagonal matrix of powers of two and L any matrix, D S D = L L' + E. If the remainder E, which is computed in
integers, is diagonally dominant with a diagonal >= 0, then E >= 0, so D S D >= 0, so S >= 0. L is a Cholesky factor of
D S D - delta I in floating point; a wrong L can only make the test fail.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import isqrt, log2

import numpy as np

from tightrope.checker.numbers import Exact

#: What is taken from the diagonal, so that the remainder is dominant: the largest first.
DELTAS = (1e-9, 1e-11, 1e-13)
BITS = 56  # of the factor's entries behind the point
FINE = 256  # of those of a second try
LARGEST = 120  # rows of a matrix for which that is tried: a second or two


def is_semidefinite(S: Exact, *, strictly: bool = False) -> bool:
    """Return True only if the symmetric matrix S (n, n) is positive semidefinite; False says nothing.

    With `strictly` it is positive definite: the remainder's diagonal is above the sum of the rest of its row.

    Examples
    --------
    >>> is_semidefinite(Exact.of([[2.0, 1.0], [1.0, 2.0]])), is_semidefinite(Exact.of([[1.0, 2.0], [2.0, 1.0]]))
    (True, False)
    """
    n = S.integers
    if n.ndim != 2 or n.shape[0] != n.shape[1] or (n != n.T).any():
        return False
    kept = np.flatnonzero(np.abs(n).sum(1))  # a row of zeros changes nothing
    if strictly and len(kept) < len(n):
        return False
    n = n[np.ix_(kept, kept)]
    diagonal = [int(v) for v in n.diagonal()]
    if not diagonal:
        return True
    if min(diagonal) <= 0:
        return False
    # The integers decide: the scale is positive. D makes the diagonal lie between 1/2 and 2.
    exponents = np.array([-round(log2(v) / 2) for v in diagonal], dtype=object)
    least = min(exponents)
    D = np.array([1 << int(e - least) for e in exponents], dtype=object)
    A = n * D[:, None] * D[None, :]
    unit = Fraction(2) ** int(2 * least)  # A * unit = D n D
    A = Exact(A, unit)
    F = A.floats()
    for factor in _factors(A, F):
        E = (A - factor @ factor.T).integers
        surplus = 2 * E.diagonal() - np.abs(E).sum(1)
        if (surplus > 0).all() if strictly else (surplus >= 0).all():
            return True
    return False


def _factors(A: Exact, F: np.ndarray) -> Iterator[Exact]:
    """Yield matrices L with A nearly L L': Cholesky factors of the floats F near A, then perhaps a finer one."""
    for delta in DELTAS:
        try:
            L = np.linalg.cholesky((F + F.T) / 2 - delta * np.eye(len(F)))
        except np.linalg.LinAlgError:
            continue
        if not np.isfinite(L).all():
            return
        yield Exact([[round(v) for v in row] for row in (L * 2.0**BITS).tolist()], Fraction(1, 1 << BITS))
    if len(F) <= LARGEST and (fine := _fine_factor(A.integers, A.scale)) is not None:
        yield fine


def _fine_factor(A: np.ndarray, unit: Fraction) -> Exact | None:
    """Return a Cholesky factor of A * unit - 2^-150 I with FINE bits behind the point, or None.

    For nearly singular matrices: slower than floating point, and exact where that is not.
    """
    n, one = len(A), 1 << FINE
    scaled = unit * one
    M = np.array([[int(v) * scaled.numerator // scaled.denominator for v in row] for row in A.tolist()], dtype=object)
    M[np.diag_indices(n)] -= one >> 150
    L = np.zeros((n, n), dtype=object)
    for k in range(n):
        if M[k, k] <= 0:
            return None
        L[k:, k] = M[k:, k] * one // isqrt(int(M[k, k]) << FINE)
        M[k + 1 :, k + 1 :] -= L[k + 1 :, k, None] * L[None, k + 1 :, k] // one
    return Exact(L, Fraction(1, one))
