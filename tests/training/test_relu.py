"""The classifier of two spheres: points, seeds, shipped weights."""

import numpy as np
import pytest

from tightrope import paths
from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.training.relu import spheres, train_relu


def test_points_lie_near_their_spheres():
    x, labels = spheres(1_000, 20, seed=0)
    radius = np.linalg.norm(x, axis=1)
    assert np.abs(radius - (1 + labels)).max() < 0.5 and labels.mean() == 0.5


def test_same_seed_same_weights():
    x, labels = spheres(200, 4, seed=0)
    first, again = (train_relu(x, labels, 5, seed=1, epochs=2) for _ in range(2))
    assert first.sha256() == again.sha256() != train_relu(x, labels, 5, seed=2, epochs=2).sha256()
    assert first.sizes == (4, 5, 1)


@pytest.mark.parametrize("name", ["spheres/relu-10", "spheres/relu-80"])
def test_shipped_networks_tell_the_spheres_apart(name):
    network = FeedForward.from_npz(paths.MODELS / f"{name}.npz")
    x, labels = spheres(2_000, network.input_size, seed=1)
    assert np.mean((network.logits(x)[:, 0] > 0) == labels) > 0.95


def test_bad_input_by_name():
    with pytest.raises(InputError, match="count"):
        spheres(1, 3, seed=0)
    with pytest.raises(InputError, match="width"):
        train_relu(np.zeros((2, 2)), np.array([0, 1]), 0)
