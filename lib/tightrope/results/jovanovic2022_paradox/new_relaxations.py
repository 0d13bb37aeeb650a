"""Figure 7: Triangle and Parallelogram (a, b), and the training losses of Table 14 (c)."""

from collections.abc import Mapping

from tightrope import figures
from tightrope.relaxations.triangle import corners
from tightrope.results.jovanovic2022_paradox import small_training
from tightrope.results.jovanovic2022_paradox.common import CERTIFIERS, PAPER, TITLES
from tightrope.results.jovanovic2022_paradox.relu_regions import area_of_region, regions
from tightrope.results.jovanovic2022_paradox.small_training import METHODS, SCALINGS, table_14
from tightrope.training.programs import PROGRAMS
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.registry import Value
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table

figure_7 = Experiment(PAPER, "figure-7-new-relaxations", needs=[table_14])
figure_7.solve(area_of_region)
#: Bounds of the drawn neuron, whose chord has another slope than 1/2, so that it shows.
ENDS = {"lower": -1.0, "upper": 1.5}
#: Relaxation -> which slopes of its sides move with l and u.
MOVING = {"triangle": "the upper one", "parallelogram": "none", "deepz": "both"}


@figure_7.cases
def cases() -> list[dict]:
    """Return one case for each region."""
    return [{"method": method, **ENDS} for method in MOVING]


@figure_7.sized
def size_of_table_14(rows: Rows) -> str:
    """Return how much Table 14 is about, whose losses are drawn."""
    return table_14.kept(rows[0]["profile"]).size()


@figure_7.table
def areas(rows: Rows) -> Table:
    """Return the area of each region, how many corners it has, and which slopes of its sides move with l and u."""
    lines = []
    for row in rows.where(result=figure_7.name):
        method = row["method"]
        sides = len(corners(method, row["lower"], row["upper"]))
        lines.append((TITLES[method], round(row["area"], 4), sides, MOVING[method]))
    return Table(("relaxation", "area", "corners", "slopes that depend on l and u"), lines)


@figure_7.drawing(areas)
def draw_shapes(rows: Rows) -> figures.Drawing:
    """Draw the regions."""
    return regions(rows.where(result=figure_7.name), "Triangle and Parallelogram")


@figure_7.table
def final_losses(rows: Rows) -> Table:
    """Return the training losses of Table 14."""
    return small_training.final_losses(rows.where(result=table_14.name))


def _scores(rows: Rows) -> Table:
    return small_training.scores(rows.where(result=table_14.name))


@figure_7.drawing(_scores)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the training losses of Table 14."""
    return small_training.draw_losses(rows.where(result=table_14.name))


def _lead(first: Mapping[str, Mapping], method: str, column: str) -> int:
    """Return how many of the five relaxations with two lines have a higher last loss, or certify fewer images."""

    def score(row: Mapping) -> float:
        return -row["losses"][-1] if column == "losses" else row["certified"]

    return sum(score(first[method]) > score(first[other]) for other in CERTIFIERS)


@figure_7.cells
def lead_of_programs(rows: Rows) -> dict[str, Value]:
    """Return `figure-7/triangle/lower-loss-than` and so on, of the first seed with plain components.

    The note has the same with components that are scaled otherwise.
    """
    by_scaling = {}
    own = rows.where(result=table_14.name)
    for scaling in SCALINGS:
        first = {method: row for method in METHODS if (row := own.one(scaling=scaling, method=method)) is not None}
        if len(first) == len(METHODS):
            by_scaling[scaling] = first
    values = {}
    if SCALINGS[0] in by_scaling:
        for method in PROGRAMS:
            for name, column in (("lower-loss-than", "losses"), ("certifies-more-than", "certified")):
                plain, *others = ((scaling, _lead(first, method, column)) for scaling, first in by_scaling.items())
                note = "; ".join(("one seed", *(f"{count} {scaling}" for scaling, count in others)))
                values[f"figure-7/{method}/{name}"] = Value(plain[1], note)
    return values
