"""Linear programs: values, added rows, and bounds that hold whatever the multipliers."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog

from tightrope.errors import InputError, UnknownNameError
from tightrope.solvers.highs import METHODS, LinearSolver, dual_bound
from tightrope.solvers.report import Status


def random_program(rng, n=6, k=9):
    rows = sp.csr_array(rng.normal(size=(k, n)))
    offsets = rows @ rng.uniform(size=n) - rng.uniform(size=k)  # feasible inside the box
    return rng.normal(size=n), rows, offsets, np.zeros(n), np.ones(n)


@pytest.mark.parametrize("method", METHODS)
def test_value_agrees_with_scipy(method):
    rng = np.random.default_rng(0)
    for _ in range(5):
        objective, rows, offsets, lower, upper = random_program(rng)
        solver = LinearSolver(objective, lower, upper, method=method)
        solver.add(rows[:4], offsets[:4])
        first = solver.solve()
        solver.add(rows[4:], offsets[4:])
        report = solver.solve()
        box = list(zip(lower, upper, strict=True))
        exact = -linprog(-objective, A_ub=-rows.toarray(), b_ub=-offsets, bounds=box).fun
        assert first.status == report.status == Status.SOLVED
        assert report.value == pytest.approx(exact, abs=1e-4)
        assert first.value >= report.value - 1e-4
        bound = dual_bound(objective, rows, offsets, report.multipliers, lower, upper)
        assert exact <= bound <= exact + 1e-3


def test_bound_holds_for_any_multipliers():
    rng = np.random.default_rng(1)
    objective, rows, offsets, lower, upper = random_program(rng)
    solver = LinearSolver(objective, lower, upper)
    solver.add(rows, offsets)
    exact = solver.solve().value
    for scale in (0.0, 0.1, 1.0, 10.0):
        weird = scale * rng.normal(size=len(offsets))
        assert dual_bound(objective, rows, offsets, weird, lower, upper) >= exact - 1e-9
    assert np.isfinite(dual_bound(objective, rows, offsets, np.full(len(offsets), np.nan), lower, upper))


def test_no_time_is_a_limit_not_a_number():
    rng = np.random.default_rng(2)
    objective, rows, offsets, lower, upper = random_program(rng, n=120, k=300)
    solver = LinearSolver(objective, lower, upper)
    solver.add(rows, offsets)
    report = solver.solve(time_limit=0.0)
    assert report.status in (Status.TIME_LIMIT, Status.SOLVED)


def test_bad_input_by_name():
    with pytest.raises(UnknownNameError, match="simplx"):
        LinearSolver(np.ones(2), np.zeros(2), np.ones(2), method="simplx")
    with pytest.raises(InputError, match="lower, upper"):
        LinearSolver(np.ones(2), np.zeros(3), np.ones(2))
    with pytest.raises(InputError, match="rows"):
        LinearSolver(np.ones(2), np.zeros(2), np.ones(2)).add(sp.csr_array(np.ones((1, 3))), np.ones(1))
