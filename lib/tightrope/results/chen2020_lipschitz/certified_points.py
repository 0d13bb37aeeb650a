"""Table 3: random points that a local Lipschitz constant certifies, for a binary classifier of two spheres."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tightrope import figures
from tightrope.errors import InputError
from tightrope.results.chen2020_lipschitz.common import PAPER, TITLES, bound, make_case, network_of, shown
from tightrope.workbench.cases import solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.published import find
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_3 = "table-3-certified-ratio-random"
EPSILONS = tuple(round(0.01 * k, 2) for k in range(1, 11))
USED = ("product-shor", "hr-2-products", "hr-2-signs", "shor", "lipopt-3", "ascent")
_PRINTED = {"hr-2-signs": "hr-2", "lipopt-3": "lipopt-3"}


@dataclass(frozen=True)
class Table3:
    """Rows of Table 3 and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def constants(self) -> Table:
        """The constant of every method on the ball, and its processor seconds."""
        lines = [(TITLES[row["method"]], shown(row, 4), row["cpu_seconds"]) for row in self.rows]
        return Table(("method", "constant", "processor seconds"), tuple(lines))

    @property
    def bounds(self) -> Table:
        """The constants alone."""
        return Table(("method", "constant"), tuple(line[:2] for line in self.constants.rows))

    @property
    def ratios(self) -> Table:
        """Percent of points certified at each radius, beside the printed ones."""
        return ratios_table(self.rows)

    def draw(self) -> figures.Drawing:
        """Draw the ratios; write them under figures/."""
        series = {TITLES[row["method"]]: list(zip(EPSILONS, row["certified"], strict=True))
                  for row in self.rows if row.get("certified")}  # fmt: skip
        drawing = figures.ratio_curves(series, _printed_series(TABLE_3), title="certified points")
        drawing.save(PAPER, f"{TABLE_3}.{drawn_profile(self.rows)}", self.ratios)
        return drawing


def table_3(
    network: str,
    points: int = 1_000_000,
    radius: float = 3.0,
    box: float = 2.9,
    time_limit: float = 3600,
    seed: int = 0,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Table3:
    """Table 3: points of the box |x| <= `box` certified by the constant of the ball of `radius` around 0.

    A point x is certified at epsilon if |F(x)| > epsilon L, with radius - box >= epsilon.
    """
    parameters = dict(network=network, points=points, radius=radius, box=box, time_limit=time_limit, seed=seed,
                      profile=profile)  # fmt: skip
    return Table3(solved(table_3_cases(parameters), solve or certified, store))


@checked()
def table_3_cases(parameters: Mapping) -> list[dict]:
    """One case per method."""
    if parameters["radius"] - parameters["box"] < EPSILONS[-1] - 1e-9:
        raise InputError(
            f"box: {parameters['box']} leaves less than {EPSILONS[-1]} inside radius {parameters['radius']}."
        )
    sampling = {name: parameters[name] for name in ("points", "box", "seed")}
    found = []
    for method in USED:
        options = {"samples": 50_000} if method == "ascent" else {"time_limit": parameters["time_limit"]}
        found.append(
            make_case(
                TABLE_3,
                parameters["profile"],
                parameters["network"],
                parameters["radius"],
                method,
                options,
                points=sampling,
            )
        )
    return found


def certified(case: Mapping) -> dict:
    """The constant of one method, and percent of points that it certifies at each radius (upper bounds only)."""
    outcome = bound(case)
    if outcome["value"] is None or case["method"] == "ascent":
        return outcome | {"certified": None}
    size = outputs(case["network"], **case["points"])
    counts = [float(np.mean(size > epsilon * outcome["value"])) for epsilon in EPSILONS]
    return outcome | {"certified": [round(100 * count, 3) for count in counts]}


@cache
def outputs(network: str, points: int, box: float, seed: int) -> np.ndarray:
    """|F| (points,) at points drawn uniformly from the box."""
    rng, found = np.random.default_rng(seed), network_of(network)
    parts = []
    for start in range(0, points, 50_000):
        x = rng.uniform(-box, box, (min(50_000, points - start), found.input_size))
        parts.append(np.abs(found.logits(x)[:, 0]))
    return np.concatenate(parts)


def ratios_table(rows: Sequence[Mapping]) -> Table:
    """One line per method and per printed row."""
    lines = [(TITLES[row["method"]], *(f"{r:.2f}" for r in row["certified"])) for row in rows if row.get("certified")]
    lines += [(name, *(f"{v:.2f}" for _, v in some)) for name, some in _printed_series(TABLE_3).items()]
    return Table(("epsilon", *(f"{e:g}" for e in EPSILONS)), tuple(lines))


def _printed_series(result: str) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for cell in find(f"{PAPER}/{result}").cells:
        _, method, epsilon = cell.id.split("/")
        if method in ("hr-2", "lipopt-3"):
            name = {"hr-2": "HR-2, printed", "lipopt-3": "LipOpt-3, printed"}[method]
            found.setdefault(name, []).append((float(epsilon), cell.printed))
    return found


def table_3_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our ratios for the printed cells: another network, trained as the paper says."""
    found = {}
    for row in rows:
        if row["method"] in _PRINTED and row.get("certified"):
            for epsilon, value in zip(EPSILONS, row["certified"], strict=True):
                note = f"constant {row['value']:.4g}; the paper's network is unknown"
                found[f"table-3/{_PRINTED[row['method']]}/{epsilon:g}"] = Value(round(value, 2), note)
    return found
