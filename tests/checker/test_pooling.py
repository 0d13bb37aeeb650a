"""Certificates over max pooling: exact windows and lines, bounds of the report, and nothing false is proven."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from tightrope import checker, proofs, relu_proofs
from tightrope.checker import relu
from tightrope.checker.numbers import Refused
from tightrope.checker.pooling import Pool
from tightrope.networks import Convolution, Dense, FeedForward
from tightrope.networks.activations import MaxPool, ReLU, Sigmoid, Tanh
from tightrope.question import Question
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers.robustness import certify

SHAPES = [
    ((1, 2, 4), 2, 2, 0),
    ((2, 4, 4), 2, 1, 0),
    ((2, 5, 4), (3, 2), (2, 1), (1, 1)),
    ((1, 3, 3), 3, 2, 2),
    ((1, 5, 1), (2, 1), (3, 1), 0),  # some pixels are in no window
]


def network(seed: int, act=None, overlapping: bool = False, padded: bool = False) -> FeedForward:
    """A convolution, max pooling, and two dense layers with a nonlinearity between them."""
    rng = np.random.default_rng(seed)
    first = Convolution(rng.normal(size=(2, 1, 2, 2)), rng.normal(size=2), (1, 4, 4), padding=int(padded))
    pool = MaxPool(first.output_shape, 2, 1 if overlapping else 2, int(padded))
    size = int(np.prod(pool.output_shape))
    last = [Dense(rng.normal(size=s) / 2, rng.normal(size=s[0])) for s in ((4, size), (3, 4))]
    return FeedForward((first, *last), "", (pool, act or ReLU()))


def asked(net: FeedForward, radius: float = 0.1, norm: float = INFINITY, seed: int = 0) -> Question:
    centre = np.random.default_rng(seed).normal(size=16)
    return Question(net, Ball(centre, radius, norm), int(net.predict(centre)))


def refused(file: checker.Certificate, arrays: dict) -> list[bool]:
    return [not finding.proven for finding in checker.check(file, arrays)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_windows_are_those_of_the_network(shape):
    pool = MaxPool(*shape)
    found = Pool.read(pool.parameters())
    assert found.windows.tolist() == pool.windows.tolist() and found.inputs == np.prod(pool.input_shape)


def test_parameters_that_are_no_windows_are_refused():
    good = [1, 4, 4, 2, 2, 2, 2, 1, 1]
    Pool.read(np.array(good))
    changes = [(i, value) for i in range(9) for value in (-1, 0.5, np.nan, np.inf, 2.0**24 + 1, 1e300)]
    changes += [(i, 0) for i in range(7)] + [(3, 9), (7, 2), (8, 3), (3, 1)]
    for i, value in changes:
        with pytest.raises(Refused):
            Pool.read(np.array([*good[:i], value, *good[i + 1 :]], float))
    for wrong in (np.zeros(0), np.ones(8), np.ones(10), np.ones((1, 9)), np.array([2**20, 5, 5, 5, 5, 1, 1, 4, 4])):
        with pytest.raises(Refused):
            Pool.read(wrong)


def test_the_largest_is_found():
    """At vertices where the maximum counts positively; else it is a linear program's."""
    rng = np.random.default_rng(0)
    for case in range(300):
        k = int(rng.integers(1, 5))
        low, high = np.sort(rng.integers(-9, 10, (2, k)), axis=0)
        high = low if case % 11 == 0 else high
        A, mu = int(rng.integers(-5, 6)), rng.integers(-7, 8, k)
        pool = Pool(np.arange(k)[None], k)
        rows = [np.array([values], dtype=object) for values in ([A] * k, mu.tolist())]
        (found,) = pool.peaks(*rows, *(np.array(end.tolist(), dtype=object) for end in (low, high))).ravel()
        if A >= 0:
            want = max(A * max(h) - mu @ np.array(h) for h in itertools.product(*zip(low, high, strict=True)))
        else:  # of A M - mu h with h <= M
            cost, room = np.append(mu, -A), np.column_stack([np.eye(k), -np.ones(k)])
            limits = [*zip(low, high, strict=True), (None, None)]
            want = -linprog(cost, room, np.zeros(k), bounds=limits, method="highs").fun
        assert isinstance(found, int) and found == pytest.approx(want, abs=1e-9)
        floats = pool.peaks(*(row.astype(float) for row in rows), low.astype(float), high.astype(float))
        assert floats.item() == found


@pytest.mark.parametrize("arithmetic", ["exact", "float64 analysis", "ball arithmetic"])
@pytest.mark.parametrize("seed", range(3))
def test_files_have_the_reports_bounds(seed, arithmetic, monkeypatch):
    """Up to rounding, and of CROWN to ties; what is attained is below, and a bound below it is refused."""
    if arithmetic == "float64 analysis":
        monkeypatch.setattr(relu, "EXACT_UP_TO", 0)
    net = network(seed, Tanh() if arithmetic == "ball arithmetic" else ReLU(), seed > 0, seed > 1)
    question = asked(net, norm=2.0 if seed == 1 else INFINITY)
    region, label = question.region, question.label
    logits = net.logits(region.sample(500, np.random.default_rng(seed)))
    attained = (logits - logits[:, [label]]).max(0)
    boxed = ("lp-greedy", "lp-last", "lp-all") if seed != 1 else ()
    for method in ("box", "hbox_back", "crown_ibp", "deepz", "crown", "crown_0", *boxed):
        report = certify(net, region, label, method=method, targets="all", attack=False)
        proof = report.certificates()
        assert proof.proven and {finding.by for finding in proof.findings} == {arithmetic}, method
        file, arrays = proof.certificate, proofs.arrays_of(net)[1]
        assert not any(refused(checker.from_bytes(file.to_bytes()), arrays))
        # In the middle of a box all weights of the envelope's vertices are 1/2, and rounding chooses the slopes.
        loose = 0.1 if "crown" in method else 1e-3
        for claim in file.claims[2:]:
            (bound,) = (d.bound for d in report.decisions if d.label == claim["target"])
            assert attained[claim["target"]] <= float(claim["bound"]) <= bound + loose * (1 + abs(bound)), method
            false = claim | {"bound": proofs.decimal_below(attained[claim["target"]] - 1e-6)}
            claims = [false if one is claim else one for one in file.claims]
            assert refused(replace(file, claims=claims), arrays)[file.claims.index(claim)]


@pytest.mark.parametrize("exact", [True, False])
def test_any_slopes_prove_what_is_true(exact, monkeypatch):
    """Lines and forms at random, of regions that are points, too: no value of the network is above its bound."""
    monkeypatch.setattr(relu, "EXACT_UP_TO", 10**9 if exact else 0)
    rng = np.random.default_rng(3)
    for case in range(30):
        net = network(case, None, case % 2 == 0, case % 3 == 0)
        question = asked(net, 0.0 if case % 5 == 0 else 0.2, seed=case)
        header, arrays = question.region.stated()
        weights = proofs.arrays_of(net)[1]
        read = relu.Network.read(weights, any_activation=True)
        known = relu.Proofs(read, checker.regions.read(header, arrays))
        x = question.region.sample(100, rng)
        for layer, (one, above) in enumerate(zip(net.layers, (*net.activations, None), strict=True)):
            h = one.forward(x)
            size = rng.choice([0.1, 1.0, 1e3])
            lines = [(size * rng.normal(size=n), size * rng.normal(size=n)) for n in read.places[:layer]]
            forms = [size * rng.normal(size=(2 * h.shape[1], n)) for n in read.places[:layer]]
            for given in (lines, forms, "interval"):
                high, low = np.reshape([float(value) for value in known.next_layer(given)], (2, -1))
                slack = 1e-12 * (1 + np.abs(h).max())  # of the values themselves
                assert (h <= high + slack).all() and (h >= -low - slack).all()
            if above is not None:
                known.bounds.append((-low, np.nextafter(high, np.inf)))
                x = above.value(h)


def test_rounding_is_allowed_for(monkeypatch):
    """At a point, in floats: an exact value is never above the bound."""
    monkeypatch.setattr(relu, "EXACT_UP_TO", 0)
    for seed in range(10):
        net = network(seed, None, True, True)
        question = asked(net, 0.0, seed=seed)
        weights = proofs.arrays_of(net)[1]
        header, arrays = question.region.stated()
        read = relu.Network.read(weights, any_activation=True)
        x = checker.numbers.Exact.of(question.region.center)
        in_floats, exactly = (relu.Proofs(read, checker.regions.read(header, arrays)) for _ in range(2))
        for i, layer in enumerate(read.layers):
            for step in layer:
                x = step.image(x)
            values = x.fractions()
            slopes = [(np.ones(n), np.ones(n)) for n in read.places[:i]]
            found = in_floats.next_layer(slopes)
            assert in_floats.arithmetic is relu.FloatForms
            assert all(value <= bound for value, bound in zip([*values, *(-v for v in values)], found, strict=True))
            ends = np.array([checker.numbers.above(bound) for bound in found]).reshape(2, -1)
            for one in (in_floats, exactly):
                one.bounds.append((-ends[1], ends[0]))
            if i + 1 < len(read.layers):
                pool = read.pools.get(i + 1)
                x = x.positive() if pool is None else checker.numbers.Exact(x.integers[pool.windows].max(1), x.scale)


def test_altered_files_and_networks_are_refused():
    """Tighter hidden bounds, slopes that are none, other windows, and theories that are about ReLU."""
    net = network(0, None, True)
    question = asked(net)
    label = question.label
    file = relu_proofs.linear(question, "crown").certificate
    arrays = proofs.arrays_of(net)[1]
    assert not any(refused(file, arrays))
    for name, sign in (("l1", 1), ("u1", -1), ("l2", 1), ("u2", -1)):
        assert any(refused(replace(file, arrays=file.arrays | {name: file.arrays[name] + sign * 1e-3}), arrays))
    for name in ("lower1", "upper1"):
        own = file.arrays[name]
        others = {k: v for k, v in file.arrays.items() if k != name}
        wrong = (np.full_like(own, np.nan), own[:-1], own.reshape(-1, 4), own[: arrays["2.dense.weight"].shape[1]])
        for changed in (others, *({**others, name: value} for value in wrong)):
            assert any(refused(replace(file, arrays=changed), arrays))
        assert any(refused(replace(file, arrays={**others, name: 5 - own}), arrays))  # sound, and of no use
    for rule in ("deepz", "crown", "hbox", "crown_0", "given", None, ["lines"]):
        assert any(refused(replace(file, claims=[{**claim, "rule": rule} for claim in file.claims]), arrays))
    leaves = [{**claim, "leaves": 1} if "bound" in claim else claim for claim in file.claims]
    assert any(refused(replace(file, claims=leaves), arrays))
    sign = {f"sign.{j}": np.zeros((1, n), np.int8) for j, n in ((1, file.arrays["lower1"].size), (2, 4))}
    assert any(refused(replace(file, claims=leaves, arrays=file.arrays | sign), arrays))

    pool = arrays["activation.1.max_pool"]
    for changed in ([1, *pool[1:]], [*pool[:3], 1, *pool[4:]], [*pool[:7], 1, 1], pool[:-1], pool + 0.5, -pool):
        other = arrays | {"activation.1.max_pool": np.array(changed)}
        assert all(refused(file, other))
        assert all(refused(replace(file, network=checker.digest("relu", other)), other))
    for name in ("activation.2.max_pool", "activation.3.max_pool", "activation.0.max_pool", "activation.1.tanh"):
        other = {**arrays, name: pool}
        assert all(refused(replace(file, network=checker.digest("relu", other)), other))
    without = {k: v for k, v in arrays.items() if "max_pool" not in k}
    assert all(refused(replace(file, network=checker.digest("relu", without)), without))

    region = {k: file.arrays[k] for k in ("centre", "lower", "upper") if k in file.arrays}
    point = {"label": label, "target": (label + 1) % 3, "least": "-100"}
    arrays_of_point = region | {"point": question.region.center[None]}
    assert all(refused(replace(file, theory="relu-point", claims=[point], arrays=arrays_of_point), arrays))
    constant = [{"layer": 1, "rule": "interval"}, {"part": 0, "norm": "inf", "bound": "1e6", "rule": "interval"}]
    assert all(refused(replace(file, theory="relu-lipschitz", claims=constant), arrays))


def test_a_planted_unsound_bound_is_refused():
    """Bounds above pooling as if it took the mean of a window, or its first or least pixel, with all else honest."""
    net = network(0)
    question = asked(net)
    file = relu_proofs.linear(question, "crown").certificate
    arrays = proofs.arrays_of(net)[1]
    low, high, windows = file.arrays["l1"], file.arrays["u1"], net.activations[0].windows
    W, b = arrays["2.dense.weight"], arrays["2.dense.bias"]
    x = question.region.sample(200, np.random.default_rng(0))
    for wrong in (lambda end: end[windows].mean(1), lambda end: end[windows[:, 0]], lambda end: end[windows].min(1)):
        ends, parts = (wrong(low), wrong(high)), (W.clip(min=0), W.clip(max=0))
        planted = {"l2": parts[0] @ ends[0] + parts[1] @ ends[1] + b, "u2": parts[0] @ ends[1] + parts[1] @ ends[0] + b}
        seen = net.layers[1].forward(net.activations[0].value(net.layers[0].forward(x)))
        assert (seen > planted["u2"]).any() or (seen < planted["l2"]).any()
        findings = refused(replace(file, arrays=file.arrays | planted), arrays)
        assert not findings[0] and all(findings[1:])


def test_lp_all_has_files_over_other_nonlinearities():
    """Forms by row: as good as the bounds of the report, tighter than lines."""
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=s) for s in ((5, 3), (5, 5), (3, 5))]
    net = FeedForward.dense(weights, [rng.normal(size=len(W)) for W in weights], "", (Sigmoid(), ReLU()))
    region = Ball(rng.normal(size=3), 0.3, INFINITY)
    label = int(net.predict(region.center))
    report = certify(net, region, label, method="lp-all", targets="all", attack=False)
    proof = report.certificates()
    assert proof.proven and proof.certificate.claims[-1]["rule"] == "given"
    for claim in proof.certificate.claims[2:]:
        (bound,) = (d.bound for d in report.decisions if d.label == claim["target"])
        assert float(claim["bound"]) <= bound + 1e-3 * (1 + abs(bound))
