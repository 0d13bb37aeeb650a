"""Beside Table 3: Lipschitz constants on the ball around one image, where bounds on the units pay.

Rows are kept under :data:`LOCAL`. Order 1 knows which units are stable from strong monotonicity, order "1+cuts" from
fixpoints too (verifiers.local_lipschitz); Jacobians at sampled points of the ball bound the constant from below.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope.results.chen2021_mondeq.common import make_case, norm_text, question
from tightrope.verifiers import lipschitz_lower
from tightrope.verifiers.local_lipschitz import ORDERS, local_upper_bound
from tightrope.workbench.cases import solved
from tightrope.workbench.records import Store
from tightrope.workbench.tables import Table

LOCAL = "table-3-local"
SAMPLES = 300  # Jacobians in the ball


@dataclass(frozen=True)
class LocalTable:
    """Rows and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def bounds(self) -> Table:
        """Bounds of each ball, from the largest Jacobian found to the proven constants of both orders."""
        groups: dict[tuple, dict[str, Mapping]] = {}
        for row in self.rows:
            groups.setdefault((row["norm"], row["epsilon_pixel"]), {})[row["method"]] = row
        lines = []
        for (norm, epsilon), by_order in groups.items():
            line = [norm_text(norm), epsilon, f"{by_order[ORDERS[0]]['sampled']:.4g}"]
            for order in ORDERS:
                line += [f"{by_order[order]['value']:.4g}", by_order[order]["undecided"]]
            lines.append(tuple(line))
        columns = ("norm", "epsilon", "at least", "order 1", "undecided units", "order 1+cuts", "undecided units ")
        return Table(columns, tuple(lines))

    @property
    def seconds(self) -> Table:
        """Seconds of each proof."""
        lines = [(norm_text(row["norm"]), row["epsilon_pixel"], row["method"], row["seconds"]) for row in self.rows]
        return Table(("norm", "epsilon", "order", "seconds"), tuple(lines))


def table_3_local(
    network: str,
    image: int = 0,
    epsilons_l2: Sequence[float] = (0.1,),
    epsilons_linf: Sequence[float] = (0.05, 0.01),
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> LocalTable:
    """Local Lipschitz constants on unclipped balls around one test image; radii for pixels in [0, 1]."""
    parameters = {"network": network, "profile": profile, "seed": 0}
    radii = [(2, epsilon) for epsilon in epsilons_l2] + [("inf", epsilon) for epsilon in epsilons_linf]
    cases = [
        make_case(LOCAL, parameters, norm, epsilon, False, image, order) for norm, epsilon in radii for order in ORDERS
    ]
    return LocalTable(solved(cases, solve or bound, store))


def bound(case: Mapping) -> dict:
    """Solve one case."""
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
