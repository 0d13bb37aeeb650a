"""The log-determinant interior point against CVXPY, against itself in other forms, and on its derivatives."""

import numpy as np
import pytest

from tests.helpers import ball, mondeq
from tests.oracles.log_det import solve_log_det
from tightrope.networks import MonDEQ
from tightrope.problems.ellipsoid import ellipsoid_model
from tightrope.problems.robustness import robustness_model
from tightrope.regions import INFINITY, Ball, Polytope, Zonotope
from tightrope.relaxations.shor import shor_constraints
from tightrope.solvers import log_det
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.report import Status
from tightrope.verifiers.ellipsoid import outer_ellipsoid, proven_ellipsoid


@pytest.mark.parametrize("solver, tolerance", [("CLARABEL", 1e-8), ("SCS", 1e-6)])
@pytest.mark.parametrize("norm, clip", [(2.0, False), (INFINITY, False), (1.0, False), (INFINITY, True)])
def test_agrees_with_cvxpy(norm, clip, solver, tolerance):
    network, region = mondeq(0, p=4, K=2), ball(0, 3, norm, 0.3, clip)
    ours = outer_ellipsoid(network, region)
    model = ellipsoid_model(robustness_model(network, region, 0))
    theirs, multipliers = solve_log_det(model, solver, tolerance)
    assert ours.solve.status is Status.SOLVED
    assert ours.ellipsoid.log_det == pytest.approx(theirs, abs=1e-3)
    checked, scale = proven_ellipsoid(model, ArrowData(shor_constraints(model)), multipliers)
    assert checked.log_det == pytest.approx(theirs, abs=2e-2)
    assert scale == pytest.approx(1, abs=1e-2)


def test_agrees_with_cvxpy_on_polytopes_and_zonotopes():
    network, center = mondeq(1, p=4, K=2), np.array([0.2, 0.1, -0.3])
    for region in (
        Zonotope(center, 0.1 * np.random.default_rng(3).standard_normal((3, 5))),
        Polytope([[1, 1, 1], [-1, 2, 0]], [center.sum(), 0.0], center - 0.3, center + 0.3),
    ):
        ours = outer_ellipsoid(network, region)
        theirs, _ = solve_log_det(ellipsoid_model(robustness_model(network, region, 0)), "CLARABEL")
        assert ours.ellipsoid.log_det == pytest.approx(theirs, abs=1e-3)


def test_derivatives_of_log_det(rng):
    K = 4
    phi = log_det._LogDet(np.arange(K * (K + 1) // 2), K)
    G = rng.standard_normal((K, K))
    y = (G @ G.T + np.eye(K))[np.triu_indices(K)]

    def value(y):
        return -np.linalg.slogdet(phi.matrix(y))[1]

    def gradient(y):
        return -phi.negative_gradient(np.linalg.inv(phi.matrix(y)), len(y))

    step = 1e-6 * np.eye(len(y))
    numeric = [(value(y + h) - value(y - h)) / 2e-6 for h in step]
    np.testing.assert_allclose(gradient(y), numeric, atol=1e-7)
    numeric = [(gradient(y + h) - gradient(y - h)) / 2e-6 for h in step]
    np.testing.assert_allclose(phi.hessian(np.linalg.inv(phi.matrix(y))), numeric, atol=1e-6)


def permuted(network: MonDEQ, order: np.ndarray) -> MonDEQ:
    return MonDEQ(W=network.W[np.ix_(order, order)], U=network.U[order], u=network.u[order], C=network.C[:, order],
                  c=network.c, m=network.m)  # fmt: skip


def test_the_same_set_in_other_forms_gives_the_same_size(rng):
    """Permuted neurons; a rotated L2 ball; scaled outputs, where log det Q falls by K log of the scale."""
    network, region = mondeq(4, p=5), ball(4, 3, 2.0, 0.3)
    plain = outer_ellipsoid(network, region).ellipsoid.log_det
    assert outer_ellipsoid(permuted(network, rng.permutation(5)), region).ellipsoid.log_det == pytest.approx(
        plain, abs=3e-4
    )
    R = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    turned = MonDEQ(W=network.W, U=network.U @ R.T, u=network.u, C=network.C, c=network.c, m=network.m)
    same = outer_ellipsoid(turned, Ball(R @ region.center, 0.3, 2)).ellipsoid.log_det
    assert same == pytest.approx(plain, abs=3e-4)
    scaled = MonDEQ(W=network.W, U=network.U, u=network.u, C=3 * network.C, c=3 * network.c, m=network.m)
    assert outer_ellipsoid(scaled, region).ellipsoid.log_det == pytest.approx(plain - 3 * np.log(3), abs=3e-4)


def test_limits_leave_what_is_proven_so_far():
    network, region = mondeq(0, p=6), ball(0, 3, INFINITY, 0.3)
    model = ellipsoid_model(robustness_model(network, region, 0))
    data = ArrowData(shor_constraints(model))
    start = (0.3 * np.eye(3), np.zeros(3))
    full = log_det.solve(model, data, start)
    early = log_det.solve(model, data, start, max_iterations=full.iterations - 2)
    assert early.status is Status.ITERATION_LIMIT
    if early.multipliers is not None:
        assert early.dual_value <= full.dual_value + 1e-6
    nothing = log_det.solve(model, data, start, max_iterations=0)
    assert nothing.status is Status.FAILED and nothing.multipliers is None
    assert log_det.solve(model, data, start, time_limit=1e-9).status in (Status.TIME_LIMIT, Status.FAILED)
    lines = []
    log_det.solve(model, data, start, max_iterations=2, log=lines.append)
    assert len(lines) == 3 and "log det" in lines[0]
