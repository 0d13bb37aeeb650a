"""Explorer of the relaxations of one ReLU: its region, its area, and what it does to a small network's bounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from tightrope import figures
from tightrope.errors import InputError
from tightrope.explorers.controls import choice, page, real_slider
from tightrope.explorers.explorer import View, explores
from tightrope.networks import FeedForward
from tightrope.outward import at_least, at_most, nearest
from tightrope.propagation.certify import box_bounds
from tightrope.question import Stop
from tightrope.relaxations.triangle import area, corners
from tightrope.results.jovanovic2022_paradox.common import TITLES
from tightrope.results.jovanovic2022_paradox.relu_regions import SHAPES
from tightrope.training.programs import PROGRAMS
from tightrope.verifiers.triangle import output_bounds
from tightrope.workbench.tables import Table

METHODS = ("box", "hbox", "crown_ibp", "deepz", "crown", "crown_0", *PROGRAMS)


@dataclass(frozen=True)
class Shape:
    """One relaxation for one l and u; by relaxation, (lower, upper) bounds of the small network's output; its range."""

    relaxation: str
    lower: float
    upper: float
    area: float
    bounds: Mapping[str, tuple[float, float]]
    exact: tuple[float, float]


def shape_view(answer: Shape) -> View:
    """The region, the bounds of every relaxation, and the area in a line."""
    lower, upper, method = answer.lower, answer.upper, answer.relaxation
    unstable = lower < 0 < upper
    line = [(lower, max(lower, 0.0)), (upper, max(upper, 0.0))]
    region = corners(method, lower, upper) if unstable else _stable_region(method, lower, upper) or line
    title, bounds = TITLES[method], [(TITLES[m], *ends) for m, ends in answer.bounds.items()]
    drawing = figures.region_and_bounds(
        title, region, (lower, upper), bounds, answer.exact, title, "a relaxation and what it proves"
    )
    text = "stable, no area"
    if unstable:
        text = f"area {answer.area:.3f}, {answer.area / area('triangle', lower, upper):.2f} times the convex hull's"
    text = f"{title}, l = {lower:g}, u = {upper:g}: {text}"
    low, high = answer.bounds[method]
    exact = "[{}, {}]".format(*map(nearest, answer.exact))
    lines = [f"output of the network: proven in [{at_least(low)}, {at_most(high)}], exact in {exact}"]
    width = max(answer.exact[1] - answer.exact[0], 1e-9)
    rows = [(name, low, high, round((high - low) / width, 2)) for name, low, high in bounds]
    head = ("relaxation", "lower", "upper", "width over exact")
    table = Table(head, rows, bounds={"lower": "lower", "upper": "upper"})
    return View(drawing._repr_png_(), page(text, lines, table), f"{text}; {lines[0]}")


def _stable_region(method: str, lower: float, upper: float) -> list[tuple[float, float]] | None:
    """Box keeps a box where z = h, CROWN-0 all below it; the others have the line itself."""
    if lower >= 0 and method == "box":
        return [(lower, lower), (upper, lower), (upper, upper), (lower, upper)]
    if lower >= 0 and method == "crown_0":
        return [(lower, 0.0), (upper, 0.0), (upper, upper), (lower, lower)]
    return None


def small_network(lower: float, upper: float, weight: float) -> FeedForward:
    """x in [-1, 1] to h_1 in [l, u] and h_2 = its mirror image, then two neurons more, then one output.

    The first neuron's preactivation runs exactly from l to u, so that moving l and u moves its region.
    """
    middle, half = (lower + upper) / 2, (upper - lower) / 2
    first = ([[half], [-half]], [middle, middle])
    second = ([[1.0, -weight], [weight, 1.0]], [0.0, -0.5])
    return FeedForward.dense((first[0], second[0], [[1.0, -1.0]]), (first[1], second[1], [0.0]))


@explores("relaxations", shape_view)
def relaxations(
    relaxation: Annotated[str, lambda value: choice(value, [(TITLES[m], m) for m in SHAPES], "relaxation")] = "crown",
    lower: Annotated[float, lambda value: real_slider(value, -3.0, 1.0, 0.05, "l")] = -1.0,
    upper: Annotated[float, lambda value: real_slider(value, -1.0, 3.0, 0.05, "u")] = 1.5,
    weight: Annotated[float, lambda value: real_slider(value, -2.0, 2.0, 0.05, "weight")] = 0.7,
    *,
    stop: Stop,
) -> Iterator[Shape]:
    """Explore the region of a relaxation between l and u, and the bounds of a network of four neurons.

    The relaxation has its name in the library, `lower` < `upper` are the bounds of the first neuron's preactivation,
    and the weight is the second layer's.
    """
    if not lower < upper:
        raise InputError(f"l = {lower:g}, u = {upper:g}: l must be below u.")
    network, ends = small_network(lower, upper, weight), (np.array([-1.0]), np.array([1.0]))
    # The output is linear between the points where a neuron's sign changes: a fine grid and its ends hold the extremes
    # up to the grid's width.
    values = network.logits(np.linspace(-1, 1, 4001)[:, None])
    exact = (float(values.min()), float(values.max()))
    bounds = {}
    for method in METHODS:
        low, high = (output_bounds if method in PROGRAMS else box_bounds)(network, *ends, method)
        bounds[method] = (float(np.ravel(low)[0]), float(np.ravel(high)[0]))
    yield Shape(relaxation, lower, upper, area(relaxation, lower, upper), bounds, exact)
