"""Beside Table 3: Lipschitz constants on the unclipped ball around one image, where bounds on the units pay.

Order 1 knows which units are stable from strong monotonicity, order "1+cuts" from fixpoints too
(verifiers.local_lipschitz); Jacobians at sampled points of the ball bound the constant from below.
"""

import time

import numpy as np

from tightrope.verifiers import lipschitz_lower
from tightrope.verifiers.local_lipschitz import ORDERS, local_upper_bound
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Rows
from .common import PAPER, by_ball, cases_around, mondeq, norm_text, question

table_3_local = Experiment(PAPER, "table-3-local")
IMAGE = 0  # of the test set
BALLS = ((2, 0.1), ("inf", 0.05), ("inf", 0.01))  # norms and radii for pixels in [0, 1]
SAMPLES = 300  # Jacobians in the ball


@table_3_local.cases
def cases(network: str) -> Cases:
    """Return one case for each ball and order."""
    mondeq(network)  # refuses others before anything is solved
    return cases_around(network, [IMAGE], ((*ball, False) for ball in BALLS), ORDERS, {"seed": 0})


@table_3_local.solve
def bound_lipschitz_in_ball(case: Case) -> dict:
    """Bound the constant of one ball from both sides."""
    network, region, _ = question(case)
    start = time.perf_counter()
    report = local_upper_bound(network, region, order=case["method"])
    seconds = time.perf_counter() - start
    points = region.sample(SAMPLES, np.random.default_rng(case["options"]["seed"]))
    return {
        "value": report.value,
        "undecided": report.undecided,
        "sampled": lipschitz_lower.sampled(network, case["norm"], points).value,
        "status": ", ".join(sorted({part.status for part in report.parts})),
        "seconds": round(seconds, 6),
    }


@table_3_local.lines(
    "norm | epsilon | at least | order 1 | undecided by 1 | order 1+cuts | undecided by 1+cuts",
    tolerance={"order 1": 0.01, "order 1+cuts": 0.01},
    bounds={"at least": "lower", "order 1": "upper", "order 1+cuts": "upper"},
)
def bounds(rows: Rows) -> Lines:
    """Return bounds of each ball, from the largest Jacobian found to the proven constants of both orders."""
    for (norm, epsilon, _), own in by_ball(rows):
        found = [own.one(method=order) for order in ORDERS]
        proven = (number for row in found for number in (row["value"], row["undecided"]))
        yield norm_text(norm), epsilon, found[0]["sampled"], *proven


@table_3_local.lines("norm | epsilon | order | seconds")
def seconds(rows: Rows) -> Lines:
    """Return seconds of each proof."""
    return ((norm_text(row["norm"]), row["epsilon_pixel"], row["method"], row["seconds"]) for row in rows)
