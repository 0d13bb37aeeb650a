"""Where bounds of monDEQs and Lipschitz constants could be wrong: odd norms, inexact equilibria, small scales."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.helpers import exact, exactly_solved
from tightrope.errors import InputError, TightropeError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.problems.local_lipschitz import preactivation_bounds
from tightrope.propagation.fixpoint import METHODS, fixpoint_bounds
from tightrope.question import Verdict
from tightrope.regions import Ball, EllipsoidRegion, Polytope, Zonotope
from tightrope.verifiers import lipschitz, lipschitz_lower, relu_lipschitz
from tightrope.verifiers.ellipsoid import outer_ellipsoid
from tightrope.verifiers.local_lipschitz import local_upper_bound
from tightrope.verifiers.robustness import certify


@pytest.mark.parametrize("order", ["1", "1+cuts", "2"])
def test_norms_a_little_above_1_are_no_points(order):
    """The dual order of 1.001 is 1001: powers vanish unless the size is taken out. The margin at (1, 0) is 0.025."""
    network = MonDEQ([[-1.0]], [[0.3, 0.2]], [-0.05], [[0.0], [1.0]], [0.1, 0.0])
    ball = Ball(np.zeros(2), 1.0, 1.001)
    assert ball.contains(np.array([1.0, 0.0]))
    (decision,) = certify(network, ball, 0, order=order, attack=False).decisions
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
    assert certify(network, Ball(np.zeros(2), 1e-12, np.inf), 0).verdict is not Verdict.FALSIFIED


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
    assert certify(network, half, 0).verdict is not Verdict.FALSIFIED


def test_only_whole_bounds_of_outputs_certify():
    """A constant of the states, or of some outputs, says nothing of the others."""
    network = MonDEQ(-0.5 * np.eye(2), np.eye(2), [1.0, 1.0], [[0.001, 0.0], [0, 100.0]], [1.0, -65])
    x = np.zeros((1, 2))
    whole = lipschitz.upper_bound(network, "inf")
    assert not lipschitz.certified(network, x, np.array([0]), 0.1, whole)
    for options in ({"of": "state"}, {"parts": [0]}):
        with pytest.raises(InputError, match="all parts"):
            lipschitz.certified(network, x, np.array([0]), 0.1, lipschitz.upper_bound(network, "inf", **options))
    with pytest.raises(InputError, match="all parts"):
        lipschitz.upper_bound(network, "inf", parts=[0]).certificates()


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
    assert certify(network, region, 1, order=order).verdict == Verdict.UNKNOWN
    for method in METHODS:
        found = fixpoint_bounds(network, region, method)
        assert found.margins(network, 1)[0] >= 0.499
        assert found.z.lower[0] <= 1 <= found.z.upper[0] and found.h.lower[0] <= 1 <= found.h.upper[0]
    if norm != np.inf:  # this radius vanishes beside the centre, and the box is a point
        assert outer_ellipsoid(network, region).verdict_of(1) != Verdict.CERTIFIED


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
        assert certify(network, region, 0, order=order, attack=False).verdict != Verdict.CERTIFIED


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("order", ["1", "1+cuts"])
def test_neurons_whose_bias_cancels_are_not_stable(order, norm):
    """z_1 = 1 switches z_2 on; in float64 z_1 = 0, and z_2 seems to be off."""
    network = MonDEQ([[0, 0], [1, 0]], [[1e16, 1, 0], [0, 0, 1.0]], [-1e16, -0.5], [[0, 1.0], [0, 0]], [0, 0])
    assert local_upper_bound(network, Ball([1.0, 1.0, 0.0], 1e-20, norm), order=order).value >= 1e16


def test_cuts_of_a_point_whose_neurons_are_stable():
    """No variable is left, and nothing to cut."""
    network = MonDEQ([[0.0]], [[2.0**40]], [3 - 2.0**40], [[0.0], [1.0]], [3.0000001, 0])
    assert certify(network, Ball([1.0], 0.0, 2), 0, order="1+cuts").verdict in (Verdict.UNKNOWN, Verdict.CERTIFIED)


def random_mondeq(rng, family: str) -> MonDEQ:
    """A network with p <= 4 neurons, two inputs and three outputs; `family` is what is odd about it."""
    p = int(rng.integers(1, 5))
    A, B = rng.normal(size=(p, p)), rng.normal(size=(p, p))
    m = {"m near 0": 1e-7, "skew": 1e-2}.get(family, 0.5)
    A[: p // 2] *= family not in ("m near 0", "skew")
    B *= {"skew": 1e4}.get(family, 1.0)
    U, u, C, c = rng.normal(size=(p, 2)), rng.normal(size=p), rng.normal(size=(3, p)), rng.normal(size=3)
    if family == "integers":
        U, u, C, c = (np.rint(array) for array in (U, u, C, c))
    inner, outer = {"tiny inside": (1e-11, 1.0), "tiny outside": (1.0, 1e-12), "mixed": (1e-160, 1e160)}.get(
        family, (1.0, 1.0)
    )
    W = (1 - m) * np.eye(p) - A.T @ A + B - B.T
    return MonDEQ(W, U * inner, u * inner, C * outer, c * inner * outer)


FAMILIES = ("gauss", "integers", "m near 0", "skew", "tiny inside", "tiny outside", "mixed")


def exact_state(network: MonDEQ, x: np.ndarray) -> np.ndarray:
    """The equilibrium at x (p0,) in rational numbers: the one pattern of 2^p whose solution has the right signs."""
    b = exact(network.U) @ exact(x) + exact(network.u)
    G = np.eye(network.width, dtype=int) - exact(network.W)
    for pattern in itertools.product([False, True], repeat=network.width):
        on, z = np.array(pattern), exact(np.zeros(network.width))
        if on.any():
            z[on] = exactly_solved(G[np.ix_(on, on)], b[on][:, None])[:, 0]
        if (z >= 0).all() and (G @ z - b >= 0)[~on].all():
            return z
    raise AssertionError("a strongly monotone network has an equilibrium")


def exact_jacobians(network: MonDEQ) -> np.ndarray:
    """(2^p, K, p0) of every activation pattern, in rational numbers."""
    found, p = [], network.width
    for pattern in itertools.product([False, True], repeat=p):
        on, y = np.array(pattern), exact(np.zeros((p, network.input_size)))
        if on.any():
            G = np.eye(int(on.sum()), dtype=int) - exact(network.W[np.ix_(on, on)])
            y[on] = exactly_solved(G, exact(network.U[on]))
        found.append(exact(network.C) @ y)
    return np.array(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_margins_are_as_near_to_the_exact_ones_as_they_say(family):
    """And always there: no network that exists ends in an error, whatever its m and its scale."""
    rng = np.random.default_rng(5)
    for _ in range(25):
        network, x = random_mondeq(rng, family), rng.normal(size=(3, 2))
        z = network.equilibrium(x)
        margins, error = network.margins(x, 1)
        for row in range(len(x)):
            state = exact_state(network, x[row])
            off = sum((exact(z[row]) - state) ** 2)
            assert off <= Fraction(network.equilibrium_error(x, z)[row]) ** 2
            size = max(abs(value) for value in state)
            assert off <= (Fraction(1, 10**2) * size) ** 2  # the scale of the network does not matter
            scores = exact(network.C) @ state + exact(network.c)
            assert (abs(exact(margins[row]) - (scores - scores[1])) <= exact(error[row])).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_lipschitz_bounds_enclose_the_exact_constants(family):
    """Lower bound <= exact constant at a point, and over all patterns <= upper bound, for L1 and L-infinity."""
    rng = np.random.default_rng(6)
    for n in range(12):
        network, x = random_mondeq(rng, family), rng.normal(size=(3, 2))
        patterns = exact_jacobians(network)
        for norm, axis in ((1, 1), (np.inf, 2)):
            largest = abs(patterns).sum(axis).max()
            assert Fraction(lipschitz_lower.sampled(network, norm, x).value) <= largest
            assert Fraction(lipschitz_lower.ascent(network, norm, x, restarts=2).value) <= largest
            if n < 6:
                bound = lipschitz.upper_bound(network, norm)
                assert largest <= Fraction(bound.value)
            assert largest <= Fraction(lipschitz.product_bound(network, norm)) * Fraction(1 + 1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-8, 1e-12, 1e-170])
def test_the_jacobian_is_linear_in_the_last_layer(scale):
    rng = np.random.default_rng(3)
    A = rng.normal(size=(3, 3))
    W, U, u = -A @ A.T * 0.5 + (A - A.T), rng.normal(size=(3, 1)), np.abs(rng.normal(size=3)) + 1
    C, x = rng.normal(size=(2, 3)), np.array([0.3])
    network = MonDEQ(W, U, u, scale * C, np.zeros(2))
    whole = MonDEQ(W, U, u, C, np.zeros(2))
    np.testing.assert_allclose(network.jacobian(x) / scale, whole.jacobian(x), rtol=1e-8)
    found = lipschitz_lower.sampled(network, "inf", x[None]).value / scale
    assert found == pytest.approx(np.abs(whole.jacobian(x)).max(), rel=1e-8)
    assert found < lipschitz_lower.sampled(whole, "inf", x[None]).value * (1 + 1e-9)
    inside = MonDEQ(W, scale * U, scale * u, C, np.zeros(2))
    np.testing.assert_allclose(inside.logits(x) / scale, whole.logits(x), rtol=1e-8)


@pytest.mark.parametrize("radius", [0.0, 1e-14])
def test_ties_are_not_certified(radius):
    """Label 0 is at most equal to label 1 in exact arithmetic; the computed scores sometimes say otherwise."""
    W = [[-0.5, 0.3], [-0.3, -0.5]]
    state = exactly_solved(np.eye(2, dtype=int) - exact(np.array(W)), exact(np.ones((2, 1))))[:, 0]
    for x in np.linspace(0.1, 1, 50):  # both neurons are active: z = (I - W)^-1 (x + 1)
        score = sum(state) * (Fraction(x) + 1)
        above = float(score)
        while Fraction(above) < score:
            above = float(np.nextafter(above, np.inf))
        network = MonDEQ(W, [[1.0], [1.0]], [1.0, 1.0], [[1.0, 1.0], [0.0, 0.0]], [0.0, above])
        bound, labels = lipschitz.product_bound(network, np.inf), np.array([0])
        pairs = np.full((2, 2), 2 * bound)
        assert not lipschitz.certified(network, [[x]], labels, radius, bound).any()
        assert not lipschitz.certified_pairwise(network, [[x]], labels, radius, pairs).any()
        assert lipschitz.certified(network, [[x]], 1 - labels, 0.0, bound).any() == (above > score + Fraction(1e-9))


@pytest.mark.parametrize("exponent", [140, 155, 160, 170, 300])
@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_constants_of_tiny_and_huge_layers(exponent, norm):
    """F_0 = ReLU(x) written with 10^-e and 10^e: the constant is 1, whatever underflows on the way."""
    small = 10.0**-exponent
    network = MonDEQ([[0.0]], [[small]], [0.0], [[1 / small], [0.0]], [0.0, 0.0])
    exact_constant = Fraction(small) * Fraction(1 / small)
    bound = lipschitz.upper_bound(network, norm)
    closed_form = np.sqrt(2) if norm == 1 else 1.0  # all that can be said at these scales
    assert exact_constant <= Fraction(bound.value) < Fraction(closed_form) + Fraction(1e-4)
    states = lipschitz.upper_bound(network, norm, of="state")
    assert Fraction(small) <= Fraction(states.value) <= Fraction(small) * Fraction(1.001)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("family", ["m near 0", "skew", "mixed", "huge"])
def test_extreme_questions_end_in_a_verdict_or_an_error_of_one_line(family):
    """Points, subnormal radii, balls at 1e160, huge weights: never a bare OverflowError or LinAlgError."""
    rng = np.random.default_rng(7)
    network = random_mondeq(rng, "gauss" if family == "huge" else family)
    if family == "huge":
        network = replace(network, U=1e160 * network.U, C=1e-10 * network.C)
    p0 = network.input_size
    far = np.full(p0, 1e160)
    regions = (Ball(np.zeros(p0), 0.0, 2), Ball(np.ones(p0), 5e-324, np.inf), Ball(far, 1e150, 2), Ball(far, 1e150, 1))
    answers = []
    for region in (
        *regions,
        EllipsoidRegion(np.ones(p0), 1e-160 * np.eye(p0)),
        Zonotope(np.ones(p0), np.zeros((p0, 1))),
    ):
        for ask in (lambda: certify(network, region, 0), lambda: outer_ellipsoid(network, region)):  # noqa: B023
            try:
                answers.append(ask())
            except TightropeError as error:
                assert "\n" not in str(error)
    assert len(answers) > 2  # of 12


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("method", METHODS)
def test_a_margin_that_overflows_is_inf_and_only_the_label_is_nan(method):
    """1e300 (z_0 - z_1) of states up to 1e10: a nan there would pass for the label's own."""
    network = MonDEQ(np.zeros((2, 2)), 1e10 * np.eye(2), np.zeros(2), [[1, 0], [1e300, -1e300], [-1, 0]], np.zeros(3))
    bounds = fixpoint_bounds(network, Ball(np.ones(2), 0.1, np.inf), method).margins(network, 0)
    assert np.isnan(bounds[0]) and bounds[1] == np.inf and bounds[2] < 0
