"""Outer ellipsoids hold what they claim to hold, prove no more than their multipliers, and decide soundly."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize

from tests.helpers import ball, mondeq
from tests.problems.test_ellipsoid import REGIONS
from tightrope import checker, datasets, zoo
from tightrope.attacks import pgd
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.networks import MonDEQ
from tightrope.problems.ellipsoid import B_GROUP, Q_GROUP, ellipsoid_model
from tightrope.problems.robustness import robustness_model
from tightrope.proofs import arrays_of
from tightrope.question import Question, Verdict
from tightrope.regions import INFINITY, Ball, EllipsoidRegion, Polytope, pixel_ball
from tightrope.relaxations.shor import shor_constraints
from tightrope.results.chen2021_mondeq.published_ellipsoids import outer_points, published_ellipsoid, reach
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.verifiers.ellipsoid import Ellipsoid, EllipsoidReport, margins_of, outer_ellipsoid, proven_ellipsoid
from tightrope.verifiers.robustness import certify


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("seed", [0, 3])
def test_sampled_and_attacked_outputs_are_inside(name, seed, rng):
    network, region = mondeq(seed, p=6), REGIONS[name](np.array([0.1, -0.2, 0.3]))
    report = outer_ellipsoid(network, region)
    outputs = network.logits(region.sample(2000, rng))
    assert report.ellipsoid.contains(outputs).all()
    label = network.predict(region.center)
    margins = report.margins(label)
    assert ((outputs - outputs[:, [label]]).max(0) <= margins + 1e-9).all()
    found = pgd(Question(network, region, label)).best_margin
    others = np.arange(3) != label
    assert (found[others] <= margins[others] + 1e-9).all()


@pytest.mark.parametrize("name", REGIONS)
def test_the_robustness_model_takes_the_same_regions_and_is_tighter(name):
    """Per label it bounds the same maximum with the same constraints, so it cannot be looser."""
    network, region = mondeq(3, p=5), REGIONS[name](np.array([0.1, -0.2, 0.3]))
    label = network.predict(region.center)
    margins = outer_ellipsoid(network, region).margins(label)
    report = certify(network, region, label, method="interior-point")
    for decision in report.decisions:
        assert decision.attack_margin - 1e-9 <= decision.bound <= margins[decision.label] + 1e-3


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("norm", [1.0, 2.0, INFINITY])
def test_cuts_give_smaller_ellipsoids_that_hold_the_outputs(seed, norm, rng):
    """Stable neurons and triangles: at most the volume of order 1, and still every output inside."""
    network, region = mondeq(seed, p=6), Ball(np.array([0.1, -0.2, 0.3]), 0.3, norm)
    plain, tight = (outer_ellipsoid(network, region, order=order) for order in ("1", "1+cuts"))
    assert tight.ellipsoid.log_det >= plain.ellipsoid.log_det - 1e-3
    assert tight.ellipsoid.contains(network.logits(region.sample(2000, rng))).all()
    label = network.predict(region.center)
    others = np.arange(3) != label
    found = pgd(Question(network, region, label)).best_margin[others]
    assert (found <= tight.margins(label)[others] + 1e-9).all()


@pytest.mark.parametrize(("seed", "norm"), [(3, INFINITY), (4, 2.0), (5, 1.0)])
def test_order_2_gives_smaller_ellipsoids_that_its_file_proves(seed, norm, rng):
    """Every sampled and attacked output inside, and no file proves one that leaves some of them out."""
    network, region = mondeq(seed, p=3, p0=2, K=2), ball(seed, 2, norm, 0.5)
    first, cuts, second = (outer_ellipsoid(network, region, order=order) for order in ("1", "1+cuts", "2"))
    assert first.log_det - 1e-3 <= cuts.log_det <= second.log_det + 1e-3
    outputs = network.logits(region.sample(2000, rng))
    assert second.ellipsoid.contains(outputs).all()
    label = network.predict(region.center)
    found = pgd(Question(network, region, label)).best_margin[1 - label]
    assert found <= second.margins(label)[1 - label] + 1e-9
    file, arrays = second.certificates().certificate, arrays_of(network)[1]
    assert second.certificates().proven and file.claims == [{"holds": "image"}]
    reach = np.linalg.norm(outputs @ second.ellipsoid.Q + second.ellipsoid.b, axis=1).max()
    small = {name: file.arrays[name] * 1.001 / reach for name in ("Q", "b")}
    (finding,) = checker.check(replace(file, arrays=file.arrays | small), arrays)
    assert not finding.proven and reach < 1


def test_order_2_of_a_flat_image_fails_with_the_reason():
    """One active neuron: the outputs lie on a line."""
    report = outer_ellipsoid(mondeq(0, p=3, p0=2), ball(0, 2, INFINITY, 0.5), order="2")
    assert report.verdict is Verdict.FAILED and "flat" in report.second.findings[0].reason
    with pytest.raises(InputError, match="only a proven ellipsoid"):
        report.certificates()


def test_an_order_that_does_not_exist_or_a_region_without_bounds_is_refused():
    network, center = mondeq(0), np.zeros(3)
    with pytest.raises(UnknownNameError, match="order"):
        outer_ellipsoid(network, Ball(center, 0.1, 2), order="3")
    with pytest.raises(InputError, match=r"2 is for 6 neurons and inputs together, not 4 and 3"):
        outer_ellipsoid(network, Ball(center, 0.1, 2), order="2")
    with pytest.raises(RegionError, match="balls"):
        outer_ellipsoid(network, REGIONS["polytope"](center), order="1+cuts")


def test_smaller_regions_give_smaller_ellipsoids():
    network, center = mondeq(1, p=5), np.array([0.1, -0.2, 0.3])
    sizes = [outer_ellipsoid(network, Ball(center, r, INFINITY)).ellipsoid.log_det for r in (0.05, 0.2, 0.8)]
    assert sizes[0] > sizes[1] > sizes[2]
    half = Polytope([[1, 1, 1]], [center.sum()], center - 0.2, center + 0.2)
    assert outer_ellipsoid(network, half).ellipsoid.log_det > sizes[1] + 0.01
    cut = outer_ellipsoid(network, Ball(center, 0.2, INFINITY, center - 0.02, center + 0.2))
    assert cut.ellipsoid.log_det > sizes[1] + 0.01


def test_without_clipping_the_size_scales_and_forgets_the_centre():
    """log det Q(radius) = log det Q(1) - K log radius, at every centre: the model knows slopes only (README)."""
    network = mondeq(5, p=5)
    sizes = [
        outer_ellipsoid(network, Ball(center, radius, norm)).ellipsoid.log_det + 3 * np.log(radius)
        for norm in (2,)
        for center in (np.zeros(3), np.array([0.5, -1.0, 0.3]))
        for radius in (0.1, 0.7)
    ]
    np.testing.assert_allclose(sizes, sizes[0], atol=5e-4)


def proof(seed=0):
    network, region = mondeq(seed, p=5), ball(seed, 3, INFINITY, 0.3)
    model = ellipsoid_model(robustness_model(network, region, 0))
    data = ArrowData(shor_constraints(model))
    return network, region, model, data, outer_ellipsoid(network, region)


def test_tampered_multipliers_prove_less_or_nothing(rng):
    network, region, model, data, report = proof()
    outputs = network.logits(region.sample(3000, rng))
    honest = report.ellipsoid.log_det
    groups = data.constraints.groups
    for change in range(60):
        y = report.multipliers.copy()
        if change % 3 == 0:  # a smaller ellipsoid than is proven
            y[groups[Q_GROUP]] *= rng.uniform(1.05, 3)
        elif change % 3 == 1:
            y[groups[B_GROUP]] += rng.standard_normal(3)
        else:
            k = rng.integers(len(y))
            y[k] += rng.choice([-1, 1]) * rng.uniform(0.2, 2) * (abs(y[k]) + 0.1)
        ellipsoid, _ = proven_ellipsoid(model, data, y)
        if ellipsoid is not None:
            assert ellipsoid.log_det <= honest + 1e-3
            assert ellipsoid.contains(outputs).all()
    for bad in (np.nan, np.inf, 1e200):
        y = report.multipliers.copy()
        y[0] = bad
        ellipsoid, _ = proven_ellipsoid(model, data, y)
        assert ellipsoid is None or ellipsoid.contains(outputs).all()
    assert proven_ellipsoid(model, data, np.zeros_like(report.multipliers))[0] is None


def test_scale_is_what_the_multipliers_lack(rng):
    """Q and b twice too large are proven at half their size or less, never more."""
    *_, model, data, report = proof(2)
    y, groups = report.multipliers.copy(), data.constraints.groups
    for group in (Q_GROUP, B_GROUP):
        y[groups[group]] /= 2  # loose: the scale may undo it, since y_0 < 1 proves more
    ellipsoid, scale = proven_ellipsoid(model, data, y)
    assert 1 <= scale <= 2.01
    assert ellipsoid.log_det <= report.ellipsoid.log_det + 1e-3


def test_support_and_projection_of_a_known_ellipsoid(rng):
    G = rng.standard_normal((4, 4))
    E = Ellipsoid(G @ G.T + np.eye(4), rng.standard_normal(4))
    a = rng.standard_normal(4)
    reference = minimize(lambda x: -a @ x, E.center, method="SLSQP",
                         constraints={"type": "ineq", "fun": lambda x: 1 - ((E.Q @ x + E.b) ** 2).sum()})  # fmt: skip
    assert E.support(a) == pytest.approx(-reference.fun, abs=1e-6)
    u = rng.standard_normal((20000, 4))
    inside = np.linalg.solve(E.Q, (u / np.linalg.norm(u, axis=1, keepdims=True) - E.b).T).T
    assert E.contains(inside, 1e-9).all() and (inside @ a <= E.support(a)).all()
    boundary = E.projection(1, 3)
    for angle in np.linspace(0, 6, 13):
        direction = np.array([np.cos(angle), np.sin(angle)])
        whole = np.array([0, direction[0], 0, direction[1]])
        assert (boundary @ direction).max() == pytest.approx(E.support(whole), rel=1e-3)
        assert (inside[:, [1, 3]] @ direction).max() <= (boundary @ direction).max() + 1e-3


def test_support_bounds_its_own_rounding():
    """Against the exact value of a badly conditioned ellipsoid, in rational arithmetic."""
    E = Ellipsoid(np.array([[1.0, 1.0], [1.0, 1.0 + 1e-9]]), np.array([1.0, 1.0]))
    from fractions import Fraction as F

    (p, q), (_, s) = ((F(x) for x in row) for row in E.Q)
    det = p * s - q * q
    g = (s / det, -q / det)  # Q^-1 (1, 0)
    exact = float(g[0] ** 2 + g[1] ** 2) ** 0.5 - float(g[0] + g[1])
    assert E.support(np.array([1.0, 0.0])) >= exact


def test_the_ellipsoid_of_one_network_is_the_region_of_the_next(rng):
    first, second, region = mondeq(0, p=4), mondeq(7, p=4), ball(0, 3, 2.0, 0.2)
    inner = outer_ellipsoid(first, region).ellipsoid
    outer = outer_ellipsoid(second, EllipsoidRegion.from_form(inner.Q, inner.b)).ellipsoid
    assert outer.contains(second.logits(first.logits(region.sample(500, rng)))).all()


def test_verdicts(rng):
    network, region, *_ = proof(3)
    label = network.predict(region.center)
    near = outer_ellipsoid(network, Ball(region.center, 1e-3, INFINITY))
    far = outer_ellipsoid(network, Ball(region.center, 50.0, INFINITY))
    assert near.verdict_of(label) is Verdict.CERTIFIED and far.verdict_of(label) is Verdict.UNKNOWN
    assert near.verdict_of((label + 1) % 3) is Verdict.UNKNOWN
    failed = EllipsoidReport(None, 0.0, None, near.solve, 0.0, near.network, near.region)
    assert failed.verdict_of(0) is Verdict.FAILED
    with pytest.raises(InputError, match="no ellipsoid"):
        failed.margins(0)
    assert margins_of(near.ellipsoid, label)[label] == 0


@pytest.mark.parametrize("shift", [-100.0, 100.0], ids=["dead neurons", "always active neurons"])
def test_degenerate_networks(shift, rng):
    plain = mondeq(1, p=4, K=2)
    network = MonDEQ(W=plain.W, U=plain.U, u=plain.u + shift, C=plain.C, c=plain.c, m=plain.m)
    for norm in (2, INFINITY):
        region = Ball(np.zeros(3), 0.3, norm)
        assert outer_ellipsoid(network, region).ellipsoid.contains(network.logits(region.sample(200, rng))).all()


def test_one_output_and_one_input_are_intervals(rng):
    for sizes in ({"K": 1}, {"p0": 1}):
        network = mondeq(2, **({"p": 4} | sizes))
        region = Ball(np.zeros(network.input_size), 0.5, INFINITY)
        report = outer_ellipsoid(network, region)
        assert report.ellipsoid.contains(network.logits(region.sample(500, rng))).all()


@pytest.fixture(scope="module")
def published_mondeq():
    return zoo.get("chen2021-mondeq/mnist-87").network, datasets.load("mnist")


PUBLISHED = {(2, 0.1): 2.95, ("inf", 0.01): -6.09, ("inf", 0.05): -22.19, ("inf", 0.1): -29.11}


@pytest.mark.published
@pytest.mark.parametrize("norm, epsilon", PUBLISHED)
def test_published_sizes(norm, epsilon, published_mondeq):
    """log det Q at least the printed value minus 0.01 on two images, outputs inside, and 92 % at 0.01 in sight."""
    network, data = published_mondeq
    for image in (0, 7):
        region = pixel_ball(data.image(image), norm, epsilon, data.normalisation, clip=False)
        report = outer_ellipsoid(network, region)
        assert report.ellipsoid.log_det >= PUBLISHED[norm, epsilon] - 0.0105  # printed to two digits
        points = region.project(region.center + 10 * np.random.default_rng(image).choice([-1.0, 1.0], (50, 784)))
        assert report.ellipsoid.contains(network.logits(points)).all()
        expected = {(2, 0.1): Verdict.CERTIFIED, ("inf", 0.01): Verdict.CERTIFIED}.get((norm, epsilon), Verdict.UNKNOWN)
        assert report.verdict_of(data.label(image)) is expected


@pytest.mark.published
def test_published_ellipsoids_hold_sampled_outputs(published_mondeq):
    """A handful of the authors' 400 ellipsoids; the rows of Table 2 have them all."""
    network, data = published_mondeq
    for image in (0, 57, 99):
        for norm, epsilon in PUBLISHED:
            E = published_ellipsoid(image, norm, epsilon)
            if E is None:
                pytest.skip("the published ellipsoids are not on this machine")
            region = pixel_ball(data.image(image), norm, epsilon, data.normalisation, clip=False)
            assert np.linalg.eigvalsh(E.Q)[0] > 0
            assert E.log_det == pytest.approx(PUBLISHED[norm, epsilon], abs=0.01)
            assert reach(E, network.logits(outer_points(region, 30, np.random.default_rng(0)))) < 1


@pytest.mark.published
@pytest.mark.parametrize(
    ("norm", "epsilon", "least", "log_det"),
    [(2, 0.1, 1.00008, 2.9490), ("inf", 0.01, 1.0001, -6.0943), ("inf", 0.1, 1.0011, -29.1202)],
)
def test_published_ellipsoids_miss_their_constraint(norm, epsilon, least, log_det, published_mondeq):
    """What multipliers prove of (Q, b) is the least y_0 with a certificate of y_0 - ||Q F + b||^2, more than 1.

    So the ellipsoid is proven only enlarged to y_0, and log det Q loses K / 2 log y_0.
    """
    network, data = published_mondeq
    E = published_ellipsoid(0, norm, epsilon)
    if E is None:
        pytest.skip("the published ellipsoids are not on this machine")
    region = pixel_ball(data.image(0), norm, epsilon, data.normalisation, clip=False)
    model = ellipsoid_model(robustness_model(network, region, 0))
    rows = shor_constraints(model)
    y = np.zeros(len(rows.equality))
    y[rows.groups[Q_GROUP]] = E.Q[np.triu_indices(model.classes)]
    y[rows.groups[B_GROUP]] = E.b
    state = tuple(c for c in model.constraints if c.name not in (Q_GROUP, B_GROUP))
    data_of_state = ArrowData(shor_constraints(replace(model, constraints=state)))
    objective = sp.csr_array(rows.matrix(y) - model.identity())
    y0 = InteriorPoint(data_of_state).solve(objective, tolerance=1e-7)[0].dual_value
    assert y0 - 1 == pytest.approx(least - 1, rel=0.1)
    assert E.log_det - model.classes / 2 * np.log(y0) == pytest.approx(log_det, abs=2e-4)
