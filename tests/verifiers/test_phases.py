"""Branch and bound on phases: the answers of enumeration, leaves that prove them, and honest ends at limits."""

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import ball, exact_margin, mondeq, question
from tests.oracles.mondeq_milp import largest_margin
from tightrope import checker, datasets, proofs, zoo
from tightrope.checker.numbers import Exact
from tightrope.errors import InputError, RegionError
from tightrope.networks import MonDEQ
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.fixpoint import Box
from tightrope.question import Limits, Verdict
from tightrope.regions import INFINITY, Ball, Zonotope, pixel_ball
from tightrope.relaxations.cuts import cut_model
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.sound import sound_bound
from tightrope.verifiers.distortion import minimum_distortion
from tightrope.verifiers.phases import Phases, Tree
from tightrope.verifiers.robustness import certify


def moved(network: MonDEQ, target: int, by: float) -> MonDEQ:
    """The network with the score of one label changed by a constant."""
    return replace(network, c=network.c + by * np.eye(network.classes)[target])


def checked(tree: Tree, network: MonDEQ, region: Ball, label: int, target: int) -> None:
    """Each leaf of a certified tree proves its bound in the relaxation of the region itself, and none is missing."""
    model = robustness_model(network, region, label)
    covered = sum(2.0 ** -np.count_nonzero(leaf.signs) for leaf in tree.leaves)
    assert covered == 1
    for leaf in tree.leaves:
        lower = np.where(leaf.signs > 0, np.maximum(tree.invariant.lower, 0), tree.invariant.lower)
        upper = np.where(leaf.signs < 0, np.minimum(tree.invariant.upper, 0), tree.invariant.upper)
        cut = cut_model(model, Box(lower, upper))
        data = ArrowData(shor_constraints(cut))
        y = np.zeros(len(data.constraints.equality))
        for name, where in data.constraints.groups.items():
            y[where] = leaf.multipliers[name]
        proven = sound_bound(data, objective_matrix(cut.problem(target).objective), y)
        assert proven.value <= leaf.bound + 1e-7 * (1 + abs(leaf.bound))
        assert leaf.bound < 0


NORMS = (1.0, 2.0, INFINITY)


def answered(seed: int, gap: float, norm: float = INFINITY, p: int = 4, p0: int = 3, radius: float = 0.5) -> Tree:
    """The tree of a question whose largest margin is `gap`, after the checks that every tree must pass."""
    network, region, label, target = question(seed, norm, radius, clip=seed % 2 == 1, p=p, p0=p0)
    network = moved(network, target, gap - exact_margin(network, region, label, target))
    tree = Phases(robustness_model(network, region, label))(target)
    assert tree.verdict is (Verdict.CERTIFIED if gap < 0 else Verdict.FALSIFIED), (seed, tree.reason)
    if gap < 0:
        checked(tree, network, region, label, target)
    else:
        assert region.contains(tree.attack.point)
        assert 0 <= tree.attack.margin <= gap + 1e-6
    if norm == INFINITY:
        other = largest_margin(network, region, label, target, tree.invariant)
        assert other.bound == pytest.approx(gap, abs=1e-4)
    return tree


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("gap", [-0.02, 0.02])
def test_answers_of_enumeration(seed, gap):
    answered(seed, gap, NORMS[seed // 4], p=2 + seed % 4)


@pytest.mark.long
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(200))
def test_two_hundred_networks_by_enumeration(seed, norm):
    for gap in (-0.01, 0.01):
        answered(1000 + seed, gap, norm, p=3 + seed % 4, radius=0.5 + seed % 3)


@pytest.mark.parametrize("seed", range(4))
def test_more_inputs_than_neurons(seed):
    """Then nodes are solved over ellipsoids around the box first."""
    tree = answered(seed, -0.05, p=4, p0=9, radius=0.4)
    assert tree.whole <= tree.nodes


@pytest.mark.parametrize("seed", [0, 3])
def test_files_of_l1_trees_are_proven(seed):
    """Their leaves need what the norm says of each input, |d| <= e; the file has it without the lift e."""
    network, region, label, target = question(seed, 1.0, 1.5, clip=seed % 2 == 1)
    network = moved(network, target, -0.01 - exact_margin(network, region, label, target))
    report = certify(network, region, label, targets=[target], attack=False)
    proof = report.certificate(target)
    assert proof.proven
    file = proof.certificate
    assert report.decisions[0].tree is not None and file.arrays["w"].any()
    arrays = proofs.arrays_of(network)[1]
    without = replace(file, arrays={name: array for name, array in file.arrays.items() if name != "w"})
    assert not checker.check(without, arrays)[0].proven
    q, w = np.abs(file.arrays["q"][0]), file.arrays["w"][0]
    read = checker.regions.read(file.region, file.arrays)
    largest = float(read.largest(Exact.of(np.broadcast_to(q, w.shape)), Exact.of(w)))
    steps = region.sample(2000, np.random.default_rng(seed)) - region.center
    assert ((steps**2 * q + steps * w).sum(1) <= largest + 1e-9).all()
    with pytest.raises(checker.Refused, match="balls of L1"):
        replace(read, norm="2").largest(Exact.of(w), Exact.of(w))


def hard() -> tuple[MonDEQ, Ball, int, int]:
    """A question that needs a tree: robust by little, and not by the relaxation."""
    network, region, label, target = question(3, INFINITY, 1.5, p=6)
    network = moved(network, target, -0.01 - exact_margin(network, region, label, target))
    return network, region, label, target


def test_limits_end_with_the_interval_that_remains():
    network, region, label, target = hard()
    phases = Phases(robustness_model(network, region, label))
    whole = phases(target)
    assert whole.verdict is Verdict.CERTIFIED
    assert whole.nodes > 3
    tree = phases(target, nodes=1)
    assert (tree.verdict, tree.nodes) == (Verdict.UNKNOWN, 1)
    assert "limit of 1 nodes" in tree.reason
    assert tree.margin <= -0.01 + 1e-6 <= tree.bound
    assert phases(target, nodes=3).bound <= tree.bound
    tree = phases(target, Limits(time=1e-9))
    assert tree.verdict is Verdict.UNKNOWN
    assert "time limit of 1e-09 s" in tree.reason
    with pytest.raises(InputError, match="nodes: got 0"):
        phases(target, nodes=0)


def test_the_cascade_is_complete_unless_it_is_told_not_to_be():
    network, region, label, target = hard()
    options = {"targets": [target], "attack": False}
    (open_,) = certify(network, region, label, complete=False, **options).decisions
    assert (open_.verdict, open_.tree) == (Verdict.UNKNOWN, None)
    (bounds,) = certify(network, region, label, complete=False, order="1+bounds", **options).decisions
    (cuts,) = certify(network, region, label, complete=False, order="1+cuts", **options).decisions
    assert cuts.bound <= bounds.bound <= open_.bound
    assert bounds.dual.bounds is not None
    assert not len(bounds.dual.multipliers["pairs"])
    report = certify(network, region, label, **options)
    (decision,) = report.decisions
    assert report.verdict is Verdict.CERTIFIED
    assert decision.solver.startswith("phases")
    assert decision.bound == decision.tree.bound < 0
    assert report.certificate(target).proven


def test_a_file_for_all_labels_of_which_some_have_trees():
    network, region, label, target = hard()
    report = certify(moved(network, ({0, 1, 2} - {label, target}).pop(), -1.0), region, label)
    assert report.verdict is Verdict.CERTIFIED
    proof = report.certificates()
    assert proof.proven
    assert len(proof.findings) == 2


def test_what_an_attack_of_the_tree_reaches_is_falsified():
    network, region, label, target = question(5, INFINITY, 0.7)
    network = moved(network, target, 0.01 - exact_margin(network, region, label, target))
    report = certify(network, region, label, targets=[target], attack=False)
    assert report.verdict is Verdict.FALSIFIED
    assert report.attack.label == target
    (decision,) = report.decisions
    assert decision.attack_margin == report.attack.margin >= 0


def test_other_regions_are_refused_by_name():
    network = mondeq(0)
    zonotope = Zonotope(np.zeros(3), np.eye(3))
    with pytest.raises(RegionError, match="not for a Zonotope"):
        Phases(robustness_model(network, zonotope, 0))
    with pytest.raises(RegionError, match="not for L3"):
        Phases(robustness_model(network, ball(0, 3, 3.0, 0.1), 0))
    label = int(np.argmax(network.logits(np.zeros(3))))
    report = certify(network, Zonotope(np.zeros(3), 4 * np.eye(3)), label, attack=False)
    reasons = [decision.reason for decision in report.decisions if decision.verdict is Verdict.UNKNOWN]
    assert reasons
    assert all("not for a Zonotope" in reason for reason in reasons)


@pytest.mark.long
@pytest.mark.published
@pytest.mark.parametrize(("image", "clip"), [(20, True), (64, False)])
def test_open_images_of_table_2(image, clip):
    entry, data = zoo.get("chen2021-mondeq/mnist-87"), datasets.load("mnist")
    region = pixel_ball(data.image(image), INFINITY, 0.05, entry.normalisation, clip)
    report = certify(entry.network, region, data.label(image), limits=Limits(time=600))
    assert report.verdict is Verdict.CERTIFIED
    assert report.certificates().proven


@pytest.mark.long
@pytest.mark.published
def test_the_minimum_distortion_of_an_image():
    """Of the first one, in the pixel range: 0.0603 in pixel units, to a thousandth, and a file of both ends."""
    entry, data = zoo.get("chen2021-mondeq/mnist-87"), datasets.load("mnist")
    scale = entry.normalisation
    region = pixel_ball(data.image(0), INFINITY, 0.3, scale, True)
    found = minimum_distortion(entry.network, region, data.label(0), limits=Limits(1e-3))
    assert 0.060 < found.lower * scale.std < found.upper * scale.std < 0.061
    assert found.upper <= 1.0011 * found.lower
    assert found.certificates().proven
