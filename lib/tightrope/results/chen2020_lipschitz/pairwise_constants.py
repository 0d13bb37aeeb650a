"""Table 4: Lipschitz constants of the differences of all pairs of labels, of which its ratios are made."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from tightrope import figures
from tightrope.errors import InputError
from tightrope.results.chen2020_lipschitz.certified_images import BALLS, TABLE_4, pair_matrix, ratios
from tightrope.results.chen2020_lipschitz.common import PAPER, ball_case, bound_constant, network_of
from tightrope.results.chen2020_lipschitz.ratios import EPSILONS
from tightrope.verifiers.relu_lipschitz import METHODS
from tightrope.workbench.cases import dataset, entry, image_count
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.registry import Value
from tightrope.workbench.rows import Rows, counted
from tightrope.workbench.tables import Table

table_4 = Experiment(PAPER, TABLE_4)
table_4.solve(bound_constant)


@table_4.cases
def cases(network: str, images: int, methods: Sequence[str], balls: Sequence[str], time_limit: float) -> list[dict]:
    """Return one case for each method ("qcqp" gives grad-cert), ball and pair of labels.

    `images` is what the ratios will be of: a number that the data set does not have is refused before any constant.
    """
    found = entry(network)
    image_count(images, dataset(found.dataset))
    chosen = []
    for method in methods:
        for ball in balls:
            if ball not in BALLS:
                raise InputError(f"balls: unknown ball {ball!r}; write {' or '.join(BALLS)}.")
            center, radius = BALLS[ball]
            options = {"center": float(found.normalisation.to_input(center)), "time_limit": time_limit}
            reach = found.normalisation.radius_to_input(radius)
            pairs = combinations(range(network_of(network).classes), 2)
            chosen += [ball_case(network, reach, method, options, list(pair), ball=ball) for pair in pairs]
    return chosen


@table_4.sized
def pairs_and_images(rows: Rows) -> str:
    """Return how many pairs of labels have constants, and how many images these are used for."""
    images = [row["options"]["images"] for row in ratios.kept(rows[0]["profile"])]
    return ", ".join([counted([len(rows.different("part"))], "pair"), *([counted(images, "image")] if images else [])])


@table_4.table
def progress(rows: Rows) -> Table:
    """Return how many of the pairs each method has solved, and the largest constant."""
    lines = []
    for (method, ball), own in rows.by("method", "ball"):
        known = own.column("value")
        lines.append((METHODS[method].title, ball, f"{len(known)} of {len(own)}", max(known, default=None)))
    return Table(("constants by", "ball", "pairs", "largest"), lines, {"largest": 0.01}, {"largest": "upper"})


@table_4.table
def matrix(rows: Rows, method: str, ball: str) -> Table:
    """Return the matrix L of the paper's appendix: constants of F_i - F_j, blank where a pair has none."""
    own = rows.where(method=method, ball=ball)
    if not own:
        raise InputError(f"method, ball: no constants by {method!r} on {ball!r}; give a method and a ball of the rows.")
    L = pair_matrix(own)
    unknown = np.isnan(L) | np.eye(len(L), dtype=bool)
    lines = [(i, *(None if unknown[i, j] else float(L[i, j]) for j in range(len(L)))) for i in range(len(L))]
    labels = [str(i) for i in range(len(L))]
    return Table(("L", *labels), lines, 0.01, dict.fromkeys(labels, "upper"))  # proven to 1e-4 relative


@table_4.table
def verdicts(rows: Rows) -> Table:
    """Return every pair with its constant and its verdict."""
    lines = [(METHODS[row["method"]].title, row["ball"], *row["part"], row["value"], row["verdict"]) for row in rows]
    return Table(("constants by", "ball", "i", "j", "L", "verdict"), lines, bounds={"L": "upper"})


@table_4.drawing(verdicts)
def draw_constants(rows: Rows) -> figures.Drawing:
    """Draw the matrices L; a pair without a constant is white."""
    matrices = {
        f"{METHODS[method].title}, {ball} ball": pair_matrix(own) for (method, ball), own in rows.by("method", "ball")
    }
    return figures.pair_matrices(matrices, title="constants of pairs of labels")


@table_4.cells
def cells(rows: Rows, profile: str, network: str, images: int) -> dict[str, Value]:
    """Return our ratios for the printed ones, from the rows that keep them."""
    kept = ratios.kept(profile, network=network)
    known = {(row["method"], row["ball"]): row for row in kept if row["options"]["images"] == images}
    plain = known.get(("qcqp", "paper"))
    best = known.get(("product-shor", "paper"), plain)
    values = {}
    if best is not None:
        for epsilon, percent in zip(EPSILONS, best["certified"], strict=True):
            note = f"constants by {METHODS[best['method']].title}"
            values[f"table-4/hr-2/{epsilon:g}"] = Value(percent, note)
    if plain is not None:
        values["table-4/grad-cert/0.1"] = Value(plain["certified"][-1], "the same network: SDP-NN")
    return values
