"""LipOpt: the gradient polynomial against the network's own gradient, and the programs against brute force."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from tightrope.errors import InputError, RegionError
from tightrope.networks import FeedForward
from tightrope.problems.relu_question import question
from tightrope.regions import Ball
from tightrope.relaxations import krivine as module
from tightrope.relaxations.krivine import TooLarge, gradient_polynomial, krivine
from tightrope.relaxations.krivine_cuts import bipartite, triangles, violated_cycles, violated_triangles
from tightrope.solvers.highs import LinearProgram
from tightrope.verifiers.relu_lipschitz import lipschitz_bound
from tightrope.verifiers.relu_lipschitz_lower import gradients


def random_network(rng, sizes):
    weights = [rng.normal(size=(b, a)) for a, b in itertools.pairwise(sizes)]
    return FeedForward.dense(weights, [0.3 * rng.normal(size=b) for b in sizes[1:]])


def vertices(n):
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


@pytest.mark.parametrize("sizes", [(3, 3, 1), (2, 3, 2, 1), (2, 2, 2, 2, 1)])
def test_polynomial_is_the_gradient_at_every_vertex(sizes):
    rng = np.random.default_rng(0)
    ask = question(random_network(rng, sizes), Ball(np.zeros(sizes[0]), 100.0, "inf"), 0)
    p = gradient_polynomial(ask)
    widths = sizes[:-1]
    assert p.size == sum(widths) and p.degree == ask.depth + 1
    points = vertices(p.size)
    parts = np.split(points, np.cumsum(widths)[:-1], axis=1)
    t = 2 * parts[0] - 1
    expected = (t * gradients(ask, parts[1:])).sum(1)
    assert p(points) == pytest.approx(expected, abs=1e-12)
    assert all(any(set(m) <= set(s) for s in p.subsets) for m in p.monomials)


@pytest.mark.parametrize("method", ["lipopt-3", "lipopt-4"])
def test_a_gradient_that_cancels_in_floating_point_is_not_lost(method):
    """Three active neurons: 1e16 + 1 - 1e16 is 0 in float64, where the gradient is 1."""
    network = FeedForward.dense([np.array([[1e16], [1.0], [-1e16]]), np.ones((1, 3))], [np.full(3, 1e18), np.zeros(1)])
    region = Ball(np.zeros(1), 1.0, "inf")
    p = gradient_polynomial(question(network, region, 0))
    assert p.size == 1 and abs(p(np.ones(1))) < 1 <= p.rounding < 1e3
    assert lipschitz_bound(network, region, 0, method).value >= 1


@pytest.mark.parametrize("sizes", [(3, 4, 1), (2, 3, 2, 1)])
def test_rounding_of_the_polynomial_against_rational_numbers(sizes):
    rng = np.random.default_rng(2)
    ask = question(random_network(rng, sizes), Ball(np.zeros(sizes[0]), 100.0, "inf"), 0)
    p, exact = gradient_polynomial(ask), np.vectorize(Fraction, otypes=[object])
    for point in vertices(p.size).astype(int):
        x, *slopes = np.split(point, np.cumsum(sizes[:-1])[:-1])
        row = exact(ask.c)
        for A, s in zip(ask.weights[::-1], slopes[::-1], strict=True):
            row = (row * s) @ exact(A)
        ours = sum(Fraction(value) * int(point[list(m)].prod()) for m, value in zip(p.monomials, p.values, strict=True))
        assert abs(ours - row @ (2 * x - 1)) <= p.rounding
    assert p.rounding < 1e-12


def test_decided_derivatives_are_constants():
    rng = np.random.default_rng(1)
    ask = question(random_network(rng, (3, 6, 1)), Ball(rng.normal(size=3), 0.05, "inf"), 0)
    undecided = int(((ask.lower[0] <= 0) & (ask.upper[0] >= 0)).sum())
    assert undecided < 6
    assert gradient_polynomial(ask).size == 3 + undecided


def whole_program(p, degree):
    """LipOpt-k without cuts: every product of `degree` factors from one subset."""
    faces = set()
    for subset in p.subsets:
        faces.update(itertools.combinations(subset, min(degree, len(subset))))
    moments = {}
    for face in itertools.chain(p.monomials, faces):
        for size in range(1, len(face) + 1):
            for part in itertools.combinations(face, size):
                moments.setdefault(part, len(moments))
    rows, offsets = module._products(tuple(sorted(faces)), moments)
    objective, constant = np.zeros(len(moments)), 0.0
    for m, value in zip(p.monomials, p.values, strict=True):
        if m:
            objective[moments[m]] += value
        else:
            constant += value
    program = LinearProgram()
    columns = program.add_columns(np.zeros(len(moments)), np.ones(len(moments)))
    program.add_rows(rows, offsets, np.full(len(offsets), np.inf))
    return constant + program.maximise(columns, objective).bound


@pytest.mark.parametrize("sizes", [(3, 3, 1), (4, 3, 1), (3, 2, 2, 1)])
def test_cuts_give_the_value_of_the_whole_program(sizes):
    rng = np.random.default_rng(2)
    for _ in range(3):
        network = random_network(rng, sizes)
        region = Ball(np.zeros(sizes[0]), 10.0, "inf")
        p = gradient_polynomial(question(network, region, 0))
        largest = p(vertices(p.size)).max()
        ours = lipschitz_bound(network, region, 0, "lipopt-3").value
        assert ours == pytest.approx(whole_program(p, 3), rel=1e-5, abs=1e-6)
        four = lipschitz_bound(network, region, 0, "lipopt-4").value
        assert largest - 1e-6 <= four <= ours + 1e-5 * (1 + ours)


def test_sparse_networks_need_triangles_too():
    rng = np.random.default_rng(3)
    band = np.abs(np.subtract.outer(np.arange(7), np.arange(7))) <= 1
    for _ in range(4):
        network = FeedForward.dense(
            [rng.normal(size=(7, 7)) * band, rng.normal(size=(1, 7))], [np.zeros(7), np.zeros(1)]
        )
        region = Ball(np.zeros(7), 10.0, "inf")
        p = gradient_polynomial(question(network, region, 0))
        assert max(map(len, p.subsets)) == 4
        value = lipschitz_bound(network, region, 0, "lipopt-3").value
        assert value == pytest.approx(whole_program(p, 3), rel=1e-5, abs=1e-6)


def test_every_cut_holds_at_every_vertex_as_a_sum_of_products():
    rng = np.random.default_rng(4)
    p = gradient_polynomial(question(random_network(rng, (4, 3, 1)), Ball(np.zeros(4), 10.0, "inf"), 0))
    program = krivine(p, 3)
    graph = bipartite(p, program, 4)
    where = triangles(p, program, largest=1000)
    points = vertices(p.size)
    moments = np.stack([points[:, list(m)].prod(1) for m in program.moments], axis=1)
    for _ in range(20):
        y = rng.uniform(size=len(program.objective))
        for (rows, offsets, products), factor in (
            (violated_cycles(graph, y, 50), 4),
            (violated_triangles(where, y, 50), 1),
        ):
            assert len(offsets) and (rows @ y < offsets).all()
            slack = moments @ rows.T.toarray() - offsets
            assert (slack >= -1e-9).all()
            x = np.where(products > 0, moments[:, np.abs(products) - 1], 1 - moments[:, np.abs(products) - 1])
            sums = np.where(products == 0, 1, x).prod(-1).sum(-1)
            assert slack == pytest.approx(factor * sums)


def test_floor_is_below_the_program_and_met_by_dense_networks():
    rng = np.random.default_rng(5)
    network = FeedForward.dense(
        [rng.uniform(-1, 1, (24, 24)), rng.uniform(-1, 1, (1, 24))], [np.zeros(24), np.zeros(1)]
    )
    region = Ball(np.zeros(24), 100.0, "inf")
    p = gradient_polynomial(question(network, region, 0))
    graph = bipartite(p, krivine(p, 3), 24)
    value = lipschitz_bound(network, region, 0, "lipopt-3").value
    assert graph.complete and graph.floor <= value <= graph.floor * (1 + 1e-5)


def test_bad_input_and_limits_by_name(monkeypatch):
    rng = np.random.default_rng(6)
    network = random_network(rng, (3, 3, 3, 1))
    region = Ball(np.zeros(3), 10.0, "inf")
    p = gradient_polynomial(question(network, region, 0))
    with pytest.raises(InputError, match="degree"):
        krivine(p, 2)
    with pytest.raises(InputError, match="degree"):
        krivine(p, 5)
    with pytest.raises(RegionError, match="L2"):
        lipschitz_bound(network, Ball(np.zeros(3), 1.0, 2), 0, "lipopt-3")
    deep, far = random_network(rng, (3, 3, 3, 3, 1)), Ball(np.zeros(3), 10.0, "inf")
    assert gradient_polynomial(question(deep, far, 0)).degree == 4
    with pytest.raises(InputError, match="lipopt-3"):
        lipschitz_bound(deep, far, 0, "lipopt-3")
    monkeypatch.setattr(module, "LARGEST", 10)
    with pytest.raises(TooLarge, match="OfM"):
        krivine(p, 3)
    found = lipschitz_bound(network, region, 0, "lipopt-4")
    assert found.verdict == "OfM" and found.value is None
