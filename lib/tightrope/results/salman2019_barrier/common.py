"""What the results of this paper share: names of networks, cases, regions of many images at once."""

from collections.abc import Mapping
from functools import cache

from tightrope import zoo
from tightrope.errors import InputError
from tightrope.networks.random import random_network
from tightrope.regions import Ball, pixel_ball
from tightrope.workbench import cases
from tightrope.workbench.cases import dataset

PAPER = "salman2019-barrier"
#: Networks that the paper names otherwise. The weights of ADV-MLP-A came with another paper's.
TITLES = {"chen2020-lipschitz/sdp-nn": "ADV-MLP-A"}


def title(network: str) -> str:
    """A network as the paper's Table 1 writes it.

    Examples
    --------
    >>> title("salman2019-barrier/adv-mlp-b-0.03"), title("digits/mlp-2x24"), title("random/784-100-10/dense/0")
    ('ADV-MLP-B', 'digits/mlp-2x24', 'random 784-100-10, 0')
    """
    if is_drawn(network):
        return network.replace("random/", "random ").replace("/dense/", ", ")
    if network in TITLES:
        return TITLES[network]
    if not network.startswith(f"{PAPER}/"):
        return network
    parts = network.removeprefix(f"{PAPER}/").split("-")
    return "-".join(part.upper() for part in parts if not part.startswith("0."))


@cache
def entry(name: str) -> zoo.Entry:
    """A network of the zoo, or one that is drawn from its name, read once per process."""
    return _drawn(name) if is_drawn(name) else cases.entry(name)


def is_drawn(name: str) -> bool:
    """Whether a network is a random one: its own label of an image is the one to keep."""
    return str(name).startswith("random/")


def _drawn(name: str) -> zoo.Entry:
    """A network such as ``random/784-100-100-10/dense/0``, for the images of its input size."""
    try:
        _, sizes, kind, draw = name.split("/")
        widths, number = [int(size) for size in sizes.split("-")], int(draw)
    except ValueError:
        widths, kind, number = [], "", 0
    data = {784: "mnist", 64: "digits"}.get(widths[0] if widths else 0)
    if kind != "dense" or data is None or len(widths) < 2:
        raise InputError(f"network: expected random/784-100-10/dense/0 or random/64-24-10/dense/0, got {name!r}.")
    return zoo.Entry(random_network(widths, draw=number), data, "drawn from its name", zoo.PIXELS)


@cache
def _sha256(name: str) -> str:
    return entry(name).network.sha256()


def make_case(
    result: str, profile: str, network: str, epsilon_pixel: float | None, method: str, options: Mapping, **rest
) -> dict:
    """One network, one radius, one method: what identifies a row; `rest` names images."""
    found = entry(network)
    return {
        "paper": PAPER,
        "result": result,
        "profile": profile,
        "network": network,
        "network_sha256": _sha256(network),
        "dataset": found.dataset,
        "norm": "inf",
        "epsilon_pixel": None if epsilon_pixel is None else float(epsilon_pixel),
        "clip": True,
        "method": method,
        "options": dict(options),
        **rest,
    }


def questions(case: Mapping) -> tuple[zoo.Entry, list[Ball], list[int]]:
    """The network of a case, and for its images the balls, cut to the pixel range, and the labels."""
    found, data = entry(case["network"]), dataset(case["dataset"])
    rows = range(case["first"], case["first"] + case["count"])
    balls = [pixel_ball(data.image(i), "inf", case["epsilon_pixel"], found.normalisation, case["clip"]) for i in rows]
    return found, balls, [data.label(i) for i in rows]
