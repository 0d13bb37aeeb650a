"""monDEQs of convolutions in the layout of locuslab/monotone_op_net, as the matrices of their neurons.

Images and hidden layers have a frame of one pixel there. Convolutions wrap around it, but it is 0 in the images and its
ReLU sets it to 0 in every hidden layer, so nothing is seen across the border: what is left are the neurons inside, with
zeros around them, and W is the principal submatrix of these, no less monotone. With each kernel divided by its norm,

    W = (1 - m) I - g A'A + B - B',                                     one layer (its SingleConvNet),
    W_ii = (1 - m) I - g_i A_i'A_i + B_i - B_i' - n_i N_i'N_i,          several, of which each is half as high and
    W_{i+1,i} = -2 sqrt(g_{i+1} n_i) A_{i+1}' Z N_i,                    wide as the one before (its MultiConvNet),

where h scales B, N has stride 2, A and N have outputs wherever a neuron is seen, and Z adds a row and a column
of zeros. The score is linear in the last layer, with its frame; of one layer in averages of 4 x 4 pixels.
"""

import math
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import scipy.sparse

from tightrope.errors import NetworkError
from tightrope.networks.arrays import integers, required, weight
from tightrope.networks.graph import LARGEST
from tightrope.networks.layers import Convolution, average

_LAYER = "mon.linear_module."


def is_convolutional(arrays: Mapping[str, np.ndarray]) -> bool:
    """Say whether the state dictionary of a monDEQ has convolutions."""
    return np.ndim(arrays.get(f"{_LAYER}U.weight", 0)) == 4


def matrices(
    arrays: Mapping[str, np.ndarray], m: float, shape: tuple[int, ...] | None, source: object
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return W (p, p), U (p, p0), u (p,), C (K, p) and c (K,) for images of a shape (channels, height, width)."""
    if shape is None:
        raise NetworkError(
            f"{source} is a monDEQ of convolutions; its state dictionary does not hold the size of the images. Give "
            "input_shape=(channels, height, width), or --input-shape."
        )
    channels, *image = integers("input_shape", shape, 3, 1)
    several = f"{_LAYER}A0.0.weight" in arrays
    depth = sum(key.startswith(f"{_LAYER}A0.") for key in arrays) if several else 1
    names = [(f"A0.{i}.weight", f"B0.{i}.weight", f"g.{i}", f"h.{i}") for i in range(depth)]
    own = [_parts(arrays, one if several else ("A.weight", "B.weight", "g", "h"), source) for one in names]
    down = [_parts(arrays, (f"A_n0.{i}.weight", f"gn.{i}"), source) for i in range(depth - 1)]
    U, u = _parts(arrays, ("U.weight", "U.bias"), source)
    C, c = required(arrays, ("Wout.weight", "Wout.bias"), source)
    if any(size % 2 ** (depth - 1) for size in image) or channels != U.shape[1]:
        divided = "" if depth == 1 else f", height and width must be multiples of {2 ** (depth - 1)}"
        raise NetworkError(f"{source}: input_shape {shape}; {U.shape[1]} channels are needed{divided}.")
    shapes = [(len(A), image[0] // 2**i, image[1] // 2**i) for i, (A, *_) in enumerate(own)]
    sizes = list(map(prod, shapes))
    p, p0 = sum(sizes), channels * prod(image)
    if p * max(p, p0) > LARGEST:
        raise NetworkError(f"{source}: {p} neurons of {p0} inputs; W and U may have {LARGEST} entries each.")
    blocks: list[list] = [[None] * depth for _ in range(depth)]
    N: Any = scipy.sparse.csr_array((1, 1))
    for i, (A, B, g, h) in enumerate(own):
        full, skew = _matrix(_unit(A), shapes[i], 2), float(h) * _matrix(_unit(B), shapes[i], 1)
        if i:  # N is of the layer before
            seen = np.arange(full.shape[0]).reshape(-1, shapes[i][1] + 2, shapes[i][2] + 2)[:, :-1, :-1].ravel()
            blocks[i][i - 1] = -2 * math.sqrt(_positive(g, source)) * (full[seen].T @ N)
        W = (1 - m) * scipy.sparse.eye_array(sizes[i]) - float(g) * (full.T @ full) + skew - skew.T
        if i < depth - 1:
            N = math.sqrt(_positive(down[i][1], source)) * _matrix(_unit(down[i][0]), shapes[i], 2, 2)
            W = W - N.T @ N
        blocks[i][i] = W
    first, bias = Convolution(U, u, (channels, image[0], image[1]), (1, 1), (1, 1)).dense()
    last = shapes[-1]
    frame = Convolution(np.eye(last[0])[:, :, None, None], np.zeros(last[0]), last, (1, 1), (1, 1))
    pixels = frame.sparse()[0]
    if not several:
        pixels = average(frame.output_shape, (4, 4), (4, 4), (0, 0)).sparse()[0] @ pixels
    C = weight("Wout.weight", C, (None, pixels.shape[0]))
    above = p - sizes[0]
    return (
        scipy.sparse.block_array(blocks).toarray(),
        np.vstack([first, np.zeros((above, p0))]),
        np.concatenate([bias, np.zeros(above)]),
        np.hstack([np.zeros((len(C), p - sizes[-1])), (pixels.T @ C.T).T]),
        c,
    )


def _parts(arrays: Mapping[str, np.ndarray], names: tuple[str, ...], source: object) -> list[np.ndarray]:
    """Return arrays of the layer by their names; kernels are 3 x 3."""
    keys = tuple(_LAYER + name for name in names)
    found = required(arrays, keys, source)
    return [weight(k, a, (None, None, 3, 3)) if k.endswith("weight") else a for k, a in zip(keys, found, strict=True)]


def _positive(number: np.ndarray, source: object) -> float:
    if not number >= 0:
        raise NetworkError(f"{source}: a number g or gn is {float(number)}, and has no square root.")
    return float(number)


def _unit(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel divided by its norm, to the same digits on every machine."""
    if not (norm := math.sqrt(math.fsum((kernel * kernel).ravel()))):
        raise NetworkError("a kernel of zeros, which has no direction.")
    return kernel / norm


def _matrix(kernel: np.ndarray, shape: tuple[int, int, int], padding: int, stride: int = 1) -> Any:
    both: Any = (stride, stride), (padding, padding)
    return Convolution(kernel, np.zeros(len(kernel)), shape, *both).sparse()[0]
