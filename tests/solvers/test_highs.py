"""HiGHS behind LinearProgram: optimum, changes in place, bounds that hold whatever the multipliers are."""

import numpy as np
import pytest
from scipy.optimize import linprog

from tightrope.errors import InputError
from tightrope.solvers.highs import LinearProgram
from tightrope.solvers.report import Status


def random_program(seed: int, n: int = 6, m: int = 5):
    rng = np.random.default_rng(seed)
    A, center = rng.normal(size=(m, n)), rng.normal(size=n)
    reach = rng.uniform(0.5, 1.5, n)
    return A, A @ center - rng.uniform(0, 1, m), A @ center + rng.uniform(0, 1, m), center - reach, center + reach


def fill(A, low, high, lower, upper) -> tuple[LinearProgram, np.ndarray]:
    program = LinearProgram()
    columns = program.add_columns(lower, upper)
    program.add_rows(A[:2], low[:2], high[:2])
    program.add_rows(A[2:], low[2:], high[2:])
    return program, columns


def by_scipy(c, A, low, high, lower, upper) -> float:
    result = linprog(-c, np.vstack([A, -A]), np.r_[high, -low], bounds=np.c_[lower, upper], method="highs")
    return -result.fun


@pytest.mark.parametrize("seed", range(5))
def test_optimum_and_changes_in_place(seed):
    A, low, high, lower, upper = random_program(seed)
    program, columns = fill(A, low, high, lower, upper)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        c = rng.normal(size=6)
        found = program.maximise(columns, c)
        best = by_scipy(c, A, low, high, lower, upper)
        assert found.status is Status.SOLVED
        assert best - 1e-12 <= found.bound <= best + 1e-6
        assert program.minimise(columns, c).bound == pytest.approx(-by_scipy(-c, A, low, high, lower, upper), abs=1e-6)
    upper = upper - 0.1
    program.set_columns(columns, lower, upper)
    high = high + 0.2
    high[0], low[0] = np.inf, -np.inf
    program.set_rows(range(5), low, high)
    best = by_scipy(c, A[1:], low[1:], high[1:], lower, upper)
    assert program.maximise(columns, c).bound == pytest.approx(best, abs=1e-6)
    fresh = program.add_columns([0.0], [1.0])
    assert program.maximise([*columns, *fresh], [*c, 2.0]).bound == pytest.approx(best + 2, abs=1e-6)


def test_any_multipliers_prove_a_bound():
    A, low, high, lower, upper = random_program(0)
    low[3] = -np.inf
    program, columns = fill(A, low, high, lower, upper)
    c = np.ones(6)
    best = by_scipy(c, np.delete(A, 3, 0), np.delete(low, 3), np.delete(high, 3), lower, upper)
    best = min(best, program.maximise(columns, c).value + 1e-9)
    rng = np.random.default_rng(1)
    for _ in range(50):
        y = rng.normal(size=5) * 3
        kept, bound = program.dual_bound(c, y)
        assert np.isfinite(bound) and bound >= best - 1e-9
        assert kept[3] >= 0  # a row without lower end takes no negative multiplier
    assert np.isfinite(program.dual_bound(c, np.full(5, np.nan))[1])


def test_a_time_limit_is_a_status_and_the_bound_is_valid():
    rng = np.random.default_rng(0)
    n = 300
    program = LinearProgram(time_limit=1e-6)
    columns = program.add_columns(-np.ones(n), np.ones(n))
    program.add_rows(rng.normal(size=(n, n)), -np.ones(n), np.ones(n))
    found = program.maximise(columns, rng.normal(size=n))
    assert found.status is not Status.SOLVED
    assert np.isfinite(found.bound) and found.reason


def test_an_infeasible_program_is_not_solved():
    program = LinearProgram()
    program.add_columns([0.0], [1.0])
    program.add_rows([[1.0]], [2.0], [3.0])
    found = program.maximise([0], [1.0])
    assert found.status is Status.FAILED and "nfeasible" in found.reason


def test_bad_input():
    program = LinearProgram()
    with pytest.raises(InputError, match="finite"):
        program.add_columns([0.0], [np.inf])
    with pytest.raises(InputError, match="lower <= upper"):
        program.add_columns([1.0], [0.0])
    program.add_columns([0.0], [1.0])
    with pytest.raises(InputError, match="columns"):
        program.add_rows([[1.0, 1.0]], [0.0], [1.0])
