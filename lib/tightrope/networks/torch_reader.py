"""PyTorch modules as feed-forward networks: traced by torch.fx, then compared with the module itself.

An operation that moves entries, or is linear, is the matrix that its answers to unit vectors give; branches are joined
by :mod:`tightrope.networks.graph`.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from tightrope.errors import NetworkError
from tightrope.networks.activations import ELU, RELU, Activation, Arctan, LeakyReLU, MaxPool, Sigmoid, Tanh
from tightrope.networks.graph import Node, Signal, added, assemble, concatenated, moved, numbered
from tightrope.networks.layers import Convolution, Dense, Layer, Scaling, Sparse, average, forward
from tightrope.networks.state_dicts import normalisation

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
#: Modules that move entries, and modules that are linear in the signal, of any form.
_MOVING = (nn.Flatten, nn.Unflatten, nn.ZeroPad2d)
_LINEAR = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
#: The same of functions and methods, and those whose results are numbers.
MOVING = frozenset(
    "flatten view reshape squeeze unsqueeze permute transpose getitem chunk split pad unflatten contiguous".split()
)
LINEAR = frozenset("conv1d conv2d conv_transpose2d avg_pool2d adaptive_avg_pool2d mean sum".split())
_NUMBERS = frozenset("size dim getattr".split())
#: Entries of the largest matrix that is made of answers to unit vectors.
LARGEST = 2**24
#: Largest difference from the module, relative to its largest score on the inputs tried. The comparison is in float64.
AGREEMENT = 1e-6


def layers_of_module(
    module: nn.Module, input_shape: tuple[int, ...] | None = None
) -> tuple[tuple[Layer, ...], tuple[Activation, ...]]:
    """Read a module made of :data:`SUPPORTED` operations, and check on random inputs that the result is the same.

    The module is in evaluation mode where that matters; the input shape is (channels, height, width) of its images, or
    (p0,), and may be left out if the first layer is Linear. NetworkError names a layer that is not supported and its
    position, an input shape that is needed or does not fit, or says that the module is another function than what was
    read of it.
    """
    if not isinstance(module, nn.Module):
        raise NetworkError(
            f"module is a {type(module).__name__}; give a torch.nn.Module. For a state dictionary use "
            "FeedForward.from_state_dict."
        )
    shape = None if input_shape is None else _checked(input_shape)
    own = copy.deepcopy(module).cpu().double()
    graph = _traced(own, shape)
    shape = shape or _first_shape(graph)
    with torch.no_grad():
        output = _Reader(graph).run(Signal(Node(prod(shape)), (1, *shape)))
    if isinstance(output, tuple) and len(output) == 1:  # of torch.export
        (output,) = output
    if not isinstance(output, Signal):
        raise NetworkError(f"the module returns a {type(output).__name__} that is no single value of its input.")
    layers, activations = assemble(output.node)
    _compare(own, layers, activations, shape)
    return layers, activations


def _checked(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    shape = tuple(np.ravel(input_shape).tolist())
    if len(shape) not in (1, 3) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise NetworkError(f"input_shape: got {input_shape!r}; write (channels, height, width), or (p0,).")
    return shape


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = type(m).__name__ in _NORMALISING and hasattr(m, "mean")
        return known or super().is_leaf_module(m, module_qualified_name)


def _traced(module: nn.Module, shape: tuple[int, ...] | None) -> fx.GraphModule:
    """The module as a graph of its layers; by torch.export if its forward asks for what only an example can answer."""
    tracer = _Tracer()
    whole = nn.Sequential(OrderedDict(module=module)) if tracer.is_leaf_module(module, "") else module
    try:
        return fx.GraphModule(whole, tracer.trace(whole))
    except Exception as error:  # the module's own code may raise anything
        if shape is None:
            raise NetworkError(f"torch.fx cannot trace the module ({error}); give input_shape.") from error
    try:
        return torch.export.export(module, (torch.zeros(1, *shape, dtype=torch.float64),)).module()
    except Exception as error:
        raise NetworkError(
            f"neither torch.fx nor torch.export can trace the module ({error}); its forward must not branch on values."
        ) from error


def _first_shape(graph: fx.GraphModule) -> tuple[int, ...]:
    """The shape of the input where the first layer that has one is Linear or BatchNorm1d."""
    for node in graph.graph.nodes:
        module = graph.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(module, nn.Linear | nn.BatchNorm1d):
            return (module.in_features if isinstance(module, nn.Linear) else module.num_features,)
        if node.op.startswith("call") and type(module) not in (*_ELEMENTWISE, *_IGNORED, nn.Flatten):
            raise NetworkError(
                f"{_where(node, module)} needs the shape of the images; give input_shape=(channels, height, width), "
                "for instance (1, 28, 28)."
            )
    raise NetworkError("the module does not say how long its inputs are; give input_shape=(p0,).")


def _where(node: fx.Node, module: nn.Module | None) -> str:
    return (
        f"layer {node.target} ({type(module).__name__})" if module else f"operation {node.name} ({_name(node.target)})"
    )


def _name(target: Any) -> str:
    """What a function or method is called: relu for relu_ and torch.ops.aten.relu.default, add for iadd."""
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    name = name.split(".")[0].strip("_")
    return {"iadd": "add", "isub": "sub", "imul": "mul", "truediv": "div", "concat": "cat"}.get(name, name)


class _Reader(fx.Interpreter):
    """Runs the graph on a signal in place of a tensor; what does not depend on it is computed as it stands."""

    extra_traceback = False  # errors of this reader name the place themselves

    def run_node(self, n: fx.Node) -> Any:
        """What a node makes of the values before it."""
        where = _where(n, self.fetch_attr(str(n.target)) if n.op == "call_module" else None)
        try:
            return super().run_node(n)
        except NetworkError as error:
            raise NetworkError(f"{where}: {error}") from error
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise NetworkError(f"{where} cannot be computed for one example: {error}") from error

    def call_module(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """What a module makes of a signal."""
        module = self.fetch_attr(target)
        kind = type(module)
        if not isinstance(args[0], Signal):
            return super().call_module(target, args, kwargs)
        if kind in (*_BATCH_NORMS, *_IGNORED[1:]) and module.training:
            raise NetworkError("it is in training mode, where it is random; call module.eval() first.")
        (signal,) = args
        if kind in _ELEMENTWISE:
            return signal.then(_ELEMENTWISE[kind](module))
        if kind in _IGNORED:
            return signal
        if kind is nn.Linear:
            return _linear(signal, module.weight, module.bias)
        if kind is nn.MaxPool2d:
            return _max_pool(signal, module)
        if kind is nn.Conv2d and module.padding_mode == "zeros":
            sizes = module.stride, module.padding, module.dilation, module.groups
            found = _convolution(signal, module.weight, module.bias, *sizes)
        elif kind is nn.AvgPool2d:
            found = _average(signal, module)
        elif kind in _BATCH_NORMS:
            if module.running_mean is None:
                raise NetworkError("track_running_stats=False makes it depend on the other images of the batch.")
            arrays = module.weight, module.bias, module.running_mean, module.running_var
            return _batch_norm(signal, *arrays, False, 0.0, module.eps)
        elif kind.__name__ in _NORMALISING and hasattr(module, "mean"):
            std, shape = module.std if hasattr(module, "std") else getattr(module, "sigma", None), signal.shape[1:]
            images = shape if len(shape) == 3 else None
            return signal.then(normalisation("", _array(module.mean), _array(std), prod(shape), images))
        else:
            found = None
        if found is not None:
            return found
        if kind in _MOVING:
            return _moves(module, args, kwargs)
        if kind in _LINEAR:
            return _matrix(module, args, kwargs)
        raise NetworkError(f"it is not supported. Supported: {SUPPORTED}.")

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """What a function makes of signals and constants."""
        name, values = _name(target), [*args, *kwargs.values()]
        values += [one for value in values if isinstance(value, list | tuple) for one in value]
        if not any(isinstance(value, Signal) for value in values):
            return super().call_function(target, args, kwargs)
        return self._called(name, target, args, kwargs)

    def call_method(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """What a method makes of a signal."""
        if not any(isinstance(value, Signal) for value in args):
            return super().call_method(target, args, kwargs)

        def function(x: Any, *args: Any, **kwargs: Any) -> Any:
            return getattr(x, target)(*args, **kwargs)

        return self._called(_name(target), function, args, kwargs)

    def _called(self, name: str, function: Callable, args: tuple, kwargs: dict) -> Any:
        if name in _FUNCTIONS and (found := _FUNCTIONS[name](*args, **kwargs)) is not None:
            return found
        if name in MOVING | _NUMBERS:
            return _moves(function, args, kwargs)
        if name in LINEAR:
            return _matrix(function, args, kwargs)
        raise NetworkError(f"it is not supported. Supported: {SUPPORTED}.")


def _moves(function: Callable, args: tuple, kwargs: dict) -> Any:
    """What moves the entries of its first argument, by moving their numbers."""
    signal, *rest = args
    zeros = function(torch.zeros(signal.shape, dtype=torch.float64), *rest, **kwargs)
    if isinstance(zeros, torch.Tensor) and zeros.any():
        raise NetworkError("it must move the entries of its first input, and pad with 0.")
    found = function(torch.tensor(numbered([signal])[0], dtype=torch.float64), *rest, **kwargs)
    if isinstance(found, tuple | list) and any(isinstance(one, torch.Tensor) for one in found):
        return [moved([signal], [one.numpy().astype(int)]) for one in found]
    return moved([signal], [found.numpy().astype(int)]) if isinstance(found, torch.Tensor) else found


def _matrix(function: Callable, args: tuple, kwargs: dict) -> Signal:
    """The matrix of what is linear in its first argument."""
    signal, *rest = args
    size = signal.node.size
    zero = function(torch.zeros(signal.shape, dtype=torch.float64), *rest, **kwargs)
    if zero.numel() * size > LARGEST:
        raise NetworkError(f"a matrix of {zero.numel()} x {size}, more than {LARGEST} entries.")
    if zero.shape[:1] != (1,):
        raise NetworkError("it mixes the examples of a batch.")
    units = torch.eye(size, dtype=torch.float64).reshape(size, *signal.shape[1:])
    columns = (function(units, *rest, **kwargs) - zero).flatten(1).numpy()
    return signal.then(Sparse.of(columns.T, zero.flatten().numpy()), tuple(zero.shape))


def _linear(signal: Signal, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Signal:
    outputs, inputs = weight.shape
    if signal.shape != (1, inputs):
        raise NetworkError(f"it takes {inputs} numbers, but its input has the shape {signal.shape[1:]}; Flatten?")
    return signal.then(Dense(_array(weight), _bias(bias, outputs)), (1, outputs))


def _convolution(
    signal: Signal,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Signal | None:
    """None if it is of another form than :class:`Convolution`."""
    kernel = weight.shape[2:]
    if padding == "same" and all(size % 2 for size in kernel):
        padding = tuple(size // 2 for size in kernel)
    padding = 0 if padding == "valid" else padding
    if groups != 1 or not np.all(np.equal(dilation, 1)) or padding == "same":
        return None
    layer = Convolution(_array(weight), _bias(bias, len(weight)), signal.image, _pair(stride), _pair(padding))
    return signal.then(layer, (1, *layer.output_shape))


def _average(signal: Signal, module: nn.AvgPool2d) -> Signal | None:
    kernel, stride, padding = (_pair(n) for n in (module.kernel_size, module.stride, module.padding))
    if module.ceil_mode or module.divisor_override or (padding != (0, 0) and not module.count_include_pad):
        return None
    layer = average(signal.image, kernel, stride, padding)
    return signal.then(layer, (1, *layer.output_shape))


def _max_pool(signal: Signal, module: nn.MaxPool2d) -> Signal:
    if module.ceil_mode or module.return_indices or _pair(module.dilation) != (1, 1):
        raise NetworkError("ceil_mode, return_indices and dilation are not supported.")
    sizes = (_pair(n) for n in (module.kernel_size, module.stride, module.padding))
    pool = MaxPool(signal.image, *sizes)
    return signal.then(pool, (1, *pool.output_shape))


def _batch_norm(
    signal: Signal,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    mean: torch.Tensor,
    variance: torch.Tensor,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    fast: bool = True,
) -> Signal:
    if training:
        raise NetworkError("it is in training mode, where it depends on the batch; call module.eval() first.")
    if signal.shape[1] != len(mean):
        raise NetworkError(f"it has {len(mean)} features, its input the shape {signal.shape[1:]}.")
    scale = 1 / np.sqrt(_array(variance) + eps)
    shift = -_array(mean) * scale
    if weight is not None:
        scale, shift = _array(weight) * scale, _array(weight) * shift + _bias(bias, len(mean))
    repeats = prod(signal.shape[2:])
    return signal.then(Scaling(np.repeat(scale, repeats), np.repeat(shift, repeats)))


def _sum(sign: float) -> Callable[..., Signal]:
    def operation(x: Any, y: Any, *, alpha: float = 1.0) -> Signal:
        return added([_value(x), _value(y)], [1.0, sign * alpha])

    return operation


def _product(x: Any, y: Any) -> Signal:
    signal, factor = (x, y) if isinstance(x, Signal) else (y, x)
    if isinstance(factor, Signal):
        raise NetworkError("it multiplies two branches of the network.")
    return signal.scaled(_array(factor), np.zeros(1))


def _quotient(x: Any, y: Any) -> Signal:
    if isinstance(y, Signal) or not np.all(_array(y)):
        raise NetworkError("a division by values of the network, or by zero.")
    return x.scaled(1 / _array(y), np.zeros(1))


def _elementwise(make: Callable[..., Activation]) -> Callable[..., Signal]:
    return lambda x, *args, inplace=False, **kwargs: x.then(make(*args, *kwargs.values()))


def _dropout(x: Signal, p: float = 0.5, training: bool = True, inplace: bool = False) -> Signal:
    if training:
        raise NetworkError("it is in training mode, where it is random; pass training=self.training and call .eval().")
    return x


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": _sum(1.0),
    "sub": _sum(-1.0),
    "neg": lambda x: x.scaled(-np.ones(1), np.zeros(1)),
    "mul": _product,
    "div": _quotient,
    "cat": lambda tensors, dim=0: concatenated([_value(one) for one in tensors], dim),
    "relu": _elementwise(lambda: RELU),
    "leaky_relu": _elementwise(lambda slope=0.01: LeakyReLU(slope)),
    "elu": _elementwise(ELU),
    "sigmoid": _elementwise(Sigmoid),
    "tanh": _elementwise(Tanh),
    "atan": _elementwise(Arctan),
    "dropout": _dropout,
    "linear": _linear,
    "conv2d": _convolution,
    "batch_norm": _batch_norm,
    "max_pool2d": lambda x, *args, **kwargs: _max_pool(x, nn.MaxPool2d(*args, **kwargs)),
    "avg_pool2d": lambda x, *args, **kwargs: _average(x, nn.AvgPool2d(*args, **kwargs)),
}
_KINDS = (nn.Linear, nn.MaxPool2d, *_ELEMENTWISE, *_LINEAR, *_MOVING, *_BATCH_NORMS, *_IGNORED)
_NAMES = sorted({*_FUNCTIONS, *MOVING, *LINEAR})
SUPPORTED = (
    f"{', '.join(kind.__name__ for kind in _KINDS)} (the last six after .eval()), Sequential and modules with a "
    f"forward of their own; the functions, methods and operators {', '.join(_NAMES)}; and a class called "
    f"{', '.join(_NORMALISING[:-1])} or {_NORMALISING[-1]} with the attributes mean and std (or sigma)"
)


def _value(value: Any) -> Any:
    return value if isinstance(value, Signal) else _array(value)


def _array(value: object) -> np.ndarray:
    return np.asarray(value.detach().cpu().double() if isinstance(value, torch.Tensor) else value, dtype=np.float64)


def _bias(bias: torch.Tensor | None, outputs: int) -> np.ndarray:
    return np.zeros(outputs) if bias is None else _array(bias)


def _pair(value: Any) -> tuple[int, int]:
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
            expected = module(x).flatten(1).numpy()
    except Exception as error:  # the module's own code may raise anything
        raise NetworkError(f"the module itself refuses an input of the shape {shape}: {error}") from error
    *_, rows = forward(layers, activations, x.flatten(1).numpy())
    scale = np.abs(expected).max(initial=1e-300)
    if rows.shape != expected.shape or not np.abs(rows - expected).max() <= AGREEMENT * scale:
        raise NetworkError(
            "the module does not compute what was read of it: its scores differ from those of the layers read. Neither "
            "a hook or a changed layer can be read, nor what depends on the batch."
        )
