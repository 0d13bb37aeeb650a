"""Transfer: multipliers of one target prove bounds of another, never below the optimum, and fail by name elsewhere."""

import numpy as np
import pytest

from tests.helpers import question
from tightrope.problems.robustness import robustness_model
from tightrope.regions import INFINITY
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.sound import sound_bound
from tightrope.solvers.transfer import Transfer


def solved(norm, clip, seed=0):
    """Model, data, the solver, and targets other than the label."""
    network, region, label, _ = question(seed, norm, clip=clip, K=4)
    model = robustness_model(network, region, label)
    data = ArrowData(shor_constraints(model))
    return model, data, InteriorPoint(data), [j for j in range(network.classes) if j != label]


@pytest.mark.parametrize("norm, clip", [(2.0, False), (INFINITY, False), (INFINITY, True)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_transferred_multipliers_prove_their_value_and_lie_above_the_optimum(norm, clip, seed):
    model, data, solver, targets = solved(norm, clip, seed)
    transfer = Transfer(model)
    _, warm = solver.solve(objective_matrix(model.problem(targets[0]).objective))
    transfer.add(solver.multipliers(warm))
    for target in targets:
        objective = objective_matrix(model.problem(target).objective)
        value, multipliers = transfer(target)
        bound = sound_bound(data, objective, multipliers)
        assert bound.value == pytest.approx(value, rel=1e-6, abs=1e-6)
        optimum, _ = solver.solve(objective, tolerance=1e-7)
        assert bound.value >= optimum.dual_value - 1e-5 * (1 + abs(optimum.dual_value))


def test_the_source_target_keeps_most_of_its_bound():
    model, _, solver, targets = solved(INFINITY, False, seed=1)
    objective = objective_matrix(model.problem(targets[0]).objective)
    report, _ = solver.solve(objective)
    transfer = Transfer(model)
    transfer.add(report.multipliers)
    value, _ = transfer(targets[0])
    # t and lambda are optimal, so the quadratic program in mu and nu can return to the optimum; it stops at a sign.
    assert value < 0 or value == pytest.approx(report.dual_value, rel=1e-2, abs=1e-2)


def test_without_a_source_nothing_is_proven():
    model, _, _, targets = solved(2.0, False)
    value, multipliers = Transfer(model)(targets[0])
    assert value == np.inf and not len(multipliers)


def test_multipliers_without_a_concave_quadratic_are_no_source():
    model, data, _, targets = solved(INFINITY, False)
    transfer = Transfer(model)
    transfer.add(np.ones(len(data.constraints.equality)))  # t = -1: M is negative definite
    assert transfer(targets[0])[0] == np.inf


def test_regions_that_keep_more_multipliers_are_refused():
    model, _, _, _ = solved(1.0, False)
    with pytest.raises(ValueError, match="box"):
        Transfer(model)
