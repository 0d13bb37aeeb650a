"""Where bounds of monDEQs and Lipschitz constants could be wrong: odd norms, inexact equilibria, small scales."""

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import exact, exactly_solved
from tightrope.certificates import Verdict
from tightrope.errors import CertificateError, InputError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.problems.local_lipschitz import preactivation_bounds
from tightrope.propagation.fixpoint import METHODS, fixpoint_bounds
from tightrope.regions import Ball, Polytope
from tightrope.verifiers import lipschitz, relu_lipschitz
from tightrope.verifiers.ellipsoid import outer_ellipsoid
from tightrope.verifiers.local_lipschitz import local_upper_bound
from tightrope.verifiers.robustness import verify


@pytest.mark.parametrize("order", ["1", "1+cuts", "2"])
def test_norms_a_little_above_1_are_no_points(order):
    """The dual order of 1.001 is 1001: powers vanish unless the size is taken out. The margin at (1, 0) is 0.025."""
    network = MonDEQ([[-1.0]], [[0.3, 0.2]], [-0.05], [[0.0], [1.0]], [0.1, 0.0])
    ball = Ball(np.zeros(2), 1.0, 1.001)
    assert ball.contains(np.array([1.0, 0.0]))
    (decision,) = verify(network, ball, 0, order=order, attack=False).decisions
    assert decision.verdict is not Verdict.CERTIFIED and decision.bound > 0.0249
    assert np.isfinite(Ball(np.zeros(3), 1.0, 1000.0).sample(50, np.random.default_rng(0))).all()


@pytest.mark.parametrize("m", [1e-3, 1e-5])
def test_preactivation_bounds_know_the_error_of_the_equilibrium(m):
    """The second neuron is inactive by less than the residual that the equilibrium is computed to."""
    rng = np.random.default_rng(1)
    W, U = np.array([[1 - m, 3 * m], [-3 * m, 1 - 2 * m]]), np.eye(2) * m
    for _ in range(20):
        z, d = rng.uniform(0.5, 3), 10.0 ** rng.uniform(-14, -9)
        network = MonDEQ(W, U, np.array([m * z, 3 * m * z - d]), np.array([[1.0, 0], [0, 0]]), [0.0, 0.0])
        lower, upper = preactivation_bounds(network, Ball(np.zeros(2), d / 1000, np.inf))
        assert lower[1] <= -d <= upper[1]


@pytest.mark.parametrize("m", [1e-3, 1e-5, 1e-8])
def test_an_inexact_equilibrium_falsifies_nothing(m):
    """The margin is below 0 by less than the computed equilibrium is off."""
    W, U, u = np.array([[1 - m, 0.3 * m], [-0.3 * m, 1 - 2 * m]]), np.eye(2) * m, np.array([m, m * 0.5])
    true = np.linalg.solve(np.eye(2) - W, u)
    error = (MonDEQ(W, U, u, np.eye(2), [0.0, 0.0]).equilibrium(np.zeros(2)) - true)[0]
    k, gap = np.sign(error) or 1.0, 0.3 * abs(error)
    network = MonDEQ(W, U, u, np.array([[0.0, 0.0], [k, 0.0]]), [k * true[0] + gap, 0.0])
    assert verify(network, Ball(np.zeros(2), 1e-12, np.inf), 0).verdict is not Verdict.FALSIFIED


def test_polytopes_of_small_scale_hold_their_centre():
    """HiGHS's tolerance is 1e-7 whatever the scale; rows of any length mean the same."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        scale = 10.0 ** rng.uniform(-9, -6)
        A, inside = rng.normal(size=(3, 2)), rng.uniform(-0.5, 0.5, 2)
        b = (A @ inside + rng.uniform(0, 0.3, 3)) * scale
        found = Polytope(A, b, np.full(2, -scale), np.full(2, scale))
        assert ((A @ found.center - b) / np.linalg.norm(A, axis=1)).max() <= 1e-8 * scale
    half = Polytope(np.array([[1e-8]]), np.zeros(1), np.array([-1e-6]), np.array([1e-6]))
    assert not half.contains(np.array([5e-7])) and half.contains(np.array([-5e-7]))
    network = MonDEQ([[-1.0]], [[2e6]], [2.0], [[0.0], [1.0]], [1.5, 0.0])  # the margin is x / 1e-6 - 1/2
    assert verify(network, half, 0).verdict is not Verdict.FALSIFIED


def test_only_whole_bounds_of_outputs_certify():
    """A constant of the states, or of some outputs, says nothing of the others."""
    network = MonDEQ(-0.5 * np.eye(2), np.eye(2), [1.0, 1.0], [[0.001, 0.0], [0, 100.0]], [1.0, -65])
    scores = network.logits(np.zeros((1, 2)))
    whole = lipschitz.upper_bound(network, "inf")
    assert not lipschitz.certified(scores, np.array([0]), 0.1, whole)
    for options in ({"of": "state"}, {"parts": [0]}):
        with pytest.raises(InputError, match="all parts"):
            lipschitz.certified(scores, np.array([0]), 0.1, lipschitz.upper_bound(network, "inf", **options))
    assert lipschitz.check(whole, network) >= 66.6
    with pytest.raises(CertificateError, match="missing"):
        lipschitz.check(replace(whole, parts=whole.parts[:1], value=whole.parts[0].value), network)
    pairs = lipschitz.pairwise_bounds(network, "inf")
    lower = pairs.values.copy()
    lower[0, 1] = 1e-9
    with pytest.raises(CertificateError, match="below"):
        lipschitz.check(replace(pairs, values=lower), network)


def test_lower_bounds_of_small_networks_stay_below_the_constant():
    """First layers of 1e-8 and 1e-10: a preactivation is 0 up to rounding, not up to 1e-12."""
    for scale, radius in ((1e-8, 1e-5), (1e-10, 1e-3)):
        weights, biases = (
            [[[scale], [-scale]], [[1 / scale, -1 / scale]]],
            [[2 * radius * scale, -2 * radius * scale], [0]],
        )
        network = FeedForward.dense(weights, biases)
        region = Ball(np.zeros(1), radius, np.inf)
        found = {
            method: relu_lipschitz.lipschitz_bound(network, region, 0, method, samples=100).value
            for method in ("exact", "lbs", "ascent", "intervals")
        }
        assert found["lbs"] <= found["exact"] * (1 + 1e-9) and found["ascent"] <= found["exact"] * (1 + 1e-9)
        assert found["intervals"] >= found["exact"]
    dead = FeedForward.dense([[[0.0], [1.0]], [[1.0, 1.0]]], [[1e9, 0.0], [0.0]])
    assert relu_lipschitz.lipschitz_bound(dead, Ball(np.zeros(1), 1.0, np.inf), 0, "exact").value == 1.0


@pytest.mark.parametrize("norm", [1, 2, np.inf])
@pytest.mark.parametrize("order", ["1", "1+cuts", "2"])
def test_a_bias_that_cancels_certifies_nothing(order, norm):
    """1e16 + 1 - 1e16 is 0 in float64: the first state seems to be 0, where it is 1 and wins by 0.499."""
    network = MonDEQ(np.zeros((2, 2)), [[1e16, 1.0], [0, 1.0]], [-1e16, 0.0], [[1.0, 0], [0, 1e-3]], [0, 0.5])
    region = Ball(np.ones(2), 1e-20, norm)
    assert network.predict(np.ones(2)) == 1  # as float64 sees it
    assert verify(network, region, 1, order=order).verdict == Verdict.UNKNOWN
    for method in METHODS:
        found = fixpoint_bounds(network, region, method)
        assert found.margins(network, 1)[0] >= 0.499
        assert found.z.lower[0] <= 1 <= found.z.upper[0] and found.h.lower[0] <= 1 <= found.h.upper[0]
    if norm != np.inf:  # this radius vanishes beside the centre, and the box is a point
        assert outer_ellipsoid(network, region).verdict(1) != Verdict.CERTIFIED


def test_the_distance_of_a_computed_state_from_the_exact_one():
    """A residual of r in z = ReLU(W z + b) is one of W r in the bias, not of (I - W) r; with rational numbers."""
    m, L, a = 1e-6, 1e-3, 2e-5
    W = np.array([[1 - m, a], [-a, 1 - L]])
    u = (np.eye(2) - W) @ [1000.0, 800.0]
    network = MonDEQ(W, np.eye(2) * 1e-3, u, [[1.0, 0], [0, 0]], [0, 999.98])
    true = exactly_solved(np.eye(2, dtype=int) - exact(W), exact(u[:, None]))[:, 0]
    for shift in ([0.0, 0.0], [0.05, 0.0], [-0.02, 0.3]):
        z = np.array([1000.0, 800.0]) + shift
        off = float(((exact(z) - true) ** 2).sum()) ** 0.5
        assert off <= network.distance(z, u)
    for method in METHODS:
        z = fixpoint_bounds(network, Ball(np.zeros(2), 0.0, 2), method).z
        assert (exact(z.lower) <= true).all() and (true <= exact(z.upper)).all()
    region = Ball(np.zeros(2), 5.6e-5, 2)  # at (-5.5e-5, 0) label 1 wins by 0.019
    for order in ("1", "1+cuts"):
        assert verify(network, region, 0, order=order, attack=False).verdict != Verdict.CERTIFIED


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("order", ["1", "1+cuts"])
def test_neurons_whose_bias_cancels_are_not_stable(order, norm):
    """z_1 = 1 switches z_2 on; in float64 z_1 = 0, and z_2 seems to be off."""
    network = MonDEQ([[0, 0], [1, 0]], [[1e16, 1, 0], [0, 0, 1.0]], [-1e16, -0.5], [[0, 1.0], [0, 0]], [0, 0])
    assert local_upper_bound(network, Ball([1.0, 1.0, 0.0], 1e-20, norm), order=order).value >= 1e16


def test_cuts_of_a_point_whose_neurons_are_stable():
    """No variable is left, and nothing to cut."""
    network = MonDEQ([[0.0]], [[2.0**40]], [3 - 2.0**40], [[0.0], [1.0]], [3.0000001, 0])
    assert verify(network, Ball([1.0], 0.0, 2), 0, order="1+cuts").verdict in (Verdict.UNKNOWN, Verdict.CERTIFIED)
