"""What the results of this paper share: names, cases, and the question that a case asks."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from tightrope import datasets, zoo
from tightrope.errors import InputError
from tightrope.experiments.records import KEPT_PROFILES, Store, sweep
from tightrope.experiments.registry import named
from tightrope.networks import MonDEQ
from tightrope.regions import Ball, parse_norm, pixel_ball

PAPER = "chen2021-mondeq"
SETS = {False: "ball", True: "ball in [0, 1]"}


@cache
def dataset(name: str) -> datasets.Dataset:
    """The test images of a data set, read once per process."""
    return datasets.load(name)


@cache
def entry(name: str) -> zoo.Entry:
    """A network of the zoo, read once per process."""
    found = zoo.get(name)
    if found.dataset is None:
        raise InputError(
            f"network: the file {name} does not say which images it is for; copy it to "
            "data/models/<data set>/<network>.npz and write <data set>/<network>"
        )
    return found


@cache
def sha256(name: str) -> str:
    """The SHA-256 of a network's weights, computed once for all cases."""
    return entry(name).network.sha256()


def make_case(
    result: str, parameters: Mapping, norm: object, epsilon_pixel: float, clip: bool, image: int, method: str
) -> dict:
    """One image, one region, one method: what identifies a row.

    Parameters
    ----------
    parameters
        Those of the notebook: network, seed, profile.
    """
    q = parse_norm(norm)
    found = entry(parameters["network"])
    return {
        "paper": PAPER,
        "result": result,
        "profile": parameters["profile"],
        "network": parameters["network"],
        "network_sha256": sha256(parameters["network"]),
        "dataset": found.dataset,
        "norm": int(q) if q.is_integer() else "inf" if q == float("inf") else q,
        "epsilon_pixel": float(epsilon_pixel),
        "clip": bool(clip),
        "method": method,
        "options": {"seed": parameters["seed"]},
        "image": image,
    }


def solved(cases: Sequence[Mapping], solve: Callable[[Mapping], Mapping], store: Store | None) -> tuple[dict, ...]:
    """Rows of these cases of one kind: those in the store, the others solved now.

    In this machine's store (None) they are kept under the profile that they belong to, `registry.named`.
    """
    if store is None:
        with Store() as own:
            return solved(named(cases), solve, own)
    first = cases[0]
    store.import_csv(first["result"], first["profile"], first["paper"])  # a fresh clone solves nothing twice
    rows = tuple(sweep(store, cases, solve))
    if first["profile"] in KEPT_PROFILES:  # the CSV that is committed
        store.export_csv(first["paper"], first["result"], first["profile"])
    return rows


def question(case: Mapping) -> tuple[MonDEQ, Ball, int]:
    """The network, region and true label of a case."""
    data = dataset(case["dataset"])
    image = data.image(case["image"])
    found = entry(case["network"])
    region = pixel_ball(image, case["norm"], case["epsilon_pixel"], found.normalisation, case["clip"])
    return found.network, region, data.label(case["image"])


def checked_count(images: object, data: datasets.Dataset) -> int:
    """Return the number of images, refusing one that the data set does not have."""
    if isinstance(images, bool) or not isinstance(images, int) or not 1 <= images <= len(data):
        raise InputError(f"images: expected an integer from 1 to {len(data)}, got {images!r}")
    return images


def percent(count: int, total: int) -> int | float:
    """A ratio in percent, rounded to one digit."""
    ratio = 100 * count / total
    return int(ratio) if ratio == int(ratio) else round(ratio, 1)


def norm_text(norm: object) -> str:
    """The norm of a row in words."""
    return "L-infinity" if norm == "inf" else f"L{norm}"
