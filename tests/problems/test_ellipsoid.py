"""The Ellipsoid Model: its products hold on the region, its identity is ||Q o + b||^2, and other regions fit in."""

import numpy as np
import pytest

from tests.helpers import ball, mondeq
from tightrope.errors import InputError, RegionError
from tightrope.networks import MonDEQ
from tightrope.problems.ellipsoid import B_GROUP, Q_GROUP, ellipsoid_model
from tightrope.problems.robustness import coordinates, robustness_model
from tightrope.regions import INFINITY, Ball, EllipsoidRegion, Polytope, Zonotope
from tightrope.relaxations.shor import shor_constraints


def states(model, base, rng, count=40):
    """Points (1, z, d) of the model on its region, with random o'."""
    coords = base.coordinates
    n = coords.V.shape[1]
    d = rng.uniform(-1, 1, (count, n)) / (1 if coords.kind in ("box", "polytope") else n)
    if coords.lower is not None:
        d = np.clip(d, coords.lower, coords.upper)
    if coords.rows is not None:
        d = d[(d @ coords.rows.T <= coords.offsets).all(1)]
    v = base.point(d)
    blocks = {name: v[:, where] for name, where in base.space.slices.items()}
    return model.space.point(o=rng.standard_normal((len(d), model.classes)), **blocks)


REGIONS = {
    "l1": lambda c: Ball(c, 0.4, 1),
    "l2": lambda c: Ball(c, 0.4, 2),
    "linf": lambda c: Ball(c, 0.4, INFINITY),
    "clipped": lambda c: ball(0, 3, INFINITY, 0.4, clip=True),
    "zonotope": lambda c: Zonotope(c, 0.1 * np.random.default_rng(5).standard_normal((3, 5))),
    "ellipsoid": lambda c: EllipsoidRegion(c, 0.2 * np.random.default_rng(5).standard_normal((3, 2))),
    "polytope": lambda c: Polytope([[1, 1, 1], [-1, 2, 0]], [c.sum(), 3.0], c - 0.3, c + 0.3),
}


@pytest.mark.parametrize("name", REGIONS)
def test_products_hold_and_add_up_to_the_ellipsoids_form(name, rng):
    """At a state, the Q and b rows are 2 o'(Q F + b) and the state's constraints have their signs."""
    network = mondeq(2, p=5)
    base = robustness_model(network, REGIONS[name](np.array([0.1, -0.2, 0.3])), 0)
    model = ellipsoid_model(base)
    v = states(model, base, rng)
    assert len(v)
    groups = {c.name: c for c in model.constraints}
    for constraint in model.constraints:
        if constraint.name not in (Q_GROUP, B_GROUP):
            assert constraint.violation(v).max() <= 1e-8, constraint.name
    K = network.classes
    Q, b = rng.standard_normal((K, K)), rng.standard_normal(K)
    Q = Q + Q.T
    o, out = v[:, model.space.slices["o"]], v[:, model.space.slices["z"]] @ network.C.T + network.c
    value = groups[Q_GROUP].body(v) @ Q[np.triu_indices(K)] + groups[B_GROUP].body(v) @ b
    np.testing.assert_allclose(value, 2 * (o * (out @ Q + b)).sum(1), atol=1e-9)
    inner = np.delete(v, np.arange(*model.space.slices["o"].indices(v.shape[1])), axis=1)
    assert ((inner**2).sum(1) <= model.squared_norm).all()


def test_o_and_d_make_a_diagonal_block():
    """The tip of the arrow: the size of what has to be factored does not grow with K or the inputs."""
    from tightrope.solvers.arrow import ArrowData

    model = ellipsoid_model(robustness_model(mondeq(0, p=4, p0=6), ball(0, 6, INFINITY, 0.3), 0))
    data = ArrowData(shor_constraints(model))
    assert data.q == 1 + 4 and data.n == 6 + 3


def test_zonotopes_and_ellipsoids_have_the_coordinates_of_the_balls_that_they_are(rng):
    network, center = mondeq(1), np.array([0.3, -0.1, 0.2])
    for region, same in (
        (Zonotope(center, 0.4 * np.eye(3)), Ball(center, 0.4, INFINITY)),
        (EllipsoidRegion(center, 0.4 * np.eye(3)), Ball(center, 0.4, 2)),
        (Polytope(np.zeros((0, 3)), [], center - 0.4, center + 0.4), Ball(center, 0.4, INFINITY)),
    ):
        one, other = coordinates(network.U, region), coordinates(network.U, same)
        np.testing.assert_allclose(one.V, other.V, atol=1e-12)
        np.testing.assert_allclose(one.origin, other.origin, atol=1e-12)


def test_polytope_rows_are_rounded_outwards_and_idle_ones_left_out(rng):
    A, center = rng.standard_normal((4, 3)), np.array([0.3, -0.1, 0.2])
    region = Polytope(np.vstack([A, [[1e-3, 0, 0]]]), np.r_[A @ center + 0.05, 9.0], center - 0.4, center + 0.4)
    coords = coordinates(np.eye(3), region)
    assert coords.rows.shape == (4, 3)
    x = region.sample(200, rng)
    d = (x - coords.origin) / np.diag(coords.V)
    assert (d @ coords.rows.T <= coords.offsets).all()


def test_sets_without_an_ellipsoid_are_refused_by_name():
    network = mondeq(0)
    with pytest.raises(RegionError, match="single point"):
        ellipsoid_model(robustness_model(network, Ball(np.zeros(3), 0.0, 2), 0))
    with pytest.raises(RegionError, match="single point"):
        ellipsoid_model(robustness_model(network, Ball(np.zeros(3), 1.0, INFINITY, np.zeros(3), np.zeros(3)), 0))
    with pytest.raises(RegionError, match="single point"):
        ellipsoid_model(robustness_model(network, Zonotope(np.zeros(3), np.zeros((3, 1))), 0))
    with pytest.raises(RegionError, match="inputs"):
        ellipsoid_model(robustness_model(network, Ball(np.zeros(5), 1.0, 2), 0))
    with pytest.raises(InputError, match="2 of the 4 rows"):
        ellipsoid_model(robustness_model(mondeq(0, p=2, K=4), Ball(np.zeros(3), 0.3, 2), 0))
    blind = MonDEQ(W=network.W, U=0 * network.U, u=network.u, C=network.C, c=network.c, m=network.m)
    with pytest.raises(RegionError, match="single point"):
        ellipsoid_model(robustness_model(blind, Ball(np.zeros(3), 0.3, 2), 0))
