"""ONNX files: what is read computes the same, what is not read is named, hostile files are errors."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tightrope.errors import CorruptDataError, MissingDataError, NetworkError, TightropeError
from tightrope.networks import Composition, Convolution, Dense, FeedForward, load
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import RELAXATIONS
from tightrope.properties import parse_vnnlib
from tightrope.verifiers.properties import certify_property

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'tightrope[onnx]'")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


def model(nodes, weights, input_shape, dtype=np.float32, inputs=("x",), output="y"):
    """A model of (operation, inputs, output, attributes) and arrays by name."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [helper.make_node(op, list(ins), [out], **attributes) for op, ins, out, attributes in nodes],
        "g",
        [helper.make_tensor_value_info(name, kind, input_shape) for name in inputs],
        [helper.make_tensor_value_info(output, kind, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def saved(tmp_path, what) -> str:
    path = tmp_path / "net.onnx"
    path.write_bytes(what if isinstance(what, bytes) else what.SerializeToString())
    return str(path)


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def dense(rng):
    """Gemm with and without transB, MatMul and Add."""
    weights = {"A": floats(rng, 4, 6), "a": floats(rng, 4), "B": floats(rng, 4, 5), "b": floats(rng, 5)}
    weights |= {"C": floats(rng, 5, 3), "c": floats(rng, 1, 3)}
    return model(
        [
            ("Flatten", ["x"], "flat", {"axis": 1}),
            ("Gemm", ["flat", "A", "a"], "h1", {"transB": 1}),
            ("Relu", ["h1"], "z1", {}),
            ("Gemm", ["z1", "B", "b"], "h2", {"alpha": 0.5, "beta": 2.0}),
            ("Relu", ["h2"], "z2", {}),
            ("MatMul", ["z2", "C"], "h3", {}),
            ("Add", ["c", "h3"], "y", {}),
        ],
        weights,
        ["N", 1, 2, 3],
    )


def convolutional(rng):
    """Normalisation, convolutions with unequal pads, batch normalisation, constants, reshape."""
    weights = {"mean": np.float32([[[0.1]], [[0.2]]]), "K": floats(rng, 3, 2, 3, 2), "k": floats(rng, 3)}
    weights |= {"L": floats(rng, 2, 3, 2, 2), "g": floats(rng, 2), "b": floats(rng, 2), "m": floats(rng, 2)}
    weights |= {"v": np.abs(floats(rng, 2)) + 0.5, "W": floats(rng, 32, 3), "shape": np.array([0, -1])}
    std = numpy_helper.from_array(np.float32(0.3))
    return model(
        [
            ("Sub", ["x", "mean"], "centred", {}),
            ("Constant", [], "std", {"value": std}),
            ("Div", ["centred", "std"], "scaled", {}),
            ("Conv", ["scaled", "K", "k"], "h1", {"strides": [2, 1], "pads": [0, 1, 1, 0], "kernel_shape": [3, 2]}),
            ("Relu", ["h1"], "z1", {}),
            ("Conv", ["z1", "L"], "h2", {"pads": [1, 1, 1, 1]}),
            ("BatchNormalization", ["h2", "g", "b", "m", "v"], "n2", {"epsilon": 0.01}),
            ("Relu", ["n2"], "z2", {}),
            ("Dropout", ["z2"], "d", {}),
            ("Reshape", ["d", "shape"], "flat", {}),
            ("MatMul", ["flat", "W"], "h3", {}),
            ("Identity", ["h3"], "same", {}),
            ("Mul", ["same", "std"], "y", {}),
        ],
        weights,
        [1, 2, 6, 3],
    )


def nonlinear(rng):
    """Every nonlinearity that is read, with pooling of both kinds."""
    weights = {"K": floats(rng, 2, 1, 3, 3), "k": floats(rng, 2), "W": floats(rng, 2, 4), "V": floats(rng, 4, 4)}
    elementwise = [("LeakyRelu", {"alpha": 0.2}), ("Elu", {"alpha": 0.5}), ("Tanh", {}), ("Atan", {}), ("Sigmoid", {})]
    tail, last = [], "h2"
    for i, (op, attributes) in enumerate(elementwise):
        tail += [(op, [last], f"z{i}", attributes), ("MatMul", [f"z{i}", "V"], f"h{i + 3}", {})]
        last = f"h{i + 3}"
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return model(
        [
            ("Conv", ["x", "K", "k"], "h1", {"pads": [1, 1, 1, 1]}),
            ("PRelu", ["h1", "slope"], "z", {}),
            ("AveragePool", ["z"], "a", window | {"pads": [1, 1, 1, 1], "count_include_pad": 1}),
            ("MaxPool", ["a"], "p", window | {"pads": [1, 1, 1, 1]}),
            ("GlobalAveragePool", ["p"], "g", {}),
            ("Flatten", ["g"], "flat", {}),
            ("MatMul", ["flat", "W"], "h2", {}),
            *tail,
            ("Identity", [last], "y", {}),
        ],
        weights | {"slope": np.float32([[[0.3]]])},
        ["N", 1, 6, 6],
    )


@pytest.mark.parametrize("make", [dense, convolutional, nonlinear])
def test_same_scores_as_the_reference_evaluator(make, rng, tmp_path):
    """ONNX's own evaluator and ours, on random images."""
    from onnx.reference import ReferenceEvaluator

    proto = make(rng)
    network = FeedForward.from_onnx(saved(tmp_path, proto))
    shape = [1, *(d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim[1:])]
    for x in rng.standard_normal((10, *shape)).astype(np.float32):
        expected = ReferenceEvaluator(proto).run(None, {"x": x})[0].ravel()
        np.testing.assert_allclose(network.logits(x.ravel()), expected, rtol=1e-4, atol=1e-4)
    assert load(tmp_path / "net.onnx").sha256() == network.sha256() and network.name == "net"


def test_layers_are_as_simple_as_possible(rng, tmp_path):
    """MatMul and Add are one dense layer; normalisation stays with its convolution."""
    assert FeedForward.from_onnx(saved(tmp_path, dense(rng))).is_dense
    network = FeedForward.from_onnx(saved(tmp_path, convolutional(rng)))
    assert [type(layer) for layer in network.layers] == [Composition, Composition, Composition]
    assert isinstance(network.layers[0].layers[-1], Convolution) and isinstance(network.layers[2].layers[0], Dense)


@pytest.mark.parametrize("version", [9, 13, 14, 17])
def test_batch_normalisation_of_every_version_has_the_files_statistics(version, rng, tmp_path):
    """Those of the batch, which the reference evaluator mixes in up to version 13, are for training."""
    parts = dict(zip("gbmv", (*floats(rng, 3, 2), np.float32([0.5, 2.0])), strict=True))
    nodes = [("BatchNormalization", ["x", *"gbmv"], "y", {"momentum": 0.5, "epsilon": 0.01})]
    proto = model(nodes, parts, [1, 2, 3, 3])
    proto.opset_import[0].version = version
    network, x = FeedForward.from_onnx(saved(tmp_path, proto)), rng.standard_normal((2, 9))
    g, b, m, v = (part.astype(float)[:, None] for part in parts.values())
    np.testing.assert_allclose(network.logits(x.ravel()), ((x - m) / np.sqrt(v + 0.01) * g + b).ravel(), rtol=1e-6)


@pytest.mark.parametrize(
    ("version", "outputs", "attributes", "message"),
    [
        (1, 1, {}, "is_test=0 in version 1"),
        (6, 1, {}, "is_test=0 in version 6"),
        (6, 1, {"is_test": 0}, "is_test=0 in version 6"),
        (7, 5, {}, "more than one output"),
        (9, 5, {}, "more than one output"),
        (13, 2, {}, "more than one output"),
        (14, 3, {"training_mode": 1}, "training_mode=1"),
        (6, 1, {"is_test": 1}, ""),
        (7, 1, {}, ""),
        (9, 1, {}, ""),
        (14, 1, {"training_mode": 0}, ""),
    ],
)
def test_batch_normalisation_in_training_is_refused(version, outputs, attributes, message, rng, tmp_path):
    """Each version says so in another way; outputs without a name are none."""
    parts = dict(zip("gbmv", (*floats(rng, 3, 2), np.float32([0.5, 2.0])), strict=True))
    proto = model([("BatchNormalization", ["x", *"gbmv"], "y", attributes)], parts, [1, 2, 3, 3])
    proto.opset_import[0].version = version
    proto.graph.node[0].output.extend([f"of_the_batch_{i}" for i in range(outputs - 1)] or ["", ""])
    path = saved(tmp_path, proto)
    if message:
        with pytest.raises(NetworkError, match=rf"\(BatchNormalization\): {message} is its form for training"):
            FeedForward.from_onnx(path)
    else:
        g, b, m, v = (part.astype(float)[:, None] for part in parts.values())
        x = rng.standard_normal((2, 9))
        expected = (x - m) / np.sqrt(v + 1e-5) * g + b
        np.testing.assert_allclose(FeedForward.from_onnx(path).logits(x.ravel()), expected.ravel(), rtol=1e-6)


def test_input_without_batch_dimension(rng, tmp_path):
    """A vector is one example."""
    W = rng.standard_normal((3, 2))
    proto = model([("MatMul", ["x", "W"], "h", {}), ("Relu", ["h"], "y", {})], {"W": W}, [3], np.float64)
    network = FeedForward.from_onnx(saved(tmp_path, proto))
    x = rng.standard_normal((5, 3))
    np.testing.assert_allclose(network.logits(x), np.maximum(x @ W, 0), atol=1e-12)


E3 = {"W": np.eye(3, dtype=np.float32)}


@pytest.mark.parametrize(
    ("nodes", "weights", "shape", "message"),
    [
        ([("Softplus", ["x"], "y", {})], {}, [1, 3], r"node 0 \(Softplus\) is not supported. Supported: Add, Atan"),
        ([("Relu", ["x"], "z", {}), ("Mul", ["x", "z"], "y", {})], {}, [1, 3], "joins branches .*: Add, Concat, Sub"),
        ([("MatMul", ["x", "W"], "y", {})], E3, [1, 4], r"a matrix \(3, 3\) for values of shape \(1, 4\)"),
        ([("MatMul", ["x", "W"], "y", {})], E3, [28, 3], "the input has the shape"),
        ([("MatMul", ["x", "W"], "y", {})], E3, [1, "height"], "the input has the shape"),
        ([("MatMul", ["x", "V"], "y", {})], E3, [1, 3], "needs 'V', which nothing before it makes"),
        ([("Gemm", ["x", "W"], "y", {"transA": 1})], E3, [1, 3], "evaluator cannot run it: shapes"),
        ([("Gemm", ["x", "W"], "y", {})], {"W": np.full((3, 3), np.nan)}, [1, 3], "entries that are nan"),
        (
            [("Reshape", ["x", "s"], "y", {})],
            {"s": np.array([2, 4])},
            [1, 6],
            "evaluator cannot run it: cannot reshape",
        ),
        ([("Div", ["x", "z"], "y", {})], {"z": np.zeros(3, np.float32)}, [1, 3], "division by zero"),
        (
            [("Conv", ["x", "K"], "y", {"group": 2})],
            {"K": np.ones((2, 1, 1, 1), np.float32)},
            [1, 3, 2, 2],
            "evaluator cannot run it",
        ),
        ([("Conv", ["x", "K"], "y", {})], {"K": np.ones((1, 1, 3, 3), np.float32)}, [1, 1, 2, 2], "kernel .* larger"),
        ([("PRelu", ["x", "s"], "y", {})], {"s": np.float32([1, 2, 3])}, [1, 3], "3 slopes; one for all"),
        (
            [("MaxPool", ["x"], "y", {"kernel_shape": [2, 2], "ceil_mode": 1})],
            {},
            [1, 1, 3, 3],
            "not read: ceil_mode, kernel_shape",
        ),
        ([("MaxPool", ["x"], "y", {"kernel_shape": [2]})], {}, [1, 1, 3], "images are needed"),
        (
            [("MaxPool", ["x"], "y", {"kernel_shape": [2, 2], "pads": [1, 0, 0, 0]})],
            {},
            [1, 1, 3, 3],
            "not read: kernel_shape, pads",
        ),
        ([("Pad", ["x", "p", "c"], "y", {})], {"p": np.array([0, 1, 0, 1]), "c": np.float32(2)}, [1, 3], "pad with 0"),
        ([("Max", ["x", "c"], "y", {})], {"c": np.float32([1])}, [1, 3], "larger of the signal and 0"),
        ([("Identity", ["W"], "y", {})], E3, [1, 3], "does not depend on the input"),
        ([("Relu", ["x"], "y", {})], {}, [1, 3], "no layer with weights"),
        ([("MatMul", ["x", "W"], "y", {})], {"W": np.array([["a"]])}, [1, 3], "numbers are needed"),
    ],
)
def test_what_is_not_read_is_named(nodes, weights, shape, message, tmp_path):
    """The node and what is wrong with it."""
    with pytest.raises(NetworkError, match=message):
        FeedForward.from_onnx(saved(tmp_path, model(nodes, weights, shape)))


def test_data_outside_the_file_is_refused(rng, tmp_path):
    """A model could name any file of the machine."""
    proto = model([("MatMul", ["x", "W"], "y", {})], E3, [1, 3])
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    with pytest.raises(NetworkError, match="'W' are in another file"):
        FeedForward.from_onnx(saved(tmp_path, proto))


def test_two_inputs_and_missing_files(tmp_path):
    """Each has its message."""
    proto = model([("MatMul", ["x", "W"], "y", {})], E3, [1, 3], inputs=("x", "z"))
    with pytest.raises(NetworkError, match="2 inputs and 1 outputs"):
        FeedForward.from_onnx(saved(tmp_path, proto))
    with pytest.raises(MissingDataError, match=r"no file .*absent\.onnx"):
        load(tmp_path / "absent.onnx")
    for content in (b"", b"not a protobuf", b"\x00" * 100):
        with pytest.raises(CorruptDataError, match="onnx"):
            FeedForward.from_onnx(saved(tmp_path, content))


@pytest.mark.parametrize("make", [dense, convolutional])
def test_damaged_files_are_errors_or_networks(make, rng, tmp_path):
    """Bytes cut off or changed: a named error, or a network that agrees with the reference evaluator; no other."""
    whole = make(rng).SerializeToString()
    kept = [len(whole) * k // 20 for k in range(20)]
    cases = [whole[:n] for n in kept]
    for _ in range(150):
        changed = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            changed[place] = rng.integers(256)
        cases.append(bytes(changed))
    refused = 0
    for case in cases:
        try:
            FeedForward.from_onnx(saved(tmp_path, case))
        except TightropeError as error:
            refused += 1
            assert "net.onnx" in str(error)
    assert refused >= len(kept)


def relu(v):
    return np.maximum(v, 0)


def forms(rng):
    """Name -> (nodes, weights, input shape, the same in NumPy, of the flat input)."""
    W, V, b, S = floats(rng, 3, 2), floats(rng, 3, 3), floats(rng, 3), floats(rng, 3, 4)
    Q, T, P, H = floats(rng, 3, 16), floats(rng, 4, 72), floats(rng, 3, 100), floats(rng, 4, 2)
    K1, R, K2, kb, c4 = (
        floats(rng, 2, 1, 3),
        floats(rng, 3, 12),
        floats(rng, 2, 1, 3, 3),
        floats(rng, 2),
        floats(rng, 4),
    )
    G, D, tail = floats(rng, 4, 1, 2, 2), floats(rng, 1, 2, 2, 2), ("Gemm", ["v", "W", "b"], "y", {"transB": 1})

    def windows(x):
        return np.lib.stride_tricks.sliding_window_view(x.reshape(8, 8), (3, 3))

    def grouped(x):
        x = x.reshape(2, 3, 3)
        view = np.lib.stride_tricks.sliding_window_view(x, (2, 2), (1, 2))
        return np.concatenate([((view[o // 2] * G[o, 0]).sum((2, 3))).ravel() for o in range(4)])

    def transposed(x):
        out = np.zeros((2, 3, 3))
        for i, j in np.ndindex(2, 2):
            out[:, i : i + 2, j : j + 2] += x.reshape(2, 2)[i, j] * D[0]
        return out.ravel()

    def convolved(x):
        return relu(
            np.concatenate([((windows(x) * k[0]).sum((2, 3)) + c).ravel() for k, c in zip(K2, kb, strict=True)])
        )

    flat = ("Flatten", ["p"], "v", {})
    view = [
        ("Conv", ["x", "K", "k"], "c", {}),
        ("Relu", ["c"], "r", {}),
        ("Shape", ["r"], "s", {}),
        ("Gather", ["s", "zero"], "t", {}),
        ("Unsqueeze", ["t", "axis"], "u", {}),
        ("Concat", ["u", "rest"], "w", {"axis": 0}),
        ("Reshape", ["r", "w"], "v", {}),
        tail,
    ]
    ends, pads = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])}, np.array([0, 0, 1, 1] * 2)
    half = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
    move = {"W": Q, "b": b}
    return {
        "weight first": (
            [("MatMul", ["W", "x"], "a", {}), ("Add", ["a", "b"], "y", {})],
            {"W": W, "b": b},
            [2],
            lambda x: W @ x + b,
        ),
        "weight first, a column": (
            [("MatMul", ["W", "x"], "a", {}), ("Add", ["b", "a"], "y", {})],
            {"W": W, "b": b[:, None]},
            [2, 1],
            lambda x: W @ x + b,
        ),
        "a weight transposed": (
            [("Transpose", ["W"], "t", {"perm": [1, 0]}), ("MatMul", ["x", "t"], "y", {})],
            {"W": W},
            [1, 2],
            lambda x: W @ x,
        ),
        "three dimensions": ([("MatMul", ["x", "W"], "y", {})], {"W": S.T.copy()}, [1, 1, 4], lambda x: S @ x),
        "a sum": (
            [("MatMul", ["x", "W"], "a", {}), ("Sum", ["a", "b", "b"], "y", {})],
            {"W": V, "b": b},
            ["N", 3],
            lambda x: x @ V + 2 * b,
        ),
        "the larger of 0": (
            [("Gemm", ["x", "W"], "a", {"transB": 1}), ("Max", ["a", "z"], "v", {}), tail],
            {"W": V, "b": b, "z": np.float32([0])},
            [1, 3],
            lambda x: V @ relu(V @ x) + b,
        ),
        "minus ReLU": (
            [("Gemm", ["x", "W"], "a", {"transB": 1}), ("Relu", ["a"], "r", {}), ("Neg", ["r"], "y", {})],
            {"W": V},
            [1, 3],
            lambda x: -relu(V @ x),
        ),
        "signs": (
            [("Gemm", ["x", "W"], "a", {"transB": 1}), ("Sign", ["a"], "v", {}), tail],
            {"W": V, "b": b},
            [1, 3],
            lambda x: V @ np.sign(V @ x) + b,
        ),
        "squeezed": (
            [("Squeeze", ["x", "axis"], "v", {}), tail],
            {"W": S, "b": b, "axis": np.array([1])},
            [1, 1, 4],
            lambda x: S @ x + b,
        ),
        "padded": (
            [("Pad", ["x", "pads"], "p", {}), flat, tail],
            {"W": P, "b": b, "pads": pads},
            [1, 1, 8, 8],
            lambda x: P @ np.pad(x.reshape(8, 8), 1).ravel() + b,
        ),
        "an image by a matrix": (
            [("MatMul", ["x", "H"], "y", {})],
            {"H": H},
            [1, 1, 4, 4],
            lambda x: (x.reshape(4, 4) @ H).ravel(),
        ),
        "an image transposed": (
            [("Transpose", ["x"], "p", {"perm": [0, 2, 3, 1]}), flat, tail],
            move,
            [1, 2, 2, 4],
            lambda x: Q @ x.reshape(2, 2, 4).transpose(1, 2, 0).ravel() + b,
        ),
        "sliced": (
            [("Slice", ["x", "from", "to", "axis"], "v", {}), tail],
            {"W": S, "b": b, "from": np.array([1]), "to": np.array([5]), "axis": np.array([1])},
            [1, 6],
            lambda x: S @ x[1:5] + b,
        ),
        "pooled, the last window cut": (
            [("AveragePool", ["x"], "p", half), flat, tail],
            {"W": S, "b": b},
            [1, 1, 3, 3],
            lambda x: S @ [x.reshape(3, 3)[i : i + 2, j : j + 2].mean() for i in (0, 2) for j in (0, 2)] + b,
        ),
        "means and sums": (
            [("ReduceMean", ["x"], "m", {"axes": [3]}), ("ReduceSum", ["m", "axis"], "y", {})],
            {"axis": np.array([2])},
            [1, 2, 3, 4],
            lambda x: x.reshape(2, 3, 4).mean(2).sum(1),
        ),
        "one dimension": (
            [("Conv", ["x", "K"], "p", {}), flat, tail],
            {"K": K1, "W": R, "b": b},
            [1, 1, 8],
            lambda x: R @ np.concatenate([np.correlate(x, k[0]) for k in K1]) + b,
        ),
        "groups": ([("Conv", ["x", "G"], "y", {"group": 2})], {"G": G}, [1, 2, 3, 3], grouped),
        "transposed convolution": ([("ConvTranspose", ["x", "D"], "y", {})], {"D": D}, [1, 1, 2, 2], transposed),
        "x.view(x.size(0), -1)": (
            view,
            {"K": K2, "k": kb, "W": T, "b": c4, **ends},
            [1, 1, 8, 8],
            lambda x: T @ convolved(x) + c4,
        ),
    }


@pytest.mark.parametrize("name", forms(np.random.default_rng(0)))
def test_linear_operations_in_every_form(name, rng, tmp_path):
    """Files of others, one operation each, against NumPy."""
    nodes, weights, shape, function = forms(rng)[name]
    network = FeedForward.from_onnx(saved(tmp_path, model(nodes, weights, shape)))
    for x in rng.standard_normal((4, network.input_size)):
        np.testing.assert_allclose(network.logits(x), np.ravel(function(x)), rtol=1e-6, atol=1e-6)


def test_the_sign_of_zero_is_zero_and_bounds_hold_both_sides(tmp_path):
    """Exactly, with either sign of the zero; bounds and verdicts know that all three values are reached."""
    one = np.ones((1, 1), np.float32)
    proto = model([("MatMul", ["x", "W"], "a", {}), ("Sign", ["a"], "y", {})], {"W": one}, [1, 1])
    network = FeedForward.from_onnx(saved(tmp_path, proto))
    assert network.logits([[0.0], [-0.0], [1e-300], [-5.0]]).ravel().tolist() == [0, 0, 1, -1]
    for low, high, values in ((-1, 1, (-1, 1)), (0, 1, (0, 1)), (-1, 0, (-1, 0)), (0, 0, (0, 0)), (0.5, 1, (1, 1))):
        for method in RELAXATIONS:
            found = bounds(network, InputSet.boxes([low], [high]), method)
            assert found.output_lower <= values[0] and found.output_upper >= values[1], (low, high, method)
            assert low < 0.5 or (found.output_lower > 0.99 and found.output_upper < 1.01)
    declared = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 1))"
    answers = [
        certify_property(network, parse_vnnlib(f"{declared}(assert {one})")) for one in ("(>= Y_0 0.5)", "(> Y_0 2)")
    ]
    assert [answer.verdict.value for answer in answers] == ["falsified", "certified"]


def test_the_table_of_operations_is_made_from_the_readers():
    from tightrope.networks import onnx_reader, torch_reader

    table = (Path(__file__).parents[2] / "CONVENTIONS.md").read_text()
    assert f"| ONNX | {onnx_reader.supported()} |" in table
    assert f"| torch | {torch_reader.SUPPORTED} |" in table


def test_moved_entries_are_no_layer_of_their_own(rng, tmp_path):
    """A permutation before a matrix is the matrix with its columns permuted, exactly."""
    for name in ("an image transposed", "sliced", "padded"):
        nodes, weights, shape, _ = forms(rng)[name]
        (layer,) = FeedForward.from_onnx(saved(tmp_path, model(nodes, weights, shape))).layers
        assert isinstance(layer, Dense)
        assert set(layer.weight.ravel()) <= {0.0, *weights["W"].astype(float).ravel()}


def test_a_packed_file_is_read(tmp_path, rng):
    """As the benchmarks of verifiers publish theirs: .onnx.gz; another .gz is no network."""
    path = tmp_path / "net.onnx.gz"
    packed = gzip.compress(dense(rng).SerializeToString())
    path.write_bytes(packed)
    plain = load(saved(tmp_path, gzip.decompress(packed)))
    assert load(path).sha256() == plain.sha256()
    path.write_bytes(packed[:-20])
    with pytest.raises(CorruptDataError, match=r"net\.onnx\.gz is not a whole ONNX file"):
        load(path)
    with pytest.raises(TightropeError, match="unknown network file type"):
        load(tmp_path / "net.npz.gz")
