"""Norms: dual, steepest direction and length agree with each other, and another norm is one class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import exact, mondeq
from tightrope import attacks
from tightrope.errors import RegionError
from tightrope.networks import FeedForward
from tightrope.question import Question, Verdict
from tightrope.regions import INFINITY, Ball, Norm, parse_norm
from tightrope.verifiers.robustness import certify


class WeightedMaximum(Norm):
    """max_j |x_j| / w_j: pixels of different importance."""

    is_box = True

    def __new__(cls, *weights: float):
        norm = super().__new__(cls, np.nan)
        norm.weights = weights
        return norm

    def length(self, step):
        return (step / self.weights).max(-1)

    def extent(self, radius, outwards):
        return np.nextafter(radius * np.array(self.weights), INFINITY if outwards else 0.0)

    def support(self, rows):
        return np.abs(rows) @ self.weights * (1 + 1e-12)

    def steepest(self, gradient):
        return np.sign(gradient) * self.weights


NORMS = [Norm(1), Norm(1.5), Norm(2), Norm(3), Norm(INFINITY), WeightedMaximum(0.5, 2.0, 1.0)]


@given(norm=st.sampled_from(NORMS), seed=st.integers(0, 999))
def test_the_steepest_direction_attains_the_dual_norm(norm, seed):
    """g'd <= ||g||* ||d||, with equality at the steepest d (nearly at L1, where ties are spread)."""
    g, d = np.random.default_rng(seed).standard_normal((2, 20, 3))
    most, along = norm.support(g), norm.steepest(g)
    assert ((g * d).sum(1) <= most * norm.length(np.abs(d))).all()
    np.testing.assert_allclose(norm.length(np.abs(along)), 1)
    np.testing.assert_allclose((g * along).sum(1), most, rtol=0.2 if norm == 1 else 1e-9)


def test_a_norm_is_its_order():
    """As a number, in text and in the hash of a region."""
    assert parse_norm("l2") == 2 and repr(Norm(2)) == "2.0" and f"{Norm(3):g}" == "3"
    assert parse_norm(NORMS[-1]) is NORMS[-1]
    hashes = {Ball(np.zeros(3), 1.0, norm).sha256() for norm in (*NORMS, WeightedMaximum(1, 1, 1))}
    assert len(hashes) == len(NORMS) + 1


def feed_forward(seed: int) -> FeedForward:
    rng = np.random.default_rng(seed)
    shapes = ((5, 3), (4, 5), (3, 4))
    return FeedForward.dense([rng.standard_normal(s) for s in shapes], [rng.standard_normal(s[0]) for s in shapes])


METHODS = {
    feed_forward: ["crown", "lp-all", "branch-and-bound", "milp", "cascade"],
    mondeq: ["cascade", "interior-point"],
}


@pytest.mark.parametrize(("make", "method"), [(make, method) for make in METHODS for method in METHODS[make]])
def test_another_norm_certifies_and_attacks(make, method):
    """Small balls are certified, large ones are not; no sample is above a bound, and attacks are inside exactly."""
    network, center = make(4), np.array([0.3, -0.2, 0.5])
    label, norm = network.predict(center), NORMS[-1]
    verdicts = set()
    for radius in (1e-3, 4.0):
        region = Ball(center, radius, norm)
        report = certify(network, region, label, method=method, order="1+cuts" if method == "interior-point" else "1")
        verdicts.add(report.verdict)
        corner = center + radius * norm.steepest(np.ones((1, 3)))
        points = np.vstack([region.sample(300, np.random.default_rng(0)), corner])
        margins = network.logits(points) - network.logits(points)[:, [label]]
        for decision in report.decisions:
            largest = margins[:, decision.label].max()
            assert decision.bound is None or largest <= decision.bound + 1e-9
            assert largest < 0 or decision.verdict not in (Verdict.CERTIFIED, Verdict.COMPUTED)
        if report.attack is not None:
            step = abs(exact(report.attack.point) - exact(center))
            assert (step <= exact(np.full(3, radius)) * exact(np.array(norm.weights))).all()
            assert attacks.check(Question(network, region, label), report.attack.point) is not None
    assert verdicts <= {Verdict.CERTIFIED, Verdict.COMPUTED, Verdict.FALSIFIED} and len(verdicts) == 2


def test_files_refuse_another_norm_by_name():
    network, region = mondeq(4), Ball(np.zeros(3), 1e-3, NORMS[-1])
    report = certify(network, region, network.predict(region.center))
    assert report.verdict is Verdict.CERTIFIED
    with pytest.raises(RegionError, match="WeightedMaximum"):
        report.certificates()
