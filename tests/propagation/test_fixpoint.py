"""Fixpoint bounds: every sampled equilibrium is inside, and a containment that does not hold is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import ball, exact_margin, mondeq, question
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.networks import MonDEQ
from tightrope.propagation import fixpoint
from tightrope.propagation.fixpoint import METHODS, Box, StateZonotope, fixpoint_bounds, inputs_of
from tightrope.regions import INFINITY, Ball


def extremes(region: Ball, count: int, seed: int) -> np.ndarray:
    """Points of a ball, many of them on its boundary."""
    rng = np.random.default_rng(seed)
    if region.norm == INFINITY:
        lower, upper = region.bounding_box()
        return np.where(rng.uniform(size=(count, region.size)) < 0.5, lower, upper)
    return np.concatenate([region.sample(count, rng), region.center[None]])


@settings(max_examples=80)
@given(
    seed=st.integers(0, 999),
    norm=st.sampled_from([1.0, 1.5, 2.0, 3.0, INFINITY]),
    radius=st.sampled_from([0.0, 1e-6, 0.05, 0.5, 5.0]),
    clip=st.booleans(),
    method=st.sampled_from(METHODS),
    p=st.sampled_from([1, 5]),
)
def test_sampled_equilibria_are_inside(seed, norm, radius, clip, method, p):
    """z, h and the margins of samples never leave their bounds."""
    network, region, label, _ = question(seed, norm, radius, clip, p=p)
    x = extremes(region, 60, seed)
    bounds = fixpoint_bounds(network, region, method)
    z = network.equilibrium(x, tolerance=1e-12)
    assert bounds.z.contains(z, 1e-9).all()
    assert bounds.h.contains(network.preactivation(x, z), 1e-8).all()
    scores = z @ network.C.T + network.c
    margins = scores - scores[:, [label]]
    others = np.arange(network.classes) != label
    assert (margins[:, others] <= bounds.margins(network, label)[others] + 1e-8).all()
    assert np.isnan(bounds.margins(network, label)[label])


@pytest.mark.parametrize("seed", range(6))
def test_order(seed):
    """exact <= zonotope <= monotone and interval <= monotone; a larger ball has larger bounds."""
    network, region, label, target = question(seed, INFINITY, 0.3, p=5)
    exact = exact_margin(network, region, label, target)
    found = {method: fixpoint_bounds(network, region, method) for method in METHODS}
    assert exact <= min(f.margins(network, label)[target] for f in found.values()) + 1e-7
    for method in ("interval", "zonotope"):
        assert (found[method].h.width <= found["monotone"].h.width + 1e-9).all()
        assert (found[method].z.width <= found["monotone"].z.width + 1e-9).all()


def test_a_point_has_its_equilibrium_as_bounds():
    network = mondeq(3, p=6)
    for norm in (1, 2, INFINITY):
        region = Ball(np.ones(3), 0.0, norm)
        bounds = fixpoint_bounds(network, region)
        z = network.equilibrium(region.center, tolerance=1e-13)
        assert bounds.z.width.max() < 1e-5
        assert bounds.z.contains(z, 1e-9)


def test_boxes_contain_themselves_when_the_network_is_diagonally_dominant():
    """With little coupling the interval iteration closes, and its containment alone proves the bounds."""
    network = MonDEQ([[-1.0, 0.3], [-0.2, -1.0]], np.eye(2), [0.5, -0.1], np.eye(2), [0.0, 0.0])
    bounds = fixpoint_bounds(network, Ball([0.2, 0.1], 0.4, INFINITY), "interval")
    assert bounds.contained
    # z = ReLU(h): one neuron alone, 0.3 <= 0.2 + 0.5 +- 0.4 + 0.3 z_2, over 2.
    assert bounds.z.lower[0] == pytest.approx(0.15, abs=1e-6)


def test_zonotope_containment_holds_the_iteration_from_every_start():
    """What containment proves: from any start, the iterates end inside, also for inputs on the boundary."""
    network, region, _, _ = question(1, INFINITY, 0.4, p=5)
    inputs = inputs_of(network, region)
    found = fixpoint._zonotope_containment(network, inputs, network.equilibrium(region.center))
    assert found is not None
    x = extremes(region, 200, 0)
    z = network.equilibrium(x, z0=10 * np.random.default_rng(0).standard_normal((200, 5)) ** 2)
    assert found.contains(network.preactivation(x, z), 1e-8).all()


def test_a_broken_containment_is_refused():
    """Iterates without containment do not hold the equilibria, and the check sees it."""
    network, region, _, _ = question(1, INFINITY, 0.4, p=5)
    inputs = inputs_of(network, region)
    p = network.width
    G, alpha = np.eye(p) - network.W, network.peaceman_rachford_step
    V = np.linalg.inv(np.eye(p) + alpha * G)
    R, T = 2 * V - np.eye(p), 2 * alpha * V
    z0 = network.equilibrium(region.center)
    point = StateZonotope(z0 + alpha * (inputs.b - G @ z0), np.zeros_like(inputs.V), 1e-3 * np.eye(p))
    image = fixpoint._peaceman_rachford(point, inputs, R, T)
    x = extremes(region, 100, 0)
    z = network.equilibrium(x)
    w = z + alpha * (network.preactivation(x, z) - z)
    assert not fixpoint._extent(image, inputs).contains(w).all()  # one step from the centre proves nothing,
    assert not fixpoint.contains_slices(point, 1e3 * np.eye(p), image, inputs)  # and is not accepted
    wrong = np.zeros((p, p))  # an inverse that is none would accept everything
    assert not fixpoint.contains_slices(point, wrong, image, inputs)
    box = Box(np.zeros(2), np.ones(2))
    assert fixpoint.contains_box(box, Box(np.zeros(2), np.full(2, 0.9)))
    assert not fixpoint.contains_box(box, box)  # the margin is part of the proof
    assert not fixpoint.contains_box(box, Box(np.zeros(2), np.full(2, 1.1)))


def test_slices_are_compared_for_each_input():
    """The same box, reached by the opposite dependence on the input, is not contained."""
    inputs = inputs_of(mondeq(0, p=2, p0=1), Ball([0.0], 1.0, INFINITY))
    outer = StateZonotope(np.zeros(2), np.array([[1.0], [0.0]]), 0.5 * np.eye(2))
    same = StateZonotope(np.zeros(2), np.array([[0.9], [0.0]]), 0.1 * np.eye(2))
    opposite = StateZonotope(np.zeros(2), np.array([[-0.9], [0.0]]), 0.1 * np.eye(2))
    assert fixpoint.contains_slices(outer, 2 * np.eye(2), same, inputs)
    assert not fixpoint.contains_slices(outer, 2 * np.eye(2), opposite, inputs)


def test_dead_and_active_neurons():
    network = MonDEQ(-np.eye(2), np.eye(2), [50.0, -50.0], np.eye(2), [0.0, 0.0])
    bounds = fixpoint_bounds(network, ball(0, 2, INFINITY, 1.0))
    assert bounds.z.upper[1] == 0
    assert bounds.h.lower[0] > 0


def test_inductive_bounds_are_mapped_strictly_into_themselves():
    """They hold what they are made of, and are that where it is inductive already."""
    kept, found = 0, 0
    for seed, norm, radius in itertools.product(range(12), (1, 2, INFINITY), (0.01, 0.3)):
        network, region, _, _ = question(seed, norm, radius, p=5)
        known = fixpoint_bounds(network, region)
        bounds = fixpoint.inductive(network, known.inputs, known.h)
        assert bounds.contains(known.h.lower) and bounds.contains(known.h.upper)
        image = fixpoint._relaxed_image(network, known.inputs, bounds)
        strictly = ((bounds.lower < image.lower) & (image.upper < bounds.upper)).all()
        assert strictly
        kept, found = kept + (bounds is known.h), found + 1
        assert (bounds.width <= 1.1 * known.h.width + 1e-6).all()
    assert 0 < kept < found


def test_bounds_without_inductive_ones_nearby_stay_as_they_are():
    network, region, _, _ = question(0, INFINITY, 0.6, p=5, p0=2)
    known = fixpoint_bounds(network, region)
    assert fixpoint.inductive(network, known.inputs, known.h) is known.h
    image = fixpoint._relaxed_image(network, known.inputs, known.h)
    assert not ((known.h.lower <= image.lower) & (image.upper <= known.h.upper)).all()


def test_errors():
    network, region, _, _ = question(0, INFINITY)
    with pytest.raises(UnknownNameError, match="zonotope"):
        fixpoint_bounds(network, region, "zonotop")
    with pytest.raises(RegionError, match="inputs"):
        fixpoint_bounds(network, Ball(np.zeros(7), 1.0, 2))
    with pytest.raises(InputError, match="label"):
        fixpoint_bounds(network, region).margins(network, 17)
    with pytest.raises(InputError, match="lower"):
        Box([1.0], [0.0])
