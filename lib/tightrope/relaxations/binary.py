"""A ReLU network as a mixed-integer program: one binary for each unstable neuron (Tjeng et al. 2019).

With l <= h <= u, l < 0 < u, and b = 1 where h >= 0,

    z >= 0,   z >= h,   z <= h - l (1 - b),   z <= u b,   b in {0, 1},

is the ReLU exactly, and the triangle when b is any number in [0, 1]. Stable neurons need no binary: z = h or z = 0.
Columns are the inputs, then for each hidden layer h, z and b.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.relaxations.triangle import layer_constraints


@dataclass(frozen=True, eq=False)
class BinaryProgram:
    """max objective'y over row_lower <= matrix y <= row_upper, lower <= y <= upper, y integer where `integral`.

    `inputs` and `activations` are the columns of the inputs and of the last hidden layer's z.
    """

    lower: np.ndarray
    upper: np.ndarray
    integral: np.ndarray
    matrix: sp.csr_array
    row_lower: np.ndarray
    row_upper: np.ndarray
    inputs: np.ndarray
    activations: np.ndarray

    @property
    def binaries(self) -> int:
        """Number of unstable neurons."""
        return int(self.integral.sum())


def binary_program(
    network: FeedForward,
    lower: np.ndarray,
    upper: np.ndarray,
    hidden_lower: Sequence[np.ndarray],
    hidden_upper: Sequence[np.ndarray],
) -> BinaryProgram:
    """Return the program of a network on a box (p0,), with proven bounds (n_l,) of the preactivations of each layer.

    The tighter the bounds, the fewer binaries.

    Examples
    --------
    >>> network = FeedForward.dense(([[1.0], [1.0]], [[1.0, 1.0]]), ([0.0, 5.0], [0.0]))
    >>> binary_program(network, [-1.0], [1.0], [[-1.0, 4.0]], [[1.0, 6.0]]).binaries
    1
    """
    network.require_relu("mixed-integer programs are of")
    hidden = network.layers[:-1]
    if len(hidden_lower) != len(hidden) or len(hidden_upper) != len(hidden):
        raise InputError(f"hidden_lower, hidden_upper: expected {len(hidden)} layers of bounds.")
    lows, highs, integral = [np.asarray(lower, float)], [np.asarray(upper, float)], [np.zeros(len(lower), bool)]
    blocks: list[tuple[sp.coo_array, np.ndarray]] = []  # rows over some columns
    row_low, row_high = [np.zeros(0)], [np.zeros(0)]

    def add(parts: list, columns: list[np.ndarray], low: np.ndarray, high: np.ndarray) -> None:
        blocks.append((sp.coo_array(sp.hstack(parts)), np.concatenate(columns)))
        row_low.append(low)
        row_high.append(high)

    below, count = np.arange(len(lower)), len(lower)
    for layer, least, most in zip(hidden, hidden_lower, hidden_upper, strict=True):
        sides = layer_constraints("triangle", layer, least, most)
        n = len(sides.lower) // 2
        l, u = sides.lower[:n], sides.upper[:n]  # noqa: E741, the formula's letters
        free = np.flatnonzero((l < 0) & (u > 0))
        l, u, k = l[free], u[free], len(free)  # noqa: E741
        h, z, binary = count + np.arange(n), count + n + np.arange(n), count + 2 * n + np.arange(k)
        count += 2 * n + k
        lows += [sides.lower, np.zeros(k)]
        highs += [sides.upper, np.ones(k)]
        integral += [np.zeros(2 * n, bool), np.ones(k, bool)]
        rows = sides.matrix.shape[0] - k  # without the chords, which come last
        add([sides.matrix[:rows]], [below, h, z], sides.row_lower[:rows], sides.row_upper[:rows])
        chosen, eye, none = sp.eye_array(n, format="csr")[free], sp.eye_array(k), np.full(k, -np.inf)
        add([-chosen, chosen, -eye * l[:, None]], [h, z, binary], none, -l)
        add([chosen, -eye * u[:, None]], [z, binary], none, np.zeros(k))
        below = z
    parts = [sp.coo_array((b.data, (b.row, columns[b.col])), shape=(b.shape[0], count)) for b, columns in blocks]
    return BinaryProgram(
        lower=np.concatenate(lows),
        upper=np.concatenate(highs),
        integral=np.concatenate(integral),
        matrix=sp.csr_array(sp.vstack([sp.coo_array((0, count)), *parts])),
        row_lower=np.concatenate(row_low),
        row_upper=np.concatenate(row_high),
        inputs=np.arange(len(lower)),
        activations=below,
    )
