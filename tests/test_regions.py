"""Regions: what contains, project, sample and the enclosures say of each other."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from tests.helpers import ball, exact, exactly_solved, in_ball
from tightrope import datasets
from tightrope.datasets import Normalisation
from tightrope.errors import RegionError
from tightrope.regions import INFINITY, Ball, EllipsoidRegion, Polytope, Zonotope, parse_norm, pixel_ball

NORMS = [1.0, 1.5, 2.0, 3.0, 8.0, INFINITY]
regions = {
    "seed": st.integers(0, 999),
    "p0": st.integers(1, 6),
    "radius": st.sampled_from([0.0, 1e-6, 0.3, 10.0]),
    "clip": st.booleans(),
}


@given(norm=st.sampled_from(NORMS), **regions)
def test_samples_lie_in_the_ball_its_box_and_its_enclosure(seed, p0, norm, radius, clip):
    region = ball(seed, p0, norm, radius, clip)
    points = region.sample(50, np.random.default_rng(seed))
    lower, upper = region.bounding_box()
    enclosure, note = region.enclosure()
    assert region.contains(points).all()
    assert ((points >= lower - 1e-12) & (points <= upper + 1e-12)).all()
    assert enclosure.contains(points).all()
    assert enclosure.norm in (1.0, 2.0, INFINITY)
    assert bool(note) == (norm not in (1.0, 2.0, INFINITY))


@given(norm=st.sampled_from([1.0, 2.0, INFINITY]), **regions)
def test_projection_is_in_the_ball_and_no_sample_is_nearer(seed, p0, norm, radius, clip):
    region = ball(seed, p0, norm, radius, clip)
    rng = np.random.default_rng(seed)
    x = region.center + 3 * (radius + 0.1) * rng.standard_normal((4, p0))
    y = region.project(x)
    assert region.contains(y).all()
    np.testing.assert_allclose(region.project(y), y, atol=1e-9)
    others = region.sample(200, rng)
    # Variational inequality of a projection: (x - y)'(other - y) <= 0.
    assert (np.einsum("ij,kij->ki", x - y, others[:, None] - y) <= 1e-7 * (1 + radius) ** 2).all()


scales = {
    "seed": st.integers(0, 999),
    "p0": st.integers(1, 6),
    "radius": st.floats(-324, 150).map(lambda power: 10.0**power),
    "shift": st.sampled_from([0.0, 1e-160, 1.0, 1e160]),
    "norm": st.sampled_from([1.0, 2.0, 3.0, INFINITY]),
}


@given(clip=st.booleans(), **scales)
def test_what_a_ball_holds_is_in_it_exactly(seed, p0, radius, shift, norm, clip):
    """Points on the sphere up to rounding: moved inwards they are in it, and not by much."""
    rng = np.random.default_rng(seed)
    center, step = shift * rng.standard_normal(p0), rng.standard_normal((20, p0))
    step *= radius / np.linalg.norm(step, ord=norm, axis=1, keepdims=True)
    sides = (center - radius / 2, center + radius) if clip else (None, None)
    region = Ball(center, radius, norm, *sides)
    x = np.vstack([center, center + step])
    x = np.clip(x, *sides) if clip else x
    held, moved = region.holds(x), region.inwards(x)
    assert held[0] and region.holds(moved).all() and region.contains(x).all()
    assert all(in_ball(region, row) for row in (*x[held], *moved))
    assert (np.abs(moved - x) <= 1e-12 * radius + 4e-16 * np.abs(x) + 1e-323).all()
    np.testing.assert_array_equal(moved[0], center)


@given(**scales)
def test_the_box_of_a_ball_holds_it_and_is_the_smallest_of_floats(seed, p0, radius, shift, norm):
    center = shift * np.random.default_rng(seed).standard_normal(p0)
    lower, upper = Ball(center, radius, norm).bounding_box()
    reach = Fraction(radius)
    for low, middle, high in zip(*(map(float, side) for side in (lower, center, upper)), strict=True):
        assert Fraction(low) <= Fraction(middle) - reach < Fraction(math.nextafter(low, math.inf))
        assert Fraction(math.nextafter(high, -math.inf)) < Fraction(middle) + reach <= Fraction(high)


@pytest.mark.parametrize("scale", [1e-11, 1.0, 1e11])
@pytest.mark.parametrize("name", ["zonotope", "flat zonotope", "ellipsoid", "flat ellipsoid", "wide ellipsoid"])
def test_what_a_set_contains_does_not_depend_on_the_unit(name, scale, rng):
    region = SETS[name](rng)
    scaled = type(region)(scale * region.center, scale * region.G)
    points = region.sample(50, rng)
    assert scaled.contains(scale * points).all()
    assert not scaled.contains(scale * (region.center + 10 * (points[:5] - region.center + 1))).any()


def test_projection_onto_a_clipped_l2_ball_by_another_solver():
    region = Ball(np.zeros(3), 1.0, 2, [-0.2, -1, -1], [2, 0.1, 1])
    x = np.array([-3.0, 2.0, 1.0])
    reference = minimize(
        lambda y: ((y - x) ** 2).sum(),
        np.zeros(3),
        bounds=list(zip(region.lower, region.upper, strict=True)),
        constraints={"type": "ineq", "fun": lambda y: 1 - y @ y},
        method="SLSQP",
    )
    np.testing.assert_allclose(region.project(x), reference.x, atol=1e-5)


@pytest.mark.parametrize("q", [200.0, 1000.0])
def test_large_orders_do_not_underflow(q):
    """0.4^1000 is 0 in floating point; the point is outside all the same."""
    region = Ball(np.zeros(2), 0.1, q)
    assert not region.contains(np.array([0.4, 0.1]))
    assert region.distance(np.array([0.4, 0.1])) == pytest.approx(0.4)


@pytest.mark.parametrize(
    "name, q", [("inf", INFINITY), ("linf", INFINITY), (np.inf, INFINITY), ("L2", 2), (1, 1), ("3", 3)]
)
def test_norms_by_name(name, q):
    assert parse_norm(name) == q


@pytest.mark.parametrize("norm", ["l0", 0.5, -1, "nan", np.nan, None, "max"])
def test_unknown_norms_are_refused(norm):
    with pytest.raises(RegionError, match="norm"):
        parse_norm(norm)


@pytest.mark.parametrize(
    "wrong",
    [
        {"radius": -0.1},
        {"radius": np.nan},
        {"radius": np.inf},
        {"center": np.array([0.0, np.nan])},
        {"center": 0.0},
        {"lower": np.zeros(2)},
        {"lower": np.ones(2), "upper": 2 * np.ones(2)},
        {"lower": -np.ones(2), "upper": np.array([1.0, np.nan])},
        {"lower": -np.ones(3), "upper": np.ones(3)},
    ],
    ids=str,
)
def test_impossible_balls_are_refused(wrong):
    with pytest.raises(RegionError):
        Ball(**({"center": np.zeros(2), "radius": 0.1, "norm": 2} | wrong))


def test_regions_cannot_be_changed():
    region = Ball(np.zeros(2), 0.1, 2, -np.ones(2), np.ones(2))
    with pytest.raises(ValueError):
        region.center[0] = 1
    with pytest.raises(ValueError):
        region.upper[0] = 3


def test_pixel_ball_converts_radius_and_box():
    normalisation = datasets.Normalisation(0.1, 0.5)
    region = pixel_ball(np.array([0.0, 1.0, 0.6]), "inf", 0.05, normalisation, clip=True)
    np.testing.assert_allclose(region.center, [-0.2, 1.8, 1.0])
    assert region.radius == pytest.approx(0.1)
    lower, upper = region.bounding_box()
    np.testing.assert_allclose(lower, [-0.2, 1.7, 0.9])
    np.testing.assert_allclose(upper, [-0.1, 1.8, 1.1])
    assert not pixel_ball(np.zeros(3), 2, 0.05, normalisation, clip=False).clipped


@pytest.mark.parametrize("epsilon", [-0.1, np.nan, np.inf, "much", None])
def test_pixel_ball_refuses_epsilon(epsilon):
    with pytest.raises(RegionError, match="epsilon_pixel"):
        pixel_ball(np.zeros(3), 2, epsilon, datasets.Normalisation(0.1, 0.5), clip=False)


@pytest.mark.parametrize("image", [np.full(3, 1.5), np.array([0, np.nan]), 0.5], ids=str)
def test_pixel_ball_refuses_images(image):
    with pytest.raises(RegionError, match="image"):
        pixel_ball(image, 2, 0.1, datasets.Normalisation(0.1, 0.5), clip=False)


def test_what_is_no_array_of_numbers_is_refused_by_name():
    """Neither a module nor a tensor that has a gradient; a plain tensor is one."""
    torch = pytest.importorskip("torch")
    with pytest.raises(RegionError, match="center: expected numbers, got Linear"):
        Ball(torch.nn.Linear(2, 2), 0.1, 2)
    with pytest.raises(RegionError, match=r"image: expected numbers, got Tensor: .*detach"):
        pixel_ball(torch.zeros(2, requires_grad=True), 2, 0.1, datasets.Normalisation(0.0, 1.0), False)
    assert Ball(torch.zeros(1, 2), 0.1, 2).size == 2


@pytest.mark.parametrize("shape", [(12,), (3, 4), (1, 3, 4), (2, 2, 3)])
def test_images_of_any_shape_are_flattened_row_by_row(shape):
    """The region is that of the flat image, and so are its sides."""
    flat = np.linspace(0, 1, 12)
    image = flat.reshape(shape)
    assert Ball(image, 0.1, 2).sha256() == Ball(flat, 0.1, 2).sha256()
    cut = Ball(image, 0.1, 2, image - 1, image + 1)
    assert cut.sha256() == Ball(flat, 0.1, 2, flat - 1, flat + 1).sha256()
    scale = datasets.Normalisation(0.1, 0.5)
    assert pixel_ball(image, "inf", 0.1, scale, True).sha256() == pixel_ball(flat, "inf", 0.1, scale, True).sha256()


SETS = {
    "zonotope": lambda rng: Zonotope(rng.standard_normal(3), 0.3 * rng.standard_normal((3, 5))),
    "flat zonotope": lambda rng: Zonotope(rng.standard_normal(3), 0.3 * rng.standard_normal((3, 2))),
    "ellipsoid": lambda rng: EllipsoidRegion(rng.standard_normal(3), 0.3 * rng.standard_normal((3, 3))),
    "flat ellipsoid": lambda rng: EllipsoidRegion(rng.standard_normal(3), 0.3 * rng.standard_normal((3, 2))),
    "wide ellipsoid": lambda rng: EllipsoidRegion(rng.standard_normal(3), 0.3 * rng.standard_normal((3, 6))),
    "polytope": lambda rng: Polytope(rng.standard_normal((4, 3)), np.full(4, 0.3), -np.ones(3), np.array([1, 1, 2.0])),
    "flat polytope": lambda rng: Polytope([[1.0, 1, 0]], [0.5], [-1, 0.2, -1], [1, 0.2, 1]),
    "box": lambda rng: Polytope(np.zeros((0, 3)), [], -np.ones(3), np.ones(3)),
}


@pytest.mark.parametrize("name", SETS)
def test_samples_of_other_sets_lie_in_them_and_far_points_do_not(name, rng):
    region = SETS[name](rng)
    points = region.sample(200, rng)
    lower, upper = region.bounding_box()
    assert points.shape == (200, 3) and region.contains(points).all() and region.contains(region.center)
    assert ((points >= lower - 1e-9) & (points <= upper + 1e-9)).all()
    assert len(np.unique(points.round(6), axis=0)) > 150
    far = region.center + 10 * (points - region.center)
    outside = ((far < lower - 1e-6) | (far > upper + 1e-6)).any(1)
    assert outside.any() and not region.contains(far[outside]).any()
    with pytest.raises(ValueError):
        region.center[0] = 1


def test_other_sets_are_the_balls_that_they_should_be(rng):
    center, x = rng.standard_normal(3), rng.standard_normal((300, 3))
    for region, same in (
        (Zonotope(center, 0.7 * np.eye(3)), Ball(center, 0.7, INFINITY)),
        (EllipsoidRegion(center, 0.7 * np.eye(3)), Ball(center, 0.7, 2)),
        (EllipsoidRegion.from_form(np.eye(3) / 0.7, -center / 0.7), Ball(center, 0.7, 2)),
        (Polytope(np.zeros((0, 3)), [], center - 0.7, center + 0.7), Ball(center, 0.7, INFINITY)),
    ):
        np.testing.assert_array_equal(region.contains(x), same.contains(x))
        np.testing.assert_allclose(region.bounding_box(), same.bounding_box(), atol=1e-12)
    cross = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [1, -1, -1]])
    l1 = Polytope(np.vstack([cross, -cross]), np.r_[0.7 + cross @ center, 0.7 - cross @ center], center - 1, center + 1)
    np.testing.assert_array_equal(l1.contains(x), Ball(center, 0.7, 1).contains(x))


def test_zonotopes_with_dependent_generators_by_linear_programs(rng):
    """[1, 1] twice is [2, 2] once; a point off the line is outside."""
    region = Zonotope(np.zeros(2), np.ones((2, 2)))
    assert region.contains(np.array([[2, 2], [-1.9, -1.9], [2.1, 2.1], [0.5, 0.4]])).tolist() == [
        True,
        True,
        False,
        False,
    ]


def test_pulling_into_a_polytope_ends_inside(rng):
    region = SETS["polytope"](rng)
    x = 5 * rng.standard_normal((100, 3))
    assert region.contains(region.retract(x)).all()
    inside = region.sample(50, rng)
    np.testing.assert_allclose(region.retract(inside), inside, atol=1e-9)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Zonotope(np.zeros(2), np.ones((3, 2))), "G"),
        (lambda: Zonotope(np.zeros(2), np.ones((2, 0))), "G"),
        (lambda: EllipsoidRegion(np.array([0, np.nan]), np.eye(2)), "center"),
        (lambda: EllipsoidRegion.from_form(np.ones((2, 2)), np.zeros(2)), "Q: singular"),
        (lambda: EllipsoidRegion.from_form(np.eye(3), np.zeros(2)), "Q, b"),
        (lambda: Polytope(np.eye(2), [1.0], -np.ones(2), np.ones(2)), "A, b"),
        (lambda: Polytope(np.eye(2), [1.0, 1.0], -np.ones(2), np.array([1, np.inf])), "lower, upper"),
        (lambda: Polytope(np.eye(2), [-2.0, 1.0], -np.ones(2), np.ones(2)), "empty"),
        (lambda: Polytope(np.eye(2), [1.0, 1.0], np.ones(2), -np.ones(2)), "empty"),
        (lambda: Polytope(np.zeros((1, 2)), [-1.0], -np.ones(2), np.ones(2)), "empty"),
    ],
)
def test_impossible_sets_are_refused(make, message):
    with pytest.raises(RegionError, match=message):
        make()


@pytest.mark.parametrize("radius", [None, "0.1", True, np.array([0.1]), [0.1], np.nan, -0.1, np.inf])
def test_a_radius_is_one_number(radius):
    """Anything else is refused by name, also where pixels are meant; numbers of NumPy are numbers."""
    with pytest.raises(RegionError, match="radius: expected a finite number"):
        Ball([0.0], radius, 2)
    with pytest.raises(RegionError, match="epsilon_pixel: expected a finite number"):
        pixel_ball(np.zeros(1), 2, radius, Normalisation(0.0, 1.0), False)
    assert Ball([0.0], np.float32(0.5), 2).radius == Ball([0.0], np.array(0.5), 2).radius == 0.5


def test_a_normalisation_is_no_tuple():
    """The message says what to write."""
    with pytest.raises(RegionError, match=r"write Normalisation\(mean, std\)"):
        pixel_ball(np.zeros(1), 2, 0.1, (0.0, 1.0), False)


def test_a_polytope_that_is_one_point_has_samples():
    x = np.array([0.5, -1.0])
    region = Polytope(np.array([[1.0, 2.0]]), np.array([0.0]), x, x)
    assert (region.sample(3, np.random.default_rng(0)) == x).all()


@pytest.mark.parametrize("scale", [1e-160, 1e-8, 1.0, 1e8, 1e150])
@pytest.mark.parametrize("name", ["zonotope", "flat zonotope", "ellipsoid", "flat ellipsoid", "wide ellipsoid"])
def test_the_box_of_an_affine_image_holds_its_extreme_points_exactly(name, scale, rng):
    """center +- the norm of each row of G, in rational numbers; and the box is not wider than by rounding."""
    region = SETS[name](rng)
    region = type(region)(region.center, scale * region.G)
    lower, upper = region.bounding_box()
    for j, row in enumerate(exact(region.G)):
        below, above = Fraction(region.center[j]) - Fraction(lower[j]), Fraction(upper[j]) - Fraction(region.center[j])
        size = sum(abs(row)) if region.norm == INFINITY else sum(row * row)
        for reach in (below, above):
            assert size <= (reach if region.norm == INFINITY else reach**2)
    assert (upper - lower <= 2 * np.abs(region.G).sum(1) * (1 + 1e-12) + 1e-15 * np.abs(region.center) + 1e-160).all()


def in_image(region: Zonotope | EllipsoidRegion, x: np.ndarray) -> bool:
    """Whether x = center + G w with w in the unit ball, in rational numbers, for a square G."""
    symmetric = exact(region.G).T @ exact(region.G)  # positive definite: no pivots
    step = exact(x) - exact(region.center)
    w = exactly_solved(symmetric, (exact(region.G).T @ step)[:, None])[:, 0]
    assert (exact(region.G) @ w == step).all()
    return max(abs(w)) <= 1 if region.norm == INFINITY else w @ w <= 1


@pytest.mark.parametrize("kind", [Zonotope, EllipsoidRegion])
@given(seed=st.integers(0, 999), power=st.sampled_from([-150, -8, 0, 8]), shift=st.sampled_from([0.0, 1.0, 1e6]))
def test_what_an_affine_image_holds_is_in_it_exactly(kind, seed, power, shift):
    """Points near the boundary: what is held is inside, and what is moved inwards is held, not far away."""
    rng = np.random.default_rng(seed)
    scale = 10.0**power
    region = kind(shift * scale * rng.standard_normal(3), scale * rng.standard_normal((3, 3)))
    w = rng.standard_normal((12, 3))
    w /= np.linalg.norm(w, ord=region.norm, axis=1, keepdims=True)
    x = region.at(w * rng.choice([1.0, 1 + 1e-15, 1 - 1e-15, 1 + 1e-6], (12, 1)))
    inside, held, moved = region.contains(x), region.holds(x), region.inwards(x)
    assert all(in_image(region, row) for row in (*x[held], *moved[region.holds(moved)]))
    assert region.holds(moved[inside]).all() and region.holds(region.center)
    assert not region.holds(region.at(w * (1 + 1e-6))).any()
    size = np.abs(region.G).sum(1).max() * np.linalg.cond(region.G)
    assert (np.abs(moved - x)[inside] <= 1e-8 * size).all()


def test_a_flat_image_holds_what_its_points_round_to(rng):
    region = SETS["flat ellipsoid"](rng)
    points = region.sample(50, rng)
    assert region.holds(points).all() and not region.holds(points + 1e-12).any()


@given(seed=st.integers(0, 999))
def test_what_a_polytope_holds_is_decided_in_rational_numbers(seed):
    """The first point is on both rows' boundary as far as rounding can tell."""
    rng = np.random.default_rng(seed)
    A, x = rng.standard_normal((2, 3)), rng.uniform(-1, 1, (20, 3))
    b = A @ x[0]
    region = Polytope(A, b, -np.ones(3), np.ones(3))
    inside = (exact(x) @ exact(A).T <= exact(b)).all(1)
    np.testing.assert_array_equal(region.holds(x), inside)


@pytest.mark.parametrize("norm", [1, 2, INFINITY])
def test_membership_of_784_inputs_on_the_boundary(norm, rng):
    """Half of the pixels one way, decided exactly: the sum of 784 roundings is at the radius or just above it."""
    center, step = rng.uniform(size=784), rng.uniform(0.1, 1, 784)
    size = sum(exact(step)) if norm == 1 else sum(exact(step) ** 2) if norm == 2 else max(exact(step))
    radius = float(size if norm != 2 else np.sqrt(float(size)))
    region = Ball(np.zeros(784), radius, norm)
    assert region.holds(step) == in_ball(region, step)
    assert region.holds(region.inwards(step))
    assert Ball(center, 0.0, norm).holds(center) and not Ball(center, 0.0, norm).holds(np.nextafter(center, 1)).any()
