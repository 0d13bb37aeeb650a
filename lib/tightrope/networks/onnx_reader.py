"""ONNX files as feed-forward networks: node by node, then compared with ONNX's own reference evaluator.

What depends on constants only is folded; an operation that moves entries, or is linear, is the matrix that the
evaluator's answers to unit vectors give; branches are joined by :mod:`tightrope.networks.graph`. The files of others:
no operation is run but those named here. Data outside the file (which could be any file of the machine) is refused.
"""

import gzip
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tightrope.errors import CorruptDataError, MissingDataError, NetworkError
from tightrope.networks.activations import ELU, RELU, Activation, Arctan, LeakyReLU, MaxPool, ReLU, Sigmoid, Tanh
from tightrope.networks.arrays import PathOrName
from tightrope.networks.graph import Node, Signal, added, agreeing, assemble, concatenated, matrix, moves, samples, sign
from tightrope.networks.layers import Convolution, Dense, Layer, average, forward, transposed

#: Largest difference from the reference evaluator, relative to its largest score: it computes in single precision.
AGREEMENT = 1e-4
#: Operations on constants that are carried out. None makes an array that is much larger than what is in the file.
FOLDED = frozenset(
    "Constant Identity Cast Shape Gather Concat Unsqueeze Squeeze Reshape Flatten Transpose Slice Split Neg Add Sub "
    "Mul Div Sqrt MatMul Relu".split()
)
#: Operations that move entries, leave some out, or put zeros between them.
MOVING = frozenset("Flatten Reshape Squeeze Unsqueeze Transpose Slice Split Gather Pad".split())
#: Operations that are linear in the signal; by the form that they have here, or as a matrix.
LINEAR = frozenset("Gemm MatMul Conv ConvTranspose AveragePool GlobalAveragePool ReduceSum ReduceMean Neg".split())
#: Operations that may join branches.
JOINING = frozenset("Add Sub Sum Concat".split())

_Inputs = Sequence[Any]  # of type Signal, an array, or None where an input is left out
_Attributes = Mapping[str, Any]
_Operation = Callable[[_Inputs, _Attributes], Any]  # to a Signal, or None if its form has no layer of its own


def layers_of_onnx(path: PathOrName) -> tuple[tuple[Layer, ...], tuple[Activation, ...]]:
    """Read a model of :func:`supported` operations with one input and one output, and branches between them.

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
        shape, signal = signal.shape, _walk(model, name, signal, onnx)
        layers, activations = assemble(signal.node)
        _compare(model, layers, activations, name, shape)
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from error
    return layers, activations


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise NetworkError(
            "reading .onnx files needs the package onnx: pip install 'tightrope[onnx]', or give the network as .npz "
            "or as a torch module."
        ) from error
    return onnx


def _input(graph: Any, onnx: Any) -> tuple[str, Signal]:
    """The name and shape of the one input that is not a weight; its first dimension is the batch."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise NetworkError(f"{len(inputs)} inputs and {len(graph.output)} outputs; networks with one of each are read.")
    dims = inputs[0].type.tensor_type.shape.dim
    sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in dims]  # 0: not known
    free = len(sizes) > 1 and sizes[0] in (-1, 0, 1)
    shape = (1, *sizes[1:]) if free else tuple(sizes)
    if not shape or min(shape) < 1 or not (free or len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        raise NetworkError(
            f"the input has the shape {sizes} (0: not stated); export it with one example or a free batch dimension "
            "first, and all others stated."
        )
    return inputs[0].name, Signal(Node(prod(shape)), shape)


def supported() -> str:
    """The operations that are read, of the signal and of constants only."""
    signal = {*_OPERATIONS, *MOVING, *LINEAR}
    return f"{', '.join(sorted(signal))}; of constants also {', '.join(sorted(FOLDED - signal))}"


def _walk(model: Any, name: str, signal: Signal, onnx: Any) -> Signal:
    """The signal at the output."""
    graph = model.graph
    values: dict[str, Signal | np.ndarray] = {tensor.name: _tensor(tensor, onnx) for tensor in graph.initializer}
    values[name] = signal
    for i, node in enumerate(graph.node):
        where = f"node {node.name or i} ({node.op_type})"
        if node.domain not in ("", "ai.onnx") or node.op_type not in {*_OPERATIONS, *FOLDED, *MOVING, *LINEAR}:
            raise NetworkError(f"{where} is not supported. Supported: {supported()}.")
        try:
            inputs = [values[key] if key else None for key in node.input]
            attributes = {attribute.name: _attribute(attribute, onnx) for attribute in node.attribute}
            results = _results(node, inputs, attributes, model, onnx)
        except KeyError as error:
            raise NetworkError(f"{where} needs {error}, which nothing before it makes.") from error
        except (NetworkError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
            raise NetworkError(f"{where}: {error}") from error
        if not node.output:
            raise NetworkError(f"{where} has no output.")
        values.update(zip(node.output, results, strict=False))
    out = values.get(graph.output[0].name)
    if not isinstance(out, Signal):
        raise NetworkError(f"the output {graph.output[0].name!r} does not depend on the input.")
    return out


def _results(
    node: Any, inputs: _Inputs, attributes: _Attributes, model: Any, onnx: Any
) -> Sequence[Signal | np.ndarray]:
    """The outputs of one node: constants folded, or the signal after it."""
    places = [i for i, value in enumerate(inputs) if isinstance(value, Signal)]
    if node.op_type == "Shape" and places:
        return [np.array(inputs[0].shape)[slice(attributes.get("start", 0), attributes.get("end"))]]
    if not places:
        if node.op_type not in FOLDED:
            raise NetworkError("it does not depend on the input, and is not carried out.")
        return _evaluated(node, inputs, model, onnx)
    if len(places) > 1 and node.op_type not in JOINING:
        raise NetworkError(f"it joins branches of the network; read where branches join: {', '.join(sorted(JOINING))}.")
    if node.op_type == "BatchNormalization":
        _require_inference(node, attributes, model)
    own = _OPERATIONS[node.op_type](inputs, attributes) if node.op_type in _OPERATIONS else None
    if own is not None:
        return [own]
    if node.op_type not in MOVING | LINEAR:
        raise NetworkError(f"this form of it is not read: {', '.join(sorted(attributes)) or 'no attributes'}.")
    (place,), signal = places, inputs[places[0]]

    def outputs(value: np.ndarray, *rest: Any) -> list[np.ndarray]:
        constants = [np.asarray(v, float) if np.asarray(v).dtype.kind == "f" else v for v in inputs[:2]]
        values = [*constants, *(rest or inputs[2:])]
        values[place] = value
        return _evaluated(node, values, model, onnx)

    if node.op_type in MOVING and not place:
        return moves(signal, outputs)
    return [matrix(signal, lambda value: outputs(value)[0], lambda value: outputs(value, None)[0])]


def _evaluated(node: Any, inputs: _Inputs, model: Any, onnx: Any) -> list[np.ndarray]:
    """What ONNX's reference evaluator makes of one node with these inputs, None where one is left out."""
    from onnx.reference import ReferenceEvaluator

    feeds = {key: np.asarray(v) for key, v in zip(node.input, inputs, strict=False) if v is not None}
    info, kind = onnx.helper.make_tensor_value_info, onnx.helper.np_dtype_to_tensor_dtype
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    del alone.input[:]
    alone.input.extend(key if key in feeds else "" for key in node.input)
    try:
        own = [info(key, kind(value.dtype), None) for key, value in feeds.items()]
        graph = onnx.helper.make_graph([alone], "node", own, [info(key, 1, None) for key in node.output])
        evaluator: Any = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=model.opset_import))
        return [np.asarray(value) for value in evaluator.run(None, feeds)]
    except Exception as error:  # whatever the evaluator does not like about the node
        raise NetworkError(f"ONNX's reference evaluator cannot run it: {error}") from error


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
    if not isinstance(inputs[0], Signal) or any(isinstance(value, Signal) for value in inputs[1:]):
        raise NetworkError("it must have the network's signal as its first input and constants otherwise.")
    return tuple(inputs[:count])


def _same(inputs: _Inputs, attributes: _Attributes) -> Signal | np.ndarray:
    return inputs[0]


def _cast(inputs: _Inputs, attributes: _Attributes) -> Signal | np.ndarray:
    floating = (1, 10, 11, 16)  # float, float16, double, bfloat16
    if isinstance(inputs[0], Signal) and attributes.get("to") not in floating:
        raise NetworkError("a cast to a type that is not floating-point.")
    return inputs[0]


def _elementwise(make: Callable[..., Activation], **defaults: float) -> _Operation:
    """A nonlinearity of one variable; `defaults` are its attributes."""

    def operation(inputs: _Inputs, attributes: _Attributes) -> Signal:
        (signal,) = _one(inputs)
        return signal.then(make(*(attributes.get(name, value) for name, value in defaults.items())))

    return operation


def _prelu(inputs: _Inputs, attributes: _Attributes) -> Signal:
    signal, slope = _one(inputs, 2)
    if not (slopes := np.ravel(slope)).size or (slopes != slopes[0]).any():
        raise NetworkError(f"{slopes.size} slopes; one for all is read.")
    return signal.then(LeakyReLU(slopes[0]))


def _max(inputs: _Inputs, attributes: _Attributes) -> Signal:
    place = next(i for i, value in enumerate(inputs) if isinstance(value, Signal))
    if len(inputs) != 2 or np.any(inputs[1 - place]):
        raise NetworkError("the larger of the signal and 0 is read, ReLU.")
    inputs[place].spread(np.asarray(inputs[1 - place]))
    return inputs[place].then(RELU)


def _window(attributes: _Attributes, *forbidden: str) -> dict[str, tuple[int, int]] | None:
    """Kernel, stride and padding of an operation on windows of images; None if it has another form."""
    top, left, *ends = attributes.get("pads", [0, 0, 0, 0])
    other = any(np.any(attributes.get(name, 0)) for name in forbidden) or any(
        n != 1 for n in attributes.get("dilations", [])
    )
    if other or ends != [top, left] or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return None
    rows, columns = attributes["kernel_shape"]
    step_rows, step_columns = attributes.get("strides", [1, 1])
    return {"kernel": (rows, columns), "stride": (step_rows, step_columns), "padding": (top, left)}


def _max_pool(inputs: _Inputs, attributes: _Attributes) -> Signal | None:
    (signal,) = _one(inputs)
    shape, window = signal.image, _window(attributes, "ceil_mode", "storage_order")
    if window is None:
        return None
    pool = MaxPool(shape, **window)
    return signal.then(pool, (1, *pool.output_shape))


def _average_pool(inputs: _Inputs, attributes: _Attributes) -> Signal | None:
    (signal,) = _one(inputs)
    if len(signal.shape) != 4:
        return None
    window = _window({"kernel_shape": signal.shape[2:], **attributes}, "ceil_mode")
    if window is None or (any(window["padding"]) and not attributes.get("count_include_pad", 0)):
        return None
    layer = average(signal.image, **window)
    return signal.then(layer, (1, *layer.output_shape))


def _matmul(inputs: _Inputs, attributes: _Attributes) -> Signal | None:
    """W x for a vector or column x, x W for a vector or row; a matrix of more otherwise."""
    first = isinstance(inputs[0], Signal)
    signal, W = inputs if first else inputs[::-1]
    W = np.asarray(W, dtype=np.float64)
    if W.ndim != 2:
        return None
    if first and signal.shape[-1] != len(W):
        raise NetworkError(f"a matrix {W.shape} for values of shape {signal.shape}.")
    if not first and signal.shape in ((W.shape[1],), (W.shape[1], 1)):
        return signal.then(Dense(W, np.zeros(len(W))), (len(W), *signal.shape[1:]))
    if first and prod(signal.shape) == signal.shape[-1] == len(W):
        return signal.then(Dense(W.T, np.zeros(W.shape[1])), (*signal.shape[:-1], W.shape[1]))
    return None


def _gemm(inputs: _Inputs, attributes: _Attributes) -> Signal | None:
    signal, W, b = [*inputs, None][:3]
    if not isinstance(signal, Signal) or attributes.get("transA", 0):
        return None
    W = attributes.get("alpha", 1.0) * np.asarray(W, dtype=np.float64)
    W = W if attributes.get("transB", 0) else W.T
    if W.ndim != 2 or signal.shape != (1, W.shape[1]):
        raise NetworkError(f"a matrix {W.T.shape} for values of shape {signal.shape}.")
    b = np.zeros(1) if b is None else attributes.get("beta", 1.0) * np.asarray(b, dtype=np.float64)
    return signal.then(Dense(W, np.broadcast_to(b, (1, len(W))).ravel()), (1, len(W)))


def _sum(*signs: float) -> _Operation:
    """A sum of signals and constants with these signs, 1 for all if none are given."""

    def operation(inputs: _Inputs, attributes: _Attributes) -> Signal:
        return added(inputs, signs or [1.0] * len(inputs))

    return operation


def _concat(inputs: _Inputs, attributes: _Attributes) -> Signal:
    return concatenated(inputs, attributes["axis"])


def _scaled(make: Callable[[np.ndarray, bool], np.ndarray]) -> _Operation:
    """A product with a constant; make(constant, constant_first) gives the factor."""

    def operation(inputs: _Inputs, attributes: _Attributes) -> Signal:
        place = next(i for i, value in enumerate(inputs) if isinstance(value, Signal))
        return inputs[place].scaled(make(np.asarray(inputs[1 - place], float), place > 0), np.zeros(1))

    return operation


def _divide(constant: np.ndarray, first: bool) -> np.ndarray:
    if first or not constant.all():
        raise NetworkError("a constant divided by the signal, or a division by zero.")
    return 1 / constant


def _convolution(inputs: _Inputs, attributes: _Attributes) -> Signal | None:
    signal, W, b = _one(inputs, 3)
    W = np.asarray(W, dtype=np.float64)
    if W.ndim != 4 or attributes.get("group", 1) != 1 or any(n != 1 for n in attributes.get("dilations", [1])):
        return None
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return None
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if min(top, left, bottom, right) < 0:
        raise NetworkError("negative pads.")
    # Padding that differs between the sides is symmetric padding with zeros added to the kernel.
    padding = (max(top, bottom), max(left, right))
    rows, columns = (padding[0] - top, padding[0] - bottom), (padding[1] - left, padding[1] - right)
    W = np.pad(W, ((0, 0), (0, 0), rows, columns))
    b = np.zeros(len(W)) if b is None else b
    stride_rows, stride_columns = attributes.get("strides", [1, 1])
    layer = Convolution(W, b, signal.image, (stride_rows, stride_columns), padding)
    return signal.then(layer, (1, *layer.output_shape))


def _transposed(inputs: _Inputs, attributes: _Attributes) -> Signal | None:
    signal, W, b = _one(inputs, 3)
    W = np.asarray(W, dtype=np.float64)
    window = _window({"kernel_shape": W.shape[2:], **attributes}, "output_shape") if W.ndim == 4 else None
    if window is None or attributes.get("group", 1) != 1 or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    rows, columns = attributes.get("output_padding", [0, 0])
    b = np.zeros(W.shape[1]) if b is None else np.asarray(b, dtype=np.float64)
    layer, shape = transposed(W, b, signal.image, window["stride"], window["padding"], (rows, columns))
    return signal.then(layer, (1, *shape))


def _require_inference(node: Any, attributes: _Attributes, model: Any) -> None:
    """Raise if batch normalisation takes the statistics of the batch, which versions 1, 7 and 14 say differently."""
    version = min((own.version for own in model.opset_import if own.domain in ("", "ai.onnx")), default=1)
    training = {
        "training_mode=1": attributes.get("training_mode", 0),
        f"is_test=0 in version {version}": version < 7 and not attributes.get("is_test", 0),
        "more than one output": sum(map(bool, node.output)) > 1,
    }
    if said := [form for form, holds in training.items() if holds]:
        raise NetworkError(f"{said[0]} is its form for training, which depends on the batch; export it for inference.")


def _batch_normalization(inputs: _Inputs, attributes: _Attributes) -> Signal:
    signal, gamma, beta, mean, variance = _one(inputs, 5)
    scale = np.asarray(gamma, dtype=np.float64) / np.sqrt(np.float64(variance) + attributes.get("epsilon", 1e-5))
    shift = beta - mean * scale
    by_channel = (-1, *[1] * (len(signal.shape) - 2))
    return signal.scaled(scale.reshape(by_channel), shift.reshape(by_channel))


_OPERATIONS: Mapping[str, _Operation] = {
    "Identity": _same,
    "Dropout": _same,
    "Cast": _cast,
    "Relu": _elementwise(ReLU),
    "LeakyRelu": _elementwise(LeakyReLU, alpha=0.01),
    "PRelu": _prelu,
    "Elu": _elementwise(ELU, alpha=1.0),
    "Sigmoid": _elementwise(Sigmoid),
    "Sign": lambda inputs, attributes: sign(*_one(inputs)),
    "Tanh": _elementwise(Tanh),
    "Atan": _elementwise(Arctan),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _average_pool,
    "Max": _max,
    "Sum": _sum(),
    "Concat": _concat,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Add": _sum(),
    "Sub": _sum(1.0, -1.0),
    "Mul": _scaled(lambda constant, first: constant),
    "Div": _scaled(_divide),
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "BatchNormalization": _batch_normalization,
}


def _compare(
    model: Any, layers: tuple[Layer, ...], activations: tuple[Activation, ...], name: str, shape: tuple[int, ...]
) -> None:
    """Raise unless the reference evaluator gives the same scores on inputs of several sizes."""
    from onnx.helper import tensor_dtype_to_np_dtype
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class BatchNormalization(OpRun):
        """With the statistics of the file, as `_require_inference` has made sure of every node that is here.

        Of versions 9 to 13 the evaluator takes the batch's too.
        """

        op_domain = ""

        def _run(self, x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, **attributes: Any) -> tuple[Any]:
            by_channel = (-1, *[1] * (x.ndim - 2))
            gamma, beta, mean, variance = (array.reshape(by_channel) for array in (gamma, beta, mean, variance))
            return ((x - mean) * (gamma / np.sqrt(variance + getattr(self, "epsilon", 1e-5))) + beta,)

    value = next(value for value in model.graph.input if value.name == name)
    try:
        rows = samples(prod(shape)).astype(tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        evaluator: Any = ReferenceEvaluator(model, new_ops=[BatchNormalization])
        with np.errstate(over="ignore", invalid="ignore"):  # its ELU and sigmoid compute exp of what is positive too
            scores = [np.ravel(evaluator.run(None, {name: row.reshape(shape)})[0]) for row in rows]
        expected = np.array(scores, dtype=np.float64)
    except Exception as error:  # whatever the evaluator does not like about the file
        raise NetworkError(f"ONNX's reference evaluator cannot run the model: {error}") from error
    *_, found = forward(layers, activations, rows.astype(np.float64))
    if not agreeing(found, expected, AGREEMENT):
        raise NetworkError("ONNX's reference evaluator gives other scores than the layers read; the model is not read.")
