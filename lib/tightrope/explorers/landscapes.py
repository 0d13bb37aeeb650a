"""Explorer of gradient ascent on bounds: Figures 5 and 6 for any network, relaxation and steps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from tightrope.explorers.controls import choice, number_slider, page, real_slider
from tightrope.explorers.explorer import View, explores
from tightrope.outward import at_least
from tightrope.propagation.ascent import Steps
from tightrope.question import Stop
from tightrope.results.jovanovic2022_paradox.common import TITLES
from tightrope.results.jovanovic2022_paradox.landscapes import POINTS, Ascents, draw_landscape
from tightrope.workbench.tables import Table

METHODS = ("hbox", "crown_ibp", "deepz", "crown")
DECAY = 0.99


@dataclass(frozen=True, eq=False)
class Climbed:
    """The paths and landscapes of one network; no landscape where its output does not depend on the first layer."""

    seed: int
    landscape: Mapping | None


def climb_view(answer: Climbed) -> View:
    """Both landscapes with the paths on them, and where they end."""
    if answer.landscape is None:
        text = f"network {answer.seed}: the output does not depend on the first layer's weights at this input"
        return View(b"", f"<p>{text}</p>", text)
    paths, falls = answer.landscape["paths"], answer.landscape["jumps"]
    lines = [
        (TITLES[m], values[0], values[-1], round(shifts[-1], 3), len(falls[m])) for m, (shifts, values) in paths.items()
    ]
    ends = ", ".join(f"{line[0]} from {at_least(line[1], 3)} to {at_least(line[2], 3)}" for line in lines)
    text = f"network {answer.seed}: {ends}"
    ends = ("bound at the start", "at the end")
    head = ("relaxation", *ends, "delta at the end", "jumps")
    table = Table(head, tuple(lines), bounds=dict.fromkeys(ends, "lower"))
    return View(draw_landscape(answer.landscape)._repr_png_(), page(text, [], table), text)


@explores("ascent", climb_view)
def ascents(
    seed: Annotated[int, lambda value: number_slider(value, 199, "seed")] = 0,
    method: Annotated[str, lambda value: choice(value, [(TITLES[m], m) for m in METHODS], "relaxation")] = "crown",
    rate: Annotated[float, lambda value: real_slider(value, 0.001, 0.03, 0.001, "rate")] = 0.02,
    count: Annotated[int, lambda value: number_slider(value, 100, "steps")] = 20,
    *,
    stop: Stop,
) -> Iterator[Climbed]:
    """Explore gradient ascent on the bound of one relaxation, Box beside it, on one random network.

    Parameters
    ----------
    seed
        Of the network.
    method
        hbox, crown_ibp, deepz or crown.
    rate, count
        The first step's rate and the number of steps.
    """
    found = Ascents(method, Steps(rate, DECAY, max(1, count)), seed)
    yield Climbed(seed, None if found.flat else found.landscape(POINTS))
