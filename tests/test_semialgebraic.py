"""Products of affine forms: they hold on their sets, and fail off them."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from tightrope.errors import InputError
from tightrope.semialgebraic import Space, interval, products, relu_graph, unit_box, unit_l1_ball, unit_l2_ball


def worst(constraints, v):
    """The largest violation of any constraint at each point (count,)."""
    return np.max([c.violation(v).max(-1, initial=0.0) for c in constraints], axis=0)


@given(seed=st.integers(0, 999), n=st.integers(1, 5))
def test_relu_graph_holds_on_the_graph_only(seed, n):
    rng = np.random.default_rng(seed)
    space = Space(z=n, x=n)
    constraints = relu_graph(space, space["z"], 2 * space["x"] - space.constant(np.ones(n)))
    x = rng.standard_normal((20, n))
    z = np.maximum(2 * x - 1, 0)
    assert worst(constraints, space.point(z=z, x=x)).max() <= 1e-12
    z[:, 0] += rng.choice([-0.5, 0.5], 20)
    assert worst(constraints, space.point(z=z, x=x)).min() > 0.1


@given(seed=st.integers(0, 999), n=st.integers(1, 5))
def test_unit_sets_hold_inside_and_fail_outside(seed, n):
    rng = np.random.default_rng(seed)
    d = rng.uniform(-1, 1, (30, n))
    sets = {np.inf: (Space(d=n), unit_box), 2: (Space(d=n), unit_l2_ball)}
    for q, (space, build) in sets.items():
        inside = d / np.maximum(1, np.linalg.norm(d, ord=q, axis=1, keepdims=True))
        outside = 1.1 * d / np.linalg.norm(d, ord=q, axis=1, keepdims=True)
        constraints = build(space)
        assert worst(constraints, space.point(d=inside)).max() <= 1e-12
        assert worst(constraints, space.point(d=outside)).min() > 0.1


@given(seed=st.integers(0, 999), n=st.integers(1, 5))
def test_l1_ball_needs_a_lift_that_only_points_inside_have(seed, n):
    rng = np.random.default_rng(seed)
    d = rng.standard_normal((30, n))
    size = np.abs(d).sum(1, keepdims=True)
    space = Space(d=n, e=n)
    constraints = unit_l1_ball(space)
    inside = d / size * rng.uniform(size=(30, 1))
    assert worst(constraints, space.point(d=inside, e=np.abs(inside))).max() <= 1e-12
    outside = 1.2 * d / size
    for lift in (np.abs(outside), np.abs(outside) / 1.2, -np.abs(outside)):
        assert worst(constraints, space.point(d=outside, e=lift)).min() > 1e-3


@given(st.floats(-3, 3), st.floats(0, 2), st.floats(-5, 5))
def test_interval(lower, width, x):
    space = Space(x=1)
    (constraint,) = interval(space, space["x"], np.array([lower]), np.array([lower + width]), "x")
    value = constraint.body(space.point(x=np.array([[x]])))[0, 0]
    assert value == pytest.approx((x - lower) * (lower + width - x), abs=1e-9)


def test_space_and_products_by_hand():
    space = Space(z=2, d=1)
    v = space.point(z=np.array([3.0, 4.0]), d=np.array([5.0]))
    np.testing.assert_array_equal(v, [1, 3, 4, 5])
    np.testing.assert_array_equal(space["d"] @ v, [5])
    both = products(space["z"], space["d"])
    np.testing.assert_array_equal(both(v), [15, 20])
    assert len(both) == 2
    total = products(space["z"], space["z"], sp.csr_array([[1.0, 1.0]]))
    np.testing.assert_array_equal(total(np.stack([v, v])), [[25], [25]])


def test_products_of_different_counts_are_refused():
    space = Space(z=2, d=3)
    with pytest.raises(InputError, match="do not match"):
        products(space["z"], space["d"])
