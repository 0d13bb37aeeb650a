"""Forward linear bounds: two forms of the inputs for each neuron, for networks with few of them.

Each preactivation lies between two linear forms of the inputs, kept as their mean C and half their difference R, which
an affine layer turns into W C + b and |W| R. A ReLU between two lines (:mod:`tightrope.propagation.lines`, slopes >= 0)
takes the upper form through the upper line and the lower form through the lower one. A layer of n neurons costs n (p0 +
1) products for each neuron above, where back-substitution costs n for each neuron above and each layer below: with five
inputs hundreds of boxes take the time of one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tightrope.propagation.inputs import InputSet, box_range
from tightrope.propagation.lines import crown_lines
from tightrope.propagation.operators import Affine, interval


def forward_bounds(layers: Sequence[Affine], inputs: InputSet) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return lower and upper bounds (N, n_i) of each layer's values on N boxes, and the upper forms of the last.

    The forms are (N, n, p0), without their constants. The bounds are up to rounding: the paths from the inputs to a
    neuron are those of back-substitution, each once, so that :func:`tightrope.propagation.rounding.allowance` holds.
    """
    count, size = len(inputs), inputs.size
    lower: list[Tensor] = []
    upper: list[Tensor] = []
    mean = torch.eye(size, size + 1, dtype=inputs.lower.dtype).T.expand(count, -1, -1)  # (N, p0 + 1, n): x itself
    half = torch.zeros_like(mean)
    for i, layer in enumerate(layers):
        if i:
            mean, half = _relu(mean, half, lower[-1], upper[-1])
        mean, half = (
            part(side.reshape(-1, side.shape[-1])) for part, side in ((layer.linear, mean), (layer.absolute, half))
        )
        mean, half = (side.reshape(count, size + 1, -1) for side in (mean, half))
        mean = torch.cat([mean[:, :-1], mean[:, -1:] + layer.bias], 1)
        below, above = mean - half, mean + half
        least = box_range(below[:, :-1].transpose(1, 2), inputs.lower, inputs.upper)[0] + below[:, -1]
        most = box_range(above[:, :-1].transpose(1, 2), inputs.lower, inputs.upper)[1] + above[:, -1]
        if i:  # neither is always tighter than the layer's own intervals
            low, high = interval(layer, lower[-1].clamp(min=0), upper[-1].clamp(min=0))
            least, most = torch.maximum(least, low), torch.minimum(most, high)
        lower.append(least)
        upper.append(most)
    return lower, upper, above[:, :-1].transpose(1, 2)


def _relu(mean: Tensor, half: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    lines = crown_lines(low, high)
    up = lines.upper_slope[:, None] * (mean + half)
    down = lines.lower_slope[:, None] * (mean - half)
    mean, half = (up + down) / 2, (up - down) / 2
    middle, reach = lines.intercepts
    return torch.cat([mean[:, :-1], mean[:, -1:] + middle[:, None]], 1), torch.cat(
        [half[:, :-1], half[:, -1:] + reach[:, None]], 1
    )
