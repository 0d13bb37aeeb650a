"""Explorer of the convex relaxations of activations and pooling, between bounds that the reader moves."""

from typing import Annotated

from tightrope import figures
from tightrope.errors import InputError
from tightrope.explorers.controls import page, real_slider
from tightrope.explorers.explorer import View, explores
from tightrope.results.salman2019_barrier.nonlinearities import curves_of, figure_2
from tightrope.workbench.experiment import Solved


@explores("envelopes")
def envelopes(
    lower: Annotated[float, lambda value: real_slider(value, -4.0, 3.0, 0.1, "l")] = -2.0,
    upper: Annotated[float, lambda value: real_slider(value, -3.0, 4.0, 0.1, "u")] = 1.5,
) -> View:
    """Explore the optimal relaxation of each function of Figure 2 of salman2019-barrier on [lower, upper].

    These are the bounds of the preactivation.
    """
    ends = f"l = {lower:g}, u = {upper:g}"
    if not lower < upper:
        raise InputError(f"{ends}: l must be below u.")
    cases = figure_2.own_cases("explorer", {"lower": lower, "upper": upper})
    solved = Solved(figure_2, ({**case, **figure_2.solver(case)} for case in cases))
    png = figures.envelope_panels([curves_of(row) for row in solved.rows], "optimal convex relaxations")._repr_png_()
    areas = ", ".join(f"{row['function']} {row['area']:.3f}" for row in solved.rows)
    return View(png, page(f"optimal convex relaxations, {ends}", [], solved.checks), f"{ends}: area {areas}")
