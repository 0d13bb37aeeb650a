"""Tables 1 and 4, Figures 2 and 9: images that each relaxation certifies as the radius grows, and the area below."""

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise, product

import numpy as np

from tightrope import figures
from tightrope.errors import InputError
from tightrope.training.programs import PROGRAMS
from tightrope.workbench.cases import box_case, groups
from tightrope.workbench.experiment import Case, Cases, Experiment, Names, Numbers, Radii, Rows, Table, Value, Values
from tightrope.workbench.parameters import rows_of
from .common import CERTIFIERS, PAPER, TITLES, certified_boxes, label, letter_of, questions, size_here, trained_here
from .cross_certification import short_search

CURVES = (*CERTIFIERS, "crown_0")
#: Classes of tightness as printed (Table 2), from loose to tight.
CLASSES = {"low": ("box",), "mid": ("hbox", "crown_ibp"), "high": ("deepz", "crown")}
#: Relaxations whose region grows with the radius, so that what is certified at one radius is at every smaller one:
#: their set for l <= h <= u is inside that for wider l, u. The lower lines of DeepZ and CROWN move, and theirs is not.
MONOTONE = ("box", "hbox", "crown_0", *PROGRAMS)
#: What a monotone relaxation is never looser than: what these certify, it certifies.
IMPLIED = {"hbox": ("box",), "parallelogram": ("hbox",), "triangle": ("box", "deepz", "crown")}
#: At about so many radii the images are searched for adversarial points.
SEARCHED_RADII = 10
table_4 = Experiment(PAPER, "table-4-cr-auc")
table_4.sized(size_here)


@table_4.cases
def cases_with_programs(
    networks: Names,
    image_counts: Numbers,
    largest: Radii,
    count: int,
    programs: Names,
    program_images: int | None,
    group: int,
) -> Cases:
    """Yield one case for each network, relaxation and group of its first test images.

    `largest` has the largest radius for each network; the radii are `count` numbers from 0 to it. Triangle and
    Parallelogram are for the networks in `programs`: linear programs are solved, for the first `program_images` of the
    images (None: all).
    """
    if unknown := set(programs) - set(networks):
        raise InputError(f"programs: expected some of networks, got {', '.join(sorted(unknown))}.")
    for network, images, radius in rows_of(networks=networks, image_counts=image_counts, largest=largest):
        for method in (*CURVES, *(PROGRAMS if network in programs else ())):
            for part in groups(network, _asked(method, images, program_images), group):
                yield box_case(network, radius, method, {"elision": True, "radii": count}, **part)


def cases(networks: Names, image_counts: Numbers, largest: Radii, count: int, group: int) -> Cases:
    """Return the same without linear programs."""
    return cases_with_programs(networks, image_counts, largest, count, [], None, group)


def _asked(method: str, images: int, program_images: int | None) -> int:
    """Return how many images a relaxation is asked about."""
    return images if method not in PROGRAMS or program_images is None else min(images, program_images)


def radii_of(case: Case) -> np.ndarray:
    """Return the radii of a case in pixel units; its own is the largest."""
    return np.linspace(0, case["epsilon_pixel"], case["options"]["radii"]).round(9)


@table_4.solve
def certified_along_radii(case: Case) -> dict:
    """Count the certified images of one group at each radius.

    Images with an adversarial point at some radius are not asked about at that radius and larger ones, where no sound
    relaxation certifies them. For relaxations of :data:`MONOTONE` the largest certified radius of an image is found by
    bisection and certifies it at all smaller ones.
    """
    start = time.process_time()
    names, radii = ("network", "dataset", "epsilon_pixel", "first", "count"), case["options"]["radii"]
    refuted, programs = refuted_from(*(case[name] for name in names), radii), 0
    if case["method"] in MONOTONE:
        below = np.full(len(refuted), -1)
        for method in (*IMPLIED.get(case["method"], ()), case["method"]):
            below, solved_now = _bisect(case, method, below, refuted)
            programs += solved_now
        counts = [int((below >= i).sum()) for i in range(radii)]
    else:
        at = (certified_at(case, case["method"], np.full(len(refuted), i), refuted > i) for i in range(radii))
        counts = [int(certified.sum()) for certified, _ in at]
    spent = {"programs": programs} if case["method"] in PROGRAMS else {}
    return {"certified": counts, **spent, "processor_seconds": round(time.process_time() - start, 2)}


def _bisect(case: Case, method: str, below: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, int]:
    """Raise the certified index `below` (N,) of each image towards the refuted index `above`; programs solved."""
    below, above, programs = below.copy(), above.copy(), 0
    while (open_ := above - below > 1).any():
        middle = (below + above) // 2
        # The first question of an image is its smallest radius: many images end there.
        middle = np.where(below < 0, 0, middle)
        proven, solved_now = certified_at(case, method, middle, open_)
        programs += solved_now
        below, above = np.where(proven, middle, below), np.where(open_ & ~proven, middle, above)
    return below, programs


def certified_at(case: Case, method: str, index: np.ndarray, consider: np.ndarray) -> tuple[np.ndarray, int]:
    """Return which images (N,) the relaxation certifies at the radius of this index of each; programs solved."""
    found, _, lower, upper, labels = questions({**case, "epsilon_pixel": radii_of(case)[index][:, None]})
    return certified_boxes(found.network, lower, upper, labels, method, consider)


@lru_cache(maxsize=16)
def refuted_from(network: str, data: str, largest: float, first: int, count: int, radii: int) -> np.ndarray:
    """Return the index of a radius from which on each image (N,) is known not to be robust; `radii` if there is none.

    0 for an image that is labelled wrongly. Adversarial points are searched for at about :data:`SEARCHED_RADII` radii.
    """
    case = {"network": network, "dataset": data, "first": first, "count": count}
    found, x, _, _, labels = questions({**case, "epsilon_pixel": 0.0})
    refuted = np.where(found.network.predict(x) == labels, radii, 0)
    values = np.linspace(0, largest, radii)
    for i in range(1, radii, max(1, radii // SEARCHED_RADII)):
        rows = np.flatnonzero(refuted > i)
        if len(rows):
            _, _, lower, upper, _ = questions({**case, "epsilon_pixel": values[i]})
            fooled = short_search(found, x[rows], lower[rows], upper[rows], labels[rows], values[i])
            refuted[rows[fooled]] = i
    return refuted


def cr_auc(radii: Sequence[float], percent: Sequence[float]) -> float:
    """Return the area under the certified ratio (in percent) over the radius, as the paper prints it (trapezoids).

    Examples
    --------
    >>> cr_auc([0.0, 0.1], [100.0, 0.0])
    5.0
    """
    return float(np.trapezoid(percent, radii))


def cr_curve(rows: Rows) -> tuple[list[float], list[float]]:
    """Return radii and certified images in percent, from all rows of one network and relaxation."""
    certified = sum(np.array(row["certified"]) for row in rows)
    return radii_of(rows[0]).tolist(), (100 * certified / rows.total("count")).tolist()


def curves_of(rows: Rows) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Return network -> relaxation as the paper names it -> its curve."""
    groups = rows.nested("network", "method").items()
    return {network: {TITLES[method]: cr_curve(part) for method, part in own.items()} for network, own in groups}


@table_4.table
def areas(rows: Rows) -> Table:
    """Return CR-AUC: a line for each relaxation, a column for each network."""
    curves = curves_of(rows)
    names = dict.fromkeys(name for lines in curves.values() for name in lines)
    lines = [(n, *(round(cr_auc(*own[n]), 3) if n in own else None for own in curves.values())) for n in names]
    return Table(("relaxation", *(label(network) for network in curves)), lines)


def shared(rows: Rows) -> Rows:
    """Return the rows for the images of each network that every relaxation was asked about."""
    methods = {network: set(own.different("method")) for (network,), own in rows.by("network")}
    groups_ = rows.by("network", "first", "count")
    return Rows(row for (n, *_), part in groups_ if {*part.different("method")} == methods[n] for row in part)


@table_4.table
def shared_areas(rows: Rows) -> Table:
    """Return CR-AUC over the images that every relaxation was asked about."""
    return areas(shared(rows))


@table_4.table
def order(rows: Rows) -> list[str]:
    """Return the relaxations of all networks from loose to tight, by the sum of their areas over the same images."""
    everywhere = [line for line in areas(shared(rows)).rows if None not in line]
    return [line[0] for line in sorted(everywhere, key=lambda line: sum(line[1:]))]


@table_4.drawing(shared_areas)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the curves over the images that every relaxation was asked about."""
    panels = {label(network): lines for network, lines in curves_of(shared(rows)).items()}
    axes = ("radius, pixel units", "certified %")
    drawing = figures.curves(panels, axes, "certified images over the radius", shared=True)
    return drawing.saying(f"From loose to tight, by the area below the curves: {', '.join(order(rows))}")


def values_of_areas(
    rows: Rows, networks: Names, image_counts: Numbers, program_images: int | None = None
) -> Iterator[tuple[str, str, Value]]:
    """Yield relaxation, experiment of Table 3 and CR-AUC, where all images have been asked about."""
    asked = dict(zip(networks, image_counts, strict=True))
    for (network, method), own in rows.by("network", "method"):
        letter, images = letter_of(network), own.total("count")
        if letter is not None and network in asked and images == _asked(method, asked[network], program_images):
            area = round(cr_auc(*cr_curve(own)), 3)
            yield method.replace("_", "-"), letter, Value(area, trained_here(letter, images))


figure_9 = table_4.same("figure-9-cr-curves-f")
figure_9.solve(table_4.kept_or_solved)
figure_2 = figure_9.same("figure-2-cr-curves-a")
figure_2.cases(cases)


@table_4.cells
def cells(rows: Rows, networks: Names, image_counts: Numbers, program_images: int | None) -> Values:
    """Yield `table-4/crown-ibp/A` and so on."""
    for method, letter, value in values_of_areas(rows, networks, image_counts, program_images):
        yield f"table-4/{method}/{letter}", value


@figure_2.cells
def order_of_classes(rows: Rows, networks: Names, image_counts: Numbers) -> Values:
    """Yield how many pairs of relaxations of neighbouring classes have areas in the order of the classes."""
    found = {method.replace("-", "_"): value for method, _, value in values_of_areas(rows, networks, image_counts)}
    if len(found) == len(CURVES):
        classes = {name: [found[method] for method in methods] for name, methods in CLASSES.items()}
        for loose, tight in pairwise(classes):
            in_order = sum(a.value < b.value for a, b in product(classes[loose], classes[tight]))
            yield f"figure-2/{loose}-below-{tight}", Value(in_order, classes[loose][0].note)


@figure_9.cells
def place_of_programs(rows: Rows, networks: Names, image_counts: Numbers, program_images: int | None) -> Values:
    """Yield how many relaxations are on the side of Triangle and Parallelogram that Appendix B says."""
    complete = list(values_of_areas(rows, networks, image_counts, program_images))
    if len(complete) < len(CURVES) + len(PROGRAMS):
        return
    own = shared(rows)
    area = {method: cr_auc(*cr_curve(part)) for (method,), part in own.by("method")}
    letter, images = letter_of(rows[0]["network"]), own.where(method="triangle").total("count")
    note = trained_here(letter, images) if letter else ""
    others = [method for method in area if method not in ("triangle", "crown_0")]
    inside = area["parallelogram"]
    yield "figure-9/triangle/tighter-than", Value(sum(area["triangle"] > area[other] for other in others), note)
    yield "figure-9/parallelogram/above-mid", Value(sum(area[other] < inside for other in CLASSES["mid"]), note)
    yield "figure-9/parallelogram/below-high", Value(sum(area[other] > inside for other in CLASSES["high"]), note)
