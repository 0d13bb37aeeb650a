"""Shor's relaxation through ellipsoids: against enumeration, against the box's own solution, and its certificates."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.helpers import exact_margin
from tightrope import attacks, checker, proofs
from tightrope.errors import NetworkError
from tightrope.networks import Composition, Dense, FeedForward
from tightrope.problems.robustness import robustness_model
from tightrope.question import Question, Verdict
from tightrope.regions import Ball
from tightrope.relaxations.around import BOX, Around, expected_weights
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.verifiers import feedforward, tightening
from tightrope.verifiers.cascade import LP_ALL, By, _Image, certify_boxes
from tightrope.verifiers.robustness import certify
from tightrope.verifiers.tightening import Reweighting, Tightening, reweightable

SHOR = (By.SHOR, By.CUTS, By.PHASES)


def question(seed: int, radius: float, sizes: tuple[int, ...] = (3, 5, 4, 3)) -> tuple[FeedForward, Ball, int]:
    """(dense network with Gaussian weights, box, label of the centre)."""
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes, strict=False))
    net = FeedForward.dense([rng.standard_normal(s) for s in shapes], [rng.standard_normal(s[0]) for s in shapes])
    region = Ball(rng.standard_normal(sizes[0]), radius, np.inf)
    return net, region, int(net.predict(region.center))


def hard(seed: int, sizes: tuple[int, ...] = (8, 14, 12, 3), share: float = 0.9) -> tuple[FeedForward, Ball, int]:
    """Return a question whose radius is a share of the smallest one that an attack needs, as far as bisection tells."""
    net, region, label = question(seed, 1.0, sizes)
    low, high = 0.0, 1.0
    for _ in range(7):
        radius = (low + high) / 2
        found = attacks.pgd(Question(net, Ball(region.center, radius, np.inf), label), restarts=2, steps=20).attacks
        low, high = (low, radius) if found else (radius, high)
    return net, Ball(region.center, share * low, np.inf), label


def relaxed(net: FeedForward, region: Ball, label: int) -> Reweighting | None:
    """Return the relaxation for all labels, or None where no neuron is unstable."""
    base = Tightening(robustness_model(net.to_mondeq(), region, label)).base
    return Reweighting(base, [k for k in range(net.classes) if k != label]) if reweightable(base) else None


def test_attack_exact_bound():
    """attack <= exact <= bound on the box, for every label; some labels get ellipsoids of their own, and cuts."""
    rounds, lower, products = [], list[bool](), list[int]()
    for seed in range(8):
        net, region, label = question(seed, 0.3, (3, 4, 3, 3))
        if (solve := relaxed(net, region, label)) is None:
            continue
        reached = attacks.pgd(Question(net, region, label)).best_margin
        for target in {0, 1, 2} - {label}:
            found = solve(target)
            exact = exact_margin(net.to_mondeq(), region, label, target)
            assert reached[target] - 1e-9 <= exact <= found.bound.value + 1e-9
            rounds.append(len(found.values))
            if found.bound.value < 0:
                continue
            cut = solve.cut(target)
            assert exact <= cut.bound.value + 1e-9
            lower.append(cut.bound.value < found.bound.value - 0.01)
            products.append(len(cut.multipliers["pairs"]))
    assert len(rounds) > 6 and 1 in rounds and max(rounds) > 1
    assert any(lower) and min(products) > 0


def test_ellipsoids_come_down_to_the_box(monkeypatch):
    """With ellipsoids enough the bound is that of the same relaxation of the box, solved as it is."""
    monkeypatch.setattr(tightening, "OWN", 12)
    monkeypatch.setattr(tightening, "TOLERANCE", 1e-6)
    monkeypatch.setattr(tightening, "_hopeless", lambda values: False)
    compared = 0
    for seed in range(6):
        net, region, label = question(seed, 0.4, (6, 8, 3))
        if (solve := relaxed(net, region, label)) is None:
            continue
        base = solve.base
        base = replace(base, constraints=tuple(c for c in base.constraints if c.name not in tightening.BEYOND))
        data = ArrowData(shor_constraints(base))
        for target in {0, 1, 2} - {label}:
            objective = objective_matrix(base.problem(target).objective)
            report, _ = InteriorPoint(data).solve(objective, tolerance=1e-7)
            values = solve(target).values
            if min(values) < 0:  # it stopped at the sign
                continue
            assert report.primal_value - 1e-4 <= min(values) <= report.dual_value + 2e-3 * (1 + abs(values[0]))
            compared += 1
    assert compared >= 3


def test_what_proves_on_the_ellipsoid_proves_on_the_box():
    """The ellipsoid holds the box, and its multiplier becomes one for each input."""
    net, region, label = question(1, 0.3)
    base = Tightening(robustness_model(net.to_mondeq(), region, label)).base
    weights = expected_weights(base.model, base.bounds, [k for k in range(3) if k != label])
    around = Around.box(base.model, weights)
    corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
    assert (((corners / around.axes) ** 2).sum(1) <= 1).all()
    own = around.of_box({"1 - |d|^2 >= 0": np.array([2.0])})[BOX]
    assert own == pytest.approx(2 * weights / weights.sum(), rel=1e-6)


@pytest.mark.parametrize("order", ["1", "1+cuts"])
def test_certificates_are_accepted(order):
    """By the checker, in exact arithmetic; a claim that is too good is not."""
    proven = cut = 0
    for seed in range(8):
        net, region, label = hard(seed)
        report = certify(net, region, label, order=order, complete=False)
        duals = [decision.dual for decision in report.decisions if decision.dual is not None]
        if report.verdict is not Verdict.CERTIFIED or not duals:
            continue
        cut += sum(len(dual.multipliers.get("pairs", ())) > 0 for dual in duals)
        file, arrays = report.certificates(), proofs.arrays_of(net.to_mondeq())[1]
        assert file.proven and all(finding.proven for finding in checker.check(file.certificate, arrays))
        claims = [claim | {"bound": str(float(claim["bound"]) - 0.1)} for claim in file.certificate.claims]
        assert not any(finding.proven for finding in checker.check(replace(file.certificate, claims=claims), arrays))
        proven += len(claims)
    assert proven > 1 and (cut > 0) == (order == "1+cuts")


def test_the_cascade_of_boxes_agrees_with_branch_and_bound():
    """Verdicts are those of branch and bound on linear bounds, and each of Shor's stages is needed somewhere."""
    deciders: set[By] = set()
    for seed, share in [*((seed, 0.75) for seed in (1, 2, 7, 10, 14)), *((seed, 0.97) for seed in range(4))]:
        net, region, label = hard(seed, share=share)
        (linear,), (shor,) = (certify_boxes([Question(net, region, label)], semidefinite=own) for own in (False, True))
        assert Verdict.UNKNOWN not in (linear.by.verdict, shor.by.verdict) and linear.by.verdict is shor.by.verdict
        assert (linear.by in LP_ALL) == (shor.by in LP_ALL)
        bounds = list(shor.shor.values())
        assert bounds == sorted(bounds, reverse=True) and (shor.by in SHOR) == bool(bounds and bounds[-1] < 0)
        deciders.add(shor.by)
    assert By.SHOR in deciders and deciders & {By.CUTS, By.PHASES, By.TREE_ATTACK}


@pytest.mark.parametrize("margins", [[np.nan, 1.0, -1.0], [1.0, np.nan, -1.0]])
def test_a_label_whose_linear_bound_overflows_stays_open(margins):
    """A bound that is not a number is no bound: an image with it is certified by none of the others."""
    left = [0, 1]
    image = _Image.__new__(_Image)
    for found, by in ((np.inf, By.NOTHING), (-1.0, By.SHOR)):
        bounds = {k: found if np.isnan(margins[k]) else -2.0 for k in left}
        vars(image).clear()
        vars(image).update(root=SimpleNamespace(margins=torch.tensor(margins)), left=left, attack=None, shor={})
        image.by_relaxation(By.SHOR, bounds.get)
        assert image.by is by and image.shor == {"s": max(-2.0, found)}


def test_what_it_does_not_take_is_named(monkeypatch):
    """Layers that are not dense, too many unstable neurons, too many neurons."""
    net, region, label = question(3, 0.2)
    first = Composition((net.layers[0], Dense(np.eye(5), np.zeros(5))))
    with pytest.raises(NetworkError, match="dense layers"):
        certify_boxes([Question(FeedForward((first, *net.layers[1:])), region, label)], semidefinite=True)
    net, region, label = hard(0)
    monkeypatch.setattr(feedforward, "MOST_UNSTABLE_SDP", 1)
    reasons = {decision.reason for decision in certify(net, region, label, complete=False, targets="all").decisions}
    assert any("unstable neurons, not" in reason for reason in reasons)
    monkeypatch.setattr(feedforward, "LARGEST_STACK", 20)
    reasons = {decision.reason for decision in certify(net, region, label, complete=False, targets="all").decisions}
    assert any("at most 20 hidden neurons, not 26" in reason for reason in reasons)
