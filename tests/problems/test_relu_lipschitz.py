"""LCEP of ReLU networks: its points, its objective, its bounds, and bad input by name."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from tests.helpers import exact
from tests.oracles.relu_states import state
from tightrope.errors import InputError, NetworkError, RegionError, UnknownNameError
from tightrope.networks import FeedForward
from tightrope.problems.relu_lipschitz import (
    REFINEMENTS,
    free_neurons,
    layer_forms,
    lifted_neurons,
    relative_rounding,
    relu_lipschitz_problem,
    slope_problem,
    variable_bounds,
)
from tightrope.problems.relu_question import gradient_bounds, gradient_rounding, question
from tightrope.problems.robustness import _box
from tightrope.regions import Ball
from tightrope.verifiers.relu_lipschitz_lower import dual_norms, gradients, preactivations

SIZES = [(3, 4, 1), (5, 3, 2), (3, 4, 3, 1), (3, 3, 2, 2, 1)]


def random_network(rng, sizes):
    weights = [rng.normal(size=(b, a)) for a, b in itertools.pairwise(sizes)]
    return FeedForward.dense(weights, [0.3 * rng.normal(size=b) for b in sizes[1:]])


def drawn(rng, norm, n, count):
    if norm == np.inf:
        return rng.uniform(-1, 1, (count, n))
    z = rng.normal(size=(count, n))
    return z / np.linalg.norm(z, axis=1, keepdims=True) * rng.uniform(0, 1, (count, 1))


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("sizes", SIZES)
def test_states_of_the_network_are_feasible_and_attain_the_dual_norm(sizes, norm):
    rng = np.random.default_rng(0)
    network = random_network(rng, sizes)
    for radius in (0.1, 2.0):
        ask = question(network, Ball(0.3 * rng.normal(size=sizes[0]), radius, norm), 0)
        d = drawn(rng, norm, ask.coordinates.V.shape[1], 100)
        for refinement in REFINEMENTS:
            problem = relu_lipschitz_problem(ask, refinement)
            v = np.stack([state(ask, problem, row) for row in d])
            lower, upper = variable_bounds(problem.space, ask, free_neurons(ask, refinement == "products"))
            assert (lower <= v + 1e-12).all() and (v <= upper + 1e-12).all()
            assert ((v**2).sum(1) <= problem.squared_norm).all()
            assert max(problem.violations(v).values()) < 1e-9
            assert ((v**2).sum(1) <= problem.squared_norm).all()
            if norm == np.inf:
                hs = preactivations(ask, ask.region.center + radius * d)
                exact = dual_norms(ask, gradients(ask, [h > 0 for h in hs]))
                assert problem.objective(v)[:, 0] == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("sizes", SIZES)
def test_bounds_hold_at_samples(sizes, norm):
    rng = np.random.default_rng(1)
    network = random_network(rng, sizes)
    region = Ball(0.3 * rng.normal(size=sizes[0]), 0.4, norm)
    ask = question(network, region, 0)
    hs = preactivations(ask, region.sample(500, rng))
    for h, lo, hi in zip(hs, ask.lower, ask.upper, strict=True):
        assert (h >= lo).all() and (h <= hi).all()
    low, high = gradient_bounds(ask)
    g = np.broadcast_to(ask.c, (500, len(ask.c)))
    for i in range(ask.depth - 1, -1, -1):
        assert (g >= low[i] - 1e-12).all() and (g <= high[i] + 1e-12).all()
        g = (g * (hs[i] > 0)) @ ask.weights[i]


def test_slopes_hold_at_points():
    rng = np.random.default_rng(2)
    ask = question(random_network(rng, (4, 5, 3, 1)), Ball(np.zeros(4), 1.0, "inf"), 0)
    problem = slope_problem(ask)
    low, high = gradient_bounds(ask)
    assert problem.space.size == 1 + 4 + 5 + 3
    u = [rng.integers(0, 2, 5).astype(float), rng.integers(0, 2, 3).astype(float)]
    r2 = u[1] * ask.c
    r1 = u[0] * (ask.weights[1].T @ r2)
    # The variables are in units of the interval bounds on any network, here at least those of this region.
    rows = problem.objective.left.toarray(), problem.objective.right.toarray()
    scale1 = rows[1][:, problem.space.slices["r1"]][0] / ask.weights[0][:, 0]
    g2 = np.maximum(np.abs(ask.c), 0)
    point = problem.space.point(t=np.sign(ask.weights[0].T @ r1), r1=r1 / scale1, r2=r2 / np.where(g2 > 0, g2, 1))
    assert max(problem.violations(point).values()) < 1e-9
    assert problem.objective(point)[0] == pytest.approx(np.abs(ask.weights[0].T @ r1).sum())
    assert point @ point <= problem.squared_norm
    assert (np.abs(low[0]) <= scale1 + 1e-9).all() and (np.abs(high[0]) <= scale1 + 1e-9).all()


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("sizes", SIZES)
def test_rounding_of_forms_and_gradients_against_rational_numbers(sizes, norm):
    """At exact states of small regions, where most neurons are decided and their forms are multiplied out."""
    if norm == 2 and sizes[0] > sizes[1]:
        pytest.skip("coordinates in the row space of A_1 are not those of x")
    rng = np.random.default_rng(3)
    for _ in range(5):
        ask = question(random_network(rng, sizes), Ball(rng.normal(size=sizes[0]), 0.05, norm), 0)
        space = relu_lipschitz_problem(ask, "products").space
        free = free_neurons(ask, tight=True)
        lifted = lifted_neurons(ask, free)
        layers = layer_forms(space, ask, free, tight=True)
        d = exact(drawn(rng, norm, ask.coordinates.V.shape[1], 1)[0])
        center, half = _box(ask.region) if norm == np.inf else (ask.region.center, np.full(sizes[0], 0.05))
        x, hs, us, blocks = exact(center) + exact(half) * d, [], [], {"d": d}
        for i, (A, b) in enumerate(zip(ask.weights, ask.biases, strict=True)):
            hs.append(exact(A) @ x + exact(b))
            us.append((hs[-1] > 0).astype(int))
            x = us[-1] * hs[-1]
            blocks |= {f"x{i + 1}": x[free[i]], f"u{i + 1}": us[i][free[i]]}
        g, gs = exact(ask.c), []
        for i in range(ask.depth - 1, -1, -1):
            gs.insert(0, g)
            blocks[f"r{i + 1}"] = (us[i] * g)[lifted[i]]
            g = exact(ask.weights[i]).T @ (us[i] * g)
        v = exact(np.eye(space.size)[0])
        for name, where in space.slices.items():
            v[where] = blocks.get(name, 0)
        allowed = relative_rounding(ask)
        assert 0 < allowed < 1e-12
        for layer, h, slope in zip(layers, hs, gs, strict=True):
            for form, true, scale in ((layer.h, h, layer.h_scale), (layer.g, slope, layer.g_scale)):
                assert (np.abs(exact(form.toarray()) @ v - true) <= Fraction(allowed) * exact(scale)).all()
        found = exact(gradients(ask, [u[None] for u in us])[0])
        off = np.abs(found - g)
        size = off.sum() if norm == np.inf else float((off**2).sum()) ** 0.5
        assert size <= gradient_rounding(ask) < 1e-10


def test_pairs_of_outputs_are_differences():
    rng = np.random.default_rng(3)
    network = random_network(rng, (3, 4, 3))
    region = Ball(np.zeros(3), 1.0, "inf")
    c = [question(network, region, part).c for part in (0, 2, (0, 2))]
    assert c[2] == pytest.approx(c[0] - c[1])


def test_decided_neurons_leave_the_tight_problem():
    network = FeedForward.dense([np.eye(3), np.ones((1, 3))], [np.array([5.0, -5.0, 0.0]), np.zeros(1)])
    ask = question(network, Ball(np.zeros(3), 1.0, "inf"), 0)
    assert relu_lipschitz_problem(ask, "printed").space.slices["u1"].stop - 7 == 3
    assert relu_lipschitz_problem(ask, "products").space.slices["u1"].stop - 7 == 1


def test_bad_input_by_name():
    rng = np.random.default_rng(4)
    network = random_network(rng, (3, 4, 2))
    region = Ball(np.zeros(3), 1.0, "inf")
    ask = question(network, region, 0)
    with pytest.raises(UnknownNameError, match="product"):
        relu_lipschitz_problem(ask, "product")
    with pytest.raises(RegionError, match="L1"):
        question(network, Ball(np.zeros(3), 1.0, 1), 0)
    with pytest.raises(RegionError, match="radius"):
        question(network, Ball(np.zeros(3), 0.0, "inf"), 0)
    with pytest.raises(RegionError, match="4 inputs"):
        question(network, Ball(np.zeros(4), 1.0, "inf"), 0)
    with pytest.raises(RegionError, match="clipped"):
        question(network, Ball(np.zeros(3), 1.0, 2, -np.ones(3), np.ones(3)), 0)
    with pytest.raises(NetworkError, match="FeedForward"):
        question(object(), region, 0)
    for part in (2, -1, True, (0, 0), (0, 1, 2), 0.5):
        with pytest.raises(InputError, match="part"):
            question(network, region, part)
    affine = FeedForward.dense([np.ones((1, 3))], [np.zeros(1)])
    with pytest.raises(InputError, match="no hidden layer"):
        relu_lipschitz_problem(question(affine, region, 0))
