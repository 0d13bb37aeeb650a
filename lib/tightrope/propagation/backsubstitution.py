"""Back-substitution: bounds of linear forms of a neuron layer through all layers below it.

An upper bound of A z with z_j between two lines in h_j takes the upper line where A_j > 0 and the lower line where
A_j < 0:

    A z <= A+ (su h + tu) + A- (sl h + tl) = (A+ su + A- sl) h + A+ tu + A- tl,      h = W x + b,

which is a linear form of the layer below, and so on down to the inputs, where its maximum over the region is known.
With A+ = (A + |A|) / 2 the two slopes enter by their mean and half their difference, and so do the intercepts.
Where all lines are parallel (hBox, DeepZ) the form is the same for the upper and the lower bound.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from operator import itemgetter
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import unfold

from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import Lines
from tightrope.propagation.operators import Affine, ConvolutionOperator, DenseOperator, SparseOperator, without_zeros

#: Entries of a batch of forms that fit in memory, and in the processor's cache: what is above is split into groups.
LARGEST, CACHED = 2**23, 2**17
#: Outputs of a sparse layer that are bounded together.
TOGETHER = 64


def form_bounds(
    A: Tensor, constant: Tensor, layers: Sequence[Affine], lines: Sequence[Lines], inputs: InputSet
) -> tuple[Tensor, Tensor]:
    """Bounds (N, m) of A z + constant, z the activations above layers[-1].

    A is (N or 1, m, n), the constant (N or 1, m); the affine layers go from the input up, the lines are those of the
    nonlinearity above each.
    """
    if all(line.parallel for line in lines):
        low, high = _in_groups(_parallel, A, constant, layers, lines, inputs)
        return low, high
    return -upper_bounds(-A, -constant, layers, lines, inputs), upper_bounds(A, constant, layers, lines, inputs)


def upper_bounds(
    A: Tensor, constant: Tensor, layers: Sequence[Affine], lines: Sequence[Lines], inputs: InputSet
) -> Tensor:
    """Upper bounds (N, m) of A z + constant; arguments as :func:`form_bounds`."""
    if all(line.parallel for line in lines):
        return _in_groups(_parallel, A, constant, layers, lines, inputs)[1]
    return _in_groups(_upper, A, constant, layers, lines, inputs)[0]


def _in_groups(
    bound: Callable[..., tuple[Tensor, ...]],
    A: Tensor,
    constant: Tensor,
    layers: Sequence[Affine],
    lines: Sequence[Lines],
    inputs: InputSet,
) -> tuple[Tensor, ...]:
    """Call `bound` on groups of images and of forms that stay in the cache; gradients keep it all: one group."""
    N, m = len(inputs), A.shape[1]
    widest = max(A.shape[2], *(layer.inputs for layer in layers))
    if torch.is_grad_enabled() or A.is_cuda or N * m * widest <= CACHED:
        return bound(A, constant, layers, lines, inputs)
    forms = min(m, max(1, CACHED // widest))
    images = max(1, CACHED // (widest * forms))
    found = []
    for i in range(0, N, images):
        rows = slice(i, i + images)
        own, part = [line.mapped(itemgetter(rows)) for line in lines], inputs.rows(rows)
        above, more = (t if len(t) == 1 else t[rows] for t in (A, constant))
        parts = [
            bound(*one, layers, own, part) for one in zip(above.split(forms, 1), more.split(forms, 1), strict=True)
        ]
        found.append([torch.cat(side, dim=1) for side in zip(*parts, strict=True)])
    return tuple(torch.cat(side) for side in zip(*found, strict=True))


def _upper(
    A: Tensor, constant: Tensor, layers: Sequence[Affine], lines: Sequence[Lines], inputs: InputSet
) -> tuple[Tensor]:
    for layer, line in zip(reversed(layers), reversed(lines), strict=True):
        size = A.abs()
        center, reach = line.intercepts
        constant = constant + _dot(A, center) + _dot(size, reach)
        center, reach = line.slopes
        A = line.times(A, center) + line.times(size, reach)
        constant = constant + A @ layer.bias
        A = layer.transpose(A)
    return (constant + inputs.maximum(A),)


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
    """Bounds (N, outputs) of the preactivations of a layer above `layers`, in groups of rows that fit in memory.

    Without gradients, convolutions above convolutions are bounded by the patches that each place sees.
    """
    if not torch.is_grad_enabled() and inputs.radius is None and isinstance(layer, ConvolutionOperator):
        below = [one for one in layers if isinstance(one, ConvolutionOperator)]
        plain = len(below) == len(layers) and all(line.windows is None for line in lines)  # pooling moves the places
        if plain and (found := _patches(layer, below, lines, inputs)) is not None:
            return found
    if not torch.is_grad_enabled() and isinstance(layer, SparseOperator):
        return _near(layer, layers, lines, inputs)
    widest = max(layer.inputs, *(below.inputs for below in layers), *(below.outputs for below in layers))
    group = max(1, LARGEST // (widest * len(inputs)))
    bias = layer.bias
    parts = []
    for start in range(0, layer.outputs, group):
        stop = min(start + group, layer.outputs)
        parts.append(form_bounds(layer.rows(start, stop)[None], bias[None, start:stop], layers, lines, inputs))
    lower, upper = (torch.cat(side, dim=1) for side in zip(*parts, strict=True))
    return lower, upper


def _near(
    layer: SparseOperator, layers: Sequence[Affine], lines: Sequence[Lines], inputs: InputSet
) -> tuple[Tensor, Tensor]:
    """Bounds (N, outputs) as :func:`layer_bounds`, in groups of outputs that see near neurons, by what a group sees.

    Of the neurons that it sees, those whose lines are 0 in all images are left out too.
    """
    every: list[Affine] = [one.sparse if isinstance(one, ConvolutionOperator) else one for one in layers]
    every, lines = _kept([*every, layer], lines, [_is_zero(line) for line in lines])
    W = layer.matrix.sorted_indices()
    first = np.append(W.indices, 0)[W.indptr[:-1]]  # of near outputs, near columns
    order = torch.tensor(np.argsort(first, kind="stable"))
    found = []
    for rows in order.split(TOGETHER):
        part = [*every[:-1], cast(SparseOperator, every[-1]).part(rows)]
        seen: Any = slice(None)
        unseen = []
        for i, one in reversed(list(enumerate(part))[1:]):
            if i < len(part) - 1 and one.activation.windows is not None:
                seen = slice(None)
            columns = one.matrix[seen].indices if isinstance(one, SparseOperator) else np.arange(one.inputs)
            seen = np.bincount(columns, minlength=one.inputs) > 0
            unseen.append(torch.tensor(~seen))
        own, near = _kept(part, lines, unseen[::-1])
        top = own[-1]
        found.append(form_bounds(top.rows(0, top.outputs)[None], top.bias[None], own[:-1], near, inputs))
    low, high = (torch.cat(side, dim=1)[:, order.argsort()] for side in zip(*found, strict=True))
    return low, high


def _kept(layers: Sequence[Affine], lines: Sequence[Lines], zero: Sequence[Tensor]) -> tuple[list[Affine], list[Lines]]:
    """Layers and lines without the neurons that are `zero` above them."""
    found, keep = without_zeros(layers, zero)
    pairs = zip(lines, keep, strict=True)
    return list(found), [
        line if isinstance(k, slice) else line.mapped(itemgetter((slice(None), k))) for line, k in pairs
    ]


def _is_zero(line: Lines) -> Tensor:
    """Which values are 0 in all images, (n,)."""
    parts = (line.lower_slope, line.lower_intercept, line.upper_slope, line.upper_intercept)
    if line.windows is not None:
        return parts[1].new_zeros(parts[1].shape[1], dtype=torch.bool)
    return torch.stack([(part == 0).all(0) for part in parts]).all(0)


def _patches(
    layer: ConvolutionOperator, layers: Sequence[ConvolutionOperator], lines: Sequence[Lines], inputs: InputSet
) -> tuple[Tensor, Tensor] | None:
    """Bounds (N, outputs) as :func:`layer_bounds`, each of the L places of an image as an image of its own.

    A place sees a window of each layer below: (m, C k k) forms with m the channels of `layer`. What a window has beyond
    the border is padding: lines and boxes that are 0. None where the windows are no smaller than the layers.
    """
    size: tuple[int, ...] = layer.weight.shape[2:]
    step: tuple[int, ...] = layer.stride
    pad: tuple[int, ...] = layer.padding
    parts: list[Affine] = []
    own: list[Lines] = []

    def windows(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """The (N L, C k k) windows of values (N, C h w)."""
        return unfold(x.reshape(-1, *shape), size, padding=pad, stride=step).mT.flatten(0, 1)

    for one, line in zip(reversed(layers), reversed(lines), strict=True):
        own.append(line.mapped(partial(windows, shape=one.output_shape)))
        size = tuple((n - 1) * s + k for n, s, k in zip(size, one.stride, one.weight.shape[2:], strict=True))
        pad = tuple(n * s + p for n, s, p in zip(pad, one.stride, one.padding, strict=True))
        step = tuple(n * s for n, s in zip(step, one.stride, strict=True))
        if 2 * prod(size) > prod(one.input_shape[1:]):
            return None
        part = ConvolutionOperator(
            one.weight, one.filter_bias, (one.input_shape[0], size[0], size[1]), one.stride, (0, 0)
        )
        parts.append(DenseOperator(part.rows(0, part.outputs), part.bias))
    lower, upper = (windows(side, layers[0].input_shape) for side in (inputs.lower, inputs.upper))
    forms, constant = layer.weight.flatten(1)[None], layer.filter_bias[None]
    found = form_bounds(forms, constant, parts[::-1], own[::-1], InputSet(lower, upper))
    low, high = (side.reshape(len(inputs), -1, side.shape[1]).mT.flatten(1) for side in found)
    return low, high
