"""Affine layers: the same map as torch, as a matrix, and from a file."""

import numpy as np
import pytest
import torch

from tightrope.errors import CorruptDataError, NetworkError
from tightrope.networks import Composition, Convolution, Dense, FeedForward, Scaling, load, to_module
from tightrope.networks.layers import identity, transposed


def convolution(rng, shape=(2, 5, 6), out=3, kernel=(3, 2), stride=(2, 1), padding=(1, 2)) -> Convolution:
    """Random convolution with unequal sizes, strides and paddings."""
    weight = rng.standard_normal((out, shape[0], *kernel))
    return Convolution(weight, rng.standard_normal(out), shape, stride, padding)


def every_kind(rng) -> FeedForward:
    """Normalisation and convolution, dense, batch normalisation before a dense layer."""
    first = Composition((Scaling(rng.uniform(0.5, 2, 60), rng.standard_normal(60)), convolution(rng)))
    hidden = Dense(rng.standard_normal((7, first.output_size)), rng.standard_normal(7))
    last = Composition((Scaling(rng.standard_normal(7), rng.standard_normal(7)), Dense(np.ones((4, 7)), np.zeros(4))))
    return FeedForward((first, hidden, identity(7), last), "every-kind")


@pytest.mark.parametrize(
    ("stride", "padding", "more"), [((1, 1), (0, 0), (0, 0)), ((2, 2), (1, 1), (1, 1)), ((2, 3), (0, 1), (1, 2))]
)
def test_transposed_convolution_is_torchs(rng, stride, padding, more):
    """With strides, paddings and pixels added at the ends; other weights, and more pixels than a stride, are named."""
    weight, bias, x = rng.standard_normal((3, 2, 3, 4)), rng.standard_normal(2), rng.standard_normal((2, 3, 4, 5))
    layer, shape = transposed(weight, bias, (3, 4, 5), stride, padding, more)
    expected = torch.nn.functional.conv_transpose2d(*map(torch.tensor, (x, weight, bias)), stride, padding, more)
    assert shape == tuple(expected.shape[1:])
    np.testing.assert_allclose(layer.forward(x.reshape(2, -1)), expected.flatten(1), atol=1e-13)
    with pytest.raises(NetworkError, match="more pixels for a stride of"):
        transposed(weight, bias, (3, 4, 5), stride, padding, stride)
    with pytest.raises(NetworkError, match="more pixels for a stride of"):
        transposed(weight, bias, (4, 4, 5), stride, padding, more)
    with pytest.raises(NetworkError, match="18000000 entries that are not 0"):
        transposed(weight, bias, (3, 500, 500), stride, padding, more)


@pytest.mark.parametrize("stride", [1, 2, (2, 1), (3, 2)])
@pytest.mark.parametrize("padding", [0, 1, (0, 2)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 2), (4, 4)])
def test_convolution_is_torchs(rng, stride, padding, kernel):
    """Forward pass, output shape and matrix agree with torch.nn.functional.conv2d."""
    layer = convolution(rng, kernel=kernel, stride=stride, padding=padding)
    x = rng.standard_normal((4, 2, 5, 6))
    expected = torch.nn.functional.conv2d(
        torch.tensor(x), torch.tensor(layer.weight), torch.tensor(layer.bias), stride=stride, padding=padding
    ).numpy()
    assert layer.output_shape == expected.shape[1:] and layer.output_size == expected[0].size
    rows = x.reshape(4, -1)
    np.testing.assert_allclose(layer.forward(rows), expected.reshape(4, -1), atol=1e-13)
    W, b = layer.dense()
    np.testing.assert_allclose(rows @ W.T + b, expected.reshape(4, -1), atol=1e-13)


def test_dense_and_sparse_are_the_same_map_as_forward(rng):
    """Of every kind; a composition multiplies its layers."""
    for layer in every_kind(rng).layers:
        x = rng.standard_normal((3, layer.input_size))
        for W, b in (layer.dense(), layer.sparse()):
            assert W.shape == (layer.output_size, layer.input_size) and b.shape == (layer.output_size,)
            np.testing.assert_allclose((W @ x.T).T + b, layer.forward(x), atol=1e-12)


def test_network_of_every_kind(rng, tmp_path):
    """Its module, its dense form and its file are the same function; the hash sees every array."""
    network = every_kind(rng)
    x = rng.standard_normal((5, network.input_size))
    logits = network.logits(x)
    np.testing.assert_allclose(to_module(network)(torch.tensor(x)).detach().numpy(), logits, atol=1e-12)
    np.testing.assert_allclose(network.to_dense().logits(x), logits, atol=1e-12)
    np.testing.assert_allclose(network.preactivations(x)[-1], logits, atol=0)
    network.to_npz(tmp_path / "all.npz")
    again = load(tmp_path / "all.npz")
    assert again.sha256() == network.sha256() and again.name == "all"
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in network.layers]
    np.testing.assert_array_equal(again.logits(x), logits)
    other = FeedForward((*network.layers[:3], Dense(np.ones((4, 7)), np.zeros(4))))
    assert other.sha256() != network.sha256()
    assert network.sizes == (60, network.layers[0].output_size, 7, 7, 4)


def test_weights_of_a_network_that_is_not_dense(rng):
    """The error names the layer and the way out."""
    network = every_kind(rng)
    with pytest.raises(NetworkError, match=r"weights: layers\[0\] .* is a Composition.*to_dense\(\)"):
        _ = network.weights
    dense = network.to_dense()
    assert dense.is_dense and dense.to_dense() is dense and len(dense.weights) == len(dense.biases) == 4


def test_arrays_are_read_only_copies(rng):
    """A network keeps its value when the caller's arrays change."""
    weight = np.ones((2, 3))
    layer = Dense(weight, np.zeros(2))
    weight[:] = 0
    assert layer.weight.sum() == 6
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0, 0] = 2
    with pytest.raises(ValueError, match="read-only"):
        every_kind(rng).layers[0].layers[1].weight[0] = 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense([[np.nan]], [0.0]), "weight has 1 entries that are nan or infinite"),
        (lambda: Dense([[1.0]], [0.0, 1.0]), r"bias has shape \(2,\); it must be 1"),
        (lambda: Convolution(np.ones((1, 1, 2, 2)), [np.inf], (1, 3, 3)), "bias has 1 entries"),
        (lambda: Convolution(np.ones((1, 1, 2)), [0.0], (1, 3, 3)), "weight has shape"),
        (lambda: Convolution(np.ones((1, 2, 2, 2)), [0.0], (1, 3, 3)), "has 1 channels"),
        (lambda: Convolution(np.ones((1, 1, 4, 4)), [0.0], (1, 3, 3)), "kernel .* is larger than the input"),
        (lambda: Convolution(np.ones((1, 1, 2, 2)), [0.0], (3, 3)), "input_shape: expected 3 integers"),
        (lambda: Convolution(np.ones((1, 1, 2, 2)), [0.0], (1, 3, 3), 0), "stride: expected 2 integers of at least 1"),
        (lambda: Convolution(np.ones((1, 1, 2, 2)), [0.0], (1, 3, 3), 1, 0.5), "padding: expected 2 integers"),
        (lambda: Scaling([1.0, 2.0], [0.0]), "shift has shape"),
        (lambda: Composition(()), "layers is empty"),
        (lambda: Composition((identity(2), identity(3))), r"layers\[1\] .* needs 3 inputs, layers\[0\] has 2"),
        (lambda: FeedForward((np.eye(2),)), r"layers\[0\] is a ndarray; give one of Dense, Convolution"),
    ],
)
def test_bad_layers_are_named(make, message):
    """Which argument, what arrived, what it must be."""
    with pytest.raises(NetworkError, match=message):
        make()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"1.dense.weight": np.ones((1, 1))}, "a dense layer has weight, bias; found weight"),
        ({"2.dense.weight": np.ones((1, 1)), "2.dense.bias": np.ones(1)}, "without gaps"),
        ({"1.lstm.weight": np.ones((1, 1))}, "'1.lstm.weight' is not the name of an array"),
        ({"1.dense.weight": np.ones((1, 1)), "1.dense.bias": np.ones(2)}, r"layer 1: bias has shape \(2,\)"),
    ],
)
def test_bad_files_are_named(tmp_path, arrays, message):
    """A file that does not describe layers says which entry is wrong."""
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(NetworkError, match=message):
        FeedForward.from_npz(tmp_path / "bad.npz")


def test_truncated_file(rng, tmp_path):
    """Half a file is named."""
    path = tmp_path / "net.npz"
    every_kind(rng).to_npz(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CorruptDataError, match="cannot be read"):
        load(path)
