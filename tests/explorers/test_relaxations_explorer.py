"""The explorer of relaxations: every control changes the answer, and what it says is true."""

import numpy as np
import pytest

from tightrope.errors import InputError
from tightrope.explorers import relaxations
from tightrope.explorers.relu_shapes import small_network
from tightrope.results.jovanovic2022_paradox.relu_regions import SHAPES


def answer(**state):
    (found,) = relaxations.__wrapped__(stop=lambda: False, **state)
    return found


def test_moving_each_control_changes_the_picture():
    explorer = relaxations(background=False)
    assert "area 1.250, 1.67 times the convex hull's" in explorer.view.text
    before = explorer.view
    for name, value in (("lower", -2.0), ("upper", 0.5), ("weight", -1.0), ("relaxation", "triangle")):
        explorer.controls[name].value = value
        assert explorer.view.text != before.text and explorer.view.png
        before = explorer.view
    explorer.controls["lower"].value, explorer.controls["upper"].value = 0.5, 0.2
    assert "l must be below u" in explorer.alert.value


@pytest.mark.parametrize("method", SHAPES)
@pytest.mark.parametrize("ends", [(-1.0, 1.5), (0.2, 1.0), (-2.0, -0.5), (-1.0, 1.0)])
def test_every_shape_is_drawn(method, ends):
    explorer = relaxations(method, *ends, background=False)
    assert explorer.view.png[:4] == b"\x89PNG"
    assert ("stable" in explorer.view.text) == (ends[0] >= 0 or ends[1] <= 0)


def test_bounds_hold_the_exact_range_and_triangle_is_shortest():
    rng = np.random.default_rng(0)
    for _ in range(5):
        lower, upper, weight = -rng.uniform(0.1, 2), rng.uniform(0.1, 2), rng.uniform(-2, 2)
        found = answer(lower=lower, upper=upper, weight=weight)
        for low, high in found.bounds.values():
            assert low <= found.exact[0] + 1e-9 and high >= found.exact[1] - 1e-9
            assert low <= found.bounds["triangle"][0] + 1e-7 and high >= found.bounds["triangle"][1] - 1e-7
        h = small_network(lower, upper, weight).preactivations(np.array([[-1.0], [1.0]]))[0]
        assert sorted(h[:, 0]) == pytest.approx([lower, upper])


def test_crown_jumps_where_the_choice_flips():
    left, right = (answer(lower=-1.0, upper=1.0 + step).bounds["crown"] for step in (-1e-9, 1e-9))
    assert max(abs(a - b) for a, b in zip(left, right, strict=True)) > 0.01
    left, right = (answer(lower=-1.0, upper=1.0 + step).bounds["deepz"] for step in (-1e-9, 1e-9))
    assert left == pytest.approx(right, abs=1e-6)


def test_bad_input():
    with pytest.raises(InputError, match="relaxation"):
        relaxations("square")
