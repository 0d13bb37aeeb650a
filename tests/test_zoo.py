"""The zoo: names, paths, errors."""

import numpy as np
import pytest

from tightrope import datasets, paths, zoo
from tightrope.errors import CorruptDataError, MissingDataError, UnknownNameError
from tightrope.training import RECIPES


def test_names_are_the_published_and_the_shipped_networks():
    """Every recipe is shipped, every shipped file has a recipe that rebuilds it."""
    assert set(zoo.names()) == {"chen2021-mondeq/mnist-87", *(recipe.name for recipe in RECIPES)}
    assert list(zoo.names()) == sorted(zoo.names())


@pytest.mark.parametrize("name", [name for name in zoo.names() if name.startswith("digits/")])
def test_shipped_entries_are_complete(name):
    """The network fits its data set and carries its name."""
    entry = zoo.get(name)
    assert entry.network.name == name
    assert entry.network.input_size == datasets.load(entry.dataset).images.shape[1]
    assert (paths.ROOT / entry.source).is_file()
    assert f"`{entry.network.sha256()[:16]}`" in (paths.MODELS / "README.md").read_text()


def test_a_path_is_a_name_too(tmp_path):
    """A file of the user has no data set."""
    network = zoo.get("digits/mondeq-16").network
    network.to_npz(tmp_path / "mine.npz")
    entry = zoo.get(str(tmp_path / "mine.npz"))
    assert entry.dataset is None and entry.network.sha256() == network.sha256()


def test_unknown_names_and_damaged_files(tmp_path):
    """Close names are offered; files say what is wrong."""
    with pytest.raises(UnknownNameError, match="Did you mean 'digits/mondeq-32'"):
        zoo.get("digits/mondeq-33")
    with pytest.raises(MissingDataError):
        zoo.get(str(tmp_path / "absent.npz"))
    (tmp_path / "bad.npz").write_bytes(b"not a zip file")
    with pytest.raises(CorruptDataError):
        zoo.get(str(tmp_path / "bad.npz"))


@pytest.mark.published
def test_published_entry():
    """The paper's network, with the m that its file does not state."""
    entry = zoo.get("chen2021-mondeq/mnist-87")
    assert (entry.network.m, entry.dataset, entry.network.width) == (20.0, "mnist", 87)
    x = np.zeros(784)
    assert entry.network.equilibrium(x).shape == (87,)
