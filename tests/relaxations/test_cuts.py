"""Order 1+cuts: true states satisfy every cut, and attack <= exact <= cuts <= Shor on networks small enough for LPs."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import exact, exact_margin, exactly_solved, question
from tightrope import checker, proofs
from tightrope.attacks import pgd
from tightrope.errors import InputError, UnknownNameError
from tightrope.networks import MonDEQ
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.fixpoint import Box, fixpoint_bounds
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import INFINITY, Ball
from tightrope.relaxations.cuts import cut_model
from tightrope.verifiers.robustness import certify
from tightrope.verifiers.tightening import Tightening


def all_pairs(model):
    grid = np.meshgrid(np.arange(model.core_facts.shape[0]), np.arange(model.facts.shape[0]), indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, 2)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 999),
    norm=st.sampled_from([1.0, 2.0, INFINITY]),
    radius=st.sampled_from([0.0, 0.1, 1.0]),
    clip=st.booleans(),
)
def test_every_product_holds_at_true_states(seed, norm, radius, clip):
    """None of the thousands of products is violated, the eliminated neurons come out right, and so does the margin."""
    network, region, label, target = question(seed, norm, radius, clip, p=5)
    base = robustness_model(network, region, label)
    model = cut_model(base, fixpoint_bounds(network, region).h)
    model = model.with_pairs(all_pairs(model))
    n = base.coordinates.V.shape[1]
    d = np.random.default_rng(seed).uniform(-1, 1, (30, n))
    if base.coordinates.kind != "box":
        d /= np.maximum(1, np.linalg.norm(d, ord=1 if base.coordinates.kind == "l1" else 2, axis=1, keepdims=True))
    if base.coordinates.lower is not None:
        d = np.clip(d, base.coordinates.lower, base.coordinates.upper)
    v = model.point(d)
    size = 1 + np.abs(v).max() ** 2
    problem = model.problem(target)
    assert max(problem.violations(v).values(), default=0) <= 1e-7 * size
    assert np.allclose(v @ model.lift.T.toarray(), base.point(d), atol=1e-7 * size)
    assert np.allclose(problem.objective(v), base.problem(target).objective(base.point(d)), atol=1e-7 * size)
    assert (np.sum(v**2, axis=1) <= model.squared_norm * (1 + 1e-9)).all()


@pytest.mark.parametrize("seed", range(6))
def test_rounding_of_eliminated_neurons_against_rational_numbers(seed):
    """z_A as a form in z_U and d, whatever these are, beside the exact solution."""
    network, region, label, _ = question(seed, INFINITY, 0.05, p=8)
    base = robustness_model(network, region, label)
    model = cut_model(base, fixpoint_bounds(network, region).h)
    active = np.flatnonzero(model.bounds.lower >= 0)
    W, V, b = network.W, base.coordinates.V, network.U @ base.coordinates.origin + network.u
    right = np.hstack([b[active, None], W[np.ix_(active, model.unstable)], V[active]])
    true = exactly_solved(np.eye(len(active), dtype=int) - exact(W[np.ix_(active, active)]), exact(right))
    ours = exact(model.lift.toarray()[base.space.slices["z"]][active])
    v = exact(np.random.default_rng(seed).standard_normal(ours.shape[1]))
    v = v * Fraction(float(np.sqrt(base.squared_norm) / np.linalg.norm(v.astype(float)) / 1.01))
    off = float((((ours - true) @ v) ** 2).sum()) ** 0.5
    assert off <= model.rounding - base.rounding < 1e-11


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("radius", [0.1, 0.5])
def test_order_attack_exact_cuts_shor(seed, radius):
    network, region, label, target = question(seed, INFINITY, radius, p=6)
    attack = pgd(Question(network, region, label, [target]), restarts=2, steps=20, seed=0).best_margin[target]
    exact = exact_margin(network, region, label, target)
    options = {"targets": [target], "method": "interior-point", "attack": False, "limits": Limits(1e-6)}
    shor = certify(network, region, label, **options).decisions[0]
    cuts = certify(network, region, label, order="1+cuts", **options).decisions[0]
    assert attack <= exact + 1e-6
    assert exact <= cuts.bound + 1e-7
    assert cuts.bound <= shor.bound + 1e-4 * (1 + abs(shor.bound))


def between(seed):
    """A question whose true margin is below 0 and whose bound of order 1 is above: c is moved to lie in the gap."""
    network, region, label, target = question(seed, INFINITY, 0.5, p=6)
    options = {"targets": [target], "method": "interior-point", "attack": False, "limits": Limits(1e-6)}
    shor = certify(network, region, label, **options).decisions[0].bound
    cuts = certify(network, region, label, order="1+cuts", **options).decisions[0].bound
    c = network.c.copy()
    c[target] -= (shor + cuts) / 2
    return replace(network, c=c), region, label, target, shor - cuts


def test_cuts_decide_what_shor_cannot():
    """Where the bound of order 1 is positive, cuts certify; the certificate is checked, and tampered ones are not."""
    decided = 0
    for seed in range(6):
        network, region, label, target, gap = between(seed)
        if gap < 1e-2 or network.predict(region.center) != label:
            continue
        options = {"targets": [target], "attack": False}
        assert certify(network, region, label, complete=False, **options).decisions[0].verdict is Verdict.UNKNOWN
        report = certify(network, region, label, order="1+cuts", **options)
        (decision,) = report.decisions
        assert decision.verdict is Verdict.CERTIFIED
        decided += 1
        proof = report.certificate(target)
        assert proof.proven
        file, weights = proof.certificate, proofs.arrays_of(network)[1]
        bound = float(file.claims[0]["bound"])
        assert exact_margin(network, region, label, target) <= decision.bound <= bound < 0
        for name, less in (("u", 0.01), ("l", -0.01)):  # bounds on h that are narrower than can be proven
            narrower = replace(file, arrays=file.arrays | {name: file.arrays[name] - less})
            assert not any(finding.proven for finding in checker.check(narrower, weights))
    assert decided >= 2


@pytest.mark.parametrize("norm", [1, 2, INFINITY])
@pytest.mark.parametrize("radius", [0.0, 0.2])
@pytest.mark.parametrize("clip", [False, True])
def test_degenerate_sets(norm, radius, clip):
    """A point, flat pixels, L1 lifts, no unstable neuron at all: same answers, never an error."""
    for seed in range(3):
        network, region, label, target = question(seed, norm, radius, clip)
        options = {"targets": [target], "method": "interior-point", "attack": False}
        shor = certify(network, region, label, **options).decisions[0]
        report = certify(network, region, label, order="1+cuts", **options)
        (cuts,) = report.decisions
        margins = network.logits(region.sample(50, np.random.default_rng(0)))
        assert (margins[:, target] - margins[:, label]).max() <= cuts.bound + 1e-6
        assert cuts.bound <= shor.bound + 1e-4 * (1 + abs(shor.bound))
        assert report.certificates().proven


def test_all_neurons_stable_is_a_linear_problem():
    network = MonDEQ(-np.eye(2), np.eye(2), [50.0, -50.0], np.eye(2), [0.0, 0.0])
    region = Ball(np.zeros(2), 1.0, INFINITY)
    found = Tightening(robustness_model(network, region, 0))(1)
    assert found.bound.value == pytest.approx(-24.5, abs=1e-2)
    assert len(found.values) == 1


def test_errors():
    network, region, label, _ = question(0, INFINITY)
    with pytest.raises(UnknownNameError, match="order"):
        certify(network, region, label, order="1+cut")
    with pytest.raises(InputError, match="cascade"):
        certify(network, region, label, order="1+cuts", method="scs")
    model = robustness_model(network, region, label)
    with pytest.raises(InputError, match="neurons"):
        cut_model(model, Box(np.zeros(2), np.ones(2)))
    with pytest.raises(InputError, match="pairs"):
        cut_model(model, fixpoint_bounds(network, region).h, np.array([[99, 0]]))
