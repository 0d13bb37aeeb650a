"""Trees of phases: the leaves' signs of neurons, and whether they leave nothing out."""

import numpy as np


def in_leaf(low: np.ndarray, high: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds (n,) of a leaf or (leaves, n): 1 says h >= 0, -1 says h <= 0, 0 nothing."""
    return np.where(signs > 0, np.maximum(low, 0), low), np.where(signs < 0, np.minimum(high, 0), high)


def complete(signs: np.ndarray) -> bool:
    """Return True only if each sign pattern of the neurons (leaves, n) agrees with a leaf; 0 stands for both signs.

    Where all leaves have a sign of one neuron, both halves must be complete. Leaves of a tree always share one.

    Examples
    --------
    >>> complete(np.array([[1, 0], [-1, 1], [-1, -1]])), complete(np.array([[1, 0], [-1, 1]]))
    (True, False)
    """
    if not np.isin(signs, (-1, 0, 1)).all():
        return False
    left = [(np.arange(len(signs)), np.zeros(signs.shape[1], bool))]  # leaves, and the neurons that are decided
    while left:
        rows, known = left.pop()
        here = (signs[rows] != 0) & ~known
        if len(rows) and not here.any(1).all():
            continue
        shared = np.flatnonzero(here.all(0))
        if not len(rows) or not len(shared):
            return False
        known = known | (np.arange(len(known)) == shared[0])
        left += [(rows[signs[rows, shared[0]] == sign], known) for sign in (1, -1)]
    return True
