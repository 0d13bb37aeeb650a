"""Figures 4 and 10: the bound of one output as the first layer's weights move along a gradient."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from tightrope import figures
from tightrope.propagation.continuity import ShiftedBound, output_gradient
from tightrope.propagation.continuity import jumps as find_jumps
from tightrope.threads import one_torch_thread
from tightrope.workbench.cases import box_case
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Names, Rows, Value, Values
from .common import CERTIFIERS, OWN, PAPER, TITLES, broken, label, parts, questions, size_here, who_jumps

figure_4 = Experiment(PAPER, "figure-4-shifted-bias")
figure_4.sized(size_here)


@figure_4.cases
def cases(networks: Names, image: int, epsilon_pixel: float, reach: float, points: int) -> Cases:
    """Yield one case for each network and relaxation.

    The first layer moves by delta from -`reach` to `reach` along the gradient of the true label's output, scaled so
    that its largest entry is 1; a jump has to show between two of the `points` of a grid in delta.
    """
    options = {"reach": float(reach), "points": points}
    for network, method in product(networks, CERTIFIERS):
        yield box_case(network, epsilon_pixel, method, options, first=image, count=1)


@figure_4.solve
def bound_along_shift(case: Case) -> dict:
    """Return the lower bound of the true label's output on a grid of shifts, and its jumps."""
    found, x, lower, upper, labels = questions(case)
    reach, points, output = case["options"]["reach"], case["options"]["points"], int(labels[0])
    direction = output_gradient(found.network, x[0], output)
    bound = ShiftedBound(found.network, lower[0], upper[0], output, direction, case["method"])

    def values(shifts: Sequence[float]) -> np.ndarray:
        with one_torch_thread():
            return bound(shifts)

    grid = np.linspace(-reach, reach, points)
    curve = values(grid)
    smallest = 1e-4 * max(1.0, float(np.ptp(curve)))
    jumped = find_jumps(values, -reach, reach, points, smallest)
    return {
        "shifts": grid.round(9).tolist(),
        "values": curve.round(6).tolist(),
        "jumps": [[jump.at, round(jump.before, 6), round(jump.after, 6)] for jump in jumped],
    }


@figure_4.lines("network | relaxation | jumps | largest | highest bound", bounds={"highest bound": "lower"})
def jumps(rows: Rows) -> Lines:
    """Return the jumps of each curve: how many, and the largest; and the highest bound."""
    for row in rows:
        heights = [abs(after - before) for _, before, after in row["jumps"]]
        found = len(heights), round(max(heights, default=0.0), 3), float(np.max(row["values"]))
        yield label(row["network"]), TITLES[row["method"]], *found


@figure_4.drawing(jumps)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the curves with their jumps."""
    networks, panels, marks = rows.by("network"), {}, {}
    for (network,), own in networks:
        for row in own:  # one network: a panel and a scale for each relaxation, or no jump would be seen beside Box
            heading = label(network) if len(networks) > 1 else TITLES[row["method"]]
            curve = broken(row["shifts"], row["values"], row["jumps"])
            panels.setdefault(heading, {})[TITLES[row["method"]]] = curve
            marks.setdefault(heading, []).extend(row["jumps"])
    labels = (r"shift $\delta$ of the weights", "lower bound of one output")
    drawing = figures.curves(panels, labels, "bounds along a shift of the weights", marks, names="ends")
    return drawing.saying(who_jumps(rows))


figure_10 = figure_4.same("figure-10-shifted-bias-mnist")


@figure_4.cells
def jumps_of_one_network(rows: Rows, networks: Names) -> Values:
    """Yield `figure-4/box/jumps` and so on, whether a bound jumps, and how many relaxations jump less than CROWN."""
    found = {row["method"]: len(row["jumps"]) for row in rows.where(network=networks[0])}
    if len(found) < len(CERTIFIERS):
        return
    about = f"on {label(networks[0])}, one image"
    fewer = sum(found[method] < found["crown"] for method in ("hbox", "crown_ibp"))
    yield "figure-4/crown/more-jumps-than", Value(fewer, f"{found['crown']} jumps {about}")
    for method, count in found.items():
        word = method.replace("_", "-")
        yield f"figure-4/{word}/jumps", Value(count, about)
        yield f"figure-4/{word}/discontinuous", Value(int(count > 0), f"{count} jumps {about}")


@figure_10.cells
def jumps_by_training(rows: Rows, networks: Names) -> Values:
    """Yield jumps of continuous relaxations, and what training with a relaxation does to its own bound.

    `figure-10/hbox/fewer-jumps-than` counts the other networks on which hBox jumps more than on the one that it
    trained; `figure-10/own-tightest` is 1 if, of the networks trained by one relaxation, this has the highest bound of
    the five at delta = 0 on more than half.
    """
    if len(rows) < len(networks) * len(CERTIFIERS):
        return
    count = {(row["network"], row["method"]): len(row["jumps"]) for row in rows}
    trained = {OWN[training]: network for network in networks if (training := parts(network)[1]) != "crown-ibp"}
    for method in ("box", "deepz"):
        yield f"figure-10/{method}/jumps", Value(sum(count[n, method] for n in networks), "on one image")
    for method in {"hbox", "crown"} & set(trained):
        own, others = count[trained[method], method], [count[n, method] for n in networks if n != trained[method]]
        note = f"{own} jumps on its own network, {', '.join(map(str, others))} on the others; one image"
        yield f"figure-10/{method}/fewer-jumps-than", Value(sum(own < other for other in others), note)
    best = {n: max(own, key=lambda row: row["values"][len(row["values"]) // 2]) for (n,), own in rows.by("network")}
    tightest = sum(best[network]["method"] == method for method, network in trained.items())
    note = f"on {tightest} of {len(trained)} networks, at delta = 0; one image"
    yield "figure-10/own-tightest", Value(int(2 * tightest > len(trained)), note)
