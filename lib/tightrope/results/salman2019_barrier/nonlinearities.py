"""Figure 2: the optimal convex relaxation of activations and of pooling, with what a sample says of it.

Beside it theorems 4.1 and 4.2, which are about these relaxations in a whole network, in numbers.
"""

import numpy as np

from tightrope import figures
from tightrope.networks import FeedForward, MaxPool, ReLU
from tightrope.networks.activations import named
from tightrope.outward import at_most
from tightrope.regions import Ball
from tightrope.relaxations.envelopes import envelopes, max_bounds_ehlers, pool_of
from tightrope.verifiers.barrier import barrier
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Row, Rows, Table, Value, Values
from .common import PAPER

figure_2 = Experiment(PAPER, "figure-2-nonlinearities")
POOLS = ("max pooling", "average pooling")
FUNCTIONS = ("relu", "elu", "sigmoid", "tanh", "arctan", "step", *POOLS)


@figure_2.cases
def cases(lower: float, upper: float) -> Cases:
    """Return one case for each function on [lower, upper], the bounds of the preactivation.

    Pooling takes x in [lower, upper] and a second input in [lower / 2, upper / 2]; the picture shows its middle.
    """
    return [{"function": name, "lower": float(lower), "upper": float(upper)} for name in FUNCTIONS]


@figure_2.solve
def check_envelopes(case: Case) -> dict:
    """Sample one function: whether a point lies outside, and how far the envelopes are from the sample's own hull."""
    curves = curves_of(case)
    x, z, below, above = (curves[name] for name in ("x", "value", "below", "above"))
    sound = bool((below <= z + 1e-12).all() and (z <= above + 1e-12).all())
    gap = 0.0
    if case["function"] not in POOLS:
        points = np.c_[x, z]
        if case["function"] == "step":
            points = np.r_[points, [[0.0, 1.0]]]
        gap = max(np.abs(_hull(points, x, 1) - above).max(), np.abs(_hull(points, x, -1) - below).max())
    area = float(np.trapezoid(above - below, x))
    cited = float(np.trapezoid(curves["cited"] - below, x)) if case["function"] == "max pooling" else None
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


def curves_of(row: Row) -> dict:
    """Return the curves of one function; of pooling, along x with the second input in its middle."""
    name, lower, upper = row["function"], row["lower"], row["upper"]
    x = np.unique(np.r_[np.linspace(lower, upper, 801), 0.0 if lower < 0 < upper else lower])
    if name not in POOLS:
        one = named(name)
        below, above = envelopes(one, x, lower, upper)
        return {"name": name, "x": x, "value": one.value(x), "below": below, "above": above}
    other = (lower + upper) / 4
    pairs = np.c_[x, np.full_like(x, other)]
    low, high = np.array([lower, lower / 2]), np.array([upper, upper / 2])
    value = pairs.max(1) if name == "max pooling" else pairs.mean(1)
    below = above = value  # an average is linear
    if name == "max pooling":
        below, above = (side[:, 0] for side in envelopes(pool_of(2), pairs, low, high))
    cited = max_bounds_ehlers(pairs, low, high)
    return {"name": name, "x": x, "value": value, "below": below, "above": above, "cited": cited}


@figure_2.lines("function | l | u | no sample outside | distance from the hull | area | area of eq. (5)")
def checks(rows: Rows) -> Lines:
    """Return soundness and tightness at sampled points."""
    for row in rows:
        cited = None if row["area_cited"] is None else round(row["area_cited"], 4)
        own = round(row["gap_to_hull"], 5), round(row["area"], 4)
        yield row["function"], row["lower"], row["upper"], row["sound"], *own, cited


def theorems(seed: int = 0) -> Table:
    """Return both ends of the chain of theorems 4.1 and 4.2 for one margin of a random network of each nonlinearity.

    The networks have 4 inputs, two layers of 6 neurons (of 12 and 6 below max pooling) and 3 outputs; the box has the
    radius 0.3 around a random point. See :mod:`tightrope.verifiers.barrier`.
    """
    lines = []
    for name in ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "arctan", "step", "max_pool"):
        rng = np.random.default_rng(seed)
        pool = name == "max_pool"
        sizes = [(12 if pool else 6, 4), (6, 6), (3, 6)]
        weights = [rng.standard_normal(shape) / shape[1] ** 0.5 for shape in sizes]
        biases = [rng.standard_normal(shape[0]) for shape in sizes]
        between = (MaxPool((1, 1, 12), (1, 2), (1, 2)), ReLU()) if pool else (named(name),) * 2
        network = FeedForward.dense(weights, biases, name, between)
        region = Ball(rng.standard_normal(4), 0.3, np.inf)
        label = int(network.predict(region.center))
        found = barrier(network, region, label, (label + 1) % 3)
        lines.append((name, found.primal, found.problem_dual, found.relaxation_dual, found.gap < 1e-4))
    head = ("nonlinearity", "feasible point of (C)", "dual (11) of (O)", "dual (9) of (C)", "equal up to 0.0001")
    sides = ("lower", "upper", "upper")
    return Table(head, lines, dict.fromkeys(head[1:4], 1e-3), dict(zip(head[1:4], sides, strict=True)))


@figure_2.drawing(checks)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the hulls."""
    sound, far = sum(row["sound"] for row in rows), max(row["gap_to_hull"] for row in rows)
    drawing = figures.envelope_panels([curves_of(row) for row in rows], title="optimal convex relaxations")
    said = f"{sound} of {len(rows)} relaxations hold every sample"
    return drawing.saying(f"{said}, none is further than {at_most(far, 1)} from the convex hull")


@figure_2.cells
def cells(rows: Rows) -> Values:
    """Yield for each printed function whether its relaxation is the convex hull of the graph."""
    for row in rows:
        if row["function"] in ("tanh", "relu", "step"):
            yield f"figure-2/{row['function']}", Value(int(row["sound"] and row["gap_to_hull"] < 1e-3))
        if row["function"] == "max pooling":
            yield "figure-2/max", Value(int(row["sound"] and row["area"] < row["area_cited"]))
