"""Bounds that explorers show, in pictures' captions, headlines, lines and tables, stay bounds."""

import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from tightrope.explorers import along_radius, landscapes, lipschitz, relu_lipschitz, relu_shapes

NUMBER = r"(-?\d[\d.]*(?:e[-+]\d+)?)"
BETWEEN = rf"{NUMBER} and {NUMBER}"


def read(pattern: str, text: str) -> list[Fraction]:
    """The numbers of the first place that looks like this."""
    found = re.search(pattern, text)
    assert found, f"{pattern} in {text}"
    return [Fraction(Decimal(number)) for number in found.groups()]


def cells(html: str, first: str) -> list[str]:
    """The other cells of the row of a table that starts with this one."""
    (row,) = (row for row in re.findall(r"<tr.*?</tr>", html, re.DOTALL) if f">{first}<" in row)
    return re.findall(r"<td[^>]*>([^<]*)</td>", row)[1:]


@pytest.fixture(params=range(6))
def ends(request) -> tuple[float, float]:
    """A lower and an upper bound of any scale."""
    rng = np.random.default_rng(request.param)
    low, high = np.sort(rng.uniform(1, 10, 2)) * 10.0 ** rng.integers(-6, 6)
    return float(low), float(high)


def test_lipschitz_constants(ends):
    low, high = ends
    bounds = ((lipschitz.SAMPLED, "lower", low), (lipschitz.CLOSED, "upper", high))
    view = lipschitz.constants_view(lipschitz.Constants("image 0", bounds))
    for (below, above), text in (
        (read(f"between {BETWEEN}", view.html), "headline"),
        (read(rf"at most {NUMBER}, at least {NUMBER}$", view.text)[::-1], "text"),
        ([Fraction(cells(view.html, name)[-1]) for name in (lipschitz.SAMPLED, lipschitz.CLOSED)], "table"),
    ):
        assert below <= Fraction(low) and Fraction(high) <= above, text


def test_lipschitz_constants_of_relu_networks(ends):
    low, high = ends
    bounds = (("lbs", "lower", low, "certified"), ("shor", "upper", high, "certified"))
    view = relu_lipschitz.constants_view(relu_lipschitz.Constants("a network", "shor", bounds))
    for below, above in (
        read(rf"at least {NUMBER} and at most {NUMBER}", view.html),
        read(rf"SHOR {NUMBER}, at least {NUMBER}$", view.text)[::-1],
        [Fraction(cells(view.html, name)[1]) for name in ("LBS", "SHOR *")],
    ):
        assert below <= Fraction(low) and Fraction(high) <= above


def test_radii_and_bounds_along_the_radius(ends):
    reach, bound = ends
    radii, certified = np.array([0.0, reach, 2 * reach]), np.array([True, True, False])
    margins = {"box": np.array([-bound, -bound / 2, bound])}
    view = along_radius.proofs_view(along_radius.Proofs("image 0", True, radii, margins, {"box": certified}))
    radius, shown = cells(view.html, "Box")
    assert float(radius) == reach and view.text.endswith(f"Box {radius}")  # one of the grid's, not rounded
    assert Fraction(bound) <= Fraction(shown)


def test_bounds_of_relaxations(ends):
    low, high = ends
    answer = relu_shapes.Shape("box", -1.0, 1.5, 2.0, {"box": (-low, high)}, (-low / 3, high / 3))
    view = relu_shapes.shape_view(answer)
    for below, above in (
        read(rf"proven in \[{NUMBER}, {NUMBER}\]", view.text),
        map(Fraction, cells(view.html, "Box")[:2]),
    ):
        assert below <= Fraction(-low) and Fraction(high) <= above


def test_ends_of_an_ascent_on_lower_bounds(ends):
    start, end = ends
    shifts, values = np.array([0.0, 0.1]), np.array([start, end])
    landscape = {"shifts": shifts, "jumps": {"box": []}, "paths": {"box": [shifts, values]}, "box": values}
    view = landscapes.climb_view(0, landscape)
    for first, last in (read(rf"from {NUMBER} to {NUMBER}", view.text), map(Fraction, cells(view.html, "Box")[:2])):
        assert first <= Fraction(start) and last <= Fraction(end)
