"""Bounds from multipliers: sound against exact arithmetic, whatever the multipliers are."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import program, question
from tightrope import checker
from tightrope.errors import InputError
from tightrope.proofs import DualBound, arrays_of, margins
from tightrope.question import Question
from tightrope.regions import INFINITY
from tightrope.solvers.arrow import Arrow
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.sound import _corner, sound_bound

REGIONS = [(1.0, False), (1.0, True), (2.0, False), (2.0, True), (INFINITY, False), (INFINITY, True)]


@settings(max_examples=40)
@given(seed=st.integers(0, 999), log_scale=st.floats(-20, 20), spread=st.floats(0, 6), at=st.sampled_from(REGIONS))
def test_any_multipliers_prove_a_true_bound(seed, log_scale, spread, at):
    """Random multipliers of wild sizes and signs: whatever is claimed lies above the margins of samples."""
    network, region, label, target = question(seed, at[0], 0.5, at[1])
    _, relaxed, data = program(network, region, label, target)
    rng = np.random.default_rng(seed)
    y = 10**log_scale * rng.standard_normal(len(data.norms)) * 10 ** (spread * rng.standard_normal(len(data.norms)))
    bound = sound_bound(data, relaxed.objective, y)
    logits = network.logits(np.vstack([region.center, region.sample(50, rng)]))
    if bound is not None:
        assert (logits[:, target] - logits[:, label]).max() <= bound.value
        assert (bound.multipliers[~relaxed.constraints.equality] >= 0).all()


@pytest.mark.parametrize("norm, clip", REGIONS)
def test_the_bound_is_positive_definiteness_of_the_dense_matrix(norm, clip):
    network, region, label, target = question(1, norm, clip=clip)
    _, relaxed, data = program(network, region, label, target)
    report, _ = InteriorPoint(data).solve(relaxed.objective)
    bound = sound_bound(data, relaxed.objective, report.multipliers)
    c = relaxed.constraints
    Z = -(relaxed.objective + c.matrix(bound.multipliers)).toarray() + bound.shift * np.eye(c.size)
    Z[0, 0] += bound.y0
    assert np.linalg.eigvalsh(Z)[0] >= -1e-14 * np.linalg.norm(Z)
    assert bound.value >= bound.y0 + bound.shift * c.squared_norm
    assert bound.value <= report.dual_value + 1e-4 * (1 + abs(report.dual_value))


def positive_semidefinite(matrix: list[list[Fraction]]) -> bool:
    """Exact LDL' elimination."""
    A = [row[:] for row in matrix]
    for k in range(len(A)):
        if A[k][k] < 0 or (A[k][k] == 0 and any(A[i][k] for i in range(k, len(A)))):
            return False
        if A[k][k] == 0:
            continue
        for i in range(k + 1, len(A)):
            for j in range(k + 1, len(A)):
                A[i][j] -= A[i][k] * A[k][j] / A[k][k]
    return True


@settings(max_examples=60)
@given(seed=st.integers(0, 999), log_scale=st.floats(-8, 8), log_edge=st.floats(-17, 1), p=st.integers(1, 3))
def test_bounds_hold_in_exact_arithmetic(seed, log_scale, log_edge, p):
    """The matrix of the floating-point program, summed and eliminated in rational numbers, is semidefinite."""
    network, region, label, target = question(seed, INFINITY, 0.5, p=p, p0=2, K=2)
    _, relaxed, data = program(network, region, label, target)
    report, _ = InteriorPoint(data).solve(relaxed.objective, max_iterations=12)
    rng = np.random.default_rng(seed)
    y = report.multipliers * 10**log_scale * (1 + 10**log_edge * rng.standard_normal(len(data.norms)))
    bound = sound_bound(data, relaxed.objective, y)
    if bound is None:
        return
    c = relaxed.constraints
    N = c.size
    exact = np.vectorize(Fraction, otypes=[object])
    forms, weights = exact(c.forms.toarray()), exact(c.weights.T.toarray())
    Z = -exact(relaxed.objective.toarray())
    for r, w in enumerate(weights @ exact(bound.multipliers)):
        outer = np.outer(forms[c.left[r]], forms[c.right[r]])
        Z = Z - w * (outer + outer.T) / 2
    Z = Z + Fraction(bound.shift) * exact(np.eye(N))
    Z[0, 0] += Fraction(bound.y0)
    assert positive_semidefinite(Z.tolist())
    assert Fraction(bound.value) >= Fraction(bound.y0) + Fraction(bound.shift) * Fraction(c.squared_norm)


def test_a_coupling_that_cancels_against_a_tiny_pivot_is_paid_for():
    """cd is 0 after cancellation of terms of size 1, dd is 1e-20: its error 1e-16 squared over 1e-20 is 1e-12."""
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    Z = Arrow(zero, zero, np.array([1e-20]))
    free = _corner(Z, Arrow(zero, zero, np.array([1e-20])), 0.0, 1)
    paid = _corner(Z, Arrow(zero, one, np.array([1e-20])), 0.0, 1)
    assert 0 <= free < 1e-20
    assert paid > 1e-12


def test_multipliers_that_prove_nothing():
    _, relaxed, data = program(*question(2, INFINITY))
    count = len(data.norms)
    for value in (np.nan, np.inf, -np.inf):
        y = np.ones(count)
        y[1] = value
        assert sound_bound(data, relaxed.objective, y) is None
    assert sound_bound(data, relaxed.objective, np.full(count, 1e308)) is None
    with pytest.raises(InputError, match="multipliers"):
        sound_bound(data, relaxed.objective, np.ones(count + 1))


def test_no_multipliers_at_all_give_the_trace_bound():
    """With y = 0 only the trace is left: max of a linear form over ||v||^2 <= R^2, v_0 = 1, within a factor."""
    _, relaxed, data = program(*question(3, 2.0))
    bound = sound_bound(data, relaxed.objective, np.zeros(len(data.norms)))
    top = np.linalg.eigvalsh(relaxed.objective.toarray())[-1] * relaxed.constraints.squared_norm
    assert 0 < bound.value < 3 * top


@settings(max_examples=30)
@given(seed=st.integers(0, 999), log_scale=st.integers(-3, 12), at=st.sampled_from(REGIONS), radius=st.floats(0, 3))
def test_the_checker_proves_what_is_issued(seed, log_scale, at, radius):
    """At every scale of the outputs, to the digits that a file has; and nothing much below it."""
    network, region, label, target = question(seed, at[0], radius, at[1], p=3, p0=2)
    scale = 10.0**log_scale
    network = dataclasses.replace(network, C=network.C * scale, c=network.c * scale)
    _, relaxed, data = program(network, region, label, target)
    bound = sound_bound(data, relaxed.objective, InteriorPoint(data).solve(relaxed.objective)[0].multipliers)
    dual = DualBound(target, bound.value, relaxed.constraints.split(bound.multipliers))
    file = margins(Question(network, region, label), [dual]).certificate
    assert float(file.claims[0]["bound"]) == pytest.approx(bound.value, rel=1e-3, abs=1e-3)
    below = str(bound.value - 1e-2 * (1e-3 * scale + abs(bound.value)))
    lower = dataclasses.replace(file, claims=[file.claims[0] | {"bound": below}])
    (finding,) = checker.check(lower, arrays_of(network)[1])
    assert not finding.proven
