"""Jumps are found where they are, bounds along a shift are those of the shifted network, ascent follows them."""

from itertools import pairwise

import numpy as np
import pytest

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.networks.layers import Convolution, Dense
from tightrope.propagation.bounds import bounds
from tightrope.propagation.certify import box_bounds
from tightrope.propagation.continuity import ShiftedBound, Steps, jumps, output_gradient
from tightrope.propagation.inputs import InputSet
from tightrope.results.jovanovic2022_paradox.landscapes import Ascents


def test_jumps_of_known_functions():
    found = jumps(lambda x: np.where(x < 0.3, x, x + 2) - 5 * (x >= 0.7), 0, 1, 11)
    assert [round(jump.at, 6) for jump in found] == [0.3, 0.7]
    assert [round(jump.height, 6) for jump in found] == [2, -5]
    assert jumps(lambda x: 1000 * np.abs(x - 0.5) + np.sqrt(np.abs(x - 0.2)), 0, 1, 7) == []
    assert jumps(np.sign, -1, 1, 5, smallest=3) == []


def networks():
    rng = np.random.default_rng(0)
    yield FeedForward.dense(
        [rng.normal(size=(4, 3)), rng.normal(size=(2, 4))], [rng.normal(size=4), rng.normal(size=2)]
    )
    first = Convolution(rng.normal(size=(2, 1, 2, 2)), rng.normal(size=2), (1, 3, 3))
    yield FeedForward((first, Dense(rng.normal(size=(2, 8)), rng.normal(size=2))))


@pytest.mark.parametrize("network", list(networks()))
def test_the_direction_is_the_gradient(network):
    """By finite differences in the first weight, up to the scale."""
    x = np.random.default_rng(1).normal(size=network.input_size)
    direction = output_gradient(network, x, 1)
    assert np.abs(direction).max() == pytest.approx(1)
    first, *rest = network.layers
    steps = np.zeros_like(first.weight)
    for index in np.ndindex(steps.shape):
        moved = np.array(first.weight)
        moved[index] += 1e-6
        kind = {k: v for k, v in vars(first).items() if k != "weight"}
        steps[index] = FeedForward((type(first)(weight=moved, **kind), *rest)).logits(x)[1] - network.logits(x)[1]
    np.testing.assert_allclose(direction, steps / np.abs(steps).max(), atol=1e-4)


def test_shifted_bounds_are_those_of_the_shifted_network():
    network = next(networks())
    lower, upper = -np.ones(3), np.ones(3)
    direction = output_gradient(network, np.zeros(3) + 0.1, 0)
    found = ShiftedBound(network, lower, upper, 0, direction, "crown")([-0.2, 0.0, 0.3])
    for shift, value in zip((-0.2, 0.0, 0.3), found, strict=True):
        W = [network.weights[0] + shift * direction, network.weights[1]]
        low, _ = box_bounds(FeedForward.dense(W, network.biases), lower, upper, "crown")
        assert value == pytest.approx(low[0, 0])


@pytest.mark.parametrize("method", ["box", "deepz", "crown", "crown_ibp", "hbox"])
@pytest.mark.parametrize(("radius", "size", "seed"), [(1.0, 0.3, 3), (0.5, 1.0, 1)])
def test_jumps_are_where_the_theory_names_them(method, radius, size, seed):
    """At every jump a neuron has -l = u (CROWN, CROWN-IBP) or l = 0 (hBox); Box and DeepZ have none."""
    rng, sizes = np.random.default_rng(seed), (2, 6, 5, 2)
    weights = [rng.normal(size=(high, low)) for low, high in pairwise(sizes)]
    network = FeedForward.dense(weights, [rng.normal(size=n) * size for n in sizes[1:]])
    lower, upper, direction = -radius * np.ones(2), radius * np.ones(2), rng.normal(size=(6, 2))
    found = jumps(ShiftedBound(network, lower, upper, 0, direction, method), -1.0, 1.0, 61)
    jumping = ("hbox",) if radius < 1 else ("crown", "crown_ibp")  # what these two networks show
    assert len(found) > 0 if method in jumping else not (found and method in ("box", "deepz"))
    for jump in found:
        moved = FeedForward.dense([network.weights[0] + jump.at * direction, *network.weights[1:]], network.biases)
        hidden = bounds(moved, InputSet.boxes(lower, upper), method)
        low, high = (np.concatenate([part[0].numpy() for part in side]) for side in (hidden.lower, hidden.upper))
        assert (np.abs(low + high) if method.startswith("crown") else np.abs(low)).min() < 1e-6


# ascent ------------------------------------------------------------------------------------------------------------


def network_and_gradient(seed: int) -> tuple[FeedForward, np.ndarray]:
    rng = np.random.default_rng(seed)
    net = FeedForward.dense(
        [rng.normal(size=(4, 2)), rng.normal(size=(3, 4)), rng.normal(size=(2, 3))],
        [rng.normal(size=n) for n in (4, 3, 2)],
    )
    return net, output_gradient(net, np.zeros(2) + 0.3, 1)


@pytest.mark.parametrize("method", ["box", "hbox", "crown_ibp", "deepz", "crown"])
def test_steps_follow_the_derivative(method):
    """Each step is the rate times the slope of the bound, by central differences."""
    net, direction = network_and_gradient(2)
    bound = ShiftedBound(net, np.zeros(2) + 0.1, np.zeros(2) + 0.5, 1, direction, method)
    found = bound.ascend(Steps(1e-3, 0.5, 4))
    np.testing.assert_allclose(found.values, bound(found.shifts), rtol=1e-12)
    for k, (shift, step) in enumerate(zip(found.shifts, np.diff(found.shifts), strict=False)):
        low, high = bound([shift - 1e-6, shift + 1e-6])
        assert step == pytest.approx(1e-3 * 0.5**k * (high - low) / 2e-6, rel=1e-4)


def test_a_network_of_the_paper_profile_falls_at_a_jump_and_stays_below_box():
    """Seed 170 of Figure 5: CROWN walks up to an edge, falls, and ends below Box; DeepZ has no edge there."""
    steps = Steps(0.02, 0.99, 20)
    found = Ascents("crown", steps, 170)
    crown, box = found.paths["crown"].values, found.paths["box"].values
    assert crown.max() > box[-1] > crown[-1] and found.fallen() > 50
    jumps = found.landscape(41)["jumps"]
    assert jumps["crown"] and not jumps["box"]
    assert Ascents("deepz", steps, 170).fallen() == 0


def test_a_flat_direction_has_no_path():
    found = Ascents("crown", Steps(0.02, 0.99, 20), 1)
    assert found.flat and not found.paths


@pytest.mark.parametrize("changes", [{"rate": 0.0}, {"decay": 1.5}, {"count": 0}, {"rate": float("nan")}])
def test_steps_that_cannot_be_are_named(changes):
    with pytest.raises(InputError, match="rate="):
        Steps(**{"rate": 0.1, "decay": 0.9, "count": 3, **changes})
