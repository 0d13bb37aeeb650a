"""Shor's relaxation: matrices are the products, and its value is on the right side of the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import exact_margin, program, question
from tightrope.attacks import pgd
from tightrope.networks import MonDEQ
from tightrope.question import Question
from tightrope.regions import INFINITY, Ball
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.sound import sound_bound

REGIONS = [(1.0, False), (1.0, True), (2.0, False), (2.0, True), (INFINITY, False), (INFINITY, True)]


def bound(network, region, label, target, tolerance=1e-6):
    """The proven bound of Shor's relaxation."""
    _, relaxed, data = program(network, region, label, target)
    report, _ = InteriorPoint(data).solve(relaxed.objective, tolerance=tolerance)
    return sound_bound(data, relaxed.objective, report.multipliers).value


@pytest.mark.parametrize("norm, clip", REGIONS)
def test_matrices_evaluate_the_products(norm, clip, rng):
    network, region, label, target = question(0, norm, clip=clip)
    model, relaxed, _ = program(network, region, label, target)
    c = relaxed.constraints
    v = rng.standard_normal(c.size)
    direct = np.concatenate([group.body(v) for group in model.constraints])
    np.testing.assert_allclose([v @ (A @ v) for A in c.matrices()], direct, atol=1e-10)
    assert v @ (relaxed.objective @ v) == pytest.approx(model.problem(target).objective(v)[0])
    y = rng.standard_normal(len(direct))
    total = sum(weight * A.toarray() for weight, A in zip(y, c.matrices(), strict=True))
    np.testing.assert_allclose(c.matrix(y).toarray(), total, atol=1e-12)
    np.testing.assert_allclose(total, total.T, atol=0)
    size = c.absolute_matrix(y).toarray()
    assert (
        size >= sum(abs(weight) * abs(A.toarray()) for weight, A in zip(y, c.matrices(), strict=True)) - 1e-12
    ).all()
    assert list(c.split(y)) == list(c.groups)
    np.testing.assert_array_equal(np.concatenate(list(c.split(y).values())), y)


def test_equal_forms_and_products_are_kept_once():
    _, relaxed, _ = program(*question(0, 1.0))
    c = relaxed.constraints
    dense = c.forms.toarray()
    assert len(np.unique(dense, axis=0)) == len(dense)
    pairs = np.sort(np.stack([c.left, c.right], 1), 1)
    assert len(np.unique(pairs, axis=0)) == len(pairs)


@settings(max_examples=12)
@given(seed=st.integers(0, 999), p=st.integers(1, 5), radius=st.sampled_from([0.05, 0.5, 2.0]), clip=st.booleans())
def test_attack_below_exact_below_shor(seed, p, radius, clip):
    """For L-infinity the exact value comes from one linear program for each activation pattern."""
    network, region, label, target = question(seed, INFINITY, radius, clip, p=p)
    exact = exact_margin(network, region, label, target)
    attack = pgd(Question(network, region, label, [target]), restarts=3, steps=20, seed=seed).best_margin[target]
    relaxed = bound(network, region, label, target)
    scale = 1 + abs(exact)
    assert attack <= exact + 1e-7 * scale
    assert exact <= relaxed + 1e-7 * scale


@settings(max_examples=12)
@given(seed=st.integers(0, 999), norm=st.sampled_from([1.0, 1.5, 2.0, 3.0]), clip=st.booleans())
def test_attack_and_samples_below_shor(seed, norm, clip):
    network, region, label, target = question(seed, norm, 0.5, clip)
    logits = network.logits(region.sample(500, np.random.default_rng(seed)))
    attack = pgd(Question(network, region, label, [target]), restarts=3, steps=20, seed=seed).best_margin[target]
    relaxed = bound(network, region, label, target)
    assert max(attack, (logits[:, target] - logits[:, label]).max()) <= relaxed + 1e-8


@pytest.mark.parametrize("norm, clip", REGIONS)
def test_permuted_neurons_give_the_same_bound(norm, clip, rng):
    network, region, label, target = question(1, norm, clip=clip)
    o = rng.permutation(network.width)
    permuted = MonDEQ(network.W[np.ix_(o, o)], network.U[o], network.u[o], network.C[:, o], network.c, network.m)
    assert bound(permuted, region, label, target) == pytest.approx(bound(network, region, label, target), abs=1e-4)


def test_rotated_input_gives_the_same_l2_bound(rng):
    network, region, label, target = question(2, 2.0, p=3, p0=5)
    Q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    rotated = MonDEQ(network.W, network.U @ Q.T, network.u, network.C, network.c, network.m)
    turned = Ball(Q @ region.center, region.radius, 2)
    assert bound(rotated, turned, label, target) == pytest.approx(bound(network, region, label, target), abs=1e-5)


@pytest.mark.parametrize("norm", [1.0, 2.0, INFINITY])
def test_a_clip_box_that_cuts_nothing_changes_nothing(norm):
    network, region, label, target = question(3, norm, p=3, p0=5)
    boxed = Ball(region.center, region.radius, norm, region.center - 50, region.center + 50)
    assert bound(network, boxed, label, target) == pytest.approx(bound(network, region, label, target), abs=1e-5)


@pytest.mark.parametrize("norm", [1.0, 2.0, INFINITY])
def test_scaled_inputs_give_the_same_bound(norm):
    """x -> 10 x with U / 10: only the unit of the radius changes."""
    network, region, label, target = question(4, norm)
    scaled = MonDEQ(network.W, network.U / 10, network.u, network.C, network.c, network.m)
    wide = Ball(10 * region.center, 10 * region.radius, norm)
    assert bound(scaled, wide, label, target) == pytest.approx(bound(network, region, label, target), abs=1e-5)


@pytest.mark.parametrize("norm", [1.0, 2.0, INFINITY])
def test_a_larger_ball_or_one_without_its_box_has_a_larger_bound(norm):
    network, region, label, target = question(5, norm, 0.2)
    small = bound(network, region, label, target)
    large = bound(network, Ball(region.center, 0.3, norm), label, target)
    box = Ball(region.center, 0.2, norm, region.center - 0.05, region.center + 0.3)
    assert bound(network, box, label, target) <= small + 1e-5 <= large + 2e-5


def test_a_point_has_its_own_margin():
    """Radius 0: the relaxation is no better than the graph of ReLU at one point, which it describes exactly."""
    for norm in (1.0, 2.0, INFINITY):
        network, region, label, target = question(6, norm, 0.0)
        scores = network.logits(region.center)
        assert bound(network, region, label, target, 1e-7) == pytest.approx(scores[target] - scores[label], abs=1e-3)
