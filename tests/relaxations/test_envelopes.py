"""Envelopes: sound at samples, convex and concave, and as tight as the hull of the graph."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial import ConvexHull

from tightrope.errors import InputError
from tightrope.networks.activations import named
from tightrope.relaxations.envelopes import envelopes, max_bounds_ehlers, pool_of

NAMES = ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "arctan", "step")
RANGES = [(-1.0, 2.0), (-3.0, 0.5), (-2.0, -0.5), (0.25, 3.0), (-4.0, 4.0), (-0.1, 6.0), (-6.0, 0.1)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("lower", "upper"), RANGES)
def test_sound_and_shaped(name, lower, upper):
    x = np.linspace(lower, upper, 1001)
    below, above = envelopes(named(name), x, lower, upper)
    z = named(name).value(x)
    assert (below <= z + 1e-12).all()
    assert (z <= above + 1e-12).all()
    assert (np.diff(below, 2) >= -1e-10).all()  # convex
    assert (np.diff(above, 2) <= 1e-10).all()  # concave


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("lower", "upper"), RANGES)
def test_as_tight_as_the_hull(name, lower, upper):
    """The vertices of the hull of a finely sampled graph lie on the envelopes, and between them the hull is reached."""
    x = np.unique(np.r_[np.linspace(lower, upper, 2001), 0.0 if lower < 0 < upper else lower])
    z = named(name).value(x)
    points = np.c_[x, z]
    if name == "step" and lower < 0 < upper:
        points = np.r_[points, [[0.0, 1.0]]]  # its closure
    below, above = envelopes(named(name), x, lower, upper)
    if np.ptp(z) == 0:
        np.testing.assert_allclose(below, above, atol=1e-12)
        return
    try:
        hull = ConvexHull(points)
    except Exception as error:  # a straight line has no hull in the plane
        assert "QH6154" in str(error) or "QH6013" in str(error)
        np.testing.assert_allclose(below, above, atol=1e-12)
        return
    normals, offsets = hull.equations[:, :2], hull.equations[:, 2]
    up = normals[:, 1] > 1e-9
    down = normals[:, 1] < -1e-9
    top = ((-offsets[up] - normals[up, 0] * x[:, None]) / normals[up, 1]).min(1)
    bottom = ((-offsets[down] - normals[down, 0] * x[:, None]) / normals[down, 1]).max(1)
    np.testing.assert_allclose(above, top, atol=2e-5)
    np.testing.assert_allclose(below, bottom, atol=2e-5)


@pytest.mark.parametrize("seed", range(6))
def test_max_is_the_hull_over_vertices(seed):
    """The concave envelope of a convex function on a box is the best mixture of its vertices."""
    rng = np.random.default_rng(seed)
    k = 2 + seed % 3
    lower = rng.standard_normal(k)
    upper = lower + rng.uniform(0, 2, k)
    x = rng.uniform(lower, upper, (20, k))
    below, above = envelopes(pool_of(k), x, lower, upper)
    z = x.max(1)
    below, above = below[:, 0], above[:, 0]
    assert (below <= z).all()
    np.testing.assert_allclose(below, z, atol=1e-12)
    assert (above >= z - 1e-12).all()
    assert (above <= max_bounds_ehlers(x, lower, upper) + 1e-12).all()
    vertices = np.array(list(itertools.product(*zip(lower, upper, strict=True))))
    for point, value in zip(x, above, strict=True):
        A = np.c_[vertices, np.ones(len(vertices))].T
        found = linprog(-vertices.max(1), A_eq=A, b_eq=np.r_[point, 1.0])
        assert value == pytest.approx(-found.fun, abs=1e-7)


def test_eq_5_is_not_optimal():
    point, lower, upper = np.array([[0.75, 0.75]]), np.zeros(2), np.ones(2)
    assert max_bounds_ehlers(point, lower, upper)[0] == 1.5
    assert envelopes(pool_of(2), point, lower, upper)[1].item() == pytest.approx(1.0, abs=1e-12)


def test_bad_input_by_name():
    with pytest.raises(InputError, match="lower < upper"):
        envelopes(named("relu"), np.zeros(1), 1, -1)
    with pytest.raises(InputError, match="outside"):
        envelopes(named("relu"), np.full(1, 5.0), -1, 1)
    with pytest.raises(InputError, match="outside the box"):
        envelopes(pool_of(2), [[2.0, 0.0]], np.zeros(2), np.ones(2))
