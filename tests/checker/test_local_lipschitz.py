"""Local Lipschitz constants: proven with bounds on h, refused where a claim is altered, never below a slope."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.checker.references import exact, pieces
from tests.checker.test_checker import proven
from tests.helpers import ball, mondeq
from tightrope import proofs
from tightrope.errors import InputError
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers.local_lipschitz import local_upper_bound

LOCAL = "mondeq-lipschitz-local"


def made(seed: int, norm: float, radius: float = 0.15, order: str = "1+cuts"):
    """The file, its bound, and the network."""
    network, region = mondeq(seed), ball(seed, 3, norm, radius)
    bound = local_upper_bound(network, region, order=order)
    return bound.certificates(), bound, network, region


@pytest.mark.parametrize(("seed", "norm"), [*itertools.product(range(5), (2, INFINITY))])
@pytest.mark.parametrize(("radius", "order"), [(1e-5, "1"), (0.05, "1"), (0.15, "1+cuts")])
def test_constants_are_proven(seed, norm, radius, order, rng):
    proof, bound, network, region = made(seed, norm, radius, order)
    assert proof.proven, proof.findings
    assert proof.certificate.theory == (LOCAL if bound.undecided < 4 else "mondeq-lipschitz")
    value = float(proof.certificate.claims[0]["bound"])
    assert value <= bound.value * (1 + 2e-3)
    slopes = np.linalg.norm(network.jacobian(region.sample(100, rng)), ord=norm, axis=(1, 2))
    assert slopes.max() <= value * (1 + 1e-9)


def test_constants_on_clipped_balls_are_proven():
    network, region = mondeq(1), ball(1, 3, INFINITY, 0.2, clip=True)
    proof = local_upper_bound(network, region, order="1+cuts").certificates()
    assert proof.proven and "within the arrays lower and upper" in proof.findings[0].claim


@pytest.mark.parametrize("norm", [2, INFINITY])
@pytest.mark.parametrize("seed", range(4))
def test_constants_are_at_least_the_steepest_slope(seed, norm):
    """With one input, where every slope is enumerated: nothing below it is proven."""
    network, centre = mondeq(seed, p=3, p0=1), np.random.default_rng(seed).standard_normal(1)
    region = Ball(centre, 0.2, norm)
    file = local_upper_bound(network, region, order="1+cuts").certificates().certificate
    start, step = exact(centre), np.array([Fraction(1)], dtype=object)
    ends = (-Fraction(0.2), Fraction(0.2))
    slopes = [np.abs(slope.astype(float)) for a, b, slope, _ in pieces(network, start, step, *ends) if a < b]
    least = max(np.linalg.norm(slope, norm) for slope in slopes)
    assert least <= float(file.claims[0]["bound"]) * (1 + 1e-12)
    claim = file.claims[0] | {"bound": proofs.decimal_below(least * (1 - 1e-9))}
    assert not proven(replace(file, claims=[claim]), proofs.arrays_of(network)[1])


@pytest.mark.parametrize("norm", [2, INFINITY])
def test_altered_claims_are_refused(norm):
    proof, bound, network, _ = made(1, norm)
    file, arrays = proof.certificate, proofs.arrays_of(network)[1]
    assert file.theory == LOCAL and 0 < bound.small.active.sum()
    claim = file.claims[0]
    changes = ({"bound": "0.01"}, {"bound": 1}, {"norm": "1"}, {"norm": None}, {"pair": [0, 1]}, {"more": 0})
    for change in changes:
        assert not proven(replace(file, claims=[claim | change]), arrays), change
    for key in claim:
        assert not proven(replace(file, claims=[{k: v for k, v in claim.items() if k != key}]), arrays)
    assert not proven(replace(file, region=file.region | {"radius": "2"}), arrays)
    assert not proven(replace(file, theory="mondeq-lipschitz"), arrays)
    assert not proven(file, arrays | {"C": 2 * arrays["C"]})
    for name, array in file.arrays.items():
        without = {other: a for other, a in file.arrays.items() if other != name}
        assert not proven(replace(file, arrays=without), arrays), name
        for altered in (array[:-1], array[..., None], np.full_like(array, np.nan), -np.abs(array) - 1):
            if (altered != array).any() if altered.shape == array.shape else True:
                assert not proven(replace(file, arrays=file.arrays | {name: altered}), arrays), name
    narrow = {"l": file.arrays["h"] - 1e-9, "u": file.arrays["h"] + 1e-9}
    assert not proven(replace(file, arrays=file.arrays | narrow), arrays)


def test_constants_with_the_graph_have_no_file():
    network, region = mondeq(0), ball(0, 3, 2, 0.3)
    with pytest.raises(InputError, match="graph"):
        local_upper_bound(network, region, graph=True).certificates()
