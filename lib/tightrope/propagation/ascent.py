"""Gradient ascent on a bound, along one direction of the first layer's weights.

Training with a relaxation is first-order optimisation of its bounds. On a line, delta -> weight + delta direction, the
landscape can be drawn: where the bound jumps, a step can lead over the edge, and where it has local maxima, a path ends
in one (Section 4.4 and Appendix F of jovanovic2022-paradox).
"""

from dataclasses import dataclass

import numpy as np
import torch

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.propagation.continuity import shifted_lower_bound


@dataclass(frozen=True)
class Steps:
    """How steps are made: delta grows by rate decay^k times the derivative, k = 0, ..., count - 1."""

    rate: float
    decay: float
    count: int

    def __post_init__(self) -> None:
        if not (0 < self.rate < np.inf and 0 < self.decay <= 1) or self.count < 1:
            raise InputError(
                f"rate={self.rate}, decay={self.decay}, count={self.count}: rate must be positive, decay in (0, 1], "
                f"count at least 1."
            )


@dataclass(frozen=True, eq=False)
class Path:
    """Where the ascent came by: delta and the lower bound there, (count + 1,) each, the start first."""

    shifts: np.ndarray
    values: np.ndarray


def ascend(
    network: FeedForward,
    lower: np.ndarray,
    upper: np.ndarray,
    output: int,
    direction: np.ndarray,
    method: str,
    steps: Steps,
) -> Path:
    """Maximise the lower bound of one output over a box by gradient ascent in delta, from 0.

    The box is (p0,) twice, the direction of the first weight's shape; methods are those of
    :func:`tightrope.propagation.bounds.bounds`.

    Examples
    --------
    >>> network = FeedForward.dense(([[1.0]], [[1.0]]), ([0.0], [0.0]))  # bounded below by ReLU's lower line
    >>> found = ascend(network, [1.0], [2.0], 0, np.ones((1, 1)), "box", Steps(0.5, 0.5, 3))
    >>> found.shifts.tolist(), found.values.tolist()
    ([0.0, 0.5, 0.75, 0.875], [1.0, 1.5, 1.75, 1.875])
    """
    lower_bound = shifted_lower_bound(network, lower, upper, output, direction, method)
    delta, rate = torch.zeros((), dtype=torch.float64, requires_grad=True), steps.rate
    delta, rate = torch.zeros((), dtype=torch.float64, requires_grad=True), steps.rate
    shifts, values = [], []
    for k in range(steps.count + 1):
        value = lower_bound(delta)
        shifts.append(float(delta.detach()))
        values.append(float(value.detach()))
        if k < steps.count:
            (slope,) = torch.autograd.grad(value, delta, allow_unused=True)
            delta = (delta + rate * (0 if slope is None else slope)).detach().requires_grad_()
            rate *= steps.decay
    return Path(np.array(shifts), np.array(values))
