"""A column beside Table 2: images certified by abstract fixpoints alone, without any semidefinite program.

Rows are kept under :data:`FIXPOINTS`. Two abstractions of the equilibrium (propagation.fixpoint): boxes, as in interval
bound propagation, and zonotopes, the approach of CRAFT (PLDI 2023), whose Table prints 30 of the first 100 MNIST images
for the paper's network at L-infinity 0.05 in the pixel range.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope.certificates import Verdict
from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.results.chen2021_mondeq.common import SETS, make_case, norm_text, percent, question
from tightrope.workbench.cases import dataset, entry, image_count, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.tables import Table

FIXPOINTS = "table-2-fixpoints"
METHODS = ("interval", "zonotope")


@dataclass(frozen=True)
class FixpointColumn:
    """Rows of the column and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def ratios(self) -> Table:
        """Percent certified, and for how many images the abstraction closed at all."""
        groups: dict[tuple, list[Mapping]] = {}
        for row in self.rows:
            groups.setdefault((row["norm"], row["epsilon_pixel"], row["clip"]), []).append(row)
        lines = []
        for (norm, epsilon, clip), rows in sorted(groups.items(), key=lambda g: (str(g[0][0]), -g[0][1], g[0][2])):
            line = [norm_text(norm), epsilon, SETS[clip], len({row["image"] for row in rows})]
            for method in METHODS:
                own = [row for row in rows if row["method"] == method]
                certified = sum(row["fixpoint"] == "certified" for row in own)
                line += [percent(certified, len(own)), percent(sum(row["closed"] for row in own), len(own))]
            lines.append(tuple(line))
        columns = ("norm", "epsilon", "set", "images", "interval %", "closed %", "zonotope %", "closed % ")
        return Table(columns, tuple(lines))

    @property
    def seconds(self) -> Table:
        """Mean seconds per image."""
        lines = [
            (method, float(np.mean([row["seconds"] for row in self.rows if row["method"] == method])))
            for method in METHODS
        ]
        return Table(("abstraction", "s / image"), tuple(lines))


def table_2_fixpoints(
    network: str,
    images: int,
    epsilons_l2: Sequence[float] = (0.1,),
    epsilons_linf: Sequence[float] = (0.1, 0.05, 0.01),
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> FixpointColumn:
    """The ratio of images certified by interval and zonotope fixpoints; parameters as in `table_2`."""
    parameters = dict(
        network=network, images=images, epsilons_l2=epsilons_l2, epsilons_linf=epsilons_linf, profile=profile
    )
    return FixpointColumn(solved(fixpoint_cases(parameters), solve or enclose, store))


@checked()
def fixpoint_cases(parameters: Mapping) -> list[dict]:
    """One case per image, norm, radius, set and abstraction."""
    count = image_count(parameters["images"], dataset(entry(parameters["network"]).dataset))
    radii = [(2, epsilon) for epsilon in parameters["epsilons_l2"]]
    radii += [("inf", epsilon) for epsilon in parameters["epsilons_linf"]]
    cases = [
        make_case(FIXPOINTS, parameters | {"seed": 0}, norm, epsilon, clip, image, method)
        for image in range(count)
        for norm, epsilon in radii
        for clip in (False, True)
        for method in METHODS
    ]
    return [case | {"options": {}} for case in cases]  # nothing here is random


def enclose(case: Mapping) -> dict:
    """Solve one case."""
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
