"""Figure 2: the optimal convex relaxation of activations and of pooling, with what a sample says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import figures
from tightrope.relaxations.envelopes import (
    ACTIVATIONS,
    activation,
    average_envelopes,
    envelopes,
    max_bounds_ehlers,
    max_envelopes,
)
from tightrope.results.salman2019_barrier.common import PAPER
from tightrope.workbench.cases import solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

FIGURE_2 = "figure-2-nonlinearities"
POOLS = ("max pooling", "average pooling")
FUNCTIONS = (*ACTIVATIONS, *POOLS)


@dataclass(frozen=True)
class Figure2:
    """Rows, one for each function, and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def checks(self) -> Table:
        """Soundness and tightness at sampled points."""
        lines = [
            (row["function"], row["lower"], row["upper"], row["sound"], round(row["gap_to_hull"], 5),
             round(row["area"], 4), None if row["area_cited"] is None else round(row["area_cited"], 4))
            for row in self.rows
        ]  # fmt: skip
        head = ("function", "l", "u", "no sample outside", "distance from the hull", "area", "area of eq. (5)")
        return Table(head, tuple(lines))

    def draw(self) -> figures.Drawing:
        """Draw the hulls; write the picture under figures/."""
        drawing = figures.envelope_panels([panel(row) for row in self.rows], title="optimal convex relaxations")
        drawing.save(PAPER, f"{FIGURE_2}.{drawn_profile(self.rows)}", self.checks)
        return drawing


def figure_2(
    lower: float = -2.0,
    upper: float = 1.5,
    functions: Sequence[str] = FUNCTIONS,
    profile: str = "quick",
    store: Store | None = None,
) -> Figure2:
    """Figure 2: envelopes between two bounds.

    Parameters
    ----------
    lower, upper
        The bounds of the preactivation. Pooling takes x in [lower, upper] and a second input in [lower / 2, upper / 2],
        of which the picture shows the middle.
    functions
        Names of :data:`tightrope.relaxations.envelopes.ACTIVATIONS`, "max pooling", "average pooling".
    profile, store
        Under which name and where the rows are kept.
    """
    parameters = dict(lower=lower, upper=upper, functions=functions, profile=profile)
    return Figure2(solved(figure_2_cases(parameters), measure, store))


@checked()
def figure_2_cases(parameters: Mapping) -> list[dict]:
    """One case for each function."""
    cases = []
    for name in parameters.get("functions", FUNCTIONS):
        if name not in POOLS:
            activation(name)
        cases.append({
            "paper": PAPER, "result": FIGURE_2, "profile": parameters["profile"], "function": name,
            "lower": float(parameters["lower"]), "upper": float(parameters["upper"]),
        })  # fmt: skip
    return cases


def measure(case: Mapping) -> dict:
    """Sample one function: whether a point lies outside, and how far the envelopes are from the sample's own hull."""
    curves = panel(case)
    x, z, below, above = (curves[name] for name in ("x", "value", "below", "above"))
    sound = bool((below <= z + 1e-12).all() and (z <= above + 1e-12).all())
    gap = 0.0
    if case["function"] not in POOLS:
        points = np.c_[x, z]
        if case["function"] == "step":
            points = np.r_[points, [[0.0, 1.0]]]
        gap = max(np.abs(_hull(points, x, 1) - above).max(), np.abs(_hull(points, x, -1) - below).max())
    area = float(np.trapezoid(above - below, x))
    cited = None
    if case["function"] == "max pooling":
        cited = float(np.trapezoid(curves["cited"] - below, x))
    return {"sound": sound, "gap_to_hull": float(gap), "area": area, "area_cited": cited}


def _hull(points: np.ndarray, x: np.ndarray, side: int) -> np.ndarray:
    """The upper (side 1) or lower (-1) hull of points at x, by a monotone chain."""
    kept: list[np.ndarray] = []
    for p in points[np.lexsort((side * points[:, 1], points[:, 0]))]:
        while len(kept) > 1 and side * _turn(kept[-2], kept[-1], p) >= 0:
            kept.pop()
        if kept and kept[-1][0] == p[0]:
            kept.pop()
        kept.append(p)
    chain = np.array(kept)
    return np.interp(x, chain[:, 0], chain[:, 1])


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def panel(row: Mapping) -> dict:
    """The curves of one function; of pooling, along x with the second input in its middle."""
    name, lower, upper = row["function"], row["lower"], row["upper"]
    x = np.unique(np.r_[np.linspace(lower, upper, 801), 0.0 if lower < 0 < upper else lower])
    if name not in POOLS:
        below, above = envelopes(name, x, lower, upper)
        return {"name": name, "x": x, "value": activation(name).value(x), "below": below, "above": above}
    other = (lower + upper) / 4
    pairs = np.c_[x, np.full_like(x, other)]
    low, high = np.array([lower, lower / 2]), np.array([upper, upper / 2])
    below, above = max_envelopes(pairs, low, high) if name == "max pooling" else average_envelopes(pairs)
    value = pairs.max(1) if name == "max pooling" else pairs.mean(1)
    return {"name": name, "x": x, "value": value, "below": below, "above": above,
            "cited": max_bounds_ehlers(pairs, low, high)}  # fmt: skip


def figure_2_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """For each printed function, whether its relaxation is the convex hull of the graph."""
    values = {}
    for row in rows:
        if row["function"] in ("tanh", "relu", "step"):
            values[f"figure-2/{row['function']}"] = Value(int(row["sound"] and row["gap_to_hull"] < 1e-3))
        if row["function"] == "max pooling":
            values["figure-2/max"] = Value(int(row["sound"] and row["area"] < row["area_cited"]))
    return values
