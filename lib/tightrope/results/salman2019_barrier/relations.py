"""Figure 1: which relaxation each verifier is, and how they are related; each arrow is measured.

An arrow is a statement about bounds of the same margins on the same region: equal, or never looser. It is measured on
regions of several radii as the largest difference that contradicts it. Where two names stand for one algorithm, the
two sides are computed by different code wherever there is some.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from tightrope import figures
from tightrope.networks import FeedForward
from tightrope.propagation.certify import proven_margins
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.propagation.relations import deeppoly_margins, lagrangian_margins, wong_kolter_margins, zonotope_margins
from tightrope.regions import Ball
from tightrope.verifiers.triangle import layerwise_bounds
from tightrope.workbench.cases import box_case, first_images
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Radii, Rows, Table, Value, Values
from .common import PAPER, questions

figure_1 = Experiment(PAPER, "figure-1-relations")
EQUAL, TIGHTER = "equal", "never looser"
#: Differences of float64, of the dual's ascent (relative to 1 + |bound|).
ROUNDING, ASCENT = 1e-8, 5e-3
STEPS = 300


def _dual(network: FeedForward, region: Ball, label: int, method: str) -> np.ndarray:
    return layerwise(network, InputSet.from_balls([region]), label, method, steps=STEPS).margins.numpy()


#: Node -> bounds of the margins (K,) of one network, region, label.
NODES: Mapping[str, Callable[[FeedForward, Ball, int], np.ndarray]] = {
    "Box": partial(proven_margins, method="box"),
    "Fast-Lin": partial(proven_margins, method="deepz"),
    "DeepZ": zonotope_margins,
    "CROWN": partial(proven_margins, method="crown"),
    "DeepPoly": deeppoly_margins,
    "Wong & Kolter, chord": lambda n, r, y: wong_kolter_margins(n, r, y, "deepz"),
    "Wong & Kolter, 0 or 1": lambda n, r, y: wong_kolter_margins(n, r, y, "crown"),
    "LP-GREEDY": partial(_dual, method="lp-greedy"),
    "LP-LAST": partial(_dual, method="lp-last"),
    "optimal relaxation, dual": partial(_dual, method="lp-all"),
    "optimal relaxation, primal": lambda n, r, y: layerwise_bounds(n, *r.bounding_box(), y).margins,
    "Lagrangian dual": lambda n, r, y: lagrangian_margins(n, r, y, STEPS),
}


@dataclass(frozen=True)
class Relation:
    """One arrow between nodes, whose order has no meaning for EQUAL; the tolerance is relative to 1 + |bound|."""

    tighter: str
    looser: str
    kind: str
    tolerance: float
    why: str


RELATIONS = (
    Relation("DeepZ", "Fast-Lin", EQUAL, ROUNDING, "parallel lines; zonotope forward, back-substitution backward"),
    Relation("LP-GREEDY", "Fast-Lin", EQUAL, ROUNDING, "the paper's greedy method takes the chord's slope"),
    Relation("Wong & Kolter, chord", "Fast-Lin", EQUAL, ROUNDING, "dual variables with the chord's slope"),
    Relation("Wong & Kolter, 0 or 1", "CROWN", EQUAL, ROUNDING, "dual variables with CROWN's slope, 0 or 1"),
    Relation("DeepPoly", "CROWN", EQUAL, ROUNDING, "the lower line of the smaller triangle"),
    Relation("LP-LAST", "LP-GREEDY", TIGHTER, ROUNDING, "the last program is solved, not bounded greedily"),
    Relation("optimal relaxation, dual", "LP-LAST", TIGHTER, ASCENT, "tighter bounds of the hidden layers"),
    Relation("optimal relaxation, dual", "CROWN", TIGHTER, ROUNDING, "CROWN's lines are one choice of slopes"),
    Relation("optimal relaxation, primal", "optimal relaxation, dual", EQUAL, ASCENT, "strong duality, theorem 4.1"),
    Relation("Lagrangian dual", "optimal relaxation, dual", EQUAL, ASCENT, "theorem 4.2"),
    Relation("optimal relaxation, primal", "Box", TIGHTER, ROUNDING, "the triangle lies in the interval"),
)


@figure_1.cases
def cases(network: str, images: int, epsilons: Radii) -> Cases:
    """Return one case for each of the first test images and each radius in pixel units."""
    return [
        box_case(network, epsilon, "all nodes", {"steps": STEPS}, first=image, count=1)
        for image in first_images(network, images)
        for epsilon in epsilons
    ]


@figure_1.solve
def margins_by_node(case: Case) -> dict:
    """Bound the margins of one image by every node."""
    (asked,) = questions(case)
    network, region, label = asked.network, asked.region, asked.label
    margins = {name: np.delete(node(network, region, label), label) for name, node in NODES.items()}
    return {"label": label, "margins": {name: [float(v) for v in values] for name, values in margins.items()}}


def violation(rows: Rows, relation: Relation) -> float:
    """Return the largest difference that contradicts an arrow, relative to 1 + |bound|."""
    worst = 0.0
    for row in rows:
        a, b = (np.array(row["margins"][name]) for name in (relation.tighter, relation.looser))
        gap = np.abs(a - b) if relation.kind == EQUAL else a - b
        worst = max(worst, float((gap / (1 + np.abs(b))).max()))
    return worst


def is_kept(rows: Rows, relation: Relation) -> bool:
    """Return whether an arrow holds within its tolerance."""
    return violation(rows, relation) <= relation.tolerance


@figure_1.lines("bound | is | than / to | holds | tolerance | regions | because")
def relations(rows: Rows) -> Lines:
    """Return each arrow, and whether it holds."""
    for r in RELATIONS:
        yield r.tighter, r.kind, r.looser, is_kept(rows, r), r.tolerance, len(rows), r.why


@figure_1.table
def bounds(rows: Rows) -> Table:
    """Return the mean over images of the largest margin's bound of each node: smaller is tighter."""
    radii, lines = sorted(rows.by("epsilon_pixel")), []
    for name in NODES:
        means = [np.mean([max(row["margins"][name]) for row in own]) for _, own in radii]
        lines.append((name, *map(float, means)))
    columns = [f"epsilon {radius:g}" for (radius,), _ in radii]
    return Table(("bound", *columns), lines, 1e-3, dict.fromkeys(columns, "upper"))


@figure_1.table
def holds(rows: Rows) -> bool:
    """Return whether every arrow holds within its tolerance."""
    return all(is_kept(rows, relation) for relation in RELATIONS)


@figure_1.drawing(relations)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the map from the table of relations."""
    arrows = [(r.tighter, r.looser, r.kind, is_kept(rows, r)) for r in RELATIONS]
    held = sum(holds for *_, holds in arrows)
    drawing = figures.relation_map(arrows, title="relaxations and how they are related")
    return drawing.saying(f"{held} of {len(arrows)} relations hold on all {len(rows)} regions; tighter is higher")


@figure_1.cells
def cells(rows: Rows, images: int, epsilons: Radii) -> Values:
    """Yield `figure-1/deepz/fast-lin` and so on: 1 for an arrow that holds, else 0."""
    for relation in RELATIONS if len(rows) >= images * len(epsilons) else ():
        ends = ("-".join(re.findall(r"[a-z0-9]+", end.lower())) for end in (relation.tighter, relation.looser))
        note = f"up to {relation.tolerance:g} relative on {len(rows)} regions, a finite sample"
        yield f"figure-1/{'/'.join(ends)}", Value(int(is_kept(rows, relation)), note)
