"""Table 1: sizes of the three models, counted from the problems that are built, beside the printed formulas."""

from itertools import product

from tightrope.networks import MonDEQ
from tightrope.problems.ellipsoid import EllipsoidModel, ellipsoid_model
from tightrope.problems.lipmon import lipmon_problem
from tightrope.problems.lipschitz import lipschitz_problems
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.problems.robustness import RobustnessModel, robustness_model
from tightrope.regions import Ball
from tightrope.relaxations.shor import shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.workbench.cases import ball_case, dataset, entry
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Rows, Value, Values
from .common import PAPER, mondeq, norm_text, question

table_1 = Experiment(PAPER, "table-1-problem-sizes")
NORMS = (2, "inf")
#: What is counted: model -> (words, column of the printed table).
MODELS = {
    "robustness": ("Robustness Model", "robustness"),
    "printed-lipschitz": ("Lipschitz Model, as printed", "lipschitz"),
    "lipschitz": ("Lipschitz Model, here", "lipschitz"),
    "ellipsoid": ("Ellipsoid Model", "ellipsoid"),
}


def printed_sizes(p0: int, p: int, K: int) -> dict[str, tuple[int, int]]:
    """Return the formulas of Table 1: column -> (variables, largest PSD matrix)."""
    lipschitz = 2 * p0 + 4 * p + 2 * K
    return {
        "robustness": (p0 + p, 1 + p0 + p),
        "lipschitz": (lipschitz, 1 + lipschitz),
        "ellipsoid": (p0 + 3 * p + K + K**2, 1 + p0 + p),
    }


@table_1.cases
def cases(network: str, image: int, epsilon_pixel: float) -> Cases:
    """Return one case for each model and norm."""
    mondeq(network)  # refuses others, and an image out of range, before anything is built
    dataset(entry(network).dataset).image(image)
    kinds = product(MODELS, NORMS)
    return [ball_case(network, norm, epsilon_pixel, False, model, {"seed": 0}, image=image) for model, norm in kinds]


@table_1.solve
def size_of_model(case: Case) -> dict:
    """Build one model and count.

    `variables` are those of the polynomial problem; of the Ellipsoid Model, as in the paper, the decision variables of
    its SDP (multipliers, Q, b). `psd` is the size of its PSD matrix, `factored` what is left of it to factor densely
    after its diagonal block, `schur` the number of constraints, the size of the linear system of a step.
    """
    network, region, label = question(case)
    constraints = shor_constraints(problem_of(case["method"], network, region, label))
    count, size = len(constraints.equality), constraints.size
    return {
        "sizes": [network.input_size, network.width, network.classes],
        "variables": count if case["method"] == "ellipsoid" else size - 1,
        "psd": size,
        "factored": ArrowData(constraints).q,
        "schur": count,
    }


def problem_of(
    model: str, network: MonDEQ, region: Ball, label: int
) -> PolynomialProblem | RobustnessModel | EllipsoidModel:
    """Return the problem of one model; the Lipschitz Model here has one per output for L-infinity, all of one size."""
    if model == "robustness":
        return robustness_model(network, region, label)
    if model == "printed-lipschitz":
        return lipmon_problem(network, region)
    if model == "lipschitz":
        return lipschitz_problems(network, region.norm)[0]
    return ellipsoid_model(robustness_model(network, region, 0))


@table_1.lines(
    "model | norm | variables | by the formula | PSD matrix | PSD by the formula | factored", "Schur complement"
)
def sizes(rows: Rows) -> Lines:
    """Return counted sizes beside the formulas'."""
    for row in rows:
        words, column = MODELS[row["method"]]
        variables, psd = printed_sizes(*row["sizes"])[column]
        counted = row["variables"], variables, row["psd"], psd, row["factored"], row["schur"]
        yield words, norm_text(row["norm"]), *counted


@table_1.cells
def cells(rows: Rows) -> Values:
    """Yield our numbers for the printed cells: those of the L-infinity ball, with the reduced ones of L2 as a note."""
    for model in ("robustness", "printed-lipschitz", "ellipsoid"):
        row, other = rows.one(method=model, norm="inf"), rows.one(method=model, norm=2)
        if row is not None and other is not None:
            for name in ("variables", "psd"):
                yield f"table-1/{name}/{MODELS[model][1]}", Value(row[name], f"L-infinity; {other[name]} for L2")
