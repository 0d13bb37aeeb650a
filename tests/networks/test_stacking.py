"""A dense network as a monDEQ."""

import numpy as np
import pytest

from tests.helpers import exact_margin
from tightrope.attacks import pgd
from tightrope.errors import NetworkError
from tightrope.networks import Convolution, Dense, FeedForward
from tightrope.networks.stacking import LARGEST
from tightrope.question import Question, Verdict
from tightrope.regions import Ball
from tightrope.verifiers.ellipsoid import outer_ellipsoid
from tightrope.verifiers.lipschitz import upper_bound
from tightrope.verifiers.robustness import certify


def random_network(rng, *sizes: int, scale: float = 1.0) -> FeedForward:
    """Dense network with Gaussian weights."""
    pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = [scale * rng.standard_normal(pair) for pair in pairs]
    return FeedForward.dense(weights, [rng.standard_normal(n) for n in sizes[1:]], "random")


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (4, 6, 5, 3), (3, 4, 4, 4, 4, 4, 2)])
@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_same_function_and_strongly_monotone(rng, sizes, scale):
    """Logits and Jacobian, however large the weights; m is at least 1/2."""
    network = random_network(rng, *sizes, scale=scale)
    mondeq = network.to_mondeq()
    x = rng.standard_normal((7, sizes[0]))
    expected = network.logits(x)
    np.testing.assert_allclose(mondeq.logits(x, tolerance=1e-14), expected, atol=1e-9 * np.abs(expected).max())
    assert mondeq.m >= 0.5 and mondeq.name == "random"
    gradient = np.array([(network.logits(x[0] + e) - network.logits(x[0] - e)) / 2e-6 for e in 1e-6 * np.eye(sizes[0])])
    np.testing.assert_allclose(mondeq.jacobian(x[0]), gradient.T, atol=1e-8 + 1e-4 * np.abs(gradient).max())


def test_scaling_is_exact(rng):
    """Powers of two: every weight of the monDEQ is a weight of the network, its mantissa unchanged."""
    network = random_network(rng, 3, 5, 4, 2, scale=7.0)
    mondeq = network.to_mondeq()
    block = mondeq.W[5:, :5]
    ratio = block / network.weights[1]
    assert np.frexp(ratio)[0].tolist() == [[0.5] * 5] * 4 and np.ptp(ratio) == 0
    assert np.count_nonzero(mondeq.W) == block.size


def test_layers_of_other_kinds_are_made_dense(rng):
    """A convolution stacks too; a layer of zeros is no obstacle."""
    convolution = Convolution(rng.standard_normal((2, 1, 2, 2)), rng.standard_normal(2), (1, 3, 3))
    network = FeedForward((convolution, Dense(np.zeros((3, 8)), np.ones(3)), Dense(np.eye(3), np.zeros(3))))
    x = rng.standard_normal((4, 9))
    np.testing.assert_allclose(network.to_mondeq().logits(x), network.logits(x), atol=1e-9)


def test_verify_on_the_mondeq_agrees_with_enumeration_and_attacks(rng):
    """attack <= exact margin <= bound, and every verdict is right, on two hidden layers."""
    verdicts = set()
    for seed in range(6):
        network = random_network(np.random.default_rng(seed), 3, 3, 2, 3)
        mondeq = network.to_mondeq()
        region = Ball(np.random.default_rng(seed + 50).standard_normal(3), 0.2, np.inf)
        label = network.predict(region.center)
        report = certify(mondeq, region, label, method="interior-point")
        found = pgd(Question(network, region, label))
        for decision in report.decisions:
            exact = exact_margin(mondeq, region, label, decision.label)
            assert found.best_margin[decision.label] <= exact + 1e-9
            assert exact <= decision.bound + 1e-9
            if decision.verdict is Verdict.FALSIFIED:
                assert exact >= 0
            assert decision.verdict is not Verdict.CERTIFIED or exact < 0
            verdicts.add(decision.verdict)
    assert {Verdict.CERTIFIED, Verdict.FALSIFIED} <= verdicts


def test_too_large_networks_are_refused():
    """By size, and by scale."""
    with pytest.raises(NetworkError, match=f"{LARGEST + 1} hidden neurons"):
        FeedForward.dense(
            (np.ones((LARGEST + 1, 1)), np.ones((1, LARGEST + 1))), (np.zeros(LARGEST + 1), [0.0])
        ).to_mondeq()
    huge = FeedForward.dense([[[1e100]]] * 4, [[0.0]] * 4)
    with pytest.raises(NetworkError, match="2\\^500"):
        huge.to_mondeq()


@pytest.mark.parametrize("sizes", [(5, 9, 3), (6, 6, 3), (4, 5, 4, 3)])
@pytest.mark.parametrize("norm", [2, np.inf])
def test_every_tool_of_a_mondeq_works_on_the_stacked_network(sizes, norm):
    """Cascade (warm starts over the labels), interior point, outer ellipsoid, Lipschitz constant; W = 0 included."""
    network = random_network(np.random.default_rng(1), *sizes)
    mondeq = network.to_mondeq()
    region = Ball(np.random.default_rng(2).standard_normal(sizes[0]), 0.1, norm)
    label = network.predict(region.center)
    outputs = network.logits(region.sample(300, np.random.default_rng(3)))
    largest = (outputs - outputs[:, [label]]).max(0)
    bounds = {}
    for method in ("cascade", "interior-point"):
        for decision in certify(mondeq, region, label, attack=False, method=method).decisions:
            bounds[method, decision.label] = decision.bound
            assert decision.bound >= largest[decision.label]
    for target in range(3):
        if target != label:
            assert np.sign(bounds["cascade", target]) == np.sign(bounds["interior-point", target])
    ellipsoid = outer_ellipsoid(mondeq, region).ellipsoid
    assert np.linalg.norm(outputs @ ellipsoid.Q.T + ellipsoid.b, axis=1).max() <= 1 + 1e-9
    pairs = np.random.default_rng(4).standard_normal((2, 200, sizes[0]))
    slope = np.linalg.norm(np.subtract(*map(network.logits, pairs)), norm, axis=1)
    slope /= np.linalg.norm(pairs[0] - pairs[1], norm, axis=1)
    assert slope.max() <= upper_bound(mondeq, norm).value
