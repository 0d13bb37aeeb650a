"""Where float64 could make a wrong answer: cancelling compositions, scores that are not numbers, HiGHS's tolerances."""

from fractions import Fraction

import numpy as np
import pytest

from tightrope import attacks
from tightrope.certificates import Verdict
from tightrope.errors import RegionError
from tightrope.networks import Composition, Dense, FeedForward, Scaling
from tightrope.regions import Ball
from tightrope.solvers.highs import LinearProgram
from tightrope.solvers.report import Status
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.cascade import By, verify_boxes
from tightrope.verifiers.feedforward import verify_feedforward
from tightrope.verifiers.mixed_integer import mixed_integer
from tightrope.verifiers.relu_lipschitz import METHODS, lipschitz_bound
from tightrope.verifiers.triangle import layerwise_bounds

OVERFLOWS = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def exact_scores(network: FeedForward, x: np.ndarray) -> list[Fraction]:
    """F(x) in rational arithmetic, compositions layer by layer."""
    z = [Fraction(float(v)) for v in x]
    for i, layer in enumerate(network.layers):
        for part in layer.layers if isinstance(layer, Composition) else (layer,):
            W, b = part.dense()
            z = [sum((Fraction(float(w)) * v for w, v in zip(row, z, strict=True)), Fraction(float(c)))
                 for row, c in zip(W, b, strict=True)]  # fmt: skip
        if i < len(network.layers) - 1:
            z = [max(v, Fraction(0)) for v in z]
    return z


@pytest.mark.parametrize("method", ["box", "crown", "deepz", "lp-all", "cascade", "branch-and-bound"])
def test_rounding_of_composed_layers_certifies_nothing(method):
    """A shift of 1e4 and a bias that cancels it: W b is off by 1e-12, the true margin is above 0 by 1e-16."""
    rng = np.random.default_rng(0)
    for _ in range(8):
        shift, W, last = rng.normal(size=8) * 1e4, rng.normal(size=(4, 8)), rng.normal(size=(2, 4))
        first = Composition((Scaling(np.ones(8), shift), Dense(W, -(W @ shift))))
        scores = exact_scores(FeedForward((first, Dense(last, np.zeros(2)))), np.zeros(8))
        bias = np.nextafter(-float(scores[1] - scores[0]), np.inf)
        network = FeedForward((first, Dense(last, np.array([0.0, bias]))))
        scores = exact_scores(network, np.zeros(8))
        assert scores[1] > scores[0]
        report = verify_feedforward(network, Ball(np.zeros(8), 1e-16, np.inf), 0, method=method, attack=False)
        assert report.verdict is not Verdict.CERTIFIED
        ends = Ball(np.zeros(8), 1e-16, np.inf).bounding_box()
        assert layerwise_bounds(network, *ends, 0).margins[1] > 0


@OVERFLOWS
def test_scores_that_are_not_numbers_prove_nothing():
    """1e200 squared overflows; the margin is 1 everywhere."""
    W = 1e200 * np.eye(2)
    network = FeedForward.dense((W, W, np.eye(2)), (np.zeros(2), np.zeros(2), np.array([1.0, 0.0])))
    region = Ball(np.ones(2), 0.0, np.inf)
    assert attacks.check(network, region, 0, np.ones((1, 2))) is None
    assert attacks.pgd(network, Ball(np.ones(2), 0.1, np.inf), 0, restarts=2, steps=2).best is None
    assert not attacks.batched_pgd(network, np.ones((1, 2)), *np.ones((2, 1, 2)), [0], step=0.1, steps=2).any()
    found = branch_and_bound(network, region, 0, time_limit=5)
    assert found.verdict is Verdict.UNKNOWN and found.bound == np.inf
    (decision,) = verify_boxes(network, [region], [0], time_limit=5)
    assert decision.by is By.NOTHING


@OVERFLOWS
@pytest.mark.parametrize("method", ["box", "crown", "lp-all", "cascade", "branch-and-bound", "milp"])
def test_overflow_is_a_verdict(method):
    """Bounds that are not finite leave the label open, with a reason."""
    W = 1e200 * np.eye(2)
    network = FeedForward.dense((W, W, np.eye(2)), (np.zeros(2), np.zeros(2), np.array([1.0, 0.0])))
    report = verify_feedforward(network, Ball(np.zeros(2), 1.0, np.inf), 0, method=method, time_limit=5)
    assert report.verdict is Verdict.UNKNOWN and report.decisions[0].reason


@pytest.mark.parametrize("scale", [1e7, 1e8, 1e10])
@pytest.mark.parametrize("sign", [True, False])
def test_the_mixed_integer_program_refuses_what_highs_cannot_resolve(scale, sign):
    """relu(s x) / s - 1/2 reaches 1/2; HiGHS sees neither an entry of 1e-9 nor a cost of 1e-8."""
    network = FeedForward.dense(([[scale]], [[0.0], [1 / scale]]), ([0.0], [0.5, 0.0]))
    assert mixed_integer(network, Ball([0.0], 1.0, np.inf), 0, sign=sign).verdict is not Verdict.COMPUTED
    tiny = FeedForward.dense(([[1.0]], [[0.0], [1e-8]]), ([0.0], [5e-9, 0.0]))
    assert mixed_integer(tiny, Ball([0.0], 1.0, np.inf), 0, sign=sign).verdict is not Verdict.COMPUTED


@pytest.mark.parametrize("sign", [True, False])
def test_the_mixed_integer_program_takes_a_network_without_hidden_layers(sign):
    """Its program has no rows."""
    network = FeedForward.dense([np.eye(2)], [[1.0, 0.0]])
    assert mixed_integer(network, Ball(np.zeros(2), 0.1, np.inf), 0, sign=sign).verdict is Verdict.COMPUTED
    assert mixed_integer(network, Ball(np.zeros(2), 0.9, np.inf), 0, sign=sign).verdict is Verdict.FALSIFIED


def test_a_tree_asked_about_one_label_keeps_its_attack():
    """The point that reaches the asked label may reach another one by more."""
    rng, reached = np.random.default_rng(1), 0
    for _ in range(25):
        sizes = ((6, 2), (6, 6), (4, 6))
        pairs = [(rng.normal(size=size), rng.normal(size=size[0])) for size in sizes]
        network = FeedForward.dense(*zip(*pairs, strict=True))
        x = rng.normal(size=2)
        label = int(network.predict(x))
        for target in set(range(4)) - {label}:
            report = verify_feedforward(network, Ball(x, 0.7, np.inf), label, targets=[target], attack=False,
                                        method="branch-and-bound", time_limit=20)  # fmt: skip
            assert report.decisions[0].verdict in (Verdict.CERTIFIED, Verdict.FALSIFIED)
            reached += report.decisions[0].verdict is Verdict.FALSIFIED
    assert reached


def test_rows_that_highs_refuses_leave_a_bound():
    """An entry of 1e16 is too large for HiGHS; the bound of the columns is one still."""
    program = LinearProgram()
    columns = program.add_columns([-1.0, -1.0], [1.0, 2.0])
    program.add_rows([[1e16, 1.0]], [0.0], [0.0])
    found = program.maximise(columns, [1.0, 1.0])
    assert found.status is Status.FAILED and found.bound >= 3.0


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.side == "upper"])
def test_a_gradient_that_cancels_in_float64_is_bounded(method, norm):
    """Three active neurons: 1e16 + 1 - 1e16 is 0 in float64, where the gradient is 1."""
    network = FeedForward.dense([np.array([[1e16], [1.0], [-1e16]]), np.ones((1, 3))], [np.full(3, 1e18), np.zeros(1)])
    region = Ball(np.zeros(1), 1.0, norm)
    if method.startswith("lipopt") and norm == 2:
        with pytest.raises(RegionError, match="LipOpt is built for L-infinity"):
            lipschitz_bound(network, region, 0, method)
        return
    found = lipschitz_bound(network, region, 0, method)
    assert found.value is None or found.value >= 1


@pytest.mark.parametrize("method", ["lbs", "ascent"])
def test_a_gradient_that_is_0_has_no_positive_lower_bound(method):
    """1e16 + 1 - 1e16 - 1 is -1 in float64."""
    weights = [np.array([[1e16], [1.0], [-1e16], [-1.0]]), np.ones((1, 4))]
    network = FeedForward.dense(weights, [np.full(4, 1e18), np.zeros(1)])
    assert lipschitz_bound(network, Ball(np.zeros(1), 1.0, np.inf), 0, method).value == 0


COMPOSED = Composition((Dense([[1e16], [1.0], [-1e16]], np.zeros(3)), Dense(np.ones((1, 3)), [0.0])))  # x -> x


@pytest.mark.parametrize("method", ["intervals", "product-shor", "shor", "hr-2-signs", "lipopt-3", "qcqp"])
@pytest.mark.parametrize(
    "layers", [(COMPOSED,), (COMPOSED, Dense([[1.0]], [0.0])), (Dense([[1.0]], [5.0]), COMPOSED)], ids=len
)
def test_layers_that_cancel_when_they_are_multiplied(layers, method):
    """The gradient is 1 for positive x, where float64 multiplies the two layers to 0."""
    found = lipschitz_bound(FeedForward(layers), Ball([1.0], 1.0, np.inf), 0, method)
    assert found.value is None or found.value >= 1


@pytest.mark.parametrize("method", ["lbs", "ascent"])
@pytest.mark.parametrize(("weight", "bias"), [(1e16, -(1e16 + 2)), (1e8, -(1e8 + 1.5 + 1e-8))])
def test_a_preactivation_that_is_0_in_float64_alone_is_no_tie(method, weight, bias):
    """h <= -0.4, or -1.5e-8 at the corner: the output is 0 on the region."""
    network = FeedForward.dense([[[weight, 1.0]], [[1.0]]], [[bias], [0.0]])
    region = Ball([1.0, 1.25], 0.25, np.inf, [1.0, 1.0], [1.0, 1.5])
    assert lipschitz_bound(network, region, 0, method, samples=500).value == 0


def test_a_lower_bound_of_an_affine_output_is_below_it():
    network = FeedForward.dense([[[1.0, 1.0]]], [[0.0]])
    low, high = (lipschitz_bound(network, Ball([0.0, 0.0], 1.0, np.inf), 0, m).value for m in ("lbs", "shor"))
    assert 2 - 1e-12 < low <= 2 <= high < 2 + 1e-12


def test_overflow_of_a_lipschitz_bound_is_a_failure():
    network = FeedForward.dense([[[1e200]], [[1e200]]], [[0.0], [0.0]])
    found = lipschitz_bound(network, Ball([1.0], 2.0, np.inf), 0, "intervals")
    assert (found.value, found.verdict, found.reason) == (None, "failed", "overflow")


@pytest.mark.parametrize("method", ["lbs", "ascent"])
def test_the_sign_of_a_preactivation_that_cancels_between_layers(method):
    """h = x - 1 < 0 on the region; multiplied in float64 it is x."""
    first = Composition((Dense([[1.0], [0.0], [0.0]], [1e16, -1.0, -1e16]), Dense([[1.0, 1.0, 1.0]], [0.0])))
    network = FeedForward((first, Dense([[1.0]], [0.0])))
    assert lipschitz_bound(network, Ball([0.5], 0.25, np.inf), 0, method).value == 0


def test_pairs_of_outputs_with_an_equal_weight():
    network = FeedForward.dense([[[1.0], [2.0]], [[1.0, 2.0], [1.0, -1.0]]], [[0.0, 0.0], [0.0, 0.0]])
    assert lipschitz_bound(network, Ball([0.0], 1.0, np.inf), (0, 1), "qcqp").value == pytest.approx(6, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_overflow_of_preactivations_is_a_failure(method):
    b = 1e308
    weights = [[[1.0, 0.0], [0.0, 1.0]], [[10.0, -10.0], [10.0, -10.0]], [[1.0, -1.0]]]
    network = FeedForward.dense(weights, [[b, b], [0.0, -1e300], [0.0]])
    found = lipschitz_bound(network, Ball([0.0, 0.0], 1.0, np.inf), 0, method)
    assert (found.value, found.verdict, found.reason) == (None, "failed", "overflow")
