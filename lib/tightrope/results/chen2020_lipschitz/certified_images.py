"""Table 4: images that pairwise local Lipschitz constants certify, and the matrix of these constants."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import datasets, figures, zoo
from tightrope.errors import InputError
from tightrope.results.chen2020_lipschitz.certified_points import EPSILONS, _printed_series
from tightrope.results.chen2020_lipschitz.common import PAPER, TITLES, bound, make_case, network_of
from tightrope.workbench.cases import image_count, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_4 = "table-4-certified-ratio-sdp-nn"
RATIO = "table-4-ratio"
#: Centre and radius of the ball of the constants, in pixels: the paper's, and the smallest box that holds all images
#: with a margin of 0.1.
BALLS = {"paper": (0.0, 2.0), "images": (0.5, 0.6)}


@dataclass(frozen=True)
class Table4:
    """Rows of Table 4: constants of pairs, and ratios made of them."""

    rows: tuple[dict, ...]
    ratios: tuple[dict, ...]

    @property
    def certified(self) -> Table:
        """Percent of the images certified at each radius, beside the printed ones."""
        return ratios_table(self.ratios)

    @property
    def classes(self) -> int:
        """K, the number of labels."""
        return 1 + max(row["part"][1] for row in self.rows)

    def constants(self, method: str, ball: str = "paper") -> Table:
        """The matrix L of the paper's appendix: constants of F_i - F_j."""
        classes = self.classes
        L = pair_matrix(self.rows, method, ball, classes)
        lines = [(i, *("" if i == j or np.isnan(L[i, j]) else f"{L[i, j]:.3f}" for j in range(classes)))
                 for i in range(classes)]  # fmt: skip
        return Table(("L", *map(str, range(classes))), tuple(lines))

    @property
    def progress(self) -> Table:
        """How many of the pairs each method has solved."""
        lines = []
        for method, ball in dict.fromkeys((row["method"], row["ball"]) for row in self.rows):
            some = [row for row in self.rows if (row["method"], row["ball"]) == (method, ball)]
            known = [row["value"] for row in some if row["value"] is not None]
            lines.append((TITLES[method], ball, f"{len(known)} of {len(some)}", max(known, default=None)))
        return Table(("constants by", "ball", "pairs", "largest"), tuple(lines))

    def draw_constants(self) -> figures.Drawing:
        """Draw the matrices L; write them, and every pair with its verdict as CSV, under figures/.

        A part of a profile is drawn under the profile's name: what is missing is seen as white.
        """
        kinds = dict.fromkeys((row["method"], row["ball"]) for row in self.rows)
        matrices = {f"{TITLES[method]}, {ball} ball": pair_matrix(self.rows, method, ball, self.classes)
                    for method, ball in kinds}  # fmt: skip
        drawing = figures.pair_matrices(matrices, title="constants of pairs of labels")
        lines = [(TITLES[r["method"]], r["ball"], *r["part"], r["value"], r["verdict"]) for r in self.rows]
        numbers = Table(("constants by", "ball", "i", "j", "L", "verdict"), tuple(lines))
        drawing.save(PAPER, f"{TABLE_4}-constants.{self.rows[0]['profile']}", numbers)
        return drawing

    def draw(self) -> figures.Drawing:
        """Draw the ratios; write them under figures/."""
        series = {
            f"{TITLES[row['method']]}, {row['ball']} ball": list(zip(EPSILONS, row["certified"], strict=True))
            for row in self.ratios
        }
        drawing = figures.ratio_curves(series, _printed_series(TABLE_4), title="certified images")
        profile = drawn_profile(self.rows)
        drawing.save(PAPER, f"{TABLE_4}.{profile}", self.certified)
        return drawing


def table_4(
    network: str,
    images: int = 10_000,
    methods: Sequence[str] = ("qcqp", "product-shor"),
    balls: Sequence[str] = ("paper",),
    time_limit: float = 3600,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Table4:
    """Table 4: image x of predicted label r is certified at epsilon if F_i - F_r + epsilon L_ir < 0 for all i.

    Parameters
    ----------
    network
        The paper's is ``chen2020-lipschitz/sdp-nn``; pixels in [0, 1] as they are.
    images
        Test images, from the first.
    methods
        Of the constants; "qcqp" gives grad-cert.
    balls
        Of :data:`BALLS`.
    """
    parameters = dict(network=network, images=images, methods=list(methods), balls=list(balls), time_limit=time_limit,
                      profile=profile)  # fmt: skip
    rows = solved(table_4_cases(parameters), solve or bound, store)
    classes = network_of(network).classes
    cases = []
    for method, ball in itertools.product(methods, balls):
        L = pair_matrix(rows, method, ball, classes)
        if np.isfinite(L).all():
            upper = L[np.triu_indices(classes, 1)]
            options = {"images": images, "constants": [float(f"{value:.9g}") for value in upper]}
            case = make_case(RATIO, rows[0]["profile"], network, BALLS[ball][1], method, options, None, ball=ball)
            cases.append(case)
    return Table4(rows, solved(cases, ratio, store) if cases else ())


@checked()
def table_4_cases(parameters: Mapping) -> list[dict]:
    """One case per pair of labels, method and ball."""
    classes = network_of(parameters["network"]).classes
    data = datasets.load(zoo.get(parameters["network"]).dataset)
    normalisation = _normalisation(parameters["network"], data)
    image_count(parameters["images"], data)
    found = []
    for method in parameters["methods"]:
        for ball in parameters["balls"]:
            if ball not in BALLS:
                raise InputError(f"balls: unknown ball {ball!r}; write {' or '.join(BALLS)}.")
            center, radius = BALLS[ball]
            reach = normalisation.radius_to_input(radius)
            for pair in itertools.combinations(range(classes), 2):
                options = {"center": float(normalisation.to_input(center)), "time_limit": parameters["time_limit"]}
                found.append(
                    make_case(
                        TABLE_4,
                        parameters["profile"],
                        parameters["network"],
                        reach,
                        method,
                        options,
                        list(pair),
                        ball=ball,
                    )
                )
    return found


def _normalisation(network: str, data: datasets.Dataset) -> datasets.Normalisation:
    return zoo.get(network).normalisation or data.normalisation


def pair_matrix(rows: Sequence[Mapping], method: str, ball: str, classes: int) -> np.ndarray:
    """(K, K) constants, nan where a pair has none; 0 on the diagonal."""
    L = np.full((classes, classes), np.nan)
    np.fill_diagonal(L, 0.0)
    for row in rows:
        if row["method"] == method and row["ball"] == ball and row["value"] is not None:
            i, j = row["part"]
            L[i, j] = L[j, i] = row["value"]
    return L


def ratio(case: Mapping) -> dict:
    """Percent of the images that the constants certify at each radius; `correct` counts rightly labelled ones only."""
    network = network_of(case["network"])
    found = zoo.get(case["network"])
    data, count = datasets.load(found.dataset), case["options"]["images"]
    normalisation = _normalisation(case["network"], data)
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


def ratios_table(rows: Sequence[Mapping]) -> Table:
    """One line per method and ball, then the printed ones; of all images, rightly labelled or not, as in the paper."""
    lines = [(f"{TITLES[row['method']]}, {row['ball']} ball", *(f"{v:.2f}" for v in row["certified"])) for row in rows]
    lines += [(name, *(f"{v:.2f}" for _, v in some)) for name, some in _printed_series(TABLE_4).items()]
    return Table(("epsilon", *(f"{e:g}" for e in EPSILONS)), tuple(lines))


def table_4_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our ratios for the printed cells, from the rows that keep them."""
    with Store() as store:
        kept = store.rows(RATIO, parameters["profile"], PAPER)
    known = {(row["method"], row["ball"]): row for row in kept if row["network"] == parameters["network"]}
    found: dict[str, Value] = {}
    best = known.get(("product-shor", "paper")) or known.get(("qcqp", "paper"))
    if best is not None:
        for epsilon, value in zip(EPSILONS, best["certified"], strict=True):
            found[f"table-4/hr-2/{epsilon:g}"] = Value(value, f"constants by {TITLES[best['method']]}")
    plain = known.get(("qcqp", "paper"))
    if plain is not None:
        found["table-4/grad-cert/0.1"] = Value(plain["certified"][-1], "the same network: SDP-NN")
    return found
