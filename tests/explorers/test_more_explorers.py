"""Explorers of envelopes, of training schedules, and of the methods for layers."""

import re

import pytest

from tightrope.errors import UnknownNameError
from tightrope.explorers import certify, envelopes, schedules


def test_envelopes_move_with_their_bounds():
    """Where ReLU is linear its relaxation has no area; l above u is said and not drawn."""
    explorer = envelopes(-2.0, 1.5, background=False)
    assert "relu 1.500" in repr(explorer)  # the triangle: u (-l) / 2
    explorer.controls["lower"].value = 0.5
    assert "relu 0.000" in explorer.view.text and "l = 0.5" in explorer.html.value
    explorer.controls["upper"].value = 0.2
    assert "l must be below u" in explorer.alert.value


def test_schedules_are_the_printed_ones():
    """Table 6, MNIST FC at 0.3 with DeepZ: no elision; a set that has no such network says so."""
    explorer = schedules(training="deepz", background=False)
    assert "mnist, FC, 0.3, DeepZ" in repr(explorer) and "last-layer elision no" in repr(explorer)
    explorer.controls["training"].value = "box"
    assert "warm-up, ramp-up 10, 100" in explorer.view.text
    explorer.controls["dataset"].value = "svhn"
    assert "role='alert'" in explorer.alert.value
    with pytest.raises(UnknownNameError, match="data set"):
        schedules("imagenet", background=False)


def test_methods_for_layers_are_ordered():
    """LP-ALL's bounds are below LP-GREEDY's, for every label of one image."""
    bounds = {}
    explorer = certify("digits/fc-pgd", 0, "inf", 0.08, method="lp-greedy", ellipse=False,
                       controls=("image", "epsilon_pixel", "method"), background=False)  # fmt: skip
    assert "branch-and-bound" in explorer.controls["method"].options
    for method in ("lp-greedy", "lp-all"):
        explorer.controls["method"].value = method
        rows = re.findall(r"<tr>(.*?)</tr>", explorer.html.value)[1:]
        bounds[method] = [float(re.findall(r">([^<>]*)</td>", row)[3]) for row in rows]
    assert len(bounds["lp-all"]) == 9
    assert all(tight <= loose + 1e-6 for tight, loose in zip(bounds["lp-all"], bounds["lp-greedy"], strict=True))
