"""Table 4: images that pairwise Lipschitz constants certify."""

from collections.abc import Mapping

import numpy as np

from tightrope import figures
from tightrope.results.chen2020_lipschitz.common import PAPER, ball_case, network_of
from tightrope.results.chen2020_lipschitz.ratios import EPSILONS, draw_ratios, ratio_table
from tightrope.verifiers.relu_lipschitz import METHODS
from tightrope.workbench.cases import dataset, entry
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.registry import drawn_profile
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table

ratios = Experiment(PAPER, "table-4-ratio", may_be_empty=True)
TABLE_4 = "table-4-certified-ratio-sdp-nn"
#: Centre and radius of the ball of the constants, in pixels: the paper's, and the smallest box that holds all images
#: with a margin of 0.1.
BALLS = {"paper": (0.0, 2.0), "images": (0.5, 0.6)}


@ratios.cases
def cases(rows: Rows, images: int) -> list[dict]:
    """Return one case for each method and ball that has the constants of all pairs; `rows` are those of the pairs.

    Image x of predicted label r is certified at epsilon if F_i - F_r + epsilon L_ir < 0 for all i. The test images are
    the first ones; rightly labelled or not, as in the paper.
    """
    profile = drawn_profile(rows)
    found = []
    for (network, method, ball), own in rows.by("network", "method", "ball"):
        L = pair_matrix(own)
        if np.isfinite(L).all():
            constants = [float(f"{value:.9g}") for value in L[np.triu_indices(len(L), 1)]]
            options = {"images": images, "constants": constants}
            case = ball_case(network, BALLS[ball][1], method, options, None, ball=ball)
            found.append({"profile": profile, **case})
    return found


def pair_matrix(rows: Rows) -> np.ndarray:
    """Return the constants (K, K) of pairs of K labels by one method on one ball: nan where a pair has none."""
    classes = 1 + max(row["part"][1] for row in rows)
    L = np.full((classes, classes), np.nan)
    np.fill_diagonal(L, 0.0)
    for row in rows:
        if row["value"] is not None:
            i, j = row["part"]
            L[i, j] = L[j, i] = row["value"]
    return L


@ratios.solve
def certify_images(case: Mapping) -> dict:
    """Return percent of the images certified at each radius; `correct` counts rightly labelled ones only."""
    network, found = network_of(case["network"]), entry(case["network"])
    data, normalisation, count = dataset(found.dataset), found.normalisation, case["options"]["images"]
    scores = network.logits(normalisation.to_input(data.images[:count]))
    L = np.zeros((network.classes,) * 2)
    L[np.triu_indices(network.classes, 1)] = case["options"]["constants"]
    L += L.T
    predicted = scores.argmax(1)
    margins = scores[np.arange(count), predicted][:, None] - scores
    margins[np.arange(count), predicted] = np.inf
    radii = [normalisation.radius_to_input(epsilon) for epsilon in EPSILONS]
    sure = np.stack([(radius * L[predicted] < margins).all(1) for radius in radii])
    right = predicted == data.labels[:count]
    return {
        "certified": [round(100 * float(row.mean()), 2) for row in sure],
        "correct": [round(100 * float((row & right).mean()), 2) for row in sure],
        "accuracy": round(100 * float(right.mean()), 2),
    }


@ratios.table
def certified(rows: Rows) -> Table:
    """Return percent of the images certified at each radius, beside the printed ones."""
    images = min((row["options"]["images"] for row in rows), default=1)
    return ratio_table(_by_name(rows), images)


def _by_name(rows: Rows) -> dict[str, list[float]]:
    return {f"{METHODS[row['method']].title}, {row['ball']} ball": row["certified"] for row in rows}


@ratios.drawing(certified)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the ratios."""
    return draw_ratios(_by_name(rows), TABLE_4, title="certified images")
