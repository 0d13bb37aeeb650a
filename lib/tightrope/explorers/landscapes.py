"""Explorer of gradient ascent on bounds: Figures 5 and 6 for any network, relaxation and steps."""

from collections.abc import Mapping
from typing import Annotated

from tightrope.explorers.controls import choice, number_slider, page, real_slider
from tightrope.explorers.explorer import View, explores
from tightrope.outward import at_least
from tightrope.propagation.continuity import Steps
from tightrope.results.jovanovic2022_paradox.common import TITLES
from tightrope.results.jovanovic2022_paradox.landscapes import POINTS, Ascents, draw_landscape
from tightrope.workbench.tables import Table

METHODS = ("hbox", "crown_ibp", "deepz", "crown")
DECAY = 0.99


def climb_view(seed: int, landscape: Mapping | None) -> View:
    """Both landscapes with the paths on them, and where they end; None where the network has no landscape."""
    if landscape is None:
        text = f"network {seed}: the output does not depend on the first layer's weights at this input"
        return View(b"", f"<p>{text}</p>", text)
    lines = [
        (TITLES[method], values[0], values[-1], round(shifts[-1], 3), len(landscape["jumps"][method]))
        for method, (shifts, values) in landscape["paths"].items()
    ]
    ends = ", ".join(f"{line[0]} from {at_least(line[1], 3)} to {at_least(line[2], 3)}" for line in lines)
    text, bounds = f"network {seed}: {ends}", ("bound at the start", "at the end")
    head = ("relaxation", *bounds, "delta at the end", "jumps")
    table = Table(head, lines, bounds=dict.fromkeys(bounds, "lower"))
    return View(draw_landscape(landscape)._repr_png_(), page(text, [], table), text)


@explores("ascent")
def ascents(
    seed: Annotated[int, lambda value: number_slider(value, 199, "seed")] = 0,
    method: Annotated[str, lambda value: choice(value, [(TITLES[m], m) for m in METHODS], "relaxation")] = "crown",
    rate: Annotated[float, lambda value: real_slider(value, 0.001, 0.03, 0.001, "rate")] = 0.02,
    count: Annotated[int, lambda value: number_slider(value, 100, "steps")] = 20,
) -> View:
    """Explore gradient ascent on the bound of one relaxation, Box beside it, on the random network of a seed.

    The method is hbox, crown_ibp, deepz or crown, the rate that of the first of `count` steps.
    """
    found = Ascents(method, Steps(rate, DECAY, max(1, count)), seed)
    return climb_view(seed, None if found.flat else found.landscape(POINTS))
