"""Where float64 could make a wrong answer: cancelling compositions, scores that are not numbers, HiGHS's tolerances."""

from fractions import Fraction

import numpy as np
import pytest

from tests.helpers import in_ball
from tightrope import attacks
from tightrope.errors import RegionError
from tightrope.networks import Composition, Dense, FeedForward, Scaling
from tightrope.propagation.lines import RELAXATIONS
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import Ball
from tightrope.solvers.highs import LinearProgram
from tightrope.solvers.report import Status
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.cascade import By, certify_boxes
from tightrope.verifiers.distortion import certified_distortion
from tightrope.verifiers.mixed_integer import mixed_integer
from tightrope.verifiers.relu_lipschitz import METHODS, lipschitz_bound
from tightrope.verifiers.robustness import certify
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
        report = certify(network, Ball(np.zeros(8), 1e-16, np.inf), 0, method=method, attack=False)
        assert report.verdict is not Verdict.CERTIFIED
        ends = Ball(np.zeros(8), 1e-16, np.inf).bounding_box()
        assert layerwise_bounds(network, *ends, 0).margins[1] > 0


@OVERFLOWS
def test_scores_that_are_not_numbers_prove_nothing():
    """1e200 squared overflows; the margin is 1 everywhere."""
    W = 1e200 * np.eye(2)
    network = FeedForward.dense((W, W, np.eye(2)), (np.zeros(2), np.zeros(2), np.array([1.0, 0.0])))
    region = Ball(np.ones(2), 0.0, np.inf)
    assert attacks.check(Question(network, region, 0), np.ones((1, 2))) is None
    assert attacks.pgd(Question(network, Ball(np.ones(2), 0.1, np.inf), 0), restarts=2, steps=2).best is None
    assert not attacks.batched_pgd(network, np.ones((1, 2)), *np.ones((2, 1, 2)), [0], step=0.1, steps=2).any()
    found = branch_and_bound(Question(network, region, 0), Limits(time=5))
    assert found.verdict is Verdict.UNKNOWN and found.bound == np.inf
    (decision,) = certify_boxes([Question(network, region, 0)], Limits(time=5))
    assert decision.by is By.NOTHING


@OVERFLOWS
@pytest.mark.parametrize("method", ["box", "crown", "lp-all", "cascade", "branch-and-bound", "milp"])
def test_overflow_is_a_verdict(method):
    """Bounds that are not finite leave the label open, with a reason."""
    W = 1e200 * np.eye(2)
    network = FeedForward.dense((W, W, np.eye(2)), (np.zeros(2), np.zeros(2), np.array([1.0, 0.0])))
    report = certify(network, Ball(np.zeros(2), 1.0, np.inf), 0, method=method, limits=Limits(time=5))
    assert report.verdict is Verdict.UNKNOWN and report.decisions[0].reason


@pytest.mark.parametrize("scale", [1e7, 1e8, 1e10])
@pytest.mark.parametrize("sign", [True, False])
def test_the_mixed_integer_program_refuses_what_highs_cannot_resolve(scale, sign):
    """relu(s x) / s - 1/2 reaches 1/2; HiGHS sees neither an entry of 1e-9 nor a cost of 1e-8."""
    network = FeedForward.dense(([[scale]], [[0.0], [1 / scale]]), ([0.0], [0.5, 0.0]))
    assert mixed_integer(Question(network, Ball([0.0], 1.0, np.inf), 0), sign=sign).verdict is not Verdict.COMPUTED
    tiny = FeedForward.dense(([[1.0]], [[0.0], [1e-8]]), ([0.0], [5e-9, 0.0]))
    assert mixed_integer(Question(tiny, Ball([0.0], 1.0, np.inf), 0), sign=sign).verdict is not Verdict.COMPUTED


@pytest.mark.parametrize("sign", [True, False])
def test_the_mixed_integer_program_takes_a_network_without_hidden_layers(sign):
    """Its program has no rows."""
    network = FeedForward.dense([np.eye(2)], [[1.0, 0.0]])
    assert mixed_integer(Question(network, Ball(np.zeros(2), 0.1, np.inf), 0), sign=sign).verdict is Verdict.COMPUTED
    assert mixed_integer(Question(network, Ball(np.zeros(2), 0.9, np.inf), 0), sign=sign).verdict is Verdict.FALSIFIED


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
            options = {"targets": [target], "attack": False, "method": "branch-and-bound"}
            report = certify(network, Ball(x, 0.7, np.inf), label, limits=Limits(time=20), **options)
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


TINY_WEIGHTS = [(1e-170, -1e-171), (1e-160, -9.99997e-161)]


@OVERFLOWS
@pytest.mark.parametrize(("weight", "bias"), TINY_WEIGHTS)
@pytest.mark.parametrize("method", [*RELAXATIONS, "cascade"])
def test_squares_of_weights_that_underflow(method, weight, bias):
    """max relu(w x) + b over the unit disc, at (1, 0); the length of a row was 0."""
    layers = [[[weight, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]]
    network = FeedForward.dense(layers, [[0.0, 0.0], [bias, 0.0]])
    report = certify(network, Ball([0.0, 0.0], 1.0, 2), 1, method=method, attack=False)
    assert report.verdict is not Verdict.CERTIFIED
    assert report.decisions[0].bound >= weight + bias


FORMS = [((1e300, 1e-160, 1e-165), -1e-26, 9.0e-26), ((1e150, 1e-160, 1e-160), -9.99899e-171, 1.0e-174)]
BOXES = [*RELAXATIONS, "lp-greedy", "lp-last", "lp-all", "branch-and-bound", "cascade"]


def _chain(weights: tuple[float, ...], bias: float) -> FeedForward:
    """relu(... relu(w_1 x_1)) + b against 0."""
    layers = [[[weight, 0.0], [0.0, 0.0]] for weight in weights]
    return FeedForward.dense(layers, [*np.zeros((len(weights) - 1, 2)), [bias, 0.0]])


@OVERFLOWS
@pytest.mark.parametrize(("weights", "bias", "exact"), FORMS)
@pytest.mark.parametrize("method", BOXES)
def test_coefficients_that_underflow_before_a_large_weight(method, weights, bias, exact):
    """The product of the upper two layers is 0 in float64, and multiplies 1e300."""
    report = certify(_chain(weights, bias), Ball([0.0, 0.0], 1.0, np.inf), 1, method=method, attack=False)
    assert report.verdict is not Verdict.CERTIFIED
    assert report.decisions[0].bound is None or report.decisions[0].bound >= exact


def test_distortion_of_a_network_whose_forms_underflow():
    """relu chains of 1e-25 x - 1e-26: another label from 0.1 on."""
    found = certified_distortion(Question(_chain(*FORMS[0][:2]), Ball([0.0, 0.0], 1.0, np.inf), 1), "lp-all")
    assert found.lower < 0.1


def test_an_image_with_another_label_has_no_distortion():
    network = FeedForward.dense([[[1.0], [0.0]]], [[1.0, 0.0]])
    found = certified_distortion(Question(network, Ball([0.0], 1.0, np.inf), 1), "lp-all")
    assert (found.lower, found.upper) == (0.0, 0.0)


@pytest.mark.parametrize("kind", ["triangle", "parallelogram"])
def test_linear_programs_count_underflow(kind):
    """The margin is 3 * 6.9e-162 * 1e-162 - 2e-323 > 0 at x = 1: each product is 5e-324 or 0."""
    layers = [[[1e-162]] * 3, [[6.9e-162] * 3, [0.0] * 3]]
    network = FeedForward.dense(layers, [[0.0] * 3, [-4 * 5e-324, 0.0]])
    margin = layerwise_bounds(network, np.array([-1.0]), np.array([1.0]), 1, kind).margins[0]
    assert Fraction(float(margin)) >= 3 * Fraction(6.9e-162) * Fraction(1e-162) - Fraction(4 * 5e-324)


UPPER = [name for name, method in METHODS.items() if method.side == "upper"]


@pytest.mark.parametrize(("weight", "bias"), TINY_WEIGHTS)
@pytest.mark.parametrize("method", [name for name in UPPER if not name.startswith("lipopt")])
def test_the_slope_of_a_neuron_whose_weights_are_tiny(method, weight, bias):
    """relu(w x + b) / w has slope 1; bounds of the neuron said that it is never active."""
    network = FeedForward.dense([[[weight]], [[1 / weight], [0.0]]], [[bias], [0.0, 0.0]])
    found = lipschitz_bound(network, Ball([0.0], 1.0, 2), 0, method)
    if method == "intervals":
        assert 1 <= found.value < 1.001
    else:
        assert found.verdict == "failed" and "scale" in found.reason


def test_a_slope_whose_square_underflows():
    affine = FeedForward.dense([[[1e-170, 0.0], [0.0, 0.0]]], [[0.0, 0.0]])
    low, high = (lipschitz_bound(affine, Ball([0.0, 0.0], 1.0, 2), 0, method).value for method in ("lbs", "shor"))
    assert low <= 1e-170 <= high < 1e-160


@OVERFLOWS
@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_of_products_that_underflow(method, norm):
    """1e300 * 1e-160 * 1e-165 = 1e-25."""
    network = FeedForward.dense([[[1e300]], [[1e-160]], [[1e-165]]], [[0.0], [0.0], [0.0]])
    found = lipschitz_bound(network, Ball([0.0], 1.0, norm), 0, method)
    if METHODS[method].side == "upper":
        assert found.verdict == "failed" or found.value >= 1e-25
        assert found.verdict == "certified" or "flow" in found.reason
    else:
        assert found.value is None or found.value <= 1e-25


@OVERFLOWS
@pytest.mark.parametrize("method", UPPER)
def test_composed_layers_whose_product_underflows(method):
    """1e250 * 1e-170 * 1e-160 = 1e-80; the composition of the latter two is 0 in float64."""
    pair = Composition((Dense([[1e-170]], [0.0]), Dense([[1e-160]], [0.0])))
    network = FeedForward((Dense([[1e250]], [0.0]), pair))
    found = lipschitz_bound(network, Ball([0.0], 1.0, np.inf), 0, method)
    assert found.value is None or found.value >= 1e-80


def test_a_point_outside_the_exact_ball_is_no_attack():
    """0.1 + 0.2 in float64 is above the sum of both numbers: the margin there is 0, over the ball -2.8e-17."""
    network = FeedForward.dense([[[1.0]], [[1.0], [0.0]]], [[0.0], [0.0, 0.1 + 0.2]])
    report = certify(network, Ball([0.1], 0.2, np.inf), 1)
    assert report.verdict is Verdict.UNKNOWN and report.attack is None


def test_a_point_many_radii_outside_is_no_attack():
    network = FeedForward.dense([[[1e10], [0.0]], [[1.0, 0.0], [0.0, 0.0]]], [[-1.0, 0.0], [0.0, 0.5]])
    region = Ball([0.0], 1e-11, np.inf)
    assert attacks.check(Question(network, region, 1), np.array([[1e-9]])) is None
    assert certify(network, region, 1).verdict is Verdict.CERTIFIED


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0, np.inf])
def test_points_of_attacks_lie_in_the_exact_ball(norm):
    rng, found = np.random.default_rng(0), 0
    for seed in range(12):
        center, radius = rng.normal(size=4), 10.0 ** rng.uniform(-2, 0)
        sides = (center - radius / 3, center + radius / 3) if seed % 2 else (None, None)
        region = Ball(center, radius, norm, *sides)
        W = rng.normal(size=(2, 4))
        network = FeedForward.dense([W], [-(W @ region.sample(1, rng)[0])])
        for label in (0, 1):
            report = certify(network, region, label)
            if report.attack is not None:
                found += 1
                assert in_ball(region, report.attack.point)
    assert found
