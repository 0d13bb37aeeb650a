"""Upper bounds of a monDEQ's Lipschitz constant on one L2 or L-infinity ball (clipped or not)."""

import time
from dataclasses import dataclass, replace

import numpy as np

from tightrope.arguments import require_network, require_region
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.networks import MonDEQ
from tightrope.problems.lipschitz import l2_problem, linf_problem, y_radius
from tightrope.problems.local_lipschitz import exact_excess, local_problem, preactivation_bounds, reduce
from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.regions import INFINITY, Ball, parse_norm
from tightrope.solvers.report import Stop
from tightrope.verifiers.lipschitz import RELU, PartBound, prove

ORDERS = ("1", "1+cuts")


@dataclass(frozen=True, eq=False)
class LocalBound:
    """||F(x) - F(x')||_q <= value ||x - x'||_q for x, x' in a ball of the norm L_q.

    Attributes
    ----------
    undecided
        How many neurons may change their sign on the ball; with 0 the bound is exact.
    parts
        One problem for L2, one for each output for L-infinity; their multipliers are those of
        problems.local_lipschitz.
    """

    value: float
    undecided: int
    parts: tuple[PartBound, ...]
    seconds: float


def preactivation_constants(network: MonDEQ, norm: object, *, tolerance: float = 1e-3) -> np.ndarray:
    """(p,) proven global Lipschitz constants of h_i = W_i z + U_i x + u_i: once per network, for every ball."""
    q = parse_norm(norm)
    if q not in (2.0, INFINITY):
        raise RegionError(f"norm: local Lipschitz bounds are built for 2 and inf, not L{q:g}.")
    inner = replace(network, C=network.W, c=network.u)
    build = l2_problem if q == 2 else linf_problem
    change = 1.0 if q == 2 else np.sqrt(network.input_size)
    values = np.empty(network.width)
    for i, row in enumerate(np.eye(network.width)):
        # The closed form: ||W_i|| ||U|| / m for the part through z, and the direct part exactly.
        direct = np.linalg.norm(network.U[i], ord=2 if q == 2 else 1)
        through = y_radius(network, np.linalg.norm(network.W[i])) * np.linalg.norm(network.U, 2) * change
        values[i] = prove(build(inner, row, network.U), tolerance, i, float((direct + through) * (1 + 1e-9))).value
    return values


def local_upper_bound(
    network: MonDEQ,
    region: Ball,
    *,
    order: str | int = "1",
    constants: np.ndarray | None = None,
    graph: bool = False,
    tolerance: float = 1e-4,
    stop: Stop | None = None,
) -> LocalBound:
    """Prove a Lipschitz constant of F on the region with respect to the region's own norm.

    Parameters
    ----------
    order
        "1": which neurons are stable is known from strong monotonicity (and from `constants`). "1+cuts": from interval
        and zonotope fixpoints too, which knows many more; the rest of the problem is the same.
    constants
        Of :func:`preactivation_constants`: more neurons are then known to be stable.
    graph
        Whether to keep x and z in the problem: tighter for L-infinity, and several times slower.
    stop
        Asked between iterations; True ends the solve with a :class:`StoppedError`.
    """
    began = time.perf_counter()
    require_network(network, MonDEQ, instead=RELU)
    require_region(region, Ball)
    if str(order) not in ORDERS:
        raise UnknownNameError("order", order, ORDERS)
    q = region.norm
    if q not in (2.0, INFINITY):
        raise RegionError(f"region: local Lipschitz bounds are built for L2 and L-infinity balls, not L{q:g}.")
    if constants is not None and np.shape(constants) != (network.width,):
        raise InputError(f"constants: expected shape ({network.width},), got {np.shape(constants)}.")
    lower, upper = preactivation_bounds(network, region, constants)
    if str(order) == "1+cuts":
        known = fixpoint_bounds(network, region).h
        lower, upper = np.maximum(lower, known.lower), np.minimum(upper, known.upper)
    small = reduce(network, lower, upper)
    rows = [None] if q == 2 else list(np.eye(network.classes))
    parts = []
    for k, row in enumerate(rows):
        E = small.direct if row is None else row[None] @ small.direct
        change = 1.0 if q == 2 else np.sqrt(network.input_size)
        affine = float(np.linalg.norm(E, 2) if q == 2 else np.abs(E).sum()) + change * small.rounding.direct
        if small.network is None:
            parts.append(PartBound(k, affine * (1 + 1e-9), None, None, None, "affine", None, 0, 0.0))
            continue
        C = small.network.C if row is None else row[None] @ small.network.C
        size = np.linalg.norm(small.network.U, 2) + small.rounding.U
        through = y_radius(small.network, np.linalg.norm(C, 2) + small.rounding.C) * size * change
        problem = local_problem(small.network, small.direct, region, row, graph=graph)
        part = prove(problem, tolerance, k, float((affine + through) * (1 + 1e-9)), stop)
        if part.multipliers is not None:  # the closed form is for exact arithmetic already
            part = replace(part, value=part.value + exact_excess(small, region, row, part.multipliers))
        parts.append(part)
    value = max(part.value for part in parts)
    return LocalBound(value, int(small.undecided.sum()), tuple(parts), time.perf_counter() - began)
