"""The explorer of one image along the radius, without a browser."""

import numpy as np
import pytest

from tightrope.errors import InputError
from tightrope.explorers import radius_curves
from tightrope.explorers.along_radius import _reach


@pytest.fixture
def explorer():
    return radius_curves(epsilon=0.05, background=False)


def test_every_relaxation_has_its_reach_and_they_are_in_order(explorer):
    text = explorer.view.text
    assert explorer.view.png[:4] == b"\x89PNG" and "CROWN-0 none" in text
    words = dict(part.rsplit(" ", 1) for part in text.split("up to ")[1].split(", "))
    assert float(words["Box"]) < float(words["hBox"]) <= float(words["DeepZ"])
    assert "certified up to radius" in explorer.html.value


def test_another_network_image_and_radius(explorer):
    before = explorer.view.text
    explorer.controls["network"].value = "digits/fc-box"
    assert "FC, Box" in explorer.view.text != before
    explorer.controls["image"].value = 3
    explorer.controls["epsilon"].value = 0.1
    assert "test image 3" in explorer.view.text


def test_an_image_that_is_not_there_is_explained():
    with pytest.raises(InputError, match="out of range"):
        radius_curves(image=100_000, controls=(), background=False)


def test_reach_ends_at_the_first_radius_that_is_not_certified():
    radii = np.array([0.0, 1.0, 2.0, 3.0])
    for certified, reach in (([1, 1, 0, 1], 1.0), ([1, 1, 1, 1], 3.0), ([1, 0, 0, 0], 0.0), ([0, 1, 1, 1], None)):
        assert _reach(radii, np.array(certified, bool)) == reach
