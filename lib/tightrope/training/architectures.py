"""Architectures as the paper writes them: "CONV 16 4x4+2, FC 100, FC 10", with ReLU between the layers.

The paper does not print the padding of convolutions. It is written here as a last word, "p0"; without it, it is 1.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

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
ARCHITECTURES: Mapping[str, str] = MappingProxyType(
    {
        "FC": "FC 400, FC 200, FC 100, FC 100, FC 10",
        "CONV": "CONV 16 4x4+2, FC 100, FC 10",
        "CONV+": "CONV 16 4x4+2 p0, CONV 32 4x4+1 p0, FC 100, FC 10",
        "FC-SMALL": "FC 100, FC 100, FC 10",
    }
)
#: The padding of a convolution that states none.
PADDING = 1


@dataclass(frozen=True)
class Layer:
    """One layer: its neurons or filters, and for a convolution (height, width, stride, padding)."""

    size: int
    kernel: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Architecture:
    """Layers and the shape of what they take.

    Attributes
    ----------
    text : str
    layers : tuple of Layer
    input_shape : (channels, height, width)

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
                size, width, height, stride, padding = map(int, convolution.groups(default=str(PADDING)))
                layers.append(Layer(size, (height, width, stride, padding)))
            else:
                raise InputError(
                    f"architecture {text!r}: cannot read {part!r}. Write 'FC n' and 'CONV k wxh+s', convolutions "
                    f"first, such as {ARCHITECTURES['CONV']!r}, or a name: {', '.join(ARCHITECTURES)}."
                )
        if layers[-1].kernel is not None or any(0 in (layer.size, *(layer.kernel or ())[:3]) for layer in layers):
            raise InputError(f"architecture {text!r}: sizes and strides must be positive, and the last layer an FC.")
        channels, height, width = input_shape
        found = cls(str(text), tuple(layers), (channels, height, width))
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
        return tuple(int(torch.Size(shape).numel()) for shape in self.shapes)

    @property
    def parameters(self) -> tuple[int, ...]:
        """Numbers of weights and biases of each layer.

        Examples
        --------
        >>> Architecture.parse("FC-SMALL", (1, 28, 28)).parameters
        (78500, 10100, 1010)
        """
        found = []
        for layer, below in zip(self.layers, self.shapes, strict=False):
            each = below[0] * layer.kernel[0] * layer.kernel[1] if layer.kernel else int(torch.Size(below).numel())
            found.append(layer.size * (each + 1))
        return tuple(found)

    def initial(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """Random weights and biases, layer after layer, uniform as in torch's own layers."""
        tensors = []
        for layer, below in zip(self.layers, self.shapes, strict=False):
            if layer.kernel is None:
                shape: tuple[int, ...] = (layer.size, int(torch.Size(below).numel()))
            else:
                shape = (layer.size, below[0], *layer.kernel[:2])
            fan = int(torch.Size(shape[1:]).numel())
            for size in (shape, (layer.size,)):
                tensors.append(
                    (2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1).to(dtype) * fan**-0.5
                )
        return tensors

    def operators(self, tensors: Sequence[Tensor]) -> list[Affine]:
        """The affine layers of these weights and biases."""
        found: list[Affine] = []
        for i, (layer, below) in enumerate(zip(self.layers, self.shapes, strict=False)):
            weight, bias = tensors[2 * i], tensors[2 * i + 1]
            if layer.kernel is None:
                found.append(DenseOperator(weight, bias))
            else:
                found.append(ConvolutionOperator(weight, bias, *_geometry(layer, below)))
        return found

    def network(self, tensors: Sequence[Tensor], name: str = "") -> FeedForward:
        """These weights and biases as a network."""
        layers: list[Dense | Convolution] = []
        arrays = [tensor.detach().cpu().double().numpy() for tensor in tensors]
        for i, (layer, below) in enumerate(zip(self.layers, self.shapes, strict=False)):
            if layer.kernel is None:
                layers.append(Dense(arrays[2 * i], arrays[2 * i + 1]))
            else:
                layers.append(Convolution(arrays[2 * i], arrays[2 * i + 1], *_geometry(layer, below)))
        return FeedForward(tuple(layers), name)


def _geometry(layer: Layer, below: tuple[int, ...]) -> tuple[tuple[int, int, int], tuple[int, int], tuple[int, int]]:
    """Return the shape of a convolution's inputs, its strides and its paddings."""
    _, _, stride, padding = layer.kernel or (1, 1, 1, 0)
    channels, height, width = below
    return (channels, height, width), (stride, stride), (padding, padding)
