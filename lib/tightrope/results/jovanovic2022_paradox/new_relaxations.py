"""Figure 7: Triangle and Parallelogram (a, b), and the training losses of Table 14 (c)."""

from itertools import product

from tightrope import figures
from tightrope.relaxations.triangle import corners
from tightrope.training.programs import PROGRAMS
from tightrope.workbench.experiment import Cases, Experiment, Lines, Rows, Table, Value, Values
from . import small_training
from .common import CERTIFIERS, PAPER, TITLES
from .relu_regions import area_of_region, regions
from .small_training import METHODS, SCALINGS, table_14

figure_7 = Experiment(PAPER, "figure-7-new-relaxations", needs=[table_14])
figure_7.solve(area_of_region)
#: Bounds of the drawn neuron, whose chord has another slope than 1/2, so that it shows.
ENDS = {"lower": -1.0, "upper": 1.5}
#: Relaxation -> which slopes of its sides move with l and u.
MOVING = {"triangle": "the upper one", "parallelogram": "none", "deepz": "both"}


@figure_7.cases
def cases() -> Cases:
    """Return one case for each region."""
    return [{"method": method, **ENDS} for method in MOVING]


@figure_7.sized
def size_of_table_14(rows: Rows) -> str:
    """Return how much Table 14 is about, whose losses are drawn."""
    return table_14.kept(rows[0]["profile"]).size()


@figure_7.lines("relaxation | area | corners | slopes that depend on l and u")
def areas(rows: Rows) -> Lines:
    """Return the area of each region, how many corners it has, and which slopes of its sides move with l and u."""
    for row in rows.where(result=figure_7.name):
        method = row["method"]
        sides = len(corners(method, row["lower"], row["upper"]))
        yield TITLES[method], round(row["area"], 4), sides, MOVING[method]


@figure_7.drawing(areas)
def draw_shapes(rows: Rows) -> figures.Drawing:
    """Draw the regions."""
    return regions(rows.where(result=figure_7.name), "Triangle and Parallelogram")


@figure_7.table
def final_losses(rows: Rows) -> Table:
    """Return the training losses of Table 14."""
    return small_training.final_losses(rows.where(result=table_14.name))


@figure_7.drawing(lambda rows: small_training.scores(rows.where(result=table_14.name)))
def draw(rows: Rows) -> figures.Drawing:
    """Draw the training losses of Table 14."""
    return small_training.draw_losses(rows.where(result=table_14.name))


#: Of two trainings, what the better one has more of.
SCORES = {"lower-loss-than": lambda row: -row["losses"][-1], "certifies-more-than": lambda row: row["certified"]}


@figure_7.cells
def lead_of_programs(rows: Rows) -> Values:
    """Yield `figure-7/triangle/lower-loss-than` and so on, of the first seed with plain components.

    It counts the five relaxations with two lines; the note has the same with components that are scaled otherwise.
    """
    by_scaling = {}
    own = rows.where(result=table_14.name)
    for scaling in SCALINGS:
        first = {method: row for method in METHODS if (row := own.one(scaling=scaling, method=method)) is not None}
        if len(first) == len(METHODS):
            by_scaling[scaling] = first
    for method, name in product(PROGRAMS if SCALINGS[0] in by_scaling else (), SCORES):
        score = SCORES[name]
        leads = {
            scaling: sum(score(first[method]) > score(first[other]) for other in CERTIFIERS)
            for scaling, first in by_scaling.items()
        }
        plain = leads.pop(SCALINGS[0])
        note = "; ".join(("one seed", *(f"{count} {scaling}" for scaling, count in leads.items())))
        yield f"figure-7/{method}/{name}", Value(plain, note)
