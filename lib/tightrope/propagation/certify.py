"""What relaxations prove about many regions, or about one of any kind, rounding included; arrays in and out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from tightrope.errors import RegionError
from tightrope.names import known_name
from tightrope.networks import FeedForward
from tightrope.propagation import layerwise
from tightrope.propagation.bounds import best_hidden, bounds, certified
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import RELAXATIONS, SAME
from tightrope.propagation.operators import operators
from tightrope.propagation.rounding import allowance, composed
from tightrope.regions import Ball, Region

#: Entries of the forms of one layer that are bounded together: what fits in the cache.
ENTRIES = 2**21


@dataclass(frozen=True, eq=False)
class Certified:
    """The verdicts of N regions.

    A region is certified if every margin's bound plus its rounding allowance is negative. `worst` is the largest bound
    F_k - F_label, k not the label (nan where nothing was computed), and `allowance` the largest one that was added.
    """

    certified: np.ndarray
    worst: np.ndarray
    allowance: float


def certify(
    network: FeedForward,
    inputs: InputSet,
    labels: Sequence[int],
    method: str,
    *,
    elision: bool = True,
    consider: np.ndarray | None = None,
    batch: int | None = None,
) -> Certified:
    """Certify N regions by one relaxation, in float64; arguments as :func:`tightrope.propagation.bounds.bounds`.

    Only the regions of `consider` (N,) are looked at, if given: images with a known counterexample are certified by no
    sound relaxation. `batch` regions are bounded together; as many as fit in the cache if left out.
    """
    inputs = inputs.mapped(Tensor.double)
    truth = torch.tensor(np.asarray(labels))
    chosen = torch.arange(len(inputs)) if consider is None else torch.tensor(np.flatnonzero(consider))
    verdict = torch.zeros(len(inputs), dtype=torch.bool)
    worst = torch.full((len(inputs),), torch.nan, dtype=torch.float64)
    largest = 0.0
    layers = operators(network)
    largest_form = max(below.inputs * above.outputs for below, above in pairwise([layers[0], *layers]))
    with torch.no_grad():
        for rows in chosen.split(batch or max(1, ENTRIES // largest_form)) if len(chosen) else ():
            part, own = inputs.rows(rows), truth[rows]
            found = bounds(layers, part, method, own, elision=elision)
            extra = allowance(layers, part, found)
            verdict[rows] = certified(found.margins, own, extra)
            others = _no_nan(found.margins + extra, torch.inf).scatter(1, own[:, None], -torch.inf)
            worst[rows] = others.max(1).values
            largest = max(largest, float(extra.max()))
    return Certified(verdict.numpy(), worst.numpy(), largest)


def proven_margins(network: FeedForward, region: Region, label: int, method: str) -> np.ndarray:
    """Return upper bounds of F_k - F_label over the region for all k, rounding included, (K,).

    Balls of norm 1, 2, infinity are taken as they are, of other norms by their enclosure; zonotopes and ellipsoids as
    balls of their parameters; polytopes by their box. The method is a name of
    :data:`tightrope.propagation.lines.RELAXATIONS`; for L-infinity balls also lp-greedy, lp-last, lp-all
    (:mod:`tightrope.propagation.layerwise`).

    Examples
    --------
    >>> from tightrope.regions import Ball
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 1.5]))
    >>> proven_margins(network, Ball([0.0], 1.0, np.inf), 1, "deepz").round(6)  # |x| - 1.5
    array([-0.5,  0. ])
    """
    method = known_name("method", method, (*RELAXATIONS, *layerwise.METHODS), SAME)
    inputs, network = _question(network, region)
    layers = operators(network)
    if method in layerwise.METHODS:
        if inputs.radius is not None:
            raise RegionError(f"method: {method} is for boxes; give a Ball of norm inf, or crown or deepz.")
        return layerwise.layerwise(layers, inputs, label, method).margins.numpy().copy()
    with torch.no_grad():
        found = bounds(layers, inputs, method, [label])
        margins = _no_nan(found.margins + allowance(layers, inputs, found), torch.inf)
    proven = margins[0].numpy().copy()
    proven[label] = 0.0
    return proven


def composition_error(network: FeedForward, region: Region | InputSet) -> np.ndarray:
    """Return how far each output can be from its value by a network whose compositions are one matrix each, (K,)."""
    inputs, network = (region, network) if isinstance(region, InputSet) else _question(network, region)
    layers = operators(network)
    with torch.no_grad():
        error = composed(layers, inputs, bounds(layers, inputs, "box"))
    return 1.01 * error[0].numpy()


def unstable_neurons(network: FeedForward, region: Ball) -> int:
    """Return the number of hidden neurons of either sign on an L-infinity ball, as far as CROWN can tell."""
    with torch.no_grad():
        found = bounds(operators(network), InputSet.from_balls([region]), "crown")
    return sum(int(((low < 0) & (high > 0)).sum()) for low, high in zip(found.lower, found.upper, strict=True))


def _no_nan(values: Tensor, bound: float) -> Tensor:
    """Return the values with a bound that holds where numbers overflowed and infinities met."""
    return values.nan_to_num(bound, torch.inf, -torch.inf)


def _question(network: FeedForward, region: Region) -> tuple[InputSet, FeedForward]:
    """The region as a batch of one, and the network on it."""
    if region.generators is not None:
        network, region = network.after(region.center, region.generators), region.parameters
    return InputSet.from_balls([region]), network


def proven_hidden(
    network: FeedForward, inputs: InputSet, methods: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Bounds (N, n_i) of each hidden layer's preactivations, the best of several relaxations, rounding included."""
    with torch.no_grad():
        low, high = best_hidden(operators(network), inputs, methods)
    bounded = zip(low, high, strict=True)
    return [(_no_nan(a, -torch.inf).numpy(), _no_nan(b, torch.inf).numpy()) for a, b in bounded]


def proven_outputs(network: FeedForward, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (K,) of the outputs over one box (p0,) by intervals, rounding included."""
    layers, inputs = operators(network), InputSet.boxes(lower, upper)
    with torch.no_grad():
        found = bounds(layers, inputs, "box")
        extra = allowance(layers, inputs, found)
    low, high = found.output_lower - extra, found.output_upper + extra
    return _no_nan(low, -torch.inf)[0].numpy(), _no_nan(high, torch.inf)[0].numpy()


def box_bounds(
    network: FeedForward, lower: np.ndarray, upper: np.ndarray, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (N, K) of the outputs over boxes (N, p0) or one box (p0,), up to rounding."""
    with torch.no_grad():
        found = bounds(network, InputSet.boxes(lower, upper), method)
    return found.output_lower.numpy(), found.output_upper.numpy()
