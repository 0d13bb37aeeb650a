"""Feed-forward networks through the one verifier: proofs, attacks, limits, order against enumeration."""

import numpy as np
import pytest

from tests.helpers import exact_margin
from tightrope import certificates
from tightrope.attacks import check
from tightrope.certificates import Verdict
from tightrope.errors import InputError, RegionError, StoppedError, UnknownNameError
from tightrope.networks import Convolution, Dense, FeedForward
from tightrope.propagation.lines import RELAXATIONS
from tightrope.regions import Ball, EllipsoidRegion, Polytope, Zonotope
from tightrope.verifiers import feedforward
from tightrope.verifiers.robustness import verify


def network(seed: int, *sizes: int) -> FeedForward:
    """Dense network with Gaussian weights."""
    rng = np.random.default_rng(seed)
    pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
    return FeedForward.dense([rng.standard_normal(p) for p in pairs], [rng.standard_normal(p[0]) for p in pairs])


def question(seed: int, radius: float = 0.2, norm: float = np.inf, clip: bool = False):
    """(network 3-3-2-3, ball, label of the centre, exact margins of the box by enumeration)."""
    net = network(seed, 3, 3, 2, 3)
    center = np.random.default_rng(seed + 50).standard_normal(3)
    box = (center - 0.5 * radius, center + 2 * radius) if clip else (None, None)
    return net, Ball(center, radius, norm, *box), net.predict(center)


@pytest.mark.parametrize("method", ["cascade", "interior-point", *RELAXATIONS])
def test_attack_exact_bound(method):
    """attack <= exact <= bound for every label, and no verdict is wrong."""
    verdicts = []
    for seed in range(6):
        net, region, label = question(seed, clip=seed % 2 == 1)
        report = verify(net, region, label, method=method)
        for decision in report.decisions:
            exact = exact_margin(net.to_mondeq(), region, label, decision.label)
            assert decision.attack_margin is None or decision.attack_margin <= exact + 1e-9
            assert decision.bound is None or decision.bound >= exact - 1e-9
            if decision.verdict is Verdict.CERTIFIED:
                assert exact < 0 and decision.bound < 0
            if decision.verdict is Verdict.FALSIFIED:
                assert exact >= 0
            verdicts.append(decision.verdict)
    assert Verdict.FALSIFIED in verdicts and (Verdict.CERTIFIED in verdicts or method == "box")


def wide(seed: int) -> tuple[FeedForward, Ball, int]:
    """(network 20-20-3, ball, label): linear bounds of some labels stay open."""
    net = network(seed, 20, 20, 3)
    region = Ball(np.random.default_rng(seed).standard_normal(20), 0.15, np.inf)
    return net, region, net.predict(region.center)


def test_the_cascade_is_as_good_as_each_of_its_methods():
    """What linear bounds or Shor's relaxation certify, the cascade certifies; somewhere Shor is needed."""
    solvers = set()
    for net, region, label in [wide(1), wide(2), *(question(seed, radius=0.3) for seed in range(4))]:
        report = verify(net, region, label)
        for method in (*feedforward.CASCADE, "interior-point"):
            for one, ours in zip(verify(net, region, label, method=method).decisions, report.decisions, strict=True):
                assert one.verdict is not Verdict.CERTIFIED or ours.verdict is Verdict.CERTIFIED
        solvers |= {decision.method for decision in report.decisions if decision.verdict is Verdict.CERTIFIED}
    assert {"box", "crown", "cascade"} <= solvers


def test_certificate_of_the_relaxation_checks_on_the_mondeq():
    """What Shor's relaxation proves can be checked without a solver, on the same function as a monDEQ."""
    net, region, label = question(0, radius=0.05)
    report = verify(net, region, label, method="interior-point")
    assert report.verdict is Verdict.CERTIFIED
    for decision in report.decisions:
        assert certificates.check(decision.certificate, net.to_mondeq(), region) < 0


def convolutional(seed: int = 0) -> FeedForward:
    """One convolution, one hidden dense layer, on images of 4 x 4."""
    rng = np.random.default_rng(seed)
    layer = Convolution(rng.standard_normal((2, 1, 2, 2)), rng.standard_normal(2), (1, 4, 4), 2, 1)
    hidden = Dense(rng.standard_normal((5, layer.output_size)) / 3, rng.standard_normal(5))
    return FeedForward((layer, hidden, Dense(rng.standard_normal((3, 5)), rng.standard_normal(3))))


def test_convolutions_are_decided_as_their_dense_form_is():
    """Attack, bounds and verdicts do not depend on how a layer is stored; nothing sampled contradicts them."""
    verdicts = set()
    for seed in range(4):
        net = convolutional(seed)
        region = Ball(np.random.default_rng(seed).standard_normal(16), 0.1 * (1 + seed), np.inf)
        label = net.predict(region.center)
        ours, dense = verify(net, region, label), verify(net.to_dense(), region, label)
        assert [d.verdict for d in ours.decisions] == [d.verdict for d in dense.decisions]
        logits = net.logits(region.sample(2000, np.random.default_rng(1)))
        for decision in ours.decisions:
            largest = (logits[:, decision.label] - logits[:, label]).max()
            assert decision.bound is None or largest <= decision.bound
        verdicts |= {d.verdict for d in ours.decisions}
        if ours.attack is not None:
            assert check(net, region, label, ours.attack.point[None]) is not None
    assert {Verdict.CERTIFIED, Verdict.FALSIFIED} <= verdicts


@pytest.mark.parametrize("kind", ["l1", "l2", "l2 clipped", "l3", "zonotope", "ellipsoid", "polytope"])
def test_every_region(kind):
    """Bounds hold at sampled points, whatever the region; small ones are certified by each method."""
    net = network(3, 3, 4, 3, 3)
    center = np.random.default_rng(5).standard_normal(3)
    G = np.random.default_rng(6).standard_normal((3, 3)) * 0.02
    region = {
        "l1": Ball(center, 0.05, 1),
        "l2": Ball(center, 0.05, 2),
        "l2 clipped": Ball(center, 0.05, 2, center - 0.01, center + 0.04),
        "l3": Ball(center, 0.02, 3),
        "zonotope": Zonotope(center, G),
        "ellipsoid": EllipsoidRegion(center, G),
        "polytope": Polytope(np.ones((1, 3)), [center.sum() + 0.02], center - 0.05, center + 0.05),
    }[kind]
    label = net.predict(center)
    logits = net.logits(region.sample(500, np.random.default_rng(0)))
    for method in ("crown", "box", "cascade"):
        report = verify(net, region, label, method=method)
        assert report.verdict is Verdict.CERTIFIED
        for decision in report.decisions:
            assert (logits[:, decision.label] - logits[:, label]).max() <= decision.bound


def test_wrong_centre_and_ties_are_falsified():
    """Without an attack too; a tie counts against the label."""
    net = network(1, 3, 4, 3)
    region = Ball(np.zeros(3), 0.0, np.inf)
    wrong = (net.predict(np.zeros(3)) + 1) % 3
    report = verify(net, region, wrong, attack=False)
    assert report.verdict is Verdict.FALSIFIED and report.attack.label == report.predicted
    tie = FeedForward.dense(([[0.0]], [[1.0], [1.0]]), ([1.0], [0.0, 0.0]))
    assert verify(tie, Ball([0.0], 1.0, np.inf), 0).verdict is Verdict.FALSIFIED


def test_a_network_without_hidden_layer():
    """A linear classifier is decided exactly by its first bound."""
    net = network(2, 4, 3)
    region = Ball(np.ones(4), 0.1, np.inf)
    label = net.predict(region.center)
    report = verify(net, region, label)
    W, b = net.weights[0], net.biases[0]
    for decision in report.decisions:
        row = W[decision.label] - W[label]
        exact = row @ region.center + b[decision.label] - b[label] + 0.1 * np.abs(row).sum()
        if decision.verdict is Verdict.CERTIFIED:
            assert decision.bound == pytest.approx(exact, abs=1e-9) and exact < 0
        else:
            assert decision.attack_margin == pytest.approx(exact, abs=1e-9) and exact >= 0


def test_a_limit_is_a_reason(monkeypatch):
    """Too many neurons for the SDP: unknown, with the bound that is known and the reason."""
    net, region, label = wide(1)
    assert Verdict.CERTIFIED in {decision.verdict for decision in verify(net, region, label).decisions}
    monkeypatch.setattr(feedforward, "LARGEST_SDP", 19)
    (decision,) = [d for d in verify(net, region, label).decisions if d.verdict is Verdict.UNKNOWN]
    assert decision.bound >= 0 and decision.reason.endswith("19 hidden neurons, not 20")


def test_stop_ends_it():
    """A question that nobody waits for."""
    net, region, label = question(0)
    with pytest.raises(StoppedError):
        verify(net, region, label, attack=False, stop=lambda: True)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "crowns"}, UnknownNameError, "Did you mean 'crown'"),
        ({"label": 7}, InputError, "label: got 7"),
        ({"targets": [0, 1, 2]}, InputError, "targets: got"),
        ({"targets": []}, InputError, "targets: got none"),
        ({"region": Ball(np.zeros(2), 0.1, np.inf)}, RegionError, "2 inputs, but the network has 3"),
        ({"tolerance": -1.0}, InputError, "tolerance"),
        ({"time_limit": 0.0}, InputError, "time_limit"),
        ({"order": "3"}, UnknownNameError, "order"),
        ({"method": "crown", "order": "1+cuts"}, InputError, "goes with Shor's relaxation"),
        ({"network": "mlp"}, InputError, "expected a MonDEQ or a FeedForward, got str"),
    ],
)
def test_bad_input_is_named(change, error, message):
    """Before anything is computed."""
    net, region, label = question(0)
    arguments = {"network": net, "region": region, "label": label} | change
    with pytest.raises(error, match=message):
        verify(**arguments)
