"""A state dictionary holds no activations: what is assumed is said, by the network and by every report."""

import numpy as np
import pytest

from tightrope import zoo
from tightrope.errors import AssumptionWarning, NetworkError, UnknownNameError
from tightrope.networks import FeedForward, load
from tightrope.regions import Ball
from tightrope.verifiers.robustness import certify

STATE = {"0.weight": np.eye(2), "0.bias": np.zeros(2), "2.weight": np.eye(2), "2.bias": np.array([1.0, 0.0])}


def test_relu_is_assumed_with_a_warning():
    """It stays with the network; its report says so in text and to JSON."""
    with pytest.warns(AssumptionWarning, match="ReLU between the layers 2 -> 2 -> 2, a state dictionary does not say"):
        network = FeedForward.from_state_dict(STATE)
    assert repr(network) == "FeedForward('', 2 -> 2 -> 2, ReLU assumed)"
    report = certify(network, Ball([0.0, 0.0], 0.1, "inf"), 0)
    assert report.to_dict()["assumed"] == report.assumed == network.assumed and "assumed: ReLU" in str(report)
    assert network.sha256() == FeedForward.from_state_dict(STATE, activation="ReLU").sha256()


def test_nothing_is_assumed_of_what_is_said(tmp_path, recwarn):
    """An activation, a file that states its layers, or a network without hidden layers."""
    torch = pytest.importorskip("torch")
    path = tmp_path / "own.pt"
    torch.save({name: torch.tensor(array) for name, array in STATE.items()}, path)
    assert load(path, activation="relu").assumed == zoo.get(path, activation="relu").network.assumed == ""
    load(path, activation="relu").to_npz(tmp_path / "own.npz")
    assert load(tmp_path / "own.npz").assumed == ""
    assert FeedForward.from_state_dict({"weight": np.eye(2)}).assumed == ""
    assert not [one for one in recwarn if issubclass(one.category, AssumptionWarning)]
    with pytest.raises(UnknownNameError, match="unknown activation 'sine'"):
        load(path, activation="sine")


def test_a_shape_of_another_size_is_refused():
    """Where there is no convolution to see it, too."""
    wide = {"0.weight": np.eye(4), "2.weight": np.eye(4)}
    assert FeedForward.from_state_dict(wide, input_shape=(1, 2, 2), activation="relu").input_size == 4
    with pytest.raises(NetworkError, match=r"input_shape \(--input-shape\): \(1, 2, 3\) has 6 .* takes 4"):
        FeedForward.from_state_dict(wide, input_shape=(1, 2, 3), activation="relu")


@pytest.mark.parametrize("given", [STATE, None, np.eye(2)], ids=lambda given: type(given).__name__)
def test_what_is_no_file_has_another_reader(given):
    """A module, its state dictionary and arrays."""
    with pytest.raises(NetworkError, match=r"path: expected the name of a file, got .*; write FeedForward\.from_torch"):
        load(given)
