"""Triangle and Parallelogram: sound, in the order that theory gives, equal to other formulations."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import RELAXATIONS
from tightrope.relaxations.triangle import KINDS, area, layer_constraints
from tightrope.verifiers.triangle import layerwise_bounds


def network(seed: int, sizes=(3, 6, 5, 4, 3)) -> FeedForward:
    rng = np.random.default_rng(seed)
    pairs = list(zip(sizes[1:], sizes, strict=False))
    return FeedForward.dense([rng.normal(size=pair) for pair in pairs], [rng.normal(size=m) for m, _ in pairs])


def box(seed: int, size: int = 3, radius: float = 0.3):
    center = np.random.default_rng(seed + 50).normal(size=size)
    return center - radius, center + radius


@pytest.mark.parametrize("kind", list(KINDS))
def test_sampled_points_are_inside(kind):
    for seed in range(6):
        net, (lower, upper) = network(seed), box(seed)
        found = layerwise_bounds(net, lower, upper, 1, kind)
        x = np.random.default_rng(seed).uniform(lower, upper, (2000, 3))
        *hidden, logits = net.preactivations(x)
        for h, low, high in zip(hidden, found.lower, found.upper, strict=True):
            assert (h >= low - 1e-12).all() and (h <= high + 1e-12).all()
        assert ((logits - logits[:, [1]]).max(0) <= found.margins + 1e-12).all()
        assert found.margins[1] == 0 and found.unfinished == 0


def test_triangle_is_at_most_everything():
    for seed in range(10):
        net, (lower, upper) = network(seed), box(seed, radius=0.5)
        triangle = layerwise_bounds(net, lower, upper, 0)
        region = InputSet(torch.tensor(lower)[None], torch.tensor(upper)[None])
        for name in RELAXATIONS:
            other = bounds(net, region, name, [0])
            assert (triangle.margins <= other.margins[0].numpy() + 1e-7).all(), name
        looser = layerwise_bounds(net, lower, upper, 0, "parallelogram")
        assert (triangle.margins <= looser.margins + 1e-7).all()
        hbox = bounds(net, region, "hbox", [0])
        assert (looser.margins <= hbox.margins[0].numpy() + 1e-7).all()


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_neuron_by_a_program_of_its_own(kind):
    """The same bounds from scipy, with a program for every neuron, stable or not, and rows written out by hand."""
    net, (lower, upper) = network(3), box(3, radius=0.4)
    found = layerwise_bounds(net, lower, upper, 0, kind)
    columns = [(a, b) for a, b in zip(lower, upper, strict=True)]
    A_eq, b_eq, A_ub, b_ub = [], [], [], []
    below = list(range(3))

    def optimum(weights, sign):
        cost = np.zeros(len(columns))
        cost[below] = -sign * np.asarray(weights)
        pad = (
            [np.r_[row, np.zeros(len(columns) - len(row))] for row in A_ub],
            [np.r_[row, np.zeros(len(columns) - len(row))] for row in A_eq],
        )
        ub, eq = (np.array(rows) if rows else None for rows in pad)
        result = linprog(cost, ub, b_ub or None, eq, b_eq or None, columns, method="highs")
        return -sign * result.fun

    for i, (W, b) in enumerate(zip(net.weights[:-1], net.biases[:-1], strict=True)):
        low = np.array([optimum(w, -1) for w in W]) + b
        high = np.array([optimum(w, 1) for w in W]) + b
        open_ = (found.lower[i] < 0) & (found.upper[i] > 0)
        np.testing.assert_allclose(found.lower[i][open_], low[open_], atol=1e-6)
        np.testing.assert_allclose(found.upper[i][open_], high[open_], atol=1e-6)
        first = len(columns)
        columns += [(None, None)] * len(b)
        for j in range(len(b)):
            columns.append((0, max(high[j], 0)))
            row = np.zeros(first + len(b))
            row[below], row[first + j] = W[j], -1
            A_eq.append(row)
            b_eq.append(-b[j])
            h, z = first + j, first + len(b) + j
            for slope, intercept, side in (
                (1, 0.0, -1),
                *(
                    [(1, 0.0, 1)]
                    if low[j] >= 0
                    else [(0, 0.0, 1)]
                    if high[j] <= 0
                    else [(1, -low[j], 1)]
                    if kind == "parallelogram"
                    else [(high[j] / (high[j] - low[j]), -low[j] * high[j] / (high[j] - low[j]), 1)]
                ),
            ):
                row = np.zeros(first + 2 * len(b))
                row[h], row[z] = -slope * side, side
                A_ub.append(row)
                b_ub.append(side * intercept)
        below = list(range(first + len(b), first + 2 * len(b)))
    margins = [
        optimum(net.weights[-1][k] - net.weights[-1][0], 1) + net.biases[-1][k] - net.biases[-1][0] for k in (1, 2)
    ]
    np.testing.assert_allclose(found.margins[1:], margins, atol=1e-6)


def test_no_hidden_layer_and_one():
    """Without hidden layers every bound is exact; with one, Triangle equals the chord's program."""
    net = FeedForward.dense(([[1.0, 2.0], [0.0, 1.0]],), ([0.0, 0.0],))
    found = layerwise_bounds(net, np.zeros(2), np.ones(2), 0)
    assert found.margins[1] == pytest.approx(0, abs=1e-9)
    assert found.worst == pytest.approx(0, abs=1e-9)
    net = FeedForward.dense(([[1.0]], [[1.0], [0.0]]), ([0.0], [0.0, 0.0]))
    found = layerwise_bounds(net, [-1.0], [3.0], 1)
    assert found.margins[0] == pytest.approx(3)


def test_areas_are_those_of_the_polygons():
    """By sampling the plane between the sides."""
    rng = np.random.default_rng(0)
    low, high = -1.0, 2.5
    h, z = rng.uniform(low, high, 400_000), rng.uniform(low, high, 400_000)
    slope = high / (high - low)
    chord = z <= slope * (h - low)
    regions = {
        "triangle": (z >= 0) & (z >= h) & chord,
        "parallelogram": (z >= 0) & (z >= h) & (z <= high) & (z <= h - low),
        "deepz": (z >= slope * h) & chord,
        "crown": (z >= h) & chord,
        "crown_0": (z >= 0) & chord,
        "hbox": (z >= 0) & (z <= high),
    }
    for kind, inside in regions.items():
        assert area(kind, low, high) == pytest.approx(inside.mean() * (high - low) ** 2, rel=0.02), kind
    assert area("crown", -3.0, 1.0) == pytest.approx(area("crown_0", -3.0, 1.0))
    assert area("triangle", 0.0, 1.0) == 0


def test_bad_input():
    net = network(0)
    with pytest.raises(InputError, match="kind"):
        layerwise_bounds(net, *box(0), 0, "square")
    with pytest.raises(InputError, match="label"):
        layerwise_bounds(net, *box(0), 3)
    with pytest.raises(InputError, match="expected \\(6,\\) bounds"):
        layer_constraints("triangle", net.layers[0], np.ones(6), np.zeros(6))
