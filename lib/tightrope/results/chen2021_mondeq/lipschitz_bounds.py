"""Table 3: upper bounds of the Lipschitz constant, and lower bounds beside them."""

import time
from collections.abc import Mapping
from itertools import combinations
from math import sqrt

import numpy as np

from tightrope import figures
from tightrope.outward import at_least, outward
from tightrope.problems.lipmon import lipmon_problem
from tightrope.question import Limits
from tightrope.regions import Ball
from tightrope.verifiers import lipschitz, lipschitz_lower
from tightrope.verifiers.report import Report
from tightrope.workbench.cases import dataset, entry, first_images, network_sha256
from tightrope.workbench.certificates import COLUMN, Claim, Statement, proof_of
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Row, Rows, Value, Values
from tightrope.workbench.published import PROFILES
from tightrope.workbench.records import case_key
from tightrope.workbench.registry import profile_cases
from .common import PAPER, mondeq, norm_text

table_3 = Experiment(PAPER, "table-3-lipschitz-bounds")
NORMS = (2, "inf")
#: The rows, in the order of the table: method -> (what it is, whether it is proven and from which side).
METHODS = {
    "product-bound": ("closed form (UB_F)", "upper"),
    "lipschitz-model": ("Lipschitz Model, here", "upper"),
    "printed-model": ("printed model, closed soundly", "upper"),
    "reference-model": ("printed model, reference constraint", "UNPROVEN"),
    "ascent": ("ascent over activation patterns", "lower"),
    "sampled": ("Jacobians at images", "lower"),
    "pairwise": ("largest pairwise constant (F_i - F_j)", "upper"),
}
L1_METHODS = ("lipschitz-model", "ascent", "sampled")  # L1 is not printed; one problem per input
CONSTANTS = ("product-bound", "lipschitz-model", "pairwise")  # what Table 2 uses
PRINTED = {"product-bound": "ub", "reference-model": "semi-ub"}
#: Proven by multipliers, for which there are certificates.
MODELS = {"lipschitz-model": lipschitz.upper_bound, "pairwise": lipschitz.pairwise_bounds}


@table_3.cases
def cases(network: str, images: int, restarts: int, printed_model: bool, seed: int) -> Cases:
    """Return one case for each norm and method; the L1 constant, which the paper does not print, comes last.

    `images` are those at which Jacobians are sampled; the ascent starts from the best of them, `restarts` times for
    each output, and as often from random patterns. `printed_model` asks for the paper's own model too, a larger one.
    """
    sampling = {"images": len(first_images(network, images))}
    options = {"ascent": sampling | {"restarts": restarts, "seed": seed}, "sampled": sampling}
    left_out = () if printed_model else ("printed-model", "reference-model")
    asked = [(method, norm) for method in METHODS if method not in left_out for norm in NORMS]
    asked += [(method, 1) for method in L1_METHODS]
    return [_case(network, norm, method, options.get(method, {})) for method, norm in asked]


def _case(network: str, norm: object, method: str, options: Mapping) -> dict:
    mondeq(network)  # refuses others before anything is solved
    return {
        "network": network,
        "network_sha256": network_sha256(network),
        "dataset": entry(network).dataset,
        "norm": norm,
        "method": method,
        "options": dict(options),
    }


@table_3.states
def constants(row: Row) -> Statement | None:
    """Return the constant, or those of all pairs of labels, where they are proven by multipliers."""
    if row["method"] not in MODELS:
        return None
    norm, parts = str(row["norm"]), row["parts"]
    if row["method"] == "pairwise":
        pairs = combinations(range(int((1 + sqrt(1 + 8 * len(parts))) / 2)), 2)
        claims = [Claim({"norm": norm, "pair": [*pair]}, "<=", value) for pair, value in zip(pairs, parts, strict=True)]
    else:
        claims = [Claim({"norm": norm}, "<=", row["value"])]
    return Statement(tuple(claims), lambda: (mondeq(row["network"]), None))


@table_3.solve
def bound_lipschitz(case: Case) -> dict:
    """Bound one constant."""
    network, norm, method = mondeq(case["network"]), case["norm"], case["method"]
    start = time.perf_counter()
    report: Report | None = None
    outcome: dict[str, object] = {"proven": METHODS[method][1] != "UNPROVEN", "status": None, "parts": None}
    if method == "product-bound":
        outcome["value"] = lipschitz.product_bound(network, norm)
    elif method in MODELS:
        report = MODELS[method](network, norm)
        outcome["seconds"] = round(report.seconds, 6)
        outcome |= {
            "value": max(part.value for part in report.parts),
            "status": ", ".join(sorted({part.status for part in report.parts})),
            "parts": [part.value for part in report.parts],  # pairs: (0, 1), (0, 2), ..., (1, 2), ...
        }
    elif method in ("printed-model", "reference-model"):
        problem = lipmon_problem(network, all_images(case), reference_constraints=method == "reference-model")
        part = lipschitz.prove(problem, Limits(1e-4))
        outcome["seconds"] = round(part.seconds, 6)
        outcome |= {"value": part.value, "status": part.status}
    else:
        options = dict(case["options"])
        data, count = dataset(case["dataset"]), options.pop("images")
        search = lipschitz_lower.sampled if method == "sampled" else lipschitz_lower.ascent
        points = data.normalisation.to_input(data.images[:count])
        outcome["value"] = search(network, norm, points, **options).value
    outcome = {"seconds": round(time.perf_counter() - start, 6)} | outcome
    return outcome if report is None else outcome | {COLUMN: proof_of(constants({**case, **outcome}), report)}


def all_images(case: Case) -> Ball:
    """Return the paper's set S: a ball that holds every test image, with a margin of 0.1 in pixels."""
    data = dataset(case["dataset"])
    center = data.normalisation.to_input(np.full(data.images.shape[1], 0.5))
    reach = np.linalg.norm(data.images - 0.5, axis=1).max() if case["norm"] == 2 else 0.5
    return Ball(center, data.normalisation.radius_to_input(reach + 0.1), case["norm"])


@table_3.part
def global_constants(network: str) -> list[dict]:
    """Return the cases of the constants by which images are certified.

    Constants know no images, so that any choice of images takes those of the profile that has the network.
    """
    cases = [_case(network, norm, method, {}) for method in CONSTANTS for norm in NORMS]
    for profile in PROFILES:
        known = [{"paper": PAPER, "result": table_3.name, "profile": profile, **case} for case in cases]
        if {case_key(case) for case in known} <= profile_cases(PAPER, table_3.name, profile).keys():
            return known
    return cases


@table_3.lines("bound | proven side | L2 | L-infinity | L1", tolerance=dict.fromkeys(("L2", "L-infinity", "L1"), 0.005))
def bounds(rows: Rows) -> Lines:
    """Return one line for each method: from which side it bounds, and the constant by norm."""
    for method, (name, side) in METHODS.items():
        ours = {row["norm"]: outward(side)(row["value"], 5) for row in rows.where(method=method)}
        if ours.keys() & set(NORMS):
            yield name, side, *(ours.get(norm) for norm in (*NORMS, 1))


@table_3.lines("bound | L2 (s) | L-infinity (s) | L1 (s)")
def seconds(rows: Rows) -> Lines:
    """Return seconds of each method."""
    for method, (name, _) in METHODS.items():
        ours = {row["norm"]: row["seconds"] for row in rows.where(method=method)}
        yield name, *(ours.get(norm) for norm in (*NORMS, 1))


CONSTANT = "L-infinity constant"


@table_3.lines("output", CONSTANT, tolerance={CONSTANT: 0.01}, bounds={CONSTANT: "upper"})
def outputs(rows: Rows) -> Lines:
    """Return the L-infinity constant of every output: the proven one is the largest."""
    found = rows.one(method="lipschitz-model", norm="inf")
    return enumerate(found["parts"]) if found else ()


@table_3.drawing(bounds)
def draw(rows: Rows) -> figures.Drawing:
    """Draw lower and upper bounds by norm."""
    groups = {
        norm_text(norm): [(*METHODS[row["method"]], row["value"]) for row in own if row["method"] != "pairwise"]
        for (norm,), own in rows.by("norm")
    }
    cells, printed = table_3.printed, {}
    for norm in NORMS if rows[0]["profile"] == "paper" else ():
        found = [(METHODS[method][0], cells[f"table-3/{id}-l{norm}"]) for method, id in PRINTED.items()]
        printed[norm_text(norm)] = found
    drawing = figures.bounds(groups, "bounds of the Lipschitz constant", printed)
    return drawing.saying(f"The Lipschitz constant lies {where}" if (where := figures.between(groups)) else "")


@table_3.cells
def cells(rows: Rows) -> Values:
    """Yield our numbers for the printed cells: the printed upper bounds beside our proven ones."""
    for norm in NORMS:
        found = {row["method"]: row for row in rows.where(norm=norm)}
        if "product-bound" in found:
            yield f"table-3/ub-l{norm}", Value(found["product-bound"]["value"])
        if "lipschitz-model" in found:
            ours, note = found["lipschitz-model"], "proven, without the constraint that the printed one needs"
            if "reference-model" in found:
                reference = found["reference-model"]["value"]
                note += f"; with that constraint the printed model gives {reference:.5g} (unproven)"
            if lower := [found[method]["value"] for method in ("ascent", "sampled") if method in found]:
                note += f"; at least {at_least(max(lower))}"
            yield f"table-3/semi-ub-l{norm}", Value(ours["value"], note, [ours])
            yield f"table-3/seconds/semi-ub-l{norm}", Value(ours["seconds"])
