"""Which of many regions a relaxation certifies, rounding included."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tightrope.networks import FeedForward
from tightrope.propagation.bounds import bounds, certified
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import operators
from tightrope.propagation.rounding import allowance

#: Regions that are bounded together: forms of a few fit in the cache.
BATCH = 8


@dataclass(frozen=True, eq=False)
class Certified:
    """The verdicts of N regions.

    Attributes
    ----------
    certified : (N,) tensor of bool
        Whether every margin's bound plus its rounding allowance is negative.
    worst : (N,) tensor
        The largest bound F_k - F_label, k not the label; nan where nothing was computed.
    allowance : float
        The largest rounding allowance that was added.
    """

    certified: Tensor
    worst: Tensor
    allowance: float


def certify(
    network: FeedForward,
    inputs: InputSet,
    labels: Tensor | Sequence[int],
    method: str,
    *,
    elision: bool = True,
    consider: Tensor | None = None,
    batch: int = BATCH,
) -> Certified:
    """Certify N regions by one relaxation, in float64.

    Parameters
    ----------
    network, inputs, labels, method, elision
        As in :func:`tightrope.propagation.bounds.bounds`.
    consider : (N,) tensor of bool, optional
        The regions to look at; the others are not certified. For images with a known counterexample, which no sound
        relaxation certifies.
    """
    inputs = inputs if inputs.lower.dtype == torch.float64 else inputs.double()
    labels = torch.as_tensor(labels)
    chosen = torch.arange(len(inputs)) if consider is None else consider.nonzero()[:, 0]
    verdict = torch.zeros(len(inputs), dtype=torch.bool)
    worst = torch.full((len(inputs),), torch.nan, dtype=torch.float64)
    largest = 0.0
    layers = operators(network)
    with torch.no_grad():
        for rows in chosen.split(batch):
            part, own = inputs.rows(rows), labels[rows]
            found = bounds(layers, part, method, own, elision=elision)
            extra = allowance(layers, part, found)
            verdict[rows] = certified(found.margins, own, extra)
            others = found.margins.scatter(1, own[:, None], -torch.inf)
            worst[rows] = others.max(1).values
            largest = max(largest, float(extra.max()))
    return Certified(verdict, worst, largest)
