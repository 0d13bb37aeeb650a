"""The Lipschitz problems hold every true point, and their relaxations bound the exact constants."""

import itertools

import numpy as np
import pytest

from tightrope.errors import InputError, RegionError
from tightrope.networks import MonDEQ
from tightrope.problems.lipschitz import l1_problem, l2_problem, linf_problem, lipschitz_problems


def mondeq(seed: int, p: int = 4, p0: int = 3, K: int = 3, m: float = 1.0) -> MonDEQ:
    """Random monDEQ."""
    rng = np.random.default_rng(seed)
    A, B, U = (rng.standard_normal(shape) for shape in [(p, p), (p, p), (p, p0)])
    u, C, c = (rng.standard_normal(shape) for shape in [p, (K, p), K])
    return MonDEQ.from_factors(A, B, U, u, C, c, m=m)


def slopes(network, s, g):
    """y, r with r = W'y + g and y = s r."""
    y = s * np.linalg.solve(np.eye(network.width) - network.W.T * s, g)
    return y, network.W.T @ y + g


def problem_point(network, problem, s, t, v):
    """Homogeneous coordinates of a true point of a problem, and its value v'J(s) t."""
    y, _ = slopes(network, s, network.C.T @ v)
    blocks = {"y": y, "t": t, "v": v}
    return problem.space.point(**{name: blocks[name] for name in problem.space.slices}), t @ network.U.T @ y


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_true_points_are_feasible_and_have_the_value_of_the_jacobian(seed, norm, rng):
    """Any slopes s in [0, 1]^p, on the boundary of the sets of t and v."""
    network = mondeq(seed, p0=5)
    K, p0 = network.classes, network.input_size
    for k in range(20):
        s = rng.uniform(size=network.width) if k % 2 else rng.integers(0, 2, network.width).astype(float)
        J = network.C @ np.linalg.solve(np.eye(network.width) - s[:, None] * network.W, s[:, None] * network.U)
        v, t = rng.standard_normal(K), rng.standard_normal(p0)
        if norm == 2:
            problem, v, t = l2_problem(network), v / np.linalg.norm(v), t / np.linalg.norm(t)
            # The problem sees t through the row space of U; its coordinates are those of R in U' = Q R.
            seen = np.linalg.qr(network.U.T)[0].T @ t
            y = slopes(network, s, network.C.T @ v)[0]
            point = problem.space.point(y=y, v=v, t=seen)
        elif norm == 1:
            column = k % p0
            problem, v, t = l1_problem(network, column), np.sign(v), np.eye(p0)[column]
            point, _ = problem_point(network, problem, s, t, v)
        else:
            problem, v, t = linf_problem(network, np.eye(K)[k % K]), np.eye(K)[k % K], np.sign(t)
            point, _ = problem_point(network, problem, s, t, v)
        assert max(problem.violations(point).values()) <= 1e-9
        assert problem.objective(point)[0] == pytest.approx(v @ J @ t)
        assert point @ point <= problem.squared_norm


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_value_over_slopes_is_at_zeros_and_ones(seed, rng):
    """Each s_i enters as (a + b s_i) / (c + d s_i): no slopes inside the cube beat all its corners."""
    network = mondeq(seed)
    v, t = rng.standard_normal(network.classes), rng.standard_normal(network.input_size)

    def value(s):
        return t @ network.U.T @ slopes(network, s, network.C.T @ v)[0]

    corners = max(value(np.array(s, float)) for s in itertools.product([0, 1], repeat=network.width))
    assert max(value(rng.uniform(size=network.width)) for _ in range(300)) <= corners + 1e-12


def test_what_does_not_pass_through_the_states_is_added():
    """`direct` enters the value as v'direct t."""
    network, rng = mondeq(0), np.random.default_rng(1)
    direct = rng.standard_normal((network.classes, network.input_size))
    t, v = rng.standard_normal(network.input_size), rng.standard_normal(network.classes)
    s = np.array([1.0, 0, 1, 1])
    for problem in (l2_problem(network, direct=direct), linf_problem(network, v, direct)):
        point, value = problem_point(network, problem, s, t, v)
        assert problem.objective(point)[0] == pytest.approx(value + v @ direct @ t)


def test_wrong_arguments_are_named():
    """Norms, rows and columns that do not exist."""
    network = mondeq(0)
    with pytest.raises(RegionError, match="built for 1, 2 and inf, not L3"):
        lipschitz_problems(network, 3)
    with pytest.raises(InputError, match="rows: expected 3 finite"):
        linf_problem(network, np.ones(2))
    with pytest.raises(InputError, match="rows: expected 3 finite"):
        l2_problem(network, np.array([1.0, np.nan, 0]))
    with pytest.raises(InputError, match="column: got 3"):
        l1_problem(network, 3)
    assert [len(lipschitz_problems(network, q)) for q in (1, 2, np.inf)] == [3, 1, 3]


@pytest.mark.parametrize("norm", [2, np.inf])
def test_rounding_of_the_problem_is_in_its_objective(norm, rng):
    """Where nothing moves, the objective is what the rounding of QR and of differences of rows can cost: little."""
    network = mondeq(0, p0=7)
    size = np.linalg.norm(network.C) * np.linalg.norm(network.U)
    whole = l2_problem(network) if norm == 2 else linf_problem(network, np.eye(3)[0])
    difference = l2_problem(network, [[1, -1, 0]]) if norm == 2 else linf_problem(network, [1, -1, 0])
    constants = [problem.objective(np.eye(problem.space.size)[0])[0] for problem in (whole, difference)]
    assert (constants[0] > 0) == (norm == 2)  # only L2 takes a factor of U'
    assert constants[1] > 0 and max(constants) < 1e-11 * size
