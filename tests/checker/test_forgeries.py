"""Forged files of every theory: whatever multipliers, arrays and regions they hold, a false claim is refused.

Each false claim is refuted by one point or bound that every forgery of it leaves alone: the region's centre, two inputs
beside it, or what is proven of the whole region. So anything that is proven is a fault of the checker.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.helpers import ball, mondeq
from tightrope import checker, gram_proofs, proofs, relu_proofs
from tightrope.checker import Certificate, regions, relu
from tightrope.networks import FeedForward, MaxPool, ReLU
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.question import Question
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers import lipschitz
from tightrope.verifiers.distortion import minimum_distortion
from tightrope.verifiers.ellipsoid import outer_ellipsoid
from tightrope.verifiers.local_lipschitz import local_upper_bound
from tightrope.verifiers.relu_lipschitz import lipschitz_bound
from tightrope.verifiers.robustness import certify


def _relu(pooled: bool = False) -> tuple[FeedForward, Ball]:
    rng = np.random.default_rng(5)
    shapes = [(4, 2), (3, 3 if pooled else 4), (3, 3)]
    between = (MaxPool((1, 1, 4), (1, 2), 1), ReLU()) if pooled else ()
    weights = [rng.standard_normal(s) for s in shapes], [rng.standard_normal(s[0]) for s in shapes]
    network = FeedForward.dense(*weights, "", between)
    return network, Ball(np.array([0.25, -0.5]), 0.25, INFINITY)


def _steepness(network, centre: np.ndarray, step: np.ndarray) -> np.ndarray:
    """|F_k(x) - F_k(y)| / ||x - y|| of two inputs in the L-infinity ball."""
    ends = [network.logits(centre + sign * step) for sign in (1, -1)]
    return np.abs(ends[0] - ends[1]) / (2 * np.abs(step).max())


@cache
def forged(case: str) -> tuple[Certificate, dict[str, np.ndarray]]:
    """A file whose last claim is false, with honest multipliers of a true one, and the arrays of the network."""
    theory, *more = case.split()
    if theory.startswith("relu"):
        network, region = _relu(bool(more))
    else:
        small = theory == "mondeq-order-2"
        network = mondeq(1, p=2 if small else 4, p0=1 if small else 3)
        region = ball(1, network.input_size, INFINITY, 0.1)
    arrays = proofs.arrays_of(network)[1]
    scores = network.logits(region.center)
    label = int(scores.argmax())
    target = (label + 1) % 3
    low = proofs.decimal_below(float(scores[target] - scores[label]) - 1e-6)  # what the centre refutes
    step = np.full(network.input_size, 0.05)
    slow = proofs.decimal_below(float(_steepness(network, region.center, step).max()) * (1 - 1e-6))
    slow_part = {"part": label, "norm": "inf"}
    slow_of_part = proofs.decimal_below(float(_steepness(network, region.center, step)[label]) * (1 - 1e-6))
    header, stated = region.stated()
    sha256 = checker.digest(*proofs.arrays_of(network))
    margin = {"label": label, "target": target}
    if theory == "mondeq-order-1":
        file = certify(network, region, label, attack=False, method="interior-point").certificates().certificate
    elif theory == "mondeq-order-2":
        file = gram_proofs.margin(Question(network, region, label, [target])).certificate
    elif theory == "mondeq-phases":
        file = certify(network, region, label, attack=False, method="interior-point", order="1+cuts")
        file = file.certificates().certificate
    elif theory == "mondeq-lipschitz":
        file = lipschitz.upper_bound(network, INFINITY).certificates().certificate
    elif theory == "mondeq-lipschitz-local":
        file = local_upper_bound(network, region, order="1+cuts").certificates().certificate
    elif theory == "mondeq-ellipsoid":
        file = outer_ellipsoid(network, region, order="1+cuts" if more else "1").certificates().certificate
        file = replace(file, claims=[margin | {"bound": low, "multiplier": "1"}])
    elif theory == "mondeq-point":
        bounds = certify(network, region, label, attack=False, method="interior-point").certificates().certificate
        (top,) = (float(claim["bound"]) for claim in bounds.claims if claim["target"] == target)
        rows = {"point": region.center[None], "z": network.equilibrium(region.center)[None]}
        claim = margin | {"least": proofs.decimal_above(top + 1e-6), "m": "0.5"}
        file = Certificate(theory, sha256, header, [claim], stated | rows)
    elif theory.endswith("-distortion"):
        method = "lp-greedy" if theory == "relu-distortion" else "cascade"
        file = minimum_distortion(network, replace(region, radius=6.0), label, method).certificates().certificate
        near = proofs.decimal_below(0.9 * float(file.region["radius"]))
        file = replace(file, claims=[*file.claims[:-1], file.claims[-1] | {"distance": near}])
    elif theory == "relu-lipschitz":
        file = lipschitz_bound(network, region, label, "hr-1").certificates().certificate
        assert file.claims[-1].items() >= slow_part.items()
    elif theory == "relu-lipschitz-points":
        most = lipschitz_bound(network, region, label, "intervals").certificates().certificate.claims[-1]["bound"]
        rows = {"point": (region.center + step)[None], "other": (region.center - step)[None]}
        claim = slow_part | {"least": proofs.decimal_above(float(most) * (1 + 1e-6))}
        file = Certificate(theory, sha256, header, [claim], stated | rows)
    elif "lines" in more:
        file = relu_proofs.linear(Question(network, region, label), "crown").certificate
    else:
        found = layerwise(network, InputSet.from_balls([region]), label, "lp-all", keep=True)
        file = relu_proofs.layerwise(network, region, found).certificate
        if theory == "relu-point":
            top = next(float(claim["bound"]) for claim in file.claims if claim.get("target") == target)
            claim = margin | {"least": proofs.decimal_above(top + 1e-6)}
            file = Certificate(theory, sha256, header, [claim], stated | {"point": region.center[None]})
    assert file.theory == theory
    last = file.claims[-1]
    if "bound" in last:
        kind = slow_of_part if "part" in last else slow if "norm" in last else low
        false = last | {"bound": kind} | (margin if "target" in last else {})
        others = [claim for claim in file.claims[:-1] if "layer" in claim]
        file = replace(file, claims=[*others, false])
    return file, arrays


THEORIES = tuple(checker.THEORIES)
#: The theories, and other networks and proofs of some.
CASES = (*THEORIES, "relu-linear pooled", "relu-linear pooled lines", "mondeq-ellipsoid 1+cuts")

#: What is done to one array that is not the region's; any multipliers may stand there.
ARRAYS = {
    "zero": lambda a: 0 * a,
    "ones": np.ones_like,
    "negative": lambda a: -a,
    "twice": lambda a: a * 2,
    "half": lambda a: a / 2,
    "huge": lambda a: np.full(a.shape, 1e308),
    "tiny": lambda a: np.full(a.shape, 5e-324),
    "not a number": lambda a: np.full(a.shape, np.nan),
    "one not a number": lambda a: np.concatenate([[np.nan], a.astype(float).ravel()])[: a.size].reshape(a.shape),
    "infinite": lambda a: np.full(a.shape, np.inf),
    "minus infinite": lambda a: np.full(a.shape, -np.inf),
    "largest in single": lambda a: np.full(a.shape, np.finfo(np.float32).max, np.float32),
    "single": lambda a: a.astype(np.float32),
    "signed bytes": lambda a: np.sign(a).astype(np.int8) * np.int8(-128),
    "bytes that wrap": lambda a: np.full(a.shape, -1).astype(np.uint8),
    "words that wrap": lambda a: np.full(a.shape, -1).astype(np.uint16),
    "whole": lambda a: np.full(a.shape, 2**31 - 1, np.int32),
    "least whole": lambda a: np.full(a.shape, -(2**31), np.int32),
    "minus zero": lambda a: -0.0 * np.abs(a.astype(float)),
    "backwards": lambda a: a[::-1],
    "mirrored": lambda a: a[..., ::-1],
    "rolled": lambda a: np.roll(a, 1),
    "transposed": lambda a: a.T,
    "first row": lambda a: a[:1],
    "no row": lambda a: a[:0],
    "no column": lambda a: a[..., :0],
    "one column": lambda a: a[..., :1],
    "more columns": lambda a: np.concatenate([a, a], -1),
    "more rows": lambda a: np.concatenate([a, a]),
    "flat": np.ravel,
    "a number": lambda a: np.array(1.0),
    "another axis": lambda a: a[None],
    "an inner axis": lambda a: a[:, None],
    "alternating": lambda a: a * np.resize(np.array([1, -1], a.dtype if a.dtype.kind != "u" else "<f8"), a.shape),
    "random": lambda a: np.random.default_rng(0).standard_normal(a.shape),
    "random and positive": lambda a: np.random.default_rng(0).exponential(size=a.shape),
}


def refused(file: Certificate, arrays: dict[str, np.ndarray]) -> None:
    """The false claim, which is the last one, is not proven."""
    with np.errstate(all="ignore"):
        *_, last = checker.check(checker.from_bytes(file.to_bytes()), arrays)
    assert not last.proven and last.reason, last


@pytest.mark.parametrize("theory", CASES)
def test_a_false_claim_is_refused_with_the_multipliers_of_a_true_one(theory):
    refused(*forged(theory))


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("theory", CASES)
def test_no_multipliers_prove_a_false_claim(theory, kind):
    file, arrays = forged(theory)
    own = {name: a for name, a in file.arrays.items() if name not in regions.ARRAYS}
    with np.errstate(all="ignore"):
        changed = {name: np.asarray(ARRAYS[kind](a)) for name, a in own.items()}
    for names in ([name] for name in own) if len(own) < 12 else ([*own][i::5] for i in range(5)):
        refused(replace(file, arrays=file.arrays | {name: changed[name] for name in names}), arrays)
    refused(replace(file, arrays=file.arrays | changed), arrays)
    for name in own:
        refused(replace(file, arrays={other: a for other, a in file.arrays.items() if other != name}), arrays)


@pytest.mark.parametrize("theory", [case for case in CASES if case.startswith(("relu-linear", "relu-point", "relu-d"))])
def test_no_multipliers_prove_a_false_claim_in_floats(theory, monkeypatch):
    file, arrays = forged(theory)
    monkeypatch.setattr(relu, "EXACT_UP_TO", -1)
    refused(file, arrays)
    own = {name: a for name, a in file.arrays.items() if name not in regions.ARRAYS}
    for change in ARRAYS.values():
        with np.errstate(all="ignore"):
            changed = {name: np.asarray(change(a)) for name, a in own.items()}
        for part in (changed, *({name: a} for name, a in changed.items())):
            refused(replace(file, arrays=file.arrays | part), arrays)


@pytest.mark.parametrize("most", [relu.EXACT_UP_TO, -1])
@pytest.mark.parametrize("rule", relu.RULES)
@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e160, 1e200])
def test_margins_that_underflow_or_overflow_are_not_lost(scale, rule, most, monkeypatch):
    """F_1 - F_0 = scale^2 x_1 is above 0 at the centre, in whatever floats it is."""
    monkeypatch.setattr(relu, "EXACT_UP_TO", most)
    W = {"W1": scale * np.eye(2), "b1": np.zeros(2), "W2": scale * np.eye(2), "b2": np.zeros(2)}
    bounds = {"l1": np.array([-2 * scale] * 2), "u1": np.array([2 * scale] * 2)}
    claims = [{"layer": 1, "rule": "interval"}, {"label": 0, "target": 1, "bound": "0", "rule": rule}]
    arrays = {"centre": np.array([0.0, 1.0]), **bounds}
    region = {"norm": "inf", "radius": "0.5"}
    file = Certificate("relu-linear", checker.digest("relu", W), region, claims, arrays)
    assert checker.check(file, W)[0].proven
    refused(file, W)
    exact = 0.5 * scale  # h_2 is above it at the centre
    for low, high in (
        ((-2 * scale, -2 * scale), (2 * scale, exact)),
        ((-2 * scale, 2 * scale), (2 * scale, 2 * scale)),
    ):
        narrow = replace(file, arrays=arrays | {"l1": np.array(low), "u1": np.array(high)})
        assert not any(finding.proven for finding in checker.check(narrow, W))
    point = arrays["centre"][None]
    claim = {"label": 1, "target": 0, "least": "0"}
    at = Certificate("relu-point", checker.digest("relu", W), region, [claim], {"centre": point[0], "point": point})
    refused(at, W)


#: Values of a claim's key with which it says something else than numbers and labels.
VALUES = ("-inf", "nan", "1_0", "-1/3", "٣", "1e+-5", "1e401", " 1", "0x1", "", None, True, 1.5, [], {}, -1, 10**30)


@pytest.mark.parametrize("theory", CASES)
def test_what_is_no_claim_is_refused(theory):
    file, arrays = forged(theory)
    last = file.claims[-1]
    changed = [last | {key: value} for key in last for value in VALUES if value != last[key]]
    changed += [{name: value for name, value in last.items() if name != key} for key in last] + [{}, last | {"x": 1}]
    if "label" in last:
        K = 3
        changed += [last | {"target": last["label"]}, last | {"label": last["label"] - K}, last | {"target": K}]
    for claim in changed:
        refused(replace(file, claims=[*file.claims[:-1], claim]), arrays)
        refused(replace(file, claims=[claim, last]), arrays)
    refused(replace(file, claims=[last, *file.claims]), arrays)
    refused(replace(file, claims=[*file.claims, last]), arrays)
    for leaves in (1, 2, 0, -1, True, 10**30):
        refused(replace(file, claims=[*file.claims[:-1], last | {"leaves": leaves}]), arrays)
    for other in THEORIES:
        if other != file.theory:
            refused(replace(file, theory=other), arrays)


@pytest.mark.parametrize("theory", [name for name in THEORIES if name != "mondeq-lipschitz"])
def test_what_is_no_region_is_refused(theory):
    file, arrays = forged(theory)
    centre, radius = file.arrays["centre"], file.region["radius"]
    pixels = {"norm": "inf", "radius": radius, "scale": "1", "mean": "0", "std": "1", "clip": True}
    n = len(centre)
    box = {"lower": centre - 1, "upper": centre + 1}
    for header, region in (
        (pixels, {"centre": centre, "pixels": np.zeros(n, np.uint8)}),  # one is stated, another is read
        (pixels, {"centre": centre}),
        (pixels, {"pixels": np.zeros(n, np.int8)}),
        (pixels | {"std": "-1"}, {"pixels": np.zeros(n, np.uint8)}),
        (file.region, {"centre": centre, "pixels": np.zeros(n, np.uint8)}),
        (file.region, {"centre": centre, "lower": centre - 1}),  # as if there were no bounds
        (file.region, {"centre": centre, "upper": centre + 1}),
        (file.region, {"centre": centre, "lower": centre + 1, "upper": centre - 1}),
        (file.region, {"centre": centre, "lower": np.full(n, np.nan), "upper": np.full(n, np.nan)}),
        (file.region, {"centre": centre, "lower": centre[:1] - 1, "upper": centre[:1] + 1}),
        (file.region, {"centre": centre, **box, "facets": np.eye(n), "offsets": np.ones(n)}),
        (file.region, {"centre": centre, "generators": np.eye(n)}),
        (file.region, {"centre": np.append(centre, 0.0)}),
        (file.region, {"centre": centre[:1][:0]}),
        (file.region, {"centre": np.array(0.0)}),
        (file.region, {"centre": np.full(n, np.inf)}),
        (file.region, {}),
        (file.region | {"radius": "-1"}, {"centre": centre}),
        (file.region | {"radius": 1}, {"centre": centre}),
        (file.region | {"norm": "-inf"}, {"centre": centre}),
        (file.region | {"norm": "3"}, {"centre": centre}),
        (file.region | {"norm": True}, {"centre": centre}),
        (file.region | {"more": 1}, {"centre": centre}),
        ({"radius": radius}, {"centre": centre}),
        ({"shape": "zonotope"}, {"centre": centre, "generators": np.eye(n + 1)}),
        ({"shape": "zonotope", "norm": "inf"}, {"centre": centre, "generators": np.eye(n)}),
        ({"shape": "cube"}, {"centre": centre, "generators": np.eye(n)}),
        ({"shape": ["zonotope"]}, {"centre": centre, "generators": np.eye(n)}),
        ({"shape": "polytope"}, {**box, "facets": np.eye(n)}),
        ({"shape": "polytope"}, {**box, "facets": np.eye(n + 1), "offsets": np.ones(n + 1)}),
        ({"shape": "polytope"}, {**box, "facets": np.eye(n), "offsets": np.ones((n, 1))}),
        ({}, {"centre": centre}),
    ):
        own = {name: a for name, a in file.arrays.items() if name not in regions.ARRAYS}
        refused(replace(file, region=header, arrays=own | region), arrays)


@pytest.mark.parametrize("theory", ["mondeq-point", "relu-point", "relu-lipschitz-points"])
def test_points_outside_the_region_are_refused(theory):
    """Of each shape of region, with a claim that holds at the point itself."""
    file, arrays = forged(theory)
    centre, n = file.arrays["centre"], len(file.arrays["centre"])
    unit = np.eye(n)[0]
    rows = {"facets": unit[None], "offsets": np.array([centre[0]])}
    for header, region, out, inside in (
        ({"norm": "inf", "radius": "0.1"}, {}, centre + 0.125 * unit, centre + 0.0625 * unit),
        ({"norm": "2", "radius": "0.1"}, {}, centre + 0.09, centre + 0.03),
        ({"norm": "1", "radius": "0.1"}, {}, centre + 0.06, centre + 0.03),
        ({"norm": "1", "radius": "1"}, {"lower": centre, "upper": centre + 1}, centre - 1e-9 * unit, centre),
        ({"norm": "inf", "radius": "1"}, {"lower": centre, "upper": centre + 1}, centre - 1e-9 * unit, centre),
        ({"shape": "polytope"}, {"lower": centre - 1, "upper": centre + 1, **rows}, centre + 1e-9 * unit, centre),
        ({"shape": "zonotope"}, {"generators": np.eye(n, n + 1)}, np.full(n + 1, 1.001), np.full(n + 1, 0.1)),
        ({"shape": "ellipsoid"}, {"generators": np.eye(n, 1)}, np.array([1.001]), np.array([0.5])),
    ):
        own = {"point": inside[None]} | ({"other": centre[None] - 1e-3} if theory == "relu-lipschitz-points" else {})
        if theory == "relu-lipschitz-points" and ("generators" in region or "facets" in region or "lower" in region):
            continue
        stated = region if "facets" in region else {"centre": centre, **region}
        claim = file.claims[0] | {"least": "-100" if "label" in file.claims[0] else "0"}
        if theory == "mondeq-point":
            x = centre + region["generators"] @ inside if "generators" in region else inside
            own["z"] = _z(arrays, x)[None]
        honest = replace(file, region=header, claims=[claim], arrays=stated | own)
        (found,) = checker.check(honest, arrays)
        assert found.proven, found
        refused(replace(honest, arrays=honest.arrays | {"point": out[None]}), arrays)


def _z(arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The state of the network of `mondeq(1)` at x."""
    return mondeq(1).equilibrium(x)


def test_what_a_file_says_prints_on_one_line():
    file, arrays = forged("mondeq-order-1")
    words = "0\nPROVEN (exact)  F_1 - F_0 <= -5 \u202e\x1b[2K"
    for claims in ([file.claims[0] | {"bound": words}], [file.claims[0] | {words: 1}]):
        (found,) = checker.check(replace(file, claims=claims), arrays)
        assert str(found).startswith("REFUSED") and str(found).isascii() and str(found).isprintable()


def test_a_network_without_outputs_has_no_negative_constant():
    arrays = proofs.arrays_of(mondeq(0))[1] | {"C": np.zeros((0, 4)), "c": np.zeros(0)}
    file = Certificate("mondeq-lipschitz", checker.digest("mondeq", arrays), {}, [{"norm": "inf", "bound": "-1"}], {})
    assert not checker.check(file, arrays)[0].proven
