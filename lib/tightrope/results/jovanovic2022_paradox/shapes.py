"""Figures 1, 3 and 8: regions of one ReLU, the minimal example of a discontinuity, the worked example."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import figures
from tightrope.errors import CertificateError, InputError
from tightrope.networks import FeedForward
from tightrope.propagation.certify import box_bounds
from tightrope.propagation.continuity import jumps
from tightrope.relaxations.triangle import area
from tightrope.results.jovanovic2022_paradox.common import PAPER, plain_case, title
from tightrope.verifiers.triangle import output_bounds
from tightrope.workbench.cases import solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

FIGURE_1 = "figure-1-relu-relaxations"
FIGURE_3 = "figure-3-discontinuity"
FIGURE_8 = "figure-8-toy-network"
SHAPES = ("box", "hbox", "deepz", "crown", "crown_0", "triangle", "parallelogram")
PROGRAMS = {"triangle": "Triangle", "parallelogram": "Parallelogram"}


def named(method: str) -> str:
    """A relaxation as the paper writes it, Triangle and Parallelogram among them."""
    return PROGRAMS.get(method) or title(method)


# ------------------------------------------------------------------------------------------------- Figure 1


def corners(method: str, lower: float, upper: float) -> list[tuple[float, float]]:
    """Corners (h, z) of a relaxation's region over l <= h <= u, l < 0 < u, in order around it."""
    slope = upper / (upper - lower)
    chord = [(upper, upper), (lower, 0.0)]
    if method in ("box", "hbox"):
        return [(lower, 0.0), (upper, 0.0), (upper, upper), (lower, upper)]
    if method == "deepz":
        return [(lower, slope * lower), (upper, slope * upper), *chord]
    if method in ("crown", "crown_ibp", "crown_0"):
        flat = method == "crown_0" or -lower >= upper
        return [(lower, 0.0), (upper, 0.0), (upper, upper)] if flat else [(lower, lower), *chord]
    if method == "parallelogram":
        return [(lower, 0.0), (0.0, 0.0), (upper, upper), (upper + lower, upper)]
    return [(lower, 0.0), (0.0, 0.0), (upper, upper)]


@dataclass(frozen=True)
class Figure1:
    """Regions of an unstable ReLU."""

    rows: tuple[dict, ...]

    @property
    def areas(self) -> Table:
        """Area of each region, relative to Triangle's, the convex hull."""
        hull = next(row["area"] for row in self.rows if row["method"] == "triangle")
        lines = [
            (named(r["method"]), round(r["area"], 4), round(r["area"] / hull, 3), r["parallel"]) for r in self.rows
        ]
        return Table(("relaxation", "area", "of Triangle's", "lines"), tuple(lines))

    def draw(self) -> figures.Drawing:
        """Draw the regions."""
        row = self.rows[0]
        panels = [(named(r["method"]), corners(r["method"], r["lower"], r["upper"])) for r in self.rows]
        drawing = figures.relu_regions(panels, row["lower"], row["upper"], "regions of an unstable ReLU")
        drawing.save(PAPER, f"{FIGURE_1}.{drawn_profile(self.rows)}", self.areas)
        return drawing


def figure_1(lower: float = -1.0, upper: float = 1.5, profile: str = "quick", store: Store | None = None) -> Figure1:
    """Figure 1 (and 7 a, b): the region of each relaxation for bounds l < 0 < u."""
    return Figure1(solved(figure_1_cases(dict(lower=lower, upper=upper, profile=profile)), shape, store))


@checked()
def figure_1_cases(parameters: Mapping) -> list[dict]:
    """One case per relaxation."""
    ends = {name: float(parameters[name]) for name in ("lower", "upper")}
    if not ends["lower"] < 0 < ends["upper"]:
        raise InputError(
            f"lower, upper: an unstable ReLU has lower < 0 < upper, got {ends['lower']:g}, {ends['upper']:g}."
        )
    return [plain_case(FIGURE_1, parameters["profile"], method=method, **ends) for method in SHAPES]


def shape(case: Mapping) -> dict:
    """The area, also by the polygon's corners (shoelace formula)."""
    method, lower, upper = case["method"], case["lower"], case["upper"]
    h, z = np.array(corners(method, lower, upper)).T
    polygon = abs(np.dot(h, np.roll(z, -1)) - np.dot(z, np.roll(h, -1))) / 2
    exact = area(method, lower, upper)
    if abs(polygon - exact) > 1e-9:
        raise CertificateError(f"{method}: area {exact} by formula, {polygon} by corners")
    words = {"deepz": "parallel", "box": "parallel, no slope", "hbox": "parallel, no slope", "crown": "adaptive",
             "crown_0": "0 below", "triangle": "three sides", "parallelogram": "four sides"}  # fmt: skip
    return {"area": exact, "parallel": words[method]}


# ------------------------------------------------------------------------------------------------- Figure 3


def minimal_example(w: float) -> FeedForward:
    """x_1 = x_0 + w twice, ReLU, outputs x_22 + 1 and x_22 - x_21 (Section 4.1); x_0 in [-1, 1]."""
    return FeedForward.dense(([[1.0], [1.0]], [[0.0, 1.0], [-1.0, 1.0]]), ([w, w], [1.0, 0.0]))


def minimal_lower(method: str, output: int, w: float) -> float:
    """Lower bound of one output of the minimal example."""
    network, ends = minimal_example(float(w)), (np.array([-1.0]), np.array([1.0]))
    if method in PROGRAMS:
        return float(output_bounds(network, *ends, method)[0][output])
    return float(box_bounds(network, *ends, method)[0][0, output])


#: Relaxation -> w at which its bounds may jump on the minimal example, and why; the others are continuous.
THEORY = {
    "crown": (0.0, "-l = u, w = 0"),
    "crown_ibp": (0.0, "-l = u, w = 0"),
    "hbox": (1.0, "l = 0, w = 1"),
}


@dataclass(frozen=True)
class Figure3:
    """Lower bounds of the minimal example against w, with the jumps that were found."""

    rows: tuple[dict, ...]

    @property
    def jumps(self) -> Table:
        """Where each relaxation jumps, by how much, and what holds there."""
        lines = []
        for row in self.rows:
            if not row["jumps"]:
                lines.append((named(row["method"]), f"l_3{row['output'] + 1}", None, None, None, "continuous"))
            for at, before, after in row["jumps"]:
                why = (
                    "-l = u"
                    if abs(at) < 1e-6
                    else "l = 0"
                    if abs(at - 1) < 1e-6
                    else "u = 0"
                    if abs(at + 1) < 1e-6
                    else ""
                )
                lines.append((named(row["method"]), f"l_3{row['output'] + 1}", round(at, 6) + 0.0, round(before, 4),
                              round(after, 4), why))  # fmt: skip
        return Table(("relaxation", "bound", "w", "before", "after", "where"), tuple(lines))

    @property
    def places(self) -> Table:
        """Each relaxation: its jumps, how many of them are where the theory has one, and where that is.

        On this network l = w - 1 and u = w + 1, so -l = u at w = 0 and l = 0 at w = 1.
        """
        lines = []
        for method in dict.fromkeys(row["method"] for row in self.rows):
            found = [at for row in self.rows if row["method"] == method for at, _, _ in row["jumps"]]
            place, words = THEORY.get(method, (None, "nowhere"))
            there = sum(place is not None and abs(at - place) < 1e-6 for at in found)
            lines.append((named(method), words, len(found), there, len(found) - there))
        return Table(("relaxation", "theory", "jumps found", "of them there", "elsewhere"), tuple(lines))

    def draw(self) -> figures.Drawing:
        """Draw the bounds."""
        panels: dict = {}
        marks: dict = {}
        for row in self.rows:
            heading = f"lower bound of $x_{{3,{row['output'] + 1}}}$"
            panels.setdefault(heading, {})[named(row["method"])] = broken(row["w"], row["values"], row["jumps"])
            marks.setdefault(heading, []).extend(row["jumps"])
        drawing = figures.curves(panels, ("$w$", "lower bound"), "lower bounds of the minimal example", marks)
        drawing.save(PAPER, f"{FIGURE_3}.{drawn_profile(self.rows)}", self.jumps)
        return drawing


def figure_3(points: int = 121, profile: str = "quick", store: Store | None = None) -> Figure3:
    """Figure 3: lower bounds of both outputs for w in [-1.5, 1.5], and their jumps."""
    return Figure3(solved(figure_3_cases(dict(points=points, profile=profile)), minimal_curve, store))


@checked()
def figure_3_cases(parameters: Mapping) -> list[dict]:
    """One case per relaxation and output."""
    methods = ("box", "hbox", "crown_ibp", "deepz", "crown", *PROGRAMS)
    return [
        plain_case(FIGURE_3, parameters["profile"], method=method, output=output, points=int(parameters["points"]))
        for output in (0, 1)
        for method in methods
    ]


def broken(x: Sequence[float], y: Sequence[float], jumps: Sequence[Sequence[float]]) -> tuple[list, list]:
    """A curve with both values and a gap at each jump (at, before, after)."""
    points = sorted([*zip(x, y, strict=True), *((at, None) for at, _, _ in jumps)], key=lambda point: point[0])
    ends = {at: (before, after) for at, before, after in jumps}
    found = [q for a, b in points for q in ([(a, b)] if b is not None else
             [(a, ends[a][0]), (a, float("nan")), (a, ends[a][1])])]  # fmt: skip
    return [a for a, _ in found], [b for _, b in found]


def minimal_curve(case: Mapping) -> dict:
    """Values on a grid and jumps of one curve."""
    method, output = case["method"], case["output"]

    def values(shifts):
        return np.array([minimal_lower(method, output, w) for w in shifts])

    grid = np.linspace(-1.5, 1.5, case["points"])
    found = jumps(values, -1.5, 1.5, case["points"])
    return {
        "w": grid.round(6).tolist(),
        "values": values(grid).round(9).tolist(),
        "jumps": [[jump.at, jump.before, jump.after] for jump in found],
    }


def figure_3_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Where CROWN and hBox jump, and from what to what; how many jumps the continuous ones have."""
    values = {}
    for row in rows:
        prefix = f"figure-3/{row['method'].replace('_', '-')}/output-{row['output'] + 1}"
        values[f"{prefix}/jumps"] = Value(len(row["jumps"]))
        if len(row["jumps"]) == 1:
            for name, number in zip(("at", "before", "after"), row["jumps"][0], strict=True):
                values[f"{prefix}/{name}"] = Value(round(number, 6) + 0.0)
    return values


# ------------------------------------------------------------------------------------------------- Figure 8


def toy_network() -> FeedForward:
    """Figure 8."""
    both = np.array([[1.0, 1.0], [1.0, -1.0]])
    return FeedForward.dense((both, both), (np.zeros(2), np.zeros(2)))


#: Bounds of Appendix A, by layer: (lower, upper) of both neurons.
PRINTED = {1: ((-2, -2), (2, 2)), 2: ((-1, -1), (1, 1)), 3: ((-1, -2), (3, 2))}


@dataclass(frozen=True)
class Figure8:
    """Bounds of the worked example."""

    rows: tuple[dict, ...]

    @property
    def bounds(self) -> Table:
        """DeepZ's bounds of each neuron beside the printed ones, and those of the other relaxations at the end."""
        lines = []
        for row in self.rows:
            printed = PRINTED[row["layer"]] if row["method"] == "deepz" else ((None,) * 2,) * 2
            for j in range(2):
                lines.append((named(row["method"]), f"x_{row['layer']}{j + 1}", row["lower"][j], row["upper"][j],
                              printed[0][j], printed[1][j]))  # fmt: skip
        return Table(("relaxation", "neuron", "l", "u", "printed l", "printed u"), tuple(lines))


def figure_8(profile: str = "quick", store: Store | None = None) -> Figure8:
    """Figure 8 and Appendix A: every bound of the worked example."""
    return Figure8(solved(figure_8_cases(dict(profile=profile)), toy_bounds, store))


@checked()
def figure_8_cases(parameters: Mapping) -> list[dict]:
    """DeepZ layer by layer; the others for the outputs."""
    steps = [
        ("deepz", 1),
        ("deepz", 2),
        ("deepz", 3),
        *((m, 3) for m in ("box", "hbox", "crown_ibp", "crown", *PROGRAMS)),
    ]
    return [plain_case(FIGURE_8, parameters["profile"], method=method, layer=layer) for method, layer in steps]


def toy_bounds(case: Mapping) -> dict:
    """Bounds of one layer; layer 2 is the ReLU, whose bounds are those of its lines over the inputs."""
    ends, network = (-np.ones(2), np.ones(2)), toy_network()
    if case["layer"] < 3:
        # The layer as a network's output: the identity after the ReLU for layer 2.
        kept = network.weights[:1] if case["layer"] == 1 else (network.weights[0], np.eye(2))
        network = FeedForward.dense(kept, [np.zeros(2)] * len(kept))
    find: Callable = output_bounds if case["method"] in PROGRAMS else box_bounds
    lower, upper = (np.asarray(side).reshape(-1).round(9) + 0.0 for side in find(network, *ends, case["method"]))
    return {"lower": lower.tolist(), "upper": upper.tolist()}


def figure_8_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """DeepZ's bounds: `figure-8/l-11` and so on."""
    return {
        f"figure-8/{side[0]}-{row['layer']}{j + 1}": Value(row[side][j])
        for row in rows
        if row["method"] == "deepz"
        for side in ("lower", "upper")
        for j in range(2)
    }
