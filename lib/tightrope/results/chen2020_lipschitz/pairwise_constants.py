"""Table 4: Lipschitz constants of the differences of all pairs of labels, and images that they certify."""

from itertools import combinations, product

import numpy as np

from tightrope import figures
from tightrope.errors import InputError
from tightrope.outward import at_most
from tightrope.verifiers.relu_lipschitz import CERTIFIED, METHODS
from tightrope.workbench.cases import dataset, entry, first_images
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Names, Rows, Table, Value, Values
from tightrope.workbench.registry import drawn_profile
from tightrope.workbench.rows import counted
from .common import EPSILONS, PAPER, PROVEN, ball_case, bound_constant, draw_ratios, network_of, ratio_table

table_4 = Experiment(PAPER, "table-4-certified-ratio-sdp-nn")
table_4.solve(bound_constant)
#: Made of the constants: images certified.
ratios = Experiment(PAPER, "table-4-ratio", may_be_empty=True)
#: Centre and radius of the ball of the constants, in pixels: the paper's, and the smallest box that holds all images
#: with a margin of 0.1.
BALLS = {"paper": (0.0, 2.0), "images": (0.5, 0.6)}


@table_4.cases
def cases(network: str, images: int, methods: Names, balls: Names, time_limit: float) -> Cases:
    """Yield one case for each method ("qcqp" gives grad-cert), ball and pair of labels.

    `images` is what the ratios will be of: a number that the data set does not have is refused before any constant.
    """
    first_images(network, images)
    normalisation = entry(network).normalisation
    for method, ball in product(methods, balls):
        if ball not in BALLS:
            raise InputError(f"balls: unknown ball {ball!r}; write {' or '.join(BALLS)}.")
        center, radius = BALLS[ball]
        options = {"center": float(normalisation.to_input(center)), "time_limit": time_limit}
        for pair in combinations(range(network_of(network).classes), 2):
            yield ball_case(network, normalisation.radius_to_input(radius), method, options, list(pair), ball=ball)


@ratios.cases
def ratio_cases(rows: Rows, images: int) -> Cases:
    """Yield one case for each method and ball that has the constants of all pairs; `rows` are those of the pairs.

    Image x of predicted label r is certified at epsilon if F_i - F_r + epsilon L_ir < 0 for all i. The test images are
    the first ones; rightly labelled or not, as in the paper.
    """
    for (network, method, ball), own in rows.by("network", "method", "ball"):
        L = pair_matrix(own)
        if np.isfinite(L).all():
            constants = [float(f"{value:.9g}") for value in L[np.triu_indices(len(L), 1)]]
            options = {"images": images, "constants": constants}
            case = ball_case(network, BALLS[ball][1], method, options, None, ball=ball)
            yield {"profile": drawn_profile(rows), **case}


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
def certify_images(case: Case) -> dict:
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


@table_4.sized
def pairs_and_images(rows: Rows) -> str:
    """Return how many pairs of labels have constants, and how many images these are used for."""
    images = [row["options"]["images"] for row in ratios.kept(rows[0]["profile"])]
    return ", ".join([counted([len(rows.different("part"))], "pair"), *([counted(images, "image")] if images else [])])


@table_4.lines("constants by | ball | pairs | largest", tolerance={"largest": 0.01}, bounds={"largest": "upper"})
def progress(rows: Rows) -> Lines:
    """Return how many of the pairs each method has solved, and the largest constant."""
    for (method, ball), own in rows.by("method", "ball"):
        known = own.column("value")
        yield METHODS[method].title, ball, f"{len(known)} of {len(own)}", max(known, default=None)


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


@table_4.lines("constants by | ball | i | j | L | verdict", bounds={"L": "upper"})
def verdicts(rows: Rows) -> Lines:
    """Return every pair with its constant and its verdict."""
    for row in rows:
        verdict = CERTIFIED if row["verdict"] == PROVEN else row["verdict"]
        yield METHODS[row["method"]].title, row["ball"], *row["part"], row["value"], verdict


@table_4.drawing(verdicts)
def draw_constants(rows: Rows) -> figures.Drawing:
    """Draw the matrices L; a pair without a constant is white."""
    groups = rows.by("method", "ball")
    matrices = {f"{METHODS[method].title}, {ball} ball": pair_matrix(own) for (method, ball), own in groups}
    drawing = figures.pair_matrices(matrices, title="constants of pairs of labels")
    if len(groups) != 2 or len(rows.different("method")) != 2 or len(rows.different("ball")) != 1:
        return drawing
    first, second = ({tuple(row["part"]): row["value"] for row in own} for _, own in groups)
    apart = [100 * abs(second[pair] / value - 1) for pair, value in first.items() if value and second.get(pair)]
    if not apart:
        return drawing
    pairs = len(first.keys() | second.keys())
    where = f" on the {len(apart)} of {pairs} pairs that have both" if len(apart) < pairs else ""
    return drawing.saying(f"The constants of the two relaxations differ by at most {at_most(max(apart), 2)} %{where}")


@table_4.cells
def cells(rows: Rows, profile: str, network: str, images: int) -> Values:
    """Yield our ratios for the printed ones, from the rows that keep them."""
    kept = ratios.kept(profile, network=network)
    known = {(row["method"], row["ball"]): row for row in kept if row["options"]["images"] == images}
    plain = known.get(("qcqp", "paper"))
    best = known.get(("product-shor", "paper"), plain)
    if best is not None:
        for epsilon, percent in zip(EPSILONS, best["certified"], strict=True):
            yield f"table-4/hr-2/{epsilon:g}", Value(percent, f"constants by {METHODS[best['method']].title}")
    if plain is not None:
        yield "table-4/grad-cert/0.1", Value(plain["certified"][-1], "the same network: SDP-NN")


def _certified_by_name(rows: Rows) -> dict[str, list[float]]:
    return {f"{METHODS[row['method']].title}, {row['ball']} ball": row["certified"] for row in rows}


@ratios.table
def certified(rows: Rows) -> Table:
    """Return percent of the images certified at each radius, beside the printed ones."""
    return ratio_table(_certified_by_name(rows), min((row["options"]["images"] for row in rows), default=1))


@ratios.drawing(certified)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the ratios."""
    percents = _certified_by_name(rows)
    drawing = draw_ratios(percents, table_4, "certified images", pixels=True)
    if len(percents) < 2:
        return drawing
    apart = np.ptp(list(percents.values()), axis=0).round(9)
    if not apart.any():
        return drawing.saying(f"At every radius the {len(percents)} constants certify the same share of the images")
    radii = " and ".join(f"{EPSILONS[k]:g}" for k in np.flatnonzero(apart == apart.max()))
    said = f"differ by at most {at_most(apart.max(), 3)} percentage points (at radius {radii})"
    return drawing.saying(f"The shares of the images that the {len(percents)} constants certify {said}")
