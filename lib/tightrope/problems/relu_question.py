"""The question that a Lipschitz constant answers: a ReLU network's output, a ball, and intervals of its neurons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tightrope.arguments import require_network, require_region
from tightrope.errors import InputError, RegionError
from tightrope.networks import Composition, FeedForward, Layer
from tightrope.problems.robustness import Coordinates, coordinates
from tightrope.regions import INFINITY, Ball
from tightrope.regions.row_space import EPS, lengths, row_space

NORMS = (2.0, INFINITY)
#: Unit roundoff times this is what a product loses by underflow (:mod:`tightrope.propagation.rounding`).
TINY = np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked: the largest dual norm of the gradient of x -> c'x_m + const over a ball, L-infinity or L2.

    `weights` and `biases` are those of the m hidden layers, and c (p_m,) combines the last activations; x_0 = origin +
    basis d are the `coordinates`; `lower` and `upper`, m arrays (p_i,), proven bounds on h_i. `sizes` are (|A_i|,
    |b_i|) of every hidden layer: at least that, and where a layer was multiplied from several the product of their
    absolute values. What rounding can cost is counted in them. Then the same of c, (|c|', how far c can be from exact).
    The layers of `network`, whose question it is, may be several matrices each.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    c: np.ndarray
    region: Ball
    coordinates: Coordinates
    lower: tuple[np.ndarray, ...]
    upper: tuple[np.ndarray, ...]
    sizes: tuple[tuple[np.ndarray, np.ndarray], ...]
    network: FeedForward

    @property
    def depth(self) -> int:
        """m, the number of hidden layers."""
        return len(self.weights)


def question(network: FeedForward, region: Ball, part: int | tuple[int, int] = 0) -> Question:
    """Check network, region and output, and bound the preactivations.

    `part` is the index of an output, or a pair (i, j) for the difference F_i - F_j; both count from 0. The network is a
    FeedForward; the ball, of positive radius, is an L-infinity one, clipped or not, or an unclipped L2 one.
    """
    require_network(network, FeedForward, instead="write lipschitz.upper_bound(network, norm)")
    network.require_relu("bounds of Lipschitz constants are about", "a network of ReLU")
    require_region(region, Ball)
    if region.norm not in NORMS:
        raise RegionError(f"region: Lipschitz constants are built for L2 and L-infinity balls, not L{region.norm:g}.")
    if region.norm == 2 and region.clipped:
        raise RegionError("region: L2 balls are not clipped here; leave lower and upper out (the larger set is sound).")
    if region.radius == 0:
        raise RegionError("radius: got 0; a single point has a gradient, not a Lipschitz constant. Write a radius > 0.")
    W = network.to_dense()
    c = _row(W.weights[-1], part)
    weights, biases = W.weights[:-1], W.biases[:-1]
    first = weights[0] if weights else np.zeros((0, network.input_size))
    coords = coordinates(first, region)
    sizes = [_sizes(layer) for layer in network.layers]
    last = sizes.pop()[0][list(np.atleast_1d(part))].sum(0)
    # A difference is rounded once, and 0 only if it is; a row that was multiplied from several layers is a sum.
    multiplied = isinstance(network.layers[-1], Composition)
    inexact = 4 * (len(c) + 4) * last if multiplied else np.abs(c) * (np.size(part) > 1)
    sizes.append((last[None], EPS * inexact))
    lower, upper = preactivation_bounds(weights, biases, sizes[:-1], region, coords)
    return Question(weights, biases, c, region, coords, lower, upper, tuple(sizes), network)


def _sizes(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """|W| and |b| of a layer; of a composition |W_2| |W_1| and |W_2| |b_1| + |b_2|, as often as it has more products.

    Rounding is counted as the number of columns times u times these: the factor makes up for the columns between.
    """
    if not isinstance(layer, Composition):
        return tuple(np.abs(array) for array in layer.dense())
    W, b = _sizes(layer.layers[0])
    products = layer.input_size
    for part in layer.layers[1:]:
        A, a = _sizes(part)
        W, b, products = _size_of_product(A, W), _size_of_product(A, b) + a, products + part.input_size + 4
    factor = 1 + products / max(1, layer.input_size)
    return factor * W, factor * b


def _size_of_product(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """A B for A, B >= 0, with TINY for each product that is not 0: one may underflow."""
    return A @ B + TINY * ((A > 0).astype(float) @ (B > 0))


def _row(C: np.ndarray, part: object) -> np.ndarray:
    """The combination of outputs that a part names."""
    K = len(C)
    indices = part if isinstance(part, tuple) else (part,)
    whole = all(isinstance(k, int | np.integer) and not isinstance(k, bool) and 0 <= k < K for k in indices)
    if not whole or len(indices) not in (1, 2) or len(set(indices)) != len(indices):
        raise InputError(f"part: got {part!r}; write an output 0..{K - 1}, or a pair (i, j) of two of them.")
    return C[indices[0]] - C[indices[1]] if len(indices) == 2 else C[indices[0]].copy()


def preactivation_bounds(
    weights: tuple[np.ndarray, ...],
    biases: tuple[np.ndarray, ...],
    sizes: Sequence[tuple[np.ndarray, np.ndarray]],
    region: Ball,
    coords: Coordinates,
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Bounds (p_i,) on h_i: exact for the first layer, intervals for the others, outwards by their rounding."""
    lower: list[np.ndarray] = []
    upper: list[np.ndarray] = []
    for i, (A, b, (A_size, b_size)) in enumerate(zip(weights, biases, sizes, strict=True)):
        if i == 0:
            centre = A @ coords.origin + b
            reach = np.abs(coords.V).sum(1) if coords.kind == "box" else lengths(coords.V)
            size = A_size @ (np.abs(coords.origin) + region.radius + TINY) + b_size + reach
            reach = reach + coords.rounding
        else:
            low, high = np.maximum(lower[-1], 0), np.maximum(upper[-1], 0)
            centre, reach = A @ ((low + high) / 2) + b, np.abs(A) @ ((high - low) / 2)
            size = A_size @ (high + TINY) + b_size + reach
        noise = 4 * (A.shape[1] + 4) * EPS * (size + TINY)
        lower.append(centre - reach - noise)
        upper.append(centre + reach + noise)
    return tuple(lower), tuple(upper)


def gradient_bounds(ask: Question) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Bounds (p_i,) on the backpropagated gradients g_1, ..., g_m, by intervals; g_m = c."""
    low, high = [ask.c - ask.sizes[-1][1]], [ask.c + ask.sizes[-1][1]]
    for i in range(ask.depth - 1, 0, -1):
        A, size = ask.weights[i], ask.sizes[i][0].T
        on, off = ask.lower[i] > 0, ask.upper[i] < 0
        rl = np.where(off, 0, np.where(on, low[0], np.minimum(low[0], 0)))
        rh = np.where(off, 0, np.where(on, high[0], np.maximum(high[0], 0)))
        centre, reach = A.T @ ((rl + rh) / 2), np.abs(A.T) @ ((rh - rl) / 2)
        largest = np.maximum(np.abs(rl), np.abs(rh))
        some = (largest > 0).astype(float)  # what is 0 by its structure stays 0
        noise = 4 * (sum(A.shape) + 4) * EPS * (size @ (largest + TINY * some) + TINY * ((size > 0) @ some))
        low.insert(0, centre - reach - noise)
        high.insert(0, centre + reach + noise)
    return tuple(low), tuple(high)


def gradient_rounding(ask: Question, factored: bool = True) -> float:
    """How far the dual norm of a float64 gradient A_1'diag(u_1) ... diag(u_m) c can be from the exact one, u in [0, 1].

    Sums of K products along all layers are off by K u times the sum of the sizes, |A_1|' ... |A_m|' |c|. For L2 also
    what the QR factor of A_1' adds, if it stands for A_1' (`factored`).
    """
    size = ask.sizes[-1][0][0]
    for A, _ in reversed(ask.sizes[:-1]):
        size = A.T @ size + TINY
    terms = sum(sum(A.shape) + 4 for A, _ in ask.sizes)
    if ask.region.norm == INFINITY:
        return float(terms * EPS * size.sum())
    off = 0.0
    if factored and ask.depth and ask.region.size > len(ask.weights[0]):
        low, high = (bound[0] for bound in gradient_bounds(ask))
        size_of_r = lengths(np.maximum(np.abs(low), np.abs(high)))
        off = float(lengths(row_space(ask.weights[0])[1]) * size_of_r)
    # The norm itself may have lost what `lengths` adds, of squares that underflow: of 0 that and no more.
    return float(terms * EPS * lengths(size) + lengths(np.zeros(ask.region.size)) + off)


def underflow(ask: Question) -> float:
    """A bound on what products that underflow cost any form or bound of this question.

    What one product loses, u TINY, is multiplied by other weights, by values of the network and by gradients: by less
    than the square of S, the product of the layers' sums of absolute values with those of the input and of c. The
    factor 1e28 is for the number of products, and for forms that are divided by their size (at least 1e-12). It is
    below 1e-200 in networks of ordinary numbers (S up to 1e40), and large where large and small weights meet.
    """
    size = (1 + np.abs(ask.coordinates.origin).sum() + ask.region.radius) * (1 + ask.sizes[-1][0].sum())
    for A, b in ask.sizes[:-1]:
        size = size * (1 + A.sum() + b.sum())
    return float(1e28 * TINY * size * size)
