"""Order 2 on tiny networks: attack <= exact <= order 2 <= cuts <= Shor, and its file proves its bound."""

import numpy as np
import pytest

from tests.helpers import exact_margin, mondeq, question
from tightrope import proofs
from tightrope.attacks import pgd
from tightrope.checker import gram, regions
from tightrope.checker import mondeq as mondeq_checker
from tightrope.errors import InputError, RegionError
from tightrope.gram_proofs import by_exponents
from tightrope.question import Limits, Question
from tightrope.regions import INFINITY, Ball
from tightrope.relaxations.lasserre import exponents_of_degree, lasserre
from tightrope.verifiers.robustness import certify


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_order(seed):
    network, region, label, target = question(seed, INFINITY, 0.5, p=3, p0=2 + seed % 2)
    options = {"targets": [target], "method": "interior-point", "attack": False, "limits": Limits(1e-6)}
    reports = [certify(network, region, label, order=order, **options) for order in ("1", "1+cuts", "2")]
    shor, cuts, second = (report.decisions[0].bound for report in reports)
    file = reports[2].certificate(target).certificate
    assert file.theory in ("mondeq-order-1", "mondeq-order-2")
    assert float(file.claims[0]["bound"]) <= second + 1e-4 * (1 + abs(second))
    attack = pgd(Question(network, region, label, [target]), restarts=2, steps=20, seed=0).best_margin[target]
    exact = exact_margin(network, region, label, target)
    assert attack <= exact + 1e-6
    assert exact <= second + 1e-8
    assert second <= cuts + 1e-5
    assert cuts <= shor + 1e-4


def test_functionals_of_true_points_are_feasible():
    """Moments of a state of the network: the moment matrix is v v', localizing matrices are semidefinite."""
    network, region, label, target = question(1, INFINITY, 0.5, p=3, p0=2)
    exact = regions.read(*region.stated())
    asked = gram.question(mondeq_checker.Network.read(proofs.arrays_of(network)[1]), exact, label, target)
    margin, *known = (by_exponents(part, asked.size) for part in (asked.margin, *asked.inequalities, *asked.equalities))
    count = len(asked.inequalities)
    objective, block = lasserre(margin, known[:count], known[count:], asked.size)
    exponents = np.array([e for degree in range(5) for e in exponents_of_degree(asked.size, degree)])
    for x in region.sample(5, np.random.default_rng(0)):
        v = np.concatenate([network.equilibrium(x, tolerance=1e-12), x - region.center])
        L = np.prod(v**exponents, axis=1)
        for columns in block.psd:
            side = round(columns.shape[1] ** 0.5)
            assert np.linalg.eigvalsh((columns.T @ L).reshape(side, side))[0] >= -1e-7
        assert np.abs(block.equalities.T @ L).max() < 1e-7
        scores = network.logits(x)
        assert objective @ L == pytest.approx(scores[target] - scores[label])


def test_errors():
    network = mondeq(0, p=4, p0=3)
    with pytest.raises(InputError, match="6 neurons and inputs together"):
        certify(network, Ball(np.zeros(3), 0.1, 2), 0, order="2")
    with pytest.raises(RegionError, match="inputs"):
        certify(mondeq(0, p=3, p0=3), Ball(np.zeros(2), 0.1, 2), 0, order="2")
