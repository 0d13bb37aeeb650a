"""Table 3: random points that a local Lipschitz constant certifies, for a binary classifier of two spheres."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache

import numpy as np

from tightrope import figures
from tightrope.errors import InputError, UnknownNameError
from tightrope.regions import Ball
from tightrope.verifiers.relu_lipschitz import METHODS, lipschitz_bound
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Names, Row, Rows, Table, Value, Values
from tightrope.workbench.rows import counted
from .common import EPSILONS, PAPER, ball_case, bound_constant, draw_ratios, network_of, ratio_table, shown

table_3 = Experiment(PAPER, "table-3-certified-ratio-random")
USED = ("product-shor", "hr-2-products", "hr-2-signs", "shor", "lipopt-3", "ascent")
PRINTED = {"hr-2-signs": "hr-2", "lipopt-3": "lipopt-3"}
#: How points are drawn. "box": uniformly from the box, as the text says; in dimension 80 they have length 15, far
#: beyond both spheres. "lengths": uniform directions and lengths, up to the radius of the ball. That is an inference:
#: with it the printed ratios come out, and with the box every point is certified at every radius.
LAWS = ("lengths", "box")
SAMPLES = 50_000  # of which ascent starts from the best
AT_ONCE = 50_000  # points in memory


@table_3.cases
def cases(network: str, points: int, laws: Names, radius: float, box: float, time_limit: float, seed: int) -> Cases:
    """Return one case for each law and method: its constant on the ball of `radius` around 0, and the points.

    Points are drawn by one of :data:`LAWS`. One of the box |x| <= `box` is certified at epsilon if |F(x)| > epsilon L,
    since radius - box >= epsilon.
    """
    for law in laws:
        if law not in LAWS:
            raise UnknownNameError("law", law, LAWS)
    if radius - box < EPSILONS[-1] - 1e-9:
        raise InputError(f"box: {box} leaves less than {EPSILONS[-1]} inside radius {radius}.")
    drawn = {"points": points, "box": box, "seed": seed}
    kinds = [drawn if law == "box" else drawn | {"law": law} for law in laws]
    options = {method: {"samples": SAMPLES} if method == "ascent" else {"time_limit": time_limit} for method in USED}
    return [ball_case(network, radius, method, options[method], points=kind) for kind in kinds for method in USED]


@table_3.sized
def points_of_each_law(rows: Rows) -> str:
    """Return how many points of each law there are."""
    return f"{counted([row['points']['points'] for row in rows], 'point')} of each law"


@table_3.solve
def certify_points(case: Case) -> dict:
    """Bound the constant, and return percent of points that it certifies at each radius (upper bounds only)."""
    outcome = _constant(json.dumps({name: value for name, value in case.items() if name != "points"}))
    if outcome["value"] is None or case["method"] == "ascent":
        return outcome | {"certified": None}
    size = output_sizes(case["network"], case["radius"], **case["points"])
    shares = [float(np.mean(size > epsilon * outcome["value"])) for epsilon in EPSILONS]
    return outcome | {"certified": [round(100 * share, 3) for share in shares]}


@lru_cache(maxsize=len(USED))
def _constant(case: str) -> dict:
    """Bound the constant of a case without points, which is the same for every law."""
    return bound_constant(json.loads(case))


@cache
def output_sizes(network: str, radius: float, points: int, box: float, seed: int, law: str = "box") -> np.ndarray:
    """Return |F| (points,) at points drawn by the law; 0 where one is outside the box, which certifies nothing."""
    rng, classifier = np.random.default_rng(seed), network_of(network)
    parts = []
    for start in range(0, points, AT_ONCE):
        x = _drawn(rng, (min(AT_ONCE, points - start), classifier.input_size), radius, box, law)
        parts.append(np.where(np.abs(x).max(1) <= box, np.abs(classifier.logits(x)[:, 0]), 0))
    return np.concatenate(parts)


def _drawn(rng: np.random.Generator, shape: tuple[int, int], radius: float, box: float, law: str) -> np.ndarray:
    if law == "box":
        return rng.uniform(-box, box, shape)
    x = rng.normal(size=shape)
    return x * (rng.uniform(0, radius, (len(x), 1)) / np.linalg.norm(x, axis=1, keepdims=True))


def own_constants(network: str, points: int, laws: Names, radius: float, box: float, seed: int) -> Table:
    """Return percent of a few points certified by a constant of their own, and by one for all, at some radii.

    The other mode that the text names: L^{x0, epsilon} on the ball around x0 certifies it at epsilon, |F(x0)| > epsilon
    L, where the constant on the ball of `radius` around 0 does for all points of the box. Both by product Shor.
    """
    if radius - box < 0.1 - 1e-9:
        raise InputError(f"box: {box} leaves less than 0.1 inside radius {radius}.")
    classifier, lines = network_of(network), []
    shared = lipschitz_bound(classifier, Ball(np.zeros(classifier.input_size), radius, "inf"), 0).value or np.inf
    for law in laws:
        x = _drawn(np.random.default_rng(seed), (points, classifier.input_size), radius, box, law)
        size = np.abs(classifier.logits(x)[:, 0])
        inside = np.abs(x).max(1) <= box
        for epsilon in (0.02, 0.05, 0.1):
            own = [lipschitz_bound(classifier, Ball(point, epsilon, "inf"), 0).value or np.inf for point in x]
            certified = size > epsilon * np.array(own), inside & (size > epsilon * shared)
            shares = (round(100 * float(np.mean(share)), 1) for share in certified)
            lines.append((law, epsilon, points, *shares))
    head = ("points drawn by", "epsilon", "points", "own constants, certified %", "one constant, certified %")
    return Table(head, lines, tolerance=round(100 / points, 1))


@table_3.lines("method | constant", tolerance={"constant": 0.02})  # proven to 1e-4 relative
def bounds(rows: Rows) -> Lines:
    """Return the constant on the ball by every method."""
    return {METHODS[row["method"]].title: shown(row) for row in rows}.items()


def law_of(row: Row) -> str:
    """Return how the points of a row are drawn."""
    return row["points"].get("law", "box")


@table_3.table
def ratios(rows: Rows) -> Table:
    """Return percent of points certified at each radius, for each law and method, beside the printed ones."""
    return ratio_table(_by_name(rows), rows[0]["points"]["points"])


def _by_name(rows: Iterable[Mapping]) -> dict[str, list[float]]:
    return {f"{METHODS[row['method']].title}, {law_of(row)}": row["certified"] for row in rows if row["certified"]}


@table_3.drawing(ratios)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the ratios of the methods that the table has, for each law."""
    printed = [row for row in rows if row["method"] in PRINTED]
    drawing = draw_ratios(_by_name(printed), table_3, "certified points", pixels=False)
    by_law: dict[str, dict[str, Sequence[float]]] = {}
    for row in printed:
        by_law.setdefault(law_of(row), {})[METHODS[row["method"]].title] = row["certified"]
    apart = [
        (max(own) - min(own), epsilon, law, dict(zip(known, own, strict=True)))
        for law, known in by_law.items()
        for epsilon, *own in zip(EPSILONS, *known.values(), strict=True)
    ]
    if not apart:
        return drawing
    _, epsilon, law, known = max(apart, key=lambda one: one[0])
    ratios = "; ".join(f"{name}: {percent:.0f} %" for name, percent in known.items())
    return drawing.saying(f"Points certified at radius {epsilon:g} ({law}), where the constants differ most: {ratios}")


@table_3.cells
def cells(rows: Rows) -> Values:
    """Yield our ratios for the printed ones, points of uniform length: of a network trained here as the paper says."""
    for row in rows:
        if law_of(row) == "lengths" and row["method"] in PRINTED and row["certified"]:
            note = f"constant {shown(row)}, network trained here; the draw of the points is an inference"
            for epsilon, percent in zip(EPSILONS, row["certified"], strict=True):
                yield f"table-3/{PRINTED[row['method']]}/{epsilon:g}", Value(round(percent, 2), note)
