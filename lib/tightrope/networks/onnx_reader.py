"""ONNX files as feed-forward networks: node by node, then compared with ONNX's own reference evaluator.

The files of others: nothing in them is run. Data outside the file (which could be any file of the machine) is refused.
"""

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tightrope.errors import CorruptDataError, MissingDataError, NetworkError
from tightrope.networks.arrays import PathOrName
from tightrope.networks.layers import Convolution, Dense, Layer, Scaling, assemble

SUPPORTED = (
    "Gemm, MatMul with a constant, Add, Sub, Mul, Div with a constant, Relu, Conv (no groups, no dilation), "
    "BatchNormalization, Flatten, Reshape, Constant, Identity, Dropout, Cast between floating-point types"
)
#: Largest difference from the reference evaluator, relative to its largest score: it computes in single precision.
AGREEMENT = 1e-4


@dataclass(frozen=True)
class _Signal:
    """What depends on the input: affine layers and "relu" marks so far, and the shape of one example."""

    parts: tuple[Layer | str, ...]
    shape: tuple[int, ...]

    def then(self, part: Layer | str, shape: tuple[int, ...] | None = None) -> "_Signal":
        return _Signal((*self.parts, part), self.shape if shape is None else shape)

    def scaled(self, scale: np.ndarray, shift: np.ndarray) -> "_Signal":
        """The entries times scale plus shift; both are broadcast as ONNX does, with one example as the batch."""
        return self.then(Scaling(self.spread(scale), self.spread(shift)))

    def spread(self, constant: np.ndarray) -> np.ndarray:
        """A constant as one number for each entry."""
        try:
            return np.broadcast_to(constant, (1, *self.shape)).ravel()
        except ValueError:
            where = f"beside values of shape (N, *{self.shape})"
            raise NetworkError(f"a constant of shape {constant.shape} {where}.") from None


_Inputs = Sequence[Any]  # of type _Signal, an array, or None where an input is left out
_Attributes = Mapping[str, Any]
_Operation = Callable[[_Inputs, _Attributes], Any]  # to a _Signal or a constant


def layers_of_onnx(path: PathOrName) -> tuple[Layer, ...]:
    """Read a model of :data:`SUPPORTED` operations with one input, one output, and one path between them.

    NetworkError names an operation that is not supported, data outside the file, or a result that is another function
    than the model.
    """
    onnx = _onnx()
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no file {path}. Give the path of an .onnx file.")
    try:
        packed = path.read_bytes()
        model = onnx.load_model_from_string(gzip.decompress(packed) if path.suffix.lower() == ".gz" else packed)
    except Exception as error:  # protobuf's errors have no common class that is public
        raise CorruptDataError(f"{path} is not a whole ONNX file ({error}); export it again.") from error
    if not model.graph.node:
        raise CorruptDataError(f"{path} has no ONNX nodes; it may be truncated or of another kind.")
    try:
        name, signal = _input(model.graph, onnx)
        shape, signal = signal.shape, _walk(model.graph, name, signal, onnx)
        layers = assemble(list(signal.parts))
        _compare(model, layers, name, shape)
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from error
    return layers


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise NetworkError(
            "reading .onnx files needs the package onnx: pip install 'tightrope[onnx]', or give the network as .npz "
            "or as a torch module."
        ) from error
    return onnx


def _input(graph: Any, onnx: Any) -> tuple[str, _Signal]:
    """The name and shape of the one input that is not a weight; its first dimension is the batch."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise NetworkError(f"{len(inputs)} inputs and {len(graph.output)} outputs; networks with one of each are read.")
    dims = inputs[0].type.tensor_type.shape.dim
    sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in dims]  # 0: not known
    batch, shape = (sizes[0], tuple(sizes[1:])) if len(sizes) > 1 else (1, tuple(sizes))
    if batch not in (-1, 0, 1) or not shape or min(shape) < 1:
        raise NetworkError(
            f"the input has the shape {sizes} (0: not stated); export it with one example or a free batch dimension "
            "first, and all others stated."
        )
    return inputs[0].name, _Signal((), shape)


def _walk(graph: Any, name: str, signal: _Signal, onnx: Any) -> _Signal:
    """The signal at the output."""
    values: dict[str, _Signal | np.ndarray] = {tensor.name: _tensor(tensor, onnx) for tensor in graph.initializer}
    values[name] = signal
    for i, node in enumerate(graph.node):
        where = f"node {node.name or i} ({node.op_type})"
        operation = _OPERATIONS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if operation is None:
            raise NetworkError(f"{where} is not supported. Supported: {SUPPORTED}.")
        try:
            inputs = [values[key] if key else None for key in node.input]
            attributes = {attribute.name: _attribute(attribute, onnx) for attribute in node.attribute}
            result = operation(inputs, attributes)
        except KeyError as error:
            raise NetworkError(f"{where} needs {error}, which nothing before it makes.") from error
        except (NetworkError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
            raise NetworkError(f"{where}: {error}") from error
        if not node.output:
            raise NetworkError(f"{where} has no output.")
        values[node.output[0]] = result
    out = values.get(graph.output[0].name)
    if not isinstance(out, _Signal):
        raise NetworkError(f"the output {graph.output[0].name!r} does not depend on the input.")
    return out


def _tensor(tensor: Any, onnx: Any) -> np.ndarray:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise NetworkError(
            f"the weights {tensor.name!r} are in another file; save the model as one file "
            "(torch.onnx.export(..., external_data=False))."
        )
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # sizes that do not fit the data, unknown types
        raise NetworkError(f"the weights {tensor.name!r} cannot be read: {error}") from error
    if array.dtype.kind not in "fiub":
        raise NetworkError(f"the weights {tensor.name!r} are of type {array.dtype}; numbers are needed.")
    return array


def _attribute(attribute: Any, onnx: Any) -> Any:
    if attribute.type == onnx.AttributeProto.TENSOR:
        return _tensor(attribute.t, onnx)
    if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS, onnx.AttributeProto.SPARSE_TENSOR):
        raise NetworkError(f"its attribute {attribute.name} is a graph or a sparse tensor.")
    return onnx.helper.get_attribute_value(attribute)


# operations: (inputs, attributes) -> signal or constant ------------------------------------------


def _one(inputs: _Inputs, count: int = 1) -> tuple[Any, ...]:
    """The signal and `count - 1` constants (None where left out) after it."""
    inputs = [*inputs, *[None] * (count - len(inputs))]
    if not isinstance(inputs[0], _Signal) or any(isinstance(value, _Signal) for value in inputs[1:]):
        raise NetworkError("it must have the network's signal as its first input and constants otherwise.")
    return tuple(inputs[:count])


def _constant(inputs: _Inputs, attributes: _Attributes) -> np.ndarray:
    (value,) = attributes.values()
    return np.asarray(value, dtype=None if isinstance(value, np.ndarray) else np.float64)


def _same(inputs: _Inputs, attributes: _Attributes) -> _Signal | np.ndarray:
    return inputs[0]


def _cast(inputs: _Inputs, attributes: _Attributes) -> _Signal | np.ndarray:
    floating = (1, 10, 11, 16)  # float, float16, double, bfloat16
    if isinstance(inputs[0], _Signal) and attributes.get("to") not in floating:
        raise NetworkError("a cast to a type that is not floating-point.")
    return inputs[0]


def _relu(inputs: _Inputs, attributes: _Attributes) -> _Signal:
    (signal,) = _one(inputs)
    return signal.then("relu")


def _flatten(inputs: _Inputs, attributes: _Attributes) -> _Signal:
    (signal,) = _one(inputs)
    if attributes.get("axis", 1) not in (1, -len(signal.shape)):
        raise NetworkError(f"axis={attributes['axis']}; axis=1 keeps the batch.")
    return _Signal(signal.parts, (prod(signal.shape),))


def _reshape(inputs: _Inputs, attributes: _Attributes) -> _Signal:
    signal, target = _one(inputs, 2)
    sizes = [int(n) for n in np.ravel(target)]
    shape = [signal.shape[i] if n == 0 and i < len(signal.shape) else n for i, n in enumerate(sizes[1:])]
    if shape.count(-1) == 1:
        shape[shape.index(-1)] = prod(signal.shape) // max(1, -prod(shape))
    if not shape or sizes[0] not in (-1, 0, 1) or min(shape) < 1 or prod(shape) != prod(signal.shape):
        raise NetworkError(f"to {sizes} from (N, *{signal.shape}); the batch must stay the first dimension.")
    return _Signal(signal.parts, tuple(shape))


def _dense(signal: _Signal, W: np.ndarray, b: np.ndarray) -> _Signal:
    if W.ndim != 2 or signal.shape[-1:] != W.shape[1:] or len(signal.shape) != 1:
        raise NetworkError(f"a matrix {W.T.shape} for values of shape (N, *{signal.shape}).")
    return signal.then(Dense(W, b), (len(W),))


def _matmul(inputs: _Inputs, attributes: _Attributes) -> _Signal:
    signal, W = _one(inputs, 2)
    W = np.asarray(W, dtype=np.float64)
    return _dense(signal, W.T, np.zeros(W.shape[-1]))


def _gemm(inputs: _Inputs, attributes: _Attributes) -> _Signal:
    signal, W, b = _one(inputs, 3)
    if attributes.get("transA", 0):
        raise NetworkError("transA=1 would mix the examples of a batch.")
    W = attributes.get("alpha", 1.0) * np.asarray(W, dtype=np.float64)
    W = W if attributes.get("transB", 0) else W.T
    b = np.zeros(1) if b is None else attributes.get("beta", 1.0) * np.asarray(b, dtype=np.float64)
    return _dense(signal, W, np.broadcast_to(b, (1, len(W))).ravel())


def _affine(make: Callable[[np.ndarray, bool], tuple[Any, Any]]) -> _Operation:
    """An elementwise operation with one constant; make(constant, constant_first) gives scale and shift."""

    def operation(inputs: _Inputs, attributes: _Attributes) -> _Signal:
        signals = [i for i, value in enumerate(inputs) if isinstance(value, _Signal)]
        if len(inputs) != 2 or len(signals) != 1:
            raise NetworkError("it joins two branches of the network; only one path is read.")
        signal, constant = inputs[signals[0]], np.asarray(inputs[1 - signals[0]], dtype=np.float64)
        scale, shift = make(constant, signals[0] == 1)
        last = signal.parts[-1] if signal.parts else None
        if isinstance(last, Dense) and not last.bias.any() and (scale == 1).all():  # MatMul and Add are one layer
            return _Signal((*signal.parts[:-1], Dense(last.weight, signal.spread(shift))), signal.shape)
        return signal.scaled(np.asarray(scale), np.asarray(shift))

    return operation


def _divide(constant: np.ndarray, first: bool) -> tuple:
    if first or not constant.all():
        raise NetworkError("a constant divided by the signal, or a division by zero.")
    return 1 / constant, 0.0


def _convolution(inputs: _Inputs, attributes: _Attributes) -> _Signal:
    signal, W, b = _one(inputs, 3)
    W = np.asarray(W, dtype=np.float64)
    if W.ndim != 4 or len(signal.shape) != 3:
        raise NetworkError(f"a kernel {W.shape} for values of shape (N, *{signal.shape}); images are needed.")
    if attributes.get("group", 1) != 1 or any(n != 1 for n in attributes.get("dilations", [1])):
        raise NetworkError(f"group={attributes.get('group', 1)}, dilations={attributes.get('dilations', [1, 1])}.")
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise NetworkError(f"auto_pad={attributes['auto_pad'].decode(errors='replace')}; write the pads as numbers.")
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if min(top, left, bottom, right) < 0:
        raise NetworkError("negative pads.")
    # Padding that differs between the sides is symmetric padding with zeros added to the kernel.
    padding = (max(top, bottom), max(left, right))
    rows, columns = (padding[0] - top, padding[0] - bottom), (padding[1] - left, padding[1] - right)
    W = np.pad(W, ((0, 0), (0, 0), rows, columns))
    b = np.zeros(len(W)) if b is None else b
    stride_rows, stride_columns = attributes.get("strides", [1, 1])
    layer = Convolution(W, b, signal.shape, (stride_rows, stride_columns), padding)
    return signal.then(layer, layer.output_shape)


def _batch_normalization(inputs: _Inputs, attributes: _Attributes) -> _Signal:
    signal, gamma, beta, mean, variance = _one(inputs, 5)
    if attributes.get("training_mode", 0):
        raise NetworkError("training_mode=1 makes it depend on the batch.")
    scale = np.asarray(gamma, dtype=np.float64) / np.sqrt(np.float64(variance) + attributes.get("epsilon", 1e-5))
    shift = beta - mean * scale
    by_channel = (-1, *[1] * (len(signal.shape) - 1))
    return signal.scaled(scale.reshape(by_channel), shift.reshape(by_channel))


_OPERATIONS: Mapping[str, _Operation] = {
    "Constant": _constant,
    "Identity": _same,
    "Dropout": _same,
    "Cast": _cast,
    "Relu": _relu,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Add": _affine(lambda constant, first: (np.ones(1), constant)),
    "Sub": _affine(lambda constant, first: (-np.ones(1), constant) if first else (np.ones(1), -constant)),
    "Mul": _affine(lambda constant, first: (constant, 0.0)),
    "Div": _affine(_divide),
    "Conv": _convolution,
    "BatchNormalization": _batch_normalization,
}


def _compare(model: Any, layers: tuple[Layer, ...], name: str, shape: tuple[int, ...]) -> None:
    """Raise unless the reference evaluator gives the same scores on inputs of several sizes."""
    from onnx.helper import tensor_dtype_to_np_dtype
    from onnx.reference import ReferenceEvaluator

    value = next(value for value in model.graph.input if value.name == name)
    rng = np.random.default_rng(0)
    examples = [size * rng.standard_normal(prod(shape)) for size in (0.0, 0.3, 1.0, 3.0)]
    rows = np.array(examples)
    batched = len(value.type.tensor_type.shape.dim) > 1
    try:
        dtype = tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        evaluator: Any = ReferenceEvaluator(model)
        feeds = [example.reshape((1, *shape) if batched else shape).astype(dtype) for example in examples]
        expected = np.array([np.ravel(evaluator.run(None, {name: feed})[0]) for feed in feeds], dtype=np.float64)
    except Exception as error:  # whatever the evaluator does not like about the file
        raise NetworkError(f"ONNX's reference evaluator cannot run the model: {error}") from error
    for i, layer in enumerate(layers):
        rows = layer.forward(np.maximum(rows, 0.0) if i else rows)
    if rows.shape != expected.shape or not np.abs(rows - expected).max() <= AGREEMENT * np.abs(expected).max():
        raise NetworkError("ONNX's reference evaluator gives other scores than the layers read; the model is not read.")
