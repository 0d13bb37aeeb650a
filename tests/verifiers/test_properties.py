"""Properties of networks: counterexamples are points, proofs agree with a fine grid."""

import numpy as np
import pytest

from tightrope.errors import InputError
from tightrope.networks import Dense, FeedForward
from tightrope.properties import parse_vnnlib
from tightrope.question import Verdict
from tightrope.regions import Ball
from tightrope.verifiers.properties import certify_property, slacks, smallest


def network(seed: int, *sizes: int) -> FeedForward:
    """Dense network with Gaussian weights."""
    rng = np.random.default_rng(seed)
    pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
    return FeedForward.dense([rng.standard_normal(p) for p in pairs], [rng.standard_normal(p[0]) for p in pairs])


def text(outputs: int, formula: str, reach: float = 0.5) -> str:
    """A property of two inputs in [-reach, reach]."""
    declared = "".join(f"(declare-const {v} Real)" for v in ["X_0", "X_1", *(f"Y_{i}" for i in range(outputs))])
    box = "".join(f"(assert (<= X_{i} {reach}))(assert (>= X_{i} -{reach}))" for i in range(2))
    return declared + box + f"(assert {formula})"


@pytest.mark.parametrize("count", range(1, 8))
def test_network_of_the_smallest_output(count, rng):
    """min over any number of outputs, through ReLU layers only, exact on the region."""
    net = network(0, 3, 4, count + 1)
    W, b = net.weights[1].copy(), net.biases[1].copy()
    W[0], b[0] = 0, 0
    net = FeedForward((net.layers[0], Dense(W, b)))
    region = Ball(rng.standard_normal(3), 1.0, np.inf)
    x = region.sample(500, rng)
    found = smallest(net, region).logits(x)
    np.testing.assert_allclose(found[:, 1], net.logits(x)[:, 1:].min(1), atol=1e-12)
    assert found.shape == (500, 2) and np.abs(found[:, 0]).max() == 0


def test_slacks_are_nonnegative_where_outputs_are_forbidden(rng):
    """(0, b - A F(x)) against the case itself."""
    net = network(1, 2, 4, 3)
    (case,) = parse_vnnlib(text(3, "(and (<= Y_0 Y_1) (>= Y_2 -1) (<= (+ Y_0 Y_2) 3))")).cases
    x = rng.uniform(-2, 2, size=(300, 2))
    margins = slacks(net, case).logits(x)
    forbidden = np.array([case.violated(y) for y in net.logits(x)])
    np.testing.assert_array_equal((margins[:, 1:] >= 0).all(1), forbidden)
    assert forbidden.any() and not forbidden.all() and np.all(margins[:, 0] == 0)


FORMULAS = (
    "(<= Y_0 Y_1)",
    "(and (<= Y_0 Y_1) (<= Y_0 Y_2))",
    "(or (and (>= Y_0 Y_1) (>= Y_0 Y_2)) (and (>= Y_1 4) (<= Y_2 -1)))",
    "(and (>= Y_0 1) (<= Y_0 1.2) (>= Y_1 0) (<= Y_2 0))",
    "(>= Y_0 100)",
)


@pytest.mark.parametrize("formula", FORMULAS)
def test_verdicts_agree_with_a_grid(formula):
    """A counterexample lies in the box and is forbidden; where one is on the grid, nothing is certified."""
    side = np.linspace(-0.5, 0.5, 101)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    seen = set()
    for seed in range(5):
        net = network(seed, 2, 6, 5, 3)
        question = parse_vnnlib(text(3, formula))
        outputs = net.logits(grid)
        on_grid = any((outputs @ case.A.T <= case.b).all(1).any() for case in question.cases)
        report = certify_property(net, question)
        seen.add(report.verdict)
        if report.verdict is Verdict.FALSIFIED:
            assert np.abs(report.counterexample).max() <= 0.5
            np.testing.assert_array_equal(report.outputs, net.logits(report.counterexample))
            assert any(case.violated(report.outputs) for case in question.cases)
        elif report.verdict is Verdict.CERTIFIED:
            assert not on_grid
        else:
            assert report.reason
    assert seen & {Verdict.CERTIFIED, Verdict.FALSIFIED}


def test_both_answers_occur():
    """Over all formulas; and constraints that are only impossible together are proven impossible."""
    net = FeedForward.dense(([[1.0, 0.0], [-1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]), ([0.0, 0.0], [0.0, 0.0]))
    together = certify_property(net, parse_vnnlib(text(2, "(and (>= Y_0 0.3) (>= Y_1 0.3))")))  # ReLU(x), ReLU(-x)
    assert together.verdict is Verdict.CERTIFIED
    for one in ("(>= Y_0 0.3)", "(>= Y_1 0.3)"):
        assert certify_property(net, parse_vnnlib(text(2, one))).verdict is Verdict.FALSIFIED


def test_a_property_of_inputs_only_and_an_empty_one():
    """Without constraints on outputs every point is a counterexample; without a box none is."""
    net = network(0, 2, 3, 3)
    assert certify_property(net, parse_vnnlib(text(3, "(<= 0 1)"))).verdict is Verdict.FALSIFIED
    empty = certify_property(net, parse_vnnlib(text(3, "(>= X_0 1)")))
    assert empty.verdict is Verdict.CERTIFIED and empty.cases == ()


def test_sizes_must_fit():
    """Inputs and outputs of the file and of the network."""
    with pytest.raises(InputError, match="2 inputs and 3 outputs, the network has 3 and 2"):
        certify_property(network(0, 3, 2), parse_vnnlib(text(3, "(<= Y_0 0)")))
    with pytest.raises(InputError, match="expected a FeedForward, got str"):
        certify_property("net", parse_vnnlib(text(3, "(<= Y_0 0)")))
