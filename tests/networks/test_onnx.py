"""ONNX files: what is read computes the same, what is not read is named, hostile files are errors."""

import gzip

import numpy as np
import pytest

from tightrope.errors import CorruptDataError, MissingDataError, NetworkError, TightropeError
from tightrope.networks import Composition, Convolution, Dense, FeedForward, load

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


@pytest.mark.parametrize("make", [dense, convolutional])
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
        ([("Sigmoid", ["x"], "y", {})], {}, [1, 3], r"node 0 \(Sigmoid\) is not supported. Supported: Gemm"),
        ([("Relu", ["x"], "z", {}), ("Add", ["x", "z"], "y", {})], {}, [1, 3], "joins two branches"),
        ([("MatMul", ["x", "W"], "y", {})], E3, [1, 4], r"a matrix \(3, 3\) for values of shape \(N, \*\(4,\)\)"),
        ([("MatMul", ["W", "x"], "y", {})], E3, [3, 1], "batch dimension"),
        ([("MatMul", ["x", "W"], "y", {})], E3, [28, 3], "the input has the shape"),
        ([("MatMul", ["x", "W"], "y", {})], E3, [1, "height"], "the input has the shape"),
        ([("MatMul", ["x", "V"], "y", {})], E3, [1, 3], "needs 'V', which nothing before it makes"),
        ([("Gemm", ["x", "W"], "y", {"transA": 1})], E3, [1, 3], "transA"),
        ([("Gemm", ["x", "W"], "y", {})], {"W": np.full((3, 3), np.nan)}, [1, 3], "entries that are nan"),
        ([("Flatten", ["x"], "y", {"axis": 0})], {}, [1, 3], "axis=0"),
        ([("Reshape", ["x", "s"], "y", {})], {"s": np.array([2, 3])}, [1, 6], "batch must stay"),
        ([("Div", ["x", "z"], "y", {})], {"z": np.zeros(3, np.float32)}, [1, 3], "division by zero"),
        ([("Conv", ["x", "K"], "y", {"group": 2})], {"K": np.ones((2, 1, 1, 1), np.float32)}, [1, 2, 2, 2], "group=2"),
        ([("Conv", ["x", "K"], "y", {})], {"K": np.ones((1, 1, 3, 3), np.float32)}, [1, 1, 2, 2], "kernel .* larger"),
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
