"""How bounds move with the weights: jumps of a function, and bounds along a shift of the first layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from tightrope.networks import FeedForward
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import DenseOperator, operators


@dataclass(frozen=True)
class Jump:
    """Where a function has two values: `before` and `after` `at`, :data:`WIDTH` apart, in floating point steps."""

    at: float
    before: float
    after: float

    @property
    def height(self) -> float:
        """after - before."""
        return self.after - self.before


#: Width to which the place of a jump is known, relative to the interval that is searched.
WIDTH = 1e-9


def jumps(
    values: Callable[[np.ndarray], np.ndarray], start: float, stop: float, count: int = 401, smallest: float = 1e-3
) -> list[Jump]:
    """Find the jumps of a function on an interval.

    The function is evaluated on a grid; in each cell, halving keeps the half with the larger difference. A continuous
    function's difference shrinks with the cell, a jump's does not. Of several jumps in one cell the largest is found.
    `values` maps arguments (n,) to values (n,); jumps below the smallest height are left out.
    --------
    >>> [(round(jump.at, 6), jump.height) for jump in jumps(lambda x: np.floor(x), 0.5, 2.5, 8)]
    [(1.0, 1.0), (2.0, 1.0)]
    """
    grid = np.linspace(start, stop, count)
    found = values(grid)
    left, right = grid[:-1], grid[1:]
    low, high = found[:-1], found[1:]
    keep = np.abs(high - low) > smallest
    left, right, low, high = left[keep], right[keep], low[keep], high[keep]
    while len(left) and (right - left).max() > WIDTH * (stop - start):
        middle = (left + right) / 2
        value = values(middle)
        first = np.abs(value - low) >= np.abs(high - value)
        left, right = np.where(first, left, middle), np.where(first, middle, right)
        low, high = np.where(first, low, value), np.where(first, value, high)
        keep = np.abs(high - low) > smallest
        left, right, low, high = left[keep], right[keep], low[keep], high[keep]
    return [Jump(float((a + b) / 2), float(c), float(d)) for a, b, c, d in zip(left, right, low, high, strict=True)]


def output_gradient(network: FeedForward, x: np.ndarray, output: int) -> np.ndarray:
    """The gradient of one output at x in the weight of the first layer, of the weight's shape, largest entry 1."""
    network.require_relu("this gradient is of networks with")
    layers = list(operators(network))
    first = layers[0]
    weight = first.weight.clone().requires_grad_()
    layers[0] = replace(first, weight=weight)
    z = torch.tensor(np.atleast_2d(x))
    for i, layer in enumerate(layers):
        z = layer.linear(z if i == 0 else torch.relu(z)) + layer.bias
    (gradient,) = torch.autograd.grad(z[0, output], weight)
    return (gradient / gradient.abs().max().clamp(min=1e-300)).numpy()


def shifted_lower_bound(
    network: FeedForward, lower: np.ndarray, upper: np.ndarray, output: int, direction: np.ndarray, method: str
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The lower bound of one output over a box (p0,) as a function of delta: the first weight + delta direction."""
    network.require_relu("bounds as functions of a weight are of networks with")
    first, *middle, last = operators(network)
    one = DenseOperator(last.rows(output, output + 1), last.bias[output : output + 1])
    box, step = InputSet.boxes(lower, upper), torch.tensor(direction)

    def value(delta: torch.Tensor) -> torch.Tensor:
        moved = [replace(first, weight=first.weight + delta * step), *middle, one]
        return bounds(moved, box, method).output_lower[0, 0]

    return value


def shifted_lower_bounds(
    network: FeedForward,
    lower: np.ndarray,
    upper: np.ndarray,
    output: int,
    direction: np.ndarray,
    shifts: Sequence[float],
    method: str,
) -> np.ndarray:
    """The values (len(shifts),) of :func:`shifted_lower_bound` at some shifts."""
    value = shifted_lower_bound(network, lower, upper, output, direction, method)
    with torch.no_grad():
        return np.array([float(value(torch.tensor(float(shift), dtype=torch.float64))) for shift in shifts])
