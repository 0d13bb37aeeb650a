"""Networks by name: the papers' own, the small ones shipped in data/models, and files of the user."""

from dataclasses import dataclass, replace
from pathlib import Path

from tightrope import datasets, paths
from tightrope.errors import UnknownNameError
from tightrope.networks import FeedForward, MonDEQ, load
from tightrope.networks.loading import SUFFIXES


@dataclass(frozen=True, eq=False)
class Entry:
    """A network and what it belongs to.

    Attributes
    ----------
    network : MonDEQ or FeedForward
        Takes images flattened row by row and normalised as its data set says.
    dataset : str or None
        Name of the data set that it was trained on; None for a file, which does not say.
    source : str
        Where the weights come from.
    """

    network: MonDEQ | FeedForward
    dataset: str | None
    source: str


@dataclass(frozen=True)
class _Published:
    file: str  # in the registry of tightrope.datasets
    dataset: str
    m: float | None  # for a monDEQ whose file does not state it


_PUBLISHED = {
    # The file has the factors A and B; m = 20 is in its name only.
    "chen2021-mondeq/mnist-87": _Published("chen2021-mondeq/deq_MNIST_SingleFcNet_m=20.mat", "mnist", 20.0),
}


def _shipped() -> dict[str, Path]:
    """Networks in data/models/<data set>/<network>.npz; the two parts are the name."""
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(paths.MODELS.glob("*/*.npz"))}


def names() -> tuple[str, ...]:
    """Return the names of all networks, sorted; the published ones may have to be fetched first."""
    return tuple(sorted({*_PUBLISHED, *_shipped()}))


def available(name: str) -> bool:
    """Say whether a network of :func:`names` and its test images are on this machine; downloads nothing."""
    if name in _PUBLISHED:
        published = _PUBLISHED[name]
        return datasets.available(published.file) and datasets.on_this_machine(published.dataset)
    return name in _shipped() and datasets.on_this_machine(name.split("/")[0])


def get(name: str) -> Entry:
    """Return a network.

    Parameters
    ----------
    name : str
        One of :func:`names`, or the path of a .npz, .mat, .pt or .pth file (see :func:`tightrope.networks.load`).

    Raises
    ------
    UnknownNameError
        If there is no such name; the message lists those that are close.
    MissingDataError, CorruptDataError
        If its file is not there or is damaged.
    """
    name = str(name)
    if name in _PUBLISHED:
        published = _PUBLISHED[name]
        network = load(datasets.fetch(published.file), published.m)
        return Entry(_named(network, name), published.dataset, published.file)
    shipped = _shipped()
    if name in shipped:
        return Entry(_named(load(shipped[name]), name), name.split("/")[0], str(shipped[name].relative_to(paths.ROOT)))
    if Path(name).suffix.lower() in SUFFIXES:
        return Entry(load(name), None, name)
    raise UnknownNameError("network", name, names())


def _named(network: MonDEQ | FeedForward, name: str) -> MonDEQ | FeedForward:
    return replace(network, name=name)
