"""A column beside Table 2: images certified by abstract fixpoints alone, without any semidefinite program.

Two abstractions of the equilibrium (propagation.fixpoint): boxes, as in interval bound propagation, and zonotopes, the
approach of CRAFT (PLDI 2023), whose Table prints 30 of the first 100 MNIST images for the paper's network at L-infinity
0.05 in the pixel range.
"""

import time
from itertools import chain

import numpy as np

from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.question import Verdict
from tightrope.workbench.cases import first_images
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Radii, Rows
from .common import PAPER, balls, by_ball, cases_around, in_words, question

table_2_fixpoints = Experiment(PAPER, "table-2-fixpoints")
METHODS = ("interval", "zonotope")


@table_2_fixpoints.cases
def cases(network: str, images: int, epsilons_l2: Radii, epsilons_linf: Radii) -> Cases:
    """Return one case for each image, norm, radius, set and abstraction."""
    return cases_around(network, first_images(network, images), balls(epsilons_l2, epsilons_linf), METHODS, {})


@table_2_fixpoints.solve
def certify_by_fixpoint(case: Case) -> dict:
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


@table_2_fixpoints.lines(
    "norm | epsilon | set | images", *(f"{method}{what} %" for method in METHODS for what in ("", " closed"))
)
def ratios(rows: Rows) -> Lines:
    """Return the percentages certified, and of images for which the abstraction closed at all."""
    for ball, own in by_ball(rows):
        found = (own.where(method=method) for method in METHODS)
        shares = ((some.percent(fixpoint="certified"), some.percent(closed=True)) for some in found)
        yield *in_words(*ball), len(own.different("image")), *chain.from_iterable(shares)


@table_2_fixpoints.lines("abstraction | s / image")
def seconds(rows: Rows) -> Lines:
    """Return the mean seconds of an image."""
    return ((method, rows.where(method=method).mean("seconds")) for method in METHODS)
