"""What is no network or no region is refused at every public function, with what to write instead."""

import numpy as np
import pytest
import torch

import tightrope
from tightrope.errors import NetworkError, RegionError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.properties import parse_vnnlib
from tightrope.question import Question
from tightrope.regions import Ball, Zonotope
from tightrope.verifiers.ellipsoid import outer_ellipsoid
from tightrope.verifiers.lipschitz import upper_bound
from tightrope.verifiers.local_lipschitz import local_upper_bound
from tightrope.verifiers.properties import certify_property
from tightrope.verifiers.relu_lipschitz import lipschitz_bound
from tightrope.verifiers.robustness import certify

RELU = FeedForward.dense((np.eye(2), np.eye(2)), (np.zeros(2), np.zeros(2)))
MONDEQ = MonDEQ(-np.eye(2), np.eye(2), np.zeros(2), np.eye(2), np.zeros(2))
MODULE = torch.nn.Sequential(torch.nn.Linear(2, 2))
BALL = Ball([1.0, 0.0], 0.1, np.inf)
BOTH = (certify, Question, tightrope.attack, tightrope.minimum_distortion)
TWO_BY_TWO = "".join(f"(declare-const {v}_{i} Real)" for v in "XY" for i in range(2))
BOX = "".join(f"(assert (<= X_{i} 1))(assert (>= X_{i} 0))" for i in range(2))
QUESTION = parse_vnnlib(TWO_BY_TWO + BOX + "(assert (>= Y_0 2))")


def ask(function, network, region=BALL):
    """Call a public function with what it needs."""
    rest = {upper_bound: (2,), certify_property: (QUESTION,)}.get(function)
    if rest is None:
        rest = (region, 0) if function in BOTH else (region,)
    return function(network, *rest)


FUNCTIONS = (*BOTH, lipschitz_bound, certify_property)
FUNCTIONS += (upper_bound, local_upper_bound, outer_ellipsoid, tightrope.lipschitz_bound)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_a_module_and_a_path_are_no_networks(function):
    """Each has a way to become one."""
    with pytest.raises(NetworkError, match=r"network: expected a .*, got Sequential; write FeedForward.from_torch"):
        ask(function, MODULE)
    with pytest.raises(NetworkError, match=r"got str; write networks\.load"):
        ask(function, "net.npz")


@pytest.mark.parametrize(
    ("function", "network", "instead"),
    [
        (upper_bound, RELU, r"tightrope.lipschitz_bound\(network, norm=2\)"),
        (local_upper_bound, RELU, "to_mondeq"),
        (outer_ellipsoid, RELU, "to_mondeq"),
        (lipschitz_bound, MONDEQ, "tightrope.lipschitz_bound"),
        (certify_property, MONDEQ, "expected a FeedForward, got MonDEQ"),
    ],
)
def test_a_network_of_the_other_kind(function, network, instead):
    """The function that takes it, or how to turn it into the other."""
    with pytest.raises(NetworkError, match=instead):
        ask(function, network)


FEEDFORWARD = (*BOTH, lipschitz_bound)
PAIRS = [(one, RELU) for one in FEEDFORWARD] + [(one, MONDEQ) for one in (*BOTH, local_upper_bound, outer_ellipsoid)]
PAIRS += [(tightrope.lipschitz_bound, network) for network in (RELU, MONDEQ)]


@pytest.mark.parametrize(("function", "network"), PAIRS)
def test_a_tuple_is_no_region(function, network):
    """A ball is written by its class."""
    with pytest.raises(RegionError, match=r"got tuple; write regions.Ball\(center, radius, norm\)"):
        ask(function, network, ([1.0, 0.0], 0.1))


def test_regions_that_a_function_does_not_take():
    """Named with the one that it takes."""
    zonotope = Zonotope([1.0, 0.0], np.eye(2))
    with pytest.raises(RegionError, match="expected a Ball, got Zonotope"):
        lipschitz_bound(RELU, zonotope)
    assert certify(RELU, zonotope, 0).verdict.value in ("certified", "falsified", "unknown")
