"""One interior-point step against dense linear algebra: X the completed matrix, A_k and Z^-1 dense."""

import numpy as np
import pytest

from tests.helpers import program, question, random_arrows
from tightrope.networks.random import random_network
from tightrope.problems.relu_lipschitz import relu_lipschitz_problem
from tightrope.problems.relu_question import question as relu_question
from tightrope.regions import INFINITY, Ball
from tightrope.relaxations.shor import shor_constraints
from tightrope.solvers import hkm, schur
from tightrope.solvers.arrow import Arrow, ArrowData
from tightrope.solvers.interior_point import InteriorPoint

REGIONS = [(1.0, False), (2.0, False), (2.0, True), (INFINITY, False), (INFINITY, True)]


def on_pattern(matrix, q):
    return Arrow(matrix[:q, :q], matrix[:q, q:], np.diag(matrix)[q:])


def sym(matrix):
    return (matrix + matrix.T) / 2


def close(arrow: Arrow, matrix):
    expected = on_pattern(matrix, len(arrow.cc))
    for got, want in zip(arrow, expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-9 * (1 + np.abs(matrix).max()))


@pytest.fixture(params=REGIONS, ids=str)
def setting(request, rng):
    norm, clip = request.param
    _, _, data = program(*question(0, norm, clip=clip, p0=5))
    X, Z = random_arrows(data, rng)
    return data, X, Z, hkm.Completed(on_pattern(X, data.q)), hkm.Inverted(on_pattern(Z, data.q))


def test_completion_and_inverse(setting, rng):
    data, X, Z, XX, Zi = setting
    q, n = data.q, data.n
    core, tip = XX.times(np.eye(q, q + n), np.eye(n, q + n, q))
    np.testing.assert_allclose(np.vstack([core, tip]), X, atol=1e-12)
    close(Zi.arrow, np.linalg.inv(Z))


def check_schur_complement(data, X, Z):
    XX, Zi = hkm.Completed(on_pattern(X, data.q)), hkm.Inverted(on_pattern(Z, data.q))
    solver = InteriorPoint(data)
    Z_inverse = np.linalg.inv(Z)
    corner = np.zeros_like(X)
    corner[0, 0] = -1
    # The solver's own A_k: in its order, and with the constant of each product on the right-hand side (X_00 = 1).
    unit = np.eye(len(solver.inequality))
    A = [corner] + [solver.data.adjoint(row).dense() for row in unit]
    expected = np.array([[np.vdot(Ak, X @ Al @ Z_inverse) for Al in A] for Ak in A])
    np.testing.assert_allclose(expected, expected.T, atol=1e-9)
    got = np.triu(solver.schur.matrix(XX, Zi))
    np.testing.assert_allclose(got, np.triu(expected), atol=1e-10 * np.abs(expected).max())


#: Shortest and longest run of products, diagonal blocks of W, products for each of them: as they are, any blocks of W,
#: only runs, only short runs, no blocks of W.
WAYS = [(16, 256, 200, 12), (16, 256, 200, 0), (1, 256, 200, 0), (1, 2, 200, 0), (1, 256, 0, 0)]
SETTINGS = ("SHORTEST", "LONGEST", "DIAGONALS", "PRODUCTS_PER_DIAGONAL")


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_schur_complement(setting, way, monkeypatch):
    for name, value in zip(SETTINGS, way, strict=True):
        monkeypatch.setattr(schur, name, value)
    check_schur_complement(*setting[:3])


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("refinement", ["printed", "products"])
@pytest.mark.parametrize("sizes", [(4, 17, 1), (3, 5, 4, 1)], ids=str)
def test_schur_complement_of_sums_of_products(sizes, refinement, way, rng, monkeypatch):
    for name, value in zip(SETTINGS, way, strict=True):
        monkeypatch.setattr(schur, name, value)
    ask = relu_question(random_network(sizes), Ball(np.zeros(sizes[0]), 1.0, INFINITY))
    problem = relu_lipschitz_problem(ask, refinement)
    core = [name for name in problem.space.slices if name not in ("t", "d")]
    data = ArrowData(shor_constraints(problem), core=core)
    check_schur_complement(data, *random_arrows(data, rng))


def test_direction_and_its_second_order_term(setting, rng):
    data, X, Z, XX, Zi = setting
    q = data.q
    dZ = on_pattern(sym(rng.standard_normal(Z.shape)), q)
    E = dZ.dense() @ np.linalg.inv(Z)
    arrow, pieces = hkm.sandwich(XX, Zi, dZ)
    close(arrow, sym(X @ E))
    predictor = -X - sym(X @ E)
    close(hkm.second_order(XX, Zi, dZ, pieces), sym(predictor @ E))


def test_definiteness_and_step_lengths(setting, rng):
    data, X, Z, *_ = setting
    q = data.q
    none = np.zeros(0)
    for inside, matrix in ((hkm.primal_inside, X), (hkm.dual_inside, Z)):
        V = on_pattern(matrix, q)
        assert inside(V)
        assert not inside(V.plus(V, -2.0))
        # Along -V the boundary is at 1.
        step = hkm.step_length(inside, V, Arrow(*(-part for part in V)), none, none)
        assert 0.7 <= step < 1
        assert hkm.step_length(inside, V, V, np.ones(2), np.array([-4.0, 1.0])) == pytest.approx(0.97 / 4)
    with pytest.raises(np.linalg.LinAlgError):
        hkm.Inverted(on_pattern(-Z, q))
    with pytest.raises(np.linalg.LinAlgError):
        hkm.Completed(on_pattern(-X, q))


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_squares_are_eliminated(rng, scale):
    """A system with a block diag + (K'K) o (B'B) that is not formed, of which few or many rows of F matter."""
    q, n, m = 4, 40, 6
    K, B = scale * rng.standard_normal((2, q, n))
    E, G = rng.standard_normal((n, m)), rng.standard_normal((m, m))
    squares = hkm.Squares(K, B, rng.uniform(0.5, 2, n))
    S = np.diag(squares.diagonal) + (K.T @ K) * (B.T @ B)
    M = np.block([[G @ G.T + E.T @ np.linalg.solve(S, E), E.T], [E, S]])
    inequality = np.array([False, True] * ((n + m - 1) // 2) + [True])
    ratio = rng.uniform(0.1, 1, inequality.sum())
    full = M.copy()
    full[np.flatnonzero(inequality) + 1, np.flatnonzero(inequality) + 1] += ratio
    rhs = rng.standard_normal(n + m)
    first, rest = hkm.factorise(np.triu(M)[:m].copy(), inequality, ratio, squares)(rhs[0], rhs[1:])
    np.testing.assert_allclose(np.concatenate([[first], rest]), np.linalg.solve(full, rhs), rtol=1e-6, atol=1e-8)


def test_factorise_solves_the_bordered_system(rng):
    G = rng.standard_normal((7, 7))
    M = G @ G.T + 0.1 * np.eye(7)
    inequality = np.array([False, True, True, False, True, False])
    ratio = rng.uniform(0.1, 1, 3)
    full = M.copy()
    full[np.flatnonzero(inequality) + 1, np.flatnonzero(inequality) + 1] += ratio
    rhs = rng.standard_normal(7)
    first, rest = hkm.factorise(np.triu(M), inequality, ratio)(rhs[0], rhs[1:])
    np.testing.assert_allclose(np.concatenate([[first], rest]), np.linalg.solve(full, rhs), atol=1e-10)
    assert hkm.factorise(-np.eye(3), np.zeros(2, bool), np.zeros(0)) is None
