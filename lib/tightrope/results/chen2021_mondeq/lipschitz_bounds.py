"""Table 3: upper bounds of the Lipschitz constant, and lower bounds beside them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import figures
from tightrope.problems.lipmon import lipmon_problem
from tightrope.regions import Ball
from tightrope.relaxations.exact import exact_bound
from tightrope.results.chen2021_mondeq.common import PAPER, norm_text
from tightrope.verifiers import lipschitz, lipschitz_lower
from tightrope.workbench.cases import dataset, entry, image_count, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.published import PROFILES, find
from tightrope.workbench.records import Store, case_key
from tightrope.workbench.registry import CUSTOM, Value, drawn_profile, profile_cases
from tightrope.workbench.tables import Table

TABLE_3 = "table-3-lipschitz-bounds"
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
_PRINTED = {"product-bound": "ub", "reference-model": "semi-ub"}


@dataclass(frozen=True)
class Table3:
    """Rows of Table 3 and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def bounds(self) -> Table:
        """Every bound beside the printed one."""
        return bounds_table(self.rows)

    @property
    def seconds(self) -> Table:
        """Seconds beside the printed ones."""
        return seconds_table(self.rows)

    @property
    def outputs(self) -> Table:
        """The L-infinity constant of every output: the proven one is the largest."""
        found = _by_method(self.rows).get(("lipschitz-model", "inf"))
        return Table(("output", "L-infinity constant"), tuple(enumerate(found["parts"])) if found else ())

    def draw(self) -> figures.Drawing:
        """Draw lower and upper bounds on a logarithmic axis; write them under figures/."""
        groups: dict[str, list] = {}
        by_method = _by_method(self.rows)
        for (method, norm), row in by_method.items():
            if method != "pairwise":
                groups.setdefault(norm_text(norm), []).append((METHODS[method][0], METHODS[method][1], row["value"]))
        drawing = figures.bounds(groups, title="bounds of the Lipschitz constant")
        drawing.save(PAPER, f"{TABLE_3}.{drawn_profile(self.rows)}", self.bounds)
        return drawing


def table_3(
    network: str,
    images: int = 300,
    restarts: int = 10,
    printed_model: bool = True,
    seed: int = 0,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Table3:
    """Table 3: upper bounds of the global Lipschitz constant of F for L2 and L-infinity.

    Parameters
    ----------
    network
        A name of the zoo; the paper's is ``chen2021-mondeq/mnist-87``.
    images
        At how many test images Jacobians are sampled; the ascent starts from the best of them.
    restarts
        Of the ascent, for each output: from images, and as many from random patterns.
    printed_model
        Whether to solve the paper's own model too, which is larger.
    seed
        Of the random patterns.
    profile
        Under which name the rows are kept; "custom" if the other parameters are not those of that profile.
    store, solve
        Where rows are kept, and how a case is solved (:func:`bound`); replaced in tests.
    """
    parameters = dict(
        network=network, images=images, restarts=restarts, printed_model=printed_model, seed=seed, profile=profile
    )
    return Table3(solved(table_3_cases(parameters), solve or bound, store))


@checked()
def table_3_cases(parameters: Mapping) -> list[dict]:
    """One case per norm and method; the L1 constant, which the paper does not print, comes last."""
    count = image_count(parameters["images"], dataset(entry(parameters["network"]).dataset))
    sampling = {"images": count}
    options = {
        "ascent": sampling | {"restarts": parameters["restarts"], "seed": parameters["seed"]},
        "sampled": sampling,
    }
    left_out = () if parameters["printed_model"] else ("printed-model", "reference-model")
    methods = [method for method in METHODS if method not in left_out]
    asked = [(method, norm) for method in methods for norm in NORMS] + [(method, 1) for method in L1_METHODS]
    return [make_case(parameters, norm, method, options.get(method, {})) for method, norm in asked]


def constants(network: str, profile: str, store: Store | None = None) -> dict[tuple[str, object], dict]:
    """The rows of Table 3 that certify images, by method and norm; solved now if they are not kept.

    Constants know no images, so a custom choice of images takes those of the profile that has this network.
    """
    cases = constants_cases({"network": network, "profile": profile})
    if profile == CUSTOM:
        for known in PROFILES:
            asked = constants_cases({"network": network, "profile": known})
            if {case_key(case) for case in asked} <= profile_cases(PAPER, TABLE_3, known).keys():
                cases = asked
    return _by_method(solved(cases, bound, store))


@checked()
def constants_cases(parameters: Mapping) -> list[dict]:
    """Those cases of Table 3."""
    return [make_case(parameters, norm, method, {}) for method in CONSTANTS for norm in NORMS]


def kept_constants(network: str, profile: str) -> dict[tuple[str, object], dict]:
    """The same, without solving: those that are kept."""
    with Store() as store:
        rows = store.rows(TABLE_3, profile, PAPER)
    return _by_method(row for row in rows if row["network"] == network and row["method"] in CONSTANTS)


def make_case(parameters: Mapping, norm: object, method: str, options: Mapping) -> dict:
    """One norm and method: what identifies a row."""
    found = entry(parameters["network"])
    return {
        "paper": PAPER,
        "result": TABLE_3,
        "profile": parameters["profile"],
        "network": parameters["network"],
        "network_sha256": found.identity,
        "dataset": found.dataset,
        "norm": norm,
        "method": method,
        "options": dict(options),
    }


def bound(case: Mapping) -> dict:
    """Solve one case; `checked` is what a proof gives when an independent check repeats it with dense eigenvalues."""
    network, norm, method = entry(case["network"]).network, case["norm"], case["method"]
    start = time.perf_counter()
    outcome = {"proven": METHODS[method][1] != "UNPROVEN", "checked": None, "status": None, "parts": None}
    if method == "product-bound":
        outcome["value"] = lipschitz.product_bound(network, norm)
    elif method in ("lipschitz-model", "pairwise"):
        prove = lipschitz.upper_bound if method == "lipschitz-model" else lipschitz.pairwise_bounds
        report = prove(network, norm)
        outcome["seconds"] = round(report.seconds, 6)
        outcome |= {
            "value": max(part.value for part in report.parts),
            "checked": lipschitz.check(report, network),
            "status": ", ".join(sorted({part.status for part in report.parts})),
            "parts": [part.value for part in report.parts],  # pairs: (0, 1), (0, 2), ..., (1, 2), ...
        }
    elif method in ("printed-model", "reference-model"):
        problem = lipmon_problem(network, all_images(case), reference_constraints=method == "reference-model")
        part = lipschitz.prove(problem, tolerance=1e-4)
        outcome["seconds"] = round(part.seconds, 6)
        outcome |= {"value": part.value, "status": part.status}
        if part.multipliers is not None:
            outcome["checked"] = exact_bound(problem, part.multipliers, part.y0, part.shift)
    else:
        data = dataset(case["dataset"])
        x = data.normalisation.to_input(data.images[: case["options"]["images"]])
        if method == "sampled":
            found = lipschitz_lower.sampled(network, norm, x)
        else:
            options = {name: case["options"][name] for name in ("restarts", "seed")}
            found = lipschitz_lower.ascent(network, norm, x, **options)
        outcome["value"] = found.value
    return {"seconds": round(time.perf_counter() - start, 6)} | outcome


def all_images(case: Mapping) -> Ball:
    """The paper's set S: a ball that holds every test image, with a margin of 0.1 in pixels."""
    data = dataset(case["dataset"])
    center = data.normalisation.to_input(np.full(data.images.shape[1], 0.5))
    reach = np.linalg.norm(data.images - 0.5, axis=1).max() if case["norm"] == 2 else 0.5
    return Ball(center, data.normalisation.radius_to_input(reach + 0.1), case["norm"])


def pair_matrix(row: Mapping, classes: int) -> np.ndarray:
    """(K, K) pairwise constants from the row that keeps the upper triangle."""
    values = np.zeros((classes, classes))
    values[np.triu_indices(classes, 1)] = row["parts"]
    return values + values.T


def bounds_table(rows: Sequence[Mapping]) -> Table:
    """One line per method: what it bounds, and both norms beside the printed numbers."""
    by_method = _by_method(rows)
    lines = []
    for method, (name, side) in METHODS.items():
        line = [name, side]
        for norm in NORMS:
            row = by_method.get((method, norm))
            line += [None if row is None else f"{row['value']:.5g}", _printed(method, norm)]
        if any(by_method.get((method, norm)) for norm in NORMS):
            lines.append((*line, f"{l1['value']:.5g}" if (l1 := by_method.get((method, 1))) else None))
    return Table(("bound", "proven side", "L2", "printed", "L-infinity", "printed ", "L1"), tuple(lines))


def seconds_table(rows: Sequence[Mapping]) -> Table:
    """Seconds of each method; the printed ones are those of the printed model with the reference constraint."""
    by_method = _by_method(rows)
    lines = []
    for method, (name, _) in METHODS.items():
        line = [name]
        for norm in NORMS:
            row = by_method.get((method, norm))
            printed = _printed(method, norm, "seconds/") if method == "reference-model" else None
            line += [None if row is None else row["seconds"], printed]
        lines.append((*line, l1["seconds"] if (l1 := by_method.get((method, 1))) else None))
    return Table(("bound", "L2", "printed", "L-infinity", "printed ", "L1"), tuple(lines))


def table_3_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our numbers for the printed cells: the printed upper bounds beside our proven ones."""
    by_method = _by_method(rows)
    values: dict[str, Value] = {}
    for norm in NORMS:
        closed, ours = by_method.get(("product-bound", norm)), by_method.get(("lipschitz-model", norm))
        if closed:
            values[f"table-3/ub-l{norm}"] = Value(closed["value"])
        if ours:
            note = "proven, without the constraint that the printed one needs"
            reference = by_method.get(("reference-model", norm))
            if reference:
                note += f"; with that constraint the printed model gives {reference['value']:.5g} (unproven)"
            lower = [row["value"] for m in ("ascent", "sampled") if (row := by_method.get((m, norm)))]
            if lower:
                note += f"; at least {max(lower):.4g}"
            values[f"table-3/semi-ub-l{norm}"] = Value(ours["value"], note)
            values[f"table-3/seconds/semi-ub-l{norm}"] = Value(ours["seconds"])
    return values


def _by_method(rows) -> dict[tuple[str, object], dict]:
    return {(row["method"], row["norm"]): row for row in rows}


def _printed(method: str, norm: object, what: str = "") -> float | None:
    if method not in _PRINTED:
        return None
    return find(f"{PAPER}/{TABLE_3}").cell(f"table-3/{what}{_PRINTED[method]}-l{norm}").printed
