"""What the results of this paper share: balls around images, in cases and in words, and what is printed for them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.regions import Ball, pixel_ball
from tightrope.workbench.cases import ball_case, dataset, entry
from tightrope.workbench.experiment import Case, Cases, Radii, Rows

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


def balls(
    epsilons_l2: Radii, epsilons_linf: Radii, clips: Sequence[bool] = (False, True)
) -> list[tuple[object, float, bool]]:
    """Return norm, radius and whether the ball is cut to the pixel range, for those of Table 2."""
    radii = [*product([2], epsilons_l2), *product(["inf"], epsilons_linf)]
    return [(*radius, clip) for radius, clip in product(radii, clips)]


def cases_around(
    network: str, images: Iterable[int], balls: Iterable[tuple], methods: Iterable[str], options: Mapping
) -> Cases:
    """Yield one case for each image, ball and method; image by image, so that a stopped run has whole images."""
    for image, ball, method in product(images, balls, methods):
        yield ball_case(network, *ball, method, options, image=image)


def question(case: Case) -> tuple[MonDEQ, Ball, int]:
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


def undecided(bars: Sequence[Sequence]) -> str:
    """Say how many images the bars of :func:`tightrope.figures.stacked_ratios` leave undecided."""
    left = [images - robust - falsified for _, robust, falsified, images, *_ in bars]
    if not any(left):
        return f"No image is left undecided on any of the {len(bars)} sets"
    most, images = max((count, images) for count, (_, _, _, images, *_) in zip(left, bars, strict=True))
    return f"On {len(bars)} sets {sum(left)} images stay undecided, at most {most} of {images} on one set"
