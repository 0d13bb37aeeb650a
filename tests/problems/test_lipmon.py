"""The printed Lipschitz Model: true points satisfy its sound version, the reference constraint cuts some off."""

import numpy as np
import pytest

from tests.oracles.lipmon import adjoint_lengths, unbounded_ray
from tests.problems.test_lipschitz import mondeq
from tightrope import datasets, zoo
from tightrope.errors import RegionError
from tightrope.problems.lipmon import lipmon_problem
from tightrope.problems.lipschitz import lipschitz_problems
from tightrope.problems.robustness import coordinates, equilibrium_at
from tightrope.question import Limits
from tightrope.regions import Ball
from tightrope.verifiers.lipschitz import prove


def true_point(network, region, rng, reference):
    """A point of the model at a random input, with its value v'J t and the norm of r."""
    problem = lipmon_problem(network, region, reference_constraints=reference)
    d = rng.uniform(-1, 1, problem.space["d"].shape[0])
    d /= max(1.0, np.linalg.norm(d)) if region.norm == 2 else 1.0
    z = equilibrium_at(network, coordinates(network.U, region), d[None])[0]
    h = network.W @ z + coordinates(network.U, region).V @ d + network.U @ region.center + network.u
    s = (h > 0).astype(float)
    v = rng.standard_normal(network.classes)
    v /= np.abs(v).sum()  # in every dual ball
    t = rng.uniform(-1, 1, problem.space["t"].shape[0])
    t /= np.linalg.norm(t) if region.norm == 2 else 1.0
    y = s * np.linalg.solve(np.eye(network.width) - network.W.T * s, network.C.T @ v)
    r = network.W.T @ y + network.C.T @ v
    point = problem.space.point(d=d, t=t, s=s, z=z, y=y, v=v, w=np.sign(v) * 0.5 / network.classes)
    return problem, point, float(np.linalg.norm(r))


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("seed", range(3))
def test_true_points_satisfy_the_sound_model(norm, seed, rng):
    """All constraints hold, and the trace bound too; with ||r|| <= 1 exactly that constraint fails where r is long."""
    network = mondeq(seed, p0=5)
    region = Ball(rng.standard_normal(5), 0.7, norm)
    cut_off = 0
    for _ in range(20):
        problem, point, _ = true_point(network, region, rng, reference=False)
        assert max(problem.violations(point).values()) <= 1e-8
        assert point @ point <= problem.squared_norm
        problem, point, r = true_point(network, region, rng, reference=True)
        violations = problem.violations(point)
        assert (violations.pop("|r| <= radius") > 1e-9) == (r > 1 + 1e-9)
        assert max(violations.values()) <= 1e-8
        cut_off += r > 1
    assert cut_off > 0  # erratum: the reference constraint removes true points


@pytest.mark.parametrize("norm", [2, np.inf])
def test_the_natural_model_is_tighter_than_the_printed_one(norm):
    """Sound closure of the printed model against y (r - y) >= 0."""
    network = mondeq(1, p0=5)
    region = Ball(np.zeros(5), 10.0, norm)
    printed = prove(lipmon_problem(network, region), Limits(1e-4))
    natural = max(prove(problem).value for problem in lipschitz_problems(network, norm))
    assert natural <= printed.value * (1 + 1e-4)


def test_the_printed_model_has_no_finite_value():
    """With w = 0 the objective grows with v: every printed constraint holds at every scale."""
    network = mondeq(0, p0=5)
    region = Ball(np.ones(5), 0.5, 2)
    for scale in (1.0, 10.0, 1e6):
        point, value = unbounded_ray(network, region, scale)
        assert point["w"] @ point["v"] <= 1
        assert np.allclose(point["r"] - network.W.T @ point["y"], network.C.T @ point["v"], rtol=1e-9)
        assert np.allclose(point["y"], point["s"] * point["r"])
        assert np.linalg.norm(point["t"]) <= 1 + 1e-12
        assert value == pytest.approx(scale * np.linalg.norm(network.jacobian(region.center), 2))


def test_sets_that_are_not_built_are_named():
    """Clipped balls and other norms."""
    network = mondeq(0)
    with pytest.raises(RegionError, match="unclipped L2 and L-infinity"):
        lipmon_problem(network, Ball(np.zeros(3), 1.0, 1))
    with pytest.raises(RegionError, match="unclipped L2 and L-infinity"):
        lipmon_problem(network, Ball(np.zeros(3), 1.0, 2, -np.ones(3), np.ones(3)))


@pytest.mark.published
def test_the_reference_constraint_is_false_on_the_published_network():
    """||r|| <= 1 is assumed; true points have ||r|| above 5 (erratum 5 of the paper's README)."""
    data = datasets.load("mnist")
    network = zoo.get("chen2021-mondeq/mnist-87").network
    r, y = adjoint_lengths(network, data.normalisation.to_input(data.images[:300]))
    assert r == pytest.approx(5.24, abs=0.01) and y == pytest.approx(0.257, abs=0.001)
    assert y <= np.linalg.norm(network.C, 2) / network.m
