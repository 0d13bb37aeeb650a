"""Fixpoint bounds: every sampled equilibrium is inside, and a containment that does not hold is refused."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import ball, exact, exact_margin, exactly_solved, mondeq, question
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
    G, step = np.eye(p) - network.W, fixpoint.resolvent(network, inputs)
    alpha = step.alpha
    z0 = network.equilibrium(region.center)
    point = StateZonotope(z0 + alpha * (inputs.b - G @ z0), np.zeros_like(inputs.V), 1e-3 * np.eye(p), np.zeros(p))
    image = fixpoint._peaceman_rachford(point, inputs, step)
    x = extremes(region, 100, 0)
    z = network.equilibrium(x)
    w = z + alpha * (network.preactivation(x, z) - z)
    assert not fixpoint._extent(image, inputs).contains(w).all()  # one step from the centre proves nothing,
    assert not fixpoint.contains_slices(point, 1e3 * np.eye(p), image, inputs)  # and is not accepted
    wrong = np.zeros((p, p))  # an inverse that is none would accept everything
    assert not fixpoint.contains_slices(point, wrong, image, inputs)
    box = Box(np.zeros(2), np.ones(2))
    assert box.contains(np.array([np.zeros(2), np.full(2, 0.9), np.ones(2)])).all()
    assert not box.contains(np.full(2, 1.1))


def test_slices_are_compared_for_each_input():
    """The same box, reached by the opposite dependence on the input, is not contained."""
    inputs = inputs_of(mondeq(0, p=2, p0=1), Ball([0.0], 1.0, INFINITY))
    outer = StateZonotope(np.zeros(2), np.array([[1.0], [0.0]]), 0.5 * np.eye(2), np.zeros(2))
    same = StateZonotope(np.zeros(2), np.array([[0.9], [0.0]]), 0.1 * np.eye(2), np.zeros(2))
    opposite = StateZonotope(np.zeros(2), np.array([[-0.9], [0.0]]), 0.1 * np.eye(2), np.zeros(2))
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


def exact_state(network: MonDEQ, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z and h at an input (p0,) in rational numbers, by the pattern of the state in floating point."""
    W, p = exact(network.W), network.width
    b = exact(network.U) @ exact(x) + exact(network.u)
    guess = network.preactivation(x, network.equilibrium(x, tolerance=1e-14))
    near = np.argsort(np.abs(guess))[:3]  # whose signs rounding may have wrong
    for flips in itertools.product([False, True], repeat=len(near)):
        on = guess > 0
        on[near] ^= np.array(flips)
        z = np.array([Fraction(0)] * p, dtype=object)
        if on.any():
            z[on] = exactly_solved(exact(np.eye(on.sum())) - W[np.ix_(on, on)], b[on][:, None])[:, 0]
        h = W @ z + b
        if (z >= 0).all() and (h[on] >= 0).all() and (h[~on] <= 0).all():
            return z, h
    raise AssertionError("no pattern fits")


@settings(max_examples=60)
@given(
    seed=st.integers(0, 999),
    norm=st.sampled_from([1.0, 2.0, 3.0, INFINITY]),
    radius=st.sampled_from([0.0, 5e-324, 1e-9, 0.3]),
    scale=st.sampled_from([1e-160, 1e-8, 1e-4, 1.0, 1e4, 1e8, 1e150]),
    kind=st.sampled_from(["normal", "m near 0", "skew", "large biases"]),
    method=st.sampled_from(METHODS),
)
def test_exact_states_are_inside_at_every_scale(seed, norm, radius, scale, kind, method):
    """Without any tolerance: z, h and the margins in rational numbers, at the corners and the centre of the ball."""
    rng = np.random.default_rng(seed)
    p, A, B = 3, rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    m = 1e-9 if kind == "m near 0" else 1.0
    U, u = rng.standard_normal((p, 2)), rng.standard_normal(p) * (1e8 if kind == "large biases" else 1)
    A = A * (np.arange(3)[:, None] > 0) if kind == "m near 0" else A  # rank 2: I - W is nearly singular
    B = B * (1e6 if kind == "skew" else 1)
    W = (1 - m) * np.eye(p) - A.T @ A + B - B.T
    network = MonDEQ(W, scale * U, scale * u, rng.standard_normal((3, p)), np.zeros(3))
    region = ball(seed, 2, norm, radius)
    bounds = fixpoint_bounds(network, region, method)
    upper = bounds.margins(network, 0)
    points = np.vstack([region.center, region.inwards(extremes(region, 3, seed))])
    for x in points[region.holds(points)]:
        z, h = exact_state(network, x)
        for box, value in ((bounds.z, z), (bounds.h, h)):
            assert (exact(box.lower) <= value).all() and (value <= exact(box.upper)).all()
        scores = exact(network.C) @ z + exact(network.c)
        assert (scores[1:] - scores[0] <= exact(upper[1:])).all()


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("method", METHODS)
def test_bounds_are_as_tight_at_every_scale(scale, method):
    """Equilibria are homogeneous in U and u, and so are the widths."""
    network, region, _, _ = question(1, INFINITY, 0.3, p=5)
    other = MonDEQ(network.W, scale * network.U, scale * network.u, network.C, network.c, network.m)
    mine, theirs = (fixpoint_bounds(each, region, method).h.width for each in (network, other))
    np.testing.assert_allclose(theirs, scale * mine, rtol=0.05)


def test_a_huge_ball_and_numbers_that_overflow():
    """A ball at 1e160 has bounds; where the products overflow it is refused by name."""
    network = mondeq(0)
    center = np.full(3, 1e160)
    bounds = fixpoint_bounds(network, Ball(center, 1e150, 2))
    _, h = exact_state(network, center)
    assert (exact(bounds.h.lower) <= h).all() and (h <= exact(bounds.h.upper)).all()
    assert (bounds.h.width < 1e152).all()
    with pytest.raises(RegionError, match="overflow"):
        fixpoint_bounds(MonDEQ(network.W, 1e200 * network.U, network.u, network.C, network.c), Ball(center, 1.0, 2))
