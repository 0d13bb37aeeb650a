"""Table 2: global and local bounds of one output of a trained network."""

from tightrope import figures
from tightrope.outward import at_least, at_most
from tightrope.verifiers.relu_lipschitz import MEMORY, METHODS
from tightrope.workbench.certificates import COLUMN, Claim, Statement, proof_of
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Row, Rows, Value, Values
from .common import PAPER, SETS, ball_case, bound_and_report, question, shown

table_2 = Experiment(PAPER, "table-2-sdp-nn")
USED = ("product-shor", "hr-2-products", "hr-2-signs", "shor", "qcqp", "lipopt-3", "lbs", "ascent")
PRINTED = {"hr-2-signs": "hr-2", "shor": "shor", "lbs": "lbs"}


@table_2.cases
def cases(network: str, output: int, time_limit: float, samples: int) -> Cases:
    """Yield one case for each method and set; `output` counts from 0: the paper's label 2 is output 1."""
    for method in USED:
        options = {"tolerance": 1e-4}
        if METHODS[method].side == "lower":
            options = {"samples": samples, "seed": 0}
        elif method != "qcqp":
            options["time_limit"] = time_limit
        for name, radius in SETS.items():
            yield ball_case(network, radius, method, options, output, set=name)


@table_2.states
def constant(row: Row) -> Statement | None:
    """Return the bound, from the side of its method."""
    if row["value"] is None:
        return None
    relation = ">=" if METHODS[row["method"]].side == "lower" else "<="
    claim = Claim({"part": row["part"], "norm": "inf"}, relation, row["value"])
    return Statement((claim,), lambda: question(row))


@table_2.solve
def bound_and_prove(case: Case) -> dict:
    """Bound the constant of one case, with its certificate."""
    outcome, report = bound_and_report(case)
    return outcome if report is None else outcome | {COLUMN: proof_of(constant({**case, **outcome}), report)}


@table_2.lines("bound | side", *SETS, tolerance=dict.fromkeys(SETS, 0.01))
def bounds(rows: Rows) -> Lines:
    """Return the bounds on both sets."""
    for method in USED:
        found = (shown(rows.one(method=method, set=name)) for name in SETS)
        yield METHODS[method].title, METHODS[method].side, *found


@table_2.lines("bound", *(f"{name} (s)" for name in SETS))
def seconds(rows: Rows) -> Lines:
    """Return processor seconds of one thread."""
    for method in USED:
        found = (rows.one(method=method, set=name) for name in SETS)
        yield METHODS[method].title, *(row and row["cpu_seconds"] for row in found)


@table_2.drawing(bounds)
def draw(rows: Rows) -> figures.Drawing:
    """Draw lower and upper bounds on both sets."""
    groups: dict[str, list[tuple[str, str, float]]] = {name: [] for name in SETS}
    for row in rows:
        if row["value"] is not None:
            method = METHODS[row["method"]]
            groups[row["set"]].append((method.title, method.side, row["value"]))
    titles = {"hr-2": "HR-2, at most", "shor": "SHOR", "lbs": "LBS"}
    printed: dict[str, list[tuple[str, float]]] = {}
    for cell, value in table_2.printed.items() if rows[0]["profile"] == "paper" else ():
        _, name, method, *_ = cell.split("/")
        if cell == f"table-2/{name}/{method}":  # a bound, and no time
            printed.setdefault(name, []).append((titles[method], value))
    drawing = figures.bounds(groups, "bounds of the Lipschitz constant", printed)
    return drawing.saying(f"The Lipschitz constant lies {where}" if (where := figures.between(groups)) else "")


@table_2.cells
def cells(rows: Rows) -> Values:
    """Yield our bounds and times for the printed ones."""
    for row in rows:
        method, name = row["method"], row["set"]
        if method == "lipopt-3":
            yield f"table-2/{name}/lipopt-3/out-of-memory", Value(int(row["verdict"] == MEMORY), row["reason"] or "")
        if method not in PRINTED or row["value"] is None:
            continue
        note = ""
        if method == "hr-2-signs":
            tight = rows.one(method="product-shor", set=name)
            note = "HR-2 is at most this" + (f"; product Shor proves {at_most(tight['value'], 5)}" if tight else "")
        elif method == "lbs":
            best = rows.one(method="ascent", set=name)
            note = f"ascent finds {at_least(best['value'], 5)}" if best else ""
        yield f"table-2/{name}/{PRINTED[method]}", Value(row["value"], note, [row])
        if method != "lbs":
            yield f"table-2/seconds/{name}/{PRINTED[method]}", Value(round(row["cpu_seconds"], 1), "one thread")
