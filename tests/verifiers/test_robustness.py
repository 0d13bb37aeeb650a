"""The verifier: nothing is certified that is not, and every other outcome says why."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import ball, exact_margin, mondeq, question
from tightrope import datasets, zoo
from tightrope.errors import InputError, NetworkError, RegionError, SolverUnavailableError, UnknownNameError
from tightrope.networks import MonDEQ
from tightrope.question import Limits, Verdict
from tightrope.regions import INFINITY, Ball, pixel_ball
from tightrope.solvers import conic
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.report import SolveReport, Status
from tightrope.verifiers import robustness
from tightrope.verifiers.report import combined
from tightrope.verifiers.robustness import METHODS, certify

OURS = ["cascade", "interior-point"]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 999),
    norm=st.sampled_from([1.0, 1.5, 2.0, 3.0, INFINITY]),
    radius=st.sampled_from([0.0, 1e-6, 0.05, 0.5, 5.0]),
    clip=st.booleans(),
    method=st.sampled_from(OURS),
    attack=st.booleans(),
    K=st.sampled_from([2, 4]),
)
def test_certified_is_true_and_falsified_has_a_point(seed, norm, radius, clip, method, attack, K):
    network, region, label, _ = question(seed, norm, radius, clip, K=K)
    report = certify(network, region, label, method=method, attack=attack)
    points = np.vstack([region.center, region.sample(100, np.random.default_rng(seed))])
    margins = network.logits(points)
    margins = (margins - margins[:, [label]]).max(0)
    verdicts = {d.verdict for d in report.decisions}
    assert [d.label for d in report.decisions] == [k for k in range(K) if k != label]
    for decision in report.decisions:
        assert decision.verdict in (Verdict.CERTIFIED, Verdict.FALSIFIED, Verdict.UNKNOWN)
        if decision.bound is not None:
            assert margins[decision.label] <= decision.bound
            assert decision.dual is not None or decision.tree is not None
        if decision.dual is not None and decision.verdict is Verdict.CERTIFIED and norm in (1, 2, INFINITY):
            assert report.certificate(decision.label).proven
        if decision.verdict is Verdict.CERTIFIED:
            assert decision.bound < 0
        if decision.verdict is Verdict.UNKNOWN:
            assert decision.reason
    assert (report.verdict is Verdict.CERTIFIED) == (verdicts == {Verdict.CERTIFIED})
    assert (report.verdict is Verdict.FALSIFIED) == (report.attack is not None)
    if report.attack is not None:
        scores = network.logits(report.attack.point)
        assert region.contains(report.attack.point)
        assert scores[report.attack.label] >= scores[label] - 1e-9


@settings(max_examples=15)
@given(seed=st.integers(0, 999), radius=st.sampled_from([0.05, 0.3]), method=st.sampled_from(OURS))
def test_certified_against_the_exact_margin(seed, radius, method):
    network, region, label, _ = question(seed, INFINITY, radius, p=3)
    for decision in certify(network, region, label, method=method).decisions:
        exact = exact_margin(network, region, label, decision.label)
        assert decision.bound is None or exact <= decision.bound + 1e-9
        assert decision.verdict is not Verdict.CERTIFIED or exact < 0
        assert decision.verdict is not Verdict.FALSIFIED or exact >= -1e-7


@pytest.mark.parametrize("clip", [False, True])
def test_methods_agree_on_digits(clip):
    """The cascade decides what the interior point decides, with bounds that are no tighter."""
    network, digits = zoo.get("digits/mondeq-16").network, datasets.load("digits")
    index = 0
    label = int(digits.labels[index])
    region = pixel_ball(digits.image(index), "inf", 0.02, digits.normalisation, clip=clip)
    reports = {method: certify(network, region, label, method=method) for method in OURS}
    for cascade, full in zip(*(reports[m].decisions for m in OURS), strict=True):
        assert full.bound <= cascade.bound + 1e-3
        assert (full.verdict is Verdict.CERTIFIED) == (cascade.verdict is Verdict.CERTIFIED)
    assert reports["interior-point"].verdict is Verdict.CERTIFIED


@pytest.mark.parametrize("method", OURS)
@pytest.mark.parametrize("attack", [False, True])
def test_a_wrong_centre_falsifies_whatever_is_asked(method, attack):
    network = mondeq(0)
    region = ball(0, 3, INFINITY, 1e-3)
    order = np.argsort(network.logits(region.center))  # worst, middle, best
    report = certify(network, region, int(order[1]), method=method, attack=attack)
    assert report.verdict is Verdict.FALSIFIED and report.attack.label == report.predicted == order[2]
    # Only the worst label is asked for: it cannot win, but the image is wrong all the same.
    report = certify(network, region, int(order[1]), method=method, attack=attack, targets=[int(order[0])])
    assert report.decisions[0].verdict is Verdict.CERTIFIED
    assert report.verdict is Verdict.FALSIFIED and report.attack.margin > 0


@pytest.mark.parametrize("method", OURS)
@pytest.mark.parametrize("attack", [False, True])
def test_a_tie_counts_against_the_label(method, attack):
    plain = mondeq(1)
    network = MonDEQ(plain.W, plain.U, plain.u, 0 * plain.C, 0 * plain.c, plain.m)
    report = certify(network, ball(1, 3, INFINITY, 0.0), 0, method=method, attack=attack)
    assert report.predicted == 0 and report.verdict is Verdict.FALSIFIED
    assert all(d.verdict is Verdict.FALSIFIED and d.attack_margin == 0 for d in report.decisions)


@pytest.mark.parametrize("method", OURS)
@pytest.mark.parametrize("norm", [2.0, INFINITY])
@pytest.mark.parametrize("case", ["dead", "active", "blind", "flat"])
def test_degenerate_networks_and_regions(method, norm, case):
    """Neurons that never or always fire, a network that does not see its input, a box without width."""
    plain, region = mondeq(2), ball(2, 3, norm, 0.05)
    weights = {name: getattr(plain, name) for name in ("W", "U", "u", "C", "c")}
    if case == "dead":
        weights["u"] = plain.u - 50
    elif case == "active":
        weights["u"] = (np.eye(4) - plain.W) @ np.full(4, 5.0)
        region = Ball(np.zeros(3), 0.05, norm)
    elif case == "blind":
        weights["U"] = 0 * plain.U
    else:
        region = Ball(region.center, 0.05, norm, region.center, region.center)
    network = MonDEQ(**weights)
    label = network.predict(region.center)
    report = certify(network, region, label, method=method)
    scores = network.logits(region.center)
    for d in report.decisions:
        assert d.verdict in (Verdict.CERTIFIED, Verdict.UNKNOWN)
        assert d.bound >= scores[d.label] - scores[label]
    if case != "active" and method == "interior-point":
        assert report.verdict is Verdict.CERTIFIED


def stub(multipliers, status=Status.SOLVED):
    """A solver that says SOLVED with value -1, whatever its multipliers are worth."""

    def solve(self, objective, **options):
        y = multipliers(len(self.data.norms))
        return SolveReport(status, -1.0, -1.0, y, 0.0, 0.0, 0.0, 1, 0.0, "liar", "0"), None

    return solve


def test_a_solver_is_never_believed(monkeypatch):
    """A target that can win is UNKNOWN or FAILED, however sure the solver is that it cannot."""
    network, region, label, _ = question(0, INFINITY, 2.0)
    margins = network.logits(region.sample(500, np.random.default_rng(0)))
    margins = (margins - margins[:, [label]]).max(0)
    target = int(np.argmax(margins))
    assert margins[target] > 0
    expected = {
        "nan": (lambda k: np.full(k, np.nan), Verdict.FAILED),
        "none": (lambda k: None, Verdict.FAILED),
        "huge": (lambda k: np.full(k, 1e308), Verdict.FAILED),
        "wrong signs": (lambda k: np.full(k, -1.0), Verdict.UNKNOWN),
        "concave the wrong way": (np.ones, Verdict.UNKNOWN),
        "zero": (np.zeros, Verdict.UNKNOWN),
    }
    for name, (multipliers, verdict) in expected.items():
        monkeypatch.setattr(InteriorPoint, "solve", stub(multipliers))
        report = certify(network, region, label, targets=[target], method="interior-point", attack=False)
        assert report.verdict is report.decisions[0].verdict is verdict, name
        bound = report.decisions[0].bound
        assert bound is None or bound >= margins[target]


def test_a_failure_is_reported_before_an_unknown_and_after_an_attack():
    verdicts = {
        (Verdict.CERTIFIED, Verdict.CERTIFIED): Verdict.CERTIFIED,
        (Verdict.CERTIFIED, Verdict.UNKNOWN): Verdict.UNKNOWN,
        (Verdict.CERTIFIED, Verdict.COMPUTED): Verdict.COMPUTED,
        (Verdict.COMPUTED, Verdict.UNKNOWN): Verdict.UNKNOWN,
        (Verdict.UNKNOWN, Verdict.FAILED): Verdict.FAILED,
        (Verdict.FAILED, Verdict.FALSIFIED): Verdict.FALSIFIED,
        (Verdict.CERTIFIED, Verdict.FAILED): Verdict.FAILED,
    }
    for pair, expected in verdicts.items():
        for order in itertools.permutations(pair):
            assert combined(order) is expected


def test_a_broken_warm_start_is_started_again_cold(monkeypatch):
    network, region, label, _ = question(0, 1.0, 0.05, K=5)
    original = InteriorPoint.solve
    starts = []

    def solve(self, objective, *, start=None, **options):
        starts.append(start)
        report, warm = original(self, objective, **options)
        if start is not None:
            report = replace(report, status=Status.NUMERICAL, multipliers=None)
        return report, warm

    monkeypatch.setattr(InteriorPoint, "solve", solve)
    report = certify(network, region, label, attack=False)
    assert any(start is not None for start in starts)
    assert all(d.verdict is not Verdict.FAILED for d in report.decisions)


def test_a_time_limit_is_unknown_with_its_reason():
    network, region, label, _ = question(0, INFINITY, 0.3)
    report = certify(network, region, label, method="interior-point", attack=False, limits=Limits(time=1e-9))
    assert report.verdict is Verdict.UNKNOWN
    assert all("time limit" in d.reason for d in report.decisions)


@pytest.mark.parametrize("solver", ["scs", "clarabel"])
def test_conic_methods_give_the_same_verdicts(solver):
    network, region, label, _ = question(0, INFINITY, 0.05)
    ours, theirs = (certify(network, region, label, method=m) for m in ("interior-point", solver))
    for a, b in zip(ours.decisions, theirs.decisions, strict=True):
        assert a.verdict is b.verdict and b.solver.startswith(solver)
        assert a.bound == pytest.approx(b.bound, abs=1e-2)


@pytest.fixture
def no_solve(monkeypatch):
    """Any solve or attack is a failure of the test."""

    def solve(*args, **kwargs):
        pytest.fail("a solve was started")

    monkeypatch.setattr(InteriorPoint, "solve", solve)
    monkeypatch.setattr(conic, "solve", solve)
    monkeypatch.setattr(robustness, "pgd", solve)


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"method": "interior-points"}, UnknownNameError),
        ({"method": "reduced-dual"}, UnknownNameError),
        ({"label": 3}, InputError),
        ({"label": -1}, InputError),
        ({"label": 0.0}, InputError),
        ({"targets": []}, InputError),
        ({"targets": [0]}, InputError),
        ({"targets": [1.7]}, InputError),
        ({"targets": [3]}, InputError),
        ({"targets": ["1"]}, InputError),
        ({"limits": {"tolerance": 0}}, InputError),
        ({"limits": {"tolerance": np.nan}}, InputError),
        ({"limits": {"time": 0}}, InputError),
        ({"limits": {"time": np.nan}}, InputError),
        ({"region": Ball(np.zeros(4), 0.1, 2)}, RegionError),
        ({"network": "mnist-87"}, InputError),
    ],
    ids=str,
)
def test_bad_input_is_named_before_any_solve(arguments, error, no_solve):
    defaults = {"network": mondeq(0), "region": Ball(np.zeros(3), 0.1, INFINITY), "label": 0}
    with pytest.raises(error):
        certify(**(defaults | arguments | {"limits": Limits(**arguments.get("limits", {}))}))


def test_bad_numbers_do_not_become_networks_or_regions():
    plain = mondeq(0)
    for field in ("W", "U", "u", "C", "c"):
        wrong = {name: getattr(plain, name).copy() for name in ("W", "U", "u", "C", "c")}
        wrong[field].flat[0] = np.nan
        with pytest.raises(NetworkError, match=field):
            MonDEQ(**wrong)
    with pytest.raises(NetworkError, match="monotone"):
        MonDEQ(2 * np.eye(4), plain.U, plain.u, plain.C, plain.c)
    for radius in (-0.1, np.nan):
        with pytest.raises(RegionError, match="radius"):
            Ball(np.zeros(3), radius, 2)


def test_scores_that_overflow_are_refused(no_solve):
    plain = mondeq(0)
    network = MonDEQ(plain.W, plain.U, plain.u + 10, 1e308 * np.sign(plain.C) / 2, plain.c, plain.m)
    with np.errstate(all="ignore"), pytest.raises(InputError, match="not finite"):
        certify(network, Ball(np.zeros(3), 0.1, INFINITY), 0)


def test_mosek_without_package_or_licence_is_named_before_any_solve(no_solve, monkeypatch):
    def unavailable(solver):
        raise SolverUnavailableError(f"{solver}: no licence")

    monkeypatch.setattr(conic, "require", unavailable)
    network, region, label, _ = question(0, INFINITY)
    with pytest.raises(SolverUnavailableError, match="mosek"):
        certify(network, region, label, method="mosek")
    assert "mosek" in METHODS
