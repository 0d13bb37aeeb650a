"""PyTorch modules as feed-forward networks: traced by torch.fx, then compared with the module itself.

An operation that moves entries, or is linear, is the matrix that its answers to unit vectors give; branches are joined
by :mod:`tightrope.networks.graph`.
"""

import copy
import operator
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from tightrope.errors import NetworkError
from tightrope.networks.activations import ELU, RELU, Activation, Arctan, LeakyReLU, MaxPool, Sigmoid, Tanh
from tightrope.networks.graph import Node, Signal, added, agreeing, assemble, concatenated, matrix, moves, samples, sign
from tightrope.networks.layers import Convolution, Dense, Layer, Scaling, average, forward, transposed
from tightrope.networks.state_dicts import normalisation

_NORMALISING = ("Normalize", "Normalise", "Normalization", "Normalisation")
#: Functions and methods that move entries, that are linear in whatever form, and that are about shapes.
MOVING = frozenset(
    "flatten view reshape squeeze unsqueeze permute transpose getitem select slice chunk split pad unflatten "
    "contiguous".split()
)
LINEAR = frozenset("matmul conv1d conv2d conv_transpose2d avg_pool2d adaptive_avg_pool2d mean sum".split())
_SHAPES = frozenset("size dim getattr".split())
_IN_PLACE = frozenset("iadd isub imul itruediv".split())
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
    _settle_changes(graph)
    reader = _Reader(graph)
    reader.extra_traceback = False  # its errors name the place
    with torch.no_grad():
        output = reader.run(Signal(Node(prod(shape)), (1, *shape)))
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


class _Proxy(fx.Proxy):
    """Keeps x += y in the graph, where fx.Proxy makes x + y of it, although other names of x see the change."""

    def __getattr__(self, k: str) -> "_Attribute":
        return _Attribute(self, k)

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})


class _Attribute(_Proxy, fx.proxy.Attribute):  # x.T, x.relu
    pass


class _Tracer(fx.Tracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

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
        if node.op.startswith("call") and type(module) not in _OF_ANY_SHAPE:
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
    return {"iadd": "add", "isub": "sub", "imul": "mul", "truediv": "div", "itruediv": "div", "concat": "cat"}.get(
        name, name
    )


def _settle_changes(graph: fx.GraphModule) -> None:
    """Give later uses of a value that an operation changes in place its result; raise where others see the change.

    The others are what shares its memory, a view or a weight.
    """
    memory: dict[fx.Node, set[fx.Node]] = {}  # what a value may share its memory with, itself included
    changed: dict[fx.Node, str] = {}  # by which operation
    for node in graph.graph.nodes:
        module = graph.get_submodule(node.target) if node.op == "call_module" else None
        for source in node.all_input_nodes:
            if source in changed and module is not getattr(graph, "_guards_fn", graph):
                raise NetworkError(
                    f"{changed[source]} changes in place what {source.name} shares, which is used again after it; that "
                    "is not read. Write it without inplace=True, x = x + y in place of x += y, relu in place of relu_."
                )
        memory[node] = {node}
        if not node.op.startswith("call"):
            continue
        kind: Any = type(module)
        name = _MODULES[kind](module)[0] if kind in _MODULES else _name(node.target)
        in_place = _in_place(node, module)
        fresh = {*_FUNCTIONS, *LINEAR} - {"dropout"}
        if in_place or not (name in fresh or kind.__name__ in _NORMALISING):
            for source in node.all_input_nodes[:1]:
                memory[node] |= memory[source]
        for shared in memory[node]:
            memory[shared] = memory[node]
        if in_place:
            source = node.all_input_nodes[0]
            for user in [user for user in source.users if user not in memory]:
                user.replace_input_with(source, node)
            if any(shared.op == "get_attr" for shared in memory[node]):
                raise NetworkError(f"{_where(node, module)} changes a weight or constant in place.")
            changed |= {shared: _where(node, module) for shared in memory[node] - {node}}


def _in_place(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether an operation writes into its first input: relu_, operator.iadd, inplace=True, ATen's own statement."""
    if module is not None or node.kwargs.get("inplace"):
        return bool(getattr(module, "inplace", module is None))
    if schema := getattr(node.target, "_schema", None):
        return schema.is_mutable
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.strip("_") in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))


class _Reader(fx.Interpreter):
    """Runs the graph on a signal in place of a tensor; what does not depend on it is computed as it stands."""

    def run_node(self, n: fx.Node) -> Any:
        """What a node makes of the values before it; nothing where nobody asks, as of torch.export's guards."""
        if n.op != "output" and not n.users:
            return None
        where = _where(n, self.fetch_attr(str(n.target)) if n.op == "call_module" else None)
        try:
            return super().run_node(n)
        except NetworkError as error:
            raise NetworkError(f"{where}: {error}") from error
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise NetworkError(f"{where} cannot be computed for one example: {error}") from error

    def call_module(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """What a module makes of a signal: its function with its own arguments."""
        module: Any = self.fetch_attr(target)
        if not isinstance(args[0], Signal):
            return super().call_module(target, args, kwargs)
        if type(module) in _MODULES:
            name, *own = _MODULES[type(module)](module)
            return _called(name, module, args, kwargs, own)
        if type(module).__name__ in _NORMALISING and hasattr(module, "mean"):
            std, shape = getattr(module, "std", getattr(module, "sigma", None)), args[0].shape[1:]
            images = shape if len(shape) == 3 else None
            return args[0].then(normalisation("", _array(module.mean), _array(std), prod(shape), images))
        raise NetworkError(f"it is not supported. Supported: {SUPPORTED}.")

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """What a function makes of signals and constants."""
        values = [*args, *kwargs.values()]
        values += [one for value in values if isinstance(value, list | tuple) for one in value]
        if not any(isinstance(value, Signal) for value in values):
            return super().call_function(target, args, kwargs)
        if _name(target) == "batch_norm" and len(args) == 9:  # of torch.export: weights before statistics
            args = (args[0], *args[3:5], *args[1:3], *args[5:8])
        return _called(_name(target), target, args, kwargs)

    def call_method(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """What a method makes of a signal."""
        if not any(isinstance(value, Signal) for value in args):
            return super().call_method(target, args, kwargs)
        return _called(_name(target), lambda x, *args, **kwargs: getattr(x, target)(*args, **kwargs), args, kwargs)


def _called(name: str, function: Callable, args: tuple, kwargs: dict, own: Sequence[Any] = ()) -> Any:
    """What a function of this name makes of its arguments, with those that a module has of its own."""
    if name in _FUNCTIONS and (found := _FUNCTIONS[name](*args, *own, **kwargs)) is not None:
        return found
    if name not in MOVING | LINEAR | _SHAPES:
        raise NetworkError(f"it is not supported. Supported: {SUPPORTED}.")
    signal, *rest = args
    if not isinstance(signal, Signal):
        raise NetworkError("the network's values must be its first argument.")

    def of_array(x: np.ndarray) -> Any:
        return function(torch.tensor(x), *rest, **kwargs)

    if name in LINEAR:
        zero = of_array(np.zeros(signal.shape))
        return matrix(signal, lambda x: of_array(x).numpy(), lambda x: (of_array(x) - zero).numpy())
    result = of_array(np.zeros(signal.shape))
    if isinstance(result, torch.Tensor):
        return moves(signal, lambda x: [of_array(x).numpy()])[0]
    if name in _SHAPES:
        return result
    return moves(signal, lambda x: [one.numpy() for one in of_array(x)])


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
    padding_mode: str = "zeros",
) -> Signal | None:
    """None if it is of another form than :class:`Convolution`."""
    kernel = weight.shape[2:]
    if padding == "same" and all(size % 2 for size in kernel):
        padding = tuple(size // 2 for size in kernel)
    padding = 0 if padding == "valid" else padding
    if groups != 1 or not np.all(np.equal(dilation, 1)) or padding == "same" or padding_mode != "zeros":
        return None
    layer = Convolution(_array(weight), _bias(bias, len(weight)), signal.image, _pair(stride), _pair(padding))
    return signal.then(layer, (1, *layer.output_shape))


def _transposed(
    signal: Signal,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Signal | None:
    if groups != 1 or not np.all(np.equal(dilation, 1)):
        return None
    window = _pair(stride), _pair(padding), _pair(output_padding)
    layer, shape = transposed(_array(weight), _bias(bias, weight.shape[1]), signal.image, *window)
    return signal.then(layer, (1, *shape))


def _average(
    signal: Signal,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Signal | None:
    if ceil_mode or divisor_override or not (count_include_pad or _pair(padding) == (0, 0)):
        return None
    layer = average(signal.image, _pair(kernel), _pair(stride or kernel), _pair(padding))
    return signal.then(layer, (1, *layer.output_shape))


def _max_pool(
    signal: Signal, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, *other: bool, **more: bool
) -> Signal:
    if any((*other, *more.values())) or _pair(dilation) != (1, 1):
        raise NetworkError("ceil_mode, return_indices and dilation are not supported.")
    pool = MaxPool(signal.image, _pair(kernel), _pair(stride or kernel), _pair(padding))
    return signal.then(pool, (1, *pool.output_shape))


def _batch_norm(
    signal: Signal,
    mean: torch.Tensor | None,
    variance: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Signal:
    _evaluating(training)
    if mean is None:
        raise NetworkError("track_running_stats=False makes it depend on the other images of the batch.")
    if signal.shape[1] != len(mean):
        raise NetworkError(f"it has {len(mean)} features, its input the shape {signal.shape[1:]}.")
    scale = 1 / np.sqrt(_array(variance) + eps)
    shift = -_array(mean) * scale
    if weight is not None:
        scale, shift = _array(weight) * scale, _array(weight) * shift + _bias(bias, len(mean))
    repeats = prod(signal.shape[2:])
    return signal.then(Scaling(np.repeat(scale, repeats), np.repeat(shift, repeats)))


def _evaluating(training: bool) -> None:
    if training:
        raise NetworkError("it is in training mode, where it is random; call module.eval() first.")


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
    _evaluating(training)
    return x


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": _sum(1.0),
    "sub": _sum(-1.0),
    "neg": lambda x: x.scaled(-np.ones(1), np.zeros(1)),
    "mul": _product,
    "div": _quotient,
    "cat": lambda tensors, dim=0: concatenated([_value(one) for one in tensors], dim),
    "relu": _elementwise(lambda: RELU),
    "sign": sign,
    "leaky_relu": _elementwise(lambda slope=0.01: LeakyReLU(slope)),
    "elu": _elementwise(ELU),
    "sigmoid": _elementwise(Sigmoid),
    "tanh": _elementwise(Tanh),
    "atan": _elementwise(Arctan),
    "dropout": _dropout,
    "linear": _linear,
    "conv2d": _convolution,
    "conv_transpose2d": _transposed,
    "batch_norm": _batch_norm,
    "max_pool2d": _max_pool,
    "avg_pool2d": _average,
}
_POOL, _NORM = ("kernel_size", "stride", "padding"), ("running_mean", "running_var", "weight", "bias", "training")


def _form(name: str, *fields: str) -> Callable[[Any], list]:
    """The function of a module and the arguments that are its fields."""
    return lambda module: [name, *(getattr(module, field) for field in fields)]


#: Modules as functions with the arguments that follow the input.
_MODULES: Mapping[type[nn.Module], Callable[[Any], list]] = {
    nn.Linear: _form("linear", "weight", "bias"),
    nn.Conv1d: _form("conv1d"),
    nn.Conv2d: _form("conv2d", "weight", "bias", "stride", "padding", "dilation", "groups", "padding_mode"),
    nn.ConvTranspose2d: _form(
        "conv_transpose2d", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"
    ),
    nn.ReLU: _form("relu"),
    nn.LeakyReLU: _form("leaky_relu", "negative_slope"),
    nn.ELU: _form("elu", "alpha"),
    nn.Sigmoid: _form("sigmoid"),
    nn.Tanh: _form("tanh"),
    nn.MaxPool2d: _form("max_pool2d", *_POOL, "dilation", "ceil_mode", "return_indices"),
    nn.AvgPool2d: _form("avg_pool2d", *_POOL, "ceil_mode", "count_include_pad", "divisor_override"),
    nn.AdaptiveAvgPool2d: _form("adaptive_avg_pool2d"),
    nn.Flatten: _form("flatten"),
    nn.Unflatten: _form("unflatten"),
    nn.ZeroPad2d: _form("pad"),
    nn.BatchNorm1d: _form("batch_norm", *_NORM, "momentum", "eps"),
    nn.BatchNorm2d: _form("batch_norm", *_NORM, "momentum", "eps"),
    nn.Dropout: _form("dropout", "p", "training"),
    nn.Dropout1d: _form("dropout", "p", "training"),
    nn.Dropout2d: _form("dropout", "p", "training"),
    nn.Identity: _form("contiguous"),
}
_OF_ANY_SHAPE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Flatten, nn.Dropout, nn.Identity)
SUPPORTED = (
    f"{', '.join(kind.__name__ for kind in _MODULES)} (normalisation and dropout after .eval()), Sequential and "
    f"modules with a forward of their own; the functions, methods and operators "
    f"{', '.join(sorted({*_FUNCTIONS, *MOVING, *LINEAR}))}; and a class called {', '.join(_NORMALISING[:-1])} or "
    f"{_NORMALISING[-1]} with the attributes mean and std (or sigma)"
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
    rows = samples(prod(shape))
    try:
        with torch.no_grad():
            expected = module(torch.tensor(rows).reshape(-1, *shape)).flatten(1).numpy()
    except Exception as error:  # the module's own code may raise anything
        raise NetworkError(f"the module itself refuses an input of the shape {shape}: {error}") from error
    *_, found = forward(layers, activations, rows)
    if not agreeing(found, expected, AGREEMENT):
        raise NetworkError(
            "the module does not compute what was read of it: its scores differ from those of the layers read. Neither "
            "a hook or a changed layer can be read, nor what depends on the batch."
        )
