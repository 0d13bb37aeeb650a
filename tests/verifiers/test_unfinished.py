"""Trees that a limit has ended go on from their file to the same answer, and files that are not theirs are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.verifiers import test_phases
from tightrope import attacks, checker, relu_proofs
from tightrope.errors import CorruptDataError
from tightrope.networks import FeedForward
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers import branch_and_bound as tree
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.phases import Phases
from tightrope.verifiers.robustness import certify

UNKNOWN, CERTIFIED = Verdict.UNKNOWN, Verdict.CERTIFIED


def phases(folder: Path, nodes: int | None) -> tuple[Verdict, float, int]:
    network, region, label, target = test_phases.hard()
    tree = Phases(robustness_model(network, region, label))(target, Limits(trees=folder), nodes=nodes)
    if tree.verdict is CERTIFIED:
        test_phases.checked(tree, network, region, label, target)
    return tree.verdict, tree.bound, tree.nodes


def narrow() -> tuple[FeedForward, Ball, int]:
    """A network whose label wins by 0.1 at least as far as attacks can tell: hundreds of subproblems."""
    rng, sizes = np.random.default_rng(4), (4, 12, 10, 3)
    weights = [rng.standard_normal(shape) for shape in zip(sizes[1:], sizes, strict=False)]
    biases = [rng.standard_normal(size) for size in sizes[1:]]
    region, network = Ball(rng.standard_normal(4), 1.0, INFINITY), FeedForward.dense(weights, biases)
    label = int(network.predict(region.center))
    found = attacks.pgd(Question(network, region, label), restarts=20)
    biases[-1][label] += np.nanmax(found.best_margin) + 0.1
    return FeedForward.dense(weights, biases), region, label


def layers(folder: Path, nodes: int | None) -> tuple[Verdict, float, int]:
    network, region, label = narrow()
    root = layerwise(network, InputSet.from_balls([region]), label, keep=True)
    asked, limits = Question(network, region, label), Limits(trees=folder)
    found = branch_and_bound(asked, limits, root=root, subproblems=nodes, keep=True)
    if found.verdict is CERTIFIED:
        assert relu_proofs.layerwise(network, region, found.root, found.leaves).proven
    return found.verdict, found.bound, found.subproblems


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch):
    monkeypatch.setattr(tree, "BATCH", 4)


TREES = pytest.mark.parametrize("grown", [phases, layers])
Grown = Callable[[Path, int | None], tuple[Verdict, float, int]]


@TREES
def test_a_tree_goes_on_from_its_file_to_the_same_answer(grown: Grown, tmp_path):
    """Stopped again and again; its proof is of all runs, and the file of a tree that has its answer is gone."""
    verdict, _, whole = grown(tmp_path / "other", None)
    assert verdict is CERTIFIED
    assert not list((tmp_path / "other").glob("*"))
    bounds = []
    for nodes in (1, whole // 3, 2 * whole // 3):
        verdict, bound, done = grown(tmp_path, nodes)
        assert verdict is UNKNOWN
        assert done < whole
        bounds.append(bound)
        assert grown(tmp_path, nodes)[::2] == (UNKNOWN, done)  # the limit is of both runs
    assert bounds == sorted(bounds, reverse=True)
    assert len(list(tmp_path.glob("*.tree"))) == 1
    verdict, bound, done = grown(tmp_path, None)
    assert (verdict, bound < 0) == (CERTIFIED, True)
    assert done == pytest.approx(whole, rel=0.5)
    assert not list(tmp_path.glob("*.tree"))


@TREES
def test_what_is_no_tree_of_the_question_is_refused_in_one_line(grown: Grown, tmp_path):
    grown(tmp_path, 5)
    (path,) = tmp_path.glob("*.tree")
    (good,) = checker.load(path)
    signs = "signs" if "signs" in good.arrays else "split"
    fewer = {name: array[1:] if len(array) == len(good.arrays[signs]) else array for name, array in good.arrays.items()}
    wrong = good.arrays | {signs: np.where(good.arrays[signs] == 0, 1, good.arrays[signs]).astype(np.int8)}
    endless = good.arrays | {"work": np.full_like(good.arrays["work"], np.inf)}
    cases = [
        (b"PK", "not a certificate file"),
        (replace(good, network="0").to_bytes(), "another question"),
        (replace(good, arrays={}).to_bytes(), "not those of a tree"),
        *((replace(good, arrays=arrays).to_bytes(), "not those of a tree") for arrays in (fewer, wrong, endless)),
    ]
    for content, reason in cases:
        path.write_bytes(content)
        with pytest.raises(CorruptDataError, match=f"{path.name}: .*{reason}.*; delete it") as caught:
            grown(tmp_path, None)
        assert "\n" not in str(caught.value)


@TREES
def test_forged_proofs_prove_nothing(grown: Grown, tmp_path):
    """With multipliers that are nothing all parts are open again, and the answer is the same."""
    _, before, _ = grown(tmp_path, 5)
    (path,) = tmp_path.glob("*.tree")
    (good,) = checker.load(path)
    path.write_bytes(replace(good, arrays=good.arrays | {"multipliers": 0 * good.arrays["multipliers"]}).to_bytes())
    verdict, bound, _ = grown(tmp_path, 1)
    assert verdict is UNKNOWN
    assert bound >= before
    assert grown(tmp_path, None)[0] is CERTIFIED


def test_the_cascade_goes_on_and_its_certificate_is_of_both_runs(tmp_path):
    network, region, label, target = test_phases.hard()
    options = {"targets": [target], "attack": False}
    report = certify(network, region, label, limits=Limits(time=1e-3, trees=tmp_path), **options)
    assert report.verdict is UNKNOWN
    assert len(list(tmp_path.glob("*.tree"))) == 1
    report = certify(network, region, label, limits=Limits(trees=tmp_path), **options)
    assert report.verdict is CERTIFIED
    assert report.certificate(target).proven
