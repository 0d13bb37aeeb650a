"""Feed-forward networks through the one verifier: proofs, attacks, limits, order against enumeration."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.checker.test_relu import random_network
from tests.helpers import exact_margin
from tightrope import attacks, checker, proofs, relu_proofs
from tightrope.attacks import check
from tightrope.errors import CertificateError, InputError, RegionError, StoppedError, UnknownNameError
from tightrope.networks import Composition, Convolution, Dense, FeedForward, Scaling
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import Ball, EllipsoidRegion, Polytope, Zonotope
from tightrope.verifiers import feedforward, methods, robustness
from tightrope.verifiers.methods import METHODS
from tightrope.verifiers.robustness import certify


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


@pytest.mark.parametrize(
    "method", ["cascade", "interior-point", *(name for name, method in METHODS.items() if not method.mondeq)]
)
def test_attack_exact_bound(method):
    """attack <= exact <= bound for every label, and no verdict is wrong; the mixed-integer program proves none."""
    verdicts = []
    for seed in range(6):
        net, region, label = question(seed, clip=seed % 2 == 1)
        report = certify(net, region, label, method=method)
        for decision in report.decisions:
            exact = exact_margin(net.to_mondeq(), region, label, decision.label)
            assert decision.attack_margin is None or decision.attack_margin <= exact + 1e-9
            assert decision.bound is None or decision.bound >= exact - 1e-9
            if decision.verdict is Verdict.CERTIFIED:
                assert exact < 0 and decision.bound < 0
            if decision.verdict is Verdict.COMPUTED:
                assert exact < 0 and decision.bound is None and decision.dual is None
            if decision.verdict is Verdict.FALSIFIED:
                assert exact >= 0
            verdicts.append(decision.verdict)
    robust = Verdict.COMPUTED if method == feedforward.MILP else Verdict.CERTIFIED
    assert Verdict.FALSIFIED in verdicts and (robust in verdicts or method == "box")
    assert method != feedforward.MILP or set(verdicts) == {Verdict.FALSIFIED, Verdict.COMPUTED}


def wide(norm: float) -> tuple[FeedForward, Ball, int]:
    """(network 20-30-20-3, ball, label): linear bounds of some labels stay open, no attack is known."""
    net = network(0, 20, 30, 20, 3)
    region = Ball(np.random.default_rng(0).standard_normal(20), {np.inf: 0.04, 2: 0.3}[norm], norm)
    return net, region, net.predict(region.center)


def test_the_cascade_is_as_good_as_each_of_its_methods():
    """What one method certifies, the cascade certifies; somewhere each of the expensive ones is needed."""
    deciders = set()
    for net, region, label in [wide(2), wide(np.inf), *(question(seed, radius=0.3) for seed in range(4))]:
        report = certify(net, region, label)
        box = region.norm == np.inf
        for method in ("crown", "deepz", "interior-point", *(("lp-all", feedforward.TREE) if box else ())):
            for one, ours in zip(certify(net, region, label, method=method).decisions, report.decisions, strict=True):
                assert (one.verdict, ours.verdict) != (Verdict.CERTIFIED, Verdict.FALSIFIED)
                if report.attack is None:  # otherwise the answer is known and not all labels are pursued
                    assert one.verdict is not Verdict.CERTIFIED or ours.verdict is Verdict.CERTIFIED
        deciders |= {decision.method for decision in report.decisions if decision.verdict is Verdict.CERTIFIED}
    assert {"box", "crown", "cascade"} <= deciders


@pytest.mark.parametrize("method", ["cascade", feedforward.TREE, feedforward.MILP])
def test_exact_methods_decide_every_label(monkeypatch, method):
    """Without an attack before it: each label exactly as by enumeration, with points for those that are reached."""
    monkeypatch.setattr(robustness, "pgd", lambda *_, **__: attacks.PGDResult({}, np.full(3, np.nan)))
    verdicts, robust = set(), Verdict.COMPUTED if method == feedforward.MILP else Verdict.CERTIFIED
    for seed in range(6):
        net, region, label = question(seed, radius=0.4)
        report = certify(net, region, label, method=method)
        for decision in report.decisions:
            exact = exact_margin(net.to_mondeq(), region, label, decision.label)
            assert decision.verdict is (Verdict.FALSIFIED if exact >= 0 else robust)
            verdicts.add(decision.verdict)
        if report.verdict is Verdict.FALSIFIED:
            assert check(report.question, report.attack.point).margin == pytest.approx(report.attack.margin)
    assert verdicts == {robust, Verdict.FALSIFIED}


def test_certificate_of_the_relaxation_checks_on_the_mondeq():
    """What Shor's relaxation proves can be checked without a solver, on the same function as a monDEQ."""
    net, region, label = question(0, radius=0.05)
    report = certify(net, region, label, method="interior-point")
    assert report.verdict is Verdict.CERTIFIED
    proof = report.certificates()
    assert proof.proven and proof.certificate.network == proofs.digest(net.to_mondeq())


@pytest.mark.parametrize("seed", [15, 21, 2467])
def test_files_where_multipliers_of_inputs_are_nearly_0(seed):
    """The form in z has an eigenvalue a little below 0, and t cannot be raised without the inputs' multipliers."""
    net, center = random_network(seed, (3, 6, 5, 4)), np.random.default_rng(seed).standard_normal(3)
    report = certify(net, Ball(center, 0.5, 2), net.predict(center), method="interior-point", attack=False)
    assert any(decision.verdict is Verdict.CERTIFIED for decision in report.decisions)
    assert report.certificates().proven


def convolutional(seed: int = 0) -> FeedForward:
    """Normalisation and two convolutions, one hidden dense layer, on images of 4 x 4."""
    rng = np.random.default_rng(seed)
    layer = Convolution(rng.standard_normal((2, 1, 2, 2)), rng.standard_normal(2), (1, 4, 4), 2, 1)
    first = Composition((Scaling(np.full(16, 1.5), np.full(16, -0.5)), layer))
    second = Convolution(rng.standard_normal((2, 2, 2, 2)) / 2, rng.standard_normal(2), layer.output_shape)
    hidden = Dense(rng.standard_normal((5, second.output_size)) / 3, rng.standard_normal(5))
    return FeedForward((first, second, hidden, Dense(rng.standard_normal((3, 5)), rng.standard_normal(3))))


def test_convolutions_are_decided_as_their_dense_form_is():
    """Attack, bounds and verdicts do not depend on how a layer is stored; nothing sampled contradicts them."""
    verdicts = set()
    for seed in range(4):
        net = convolutional(seed)
        region = Ball(np.random.default_rng(seed).standard_normal(16), 0.1 * (1 + seed), np.inf)
        label = net.predict(region.center)
        ours, dense = certify(net, region, label), certify(net.to_dense(), region, label)
        assert [d.verdict for d in ours.decisions] == [d.verdict for d in dense.decisions]
        logits = net.logits(region.sample(2000, np.random.default_rng(1)))
        for decision in ours.decisions:
            largest = (logits[:, decision.label] - logits[:, label]).max()
            assert decision.bound is None or largest <= decision.bound
        verdicts |= {d.verdict for d in ours.decisions}
        if ours.attack is not None:
            assert check(Question(net, region, label), ours.attack.point[None]) is not None
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
        report = certify(net, region, label, method=method)
        assert report.verdict is Verdict.CERTIFIED
        for decision in report.decisions:
            assert (logits[:, decision.label] - logits[:, label]).max() <= decision.bound


def test_wrong_centre_and_ties_are_falsified():
    """Without an attack too; a tie counts against the label."""
    net = network(1, 3, 4, 3)
    region = Ball(np.zeros(3), 0.0, np.inf)
    wrong = (net.predict(np.zeros(3)) + 1) % 3
    report = certify(net, region, wrong, attack=False)
    assert report.verdict is Verdict.FALSIFIED and report.attack.label == report.predicted
    tie = FeedForward.dense(([[0.0]], [[1.0], [1.0]]), ([1.0], [0.0, 0.0]))
    assert certify(tie, Ball([0.0], 1.0, np.inf), 0).verdict is Verdict.FALSIFIED


def test_a_network_without_hidden_layer():
    """A linear classifier is decided exactly by its first bound."""
    net = network(2, 4, 3)
    region = Ball(np.ones(4), 0.1, np.inf)
    label = net.predict(region.center)
    report = certify(net, region, label)
    W, b = net.weights[0], net.biases[0]
    for decision in report.decisions:
        row = W[decision.label] - W[label]
        exact = row @ region.center + b[decision.label] - b[label] + 0.1 * np.abs(row).sum()
        if decision.verdict is Verdict.CERTIFIED:
            assert decision.bound == pytest.approx(exact, abs=1e-9) and exact < 0
        else:
            assert decision.attack_margin == pytest.approx(exact, abs=1e-9) and exact >= 0


def test_a_limit_is_a_reason(monkeypatch):
    """Too many neurons for the SDP, no time for the tree: unknown, with the bound that is known and the reason."""
    net, region, label = wide(2)
    assert certify(net, region, label).verdict is Verdict.CERTIFIED
    monkeypatch.setattr(feedforward, "LARGEST_SDP", 49)
    (decision,) = [d for d in certify(net, region, label).decisions if d.verdict is Verdict.UNKNOWN]
    assert decision.bound >= 0 and decision.reason.endswith("49 hidden neurons, not 50")
    net = network(1, 20, 20, 3)
    region = Ball(np.random.default_rng(1).standard_normal(20), 0.15, np.inf)
    label = net.predict(region.center)
    monkeypatch.setattr(robustness, "pgd", lambda *_, **__: attacks.PGDResult({}, np.full(3, np.nan)))
    report = certify(net, region, label, method=feedforward.TREE, limits=Limits(time=1e-9))
    reasons = [decision.reason for decision in report.decisions if decision.verdict is Verdict.UNKNOWN]
    assert reasons and set(reasons) == {"branch and bound: time limit of 1e-09 s"}
    monkeypatch.setattr(feedforward, "MOST_UNSTABLE", 3)
    (decision,) = [d for d in certify(net, region, label).decisions if d.verdict is Verdict.UNKNOWN]
    assert "unstable neurons, more than 3: try method='branch-and-bound'" in decision.reason


def test_labels_are_not_pursued_when_the_answer_is_known():
    """One label is reached: the others keep their linear bounds, unless they are asked for."""
    net = network(1, 20, 20, 3)
    region = Ball(np.random.default_rng(1).standard_normal(20), 0.15, np.inf)
    label = net.predict(region.center)
    report = certify(net, region, label)
    (left,) = [d for d in report.decisions if d.verdict is not Verdict.FALSIFIED]
    assert report.verdict is Verdict.FALSIFIED
    assert left.verdict is Verdict.CERTIFIED or "another label is reached" in left.reason
    assert certify(net, region, label, targets=[left.label]).decisions[0].verdict is Verdict.CERTIFIED


def test_stop_ends_it():
    """A question that nobody waits for."""
    net, region, label = question(0)
    with pytest.raises(StoppedError):
        certify(net, region, label, attack=False, limits=Limits(stop=lambda: True))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "crowns"}, UnknownNameError, "Did you mean 'crown'"),
        ({"label": 7}, InputError, "label: got 7"),
        ({"targets": [0, 1, 2]}, InputError, "targets: got"),
        ({"targets": []}, InputError, "targets: got none"),
        ({"region": Ball(np.zeros(2), 0.1, np.inf)}, RegionError, "2 inputs, but the network has 3"),
        ({"limits": {"tolerance": -1.0}}, InputError, "tolerance"),
        ({"limits": {"time": 0.0}}, InputError, "time: expected"),
        ({"order": "3"}, UnknownNameError, "order"),
        ({"method": "crown", "order": "1+cuts"}, InputError, "goes with Shor's relaxation"),
        ({"method": "lp-all", "region": Ball(np.zeros(3), 0.1, 2)}, RegionError, "lp-all is for boxes"),
        ({"method": "branch-and-bound", "region": Ball(np.zeros(3), 0.1, 1)}, RegionError, "is for boxes"),
        ({"network": "mlp"}, InputError, "expected a FeedForward or a MonDEQ, got str"),
    ],
)
def test_bad_input_is_named(change, error, message):
    """Before anything is computed."""
    net, region, label = question(0)
    arguments = {"network": net, "region": region, "label": label} | change
    with pytest.raises(error, match=message):
        certify(**arguments | {"limits": Limits(**arguments.get("limits", {}))})


# certificate files ---------------------------------------------------------------------------------------------


def accepted(file, net: FeedForward) -> list[bool]:
    """What the checker says of each claim about the network, or about it as a monDEQ."""
    own = net.to_mondeq() if file.theory.startswith("mondeq") else net
    return [finding.proven for finding in checker.check(file, proofs.arrays_of(own)[1])]


def bounds_of(file) -> dict[int, Fraction]:
    """The bounds of the margins that a file claims, by target."""
    return {claim["target"]: Fraction(claim["bound"]) for claim in file.claims if "bound" in claim}


@pytest.mark.parametrize("method", [name for name in METHODS if name != "mosek"])
def test_every_method_has_a_certificate_file(method):
    """Every certified label is proven below 0, an attack at its point; what is false is refused."""
    kinds = set()
    for seed, radius in ((0, 0.15), (1, 0.25), (3, 0.4)):
        net, region, label = question(seed, radius=radius, clip=seed == 1)
        report = certify(net, region, label, method=method)
        certified = {d.label for d in report.decisions if d.verdict is Verdict.CERTIFIED}
        if not certified and report.attack is None and all(d.bound is None for d in report.decisions):
            with pytest.raises(InputError, match="nothing is proven"):
                report.certificates()
            continue
        file = report.certificates().certificate
        kinds.add(file.theory)
        assert all(accepted(file, net))
        if report.attack is not None:
            continue
        bounds = bounds_of(file)
        exact = {target: Fraction(exact_margin(net.to_mondeq(), region, label, target)) for target in bounds}
        assert certified <= set(bounds) and all(bounds[target] < 0 for target in certified)
        assert all(bound >= exact[target] - Fraction(1, 10**9) for target, bound in bounds.items())
        layers = sum("layer" in claim for claim in file.claims)
        altered = [claim | {"bound": str(float(exact[claim["target"]] - 1))} for claim in file.claims[layers:]]
        altered = replace(file, claims=[*file.claims[:layers], *altered])
        assert accepted(altered, net) == [True] * layers + [False] * len(bounds)
    assert "relu-point" in kinds and (len(kinds) == 2) == (method != "milp")


@pytest.mark.parametrize(
    ("seed", "radius", "norm", "methods", "theory"),
    [
        (2, 0.3, 2, {"box", "deepz"}, "relu-linear"),
        (113, 0.45, 2, {"box", "crown", "deepz"}, "relu-linear"),
        (22, 0.45, 2, {"box", "cascade"}, "mondeq-order-1"),
        (26, 0.45, np.inf, {"box", "crown", "lp-all"}, "relu-linear"),
        (21, 0.45, np.inf, {"branch-and-bound", "lp-all", "deepz"}, "relu-linear"),
    ],
)
def test_one_file_for_labels_that_different_stages_decided(seed, radius, norm, methods, theory):
    """Of all labels; and one for each, which is of the stage that decided it."""
    net = network(seed, 3, 5, 5, 5)
    centre = np.random.default_rng(seed + 50).standard_normal(3)
    report = certify(net, Ball(centre, radius, norm), net.predict(centre))
    assert {decision.method for decision in report.decisions} == methods and report.verdict is Verdict.CERTIFIED
    file = report.certificates().certificate
    bounds = bounds_of(file)
    assert file.theory == theory and all(accepted(file, net)) and len(bounds) == 4 and max(bounds.values()) < 0
    assert any("leaves" in claim for claim in file.claims) == ("branch-and-bound" in methods)
    for decision in report.decisions:
        own = report.certificate(decision.label).certificate
        assert all(accepted(own, net)) and set(bounds_of(own)) == {decision.label}
        assert own.theory == ("mondeq-order-1" if decision.method == "cascade" else "relu-linear")


def test_only_the_labels_that_are_asked_for_are_in_a_file():
    """Others may be reached: the tree is of these alone."""
    net, region, label = question(5, radius=1.6)
    full = certify(net, region, label, method="branch-and-bound")
    safe = [d.label for d in full.decisions if d.verdict is Verdict.CERTIFIED]
    assert full.verdict is Verdict.FALSIFIED and safe
    assert full.certificates().certificate.theory == "relu-point"
    proof = full.certificate(safe[0])
    assert proof.proven and set(bounds_of(proof.certificate)) == {safe[0]}
    with pytest.raises(InputError, match="nothing is proven"):
        full.certificate(label)


def test_a_file_that_cannot_be_written_is_refused_with_the_reason(monkeypatch):
    """Shor's relaxation of composed layers; a sign that the checker's arithmetic does not prove."""
    net, region, label = question(0, radius=0.05)
    last = Composition((net.layers[-1], Dense(np.diag([0.3, 0.7, 1.1]), np.zeros(3))))
    composed = FeedForward((*net.layers[:-1], last))
    report = certify(composed, region, composed.predict(region.center), method="interior-point", attack=False)
    assert report.verdict is Verdict.CERTIFIED
    with pytest.raises(InputError, match="composed layers"):
        report.certificates()
    report = certify(net, region, label, method="lp-all")
    monkeypatch.setattr(relu_proofs, "decimal_above", lambda value: "0.001")
    with pytest.raises(CertificateError, match="does not prove the sign of labels"):
        report.certificates()


def test_a_method_by_shors_relaxation_refuses_large_layers(monkeypatch):
    """Before any solve, and not in the cascade, which goes on without it."""
    monkeypatch.setattr(methods, "LARGEST_ASKED", 1)
    net = FeedForward.dense([np.eye(2), np.eye(2)], [np.zeros(2), np.zeros(2)])
    ball = Ball(np.array([1.0, 0.0]), 0.1, np.inf)
    with pytest.raises(InputError, match="at most 1 hidden neurons, not 2"):
        certify(net, ball, 0, method="interior-point")
    assert certify(net, ball, 0).verdict is Verdict.CERTIFIED
