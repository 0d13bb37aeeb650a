"""Attacks: what they return is true, and what they miss is little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightrope import attacks, datasets
from tightrope.attacks import check, foolbox_pgd, foolbox_pgd_each, pgd
from tightrope.errors import InputError, RegionError
from tightrope.networks import Composition, Convolution, Dense, FeedForward, MonDEQ, Scaling, load
from tightrope.question import Question, Verdict
from tightrope.regions import Ball, Zonotope, pixel_ball
from tightrope.verifiers.robustness import certify

NORMS = [1.0, 1.5, 2.0, 3.0, np.inf]
DUAL = {1.0: np.inf, 1.5: 3.0, 2.0: 2.0, 3.0: 1.5, np.inf: 1.0}


def mondeq(seed: int, p: int = 6, p0: int = 4, K: int = 3) -> MonDEQ:
    """Random monDEQ."""
    rng = np.random.default_rng(seed)
    A, B, U = (rng.standard_normal(shape) for shape in [(p, p), (p, p), (p, p0)])
    u, C, c = (rng.standard_normal(shape) for shape in [p, (K, p), K])
    return MonDEQ.from_factors(A, B, U, u, C, c, m=1.0)


def ball(seed: int, p0: int, norm: float, radius: float, clip: bool) -> Ball:
    """Ball around a random centre; the box, if any, cuts into it on every second side."""
    center = np.random.default_rng(seed).standard_normal(p0)
    box = (center - 0.3 * radius, center + 2 * radius) if clip else (None, None)
    return Ball(center, radius, norm, *box)


def linear(seed: int = 0, p0: int = 6, K: int = 3) -> FeedForward:
    """One layer, so that the largest margin over a ball is known."""
    rng = np.random.default_rng(seed)
    return FeedForward.dense((rng.standard_normal((K, p0)),), (rng.standard_normal(K),))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    norm=st.sampled_from(NORMS),
    radius=st.floats(0.0, 2.0),
    clip=st.booleans(),
)
def test_every_attack_is_in_the_region_and_fools_the_network(seed, norm, radius, clip):
    """Membership and margin hold when they are computed from scratch; best_margin never claims more."""
    network = mondeq(seed)
    region = ball(seed, network.input_size, norm, radius, clip)
    label = network.predict(region.center)
    result = pgd(Question(network, region, label), restarts=3, steps=8, seed=seed)
    for target, attack in result.attacks.items():
        logits = network.logits(attack.point)
        assert region.contains(attack.point)
        assert attack.label == target != label
        assert logits[target] >= logits[label]
        assert attack.margin == pytest.approx(logits[target] - logits[label], abs=1e-7)
        assert result.best_margin[target] == attack.margin
    assert np.isnan(result.best_margin[label])
    nominal = network.logits(region.center) - network.logits(region.center)[label]
    others = np.arange(network.classes) != label
    assert (result.best_margin[others] >= nominal[others] - 1e-7).all()  # less what the equilibrium may be off by


@pytest.mark.parametrize("norm", NORMS)
def test_linear_network_closed_form(norm):
    """The largest margin of a linear network is the nominal one plus radius times a dual norm."""
    network = linear()
    region = ball(1, 6, norm, 0.7, clip=False)
    W, logits = network.weights[0], network.logits(region.center)
    result = pgd(Question(network, region, 0), steps=50)
    for target in (1, 2):
        exact = logits[target] - logits[0] + 0.7 * np.linalg.norm(W[target] - W[0], ord=DUAL[norm])
        assert exact - 0.01 * abs(exact) <= result.best_margin[target] <= exact + 1e-9


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("clip", [False, True])
def test_pgd_reaches_the_maximum_over_a_grid(seed, clip):
    """In two dimensions a fine grid finds the maximum; the search stops near it, on a ridge at worst."""
    network = mondeq(seed, p0=2)
    region = ball(seed, 2, np.inf, 0.8, clip)
    lower, upper = region.bounding_box()
    axes = [np.linspace(a, b, 61) for a, b in zip(lower, upper, strict=True)]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    logits = network.logits(grid)
    result = pgd(Question(network, region, 0), restarts=20)
    for target in (1, 2):
        assert result.best_margin[target] >= (logits[:, target] - logits[:, 0]).max() - 0.05


def test_search_is_determined_by_its_seed():
    """Two runs agree to the last bit."""
    network = mondeq(5)
    region = ball(5, 4, 2, 0.5, clip=True)
    one, two = (pgd(Question(network, region, 0), seed=3, steps=10) for _ in range(2))
    np.testing.assert_array_equal(one.best_margin, two.best_margin)


def test_only_the_targets_asked_for():
    """Other labels stay nan."""
    network = mondeq(5)
    result = pgd(Question(network, ball(5, 4, np.inf, 0.5, clip=False), 0, [2]), steps=5)
    assert np.isnan(result.best_margin).tolist() == [True, True, False]


def test_misclassified_centre_is_an_attack():
    """Radius zero: the centre alone decides."""
    network = mondeq(7)
    region = ball(7, 4, np.inf, 0.0, clip=False)
    predicted = network.predict(region.center)
    right, wrong = (Question(network, region, label) for label in (predicted, (predicted + 1) % 3))
    assert not pgd(right).attacks and foolbox_pgd(right) is None
    np.testing.assert_array_equal(pgd(wrong).best.point, region.center)
    assert pgd(wrong).best.label == foolbox_pgd(wrong).label == predicted


def test_points_outside_the_region_prove_nothing():
    """check drops points outside and points that are not numbers."""
    network = linear()
    region = ball(1, 6, np.inf, 0.01, clip=False)
    label = network.predict(region.center)
    far = region.center - 100 * network.weights[0][label]
    assert network.predict(far) != label
    assert check(Question(network, region, label), [far, np.full(6, np.nan), region.center]) is None
    assert check(Question(network, Ball(region.center, 1e6, 2), label), far).label == network.predict(far)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("clip", [False, True])
def test_steps_and_retractions(norm, clip):
    """Retracted points are in the region; steps have length one and the dual norm as their slope."""
    rng, region = np.random.default_rng(0), ball(0, 5, norm, 0.4, clip)
    x = region.retract(region.center + rng.standard_normal((50, 5)))
    assert region.contains(x).all()
    g = rng.standard_normal((50, 5))
    d = region.steepest(np.tile(region.center, (50, 1)), g)
    np.testing.assert_allclose(np.linalg.norm(d, ord=norm, axis=1), 1)
    slope = (d * g).sum(1) / np.linalg.norm(g, ord=DUAL[norm], axis=1)
    assert (slope <= 1 + 1e-12).all() and (slope > 0.9).all()
    np.testing.assert_array_equal(region.steepest(x, np.zeros((50, 5))), 0)


@pytest.mark.parametrize("norm", [1, 2, np.inf])
@pytest.mark.parametrize("clip", [False, True])
def test_foolbox_finds_true_attacks(norm, clip):
    """Its points pass the same check, and it does not beat the targeted search."""
    found = 0
    for seed in range(4):
        network = mondeq(seed)
        region = ball(seed, 4, norm, 3.0, clip)
        label = network.predict(region.center)
        attack = foolbox_pgd(Question(network, region, label))
        if attack is not None:
            found += 1
            assert region.contains(attack.point) and network.logits(attack.point).argmax() != label
            assert pgd(Question(network, region, label)).best is not None
    assert found


def test_foolbox_on_many_images():
    """Balls of different radii and pixel ranges: what is found is in its own ball, and one image alone is the same."""
    network = mondeq(1)
    regions = [ball(seed, 4, np.inf, radius, clip) for seed in range(3) for radius in (0.0, 0.5, 2.0)
               for clip in (False, True)]  # fmt: skip
    questions = [Question(network, region, network.predict(region.center)) for region in regions]
    found = foolbox_pgd_each(questions)
    for question, attack in zip(questions, found, strict=True):
        if attack is not None:
            assert check(question, attack.point).margin == attack.margin
    assert 0 < sum(attack is not None for attack in found) < len(found)
    alone, same = foolbox_pgd_each(questions[-1:])[0], foolbox_pgd(questions[-1])
    assert (alone is None) == (same is None)
    if alone is not None:
        assert np.array_equal(alone.point, same.point)
    assert foolbox_pgd_each([]) == []


def test_foolbox_leaves_the_global_generator_alone():
    """A seeded search must not reseed the caller."""
    import torch

    state = torch.get_rng_state()
    foolbox_pgd(Question(mondeq(0), ball(0, 4, 2, 0.1, clip=False), 0), steps=2)
    assert torch.equal(state, torch.get_rng_state())


def test_bad_arguments_are_named():
    """Label, targets, sizes, norm."""
    network, region = mondeq(0), ball(0, 4, np.inf, 0.1, clip=False)
    with pytest.raises(InputError, match="label: got 3"):
        pgd(Question(network, region, 3))
    with pytest.raises(InputError, match="targets: got 0"):
        pgd(Question(network, region, 0, [0, 1]))
    with pytest.raises(InputError, match="restarts=0"):
        pgd(Question(network, region, 0), restarts=0)
    with pytest.raises(RegionError, match="region: 5 inputs"):
        pgd(Question(network, ball(0, 5, 2, 0.1, clip=False), 0))
    with pytest.raises(RegionError, match=r"Foolbox's PGD knows 1, 2 and inf, not 3"):
        foolbox_pgd(Question(network, ball(0, 4, 3, 0.1, clip=False), 0))


@pytest.mark.published
def test_published_network_is_attacked():
    """L-infinity 0.05 on the first 12 images, unclipped and clipped; image 92 falls at 0.01 already."""
    file = "chen2021-mondeq/deq_MNIST_SingleFcNet_m=20.mat"
    network, mnist = load(datasets.fetch(file), m=20), datasets.load("mnist")

    def broken(index, epsilon_pixel, clip):
        region = pixel_ball(mnist.image(index), np.inf, epsilon_pixel, mnist.normalisation, clip)
        return pgd(Question(network, region, mnist.label(index)), restarts=2, steps=20).best is not None

    unclipped = {i for i in range(12) if broken(i, 0.05, clip=False)}
    clipped = {i for i in range(12) if broken(i, 0.05, clip=True)}
    assert clipped <= unclipped
    assert (len(unclipped), len(clipped)) == (9, 2)
    assert broken(92, 0.01, clip=False)


def convolutional() -> FeedForward:
    """Normalisation and a convolution, a dense layer, on images of 4 x 4."""
    rng = np.random.default_rng(3)
    layer = Convolution(rng.standard_normal((2, 1, 3, 3)), rng.standard_normal(2), (1, 4, 4), 1, 1)
    first = Composition((Scaling(np.full(16, 2.0), np.full(16, -0.5)), layer))
    return FeedForward((first, Dense(rng.standard_normal((3, 32)), rng.standard_normal(3))))


def test_convolutions_are_attacked_as_their_dense_form_is():
    """Both searches, and sets of parameters; every point is re-checked."""
    network = convolutional()
    region = Ball(np.random.default_rng(0).uniform(0, 1, 16), 0.3, np.inf)
    label = network.predict(region.center)
    ours, dense = pgd(Question(network, region, label)), pgd(Question(network.to_dense(), region, label))
    np.testing.assert_allclose(ours.best_margin, dense.best_margin, rtol=1e-6)
    assert check(Question(network, region, label), ours.best.point).margin == pytest.approx(ours.best.margin)
    hit = foolbox_pgd(Question(network, region, label), steps=40)
    assert hit is None or check(Question(network, region, label), hit.point) is not None
    zonotope = Zonotope(region.center, 0.2 * np.random.default_rng(1).standard_normal((16, 5)))
    ours, dense = pgd(Question(network, zonotope, label)), pgd(Question(network.to_dense(), zonotope, label))
    np.testing.assert_allclose(ours.best_margin, dense.best_margin, rtol=1e-6)
    assert all(zonotope.contains(hit.point) for hit in ours.attacks.values())


def test_gradients_of_a_convolutional_network():
    """Each attack's step follows the gradient of its own target: against finite differences, in one batch."""
    network = convolutional()
    x = np.random.default_rng(2).uniform(0, 1, (2, 16))
    value, gradient = attacks._ascent(network, 0, np.array([1, 2]))(x)
    for row, target in enumerate((1, 2)):
        margin = lambda v, target=target: network.logits(v)[target] - network.logits(v)[0]  # noqa: E731
        numeric = [(margin(x[row] + e) - margin(x[row] - e)) / 2e-6 for e in 1e-6 * np.eye(16)]
        np.testing.assert_allclose(gradient[row], numeric, atol=1e-6)
        assert value[row] == pytest.approx(margin(x[row]))


@pytest.mark.parametrize("method", ["cascade", "crown"])
def test_an_attack_in_a_zonotope_stands_under_its_own_target(method):
    """Where label 1 is reached label 2 is further ahead; each target has its attack, and no decision is lost."""
    network = FeedForward.dense([[[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]]], [[0.5, 0.0, 0.0]])
    region = Zonotope(np.zeros(2), np.eye(2))
    hits = pgd(Question(network, region, 0), seed=0).attacks
    assert {target: hit.label for target, hit in hits.items()} == {1: 1, 2: 2}
    report = certify(network, region, 0, method=method, targets="all")
    assert report.verdict is Verdict.FALSIFIED and [decision.label for decision in report.decisions] == [1, 2]
