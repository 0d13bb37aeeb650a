"""Nonlinearities: values, lines that no point of the graph crosses (in exact arithmetic), files, and both readers."""

from itertools import pairwise

import flint
import numpy as np
import pytest
import torch
from torch import nn

from tightrope.errors import NetworkError, TightropeError
from tightrope.networks import (
    ELU,
    Arctan,
    Convolution,
    Dense,
    FeedForward,
    LeakyReLU,
    MaxPool,
    ReLU,
    Sigmoid,
    Step,
    Tanh,
    to_module,
)
from tightrope.networks.activations import named

ONE_VARIABLE = (
    ReLU(),
    LeakyReLU(0.1),
    LeakyReLU(-0.5),
    LeakyReLU(3.0),
    ELU(),
    ELU(2.5),
    Sigmoid(),
    Tanh(),
    Arctan(),
    Step(),
)
#: sigma in balls, or its values at a fraction.
EXACT = {
    ReLU: lambda one, h: max(h, flint.arb(0)),
    LeakyReLU: lambda one, h: h if h > 0 else flint.arb(one.slope) * h,
    ELU: lambda one, h: h if h > 0 else flint.arb(one.alpha) * h.expm1(),
    Sigmoid: lambda one, h: 1 / (1 + (-h).exp()),
    Tanh: lambda one, h: h.tanh(),
    Arctan: lambda one, h: h.atan(),
    Step: lambda one, h: flint.arb(1 if h > 0 else 0),
}


def random_ends(rng, count):
    """Intervals of all sizes and places, some of one point."""
    low = rng.standard_normal(count) * 10 ** rng.uniform(-6, 2, count)
    return low, low + np.where(rng.random(count) < 0.1, 0.0, 10 ** rng.uniform(-9, 2, count))


@pytest.mark.parametrize("one", ONE_VARIABLE, ids=repr)
def test_no_point_of_the_graph_crosses_a_line(one, rng):
    """Lines of chosen and of arbitrary slopes, in balls: at samples, at both ends, and where they touch."""
    low, high = random_ends(rng, 60)
    middle = (low + high) / 2
    chosen = [(one.best(middle, low, high, side), side) for side in (False, True)]
    for slope in (one.chord(low, high), np.zeros(60), rng.uniform(-1, 2, 60)):
        chosen += [(slope, False), (slope, True)]
    for slope, above in chosen:
        t, touch = one.intercept(slope, low, high, above)
        assert ((low <= touch) & (touch <= high)).all()
        for k in range(60):
            for h in (low[k], high[k], touch[k], *rng.uniform(low[k], high[k], 5)):
                line = flint.arb(slope[k]) * flint.arb(h) + flint.arb(t[k])
                z = EXACT[type(one)](one, flint.arb(h))
                assert line > z if above else line < z


@pytest.mark.parametrize("one", [*ONE_VARIABLE, MaxPool((1, 1, 2), (1, 2), 1)], ids=repr)
def test_what_overflows_has_no_line(one):
    """An infinite bound leaves nothing finite, nan included: no bound is made of it."""
    low, high = np.array([[-1.0, 1.0]]), np.array([[np.inf, np.inf]])
    for slope in (0.0, 0.5, 2.0):
        for above in (False, True):
            t, _ = one.intercept(np.full_like(one.gathered(low), slope), low, high, above)
            assert not np.isfinite(t).any() and not (t == (-np.inf if above else np.inf)).any()


@pytest.mark.parametrize("one", [one for one in ONE_VARIABLE if not isinstance(one, Step)], ids=repr)
def test_lines_touch(one, rng):
    """The intercept is no further out than its rounding: the line meets the graph at the point that is returned."""
    low, high = random_ends(rng, 200)
    for above in (False, True):
        slope = one.best(rng.uniform(low, high), low, high, above)
        t, touch = one.intercept(slope, low, high, above)
        size = 1 + (1 + np.abs(slope)) * np.maximum(np.abs(low), np.abs(high))
        assert (np.abs(slope * touch + t - one.value(touch)) <= 1e-13 * size).all()


@pytest.mark.parametrize("one", ONE_VARIABLE, ids=repr)
def test_slopes_of_envelopes_are_between_the_stated_ones(one, rng):
    low, high = random_ends(rng, 200)
    least, most = one.slopes(low, high)
    for slope in (one.chord(low, high), *(one.best((low + high) / 2, low, high, side) for side in (False, True))):
        assert ((least <= slope) & (slope <= most)).all()


@pytest.mark.parametrize("seed", range(4))
def test_max_pooling_lines(seed):
    """Sound for any slopes at the vertices of the box and between, and tight for those of the envelopes."""
    rng = np.random.default_rng(seed)
    pool = MaxPool((1, 4, 4), 2, 2)
    low = rng.standard_normal((1, 16))
    high = low + rng.uniform(0, 2, (1, 16)) * (rng.random((1, 16)) < 0.8)
    points = np.vstack([low + (high - low) * rng.integers(0, 2, (300, 16)), rng.uniform(low, high, (300, 16))])
    middle = (low + high) / 2
    for above in (False, True):
        for slope in (pool.best(middle, low, high, above), pool.chord(low, high), rng.uniform(-0.5, 1.5, (1, 4, 4))):
            t, touch = pool.intercept(slope, low, high, above)
            line = (slope * pool.gathered(points)).sum(-1) + t
            z = pool.value(points)
            assert (line >= z if above else line <= z).all()
            at_touch = (slope * touch).sum(-1) + t - touch.max(-1)
            np.testing.assert_allclose(at_touch, 0, atol=1e-12)


def test_max_pooling_knows_what_is_decided():
    pool = MaxPool((1, 1, 4), (1, 2), (1, 2))
    low, high = np.array([0.0, 2.0, 0.0, 0.5]), np.array([1.0, 3.0, 1.0, 2.0])
    assert pool.curved(low, high).tolist() == [False, True]
    assert pool.undecided(low, high).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [((2, 6, 6), 2, 2, 0), ((1, 7, 5), 3, 2, 1), ((1, 5, 6), (2, 3), (1, 2), (0, 1))],
)
def test_max_pooling_is_that_of_torch(shape, kernel, stride, padding, rng):
    pool = MaxPool(shape, kernel, stride, padding)
    x = rng.standard_normal((5, np.prod(shape)))
    want = nn.functional.max_pool2d(torch.tensor(x).reshape(5, *shape), kernel, stride, padding)
    assert want.shape[1:] == pool.output_shape
    np.testing.assert_array_equal(pool.value(x), want.flatten(1).numpy())


def convolutional(rng, one):
    """A convolution, one nonlinearity, max pooling after another convolution, and a dense layer."""
    first = Convolution(rng.standard_normal((2, 1, 3, 3)) / 3, rng.standard_normal(2), (1, 6, 6), 1, 1)
    second = Convolution(rng.standard_normal((2, 2, 3, 3)) / 4, rng.standard_normal(2), first.output_shape, 1, 1)
    pool = MaxPool(second.output_shape, 2, 2)
    last = Dense(rng.standard_normal((3, 18)) / 4, rng.standard_normal(3))
    return FeedForward((first, second, last), "net", (one, pool))


def dense(rng, one, sizes=(5, 7, 6, 3)):
    weights = [rng.standard_normal((n, k)) / np.sqrt(k) for k, n in pairwise(sizes)]
    return FeedForward.dense(weights, [rng.standard_normal(n) for n in sizes[1:]], "net", (one, one))


@pytest.mark.parametrize("make", [dense, convolutional])
@pytest.mark.parametrize("one", ONE_VARIABLE, ids=repr)
def test_files_give_the_network_back(make, one, rng, tmp_path):
    network = make(rng, one)
    network.to_npz(tmp_path / "net.npz")
    again = FeedForward.from_npz(tmp_path / "net.npz")
    assert again.activations == network.activations
    assert again.sha256() == network.sha256()
    x = rng.standard_normal((4, network.input_size))
    np.testing.assert_array_equal(again.logits(x), network.logits(x))
    np.testing.assert_allclose(to_module(network)(torch.tensor(x)).detach(), network.logits(x), atol=1e-12)


def test_a_network_shows_what_is_between_its_layers(rng):
    assert repr(dense(rng, ReLU())) == "FeedForward('net', 5 -> 7 -> 6 -> 3)"
    assert repr(dense(rng, Tanh())) == "FeedForward('net', 5 -> 7 -> 6 -> 3, tanh)"


def test_the_nonlinearity_is_part_of_the_hash_and_relu_is_not(rng):
    relu = dense(rng, ReLU())
    assert set(relu.arrays()) == {"W1", "b1", "W2", "b2", "W3", "b3"}
    others = [FeedForward(relu.layers, "", (one, ReLU())).sha256() for one in ONE_VARIABLE[1:]]
    assert len({relu.sha256(), *others}) == 1 + len(others)


def test_gradients_go_through(rng):
    """Of every nonlinearity, the step's in place of its own, which is 0."""
    for one in ONE_VARIABLE:
        x = torch.tensor(rng.standard_normal((3, 36)), requires_grad=True)
        to_module(convolutional(rng, one))(x).sum().backward()
        assert (x.grad != 0).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeedForward.dense(([[1.0]], [[1.0]]), ([0.0], [0.0]), "", (Tanh(), Tanh())), "2 activations for 2"),
        (lambda: FeedForward.dense(([[1.0]], [[1.0]]), ([0.0], [0.0]), "", (np.tanh,)), "ufunc; give one of ReLU"),
        (
            lambda: FeedForward.dense(([[1.0]], [[1.0]]), ([0.0], [0.0]), "", (MaxPool((1, 2, 2), 2, 2),)),
            "for 1 values",
        ),
        (lambda: ELU(-1.0), "alpha: expected a positive"),
        (lambda: LeakyReLU(np.nan), "slope: expected a finite"),
        (lambda: MaxPool((1, 2, 2), 3, 1), "one window must fit"),
        (lambda: named("softplus"), "unknown activation 'softplus'. Known: arctan, elu, leaky_relu"),
        (lambda: named("max_pool", [1, 2]), "max_pool has 9 parameters"),
        (lambda: FeedForward.from_arrays({"W1": [[1.0]], "b1": [0.0], "activation.1.tanh": []}), "from 1 to 0"),
    ],
)
def test_bad_input_by_name(make, message):
    with pytest.raises(TightropeError, match=message):
        make()


@pytest.mark.parametrize(
    ("middle", "shape"),
    [
        (nn.LeakyReLU(0.2), None),
        (nn.ELU(0.7), None),
        (nn.Sigmoid(), None),
        (nn.Tanh(), None),
        (nn.MaxPool2d(2), (1, 6, 6)),
        (nn.MaxPool2d(3, 2, 1), (1, 6, 6)),
    ],
    ids=str,
)
def test_torch_modules(middle, shape):
    """The reader compares scores itself; here also that the nonlinearity is where it was."""
    torch.manual_seed(0)
    if shape is None:
        module = nn.Sequential(nn.Linear(4, 6), middle, nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    else:
        module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), middle, nn.Flatten(), nn.Linear(18, 3))
    network = FeedForward.from_torch(module, shape)
    assert len(network.layers) == 3 and not network.is_relu
    x = torch.randn(5, *(shape or (4,)))
    np.testing.assert_allclose(network.logits(x.flatten(1)), module(x).detach(), atol=1e-5)


def test_state_dictionaries_are_told_the_nonlinearities():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(2, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)
    )
    between = (MaxPool((2, 6, 6), 2, 2), Tanh())
    pairs = ((1, 1), (1, 0))
    network = FeedForward.from_state_dict(
        module.state_dict(), input_shape=(1, 6, 6), convolutions=pairs, activation=between
    )
    x = torch.randn(5, 1, 6, 6)
    np.testing.assert_allclose(network.logits(x.flatten(1)), module(x).detach(), atol=1e-5)


def test_what_is_about_relu_refuses_by_name(rng):
    network = dense(rng, Tanh())
    with pytest.raises(NetworkError, match="a monDEQ has ReLU only, and this one has tanh; use crown, deepz or lp-all"):
        network.to_mondeq()
