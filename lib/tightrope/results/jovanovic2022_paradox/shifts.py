"""Figures 4 and 10: the bound of one output as the first layer's weights move along a gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import figures
from tightrope.propagation.continuity import jumps, output_gradient, shifted_lower_bounds
from tightrope.results.jovanovic2022_paradox.common import CERTIFIERS, PAPER, make_case, questions
from tightrope.results.jovanovic2022_paradox.shapes import broken, named
from tightrope.results.jovanovic2022_paradox.tightness import label
from tightrope.threads import one_torch_thread
from tightrope.workbench.cases import solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import drawn_profile
from tightrope.workbench.tables import Table

FIGURE_4, FIGURE_10 = "figure-4-shifted-bias", "figure-10-shifted-bias-mnist"


@dataclass(frozen=True)
class ShiftedBounds:
    """Lower bounds of one output against a shift of the first layer."""

    rows: tuple[dict, ...]

    @property
    def jumps(self) -> Table:
        """Jumps of each curve: how many, the largest, and whether the relaxation is continuous by theorem."""
        lines = []
        for row in self.rows:
            sizes = [abs(after - before) for _, before, after in row["jumps"]]
            lines.append((label(row["network"]), named(row["method"]), len(sizes), round(max(sizes, default=0.0), 3),
                          round(float(np.max(row["values"])), 3)))  # fmt: skip
        return Table(("network", "relaxation", "jumps", "largest", "highest bound"), tuple(lines))

    def draw(self, name: str) -> figures.Drawing:
        """Draw the curves with their jumps."""
        panels: dict = {}
        for row in self.rows:
            panels.setdefault(label(row["network"]), {})[named(row["method"])] = broken(
                row["shifts"], row["values"], row["jumps"]
            )
        drawing = figures.curves(
            panels, (r"$\delta$", "lower bound of one output"), "bounds along a shift of the weights"
        )
        drawing.save(PAPER, f"{name}.{drawn_profile(self.rows)}", self.jumps)
        return drawing


def shifted_bounds(
    result: str,
    networks: Sequence[str],
    image: int,
    epsilon_pixel: float,
    reach: float,
    points: int = 201,
    methods: Sequence[str] = CERTIFIERS,
    profile: str = "quick",
    store: Store | None = None,
) -> ShiftedBounds:
    """Figures 4 and 10: the first layer's weights move by delta along the gradient of the true label's output.

    Parameters
    ----------
    reach
        delta runs from -reach to reach; the gradient is scaled so that its largest entry is 1.
    points
        Of the grid in delta; a jump has to show between two of them.
    """
    parameters = dict(result=result, networks=networks, image=image, epsilon_pixel=epsilon_pixel, reach=reach,
                      points=points, methods=methods, profile=profile)  # fmt: skip
    return ShiftedBounds(solved(shifted_cases(result)(parameters), shifted_curve, store))


def shifted_cases(result: str):
    """The cases of Figure 4 or 10: one per network and relaxation."""

    @checked()
    def cases(parameters: Mapping) -> list[dict]:
        options = {"reach": float(parameters["reach"]), "points": int(parameters["points"])}
        return [
            make_case(result, parameters["profile"], network, parameters["epsilon_pixel"], method, options,
                      first=int(parameters["image"]), count=1)
            for network in parameters["networks"]
            for method in parameters.get("methods", CERTIFIERS)
        ]  # fmt: skip

    return cases


def shifted_curve(case: Mapping) -> dict:
    """One curve and its jumps."""
    found, x, lower, upper, labels = questions(case)
    reach, points = case["options"]["reach"], case["options"]["points"]
    output = int(labels[0])
    direction = output_gradient(found.network, x[0], output)

    def values(shifts):
        with one_torch_thread():
            return shifted_lower_bounds(found.network, lower[0], upper[0], output, direction, shifts, case["method"])

    grid = np.linspace(-reach, reach, points)
    curve = values(grid)
    smallest = 1e-4 * max(1.0, float(np.ptp(curve)))
    jumped = jumps(values, -reach, reach, points, smallest)
    return {
        "shifts": grid.round(9).tolist(),
        "values": curve.round(6).tolist(),
        "jumps": [[jump.at, round(jump.before, 6), round(jump.after, 6)] for jump in jumped],
    }
