"""Minimum distortions: both ends proven, on either side of the exact one, and refused where a claim is altered."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.checker.test_checker import proven
from tests.checker.test_relu import exact_maximum, random_network
from tests.helpers import exact_margin, mondeq
from tightrope import checker, proofs
from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.question import Limits, Question
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers import distortion
from tightrope.verifiers.distortion import Bracket, Distortion, minimum_distortion

SEEDS = (1, 3, 6, 10)


def made(seed: int, method: str = "lp-all", box: tuple[float, float] | None = None) -> Distortion:
    """The bracket of a random network's own label at a random point."""
    network, centre = random_network(seed, (2, 4, 3, 3)), np.random.default_rng(seed).standard_normal(2)
    label = int(network.predict(centre))
    sides = () if box is None else (np.full(2, box[0]), np.full(2, box[1]))
    return minimum_distortion(network, Ball(centre, 6.0, INFINITY, *sides), label, method, Limits(0.1))


@pytest.mark.parametrize("box", [None, (-3.0, 2.5)])
@pytest.mark.parametrize("seed", SEEDS)
def test_both_ends_are_proven_and_true(seed, box):
    found = made(seed, "lp-last" if seed % 2 else "lp-all", box)
    if found.attacked.hit is None:
        with pytest.raises(InputError, match="no point"):
            found.certificates()
        return
    proof = found.certificates()
    assert proof.proven, proof.findings
    file = checker.from_bytes(proof.certificate.to_bytes())
    assert proven(file, found.question.network.arrays())
    lower, upper = Fraction(file.region["radius"]), Fraction(file.claims[-1]["distance"])
    assert 0.85 * found.certified.lower <= lower <= found.certified.lower <= found.attacked.upper <= upper
    assert float(upper) <= found.attacked.upper * (1 + 1e-5)
    asked = found.question
    inner, outer = (replace(asked.region, radius=float(radius)) for radius in (lower, upper))

    def margins(ball: Ball) -> list[Fraction]:
        return [exact_maximum(asked.network, ball, asked.label, target) for target in asked.targets]

    assert lower == 0 or max(margins(inner)) < 0
    assert max(margins(outer)) >= 0


def test_an_image_with_another_label_has_distortion_0():
    network = FeedForward.dense([[[1.0], [0.0]]], [[1.0, 0.0]])
    proof = minimum_distortion(network, Ball([0.0], 1.0, INFINITY), 1).certificates()
    assert proof.proven and proof.findings[-1].claim.startswith(
        "the Linf distance of label 1 from another is at most 0 "
    )


def test_altered_claims_are_refused():
    found = next(one for one in map(made, SEEDS) if one.attacked.hit is not None and one.certified.lower > 0)
    file, arrays = found.certificates().certificate, found.question.network.arrays()
    *inner, last = file.claims

    def end(claims: list, **changes: object) -> checker.Finding:
        return checker.check(replace(file, claims=claims, **changes), arrays)[-1]

    assert inner and proven(file, arrays)
    half = str(float(last["distance"]) / 2)
    for change in (
        {"distance": half},
        {"distance": 1},
        {"target": last["label"]},
        {"target": 9},
        {"label": 9},
        {"x": 1},
    ):
        assert not end([*inner, last | change]).proven, change
    for key in last:
        assert not end([*inner, {k: v for k, v in last.items() if k != key}]).proven
    swapped = last | {"label": last["target"], "target": last["label"]}
    assert not end([*inner, swapped]).proven
    assert not end([*inner[:-1], last]).proven  # one target is missing
    assert not end([*inner[1:], last]).proven  # the bounds of a layer are
    assert not end([*inner[:-1], inner[-1] | {"bound": "1"}, last]).proven  # proven, and not below 0
    assert not end([*inner[:-1], inner[-1] | {"bound": "-1000"}, last]).proven
    assert not end(file.claims, region=file.region | {"radius": last["distance"]}).proven
    assert not end(file.claims, region=file.region | {"norm": "1"}).proven
    assert not end([last, *inner]).proven
    assert not end(file.claims, theory="relu-linear").proven
    for altered in (file.arrays["point"] + 1, file.arrays["point"] * np.nan, file.arrays["point"][0]):
        assert not end(file.claims, arrays=file.arrays | {"point": altered}).proven
    without = {name: array for name, array in file.arrays.items() if name != "point"}
    assert not end(file.claims, arrays=without).proven
    for name in file.arrays:
        if name[0] in "lum" and name not in ("lower", "upper"):
            assert not end(file.claims, arrays={k: v for k, v in file.arrays.items() if k != name}).proven, name
    # The upper end alone needs no bounds.
    alone = replace(file, claims=[last], arrays={k: file.arrays[k] for k in ("centre", "point")})
    assert proven(alone, arrays) and "above" not in checker.check(alone, arrays)[0].claim


@pytest.mark.parametrize("box", [None, (-3.0, 2.5)])
@pytest.mark.parametrize("seed", range(3))
def test_of_a_mondeq_both_ends_meet_and_are_proven(seed, box):
    network, centre = mondeq(seed), np.random.default_rng(seed).standard_normal(3)
    label = network.predict(centre)
    sides = () if box is None else (np.full(3, box[0]), np.full(3, box[1]))
    asked = Question(network, Ball(centre, 9.0, INFINITY, *sides), label)
    found = minimum_distortion(asked.network, asked.region, asked.label, limits=Limits(1e-3))
    assert found.verdict.value == "certified" and found.lower < found.upper <= found.lower * (1 + 1.1e-3)
    targets = [target for target in range(3) if target != label]
    inner, outer = (
        max(exact_margin(network, Ball(centre, radius, INFINITY, *sides), label, target) for target in targets)
        for radius in (found.lower, found.upper)
    )
    assert inner < 1e-9 and outer > -1e-9
    proof = found.certificates()
    assert proof.proven, proof.findings
    file, arrays = checker.from_bytes(proof.certificate.to_bytes()), proofs.arrays_of(network)[1]
    assert proven(file, arrays) and file.theory == "mondeq-distortion"
    *inside, last = file.claims

    def end(claims: list, **changes: object) -> checker.Finding:
        return checker.check(replace(file, claims=claims, **changes), arrays)[-1]

    half = str(float(last["distance"]) / 2)
    for change in ({"distance": half}, {"target": label}, {"label": 9}, {"m": "1000"}, {"m": "-1"}, {"m": "0"}):
        assert not end([*inside, last | change]).proven, change
    assert not end([*inside[:-1], last]).proven  # one target is missing
    assert not end([last, *inside]).proven
    assert not end(file.claims, region=file.region | {"radius": last["distance"]}).proven
    assert not end(file.claims, arrays={name: a for name, a in file.arrays.items() if name != "state"}).proven
    without = {name: array for name, array in file.arrays.items() if name not in ("l", "u", "h", "sign")}
    leafy = replace(file, claims=[inside[0] | {"leaves": 1}, last], arrays=without)
    assert not any(finding.proven for finding in checker.check(leafy, arrays))
    moved = file.arrays | {"state": file.arrays["state"] + 1.0}
    assert not end(file.claims, arrays=moved).proven


def test_an_answer_that_finds_what_the_attack_missed_moves_both_ends_of_its_bracket(monkeypatch):
    """Within the lower end of an attack no point is known."""
    network = mondeq(0)
    asked = Question(network, Ball(np.zeros(3), 9.0, INFINITY), network.predict(np.zeros(3)))
    monkeypatch.setattr(distortion, "attacked_distortion", lambda *_: Bracket(9.0, INFINITY, 1))
    found = minimum_distortion(asked.network, asked.region, asked.label, limits=Limits(0.1))
    assert 0 < found.lower <= found.attacked.lower < found.upper < 9


def test_a_mondeq_image_with_another_label_and_one_that_keeps_its_own():
    network = mondeq(0)
    label = (network.predict(np.zeros(3)) + 1) % 3
    found = minimum_distortion(network, Ball(np.zeros(3), 1.0, INFINITY), label)
    assert (found.lower, found.upper) == (0.0, 0.0)
    assert found.certificates().proven
    own = network.predict(np.zeros(3))
    kept = minimum_distortion(network, Ball(np.zeros(3), 1e-3, INFINITY), own)
    assert kept.lower >= 0.99e-3 and kept.upper == INFINITY
    with pytest.raises(InputError, match="no point"):
        kept.certificates()
