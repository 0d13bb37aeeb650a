"""Figure 8 and Appendix A: every bound of the worked example."""

from itertools import product

import numpy as np

from tightrope.networks import FeedForward
from tightrope.training.programs import PROGRAMS
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Rows, Value, Values
from .common import PAPER, TITLES
from .discontinuity import bounds_by

figure_8 = Experiment(PAPER, "figure-8-toy-network")
#: Bounds of Appendix A, by layer: (lower, upper) of both neurons.
PRINTED = {1: ((-2, -2), (2, 2)), 2: ((-1, -1), (1, 1)), 3: ((-1, -2), (3, 2))}
#: Of both layers.
WEIGHT = np.array([[1.0, 1.0], [1.0, -1.0]])


@figure_8.cases
def cases() -> Cases:
    """Return DeepZ layer by layer; the others for the outputs."""
    others = ("box", "hbox", "crown_ibp", "crown", *PROGRAMS)
    steps = [*(("deepz", layer) for layer in PRINTED), *((method, 3) for method in others)]
    return [{"method": method, "layer": layer} for method, layer in steps]


@figure_8.solve
def bounds_of_layer(case: Case) -> dict:
    """Return bounds of one layer, as a network's output; layer 2 is the ReLU: the identity is put after it."""
    weights = {1: [WEIGHT], 2: [WEIGHT, np.eye(2)], 3: [WEIGHT, WEIGHT]}[case["layer"]]
    network = FeedForward.dense(weights, [np.zeros(2)] * len(weights))
    ends = bounds_by(case["method"])(network, -np.ones(2), np.ones(2), case["method"])
    lower, upper = ((np.ravel(side).round(9) + 0.0).tolist() for side in ends)
    return {"lower": lower, "upper": upper}


@figure_8.lines("relaxation | neuron | l | u | printed l | printed u", bounds={"l": "lower", "u": "upper"})
def bounds(rows: Rows) -> Lines:
    """Return DeepZ's bounds of each neuron beside the printed ones, and those of the other relaxations at the end."""
    for row in rows:
        printed = PRINTED[row["layer"]] if row["method"] == "deepz" else ((None,) * 2,) * 2
        for j in range(2):
            ends = row["lower"][j], row["upper"][j], printed[0][j], printed[1][j]
            yield TITLES[row["method"]], f"x_{row['layer']}{j + 1}", *ends


@figure_8.cells
def cells(rows: Rows) -> Values:
    """Yield DeepZ's bounds: `figure-8/l-11` and so on."""
    for row, side, j in product(rows.where(method="deepz"), ("lower", "upper"), range(2)):
        yield f"figure-8/{side[0]}-{row['layer']}{j + 1}", Value(row[side][j])
