"""Figures 4 and 10: the bound of one output as the first layer's weights move along a gradient."""

from collections.abc import Mapping, Sequence

import numpy as np

from tightrope import figures
from tightrope.propagation.continuity import jumps as find_jumps
from tightrope.propagation.continuity import output_gradient, shifted_lower_bounds
from tightrope.results.jovanovic2022_paradox.common import CERTIFIERS, PAPER, TITLES, broken, label, questions
from tightrope.threads import one_torch_thread
from tightrope.workbench.cases import box_case
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table


def cases(networks: Sequence[str], image: int, epsilon_pixel: float, reach: float, points: int) -> list[dict]:
    """Return one case for each network and relaxation.

    The first layer moves by delta from -`reach` to `reach` along the gradient of the true label's output, scaled so
    that its largest entry is 1; a jump has to show between two of the `points` of a grid in delta.
    """
    options = {"reach": float(reach), "points": points}
    return [
        box_case(network, epsilon_pixel, method, options, first=image, count=1)
        for network in networks
        for method in CERTIFIERS
    ]


def bound_along_shift(case: Mapping) -> dict:
    """Return the lower bound of the true label's output on a grid of shifts, and its jumps."""
    found, x, lower, upper, labels = questions(case)
    reach, points = case["options"]["reach"], case["options"]["points"]
    output = int(labels[0])
    direction = output_gradient(found.network, x[0], output)

    def values(shifts: Sequence[float]) -> np.ndarray:
        with one_torch_thread():
            return shifted_lower_bounds(found.network, lower[0], upper[0], output, direction, shifts, case["method"])

    grid = np.linspace(-reach, reach, points)
    curve = values(grid)
    smallest = 1e-4 * max(1.0, float(np.ptp(curve)))
    jumped = find_jumps(values, -reach, reach, points, smallest)
    return {
        "shifts": grid.round(9).tolist(),
        "values": curve.round(6).tolist(),
        "jumps": [[jump.at, round(jump.before, 6), round(jump.after, 6)] for jump in jumped],
    }


def jumps(rows: Rows) -> Table:
    """Return the jumps of each curve: how many, and the largest; and the highest bound."""
    lines = []
    for row in rows:
        heights = [abs(after - before) for _, before, after in row["jumps"]]
        found = len(heights), round(max(heights, default=0.0), 3), float(np.max(row["values"]))
        lines.append((label(row["network"]), TITLES[row["method"]], *found))
    return Table(
        ("network", "relaxation", "jumps", "largest", "highest bound"), lines, bounds={"highest bound": "lower"}
    )


def draw(rows: Rows) -> figures.Drawing:
    """Draw the curves with their jumps."""
    networks, panels, marks = rows.by("network"), {}, {}
    for (network,), own in networks:
        for row in own:  # one network: a panel and a scale for each relaxation, or no jump would be seen beside Box
            heading = label(network) if len(networks) > 1 else TITLES[row["method"]]
            curve = broken(row["shifts"], row["values"], row["jumps"])
            panels.setdefault(heading, {})[TITLES[row["method"]]] = curve
            marks.setdefault(heading, []).extend(row["jumps"])
    labels = (r"$\delta$", "lower bound of one output")
    return figures.curves(panels, labels, "bounds along a shift of the weights", marks)


def _shifted_bounds(name: str) -> Experiment:
    """Declare Figure 4 or 10."""
    experiment = Experiment(PAPER, name)
    experiment.cases(cases)
    experiment.solve(bound_along_shift)
    experiment.table(jumps)
    experiment.drawing(jumps)(draw)
    return experiment


figure_4 = _shifted_bounds("figure-4-shifted-bias")
figure_10 = _shifted_bounds("figure-10-shifted-bias-mnist")
