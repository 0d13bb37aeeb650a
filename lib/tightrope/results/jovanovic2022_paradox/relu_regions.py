"""Figure 1: the regions of one unstable ReLU."""

import numpy as np

from tightrope import figures
from tightrope.errors import CertificateError, InputError
from tightrope.relaxations.triangle import area, corners
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Rows
from .common import PAPER, TITLES

figure_1 = Experiment(PAPER, "figure-1-relu-relaxations")
#: Relaxation -> its lines below and above.
SHAPES = {
    "box": "parallel, no slope",
    "hbox": "parallel, no slope",
    "deepz": "parallel",
    "crown": "adaptive",
    "crown_0": "0 below",
    "triangle": "three sides",
    "parallelogram": "four sides",
}


@figure_1.cases
def cases(lower: float, upper: float) -> Cases:
    """Return one case for each relaxation of a ReLU with bounds l < 0 < u."""
    if not lower < 0 < upper:
        raise InputError(f"lower, upper: an unstable ReLU has lower < 0 < upper, got {lower:g}, {upper:g}.")
    return [{"method": method, "lower": float(lower), "upper": float(upper)} for method in SHAPES]


@figure_1.solve
def area_of_region(case: Case) -> dict:
    """Return the area of a region by its formula, checked by its corners (shoelace formula)."""
    method, lower, upper = case["method"], case["lower"], case["upper"]
    h, z = np.array(corners(method, lower, upper)).T
    polygon = abs(np.dot(h, np.roll(z, -1)) - np.dot(z, np.roll(h, -1))) / 2
    exact = area(method, lower, upper)
    if abs(polygon - exact) > 1e-9:
        raise CertificateError(f"{method}: area {exact} by formula, {polygon} by corners")
    return {"area": exact, "parallel": SHAPES[method]}


@figure_1.lines("relaxation | area | of Triangle's | lines")
def areas(rows: Rows) -> Lines:
    """Return the area of each region, also relative to that of Triangle, the convex hull."""
    hull = rows.where(method="triangle")[0]["area"]
    return ((TITLES[r["method"]], round(r["area"], 4), round(r["area"] / hull, 3), r["parallel"]) for r in rows)


@figure_1.drawing(areas)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the regions over the ReLU."""
    return regions(rows, "regions of an unstable ReLU")


def regions(rows: Rows, title: str) -> figures.Drawing:
    """Draw the regions of some relaxations for one l and u."""
    lower, upper = rows[0]["lower"], rows[0]["upper"]
    panels = [(TITLES[row["method"]], corners(row["method"], lower, upper)) for row in rows]
    ends = [fold(row["area"] for row in rows) for fold in (min, max)]
    small, large = (" and ".join(TITLES[row["method"]] for row in rows if row["area"] == end) for end in ends)
    finding = f"The smallest region: {small}; the largest, {ends[1] / ends[0]:.3g} times its area: {large}"
    return figures.relu_regions(panels, lower, upper, title).saying(finding)
