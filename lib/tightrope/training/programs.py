"""Triangle and Parallelogram as differentiable bounds.

The bound of a linear program is a minimum over its multipliers, and for these programs the multipliers are slopes:
below an unstable neuron any line a h with 0 <= a <= 1, above it the chord (Triangle) or any line c (h - l) + (1 - c) u
with 0 <= c <= 1 (Parallelogram). Back-substitution with the best slopes of each bound is the program's optimum (Salman
et al. 2019), and it is a valid bound with any slopes, whatever the solver returned: HiGHS gives the slopes, and
back-substitution the value.

The derivative is the envelope theorem's: that of the Lagrangian, point and multipliers held fixed. (Differentiating
back-substitution at the best slopes would not do: they put coefficients at 0, where |A| has a kink.)
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tightrope.errors import InputError
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import Affine, DenseOperator, interval
from tightrope.solvers.highs import LinearProgram
from tightrope.verifiers.triangle import LOOSER as PROGRAMS

#: Distance by which columns are wider than they can be, so that no multiplier sits on their ends.
WIDE = 1.0


def program_margins(layers: Sequence[Affine], inputs: InputSet, labels: Tensor, kind: str) -> Tensor:
    """Upper bounds of F_k - F_label (N, K) by Triangle or Parallelogram, differentiable in the layers and boxes."""
    if kind not in PROGRAMS:
        raise InputError(f"kind: expected one of {', '.join(PROGRAMS)}, got {kind!r}.")
    dense = [layer for layer in layers if isinstance(layer, DenseOperator)]
    if len(dense) < len(layers) or inputs.radius is not None:
        raise InputError("Triangle and Parallelogram are trained on dense layers and boxes only.")
    hidden, last = dense[:-1], dense[-1]
    program = _Programs(hidden, inputs, kind)
    for i, layer in enumerate(hidden):
        if i == 0:
            low, high = interval(layer, inputs.lower, inputs.upper)
        else:
            low, high = program.looser_bounds()
            image, neuron = ((low < 0) & (high > 0)).nonzero(as_tuple=True)
            A, offset = layer.weight[neuron], layer.bias[neuron]
            most = program.maximum(A, offset, image)
            least = -program.maximum(-A, -offset, image)
            low = low.index_put((image, neuron), torch.minimum(least, most))
            high = high.index_put((image, neuron), most)
        program.add(low, high)
    count, classes = len(inputs), last.outputs
    others = torch.tensor([[k for k in range(classes) if k != int(y)] for y in labels])
    image = torch.arange(count).repeat_interleave(classes - 1)
    rows, own = others.flatten(), labels.repeat_interleave(classes - 1)
    worst = program.maximum(last.weight[rows] - last.weight[own], last.bias[rows] - last.bias[own], image)
    return torch.zeros(count, classes, dtype=worst.dtype).index_put((image, rows), worst)


class _Programs:
    """One linear program whose bounds are moved from image to image, layer by layer.

    Columns: inputs, then h and z of each layer. Rows of each layer: W z' - h = -b; z - h >= 0 (= 0 where stable and
    on); the upper side z - slope h <= intercept.
    """

    def __init__(self, layers: Sequence[DenseOperator], inputs: InputSet, kind: str) -> None:
        self.layers, self.inputs, self.kind = layers, inputs, kind
        self.program = LinearProgram()
        self.box = [_array(side) for side in (inputs.lower, inputs.upper)]
        self.below = self.program.add_columns(self.box[0][0], self.box[1][0])
        self.inputs_columns = self.below
        self.lower: list[Tensor] = []
        self.upper: list[Tensor] = []
        self.parts: list[tuple] = []  # columns h, z; first row; bounds (N, n) twice

    def looser_bounds(self) -> tuple[Tensor, Tensor]:
        """Bounds (N, n) of the next layer by looser relaxations on top of those below it, without gradient."""
        with torch.no_grad():
            layers, like = self.layers[: len(self.parts) + 1], self.inputs.lower
            end = DenseOperator(torch.eye(layers[-1].outputs).to(like), torch.zeros(1).to(like))
            known = ([t.detach() for t in self.lower], [t.detach() for t in self.upper])
            found = [bounds([*layers, end], self.inputs, name, hidden=known) for name in PROGRAMS[self.kind]]
            low = torch.stack([one.lower[-1] for one in found]).amax(0)
            return low, torch.maximum(low, torch.stack([one.upper[-1] for one in found]).amin(0))

    def add(self, low: Tensor, high: Tensor) -> None:
        """Put a layer with these bounds (N, n) on top."""
        layer = self.layers[len(self.parts)]
        W, b = _array(layer.weight), _array(layer.bias)
        n = len(b)
        h, z = (self.program.add_columns(np.zeros(n), np.zeros(n)) for _ in range(2))
        rows = np.zeros((3 * n, self.program.columns))
        i = np.arange(n)
        rows[:n, self.below] = W
        rows[i, h] = -1.0
        rows[n + i, z], rows[n + i, h] = 1.0, -1.0
        rows[2 * n + i, z], rows[2 * n + i, h] = 1.0, -1.0
        infinite = np.full(n, np.inf)
        first = self.program.add_rows(rows, np.r_[-b, np.zeros(n), -infinite], np.r_[-b, infinite, infinite])[0]
        self.parts.append((h, z, int(first), _array(low), _array(high)))
        self.lower.append(low)
        self.upper.append(high)
        self.below = z

    def _move(self, image: int) -> None:
        """Set all bounds to those of one image."""
        program = self.program
        program.set_columns(self.inputs_columns, self.box[0][image], self.box[1][image])
        for h, z, first, lows, highs in self.parts:
            low, high = lows[image], highs[image]
            n = len(low)
            on, off = low >= 0, high <= 0
            unstable = ~on & ~off
            program.set_columns(h, low - WIDE, high + WIDE)
            top = high if self.kind == "parallelogram" else high + WIDE
            program.set_columns(z, np.where(on, low - WIDE, 0.0), np.where(off, 0.0, np.where(on, high + WIDE, top)))
            inf, width = np.inf, np.where(unstable, high - low, 1.0)
            intercepts = -low if self.kind == "parallelogram" else -low * high / width
            program.set_rows(
                range(first + n, first + 3 * n),
                np.r_[np.where(off, -inf, 0.0), np.full(n, -inf)],
                np.r_[np.where(on, 0.0, inf), np.where(unstable, intercepts, inf)],
            )
            if self.kind == "triangle":
                program.set_coefficients(
                    first + 2 * n + np.flatnonzero(unstable), h[unstable], -(high / width)[unstable]
                )

    def maximum(self, A: Tensor, offset: Tensor, image: Tensor) -> Tensor:
        """Upper bounds (P,) of A z + offset, problem p over the activations z of image[p]; A is (P, n)."""
        if not len(image):
            return offset
        solved, slopes = self._solve(_array(A), image.numpy())
        with torch.no_grad():
            value = self._value(A, offset, image, slopes)
        if not torch.is_grad_enabled():
            return value
        slope = self._lagrangian(A, offset, image, solved)
        return value + (slope - slope.detach())

    def _value(self, A: Tensor, offset: Tensor, image: Tensor, slopes: list) -> Tensor:
        """Back-substitution with the slopes of each problem."""
        for k in reversed(range(len(self.parts))):
            low, high = self.lower[k][image], self.upper[k][image]
            below, above = (torch.tensor(side).to(A) for side in slopes[k])
            on, unstable = (low >= 0).to(A), (low < 0) & (high > 0)
            if self.kind == "triangle":
                above = high / torch.where(unstable, high - low, 1.0)
                intercept = -above * low
            else:
                intercept = -above * low + (1 - above) * high
            up, down = A.clamp(min=0), A.clamp(max=0)
            offset = offset + (up * torch.where(unstable, intercept, 0.0)).sum(1)
            A = up * torch.where(unstable, above, on) + down * torch.where(unstable, below, on)
            layer = self.layers[k]
            offset = offset + A @ layer.bias
            A = A @ layer.weight
        middle, reach = (self.inputs.lower + self.inputs.upper) / 2, (self.inputs.upper - self.inputs.lower) / 2
        return offset + (A * middle[image]).sum(1) + (A.abs() * reach[image]).sum(1)

    def _lagrangian(self, A: Tensor, offset: Tensor, image: Tensor, solved: tuple) -> Tensor:
        """What depends on weights and bounds in cost'x + rows' multipliers (end - row x) + columns' multipliers end."""
        x, rows, columns = (torch.tensor(array).to(A) for array in solved)
        inputs = self.inputs_columns
        sides = torch.where(columns[:, inputs] > 0, self.inputs.upper[image], self.inputs.lower[image])
        total = offset + (A * x[:, self.below]).sum(1) + (columns[:, inputs] * sides).sum(1)
        below = inputs
        for k, (h, z, first, *_) in enumerate(self.parts):
            layer, n = self.layers[k], len(h)
            low, high = self.lower[k][image], self.upper[k][image]
            unstable = (low < 0) & (high > 0)
            total = total - (rows[:, first : first + n] * (layer.linear(x[:, below]) + layer.bias)).sum(1)
            side = torch.where(unstable, rows[:, first + 2 * n : first + 3 * n], 0.0)
            if self.kind == "triangle":
                chord = high / torch.where(unstable, high - low, 1.0)
                total = total + (side * chord * (x[:, h] - low)).sum(1)
            else:
                top = torch.where(unstable, columns[:, z].clamp(min=0), 0.0)
                total = total - (side * low).sum(1) + (top * high).sum(1)
            below = z
        return total

    def _solve(self, A: np.ndarray, image: np.ndarray) -> tuple[tuple[np.ndarray, ...], list]:
        """Points, multipliers of rows and of columns of all problems; slopes (P, n), below and above, of each layer."""
        halves = [np.full((len(A), len(part[0])), 0.5) for part in self.parts]
        slopes = [(half, half.copy()) for half in halves]
        x, columns = (np.zeros((len(A), self.program.columns)) for _ in range(2))
        rows = np.zeros((len(A), self.program.rows))
        before = -1
        for p in range(len(A)):
            if image[p] != before:
                before = image[p]
                self._move(before)
            solved = self.program.raw(self.below, A[p])
            if solved is not None:  # without multipliers any slopes give a bound, with derivative 0
                x[p], rows[p], columns[p] = solved
        for (_, z, first, *_), (below, above) in zip(self.parts, slopes, strict=True):
            n = len(z)
            diagonal, flat = np.abs(rows[:, first + n : first + 2 * n]), np.maximum(-columns[:, z], 0)
            side, top = np.abs(rows[:, first + 2 * n : first + 3 * n]), np.maximum(columns[:, z], 0)
            for slope, one, other in ((below, diagonal, flat), (above, side, top)):
                total = one + other
                asked = total > 1e-12
                slope[asked] = one[asked] / total[asked]
        return (x, rows, columns), slopes


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()
