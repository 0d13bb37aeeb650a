"""The column Lipschitz Model of Table 2: images certified by global Lipschitz constants, without any solve per image.

A global constant holds on the ball and on its part in the pixel range alike, so there is one count for both sets.
"""

from collections.abc import Sequence

import numpy as np

from tightrope.verifiers import lipschitz
from tightrope.workbench.cases import ball_case, dataset, first_images
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Radii, Rows, Value, Values
from tightrope.workbench.rows import percent
from .common import PAPER, ball_name, balls, by_ball, mondeq, norm_text
from .lipschitz_bounds import NORMS, global_constants

table_2_lipschitz = Experiment(PAPER, "table-2-lipschitz")


@table_2_lipschitz.cases
def cases(network: str, images: int, epsilons_l2: Radii, epsilons_linf: Radii) -> Cases:
    """Yield one case for each norm and radius."""
    count = len(first_images(network, images))
    for ball in balls(epsilons_l2, epsilons_linf, [False]):
        yield ball_case(network, *ball, "global-constants", {"seed": 0}, images=count)


@table_2_lipschitz.solve_here
def certify_by_constants(case: Case) -> dict:
    """Count the images that the constants of Table 3 certify."""
    return certified_counts(case, global_constants(profile=case["profile"], network=case["network"]).rows)


def certified_counts(case: Case, constants: Rows) -> dict:
    """Return how many images are certified by three criteria.

    `printed_criterion` is 2 radius L < tau with the proven constant, `pairwise` radius L_yk < F_y - F_k for every k,
    `product` the first criterion with the closed form of Pabbaraju, Winston and Kolter.
    """
    network, data, images = mondeq(case["network"]), dataset(case["dataset"]), case["images"]
    x, labels = data.normalisation.to_input(data.images[:images]), data.labels[:images]
    radius = data.normalisation.radius_to_input(case["epsilon_pixel"])
    value = {row["method"]: row["value"] for row in constants.where(norm=case["norm"])}
    pairs = pair_matrix(constants.one(norm=case["norm"], method="pairwise")["parts"], network.classes)
    certified = {
        "printed_criterion": lipschitz.certified(network, x, labels, radius, value["lipschitz-model"]),
        "pairwise": lipschitz.certified_pairwise(network, x, labels, radius, pairs),
        "product": lipschitz.certified(network, x, labels, radius, value["product-bound"]),
    }
    return {criterion: int(holds.sum()) for criterion, holds in certified.items()}


def pair_matrix(upper: Sequence[float], classes: int) -> np.ndarray:
    """Return (K, K) pairwise constants from the upper triangle, row by row."""
    values = np.zeros((classes, classes))
    values[np.triu_indices(classes, 1)] = upper
    return values + values.T


@table_2_lipschitz.lines("norm | epsilon | images | Lipschitz Model % | pairwise % | closed form %")
def ratios(rows: Rows) -> Lines:
    """Return percent certified by each constant."""
    for (norm, epsilon, _, images), (row,) in by_ball(rows, "images"):
        shares = (percent(row[name], images) for name in ("printed_criterion", "pairwise", "product"))
        yield norm_text(norm), epsilon, images, *shares


def cells(rows: Rows, constants: Rows) -> Values:
    """Yield our numbers for the printed cells of the column, from its rows and those of Table 3."""
    for row in rows:
        name = f"table-2/{ball_name(row['norm'], row['epsilon_pixel'])}/lipschitz"
        pairwise = percent(row["pairwise"], row["images"])
        note = f"proven constant, printed criterion; {pairwise} with pairwise constants"
        yield name, Value(percent(row["printed_criterion"], row["images"]), note)
        yield f"{name}-product-bound", Value(percent(row["product"], row["images"]))
    seconds = [row["seconds"] for row in constants.where(method="lipschitz-model") if row["norm"] in NORMS]
    if rows and len(seconds) == len(NORMS):
        yield "table-2/seconds/lipschitz-total", Value(sum(seconds), "both norms; once for all images")
