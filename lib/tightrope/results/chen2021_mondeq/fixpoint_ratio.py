"""A column beside Table 2: images certified by abstract fixpoints alone, without any semidefinite program.

Two abstractions of the equilibrium (propagation.fixpoint): boxes, as in interval bound propagation, and zonotopes, the
approach of CRAFT (PLDI 2023), whose Table prints 30 of the first 100 MNIST images for the paper's network at L-infinity
0.05 in the pixel range.
"""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.question import Verdict
from tightrope.results.chen2021_mondeq.common import PAPER, by_ball, first_images, in_words, question, radii
from tightrope.workbench.cases import ball_case
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table

table_2_fixpoints = Experiment(PAPER, "table-2-fixpoints")
METHODS = ("interval", "zonotope")


@table_2_fixpoints.cases
def cases(network: str, images: int, epsilons_l2: Sequence[float], epsilons_linf: Sequence[float]) -> list[dict]:
    """Return one case for each image, norm, radius, set and abstraction."""
    return [
        ball_case(network, norm, epsilon, clip, method, {}, image=image)
        for image in first_images(network, images)
        for norm, epsilon in radii(epsilons_l2, epsilons_linf)
        for clip in (False, True)
        for method in METHODS
    ]


@table_2_fixpoints.solve
def certify_by_fixpoint(case: Mapping) -> dict:
    """Bound the equilibrium, and with it how far each other label's score is above the true one's."""
    network, region, label = question(case)
    start = time.perf_counter()
    bounds = fixpoint_bounds(network, region, case["method"])
    largest = float(np.nanmax(bounds.margins(network, label)))
    return {
        "label": label,
        "fixpoint": (Verdict.CERTIFIED if largest < 0 else Verdict.UNKNOWN).value,
        "closed": bool(bounds.contained),
        "largest_margin": largest,
        "seconds": round(time.perf_counter() - start, 6),
    }


@table_2_fixpoints.table
def ratios(rows: Rows) -> Table:
    """Return the percentages certified, and of images for which the abstraction closed at all."""
    lines = []
    for ball, own in by_ball(rows):
        line = [*in_words(*ball), len(own.different("image"))]
        for method in METHODS:
            some = own.where(method=method)
            line += [some.percent(fixpoint="certified"), some.percent(closed=True)]
        lines.append(line)
    columns = ("norm", "epsilon", "set", "images", "interval %", "interval closed %", "zonotope %", "zonotope closed %")
    return Table(columns, lines)


@table_2_fixpoints.table
def seconds(rows: Rows) -> Table:
    """Return the mean seconds of an image."""
    lines = [(method, rows.where(method=method).mean("seconds")) for method in METHODS]
    return Table(("abstraction", "s / image"), lines)
