"""Explorer of the convex relaxations of activations and pooling, between bounds that the reader moves."""

from collections.abc import Iterable, Iterator, Mapping

from tightrope import figures
from tightrope.errors import InputError
from tightrope.explorers.controls import page, real_slider
from tightrope.explorers.explorer import Explorer, View
from tightrope.results.salman2019_barrier.nonlinearities import curves_of, figure_2
from tightrope.workbench.experiment import Solved

CONTROLS = ("lower", "upper")


def envelopes(
    lower: float = -2.0, upper: float = 1.5, *, controls: Iterable[str] = CONTROLS, background: bool = True
) -> Explorer:
    """Explore the optimal relaxation of each function of Figure 2 of salman2019-barrier on [lower, upper].

    Parameters
    ----------
    lower, upper
        lower < upper, the bounds of the preactivation.
    controls
        Which of these can be moved.
    """
    fixed = dict(lower=float(lower), upper=float(upper))
    makers = {
        "lower": lambda v: real_slider(v, -4.0, 3.0, 0.1, "l"),
        "upper": lambda v: real_slider(v, -3.0, 4.0, 0.1, "u"),
    }
    return Explorer.around(
        fixed, makers, controls, "envelopes", lambda state, stop: _stages(state), envelopes_view, background
    )


def _stages(state: Mapping) -> Iterator[Solved]:
    if not state["lower"] < state["upper"]:
        raise InputError(f"l = {state['lower']:g}, u = {state['upper']:g}: l must be below u.")
    yield Solved(figure_2, ({**case, **figure_2.solver(case)} for case in figure_2.own_cases("explorer", state)))


def envelopes_view(answer: Solved) -> View:
    """The hulls, what a sample says of them, and their areas in a line."""
    png = figures.envelope_panels([curves_of(row) for row in answer.rows], "optimal convex relaxations")._repr_png_()
    ends = f"l = {answer.rows[0]['lower']:g}, u = {answer.rows[0]['upper']:g}"
    areas = ", ".join(f"{row['function']} {row['area']:.3f}" for row in answer.rows)
    return View(png, page(f"optimal convex relaxations, {ends}", [], answer.checks), f"{ends}: area {areas}")
