"""Back-substitution: bounds of linear forms of a neuron layer through all layers below it.

An upper bound of A z with z_j between two lines in h_j takes the upper line where A_j > 0 and the lower line where
A_j < 0:

    A z <= A+ (su h + tu) + A- (sl h + tl) = (A+ su + A- sl) h + A+ tu + A- tl,      h = W x + b,

which is a linear form of the layer below, and so on down to the inputs, where its maximum over the region is known.
With A+ = (A + |A|) / 2 the two slopes enter by their mean and half their difference, and so do the intercepts.
Where all lines are parallel (hBox, DeepZ) the form is the same for the upper and the lower bound.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import Lines
from tightrope.propagation.operators import Affine

#: Entries of a batch of forms: what is above is split into groups of rows.
LARGEST = 2**23


def form_bounds(
    A: Tensor, constant: Tensor, layers: Sequence[Affine], lines: Sequence[Lines], inputs: InputSet
) -> tuple[Tensor, Tensor]:
    """Bounds (N, m) of A z + constant, z the activations above layers[-1].

    A is (N or 1, m, n), the constant (N or 1, m); the affine layers go from the input up, the lines are those of the
    nonlinearity above each.
    """
    if all(line.parallel for line in lines):
        return _parallel(A, constant, layers, lines, inputs)
    return -upper_bounds(-A, -constant, layers, lines, inputs), upper_bounds(A, constant, layers, lines, inputs)


def upper_bounds(
    A: Tensor, constant: Tensor, layers: Sequence[Affine], lines: Sequence[Lines], inputs: InputSet
) -> Tensor:
    """Upper bounds (N, m) of A z + constant; arguments as :func:`form_bounds`."""
    if all(line.parallel for line in lines):
        return _parallel(A, constant, layers, lines, inputs)[1]
    for layer, line in zip(reversed(layers), reversed(lines), strict=True):
        size = A.abs()
        center, reach = line.intercepts
        constant = constant + _dot(A, center) + _dot(size, reach)
        center, reach = line.slopes
        A = line.times(A, center) + line.times(size, reach)
        constant = constant + A @ layer.bias
        A = layer.transpose(A)
    return constant + inputs.maximum(A)


def _parallel(
    A: Tensor, constant: Tensor, layers: Sequence[Affine], lines: Sequence[Lines], inputs: InputSet
) -> tuple[Tensor, Tensor]:
    radius = torch.zeros_like(constant)
    for layer, line in zip(reversed(layers), reversed(lines), strict=True):
        center, reach = line.intercepts
        constant = constant + _dot(A, center)
        radius = radius + _dot(A.abs(), reach)
        A = line.times(A, line.upper_slope)
        constant = constant + A @ layer.bias
        A = layer.transpose(A)
    least, most = inputs.range(A)
    return constant - radius + least, constant + radius + most


def _dot(A: Tensor, v: Tensor) -> Tensor:
    """A v for A (N or 1, m, n) and v (N, n)."""
    return torch.matmul(A, v[..., None])[..., 0]


def layer_bounds(
    layer: Affine, layers: Sequence[Affine], lines: Sequence[Lines], inputs: InputSet
) -> tuple[Tensor, Tensor]:
    """Bounds (N, outputs) of the preactivations of a layer above `layers`, in groups of rows that fit in memory."""
    widest = max(layer.inputs, *(below.inputs for below in layers), *(below.outputs for below in layers))
    group = max(1, LARGEST // (widest * len(inputs)))
    bias = layer.bias
    parts = []
    for start in range(0, layer.outputs, group):
        stop = min(start + group, layer.outputs)
        parts.append(form_bounds(layer.rows(start, stop)[None], bias[None, start:stop], layers, lines, inputs))
    lower, upper = (torch.cat(side, dim=1) for side in zip(*parts, strict=True))
    return lower, upper
