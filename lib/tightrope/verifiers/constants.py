"""The one door to proven Lipschitz constants: of any network, of the whole map or of one output, anywhere or on a ball.

What answers is :mod:`~tightrope.verifiers.lipschitz` (for all inputs), :mod:`~tightrope.verifiers.local_lipschitz` (on
a ball, of a monDEQ) or :mod:`~tightrope.verifiers.relu_lipschitz` (on a ball, of one output of a feed-forward network).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tightrope.arguments import require_network, require_region
from tightrope.errors import InputError, NetworkError
from tightrope.networks import Composition, FeedForward, MonDEQ
from tightrope.question import Limits
from tightrope.regions import Ball, Norm, parse_norm
from tightrope.verifiers import lipschitz, local_lipschitz, relu_lipschitz
from tightrope.verifiers.relu_lipschitz import CERTIFIED, METHODS, ReluBound
from tightrope.verifiers.report import LipschitzReport


@dataclass(frozen=True, eq=False, repr=False)
class MapBound(LipschitzReport):
    """||F(x) - F(x')||_inf <= value ||x - x'||_inf on a ball of the maximum norm, F a feed-forward network.

    With this norm on both sides the constant of F is the largest one of its outputs, of which `parts` are the reports.
    """

    network: FeedForward
    region: Ball
    method: str
    parts: tuple[ReluBound, ...]
    seconds: float
    facts = ("norm", "method", "value", "verdict", "seconds")
    several = ("parts", "parts", ("part", "value", "verdict", "reason", "iterations", "seconds"))

    @property
    def norm(self) -> Norm:
        """That of the region, on both sides."""
        return self.region.norm

    @property
    def value(self) -> float | None:
        """The largest constant of an output, from the side of the method; None where one of them is."""
        values = [part.value for part in self.parts if part.value is not None]
        return max(values) if len(values) == len(self.parts) else None

    @property
    def verdict(self) -> str:
        """The first of the outputs' that is not "certified", if there is one."""
        return next((part.verdict for part in self.parts if part.verdict != CERTIFIED), CERTIFIED)

    @property
    def sides(self) -> Mapping[str, str]:  # type: ignore[override]
        """That of the method."""
        return {"value": METHODS[self.method].side}


def lipschitz_bound(
    network: MonDEQ | FeedForward,
    region: Ball | None = None,
    *,
    norm: object = None,
    part: int | tuple[int, int] | None = None,
    method: str | None = None,
    limits: Limits | None = None,
) -> LipschitzReport:
    """Prove a Lipschitz constant L: ||F(x) - F(x')||_q <= L ||x - x'||_q, with one norm on both sides.

    Parameters
    ----------
    region, norm
        For all x and x' of this ball, q its norm; or without a region for all inputs, q >= 1. Of orders that no problem
        is built for the bound follows from others, by the `inequality` of the report.
    part
        An output k, for F_k instead of the whole F; of a feed-forward network on a region also a pair (i, j), for F_i -
        F_j. Both count from 0. The report of a monDEQ is then about the monDEQ with this output alone.
    method
        One of :data:`tightrope.verifiers.relu_lipschitz.METHODS`, for feed-forward networks on a region with the norm
        inf, or with `part`; "product-shor" if left out. Everything else is Shor's relaxation of the monDEQ, for
        feed-forward networks of the same function as a monDEQ.
    limits
        Of each solve.

    Examples
    --------
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [2.0, 0.0]]), ([0.0, 0.0], [0.0, 0.0]))
    >>> lipschitz_bound(network, Ball([0.0], 1.0, "inf"))  # |x| and 2 ReLU(x)
    <MapBound: Lipschitz constant of F (L-inf, on the region): at most 2.001, certified>
    """
    require_network(network)
    options: dict[str, Any] = {} if limits is None else {"limits": limits}
    if isinstance(region, int | float | str):
        raise InputError(f"region: expected a Ball, got {region!r}; write norm={region!r} for all inputs.")
    if region is not None:
        require_region(region, Ball)
        if norm is not None and parse_norm(norm) != region.norm:
            raise InputError(f"norm: that of the region is {region.norm:g}; leave norm out.")
        if isinstance(network, FeedForward) and (region.is_box or (part is not None and region.norm == 2)):
            bound = partial(relu_lipschitz.lipschitz_bound, network, region, method=method or "product-shor", **options)
            if part is not None:
                return bound(part=part)
            began, parts = time.perf_counter(), tuple(bound(part=k) for k in range(network.classes))
            return MapBound(network, region, parts[0].method, parts, time.perf_counter() - began)
    elif norm is None:
        raise InputError("norm: write norm=1, 2 or inf for a constant for all inputs, or give a region.")
    if method is not None:
        raise InputError("method: it is for feed-forward networks on a region, of norm inf or with part; leave it out.")
    alone = _output(_as_mondeq(network), part)
    if region is None:
        return lipschitz.upper_bound(alone, norm, **options)
    return local_lipschitz.local_upper_bound(alone, region, **options)


def _as_mondeq(network: MonDEQ | FeedForward) -> MonDEQ:
    """Return the same function, in exact arithmetic, as a monDEQ."""
    if isinstance(network, MonDEQ):
        return network
    for i, layer in enumerate(network.layers):
        if isinstance(layer, Composition):
            several = f"layers[{i}] is several in a row, whose product would be rounded"
            raise NetworkError(f"network: {several}; give a region of norm inf, or a region and part=k.")
    return network.to_mondeq()


def _output(network: MonDEQ, part: int | tuple[int, int] | None) -> MonDEQ:
    """Return the network with one output alone, or as it is."""
    if part is None:
        return network
    if isinstance(part, bool) or part not in range(network.classes):
        pairs = "for differences of a monDEQ's outputs, verifiers.lipschitz.pairwise_bounds(network, norm)"
        raise InputError(f"part: got {part!r}; write an output 0..{network.classes - 1}, or {pairs}.")
    return replace(network, C=network.C[[part]], c=network.c[[part]])
