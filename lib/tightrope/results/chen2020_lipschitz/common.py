"""What the results of this paper share: networks, cases, and the bound that a case asks for."""

import time
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from tightrope import zoo
from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.networks.random import random_network
from tightrope.regions import Ball
from tightrope.verifiers.relu_lipschitz import METHODS, lipschitz_bound

PAPER = "chen2020-lipschitz"
#: The paper's input sets: all of R^n is replaced by a ball of radius 10 around 0. The centre of its local balls is not
#: printed for Tables 1 and 2 and Figure 1: 0 here.
SETS = {"global": 10.0, "local": 0.1}
#: What a table calls a method.
TITLES = {
    "product-shor": "product Shor",
    "shor": "SHOR",
    "hr-1": "HR-1",
    "hr-2-signs": "HR-2, at most",
    "hr-2-products": "HR-2, at least",
    "hr-2": "HR-2 (moments)",
    "lipopt-3": "LipOpt-3",
    "lipopt-4": "LipOpt-4",
    "qcqp": "Shor of LipOpt's QCQP",
    "lbs": "LBS",
    "ascent": "ascent",
    "exact": "exact",
    "intervals": "intervals",
    "sparse-lasserre": "sparse Lasserre",
}


@cache
def network_of(name: str) -> FeedForward:
    """A random network by its name (random/80-80-1/s20/0), or one of the zoo."""
    if not name.startswith("random/"):
        found = zoo.get(name).network
        if not isinstance(found, FeedForward):
            raise InputError(f"network: {name} is not a feed-forward network.")
        return found
    _, sizes, band, draw = name.split("/")
    return random_network(
        [int(size) for size in sizes.split("-")], None if band == "dense" else int(band.removeprefix("s")), int(draw)
    )


@cache
def sha256(name: str) -> str:
    """The SHA-256 of a network's weights, computed once for all cases."""
    return network_of(name).sha256()


def make_case(
    result: str, profile: str, network: str, radius: float, method: str, options: Mapping, part: object = 0, **rest
) -> dict:
    """One network, one L-infinity ball around options["center"] (or 0), one method: what identifies a row."""
    if method not in METHODS:
        raise InputError(f"methods: unknown method {method!r}; known are {', '.join(METHODS)}.")
    if not (np.isfinite(radius) and radius > 0):
        raise InputError(f"radius: expected a positive number, got {radius!r}.")
    return {
        "paper": PAPER,
        "result": result,
        "profile": profile,
        "network": network,
        "network_sha256": sha256(network),
        "radius": float(radius),
        "part": part,
        "method": method,
        "options": dict(options),
        **rest,
    }


def bound(case: Mapping) -> dict:
    """Solve one case; a limit of time or memory is a verdict in the row, whatever it comes from."""
    network, part = network_of(case["network"]), case["part"]
    options = dict(case["options"])
    region = Ball(np.full(network.input_size, options.pop("center", 0.0)), case["radius"], "inf")
    cpu, began = time.process_time(), time.perf_counter()
    try:
        found = lipschitz_bound(
            network, region, tuple(part) if isinstance(part, list) else part, case["method"], **options
        )
    except MemoryError:
        outcome = {"value": None, "verdict": "OfM", "reason": "MemoryError", "iterations": 0, "program": {}}
    else:
        outcome = {
            "value": found.value,
            "verdict": found.verdict,
            "reason": found.reason,
            "iterations": found.iterations,
            "program": found.sizes,
        }
    seconds = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    return outcome | {name: round(value, 4) for name, value in seconds.items()}


def shown(row: Mapping | None, digits: int = 4) -> str | float | None:
    """A cell of a table: the bound, or the verdict that stands in its place; "(t)" marks one cut short by time."""
    if row is None:
        return None
    if row["value"] is None:
        return row["verdict"]
    text = f"{row['value']:.{digits}g}"
    return text if row["verdict"] == "proven" else f"{text} ({row['verdict']})"


def values(rows: Sequence[Mapping]) -> np.ndarray:
    """The proven values of rows (n,)."""
    return np.array([row["value"] for row in rows if row["value"] is not None], float)


def middle(rows: Sequence[Mapping]) -> dict[str, float] | None:
    """Median and quartiles of the values, or None if there is none."""
    found = values(rows)
    if not len(found):
        return None
    low, half, high = np.quantile(found, [0.25, 0.5, 0.75])
    return {"low": float(low), "median": float(half), "high": float(high), "count": len(found)}
