"""Random networks: bands, seeds from names, bad input by name."""

import numpy as np
import pytest

from tightrope.errors import NetworkError
from tightrope.networks.random import random_network


def test_band_of_every_layer_but_the_last():
    network = random_network((6, 6, 4, 2), sparsity=3)
    for W in network.weights[:-1]:
        i, j = np.nonzero(W)
        assert np.abs(i - j).max() == 1
    assert np.count_nonzero(network.weights[-1]) == 8


@pytest.mark.parametrize(("even", "odd"), [(2, 1), (4, 3), (20, 19)])
def test_even_sparsity_is_the_odd_band_below_it(even, odd):
    masks = [random_network((30, 30, 1), sparsity=s).weights[0] != 0 for s in (even, odd)]
    assert (masks[0] == masks[1]).all()


def test_sparsity_beyond_the_width_is_dense():
    assert np.count_nonzero(random_network((5, 5, 1), sparsity=80).weights[0]) == 25


def test_names_are_seeds():
    first, again, other = (random_network((5, 5, 1), 3, draw) for draw in (0, 0, 1))
    assert first.sha256() == again.sha256() != other.sha256()
    assert first.name == "random/5-5-1/s3/0"
    assert np.abs(first.weights[0]).max() <= 5**-0.5


@pytest.mark.parametrize(
    ("sizes", "sparsity", "draw"),
    [((5, 0, 1), 3, 0), ((5,), 3, 0), ((5, 5, 1), 0, 0), ((5, 5, 1), 2.5, 0), ((5, 5, 1), 3, -1), ((5, "a"), None, 0)],
)
def test_bad_input_by_name(sizes, sparsity, draw):
    with pytest.raises(NetworkError, match=r"sizes|sparsity"):
        random_network(sizes, sparsity, draw)
