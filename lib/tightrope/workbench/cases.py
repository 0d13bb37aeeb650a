"""What the results of every paper share: data sets and networks by name, groups of images, the rows of cases."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from tightrope import datasets, zoo
from tightrope.errors import InputError
from tightrope.workbench.records import KEPT_PROFILES, Store, sweep
from tightrope.workbench.registry import named


@cache
def dataset(name: str, split: str = "test") -> datasets.Dataset:
    """The images of a data set, read once per process."""
    return datasets.load(name, split)


@cache
def entry(name: str) -> zoo.Entry:
    """A network of the zoo that says which images it is for, read once per process."""
    found = zoo.get(name)
    if found.dataset is None:
        raise InputError(
            f"network: the file {name} does not say which images it is for; copy it to "
            "data/models/<data set>/<network>.npz and write <data set>/<network>"
        )
    return found


@cache
def network_sha256(name: str) -> str:
    """The SHA-256 of a network's weights, computed once for all cases."""
    return entry(name).network.sha256()


def image_count(images: object, data: datasets.Dataset) -> int:
    """Return the number of images, refusing one that the data set does not have."""
    if isinstance(images, bool) or not isinstance(images, int) or not 1 <= images <= len(data):
        raise InputError(f"images: expected an integer from 1 to {len(data)}, got {images!r}")
    return images


def groups(images: object, size: int, data: datasets.Dataset) -> list[dict]:
    """Split the first images into groups: {"first": ..., "count": ...}."""
    count = image_count(images, data)
    return [{"first": first, "count": min(size, count - first)} for first in range(0, count, size)]


def solved(cases: Sequence[Mapping], solve: Callable[[Mapping], Mapping], store: Store | None) -> tuple[dict, ...]:
    """Rows of these cases of one kind: those in the store, the others solved now.

    In this machine's store (None) they are kept under the profile that they belong to, `registry.named`.

    Raises
    ------
    InputError
        If there is no case.
    """
    if not cases:
        raise InputError("nothing to solve: no case is left with these parameters.")
    if store is None:
        with Store() as own:
            return solved(named(cases), solve, own)
    first = cases[0]
    store.import_csv(first["result"], first["profile"], first["paper"])  # a fresh clone solves nothing twice
    rows = tuple(sweep(store, cases, solve))
    if first["profile"] in KEPT_PROFILES:  # the CSV that is committed
        store.export_csv(first["paper"], first["result"], first["profile"])
    return rows
