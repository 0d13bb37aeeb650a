"""What the results of every paper share: data sets and networks by name, groups of images, cases."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

import numpy as np

from tightrope import datasets, zoo
from tightrope.errors import CorruptDataError, InputError, MissingDataError
from tightrope.networks.random import random_network
from tightrope.regions import INFINITY, parse_norm
from tightrope.workbench.records import Store


@cache
def dataset(name: str, split: str = "test") -> datasets.Dataset:
    """The images of a data set, read once per process."""
    return datasets.load(name, split)


@cache
def entry(name: str) -> zoo.Entry:
    """Return a network that says which images it is for, read once per process, by its name in the zoo.

    Or a random one: ``random/784-100-100-10/dense/0``, the last number a draw.
    """
    if is_drawn(name):
        return _drawn(name)
    found = zoo.get(name)
    if found.dataset is None:
        wanted = "copy it to data/models/<data set>/<network>.npz and write <data set>/<network>"
        raise InputError(f"network: the file {name} does not say which images it is for; {wanted}")
    return found


def is_drawn(name: str) -> bool:
    """Whether a network is a random one: its own label of an image is the one to keep."""
    return name.startswith("random/")


def _drawn(name: str) -> zoo.Entry:
    found = re.fullmatch(r"random/((?:784|64)(?:-\d+)+)/dense/(\d+)", name)
    if found is None:
        raise InputError(f"network: expected random/784-100-10/dense/0 or random/64-24-10/dense/0, got {name!r}.")
    widths = [int(size) for size in found[1].split("-")]
    data = {784: "mnist", 64: "digits"}[widths[0]]
    return zoo.Entry(random_network(widths, draw=int(found[2])), data, "drawn from its name", zoo.PIXELS)


@cache
def network_sha256(name: str) -> str:
    """Return the SHA-256 by which rows know a network, computed once for all cases."""
    return entry(name).identity


def image_count(images: object, data: datasets.Dataset) -> int:
    """Return the number of images, refusing one that the data set does not have."""
    if isinstance(images, bool) or not isinstance(images, int) or not 1 <= images <= len(data):
        raise InputError(f"images: expected an integer from 1 to {len(data)}, got {images!r}")
    return images


def first_images(network: str, images: object) -> range:
    """Return the numbers of the first test images of the data set that a network is for."""
    return range(image_count(images, dataset(entry(network).dataset)))


def groups(network: str, images: object, size: int) -> list[dict]:
    """Split the first test images of a network into groups: {"first": ..., "count": ...}."""
    count = len(first_images(network, images))
    return [{"first": first, "count": min(size, count - first)} for first in range(0, count, size)]


def ball_case(
    network: str, norm: object, epsilon_pixel: float | None, clip: bool, method: str, options: Mapping, **rest: object
) -> dict:
    """Return one network, one ball around images, one method: what identifies a row.

    The norm is 1, 2, "inf" or another order, the radius in pixel units, or None where it is what is asked for; `clip`
    cuts the ball to the pixel range; the rest names images.
    """
    q = parse_norm(norm)
    return {
        "network": network,
        "network_sha256": network_sha256(network),
        "dataset": entry(network).dataset,
        "norm": int(q) if q.is_integer() else "inf" if q == INFINITY else q,
        "epsilon_pixel": None if epsilon_pixel is None else float(epsilon_pixel),
        "clip": bool(clip),
        "method": method,
        "options": dict(options),
        **rest,
    }


def box_case(network: str, epsilon_pixel: float | None, method: str, options: Mapping, **rest: object) -> dict:
    """Return the case of an L-infinity ball cut to the pixel range."""
    return ball_case(network, "inf", epsilon_pixel, True, method, options, **rest)


def data_of(case: Mapping) -> dict:
    """Return what a case's names of data set and network stand for here, as columns of its row.

    They are no part of a case: rows that were solved before these columns existed stay. ``dataset_sha256`` is that of
    the test images and labels; empty for cases without a data set, and where its files are missing.
    """
    if case.get("dataset") is None:
        return {}
    try:
        data = dataset(case["dataset"])
    except MissingDataError:
        return {}
    own = entry(case["network"]).normalisation if case.get("network") else None
    scale = own or data.normalisation
    return {"dataset_sha256": data.sha256, "normalisation": [np.ravel(v).tolist() for v in (scale.mean, scale.std)]}


def sweep(store: Store, cases: Iterable[Mapping], solve: Callable[[Mapping], Mapping]) -> Iterator[dict]:
    """Yield the row of each case; solve those without one and write each as soon as it is solved.

    A row that was solved on other images, or with another normalisation, than its case names here is refused.
    """
    for case in cases:
        row = store.get(case)
        yield store.put(case, {**solve(case), **data_of(case)}) if row is None else _of_the_same_data(row)


def _of_the_same_data(row: dict) -> dict:
    if row.get("dataset_sha256") is not None:
        for name, value in data_of(row).items():
            if row[name] != value:
                raise CorruptDataError(
                    f"row {row['key'][:12]} of {row['result']}: its {name} is {row[name]}, and here it is {value}; "
                    f"restore the files of {row['dataset']}, or solve it again with `tightrope run --fresh`"
                )
    return row
