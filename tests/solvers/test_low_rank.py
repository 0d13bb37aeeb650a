"""The low-rank method against brute force and against the interior point."""

import itertools

import numpy as np
import pytest

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.problems.relu_lipschitz import slope_problem
from tightrope.problems.relu_question import question
from tightrope.question import Limits
from tightrope.regions import Ball
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.low_rank import bipartite_maxcut
from tightrope.solvers.sound import sound_bound
from tightrope.verifiers.relu_lipschitz import lipschitz_bound


def test_dual_point_is_feasible_and_above_every_sign_pattern():
    rng = np.random.default_rng(0)
    for n, k in ((4, 5), (6, 3), (1, 4)):
        B = rng.normal(size=(n, k))
        alpha, beta, value, sweeps = bipartite_maxcut(B, tolerance=1e-10)
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=k)))
        brute = np.abs(B @ signs.T).sum(0).max()
        Z = np.block([[np.diag(alpha), -B], [-B.T, np.diag(beta)]])
        assert np.linalg.eigvalsh(Z)[0] > -1e-5
        assert brute <= value * (1 + 1e-6) and value == pytest.approx((alpha.sum() + beta.sum()) / 2, rel=1e-6)
        assert sweeps > 1


def test_agrees_with_the_interior_point():
    rng = np.random.default_rng(1)
    c = rng.normal(size=(1, 9)) * (rng.random(9) < 0.8)  # some neurons have no weight
    network = FeedForward.dense([rng.normal(size=(9, 6)), c], [rng.normal(size=9), np.zeros(1)])
    region = Ball(np.zeros(6), 10.0, "inf")
    problem = slope_problem(question(network, region, 0))
    data, objective = ArrowData(shor_constraints(problem), core=("r1",)), objective_matrix(problem.objective)
    report, _ = InteriorPoint(data).solve(objective, tolerance=1e-6)
    value = sound_bound(data, objective, report.multipliers).value
    ours = lipschitz_bound(network, region, 0, "qcqp", limits=Limits(1e-5))
    assert ours.value == pytest.approx(value, rel=1e-4) and ours.reason == "low rank"


def test_bad_input_by_name():
    with pytest.raises(InputError, match="B"):
        bipartite_maxcut(np.array([1.0, np.nan]))
