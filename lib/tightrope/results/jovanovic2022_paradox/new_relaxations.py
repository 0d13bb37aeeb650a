"""Figure 7: Triangle and Parallelogram (a, b), and the training losses of Table 14 (c)."""

from tightrope import figures
from tightrope.relaxations.triangle import corners
from tightrope.results.jovanovic2022_paradox import small_training
from tightrope.results.jovanovic2022_paradox.common import PAPER, TITLES
from tightrope.results.jovanovic2022_paradox.relu_regions import area_of_region, regions
from tightrope.results.jovanovic2022_paradox.small_training import table_14
from tightrope.workbench.experiment import Experiment
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
