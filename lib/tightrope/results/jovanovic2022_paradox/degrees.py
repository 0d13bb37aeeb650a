"""The sensitivity of Section 4.2, computed: degrees of bounds as rational functions of a shift of the first layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.propagation.sensitivity import bound_degrees, degree_formula, shared_degree
from tightrope.results.jovanovic2022_paradox.common import CERTIFIERS, plain_case
from tightrope.results.jovanovic2022_paradox.shapes import named
from tightrope.workbench.cases import solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.parameters import COUNT
from tightrope.workbench.records import Store
from tightrope.workbench.tables import Table

DEGREES = "sensitivity-degrees"
INPUTS = 3


def random_question(neurons: int, hidden: int, seed: int) -> tuple[FeedForward, np.ndarray]:
    """A network with whole weights, its neurons unstable on [-1, 1]^3, and a direction for its first weight.

    Biases are small beside the weights, since an unstable neuron has the higher degree; large numbers keep choices
    from depending on a sum that is exactly 0.
    """
    rng = np.random.default_rng(seed)
    sizes = (INPUTS, *[neurons] * hidden, 1)
    weights = [rng.integers(1, 1000, (high, low)) * rng.choice([-1, 1], (high, low)) for low, high in pairwise(sizes)]
    biases = [rng.integers(-99, 100, size) for size in sizes[1:]]
    network = FeedForward.dense([W / 1.0 for W in weights], [b / 1.0 for b in biases])
    return network, rng.integers(1, 1000, weights[0].shape) * rng.choice([-1, 1], weights[0].shape)


@dataclass(frozen=True)
class Degrees:
    """Rows of degrees."""

    rows: tuple[dict, ...]

    @property
    def table(self) -> Table:
        """The highest degree of a lower bound over the networks beside bounds of it: ours, and the paper's."""
        lines = []
        for neurons, hidden, method in dict.fromkeys((r["neurons"], r["hidden"], r["method"]) for r in self.rows):
            found = [r["degree"] for r in self.rows
                     if (r["neurons"], r["hidden"], r["method"]) == (neurons, hidden, method)]  # fmt: skip
            formulas = (degree_formula(method, neurons, blocks) for blocks in (hidden - 1, hidden))
            lines.append((neurons, hidden, named(method), len(found), max(found),
                          shared_degree(method, neurons, hidden), *formulas))  # fmt: skip
        columns = ("M", "hidden layers", "relaxation", "networks", "highest degree", "shared denominators",
                   "formula, B - 1", "formula as printed")  # fmt: skip
        return Table(columns, tuple(lines))


def degrees(sizes: Sequence[Sequence[int]], seeds: int, profile: str = "quick", store: Store | None = None) -> Degrees:
    """Compute the sensitivity of five relaxations on small random networks.

    Parameters
    ----------
    sizes
        (neurons M, hidden layers) of the networks.
    seeds
        How many networks of each size.
    """
    return Degrees(solved(degree_cases(dict(sizes=sizes, seeds=seeds, profile=profile)), find_degree, store))


@checked(networks=COUNT, seeds=COUNT)
def degree_cases(parameters: Mapping) -> list[dict]:
    """One case for each size, relaxation and network."""
    for size in parameters["sizes"]:
        if not isinstance(size, (list, tuple)) or len(size) != 2:
            raise InputError(f"sizes: expected [neurons, hidden layers] each, got {size!r}.")
    return [
        plain_case(DEGREES, parameters["profile"], neurons=neurons, hidden=hidden, method=method, seed=seed)
        for neurons, hidden in parameters["sizes"]
        for method in CERTIFIERS
        for seed in range(parameters["seeds"])
    ]


def find_degree(case: Mapping) -> dict:
    """The degree of the output's lower bound."""
    network, direction = random_question(case["neurons"], case["hidden"], case["seed"])
    return {"degree": bound_degrees(network, direction, [-1] * INPUTS, [1] * INPUTS, case["method"])[0][0]}
