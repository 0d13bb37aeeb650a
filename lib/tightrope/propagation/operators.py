"""The affine layers x -> W x + b of a network as torch operators: forward, and transposed on batches of linear forms.

Each knows the nonlinearity above it (of the last layer it is not used), so that a part of a network is one too. Values
are (N, n), one flattened row for each image; linear forms are (N, m, n), m forms for each image, or (1, m, n) where all
images share them.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import ClassVar, TypeAlias

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

from tightrope.errors import NetworkError
from tightrope.networks import FeedForward
from tightrope.networks.activations import RELU, Activation
from tightrope.networks.layers import Composition, Convolution, Dense, Layer, Sparse


@dataclass(frozen=True, eq=False)
class DenseOperator:
    """x -> weight x + bias, (outputs, inputs) and (outputs,).

    `parts` are the layers that these were multiplied from in float64; empty if they are the layer's own.

    Examples
    --------
    >>> layer = DenseOperator(torch.tensor([[1.0, -2.0]]), torch.tensor([0.5]))
    >>> [bound.tolist() for bound in interval(layer, torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]]))]
    [[[-1.5]], [[1.5]]]
    """

    weight: Tensor
    bias: Tensor
    parts: "tuple[Affine, ...]" = ()
    activation: Activation = RELU

    @property
    def inputs(self) -> int:
        """The number of columns of W."""
        return self.weight.shape[1]

    @property
    def outputs(self) -> int:
        """The number of rows of W."""
        return self.weight.shape[0]

    def linear(self, x: Tensor) -> Tensor:
        """W x for x (N, inputs): (N, outputs)."""
        return x @ self.weight.T

    def absolute(self, x: Tensor) -> Tensor:
        """|W| x for x (N, inputs): (N, outputs)."""
        return x @ self.weight.abs().T

    def transpose(self, A: Tensor) -> Tensor:
        """A W for forms A (N, m, outputs). Without gradients, neurons that no form of an image uses are left out."""
        if A.requires_grad or self.weight.requires_grad or A.shape[1] <= 32 or A.is_cuda:
            return A @ self.weight
        used = (A != 0).any(1)
        if used.float().mean() > 0.8:
            return A @ self.weight
        return torch.stack([form[:, keep] @ self.weight[keep] for form, keep in zip(A, used, strict=True)])

    def rows(self, start: int, stop: int) -> Tensor:
        """The rows of W from start to stop: (stop - start, inputs)."""
        return self.weight[start:stop]

    def part(self, outputs: Tensor | slice, inputs: Tensor | slice = slice(None)) -> "DenseOperator":
        """Some of the outputs, as functions of some of the inputs, by their numbers."""
        return replace(self, weight=self.weight[outputs][:, inputs], bias=self.bias[outputs])


@dataclass(frozen=True, eq=False)
class ConvolutionOperator:
    """Cross-correlation of flattened images (channels, height, width), as torch's conv2d with zero padding.

    The weight is (channels out, channels in, height, width), `filter_bias` (channels out,).
    """

    weight: Tensor
    filter_bias: Tensor
    input_shape: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    activation: Activation = RELU
    parts: ClassVar[tuple] = ()

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an output."""
        sizes = zip(self.input_shape[1:], self.weight.shape[2:], self.stride, self.padding, strict=True)
        height, width = ((size + 2 * pad - kernel) // step + 1 for size, kernel, step, pad in sizes)
        return self.weight.shape[0], height, width

    @property
    def inputs(self) -> int:
        return prod(self.input_shape)

    @property
    def outputs(self) -> int:
        return prod(self.output_shape)

    @property
    def bias(self) -> Tensor:
        """(outputs,): the filters' biases at every place."""
        _, height, width = self.output_shape
        return self.filter_bias.repeat_interleave(height * width)

    def linear(self, x: Tensor) -> Tensor:
        images = x.reshape(-1, *self.input_shape)
        return conv2d(images, self.weight, None, self.stride, self.padding).reshape(*x.shape[:-1], -1)

    def absolute(self, x: Tensor) -> Tensor:
        return replace(self, weight=self.weight.abs()).linear(x)

    def transpose(self, A: Tensor) -> Tensor:
        # Input pixels beyond the last whole stride are not seen: conv2d's transpose needs to be told how many.
        ends = self.input_shape[1:], self.output_shape[1:], self.weight.shape[2:], self.stride, self.padding
        sizes = zip(*ends, strict=True)
        rest = [size - ((out - 1) * step - 2 * pad + kernel) for size, out, kernel, step, pad in sizes]
        forms = A.reshape(-1, *self.output_shape)
        back = conv_transpose2d(forms, self.weight, None, self.stride, self.padding, output_padding=rest)
        return back.reshape(*A.shape[:-1], self.inputs)

    @cached_property
    def sparse(self) -> "SparseOperator":
        """The same by its matrix."""
        weight, bias = (tensor.detach().cpu().double().numpy() for tensor in (self.weight, self.filter_bias))
        W, _ = Convolution(weight, bias, self.input_shape, self.stride, self.padding).sparse()
        copied = torch.full((self.outputs,), -1, device=self.weight.device)
        return SparseOperator(W, self.bias, copied, (), self.activation)

    def rows(self, start: int, stop: int) -> Tensor:
        unit = torch.zeros(stop - start, self.outputs, dtype=self.weight.dtype, device=self.weight.device)
        unit[torch.arange(stop - start), torch.arange(start, stop)] = 1.0
        return self.transpose(unit)


@dataclass(frozen=True, eq=False)
class SparseOperator:
    """x -> matrix x + bias, compressed rows (outputs, inputs) and (outputs,): what carries values past a ReLU.

    `copied` (outputs,) is the value of the ReLU below that an output repeats, -1 for none: never negative, whatever a
    relaxation of this ReLU says. `parts` as in :class:`DenseOperator`.
    """

    matrix: scipy.sparse.csr_array
    bias: Tensor
    copied: Tensor
    parts: "tuple[Affine, ...]" = ()
    activation: Activation = RELU

    @property
    def inputs(self) -> int:
        return self.matrix.shape[1]

    @property
    def outputs(self) -> int:
        return self.matrix.shape[0]

    @property
    def weight(self) -> Tensor:
        return self.rows(0, self.outputs)

    def _tensor(self, W: scipy.sparse.csr_array) -> Tensor:
        W = W.sorted_indices()
        starts, columns, values = (torch.tensor(array) for array in (W.indptr, W.indices, W.data))
        with warnings.catch_warnings():  # "in beta state"
            warnings.simplefilter("ignore")
            return torch.sparse_csr_tensor(starts, columns, values, W.shape, check_invariants=True).to(self.bias)

    @cached_property
    def _forward(self) -> Tensor:
        return self._tensor(self.matrix)

    @cached_property
    def _absolute(self) -> Tensor:
        return self._tensor(abs(self.matrix))

    @cached_property
    def _backward(self) -> Tensor:
        return self._tensor(scipy.sparse.csr_array(self.matrix.T))

    def linear(self, x: Tensor) -> Tensor:
        return (self._forward @ x.T).T

    def absolute(self, x: Tensor) -> Tensor:
        return (self._absolute @ x.T).T

    def transpose(self, A: Tensor) -> Tensor:
        return (self._backward @ A.reshape(-1, self.outputs).T).T.reshape(*A.shape[:-1], self.inputs)

    def rows(self, start: int, stop: int) -> Tensor:
        return torch.tensor(self.matrix[start:stop].toarray(), dtype=self.bias.dtype, device=self.bias.device)

    def part(self, outputs: Tensor | slice, inputs: Tensor | slice = slice(None)) -> "SparseOperator":
        """Some of the outputs, as functions of some of the inputs, by their numbers; of the latter none is copied."""
        rows, columns = (k if isinstance(k, slice) else k.cpu().numpy() for k in (outputs, inputs))
        copied = self.copied[outputs] if isinstance(inputs, slice) else torch.full_like(self.copied[outputs], -1)
        return replace(self, matrix=self.matrix[rows][:, columns], bias=self.bias[outputs], copied=copied)


Affine: TypeAlias = DenseOperator | ConvolutionOperator | SparseOperator


def without_zeros(
    layers: Sequence[Affine], zero: Sequence[Tensor]
) -> tuple[tuple[Affine, ...], tuple[Tensor | slice, ...]]:
    """Leave out the outputs of layers that are `zero` (n_i,) above them; also return those that each layer keeps.

    A convolution keeps all of its inputs and outputs; the last layer keeps its outputs if `zero` is one shorter.
    """
    keep: list[Tensor | slice] = []
    found: list[Affine] = []
    below: Tensor | slice = slice(None)
    for i, layer in enumerate(layers):
        dead = zero[i].clone() if i < len(zero) else torch.zeros(1, dtype=torch.bool)
        dead[:1] &= ~dead.all()  # one stays, so that no tensor is empty
        fixed = any(isinstance(one, ConvolutionOperator) for one in layers[i : i + 2])
        some = not fixed and layer.activation.windows is None and bool(dead.any())
        chosen: Tensor | slice = (~dead).nonzero()[:, 0] if some else slice(None)
        if not isinstance(layer, ConvolutionOperator) and not (isinstance(chosen, slice) and isinstance(below, slice)):
            layer = layer.part(chosen, below)
        found.append(layer)
        keep.append(chosen)
        below = chosen
    return tuple(found), tuple(keep[: len(zero)])


def settled(layer: Affine, low: Tensor) -> Tensor:
    """Return lower bounds (N, outputs), none below 0 for what repeats the value of a ReLU."""
    copied = getattr(layer, "copied", None)
    return low if copied is None else torch.where(copied >= 0, low.clamp(min=0), low)


def interval(layer: Affine, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Return the exact bounds (N, outputs) of W x + b over the boxes lower <= x <= upper."""
    center = layer.linear((lower + upper) / 2) + layer.bias
    reach = layer.absolute((upper - lower) / 2)
    return center - reach, center + reach


def operators(
    network: FeedForward | Sequence[Affine], dtype: torch.dtype = torch.float64, device: str = "cpu"
) -> tuple[Affine, ...]:
    """Return a network's affine layers with what is between them. Operators are passed through as they are."""
    if not isinstance(network, FeedForward):
        layers = tuple(network)
        sizes = [(layer.inputs, layer.activation.outputs(layer.outputs)) for layer in layers]
        if not layers or any(a[1] != b[0] for a, b in pairwise(sizes)):
            raise NetworkError(f"layers of sizes {sizes} do not fit; the outputs of each are the inputs of the next.")
        return layers
    around = zip(network.layers, (None, *network.activations), (*network.activations, RELU), strict=True)
    sparse = any(isinstance(leaf, Sparse) for layer in network.layers for leaf in _leaves(layer))
    return tuple(_operator(layer, dtype, device, above, below, sparse) for layer, below, above in around)


def _operator(
    layer: Layer,
    dtype: torch.dtype,
    device: str,
    above: Activation = RELU,
    below: Activation | None = None,
    sparse: bool = False,
) -> Affine:
    """The operator of a layer; of a network with sparse layers, a product of several is sparse too."""

    def tensor(array: np.ndarray) -> Tensor:
        return torch.tensor(array, dtype=dtype, device=device)

    if isinstance(layer, Convolution):
        weight, bias = tensor(layer.weight), tensor(layer.bias)
        return ConvolutionOperator(weight, bias, layer.input_shape, layer.stride, layer.padding, above)
    leaves = _leaves(layer) if isinstance(layer, Composition) else ()
    parts = tuple(_operator(part, dtype, device, sparse=sparse) for part in leaves)
    if sparse and not isinstance(layer, Dense):
        W, b = layer.sparse()
        copied = _copied(layer) if below == RELU else np.full(len(b), -1)
        return SparseOperator(W, tensor(b), torch.tensor(copied, device=device), parts, above)
    W, b = layer.dense()  # scalings and compositions by their matrix
    return DenseOperator(tensor(W), tensor(b), parts, above)


def _copied(layer: Layer) -> np.ndarray:
    """The input that each output (n_out,) of a layer repeats, through all that it is multiplied from; -1 for none."""
    found = np.arange(layer.input_size)
    for leaf in _leaves(layer):
        W, b = leaf.sparse()
        first, indices, data = W.indptr[:-1], np.append(W.indices, 0), np.append(W.data, 0)
        one = (np.diff(W.indptr) == 1) & (data[first] == 1) & (b == 0)
        found = np.where(one, found[indices[first]], -1)
    return found


def _leaves(layer: Layer) -> list[Layer]:
    """The layers that a composition, of compositions perhaps, was multiplied from."""
    return [leaf for part in layer.layers for leaf in _leaves(part)] if isinstance(layer, Composition) else [layer]
