"""The interior point: same value as other solvers, cold and warm, and the printed ones."""

import numpy as np
import pytest

from tests.helpers import ball, mondeq, program, question
from tightrope import datasets, zoo
from tightrope.problems.robustness import robustness_model
from tightrope.proofs import DualBound, margins
from tightrope.question import Question
from tightrope.regions import INFINITY, pixel_ball
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers import conic, schur
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.report import Status
from tightrope.solvers.sound import sound_bound

REGIONS = [(1.0, False), (1.0, True), (2.0, False), (2.0, True), (INFINITY, False), (INFINITY, True)]


def test_agrees_with_clarabel_and_scs_on_digits():
    """An L2 ball keeps only the row space of U: 33 coordinates."""
    network, digits = zoo.get("digits/mondeq-16").network, datasets.load("digits")
    label = int(digits.labels[0])
    region = pixel_ball(digits.image(0), 2, 0.3, digits.normalisation, clip=False)
    _, relaxed, data = program(network, region, label, (label + 3) % 10)
    assert relaxed.constraints.size < 50
    report, _ = InteriorPoint(data).solve(relaxed.objective, tolerance=1e-7)
    assert report.status == Status.SOLVED
    ours = sound_bound(data, relaxed.objective, report.multipliers).value
    for solver in ("clarabel", "scs"):
        other = conic.solve(relaxed, solver, tolerance=1e-7)
        assert other.status == Status.SOLVED
        assert other.dual_value == pytest.approx(ours, abs=1e-4)
        assert sound_bound(data, relaxed.objective, other.multipliers).value == pytest.approx(ours, abs=1e-4)


@pytest.mark.parametrize("norm, clip", REGIONS)
@pytest.mark.parametrize("radius", [0.05, 1.0])
def test_agrees_with_clarabel_on_every_kind_of_region(norm, clip, radius):
    _, relaxed, data = program(*question(1, norm, radius, clip))
    report, _ = InteriorPoint(data).solve(relaxed.objective, tolerance=1e-6)
    other = conic.solve(relaxed, "clarabel")
    ours = sound_bound(data, relaxed.objective, report.multipliers).value
    assert ours == pytest.approx(other.dual_value, abs=1e-4 * (1 + abs(ours)))
    assert report.primal_value <= ours + 1e-4 * (1 + abs(ours))


@pytest.mark.parametrize("norm, clip", REGIONS)
def test_warm_start_gives_the_value_of_a_cold_one(norm, clip):
    network, region, label, target = question(2, norm, clip=clip, K=4)
    model = robustness_model(network, region, label)
    data = ArrowData(shor_constraints(model))
    solver = InteriorPoint(data)
    others = [t for t in range(4) if t != label]
    warm = None
    for target in others:
        objective = objective_matrix(model.problem(target).objective)
        cold, _ = solver.solve(objective, tolerance=1e-6)
        started, warm = solver.solve(objective, tolerance=1e-6, start=warm)
        assert started.dual_value == pytest.approx(cold.dual_value, abs=1e-4)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("radius", [0.01, 0.3])
def test_the_bound_without_the_block_of_the_pixels_is_the_one_with_it(radius, clip, monkeypatch):
    _, relaxed, data = program(*question(4, INFINITY, radius, clip, p=4, p0=80))
    eliminating = InteriorPoint(data)
    monkeypatch.setattr(schur, "MANY_SQUARES", np.inf)
    whole = InteriorPoint(data)
    assert eliminating.schur.eliminated >= 79 and not whole.schur.eliminated
    found, expected = (solver.solve(relaxed.objective, tolerance=1e-6)[0] for solver in (eliminating, whole))
    assert found.status == expected.status == Status.SOLVED
    assert found.dual_value == pytest.approx(expected.dual_value, rel=1e-5, abs=1e-5)
    assert abs(found.iterations - expected.iterations) <= 2


def test_multipliers_are_valid_whenever_the_solve_stops():
    """Every iterate proves a bound; more iterations never a worse one."""
    _, relaxed, data = program(*question(3, INFINITY))
    values = []
    for limit in range(0, 12):
        report, _ = InteriorPoint(data).solve(relaxed.objective, max_iterations=limit)
        values.append(sound_bound(data, relaxed.objective, report.multipliers).value)
    assert report.status in (Status.SOLVED, Status.ITERATION_LIMIT)
    assert values[-1] <= values[0]
    assert values[-1] == pytest.approx(report.primal_value, abs=1e-2)


def test_stops_at_the_sign_and_at_limits():
    network, region, label, target = question(0, INFINITY, 0.01)
    _, relaxed, data = program(network, region, label, target)
    solver = InteriorPoint(data)
    full, _ = solver.solve(relaxed.objective)
    early, _ = solver.solve(relaxed.objective, sign_only=True)
    assert full.dual_value <= early.dual_value + 1e-6 and early.dual_value < 0
    assert early.status == Status.SIGN_KNOWN and early.iterations < full.iterations
    late, _ = solver.solve(relaxed.objective, time_limit=1e-9)
    assert late.status == Status.TIME_LIMIT and late.multipliers is not None


def test_warm_start_of_other_constraints_is_refused():
    _, relaxed, data = program(*question(0, INFINITY))
    solver = InteriorPoint(data)
    _, warm = solver.solve(relaxed.objective)
    wrong = relaxed.objective.tolil()
    wrong[1, 1] = 1.0
    with pytest.raises(ValueError, match="warm start"):
        solver.solve(wrong.tocsr(), start=warm)


@pytest.mark.parametrize("norm", [1.0, 2.0, INFINITY])
@pytest.mark.parametrize("radius", [0.0, 1e-9, 100.0])
def test_extreme_radii_still_end_in_a_bound(norm, radius):
    for seed in range(3):
        network = mondeq(seed, p=3, p0=2)
        region = ball(seed, 2, norm, radius)
        label = network.predict(region.center)
        target = (label + 1) % 3
        _, relaxed, data = program(network, region, label, target)
        report, _ = InteriorPoint(data).solve(relaxed.objective)
        logits = network.logits(np.vstack([region.center, region.sample(50, np.random.default_rng(seed))]))
        bound = sound_bound(data, relaxed.objective, report.multipliers)
        assert (logits[:, target] - logits[:, label]).max() <= bound.value + 1e-9


@pytest.mark.published
@pytest.mark.parametrize("norm, epsilon, value", [(2, 0.1, -9.7944), ("inf", 0.01, -9.0534), ("inf", 0.05, -3.0214)])
def test_optimal_values_on_the_published_network(norm, epsilon, value):
    """Image 0 (a 7), label 0 against 7, unclipped, output bias included."""
    network, mnist = zoo.get("chen2021-mondeq/mnist-87").network, datasets.load("mnist")
    assert mnist.labels[0] == 7
    region = pixel_ball(mnist.image(0), norm, epsilon, mnist.normalisation, clip=False)
    _, relaxed, data = program(network, region, 7, 0)
    report, _ = InteriorPoint(data).solve(relaxed.objective)
    assert report.status == Status.SOLVED
    bound = sound_bound(data, relaxed.objective, report.multipliers)
    assert report.dual_value == pytest.approx(value, abs=1e-3)
    assert bound.value == pytest.approx(value, abs=1e-3)
    split = relaxed.constraints.split(bound.multipliers)
    proof = margins(Question(network, region, 7), [DualBound(0, bound.value, split)])
    assert float(proof.certificate.claims[0]["bound"]) == pytest.approx(value, abs=1e-3)


@pytest.mark.published
def test_an_l2_ball_of_the_published_network_to_eight_digits():
    """Image 0, label 3 against 7: near the optimum the smallest eigenvalues of X are at the rounding of its largest."""
    network, mnist = zoo.get("chen2021-mondeq/mnist-87").network, datasets.load("mnist")
    region = pixel_ball(mnist.image(0), 2, 0.1, mnist.normalisation, clip=False)
    _, relaxed, data = program(network, region, 7, 3)
    report, _ = InteriorPoint(data).solve(relaxed.objective, tolerance=1e-8)
    assert (report.status, relaxed.constraints.size) == (Status.SOLVED, 175)
    assert report.gap < 1e-8 and report.primal_residual < 1e-4
    assert sound_bound(data, relaxed.objective, report.multipliers).value == pytest.approx(
        report.primal_value, abs=1e-6
    )
