"""Margins under bounds on h, and trees of phases: what is true is accepted, and nothing else."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checker.references import largest_margin
from tests.checker.test_exact import segment
from tests.checker.test_fuzz import outcome
from tests.helpers import ball, exact_margin, mondeq, question
from tightrope import checker, proofs
from tightrope.checker import regions
from tightrope.networks import MonDEQ
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.fixpoint import Box, fixpoint_bounds, inductive
from tightrope.question import Question
from tightrope.regions import INFINITY, Ball, pixel_ball
from tightrope.relaxations.cuts import cut_model
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.sound import sound_bound
from tightrope.verifiers.ellipsoid import outer_ellipsoid
from tightrope.verifiers.robustness import certify
from tightrope.verifiers.tightening import STORED

KINDS = ("1", "2", "inf", "1 clipped", "2 clipped", "inf clipped")


def invariant_of(network: MonDEQ, region: Ball) -> Box:
    """Bounds on h as the verifiers have them."""
    known = fixpoint_bounds(network, region)
    return inductive(network, known.inputs, known.h.outward(STORED))


@np.errstate(all="ignore")  # a step of the solver that is taken back
def leaf(network: MonDEQ, region: Ball, label: int, target: int, low: np.ndarray, high: np.ndarray):
    """The bound of one leaf under bounds on h, and its multipliers by the name of a fact."""
    if (low > high).any():
        return -np.inf, {}
    model = cut_model(robustness_model(network, region, label), Box(low, high))
    data, objective = ArrowData(shor_constraints(model)), objective_matrix(model.problem(target).objective)
    # The dual of a leaf without states has no end; how far a solve follows it before it fails depends on the kernel:
    # the last one stops as soon as the bound is below -10.
    lower = objective + sp.csr_array(([10.0], ([0], [0])), shape=objective.shape)
    solver, sizes = InteriorPoint(data), (1e-7, 1e-5, 1e-3, 1e-1, 1.0)
    solves = [solver.solve(objective, tolerance=size)[0] for size in sizes]
    solves.append(solver.solve(lower, tolerance=1e-3, sign_only=True)[0])
    bounds = [sound_bound(data, objective, found.multipliers) for found in solves if found.multipliers is not None]
    bound = min((found for found in bounds if found is not None), key=lambda found: found.value)
    return bound.value, data.constraints.split(bound.multipliers)


def tree(network: MonDEQ, region: Ball, label: int, target: int, depth: int, invariant: Box | None = None):
    """The invariant, and a tree in which the first `depth` open neurons have all patterns of signs."""
    invariant = invariant or invariant_of(network, region)
    split = np.flatnonzero((invariant.lower < 0) & (invariant.upper > 0))[:depth]
    signs = np.zeros((2 ** len(split), network.width), np.int8)
    signs[:, split] = list(itertools.product((1, -1), repeat=len(split)))
    lows = np.where(signs > 0, np.maximum(invariant.lower, 0), invariant.lower)
    highs = np.where(signs < 0, np.minimum(invariant.upper, 0), invariant.upper)
    found = [leaf(network, region, label, target, *bounds) for bounds in zip(lows, highs, strict=True)]
    return invariant, (target, max(value for value, _ in found), signs, [named for _, named in found])


@cache
def made(seed: int, kind: str, depth: int = 2):
    """Network, region, label, target, the exact maximum, and the file of a tree."""
    network, region = segment(seed, kind)
    label = int(network.predict(region.center))
    target = (label + 1) % 3
    invariant, grown = tree(network, region, label, target, depth)
    proof = proofs.trees(Question(network, region, label), invariant, [grown])
    assert proof.proven, proof.findings
    file = proof.certificate
    return network, file, largest_margin(network, regions.read(file.region, file.arrays), label, target)


def proven(file: checker.Certificate, network: MonDEQ) -> list[bool]:
    return [finding.proven for finding in checker.check(file, proofs.arrays_of(network)[1])]


def changed(file: checker.Certificate, **content: object) -> checker.Certificate:
    """The file with other values of its first claim, such as `bound`, or other arrays, None for none."""
    claims = [{**file.claims[0], **{key: value for key, value in content.items() if not isinstance(value, Mapping)}}]
    arrays = {**file.arrays, **content.get("arrays", {})}
    return replace(file, claims=claims, arrays={name: array for name, array in arrays.items() if array is not None})


def below(most: Fraction, by: float = 1e-9) -> str:
    """A bound that is false."""
    return proofs.decimal_below(float(most) - by)


# accepted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "kind"), list(itertools.product(range(4), KINDS)))
def test_trees_prove_the_exact_maximum_where_all_phases_are_split(seed, kind):
    network, file, most = made(seed, kind, depth=3)  # of three neurons
    bound = Fraction(file.claims[0]["bound"])
    assert most <= bound <= most + Fraction(1, 10**3) * (1 + abs(most))
    assert proven(checker.from_bytes(file.to_bytes()), network) == [True]
    assert proven(changed(file, bound=below(most)), network) == [False]


@pytest.mark.parametrize(("seed", "norm", "clip"), list(itertools.product(range(3), (1, 2, INFINITY), (False, True))))
def test_order_1_cuts_is_proven(seed, norm, clip):
    network, region, label, _ = question(seed, norm, 0.4, clip, p=5, p0=2)
    report = certify(network, region, label, attack=False, method="interior-point", order="1+cuts")
    proof = report.certificates()
    assert proof.proven, proof.findings
    assert [claim["target"] for claim in proof.certificate.claims] == [j for j in range(3) if j != label]
    inputs = region.sample(300, np.random.default_rng(seed))
    for claim in proof.certificate.claims:
        scores = network.logits(inputs)
        assert (scores[:, claim["target"]] - scores[:, label]).max() <= float(claim["bound"])


def test_pairs_of_facts_are_named_and_proven():
    """The rows that relaxations.cuts multiplies, whatever they are."""
    for seed in range(6):
        network, region, label, target = question(seed, INFINITY, 0.5, p=4, p0=2)
        model = robustness_model(network, region, label)
        bounds = invariant_of(network, region)
        plain = cut_model(model, bounds)
        pairs = list(itertools.product(range(plain.core_facts.shape[0]), range(plain.facts.shape[0])))
        chosen = np.random.default_rng(seed).permutation(pairs)[:25] if pairs else np.zeros((0, 2), int)
        cut = plain.with_pairs(chosen)
        data, objective = ArrowData(shor_constraints(cut)), objective_matrix(cut.problem(target).objective)
        bound = sound_bound(data, objective, InteriorPoint(data).solve(objective, tolerance=1e-7)[0].multipliers)
        named = data.constraints.split(bound.multipliers) | {"pairs": chosen}
        proof = proofs.trees(
            Question(network, region, label), bounds, [], [proofs.DualBound(target, bound.value, named, bounds)]
        )
        assert proof.proven, proof.findings
        names = [name for name in proof.certificate.arrays if "*" in name]
        assert not len(chosen) or len(names) >= 8
        assert exact_margin(network, region, label, target) <= float(proof.certificate.claims[0]["bound"])
        for name in names:
            if not name.endswith("at"):  # multipliers of one fact for another's prove nothing, or what is true
                lie = changed(proof.certificate, arrays={name: -proof.certificate.arrays[name] - 1e-30})
                assert proven(lie, network) == [False]


@pytest.mark.published
def test_the_published_network_at_order_1_cuts():
    from tightrope import datasets, zoo

    entry, data = zoo.get("chen2021-mondeq/mnist-87"), datasets.load("mnist")
    region = pixel_ball(data.image(20), INFINITY, 0.05, entry.normalisation, True)
    report = certify(entry.network, region, data.label(20), targets=[7], attack=False, order="1+cuts")
    proof = report.certificates()
    assert proof.proven and float(proof.certificate.claims[0]["bound"]) < 0
    file, network = proof.certificate, entry.network
    assert "pixels" in file.arrays and len(file.to_bytes()) < 25_000
    least = float(file.claims[0]["bound"])
    for wrong in (
        changed(file, bound=proofs.decimal_below(least - 1e-4)),
        changed(file, target=6),
        replace(file, region={**file.region, "radius": "0.0502"}),
        replace(file, region={**file.region, "clip": False}),
        changed(file, arrays={"u": file.arrays["u"] - 1e-2 * np.abs(file.arrays["u"])}),
    ):
        assert proven(wrong, network) == [False]


# refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_altered_claims_are_refused(kind):
    network, file, most = made(1, kind)
    claim, arrays = file.claims[0], file.arrays
    tight = changed(file, bound=claim["bound"])
    assert proven(tight, network) == [True]
    for key, values in {
        "bound": (below(most), "nan", None, 1.0),
        "label": (claim["target"], -1, 3, True, "0"),
        "target": (claim["label"], 3, -1, None),
        "leaves": (0, -1, claim["leaves"] - 1, claim["leaves"] + 1, True, "2", None),
    }.items():
        for value in values:
            assert proven(changed(file, **{key: value}), network) == [False], (key, value)
    swapped = changed(file, label=claim["target"], target=claim["label"], bound=below(-most, 0.5))
    assert proven(swapped, network) == [False]
    assert proven(replace(file, region={**file.region, "radius": "3"}), network) == [False]
    if "clipped" in kind:
        bare = changed(file, arrays={"lower": None, "upper": None})
        assert proven(bare, network) == [False]
    for name, array in arrays.items():
        for altered in (array[:-1], array[..., None], np.full(array.shape, np.nan), np.full(array.shape, -np.inf)):
            assert proven(changed(file, arrays={name: altered}), network) == [False], name
    for name in {"l", "u", "h", "sign", "q", "z*u-z at"} & set(arrays):
        assert proven(changed(file, arrays={name: None}), network) == [False], name
    for name in ("q", "z", "z-h", "triangle", "h-l", "-h", "z*u-z", "clip"):
        if name in arrays and (arrays[name] > 0).any():
            assert proven(changed(file, arrays={name: -arrays[name]}), network) == [False], name
    for place, value in itertools.product((1, 2), (-1, 3, 2**31 - 1)):
        at = np.array([[0, 0, 0]], np.int32)
        at[0, place] = value
        assert proven(changed(file, arrays={"z*z at": at, "z*z": np.ones(1)}), network) == [False]
    assert proven(changed(file, arrays={"more": np.zeros(1)}), network) == [False]


def test_facts_that_there_are_not_are_refused_by_name():
    count = 0
    for seed in range(6):
        network, file, _ = made(seed, "inf", 0)
        low, high = file.arrays["l"], file.arrays["u"]
        for i in range(network.width):
            row = np.zeros((1, network.width))
            row[0, i] = 1e-9
            product = {"z*h-l": row[0, i : i + 1], "z*h-l at": np.array([[0, i, 0]], np.int32)}
            known = low[i] >= 0 or high[i] <= 0
            for arrays, wrong in (({"triangle": row}, known), ({"-h": row}, high[i] > 0), (product, known)):
                (finding,) = checker.check(changed(file, arrays=arrays, bound="9"), proofs.arrays_of(network)[1])
                assert finding.proven != wrong
                assert not wrong or "no such fact" in finding.reason or "sign is known" in finding.reason
                count += wrong
    assert count > 10


def test_dropped_leaves_and_flipped_signs_are_refused():
    count = 0
    for seed, kind in itertools.product(range(4), ("2", "inf clipped")):
        network, file, most = made(seed, kind, depth=3)
        signs = file.arrays["sign"]
        for row in range(len(signs)):
            rows = {
                name: np.delete(array, row, 0) for name, array in file.arrays.items() if len(array) == len(signs) > 3
            }
            assert proven(changed(file, leaves=len(signs) - 1, arrays=rows), network) == [False]
            for column in np.flatnonzero(signs[row]):
                for value in (-signs[row, column], 2, -128):
                    other = signs.copy()
                    other[row, column] = value
                    assert proven(changed(file, arrays={"sign": other}), network) == [False]
                    count += 1
        for other in (np.zeros_like(signs), signs[:, ::-1]):  # true of other neurons, perhaps, never of the bound
            assert proven(changed(file, bound=below(most), arrays={"sign": other}), network) == [False]
    assert count > 15


@settings(max_examples=50)
@given(seed=st.integers(0, 5), kind=st.sampled_from(KINDS), data=st.data())
def test_whatever_the_multipliers_nothing_false_is_proven(seed, kind, data):
    network, file, most = made(seed, kind, data.draw(st.integers(0, 3)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    name = data.draw(st.sampled_from([n for n in file.arrays if n not in ("centre", "lower", "upper", "l", "u", "h")]))
    array = file.arrays[name]
    if name.endswith(" at") or name == "sign":
        altered = rng.integers(-1, 4, array.shape).astype(np.int8 if name == "sign" else np.int32)
    else:
        factors = rng.choice([0, 0.5, 1, 2, 1e-30, 1e30, -1], array.shape)
        altered = array * factors + rng.choice([0, 0, 1], array.shape)
    by = data.draw(st.floats(1e-12, 1))
    assert proven(changed(file, bound=below(most, by), arrays={name: altered}), network) == [False]


def test_flipped_bits_prove_nothing_false():
    network, file, _ = made(1, "2 clipped", 1)
    content = file.to_bytes()
    assert outcome(network, content)
    rng = np.random.default_rng(0)
    for place in rng.choice(len(content), 250, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        outcome(network, bytes(damaged))


# the invariant -------------------------------------------------------------------------------------------------


def preactivations(network: MonDEQ, region: Ball, count: int = 2000) -> np.ndarray:
    x = np.concatenate([region.sample(count, np.random.default_rng(0)), region.center[None]])
    return np.array([network.equilibrium(v) @ network.W.T + network.U @ v + network.u for v in x])


@pytest.mark.parametrize(("seed", "kind"), list(itertools.product(range(3), KINDS)))
def test_bounds_that_a_state_breaks_are_refused(seed, kind):
    network, file, _ = made(seed, kind)
    region = segment(seed, kind)[1]
    h = preactivations(network, region, 200)
    assert ((file.arrays["l"] < h) & (h < file.arrays["u"])).all()
    for i, side in itertools.product(range(network.width), ("l", "u")):
        cut = file.arrays[side].copy()
        end = h[:, i].min() if side == "l" else h[:, i].max()
        cut[i] = end + (1e-6 if side == "l" else -1e-6)
        (finding,) = checker.check(changed(file, arrays={side: cut}), proofs.arrays_of(network)[1])
        assert not finding.proven and finding.claim == "the whole file"
    far = file.arrays["u"] + 1
    assert proven(changed(file, arrays={"h": far}), network) == [False]


@settings(max_examples=40)
@given(seed=st.integers(0, 5), kind=st.sampled_from(KINDS), data=st.data())
def test_whatever_the_bounds_nothing_false_is_proven(seed, kind, data):
    network, file, most = made(seed, kind, 3)
    part = st.floats(0, 1, exclude_min=True)
    low, high, start = (file.arrays[name] for name in ("l", "u", "h"))
    shrink = np.array([[data.draw(part) for _ in range(3)] for _ in range(2)])
    other = {"l": start + shrink[0] * (low - start), "u": start + shrink[1] * (high - start)}
    assert proven(changed(file, bound=below(most, 1e-6), arrays=other), network) == [False]


def test_what_is_proposed_is_paid_for(monkeypatch):
    """A wrong inverse, a wrong solve and a start that is no state leave residuals, which the proof must hold."""
    solve, count, paid = np.linalg.solve, 0, 0
    for seed, kind in itertools.product(range(4), ("1", "inf clipped")):
        network, file, _ = made(seed, kind, 0)
        low, high = file.arrays["l"], file.arrays["u"]
        assert proven(changed(file, arrays={"h": low + 1e-3 * (high - low)}), network) == [False]
        with monkeypatch.context() as patch:
            patch.setattr(np.linalg, "inv", lambda A: np.zeros_like(A))
            wide = {"l": np.full_like(low, -100), "u": np.full_like(high, 100)}
            (finding,) = checker.check(changed(file, arrays=wide), proofs.arrays_of(network)[1])
            assert f"{2 * network.width} of {2 * network.width} bounds on h are not proven" in finding.reason
        with monkeypatch.context() as patch:
            patch.setattr(np.linalg, "solve", lambda A, b: 0.9 * solve(A, b))
            active = ((low >= 0) & (high > 0)).any()
            paid += proven(changed(file, bound="1e6"), network) == [True]
            assert not active or proven(file, network) == [False]
            count += active
    assert (
        count > 1 and paid > 6
    )  # what is lost can be quadratic in d, where an L1 ball may have no multiplier to spare


def test_bounds_that_are_not_inductive_are_refused_with_the_reason():
    network, region, label, _ = question(0, INFINITY, 0.6, p=5, p0=2)
    report = certify(network, region, label, attack=False, method="interior-point", order="1+cuts")
    proof = report.certificates()
    assert proof.certificate is None and len(proof.findings) == 2
    assert all("bounds on h are not proven" in finding.reason for finding in proof.findings)


def test_a_planted_unsound_bound_is_refused():
    """Bounds of half the width around the centre's state: their relaxation is below the truth, and is not proven."""
    count = 0
    for seed in range(8):
        network, region = segment(seed, "inf")
        label = int(network.predict(region.center))
        target = (label + 1) % 3
        sound = fixpoint_bounds(network, region).h
        start = preactivations(network, region, 0)[-1]
        half = Box((sound.lower + start) / 2, (sound.upper + start) / 2)
        invariant, grown = tree(network, region, label, target, 3, half)
        proof = proofs.trees(Question(network, region, label), invariant, [grown])
        assert not proof.proven and proof.certificate is None and proof.findings[0].reason
        count += grown[1] < exact_margin(network, region, label, target) - 1e-6
    assert count > 2


def test_leaves_of_another_shape_are_refused_by_the_writer():
    network, region = mondeq(0), Ball(np.zeros(3), 0.1, 2)
    with pytest.raises(ValueError, match="leaves: expected signs"):
        proofs.trees(
            Question(network, region, 0), Box(-np.ones(4), np.ones(4)), [(1, 0.0, np.zeros((2, 4), np.int8), [{}])]
        )


@pytest.mark.parametrize(("seed", "norm"), [(1, 1.0), (2, 2.0), (3, INFINITY), (5, INFINITY)])
@pytest.mark.parametrize("clip", [False, True])
def test_ellipsoids_under_bounds_are_proven_and_smaller_ones_refused(seed, norm, clip, rng):
    """As large as the report's up to little, with every output inside; what some output leaves is not proven."""
    network, region = mondeq(seed, p=6), ball(seed, 3, norm, 0.3, clip=clip)
    report = outer_ellipsoid(network, region, order="1+cuts")
    proof, arrays = report.certificates(), proofs.arrays_of(network)[1]
    assert proof.proven and proof.certificate.claims == [{"holds": "image"}]
    file = checker.from_bytes(proof.certificate.to_bytes())
    Q, b = file.arrays["Q"], file.arrays["b"]
    assert report.log_det - 1e-3 <= np.linalg.slogdet(Q)[1] <= report.log_det + 1e-9
    reach = np.linalg.norm(network.logits(region.sample(1000, rng)) @ Q.T + b, axis=1).max()
    assert reach <= 1
    small = {"Q": Q * (1 + 1e-9) / reach, "b": b * (1 + 1e-9) / reach}
    other = {name: array for name, array in file.arrays.items() if name not in ("l", "u", "h")}
    changes = [
        small,
        {"sign": np.zeros((1, 6), np.int8)},
        {"Q": Q[:2]},
        {"b": np.append(b, 0.0)},
        {"l": file.arrays["h"]},
    ]
    changes += [{"l": file.arrays["h"] - 1e-9, "u": file.arrays["h"] + 1e-9}]
    changes += [{name: file.arrays[name][:0]} for name in file.arrays if name not in ("Q", "b", *regions.ARRAYS)]
    for change in changes:
        assert not checker.check(replace(file, arrays=file.arrays | change), arrays)[0].proven, change
    assert not checker.check(replace(file, arrays=other), arrays)[0].proven
    for name in ("q", "t", "z*u-z"):  # negative, without weight, or products of another neuron
        array = file.arrays.get(name)
        if array is not None and array.any():
            for value in (-array, np.full_like(array, np.nan)):
                assert not checker.check(replace(file, arrays=file.arrays | small | {name: value}), arrays)[0].proven
    wide = replace(file, region=file.region | {"radius": "3"})
    assert not checker.check(wide, arrays)[0].proven


@pytest.mark.parametrize("norm", [2.0, INFINITY])
def test_a_small_ellipsoid_of_known_signs_is_proven(norm):
    """Q is about 1e8: what the active neurons leave is proven by |o| <= 1, not by what bounds on h say of Q F + b."""
    network, region = mondeq(1, p=5), ball(1, 3, norm, 1e-8)
    report = outer_ellipsoid(network, region, order="1+cuts")
    known = report.known.h
    assert ((known.lower >= 0) | (known.upper <= 0)).all() and (known.lower >= 0).any()
    proof = report.certificates()
    assert proof.proven and np.linalg.slogdet(proof.certificate.arrays["Q"])[1] >= report.log_det - 1e-3
