"""Theories of ReLU networks: true claims are proven and false ones never, against exact maxima in rationals."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.soundness.cases import branched
from tightrope import attacks, checker, relu_proofs, zoo
from tightrope.checker import regions, relu
from tightrope.checker.__main__ import main
from tightrope.checker.numbers import Refused
from tightrope.checker.relu_network import Network
from tightrope.errors import InputError
from tightrope.networks import Composition, Convolution, Dense, FeedForward, Scaling
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import METHODS, layerwise
from tightrope.question import Question
from tightrope.regions import INFINITY, Ball, pixel_ball
from tightrope.verifiers.robustness import certify
from tightrope.verifiers.triangle import layerwise_bounds
from tightrope.workbench.cases import dataset

Affine = tuple[list[Fraction], Fraction]


def random_network(seed: int, sizes=(2, 3, 3, 3), scale: float = 1.0) -> FeedForward:
    """A random network; every third has ties, dead and equal neurons."""
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes, strict=False))
    weights = [rng.standard_normal(s) for s in shapes]
    biases = [rng.standard_normal(s[0]) for s in shapes]
    if seed % 3 == 0:
        weights = [np.round(W) for W in weights]
        biases = [np.round(b) for b in biases]
        weights[0][0], biases[0][0] = weights[0][1], biases[0][1]
    return FeedForward.dense([scale * W for W in weights], [scale * b for b in biases])


def region_of(seed: int, norm: float, clip: bool) -> Ball:
    rng = np.random.default_rng(seed + 100)
    centre = np.round(rng.standard_normal(2), 3)
    radius = float(np.round(rng.uniform(0.2, 1.5), 3))
    ends = (centre - 0.4 * radius, centre + np.array([2.0, 0.7]) * radius) if clip else (None, None)
    return Ball(centre, radius, norm, *ends)


def half_planes(region: Ball) -> list[Affine]:
    """Rows (g, o) with g x + o >= 0: of the L1 or L-infinity ball and of its clipping, or a square in the L2 ball."""
    c, r = [Fraction(v) for v in region.center.tolist()], Fraction(region.radius)
    if region.norm == 2:
        r = r * Fraction(7, 10)
    signs = [(1, 0), (-1, 0), (0, 1), (0, -1)] if region.norm != 1 else [(s, t) for s in (1, -1) for t in (1, -1)]
    rows = [([Fraction(-s), Fraction(-t)], r + s * c[0] + t * c[1]) for s, t in signs]
    if region.lower is not None:
        for j in (0, 1):
            unit = [Fraction(int(j == i)) for i in (0, 1)]
            rows.append((unit, -Fraction(float(region.lower[j]))))
            rows.append(([-v for v in unit], Fraction(float(region.upper[j]))))
    return rows


def exact_maximum(network: FeedForward, region: Ball, label: int, target: int) -> Fraction:
    """Max F_target - F_label of a network of two inputs: at a vertex of some cell of activations, by enumeration."""
    layers = [(*map(exact, layer.dense()),) for layer in network.layers]
    sizes = [len(b) for _, b in layers[:-1]]
    best = None
    for pattern in itertools.product((0, 1), repeat=sum(sizes)):
        rows = half_planes(region)
        G, o, start = [[Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)]], [Fraction(0)] * 2, 0
        for W, b in layers[:-1]:
            H = [[sum(w * g[k] for w, g in zip(row, G, strict=True)) for k in (0, 1)] for row in W]
            q = [sum(w * v for w, v in zip(row, o, strict=True)) + c for row, c in zip(W, b, strict=True)]
            on = pattern[start : start + len(b)]
            start += len(b)
            rows += [([(2 * a - 1) * v for v in h], (2 * a - 1) * c) for a, h, c in zip(on, H, q, strict=True)]
            G, o = [[a * v for v in h] for a, h in zip(on, H, strict=True)], [a * c for a, c in zip(on, q, strict=True)]
        W, b = layers[-1]
        form = [w - v for w, v in zip(W[target], W[label], strict=True)]
        for (g, p), (h, q) in itertools.combinations(rows, 2):
            det = g[0] * h[1] - g[1] * h[0]
            if det == 0:
                continue
            x = [(-p * h[1] + q * g[1]) / det, (-q * g[0] + p * h[0]) / det]
            if all(k[0] * x[0] + k[1] * x[1] + s >= 0 for k, s in rows):
                z = [g[0] * x[0] + g[1] * x[1] + c for g, c in zip(G, o, strict=True)]
                value = sum(f * v for f, v in zip(form, z, strict=True)) + b[target] - b[label]
                best = value if best is None or value > best else best
    return best


def exact(array) -> list:
    return [exact(v) for v in array] if np.ndim(array) else Fraction(float(array))


def margins(proof) -> list[dict]:
    return [claim for claim in proof.certificate.claims if "label" in claim]


@pytest.mark.parametrize("rule", relu_proofs.RULES)
@pytest.mark.parametrize("norm", [1, 2, INFINITY])
def test_rules_prove_what_the_library_computes_and_nothing_false(rule, norm):
    for seed in range(2):
        network, region = random_network(seed), region_of(seed, norm, clip=seed == 1)
        label = int(network.predict(region.center))
        proof = relu_proofs.linear(Question(network, region, label), rule)
        assert proof.proven and {f.by for f in proof.findings} == {"exact"}
        computed = bounds(network, InputSet.from_balls([region]), rule, [label]).margins[0].numpy()
        for claim in margins(proof):
            most, bound = exact_maximum(network, region, label, claim["target"]), Fraction(claim["bound"])
            assert most <= bound
            assert bound <= computed[claim["target"]] + 2e-4 * (1 + abs(computed[claim["target"]]))


def test_of_several_relaxations_one_is_taken_or_all_together():
    """The one with which every bound is negative; else bounds of layers and margins are the best of all."""
    names, better = ("box", "crown", "deepz"), 0
    for seed in range(4):
        network, region = random_network(seed, (2, 4, 3, 3)), region_of(seed, 2, clip=False)
        label = int(network.predict(region.center))
        proof = relu_proofs.linear(Question(network, region, label), *names)
        alone = [margins(relu_proofs.linear(Question(network, region, label), name)) for name in names]
        assert proof.proven
        for claim, *others in zip(margins(proof), *alone, strict=True):
            assert exact_maximum(network, region, label, claim["target"]) <= Fraction(claim["bound"])
            better += Fraction(claim["bound"]) < min(Fraction(other["bound"]) for other in others)
        small = Ball(region.center, 1e-6, 2)
        near = relu_proofs.linear(Question(network, small, label, [(label + 1) % 3]), *names)
        assert [claim["target"] for claim in margins(near)] == [(label + 1) % 3]
        assert [claim["rule"] for claim in near.certificate.claims] == ["deepz"] * 3
    assert better


@pytest.mark.parametrize("method", METHODS)
def test_layerwise_bounds_are_proven(method):
    for seed in range(3):
        network, region = random_network(seed, (2, 4, 3, 3)), region_of(seed, INFINITY, clip=seed == 1)
        label = int(network.predict(region.center))
        found = layerwise(network, InputSet.from_balls([region]), label, method, keep=True)
        proof = relu_proofs.layerwise(network, region, found)
        assert proof.proven
        for claim in margins(proof):
            bound, computed = Fraction(claim["bound"]), float(found.margins[claim["target"]])
            assert exact_maximum(network, region, label, claim["target"]) <= bound
            assert bound <= computed + 2e-4 * (1 + abs(computed))


@pytest.mark.parametrize("kind", ["triangle", "parallelogram"])
def test_linear_programs_are_proven_by_their_multipliers(kind):
    for seed in range(3):
        network, region = random_network(seed, (2, 4, 4, 3)), region_of(seed, INFINITY, clip=seed == 1)
        label = int(network.predict(region.center))
        found = layerwise_bounds(network, *region.bounding_box(), label, kind, keep=True)
        proof = found.certificate(network, region, label)
        assert proof.proven
        for i, (low, high) in enumerate(zip(found.lower, found.upper, strict=True), start=1):
            assert proof.certificate.arrays[f"l{i}"] == pytest.approx(low, abs=1e-5)
            assert proof.certificate.arrays[f"u{i}"] == pytest.approx(high, abs=1e-5)
        for claim in margins(proof):
            bound, computed = Fraction(claim["bound"]), float(found.margins[claim["target"]])
            assert exact_maximum(network, region, label, claim["target"]) <= bound
            assert bound <= computed + 2e-4 * (1 + abs(computed))
    plain = layerwise_bounds(network, *region.bounding_box(), label, kind)
    assert (plain.margins == found.margins).all()
    with pytest.raises(InputError, match="keep"):
        plain.certificate(network, region, label)


def test_the_slopes_are_kept_only_if_asked_for_and_change_nothing():
    network, inputs = random_network(1, (2, 8, 8, 3)), InputSet.from_balls([region_of(1, INFINITY, False)])
    plain, kept = (layerwise(network, inputs, 0, keep=keep) for keep in (False, True))
    assert not plain.hidden and kept.hidden
    assert torch.equal(plain.margins, kept.margins)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6])
def test_both_arithmetics_agree_and_floats_are_above(scale, monkeypatch):
    for seed, norm, rule in itertools.product(range(3), (1, 2, INFINITY), ("interval", "crown")):
        network = random_network(seed, (2, 5, 4, 3), scale)
        region = regions.read(*region_of(seed, norm, clip=seed == 1).stated())
        read = Network.read(network.arrays())
        both = []
        for most in (relu.EXACT_UP_TO, -1):
            monkeypatch.setattr(relu, "EXACT_UP_TO", most)
            proofs = relu.Proofs(read, region)
            for low, high in known_bounds(network, region_of(seed, norm, clip=seed == 1)):
                proofs.bounds.append((low, high))
            both.append(proofs.upper(proofs.margin(0, 1), rule)[0])
            monkeypatch.undo()
        exactly, floats = both
        size = max(float(np.abs(side).max()) for side in proofs.bounds[-1]) * scale + scale
        assert -size * 1e-13 <= float(floats - exactly) <= size * 1e-11  # forms in integers are rounded too


@pytest.mark.parametrize("size", [1e-150, 1e-40, 1.0, 1e40, 1e150])
def test_floats_are_above_the_exact_value_of_the_same_forms(size, monkeypatch):
    """Half the entries of wildly different sizes, so that sums cancel, absorb and underflow; forms of few bits."""
    rng = np.random.default_rng(3)
    for trial in range(60):
        norm = (1, 2, INFINITY)[trial % 3]
        shapes = [(4, 3), (4, 4), (2, 4)]
        weights = [rng.standard_normal(s) * np.where(rng.random(s) < 0.5, 1, size) for s in shapes]
        network = FeedForward.dense(weights, [rng.standard_normal(s[0]) * size for s in shapes])
        centre = rng.standard_normal(3)
        ends = (centre - 0.3, centre + 0.7) if trial % 2 else (None, None)
        region = regions.read(*Ball(centre, 0.5, norm, *ends).stated())
        bounds_ = [np.sort(rng.standard_normal((2, 4)) * max(size, 1.0), 0) for _ in range(2)]
        mu = [rng.integers(-8, 9, (1, 4)) / 4 for _ in range(2)]
        both = []
        for most in (relu.EXACT_UP_TO, -1):
            monkeypatch.setattr(relu, "EXACT_UP_TO", most)
            proofs = relu.Proofs(Network.read(network.arrays()), region)
            proofs.bounds += [tuple(pair) for pair in bounds_]
            both.append(proofs.upper(proofs.margin(0, 1), mu)[0])
            monkeypatch.undo()
        assert both[0] - Fraction(1, 2**60) * abs(both[0]) <= both[1]  # the root of the L2 ball is rounded up


def known_bounds(network: FeedForward, region: Ball):
    found = bounds(network, InputSet.from_balls([region]), "box", [0])
    return [(low[0].numpy(), high[0].numpy()) for low, high in zip(found.lower, found.upper, strict=True)]


def small_convolutions(seed: int) -> FeedForward:
    rng = np.random.default_rng(seed)
    image = (2, 5, 4)
    first = Convolution(rng.standard_normal((3, 2, 3, 2)), rng.standard_normal(3), image, (2, 1), (1, 0))
    second = Convolution(rng.standard_normal((2, 3, 2, 2)), rng.standard_normal(2), first.output_shape, (1, 2), (0, 1))
    scaled = Composition((Scaling(rng.standard_normal(40), rng.standard_normal(40)), first))
    last = Dense(rng.standard_normal((3, second.output_size)), rng.standard_normal(3))
    return FeedForward((scaled, second, last))


@pytest.mark.parametrize("by", ["exact", "float64 analysis"])
def test_convolutions_and_compositions_are_read_as_they_are(by, monkeypatch):
    monkeypatch.setattr(relu, "EXACT_UP_TO", 10**9 if by == "exact" else -1)
    for seed in range(2):
        network = small_convolutions(seed)
        read = Network.read(network.arrays())
        rng = np.random.default_rng(seed)
        for layer, own in zip(read.layers, network.layers, strict=True):
            W, b = own.dense()
            form, found = rng.standard_normal((3, len(b))), None
            found = form
            for step in reversed(layer):
                found = step.transposed(found)
            assert np.allclose(found, form @ W, atol=1e-12)
            x = rng.standard_normal(W.shape[1])
            y = x
            for step in layer:
                y = step.forward(y) + step.bias
            assert np.allclose(y, W @ x + b, atol=1e-12)
            assert (layer[-1].forward(np.ones(layer[-1].shape[1]), absolute=True) > 0).all()
        region = Ball(rng.standard_normal(40), 0.1, INFINITY)
        label = int(network.predict(region.center))
        proof = relu_proofs.linear(Question(network, region, label), "crown")
        assert proof.proven and {f.by for f in proof.findings} == {by}
        samples = region.center + rng.uniform(-0.1, 0.1, (200, 40))
        values = network.logits(samples)
        for claim in margins(proof):
            assert (values[:, claim["target"]] - values[:, label]).max() <= float(claim["bound"])


def test_an_error_in_floats_is_added(monkeypatch):
    """Where 1e17 z - 1e17 z + 3 is summed, float64 may lose the 3, which is the true margin; the analysis covers it."""
    network = FeedForward.dense(([[1.0], [1.0]], [[1e17, -1e17], [0.0, 0.0]]), ([0.0, 0.0], [3.0, 0.0]))
    region = Ball(np.array([1.5]), 0.5, INFINITY)
    monkeypatch.setattr(relu, "EXACT_UP_TO", -1)
    proof = relu_proofs.linear(Question(network, region, 1), "crown")
    assert proof.proven and Fraction(margins(proof)[0]["bound"]) >= 3


# altered files -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tight():
    """A file whose claims are the exact maxima rounded up, and its network: one layer, no unstable neuron."""
    network = FeedForward.dense(
        ([[1.0, 0.5], [0.25, -1.0]], [[1.0, 2.0], [-1.0, 0.5]], [[1.0, 0.0], [0.0, 1.0]]),
        ([4.0, 4.0], [9.0, 9.0], [0.0, 0.0]),
    )
    region = Ball(np.array([0.5, -0.25]), 0.5, INFINITY, np.array([0.125, -1.0]), np.array([1.0, 1.0]))
    found = layerwise(network, InputSet.from_balls([region]), 0, "lp-all", keep=True)
    proof = relu_proofs.layerwise(network, region, found)
    (claim,) = margins(proof)
    assert proof.proven
    assert 0 <= Fraction(claim["bound"]) - exact_maximum(network, region, 0, 1) <= Fraction(1, 1000)
    return network, region, proof.certificate


def outcome(certificate, network) -> list[bool]:
    again = checker.from_bytes(certificate.to_bytes())
    return [finding.proven for finding in checker.check(again, network.arrays())]


def with_claim(certificate, **changes):
    return replace(certificate, claims=[*certificate.claims[:-1], {**certificate.claims[-1], **changes}])


def test_altered_claims_are_refused(tight):
    network, _, file = tight
    assert all(outcome(file, network))
    bound = float(file.claims[-1]["bound"])
    changed = [
        with_claim(file, bound=str(bound - 1e-3)),
        with_claim(file, label=1, target=0),
        with_claim(file, target=0),
        with_claim(file, target=2),
        with_claim(file, target=-1),
        with_claim(file, target=1.0),
        with_claim(file, rule="interval", bound=str(bound - 1e-3)),
        with_claim(file, rule="best"),
        with_claim(file, rule=["given"]),
        with_claim(file, leaves=0),
        with_claim(file, leaves=10**9),
        with_claim(file, more=1),
        with_claim(file, layer=1),
        replace(file, network="0" * 64),
        replace(file, theory="relu-quadratic"),
        replace(file, claims=file.claims[1:]),
        replace(file, claims=[file.claims[1], file.claims[0], file.claims[2]]),
        replace(file, claims=[file.claims[0], *file.claims]),
        replace(file, region={**file.region, "radius": "0.75"}),
        replace(file, region={**file.region, "norm": "3"}),
        replace(file, arrays={**file.arrays, "centre": file.arrays["centre"] + 0.125}),
        replace(file, arrays={**file.arrays, "lower": file.arrays["lower"] - 1}),
        replace(file, arrays={**file.arrays, "extra": np.zeros(1)}),
        replace(file, arrays={**file.arrays, "sign.1": np.zeros((1, 2), np.int8)}),
    ]
    for other in changed:
        assert not all(outcome(other, network)), other
    weights = [W + 0.01 * np.eye(2) for W in network.weights]
    assert not any(outcome(file, FeedForward.dense(weights, network.biases)))


def test_altered_bounds_of_layers_are_refused(tight):
    network, _, file = tight
    for name, array in file.arrays.items():
        if name[0] in "lu" and name[1:].isdecimal():
            for j in range(len(array)):
                inward = array.copy()
                inward[j] += 1e-3 if name[0] == "l" else -1e-3
                assert not outcome(replace(file, arrays={**file.arrays, name: inward}), network)[-1], name


def test_any_array_may_be_anything_and_nothing_false_is_proven(tight):
    network, _, file = tight
    rng = np.random.default_rng(0)
    values = (np.nan, np.inf, -1e308, 1e-320, 0.0, -3.0, 7.5)
    for name, array in file.arrays.items():
        assert not outcome(replace(file, arrays={k: a for k, a in file.arrays.items() if k != name}), network)[-1] or (
            name in ("lower", "upper")
        )
        shapes = [array.ravel()[:1], array[None], array.ravel()[:0], np.concatenate([array, array])]
        with np.errstate(over="ignore"):
            changed = shapes + [np.where(rng.random(array.shape) < 0.5, value, array) for value in values]
        for other in changed:
            altered = replace(file, arrays={**file.arrays, name: other})
            proven = outcome(altered, network)
            if proven[-1]:
                region = regions.read(altered.region, altered.arrays)
                inside = Ball(region.centre.floats(), 0.0, INFINITY)
                assert exact_maximum(network, inside, 0, 1) <= Fraction(file.claims[-1]["bound"])


def test_flipped_bits_prove_nothing_false(tight):
    network, region, file = tight
    content, rng = file.to_bytes(), np.random.default_rng(1)
    most, proven = exact_maximum(network, region, 0, 1), 0
    for place in range(0, len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        try:
            certificate = checker.from_bytes(bytes(changed))
        except checker.Unreadable:
            continue
        findings = checker.check(certificate, network.arrays())
        same = certificate.region == file.region and all(
            np.array_equal(certificate.arrays.get(k), file.arrays[k]) for k in ("centre", "lower", "upper")
        )
        if findings[-1].proven and same:
            proven += 1
            assert Fraction(certificate.claims[-1]["bound"]) >= most
    assert proven  # other forms, and looser bounds, are proofs too


# attacks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["exact", "float64 analysis"])
def test_points_are_proven_and_altered_ones_refused(by, monkeypatch):
    monkeypatch.setattr(relu, "EXACT_UP_TO", 10**9 if by == "exact" else -1)
    proven = 0
    for seed, norm in itertools.product(range(8), (1, 2, INFINITY)):
        network, region = random_network(seed, (2, 4, 4, 3)), region_of(seed, norm, clip=seed % 2 == 1)
        label = (int(network.predict(region.center)) + 1) % 3  # it loses at the centre already
        points = region.project(region.center + np.random.default_rng(seed).uniform(-2, 2, (50, 2)))
        hit = attacks.check(Question(network, region, label), points)
        if hit is None:
            continue
        proof = relu_proofs.attack(Question(network, region, label), hit)
        proven += proof.proven
        assert proof.proven and proof.findings[0].by == by
        file = proof.certificate
        least = float(file.claims[0]["least"])
        point = file.arrays["point"]
        for other in (
            with_claim(file, least=str(least + 1e-3 * (1 + least))),
            with_claim(file, label=hit.label, target=label, least="0.001"),
            with_claim(file, target=label),
            replace(file, arrays={**file.arrays, "point": point + 10}),
            replace(file, arrays={**file.arrays, "point": point[:, :1]}),
            replace(file, arrays={**file.arrays, "point": np.full_like(point, np.nan)}),
        ):
            assert not any(outcome(other, network))
    assert proven >= 5


@pytest.mark.parametrize(
    "network",
    [random_network(1), small_convolutions(0), branched(np.random.default_rng(0), "identity")],
    ids=["dense", "convolutions", "branches"],
)
def test_the_command_line_reads_networks_as_they_are_written(network, tmp_path, capsys):
    centre = np.random.default_rng(0).standard_normal(network.input_size)
    label = int(network.predict(centre))
    proof = relu_proofs.linear(Question(network, Ball(centre, 0.01, 2), label), "deepz")
    proof.save(tmp_path / "one.cert")
    network.to_npz(tmp_path / "network.npz")
    files = [str(tmp_path / "one.cert"), "--network", str(tmp_path / "network.npz")]
    assert main(files) == 0
    assert capsys.readouterr().out.count("PROVEN (exact)") == len(network.layers) - 1 + network.classes - 1
    with np.load(tmp_path / "network.npz") as archive:
        arrays = dict(archive)
    for name, array in arrays.items():
        np.savez(tmp_path / "network.npz", **{**arrays, name: array + 1})
        assert main(files) == 1
        np.savez(tmp_path / "network.npz", **{**arrays, name: np.array(["text"])})
        assert main(files) == 1
        for damaged in (array.ravel()[:-1], array[None], array * np.nan, np.array(["text"])):
            changed = {**arrays, name: damaged}
            with pytest.raises(checker.Refused):
                Network.read(changed)
        with pytest.raises(checker.Refused):
            Network.read({other: value for other, value in arrays.items() if other != name})


# published networks --------------------------------------------------------------------------------------------


@pytest.mark.published(
    "mnist/t10k-images-idx3-ubyte.gz",
    "salman2019-barrier/experiment_1/ADV_MLP_B_0.1.pth",
    "salman2019-barrier/experiment_2/mnist_MLP_2_100_ADV.pth",
)
@pytest.mark.parametrize("name", ["adv-mlp-b-0.1", "adv-mlp-2-100"])
def test_published_networks(name):
    entry = zoo.get(f"salman2019-barrier/{name}")
    network = entry.network
    region = pixel_ball(dataset("mnist").image(0), "inf", 0.05, entry.normalisation, True)
    label = int(network.predict(region.center))
    found = layerwise(network, InputSet.from_balls([region]), label, "lp-all", keep=True)
    for proof in (
        relu_proofs.layerwise(network, region, found),
        relu_proofs.linear(Question(network, region, label), "crown"),
    ):
        assert proof.proven and {f.by for f in proof.findings} == {"exact"}
        assert all(Fraction(claim["bound"]) < 0 for claim in margins(proof))


@pytest.mark.published(
    "mnist/t10k-images-idx3-ubyte.gz",
    "salman2019-barrier/experiment_1/ADV_MLP_B_0.1.pth",
    "salman2019-barrier/experiment_2/mnist_MLP_2_100_ADV.pth",
)
@pytest.mark.parametrize(
    ("name", "image", "radius", "method"), [("b-0.1", 0, 0.03, "cascade"), ("2-100", 0, 0.1, "branch-and-bound")]
)
def test_published_networks_have_files(name, image, radius, method):
    entry = zoo.get(f"salman2019-barrier/adv-mlp-{name}")
    region = pixel_ball(dataset("mnist").image(image), "inf", radius, entry.normalisation, True)
    label = int(entry.network.predict(region.center))
    proof = certify(entry.network, region, label, method=method).certificates()
    assert proof.proven and {f.by for f in proof.findings} == {"exact"}
    assert len(margins(proof)) == 9 and all(Fraction(claim["bound"]) < 0 for claim in margins(proof))
    assert any("leaves" in claim for claim in margins(proof)) == (method == "branch-and-bound")


SPARSE = {
    "weight": np.ones(3),
    "bias": np.zeros(2),
    "columns": np.array([0, 2, 1]),
    "starts": np.array([0, 2, 3]),
    "inputs": np.array(3),
}


def test_a_sparse_layer_is_its_matrix():
    (step,) = Network.read({f"1.sparse.{name}": array for name, array in SPARSE.items()}).steps
    assert step.exact[0].floats().tolist() == [[1, 0, 1], [0, 1, 0]]
    assert step.forward(np.array([1.0, 2.0, 4.0])).tolist() == [5, 2]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("columns", [0, 0, 1]),  # one place twice
        ("columns", [2, 0, 1]),  # not rising
        ("columns", [-1, 2, 1]),
        ("columns", [0, 3, 1]),
        ("columns", [0.0, 2.0, 1.0]),
        ("starts", [0, 3, 2]),
        ("starts", [1, 2, 3]),
        ("starts", [0, 2, 2]),
        ("starts", [0, 2]),
        ("starts", [0, -1, 3]),
        ("inputs", [3]),
        ("inputs", 3.0),
        ("inputs", 10**15),
        ("inputs", 2**64 - 1),
        ("bias", [0.0]),
        ("weight", [1.0, np.nan, 1.0]),
        ("weight", [[1.0, 1.0, 1.0]]),
    ],
)
def test_a_sparse_layer_of_other_arrays_is_refused(name, array):
    arrays = SPARSE | {name: np.array(array)}
    with pytest.raises(Refused):
        Network.read({f"1.sparse.{part}": value for part, value in arrays.items()})


def test_differences_of_starts_that_wrap_are_refused():
    """Three rises of at most 2^63 - 1 may add up to the number of entries modulo 2^64."""
    arrays = SPARSE | {"starts": np.array([0, 2**63 - 1, -2, 3]), "bias": np.zeros(3)}
    with pytest.raises(Refused):
        Network.read({f"1.sparse.{part}": value for part, value in arrays.items()})


def test_a_convolution_of_a_huge_image_is_refused_before_it_is_made():
    arrays = {"weight": np.ones((1, 1, 1, 1)), "bias": np.zeros(1), "input_shape": np.array([1, 2**20, 2**20])}
    arrays |= {"stride": np.array([2**20, 2**20]), "padding": np.array([0, 0])}
    with pytest.raises(Refused, match="places"):
        Network.read({f"1.convolution.{part}": value for part, value in arrays.items()})


@pytest.mark.parametrize("method", ["crown", "deepz", "hbox", "crown_ibp"])
def test_networks_with_branches_have_the_reports_bounds(method):
    """A value that is carried past ReLU is bounded by intervals where these decide, in the report and in its file."""
    better = 0
    for seed, join in itertools.product(range(4), ("before", "input", "difference")):
        network = branched(np.random.default_rng(seed), join)
        network = replace(network, activations=())  # of ReLU alone: there are no files of others
        centre = np.random.default_rng(seed).standard_normal(network.input_size)
        label = int(network.predict(centre))
        report = certify(network, Ball(centre, 0.5, INFINITY), label, method=method, targets="all", attack=False)
        proof = report.certificates()
        stated = {claim["target"]: float(claim["bound"]) for claim in proof.certificate.claims if "bound" in claim}
        for decision in report.decisions:
            if decision.label in stated:
                # Bounds below may be tighter in the file, and DeepZ's are not monotone in these.
                assert stated[decision.label] <= decision.bound + 1e-3 * (1 + abs(decision.bound))
                better += decision.bound < 0
    assert better
