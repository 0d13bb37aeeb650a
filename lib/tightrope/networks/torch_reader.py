"""PyTorch modules as feed-forward networks: layer by layer, then compared with the module itself."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn

from tightrope.errors import NetworkError
from tightrope.networks.activations import ELU, RELU, Activation, LeakyReLU, MaxPool, Sigmoid, Tanh
from tightrope.networks.layers import Convolution, Dense, Layer, Scaling, assemble, average, forward
from tightrope.networks.state_dicts import normalisation

SUPPORTED = (
    "Linear, Conv2d (no groups, no dilation, zero padding), ReLU, LeakyReLU, ELU, Sigmoid, Tanh, MaxPool2d, Flatten, "
    "Unflatten, AvgPool2d, BatchNorm1d, BatchNorm2d, Dropout and Identity (the last four after .eval()), nested "
    "Sequential, and a class called Normalize, Normalise, Normalization or Normalisation with the attributes mean and "
    "std (or sigma)"
)
_NORMALISING = ("Normalize", "Normalise", "Normalization", "Normalisation")
_ELEMENTWISE: Mapping[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ReLU: lambda module: RELU,
    nn.LeakyReLU: lambda module: LeakyReLU(module.negative_slope),
    nn.ELU: lambda module: ELU(module.alpha),
    nn.Sigmoid: lambda module: Sigmoid(),
    nn.Tanh: lambda module: Tanh(),
}
_IGNORED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
#: Largest difference from the module, relative to its largest score on the inputs tried. The comparison is in float64.
AGREEMENT = 1e-6


def layers_of_module(
    module: nn.Module, input_shape: tuple[int, ...] | None = None
) -> tuple[tuple[Layer, ...], tuple[Activation, ...]]:
    """Read a module made of :data:`SUPPORTED` layers, and check on random inputs that the result is the same function.

    The module is in evaluation mode where that matters; the input shape is (channels, height, width) of its images, or
    (p0,), and may be left out if the first layer is Linear. NetworkError names a layer that is not supported and its
    position, an input shape that is needed or does not fit, or says that the module is another function than its
    layers in order.
    """
    if not isinstance(module, nn.Module):
        raise NetworkError(
            f"module is a {type(module).__name__}; give a torch.nn.Sequential. For a state dictionary use "
            "FeedForward.from_state_dict."
        )
    reader = _Reader(None if input_shape is None else _checked(input_shape))
    for name, layer in _flattened(module, ""):
        reader.read(name, layer)
    layers, activations = assemble(reader.parts)
    _compare(module, layers, activations, reader.first or ())
    return layers, activations


def _checked(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    shape = tuple(np.ravel(input_shape).tolist())
    if len(shape) not in (1, 3) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise NetworkError(f"input_shape: got {input_shape!r}; write (channels, height, width), or (p0,).")
    return shape


def _flattened(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested Sequentials, with their positions such as 0.2."""
    if isinstance(module, nn.Sequential):
        for key, child in module.named_children():
            yield from _flattened(child, f"{name}.{key}".lstrip("."))
    else:
        yield name or "module", module


@dataclass
class _Reader:
    """Collects affine layers and nonlinearities, and follows the shape of one input through the module."""

    shape: tuple[int, ...] | None
    parts: list[Layer | Activation] = field(default_factory=list)
    first: tuple[int, ...] | None = None

    def read(self, name: str, module: nn.Module) -> None:
        """Add one module."""
        where = f"layer {name} ({type(module).__name__})"
        if module.training and isinstance(module, (*_BATCH_NORMS, *_IGNORED[1:])):
            raise NetworkError(f"{where} is in training mode, where it is random; call module.eval() first.")
        try:
            self._read(where, module)
        except NetworkError as error:
            message = str(error)
            raise NetworkError(message if message.startswith(where) else f"{where}: {message}") from error

    def _read(self, where: str, module: nn.Module) -> None:
        kind = type(module)
        if kind in _ELEMENTWISE:
            self.parts.append(_ELEMENTWISE[kind](module))
        elif isinstance(module, nn.MaxPool2d) and kind is nn.MaxPool2d:
            self._max_pool(where, module)
        elif isinstance(module, nn.Linear) and kind is nn.Linear:
            self._linear(module)
        elif isinstance(module, nn.Conv2d) and kind is nn.Conv2d:
            self._convolution(module)
        elif kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            if self.shape is None and not self.parts:
                return  # rows are flat already, whatever the images were; the next layer says how long
            self.shape = (prod(self._need(where)),)
        elif kind is nn.Unflatten and module.dim == 1 and isinstance(module.unflattened_size, tuple):
            shape, size = self._need(where), tuple(module.unflattened_size)
            if prod(size) != prod(shape) or min(size) < 1 or len(size) != 3:
                raise NetworkError(f"it makes {size} of {shape}; (channels, height, width) of the same size is read.")
            self.shape = size
        elif isinstance(module, nn.AvgPool2d) and kind is nn.AvgPool2d:
            self._average(where, module)
        elif isinstance(module, _BATCH_NORMS) and kind in _BATCH_NORMS:
            self._batch_norm(where, module)
        elif kind.__name__ in _NORMALISING and hasattr(module, "mean"):
            self._normalisation(where, module)
        elif kind not in _IGNORED:
            raise NetworkError(
                f"{where} is not supported. Supported: {SUPPORTED}. A module with a forward of its own can be written "
                "as a Sequential of its layers, or exported to ONNX and read by FeedForward.from_onnx."
            )

    def _need(self, where: str) -> tuple[int, ...]:
        """The present shape; the first time it is needed it must be known."""
        if self.shape is None:
            raise NetworkError(
                f"{where} needs the shape of the images; give input_shape=(channels, height, width), for instance "
                "(1, 28, 28)."
            )
        if self.first is None:
            self.first = self.shape
        return self.shape

    def _images(self, where: str) -> tuple[int, int, int]:
        shape = self._need(where)
        if len(shape) != 3:
            raise NetworkError(f"{where} takes images, but its input has the shape {shape}.")
        return shape

    def _add(self, layer: Layer, shape: tuple[int, ...]) -> None:
        self.parts.append(layer)
        self.shape = shape

    def _linear(self, module: nn.Linear) -> None:
        shape = (module.in_features,) if self.shape is None else self.shape
        if shape != (module.in_features,):
            raise NetworkError(f"it takes {module.in_features} numbers, but its input has the shape {shape}; Flatten?")
        self.first = self.first or shape
        self._add(Dense(*_parameters(module, module.out_features)), (module.out_features,))

    def _convolution(self, module: nn.Conv2d) -> None:
        shape = self._images("a convolution")
        if module.groups != 1 or module.dilation != (1, 1) or module.padding_mode != "zeros":
            raise NetworkError(
                f"groups={module.groups}, dilation={module.dilation}, padding_mode={module.padding_mode!r}; only "
                "groups=1, dilation=1 and padding_mode='zeros' are supported."
            )
        padding: Any = module.padding
        if isinstance(padding, str):  # "valid", or "same", which is not symmetric for an even kernel
            if padding == "same" and any(size % 2 == 0 for size in module.kernel_size):
                raise NetworkError(f"padding='same' with the even kernel {module.kernel_size}; pad by numbers.")
            padding = tuple(size // 2 if padding == "same" else 0 for size in module.kernel_size)
        layer = Convolution(*_parameters(module, module.out_channels), shape, _pair(module.stride), padding)
        self._add(layer, layer.output_shape)

    def _average(self, where: str, module: nn.AvgPool2d) -> None:
        shape = self._images(where)
        kernel, stride, padding = (_pair(n) for n in (module.kernel_size, module.stride, module.padding))
        if module.ceil_mode or module.divisor_override or (padding != (0, 0) and not module.count_include_pad):
            raise NetworkError("ceil_mode, divisor_override and count_include_pad=False are not supported.")
        layer = average(shape, kernel, stride, padding)
        self._add(layer, layer.output_shape)

    def _max_pool(self, where: str, module: nn.MaxPool2d) -> None:
        if module.ceil_mode or module.return_indices or _pair(module.dilation) != (1, 1):
            raise NetworkError("ceil_mode, return_indices and dilation are not supported.")
        sizes = (_pair(n) for n in (module.kernel_size, module.stride, module.padding))
        pool = MaxPool(self._images(where), *sizes)
        self.parts.append(pool)
        self.shape = pool.output_shape

    def _batch_norm(self, where: str, module: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        shape = self._need(where) if isinstance(module, nn.BatchNorm2d) else self.shape or (module.num_features,)
        self.first = self.first or shape
        if module.running_mean is None:
            raise NetworkError("track_running_stats=False makes it depend on the other images of the batch.")
        if shape[0] != module.num_features:
            raise NetworkError(f"it has {module.num_features} features, its input the shape {shape}.")
        scale = 1 / np.sqrt(_array(module.running_var) + module.eps)
        shift = -_array(module.running_mean) * scale
        if module.affine:
            gamma, beta = _array(module.weight), _array(module.bias)
            scale, shift = gamma * scale, gamma * shift + beta
        repeats = prod(shape[1:])
        self._add(Scaling(np.repeat(scale, repeats), np.repeat(shift, repeats)), shape)

    def _normalisation(self, where: str, module: nn.Module) -> None:
        shape = self._need(where)
        std = module.std if hasattr(module, "std") else getattr(module, "sigma", None)
        channels = shape if len(shape) == 3 else None
        self._add(normalisation("", _array(module.mean), _array(std), prod(shape), channels), shape)


def _array(value: object) -> np.ndarray:
    return np.asarray(value.detach().cpu().double() if isinstance(value, torch.Tensor) else value, dtype=np.float64)


def _parameters(module: nn.Linear | nn.Conv2d, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    return _array(module.weight), np.zeros(outputs) if module.bias is None else _array(module.bias)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    rows, columns = (value, value) if isinstance(value, int) else value
    return rows, columns


def _compare(
    module: nn.Module, layers: tuple[Layer, ...], activations: tuple[Activation, ...], shape: tuple[int, ...]
) -> None:
    """Raise unless the layers with these activations between them are the module, on inputs of several sizes."""
    x = torch.randn(6, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x * torch.tensor([0.0, 0.3, 1.0, 1.0, 3.0, 30.0], dtype=torch.float64).reshape(-1, *[1] * len(shape))
    try:
        with torch.no_grad():
            expected = copy.deepcopy(module).cpu().double()(x).flatten(1).numpy()
    except Exception as error:  # the module's own code may raise anything
        raise NetworkError(f"the module itself refuses an input of the shape {shape}: {error}") from error
    *_, rows = forward(layers, activations, x.flatten(1).numpy())
    scale = np.abs(expected).max(initial=1e-300)
    if rows.shape != expected.shape or not np.abs(rows - expected).max() <= AGREEMENT * scale:
        raise NetworkError(
            "the module does not compute its layers in order: its scores differ from those of "
            "the layers read. A Sequential with a forward of its own, a hook or a changed layer cannot be read."
        )
