"""What the results of this paper share: balls around images, in cases and in words, and what is printed for them."""

from collections.abc import Mapping, Sequence

from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.regions import Ball, pixel_ball
from tightrope.workbench.cases import dataset, entry, image_count
from tightrope.workbench.published import find
from tightrope.workbench.rows import Rows

PAPER = "chen2021-mondeq"
BALL = ("norm", "epsilon_pixel", "clip")
SETS = {False: "ball", True: "ball in [0, 1]"}


def is_published_network(name: str) -> bool:
    """Return whether what the authors print and published belongs to this network."""
    return name.startswith(f"{PAPER}/")


def mondeq(name: str) -> MonDEQ:
    """Return a network, refusing one with layers: most results are for monDEQs only."""
    network = entry(name).network
    if not isinstance(network, MonDEQ):
        raise InputError(f"network: {name} has layers; write the name of a monDEQ, such as digits/mondeq-16.")
    return network


def first_images(network: str, images: int) -> range:
    """Return the numbers of the first test images, refusing more than there are."""
    return range(image_count(images, dataset(entry(network).dataset)))


def radii(epsilons_l2: Sequence[float], epsilons_linf: Sequence[float]) -> list[tuple[object, float]]:
    """Return the norms and radii of Table 2."""
    return [(2, epsilon) for epsilon in epsilons_l2] + [("inf", epsilon) for epsilon in epsilons_linf]


def question(case: Mapping) -> tuple[MonDEQ, Ball, int]:
    """Return the network, region and true label of a case."""
    data, found = dataset(case["dataset"]), entry(case["network"])
    image = data.image(case["image"])
    region = pixel_ball(image, case["norm"], case["epsilon_pixel"], found.normalisation, case["clip"])
    return found.network, region, data.label(case["image"])


def by_ball(rows: Rows, *more: str) -> list[tuple[tuple, Rows]]:
    """Return the rows by norm, radius (the largest first, as printed) and set, then by more columns."""
    groups = rows.by(*BALL, *more)
    return sorted(groups, key=lambda group: (str(group[0][0]), -group[0][1], *group[0][2:]))


def norm_text(norm: object) -> str:
    """Return the norm of a row in words."""
    return "L-infinity" if norm == "inf" else f"L{norm}"


def in_words(norm: object, epsilon_pixel: float, clip: bool) -> tuple[str, float, str]:
    """Return the norm, radius and set of a ball as a table shows them."""
    return norm_text(norm), epsilon_pixel, SETS[clip]


def ball_name(norm: object, epsilon_pixel: float) -> str:
    """Return a norm and radius as the id of a printed cell has them, such as ``linf-0.05``."""
    return f"l{norm}-{epsilon_pixel:g}"


def printed_ratio(norm: object, epsilon_pixel: float, clip: bool, column: str) -> float | None:
    """Return what Table 2 prints in a column for this ball, in percent; None for a set that it is not printed for."""
    cells = {cell.id: cell for cell in find(f"{PAPER}/table-2-certified-ratio").cells}
    cell = cells.get(f"table-2/{ball_name(norm, epsilon_pixel)}/{column}")
    return None if cell is None or bool(cell.clip) != clip else cell.printed
