"""Whether the leaves of a tree of phases leave nothing out."""

import numpy as np


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
    open_leaves, used = [np.arange(len(signs))], [np.zeros(signs.shape[1], bool)]
    while open_leaves:
        rows, known = open_leaves.pop(), used.pop()
        here = (signs[rows] != 0) & ~known
        if not len(rows):
            return False
        if not here.any(1).all():
            continue
        shared = np.flatnonzero(here.all(0))
        if not len(shared):
            return False
        known = known.copy()
        known[shared[0]] = True
        for sign in (1, -1):
            open_leaves.append(rows[signs[rows, shared[0]] == sign])
            used.append(known)
    return True
