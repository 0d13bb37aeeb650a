"""Trees of phases: what branch and bound certifies is proven, and no incomplete or altered tree is."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.checker.test_relu import exact_maximum, margins, outcome, random_network, with_claim
from tightrope import relu_proofs
from tightrope.checker.trees import complete
from tightrope.question import Question, Verdict
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers.branch_and_bound import branch_and_bound


def split_questions():
    """(network, region, answer, proof) that branch and bound certifies with at least one split."""
    for seed in range(40):
        network = random_network(seed, (2, 4, 4, 3))
        centre = np.random.default_rng(seed + 50).standard_normal(2)
        label = int(network.predict(centre))
        low, high = 0.0, 4.0
        for _ in range(9):  # the largest radius that is certified, nearly
            radius = (low + high) / 2
            region = Ball(centre, radius, INFINITY)
            answer = branch_and_bound(Question(network, region, label), keep=True)
            low, high = (radius, high) if answer.verdict is Verdict.CERTIFIED else (low, radius)
            if answer.leaves:
                yield network, region, label, answer
                break


@pytest.fixture(scope="module")
def questions():
    found = []
    for question in split_questions():
        network, region, _, answer = question
        found.append((*question, relu_proofs.layerwise(network, region, answer.root, answer.leaves)))
        if len(found) == 4:
            break
    return found


def test_trees_are_proven(questions):
    assert len(questions) == 4
    for network, region, label, answer, proof in questions:
        assert proof.proven, proof.findings
        assert any("leaves" in claim for claim in margins(proof))
        assert len(margins(proof)) == network.classes - 1
        for claim in margins(proof):
            assert exact_maximum(network, region, label, claim["target"]) <= Fraction(claim["bound"]) < 0
        plain = branch_and_bound(Question(network, region, label))
        assert not plain.leaves and plain.root is None
        assert (plain.bound, plain.subproblems) == (answer.bound, answer.subproblems)


def test_a_tree_without_a_leaf_or_with_another_sign_is_refused(questions):
    for network, region, label, _, proof in questions:
        file = proof.certificate
        names = [name for name in file.arrays if name.startswith("sign.")]
        signs = np.concatenate([file.arrays[name] for name in names], 1)
        number, claim = next((i, claim) for i, claim in enumerate(file.claims) if "leaves" in claim)
        assert claim["leaves"] > 1
        most = exact_maximum(network, region, label, claim["target"])
        for row, column in zip(*np.nonzero(signs[: claim["leaves"]]), strict=True):
            other = signs.copy()
            other[row, column] *= -1
            parts = np.split(other, np.cumsum([file.arrays[name].shape[1] for name in names])[:-1], 1)
            altered = replace(file, arrays={**file.arrays, **dict(zip(names, parts, strict=True))})
            assert not outcome(altered, network)[number]
            for value in (0, 2, -128):
                other[row, column] = value
                parts = np.split(other, np.cumsum([file.arrays[name].shape[1] for name in names])[:-1], 1)
                altered = replace(file, arrays={**file.arrays, **dict(zip(names, parts, strict=True))})
                if outcome(altered, network)[number]:  # half a space without a phase may still be proven
                    assert value == 0
                    assert most <= Fraction(claim["bound"])
        for leaves in (claim["leaves"] - 1, claim["leaves"] + len(signs), 0, -1, True, "2"):
            changed = [*file.claims]
            changed[number] = {**claim, "leaves": leaves}
            assert not outcome(replace(file, claims=changed), network)[number]
        assert not all(outcome(with_claim(file, bound=str(Fraction(-1000))), network))


@pytest.mark.parametrize("name", ["sign", "mu"])
def test_fuzzed_trees_prove_nothing_false(questions, name):
    network, region, label, _, proof = questions[0]
    file, rng = proof.certificate, np.random.default_rng(0)
    most = {c["target"]: exact_maximum(network, region, label, c["target"]) for c in margins(proof)}
    for _ in range(100):
        arrays = dict(file.arrays)
        for key in [key for key in arrays if key.startswith(f"{name}.")]:
            change = rng.random(arrays[key].shape) < 0.2
            values = rng.integers(-1, 2, change.shape) if name == "sign" else 3 * rng.standard_normal(change.shape)
            arrays[key] = np.where(change, values, arrays[key]).astype(arrays[key].dtype)
        proven = outcome(replace(file, arrays=arrays), network)
        for claim, yes in zip(file.claims, proven, strict=True):
            assert not yes or "layer" in claim or most[claim["target"]] <= Fraction(claim["bound"])


def test_completeness_is_that_of_enumeration():
    rng, count = np.random.default_rng(0), 0
    for _ in range(400):
        signs = tree_of(rng, 4)
        if rng.random() < 0.6:
            signs = np.delete(signs, rng.integers(len(signs)), 0)
        patterns = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T
        agree = ((signs[None] == 0) | (signs[None] == patterns[:, None])).all(2).any(1).all()
        assert complete(signs) == agree
        count += bool(agree)
    assert 50 < count < 350
    assert not complete(np.zeros((0, 4), np.int8))


def tree_of(rng, neurons: int) -> np.ndarray:
    """The leaves of a random tree."""
    leaves = [np.zeros(neurons, int)]
    for _ in range(rng.integers(1, 7)):
        leaf = leaves.pop(rng.integers(len(leaves)))
        free = np.flatnonzero(leaf == 0)
        if not len(free):
            leaves.append(leaf)
            continue
        chosen = rng.choice(free)
        for sign in (1, -1):
            child = leaf.copy()
            child[chosen] = sign
            leaves.append(child)
    return np.array(leaves)
