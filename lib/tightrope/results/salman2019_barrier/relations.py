"""Figure 1: which relaxation each verifier is, and how they are related; each arrow is measured.

An arrow is a statement about bounds of the same margins on the same region: equal, or never looser. It is measured on
regions of several radii as the largest difference that contradicts it. Where two names stand for one algorithm, the
two sides are computed by different code wherever there is some.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import figures
from tightrope.networks import FeedForward
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.propagation.margins import proven_margins
from tightrope.propagation.relations import deeppoly_margins, lagrangian_margins, wong_kolter_margins, zonotope_margins
from tightrope.regions import Ball
from tightrope.results.salman2019_barrier.common import PAPER, entry, make_case, questions
from tightrope.verifiers.triangle import layerwise_bounds
from tightrope.workbench.cases import dataset, image_count, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

FIGURE_1 = "figure-1-relations"
EQUAL, TIGHTER = "equal", "never looser"
#: Differences of float64, of the dual's ascent (relative to 1 + |bound|).
ROUNDING, ASCENT = 1e-8, 5e-3
STEPS = 300


def _lines(method: str) -> Callable:
    return lambda network, region, label: proven_margins(network, region, label, method)


def _dual(method: str) -> Callable:
    def margins(network, region, label):
        return layerwise(network, InputSet.from_balls([region]), label, method, steps=STEPS).margins.numpy()

    return margins


def _program(network: FeedForward, region: Ball, label: int) -> np.ndarray:
    return layerwise_bounds(network, *region.bounding_box(), label).margins


#: Node -> bounds of the margins (K,) of one network, region, label.
NODES: Mapping[str, Callable[[FeedForward, Ball, int], np.ndarray]] = {
    "Box": _lines("box"),
    "Fast-Lin": _lines("deepz"),
    "DeepZ": zonotope_margins,
    "CROWN": _lines("crown"),
    "DeepPoly": deeppoly_margins,
    "Wong & Kolter, chord": lambda n, r, y: wong_kolter_margins(n, r, y, "deepz"),
    "Wong & Kolter, 0 or 1": lambda n, r, y: wong_kolter_margins(n, r, y, "crown"),
    "LP-GREEDY": _dual("lp-greedy"),
    "LP-LAST": _dual("lp-last"),
    "optimal relaxation, dual": _dual("lp-all"),
    "optimal relaxation, primal": _program,
    "Lagrangian dual": lambda n, r, y: lagrangian_margins(n, r, y, STEPS),
}


@dataclass(frozen=True)
class Relation:
    """One arrow.

    Attributes
    ----------
    tighter, looser : str
        Nodes; for an equality the order has no meaning.
    kind : str
        EQUAL or TIGHTER.
    tolerance : float
        Relative to 1 + |bound|.
    why : str
        The theorem or the reason.
    """

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


@dataclass(frozen=True)
class Figure1:
    """Rows, one for each network and radius, and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def relations(self) -> Table:
        """Each arrow, with the largest difference that contradicts it."""
        return relation_table(self.rows)

    @property
    def bounds(self) -> Table:
        """The mean of the largest margins' bound of each node, by radius."""
        return bound_table(self.rows)

    @property
    def holds(self) -> bool:
        """Whether every arrow holds within its tolerance."""
        return all(violation(self.rows, relation) <= relation.tolerance for relation in RELATIONS)

    def draw(self) -> figures.Drawing:
        """Draw the map from the table of relations; write it under figures/."""
        arrows = [(r.tighter, r.looser, r.kind, violation(self.rows, r) <= r.tolerance) for r in RELATIONS]
        drawing = figures.relation_map(arrows, title="relaxations and how they are related")
        drawing.save(PAPER, f"{FIGURE_1}.{drawn_profile(self.rows)}", self.relations)
        return drawing


def figure_1(
    network: str,
    images: int = 3,
    epsilons: Sequence[float] = (0.02, 0.05),
    profile: str = "quick",
    store: Store | None = None,
) -> Figure1:
    """Figure 1: measure every arrow on the first images of a network.

    Parameters
    ----------
    network
        A name of the zoo.
    images
        How many test images.
    epsilons
        Radii in pixel units.
    profile, store
        Under which name and where the rows are kept.
    """
    parameters = dict(network=network, images=images, epsilons=epsilons, profile=profile)
    return Figure1(solved(figure_1_cases(parameters), measure, store))


@checked()
def figure_1_cases(parameters: Mapping) -> list[dict]:
    """One case for each image and radius."""
    data = dataset(entry(parameters["network"]).dataset)
    return [
        make_case(FIGURE_1, parameters["profile"], parameters["network"], epsilon, "all nodes", {"steps": STEPS},
                  first=image, count=1)
        for image in range(image_count(parameters["images"], data))
        for epsilon in parameters["epsilons"]
    ]  # fmt: skip


def measure(case: Mapping) -> dict:
    """Bound the margins of one image by every node."""
    found, (region,), (label,) = questions(case)
    margins = {name: np.delete(bound(found.network, region, label), label) for name, bound in NODES.items()}
    return {"label": label, "margins": {name: [float(v) for v in values] for name, values in margins.items()}}


def violation(rows: Sequence[Mapping], relation: Relation) -> float:
    """The largest difference that contradicts an arrow, relative to 1 + |bound|."""
    worst = 0.0
    for row in rows:
        a, b = (np.array(row["margins"][name]) for name in (relation.tighter, relation.looser))
        gap = np.abs(a - b) if relation.kind == EQUAL else a - b
        worst = max(worst, float((gap / (1 + np.abs(b))).max()))
    return worst


def relation_table(rows: Sequence[Mapping]) -> Table:
    """One line for each arrow."""
    lines = [
        (r.tighter, r.kind, r.looser, violation(rows, r) <= r.tolerance, r.tolerance, len(rows), r.why)
        for r in RELATIONS
    ]
    return Table(("bound", "is", "than / to", "holds", "tolerance", "regions", "because"), tuple(lines))


def bound_table(rows: Sequence[Mapping]) -> Table:
    """Mean over images of the largest margin's bound: smaller is tighter."""
    radii = sorted({row["epsilon_pixel"] for row in rows})
    lines = [
        (name, *(round(float(np.mean([max(row["margins"][name]) for row in rows if row["epsilon_pixel"] == r])), 3)
                 for r in radii))
        for name in NODES
    ]  # fmt: skip
    return Table(("bound", *(f"epsilon {radius:g}" for radius in radii)), tuple(lines))


def figure_1_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Share of the arrows that hold."""
    if len(rows) < parameters["images"] * len(parameters["epsilons"]):
        return {}
    kept = sum(violation(rows, relation) <= relation.tolerance for relation in RELATIONS)
    return {"figure-1/arrows": Value(100 * kept / len(RELATIONS), f"{len(RELATIONS)} arrows, {len(rows)} regions")}
