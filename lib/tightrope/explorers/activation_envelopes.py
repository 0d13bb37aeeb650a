"""Explorer of the convex relaxations of activations and pooling, between bounds that the reader moves."""

from collections.abc import Iterator
from typing import Annotated

from tightrope import figures
from tightrope.errors import InputError
from tightrope.explorers.controls import page, real_slider
from tightrope.explorers.explorer import View, explores
from tightrope.question import Stop
from tightrope.results.salman2019_barrier.nonlinearities import curves_of, figure_2
from tightrope.workbench.experiment import Solved


def envelopes_view(answer: Solved) -> View:
    """The hulls, what a sample says of them, and their areas in a line."""
    png = figures.envelope_panels([curves_of(row) for row in answer.rows], "optimal convex relaxations")._repr_png_()
    ends = f"l = {answer.rows[0]['lower']:g}, u = {answer.rows[0]['upper']:g}"
    areas = ", ".join(f"{row['function']} {row['area']:.3f}" for row in answer.rows)
    return View(png, page(f"optimal convex relaxations, {ends}", [], answer.checks), f"{ends}: area {areas}")


@explores("envelopes", envelopes_view)
def envelopes(
    lower: Annotated[float, lambda value: real_slider(value, -4.0, 3.0, 0.1, "l")] = -2.0,
    upper: Annotated[float, lambda value: real_slider(value, -3.0, 4.0, 0.1, "u")] = 1.5,
    *,
    stop: Stop,
) -> Iterator[Solved]:
    """Explore the optimal relaxation of each function of Figure 2 of salman2019-barrier on [lower, upper].

    Parameters
    ----------
    lower, upper
        lower < upper, the bounds of the preactivation.
    """
    if not lower < upper:
        raise InputError(f"l = {lower:g}, u = {upper:g}: l must be below u.")
    cases = figure_2.own_cases("explorer", {"lower": lower, "upper": upper})
    yield Solved(figure_2, ({**case, **figure_2.solver(case)} for case in cases))
