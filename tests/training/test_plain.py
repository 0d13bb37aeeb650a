"""Training: deterministic, monotone by construction, good enough to be worth a certificate; two spheres told apart."""

import numpy as np
import pytest

from tightrope import datasets, paths, zoo
from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.training import accuracy, train_mondeq
from tightrope.training.plain import spheres, train_relu


@pytest.fixture(scope="module")
def few() -> datasets.Dataset:
    """The first 200 training digits."""
    train = datasets.load("digits", "train")
    return datasets.Dataset("few", train.images[:200], train.labels[:200], train.shape, train.normalisation)


def test_training_is_determined_by_its_seed(few):
    """Same seed, same bits; another seed, another network; torch's global generator does not enter."""
    import torch

    one = train_mondeq(few, 6, 1.0, seed=0, epochs=2)
    torch.manual_seed(99)
    assert train_mondeq(few, 6, 1.0, seed=0, epochs=2).sha256() == one.sha256()
    assert train_mondeq(few, 6, 1.0, seed=1, epochs=2).sha256() != one.sha256()


@pytest.mark.parametrize("m", [0.5, 20.0])
def test_training_learns_and_stays_monotone(few, m):
    """The loss falls, the images are learnt, and m holds for the trained W."""
    losses = []
    network = train_mondeq(few, 8, m, seed=0, epochs=25, progress=lambda epoch, loss: losses.append(loss))
    assert len(losses) == 25 and losses[-1] < losses[0] / 3
    assert accuracy(network, few) > 0.9
    assert np.linalg.eigvalsh(np.eye(8) - (network.W + network.W.T) / 2)[0] >= m * (1 - 1e-9)


def test_bad_sizes_are_named(few):
    """Before anything is trained."""
    with pytest.raises(InputError, match=r"m=-1"):
        train_mondeq(few, 4, -1.0, seed=0)


@pytest.mark.parametrize(("name", "m"), [("digits/mondeq-16", 20.0), ("digits/mondeq-32", 1.0)])
def test_shipped_networks(name, m):
    """Monotonicity, and at least 95 % of the test split."""
    network = zoo.get(name).network
    assert network.m == m and accuracy(network, datasets.load("digits")) >= 0.95


def test_points_lie_near_their_spheres():
    x, labels = spheres(1_000, 20, seed=0)
    radius = np.linalg.norm(x, axis=1)
    assert np.abs(radius - (1 + labels)).max() < 0.5 and labels.mean() == 0.5


def test_same_seed_same_weights_of_relu_networks():
    x, labels = spheres(200, 4, seed=0)
    first, again = (train_relu(x, labels, 5, seed=1, epochs=2) for _ in range(2))
    assert first.sha256() == again.sha256() != train_relu(x, labels, 5, seed=2, epochs=2).sha256()
    assert first.sizes == (4, 5, 1)


@pytest.mark.parametrize("name", ["spheres/relu-10", "spheres/relu-80"])
def test_shipped_networks_tell_the_spheres_apart(name):
    network = FeedForward.from_npz(paths.MODELS / f"{name}.npz")
    x, labels = spheres(2_000, network.input_size, seed=1)
    assert np.mean((network.logits(x)[:, 0] > 0) == labels) > 0.95


def test_bad_input_of_relu_networks_by_name():
    with pytest.raises(InputError, match="count"):
        spheres(1, 3, seed=0)
    with pytest.raises(InputError, match="width"):
        train_relu(np.zeros((2, 2)), np.array([0, 1]), 0)
