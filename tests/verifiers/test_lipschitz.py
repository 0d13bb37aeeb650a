"""Lipschitz bounds: sampled <= exact <= proven <= closed form, proofs that hold, criteria, degenerate networks."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tightrope import datasets, zoo
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.networks import MonDEQ
from tightrope.question import Limits
from tightrope.verifiers import lipschitz, lipschitz_lower

NORMS = (1, 2, np.inf)


def mondeq(seed: int, p: int = 5, p0: int = 6, K: int = 3) -> MonDEQ:
    """Random monDEQ; p <= p0, so that every activation pattern has an input."""
    rng = np.random.default_rng(seed)
    A, B, U = (rng.standard_normal(shape) for shape in [(p, p), (p, p), (p, p0)])
    u, C, c = (rng.standard_normal(shape) for shape in [p, (K, p), K])
    return MonDEQ.from_factors(A, B, U, u, C, c, m=1.0)


def jacobians(network: MonDEQ) -> np.ndarray:
    """(2^p, K, p0): the Jacobian of every activation pattern."""
    s = np.array(list(itertools.product([0.0, 1.0], repeat=network.width)))
    inverse = np.linalg.inv(np.eye(network.width) - s[:, :, None] * network.W)
    return network.C @ inverse @ (s[:, :, None] * network.U)


def proven(bound) -> list[float]:
    """The constants that its certificate file claims, all of them proven."""
    proof = bound.certificates()
    assert proof.proven, proof.findings
    return [float(claim["bound"]) for claim in proof.certificate.claims]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("norm", NORMS)
def test_sampled_exact_proven_closed_form(seed, norm, rng):
    """The order holds, and on these networks the ascent finds nearly the exact constant."""
    network = mondeq(seed)
    exact = np.linalg.norm(jacobians(network), ord=norm, axis=(1, 2)).max()
    points = rng.standard_normal((20, network.input_size))
    sampled = lipschitz_lower.sampled(network, norm, points)
    climbed = lipschitz_lower.ascent(network, norm, points)
    bound = lipschitz.upper_bound(network, norm)
    assert 0 < sampled.value <= climbed.value <= exact * (1 + 1e-9)
    assert exact <= bound.value <= lipschitz.product_bound(network, norm) * (1 + 1e-7)
    assert climbed.value >= 0.95 * exact
    assert proven(bound) == pytest.approx([bound.value], rel=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_pairwise_bounds_hold_and_beat_twice_the_constant(norm):
    """exact <= pairwise; for L1 and L-infinity |F_i - F_j| <= 2 L by definition (L1: even L), for L2 sqrt(2) L."""
    network = mondeq(1)
    J = jacobians(network)
    pairs = lipschitz.pairwise_bounds(network, norm)
    dual = {1: np.inf, 2: 2, np.inf: 1}[norm]
    exact = np.linalg.norm(J[:, :, None] - J[:, None], ord=dual, axis=-1).max(0)
    assert (exact <= pairs.values + 1e-9).all()
    assert np.allclose(pairs.values, pairs.values.T) and not pairs.values.diagonal().any()
    L = lipschitz.upper_bound(network, norm).value
    assert (pairs.values <= {1: 1, 2: np.sqrt(2), np.inf: 2}[norm] * L * (1 + 1e-4)).all()
    assert max(proven(pairs)) == pytest.approx(pairs.values.max(), rel=1e-4)


@pytest.mark.parametrize("norm", [1.3, 3, 40])
def test_other_norms_follow_from_their_neighbours(norm, rng):
    """Sampled quotients <= the bound, which is between those of the neighbours and says how it follows."""
    network = mondeq(1)
    bound, pairs = lipschitz.upper_bound(network, norm), lipschitz.pairwise_bounds(network, norm)
    steps = rng.standard_normal((20_000, network.input_size))
    J = jacobians(network)
    J = J[np.abs(J).sum((1, 2)).argmax()]

    def quotients(outputs):
        return np.linalg.norm(outputs, norm, axis=1) / np.linalg.norm(steps, norm, axis=1)

    assert 0.5 * bound.value <= quotients(steps @ J.T).max() <= bound.value
    assert quotients(steps @ (J[:1] - J[2:]).T).max() <= pairs.values[0, 2]
    low, high = sorted(end.value for end in bound.ends)
    assert low <= bound.value <= high * (1 + 1e-9)
    assert [end.norm for end in bound.ends] == ([1, 2] if norm < 2 else [2, np.inf])
    assert "by Riesz-Thorin from L" in repr(bound) and pairs.inequality == bound.inequality
    for report in (bound, pairs):
        with pytest.raises(InputError, match="those of its ends have one"):
            report.certificates()


def test_interpolation_is_the_norm_where_that_is_known():
    """Of diagonal matrices every norm is the largest entry; a constant map stays 0, an unproven end unproven."""
    assert lipschitz.interpolated(3, 5.0, 5.0) == pytest.approx(5.0) and lipschitz.interpolated(3, 5.0, 5.0) >= 5
    assert lipschitz.interpolated(1.5, [0.0, 2.0], [np.inf, np.inf]).tolist() == [0.0, np.inf]
    assert lipschitz.interpolated(4, 4.0, 9.0) == pytest.approx(6.0)  # 1 / 4 is halfway from 1 / 2 to 0


@pytest.mark.parametrize("norm", NORMS)
def test_the_constant_of_the_states(norm):
    """of="state": the map x -> z."""
    network = mondeq(2)
    states = replace(network, C=np.eye(network.width), c=np.zeros(network.width))
    bound = lipschitz.upper_bound(network, norm, of="state")
    assert np.linalg.norm(jacobians(states), ord=norm, axis=(1, 2)).max() <= bound.value
    assert bound.value <= lipschitz.product_bound(network, norm, of="state") * (1 + 1e-7)


def test_permuted_neurons_and_scaled_inputs_give_the_same_bound():
    """The same network written differently."""
    network = mondeq(3)
    order = np.random.default_rng(0).permutation(network.width)
    W = network.W[np.ix_(order, order)]
    other = MonDEQ(W, -2 * network.U[order], network.u[order], network.C[:, order], network.c, network.m)
    for norm in (2, np.inf):
        ours, theirs = (lipschitz.upper_bound(n, norm).value for n in (network, other))
        assert theirs == pytest.approx(2 * ours, rel=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_degenerate_networks(norm):
    """Dead and always-active neurons, one output, a constant map, one neuron and one input."""
    base = mondeq(0)
    dead = MonDEQ(np.diag([-1.0, 0.5]), [[1.0], [0.0]], [0.0, -3.0], [[2.0, 1.0]], [0.0])
    bound = lipschitz.upper_bound(dead, norm)
    assert bound.value == pytest.approx(1.0, rel=1e-4) and bound.value >= 1 - 1e-12  # 2 * 1 / (1 + 1)
    constant = replace(base, U=np.zeros_like(base.U))
    assert lipschitz.upper_bound(constant, norm).value == 0
    assert lipschitz.upper_bound(replace(base, C=np.zeros_like(base.C)), norm).value == 0
    equal = replace(base, C=np.ones_like(base.C))
    assert not lipschitz.pairwise_bounds(equal, norm).values.any()
    with pytest.raises(InputError, match="one output"):
        lipschitz.pairwise_bounds(dead, norm)


def test_criteria():
    """2 radius L < tau, and radius L_yk < F_y - F_k; a wrong label is never certified; a tie neither."""
    network = MonDEQ(-np.eye(3), 2 * np.eye(3), np.zeros(3), np.eye(3), np.zeros(3))  # F(x) = x for x >= 0
    x = np.array([[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [2.0, 2.0, 0.0]])
    labels = np.array([0, 0, 0])
    assert lipschitz.certified(network, x, labels, 1.0, 0.9).tolist() == [True, False, False]
    assert lipschitz.certified(network, x, labels, 1.0, 1.0).tolist() == [False, False, False]
    values = np.array([[0, 1.9, 2.9], [1.9, 0, 1], [2.9, 1, 0]])
    assert lipschitz.certified_pairwise(network, x, labels, 1.0, values).tolist() == [True, False, False]
    assert not lipschitz.certified_pairwise(network, x, labels, 1.1, values).any()
    with pytest.raises(InputError, match="radius"):
        lipschitz.certified(network, x, labels, -1.0, 1.0)
    with pytest.raises(InputError, match="labels"):
        lipschitz.certified(network, x, [0, 1], 1.0, 1.0)
    with pytest.raises(InputError, match="values"):
        lipschitz.certified_pairwise(network, x, labels, 1.0, np.eye(2))


def test_wrong_arguments_are_named():
    """Before any solve."""
    network = mondeq(0)
    with pytest.raises(RegionError, match="built for 1, 2 and inf, not L3"):
        lipschitz.product_bound(network, 3)
    with pytest.raises(InputError, match="of another norm than 1, 2 and inf there are none"):
        lipschitz.upper_bound(network, 3, parts=[0])
    for call in (lipschitz.upper_bound, lipschitz.product_bound, lipschitz.pairwise_bounds):
        with pytest.raises(RegionError, match="unknown norm"):
            call(network, "spectral")
    with pytest.raises(UnknownNameError, match="map 'outputs'"):
        lipschitz.upper_bound(network, 2, of="outputs")
    with pytest.raises(InputError, match="parts: got 7"):
        lipschitz.upper_bound(network, "inf", parts=[7])
    with pytest.raises(InputError, match="tolerance"):
        lipschitz.upper_bound(network, 2, limits=Limits(tolerance=0))
    with pytest.raises(InputError, match="points"):
        lipschitz_lower.sampled(network, 2, np.ones((2, 2)))
    with pytest.raises(InputError, match="restarts"):
        lipschitz_lower.ascent(network, 2, np.ones((1, 6)), restarts=0)


@pytest.mark.published
def test_the_published_network():
    """Proven constants below the printed ones, which rest on an unproven constraint; the closed forms are printed."""
    network = zoo.get("chen2021-mondeq/mnist-87").network
    data = datasets.load("mnist")
    assert lipschitz.product_bound(network, 2) == pytest.approx(4.8076, abs=1e-4)
    assert lipschitz.product_bound(network, "inf") == pytest.approx(824.135, abs=1e-3)
    bound = lipschitz.upper_bound(network, 2)
    assert 3.68 < bound.value < 3.69
    assert proven(bound) == pytest.approx([bound.value], rel=1e-4)
    one = lipschitz.upper_bound(network, "inf", parts=[0])
    assert one.value == pytest.approx(43.7124, abs=1e-3)
    x = data.normalisation.to_input(data.images[:300])
    assert lipschitz_lower.sampled(network, 2, x).value == pytest.approx(3.206, abs=1e-3)
    assert lipschitz_lower.sampled(network, "inf", x).value == pytest.approx(50.69, abs=0.01)
    climbed = lipschitz_lower.ascent(network, 2, x[:50], restarts=4)
    assert 3.5 < climbed.value <= bound.value
