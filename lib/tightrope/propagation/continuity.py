"""How bounds move with the weights: jumps of a function, bounds along a shift of the first layer, ascent on them.

Training with a relaxation is first-order optimisation of its bounds. On a line, delta -> weight + delta direction, the
landscape can be drawn: where the bound jumps, a step can lead over the edge, and where it has local maxima, a path ends
in one (Section 4.4 and Appendix F of jovanovic2022-paradox).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import Affine, ConvolutionOperator, DenseOperator, operators

#: Width to which the place of a jump is known, relative to the interval that is searched.
WIDTH = 1e-9


@dataclass(frozen=True)
class Jump:
    """Where a function has two values: `before` and `after` `at`, :data:`WIDTH` apart."""

    at: float
    before: float
    after: float

    @property
    def height(self) -> float:
        """after - before."""
        return self.after - self.before


def jumps(
    values: Callable[[np.ndarray], np.ndarray], start: float, stop: float, count: int = 401, smallest: float = 1e-3
) -> list[Jump]:
    """Find the jumps of a function on an interval.

    The function is evaluated on a grid; in each cell, halving keeps the half with the larger difference. A continuous
    function's difference shrinks with the cell, a jump's does not. Of several jumps in one cell the largest is found.
    `values` maps arguments (n,) to values (n,); jumps below the smallest height are left out.

    Examples
    --------
    >>> [(round(jump.at, 6), jump.height) for jump in jumps(lambda x: np.floor(x), 0.5, 2.5, 8)]
    [(1.0, 1.0), (2.0, 1.0)]
    """
    grid = np.linspace(start, stop, count)
    found = values(grid)
    cells = np.array([grid[:-1], grid[1:], found[:-1], found[1:]])
    while True:
        left, right, low, high = cells = cells[:, np.abs(cells[3] - cells[2]) > smallest]
        if not (right - left).max(initial=0.0) > WIDTH * (stop - start):
            return [Jump(float((a + b) / 2), float(c), float(d)) for a, b, c, d in cells.T]
        middle = (left + right) / 2
        value = values(middle)
        first = np.abs(value - low) >= np.abs(high - value)
        cells = np.where(first, [left, middle, low, value], [middle, right, value, high])


def _with_weight(layer: Affine, weight: torch.Tensor) -> Affine:
    return (
        replace(layer, weight=weight) if isinstance(layer, ConvolutionOperator) else DenseOperator(weight, layer.bias)
    )


def output_gradient(network: FeedForward, x: np.ndarray, output: int) -> np.ndarray:
    """The gradient of one output at x in the weight of the first layer, of the weight's shape, largest entry 1."""
    network.require_relu("this gradient is of networks with")
    layers = list(operators(network))
    first = layers[0]
    weight = first.weight.clone().requires_grad_()
    layers[0] = _with_weight(first, weight)
    z = torch.tensor(np.atleast_2d(x))
    for i, layer in enumerate(layers):
        z = layer.linear(z if i == 0 else torch.relu(z)) + layer.bias
    (gradient,) = torch.autograd.grad(z[0, output], weight)
    return (gradient / gradient.abs().max().clamp(min=1e-300)).numpy()


@dataclass(frozen=True)
class Steps:
    """How steps are made: delta grows by rate decay^k times the derivative, k = 0, ..., count - 1."""

    rate: float
    decay: float
    count: int

    def __post_init__(self) -> None:
        if not (0 < self.rate < np.inf and 0 < self.decay <= 1) or self.count < 1:
            given = f"rate={self.rate}, decay={self.decay}, count={self.count}"
            raise InputError(f"{given}: rate must be positive, decay in (0, 1], count at least 1.")


@dataclass(frozen=True, eq=False)
class Path:
    """Where the ascent came by: delta and the lower bound there, (count + 1,) each, the start first."""

    shifts: np.ndarray
    values: np.ndarray


class ShiftedBound:
    """The lower bound of one output over a box (p0,) as a function of delta: the first weight + delta direction.

    Called with shifts (n,), it returns its values (n,) there. The direction has the first weight's shape; methods are
    those of :func:`tightrope.propagation.bounds.bounds`.

    Examples
    --------
    >>> network = FeedForward.dense(([[1.0]], [[1.0]]), ([0.0], [0.0]))  # bounded below by ReLU's lower line
    >>> bound = ShiftedBound(network, [1.0], [2.0], 0, np.ones((1, 1)), "box")
    >>> found = bound.ascend(Steps(0.5, 0.5, 3))
    >>> found.shifts.tolist(), found.values.tolist()
    ([0.0, 0.5, 0.75, 0.875], [1.0, 1.5, 1.75, 1.875])
    """

    def __init__(
        self, network: FeedForward, lower: ArrayLike, upper: ArrayLike, output: int, direction: np.ndarray, method: str
    ) -> None:
        network.require_relu("bounds as functions of a weight are of networks with")
        self.first, *self.middle, last = operators(network)
        self.last = DenseOperator(last.rows(output, output + 1), last.bias[output : output + 1])
        self.box, self.direction, self.method = InputSet.boxes(lower, upper), torch.tensor(direction), method

    def at(self, delta: torch.Tensor) -> torch.Tensor:
        """Return the bound at one delta; both are scalars."""
        moved = _with_weight(self.first, self.first.weight + delta * self.direction)
        return bounds([moved, *self.middle, self.last], self.box, self.method).output_lower[0, 0]

    def __call__(self, shifts: ArrayLike) -> np.ndarray:
        with torch.no_grad():
            return np.array([float(self.at(delta)) for delta in torch.tensor(shifts, dtype=torch.float64)])

    def ascend(self, steps: Steps) -> Path:
        """Maximise the bound by gradient ascent in delta, from 0."""
        delta, rate = torch.zeros((), dtype=torch.float64, requires_grad=True), steps.rate
        shifts, values = [], []
        for k in range(steps.count + 1):
            value = self.at(delta)
            shifts.append(float(delta.detach()))
            values.append(float(value.detach()))
            if k < steps.count:
                (slope,) = torch.autograd.grad(value, delta, allow_unused=True)
                delta = (delta + rate * (0 if slope is None else slope)).detach().requires_grad_()
                rate *= steps.decay
        return Path(np.array(shifts), np.array(values))
