"""What the results share: networks, cases, the bound that a case asks for; of Tables 3 and 4 the radii and ratios."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from tightrope import figures, zoo
from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.networks.random import random_network
from tightrope.outward import outward
from tightrope.regions import Ball
from tightrope.verifiers.relu_lipschitz import CERTIFIED, LIMITS, MEMORY, METHODS, ReluBound, lipschitz_bound
from tightrope.workbench.experiment import Case, Experiment, Row, Table

PAPER = "chen2020-lipschitz"
#: The paper's input sets: all of R^n is replaced by a ball of radius 10 around 0. The centre of its local balls is not
#: printed for Tables 1 and 2 and Figure 1: 0 here.
SETS = {"global": 10.0, "local": 0.1}
PROVEN = "proven"  # what the kept rows say for certified
EPSILONS = tuple(round(0.01 * k, 2) for k in range(1, 11))  # radii of Tables 3 and 4
PRINTED = {"hr-2": "HR-2, printed", "lipopt-3": "LipOpt-3, printed"}  # lines that are printed at all of them


@cache
def network_of(name: str) -> FeedForward:
    """Return a random network by its name (random/80-80-1/s20/0), or one of the zoo."""
    if not name.startswith("random/"):
        network = zoo.get(name).network
        if not isinstance(network, FeedForward):
            raise InputError(f"network: {name} is not a feed-forward network.")
        return network
    try:
        _, sizes, band, draw = name.split("/")
        widths, number = [int(size) for size in sizes.split("-")], int(draw)
        sparsity = None if band == "dense" else int(band.removeprefix("s"))
    except ValueError:
        raise InputError(f"network: expected random/80-80-1/s20/0 or random/80-80-1/dense/0, got {name!r}.") from None
    return random_network(widths, sparsity, number)


@cache
def _sha256(name: str) -> str:
    return network_of(name).sha256()


def ball_case(
    network: str, radius: float, method: str, options: Mapping, part: int | list[int] | None = 0, **rest: object
) -> dict:
    """Return one network, one L-infinity ball around options["center"] (or 0), one method: what identifies a row.

    `part` is an output, a pair (i, j) for F_i - F_j, or None for all pairs.
    """
    if method not in METHODS:
        raise InputError(f"methods: unknown method {method!r}; known are {', '.join(METHODS)}.")
    return {
        "network": network,
        "network_sha256": _sha256(network),
        "radius": float(radius),
        "part": part,
        "method": method,
        "options": dict(options),
        **rest,
    }


def question(case: Case) -> tuple[FeedForward, Ball]:
    """Return the network and the ball of a case."""
    network = network_of(case["network"])
    center = case["options"].get("center", 0.0)
    return network, Ball(np.full(network.input_size, center), case["radius"], "inf")


def bound_constant(case: Case) -> dict:
    """Bound the constant of one case; a limit of time or memory is a verdict in the row, whatever it comes from."""
    return bound_and_report(case)[0]


def bound_and_report(case: Case) -> tuple[dict, ReluBound | None]:
    """Return the same with the report that it was made of; none where the memory did not suffice."""
    (network, region), part, options = question(case), case["part"], dict(case["options"])
    options.pop("center", None)
    found = None
    cpu, began = time.process_time(), time.perf_counter()
    try:
        output = tuple(part) if isinstance(part, list) else part
        named = {"tolerance": "tolerance", "time_limit": "time", "seed": "seed"}
        limits = replace(LIMITS, **{named[name]: options.pop(name) for name in named if name in options})
        found = lipschitz_bound(network, region, output, case["method"], limits=limits, **options)
    except MemoryError:
        outcome = {"value": None, "verdict": MEMORY, "reason": "MemoryError", "iterations": 0, "program": {}}
    else:
        outcome = {name: getattr(found, name) for name in ("value", "verdict", "reason", "iterations")}
        outcome["program"] = found.sizes
        if found.verdict == CERTIFIED:
            outcome["verdict"] = PROVEN
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return outcome | {"seconds": round(seconds, 4), "cpu_seconds": round(cpu_seconds, 4)}, found


def shown(row: Row | None) -> str | None:
    """Return a cell of a table: the bound, or the verdict in its place; "(time)" marks one that was cut short."""
    if row is None or row["value"] is None:
        return row and row["verdict"]
    text = outward(METHODS[row["method"]].side)(row["value"])
    return text if row["verdict"] == PROVEN else f"{text} ({row['verdict']})"


def ratio_table(ratios: Mapping[str, Sequence[float]], count: int) -> Table:
    """Return percent certified at each of :data:`EPSILONS`, one line per name.

    One of the `count` points may lie at the threshold of a constant that is proven to 1e-4.
    """
    lines = [(name, *(f"{percent:.2f}" for percent in own)) for name, own in ratios.items()]
    head = ("% certified at epsilon", *(f"{epsilon:g}" for epsilon in EPSILONS))
    return Table(head, lines, tolerance=round(100 / count, 2))


def draw_ratios(ratios: Mapping[str, Sequence[float]], result: Experiment, title: str, pixels: bool) -> figures.Drawing:
    """Draw percent certified against the radius, one curve per name, and the printed points of a result."""
    series = {name: list(zip(EPSILONS, own, strict=True)) for name, own in ratios.items()}
    printed: dict[str, list[tuple[float, float]]] = {}
    for cell, percent in result.printed.items():
        _, method, epsilon = cell.split("/")
        if method in PRINTED:
            printed.setdefault(PRINTED[method], []).append((float(epsilon), percent))
    return figures.ratio_curves(series, printed, title, pixels)
