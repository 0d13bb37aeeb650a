"""The nearly sparse hierarchy of any polynomial problem: exact <= order 3 <= order 2 <= Shor."""

import itertools

import numpy as np
import pytest

from tightrope.errors import InputError
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.relaxations.heuristic import nearly_sparse
from tightrope.relaxations.shor import shor
from tightrope.semialgebraic import Constraint, Space, products
from tightrope.solvers.conic import solve_moment_program
from tightrope.verifiers.moments import proven_bound


def cycle(n: int) -> PolynomialProblem:
    """max sum_i -x_i x_(i+1) over signs x with (sum x)^2 <= 1, a constraint that destroys the sparsity of the cycle."""
    space = Space(x=n)
    x, one = space["x"], space.constant(1)
    total = np.ones((1, n)) @ x
    return PolynomialProblem(
        space=space,
        constraints=(
            Constraint("x^2 = 1", products(x - space.constant(np.ones(n)), x + space.constant(np.ones(n))), True),
            Constraint("(1 - sum)(1 + sum) >= 0", products(one - total, one + total)),
        ),
        squared_norm=1.0 + n,
        center=space.point(),
        spread=space.point(x=np.ones(n)),
        objective=products(-x, x[np.roll(np.arange(n), 1)], np.ones((1, n))),
    )


def test_triangles_of_a_cycle_close_its_gap():
    """A cut of the five-cycle has at most four edges: 4 - 1; Shor's relaxation stays at 5 cos(pi / 5)."""
    problem = cycle(5)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=5)))
    v = problem.space.point(x=signs[np.abs(signs.sum(1)) <= 1])
    exact = float(problem.objective(v).max())
    triangles = [(0, 1, 2), (0, 2, 3), (0, 3, 4)]
    bounds = []
    for program in (nearly_sparse(problem, 3, triangles), nearly_sparse(problem, 2, triangles), shor(problem)):
        bounds.append(proven_bound(program, solve_moment_program(program, "clarabel")))
    assert exact == 3 and (exact <= np.array(bounds)).all()
    assert bounds == pytest.approx([3, 3, 5 * np.cos(np.pi / 5)], abs=1e-4)


def test_a_constraint_in_all_variables_makes_one_clique_of_them():
    """So without subsets the problem is refused above a size."""
    with pytest.raises(InputError, match="clique has 6 variables, more than 5"):
        nearly_sparse(cycle(6), 2, largest=5)
    for subset in ([0, 0], [6], [-1], []):  # 0 twice would be two variables, and the bound wrong
        with pytest.raises(InputError, match="different numbers from 0 to 5"):
            nearly_sparse(cycle(6), 2, [subset])
    for scale in (np.ones(6), np.zeros(7), np.full(7, np.nan)):
        with pytest.raises(InputError, match="scale"):
            nearly_sparse(cycle(6), 2, scale=scale)
