"""Local Lipschitz bounds: Jacobians on the ball <= local bound <= global bound; exact where nothing switches."""

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import mondeq as small
from tests.problems.test_local_lipschitz import region_of
from tests.soundness.exact import Domain, everywhere, inscribed
from tests.soundness.pieces import mondeq_pieces, slopes
from tests.test_norms import WeightedMaximum
from tests.verifiers.test_lipschitz import mondeq
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.problems.local_lipschitz import Rounding, exact_excess, preactivation_bounds, reduce
from tightrope.question import Limits
from tightrope.regions import Ball
from tightrope.verifiers import local_lipschitz
from tightrope.verifiers.lipschitz import upper_bound
from tightrope.verifiers.lipschitz_lower import ascent, sampled
from tightrope.verifiers.local_lipschitz import local_upper_bound


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_sampled_local_global(norm, clip, seed, rng):
    """The order holds; the graph only tightens."""
    network = mondeq(seed)
    region = region_of(seed, norm, 0.3, clip, p0=6)
    sampled = np.linalg.norm(network.jacobian(region.sample(300, rng)), ord=norm, axis=(1, 2)).max()
    plain = local_upper_bound(network, region)
    cuts = local_upper_bound(network, region, order="1+cuts")
    graph = local_upper_bound(network, region, graph=True)
    slack = 1 + 1e-3
    assert sampled <= graph.value <= plain.value * slack
    assert plain.value <= upper_bound(network, norm).value * slack
    assert cuts.undecided <= plain.undecided
    assert sampled <= cuts.value <= plain.value * slack


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("norm", [1, 1.5, 3])
def test_other_norms_follow_from_the_l2_ball_and_the_box(norm, clip, rng):
    """Sampled slopes <= the bound; less than the global one on a small ball."""
    network = mondeq(1)
    region = region_of(1, norm, 0.3, clip, p0=6)
    bound = local_upper_bound(network, region, order="1+cuts")
    steps = rng.standard_normal((6, 2000))
    moved = network.jacobian(region.sample(100, rng)) @ steps
    slopes = np.linalg.norm(moved, norm, axis=1) / np.linalg.norm(steps, norm, axis=0)
    assert slopes.max() <= bound.value <= 2 * upper_bound(network, norm).value
    assert all(end.region.contains(region.sample(50, rng)).all() for end in bound.ends)
    assert ("Riesz-Thorin from L2 and Linf" if norm > 2 else "equivalence of norms from L2") in bound.headline
    with pytest.raises(InputError, match="those of its ends have one"):
        bound.certificates()


@pytest.mark.parametrize("norm", [2, np.inf])
def test_exact_where_no_neuron_switches(norm, rng):
    """A tiny ball, and one of radius 0: the norm of the Jacobian there."""
    network = mondeq(0)
    x = rng.standard_normal(6)
    for radius in (1e-6, 0.0):
        bound = local_upper_bound(network, Ball(x, radius, norm))
        assert bound.undecided == 0
        assert bound.value == pytest.approx(np.linalg.norm(network.jacobian(x), ord=norm), rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_brackets_of_table_3_hold_the_exact_constants(seed, rng):
    """The largest norm of a slope, over all pieces of a small network: ascent from below, relaxations from above."""
    network = small(seed)
    region = Ball(rng.standard_normal(3), 0.4, np.inf)

    def largest(where: Domain, norm: float) -> float:
        found = (np.array(J.tolist(), float).reshape(J.nrows(), 3) for J in slopes(mondeq_pieces(network, where)))
        return max(float(np.linalg.norm(J, norm)) for J in found)

    slack = 1 + 1e-9
    for norm in (2, np.inf):
        exact = largest(everywhere(3), norm)
        assert exact <= upper_bound(network, norm).value * slack
        assert 0.9 * exact <= ascent(network, norm, rng.standard_normal((50, 3))).value <= exact * slack
    here = largest(inscribed(region), np.inf)
    assert here <= exact * slack
    assert sampled(network, np.inf, region.sample(300, rng)).value <= here * slack
    order_1, cuts = (local_upper_bound(network, region, order=order).value for order in ("1", "1+cuts"))
    assert here <= cuts * slack <= order_1 * (1 + 1e-3)


def test_wrong_arguments_are_named():
    """Before any solve."""
    network = mondeq(0)
    with pytest.raises(RegionError, match="balls of orders q >= 1, not WeightedMaximum"):
        local_upper_bound(network, Ball(np.zeros(6), 1.0, WeightedMaximum(2.0)))
    with pytest.raises(UnknownNameError, match="order"):
        local_upper_bound(network, Ball(np.zeros(6), 1.0, 2), order="2")


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("norm", [2, np.inf])
def test_a_reduction_that_is_off_is_allowed_for(norm, graph, rng, monkeypatch):
    """Arrays that are 0.1 % too small, with errors that say so: the bound without the excess is too small."""
    network, region = mondeq(0), Ball(np.random.default_rng(3).standard_normal(6), 0.05, norm)
    rows = [None] if norm == 2 else list(np.eye(network.classes))
    exact = reduce(network, *preactivation_bounds(network, region))
    assert exact.network is not None and exact.active.any()
    part = 0.999
    smaller = replace(exact.network, U=part * exact.network.U, C=part * exact.network.C, u=part * exact.network.u)
    errors = {name: 0.001 * np.linalg.norm(getattr(exact.network, name)) for name in ("U", "C", "u")}
    off = replace(exact, network=smaller, direct=part * exact.direct,
                  rounding=Rounding(W=0.0, direct=0.001 * np.linalg.norm(exact.direct), **errors))  # fmt: skip
    bounds = {}
    for found in (exact, off):
        monkeypatch.setattr(local_lipschitz, "reduce", lambda *_, found=found: found)
        bounds[found is off] = local_upper_bound(network, region, graph=graph, limits=Limits(1e-6))
    true, allowed = bounds[False], bounds[True]
    assert all(one.multipliers is not None for one in (*true.parts, *allowed.parts))
    for row, one, other in zip(rows, allowed.parts, true.parts, strict=True):
        bare = one.value - exact_excess(off, region, row, one.multipliers)
        assert bare < other.value * 0.999 and one.value >= other.value
    assert allowed.value < 2 * true.value
    sampled = np.linalg.norm(network.jacobian(region.sample(300, rng)), ord=norm, axis=(1, 2)).max()
    assert sampled <= true.value <= allowed.value
