"""The question that a Lipschitz constant answers: a ReLU network's output, a ball, and intervals of its neurons."""

from dataclasses import dataclass

import numpy as np

from tightrope.errors import InputError, NetworkError, RegionError
from tightrope.networks import FeedForward
from tightrope.problems.robustness import Coordinates, coordinates
from tightrope.regions import INFINITY, Ball

NORMS = (2.0, INFINITY)


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked: the largest dual norm of the gradient of x -> c'x_m + const over a ball.

    Attributes
    ----------
    weights, biases
        A_1, ..., A_m and b_1, ..., b_m: hidden layers only.
    c
        (p_m,) combination of the last activations.
    region
        L-infinity (clipped or not) or L2 (not clipped).
    coordinates
        x_0 = origin + basis d.
    lower, upper
        m arrays (p_i,): proven bounds on h_i.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    c: np.ndarray
    region: Ball
    coordinates: Coordinates
    lower: tuple[np.ndarray, ...]
    upper: tuple[np.ndarray, ...]

    @property
    def depth(self) -> int:
        """m, the number of hidden layers."""
        return len(self.weights)


def question(network: FeedForward, region: Ball, part: int | tuple[int, int] = 0) -> Question:
    """Check network, region and output, and bound the preactivations.

    Parameters
    ----------
    part
        The index of an output, or a pair (i, j) for the difference F_i - F_j; both count from 0.

    Raises
    ------
    NetworkError
        Not a dense feed-forward network.
    RegionError
        A norm other than 2 and inf, a radius of 0, a clipped L2 ball, another input size.
    InputError
        An output that does not exist.
    """
    if not isinstance(network, FeedForward):
        raise NetworkError(f"network: expected a FeedForward, got {type(network).__name__}.")
    if not isinstance(region, Ball) or region.norm not in NORMS:
        what = f"L{region.norm:g}" if isinstance(region, Ball) else type(region).__name__
        raise RegionError(f"region: Lipschitz constants are built for L2 and L-infinity balls, not {what}.")
    if region.size != network.input_size:
        raise RegionError(f"region: {region.size} inputs, but the network has {network.input_size}.")
    if region.norm == 2 and region.clipped:
        raise RegionError("region: L2 balls are not clipped here; leave lower and upper out (the larger set is sound).")
    if region.radius == 0:
        raise RegionError("radius: got 0; a single point has a gradient, not a Lipschitz constant. Write a radius > 0.")
    W = network.to_dense()
    c = _row(W.weights[-1], part)
    weights, biases = W.weights[:-1], W.biases[:-1]
    first = weights[0] if weights else np.zeros((0, network.input_size))
    coords = coordinates(first, region)
    lower, upper = preactivation_bounds(weights, biases, coords)
    return Question(weights, biases, c, region, coords, lower, upper)


def _row(C: np.ndarray, part: object) -> np.ndarray:
    """The combination of outputs that a part names."""
    K = len(C)
    indices = part if isinstance(part, tuple) else (part,)
    whole = all(isinstance(k, int | np.integer) and not isinstance(k, bool) and 0 <= k < K for k in indices)
    if not whole or len(indices) not in (1, 2) or len(set(indices)) != len(indices):
        raise InputError(f"part: got {part!r}; write an output 0..{K - 1}, or a pair (i, j) of two of them.")
    return C[indices[0]] - C[indices[1]] if len(indices) == 2 else C[indices[0]].copy()


def preactivation_bounds(
    weights: tuple[np.ndarray, ...], biases: tuple[np.ndarray, ...], coords: Coordinates
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Bounds (p_i,) on h_i: exact for the first layer, intervals for the others, outwards by their rounding."""
    lower, upper = [], []
    for i, (A, b) in enumerate(zip(weights, biases, strict=True)):
        if i == 0:
            centre = A @ coords.origin + b
            reach = np.abs(coords.V).sum(1) if coords.kind == "box" else np.linalg.norm(coords.V, axis=1)
            size = np.abs(A) @ np.abs(coords.origin) + np.abs(b) + reach
        else:
            low, high = np.maximum(lower[-1], 0), np.maximum(upper[-1], 0)
            centre, reach = A @ ((low + high) / 2) + b, np.abs(A) @ ((high - low) / 2)
            size = np.abs(A) @ high + np.abs(b) + reach
        noise = 4 * (A.shape[1] + 4) * np.finfo(float).eps * size
        lower.append(centre - reach - noise)
        upper.append(centre + reach + noise)
    return tuple(lower), tuple(upper)


def gradient_bounds(ask: Question) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Bounds (p_i,) on the backpropagated gradients g_1, ..., g_m, by intervals; g_m = c."""
    low, high = [ask.c], [ask.c]
    for i in range(ask.depth - 1, 0, -1):
        A = ask.weights[i]
        on, off = ask.lower[i] > 0, ask.upper[i] < 0
        rl = np.where(off, 0, np.where(on, low[0], np.minimum(low[0], 0)))
        rh = np.where(off, 0, np.where(on, high[0], np.maximum(high[0], 0)))
        centre, reach = A.T @ ((rl + rh) / 2), np.abs(A.T) @ ((rh - rl) / 2)
        noise = 4 * (len(A) + 4) * np.finfo(float).eps * (np.abs(A.T) @ np.maximum(np.abs(rl), np.abs(rh)))
        low.insert(0, centre - reach - noise)
        high.insert(0, centre + reach + noise)
    return tuple(low), tuple(high)


def gradient_rounding(ask: Question) -> float:
    """How far the dual norm of a float64 gradient A_1'diag(u_1) ... diag(u_m) c can be from the exact one, u in [0, 1].

    Sums of K products along all layers are off by K u times the sum of the sizes, |A_1|' ... |A_m|' |c|. For L2 also
    what the QR factor of A_1' adds, where it stands for A_1' (Higham, Accuracy and stability, theorem 19.4).
    """
    size, eps = np.abs(ask.c), np.finfo(float).eps
    for A in reversed(ask.weights):
        size = np.abs(A).T @ size
    terms = sum(len(A) + 2 for A in ask.weights) + ask.region.size + 2
    if ask.region.norm == INFINITY:
        return float(terms * eps * size.sum())
    first, (low, high) = ask.weights[0], (bound[0] for bound in gradient_bounds(ask))
    factor = 10 * first.size * np.linalg.norm(first) * np.linalg.norm(np.maximum(np.abs(low), np.abs(high)))
    return float(eps * (terms * np.linalg.norm(size) + factor))
