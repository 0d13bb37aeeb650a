"""LP-GREEDY, LP-LAST and LP-ALL by the dual, against linear programs and sampled points."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tightrope.errors import InputError, UnknownNameError
from tightrope.networks import Convolution, Dense, FeedForward
from tightrope.propagation.alpha import Triangles, minimise
from tightrope.propagation.backsubstitution import upper_bounds
from tightrope.propagation.bounds import bounds, specification
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import METHODS, TOGETHER, layerwise, layerwise_each
from tightrope.propagation.lines import crown_lines
from tightrope.propagation.operators import DenseOperator, operators
from tightrope.regions import Ball
from tightrope.solvers.highs import LinearProgram
from tightrope.verifiers.triangle import add_layer, layerwise_bounds


def random_network(seed: int, sizes=(6, 8, 8, 3)) -> FeedForward:
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes, strict=False))
    return FeedForward.dense([rng.standard_normal(s) for s in shapes], [rng.standard_normal(s[0]) for s in shapes])


def box(network: FeedForward, seed: int, radius: float) -> InputSet:
    center = np.random.default_rng(seed + 7).standard_normal((1, network.input_size))
    return InputSet.boxes(center - radius, center + radius)


def worst_by_program(network, inputs, lower, upper, label) -> float:
    """LP-LAST's optimum: the triangles of given hidden bounds, margins by linear programs."""
    program = LinearProgram()
    below = program.add_columns(inputs.lower[0].numpy(), inputs.upper[0].numpy())
    for layer, low, high in zip(network.layers, lower, upper, strict=False):
        below = add_layer(program, below, "triangle", layer, low, high)
    W, b = network.weights[-1], network.biases[-1]
    return max(
        program.maximise(below, W[k] - W[label]).bound + b[k] - b[label] for k in range(network.classes) if k != label
    )


@pytest.mark.parametrize("seed", range(6))
def test_dual_optimum_is_the_programs(seed):
    """LP-ALL by the dual reaches the optimum of the linear programs, from above."""
    network = random_network(seed)
    inputs = box(network, seed, 0.3)
    label = network.predict(inputs.lower[0].numpy() + 0.3)
    exact = layerwise_bounds(network, inputs.lower[0].numpy(), inputs.upper[0].numpy(), label)
    found = layerwise(network, inputs, label, "lp-all", steps=400, dtype=torch.float64)
    assert (found.margins.numpy() >= exact.margins - 1e-7).all()
    np.testing.assert_allclose(found.worst, exact.worst, atol=2e-3 * (1 + abs(exact.worst)))
    few = layerwise(network, inputs, label, "lp-all", steps=5)
    assert few.worst >= exact.worst - 1e-7


@pytest.mark.parametrize("seed", range(6))
def test_lp_last_optimum_is_the_programs(seed):
    network = random_network(seed)
    inputs = box(network, seed, 0.3)
    found = layerwise(network, inputs, 0, "lp-last", steps=400, dtype=torch.float64)
    hidden = [[t[0].numpy() for t in side] for side in (found.triangles.lower, found.triangles.upper)]
    exact = worst_by_program(network, inputs, *hidden, 0)
    assert found.worst >= exact - 1e-7
    np.testing.assert_allclose(found.worst, exact, atol=2e-3 * (1 + abs(exact)))


@pytest.mark.parametrize("seed", range(8))
def test_order_and_samples(seed):
    """Sampled margins <= LP-ALL <= LP-LAST <= LP-GREEDY, which is DeepZ."""
    network = random_network(seed, (5, 7, 6, 6, 4))
    inputs = box(network, seed, 0.25)
    label = int(seed % 4)
    found = {m: layerwise(network, inputs, label, m, steps=200, dtype=torch.float64) for m in METHODS}
    x = np.random.default_rng(seed).uniform(inputs.lower[0], inputs.upper[0], (2000, network.input_size))
    logits = network.logits(x)
    margins = (logits - logits[:, [label]]).max(0)
    others = np.arange(4) != label
    for method in METHODS:
        assert (margins <= found[method].margins.numpy() + 1e-12)[others].all()
    for tighter, looser in (("lp-all", "lp-last"), ("lp-last", "lp-greedy")):
        assert (found[tighter].margins <= found[looser].margins + 1e-4)[others].all()
    deepz = bounds(network, inputs, "deepz", [label]).margins[0]
    np.testing.assert_allclose(found["lp-greedy"].margins[others], deepz[others], atol=1e-9)
    hidden = network.preactivations(x)
    for h, low, high in zip(hidden, found["lp-all"].triangles.lower, found["lp-all"].triangles.upper, strict=False):
        assert (h >= low[0].numpy()).all() and (h <= high[0].numpy()).all()


def test_convolutions_are_their_matrices():
    rng = np.random.default_rng(3)
    layers = (
        Convolution(rng.standard_normal((3, 1, 3, 3)), rng.standard_normal(3), (1, 6, 6), 2, 1),
        Convolution(rng.standard_normal((2, 3, 2, 2)), rng.standard_normal(2), (3, 3, 3), 1, 0),
        Dense(rng.standard_normal((3, 8)), rng.standard_normal(3)),
    )
    network = FeedForward(layers)
    inputs = box(network, 1, 0.2)
    for method in METHODS:
        both = [layerwise(n, inputs, 0, method, dtype=torch.float64).margins for n in (network, network.to_dense())]
        np.testing.assert_allclose(*both, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_alpha_crown_has_the_same_optimum(seed):
    """alpha-CROWN with given hidden bounds: CROWN's back-substitution, lower slopes trained by autograd and Adam."""
    network = random_network(seed)
    inputs, label = box(network, seed, 0.3), 0
    found = layerwise(network, inputs, label, "lp-last", steps=400, dtype=torch.float64)
    layers, lines = found.triangles.layers, []
    for low, high in zip(found.triangles.lower, found.triangles.upper, strict=True):
        lines.append(crown_lines(low, high))
    alpha = [line.lower_slope.clone().requires_grad_(True) for line in lines]
    free = [(low < 0) & (high > 0) for low, high in zip(found.triangles.lower, found.triangles.upper, strict=True)]
    A, constant = specification(operators(network)[-1], torch.tensor([label]))
    k = int(found.margins[1:].argmax()) + 1

    def bound() -> torch.Tensor:
        trained = [
            replace(line, lower_slope=torch.where(f, a.clamp(0, 1), line.lower_slope))
            for line, a, f in zip(lines, alpha, free, strict=True)
        ]
        return upper_bounds(A[:, [k]], constant[:, [k]], layers, trained, inputs)

    first = bound().item()
    optimiser, best = torch.optim.Adam(alpha, lr=0.05), first
    for step in range(400):
        optimiser.param_groups[0]["lr"] = 0.05 * 0.99**step
        optimiser.zero_grad()
        value = bound()
        value.sum().backward()
        optimiser.step()
        with torch.no_grad():
            for a in alpha:
                a.clamp_(0, 1)
            best = min(best, bound().item())
    assert best <= first
    assert float(found.margins[k]) == pytest.approx(best, abs=2e-3 * (1 + abs(best)))


def test_every_step_is_sound_in_single_precision():
    """Whatever the search in float32 ends with is evaluated in float64."""
    network = random_network(5, (4, 10, 3))
    inputs = box(network, 5, 0.5)
    layer = operators(network)[0]
    low, high = (t for t in bounds(network, inputs, "box").lower), (t for t in bounds(network, inputs, "box").upper)
    triangles = Triangles((layer,), tuple(low), tuple(high))
    A = operators(network)[1].weight[None]
    x = np.random.default_rng(0).uniform(inputs.lower[0], inputs.upper[0], (5000, 4))
    top = (network.logits(x) - network.biases[-1]).max(0)
    for steps in range(6):
        found = minimise(A, torch.zeros(1, 3).double(), triangles, inputs, steps=steps)
        assert (found.bound[0].numpy() >= top).all()


def test_split_is_one_phase():
    """With h >= 0 assumed, max of -|x| over x >= 0 in [-1, 2] with z = (x, -x): the bound is 0, over h <= 0 as well."""
    one = torch.ones(1, 1, dtype=torch.float64)
    layer = DenseOperator(one, torch.zeros(1).double())
    inputs = InputSet(-one, 2 * one)
    value = {}
    for sign in (1, -1):
        triangles = Triangles((layer,), (-one,), (2 * one,), (sign * one,))
        value[sign] = float(minimise(one[None], torch.zeros(1, 1).double(), triangles, inputs, steps=100).bound)
    assert value[1] == pytest.approx(2.0, abs=1e-4)  # max z over h >= 0
    assert value[-1] == pytest.approx(0.0, abs=1e-4)  # z = 0


def test_bad_input_by_name():
    network = random_network(0)
    inputs = box(network, 0, 0.1)
    with pytest.raises(UnknownNameError, match="lp-al"):
        layerwise(network, inputs, 0, "lp-al")
    ball = InputSet.from_balls([Ball(np.zeros(6), 1.0, 2)])
    with pytest.raises(InputError, match="L-infinity"):
        layerwise(network, ball, 0, "lp-all")
    layer = operators(network)[0]
    with pytest.raises(InputError, match="lower"):
        Triangles((layer,), (torch.zeros(1, 3),), (torch.zeros(1, 8),))


@pytest.mark.parametrize("decide", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_regions_together_have_the_bounds_of_each_by_itself(method, decide):
    """More than fit into one group, of sizes that leave different neurons open."""
    network = random_network(3, (5, 7, 6, 4))
    parts = [box(network, seed, radius) for seed, radius in enumerate((0.01, 0.2, 0.4, 0.05, 0.3, 0.1))]
    assert len(parts) > TOGETHER
    inputs = InputSet(torch.cat([part.lower for part in parts]), torch.cat([part.upper for part in parts]))
    labels = [0, 1, 2, 3, 0, 1]
    options = {"steps": 30, "dtype": torch.float64, "decide": decide}
    together = layerwise_each(network, inputs, labels, method, **options, keep=True)
    for part, label, found in zip(parts, labels, together, strict=True):
        one = layerwise(network, part, label, method, **options, keep=True)
        assert (found.label, found.worst < 0) == (label, one.worst < 0)
        if decide:  # the ascent of a group ends with its last region's
            continue
        torch.testing.assert_close(found.margins, one.margins, rtol=0, atol=1e-9)
        for ours, theirs in zip(found.hidden, one.hidden, strict=True):
            assert ours.rows.tolist() == theirs.rows.tolist()
            for slopes, others in zip(ours.slopes, theirs.slopes, strict=True):
                torch.testing.assert_close(slopes, others, rtol=0, atol=1e-6)
