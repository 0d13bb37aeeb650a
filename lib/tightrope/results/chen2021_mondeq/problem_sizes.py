"""Table 1: sizes of the three models, counted from the problems that are built, beside the printed formulas."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tightrope.networks import MonDEQ
from tightrope.problems.ellipsoid import ellipsoid_model
from tightrope.problems.lipmon import lipmon_problem
from tightrope.problems.lipschitz import lipschitz_problems
from tightrope.problems.robustness import robustness_model
from tightrope.regions import Ball
from tightrope.relaxations.shor import shor_constraints
from tightrope.results.chen2021_mondeq.common import make_case, norm_text, question
from tightrope.solvers.arrow import ArrowData
from tightrope.workbench.cases import dataset, entry, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value
from tightrope.workbench.tables import Table

TABLE_1 = "table-1-problem-sizes"
NORMS = (2, "inf")
#: What is counted: model -> (words, column of the printed table).
MODELS = {
    "robustness": ("Robustness Model", "robustness"),
    "printed-lipschitz": ("Lipschitz Model, as printed", "lipschitz"),
    "lipschitz": ("Lipschitz Model, here", "lipschitz"),
    "ellipsoid": ("Ellipsoid Model", "ellipsoid"),
}


def printed_sizes(p0: int, p: int, K: int) -> dict[str, tuple[int, int]]:
    """The formulas of Table 1: model -> (variables, largest PSD matrix)."""
    lipschitz = 2 * p0 + 4 * p + 2 * K
    return {
        "robustness": (p0 + p, 1 + p0 + p),
        "lipschitz": (lipschitz, 1 + lipschitz),
        "ellipsoid": (p0 + 3 * p + K + K**2, 1 + p0 + p),
    }


@dataclass(frozen=True)
class Table1:
    """Rows of Table 1 and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def sizes(self) -> Table:
        """Counted sizes beside the formulas'."""
        lines = []
        for row in self.rows:
            formula = printed_sizes(*row["sizes"])[MODELS[row["method"]][1]]
            lines.append((MODELS[row["method"]][0], norm_text(row["norm"]), row["variables"], formula[0],
                          row["psd"], formula[1], row["factored"], row["schur"]))  # fmt: skip
        columns = ("model", "norm", "variables", "formula", "PSD matrix", "formula ", "factored", "Schur complement")
        return Table(columns, tuple(lines))


def table_1(
    network: str,
    image: int = 0,
    epsilon_pixel: float = 0.1,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Table1:
    """Table 1: variables and largest PSD matrix of each model, for an L2 and an L-infinity ball around one image."""
    parameters = dict(network=network, image=image, epsilon_pixel=epsilon_pixel, profile=profile)
    return Table1(solved(table_1_cases(parameters), solve or count, store))


@checked()
def table_1_cases(parameters: Mapping) -> list[dict]:
    """One case per model and norm."""
    image = parameters["image"]
    dataset(entry(parameters["network"]).dataset).image(image)
    return [
        make_case(TABLE_1, {"seed": 0} | dict(parameters), norm, parameters["epsilon_pixel"], False, image, model)
        for model in MODELS
        for norm in NORMS
    ]


def count(case: Mapping) -> dict:
    """Build one model and count.

    Returns
    -------
    dict
        `variables`: of the polynomial problem; of the Ellipsoid Model, as in the paper, the decision variables of its
        SDP (multipliers, Q, b). `psd`: the size of its PSD matrix. `factored`: what is left of that matrix to factor
        densely, after its diagonal block. `schur`: the number of constraints, the size of the linear system of a step.
    """
    network, region, label = question(case)
    problem = build(case["method"], network, region, label)
    constraints = shor_constraints(problem)
    data = ArrowData(constraints)
    size = constraints.size
    variables = len(constraints.equality) if case["method"] == "ellipsoid" else size - 1
    return {
        "sizes": [network.input_size, network.width, network.classes],
        "variables": variables,
        "psd": size,
        "factored": data.q,
        "schur": len(constraints.equality),
    }


def build(model: str, network: MonDEQ, region: Ball, label: int):
    """The problem of one model; the Lipschitz Model here has one problem per output for L-infinity, all of one size."""
    if model == "robustness":
        return robustness_model(network, region, label)
    if model == "printed-lipschitz":
        return lipmon_problem(network, region)
    if model == "lipschitz":
        return lipschitz_problems(network, region.norm)[0]
    return ellipsoid_model(robustness_model(network, region, 0))


def table_1_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our numbers for the printed cells: those of the L-infinity ball, with the reduced ones of L2 as a note."""
    found = {(row["method"], row["norm"]): row for row in rows}
    values = {}
    for model, column in (("robustness", "robustness"), ("printed-lipschitz", "lipschitz"), ("ellipsoid", "ellipsoid")):
        row, other = found.get((model, "inf")), found.get((model, 2))
        if row is None or other is None:
            continue
        for name in ("variables", "psd"):
            values[f"table-1/{name}/{column}"] = Value(row[name], f"L-infinity; {other[name]} for L2")
    return values
