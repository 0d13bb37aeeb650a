"""Networks by name: the papers' own, the small ones shipped in data/models, and files of the user."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from tightrope import datasets, paths
from tightrope.datasets import Normalisation
from tightrope.errors import CorruptDataError, InputError, MissingDataError, UnknownNameError
from tightrope.networks import FeedForward, MonDEQ, load
from tightrope.networks.arrays import read_npy, read_state_dict
from tightrope.networks.loading import SUFFIXES

#: Of networks that take pixels in [0, 1] as they are.
PIXELS = Normalisation(mean=0.0, std=1.0)


@dataclass(frozen=True, eq=False)
class Entry:
    """A network and what it belongs to.

    Attributes
    ----------
    network : MonDEQ or FeedForward
        Takes images flattened row by row and normalised as `normalisation` says.
    dataset : str or None
        Name of the data set that it was trained on; None for a file, which does not say.
    source : str
        Where the weights come from.
    normalisation : Normalisation or None
        From pixels to the network's input, the one to give to :func:`tightrope.regions.pixel_ball`; None for a file.
    """

    network: MonDEQ | FeedForward
    dataset: str | None
    source: str
    normalisation: Normalisation | None = None


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
        there = datasets.provided if published.address else datasets.available
        return all(map(there, published.files)) and datasets.on_this_machine(published.dataset)
    return name in _shipped() and datasets.on_this_machine(name.split("/")[0])


def get(name: str) -> Entry:
    """Return a network.

    Parameters
    ----------
    name : str
        One of :func:`names`, or the path of a file that :func:`tightrope.networks.load` reads.

    Raises
    ------
    UnknownNameError
        If there is no such name; the message lists those that are close.
    MissingDataError, CorruptDataError
        If its file is not there or is damaged.
    """
    name = str(name)
    if Path(name).suffix.lower() in SUFFIXES:  # before the names, which need the repository
        return Entry(load(name), None, name)
    if name in _PUBLISHED:
        published = _PUBLISHED[name]
        find = partial(_from_user, published.address) if published.address else datasets.fetch
        network, source = published.read(*map(find, published.files)), ", ".join(published.files)
        return Entry(replace(network, name=name), published.dataset, source, published.normalisation)
    shipped = _shipped()
    if name in shipped:
        network, dataset = load(shipped[name]), name.split("/")[0]
        source = str(shipped[name].relative_to(paths.ROOT))
        return Entry(replace(network, name=name), dataset, source, datasets.NORMALISATIONS.get(dataset))
    raise UnknownNameError("network", name, names())


def own(
    network: MonDEQ | FeedForward | str | PathLike[str],
    dataset: str,
    normalisation: Normalisation | str | None = None,
) -> Entry:
    """Return a network of the user as an entry: what it is, which images it is for, and how it takes them.

    Parameters
    ----------
    network
        A network, or the path of a file that :func:`tightrope.networks.load` reads; a relative one is looked for in the
        working directory, then in the repository.
    dataset : str
        Name of the data set, see :func:`tightrope.datasets.load`.
    normalisation
        From pixels in [0, 1] to the network's input: "none" if it takes pixels as they are (or normalises inside),
        "MEAN,STD", a :class:`Normalisation`, or None for that of the data set.

    Raises
    ------
    InputError
        If the network does not take as many pixels as the images have.
    """
    source = ""
    if not isinstance(network, MonDEQ | FeedForward):
        path = Path(network)
        source = str(network)
        network = load(path if path.is_absolute() or path.is_file() else paths.ROOT / path)
    data = datasets.load(dataset)
    if network.input_size != data.images.shape[1]:
        raise InputError(
            f"network {source or network.name!r} takes {network.input_size} pixels, {dataset} has "
            f"{data.images.shape[1]}; choose a network and a data set that go together."
        )
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


@dataclass(frozen=True)
class _Published:
    """A network of a paper."""

    files: tuple[str, ...]  # in the registry of tightrope.datasets
    read: Callable[..., MonDEQ | FeedForward]  # from their paths
    normalisation: Normalisation
    dataset: str = "mnist"
    address: str = ""  # of files that are not in the registry, and that only the user can provide


# (stride, padding) of convolutions, which state dictionaries do not hold: the papers state kernels and strides, and
# the first dense layer has as many inputs as this padding gives. The printed clean accuracies come out (tests).
_HALVE, _KEEP = (2, 1), (1, 1)


def _state_dict(*convolutions: tuple[int, int]) -> Callable[[Path], FeedForward]:
    return partial(FeedForward.from_state_dict, input_shape=(1, 28, 28), convolutions=convolutions)


def _published() -> dict[str, _Published]:
    """The papers' networks by name."""
    mnist = datasets.NORMALISATIONS["mnist"]
    found = {
        # The file has the factors A and B; m = 20 is in its name only.
        "chen2021-mondeq/mnist-87": _Published(
            ("chen2021-mondeq/deq_MNIST_SingleFcNet_m=20.mat",), partial(load, m=20.0), mnist
        ),
        "chen2020-lipschitz/sdp-nn": _Published(
            tuple(f"chen2020-lipschitz/sdp-nn/{part}.npy" for part in ("W1", "B1", "W2", "B2")), _rows_times_w, PIXELS
        ),
    }
    for name, (file, convolutions) in _salman2019().items():
        files = (f"salman2019-barrier/{file}.pth",)
        found[f"salman2019-barrier/{name}"] = _Published(files, _state_dict(*convolutions), PIXELS)
    trained_with = {"box": "box", "hbox": "hbox", "zono": "deepz", "crown": "crown", "crownibp1to1": "crown-ibp-r",
                    "crownibp1to0": "crown-ibp"}  # fmt: skip
    for kind, convolutions in (("FC", ()), ("CONV", (_HALVE,))):
        for written, relaxation in trained_with.items():
            files = (f"jovanovic2022-paradox/pretrained/mnist_{kind}_{written}.pt",)
            read = partial(_normalised_inside, mnist, _state_dict(*convolutions))
            found[f"jovanovic2022-paradox/{kind.lower()}-{relaxation}"] = _Published(files, read, mnist)
    return found | _jovanovic2022_other_sets(trained_with)


def _jovanovic2022_other_sets(trained_with: Mapping[str, str]) -> dict[str, _Published]:
    """The published networks for FashionMNIST, SVHN and CIFAR-10, whose SHA-256 is not known here."""
    kinds = {
        "fashionmnist-fc": ("fashionmnist_FC_", "fashionmnist", (1, 28, 28), ()),
        "fashionmnist-conv": ("fashionmnist_CONV_", "fashionmnist", (1, 28, 28), (_HALVE,)),
        "svhn-conv": ("svhn_", "svhn", (3, 32, 32), (_HALVE,)),
        "cifar10-conv-plus": ("cifar_", "cifar10", (3, 32, 32), ((2, 0), (1, 0))),
    }
    # Of CIFAR-10, DeepZ and hBox were trained with Cauchy projections, CROWN not at all; one name is misspelt there.
    cifar = {"box": "box", "chbox": "hbox", "czono": "deepz", "crowinbp1to1": "crown-ibp-r",
             "crownibp1to0": "crown-ibp"}  # fmt: skip
    found = {}
    for kind, (prefix, dataset, shape, convolutions) in kinds.items():
        normalisation = datasets.NORMALISATIONS[dataset]
        for written, relaxation in (cifar if dataset == "cifar10" else trained_with).items():
            state = partial(FeedForward.from_state_dict, input_shape=shape, convolutions=convolutions)
            files = (f"jovanovic2022-paradox/pretrained/{prefix}{written}.pt",)
            read = partial(_normalised_inside, normalisation, state)
            address = "github.com/eth-sri/paradox, commit 178b6fc9, folder pretrained"
            found[f"jovanovic2022-paradox/{kind}-{relaxation}"] = _Published(
                files, read, normalisation, dataset, address
            )
    return found


def _from_user(address: str, file: str) -> Path:
    """The path of a file that is in no registry: it is not checked, and rows carry the SHA-256 of its weights."""
    path = datasets.provided(file)
    if path is None:
        raise MissingDataError(
            f"data file {file!r} is missing, and its SHA-256 is not known here. Put it, from {address}, into the "
            f"folder that {datasets.DATA_VARIABLE} names, under that name."
        )
    return path


def _salman2019() -> dict[str, tuple[str, tuple]]:
    """Name: file and convolutions. Of experiment 1 with the radius of training, of experiment 2 without."""
    found = {"nor-mlp-b": ("experiment_1/NOR_MLP_B", ())}
    for training, radii in (("ADV", ("0.03", "0.05", "0.1")), ("LPD", ("0.1", "0.2", "0.3", "0.4"))):
        for radius in radii:
            found[f"{training.lower()}-mlp-b-{radius}"] = (f"experiment_1/{training}_MLP_B_{radius}", ())
    kinds = {"MLP_2_100": (), "MLP_9_100": (), "cnn_deep_2": (_KEEP, _HALVE, _KEEP, _HALVE)}
    kinds |= dict.fromkeys(("cnn_small", "cnn_wide_1", "cnn_wide_2", "cnn_deep_1"), (_HALVE, _HALVE))
    for kind, convolutions in kinds.items():
        for training in ("NOR", "ADV", "LPD"):
            if (kind, training) != ("cnn_deep_2", "LPD"):  # not published
                name = f"{training}-{kind}".lower().replace("_", "-")
                found[name] = (f"experiment_2/mnist_{kind}_{training}", convolutions)
    return found


def _rows_times_w(*files: Path) -> FeedForward:
    """W1, B1, W2, B2 for networks written as x W + b."""
    W1, b1, W2, b2 = map(read_npy, files)
    return FeedForward.dense((W1.T, W2.T), (b1, b2))


def _normalised_inside(expected: Normalisation, read: Callable, file: Path) -> FeedForward:
    """A network whose file starts with the normalisation (mean, sigma), without it."""
    arrays = read_state_dict(file)
    found = np.concatenate([arrays.pop(f"layers.0.{name}", np.array([np.nan])).ravel() for name in ("mean", "sigma")])
    wanted = np.concatenate([np.ravel(expected.mean), np.ravel(expected.std)])
    # single precision
    if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=0, atol=1e-6):
        raise CorruptDataError(f"{file}: it normalises with mean and std {found.tolist()}, not {expected}.")
    return read(arrays)


_PUBLISHED = _published()
