"""Figure 3: bounds of a minimal example that jump as one weight moves."""

from collections.abc import Callable, Sequence

import numpy as np

from tightrope import figures
from tightrope.networks import FeedForward
from tightrope.propagation.certify import box_bounds
from tightrope.propagation.continuity import jumps as find_jumps
from tightrope.training.programs import PROGRAMS
from tightrope.verifiers.triangle import output_bounds
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Row, Rows, Value, Values
from .common import CERTIFIERS, PAPER, TITLES, broken, who_jumps

figure_3 = Experiment(PAPER, "figure-3-discontinuity")
#: Relaxation -> w at which its bounds may jump on the minimal example, and why; the others are continuous.
#: There l = w - 1 and u = w + 1, so -l = u at w = 0 and l = 0 at w = 1.
THEORY = {"crown": (0.0, "-l = u, w = 0"), "crown_ibp": (0.0, "-l = u, w = 0"), "hbox": (1.0, "l = 0, w = 1")}
PLACES = {0: "-l = u", 1: "l = 0", -1: "u = 0"}
NEAR = 1e-6  # how close to its place a jump is found


@figure_3.cases
def cases(points: int) -> Cases:
    """Return one case for each output and relaxation, with so many points of w in [-1.5, 1.5]."""
    methods = (*CERTIFIERS, *PROGRAMS)
    return [{"method": method, "output": output, "points": points} for output in (0, 1) for method in methods]


def minimal_example(w: float) -> FeedForward:
    """Return x_1 = x_0 + w twice, ReLU, outputs x_22 + 1 and x_22 - x_21 (Section 4.1)."""
    return FeedForward.dense(([[1.0], [1.0]], [[0.0, 1.0], [-1.0, 1.0]]), ([w, w], [1.0, 0.0]))


@figure_3.solve
def bound_along_w(case: Case) -> dict:
    """Return the lower bound of one output for x_0 in [-1, 1] on a grid of w, and its jumps."""
    ends, bounds_of = (np.array([-1.0]), np.array([1.0])), bounds_by(case["method"])

    def values(shifts: Sequence[float]) -> np.ndarray:
        lower = (bounds_of(minimal_example(float(w)), *ends, case["method"])[0] for w in shifts)
        return np.array([float(np.ravel(bound)[case["output"]]) for bound in lower])

    grid = np.linspace(-1.5, 1.5, case["points"])
    return {
        "w": grid.round(6).tolist(),
        "values": values(grid).round(9).tolist(),
        "jumps": [[jump.at, jump.before, jump.after] for jump in find_jumps(values, -1.5, 1.5, case["points"])],
    }


def bounds_by(method: str) -> Callable:
    """Return the function that bounds all outputs by a relaxation: linear programs, or two lines for each neuron."""
    return output_bounds if method in PROGRAMS else box_bounds


@figure_3.lines("relaxation | bound | w | before | after | where")
def jumps(rows: Rows) -> Lines:
    """Return where each relaxation jumps, by how much, and what holds there."""
    for row in rows:
        bound = TITLES[row["method"]], f"l_3{row['output'] + 1}"
        if not row["jumps"]:
            yield *bound, None, None, None, "continuous"
        for at, before, after in row["jumps"]:
            why = next((words for place, words in PLACES.items() if abs(at - place) < NEAR), "")
            yield *bound, round(at, 6) + 0.0, round(before, 4), round(after, 4), why


@figure_3.lines("relaxation | theory | jumps found | of them there | elsewhere")
def places(rows: Rows) -> Lines:
    """Return for each relaxation its jumps, how many of them are where the theory has one, and where that is."""
    for (method,), own in rows.by("method"):
        place, words = THEORY.get(method, (np.inf, "nowhere"))
        found = [at for row in own for at, _, _ in row["jumps"]]
        there = sum(abs(at - place) < NEAR for at in found)
        yield TITLES[method], words, len(found), there, len(found) - there


@figure_3.drawing(jumps)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the bounds of both outputs."""
    panels, marks = {}, {}
    for (output,), own in rows.by("output"):
        heading = f"lower bound of $x_{{3,{output + 1}}}$"
        same: dict[str, list[Row]] = {}  # relaxations whose curves are one
        for row in own:
            same.setdefault(str((np.round(row["values"], 6).tolist(), row["jumps"])), []).append(row)
        panels[heading] = {
            ", ".join(TITLES[row["method"]] for row in part): broken(*(part[0][k] for k in ("w", "values", "jumps")))
            for part in same.values()
        }
        marks[heading] = [jump for row in own for jump in row["jumps"]]
    drawing = figures.curves(
        panels, ("$w$", "lower bound"), "lower bounds of the minimal example", marks, names="below"
    )
    return drawing.saying(who_jumps(rows))


@figure_3.cells
def cells(rows: Rows) -> Values:
    """Yield how many jumps each bound has, and where a single one is, from what to what."""
    for row in rows:
        prefix = f"figure-3/{row['method'].replace('_', '-')}/output-{row['output'] + 1}"
        yield f"{prefix}/jumps", Value(len(row["jumps"]))
        if len(row["jumps"]) == 1:
            for name, number in zip(("at", "before", "after"), row["jumps"][0], strict=True):
                yield f"{prefix}/{name}", Value(round(number, 6) + 0.0)
