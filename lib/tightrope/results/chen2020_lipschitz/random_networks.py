"""Random networks: Table 1, Figure 1 and the poster's figures, which differ in sizes, sparsities, draws and methods."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

import numpy as np

from tightrope import figures
from tightrope.errors import InputError
from tightrope.networks.random import random_network
from tightrope.outward import outward
from tightrope.verifiers.relu_lipschitz import MEMORY, METHODS
from tightrope.workbench.experiment import Cases, Experiment, Lines, Names, Numbers, Row, Rows, Table, Value, Values
from tightrope.workbench.rows import counted
from .common import PAPER, SETS, ball_case, bound_constant, shown

table_1 = Experiment(PAPER, "table-1-random-networks")
table_1.solve(bound_constant)
#: By number of hidden layers. HR-2 is an interval: relaxations.heuristic says why.
USED = {
    1: ("product-shor", "hr-2-signs", "hr-2-products", "shor", "lipopt-3", "lipopt-4", "lbs", "ascent"),
    2: ("product-shor", "hr-1", "lipopt-3", "lipopt-4", "lbs", "ascent"),
}
LINEAR, LOWER = ("lipopt-3", "lipopt-4"), ("lbs", "ascent")
PRINTED = {"hr-2-signs": "hr-2", "hr-1": "hr-1", "lipopt-3": "lipopt-3", "lipopt-4": "lipopt-4", "lbs": "lbs"}
EQUAL = 1 + 3e-4  # up to the solver's tolerance
UPPER = ("product-shor", "hr-2-signs", "hr-2-products", "shor", "lipopt-3", "lipopt-4", "hr-1")
#: The paper's claims: in words, the smaller method, the larger one, the set ("": both), a factor of the larger value.
CLAIMS = (
    *((f"LBS <= {METHODS[method].title}", "lbs", method, "", 1.0) for method in UPPER),
    ("product Shor <= HR-2 (its lower end)", "product-shor", "hr-2-products", "", EQUAL),
    ("HR-2 (its upper end) <= SHOR", "hr-2-signs", "shor", "", EQUAL),
    ("HR-2 tighter than SHOR by more than 0.05 %, local", "hr-2-signs", "shor", "local", 1 - 5e-4),
    ("HR-2 tighter than SHOR by more than 0.05 %, global", "hr-2-signs", "shor", "global", 1 - 5e-4),
    ("HR-2 (its upper end) <= LipOpt-3", "hr-2-signs", "lipopt-3", "", EQUAL),
    ("HR-1 <= LipOpt-3", "hr-1", "lipopt-3", "", EQUAL),
    ("LipOpt-4 <= LipOpt-3", "lipopt-4", "lipopt-3", "", EQUAL),
    ("LipOpt-4 <= HR-2 (its upper end)", "lipopt-4", "hr-2-signs", "", EQUAL),
    ("LipOpt-4 <= HR-1", "lipopt-4", "hr-1", "", EQUAL),
)

Sizes = Sequence[Sequence[int]]  # inputs and hidden layers of each network; one output is added


@table_1.cases
def table_1_cases(sizes: Sizes, sparsities: Numbers, draws: int, time_limit: float, samples: int) -> Cases:
    """Return one case for each network and method, globally."""
    return _cases(product(sizes, sparsities), draws, USED, time_limit, samples)


def _cases(
    kinds: Iterable[tuple[Sequence[int], int | None]],
    draws: int,
    used: Mapping[int, Sequence[str]],
    time_limit: float,
    samples: int,
    sets: Names = ("global",),
) -> Cases:
    """Return one case for each draw, (sizes, sparsity), set, and method used for that number of hidden layers."""
    cases = []
    for draw, (sizes, band), name in product(range(draws), kinds, sets):
        depth = len(sizes) - 1
        if depth not in used:
            raise InputError(f"sizes: {tuple(sizes)} has {depth} hidden layers; this result is for 1 and 2.")
        network = random_network((*sizes, 1), band, draw).name
        rest = {"sizes": list(sizes), "sparsity": band, "draw": draw, "set": name}
        for method in used[depth]:
            options: dict = {"tolerance": 1e-4}
            if method in LINEAR:
                options = {"time_limit": time_limit}
            elif method in LOWER:
                options = {"samples": samples, "seed": draw}
            cases.append(ball_case(network, SETS[name], method, options, **rest))
    # Linear programs last: a run that is stopped has everything else.
    return sorted(cases, key=lambda case: case["method"] if case["method"] in LINEAR else "")


@table_1.table
def bounds(rows: Rows) -> Table:
    """Return medians over draws (one draw: the value), verdicts where there is no number."""
    draws = len(rows.different("draw"))
    return _by_sparsity(rows, lambda own: _median_bound(own, draws))


@table_1.table
def seconds(rows: Rows) -> Table:
    """Return processor seconds, medians over draws."""
    return _by_sparsity(rows, _median_seconds)


def _by_sparsity(rows: Rows, cell: Callable[[Rows], str | float]) -> Table:
    """Return a line for each size, set and method that has rows, and a column for each sparsity."""
    bands = rows.different("sparsity")
    lines = []
    for (sizes, name), own in rows.by("sizes", "set"):
        for method in _methods(own):
            groups = [own.where(method=method, sparsity=band) for band in bands]
            cells = [cell(group) if group else None for group in groups]
            lines.append((f"({', '.join(map(str, sizes))})", name, METHODS[method].title, *cells))
    names = ["dense" if band is None else f"s = {band}" for band in bands]
    return Table(("network", "set", "method", *names), lines, tolerance=5e-4)  # proven to 1e-4 relative


def _methods(rows: Rows) -> list[str]:
    present = rows.different("method")
    return [method for method in METHODS if method in present]


def _median_bound(rows: Rows, draws: int) -> str:
    """Return the median and what to know about it: fewer draws than others, some without a number or cut short."""
    values = rows.column("value")
    if not values:
        return rows[0]["verdict"]
    side, notes = METHODS[rows[0]["method"]].side, [counted([len(rows)], "draw")] if len(rows) < draws else []
    text = outward(side)(float(np.median(values)))
    if len(rows) == 1:
        text = shown(rows[0])
    else:
        missing, late = len(rows) - len(values), len(rows.where(verdict="time").column("value"))
        notes += [f"{count} {word}" for count, word in ((missing, "without"), (late, "time")) if count]
    return f"{text} ({', '.join(notes)})" if notes else text


def _median_seconds(rows: Rows) -> float:
    return float(np.median(rows.column("cpu_seconds")))


@table_1.lines("claim | holds in | of")
def claims(rows: Rows) -> Lines:
    """Return in how many networks (and sets) each of the paper's claims holds, and of how many."""
    known = Rows(row for row in rows if row["value"] is not None).by("network", "set")
    values = [(name, {row["method"]: row["value"] for row in own}) for (_, name), own in known]
    for text, smaller, larger, where, factor in CLAIMS:
        both = [own for name, own in values if where in ("", name) and smaller in own and larger in own]
        if both:
            yield text, sum(own[smaller] <= own[larger] * factor for own in both), len(both)


def quartiles(rows: Rows) -> Table:
    """Return median and quartiles of the bounds, and the median of the times, of each network, set and method."""
    lines = []
    for (sizes, name, band, method), own in rows.by("sizes", "set", "sparsity", "method"):
        ends = _quartiles(own.column("value"))
        lines.append((" ".join(map(str, sizes)), name, band, method, *ends, _median_seconds(own), len(own)))
    ends = ("lower quartile", "median", "upper quartile")
    return Table(("sizes", "set", "sparsity", "method", *ends, "processor s", "draws"), lines)


def _quartiles(values: Sequence[float]) -> list[float] | list[None]:
    return np.quantile(values, [0.25, 0.5, 0.75]).tolist() if len(values) else [None] * 3


def panels(rows: Rows) -> list[dict]:
    """Return what is drawn: bounds and times by sparsity for each size and set, or by size for each depth."""
    dense, draws = rows.different("sparsity") == [None], len(rows.different("draw"))
    names = {}
    for (method,), own in rows.by("method"):
        count = len(own.different("draw"))
        names[method] = METHODS[method].title + (f" ({counted([count], 'draw')})" if count < draws else "")
    solved = Rows({**row, "panel": _panel(row)} for row in rows if row["value"] is not None)
    drawn = []
    for (title,), own in solved.by("panel"):
        for what, label in (("value", "bound of the Lipschitz constant"), ("cpu_seconds", "processor seconds")):
            series = {}
            for method in _methods(own):
                if what == "value" or method not in LOWER:
                    groups = own.where(method=method).by("sizes", "sparsity")
                    points = [(sum(p) if dense else s, *_quartiles(some.column(what))) for (p, s), some in groups]
                    series[names[method]] = sorted(points)
            axes = {"x": "neurons and inputs" if dense else "sparsity s", "y": label, "log": what != "value"}
            axes["printed"] = _printed(own, what) if rows[0]["result"] == table_1.name else {}
            drawn.append({"title": title, **axes, "series": series})
    return drawn


def _printed(rows: Rows, what: str) -> dict[str, list[tuple[float, float]]]:
    """Return method -> (sparsity, printed bound or time) for the rows of one panel, in the paper profile."""
    found: dict[str, list[tuple[float, float]]] = {}
    for (sizes, band, method), _ in rows.where(profile="paper", set="global").by("sizes", "sparsity", "method"):
        stem = f"{'-'.join(map(str, sizes))}/s{band}/{PRINTED.get(method)}"
        value = table_1.printed.get(f"table-1/{'' if what == 'value' else 'seconds/'}{stem}")
        if value is not None:
            found.setdefault(METHODS[method].title, []).append((band, value))
    return found


def _panel(row: Row) -> str:
    if row["sparsity"] is None:
        return counted([len(row["sizes"]) - 1], "hidden layer")
    return f"({', '.join(map(str, row['sizes']))}), {row['set']}"


@table_1.drawing(quartiles)
def draw(rows: Rows) -> figures.Drawing:
    """Draw medians and quartiles of bounds and times."""
    drawn = panels(rows)
    return figures.sweeps(drawn, title="bounds and times").saying(_finding(drawn))


def _finding(drawn: Sequence[Mapping]) -> str:
    """Say how much LipOpt-3's bounds and times are above product Shor's, in the medians at the right of all panels."""
    said = []
    for what, parts in (("bound is", drawn[::2]), ("time", drawn[1::2])):
        ends = [{name.split(" (")[0]: own[-1] for name, own in panel["series"].items()} for panel in parts]
        both = [(own["LipOpt-3"], own["product Shor"]) for own in ends if {"LipOpt-3", "product Shor"} <= own.keys()]
        ratios = [loose[2] / tight[2] for loose, tight in both if loose[0] == tight[0]]
        if ratios:
            low, high = (f"{ratio:.2g}" for ratio in (min(ratios), max(ratios)))
            said.append(f"{what} {low if low == high else f'{low} to {high}'} times")
    return f"At the right LipOpt-3's {', its '.join(said)} that of product Shor" if said else ""


figure_1, poster = table_1.same("figure-1-sparsity-sweep"), table_1.same("poster-figures-1-and-2")


@figure_1.cases
def figure_1_cases(
    width: int,
    sparsities: Numbers,
    draws: int,
    methods: Names,
    lipopt_3_draws: int | None,
    lipopt_4_draws: int | None,
    time_limit: float,
    samples: int,
) -> Cases:
    """Return one case for each network, set and method: all sparsities of the first draw first, so a part is a sample.

    Linear programs take most of the time: they are solved for so many of the draws (None: all).
    """
    kinds = product([(width, width)], sparsities)
    cases = _cases(kinds, draws, {1: methods}, time_limit, samples, tuple(SETS))
    return _fewer(cases, lipopt_3_draws, lipopt_4_draws)


@poster.cases
def poster_cases(
    one_layer: Sizes,
    two_layers: Sizes,
    draws: int,
    lipopt_3_draws: int | None,
    lipopt_4_draws: int | None,
    time_limit: float,
    samples: int,
) -> Cases:
    """Return one case for each dense network and method, globally; see :func:`figure_1_cases`."""
    kinds = product([*one_layer, *two_layers], [None])
    return _fewer(_cases(kinds, draws, USED, time_limit, samples), lipopt_3_draws, lipopt_4_draws)


def _fewer(cases: list[dict], lipopt_3_draws: int | None, lipopt_4_draws: int | None) -> list[dict]:
    draws = {"lipopt-3": lipopt_3_draws, "lipopt-4": lipopt_4_draws}
    return [case for case in cases if draws.get(case["method"]) is None or case["draw"] < draws[case["method"]]]


@table_1.cells
def cells(rows: Rows) -> Values:
    """Yield our medians for the printed bounds and times, of other draws than the paper's; 1 for out of memory."""
    for (sizes, band, method), own in rows.where(set="global").by("sizes", "sparsity", "method"):
        if method not in PRINTED:
            continue
        median = _quartiles(own.column("value"))[1]
        stem = f"{'-'.join(map(str, sizes))}/s{band}/{PRINTED[method]}"
        exhausted = int(own.count(verdict=MEMORY) == len(own))
        yield f"table-1/{stem}/out-of-memory", Value(exhausted, own[0]["reason"] or "")
        if median is not None:
            late = own.count(verdict="time")
            note = f"median of {len(own)} draws; the paper's draw is unknown"
            note += f"; {late} cut short by the time limit" if late else ""
            yield f"table-1/{stem}", Value(median, note)
            if method != "lbs":
                time = round(_median_seconds(own), 2)
                yield f"table-1/seconds/{stem}", Value(time, "processor seconds of one thread")


@figure_1.cells
def claims_of_figure_1(rows: Rows) -> Values:
    """Yield how often what the text says of the figure holds: percent of random networks, or of medians 1 or 0."""
    lines = claims(rows).rows
    for name, wanted, holds in (
        ("above-lbs", "LBS <= ", True),
        ("local/hr-2-below-shor", "HR-2 tighter than SHOR by more than 0.05 %, local", True),
        ("global/shor-equals-hr-2", "HR-2 tighter than SHOR by more than 0.05 %, global", False),
    ):
        some = [(count, of) for text, count, of in lines if text.startswith(wanted)]
        count, of = (sum(column) for column in zip(*some, strict=True)) if some else (0, 0)
        if of:
            yield f"figure-1/{name}", Value(100 * (count if holds else of - count) / of, f"of {of} pairs of bounds")
    for (band,), own in rows.where(set="global").by("sparsity"):
        both = [own.where(method=method).column("value") for method in ("lipopt-3", "hr-2-signs")]
        if all(both):
            lipopt, heuristic = (float(np.median(values)) for values in both)
            note = f"medians {lipopt:.4g} (LipOpt-3) and {heuristic:.4g} (HR-2, its upper end)"
            yield f"figure-1/global/s{band}/lipopt-3-below-hr-2", Value(int(lipopt < heuristic), note)
