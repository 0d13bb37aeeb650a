"""Linear bounds: the paper's examples, soundness, order, gradients, independent oracles."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from tightrope.errors import InputError, NetworkError, RegionError, UnknownNameError
from tightrope.networks import FeedForward
from tightrope.networks.layers import Convolution, Dense
from tightrope.propagation import backsubstitution
from tightrope.propagation.bounds import bounds, certified, hybrid_margins
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import RELAXATIONS
from tightrope.propagation.operators import DenseOperator, operators
from tightrope.propagation.rounding import allowance
from tightrope.regions import Ball

NAMES = tuple(RELAXATIONS)
SIZES = (4, 7, 6, 3)


def network(seed: int, sizes=SIZES) -> FeedForward:
    rng = np.random.default_rng(seed)
    pairs = list(zip(sizes[1:], sizes, strict=False))
    return FeedForward.dense([rng.normal(size=pair) for pair in pairs], [rng.normal(size=m) for m, _ in pairs])


def convolutional(seed: int) -> FeedForward:
    """A stride that does not fit the image, so that pixels are left over, and two convolutions."""
    rng = np.random.default_rng(seed)
    first = Convolution(rng.normal(size=(3, 1, 3, 3)), rng.normal(size=3), (1, 6, 7), (2, 2), (1, 1))
    second = Convolution(rng.normal(size=(2, 3, 2, 2)), rng.normal(size=2), first.output_shape, (2, 1), (0, 0))
    return FeedForward((first, second, Dense(rng.normal(size=(4, second.output_size)), rng.normal(size=4))))


def boxes(seed: int, size: int, count: int = 3, radius: float = 0.4) -> InputSet:
    center = torch.tensor(np.random.default_rng(seed + 100).normal(size=(count, size)))
    reach = radius * torch.linspace(0.2, 1, count, dtype=torch.float64)[:, None]
    return InputSet(center - reach, center + reach)


# ------------------------------------------------------------------------------------------ the paper's examples


def toy() -> FeedForward:
    """Figure 8."""
    both = np.array([[1.0, 1.0], [1.0, -1.0]])
    return FeedForward.dense((both, both), (np.zeros(2), np.zeros(2)))


def test_worked_example():
    """Appendix A, DeepZ on the toy network: every printed bound of the layers 1 and 3, to the last digit."""
    region = InputSet(torch.full((1, 2), -1.0, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))
    found = bounds(toy(), region, "deepz")
    assert found.lower[0].tolist() == [[-2, -2]] and found.upper[0].tolist() == [[2, 2]]
    assert found.output_lower.tolist() == [[-1, -2]] and found.output_upper.tolist() == [[3, 2]]


def minimal(w: float) -> FeedForward:
    """Section 4.1: x_1 = x_0 + w twice, outputs z_2 + 1 and z_2 - z_1."""
    return FeedForward.dense(([[1.0], [1.0]], [[0.0, 1.0], [-1.0, 1.0]]), ([w, w], [1.0, 0.0]))


def lowest(w: float, name: str) -> list[float]:
    region = InputSet(-torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    return bounds(minimal(w), region, name).output_lower[0].tolist()


def test_discontinuity_of_crown_on_the_minimal_example():
    """l_31 is 1 for w in [-1, 0], and w for w in (0, 1]."""
    assert lowest(0.0, "crown")[0] == 1
    assert lowest(1e-9, "crown")[0] == pytest.approx(0, abs=1e-8)
    assert lowest(0.5, "crown")[0] == 0.5
    assert lowest(0.5, "crown_ibp")[0] == 0.5


def test_discontinuity_of_hbox_on_the_minimal_example():
    """l_32 is -1 - w below w = 1 and 0 from there on."""
    for name in ("hbox", "hbox_back"):
        assert lowest(0.5, name)[1] == -1.5
        assert lowest(1 - 1e-9, name)[1] == pytest.approx(-2)
        assert lowest(1.0, name)[1] == 0


@pytest.mark.parametrize("name", ["box", "deepz", "crown_0"])
def test_continuous_relaxations_are_continuous_on_the_minimal_example(name):
    shifts = np.linspace(-1.5, 1.5, 301)
    values = np.array([lowest(w, name) for w in shifts])
    assert np.abs(np.diff(values, axis=0)).max() < 0.03


# ----------------------------------------------------------------------------------------------------- soundness


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [network, convolutional])
def test_sampled_points_are_inside(make, name):
    for seed in range(5):
        net = make(seed)
        region = boxes(seed, net.input_size)
        labels = [0, 1, 2]
        elided = bounds(net, region, name, labels)
        plain = bounds(net, region, name, labels, elision=False)
        rng = np.random.default_rng(seed)
        for n in range(len(region)):
            x = rng.uniform(region.lower[n], region.upper[n], (300, net.input_size))
            x[:100] = np.where(rng.random((100, net.input_size)) < 0.5, region.lower[n], region.upper[n])
            *hidden, logits = net.preactivations(x)
            for h, low, high in zip(hidden, elided.lower, elided.upper, strict=True):
                assert (h >= low[n].numpy() - 1e-9).all() and (h <= high[n].numpy() + 1e-9).all()
            assert (logits >= plain.output_lower[n].numpy() - 1e-9).all()
            margins = logits - logits[:, [labels[n]]]
            for found in (elided, plain):
                assert (margins <= found.margins[n].numpy() + 1e-9).all()
        assert (elided.margins[torch.arange(3), labels] == 0).all()


@pytest.mark.parametrize("norm", [1, 2, np.inf])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_balls_of_other_norms(norm, clip, name):
    net = network(3)
    rng = np.random.default_rng(4)
    box = (np.full(4, -0.5), np.full(4, 0.6)) if clip else (None, None)
    balls = [Ball(rng.uniform(-0.4, 0.4, 4), 0.5, norm, *box) for _ in range(3)]
    found = bounds(net, InputSet.from_balls(balls), name, [0, 1, 2])
    for n, ball in enumerate(balls):
        logits = net.logits(ball.sample(500, rng))
        assert (logits - logits[:, [n]] <= found.margins[n].numpy() + 1e-9).all()


def test_an_l2_ball_is_bounded_better_than_its_box():
    net = network(5)
    ball = Ball(np.zeros(4), 0.3, 2)
    box = Ball(np.zeros(4), 0.3, np.inf)
    tight, loose = (bounds(net, InputSet.from_balls([b]), "deepz", [0]).margins for b in (ball, box))
    assert (tight[0, 1:] < loose[0, 1:]).all()


def test_batches_in_float32_and_clipping_agree_with_one_region():
    net = network(6)
    center = torch.tensor(np.random.default_rng(0).uniform(size=(4, 4)))
    region = InputSet((center - 0.3).clamp(min=0.0), (center + 0.3).clamp(max=1.0))
    assert float(region.lower.min()) == 0 and float(region.upper.max()) <= 1
    whole = bounds(net, region, "crown", [0, 1, 2, 0]).margins
    single = torch.cat([bounds(net, region.rows([i]), "crown", [i % 3]).margins for i in range(4)])
    torch.testing.assert_close(whole, single)
    coarse = InputSet(region.lower.float(), region.upper.float())
    torch.testing.assert_close(bounds(net, coarse, "crown", [0, 1, 2, 0]).margins.double(), whole, rtol=1e-4, atol=1e-4)


# --------------------------------------------------------------------------------------------------------- order


def test_hbox_is_never_looser_than_box():
    """Theorem 2, and the back-substituted variant is never looser than hBox."""
    for seed in range(20):
        for make in (network, convolutional):
            net = make(seed)
            region = boxes(seed, net.input_size, radius=0.8)
            box, hbox, back = (bounds(net, region, name, [0, 1, 2]) for name in ("box", "hbox", "hbox_back"))
            for looser, tighter in ((box, hbox), (hbox, back)):
                for a, b in zip(looser.lower, tighter.lower, strict=True):
                    assert (b >= a - 1e-9).all()
                assert (tighter.margins <= looser.margins + 1e-9).all()


def test_elision_is_never_looser():
    for seed in range(10):
        for name in NAMES:
            net = network(seed)
            region = boxes(seed, 4)
            one, two = (bounds(net, region, name, [0, 1, 2], elision=e).margins for e in (True, False))
            assert (one <= two + 1e-9).all()


# ------------------------------------------------------------------------------------------------- same, otherwise


@pytest.mark.parametrize("name", NAMES)
def test_convolutions_are_the_matrices_that_they_stand_for(name):
    net = convolutional(1)
    region = boxes(1, net.input_size)
    one, two = (bounds(n, region, name, [0, 1, 2]) for n in (net, net.to_dense()))
    torch.testing.assert_close(one.margins, two.margins)
    torch.testing.assert_close(one.lower[1], two.lower[1])


@pytest.mark.parametrize("name", NAMES)
def test_patches_are_the_whole_forms(name, monkeypatch):
    """Convolutions whose windows overlap, miss the last pixels and reach beyond the border; gradients take no patch."""
    rng = np.random.default_rng(5)
    first = Convolution(rng.normal(size=(2, 1, 3, 2)), rng.normal(size=2), (1, 16, 17), (2, 1), (1, 1))
    second = Convolution(rng.normal(size=(3, 2, 2, 3)), rng.normal(size=3), first.output_shape, (1, 3), (0, 2))
    third = Convolution(rng.normal(size=(2, 3, 2, 2)), rng.normal(size=2), second.output_shape, (2, 2), (1, 0))
    net = FeedForward((first, second, third, Dense(rng.normal(size=(3, third.output_size)), rng.normal(size=3))))
    region = boxes(5, net.input_size, radius=0.05)
    whole = bounds(net, region, name, [0, 1, 2])
    taken, patches = [], backsubstitution._patches
    monkeypatch.setattr(backsubstitution, "_patches", lambda *given: taken.append(patches(*given)) or taken[-1])
    with torch.no_grad():
        found = bounds(net, region, name, [0, 1, 2])
    torch.testing.assert_close(found.margins, whole.margins)
    for side in ("lower", "upper"):
        for ours, theirs in zip(getattr(found, side), getattr(whole, side), strict=True):
            torch.testing.assert_close(ours, theirs)
    if name in ("crown", "deepz"):
        assert [part is not None for part in taken] == [True, True]


@pytest.mark.parametrize("name", NAMES)
def test_groups_of_rows_and_permuted_neurons_change_nothing(name, monkeypatch):
    net = network(2)
    region = boxes(2, 4)
    whole = bounds(net, region, name, [0, 1, 2]).margins
    monkeypatch.setattr(backsubstitution, "LARGEST", 30)
    torch.testing.assert_close(bounds(net, region, name, [0, 1, 2]).margins, whole)
    monkeypatch.setattr(backsubstitution, "CACHED", 20)
    with torch.no_grad():
        torch.testing.assert_close(bounds(net, region, name, [0, 1, 2]).margins, whole)
    order = np.random.default_rng(0).permutation(7)
    W, b = list(net.weights), list(net.biases)
    W[0], b[0], W[1] = W[0][order], b[0][order], W[1][:, order]
    torch.testing.assert_close(bounds(FeedForward.dense(W, b), region, name, [0, 1, 2]).margins, whole)


def test_known_hidden_bounds_are_used():
    net = network(2)
    region = boxes(2, 4)
    first = bounds(net, region, "crown")
    again = bounds(net, region, "crown", [0, 1, 2], hidden=(first.lower[:1], first.upper[:1]))
    torch.testing.assert_close(again.margins, bounds(net, region, "crown", [0, 1, 2]).margins)


def zonotope(net: FeedForward, lower, upper, number=float):
    """DeepZ as a forward zonotope (Singh et al. 2018), one noise symbol for each input and unstable neuron."""
    to = np.vectorize(number, otypes=[object])
    lower, upper = to(lower), to(upper)
    center, noise = (lower + upper) / 2, np.diag((upper - lower) / 2)
    for i, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        W, b = to(W), to(b)
        center, noise = W.dot(center) + b, W.dot(noise)
        reach = np.abs(noise).sum(1)
        low, high = center - reach, center + reach
        if i == len(net.weights) - 1:
            return low, high
        fresh = np.zeros((len(b), 0), dtype=object)
        for j in range(len(b)):
            if high[j] <= 0:
                center[j], noise[j] = number(0), noise[j] * number(0)
            elif low[j] < 0:
                slope = high[j] / (high[j] - low[j])
                half = -slope * low[j] / 2
                center[j], noise[j] = slope * center[j] + half, slope * noise[j]
                column = np.full((len(b), 1), number(0), dtype=object)
                column[j] = half
                fresh = np.hstack([fresh, column])
        noise = np.hstack([noise, fresh])


def test_deepz_is_the_zonotope():
    for seed in range(10):
        net = network(seed)
        region = boxes(seed, 4, count=1)
        found = bounds(net, region, "deepz")
        low, high = zonotope(net, region.lower[0].numpy(), region.upper[0].numpy())
        np.testing.assert_allclose(found.output_lower[0].numpy(), low.astype(float), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(found.output_upper[0].numpy(), high.astype(float), rtol=1e-10, atol=1e-10)


def test_the_allowance_covers_exact_arithmetic():
    """DeepZ's bound in rational arithmetic is below the float64 bound plus its allowance, which is small."""
    for seed in range(5):
        net = network(seed, (3, 5, 4, 2))
        W, b = list(net.weights), list(net.biases)
        single = FeedForward.dense([*W[:-1], [W[-1][1] - W[-1][0]]], [*b[:-1], [b[-1][1] - b[-1][0]]])
        region = boxes(seed, 3, count=1)
        found = bounds(net, region, "deepz", [0])
        extra = float(allowance(net, region, found))
        _, exact = zonotope(single, region.lower[0].tolist(), region.upper[0].tolist(), Fraction)
        assert abs(float(exact[0] - Fraction(float(found.margins[0, 1])))) <= extra
        assert 0 < extra < 1e-9


# ----------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_finite_differences(name):
    """In the weights and in the region, at points that are no kink (random ones are not)."""
    rng = np.random.default_rng(7)
    values = [torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in [(5, 3), 5, (4, 5), 4, (3, 4), 3]]
    center = torch.tensor(rng.normal(size=(2, 3)), requires_grad=True)

    def margins(center, *values):
        layers = [DenseOperator(values[i], values[i + 1]) for i in (0, 2, 4)]
        found = bounds(layers, InputSet(center - 0.3, center + 0.3), name, [0, 1])
        return found.margins

    assert torch.autograd.gradcheck(margins, (center, *values))


def test_the_gradient_of_a_convolution():
    net = convolutional(0)
    kernel = torch.tensor(net.layers[0].weight, requires_grad=True)
    layers = operators(net)
    object.__setattr__(layers[0], "weight", kernel)
    region = boxes(0, net.input_size)

    def margins(weight):
        object.__setattr__(layers[0], "weight", weight)
        return bounds(layers, region, "crown", [0, 1, 2]).margins

    assert torch.autograd.gradcheck(margins, (kernel,))


def test_stable_neurons_have_finite_gradients():
    """Where u = l the chord has no slope; its branch is not taken, and must not leak nan into the gradient."""
    weight = torch.tensor([[1.0], [0.0]], dtype=torch.float64, requires_grad=True)
    layers = [
        DenseOperator(weight, torch.tensor([0.0, 0.0], dtype=torch.float64)),
        DenseOperator(torch.ones(2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)),
    ]
    region = InputSet(torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64))
    for name in NAMES:
        (gradient,) = torch.autograd.grad(bounds(layers, region, name).output_upper.sum(), weight)
        assert torch.isfinite(gradient).all()


# ------------------------------------------------------------------------------------------------------ verdicts


def test_certify_skips_what_it_is_told_to_skip():
    net = network(0)
    center = np.random.default_rng(1).normal(size=(20, 4))
    region = InputSet.boxes(center - 0.01, center + 0.01)
    labels = net.predict((region.lower + region.upper).numpy() / 2)
    whole = certify(net, region, labels, "crown", batch=7)
    assert whole.certified.any() and 0 < whole.allowance < 1e-9
    assert (whole.worst[whole.certified] < 0).all()
    consider = np.arange(20) % 2 == 0
    half = certify(net, region, labels, "crown", consider=consider)
    assert (half.certified == (whole.certified & consider)).all()
    assert np.isnan(half.worst[1])


def test_a_margin_within_the_allowance_is_not_certified():
    margins = torch.tensor([[0.0, -1e-12], [0.0, -1e-6]], dtype=torch.float64)
    assert certified(margins, [0, 0], 1e-9).tolist() == [False, True]


def test_the_hybrid_loss_mixes_two_bounds():
    tight, box = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 3.0]])
    assert hybrid_margins(tight, box, 0.25).tolist() == [[0.0, 2.5]]
    with pytest.raises(InputError, match="beta"):
        hybrid_margins(tight, box, 1.5)


# ---------------------------------------------------------------------------------------------------- bad input


def test_names_and_other_names():
    net, region = network(0), boxes(0, 4)
    for other, name in (("IBP", "box"), ("DeepPoly", "crown"), ("fast-lin", "deepz"), ("CROWN-IBP", "crown_ibp")):
        torch.testing.assert_close(bounds(net, region, other).output_lower, bounds(net, region, name).output_lower)
    with pytest.raises(UnknownNameError, match=r"relaxation 'crwon'. Did you mean 'crown'"):
        bounds(net, region, "crwon")


def test_wrong_shapes_and_labels():
    net, region = network(0), boxes(0, 4)
    with pytest.raises(RegionError, match="3 inputs; the network has 4"):
        bounds(net, boxes(0, 3), "box")
    with pytest.raises(InputError, match="labels"):
        bounds(net, region, "box", [0, 1, 3])
    with pytest.raises(RegionError, match="above"):
        InputSet(torch.ones(1, 2), torch.zeros(1, 2))
    with pytest.raises(RegionError, match="nan"):
        InputSet(torch.full((1, 2), float("nan")), torch.zeros(1, 2))
    with pytest.raises(RegionError, match="norms"):
        InputSet.from_balls([Ball(np.zeros(4), 0.1, 1), Ball(np.zeros(4), 0.1, 2)])
    with pytest.raises(NetworkError, match="do not fit"):
        operators([DenseOperator(torch.ones(2, 3), torch.ones(2)), DenseOperator(torch.ones(2, 3), torch.ones(2))])
