"""The Robustness Model holds at every state of the network over the region, and so does its trace bound."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import ball, exact, mondeq, question
from tightrope.errors import InputError, RegionError
from tightrope.networks import MonDEQ
from tightrope.problems.robustness import _box, coordinates, preactivation_rounding, robustness_model
from tightrope.regions import INFINITY, Ball

NORMS = [1.0, 1.5, 2.0, 3.0, INFINITY]


def lifted(model, x):
    """The model's points at inputs x (count, p0) of the region: z is the network's own state."""
    coords, region = model.coordinates, model.region
    z = model.network.equilibrium(x)
    step = x - coords.origin
    if coords.kind == "box":
        lower, upper = region.enclosure()[0].bounding_box()
        wide = upper > lower
        d = step[:, wide] / ((upper - lower) / 2)[wide]
    elif not coords.V.shape[1]:
        d = np.zeros((len(x), 0))
    else:
        enclosure = region.enclosure()[0]
        d = step / enclosure.radius
        if enclosure.clipped:
            d = d[:, enclosure.upper > enclosure.lower]
        elif coords.V.shape[1] != region.size:
            d = d @ np.linalg.qr(model.network.U.T)[0]
    extra = {"e": np.abs(d)} if coords.kind == "l1" else {}
    return model.space.point(z=z, d=d, **extra), x


@settings(max_examples=60)
@given(
    seed=st.integers(0, 999),
    sizes=st.sampled_from([(4, 3), (2, 6), (5, 1), (1, 4)]),
    norm=st.sampled_from(NORMS),
    radius=st.sampled_from([0.0, 1e-3, 0.5, 20.0]),
    clip=st.booleans(),
)
def test_every_product_and_the_trace_bound_hold_on_the_region(seed, sizes, norm, radius, clip):
    network, region, label, target = question(seed, norm, radius, clip, p=sizes[0], p0=sizes[1])
    model = robustness_model(network, region, label)
    problem = model.problem(target)
    x = np.vstack([region.center, region.sample(30, np.random.default_rng(seed))])
    v, _ = lifted(model, x)
    scale = 1 + np.abs(v).max() ** 2
    for name, violation in problem.violations(v).items():
        assert violation <= 1e-8 * scale, name
    assert ((v**2).sum(-1) <= problem.squared_norm).all()
    logits = network.logits(x)
    np.testing.assert_allclose(problem.objective(v)[:, 0], logits[:, target] - logits[:, label], atol=1e-7 * scale)


@pytest.mark.parametrize("norm", [1.0, 2.0, INFINITY])
@pytest.mark.parametrize("clip", [False, True])
def test_model_points_are_states_of_the_network(norm, clip, rng):
    network, region, label, target = question(3, norm, 0.4, clip)
    model = robustness_model(network, region, label)
    n = model.coordinates.V.shape[1]
    d = rng.uniform(-1, 1, (20, n)) / (n if norm < INFINITY else 1)
    if model.coordinates.lower is not None:
        d = np.clip(d, model.coordinates.lower, model.coordinates.upper)
    violations = model.problem(target).violations(model.point(d))
    assert max(violations.values()) <= 1e-8


def test_points_outside_violate_the_model():
    network, region, label, target = question(0, INFINITY, 0.3)
    model = robustness_model(network, region, label)
    outside = np.zeros((1, 3))
    outside[0, 1] = 1.2
    violations = model.problem(target).violations(model.point(outside))
    assert violations["1 - d_j^2 >= 0"] == pytest.approx(0.44)


def test_l2_ball_shrinks_to_the_row_space_and_keeps_the_reachable_set(rng):
    network, region, *_ = question(1, 2.0, 0.3, p=2, p0=7)
    coords = coordinates(network.U, region)
    assert coords.V.shape == (2, 2)
    # U (unit ball) is the same ellipsoid: V V' = radius^2 U U'.
    np.testing.assert_allclose(coords.V @ coords.V.T, 0.09 * network.U @ network.U.T, atol=1e-12)


@pytest.mark.parametrize("norm", [1.0, 2.0, INFINITY])
@pytest.mark.parametrize("clip", [False, True])
def test_rounding_of_preactivations_against_rational_numbers(norm, clip):
    """V d + b at an exact x of the region, d exact too; the clipped sides are outwards."""
    for seed in range(10):
        network, region, *_ = question(seed, norm, 0.7, clip, p=4, p0=3)
        coords = coordinates(network.U, region)
        center, half = region.center, np.full(3, region.radius)
        if norm == INFINITY:
            center, half = _box(region)
        wide = (region.upper > region.lower) if clip else np.ones(3, bool)
        d = exact(np.random.default_rng(seed).uniform(-1, 1, int(wide.sum())))
        x = exact(center)
        x[wide] = x[wide] + exact(half[wide]) * d
        true = exact(network.U) @ x + exact(network.u)
        ours = exact(coords.V) @ d + exact(network.U @ coords.origin + network.u)
        allowed = preactivation_rounding(network, coords)
        assert (np.abs(ours - true) <= exact(allowed)).all() and (allowed < 1e-13).all()
        if coords.lower is not None:
            sides = [exact(side[wide]) - exact(center[wide]) for side in (region.lower, region.upper)]
            assert (exact(coords.lower) * Fraction(region.radius) <= sides[0]).all()
            assert (exact(coords.upper) * Fraction(region.radius) >= sides[1]).all()


@pytest.mark.parametrize("sizes", [(2, 7), (20, 30)])
def test_rounding_of_the_row_space_against_rational_numbers(sizes):
    """V = r U Q + E with ||E_i|| at most what is allowed: then V V' - r^2 U U' is as small."""
    network, region, *_ = question(1, 2.0, 0.3, p=sizes[0], p0=sizes[1])
    coords = coordinates(network.U, region)
    V, U, r = exact(coords.V), exact(network.U), Fraction(region.radius)
    off = np.abs(V @ V.T - r**2 * (U @ U.T)).astype(float)
    size, allowed = region.radius * np.linalg.norm(network.U, axis=1), coords.rounding
    both = np.outer(size, allowed)
    assert 0 < off.max() and (off <= both + both.T + np.outer(allowed, allowed)).all()


def test_flat_pixels_disappear_and_the_box_is_rounded_outwards():
    network = mondeq(0, p0=3)
    region = Ball(np.array([0.1, 0.2, 0.3]), 0.7, INFINITY, [0.1, 0.2, -1], [0.1, 0.5, 0.4])
    coords = coordinates(network.U, region)
    assert coords.V.shape == (4, 2) and coords.squared_norm == 2
    lower, upper = region.bounding_box()
    half = coords.V[0] / network.U[0, 1:]
    assert (coords.origin[1:] - half <= lower[1:] + 1e-16).all()
    assert (coords.origin[1:] + half >= upper[1:] - 1e-16).all()


def test_trace_bound_forgives_an_inexact_m():
    """m may exceed the true constant by a relative 1e-9; R^2 takes that off."""
    plain = mondeq(2)
    network = MonDEQ(W=plain.W, U=plain.U, u=plain.u, C=plain.C, c=plain.c)
    wide = robustness_model(network, ball(2, 3, 2.0, 1.0), 0)
    slack = robustness_model(
        MonDEQ(W=plain.W, U=plain.U, u=plain.u, C=plain.C, c=plain.c, m=network.m * (1 - 1e-9)), wide.region, 0
    )
    assert wide.squared_norm == pytest.approx(slack.squared_norm, rel=1e-7)


def test_bad_questions_are_refused():
    network, region, label, _ = question(0, 2.0)
    with pytest.raises(InputError, match="label"):
        robustness_model(network, region, 3)
    with pytest.raises(InputError, match="target"):
        robustness_model(network, region, label).problem(label)
    with pytest.raises(RegionError, match="inputs"):
        robustness_model(network, Ball(np.zeros(5), 0.1, 2), label)
