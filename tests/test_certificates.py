"""Certificates: sound against exact arithmetic, and refused when anything about them is changed."""

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import ball, exact_margin, mondeq, program, question
from tightrope.certificates import Certificate, Verdict, _corner, check, sound_bound
from tightrope.errors import CertificateError, InputError
from tightrope.networks import MonDEQ
from tightrope.regions import INFINITY, Ball
from tightrope.solvers.arrow import Arrow
from tightrope.solvers.interior_point import InteriorPoint

REGIONS = [(1.0, False), (1.0, True), (2.0, False), (2.0, True), (INFINITY, False), (INFINITY, True)]


def certified(network, region, label, target) -> Certificate:
    _, relaxed, data = program(network, region, label, target)
    report, _ = InteriorPoint(data).solve(relaxed.objective)
    bound = sound_bound(data, relaxed.objective, report.multipliers)
    split = relaxed.constraints.split(bound.multipliers)
    hashes = network.sha256(), region.sha256()
    return Certificate(label, target, bound.value, bound.y0, bound.shift, split, *hashes)


@pytest.fixture(scope="module")
def proof():
    """(network, region, certificate) of a small certified question."""
    network, region, label, target = question(0, INFINITY, 0.01)
    certificate = certified(network, region, label, target)
    assert certificate.verdict is Verdict.CERTIFIED
    return network, region, certificate


@settings(max_examples=40)
@given(seed=st.integers(0, 999), log_scale=st.floats(-20, 20), spread=st.floats(0, 6), at=st.sampled_from(REGIONS))
def test_any_multipliers_prove_a_true_bound(seed, log_scale, spread, at):
    """Random multipliers of wild sizes and signs: whatever is claimed lies above the margins of samples."""
    network, region, label, target = question(seed, at[0], 0.5, at[1])
    _, relaxed, data = program(network, region, label, target)
    rng = np.random.default_rng(seed)
    y = 10**log_scale * rng.standard_normal(len(data.norms)) * 10 ** (spread * rng.standard_normal(len(data.norms)))
    bound = sound_bound(data, relaxed.objective, y)
    logits = network.logits(np.vstack([region.center, region.sample(50, rng)]))
    if bound is not None:
        assert (logits[:, target] - logits[:, label]).max() <= bound.value
        assert (bound.multipliers[~relaxed.constraints.equality] >= 0).all()


@pytest.mark.parametrize("norm, clip", REGIONS)
def test_the_bound_is_positive_definiteness_of_the_dense_matrix(norm, clip):
    network, region, label, target = question(1, norm, clip=clip)
    _, relaxed, data = program(network, region, label, target)
    report, _ = InteriorPoint(data).solve(relaxed.objective)
    bound = sound_bound(data, relaxed.objective, report.multipliers)
    c = relaxed.constraints
    Z = -(relaxed.objective + c.matrix(bound.multipliers)).toarray() + bound.shift * np.eye(c.size)
    Z[0, 0] += bound.y0
    assert np.linalg.eigvalsh(Z)[0] >= -1e-14 * np.linalg.norm(Z)
    assert bound.value >= bound.y0 + bound.shift * c.squared_norm
    assert bound.value <= report.dual_value + 1e-4 * (1 + abs(report.dual_value))


def positive_semidefinite(matrix: list[list[Fraction]]) -> bool:
    """Exact LDL' elimination."""
    A = [row[:] for row in matrix]
    for k in range(len(A)):
        if A[k][k] < 0 or (A[k][k] == 0 and any(A[i][k] for i in range(k, len(A)))):
            return False
        if A[k][k] == 0:
            continue
        for i in range(k + 1, len(A)):
            for j in range(k + 1, len(A)):
                A[i][j] -= A[i][k] * A[k][j] / A[k][k]
    return True


@settings(max_examples=60)
@given(seed=st.integers(0, 999), log_scale=st.floats(-8, 8), log_edge=st.floats(-17, 1), p=st.integers(1, 3))
def test_bounds_hold_in_exact_arithmetic(seed, log_scale, log_edge, p):
    """The matrix of the floating-point program, summed and eliminated in rational numbers, is semidefinite."""
    network, region, label, target = question(seed, INFINITY, 0.5, p=p, p0=2, K=2)
    _, relaxed, data = program(network, region, label, target)
    report, _ = InteriorPoint(data).solve(relaxed.objective, max_iterations=12)
    rng = np.random.default_rng(seed)
    y = report.multipliers * 10**log_scale * (1 + 10**log_edge * rng.standard_normal(len(data.norms)))
    bound = sound_bound(data, relaxed.objective, y)
    if bound is None:
        return
    c = relaxed.constraints
    N = c.size
    exact = np.vectorize(Fraction, otypes=[object])
    forms, weights = exact(c.forms.toarray()), exact(c.weights.T.toarray())
    Z = -exact(relaxed.objective.toarray())
    for r, w in enumerate(weights @ exact(bound.multipliers)):
        outer = np.outer(forms[c.left[r]], forms[c.right[r]])
        Z = Z - w * (outer + outer.T) / 2
    Z = Z + Fraction(bound.shift) * exact(np.eye(N))
    Z[0, 0] += Fraction(bound.y0)
    assert positive_semidefinite(Z.tolist())
    assert Fraction(bound.value) >= Fraction(bound.y0) + Fraction(bound.shift) * Fraction(c.squared_norm)


def test_a_coupling_that_cancels_against_a_tiny_pivot_is_paid_for():
    """cd is 0 after cancellation of terms of size 1, dd is 1e-20: its error 1e-16 squared over 1e-20 is 1e-12."""
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    Z = Arrow(zero, zero, np.array([1e-20]))
    free = _corner(Z, Arrow(zero, zero, np.array([1e-20])), 0.0, 1)
    paid = _corner(Z, Arrow(zero, one, np.array([1e-20])), 0.0, 1)
    assert 0 <= free < 1e-20
    assert paid > 1e-12


def test_multipliers_that_prove_nothing():
    _, relaxed, data = program(*question(2, INFINITY))
    count = len(data.norms)
    for value in (np.nan, np.inf, -np.inf):
        y = np.ones(count)
        y[1] = value
        assert sound_bound(data, relaxed.objective, y) is None
    assert sound_bound(data, relaxed.objective, np.full(count, 1e308)) is None
    with pytest.raises(InputError, match="multipliers"):
        sound_bound(data, relaxed.objective, np.ones(count + 1))


def test_no_multipliers_at_all_give_the_trace_bound():
    """With y = 0 only the trace is left: max of a linear form over ||v||^2 <= R^2, v_0 = 1, within a factor."""
    _, relaxed, data = program(*question(3, 2.0))
    bound = sound_bound(data, relaxed.objective, np.zeros(len(data.norms)))
    top = np.linalg.eigvalsh(relaxed.objective.toarray())[-1] * relaxed.constraints.squared_norm
    assert 0 < bound.value < 3 * top


@pytest.mark.parametrize("norm, clip", REGIONS)
def test_check_confirms_what_was_proven(norm, clip):
    network, region, label, target = question(1, norm, 0.1, clip)
    certificate = certified(network, region, label, target)
    again = Certificate.from_json(certificate.to_json())
    proven = check(again, network, region)
    assert certificate.bound <= proven <= certificate.bound + 1e-6
    if norm == INFINITY:
        assert exact_margin(network, region, label, target) <= proven


def changed(certificate: Certificate, group: str, change) -> Certificate:
    multipliers = {name: y.copy() for name, y in certificate.multipliers.items()}
    change(multipliers[group])
    return dataclasses.replace(certificate, multipliers=multipliers)


def test_tampered_multipliers_are_refused(proof):
    network, region, certificate = proof
    for name, y in certificate.multipliers.items():
        largest = int(np.argmax(np.abs(y)))

        def flip(y, largest=largest):
            y[largest] *= -1

        def spoil(y, largest=largest):
            y[largest] = np.nan

        def inflate(y, largest=largest):
            y[largest] = 1e300

        if np.abs(y[largest]) > 1e-6:
            with pytest.raises(CertificateError):
                check(changed(certificate, name, flip), network, region)
        for change in (spoil, inflate):
            with pytest.raises(CertificateError):
                check(changed(certificate, name, change), network, region)
        short = dict(certificate.multipliers) | {name: y[:-1]}
        with pytest.raises(CertificateError, match="length"):
            check(dataclasses.replace(certificate, multipliers=short), network, region)
    fewer = dict(list(certificate.multipliers.items())[1:])
    with pytest.raises(CertificateError, match="groups"):
        check(dataclasses.replace(certificate, multipliers=fewer), network, region)


@pytest.mark.parametrize(
    "change",
    [
        {"bound": -1e3},
        {"bound": np.nan},
        {"bound": -np.inf},
        {"y0": -1e3},
        {"y0": np.nan},
        {"y0": np.inf},
        {"bound": -1e3, "y0": -1e3},
        {"network_sha256": "0" * 64},
        {"region_sha256": "0" * 64},
    ],
    ids=str,
)
def test_tampered_numbers_are_refused(proof, change):
    network, region, certificate = proof
    with pytest.raises(CertificateError):
        check(dataclasses.replace(certificate, **change), network, region)


@pytest.mark.parametrize("less", [1e-4, 1e-8, 1e-10, 1e-13])
def test_a_slightly_lowered_bound_is_refused(proof, less):
    """There is no slack: what is claimed is what is proven."""
    network, region, certificate = proof
    assert check(certificate, network, region) == certificate.bound
    with pytest.raises(CertificateError, match="proves only"):
        check(dataclasses.replace(certificate, bound=certificate.bound - less), network, region)


@pytest.mark.parametrize("shift", [np.nan, np.inf, -123.0, -1e-9])
def test_a_shift_that_is_none_is_refused(proof, shift):
    network, region, certificate = proof
    with pytest.raises(CertificateError, match="shift"):
        check(dataclasses.replace(certificate, shift=shift), network, region)


def test_a_smaller_shift_proves_less(proof):
    """Z + shift I was positive definite by a hair; with a larger y_0 too little is claimed."""
    network, region, certificate = proof
    larger = dataclasses.replace(certificate, shift=certificate.shift + 1.0)
    with pytest.raises(CertificateError, match="proves only"):
        check(larger, network, region)


#: The network of C1: p = 2, both neurons active at the only point of the region, so that the maximum is known exactly.
W_C1 = [[-0.5, 0.3], [-0.3, -0.5]]


def test_huge_multipliers_prove_no_false_claim():
    """The author of a certificate chooses the multipliers, and with them how large the rounding of a check is."""
    (a, b), (c, d) = [[Fraction(i == j) - Fraction(W_C1[i][j]) for j in (0, 1)] for i in (0, 1)]
    network = MonDEQ(W_C1, [[1.0], [1.0]], [1.0, 1.0], [[1.0, 1.0], [0.0, 0.0]], [-3.0, 0.0])
    region = Ball([0.0], 0.0, INFINITY)
    state = [(d - b) / (a * d - b * c), (a - c) / (a * d - b * c)]
    exact = sum(state) - 3
    hashes = network.sha256(), region.sha256()
    for s in 10 ** np.random.default_rng(1).uniform(0, 14, 100):
        multipliers = {
            "z (z - h) = 0": np.full(2, -s),
            "z >= 0": np.zeros(2),
            "z - h >= 0": s * np.array(state, float),
            "1 - d_j^2 >= 0": np.zeros(0),
        }
        for less in (1e-10, 1e-4, 1e-2):
            claim = Certificate(1, 0, float(exact) - less, float(exact) + 1 / s, 0.0, multipliers, *hashes)
            with pytest.raises(CertificateError):
                check(claim, network, region)


@settings(max_examples=30)
@given(seed=st.integers(0, 999), log_scale=st.integers(-160, 12), at=st.sampled_from(REGIONS), radius=st.floats(0, 3))
def test_what_is_issued_is_accepted(seed, log_scale, at, radius):
    """At every scale of the outputs, and nothing more than it."""
    network, region, label, target = question(seed, at[0], radius, at[1], p=3, p0=2)
    scale = 10.0**log_scale
    network = dataclasses.replace(network, C=network.C * scale, c=network.c * scale)
    certificate = certified(network, region, label, target)
    assert check(certificate, network, region) == certificate.bound
    below = Fraction(certificate.bound) - (abs(Fraction(certificate.bound)) + Fraction(1e-150)) / 10**6
    with pytest.raises(CertificateError):
        check(dataclasses.replace(certificate, bound=float(below)), network, region)


def test_a_sign_within_rounding_is_refused():
    """Huge multipliers that cancel hide their rounding; a negative claim about them is not believed."""
    network, region, label, target = question(0, INFINITY, 0.3)
    certificate = certified(network, region, label, target)
    shifted = dataclasses.replace(certificate, y0=0.0, bound=-1e-12)
    with pytest.raises(CertificateError):
        check(shifted, network, region)


def test_another_question_is_refused(proof):
    network, region, certificate = proof
    other = mondeq(1)
    with pytest.raises(CertificateError, match="network"):
        check(certificate, other, region)
    for wrong in (
        Ball(region.center, region.radius * 2, region.norm),
        Ball(region.center, region.radius, 2),
        Ball(region.center + 1e-12, region.radius, region.norm),
        Ball(region.center, region.radius, region.norm, region.center - 1, region.center + 1),
        ball(5, 3, INFINITY, 0.01),
    ):
        with pytest.raises(CertificateError, match="region"):
            check(certificate, network, wrong)
    swapped = dataclasses.replace(certificate, label=certificate.target, target=certificate.label)
    with pytest.raises(CertificateError):
        check(swapped, network, region)
    third = ({0, 1, 2} - {certificate.label, certificate.target}).pop()
    with pytest.raises(CertificateError):
        check(dataclasses.replace(certificate, label=third), network, region)


@pytest.mark.parametrize("labels", [(-1, 0), (0, 3), (0, 0), (99, 1)])
def test_labels_that_do_not_exist(proof, labels):
    network, region, certificate = proof
    with pytest.raises(CertificateError, match="label, target"):
        check(dataclasses.replace(certificate, label=labels[0], target=labels[1]), network, region)


HOSTILE = ["", "[]", "{}", '{"multipliers": []}', '{"multipliers": {"a": ["x"]}}', "[" * 100_000, '{"a":' * 100_000]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_files_that_are_no_certificates(text):
    with pytest.raises(CertificateError, match="to_json"):
        Certificate.from_json(text)


@pytest.mark.parametrize(
    "field, value",
    [
        ("label", "0"),
        ("label", True),
        ("target", 1.5),
        ("bound", "low"),
        ("bound", "1.5"),
        ("bound", 10**400),
        ("bound", [1.0, 2.0]),
        ("y0", None),
        ("shift", True),
        ("multipliers", {"z >= 0": ["1.5"]}),
        ("multipliers", {"z >= 0": [10**400]}),
        ("multipliers", {"z >= 0": [[1.0], []]}),
        ("cuts", {"lower": [10**400], "upper": [1], "pairs": []}),
        ("cuts", {"lower": [0.0], "upper": [1.0], "pairs": [[0.5, 1]]}),
        ("cuts", {"lower": [0.0], "upper": [1.0], "pairs": [[1e300, 1]]}),
        ("network_sha256", 7),
        ("extra", 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_files_with_wrong_fields(proof, field, value):
    content = json.loads(proof[2].to_json()) | {field: value}
    with pytest.raises(CertificateError):
        Certificate.from_json(json.dumps(content))


def test_a_name_that_occurs_twice_is_refused(proof):
    """Readers of JSON differ in which of two values they take."""
    text = proof[2].to_json()
    with pytest.raises(CertificateError, match="twice"):
        Certificate.from_json(text.replace('"bound":', '"bound": -1e9, "bound":'))
    with pytest.raises(CertificateError, match="twice"):
        Certificate.from_json(text.replace('"z >= 0":', '"z >= 0": [], "z >= 0":'))


def test_json_keeps_every_digit(proof):
    certificate = proof[2]
    again = Certificate.from_json(certificate.to_json())
    assert (again.bound, again.y0, again.shift) == (certificate.bound, certificate.y0, certificate.shift)
    for name, y in certificate.multipliers.items():
        np.testing.assert_array_equal(again.multipliers[name], y)
