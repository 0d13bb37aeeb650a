"""Networks by name: the papers' own, the small ones shipped in data/models, and files of the user."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tightrope import datasets, paths
from tightrope.datasets import Normalisation
from tightrope.errors import CorruptDataError, InputError, UnknownNameError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.networks import load as read
from tightrope.networks.arrays import read_npy, read_state_dict
from tightrope.networks.loading import is_file_name

#: The normalisation of networks that take pixels in [0, 1] as they are.
PIXELS = Normalisation(mean=0.0, std=1.0)


@dataclass(frozen=True, eq=False)
class Entry:
    """A network and what it belongs to.

    It takes images of its data set, flattened row by row and normalised as `normalisation` says, the one to give to
    :func:`tightrope.regions.pixel_ball`; both are None for a file, which does not say. `source` is where the weights
    come from; for `known_as`, almost always empty, see :attr:`identity`.
    """

    network: MonDEQ | FeedForward
    dataset: str | None
    source: str
    normalisation: Normalisation | None = None
    known_as: str = ""

    @property
    def identity(self) -> str:
        """The SHA-256 by which rows know the network: that of its weights, unless its description states another."""
        return self.known_as or self.network.sha256()


def _shipped() -> dict[str, Path]:
    """Networks in data/models/<data set>/<network>.npz; the two parts are the name."""
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(paths.MODELS.glob("*/*.npz"))}


def names() -> tuple[str, ...]:
    """Return the names of all networks, sorted; the published ones may have to be fetched first."""
    return tuple(sorted({*_published(), *_shipped()}))


def dataset_of(name: str) -> str:
    """Return the data set that a network of :func:`names` is for, without reading the network; empty if none."""
    published = _published().get(name)
    dataset = published.dataset if published else name.split("/")[0]
    return dataset if dataset in datasets.NORMALISATIONS else ""


def status(name: str) -> str:
    """Say how one comes to a network of :func:`names` and its test images; downloads nothing.

    "available": they are on this machine. "to fetch": `make data` does it. "to provide": the images are in no registry
    (data/README.md).
    """
    published, dataset = _published().get(name), dataset_of(name)
    if dataset and not datasets.on_this_machine(dataset):
        return "to fetch" if dataset in datasets.IDX_SETS else "to provide"
    return "available" if published is None or all(map(datasets.available, published.files)) else "to fetch"


def available(name: str) -> bool:
    """Say whether a network of :func:`names` and its test images are on this machine; downloads nothing."""
    return name in names() and bool(dataset_of(name)) and status(name) == "available"


def get(name: str, **stated: Any) -> Entry:
    """Return a network by its name, one of :func:`names`, or from a file that :func:`tightrope.networks.load` reads.

    `stated` is what a file does not state itself: m, activation, input_shape, convolutions, as for that function.
    """
    name = str(name)
    if is_file_name(name):  # before the names, which need the repository
        return Entry(read(name, **stated), None, name)
    if published := _published().get(name):
        source = ", ".join(published.files)
        network = replace(published.read(), name=name)
        return Entry(network, published.dataset, source, published.normalisation, published.known_as)
    shipped = _shipped()
    if name in shipped:
        network, dataset = read(shipped[name]), name.split("/")[0]
        source = str(shipped[name].relative_to(paths.ROOT))
        return Entry(replace(network, name=name), dataset, source, datasets.NORMALISATIONS.get(dataset))
    if Path(name).is_file():  # of a kind that is not read, which the error says
        return Entry(read(name, **stated), None, name)
    raise UnknownNameError("network", name, names())


def load(name: str | PathLike[str], m: float | None = None, **stated: Any) -> MonDEQ | FeedForward:
    """Return the network that has this name, one of :func:`names`, or read it from a file.

    `m` and `stated` (activation, input_shape, convolutions) are what a file does not state itself
    (:func:`tightrope.networks.load`).
    """
    if not isinstance(name, str) or is_file_name(name):  # before the names, which need the repository
        return read(name, m, **stated)
    return get(name).network if not Path(name).suffix or name in names() else read(name, m, **stated)


def own(
    network: MonDEQ | FeedForward | str | PathLike[str],
    dataset: str,
    normalisation: Normalisation | str | None = None,
    **stated: Any,
) -> Entry:
    """Return a network of the user as an entry: what it is, which images it is for, and how it takes them.

    A path, relative to the working directory or else to the repository, is read by :func:`tightrope.networks.load`;
    `stated` is what the file does not state itself (m, activation, input_shape, convolutions). The data set is one of
    :func:`tightrope.datasets.load`, with as many pixels as the network takes. The normalisation, from pixels in [0, 1]
    to the network's input, is "none" if it takes pixels as they are (or normalises inside), "MEAN,STD", a
    :class:`Normalisation`, or None for that of the data set.
    """
    source = ""
    if not isinstance(network, MonDEQ | FeedForward):
        path, source = Path(network), str(network)
        network = read(path if path.is_absolute() or path.is_file() else paths.ROOT / path, **stated)
    data = datasets.load(dataset)
    if network.input_size != (pixels := data.images.shape[1]):
        taken = f"network {source or network.name!r} takes {network.input_size} pixels, {dataset} has {pixels}"
        raise InputError(f"{taken}; choose a network and a data set that go together.")
    return Entry(network, dataset, source, parse_normalisation(normalisation) or data.normalisation)


def parse_normalisation(text: Normalisation | str | None) -> Normalisation | None:
    """Read "none" or "MEAN,STD"; None and a Normalisation are returned as they are.

    Examples
    --------
    >>> parse_normalisation("0.1307,0.3081")
    Normalisation(mean=0.1307, std=0.3081)
    """
    if text is None or isinstance(text, Normalisation):
        return text
    if str(text).strip().lower() == "none":
        return PIXELS
    try:
        mean, std = map(float, str(text).split(","))
    except ValueError:
        raise InputError(f"normalisation: expected MEAN,STD such as 0.1307,0.3081, or none; got {text!r}.") from None
    return Normalisation(mean, std)


# the papers' networks -----------------------------------------------------------------------------

FORMATS = ("mondeq", "rows-times-weights", "state-dictionary", "normalising-state-dictionary")


@dataclass(frozen=True)
class _Published:
    """A network of a paper, as papers/<key>/networks.yaml describes it.

    `files` are names in the registry of :mod:`tightrope.datasets`, and `format`, one of :data:`FORMATS`, says what is
    in them. A state dictionary does not hold `input_shape`, the (channels, height, width) of the images, and
    `convolutions`, the (stride, padding) of each; m is a monDEQ's constant of strong monotonicity. `known_as` is the
    SHA-256 by which rows know the network, if it is not that of its weights as they are computed now.
    """

    files: tuple[str, ...]
    format: str
    dataset: str
    normalisation: Normalisation
    input_shape: tuple[int, int, int] | None = None
    convolutions: tuple[tuple[int, int], ...] = ()
    m: float | None = None
    known_as: str = ""

    def read(self) -> MonDEQ | FeedForward:
        """Find its files and read the network."""
        files = tuple(map(datasets.fetch, self.files))
        if self.format == "mondeq":
            return read(files[0], self.m, input_shape=self.input_shape)
        if self.format == "rows-times-weights":  # ReLU(x W1 + b1) W2 + b2
            W1, b1, W2, b2 = map(read_npy, files)
            return FeedForward.dense((W1.T, W2.T), (b1, b2))
        arrays = read_state_dict(files[0])
        if self.format == "normalising-state-dictionary":  # the first layer normalises, and is left out
            parts = [arrays.pop(f"layers.0.{name}", np.array([np.nan])).ravel() for name in ("mean", "sigma")]
            wanted = np.concatenate([np.ravel(self.normalisation.mean), np.ravel(self.normalisation.std)])
            stated = np.concatenate(parts)  # single precision
            if stated.shape != wanted.shape or not np.allclose(stated, wanted, rtol=0, atol=1e-6):
                said = f"it normalises with mean and std {stated.tolist()}, not {self.normalisation}."
                raise CorruptDataError(f"{files[0]}: {said}")
        return FeedForward.from_state_dict(
            arrays, input_shape=self.input_shape, convolutions=self.convolutions, activation="relu"
        )


@cache
def _published() -> Mapping[str, _Published]:
    """Read papers/*/networks.yaml: the papers' networks by name, ``<paper>/<network>``.

    A file is a list of groups: what networks share, and the file, or files, of each.
    """
    found: dict[str, _Published] = {}
    for source in sorted(paths.PAPERS.glob("*/networks.yaml")):
        paper = source.parent.name
        try:
            for group in map(_fixed, yaml.safe_load(source.read_text(encoding="utf-8"))):
                if group["format"] not in FORMATS:
                    raise InputError(f"format {group['format']!r} is none of {', '.join(FORMATS)}")
                group["normalisation"] = Normalisation(**group["normalisation"])
                for name, files in group.pop("networks").items():
                    files = (files,) if isinstance(files, str) else files
                    found[f"{paper}/{name}"] = _Published(tuple(f"{paper}/{file}" for file in files), **group)
        except (yaml.YAMLError, TypeError, ValueError, KeyError) as error:
            raise CorruptDataError(f"{source}: expected a list of groups of networks, see zoo.py: {error}.") from error
    return found


def _fixed(value: Any) -> Any:
    """What YAML holds, with tuples for lists."""
    if isinstance(value, dict):
        return {key: _fixed(part) for key, part in value.items()}
    return tuple(map(_fixed, value)) if isinstance(value, list) else value
