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
from tightrope.networks.activations import ELU, RELU, Activation, LeakyReLU, MaxPool, Sigmoid, Tanh
from tightrope.networks.graph import Node, Signal, added, assemble, concatenated, matrix, moved
from tightrope.networks.layers import Convolution, Dense, Scaling, average, forward, merged
from tightrope.propagation import backsubstitution
from tightrope.propagation.backsubstitution import form_bounds
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


def value_of(node, rows):
    """What a node is, of the input's rows, source by source."""
    if node.part is None:
        return rows
    together = np.concatenate([value_of(source, rows) for source in node.sources], axis=1)
    return node.part.value(together) if isinstance(node.part, Activation) else node.part.forward(together)


def random_graph(rng):
    """The output of random steps on images (1, c, h, w): everything that the readers make, with any signs."""

    def convolution(signal, channels):
        weight, bias = rng.standard_normal((channels, signal.shape[1], 3, 3)), 50 * rng.standard_normal(channels)
        layer = Convolution(weight, bias, signal.image, 1, 1)
        return signal.then(layer, (1, *layer.output_shape))

    def pooled(signal):
        pool = MaxPool(signal.image, (2, 2), (1, 1), (0, 0))
        return signal.then(pool, (1, *pool.output_shape))

    def averaged(signal):
        layer = average(signal.image, (2, 2), (1, 1), (0, 0))
        return signal.then(layer, (1, *layer.output_shape))

    def mirrored(signal):
        return matrix(signal, lambda x: x[..., ::-1] - 2 * x + 1, lambda x: x[..., ::-1] - 2 * x)

    def picked(signal):
        return moved([signal], [rng.integers(0, signal.node.size + 1, signal.shape)], [rng.choice([1.0, -1.0])])

    def step(last, earlier):
        steps = [
            lambda: convolution(last, int(rng.integers(1, 3))).then(kinds[rng.integers(len(kinds))]),
            lambda: added([convolution(last, earlier.shape[1]).then(RELU), earlier], rng.choice([1.0, -1.0, 0.5], 2)),
            lambda: concatenated([earlier, rng.choice([0.0, -1.0], last.shape), last], 1),
            lambda: last.scaled(rng.standard_normal((1, last.shape[1], 1, 1)), rng.choice([0.0, 9.0], last.shape)),
            lambda: convolution(last, 2),
            lambda: picked(last),
            lambda: mirrored(last),
            lambda: last.then(kinds[rng.integers(len(kinds))]),
        ]
        if min(last.shape[2:]) > 1:
            steps += [lambda: pooled(last), lambda: averaged(last), lambda: pooled(convolution(last, 2))]
        return steps[rng.integers(len(steps))]()

    kinds = [RELU, RELU, LeakyReLU(0.2), Tanh(), Sigmoid(), ELU()] if rng.random() < 0.3 else [RELU]
    x = Signal(Node(18), (1, 2, 3, 3))
    values = [x]
    for _ in range(rng.integers(3, 8)):
        last, earlier = values[-1], values[rng.integers(len(values))]
        if earlier.shape[2:] != last.shape[2:]:
            earlier = last
        values.append(step(last, earlier))
    last = Signal(values[-1].node, (1, values[-1].node.size))
    side = last.then(Dense(rng.standard_normal((last.node.size,) * 2) / 9, np.zeros(last.node.size))).then(RELU)
    return added([last, side], [1.0, 1.0]).node


def test_random_graphs_are_their_layers(rng):
    """Node by node, also far from where the readers compare; a value said to be never negative is none."""
    read = pools = 0
    rows = np.concatenate([size * rng.standard_normal((10, 18)) for size in (0, 1, 30, 1000)])
    rows = np.concatenate([rows, rng.uniform(0, 255, (20, 18))])
    for _ in range(300):
        output = random_graph(rng)
        nodes = [output]
        for node in nodes:
            nodes += [source for source in node.sources if source not in nodes]
        for node in nodes:
            assert not node.never_negative or (value_of(node, rows) >= 0).all()
        try:
            layers, activations = assemble(output)
        except NetworkError as error:
            assert "carried past" in str(error)
            continue
        expected = value_of(output, rows)
        *_, found = forward(layers, activations, rows)
        np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max(initial=1.0))
        read, pools = read + 1, pools + any(isinstance(one, MaxPool) for one in activations)
    assert read > 100 and pools > 10


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of the exporter
def test_max_pool_of_a_convolution_is_carried_with_its_sign(tmp_path):
    """Negative only for pixels above 150, where it leaves ReLU."""
    first, second, last = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.Linear(1, 1)
    for part, weight, bias in ((first, 1.0, -100.0), (second, -1.0, 50.0), (last, 0.0, -1.0)):
        nn.init.constant_(part.weight, weight)
        nn.init.constant_(part.bias, bias)

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = first, second, last

        def forward(self, x):
            m = nn.functional.max_pool2d(self.second(torch.relu(self.first(x))), 2).flatten(1)
            return m + torch.relu(self.last(m))

    torch.onnx.export(Pooled(), torch.zeros(1, 1, 2, 2), str(tmp_path / "net.onnx"), dynamo=False)
    for network in (FeedForward.from_torch(Pooled(), (1, 2, 2)), load(tmp_path / "net.onnx")):
        assert network.logits(np.full(4, 250.0)) == pytest.approx([-100.0])


class Between(nn.Module):
    """A pool between two sparse layers."""

    def forward(self, x):
        h = torch.relu(x[:, :, :, 1:] - x[:, :, :, :-1])
        p = nn.functional.max_pool2d(h - 0.3 * h.transpose(2, 3), 2)
        p = p.flatten(1)
        return torch.relu(torch.cat([p, 2 * p[:, :1] - p[:, 1:2], p[:, 2:3] - p[:, 1:2]], 1))


@pytest.mark.parametrize("name", ["two blocks", "identity", "ReLU before", "a pool"])
@pytest.mark.parametrize("method", ["crown", "deepz", "crown_0"])
def test_groups_of_near_neurons_have_the_bounds_of_the_whole(name, method, monkeypatch):
    """Without what a group does not see, and what is 0: the same numbers as from all neurons at once."""
    monkeypatch.setattr(backsubstitution, "TOGETHER", 5)
    module, shape = (Between(), (1, 4, 5)) if name == "a pool" else made(name)
    network = FeedForward.from_torch(module, shape)
    images = np.random.default_rng(2).random((2, network.input_size))
    inputs = InputSet.boxes(images - 0.1, images + 0.1)

    def whole(layer, layers, lines, inputs):
        return form_bounds(layer.rows(0, layer.outputs)[None], layer.bias[None], layers, lines, inputs)

    with torch.no_grad():
        found = bounds(network, inputs, method)
        monkeypatch.setattr(backsubstitution, "_near", whole)
        expected = bounds(network, inputs, method)
    for side in ("lower", "upper", "output_lower", "output_upper"):
        for one, other in zip(getattr(found, side), getattr(expected, side), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


class InPlace(nn.Module):
    """Linear layers and what a function makes of their results h, z and the input; `asks` needs torch.export."""

    def __init__(self, function, asks):
        super().__init__()
        self.first, self.second, self.r = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(inplace=True)
        self.function, self.asks = function, asks

    def forward(self, x):
        if self.asks and x.shape[1] != 4:
            raise ValueError("another shape")
        h = self.first(x)
        return self.function(self, h, self.second(h), x)


def renamed(m, h, z, x):
    y = h
    y += torch.relu(z - 1000)
    return y + h


def view_of_it(m, h, z, x):
    v = h.view(-1, 2, 2).flatten(1)
    torch.relu_(h)
    return z + v


def part_of_it(m, h, z, x):
    h.chunk(2, 1)[0].mul_(2.0)
    return h + z


def itself(m, h, z, x):
    h.relu_()
    return h + z


def twice(m, h, z, x):
    before = h + 1
    h.relu_()
    v = h.view(-1, 4)
    z.add_(h).neg_()
    return torch.cat([before, v, z + h], 1)


def transposed(m, h, z, x):
    t = h.T
    t -= 1.0
    return h + z


@pytest.mark.parametrize("asks", [False, True])
def test_changes_in_place_are_read_where_nobody_else_sees_them(asks):
    """ReLU and sums of residual blocks; refused by name otherwise, also where no sample would show it."""
    read = [lambda m, h, z, x: m.second(m.r(z)) + h, lambda m, h, z, x: h + z.relu_()]
    read += [lambda m, h, z, x: m.r(z.add_(h)) + x, lambda m, h, z, x: h + m.r(m.r(z))]

    def summed(m, h, z, x):
        z += h
        return m.second(m.r(z)) + h

    def ours(m, h, z, x):
        return m.second(m.r(h)) + h

    for function in (*read, summed, renamed, itself, ours, twice):
        module = InPlace(function, asks).double()
        rows = 1e5 * torch.randn(5, 4, dtype=torch.float64)
        expected = module(rows.clone()).detach().numpy()
        np.testing.assert_allclose(FeedForward.from_torch(module, (4,)).logits(rows.numpy()), expected, rtol=1e-6)
    for function in (view_of_it, transposed):
        with pytest.raises(NetworkError, match=r"changes in place what .* shares, which is used again after it"):
            FeedForward.from_torch(InPlace(function, asks), (4,))
    with pytest.raises(NetworkError, match=r"in place|being modified"):
        FeedForward.from_torch(InPlace(part_of_it, asks), (4,))


def test_a_matrix_of_zeros_is_a_layer():
    """As one stored zero, for files; a graph whose moves leave nothing is read."""
    assert Sparse.of(np.zeros((2, 3)), [1.0, 2.0]).forward(np.ones((1, 3))).tolist() == [[1.0, 2.0]]
    x = Signal(Node(2), (1, 2))
    layers, activations = assemble(moved([x.then(RELU)], [np.zeros((1, 3), dtype=int)]).node)
    assert FeedForward(layers, activations=activations).logits([1.0, 2.0]).tolist() == [0.0, 0.0, 0.0]


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
        ({"columns": np.array([2**64 - 1, 2], np.uint64)}, "columns: expected 2 integers of at least 0"),
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
