"""Arrow matrices against dense ones."""

import numpy as np
import pytest

from tests.helpers import program, question
from tightrope.regions import INFINITY
from tightrope.solvers.arrow import Arrow

REGIONS = [(1.0, False), (1.0, True), (2.0, False), (2.0, True), (INFINITY, False), (INFINITY, True)]


def random_arrow(data, rng):
    cc = rng.standard_normal((data.q, data.q))
    return Arrow(cc + cc.T, rng.standard_normal((data.q, data.n)), rng.standard_normal(data.n))


def dense(data, matrix):
    """A matrix of the program in the order (core, tip)."""
    return matrix.toarray()[np.ix_(data.order, data.order)]


@pytest.mark.parametrize("norm, clip", REGIONS)
def test_maps_and_their_adjoints(norm, clip, rng):
    _, relaxed, data = program(*question(0, norm, clip=clip, p0=5))
    c = relaxed.constraints
    assert sorted(data.order) == list(range(c.size))
    assert data.n >= 4, "the input perturbation is the tip"
    matrices = [dense(data, A) for A in c.matrices()]
    y = rng.standard_normal(len(matrices))
    np.testing.assert_allclose(data.adjoint(y).dense(), dense(data, c.matrix(y)), atol=1e-12)
    np.testing.assert_allclose(data.arrow(c.absolute_matrix(y)).dense(), dense(data, c.absolute_matrix(y)), atol=1e-12)
    X = random_arrow(data, rng)
    np.testing.assert_allclose(data.forward(X), [np.vdot(A, X.dense()) for A in matrices], atol=1e-10)
    assert data.adjoint(y).inner(X) == pytest.approx(y @ data.forward(X))
    np.testing.assert_allclose(data.norms, np.maximum([np.linalg.norm(A) for A in matrices], 1e-150))
    np.testing.assert_allclose(data.arrow(relaxed.objective).dense(), dense(data, relaxed.objective))


def test_reordered_constraints_with_constants(rng):
    _, relaxed, data = program(*question(1, INFINITY))
    k = len(relaxed.constraints.equality)
    order, constants, y = rng.permutation(k), rng.standard_normal(k), rng.standard_normal(k)
    other = data.reordered(order, constants)
    plain = np.empty(k)
    plain[order] = y
    expected = data.adjoint(plain).dense()
    expected[0, 0] += constants @ y
    np.testing.assert_allclose(other.adjoint(y).dense(), expected, atol=1e-12)


def test_arrow_algebra(rng):
    _, _, data = program(*question(2, INFINITY))
    A, B = random_arrow(data, rng), random_arrow(data, rng)
    np.testing.assert_allclose(A.plus(B, -2.0).dense(), A.dense() - 2 * B.dense())
    assert A.inner(B) == pytest.approx(np.vdot(A.dense(), B.dense()))
    assert A.norm() == pytest.approx(np.linalg.norm(A.dense()))
    np.testing.assert_array_equal(data.unpack(A.vector()).dense(), A.dense())


def test_no_free_direction_means_no_tip():
    _, _, data = program(*question(3, 2.0, 0.0))
    assert data.n == 0
    assert data.adjoint(np.ones(len(data.norms))).dense().shape == (data.q, data.q)


def test_a_matrix_that_couples_the_tip_is_refused():
    _, relaxed, data = program(*question(4, INFINITY))
    wrong = relaxed.objective.tolil()
    wrong[data.tip[0], data.tip[1]] = wrong[data.tip[1], data.tip[0]] = 1
    with pytest.raises(ValueError, match="arrow pattern"):
        data.arrow(wrong.tocsr())
