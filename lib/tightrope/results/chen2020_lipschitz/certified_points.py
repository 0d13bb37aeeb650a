"""Table 3: random points that a local Lipschitz constant certifies, for a binary classifier of two spheres."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from tightrope import figures
from tightrope.errors import InputError
from tightrope.results.chen2020_lipschitz.common import PAPER, ball_case, bound_constant, network_of, shown
from tightrope.results.chen2020_lipschitz.ratios import EPSILONS, draw_ratios, ratio_table
from tightrope.verifiers.relu_lipschitz import METHODS
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.registry import Value
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table

table_3 = Experiment(PAPER, "table-3-certified-ratio-random")
USED = ("product-shor", "hr-2-products", "hr-2-signs", "shor", "lipopt-3", "ascent")
PRINTED = {"hr-2-signs": "hr-2", "lipopt-3": "lipopt-3"}
SAMPLES = 50_000  # of which ascent starts from the best
AT_ONCE = 50_000  # points in memory


@table_3.cases
def cases(network: str, points: int, radius: float, box: float, time_limit: float, seed: int) -> list[dict]:
    """Return one case for each method: its constant on the ball of `radius` around 0, and the points.

    These are drawn from the box |x| <= `box`. One is certified at epsilon if |F(x)| > epsilon L, which is true if
    radius - box >= epsilon.
    """
    if radius - box < EPSILONS[-1] - 1e-9:
        raise InputError(f"box: {box} leaves less than {EPSILONS[-1]} inside radius {radius}.")
    drawn = {"points": points, "box": box, "seed": seed}
    options = {method: {"samples": SAMPLES} if method == "ascent" else {"time_limit": time_limit} for method in USED}
    return [ball_case(network, radius, method, options[method], points=drawn) for method in USED]


@table_3.solve
def certify_points(case: Mapping) -> dict:
    """Bound the constant, and return percent of points that it certifies at each radius (upper bounds only)."""
    outcome = bound_constant(case)
    if outcome["value"] is None or case["method"] == "ascent":
        return outcome | {"certified": None}
    size = output_sizes(case["network"], **case["points"])
    shares = [float(np.mean(size > epsilon * outcome["value"])) for epsilon in EPSILONS]
    return outcome | {"certified": [round(100 * share, 3) for share in shares]}


@cache
def output_sizes(network: str, points: int, box: float, seed: int) -> np.ndarray:
    """Return |F| (points,) at points drawn uniformly from the box."""
    rng, classifier = np.random.default_rng(seed), network_of(network)
    parts = []
    for start in range(0, points, AT_ONCE):
        x = rng.uniform(-box, box, (min(AT_ONCE, points - start), classifier.input_size))
        parts.append(np.abs(classifier.logits(x)[:, 0]))
    return np.concatenate(parts)


@table_3.table
def bounds(rows: Rows) -> Table:
    """Return the constant on the ball by every method."""
    lines = [(METHODS[row["method"]].title, shown(row)) for row in rows]
    return Table(("method", "constant"), lines, tolerance={"constant": 0.02})  # proven to 1e-4 relative


@table_3.table
def ratios(rows: Rows) -> Table:
    """Return percent of points certified at each radius, beside the printed ones."""
    return ratio_table(_by_name(rows), table_3.name, rows[0]["points"]["points"])


def _by_name(rows: Rows) -> dict[str, list[float]]:
    return {METHODS[row["method"]].title: row["certified"] for row in rows if row["certified"]}


@table_3.drawing(ratios)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the ratios."""
    return draw_ratios(_by_name(rows), table_3.name, title="certified points")


@table_3.cells
def cells(rows: Rows) -> dict[str, Value]:
    """Return our ratios for the printed ones: of another network, trained as the paper says."""
    values = {}
    for row in rows:
        if row["method"] in PRINTED and row["certified"]:
            note = f"constant {row['value']:.4g}; the paper's network is unknown"
            for epsilon, percent in zip(EPSILONS, row["certified"], strict=True):
                values[f"table-3/{PRINTED[row['method']]}/{epsilon:g}"] = Value(round(percent, 2), note)
    return values
