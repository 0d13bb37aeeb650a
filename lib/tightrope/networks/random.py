"""Random ReLU networks, dense or banded, from a name: the networks of chen2020-lipschitz and of LipOpt."""

import hashlib
import itertools
import operator
from collections.abc import Sequence

import numpy as np

from tightrope.errors import NetworkError
from tightrope.networks.feedforward import FeedForward


def random_network(sizes: Sequence[int], sparsity: int | None = None, draw: int = 0) -> FeedForward:
    """Draw linear layers as PyTorch's default does, U(-1 / sqrt(p), 1 / sqrt(p)) for p inputs, weights and biases.

    `sizes` are (p0, ..., pm, K): inputs, hidden layers, outputs. With a sparsity s all but the last layer keep the
    entries with |i - j| <= (s - 1) / 2, as in LipOpt's generator: s = 3 is tridiagonal, an even s gives the band of
    s - 1, and None a dense network. `draw` says which of the networks of these sizes; it and they are the seed.

    Examples
    --------
    >>> network = random_network((4, 4, 1), sparsity=3)
    >>> network.name, (network.weights[0] != 0).astype(int).tolist()
    ('random/4-4-1/s3/0', [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]])
    """
    try:
        widths = tuple(operator.index(size) for size in sizes)
        band = None if sparsity is None else operator.index(sparsity)
        number = operator.index(draw)
    except TypeError:
        raise NetworkError(f"sizes, sparsity, draw: got {sizes!r}, {sparsity!r}, {draw!r}; write integers.") from None
    if len(widths) < 2 or min(widths) < 1:
        raise NetworkError(f"sizes: got {widths}; write at least two positive sizes, inputs first and outputs last.")
    if (band is not None and band < 1) or number < 0:
        raise NetworkError(f"sparsity, draw: got {sparsity!r} and {draw!r}; write s >= 1 and a draw >= 0.")
    name = f"random/{'-'.join(map(str, widths))}/{'dense' if band is None else f's{band}'}/{number}"
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
    weights, biases = [], []
    for k, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        bound = inputs**-0.5
        W, b = rng.uniform(-bound, bound, (outputs, inputs)), rng.uniform(-bound, bound, outputs)
        if band is not None and k < len(widths) - 2:
            W = W * (2 * np.abs(np.subtract.outer(np.arange(outputs), np.arange(inputs))) <= band - 1)
        weights.append(W)
        biases.append(b)
    return FeedForward.dense(weights, biases, name)
