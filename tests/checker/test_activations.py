"""Certificates of other nonlinearities than ReLU: bounds of the report, proven in balls; nothing false is."""

from dataclasses import replace

import numpy as np
import pytest
from flint import arb

from tightrope import checker, proofs, relu_proofs
from tightrope.checker import activations
from tightrope.checker.numbers import Exact
from tightrope.networks import FeedForward
from tightrope.networks.activations import ELU, RELU, Arctan, LeakyReLU, Sigmoid, Step, Tanh
from tightrope.question import Question
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers.robustness import certify

KINDS = [LeakyReLU(0.1), LeakyReLU(-0.5), LeakyReLU(3.0), ELU(1.0), ELU(2.5), Sigmoid(), Tanh(), Arctan(), Step()]
METHODS = ("box", "hbox_back", "crown_ibp", "deepz", "crown", "crown_0")


def network(one, seed=0, sizes=(2, 3, 3, 2)):
    """A network of one nonlinearity and ReLU in turn."""
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes, strict=False))
    weights, biases = [rng.normal(size=s) for s in shapes], [rng.normal(size=s[0]) for s in shapes]
    return FeedForward.dense(weights, biases, "", (one, RELU if seed % 2 else one))


@pytest.mark.parametrize("one", KINDS, ids=str)
def test_the_largest_is_found(one):
    """Between the largest on a grid and little more, for slopes and coefficients of both signs and equal ends."""
    rng = np.random.default_rng(0)
    pieces = activations.read(one.name, one.parameters())
    for _ in range(60):
        low, high = np.sort(rng.normal(size=(2, 1)) * rng.choice([0.1, 1, 10]), axis=0)
        high = low if rng.random() < 0.1 else high
        low, high = (np.where(rng.random(1) < 0.1, 0.0 * end, end) for end in (low, high))
        low, high = np.minimum(low, high), np.maximum(low, high)
        A, mu = rng.normal(size=(2, 1, 1)) * rng.choice([0.0, 1e-3, 1, 30], size=(2, 1, 1))
        grid = np.concatenate([np.linspace(low[0], high[0], 20001), np.clip([0.0, -1e-300, 1e-300], low[0], high[0])])
        values = [A.item() * one.limit(grid, above) - mu.item() * grid for above in (False, True)]
        found = float(activations.peaks(pieces, Exact.of(A), Exact.of(mu), low, high).fractions()[0])
        most, size = np.max(values), 1e-12 * (1 + np.abs(values).max())
        fine = (abs(A.item()) * 3 + abs(mu.item())) * (high - low)[0] / 20000  # what the grid may miss
        assert most - size <= found <= most + size + fine


@pytest.mark.parametrize("one", KINDS, ids=str)
def test_files_have_the_reports_bounds(one):
    """Up to rounding, for every relaxation; what is attained is below, and a bound below it is refused."""
    for seed, norm in ((0, INFINITY), (1, 2.0)):
        net = network(one, seed)
        rng = np.random.default_rng(seed)
        region = Ball(rng.normal(size=2), 0.3, norm)
        label = int(net.predict(region.center))
        target = 1 - label
        logits = net.logits(region.sample(500, rng))
        attained = (logits[:, target] - logits[:, label]).max()
        for method in METHODS:
            report = certify(net, region, label, method=method, targets="all", attack=False)
            proof = relu_proofs.linear(Question(net, region, label), method)
            assert proof.proven and {finding.by for finding in proof.findings} == {"ball arithmetic"}
            stated = float(proof.certificate.claims[-1]["bound"])
            bound = report.decisions[0].bound
            assert attained <= stated <= bound + 1e-3 * (1 + abs(bound))
            claim = {**proof.certificate.claims[-1], "bound": str(attained - 1e-6)}
            false = replace(proof.certificate, claims=[*proof.certificate.claims[:-1], claim])
            assert not checker.check(false, proofs.arrays_of(net)[1])[-1].proven


def test_altered_files_and_networks_are_refused():
    """Tighter hidden bounds, foreign slopes, another nonlinearity, and theories that are about ReLU."""
    net = network(Tanh(), 0)
    region = Ball(np.array([0.3, -0.2]), 0.1, INFINITY)
    label = int(net.predict(region.center))
    file = relu_proofs.linear(Question(net, region, label), "crown").certificate
    arrays = proofs.arrays_of(net)[1]

    def refused(file, arrays=arrays):
        return [not finding.proven for finding in checker.check(file, arrays)]

    assert not any(refused(file))
    for name, sign in (("l1", 1), ("u2", -1)):
        assert any(refused(replace(file, arrays=file.arrays | {name: file.arrays[name] + sign * 1e-3})))
    for name in ("lower1", "upper2"):
        others = {k: v for k, v in file.arrays.items() if k != name}
        for changed in (others, {**others, name: np.full(3, np.nan)}, {**others, name: file.arrays[name][:-1]}):
            assert any(refused(replace(file, arrays=changed)))
    for number in (1, 2):  # lines of any slope are sound, and these are of no use
        lines = {name: 5 - file.arrays[name] for name in (f"lower{number}", f"upper{number}")}
        assert any(refused(replace(file, arrays=file.arrays | lines)))
    for other in ("sigmoid", "arctan", "elu", "sine"):
        changed = {k: v for k, v in arrays.items() if k != "activation.1.tanh"} | {f"activation.1.{other}": np.zeros(0)}
        assert all(refused(file, changed))
        sha256 = checker.digest("relu", changed)
        assert any(refused(replace(file, network=sha256), changed))
    for name in ("activation.3.tanh", "activation.1.step", "activation.0.tanh"):
        changed = {**arrays, name: np.zeros(0)}
        assert all(refused(replace(file, network=checker.digest("relu", changed)), changed))
    for rule in ("deepz", "crown", "hbox"):
        claims = [{**claim, "rule": rule} for claim in file.claims]
        assert any(refused(replace(file, claims=claims)))
    point = {"pixels": None, "point": np.zeros((1, 2))}
    point = {k: v for k, v in file.arrays.items() if k in ("centre", "lower", "upper")} | {"point": point["point"]}
    claim = {"label": label, "target": 1 - label, "least": "-100"}
    assert all(refused(replace(file, theory="relu-point", claims=[claim], arrays=point)))
    leaves = [{**claim, "leaves": 1} if "bound" in claim else claim for claim in file.claims]
    assert any(refused(replace(file, claims=leaves)))


def test_values_are_balls():
    """The slope of a tangent and the value are enclosed: of large and small arguments, too."""
    for one in KINDS:
        for t in (-700.0, -30.0, -1e-9, 0.0, 1e-9, 2.0, 30.0):
            left, right = activations.read(one.name, one.parameters())
            piece = left if t < 0 else right
            value = float(piece.value(arb(t)).mid())
            assert value == pytest.approx(one.limit(np.array(t), True).item(), rel=1e-12, abs=1e-15)
            assert float(piece.slope(arb(t)).mid()) == pytest.approx(
                one.derivative(np.array(t or 1e-300)).item(), rel=1e-12, abs=1e-14
            )


@pytest.mark.parametrize("low", [-1e3, -1e9, -1e12])
def test_bounds_far_below_cost_nothing(low):
    """sigma(-1e9) is 2^-1442695041: as an integer's reciprocal it would fill the memory."""
    weights = {"W1": np.ones((1, 1)), "b1": np.zeros(1), "W2": np.array([[1.0], [0.0]]), "b2": np.array([0.0, 2.0])}
    weights["activation.1.sigmoid"] = np.zeros(0)
    claims = [{"layer": 1, "rule": "interval"}, {"label": 1, "target": 0, "bound": "-0.5", "rule": "interval"}]
    bounds = {"centre": np.zeros(1), "l1": np.array([low]), "u1": np.ones(1)}
    region = {"norm": "inf", "radius": "1"}
    file = checker.Certificate("relu-linear", checker.digest("relu", weights), region, claims, bounds)
    assert [finding.proven for finding in checker.check(file, weights)] == [True, True]
