"""Networks whose layers differ by up to 1e320 in size, against exact answers by enumeration in rational numbers."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tightrope.errors import InputError, NetworkError
from tightrope.networks import FeedForward
from tightrope.propagation.lines import RELAXATIONS
from tightrope.question import Limits, Verdict
from tightrope.regions import Ball
from tightrope.verifiers.relu_lipschitz import lipschitz_bound
from tightrope.verifiers.robustness import certify
from tightrope.verifiers.triangle import layerwise_bounds

Point = tuple[Fraction, Fraction]
#: Corners of a polygon in the ball of radius 1: the ball itself for L1 and L-infinity, rational points of the circle.
CORNERS = {
    1: [(1, 0), (0, 1), (-1, 0), (0, -1)],
    np.inf: [(1, 1), (-1, 1), (-1, -1), (1, -1)],
    2: [(1, 0), (Fraction(3, 5), Fraction(4, 5)), (0, 1), (-1, 0), (Fraction(-3, 5), Fraction(-4, 5)), (0, -1)],
}
SEEDS = range(40)


@dataclass(frozen=True)
class Piece:
    """A polygon on which the network is affine: rows (a, b, c) of a x + b y + c, one for each value."""

    corners: tuple[Point, ...]
    rows: tuple[tuple[Fraction, ...], ...]

    def at(self, row: tuple[Fraction, ...], corner: Point) -> Fraction:
        return row[0] * corner[0] + row[1] * corner[1] + row[2]


def _half(piece: Piece, j: int, sign: int) -> tuple[Point, ...]:
    """The corners of what is left of a polygon where sign times value j is at least 0."""
    values = [sign * piece.at(piece.rows[j], corner) for corner in piece.corners]
    kept: list[Point] = []
    for i, (p, v) in enumerate(zip(piece.corners, values, strict=True)):
        q, w = piece.corners[i - 1], values[i - 1]
        if v * w < 0:
            t = w / (w - v)
            kept.append((q[0] + t * (p[0] - q[0]), q[1] + t * (p[1] - q[1])))
        if v >= 0:
            kept.append(p)
    return tuple(kept)


def pieces(network: FeedForward, region: Ball) -> list[Piece]:
    """The polygons on which the network is affine, and its outputs there."""
    center, radius = [Fraction(float(v)) for v in region.center], Fraction(region.radius)
    corners = tuple(
        tuple(m + radius * Fraction(u) for m, u in zip(center, c, strict=True)) for c in CORNERS[region.norm]
    )
    zero, one = Fraction(0), Fraction(1)
    found = [Piece(corners, ((one, zero, zero), (zero, one, zero)))]
    for i, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        W, b = [[Fraction(float(w)) for w in row] for row in W], [Fraction(float(v)) for v in b]
        after = []
        for piece in found:
            sums = [
                tuple(sum(w * row[k] for w, row in zip(weights, piece.rows, strict=True)) for k in range(3))
                for weights in W
            ]
            after.append(Piece(piece.corners, tuple((*s[:2], s[2] + v) for s, v in zip(sums, b, strict=True))))
        found = after
        for j in range(len(b)) if i < len(network.weights) - 1 else ():
            split = []
            for piece in found:
                on, off = _half(piece, j, 1), _half(piece, j, -1)
                none = (*piece.rows[:j], (zero,) * 3, *piece.rows[j + 1 :])
                split += [Piece(on, piece.rows)] if len(on) > 2 else []
                split += [Piece(off, none)] if len(off) > 2 else []
            found = split
    return found


def largest(found: list[Piece], label: int, target: int) -> Fraction:
    """The maximum of F_target - F_label."""
    return max(
        piece.at(tuple(a - b for a, b in zip(piece.rows[target], piece.rows[label], strict=True)), corner)
        for piece in found
        for corner in piece.corners
    )


def random_network(seed: int, depth: int) -> FeedForward:
    """Width 2 to 4, two inputs and outputs; layers of sizes 1e-160 to 1e160, biases of the size of their values."""
    rng = np.random.default_rng(seed)
    sizes, weights, biases, size = [2, *rng.integers(2, 5, depth), 2], [], [], 1.0
    for n, m in pairwise(sizes):
        scale = 10.0 ** rng.uniform(-160, 160)
        scale = scale if 1e-320 < scale * size < 1e250 else 1.0
        size *= scale
        weights.append(scale * rng.normal(size=(m, n)))
        biases.append(size * rng.choice([0.0, 1.0], p=[0.3, 0.7]) * rng.normal(size=m))
    weights[-1][1], biases[-1][:] = 0.0, 0.0
    return FeedForward.dense(weights, biases)


def tied(network: FeedForward, region: Ball) -> tuple[FeedForward, Fraction]:
    """Move the last bias until F_0 - F_1 has the smallest positive maximum that a float makes; return that too."""
    exact = largest(pieces(network, region), 1, 0)
    bias = -float(exact)
    while Fraction(bias) + exact <= 0:
        bias = np.nextafter(bias, np.inf)
    biases = [*network.biases[:-1], np.array([bias, 0.0])]
    return FeedForward.dense(network.weights, biases), exact + Fraction(float(bias))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_method_certifies_what_is_reached(seed):
    rng = np.random.default_rng(seed)
    for norm in CORNERS:
        region = Ball(rng.choice([0.0, 1.0]) * rng.normal(size=2), 10.0 ** rng.uniform(-3, 1), norm)
        network, exact = tied(random_network(seed, 1 + seed % 3), region)
        more = ("lp-greedy", "lp-last", "lp-all", "branch-and-bound") if norm == np.inf else ()
        for method in (*RELAXATIONS, *more):
            try:
                report = certify(network, region, 1, method=method, attack=False, limits=Limits(time=2))
            except InputError as error:
                assert "scale" in str(error)
                continue
            assert report.verdict is not Verdict.CERTIFIED, method
            bound = report.decisions[0].bound
            assert bound is None or Fraction(bound) >= exact, method
        for kind in ("triangle", "parallelogram") if norm == np.inf else ():
            try:
                margin = layerwise_bounds(network, *region.bounding_box(), 1, kind).margins[0]
            except InputError:
                continue  # bounds that overflow
            assert not margin < float(exact), kind


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_lipschitz_bound_is_on_the_wrong_side(seed):
    rng = np.random.default_rng(seed)
    for norm in (2, np.inf):
        region = Ball(rng.choice([0.0, 1.0]) * rng.normal(size=2), 10.0 ** rng.uniform(-3, 1), norm)
        network = random_network(seed, seed % 3)
        slopes = [piece.rows[0][:2] for piece in pieces(network, region)]
        power = 1 if norm == np.inf else 2
        exact = max(sum(abs(s) ** power for s in slope) for slope in slopes)
        methods = ("intervals", "product-shor", "qcqp", *(() if norm == 2 else ("lipopt-4",)))
        for method in methods:
            try:
                value = lipschitz_bound(network, region, 0, method).value
            except NetworkError:
                continue
            assert value is None or Fraction(value) ** power >= exact, method
        if norm == np.inf:  # of the circle only points are known
            for method in ("lbs", "ascent"):
                value = lipschitz_bound(network, region, 0, method, samples=100).value
                assert value is None or Fraction(value) <= exact, method
