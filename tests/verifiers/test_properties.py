"""Properties of networks: counterexamples are points, proofs agree with a fine grid."""

import csv
import math
import os
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from tightrope.checker import relu
from tightrope.errors import InputError
from tightrope.networks import Composition, Dense, FeedForward, load
from tightrope.networks.activations import RELU, LeakyReLU, Sigmoid
from tightrope.properties import Property, parse_vnnlib, read_vnnlib
from tightrope.question import Limits, Verdict
from tightrope.regions import Ball
from tightrope.verifiers import properties
from tightrope.verifiers.properties import PropertyReport, certify_property, competition_text, slacks, smallest


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
    forbidden = (case.slack(x, net.logits(x)) >= 0).all(1)
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
            np.testing.assert_allclose(report.outputs, net.logits(report.counterexample), rtol=1e-12, atol=1e-12)
            assert holds_exactly(net, report, question)
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
    assert empty.headline == "no case, as the constraints of the file contradict each other: certified"


def test_sizes_must_fit():
    """Inputs and outputs of the file and of the network."""
    with pytest.raises(InputError, match="2 inputs and 3 outputs, the network has 3 and 2"):
        certify_property(network(0, 3, 2), parse_vnnlib(text(3, "(<= Y_0 0)")))
    with pytest.raises(InputError, match="expected a FeedForward, got str"):
        certify_property("net", parse_vnnlib(text(3, "(<= Y_0 0)")))


# evidence -----------------------------------------------------------------------------------------

LINE = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 1))"


@pytest.mark.parametrize(
    ("sign", "formula", "verdict"),
    [
        (1.0, "(< Y_0 0)", Verdict.CERTIFIED),
        (1.0, "(<= Y_0 0)", Verdict.FALSIFIED),
        (1.0, "(> Y_0 1)", Verdict.CERTIFIED),
        (1.0, "(not (<= Y_0 1))", Verdict.CERTIFIED),
        (-1.0, "(> Y_0 0)", Verdict.CERTIFIED),
        (-1.0, "(>= Y_0 0)", Verdict.FALSIFIED),
        (1.0, "(and (> Y_0 0.5) (< X_0 1))", Verdict.FALSIFIED),
    ],
)
def test_strict_comparisons_are_strict(sign, formula, verdict):
    """+-ReLU(x) on [-1, 1]: at the ends of its range a strict constraint has no point, the other has one."""
    net = FeedForward.dense(([[1.0]], [[sign]]), ([0.0], [0.0]))
    assert certify_property(net, parse_vnnlib(LINE + f"(assert {formula})")).verdict is verdict


def test_a_counterexample_lies_in_the_files_own_box():
    """Not in that of float64 numbers, which is larger: x <= 0.1 and 0.1 as a float64 is more than 0.1."""
    net = FeedForward.dense(([[1.0]],), ([0.0],))
    text = LINE + "(assert (<= X_0 0.1))(assert (>= Y_0 {}))"
    assert certify_property(net, parse_vnnlib(text.format("0.1000000000000000001"))).verdict is Verdict.CERTIFIED
    found = certify_property(net, parse_vnnlib(text.format("0.0999")))
    assert found.verdict is Verdict.FALSIFIED and Fraction("0.0999") <= found.point[0] <= Fraction("0.1")
    fixed = certify_property(net, parse_vnnlib(text.format("0.1") + "(assert (>= X_0 0.1))"))
    assert fixed.point == (Fraction("0.1"),)  # which no float64 is
    assert competition_text(fixed).startswith("sat\n((X_0 0.1)\n(Y_0 0.1")
    third = LINE + "(assert (= X_0 (- (/ 1 3))))(assert (<= Y_0 0))"  # which no decimal is either
    assert competition_text(certify_property(net, parse_vnnlib(third))).startswith("sat\n((X_0 (- (/ 1 3)))")


def holds_exactly(net: FeedForward, report: PropertyReport, question: Property) -> bool:
    """Whether the point meets all constraints of a case, by Python's fractions."""
    below = math.lcm(*(value.denominator for value in report.point))
    x = [int(value * below) for value in report.point]
    for i, layer in enumerate(net.layers):
        x = [max(value, 0) for value in x] if i else x
        for part in layer.layers if isinstance(layer, Composition) else [layer]:
            W, b = part.sparse()
            pairs = [value.as_integer_ratio() for value in (*W.data.tolist(), *b.tolist())]
            scale = max(divisor for _, divisor in pairs)  # powers of 2
            whole = [number * (scale // divisor) for number, divisor in pairs]
            rows = [
                range(start, stop) for start, stop in zip(W.indptr[:-1].tolist(), W.indptr[1:].tolist(), strict=True)
            ]
            columns, offsets = W.indices.tolist(), whole[len(W.data) :]
            x = [sum(whole[k] * x[columns[k]] for k in row) + c * below for row, c in zip(rows, offsets, strict=True)]
            below *= scale
    values = {"X": {i: (v, v) for i, v in enumerate(report.point)}}
    values["Y"] = {i: (Fraction(v, below),) * 2 for i, v in enumerate(x)}
    return any(all(one.holds(values) for one in case.constraints) for case in question.cases)


# constraints that join inputs ---------------------------------------------------------------------

ABS = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0]]), ([0.0, 0.0], [0.0]))  # |x|


@pytest.mark.parametrize(
    ("formula", "verdict"),
    [
        ("(<= Y_0 (- X_0 0.001))", Verdict.CERTIFIED),
        ("(<= Y_0 X_0)", Verdict.FALSIFIED),
        ("(>= Y_0 (+ X_0 2.001))", Verdict.CERTIFIED),
        ("(>= Y_0 (+ X_0 1.999))", Verdict.FALSIFIED),
        ("(and (>= (- Y_0 X_0) 1) (>= X_0 -0.4))", Verdict.CERTIFIED),
        ("(and (>= (- Y_0 X_0) 1) (>= (- X_0 Y_0) -1.5) (<= (+ Y_0 X_0) 0))", Verdict.FALSIFIED),
        ("(or (<= (+ Y_0 X_0) -0.001) (<= (- Y_0 X_0) -0.001))", Verdict.CERTIFIED),
    ],
)
@pytest.mark.parametrize("few", [12, 0])
def test_differences_of_an_output_and_an_input(formula, verdict, few, monkeypatch):
    """|x| - x and |x| + x on [-1, 1], by halving and by phases."""
    monkeypatch.setattr(properties, "FEW", few)
    assert certify_property(ABS, parse_vnnlib(LINE + f"(assert {formula})")).verdict is verdict


def most_slack(net: FeedForward, question: Property) -> float:
    """The largest least slack of the constraints of any case, by a linear program for each pattern of phases."""
    found = [-np.inf]
    hidden = [layer.output_size for layer in net.layers[:-1]]
    for case, pattern in product(question.cases, product((0.0, 1.0), repeat=sum(hidden))):
        M, c, rows = np.eye(net.input_size), np.zeros(net.input_size), []
        phases = iter(pattern)
        for W, b in zip(net.weights, net.biases, strict=True):
            M, c = W @ M, W @ c + b
            if len(rows) < len(hidden):
                on = np.array([next(phases) for _ in c])
                sign = 1 - 2 * on
                rows.append((np.c_[sign[:, None] * M, np.zeros(len(c))], -sign * c))
                M, c = on[:, None] * M, on * c
        for one in case.constraints:
            own = {kind: {i: float(w) for (k, i), w in one.weights.items() if k == kind} for kind in "XY"}
            row, limit = np.zeros(net.input_size), float(one.limit)
            for i, w in own["X"].items():
                row[i] += w
            for i, w in own["Y"].items():
                row, limit = row + w * M[i], limit - w * c[i]
            rows.append((np.r_[row, 1.0][None], np.array([limit])))
        A, b = (np.concatenate(side) for side in zip(*rows, strict=True))
        bounds = [(-2, 2)] * net.input_size + [(-9, 9)]
        solved = linprog(np.r_[np.zeros(net.input_size), -1], A_ub=A, b_ub=b, bounds=bounds)
        found.append(-solved.fun if solved.status == 0 else -np.inf)
    return max(found)


def form(rng: np.random.Generator, kinds: str) -> str:
    terms = [f"(* {rng.choice(['-2', '-1', '1', '0.3'])} {kind}_{rng.integers(2)})" for kind in kinds]
    return f"(+ {' '.join(terms)} 0)"


def test_joined_constraints_agree_with_every_phase_solved(monkeypatch):
    """Random ones of all kinds, by halving and by phases, against the linear programs of all pieces."""
    rng, seen = np.random.default_rng(7), set()
    for seed in range(12):
        net = network(seed, 2, 3, 1, 2)
        drawn = zip(rng.choice(["<=", ">=", "<", ">"], 2), rng.choice(["XX", "XY", "XYY", "YY"], 2), strict=True)
        parts = " ".join(f"({sign} {form(rng, kinds)} {rng.normal():.2f})" for sign, kinds in drawn)
        question = parse_vnnlib(text(2, f"({rng.choice(['and', 'and', 'or'])} {parts})"))
        slack = most_slack(net, question)
        for few in (12, 0):
            monkeypatch.setattr(properties, "FEW", few)
            report = certify_property(net, question)
            assert report.verdict is (Verdict.FALSIFIED if slack > 0 else Verdict.CERTIFIED), (seed, few, slack)
            assert report.verdict is Verdict.CERTIFIED or holds_exactly(net, report, question)
            seen.add(report.verdict)
    assert seen == {Verdict.CERTIFIED, Verdict.FALSIFIED}


def test_forms_of_inputs_are_carried_past_every_layer(rng):
    """x -> (0, b - A F(x) - C x) on the region, of a network of any depth; leaky ReLU and compositions included."""
    formula = "(and (<= (+ Y_0 (* 2 X_0)) 1) (<= Y_1 0.5) (>= (- X_0 X_1) 0.25))"
    (case,) = parse_vnnlib(text(2, formula)).cases
    x = case.region.sample(200, rng)
    assert case.box[0] == (Fraction(-1, 4), Fraction(1, 2))
    deep = network(3, 2, 4, 3, 2)
    twice = Composition((Dense(np.eye(2) / 3, [0.1, 0.2]), deep.layers[0]))
    leaky = FeedForward(deep.layers, activations=(LeakyReLU(0.1), RELU))
    for net in (network(0, 2, 2), deep, leaky, FeedForward((twice, *deep.layers[1:]))):
        own = slacks(net, case)
        np.testing.assert_allclose(own.logits(x)[:, 1:], case.slack(x, net.logits(x)), atol=1e-12)
        assert own.classes == 4 and np.abs(own.logits(x)[:, 0]).max() == 0


def test_nothing_is_carried_past_other_nonlinearities():
    """Counterexamples must meet what joins inputs, proofs do without it and say so."""
    net = FeedForward(network(0, 2, 3, 1).layers, activations=(Sigmoid(),))
    asked = "(and (<= (+ X_0 X_1) -0.5) (<= Y_0 100))"
    found = certify_property(net, parse_vnnlib(text(1, asked)))
    assert found.verdict is Verdict.FALSIFIED and sum(found.point) <= Fraction(-1, 2)
    assert (
        certify_property(net, parse_vnnlib(text(1, "(and (<= (+ X_0 X_1) 0) (>= Y_0 100))"))).verdict
        is Verdict.CERTIFIED
    )
    left = certify_property(net, parse_vnnlib(text(1, "(and (>= (+ X_0 Y_0) 100) (<= X_0 Y_0))")), Limits(time=0.5))
    assert left.verdict is Verdict.UNKNOWN and "beside ReLU and leaky ReLU only" in left.reason


FOLDER = Path(os.environ.get("TIGHTROPE_DATA", "")) / "vnncomp"


@pytest.mark.long
@pytest.mark.skipif(not (FOLDER / "expected.csv").is_file(), reason="no files of VNN-COMP in TIGHTROPE_DATA/vnncomp")
def test_the_competitions_files():
    """Every network and property is read; of those that most tools say are sat, counterexamples satisfy the file."""
    with (FOLDER / "expected.csv").open() as stream:
        instances = list(csv.DictReader(stream))
    networks = {name: load(FOLDER / name) for name in {row["network"] for row in instances}}
    falsified = 0
    for row in instances:
        network, question = networks[row["network"]], read_vnnlib(FOLDER / row["property"])
        assert (question.inputs, question.outputs) == (network.input_size, network.classes)
        if row["expected"] == "sat":
            report = certify_property(network, question, Limits(time=1.0))
            assert report.verdict is not Verdict.CERTIFIED, row
            if report.verdict is Verdict.FALSIFIED:
                assert holds_exactly(network, report, question), row
                falsified += 1
    assert falsified > 10


def test_what_branch_and_bound_meets_is_used(monkeypatch):
    """Four constraints together, without an attack and without halving: the tree's own point is returned."""
    monkeypatch.setattr(properties, "FEW", 0)
    monkeypatch.setattr(properties._Search, "by_points", lambda self, number: None)
    rng = np.random.default_rng(1)
    W1, W2 = rng.normal(size=(12, 5)), rng.normal(size=(25, 12))
    net = FeedForward.dense((W1, W2), (rng.normal(size=12), rng.normal(size=25)))
    text = "".join(f"(declare-const X_{i} Real)(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in range(5))
    text += "".join(f"(declare-const Y_{i} Real)" for i in range(25))
    text += "(assert (and " + "".join(f"(>= (- Y_3 Y_{j}) 3.18)" for j in (0, 1, 2, 4)) + "))"
    question = parse_vnnlib(text)
    report = certify_property(net, question)
    assert report.verdict is Verdict.FALSIFIED and holds_exactly(net, report, question)


def test_many_boxes_in_one_or():
    """Two thousand boxes with limits of their own, halved together; one of them can be reached."""
    net = network(3, 1, 8, 1)
    ends = np.linspace(-1, 1, 2001)
    y = net.logits(ends[:, None])[:, 0]
    boxes = "(and (>= X_0 {}) (<= X_0 {}) (>= Y_0 {}))"
    head = "(declare-const X_0 Real)(declare-const Y_0 Real)"

    def asked(above: float, until: int) -> Property:
        rows = (boxes.format(ends[i], ends[i + 1], max(y[i], y[i + 1]) + above) for i in range(until))
        return parse_vnnlib(f"{head}(assert (or {' '.join(rows)}))")

    assert certify_property(net, asked(0.1, 2000)).verdict is Verdict.CERTIFIED
    question = asked(-1e-6, 2000)
    report = certify_property(net, question)
    assert report.verdict is Verdict.FALSIFIED and holds_exactly(net, report, question)


def test_halving_agrees_with_phases(monkeypatch):
    """Random conjunctions by both: nobody certifies what the other falsifies, and points hold exactly."""
    rng = np.random.default_rng(5)
    seen = set()
    for seed in range(12):
        net = network(seed, 2, 8, 8, 3)
        limits = rng.normal(size=2) + 2
        question = parse_vnnlib(text(3, f"(and (>= Y_0 {limits[0]}) (<= (- Y_1 Y_2) {-limits[1]}))", 1.0))
        verdicts = []
        for few in (12, 0):
            monkeypatch.setattr(properties, "FEW", few)
            report = certify_property(net, question)
            verdicts.append(report.verdict)
            assert report.verdict is not Verdict.FALSIFIED or holds_exactly(net, report, question)
        assert verdicts[0] is verdicts[1]
        seen.add(verdicts[0])
    assert seen == {Verdict.CERTIFIED, Verdict.FALSIFIED}


def test_one_time_limit_for_the_whole_property():
    """It is processor time, and what is open then is a timeout."""
    net = network(0, 6, 60, 60, 60, 3)
    question = parse_vnnlib(
        "".join(f"(declare-const X_{i} Real)(assert (<= X_{i} 1))(assert (>= X_{i} -1))" for i in range(6))
        + "".join(f"(declare-const Y_{i} Real)" for i in range(3))
        + "(assert (or (>= Y_0 5000) (>= Y_1 5000) (>= Y_2 5000)))"
    )
    report = certify_property(net, question, Limits(time=1e-4))
    assert report.verdict is Verdict.UNKNOWN and report.timeout and "time limit" in report.reason
    assert competition_text(report) == "timeout\n"


@pytest.mark.filterwarnings("ignore:.* in matmul")
def test_outputs_that_overflow_are_an_error_by_name(monkeypatch):
    """A network that is too large for rational numbers, with outputs too large for float64."""
    monkeypatch.setattr(relu, "EXACT_UP_TO", 0)
    large = FeedForward.dense(([[1e200]], [[1e200]]), ([0.0], [0.0]))
    asked = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 2))(assert (>= X_0 1))(assert (>= Y_0 1))"
    with pytest.raises(InputError, match="not finite"):
        certify_property(large, parse_vnnlib(asked), Limits(time=1.0))
