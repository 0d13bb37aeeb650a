"""Figure 7: Triangle and Parallelogram (a, b), and the training losses of Table 14 (c)."""

from collections.abc import Mapping
from dataclasses import dataclass

from tightrope import figures
from tightrope.results.jovanovic2022_paradox.common import PAPER, plain_case
from tightrope.results.jovanovic2022_paradox.shapes import PROGRAMS, corners, named, shape
from tightrope.results.jovanovic2022_paradox.small_training import table_14_cases
from tightrope.workbench.cases import solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import drawn_profile
from tightrope.workbench.tables import Table

FIGURE_7 = "figure-7-new-relaxations"
#: Bounds of the drawn neuron, whose chord has another slope than 1/2, so that it shows.
ENDS = {"lower": -1.0, "upper": 1.5}


@dataclass(frozen=True)
class NewShapes:
    """Regions of Triangle and Parallelogram, DeepZ's beside them."""

    rows: tuple[dict, ...]

    @property
    def areas(self) -> Table:
        """Area of each region, how many sides it has, and which of their slopes move with l and u."""
        moving = {"triangle": "the upper one", "parallelogram": "none", "deepz": "both"}
        lines = [(named(r["method"]), round(r["area"], 4), len(corners(r["method"], r["lower"], r["upper"])),
                  moving[r["method"]]) for r in self.rows]  # fmt: skip
        return Table(("relaxation", "area", "corners", "slopes that depend on l and u"), tuple(lines))

    def draw(self) -> figures.Drawing:
        """Draw the regions."""
        ends = tuple(self.rows[0][name] for name in ENDS)
        panels = [(named(r["method"]), corners(r["method"], *ends)) for r in self.rows]
        drawing = figures.relu_regions(panels, *ends, "Triangle and Parallelogram")
        drawing.save(PAPER, f"{FIGURE_7}-shapes.{drawn_profile(self.rows)}", self.areas)
        return drawing


def new_shapes(profile: str = "quick", store: Store | None = None) -> NewShapes:
    """Figure 7 a and b: the regions of Triangle and Parallelogram for one l and u."""
    return NewShapes(solved(shape_cases(profile), shape, store))


def shape_cases(profile: str) -> list[dict]:
    """One case for each region."""
    return [plain_case(FIGURE_7, profile, method=method, **ENDS) for method in (*PROGRAMS, "deepz")]


@checked()
def figure_7_cases(parameters: Mapping) -> list[dict]:
    """The regions, and the trainings, which are those of Table 14."""
    return shape_cases(parameters["profile"]) + table_14_cases(parameters)
