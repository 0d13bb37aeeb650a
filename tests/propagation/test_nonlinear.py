"""Networks of every nonlinearity: no bound is below a sample, and LP-ALL is as tight as the linear program."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from tightrope.errors import InputError, NetworkError
from tightrope.networks import (
    ELU,
    Arctan,
    Composition,
    Convolution,
    Dense,
    FeedForward,
    LeakyReLU,
    MaxPool,
    ReLU,
    Scaling,
    Sigmoid,
    Step,
    Tanh,
)
from tightrope.propagation import alpha, backsubstitution
from tightrope.propagation.alpha import Triangles
from tightrope.propagation.bounds import bounds
from tightrope.propagation.certify import proven_margins
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import METHODS, layerwise
from tightrope.propagation.lines import RELAXATIONS
from tightrope.propagation.operators import DenseOperator, operators
from tightrope.propagation.rounding import allowance
from tightrope.properties import parse_vnnlib
from tightrope.question import Limits, Question
from tightrope.regions import Ball
from tightrope.verifiers.barrier import barrier, lagrangian
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.mixed_integer import mixed_integer
from tightrope.verifiers.properties import certify_property
from tightrope.verifiers.robustness import certify
from tightrope.verifiers.triangle import layerwise_bounds

ONE_VARIABLE = (LeakyReLU(0.1), LeakyReLU(-0.5), ELU(), Sigmoid(), Tanh(), Arctan(), Step())


def dense(rng, between, sizes=(5, 7, 6, 3)):
    """A random network; the middle layer is a composition, whose matrix is multiplied."""
    layers = [Dense(rng.standard_normal((n, k)) / np.sqrt(k), rng.standard_normal(n)) for k, n in pairwise(sizes)]
    scale = Scaling(rng.uniform(0.5, 2, sizes[2]), rng.standard_normal(sizes[2]))
    return FeedForward((layers[0], Composition((layers[1], scale)), layers[2]), "", between)


def pooled(rng, one, overlapping=False, padded=False):
    first = Convolution(rng.standard_normal((2, 1, 3, 3)) / 3, rng.standard_normal(2), (1, 4, 4), 1, 1)
    pool = MaxPool(first.output_shape, 2, 1 if overlapping else 2, int(padded))
    second = Dense(rng.standard_normal((5, pool.outputs(32))) / 3, rng.standard_normal(5))
    return FeedForward((first, second, Dense(rng.standard_normal((3, 5)), rng.standard_normal(3))), "", (pool, one))


NETWORKS = {
    **{repr(one): lambda rng, one=one: dense(rng, (one, one)) for one in ONE_VARIABLE},
    "tanh, then ReLU": lambda rng: dense(rng, (Tanh(), ReLU())),
    "ReLU, then step": lambda rng: dense(rng, (ReLU(), Step())),
    "max pooling, then sigmoid": lambda rng: pooled(rng, Sigmoid()),
    "padded windows, then ReLU": lambda rng: pooled(rng, ReLU(), padded=True),
    "windows that overlap, then leaky ReLU": lambda rng: pooled(rng, LeakyReLU(0.2), overlapping=True),
}


@pytest.mark.parametrize("norm", [1, 2, np.inf])
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_no_bound_is_below_a_sample(make, norm, rng):
    """On small and large balls, by every method; hidden bounds too, of which the lines are made."""
    for radius in (0.02, 0.3, 2.0):
        network = make(rng)
        region = Ball(rng.standard_normal(network.input_size), radius, norm)
        points = np.vstack([region.sample(300, rng), region.center])
        label = int(network.predict(region.center))
        logits = network.logits(points)
        largest = (logits - logits[:, [label]]).max(0)
        hidden = network.preactivations(points)[:-1]
        for name in (*RELAXATIONS, *(METHODS if norm == np.inf else ())):
            found = proven_margins(network, region, label, name)
            assert (found >= largest).all(), name
        with torch.no_grad():
            for name in RELAXATIONS:
                found = bounds(network, InputSet.from_balls([region]), name)
                for low, high, seen in zip(found.lower, found.upper, hidden, strict=True):
                    assert (low.numpy() <= seen).all() and (seen <= high.numpy()).all()


@pytest.mark.parametrize("name", ["deepz", "crown"])
def test_a_convolution_above_max_pooling(name, rng, monkeypatch):
    """Bounded by patches it would be misread; in groups its lines must know their windows."""
    first = Convolution(rng.standard_normal((2, 1, 3, 3)), rng.standard_normal(2), (1, 8, 8), 1, 1)
    pool = MaxPool(first.output_shape, 2, 2)
    second = Convolution(rng.standard_normal((2, 2, 3, 3)), rng.standard_normal(2), pool.output_shape, 1, 1)
    last = Dense(rng.standard_normal((3, second.output_size)), rng.standard_normal(3))
    network = FeedForward((first, second, last), "", (pool, ReLU()))
    x = rng.standard_normal((3, 64))
    inputs = InputSet.boxes(x - 0.05, x + 0.05)
    monkeypatch.setattr(backsubstitution, "CACHED", 200)
    with torch.no_grad():
        found = bounds(network, inputs, name)
    whole = bounds(network, inputs, name)  # with gradients, all at once
    torch.testing.assert_close(found.output_upper, whole.output_upper, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.lower, whole.lower, rtol=1e-9, atol=1e-9)


def test_the_allowance_counts_the_terms_below_max_pooling(rng):
    """A form above one window goes back to a sum over all 900 of its inputs."""
    n, unit = 900, torch.finfo(torch.float64).eps / 2
    first = Dense(rng.standard_normal((n, 1)), np.zeros(n))
    network = FeedForward((first, Dense([[1.0], [0.0]], [0.0, 0.0])), "", (MaxPool((1, 30, 30), 30, 30),))
    inputs = InputSet.boxes(np.array([0.5]), np.array([1.0]))
    found = bounds(network, inputs, "crown")
    terms = np.abs(first.weight).sum()
    assert float(allowance(network, inputs, found)) > n * unit * terms
    layers = operators(network)
    triangles = Triangles(layers[:1], found.lower, found.upper)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    assert float(alpha.allowance(one, one[0], triangles, inputs, alpha.Dual(()))) > n * unit * terms


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_a_point_has_its_own_margins(make, rng):
    """On a ball of radius 0 every relaxation is exact, but for what rounding may cost."""
    network = make(rng)
    x = rng.standard_normal(network.input_size)
    label = int(network.predict(x))
    want = network.logits(x) - network.logits(x)[label]
    for name in ("box", "hbox", "deepz", "crown", "lp-all"):
        np.testing.assert_allclose(proven_margins(network, Ball(x, 0.0, np.inf), label, name), want, atol=1e-6)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_more_work_is_no_looser(make, rng):
    """LP-LAST below LP-GREEDY and LP-ALL below CROWN: their searches start there."""
    network = make(rng)
    region = Ball(rng.standard_normal(network.input_size), 0.2, np.inf)
    label = int(network.predict(region.center))
    found = {name: proven_margins(network, region, label, name) for name in ("crown", *METHODS)}
    assert (found["lp-all"] <= found["crown"] + 1e-6).all()
    assert (found["lp-all"] <= found["lp-last"] + 1e-2 * (1 + np.abs(found["lp-last"]))).all()


ORACLES = [name for name in NETWORKS if "windows" not in name]


@pytest.mark.parametrize("name", ORACLES)
def test_theorems_4_1_and_4_2(name, rng):
    """Both ends of the chain agree: a feasible point, the relaxation's dual and the network's own dual."""
    network = NETWORKS[name](rng)
    region = Ball(rng.standard_normal(network.input_size), 0.2, np.inf)
    label = int(network.predict(region.center))
    target = (label + 1) % 3
    found = barrier(network, region, label, target)
    logits = network.logits(region.sample(500, rng))
    assert (logits[:, target] - logits[:, label]).max() <= found.problem_dual + 1e-9
    assert found.primal <= found.problem_dual + 1e-9 and found.primal <= found.relaxation_dual
    assert found.gap <= 1e-4 * (1 + abs(found.primal))


@pytest.mark.parametrize("name", ORACLES)
def test_the_dual_comes_near_the_linear_program(name, rng):
    """LP-ALL's search over slopes, on the program's own hidden bounds or better ones: no looser by more than 5 %."""
    network = NETWORKS[name](rng)
    region = Ball(rng.standard_normal(network.input_size), 0.1, np.inf)
    label = int(network.predict(region.center))
    target = (label + 1) % 3
    program = barrier(network, region, label, target)
    with torch.no_grad():
        found = layerwise(network, InputSet.from_balls([region]), label, "lp-all", steps=200)
    box = proven_margins(network, region, label, "box")[target]
    assert found.margins[target] <= program.relaxation_dual + 0.05 * (box - program.relaxation_dual) + 1e-6


def test_any_multipliers_give_a_bound(rng):
    """Weak duality (11): the Lagrangian at random mu is above every sample."""
    network = dense(rng, (Tanh(), Sigmoid()))
    region = Ball(rng.standard_normal(5), 0.3, np.inf)
    lower, upper = region.bounding_box()
    with torch.no_grad():
        found = bounds(network, InputSet.boxes(lower, upper), "box")
    hidden = [(a[0].numpy(), b[0].numpy()) for a, b in zip(found.lower, found.upper, strict=True)]
    W, b = network.layers[-1].dense()
    largest = network.logits(region.sample(500, rng))[:, 0].max() - b[0]
    for _ in range(20):
        mu = tuple(rng.standard_normal(n) for n in (7, 6))
        assert lagrangian(network, hidden, mu, W[0], (lower, upper)) >= largest


def test_steps_are_not_trusted_where_rounding_decides():
    """h = 0 exactly: both values of the closed graph count, though float64 sees one."""
    network = FeedForward.dense(([[1.0], [1.0]], [[1.0, -1.0], [0.0, 0.0]]), ([0.0, 0.1], [0.0, 0.0]), "", (Step(),))
    for name in ("box", "deepz", "crown", "lp-all"):
        low = proven_margins(network, Ball([0.0], 0.0, np.inf), 0, name)[1]  # 1 - step(0), which is 0 or 1
        assert low >= 1.0


@pytest.mark.parametrize("method", METHODS)
def test_steps_are_not_trusted_where_the_rounding_of_a_composition_decides(method):
    """The sum of the biases is -2^-52, and in float64, one after the other, 2^-52."""
    unit = 2.0**-52
    biases = [1.0, *[0.75 * unit] * 8, -(1 + 7 * unit)]
    middle = Composition(tuple(Dense([[1.0]], [bias]) for bias in biases))
    assert middle.dense()[1].item() == unit and sum(map(Fraction, biases)) == -Fraction(unit)
    last = Dense([[0.0], [-2.0]], [0.0, 1.0])
    network = FeedForward((Dense([[1.0]], [0.0]), middle, last), "", (ReLU(), Step()))
    assert proven_margins(network, Ball([-1.0], 0.5, np.inf), 0, method)[1] >= 1  # what it is everywhere


def test_certify_certifies_and_falsifies(rng):
    """A clear margin is proven, a wide ball is attacked; the reason says what is not for this network."""
    network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 0.0], [0.0, 1.0]]), ([0.0, 0.0], [0.0, 0.0]), "", (Tanh(),))
    assert certify(network, Ball([1.0], 0.5, np.inf), 0).verdict.value == "certified"
    assert certify(network, Ball([1.0], 0.5, np.inf), 0, method="crown").verdict.value == "certified"
    assert certify(network, Ball([1.0], 2.0, np.inf), 0).verdict.value == "falsified"
    report = certify(network, Ball([1.0], 0.5, np.inf), 0)
    assert report.certificates().proven
    open_question = FeedForward.dense(
        ([[1.0], [1.0]], [[1.0, -1.0], [0.0, 0.0]]), ([0.0, 0.0], [1e-3, 0.0]), "", (Tanh(),)
    )  # tanh(x) - tanh(x)
    report = certify(open_question, Ball([0.0], 3.0, np.inf), 0, attack=False)
    assert report.verdict.value in ("unknown", "certified")


def test_properties_of_smooth_networks():
    """A proof, a counterexample whose outputs are enclosed, and one that no enclosure can tell from the limit."""
    network = FeedForward.dense(([[1.0]], [[1.0]]), ([0.0], [0.0]), "", (Tanh(),))
    text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 1))"
    answers = {
        limit: certify_property(network, parse_vnnlib(text + f"(assert (>= Y_0 {limit}))"), Limits(time=5.0))
        for limit in ("0.8", "0.7", repr(float(np.tanh(1.0))))
    }
    assert [answer.verdict.value for answer in answers.values()] == ["certified", "falsified", "unknown"]
    assert np.tanh(answers["0.7"].counterexample) >= 0.7


@pytest.mark.parametrize("method", ["interior-point", "branch-and-bound", "milp"])
def test_methods_for_relu_refuse_by_name(method, rng):
    network = dense(rng, (Tanh(), Tanh()))
    with pytest.raises(NetworkError, match=f"{method}.* ReLU only, and this one has tanh; use crown, deepz or lp-all"):
        certify(network, Ball(np.zeros(5), 0.1, np.inf), 0, method=method)


def test_programs_for_relu_refuse_by_name(rng):
    network, region = dense(rng, (Sigmoid(), Sigmoid())), Ball(np.zeros(5), 0.1, np.inf)
    for run in (
        lambda: branch_and_bound(Question(network, region, 0)),
        lambda: mixed_integer(Question(network, region, 0)),
        lambda: layerwise_bounds(network, *region.bounding_box(), 0),
    ):
        with pytest.raises(NetworkError, match="ReLU only, and this one has sigmoid"):
            run()
    weight = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    layers = [
        DenseOperator(weight, torch.zeros(1).double(), activation=Tanh()),
        DenseOperator(weight, torch.zeros(1).double()),
    ]
    with pytest.raises(InputError, match="differentiated through ReLU only"):
        bounds(layers, InputSet.boxes([0.0], [1.0]), "crown")
