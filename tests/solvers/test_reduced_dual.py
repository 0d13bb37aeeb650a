"""The reduced dual: its value is what its multipliers prove, and its gradient is the derivative."""

import numpy as np
import pytest
import torch

from tests.helpers import mondeq, program, question
from tightrope.certificates import sound_bound
from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.problems.robustness import robustness_model
from tightrope.regions import INFINITY, Ball
from tightrope.relaxations.shor import objective_matrix
from tightrope.solvers import reduced_dual
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.report import Status

COVERED = [(2.0, False), (INFINITY, False), (INFINITY, True)]


def tensors(model):
    """The solver's own view of a model."""
    network, coords = model.network, model.coordinates
    arrays = (network.W, coords.V, network.U @ coords.origin + network.u)
    W, V, b = (torch.tensor(np.array(array)) for array in arrays)
    return reduced_dual._Data(W, V, b, coords.kind == "l2", network.m)


@pytest.mark.parametrize("norm, clip", COVERED)
def test_gradient_is_the_derivative(norm, clip):
    network, region, label, target = question(0, norm, clip=clip)
    model = robustness_model(network, region, label)
    data = tensors(model)
    xi = torch.tensor(network.C[[target]] - network.C[label])
    c0 = torch.tensor(network.c[[target]] - network.c[label])
    w = reduced_dual._start(data, xi, c0)
    w = w + 0.05 * torch.tensor(np.random.default_rng(0).standard_normal(w.shape))
    for tau in (0.0, 0.3):
        _, objective, gradient = reduced_dual._evaluate(data, w, xi, c0, tau)
        assert torch.isfinite(objective).all()
        step = 1e-6
        for i in range(w.shape[1]):
            e = torch.zeros_like(w)
            e[0, i] = step
            plus, minus = (reduced_dual._evaluate(data, w + s * e, xi, c0, tau)[1].item() for s in (1, -1))
            assert gradient[0, i].item() == pytest.approx((plus - minus) / (2 * step), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("norm, clip", COVERED)
def test_value_is_what_the_multipliers_prove_and_above_the_optimum(norm, clip):
    network, region, label, target = question(1, norm, clip=clip, K=4)
    targets = [t for t in range(4) if t != label]
    model = robustness_model(network, region, label)
    reports = reduced_dual.solve(model, targets, stop_at_sign=False)
    for target, report in zip(targets, reports, strict=True):
        _, relaxed, data = program(network, region, label, target)
        proven = sound_bound(data, objective_matrix(model.problem(target).objective), report.multipliers).value
        assert proven == pytest.approx(report.dual_value, abs=1e-6 * (1 + abs(proven)))
        optimum, _ = InteriorPoint(data).solve(relaxed.objective)
        assert report.dual_value >= optimum.primal_value - 1e-4
        inequality = ~relaxed.constraints.equality
        assert (report.multipliers[inequality] >= 0).all()


def test_a_batch_gives_what_single_targets_give():
    network, region, label, _ = question(2, INFINITY, 0.1, K=4)
    model = robustness_model(network, region, label)
    targets = [t for t in range(4) if t != label]
    together = reduced_dual.solve(model, targets)
    alone = [reduced_dual.solve(model, [target])[0] for target in targets]
    for a, b in zip(together, alone, strict=True):
        assert (a.status == Status.SIGN_KNOWN) == (b.status == Status.SIGN_KNOWN)


def test_regions_that_are_not_covered_are_refused():
    for norm, clip in ((1.0, False), (2.0, True)):
        network, region, label, target = question(3, norm, clip=clip)
        with pytest.raises(InputError, match="reduced dual"):
            reduced_dual.solve(robustness_model(network, region, label), [target])


@pytest.mark.parametrize("norm", [2.0, INFINITY])
@pytest.mark.parametrize("case", ["radius 0", "blind", "dead"])
def test_degenerate_questions_have_finite_bounds(norm, case):
    network = mondeq(4)
    radius = 0.0 if case == "radius 0" else 0.2
    changes = {"blind": {"U": 0 * network.U}, "dead": {"u": -100 + network.u}}.get(case, {})
    weights = {"W": network.W, "U": network.U, "u": network.u, "C": network.C, "c": network.c} | changes
    network = MonDEQ(**weights)
    region = Ball(np.ones(3), radius, norm)
    label = network.predict(region.center)
    target = (label + 1) % 3
    (report,) = reduced_dual.solve(robustness_model(network, region, label), [target])
    logits = network.logits(region.center)
    assert report.multipliers is not None
    assert report.dual_value >= logits[target] - logits[label]


def test_time_limit():
    network, region, label, target = question(5, INFINITY, 3.0)
    (report,) = reduced_dual.solve(robustness_model(network, region, label), [target], time_limit=1e-9)
    assert report.iterations == 0 and report.multipliers is not None
