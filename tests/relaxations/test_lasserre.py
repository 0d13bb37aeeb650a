"""Order 2 on tiny networks: attack <= exact <= order 2 <= cuts <= Shor, and bounds that survive bad multipliers."""

import numpy as np
import pytest

from tests.helpers import exact_margin, mondeq, question
from tightrope.attacks import pgd
from tightrope.errors import InputError, RegionError
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.regions import INFINITY, Ball
from tightrope.relaxations.cuts import cut_model
from tightrope.relaxations.lasserre import all_pairs, lasserre, proven_bound
from tightrope.verifiers.robustness import Limits, certify


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_order(seed):
    network, region, label, target = question(seed, INFINITY, 0.5, p=3, p0=2 + seed % 2)
    options = {"targets": [target], "method": "interior-point", "attack": False, "limits": Limits(1e-6)}
    shor, cuts, second = (
        certify(network, region, label, order=order, **options).decisions[0].bound for order in ("1", "1+cuts", "2")
    )
    attack = pgd(network, region, label, targets=[target], restarts=2, steps=20, seed=0).best_margin[target]
    exact = exact_margin(network, region, label, target)
    assert attack <= exact + 1e-6
    assert exact <= second + 1e-8
    assert second <= cuts + 1e-5
    assert cuts <= shor + 1e-4


def program(seed=1):
    network, region, label, target = question(seed, INFINITY, 0.5, p=3, p0=2)
    model = all_pairs(cut_model(robustness_model(network, region, label), fixpoint_bounds(network, region).h))
    return lasserre(model.problem(target)), model, target, exact_margin(network, region, label, target)


def test_functionals_of_true_points_are_feasible():
    """Moments of a state of the network: the moment matrix is v v', localizing matrices are semidefinite."""
    relaxed, model, target, _ = program()
    d = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    for v in model.point(d)[:, 1:]:
        L = np.prod(v**relaxed.monomials, axis=1)
        for columns in (relaxed.gram, *relaxed.localizing):
            side = round(columns.shape[1] ** 0.5)
            assert np.linalg.eigvalsh((columns.T @ L).reshape(side, side))[0] >= -1e-7
        assert np.abs(relaxed.equalities.T @ L).max() < 1e-7
        assert (np.abs(L) <= relaxed.magnitude * (1 + 1e-9)).all()
        value = model.problem(target).objective(np.concatenate([[1.0], v]))[0]
        assert relaxed.objective @ L == pytest.approx(value)


@pytest.mark.parametrize("seed", range(3))
def test_any_multipliers_prove_a_true_bound(seed):
    """Random, even indefinite, proposals give bounds that are bad but true."""
    relaxed, _, _, exact = program()
    rng = np.random.default_rng(seed)
    b = round(relaxed.gram.shape[1] ** 0.5)
    grams = [rng.standard_normal((round(A.shape[1] ** 0.5),) * 2) for A in relaxed.localizing]
    assert exact <= proven_bound(
        relaxed, rng.standard_normal((b, b)), grams, rng.standard_normal(relaxed.equalities.shape[1])
    )


def test_errors():
    network = mondeq(0, p=4, p0=3)
    with pytest.raises(InputError, match="p \\+ p0"):
        certify(network, Ball(np.zeros(3), 0.1, 2), 0, order="2")
    model = robustness_model(network, Ball(np.zeros(3), 0.1, 2), 0)
    with pytest.raises(InputError, match="at most 6"):
        lasserre(model.problem(1))
    with pytest.raises(RegionError, match="inputs"):
        certify(mondeq(0, p=3, p0=3), Ball(np.zeros(2), 0.1, 2), 0, order="2")
