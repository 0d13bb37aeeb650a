"""Nothing is PROVEN below the exact maximum of a tiny network, whatever a file holds."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.checker.references import largest_margin, steepest
from tests.helpers import mondeq
from tightrope import checker, proofs
from tightrope.checker import regions
from tightrope.regions import INFINITY, Ball, EllipsoidRegion, Polytope, Zonotope
from tightrope.verifiers import lipschitz
from tightrope.verifiers.robustness import certify


def segment(seed: int, kind: str):
    """A network and a region with one coordinate."""
    centre = np.random.default_rng(seed).standard_normal(2)
    if kind in ("zonotope", "ellipsoid"):
        network, G = mondeq(seed, p=3, p0=2), np.array([[0.4], [-0.3]])
        return network, (Zonotope if kind == "zonotope" else EllipsoidRegion)(centre, G)
    if kind == "polytope":
        rows = np.array([[1.0], [-2.0]])
        return mondeq(seed, p=3, p0=1), Polytope(rows, rows @ centre[:1] + 0.4, centre[:1] - 0.3, centre[:1] + 0.7)
    network, norm = mondeq(seed, p=3, p0=1), INFINITY if kind[:3] == "inf" else float(kind[0])
    bounds = (centre[:1] - 0.2, centre[:1] + 0.9) if "clipped" in kind else (None, None)
    return network, Ball(centre[:1], 0.7, norm, *bounds)


KINDS = ("1", "2", "inf", "1 clipped", "2 clipped", "inf clipped", "zonotope", "ellipsoid", "polytope")


@pytest.mark.parametrize(("seed", "kind"), list(itertools.product(range(6), KINDS)))
def test_bounds_are_at_least_the_exact_maximum(seed, kind):
    network, region = segment(seed, kind)
    label = int(network.predict(region.center))
    proof = certify(network, region, label, attack=False, method="interior-point").certificates()
    file, arrays = proof.certificate, proofs.arrays_of(network)[1]
    assert proof.proven
    read = regions.read(file.region, file.arrays)
    for number, claim in enumerate(file.claims):
        most = largest_margin(network, read, claim["label"], claim["target"])
        assert most <= Fraction(claim["bound"])
        low = file.claims.copy()
        low[number] = claim | {"bound": proofs.decimal_below(float(most) - 1e-12)}
        assert not checker.check(replace(file, claims=low), arrays)[number].proven


@settings(max_examples=60)
@given(seed=st.integers(0, 30), kind=st.sampled_from(KINDS), data=st.data())
def test_altered_multipliers_never_prove_too_much(seed, kind, data):
    network, region = segment(seed, kind)
    label = int(network.predict(region.center))
    proof = certify(
        network, region, label, attack=False, method="interior-point", targets=[(label + 1) % 3]
    ).certificates()
    assume(proof.certificate is not None)
    file, arrays = proof.certificate, proofs.arrays_of(network)[1]
    name = data.draw(st.sampled_from([name for name in ("t", "mu", "nu", "q", "clip", "rows") if name in file.arrays]))
    factor = data.draw(st.floats(0, 4) | st.floats(0, 1e300) | st.just(-1.0))
    read = regions.read(file.region, file.arrays)
    most = largest_margin(network, read, label, (label + 1) % 3)
    bound = proofs.decimal_below(float(most) - data.draw(st.floats(1e-12, 1)))
    with np.errstate(over="ignore"):
        changed = file.arrays | {name: file.arrays[name].astype(float) * factor}
    claims = [file.claims[0] | {"bound": bound}]
    assert not checker.check(replace(file, arrays=changed, claims=claims), arrays)[0].proven


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("norm", [1, 2, INFINITY])
def test_lipschitz_constants_are_at_least_the_steepest_slope(seed, norm):
    network = mondeq(seed, p=3, p0=1)
    file, arrays = lipschitz.upper_bound(network, norm).certificates().certificate, proofs.arrays_of(network)[1]
    slopes = steepest(network)
    # Of the norms of one column: L1 and L2 are at least those of the entries at one slope each.
    least = max(slopes)
    assert least <= Fraction(file.claims[0]["bound"])
    claim = file.claims[0] | {"bound": proofs.decimal_below(float(least) * (1 - 1e-9))}
    assert not checker.check(replace(file, claims=[claim]), arrays)[0].proven
