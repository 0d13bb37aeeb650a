"""Order 2: Gram matrices are accepted, other claims are refused, and nothing below the exact maximum is proven."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.checker.references import largest_margin
from tests.checker.test_checker import proven
from tests.checker.test_checker import regions as some_regions
from tests.checker.test_exact import KINDS, segment
from tests.helpers import mondeq, question
from tightrope import checker, gram_proofs, proofs
from tightrope.checker import gram, regions
from tightrope.checker import mondeq as exact_mondeq
from tightrope.networks import FeedForward
from tightrope.question import Question, Verdict
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers.robustness import certify


def made(seed: int = 1):
    """A file of order 2 with one claim, and its network's arrays."""
    network, region, label, target = question(seed, INFINITY, 0.5, p=2, p0=2)
    return gram_proofs.margin(Question(network, region, label, [target])).certificate, proofs.arrays_of(network)[1]


@pytest.mark.parametrize("kind", ["l1", "l1 clipped", "l2 clipped", "linf", "zonotope", "ellipsoid", "pixels l2"])
def test_what_is_known_of_a_state_is_true(kind):
    network, region = mondeq(2, p=3), some_regions(0)[kind]
    exact = regions.read(*region.stated())
    asked = gram.question(exact_mondeq.Network.read(proofs.arrays_of(network)[1]), exact, 0, 1)
    for x in region.sample(20, np.random.default_rng(0)):
        d = x - exact.centre.floats()
        if exact.generators is not None:
            d = np.linalg.lstsq(region.G, d, rcond=None)[0]
        v = np.concatenate([[1.0], network.equilibrium(x, tolerance=1e-12), d[exact.free]])

        def value(polynomial, v=v):
            return sum(float(c) * np.prod(v[list(e)]) for e, c in polynomial.items())

        assert min(map(value, asked.inequalities)) >= -1e-9
        assert np.abs(list(map(value, asked.equalities))).max() < 1e-9
        assert value(asked.margin) == pytest.approx(np.diff(network.logits(x)[:2])[0])


@pytest.mark.parametrize(("seed", "kind"), [*itertools.product(range(2), KINDS)])
def test_bounds_are_proven_and_at_least_the_exact_maximum(seed, kind):
    network, region = segment(seed, kind)
    label = int(network.predict(region.center))
    target = (label + 1) % 3
    proof = gram_proofs.margin(Question(network, region, label, [target]))
    file, arrays = proof.certificate, proofs.arrays_of(network)[1]
    assert proof.proven and proven(checker.from_bytes(file.to_bytes()), arrays)
    most = largest_margin(network, regions.read(file.region, file.arrays), label, target)
    assert most <= Fraction(file.claims[0]["bound"])
    low = [file.claims[0] | {"bound": proofs.decimal_below(float(most) - 1e-12)}]
    assert not proven(replace(file, claims=low), arrays)


def test_altered_claims_are_refused():
    file, arrays = made()
    claim = file.claims[0]
    for change in ({"bound": None}, {"target": 9}, {"label": claim["target"]}, {"more": 1}, {"bound": "-100"}):
        assert not proven(replace(file, claims=[claim | change]), arrays), change
    for name in claim:
        assert not proven(replace(file, claims=[{k: v for k, v in claim.items() if k != name}]), arrays)
    assert not proven(replace(file, region=file.region | {"radius": "0.8"}), arrays)
    assert not proven(replace(file, arrays=file.arrays | {"centre": file.arrays["centre"] + 1}), arrays)
    assert not proven(file, arrays | {"W": arrays["W"] + 1e-9})
    for name, array in file.arrays.items():
        without = {other: a for other, a in file.arrays.items() if other != name}
        assert not proven(replace(file, arrays=without), arrays)
        for altered in (array[:-1], array[..., :-1], array[..., None], np.full_like(array, np.nan), array * 0):
            if name != "centre" or altered.shape != array.shape:
                assert not proven(replace(file, arrays=file.arrays | {name: altered}), arrays), name
    assert not proven(replace(file, arrays=file.arrays | {"more": np.zeros(1)}), arrays)
    assert not proven(replace(file, claims=[claim, claim]), arrays)


def test_a_negative_sum_of_squares_is_refused_by_name():
    file, arrays = made()
    (finding,) = checker.check(replace(file, arrays=file.arrays | {"sigma": -file.arrays["sigma"]}), arrays)
    assert "sigma" in finding.reason and not finding.proven


@pytest.mark.parametrize("seed", range(5))
def test_altered_matrices_never_prove_too_much(seed):
    file, arrays = made(seed)
    rng = np.random.default_rng(seed)
    network, region, label, target = question(seed, INFINITY, 0.5, p=2, p0=2)
    scores = network.logits(region.sample(500, rng))
    least = float((scores[:, target] - scores[:, label]).max())
    claim = file.claims[0] | {"bound": proofs.decimal_below(least)}
    for _ in range(10):
        noise = {name: file.arrays[name] * rng.uniform(0.5, 1.5, file.arrays[name].shape) for name in gram_proofs.ROWS}
        assert not proven(replace(file, claims=[claim], arrays=file.arrays | noise), arrays)


def test_large_networks_are_refused_by_name():
    network, region, label, target = question(0, 2, 0.3, p=6, p0=3)
    file = replace(made()[0], network=proofs.digest(network), claims=[{"label": label, "target": target, "bound": "1"}])
    file = replace(file, arrays=file.arrays | {"centre": region.center})
    assert "at most 8" in checker.check(file, proofs.arrays_of(network)[1])[0].reason


def test_reports_of_order_2_have_one_file_for_all_labels():
    network, region, label, _ = question(1, INFINITY, 0.5, p=3, p0=2)
    report = certify(network, region, label, order="2", attack=False, method="interior-point")
    second = [decision for decision in report.decisions if decision.proof is not None]
    assert second and all(decision.verdict is Verdict.CERTIFIED for decision in second if decision.bound < 0)
    file = report.certificates()
    assert file.proven and len(file.certificate.claims) == len(report.decisions)
    assert file.certificate.theory == "mondeq-order-2"
    assert proven(file.certificate, proofs.arrays_of(network)[1])
    assert report.certificate(second[0].label).proven


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_squares_of_weights_that_overflow_prove_nothing():
    """A proof without a file, and no OverflowError."""
    weights = ([[1e160], [-1e160]], [[1e-160, 1e-160], [0, 0]])
    network = FeedForward.dense(weights, ([0, 0], [0, 1.5])).to_mondeq()
    proof = gram_proofs.margin(Question(network, Ball([0.0], 1.0, 2), 1))
    assert proof.certificate is None and not proof.proven
