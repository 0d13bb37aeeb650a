"""What relaxations prove about many regions, rounding included; arrays in and out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from tightrope.networks import FeedForward
from tightrope.propagation.bounds import bounds, certified
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import operators, settled
from tightrope.propagation.rounding import allowance

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
    inputs = inputs if inputs.lower.dtype == torch.float64 else inputs.double()
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
            others = (found.margins + extra).scatter(1, own[:, None], -torch.inf)
            worst[rows] = others.max(1).values
            largest = max(largest, float(extra.max()))
    return Certified(verdict.numpy(), worst.numpy(), largest)


def proven_hidden(
    network: FeedForward, inputs: InputSet, methods: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Bounds (N, n_i) of each hidden layer's preactivations, the best of several relaxations, rounding included."""
    layers = operators(network)
    hidden = range(len(layers) - 1)
    low, high = [torch.tensor(-torch.inf)] * len(hidden), [torch.tensor(torch.inf)] * len(hidden)
    with torch.no_grad():
        for method in methods:
            found = bounds(layers, inputs, method)
            for i in hidden:
                extra = allowance(layers[: i + 1], inputs, found)
                low[i] = torch.maximum(low[i], settled(layers[i], found.lower[i] - extra))
                high[i] = torch.minimum(high[i], found.upper[i] + extra)
    return [(a.numpy(), b.numpy()) for a, b in zip(low, high, strict=True)]


def proven_outputs(network: FeedForward, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (K,) of the outputs over one box (p0,) by intervals, rounding included."""
    layers, inputs = operators(network), InputSet.boxes(lower, upper)
    with torch.no_grad():
        found = bounds(layers, inputs, "box")
        extra = allowance(layers, inputs, found)
    return (found.output_lower - extra)[0].numpy(), (found.output_upper + extra)[0].numpy()


def box_bounds(
    network: FeedForward, lower: np.ndarray, upper: np.ndarray, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (N, K) of the outputs over boxes (N, p0) or one box (p0,), up to rounding."""
    with torch.no_grad():
        found = bounds(network, InputSet.boxes(lower, upper), method)
    return found.output_lower.numpy(), found.output_upper.numpy()
