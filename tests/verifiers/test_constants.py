"""The one door to Lipschitz constants: which question is asked of whom, and what the answer is worth."""

import numpy as np
import pytest

from tightrope.errors import InputError, NetworkError, RegionError
from tightrope.networks import Composition, Dense, FeedForward
from tightrope.regions import INFINITY, Ball, Zonotope
from tightrope.verifiers import lipschitz, local_lipschitz, relu_lipschitz
from tightrope.verifiers.constants import MapBound, lipschitz_bound

RNG = np.random.default_rng(5)
NETWORK = FeedForward.dense((RNG.normal(size=(6, 3)), RNG.normal(size=(2, 6))), (RNG.normal(size=6), np.zeros(2)))
MONDEQ = NETWORK.to_mondeq()
BOX, DISC = Ball([0.1, -0.2, 0.3], 0.5, "inf"), Ball([0.1, -0.2, 0.3], 0.5, 2)


def slopes(network: FeedForward, region: Ball, norm: float, rows: slice) -> float:
    """The largest ||J||_norm of F's rows at random points: a lower bound of the constant."""
    largest = 0.0
    for x in region.sample(200, np.random.default_rng(0)):
        (h, _), (A, C) = network.preactivations(x), network.weights
        largest = max(largest, np.linalg.norm(C[rows] * (h[0] > 0) @ A, norm))
    return largest


@pytest.mark.parametrize("network", [NETWORK, MONDEQ], ids=["layers", "mondeq"])
@pytest.mark.parametrize("region", [BOX, DISC], ids=["inf", "2"])
@pytest.mark.parametrize("part", [None, 1])
def test_a_constant_bounds_every_slope(network, region, part):
    """Of the whole map with one norm on both sides, and of one output; on the ball and for all inputs."""
    rows = slice(None) if part is None else slice(part, part + 1)
    least = slopes(NETWORK, region, region.norm, rows)
    there = lipschitz_bound(network, region, part=part)
    everywhere = lipschitz_bound(network, norm=region.norm, part=part)
    assert least <= there.value * (1 + 1e-9) and there.value <= everywhere.value * (1 + 1e-3)
    assert there.norm == everywhere.norm == region.norm
    assert "on the region" in there.headline and "for all inputs" in everywhere.headline


def test_the_whole_map_in_the_maximum_norm_is_the_largest_output():
    """One report for each; a method from below gives a lower bound."""
    found = lipschitz_bound(NETWORK, BOX)
    assert isinstance(found, MapBound) and [part.part for part in found.parts] == [0, 1]
    assert found.value == max(part.value for part in found.parts) and found.verdict == "certified"
    below = lipschitz_bound(NETWORK, BOX, method="lbs")
    assert below.value <= found.value and "at least" in below.headline and below.sides["value"] == "lower"
    pair = lipschitz_bound(NETWORK, BOX, part=(0, 1), method="intervals")
    assert "F_0 - F_1" in repr(pair) and pair.method == "intervals"


def test_who_answers():
    """The report is that of the function behind the door."""
    assert isinstance(lipschitz_bound(MONDEQ, norm=1), lipschitz.LipschitzBound)
    assert isinstance(lipschitz_bound(NETWORK, DISC), local_lipschitz.LocalBound)
    assert isinstance(lipschitz_bound(NETWORK, DISC, part=0), relu_lipschitz.ReluBound)
    other = lipschitz_bound(NETWORK, Ball(DISC.center, 0.5, 3), part=0)
    assert isinstance(other, local_lipschitz.LocalBound) and "by Riesz-Thorin from L2 and Linf" in other.headline


def test_layers_whose_product_is_rounded_are_not_made_a_mondeq():
    """Output by output their rounding is counted."""
    layers = (NETWORK.layers[0], Composition((NETWORK.layers[1], Dense(np.eye(2) / 3, np.zeros(2)))))
    composed = FeedForward(layers)
    with pytest.raises(NetworkError, match=r"layers\[1\] .* rounded; give a region of norm inf"):
        lipschitz_bound(composed, norm=INFINITY)
    assert lipschitz_bound(composed, BOX).value == pytest.approx(lipschitz_bound(NETWORK, BOX).value / 3, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, InputError, "write norm=1, 2 or inf"),
        ({"region": 2}, InputError, "expected a Ball, got 2; write norm=2"),
        ({"region": Zonotope(np.zeros(3), np.eye(3))}, RegionError, "expected a Ball, got Zonotope"),
        ({"region": BOX, "norm": 2}, InputError, "leave norm out"),
        ({"norm": 2, "method": "shor"}, InputError, "method: it is for feed-forward networks on a region"),
        ({"region": DISC, "method": "shor"}, InputError, "method: it is for"),
        ({"norm": 2, "part": 2}, InputError, r"part: got 2; write an output 0\.\.1"),
        ({"norm": 2, "part": (0, 1)}, InputError, "pairwise_bounds"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, error, words):
    """With what to write instead."""
    with pytest.raises(error, match=words):
        lipschitz_bound(NETWORK, **arguments)


def test_one_output_of_several_is_asked_for_by_its_number():
    """The function of one output does not take the first one silently."""
    with pytest.raises(InputError, match=r"has 2 outputs; write part=0, or tightrope\.lipschitz_bound"):
        relu_lipschitz.lipschitz_bound(NETWORK, BOX)
