"""Architectures as the paper writes them: "CONV 16 4x4+2, FC 100, FC 10", with ReLU between the layers.

The paper does not print the padding of convolutions. It is written here as a last word, "p0"; without it, it is 1.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.networks.layers import Convolution, Dense
from tightrope.propagation.operators import Affine, ConvolutionOperator, DenseOperator

_DENSE = re.compile(r"FC\s+(\d+)")
_CONVOLUTION = re.compile(r"CONV\s+(\d+)\s+(\d+)x(\d+)\+(\d+)(?:\s+p(\d+))?")

#: Table 5, and FC-SMALL of the tightness experiments. The padding of CONV shows in its published weights (FC 100 has
#: 3136 = 16 x 14 x 14 inputs); that of CONV+ is 0 in the authors' code, as in the network of Gowal et al. that it is.
ARCHITECTURES: Mapping[str, str] = {
    "FC": "FC 400, FC 200, FC 100, FC 100, FC 10",
    "CONV": "CONV 16 4x4+2, FC 100, FC 10",
    "CONV+": "CONV 16 4x4+2 p0, CONV 32 4x4+1 p0, FC 100, FC 10",
    "FC-SMALL": "FC 100, FC 100, FC 10",
}


@dataclass(frozen=True)
class Layer:
    """One layer: its neurons or filters, and for a convolution (height, width, stride, padding)."""

    size: int
    kernel: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Architecture:
    """Layers and the (channels, height, width) of what they take.
    Examples
    --------
    >>> Architecture.parse("CONV", (1, 28, 28)).sizes
    (784, 3136, 100, 10)
    """

    text: str
    layers: tuple[Layer, ...]
    input_shape: tuple[int, int, int]

    @classmethod
    def parse(cls, text: str, input_shape: tuple[int, int, int]) -> "Architecture":
        """Read an architecture: a name of :data:`ARCHITECTURES`, or "FC n" and "CONV k wxh+s" with commas between.

        "CONV k wxh+s" has k kernels of width w and height h with stride s, and padding 1; "CONV k wxh+s pP" padding P.
        """
        layers = []
        for part in ARCHITECTURES.get(str(text), str(text)).split(","):
            part = part.strip()
            if dense := _DENSE.fullmatch(part):
                layers.append(Layer(int(dense[1])))
            elif (convolution := _CONVOLUTION.fullmatch(part)) and not (layers and layers[-1].kernel is None):
                size, width, height, stride, padding = map(int, convolution.groups(default="1"))
                layers.append(Layer(size, (height, width, stride, padding)))
            else:
                raise InputError(
                    f"architecture {text!r}: cannot read {part!r}. Write 'FC n' and 'CONV k wxh+s', convolutions "
                    f"first, such as {ARCHITECTURES['CONV']!r}, or a name: {', '.join(ARCHITECTURES)}."
                )
        if layers[-1].kernel is not None or any(0 in (layer.size, *(layer.kernel or ())[:3]) for layer in layers):
            raise InputError(f"architecture {text!r}: sizes and strides must be positive, and the last layer an FC.")
        found = cls(str(text), tuple(layers), input_shape)
        found.sizes  # noqa: B018, refuses kernels that do not fit
        return found

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the inputs and of each layer's outputs: (channels, height, width) or (n,)."""
        shapes: list[tuple[int, ...]] = [self.input_shape]
        for layer in self.layers:
            if layer.kernel is None:
                shapes.append((layer.size,))
                continue
            height, width, stride, padding = layer.kernel
            _, h, w = shapes[-1]
            shape = (layer.size, *((n + 2 * padding - k) // stride + 1 for n, k in ((h, height), (w, width))))
            if min(shape) < 1:
                raise InputError(f"architecture {self.text!r}: a kernel {width}x{height} on an image {w}x{h}.")
            shapes.append(shape)
        return shapes

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of inputs, neurons of each hidden layer, and outputs."""
        return tuple(prod(shape) for shape in self.shapes)

    @property
    def weights(self) -> list[tuple[int, ...]]:
        """Shape of each layer's weight: (outputs, inputs), or (filters, channels, height, width)."""
        return [
            (layer.size, below[0], *layer.kernel[:2]) if layer.kernel else (layer.size, prod(below))
            for layer, below in zip(self.layers, self.shapes, strict=False)
        ]

    @property
    def parameters(self) -> tuple[int, ...]:
        """Numbers of weights and biases of each layer.

        Examples
        --------
        >>> Architecture.parse("FC-SMALL", (1, 28, 28)).parameters
        (78500, 10100, 1010)
        """
        return tuple(shape[0] * (prod(shape[1:]) + 1) for shape in self.weights)

    def initial(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """Random weights and biases, layer after layer, uniform as in torch's own layers."""
        tensors = []
        for shape in self.weights:
            for size in (shape, shape[:1]):
                unit = 2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1
                tensors.append(unit.to(dtype) * prod(shape[1:]) ** -0.5)
        return tensors

    def operators(self, tensors: Sequence[Tensor]) -> list[Affine]:
        """The affine layers of these weights and biases."""
        return self._layers(tensors, DenseOperator, ConvolutionOperator)

    def network(self, tensors: Sequence[Tensor], name: str = "") -> FeedForward:
        """These weights and biases as a network."""
        arrays = [tensor.detach().cpu().double().numpy() for tensor in tensors]
        return FeedForward(tuple(self._layers(arrays, Dense, Convolution)), name)

    def _layers(self, arrays: Sequence, dense: Callable, convolution: Callable) -> list[Any]:
        found = []
        for layer, below, weight, bias in zip(self.layers, self.shapes, arrays[::2], arrays[1::2], strict=False):
            if layer.kernel is None:
                found.append(dense(weight, bias))
            else:
                stride, padding = layer.kernel[2:]
                found.append(convolution(weight, bias, below, (stride, stride), (padding, padding)))
        return found
