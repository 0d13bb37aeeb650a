"""Upper bounds of a monDEQ's Lipschitz constant on one ball (clipped or not)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tightrope import proofs
from tightrope.arguments import require_network, require_region
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.networks import MonDEQ
from tightrope.problems.lipschitz import y_radius
from tightrope.problems.local_lipschitz import Reduced, exact_excess, local_problem, preactivation_bounds, reduce
from tightrope.propagation.fixpoint import fixpoint_bounds, inductive
from tightrope.question import Limits
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers.lipschitz import RELU, Constants, PartBound, interpolated, prove

ORDERS = ("1", "1+cuts")
LIMITS = Limits(tolerance=1e-4)
#: By how much the bounds on h in a file are wider than those of the fixpoints, so that they hold with a margin.
OUTWARD = 1e-7


@dataclass(frozen=True, eq=False, repr=False)
class LocalBound(Constants):
    """||F(x) - F(x')||_q <= value ||x - x'||_q for x, x' in a ball of the norm L_q.

    So many neurons are `undecided`: they may change their sign on the ball; with 0 the bound is exact. The `parts` are
    one problem (problems.local_lipschitz) for L2, one for each output for L-infinity, of the `small` network without
    the neurons that are stable on the ball. Other norms have none, but `ends`: constants on the L2 ball, and for q > 2
    on the box, around the ball.
    """

    value: float
    undecided: int
    parts: tuple[PartBound, ...]
    seconds: float
    network: MonDEQ
    region: Ball
    small: Reduced
    ends: tuple["LocalBound", ...] = ()
    facts = ("norm", "value", "undecided", "verdict", "inequality", "seconds")

    @property
    def norm(self) -> float:
        """That of the region, on both sides."""
        return self.region.norm

    def certificates(self) -> proofs.Proof:
        """Return the file that proves the constant; an InputError if `graph` or a closed form has made it."""
        self._own_parts()
        network, region = self.network, self.region
        if any(part.multipliers is not None and "z >= 0" in part.multipliers for part in self.parts):
            raise InputError("bound: one with graph=True has no certificate file.")
        parts: list[Mapping | np.ndarray] = []
        for row, part in zip(_rows(network, region), self.parts, strict=True):
            if self.small.network is None:
                parts.append(self.small.direct if row is None else row[None] @ self.small.direct)
            elif part.multipliers is None:
                raise InputError(f"bound: part {part.part} was bounded by a closed form, which has no certificate.")
            else:
                parts.append(part.multipliers)
        if self.small.undecided.all():  # and so for all inputs
            multipliers = [part.multipliers for part in self.parts]
            return proofs.lipschitz(network, region.norm, [({"bound": self.value}, multipliers)])
        known = fixpoint_bounds(network, region)
        bounds = inductive(network, known.inputs, known.h.outward(OUTWARD))
        return proofs.local_lipschitz(network, region, self.value, bounds, self.small.undecided, parts)


def _rows(network: MonDEQ, region: Ball) -> list[np.ndarray] | list[None]:
    """Return v (K,) of each problem, None where all v of the unit ball are asked about."""
    return [None] if region.norm == 2 else list(np.eye(network.classes))


def local_upper_bound(
    network: MonDEQ, region: Ball, *, order: str | int = "1", graph: bool = False, limits: Limits = LIMITS
) -> LocalBound:
    """Prove a Lipschitz constant of F on the region with respect to the region's own norm.

    At order "1" which neurons are stable is known from strong monotonicity; at "1+cuts" from interval and zonotope
    fixpoints too, which know many more; the rest of the problem is the same. With `graph` x and z are in the problem:
    tighter for L-infinity, and several times slower. The limits are those of each solve.
    """
    began = time.perf_counter()
    require_network(network, MonDEQ, instead=RELU)
    require_region(region, Ball)
    if str(order) not in ORDERS:
        raise UnknownNameError("order", order, ORDERS)
    q = region.norm
    if not q >= 1:
        raise RegionError(f"region: local Lipschitz bounds are built for balls of orders q >= 1, not {q!r}.")
    if q not in (2.0, INFINITY):
        # ||J||_q <= K^(1/q - 1/2) ||J||_2 for q < 2; interpolation between L2 and L-infinity for q > 2.
        disc = Ball(region.center, region.radius * q.stretch(region.size) * (1 + 1e-12), 2, *region.bounding_box())
        balls = (disc,) if q < 2 else (disc, Ball(region.center, region.radius, INFINITY, region.lower, region.upper))
        ends = tuple(local_upper_bound(network, ball, order=order, graph=graph, limits=limits) for ball in balls)
        change = network.classes ** (1 / q - 1 / 2) * (1 + 1e-12)
        value = ends[0].value * change if q < 2 else float(interpolated(q, *(end.value for end in ends)))
        undecided, seconds = max(end.undecided for end in ends), time.perf_counter() - began
        return LocalBound(value, undecided, (), seconds, network, region, ends[0].small, ends)
    lower, upper = preactivation_bounds(network, region)
    if str(order) == "1+cuts":
        known = fixpoint_bounds(network, region).h
        lower, upper = np.maximum(lower, known.lower), np.minimum(upper, known.upper)
    small, parts = reduce(network, lower, upper), []
    change = 1.0 if q == 2 else np.sqrt(network.input_size)
    for k, row in enumerate(_rows(network, region)):
        E = small.direct if row is None else row[None] @ small.direct
        affine = float(np.linalg.norm(E, 2) if q == 2 else np.abs(E).sum()) + change * small.rounding.direct
        if small.network is None:
            parts.append(PartBound(k, affine * (1 + 1e-9), None, "affine"))
            continue
        C = small.network.C if row is None else row[None] @ small.network.C
        size = np.linalg.norm(small.network.U, 2) + small.rounding.U
        through = y_radius(small.network, float(np.linalg.norm(C, 2)) + small.rounding.C) * size * change
        problem = local_problem(small.network, small.direct, region, row, graph=graph)
        part = prove(problem, limits, k, float((affine + through) * (1 + 1e-9)))
        if part.multipliers is not None:  # the closed form is for exact arithmetic already
            part = replace(part, value=part.value + exact_excess(small, region, row, part.multipliers))
        parts.append(part)
    value, seconds = max(part.value for part in parts), time.perf_counter() - began
    return LocalBound(value, int(small.undecided.sum()), tuple(parts), seconds, network, region, small)
