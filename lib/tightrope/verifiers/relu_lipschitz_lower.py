"""Lower bounds of the Lipschitz constant of a ReLU network: sampling (LBS), ascent, and the exact value of small ones.

All values are dual norms of generalised gradients A_1'diag(u_1) ... diag(u_m) c of the paper, u_i in {0, 1} where
h_i = 0, at points of the region: lower bounds of the quantity L_F that the upper bounds of the paper are for.
"""

import itertools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import linprog

from tightrope.checker.numbers import Exact
from tightrope.checker.relu import exact_outputs
from tightrope.checker.relu_network import Network
from tightrope.errors import InputError, RegionError
from tightrope.problems.relu_question import Question
from tightrope.regions import INFINITY

#: Neurons at 0 whose derivatives are tried in all combinations; further ones stay at 0.
TIED = 10
#: Points of one batch at which preactivations near 0 are computed in rational numbers: the most promising ones.
ASKED = 5
#: Rows and offsets of G d <= g so far, the patterns of finished layers, that of the current one, and its d -> H d + k.
_Node: TypeAlias = tuple[np.ndarray, np.ndarray, list[np.ndarray], list[bool], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class LargestGradient:
    """The largest dual norm of a gradient that was found, and where: point (p0,), patterns (p_i,) of every layer."""

    value: float
    point: np.ndarray | None
    patterns: tuple[np.ndarray, ...]


def preactivations(ask: Question, points: np.ndarray) -> list[np.ndarray]:
    """Return the preactivations h_1, ..., h_m (N, p_i) at points (N, p0)."""
    x, hs = points, []
    for A, b in zip(ask.weights, ask.biases, strict=True):
        hs.append(x @ A.T + b)
        x = np.maximum(hs[-1], 0)
    return hs


def at_zero(ask: Question, points: np.ndarray, hs: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return which preactivations (N, p_i) are 0 up to rounding, and at which points (N,) that is not certain.

    It is certain where every product is 0: at the origin without biases, and for neurons without weights.
    """
    size, some, terms = np.abs(points), points != 0, 0
    found, doubt = [], np.zeros(len(points), bool)
    for (A, b), h in zip(ask.sizes[:-1], hs, strict=True):
        terms += A.shape[1] + 1
        some = (some @ (A != 0).T.astype(float) > 0) | (b != 0)
        size = size @ A.T + b + np.finfo(float).tiny  # products that underflow
        found.append(np.abs(h) <= 2 * terms * np.finfo(float).eps * size)
        doubt |= (found[-1] & some).any(1)
    return found, doubt


def gradients(ask: Question, patterns: list[np.ndarray], first: int = 0) -> np.ndarray:
    """Return the gradients A_1'diag(u_1) ... diag(u_m) c (N, p0) for patterns (N, p_i); the layers from `first` on."""
    g = np.broadcast_to(ask.c, patterns[-1].shape)
    for A, u in zip(reversed(ask.weights[first:]), reversed(patterns[first:]), strict=True):
        g = (g * u) @ A
    return g


def dual_norms(ask: Question, g: np.ndarray) -> np.ndarray:
    """Return the dual norm (N,) of gradients (N, p0): L1 for an L-infinity ball, L2 for an L2 ball."""
    return np.abs(g).sum(-1) if ask.region.norm == INFINITY else np.linalg.norm(g, axis=-1)


def sampled(ask: Question, samples: int = 50_000, seed: int = 0, batch: int = 2_000) -> LargestGradient:
    """Return the largest value at points drawn uniformly from the region (LBS)."""
    if samples < 1:
        raise InputError(f"samples: expected at least 1, got {samples!r}.")
    rng = np.random.default_rng(seed)
    best = LargestGradient(0.0, None, ())
    for start in range(0, samples, batch):
        points = ask.region.sample(min(batch, samples - start), rng)
        best = max(best, at_points(ask, points, best.value), key=lambda b: b.value)
    return best


def exact_signs(ask: Question, point: np.ndarray) -> list[np.ndarray]:
    """Return the signs of h_1, ..., h_m at a point (p0,) as the checker has them: in float64 a small h may be 0."""
    x, signs = Exact.of(point), []
    for layer in Network.read(ask.network.arrays()).layers[:-1]:
        h = exact_outputs(Network((layer,)), x)
        signs.append(h.signs)
        x = h.maximum(Exact.zeros(len(h)))
    return signs


def at_points(ask: Question, points: np.ndarray, least: float = 0.0) -> LargestGradient:
    """Return the largest value above `least` at given points of the region, ties u in {0, 1} included; or `least`.

    Points that rounding has put outside are moved in.
    """
    points = ask.region.inwards(points)
    hs = preactivations(ask, points)
    values = dual_norms(ask, gradients(ask, [h > 0 for h in hs]))
    zero, doubt = at_zero(ask, points, hs)
    tied = np.any([layer.any(1) for layer in zero], axis=0) if hs else np.zeros(len(points), bool)
    best = LargestGradient(least, None, ())
    if not tied.all():
        k = int(np.argmax(np.where(tied, -np.inf, values)))
        if values[k] > least or not least:
            best = LargestGradient(float(values[k]), points[k].copy(), tuple(h[k] > 0 for h in hs))
    at_ties: list[tuple[int, LargestGradient]] = []
    for row in map(int, np.flatnonzero(tied)):
        if here := _at_ties(ask, points[row], [layer[row] for layer in zero], [h[row] for h in hs], best.value):
            at_ties.append((row, here))
    asked = 0
    for row, here in sorted(at_ties, key=lambda pair: -pair[1].value):
        if here.value <= best.value:
            break
        if not doubt[row]:
            best = here
        elif asked < ASKED:  # with u of either value where h may be 0; is it 0?
            asked += 1
            signs = exact_signs(ask, points[row])
            best = _at_ties(ask, points[row], [sign == 0 for sign in signs], signs, best.value) or best
    return best


def _at_ties(
    ask: Question, point: np.ndarray, zero: list[np.ndarray], hs: list[np.ndarray], least: float
) -> LargestGradient | None:
    """Return the largest value above `least` over both u at the first :data:`TIED` neurons of `zero`, if any."""
    ties = [(i, j) for i, layer in enumerate(zero) for j in np.flatnonzero(layer)][:TIED]
    best = None
    for choice in itertools.product((False, True), repeat=len(ties)):
        patterns = [(h > 0) & ~layer for h, layer in zip(hs, zero, strict=True)]
        for (i, j), u in zip(ties, choice, strict=True):
            patterns[i][j] = u
        value = float(dual_norms(ask, gradients(ask, [u[None] for u in patterns]))[0])
        if value > (best.value if best else least):
            best = LargestGradient(value, point.copy(), tuple(patterns))
    return best


def ascent(ask: Question, samples: int = 2_000, starts: int = 20, steps: int = 60, seed: int = 0) -> LargestGradient:
    """Climb over activation patterns that points of the region have, from the best samples.

    With t the sign of the gradient at x, neuron j of the first layer adds u_j g_j (A_1 t)_j: the point of the region
    where sum_j g_j (A_1 t)_j h_j is largest switches neurons in the right direction. Tried are points on the way, and
    small random steps.
    """
    if samples < 1 or starts < 1 or steps < 0:
        raise InputError(f"samples, starts, steps: expected positive numbers, got {samples!r}, {starts!r}, {steps!r}.")
    if not ask.depth:
        return at_points(ask, ask.region.center[None])
    rng = np.random.default_rng(seed)
    points = ask.region.sample(samples, rng)
    x = points[np.argsort(-_values(ask, points))[:starts]]
    value = _values(ask, x)
    shares = np.array([0.003, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0])
    width = 1.0
    for _ in range(steps):
        goals = _goals(ask, x)
        noise = ask.region.sample(len(x) * 6, rng).reshape(6, *x.shape)
        widths = [width * share for share in (*shares[::2].tolist(), 0.06)]
        tried = [x + share * (goals - x) for share in shares]
        tried += [x + share * (other - x) for other, share in zip(noise, widths, strict=True)]
        trials = np.stack([ask.region.project(trial) for trial in tried])
        found = _values(ask, trials.reshape(-1, x.shape[1])).reshape(len(trials), -1)
        best = found.argmax(0), np.arange(len(x))
        better = found[best] > value
        x[better], value[better] = trials[best][better], found[best][better]
        width *= 1.0 if better.any() else 0.8
    return at_points(ask, x)


def _values(ask: Question, points: np.ndarray) -> np.ndarray:
    return dual_norms(ask, gradients(ask, [h > 0 for h in preactivations(ask, points)]))


def _goals(ask: Question, x: np.ndarray) -> np.ndarray:
    """Return for each point that of the region which raises the first layer's preactivations as their gains ask for."""
    patterns = [h > 0 for h in preactivations(ask, x)]
    g = gradients(ask, patterns, 1)  # with respect to the first layer's activations
    slope = (g * patterns[0]) @ ask.weights[0]
    t = np.sign(slope) if ask.region.norm == INFINITY else slope / np.maximum(dual_norms(ask, slope)[:, None], 1e-300)
    direction = (g * (t @ ask.weights[0].T)) @ ask.weights[0]
    if ask.region.norm == INFINITY:
        lower, upper = ask.region.bounding_box()
        return np.where(direction > 0, upper, lower)
    size = np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-300)
    return ask.region.center + ask.region.radius * direction / size


def exact(ask: Question, largest: int = 20_000) -> LargestGradient:
    """Return the constant itself, by enumeration of all activation patterns with a point in the (closed) region.

    Neuron by neuron: h is affine where the pattern so far holds, and a linear program says whether both signs occur, up
    to the solver's tolerance: no proof, in neither direction. For L-infinity, and for at most `largest` patterns.
    """
    if ask.region.norm != INFINITY:
        raise RegionError(f"region: patterns are enumerated for L-infinity, not L{ask.region.norm:g}.")
    if not ask.depth:
        return at_points(ask, ask.region.center[None])
    V, leaves, best = ask.coordinates.V, 0, LargestGradient(0.0, None, ())
    first = (V, ask.weights[0] @ ask.coordinates.origin + ask.biases[0])
    stack: list[_Node] = [(np.zeros((0, V.shape[1])), np.zeros(0), [], [], first)]
    while stack:
        G, g, done, pattern, (H, k) = stack.pop()
        if len(pattern) == len(k):
            u = np.array(pattern, bool)
            done = [*done, u]
            if len(done) < ask.depth:
                A, b = ask.weights[len(done)], ask.biases[len(done)]
                stack.append((G, g, done, [], (A @ (u[:, None] * H), A @ (u * k) + b)))
                continue
            leaves += 1
            if leaves > largest:
                raise InputError(f"network: more than {largest} activation patterns; use the method ascent.")
            value = float(dual_norms(ask, gradients(ask, [u[None] for u in done]))[0])
            best = max(best, LargestGradient(value, None, tuple(done)), key=lambda b: b.value)
            continue
        j = len(pattern)
        for on in (False, True):  # h_j <= 0 or h_j >= 0
            row, offset = (-H[j], k[j]) if on else (H[j], -k[j])
            rows, offsets = np.vstack([G, row]), np.append(g, offset)
            if _feasible(rows, offsets):
                stack.append((rows, offsets, done, [*pattern, on], (H, k)))
    return best


def _feasible(G: np.ndarray, g: np.ndarray) -> bool:
    """Return whether some d in [-1, 1]^n has G d <= g (up to the solver's tolerance)."""
    size = np.abs(G).sum(1)
    if (g[size == 0] < 0).any():
        return False
    G, g, size = G[size > 0], g[size > 0], size[size > 0]
    if not len(g):  # also without inputs
        return True
    result = linprog(np.zeros(G.shape[1]), A_ub=G / size[:, None], b_ub=g / size, bounds=(-1, 1), method="highs")
    return bool(result.status == 0)
