"""Gradient ascent on bounds: steps by hand, gradients by differences, a fall on the minimal example, bad input."""

import numpy as np
import pytest

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.propagation.ascent import Steps, ascend
from tightrope.propagation.continuity import output_gradient, shifted_lower_bounds
from tightrope.results.jovanovic2022_paradox.landscapes import Ascents


def network(seed: int) -> tuple[FeedForward, np.ndarray]:
    rng = np.random.default_rng(seed)
    net = FeedForward.dense(
        [rng.normal(size=(4, 2)), rng.normal(size=(3, 4)), rng.normal(size=(2, 3))],
        [rng.normal(size=n) for n in (4, 3, 2)],
    )
    return net, output_gradient(net, np.zeros(2) + 0.3, 1)


@pytest.mark.parametrize("method", ["box", "hbox", "crown_ibp", "deepz", "crown"])
def test_steps_follow_the_derivative(method):
    """Each step is the rate times the slope of the bound, by central differences."""
    net, direction = network(2)
    ends = np.zeros(2) + 0.1, np.zeros(2) + 0.5
    found = ascend(net, *ends, 1, direction, method, Steps(1e-3, 0.5, 4))
    values = shifted_lower_bounds(net, *ends, 1, direction, found.shifts, method)
    np.testing.assert_allclose(found.values, values, rtol=1e-12)
    for k, (shift, step) in enumerate(zip(found.shifts, np.diff(found.shifts), strict=False)):
        low, high = shifted_lower_bounds(net, *ends, 1, direction, [shift - 1e-6, shift + 1e-6], method)
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
