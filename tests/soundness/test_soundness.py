"""A slice of the soundness bed, and that the bed itself is right: its exact answers, and that it sees what is wrong."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from flint import ctx, fmpq_mat

from tests.soundness import distortion, feedforward, mondeq, nonlinear, properties
from tests.soundness.__main__ import run
from tests.soundness.bed import Bed, near
from tests.soundness.cases import MONDEQ_FAMILIES, NONLINEAR, RELU_FAMILIES, SHAPES, case
from tests.soundness.exact import domain, inside, operator_norm_below, operator_norm_exceeds, q
from tests.soundness.pieces import feedforward_pieces, mondeq_pieces, outputs_at
from tests.soundness.run import run_case
from tightrope import proofs
from tightrope.errors import CertificateError
from tightrope.networks import FeedForward
from tightrope.question import Verdict
from tightrope.regions import Ball
from tightrope.verifiers import lipschitz

#: Cases that were wrong once: (seed, number).
FOUND = [
    (0, 1761),
    (0, 1925),
    (0, 2198),
    (0, 2200),
    (0, 2380),
    (1, 215),
    (101, 28),
    (101, 98),
    (101, 112),
    (101, 341),
    (101, 413),
]
#: Cases of the long test, two minutes of processor time, and of one of its parts.
LONG, CHUNK = 360, 30


def right(seed: int, numbers) -> int:
    """Fail with the lines of what is wrong; return how many comparisons there were."""
    beds = [run_case(seed, number) for number in numbers]
    wrong = [line for bed in beds for line in bed.wrong]
    assert not wrong, "\n".join(wrong)
    return sum(bed.comparisons.total() for bed in beds)


# every method ---------------------------------------------------------------------------------------------------


def test_a_slice():
    assert right(0, range(30)) > 10_000


@pytest.mark.parametrize(("seed", "number"), FOUND)
def test_what_was_wrong_once(seed, number):
    assert right(seed, [number]) > 50


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, LONG, CHUNK))
def test_two_minutes(first):
    assert right(1, range(first, first + CHUNK)) > 5000


# the bed --------------------------------------------------------------------------------------------------------


def test_every_family_and_region_occurs():
    cases = [case(0, number) for number in range(600)]
    assert {c.family for c in cases if c.kind == "feedforward"} == {*RELU_FAMILIES, "branches"}
    assert {c.family for c in cases if c.kind == "mondeq"} == {*MONDEQ_FAMILIES, "convolution"}
    assert {c.family for c in cases if c.kind == "nonlinear"} == set(NONLINEAR)
    assert {c.shape for c in cases} == set(SHAPES)


@pytest.mark.parametrize("number", [n for n in range(36) if case(3, n).kind != "nonlinear"])
def test_the_pieces_are_the_network(number):
    """At points of the region: inside one of the pieces, and the outputs are its own, to the last digit."""
    asked = case(3, number)
    where = domain(asked.region)
    make = mondeq_pieces if asked.kind == "mondeq" else feedforward_pieces
    pieces = make(asked.network, where)
    rng = np.random.default_rng(number)
    corners = [point for point, _ in where.whole.corners]
    for _ in range(5):
        weights = [q(v) for v in rng.integers(1, 100, len(corners))]
        d = tuple(sum((w * p[j] for w, p in zip(weights, corners, strict=True)), q(0)) for j in range(where.size))
        d = tuple(v / sum(weights) for v in d)
        homogeneous = fmpq_mat(where.size + 1, 1, [*d, q(1)])
        own = [
            piece.values * homogeneous
            for piece in pieces.found
            if all(v >= 0 for side in piece.sides for v in (fmpq_mat(1, len(side), list(side)) * homogeneous).entries())
        ]
        exact = outputs_at(asked.network, where.input(d))
        assert own
        assert all(values.entries()[pieces.names["F"]] == exact for values in own)
    margin, d = pieces.largest_margin(0, 1)
    scores = outputs_at(asked.network, where.input(d))
    assert scores[1] - scores[0] == margin
    for x in asked.region.sample(200, rng) if isinstance(asked.region, Ball) else ():
        if inside(asked.region, x):
            scores = outputs_at(asked.network, [q(v) for v in x])
            assert scores[1] - scores[0] <= margin + abs(margin) / 10**25


@pytest.mark.parametrize("family", NONLINEAR)
def test_values_of_other_nonlinearities(family):
    """Balls around what float64 makes of the same layers, and extremes that samples hardly exceed."""
    asked = next(c for c in (case(seed, 2) for seed in range(400)) if c.family == family and c.region.norm == np.inf)
    network, region = asked.network, asked.region
    with ctx.workprec(nonlinear.BITS):
        points = nonlinear.Points.searched(asked.rng, network, region)
        x = region.inwards(region.sample(2000, np.random.default_rng(0)))
        scores = network.logits(x)
        exact = nonlinear.values_at(network, x[0])[-1]
    size = 1e-9 * (1 + np.abs(scores).max())
    assert np.allclose(scores[0], [float(v) for v in exact], rtol=0, atol=size)
    for label, target in itertools.permutations(range(network.classes), 2):
        found = float((scores[:, target] - scores[:, label]).max())
        spread = float(np.ptp(scores[:, target] - scores[:, label]))
        assert near(points.largest_margin(label, target)[0]) >= found - size - 0.01 * spread


def test_the_largest_on_a_sphere_is_the_closed_form():
    rng = np.random.default_rng(0)
    for n, radius in ((1, 0.5), (2, 1e-8), (3, 3.0)):
        w, x = rng.normal(size=n), rng.normal(size=n)
        network = FeedForward.dense([np.array([w, 0 * w])], [np.zeros(2)])
        margin, _ = feedforward_pieces(network, domain(Ball(x, radius, 2))).largest_margin(1, 0)
        square = (margin - sum(q(a) * q(b) for a, b in zip(w, x, strict=True))) / q(radius)
        assert abs(near(square * square / sum(q(a) * q(a) for a in w)) - 1) < 1e-15


def test_norms_of_matrices():
    rng = np.random.default_rng(0)
    for norm in (1, 2, np.inf):
        A = rng.normal(size=(3, 2))
        J, size = fmpq_mat(3, 2, [q(v) for v in A.ravel()]), float(np.linalg.norm(A, norm))
        assert operator_norm_exceeds(J, norm, q(size * (1 - 1e-12))) and operator_norm_below(
            J, norm, q(size * (1 + 1e-12))
        )
        assert not operator_norm_exceeds(J, norm, q(size * (1 + 1e-12)))
        assert not operator_norm_below(J, norm, q(size * (1 - 1e-12)))


def lines(number: int) -> str:
    """What the bed says of a case of seed 0."""
    return "\n".join(run_case(0, number).wrong)


def test_planted_bounds_are_seen(monkeypatch):
    """A bound that is low by little, a certificate of something else, a point outside, an exception without a name."""
    numbers = [n for n in range(40) if case(0, n).kind == "feedforward" and case(0, n).shape.startswith("linf")][:4]
    honest = feedforward.proven_margins

    def low(network, region, label, method):
        return honest(network, region, label, method) - 1e-3

    monkeypatch.setattr(feedforward, "proven_margins", low)
    said = "".join(map(lines, numbers))
    assert "is attained" in said and "python -m tests.soundness --seed 0 --case" in said
    monkeypatch.setattr(feedforward, "proven_margins", honest)

    def failing(*_, **__):
        raise OverflowError("34")

    monkeypatch.setattr(feedforward, "layerwise_bounds", failing)
    assert "triangle: OverflowError: 34" in "".join(map(lines, numbers))


def test_planted_files_are_seen(monkeypatch):
    """A checker that believes everything."""
    from tests.soundness import certificates

    honest = certificates.checker.check

    def gullible(file, arrays):
        found = honest(file, arrays)
        return [type(one)(one.claim, True) for one in found]

    number = next(n for n in range(40) if case(0, n).kind == "mondeq")
    monkeypatch.setattr(certificates.checker, "check", gullible)
    said = lines(number)
    assert "false claims" in said and "a bound below what is attained" in said and "another network" in said


def test_planted_constants_are_seen(monkeypatch):
    honest = mondeq.lipschitz.product_bound
    monkeypatch.setattr(mondeq.lipschitz, "product_bound", lambda *a, **k: 1e-3 * honest(*a, **k))
    numbers = [n for n in range(200) if case(0, n).kind == "mondeq" and case(0, n).family == "gauss"]
    bed = Bed()
    for number in numbers[:3]:
        bed.case = case(0, number)
        mondeq.constants(bed, bed.case.rng, bed.case.network, bed.case.more)
    assert any("product" in line for line in bed.wrong)


def small_bed() -> tuple[Bed, FeedForward, Ball]:
    """|x| and a constant, on a box."""
    network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 0.7]))
    return Bed(), network, Ball([0.25], 1.0, np.inf)


@pytest.mark.parametrize("verdict", [None, Verdict.CERTIFIED])
def test_planted_verdicts_of_properties_are_seen(monkeypatch, verdict):
    bed, network, region = small_bed()
    honest = properties.certify_property
    if verdict:
        monkeypatch.setattr(properties, "certify_property", lambda *a: replace(honest(*a), verdict=verdict))
    for seed in range(8):
        properties.properties(bed, np.random.default_rng(seed), network, region)
    assert bed.comparisons.total() >= 8
    assert any("a point meets it" in line for line in bed.wrong) == bool(verdict)


@pytest.mark.parametrize("factor", [1.0, 1.2])
def test_planted_distortions_are_seen(monkeypatch, factor):
    bed, network, region = small_bed()
    honest = distortion.minimum_distortion

    def planted(*arguments):
        found = honest(*arguments)
        return replace(found, certified=replace(found.certified, lower=factor * found.lower))

    monkeypatch.setattr(distortion, "minimum_distortion", planted)
    distortion.minimum(bed, np.random.default_rng(0), "minimum", network, 1, region.center, "lp-all")
    assert any("is certified, but" in line for line in bed.wrong) == (factor > 1)
    assert bed.comparisons["false claims: minimum"] > 1


@pytest.mark.parametrize("less", [0.0, 1e-3])
def test_planted_bounds_of_other_nonlinearities_are_seen(monkeypatch, less):
    asked = next(c for c in (case(seed, 2) for seed in range(400)) if c.family == "tanh" and c.network.input_size == 1)
    honest = feedforward.proven_margins
    monkeypatch.setattr(
        feedforward, "proven_margins", lambda *a: honest(*a) - less * np.abs(asked.network.weights[-1]).max()
    )
    bed, tight = Bed(case=asked), Ball(asked.region.center, 1e-6, np.inf)
    with ctx.workprec(nonlinear.BITS):
        points = nonlinear.Points.searched(asked.rng, asked.network, tight)
    feedforward.linear(bed, asked.rng, asked.network, tight, points)
    assert bool(bed.wrong) == (less > 0)


def test_a_run_that_is_interrupted_counts_the_same(tmp_path, capsys):
    for file, parts in ((tmp_path / "a.json", (1, 2)), (tmp_path / "b.json", (3,))):
        for most in parts:
            assert run(1e9, 4, file, most) == 0
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert first["total"] == second["total"] and first["total"]["cases"] == 3
    (one,), (other,) = first["runs"], second["runs"]
    assert all(one[name] == other[name] for name in ("comparisons", "refused", "wrong", "first", "end", "versions"))
    assert "cases 0 to 2" in capsys.readouterr().out


def test_runs_at_once_keep_each_others_counts(tmp_path, monkeypatch):
    """Two processes, each of which has read the file before the other one writes."""
    from tests.soundness import __main__ as command

    file, honest = tmp_path / "runs.json", command.run_case
    run(1e9, 5, file, 1)

    def with_another(seed, number):
        if seed == 5:
            monkeypatch.setattr(command, "run_case", honest)
            run(1e9, 6, file, 2)
        return honest(seed, number)

    monkeypatch.setattr(command, "run_case", with_another)
    run(1e9, 5, file, 1)
    found = json.loads(file.read_text())
    assert [(one["seed"], one["first"], one["end"]) for one in found["runs"]] == [(5, 0, 2), (6, 0, 2)]
    assert found["total"]["comparisons"] == sum(sum(one["comparisons"].values()) for one in found["runs"])
    behind = {**found["runs"][0], "end": 1, "comparisons": {}}
    command.save(file, behind)
    assert json.loads(file.read_text()) == found


# what it found --------------------------------------------------------------------------------------------------


def test_the_proof_of_a_nearly_singular_constant_is_accepted():
    """Two equal neurons: eliminating v leaves less than its rounding, the whole matrix does not."""
    rows = [-7.010767963930163, -0.5919439756026152, -7.9918852349182545]
    W = [rows, [2.7030773453155197, -2.1346665412755943, 2.7030773453155197], rows[::-1]]
    C = [
        [0.5335222246940703, -0.8889998386190325, 0.2487527379522859],
        [-0.128040527608538, 1.0356677319317673, -0.12508905090812805],
        [-1.4858782024845212, -0.0868163935206451, 0.10035845873032369],
    ]
    U = [[0.37747181641962363], [0.9783284874605387], [0.37747181641962363]]
    network = lipschitz.MonDEQ(W, U, np.zeros(3), C, np.zeros(3))
    bound = lipschitz.upper_bound(network, 1)
    assert bound.certificates().proven


def test_files_of_numbers_beyond_single_precision():
    """Multipliers of 1e130 fit into double precision; what fits nowhere is a named error."""
    from tightrope import relu_proofs
    from tightrope.propagation.inputs import InputSet
    from tightrope.propagation.layerwise import layerwise

    network = FeedForward.dense(([[1e-130], [-1e-130]], [[1e130, 1e130], [0, 0]]), ([1e-131, 0], [0, 2]))
    region = Ball([0.0], 1.0, np.inf)
    found = layerwise(network, InputSet.from_balls([region]), 1, "lp-all", keep=True)
    proof = relu_proofs.layerwise(network, region, found)
    assert proof.proven and float(proof.certificate.claims[-1]["bound"]) < -0.8
    with pytest.raises(CertificateError):
        with proofs.named_refusals():
            raise proofs.checker.Refused("a number is not finite")


def test_networks_are_small():
    """At most six neurons wide, three inputs and four hidden layers, images aside."""
    for number in range(200):
        network = case(0, number).network
        if isinstance(network, FeedForward):
            assert len(network.layers) <= 5
            assert not network.is_dense or (network.input_size <= 3 and max(network.sizes) <= 6)
        else:
            assert network.width <= 6 and network.input_size <= 4
