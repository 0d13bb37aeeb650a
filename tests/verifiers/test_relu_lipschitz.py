"""Lipschitz constants of ReLU networks: lower <= exact <= product Shor <= HR-2 <= SHOR, limits, bad input by name."""

import itertools

import numpy as np
import pytest

from tightrope.errors import InputError, NetworkError, RegionError, UnknownNameError
from tightrope.networks import FeedForward
from tightrope.problems.relu_question import question
from tightrope.question import Limits
from tightrope.regions import Ball
from tightrope.relaxations.heuristic import chordal_cliques
from tightrope.verifiers import relu_lipschitz_lower as lower
from tightrope.verifiers.relu_lipschitz import METHODS, lipschitz_bound

SOLVER = 2e-4  # relative, the tolerances of the solves below

#: SHOR, HR-2 of a trial: (p0, p1), radius, draw of the generator with seed 1.
TRIAL = [((2, 3), 0.3, 2.8019, 2.79705), ((3, 4), 0.3, 7.69682, 7.52741), ((4, 6), 0.2, 8.08829, 7.28233)]


def random_network(rng, sizes):
    weights = [rng.normal(size=(b, a)) for a, b in itertools.pairwise(sizes)]
    return FeedForward.dense(weights, [0.3 * rng.normal(size=b) for b in sizes[1:]])


def values(network, region, part, methods, **options):
    found = {m: lipschitz_bound(network, region, part, m, limits=Limits(1e-5), **options) for m in methods}
    assert all(bound.verdict == "certified" for bound in found.values())
    return {m: bound.value for m, bound in found.items()}


def below(a, b):
    return a <= b + SOLVER * (1 + abs(b))


@pytest.mark.parametrize("radius", [0.1, 0.4, 10.0])
@pytest.mark.parametrize("seed", range(8))
def test_order_on_one_hidden_layer(seed, radius):
    rng = np.random.default_rng(seed)
    p0, p1 = rng.integers(2, 6), rng.integers(2, 8)
    network = random_network(rng, (p0, p1, 2))
    region = Ball(0.3 * rng.normal(size=p0), radius, "inf")
    part = [0, 1, (0, 1)][seed % 3]
    methods = ("lbs", "ascent", "exact", "product-shor", "hr-2-products", "hr-2", "hr-2-signs", "shor", "qcqp")
    v = values(network, region, part, methods, samples=2_000)
    for smaller, larger in itertools.pairwise(methods[2:]):
        assert below(v[smaller], v[larger]), (smaller, larger, v)
    assert v["lbs"] <= v["exact"] * (1 + 1e-9) and v["ascent"] <= v["exact"] * (1 + 1e-9)
    assert v["exact"] <= values(network, region, part, ["intervals"])["intervals"]
    # A bound is a bound, tolerance or not.
    assert all(v["exact"] <= v[m] * (1 + 1e-7) for m in methods[3:])


@pytest.mark.parametrize("seed", range(4))
def test_order_on_two_and_three_hidden_layers(seed):
    rng = np.random.default_rng(100 + seed)
    sizes = [(3, 4, 3, 1), (4, 3, 3, 2), (3, 3, 2, 2, 1), (2, 5, 4, 1)][seed]
    network = random_network(rng, sizes)
    region = Ball(0.3 * rng.normal(size=sizes[0]), [0.3, 1.0, 0.5, 10.0][seed], "inf")
    methods = ("exact", "product-shor", "hr-2-products", "hr-2-signs", "hr-1", "qcqp")
    v = values(network, region, 0, methods)
    for smaller, larger in itertools.pairwise(methods):
        assert below(v[smaller], v[larger]), (smaller, larger, v)
    second = lipschitz_bound(network, region, 0, "hr-2", limits=Limits(1e-4))
    if second.verdict == "certified":  # the solver may give up; then there is no number
        assert v["exact"] <= second.value * (1 + 1e-7)
        assert below(second.value, v["hr-1"])
    else:
        assert second.value is None and second.reason


@pytest.mark.parametrize("sizes", [(3, 4, 1), (6, 3, 1), (3, 4, 3, 1)])
def test_l2_balls(sizes):
    rng = np.random.default_rng(7)
    network = random_network(rng, sizes)
    for radius in (0.2, 5.0):
        region = Ball(0.3 * rng.normal(size=sizes[0]), radius, 2)
        v = values(network, region, 0, ("lbs", "ascent", "product-shor", "hr-2-signs", "shor", "qcqp"), samples=5_000)
        assert v["lbs"] <= v["ascent"] * (1 + 1e-9) <= v["product-shor"] * (1 + 1e-6)
        assert below(v["product-shor"], v["hr-2-signs"]) and below(v["hr-2-signs"], v["shor"])
        assert below(v["shor"], v["qcqp"])


def test_values_of_the_trial():
    rng = np.random.default_rng(1)
    wanted = {(sizes, radius): (first, second) for sizes, radius, first, second in TRIAL}
    seen = set()
    for p0, p1, radius in [(2, 3, 0.3), (3, 4, 0.3), (3, 4, 0.1), (4, 6, 0.2)]:
        for draw in range(2):
            A, b, c = rng.normal(size=(p1, p0)), 0.3 * rng.normal(size=p1), rng.normal(size=p1)
            center = 0.3 * rng.normal(size=p0)
            key = ((p0, p1), radius)
            if key not in wanted or draw != (0 if p0 == 4 else 1):
                continue
            network = FeedForward.dense([A, c[None]], [b, np.zeros(1)])
            v = values(network, Ball(center, radius, "inf"), 0, ("shor", "hr-2", "hr-3"))
            assert (v["shor"], v["hr-2"]) == pytest.approx(wanted[key], abs=1e-3)
            assert below(v["hr-3"], v["hr-2"])
            seen.add(key)
    assert len(seen) == len(wanted)


def test_permuted_and_rescaled_neurons_change_nothing():
    rng = np.random.default_rng(8)
    network = random_network(rng, (4, 5, 1))
    order, scale = rng.permutation(5), np.exp(rng.normal(size=5))
    (A, C), (b, k) = network.weights, network.biases
    other = FeedForward.dense([(A * scale[:, None])[order], (C / scale)[:, order]], [(b * scale)[order], k])
    region = Ball(0.2 * rng.normal(size=4), 0.3, "inf")
    for method in ("shor", "product-shor", "lipopt-3", "qcqp"):
        a, b2 = (lipschitz_bound(net, region, 0, method, limits=Limits(1e-6)).value for net in (network, other))
        assert a == pytest.approx(b2, rel=1e-4)


def test_sparse_hierarchy_of_a_band_network():
    rng = np.random.default_rng(9)
    network = FeedForward.dense(
        [np.diag(rng.normal(size=3)), rng.normal(size=(1, 3))], [0.1 * rng.normal(size=3), np.zeros(1)]
    )
    region = Ball(np.zeros(3), 0.3, "inf")
    v = values(network, region, 0, ("exact", "sparse-lasserre", "shor"))
    assert v["exact"] * (1 - 1e-7) <= v["sparse-lasserre"] and below(v["sparse-lasserre"], v["shor"])
    assert v["sparse-lasserre"] == pytest.approx(v["exact"], rel=1e-3)
    assert chordal_cliques(5, [{0, 1}, {1, 2}, {2, 3}, {0, 3}, {4}]) == [(0, 1, 3), (1, 2, 3), (4,)]
    with pytest.raises(InputError, match="clique has 14 variables"):
        lipschitz_bound(random_network(rng, (6, 8, 1)), Ball(np.zeros(6), 1.0, "inf"), 0, "sparse-lasserre")


def test_printed_subsets_miss_terms_of_the_objective_that_cliques_hold():
    """Two inputs and two neurons: x is 0 and 1, t 2 and 3, u 4 and 5; the objective has the terms t_j u_i."""
    objective = [{t, u} for t in (2, 3) for u in (4, 5)]
    printed = [{4, 0, 1}, {5, 0, 1}, {2}, {3}]
    assert not any(term <= subset for term in objective for subset in printed)
    cliques = chordal_cliques(6, [*objective, *printed])
    assert all(any(term <= set(clique) for clique in cliques) for term in [*objective, *printed])


def test_dead_and_always_active_neurons():
    A, c = np.array([[1.0, 2.0], [3.0, -1.0], [0.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 5.0, 7.0, 2.0]])
    network = FeedForward.dense([A, c], [np.array([9.0, -9.0, 0.0, 9.0]), np.zeros(1)])
    region = Ball(np.zeros(2), 1.0, "inf")
    exact = np.abs(A[0] + 2 * A[3]).sum()  # one dead, one of zero weights, two always active
    for method in ("product-shor", "lipopt-3", "exact", "intervals", "lbs"):
        bound = lipschitz_bound(network, region, 0, method, limits=Limits(1e-6))
        assert bound.value == pytest.approx(exact, rel=1e-5), method
        assert "breakdown" not in bound.reason  # constraints that say 0 >= 0 have multipliers without bound
    for method in ("shor", "hr-2-signs", "qcqp"):
        assert lipschitz_bound(network, region, 0, method).value >= exact * (1 - 1e-7)


@pytest.mark.parametrize("sizes", [(2, 3, 1), (2, 3, 2, 1)])
def test_networks_of_dead_neurons_have_the_constant_zero(sizes):
    biases = [np.full(sizes[1], -9.0), *(np.ones(size) for size in sizes[2:])]
    network = FeedForward.dense([np.ones((b, a)) for a, b in itertools.pairwise(sizes)], biases)
    region = Ball(np.zeros(2), 1.0, "inf")
    for method in ("product-shor", "lipopt-3", "lipopt-4", "intervals", "lbs", "ascent", "exact"):
        assert lipschitz_bound(network, region, 0, method).value == pytest.approx(0, abs=1e-4), method
    for method in ("shor", "hr-1", "hr-2", "hr-2-signs", "hr-2-products", "qcqp"):  # they know less: still bounds
        assert lipschitz_bound(network, region, 0, method).value >= 0, method


@pytest.mark.parametrize("radius", [1e-9, 1e-3, 1e6])
def test_extreme_radii(radius):
    network = random_network(np.random.default_rng(13), (4, 6, 1))
    v = values(network, Ball(0.1 * np.ones(4), radius, "inf"), 0, ("exact", "product-shor", "shor", "lipopt-3"))
    assert v["exact"] <= min(v.values()) * (1 + 1e-9)
    assert below(v["product-shor"], v["shor"])
    if radius < 1e-6:  # nothing switches
        assert v["product-shor"] == pytest.approx(v["exact"], rel=1e-3)


def test_empty_layers_are_refused_by_name():
    with pytest.raises(NetworkError, match="weights"):
        FeedForward.dense([np.zeros((0, 3)), np.zeros((1, 0))], [np.zeros(0), np.ones(1)])


def test_constant_and_affine_outputs():
    affine = FeedForward.dense([np.array([[1.0, -2.0]])], [np.zeros(1)])
    assert lipschitz_bound(affine, Ball(np.zeros(2), 1.0, "inf"), 0, "shor").value == pytest.approx(3)
    silent = FeedForward.dense([np.eye(2), np.zeros((1, 2))], [np.zeros(2), np.ones(1)])
    for method in METHODS:
        assert lipschitz_bound(silent, Ball(np.zeros(2), 1.0, "inf"), 0, method).value == 0


def test_derivatives_at_zero_take_both_values():
    """F = max(x, 0) - max(-x, 0) = x; at 0, u = (1, 1) gives a generalised gradient of 2 that no neighbour has."""
    network = FeedForward.dense([np.array([[1.0], [-1.0]]), np.array([[1.0, -1.0]])], [np.zeros(2), np.zeros(1)])
    ask = question(network, Ball(np.zeros(1), 1.0, "inf"), 0)
    away, at_zero = lower.at_points(ask, np.array([[0.5]])), lower.at_points(ask, np.array([[0.5], [0.0]]))
    assert away.value == 1 and at_zero.value == 2 and at_zero.point == 0
    assert lower.exact(ask).value == 2


@pytest.mark.parametrize("method", ["product-shor", "shor", "hr-2", "lipopt-3", "sparse-lasserre", "intervals"])
def test_a_box_that_is_cut_to_one_point(method):
    """No input moves: the problems have no perturbation d."""
    network, center = random_network(np.random.default_rng(5), (3, 4, 1)), np.ones(3)
    region = Ball(center, 0.5, np.inf, center, center)
    gradient = network.weights[1][0] * (network.weights[0] @ center + network.biases[0] > 0) @ network.weights[0]
    found = lipschitz_bound(network, region, 0, method)
    assert found.verdict == "certified" and found.value >= np.abs(gradient).sum() * (1 - 1e-12)


def test_lower_bounds_are_gradients_at_their_points():
    rng = np.random.default_rng(10)
    network = random_network(rng, (4, 6, 3, 1))
    region = Ball(0.2 * rng.normal(size=4), 0.5, "inf")
    ask = question(network, region, 0)
    for found in (lower.sampled(ask, 2_000, seed=1), lower.ascent(ask, 200, seed=1)):
        assert region.contains(found.point)
        step = 1e-7 * rng.normal(size=(50, 4))
        change = network.logits(found.point + step) - network.logits(found.point)
        assert (np.abs(change[:, 0]) <= found.value * np.abs(step).max(1) * (1 + 1e-5)).all()


def test_limits_are_verdicts():
    rng = np.random.default_rng(11)
    network = random_network(rng, (30, 40, 1))
    region = Ball(np.zeros(30), 1.0, "inf")
    late = lipschitz_bound(network, region, 0, "product-shor", limits=Limits(time=1e-3))
    assert late.verdict == "time" and (
        late.value is None or late.value >= lower.sampled(question(network, region), 500).value
    )
    small = lipschitz_bound(network, region, 0, "shor", memory_limit=0.1)
    assert (small.verdict, small.value) == ("OfM", None) and "MiB" in small.reason
    assert lipschitz_bound(network, region, 0, "hr-2", memory_limit=0.1).verdict == "OfM"
    for method in ("lipopt-3", "lipopt-4"):  # multipliers of a solver that had no time prove little, or nothing
        cut = lipschitz_bound(network, region, 0, method, limits=Limits(time=1e-3))
        assert cut.verdict in ("time", "OfM")
        assert cut.value is None or cut.value < lipschitz_bound(network, region, 0, "intervals").value


def test_bad_input_by_name():
    network = random_network(np.random.default_rng(12), (2, 3, 1))
    region = Ball(np.zeros(2), 1.0, "inf")
    with pytest.raises(UnknownNameError, match="product-shor"):
        lipschitz_bound(network, region, 0, "product-shore")
    with pytest.raises(InputError, match="tolerance"):
        lipschitz_bound(network, region, limits=Limits(0))
    with pytest.raises(InputError, match="time: expected"):
        lipschitz_bound(network, region, limits=Limits(time=0))
    with pytest.raises(InputError, match="memory_limit"):
        lipschitz_bound(network, region, memory_limit=-1)
    with pytest.raises(InputError, match="samples"):
        lipschitz_bound(network, region, 0, "lbs", samples=0)
    with pytest.raises(RegionError, match="radius"):
        lipschitz_bound(network, Ball(np.zeros(2), 0.0, "inf"))
    with pytest.raises(RegionError, match="enumerated"):
        lipschitz_bound(network, Ball(np.zeros(2), 1.0, 2), 0, "exact")
    with pytest.raises(InputError, match="patterns"):
        lower.exact(question(network, region), largest=1)
