"""Networks with branches: the same function as the graph, and no bound of it below what it attains."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from tests.networks.test_onnx import floats, model, saved
from tests.soundness.bed import Bed
from tests.soundness.cases import JOINS, Case, branched
from tests.soundness.feedforward import compare
from tightrope.checker.__main__ import main
from tightrope.errors import NetworkError
from tightrope.networks import FeedForward, Sparse, load, to_module
from tightrope.networks.activations import RELU, LeakyReLU
from tightrope.networks.graph import Node, Signal, added, assemble
from tightrope.networks.layers import Dense, Scaling, merged
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.properties import parse_vnnlib
from tightrope.question import Verdict
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers.properties import certify_property
from tightrope.verifiers.robustness import certify


class Block(nn.Module):
    """relu(skip(x) + convolution(relu(convolution(x)))), with batch normalisation; `early` has ReLU before instead."""

    def __init__(self, channels: int, outputs: int, stride: int = 1, early: bool = False):
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, outputs, 3, stride, 1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        same = (channels, stride) == (outputs, 1)
        self.skip = nn.Identity() if same else nn.Conv2d(channels, outputs, 1, stride, bias=False)
        self.early = early

    def forward(self, x):
        y = torch.relu(x) if self.early else x
        y = self.norms[1](self.second(torch.relu(self.norms[0](self.first(y)))))
        y = y + self.skip(x)
        return y if self.early else nn.functional.relu(y)


class Heads(nn.Module):
    """Two heads of different depths, concatenated and compared with a third path, which leaves the input early."""

    def __init__(self):
        super().__init__()
        self.body, self.deep, self.flat = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(5, 2)
        self.past, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        z = self.body(x).relu()
        heads = torch.cat((nn.functional.leaky_relu(self.deep(z), 0.2), self.flat(z)), dim=1)
        return self.last(torch.relu(heads - self.past(x))) - x[:, :3]


def residual(*blocks: Block, side: int = 6, channels: int = 2) -> nn.Module:
    """Stem, blocks and a linear layer on images (1, side, side)."""
    outputs = blocks[-1].second.out_channels * (side // np.prod([block.first.stride[0] for block in blocks])) ** 2
    stem = nn.Conv2d(1, channels, 3, padding=1)
    return nn.Sequential(stem, nn.ReLU(), *blocks, nn.ReLU(), nn.Flatten(), nn.Linear(int(outputs), 3))


MODULES = {
    "identity": (lambda: residual(Block(2, 2)), (1, 6, 6)),
    "projection": (lambda: residual(Block(2, 3, 2)), (1, 6, 6)),
    "two blocks": (lambda: residual(Block(2, 2), Block(2, 3, 2)), (1, 6, 6)),
    "ReLU before": (lambda: residual(Block(2, 2, early=True), Block(2, 2, early=True), side=4), (1, 4, 4)),
    "heads": (Heads, (4,)),
}


def made(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    make, shape = MODULES[name]
    torch.manual_seed(1)
    module = make()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval(), shape


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of the exporter
def test_modules_and_their_exports_are_the_same_function(name, tmp_path):
    """Read by torch.fx, and from the file that torch.onnx writes; as file, module and matrices too."""
    module, shape = made(name)
    network = FeedForward.from_torch(module, shape)
    x = torch.randn(20, *shape)
    with torch.no_grad():
        expected = module(x).numpy()
    rows = x.flatten(1).double().numpy()
    np.testing.assert_allclose(network.logits(rows), expected, atol=1e-5)
    torch.onnx.export(module, x[:1], str(tmp_path / "net.onnx"), dynamo=False)
    exported = load(tmp_path / "net.onnx")
    np.testing.assert_allclose(exported.logits(rows), expected, atol=1e-4)
    assert exported.sizes == network.sizes and network.is_relu
    network.to_npz(tmp_path / "net.npz")
    assert load(tmp_path / "net.npz").sha256() == network.sha256()
    for same in (network.to_dense().logits(rows), to_module(network)(torch.tensor(rows)).detach().numpy()):
        np.testing.assert_allclose(same, network.logits(rows), atol=1e-9)


def graphs(rng):
    """Name -> (nodes, weights, input shape, the same in NumPy, of the flat input)."""
    A, B = floats(rng, 4, 4), floats(rng, 4, 4)
    weights = {"A": A, "B": B, "row": floats(rng, 1, 2)}

    def relu(v):
        return np.maximum(v, 0)

    two = [("MatMul", ["x", "A"], "a", {}), ("Relu", ["a"], "r", {}), ("MatMul", ["r", "B"], "b", {})]
    return {
        "difference": ([*two, ("Sub", ["x", "b"], "y", {})], [1, 4], lambda x: x - relu(x @ A) @ B),
        "sum of three, one twice": (
            [*two, ("Sum", ["b", "a", "b"], "y", {})],
            [1, 4],
            lambda x: 2 * relu(x @ A) @ B + x @ A,
        ),
        "nothing left": ([*two, ("Sub", ["a", "a"], "z", {}), ("Add", ["z", "b"], "y", {})], [1, 4], two_of(A, B)),
        "with constants": (
            [*two, ("Concat", ["row", "b", "x", "row"], "y", {"axis": 1})],
            [1, 4],
            lambda x: np.concatenate([weights["row"][0], relu(x @ A) @ B, x, weights["row"][0]]),
        ),
        "broadcast": (
            [("ReduceMean", ["x"], "m", {"axes": [3]}), ("Relu", ["m"], "r", {}), ("Sub", ["x", "r"], "y", {})],
            [1, 1, 2, 4],
            lambda x: (x.reshape(2, 4) - relu(x.reshape(2, 4).mean(1, keepdims=True))).ravel(),
        ),
        "leaky beside": (
            [("MatMul", ["x", "A"], "a", {}), ("LeakyRelu", ["a"], "r", {"alpha": 0.25}), ("Add", ["r", "x"], "y", {})],
            [1, 4],
            lambda x: np.where(x @ A > 0, x @ A, 0.25 * x @ A) + x,
        ),
        "tanh before": (
            [
                ("Tanh", ["x"], "t", {}),
                ("MatMul", ["t", "A"], "a", {}),
                ("Relu", ["a"], "r", {}),
                ("Add", ["r", "t"], "y", {}),
            ],
            [1, 4],
            lambda x: relu(np.tanh(x) @ A) + np.tanh(x),
        ),
    }, weights


def two_of(A, B):
    return lambda x: np.maximum(x @ A, 0) @ B


@pytest.mark.parametrize("name", graphs(np.random.default_rng(0))[0])
def test_joins_of_onnx_files(name, rng, tmp_path):
    """Against NumPy."""
    found, weights = graphs(rng)
    nodes, shape, function = found[name]
    network = FeedForward.from_onnx(saved(tmp_path, model(nodes, weights, shape)))
    for x in rng.standard_normal((5, network.input_size)):
        np.testing.assert_allclose(network.logits(x), function(x), atol=1e-5)


@pytest.mark.parametrize("join", JOINS)
def test_every_method_against_exact_answers(join, rng):
    """CROWN, LP-ALL, alpha, branch and bound, and the files of their proofs: never below what is attained."""
    network = branched(np.random.default_rng(3), join)
    region = Ball(np.round(rng.standard_normal(network.input_size), 3), 0.7, INFINITY)
    case = Case(0, 0, "feedforward", "branches", "linf", network, region)
    bed = Bed(case=case)
    compare(case, bed)
    assert not bed.wrong and sum(bed.comparisons.values()) > 100
    proven = [method for method in bed.comparisons if method.startswith("certificate")]
    assert proven and bed.comparisons["branch and bound"] + bed.comparisons["lp-all"] > 0


def test_what_is_carried_is_no_neuron_of_either_sign(rng):
    """Of a ReLU's value, by every relaxation, and by the triangles that rounding has moved apart."""
    x = Signal(Node(3), (1, 3))

    def dense(signal):
        return signal.then(Dense(rng.standard_normal((4, signal.node.size)), rng.standard_normal(4)), (1, 4))

    z = dense(x).then(RELU)
    joined = added([dense(dense(dense(z).then(RELU)).then(RELU)), z], [1, 1])
    layers, activations = assemble(dense(joined.then(RELU)).node)
    network = FeedForward(layers, activations=activations)
    assert network.sizes == (3, 4, 8, 8, 4, 4) and isinstance(network.layers[1], Sparse)
    inputs = InputSet.boxes(-np.ones(3), np.ones(3))
    carried = [np.flatnonzero(np.diff(layer.starts) == 1) for layer in network.layers[1:3]]
    triangles = layerwise(network, inputs, 0, "lp-all").triangles
    for method in ("box", "crown_ibp", "hbox", "deepz", "crown", "crown_0"):
        found = bounds(network, inputs, method)
        assert (found.lower[0] < 0).any() and (found.upper[0] > 0).any()
        for low in (found.lower, triangles.lower):
            assert all((low[i][:, rows] >= 0).all() for i, rows in enumerate(carried, start=1))
    samples = network.logits(inputs.lower.numpy() + 2 * rng.random((2000, 3)))
    assert (found.output_upper.numpy() >= samples.max(0)).all()


def test_signed_values_are_carried_in_two_parts(rng):
    """x + A relu(B relu(C x)) has relu(x) and relu(-x) beside both ReLUs; leaky ReLU beside them is two parts too."""
    x = Signal(Node(2), (1, 2))
    y = x.then(Dense(rng.standard_normal((3, 2)), np.zeros(3)), (1, 3)).then(LeakyReLU(0.5))
    layers, activations = assemble(
        added([y.then(Dense(rng.standard_normal((2, 3)), np.ones(2)), (1, 2)), x], [1, 1]).node
    )
    assert [layer.output_size for layer in layers] == [2 * 3 + 2 * 2, 2] and activations == (RELU,)


def test_residual_networks_answer_questions(tmp_path):
    """Certified and falsified images, a certificate of the first, and a property of the outputs."""
    module, shape = made("two blocks")
    network = FeedForward.from_torch(module, shape)
    image = np.random.default_rng(2).random(36)
    label = network.predict(image)
    near, far = (certify(network, Ball(image, radius, INFINITY), label) for radius in (0.002, 3.0))
    assert near.verdict is Verdict.CERTIFIED and far.verdict is Verdict.FALSIFIED
    near.certificates().save(tmp_path / "image.cert")
    network.to_npz(tmp_path / "net.npz")
    assert main([str(tmp_path / "image.cert"), "--network", str(tmp_path / "net.npz")]) == 0
    score = float(network.logits(image)[label])
    declared = "".join(f"(declare-const {v} Real)" for v in [*(f"X_{i}" for i in range(36)), "Y_0", "Y_1", "Y_2"])
    box = "".join(f"(assert (<= X_{i} {v + 0.002}))(assert (>= X_{i} {v - 0.002}))" for i, v in enumerate(image))
    for limit, verdict in ((score + 0.5, Verdict.CERTIFIED), (score - 0.5, Verdict.FALSIFIED)):
        asked = parse_vnnlib(f"{declared}{box}(assert (>= Y_{label} {limit}))")
        assert certify_property(network, asked).verdict is verdict


def test_matrices_are_multiplied_only_where_no_number_is_rounded():
    """Bias after a matrix, signs and moves; not scales, sums of two products, or two biases."""
    W = Dense([[0.1, 0.3], [0.7, -0.2]], [0.0, 0.0])
    signs = Sparse.of(np.array([[0.0, -1.0], [1.0, 0.0]]), np.zeros(2))
    np.testing.assert_array_equal(merged(W, Scaling([1.0, -1.0], [0.1, 0.3])).dense()[1], [0.1, 0.3])
    for first, second in itertools.permutations((W, signs)):
        np.testing.assert_array_equal(merged(first, second).weight, second.dense()[0] @ first.dense()[0])
    add = Sparse.of(np.array([[1.0, 1.0]]), np.zeros(1))
    for first, second in ((W, W), (W, Scaling([3.0, 1.0], [0, 0])), (W, add), (Dense(np.eye(2), [1, 2]), W)):
        assert merged(first, second) is None
    assert merged(merged(W, Scaling([1, 1], [0.1, 0.1])), Scaling([1, 1], [0.1, 0.1])) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": [0, 0]}, "columns: expected numbers below 3 that rise in each row"),
        ({"columns": [0, 3]}, "columns: expected numbers below 3"),
        ({"columns": [-1, 2]}, "columns: expected 2 integers of at least 0"),
        ({"starts": [0, 1, 1]}, "starts: expected 3 numbers that rise from 0 to 2"),
        ({"starts": [0, 3, 2]}, "starts: expected 3 numbers that rise"),
        ({"starts": [0, 2]}, "starts: expected 3 integers"),
        ({"inputs": 0}, "inputs: expected 1 integers of at least 1"),
    ],
)
def test_bad_compressed_rows_are_named(change, message):
    """Of a file, for instance."""
    fields = {"weight": [1.0, 2.0], "columns": [0, 2], "starts": [0, 2, 2], "inputs": 3, "bias": [0.0, 0.0]}
    assert Sparse(**fields).dense()[0].tolist() == [[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    with pytest.raises(NetworkError, match=message):
        Sparse(**(fields | change))


@pytest.mark.long
def test_a_residual_network_of_real_images():
    """3 x 32 x 32, two blocks of 8 and 16 channels: CROWN in a gigabyte, never below what samples attain."""
    torch.manual_seed(0)
    blocks = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), Block(8, 8), Block(8, 16, 2)]
    module = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(16 * 16 * 16, 10)).eval()
    network = FeedForward.from_torch(module, (3, 32, 32))
    assert network.sizes == (3072, 8192, 16384, 8192, 12288, 4096, 10)
    image = np.random.default_rng(0).random(3072)
    with torch.no_grad():
        found = bounds(network, InputSet.boxes(image - 0.001, image + 0.001), "crown")
    for low, high in zip(found.lower, found.upper, strict=True):
        assert ((low < 0) & (high > 0)).float().mean() < 0.05
    samples = network.logits(image + np.random.default_rng(1).uniform(-0.001, 0.001, (50, 3072)))
    assert (found.output_lower[0].numpy() <= samples.min(0)).all()
    assert (found.output_upper[0].numpy() >= samples.max(0)).all()
