"""Lipschitz constants of ReLU networks: what every method finds is proven, and nothing false, against exact constants.

The constants of networks with two inputs come from their cells of activation, cut out of a square in rationals.
"""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.checker.test_relu import exact, random_network
from tightrope import checker, proofs
from tightrope.checker import Certificate, relu_lipschitz
from tightrope.checker.regions import decimal, read
from tightrope.errors import InputError
from tightrope.networks import Composition, Dense, FeedForward, Scaling
from tightrope.problems.relu_question import question
from tightrope.question import Limits
from tightrope.regions import INFINITY, Ball
from tightrope.relu_lipschitz_proofs import Place, Products, lower, upper
from tightrope.verifiers.relu_lipschitz import METHODS, lipschitz_bound

UPPER = [name for name, method in METHODS.items() if method.side == "upper" and name != "sparse-lasserre"]
Polygon = list[tuple[Fraction, Fraction]]
SHAPES = [(2, 4, 2), (2, 3, 3, 2), (2, 3, 2, 2, 2)]
#: Networks that are not constant on their box; the last box is clipped.
SEEDS = (2, 8, 5)


def box_of(seed: int, norm: float = INFINITY) -> Ball:
    rng = np.random.default_rng(seed + 50)
    centre, radius = np.round(rng.standard_normal(2), 3), float(np.round(rng.uniform(0.2, 1.5), 3))
    if norm == INFINITY and seed % 2:
        return Ball(centre, radius, norm, centre - 0.4 * radius, centre + np.array([2.0, 0.7]) * radius)
    return Ball(centre, radius, norm)


def corners(header: dict, arrays: dict, everywhere: int = 1000) -> Polygon:
    """The box of a file's region, or a square in its L2 ball, or a large square."""
    if not header:
        low, high = [Fraction(-everywhere)] * 2, [Fraction(everywhere)] * 2
    else:
        region = read(header, arrays)
        half = region.half.fractions() if region.half is not None else [region.radius * Fraction(7, 10)] * 2
        low = [c - h for c, h in zip(region.centre.fractions(), half, strict=True)]
        high = [c + h for c, h in zip(region.centre.fractions(), half, strict=True)]
    return [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]


def cut(polygon: Polygon, form: list[Fraction], sign: int) -> Polygon:
    """The part where sign (form[0] + form[1] x + form[2] y) >= 0; empty where it has no interior."""
    values = [sign * (form[0] + form[1] * x + form[2] * y) for x, y in polygon]
    if not any(v > 0 for v in values):
        return []
    found = []
    pairs = list(zip(polygon, values, strict=True))
    for (p, a), (q, b) in zip(pairs, pairs[1:] + pairs[:1], strict=True):
        if a >= 0:
            found.append(p)
        if a * b < 0:
            found.append(tuple(u + (v - u) * a / (a - b) for u, v in zip(p, q, strict=True)))
    return found


def exact_constant(network: FeedForward, part, norm: str, polygon: Polygon) -> Fraction:
    """The constant (squared, of the norm 2) of an output or a pair on a polygon."""
    layers = [tuple(map(exact, layer.dense())) for layer in network.layers]
    zero, one = Fraction(0), Fraction(1)
    cells = [(polygon, [[zero, one, zero], [zero, zero, one]])]  # activations as forms of (1, x, y)

    def forms(W, b, x):
        return [
            [sum(w * form[k] for w, form in zip(row, x, strict=True)) + (c if k == 0 else 0) for k in range(3)]
            for row, c in zip(W, b, strict=True)
        ]

    for W, b in layers[:-1]:
        finer = []
        for cell, x in cells:
            parts = [(cell, [])]
            for h in forms(W, b, x):
                if h[1] == h[2] == 0:
                    parts = [(p, [*done, h if h[0] > 0 else [zero] * 3]) for p, done in parts]
                    continue
                sides = [(cut(p, h, s), [*done, h if s > 0 else [zero] * 3]) for p, done in parts for s in (1, -1)]
                parts = [side for side in sides if side[0]]
            finer += parts
        cells = finer
    best = zero
    for _, x in cells:
        y = forms(*layers[-1], x)
        g = [y[part[0]][k] - y[part[1]][k] for k in (1, 2)] if isinstance(part, list) else y[part][1:]
        best = max(best, sum(map(abs, g)) if norm == "inf" else sum(v * v for v in g))
    return best


def true(network: FeedForward, file: Certificate, claim: dict) -> bool:
    """Whether a claim holds; of an upper bound in the L2 ball, whether it holds on a square inside."""
    most = exact_constant(network, claim["part"], claim["norm"], corners(file.region, file.arrays))
    bound = decimal(claim, "bound" if "bound" in claim else "least")
    bound = bound if claim["norm"] == "inf" else bound**2
    return most <= bound if "bound" in claim else bound <= most


def findings(file: Certificate, network: FeedForward) -> list:
    return checker.check(file, network.arrays())


@pytest.mark.parametrize(
    ("method", "norm"),
    [(name, norm) for name in UPPER for norm in (INFINITY, 2) if norm == INFINITY or not name.startswith("lipopt")],
)
def test_upper_bounds_are_proven_and_true(method, norm):
    for seed, sizes in itertools.product(SEEDS, SHAPES if method not in ("hr-2", "hr-3") else SHAPES[:2]):
        if method == "lipopt-3" and len(sizes) > 4:
            continue
        network, region = random_network(seed, sizes), box_of(seed, norm)
        part = (0, 1) if seed == 8 else 1
        found = lipschitz_bound(network, region, part, method, limits=Limits(1e-5))
        if found.value is None:  # a solver gave up
            continue
        proof = found.certificates()
        assert proof.proven, proof.findings
        assert {finding.by for finding in proof.findings} == {"exact"}
        (claim,) = (claim for claim in proof.certificate.claims if "part" in claim)
        assert true(network, proof.certificate, claim)
        assert float(claim["bound"]) <= found.value * (1 + 1e-3) + 1e-3
        assert checker.from_bytes(proof.certificate.to_bytes()).claims == proof.certificate.claims


@pytest.mark.parametrize("method", ["lbs", "ascent"])
@pytest.mark.parametrize("norm", [INFINITY, 2])
def test_lower_bounds_are_proven_and_true(method, norm):
    for seed, sizes in itertools.product(SEEDS, SHAPES):
        network, region = random_network(seed, sizes), box_of(seed, norm)
        found = lipschitz_bound(network, region, seed % 2, method, samples=200)
        proof = found.certificates()
        assert proof.proven, proof.findings
        (claim,) = proof.certificate.claims
        assert float(claim["least"]) == pytest.approx(found.value, rel=2e-4)
        if norm == INFINITY:
            assert true(network, proof.certificate, claim)
        more = claim | {"least": str(round(found.value * 1.01, 6))}
        assert not findings(replace(proof.certificate, claims=[more]), network)[0].proven
        for name in ("point", "other"):
            outside = proof.certificate.arrays | {name: proof.certificate.arrays[name] + 10}
            assert not findings(replace(proof.certificate, arrays=outside), network)[0].proven
        same = proof.certificate.arrays | {"other": proof.certificate.arrays["point"]}
        assert not findings(replace(proof.certificate, arrays=same), network)[0].proven


def test_both_points_of_a_quotient_are_inside():
    """All quotients of an affine output are equal: only the region tells the points apart."""
    network = FeedForward.dense([np.array([[2.0]])], [np.zeros(1)])
    file = lipschitz_bound(network, Ball(np.zeros(1), 1.0, INFINITY), 0, "lbs").certificates().certificate
    assert findings(file, network)[0].proven
    for name in ("point", "other"):
        outside = file.arrays | {name: np.array([[1.5]])}
        (finding,) = findings(replace(file, arrays=outside), network)
        assert not finding.proven and "outside" in finding.reason
        assert findings(replace(file, region={}, arrays={k: outside[k] for k in ("point", "other")}), network)[0].proven


def test_a_negative_multiplier_of_a_product_is_refused():
    """Here t u = 2 s u - u = 1 - 2 u (1 - s) - (1 - u); with -1 times the empty product it would be at most 0."""
    network = FeedForward.dense([np.array([[1.0]]), np.array([[1.0]])], [np.zeros(1), np.zeros(1)])
    arrays = {"products": np.array([[[2, -1], [-2, 0], [0, 0]]], np.int32)}
    for weights, bound, expected in (([2.0, 1.0, 0.0], "1", True), ([2.0, 1.0, -1.0], "0", False)):
        claims = [{"part": 0, "norm": "inf", "bound": bound, "rule": "products"}]
        whole = arrays | {"multipliers": np.array([weights])}
        file = Certificate("relu-lipschitz", proofs.digest(network), {}, claims, whole)
        assert findings(file, network)[0].proven == expected, (weights, findings(file, network))


def test_a_gradient_that_no_point_has_is_refused_with_the_reason():
    """|x| as a sum of two ReLUs: u = (1, 1) at 0 is a gradient of the paper, and of no point."""
    network = FeedForward.dense([np.array([[1.0], [1.0]]), np.array([[1.0, -1.0]])], [np.zeros(2), np.zeros(1)])
    place = Place(np.zeros(1), (np.array([True, False]),))
    proof = lower(question(network, Ball(np.zeros(1), 1.0, INFINITY)), 0, 1.0, place)
    assert proof.certificate is None and "attained" in proof.findings[0].reason


@pytest.mark.parametrize("sizes", [(6, 3, 1), (7, 3, 2, 1)])
@pytest.mark.parametrize("method", ["shor", "product-shor"])
def test_more_inputs_than_neurons_in_the_norm_2(sizes, method):
    """The directions that the first layer does not see drop out; the bound is that of the reduced problem."""
    rng = np.random.default_rng(6)
    network = FeedForward.dense(
        [rng.standard_normal(shape) for shape in zip(sizes[1:], sizes, strict=False)],
        [rng.standard_normal(p) for p in sizes[1:]],
    )
    for radius in (0.3, 3.0):
        region = Ball(0.3 * rng.standard_normal(sizes[0]), radius, 2)
        least, most = (lipschitz_bound(network, region, 0, name, samples=2000) for name in ("ascent", method))
        for proof, name in ((least.certificates(), "least"), (most.certificates(), "bound")):
            assert proof.proven
            value = float(proof.certificate.claims[-1][name])
            assert least.value * (1 - 1e-3) <= value <= most.value * (1 + 1e-3)


@pytest.fixture(scope="module")
def files():
    """A network and its files by rule: one hidden layer, and two."""
    found = []
    for sizes in SHAPES[:2]:
        network, region = random_network(5, sizes), box_of(5)
        for method in ("intervals", "shor", "product-shor", "lipopt-3", "qcqp"):
            found.append((network, lipschitz_bound(network, region, 0, method, limits=Limits(1e-5)).certificates()))
    assert all(proof.proven for _, proof in found)
    return [(network, proof.certificate) for network, proof in found]


def proven(file: Certificate, network: FeedForward) -> bool:
    """Whether the last claim is proven; if it is, it is true."""
    last = findings(file, network)[-1]
    if last.proven:
        assert true(network, file, file.claims[-1]), last
    return last.proven


def test_altered_claims_are_refused(files):
    for network, file in files:
        *layers, claim = file.claims
        bound = float(claim["bound"])
        altered = [{"bound": str(round(bound * 0.998, 6))}, {"bound": "-1"}, {"bound": None}, {"bound": "nan"}]
        altered += [{"part": part} for part in (None, "0", -1, 2, True, [0], [0, 0], [0, 1, 1], [0, 2], {})]
        altered += [{"norm": norm} for norm in ("1", "3", None, 2, [])] + [{"extra": 0}]
        rules = {"intervals", "quadratics", "products", "given", None} - {claim["rule"]}
        altered += [{"rule": rule} for rule in rules]
        for change in altered:
            wrong = replace(file, claims=[*layers, claim | change])
            if change.get("rule") == "intervals" and proven(replace(file, claims=[*layers, claim]), network):
                assert not proven(wrong, network) or true(network, wrong, claim)
            else:
                assert not proven(wrong, network), change
        for key in claim:
            without = {name: value for name, value in claim.items() if name != key}
            assert not findings(replace(file, claims=[*layers, without]), network)[-1].proven
        for part in (1, [0, 1], [1, 0]):
            proven(replace(file, claims=[*layers, claim | {"part": part}]), network)
        proven(replace(file, claims=[*layers, claim | {"norm": "2"}]), network)
        assert not proven(replace(file, network="0" * 64), network)
        assert not proven(replace(file, theory="relu-lipschitz-points"), network)


def test_layers_must_be_proven_in_order(files):
    for network, file in files:
        *layers, claim = file.claims
        if not layers:  # everywhere: no layer has bounds
            assert not findings(replace(file, claims=[{"layer": 1, "rule": "interval"}]), network)[0].proven
            continue
        assert not findings(replace(file, claims=[claim]), network)[0].proven
        wider = dict(file.region) | {"radius": str(3 * Fraction(decimal(file.region, "radius")).__float__())}
        assert not proven(replace(file, region=wider, arrays=_unclipped(file.arrays)), network)
        for rule in ("given", "none", None, 1):
            assert not findings(replace(file, claims=[layers[0] | {"rule": rule}]), network)[0].proven
        narrow = file.arrays | {"l1": file.arrays["l1"] + 0.1}
        assert not proven(replace(file, arrays=narrow), network)
        assert not proven(replace(file, region={}), network)


def _unclipped(arrays):
    return {name: array for name, array in arrays.items() if name not in ("lower", "upper")}


def test_altered_arrays_prove_nothing_false(files):
    rng = np.random.default_rng(0)
    accepted = 0
    for network, file in files:
        for name, array in file.arrays.items():
            for change in range(3):
                other = np.array(array, dtype=array.dtype)
                place = rng.integers(other.size)
                if other.dtype.kind == "f":
                    other.flat[place] += rng.standard_normal() * 10.0 ** rng.integers(-6, 2)
                else:
                    other.flat[place] *= -1
                accepted += proven(replace(file, arrays=file.arrays | {name: other}), network)
                if other.dtype.kind == "f":
                    other.flat[place] = np.nan if change else np.inf
                    assert not proven(replace(file, arrays=file.arrays | {name: other}), network)
            for other in (array[..., :-1], array[:0], array[None], np.array(1.0)):
                assert not proven(replace(file, arrays=file.arrays | {name: other}), network), name
            if file.claims[-1]["rule"] != "intervals":
                proven(replace(file, arrays={k: v for k, v in file.arrays.items() if k != name}), network)
        for name in ("mu.1", "9.u", "1.z", "point"):
            assert not proven(replace(file, arrays=file.arrays | {name: np.zeros((1, 2))}), network)
    assert accepted  # a multiplier may be another one


HOSTILE = (None, True, -1, 2**70, 1.5, "", "\ud800", "-1e400", "1e999", [], {}, [[]], [[0], 1], [None, 0])


def test_hostile_values_are_refused(files):
    for network, file in files[1::3]:
        for number, claim in enumerate(file.claims):
            for key, value in itertools.product([*claim, "layer", "pair"], HOSTILE):
                claims = [*file.claims]
                claims[number] = claim | {key: value}
                assert not all(finding.proven for finding in findings(replace(file, claims=claims), network))
        for key, value in itertools.product(file.region, HOSTILE):
            assert not proven(replace(file, region=dict(file.region) | {key: value}), network)
        for name, shape in itertools.product(file.arrays, ((0,), (1, 0), (0, 2), (2, 0, 3), (1, 1, 1, 1))):
            assert not proven(replace(file, arrays=file.arrays | {name: np.zeros(shape)}), network)


def test_flipped_bits_prove_nothing_false(files):
    rng = np.random.default_rng(1)
    for network, file in files:
        content = file.to_bytes()
        for _ in range(60):
            changed = bytearray(content)
            changed[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
            try:
                other = checker.from_bytes(bytes(changed))
            except checker.Unreadable:
                continue
            proven(other, network)


FORGED = {
    # |F'| = 1 on [-1, 1]; t - t and a square of t that is subtracted.
    "t": ([[1.0]], [10.0], [[1.0]], {"t": [-1.0], "tt": [1e6]}, "0.1"),
    # |F'| = 1 where x <= -0.9; the function of d cancels that of h.
    "d": (
        [[1.0], [1.0]],
        [0.9, 10.0],
        [[-1.0, 1.0]],
        {"1.h": [-0.33, 0], "1.u": [1.33, 0], "1.uu": [-0.7, 0], "d": [0.33], "dd": [1e6], "tt": [-0.4]},
        "0.8",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_squares_of_a_coordinate_that_nothing_else_has_are_not_subtracted(name):
    """Its function is next to 0 at its smallest, and what the form lacks of it must not be lost."""
    W, b, C, coefficients, bound = FORGED[name]
    network, region = FeedForward.dense([W, C], [b, [0.0]]), Ball([0.0], 1.0, INFINITY)
    file = lipschitz_bound(network, region, 0, "intervals").certificates().certificate
    *layers, last = file.claims
    arrays = dict(file.arrays) | {name: np.array([values]) for name, values in coefficients.items()}
    forged = replace(file, claims=[*layers, last | {"rule": "quadratics", "bound": bound}], arrays=arrays)
    *_, finding = checker.check(forged, network.arrays())
    assert not finding.proven and "negative weight" in finding.reason


def test_any_coefficients_prove_only_what_is_true():
    """Coefficients that no solver made, and the least bound that they prove as the form's Schur complement."""
    rng = np.random.default_rng(2)
    count = 0
    for seed in range(12):
        sizes = SHAPES[seed % 3]
        network, region = random_network(seed, sizes), box_of(seed)
        ask = question(network, region, 0)
        own = {"tt": -rng.uniform(1, 9, 2), "dd": -rng.uniform(1, 9, 2)}
        own |= {name: rng.standard_normal(2) for name in ("d", "t", "dt")}
        for i, p in enumerate(sizes[1:-1], start=1):
            names = [n for n in relu_lipschitz.OF_NEURONS if i < len(sizes) - 2 or "x" not in n]
            own |= {f"{i}.{n}": 0.3 * rng.standard_normal(p) for n in names}
            own |= {f"{i}.{n}": -rng.uniform(5, 20, p) for n in ("uu", "xx", "rr") if n in names}
        file = upper(ask, 0, 1e9, None).certificate  # by intervals, for the region and the bounds of the layers
        network_read = relu_lipschitz.Network.read(network.arrays())
        bounds = list(zip(ask.lower, ask.upper, strict=True))
        states = relu_lipschitz.States.read(network_read, 0, read(file.region, file.arrays), bounds)
        form = relu_lipschitz.quadratics(states, "inf", own).matrix().floats()
        kept = np.flatnonzero(form[1:].any(1)) + 1
        matrix, side = form[np.ix_(kept, kept)], form[0, kept]
        if np.linalg.eigvalsh(matrix)[0] <= 1e-9:
            continue
        least = float(side @ np.linalg.solve(matrix, side)) - float(form[0, 0])
        arrays = file.arrays | {name: values[None] for name, values in own.items()}
        for factor, expected in ((1 + 1e-9, True), (1 - 1e-6, False)):
            claim = {"part": 0, "norm": "inf", "bound": repr(least * factor), "rule": "quadratics"}
            other = replace(file, claims=[*file.claims[:-1], claim], arrays=arrays)
            assert proven(other, network) == expected
        count += 1
    assert count >= 4


def test_least_values_are_those_of_a_fine_grid():
    rng = np.random.default_rng(3)
    grid = np.linspace(-1, 1, 201)
    d, t = np.meshgrid(grid, grid)
    for _ in range(200):
        q = np.round(rng.standard_normal(5) * rng.choice([0, 1, 3], 5), 2)
        least = float(relu_lipschitz.least_on_square(*(Fraction(float(v)) for v in q)))
        values = q[0] * d + q[1] * d**2 + q[2] * t + q[3] * t**2 + q[4] * d * t
        assert least <= values.min() + 1e-12 and least >= values.min() - 1e-3


def test_layers_of_several_steps_and_networks_without_hidden_layers():
    rng = np.random.default_rng(4)
    W, b = rng.standard_normal((3, 2)), rng.standard_normal(3)
    affine = FeedForward.dense([W], [b])
    for norm in (INFINITY, 2):
        for method in ("shor", "lbs"):
            assert lipschitz_bound(affine, box_of(0, norm), (0, 2), method).certificates().proven
    last = Dense(rng.standard_normal((2, 3)), rng.standard_normal(2))
    first = Composition([Scaling(np.array([2.0, -1.0]), np.array([0.5, 0.0])), Dense(W, b)])
    network = FeedForward([first, last])
    for method in ("intervals", "product-shor", "lipopt-3", "ascent"):
        proof = lipschitz_bound(network, box_of(0), 0, method, samples=200).certificates()
        assert proof.proven
        assert true(network, proof.certificate, proof.certificate.claims[-1])


def test_the_constant_of_a_constant_output_is_at_least_zero():
    network = random_network(1, SHAPES[1])
    for method in ("lbs", "ascent"):
        found = lipschitz_bound(network, box_of(1), 0, method, samples=100)
        assert found.value == 0 and found.certificates().proven


def test_what_has_no_certificate_says_so():
    network, region = random_network(1, (2, 3, 2)), box_of(0)
    with pytest.raises(InputError, match="exact"):
        lipschitz_bound(network, region, 0, "exact").certificates()
    found = lipschitz_bound(network, region, 0, "shor", memory_limit=1e-9)
    with pytest.raises(InputError, match="OfM"):
        found.certificates()
    proof = upper(question(network, region, 0), 0, 1e-3, None)
    assert not proof.proven and "intervals" in proof.findings[-1].reason
    weak = lipschitz_bound(network, region, 0, "lipopt-3")
    assert isinstance(weak.evidence, Products)
    proof = upper(question(network, region, 0), 0, weak.value / 2, weak.evidence)
    assert proof.certificate is None and "only" in proof.findings[-1].reason


def test_one_hidden_layer_of_eighty_neurons_takes_a_moment():
    rng = np.random.default_rng(5)
    network = FeedForward.dense(
        [rng.standard_normal((80, 80)) / 9, rng.standard_normal((1, 80))], [rng.standard_normal(80), np.zeros(1)]
    )
    found = lipschitz_bound(network, Ball(np.zeros(80), 10.0, INFINITY), 0, "shor")
    proof = found.certificates()
    assert proof.proven and len(proof.certificate.to_bytes()) < 10_000
    assert float(proof.certificate.claims[-1]["bound"]) <= found.value * (1 + 1e-4)
