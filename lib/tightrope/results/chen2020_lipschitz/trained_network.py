"""Table 2: global and local bounds of one output of a trained network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tightrope import figures
from tightrope.results.chen2020_lipschitz.common import PAPER, SETS, TITLES, bound, make_case, network_of, shown
from tightrope.verifiers.relu_lipschitz import METHODS
from tightrope.workbench.cases import solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.published import find
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_2 = "table-2-sdp-nn"
USED = ("product-shor", "hr-2-products", "hr-2-signs", "shor", "qcqp", "lipopt-3", "lbs", "ascent")
_PRINTED = {"hr-2-signs": "hr-2", "shor": "shor", "lbs": "lbs"}


@dataclass(frozen=True)
class Table2:
    """Rows of Table 2 and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def bounds(self) -> Table:
        """Bounds on both sets beside the printed ones."""
        return bounds_table(self.rows)

    @property
    def seconds(self) -> Table:
        """Processor seconds of one thread beside the printed seconds."""
        return bounds_table(self.rows, "cpu_seconds")

    def draw(self) -> figures.Drawing:
        """Draw lower and upper bounds; write them under figures/."""
        groups = {
            where: [(TITLES[r["method"]], METHODS[r["method"]][1], r["value"]) for r in self.rows
                    if r["set"] == where and r["value"] is not None]
            for where in SETS
        }  # fmt: skip
        drawing = figures.bounds(groups, title="bounds of the Lipschitz constant")
        drawing.save(PAPER, f"{TABLE_2}.{drawn_profile(self.rows)}", self.bounds)
        return drawing


def table_2(
    network: str,
    output: int = 1,
    time_limit: float = 3600,
    samples: int = 50_000,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Table2:
    """Table 2: bounds of one output on the ball of radius 10 and of radius 0.1 around 0.

    Parameters
    ----------
    network
        A feed-forward network of the zoo; the paper's is ``chen2020-lipschitz/sdp-nn``.
    output
        Counts from 0: the paper's label 2 is output 1.
    """
    parameters = dict(network=network, output=output, time_limit=time_limit, samples=samples, profile=profile)
    return Table2(solved(table_2_cases(parameters), solve or bound, store))


@checked()
def table_2_cases(parameters: Mapping) -> list[dict]:
    """One case per set and method."""
    found = []
    network_of(parameters["network"])
    for method in USED:
        for where, radius in SETS.items():
            options: dict = {"tolerance": 1e-4}
            if method in ("lbs", "ascent"):
                options = {"samples": parameters["samples"], "seed": 0}
            elif method != "qcqp":
                options["time_limit"] = parameters["time_limit"]
            found.append(
                make_case(
                    TABLE_2,
                    parameters["profile"],
                    parameters["network"],
                    radius,
                    method,
                    options,
                    parameters["output"],
                    set=where,
                )
            )
    return found


def bounds_table(rows: Sequence[Mapping], what: str = "value") -> Table:
    """One line per method, both sets beside the printed numbers (which are for SDP-NN)."""
    known = {(row["method"], row["set"]): row for row in rows}
    cells = {cell.id: cell.printed for cell in find(f"{PAPER}/{TABLE_2}").cells}
    lines = []
    for method in USED:
        line: list = [TITLES[method]] + ([METHODS[method][1]] if what == "value" else [])
        for where in SETS:
            row = known.get((method, where))
            stem = "" if what == "value" else "seconds/"
            line += [shown(row) if what == "value" else (None if row is None else row[what])]
            line += [cells.get(f"table-2/{stem}{where}/{_PRINTED.get(method)}")]
        lines.append(tuple(line))
    head = ("bound", "side") if what == "value" else ("bound",)
    return Table((*head, "global", "printed", "local", "printed "), tuple(lines))


def table_2_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our numbers for the printed cells."""
    found: dict[str, Value] = {}
    known = {(row["method"], row["set"]): row for row in rows}
    for (method, where), row in known.items():
        if method not in _PRINTED or row["value"] is None:
            continue
        note = ""
        if method == "hr-2-signs":
            tight = known.get(("product-shor", where))
            note = "HR-2 is at most this" + (f"; product Shor proves {tight['value']:.3f}" if tight else "")
        elif method == "lbs":
            best = known.get(("ascent", where))
            note = f"ascent finds {best['value']:.3f}" if best else ""
        found[f"table-2/{where}/{_PRINTED[method]}"] = Value(round(row["value"], 4), note)
        if method != "lbs":
            found[f"table-2/seconds/{where}/{_PRINTED[method]}"] = Value(round(row["cpu_seconds"], 1), "one thread")
    return found
