"""The sensitivity of Section 4.2, computed: degrees of bounds as rational functions of a shift of the first layer."""

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.propagation.sensitivity import bound_degrees, degree_formula, shared_degree
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Rows
from .common import CERTIFIERS, PAPER, TITLES

sensitivity_degrees = Experiment(PAPER, "sensitivity-degrees")
INPUTS = 3


@sensitivity_degrees.cases
def cases(sizes: Sequence[Sequence[int]], degree_draws: int) -> Cases:
    """Return one case for each size (neurons M, hidden layers), relaxation and random network."""
    for size in sizes:
        if len(size) != 2:
            raise InputError(f"sizes: expected [neurons, hidden layers] each, got {size!r}.")
    kinds = product(sizes, CERTIFIERS, range(degree_draws))
    return [{"neurons": size[0], "hidden": size[1], "method": method, "seed": seed} for size, method, seed in kinds]


def network_and_direction(neurons: int, hidden: int, seed: int) -> tuple[FeedForward, np.ndarray]:
    """Return a network with whole weights, neurons unstable on [-1, 1]^3, and a direction for its first weight.

    Biases are small beside the weights, since an unstable neuron has the higher degree; large numbers keep choices
    from depending on a sum that is exactly 0.
    """
    rng = np.random.default_rng(seed)
    sizes = (INPUTS, *[neurons] * hidden, 1)
    weights = [rng.integers(1, 1000, (high, low)) * rng.choice([-1, 1], (high, low)) for low, high in pairwise(sizes)]
    biases = [rng.integers(-99, 100, size) for size in sizes[1:]]
    network = FeedForward.dense([W / 1.0 for W in weights], [b / 1.0 for b in biases])
    return network, rng.integers(1, 1000, weights[0].shape) * rng.choice([-1, 1], weights[0].shape)


@sensitivity_degrees.solve
def degree_of_bound(case: Case) -> dict:
    """Return the degree of the output's lower bound."""
    network, direction = network_and_direction(case["neurons"], case["hidden"], case["seed"])
    return {"degree": bound_degrees(network, direction, [-1] * INPUTS, [1] * INPUTS, case["method"])[0][0]}


@sensitivity_degrees.lines(
    "M | hidden layers | relaxation | networks | highest degree | shared denominators | formula, B - 1",
    "formula as printed",
)
def degrees(rows: Rows) -> Lines:
    """Return the highest degree of a lower bound over the networks beside bounds of it: ours, and the paper's."""
    for (neurons, hidden, method), own in rows.by("neurons", "hidden", "method"):
        formulas = (degree_formula(method, neurons, blocks) for blocks in (hidden - 1, hidden))
        bounds = shared_degree(method, neurons, hidden), *formulas
        yield neurons, hidden, TITLES[method], len(own), max(own.column("degree")), *bounds
