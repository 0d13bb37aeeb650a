"""Random networks: Table 1, Figure 1 and the poster's figures: sizes, sparsities, draws and methods differ."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import figures
from tightrope.errors import InputError
from tightrope.results.chen2020_lipschitz.common import PAPER, SETS, TITLES, bound, make_case, middle, shown, values
from tightrope.workbench.cases import solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_1 = "table-1-random-networks"
FIGURE_1 = "figure-1-sparsity-sweep"
POSTER = "poster-figures-1-and-2"
#: HR-2 as an interval: what it is at most and at least (relaxations.heuristic says why).
HR_2 = ("hr-2-signs", "hr-2-products")
#: Per number of hidden layers, in the order of a table.
METHODS = {
    1: ("product-shor", *HR_2, "shor", "lipopt-3", "lipopt-4", "lbs", "ascent"),
    2: ("product-shor", "hr-1", "lipopt-3", "lipopt-4", "lbs", "ascent"),
}
LOWER = ("lbs", "ascent")


@dataclass(frozen=True)
class Sweep:
    """Rows over networks, sets and methods, and what is shown of them."""

    result: str
    rows: tuple[dict, ...]

    @property
    def profile(self) -> str:
        """Of the rows; "custom" where they are a part of a profile."""
        return drawn_profile(self.rows)

    @property
    def bounds(self) -> Table:
        """Medians over draws (one draw: the value), verdicts where there is no number."""
        return sweep_table(self.rows, "value")

    @property
    def seconds(self) -> Table:
        """Processor seconds, medians over draws."""
        return sweep_table(self.rows, "cpu_seconds")

    @property
    def claims(self) -> Table:
        """The paper's qualitative claims, counted over networks."""
        return claims_table(self.rows)

    def draw(self) -> figures.Drawing:
        """Draw medians and quartiles of bounds and times; write them under figures/."""
        drawing = figures.sweeps(panels(self.rows), title="bounds and times")
        drawing.save(PAPER, f"{self.result}.{self.profile}", numbers_table(self.rows))
        return drawing


def table_1(
    sizes: Sequence[Sequence[int]],
    sparsities: Sequence[int],
    draws: int = 1,
    time_limit: float = 600,
    samples: int = 50_000,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Sweep:
    """Table 1: global bounds of random networks with one and two hidden layers.

    Parameters
    ----------
    sizes
        Inputs and hidden widths, as the paper lists them; one output is added.
    sparsities
        Bands; see :func:`tightrope.networks.random.random_network`.
    draws
        Networks of each kind; the paper's table has one.
    time_limit
        Seconds for one bound.
    samples
        Of LBS.
    store, solve
        Where rows are kept, and how a case is solved; replaced in tests.
    """
    parameters = dict(sizes=sizes, sparsities=sparsities, draws=draws, time_limit=time_limit, samples=samples,
                      profile=profile)  # fmt: skip
    return Sweep(TABLE_1, solved(table_1_cases(parameters), solve or bound, store))


def figure_1(
    width: int,
    sparsities: Sequence[int],
    draws: int = 10,
    methods: Sequence[str] = ("product-shor", *HR_2, "shor", "lipopt-3", "lipopt-4", "lbs"),
    lipopt_3_draws: int | None = None,
    lipopt_4_draws: int | None = None,
    time_limit: float = 600,
    samples: int = 50_000,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Sweep:
    """Figure 1: bounds and times of (width, width) networks against sparsity, global and local; see :func:`table_1`.

    Parameters
    ----------
    lipopt_3_draws, lipopt_4_draws
        Linear programs take most of the time; they are solved for this many of the draws (None: all).
    """
    parameters = dict(
        width=width, sparsities=sparsities, draws=draws, methods=list(methods), lipopt_3_draws=lipopt_3_draws,
        lipopt_4_draws=lipopt_4_draws, time_limit=time_limit, samples=samples, profile=profile,
    )  # fmt: skip
    return Sweep(FIGURE_1, solved(figure_1_cases(parameters), solve or bound, store))


def poster(
    one_layer: Sequence[Sequence[int]],
    two_layers: Sequence[Sequence[int]],
    draws: int = 5,
    lipopt_3_draws: int | None = None,
    lipopt_4_draws: int | None = None,
    time_limit: float = 300,
    samples: int = 50_000,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Sweep:
    """The poster's figures: global bounds and times of dense networks of growing size; see :func:`figure_1`."""
    parameters = dict(
        one_layer=one_layer, two_layers=two_layers, draws=draws, lipopt_3_draws=lipopt_3_draws,
        lipopt_4_draws=lipopt_4_draws, time_limit=time_limit, samples=samples, profile=profile,
    )  # fmt: skip
    return Sweep(POSTER, solved(poster_cases(parameters), solve or bound, store))


@checked()
def table_1_cases(parameters: Mapping) -> list[dict]:
    """One case per network and method."""
    networks = [(tuple(s), band) for s in parameters["sizes"] for band in parameters["sparsities"]]
    return _cases(TABLE_1, parameters, networks, ("global",), METHODS)


@checked()
def figure_1_cases(parameters: Mapping) -> list[dict]:
    """One case per network, set and method: all sparsities of the first draw first, so that a part is a sample too."""
    width = parameters["width"]
    networks = [((width, width), band) for band in parameters["sparsities"]]
    return _cases(FIGURE_1, parameters, networks, tuple(SETS), {1: tuple(parameters["methods"])})


@checked()
def poster_cases(parameters: Mapping) -> list[dict]:
    """One case per network and method."""
    networks = [(tuple(s), None) for s in (*parameters["one_layer"], *parameters["two_layers"])]
    return _cases(POSTER, parameters, networks, ("global",), METHODS)


def _cases(result, parameters, networks, sets, methods) -> list[dict]:
    draws = parameters["draws"]
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise InputError(f"draws: expected an integer of at least 1, got {draws!r}.")
    programs = {f"lipopt-{degree}": parameters.get(f"lipopt_{degree}_draws") for degree in (3, 4)}
    found = []
    for draw in range(draws):
        for sizes, band in networks:
            depth = len(sizes) - 1
            if depth not in methods:
                raise InputError(f"sizes: {sizes} has {depth} hidden layers; this result is for 1 and 2.")
            name = f"random/{'-'.join(map(str, (*sizes, 1)))}/{'dense' if band is None else f's{band}'}/{draw}"
            for where in sets:
                for method in methods[depth]:
                    if programs.get(method) is not None and draw >= programs[method]:
                        continue
                    options = {"tolerance": 1e-4}
                    if method in LOWER:
                        options = {"samples": parameters["samples"], "seed": draw}
                    elif method.startswith("lipopt"):
                        options = {"time_limit": parameters["time_limit"]}
                    found.append(
                        make_case(
                            result,
                            parameters["profile"],
                            name,
                            SETS[where],
                            method,
                            options,
                            sizes=list(sizes),
                            sparsity=band,
                            draw=draw,
                            set=where,
                        )
                    )
    # Linear programs last: a run that is stopped has everything else.
    order = ("lipopt-3", "lipopt-4")
    return sorted(found, key=lambda case: 1 + order.index(case["method"]) if case["method"] in order else 0)


def _groups(rows: Sequence[Mapping]) -> dict[tuple, list[Mapping]]:
    """Rows by (hidden layers, sizes, set, sparsity, method)."""
    found: dict[tuple, list[Mapping]] = {}
    for row in rows:
        key = (len(row["sizes"]) - 1, tuple(row["sizes"]), row["set"], row["sparsity"], row["method"])
        found.setdefault(key, []).append(row)
    return found


def _methods_of(rows: Sequence[Mapping]) -> list[str]:
    present = {row["method"] for row in rows}
    return [method for method in TITLES if method in present]


def sweep_table(rows: Sequence[Mapping], what: str) -> Table:
    """One line per network size, set and method; a column per sparsity (or per size, if all are dense)."""
    groups = _groups(rows)
    draws = max(map(len, groups.values()))
    bands = list(dict.fromkeys(key[3] for key in groups))
    lines = []
    for head in dict.fromkeys(key[:3] for key in groups):
        for method in _methods_of(rows):
            line = [f"({', '.join(map(str, head[1]))})", head[2], TITLES[method]]
            for band in bands:
                line.append(_cell(groups.get((*head, band, method), []), what, draws))
            if any(cell not in ("", None) for cell in line[3:]):
                lines.append(tuple(line))
    names = ["dense" if band is None else f"s = {band}" for band in bands]
    return Table(("network", "set", "method", *names), tuple(lines))


def _cell(rows: Sequence[Mapping], what: str, draws: int) -> str | float | None:
    """The median and what to know about it: fewer draws than others, some without a number or cut short."""
    if not rows:
        return None
    if what != "value":
        return float(np.median([row[what] for row in rows]))
    few = f"{len(rows)} draw{'s' if len(rows) > 1 else ''}" if len(rows) < draws else ""
    if len(rows) == 1:
        text = shown(rows[0])
        return text if rows[0]["value"] is None or not few else f"{text} ({few})"
    found = middle(rows)
    if found is None:
        return rows[0]["verdict"]
    missing = len(rows) - found["count"]
    late = sum(row["verdict"] == "time" and row["value"] is not None for row in rows)
    note = ", ".join(filter(None, (few, f"{missing} without" if missing else "", f"{late} time" if late else "")))
    return f"{found['median']:.4g}" + (f" ({note})" if note else "")


def claims_table(rows: Sequence[Mapping]) -> Table:
    """Each claim, in how many networks it holds, and of how many; equality up to the solver's tolerance."""
    cells: dict[tuple, dict[str, float]] = {}
    for row in rows:
        if row["value"] is not None:
            cells.setdefault((row["network"], row["set"]), {})[row["method"]] = row["value"]
    lines = []

    def count(text: str, smaller: str, larger: str, where: str | None, factor: float) -> None:
        pairs = [v for (_, s), v in cells.items() if (where in (None, s)) and smaller in v and larger in v]
        if pairs:
            lines.append((text, sum(v[smaller] <= v[larger] * factor for v in pairs), len(pairs)))

    loose = 1 + 3e-4
    for method in METHODS[1] + ("hr-1",):
        if method not in LOWER:
            count(f"LBS <= {TITLES[method]}", "lbs", method, None, 1.0)
    count("product Shor <= HR-2 (its lower end)", "product-shor", "hr-2-products", None, loose)
    count("HR-2 (its upper end) <= SHOR", "hr-2-signs", "shor", None, loose)
    count("HR-2 tighter than SHOR by more than 0.05 %, local", "hr-2-signs", "shor", "local", 1 - 5e-4)
    count("HR-2 tighter than SHOR by more than 0.05 %, global", "hr-2-signs", "shor", "global", 1 - 5e-4)
    count("HR-2 (its upper end) <= LipOpt-3", "hr-2-signs", "lipopt-3", None, loose)
    count("HR-1 <= LipOpt-3", "hr-1", "lipopt-3", None, loose)
    count("LipOpt-4 <= LipOpt-3", "lipopt-4", "lipopt-3", None, loose)
    count("LipOpt-4 <= HR-2 (its upper end)", "lipopt-4", "hr-2-signs", None, loose)
    count("LipOpt-4 <= HR-1", "lipopt-4", "hr-1", None, loose)
    return Table(("claim", "holds in", "of"), tuple(lines))


def panels(rows: Sequence[Mapping]) -> list[dict]:
    """What is drawn: for each set (or number of hidden layers) the bounds and the times of every method."""
    groups = _groups(rows)
    draws = {m: max(len(some) for key, some in groups.items() if key[-1] == m) for m in _methods_of(rows)}
    names = {method: TITLES[method] + (f" ({n} draw{'s' if n > 1 else ''})" if n < max(draws.values()) else "")
             for method, n in draws.items()}  # fmt: skip
    dense = all(row["sparsity"] is None for row in rows)
    found = []
    kinds = list(dict.fromkeys((key[0], key[2]) if dense else (key[1], key[2]) for key in groups))
    for kind in kinds:
        for what, label in (("value", "bound"), ("cpu_seconds", "processor seconds")):
            series = {}
            for method in _methods_of(rows):
                if what == "cpu_seconds" and method in LOWER:
                    continue
                points = []
                for (depth, sizes, where, band, other), some in groups.items():
                    if other != method or ((depth if dense else sizes), where) != kind:
                        continue
                    numbers = (
                        values(some) if what == "value" else np.array([r[what] for r in some if r["value"] is not None])
                    )
                    if len(numbers):
                        x = sum(sizes) if dense else band
                        points.append((x, *np.quantile(numbers, [0.25, 0.5, 0.75])))
                if points:
                    series[names[method]] = sorted(points)
            layers = f"{kind[0]} hidden layer{'s' if kind[0] != 1 else ''}"
            title = layers if dense else f"({', '.join(map(str, kind[0]))}), {kind[1]}"
            found.append({"title": title, "x": "neurons and inputs" if dense else "sparsity s", "y": label,
                          "log": what != "value", "series": series})  # fmt: skip
    return found


def numbers_table(rows: Sequence[Mapping]) -> Table:
    """The numbers behind the drawing: median and quartiles of each group."""
    lines = []
    for (_, sizes, where, band, method), some in _groups(rows).items():
        found = middle(some)
        row = (None,) * 3 if found is None else (found["low"], found["median"], found["high"])
        seconds = float(np.median([r["cpu_seconds"] for r in some]))
        lines.append((" ".join(map(str, sizes)), where, band, method, *row, seconds, len(some)))
    return Table(("sizes", "set", "sparsity", "method", "lower quartile", "median", "upper quartile",
                  "processor seconds", "draws"), tuple(lines))  # fmt: skip


def table_1_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our medians for the printed cells; other draws than the paper's."""
    found: dict[str, Value] = {}
    printed = {"hr-2-signs": "hr-2", "hr-1": "hr-1", "lipopt-3": "lipopt-3", "lipopt-4": "lipopt-4", "lbs": "lbs"}
    for (_, sizes, where, band, method), some in _groups(rows).items():
        if where != "global" or method not in printed:
            continue
        stem = f"{'-'.join(map(str, sizes))}/s{band}/{printed[method]}"
        numbers = middle(some)
        if numbers is not None:
            late = sum(row["verdict"] == "time" for row in some)
            note = f"median of {len(some)} draws; the paper's draw is unknown"
            if late:
                note += f"; {late} cut short by the time limit"
            found[f"table-1/{stem}"] = Value(round(numbers["median"], 4), note)
            if method != "lbs":
                seconds = float(np.median([row["cpu_seconds"] for row in some]))
                found[f"table-1/seconds/{stem}"] = Value(round(seconds, 2), "processor seconds of one thread")
    return found


def no_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """The figures print no numbers."""
    return {}
