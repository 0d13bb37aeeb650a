"""What can be proven: a theory's name -> how the claims of a file are checked against a network."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from tightrope.checker import gram, lipschitz, mondeq, phases, points, regions, relu, relu_lipschitz
from tightrope.checker.file import Certificate, digest
from tightrope.checker.numbers import Exact, Refused
from tightrope.checker.relu_network import Network as ReluNetwork
from tightrope.checker.trees import complete

EXACT = "exact"
#: Arrays of margins of order 1.
MULTIPLIERS = ("t", "mu", "nu", "q", "clip", "rows")
#: The claim of a finding that refuses all at once.
WHOLE_FILE = "the whole file"


@dataclass(frozen=True)
class Finding:
    """What became of one claim.

    Attributes
    ----------
    claim : str
        In words.
    proven : bool
    by : str
        How numbers were computed: EXACT, or "float64 analysis", in floats with an a-priori bound of their error.
    reason : str
        Why it is refused; empty if it is proven.
    """

    claim: str
    proven: bool
    by: str = EXACT
    reason: str = ""

    def __str__(self) -> str:
        text = f"PROVEN ({self.by})  {self.claim}" if self.proven else f"REFUSED  {self.claim}: {self.reason}"
        return text.encode("unicode_escape").decode()  # what a file says cannot pass for a line of its own


def check(certificate: Certificate, network: Mapping[str, np.ndarray]) -> list[Finding]:
    """Check every claim of a certificate against the arrays of a network.

    A claim is proven only if the network is the one whose SHA-256 the file states.
    """
    try:
        if certificate.theory not in THEORIES:
            raise Refused(f"unknown theory {certificate.theory!r}; known: {', '.join(THEORIES)}")
        if not certificate.claims:
            raise Refused("the file claims nothing")
        theory = THEORIES[certificate.theory]
        own = {name: network[name] for name in theory.arrays or network if name in network}
        if any(np.asarray(array).dtype.kind not in "biuf" for array in own.values()):
            raise Refused("network: an array is not made of numbers")
        if digest(theory.kind, own) != certificate.network:
            raise Refused("the network is not the one that the file is about (SHA-256 differs)")
        return list(theory.check(certificate, network))
    except Refused as refusal:
        return [Finding(WHOLE_FILE, False, reason=str(refusal))]


@dataclass(frozen=True)
class Theory:
    """One kind of proof: the kind of network, its arrays (all, if none are named), and what checks the claims."""

    kind: str
    arrays: tuple[str, ...]
    check: Callable[[Certificate, Mapping[str, np.ndarray]], Iterator[Finding]]


def _mondeq_margins(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"label", "target", "bound"}: F_target - F_label <= bound; row i of each array belongs to claim i."""
    network = mondeq.Network.read(arrays)
    region, names = _region(certificate, *MULTIPLIERS)

    def prove(number: int, claim: Mapping) -> None:
        _keys(claim, "label", "target", "bound")
        own = {name: _row(certificate.arrays[name], number, name) for name in names}
        multipliers = mondeq.Multipliers.read(own, len(network.u), region.size)
        bound = regions.decimal(claim, "bound")
        mondeq.prove_margin(network, region, _index(claim, "label"), _index(claim, "target"), bound, multipliers)

    yield from _each(certificate, lambda claim: _margin(claim, "<=", "bound") + _ball(certificate), prove)


def _mondeq_second_order(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"label", "target", "bound"}: F_target - F_label <= bound; row i of each array belongs to claim i."""
    network = mondeq.Network.read(arrays)
    region, names = _region(certificate, "sigma", "tau", "gram")

    def prove(number: int, claim: Mapping) -> None:
        _keys(claim, "label", "target", "bound")
        own = {name: _row(certificate.arrays[name], number, name) for name in names}
        bound = regions.decimal(claim, "bound")
        gram.prove_margin(network, region, _index(claim, "label"), _index(claim, "target"), bound, own)

    yield from _each(certificate, lambda claim: _margin(claim, "<=", "bound") + _ball(certificate), prove)


def _mondeq_phases(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"label", "target", "bound"} under bounds on h: l <= h <= u is proven first; with "leaves", a tree.

    A claim takes one row of the multipliers in turn; with leaves as many, and those of `sign`, the phases of each leaf.
    """
    network = mondeq.Network.read(arrays)
    region, _ = _region(certificate, "l", "u", "h", "sign", *phases.ARRAYS)
    low, high, start = (np.asarray(certificate.arrays.get(name, np.zeros(0)), float) for name in ("l", "u", "h"))
    phases.prove_invariant(network, region, low, high, start)  # refuses the whole file
    p, taken = len(low), {"rows": 0, "sign": 0}

    def prove(_: int, claim: Mapping) -> None:
        _keys(claim, "label", "target", "bound", *(["leaves"] if "leaves" in claim else []))
        leaves, signs = _index(claim, "leaves") if "leaves" in claim else 1, np.zeros((1, p))
        if leaves < 1:
            raise Refused("leaves: expected at least one")
        first, taken["rows"] = taken["rows"], taken["rows"] + leaves
        if "leaves" in claim:
            used, taken["sign"] = taken["sign"], taken["sign"] + leaves
            signs = np.atleast_1d(certificate.arrays.get("sign", np.zeros(0)))[used : taken["sign"]]
        if signs.shape != (leaves, p) or not complete(signs):
            raise Refused("sign: the leaves do not cover all phases")
        label, target, bound = _index(claim, "label"), _index(claim, "target"), regions.decimal(claim, "bound")
        for number, leaf in enumerate(signs, first):
            bounds = np.where(leaf > 0, np.maximum(low, 0), low), np.where(leaf < 0, np.minimum(high, 0), high)
            own = phases.Multipliers.read(certificate.arrays, number, p, region.size)
            try:
                phases.prove_margin(network, region, label, target, bound, bounds, own)
            except Refused as refusal:
                raise Refused(f"leaf {number - first + 1} of {leaves}: {refusal}") from None

    yield from _each(certificate, lambda claim: _margin(claim, "<=", "bound") + _ball(certificate), prove)


def _mondeq_ellipsoid(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"holds": "image"}: ||Q F(x) + b|| <= 1; {"label", "target", "bound", "multiplier"}: margins on it."""
    network = mondeq.Network.read(arrays)
    region, names = _region(certificate, *MULTIPLIERS, "Q", "b")
    Q, b = (Exact.of(certificate.arrays.get(name, np.zeros(0))) for name in ("Q", "b"))
    classes = len(network.c)
    if Q.shape != (classes, classes) or b.shape != (classes,):
        raise Refused(f"Q, b: expected the shapes ({classes}, {classes}) and ({classes},)")
    own = {name: certificate.arrays[name] for name in names if name not in ("Q", "b")}
    multipliers = mondeq.Multipliers.read(own, len(network.u), region.size)
    mondeq.prove_image(network, region, Q, b, multipliers)  # refuses the whole file

    def prove(_: int, claim: Mapping) -> None:
        if claim == {"holds": "image"}:
            return
        _keys(claim, "label", "target", "bound", "multiplier")
        label, target = _index(claim, "label"), _index(claim, "target")
        network.difference(label, target)
        bound, multiplier = (regions.decimal(claim, name) for name in ("bound", "multiplier"))
        if multiplier < 0:
            raise Refused("multiplier: it is negative")
        corner = Exact.rational(bound - multiplier) + b @ b * multiplier
        step = Exact.identity(classes)[target] - Exact.identity(classes)[label]
        row = Q.T @ b * multiplier - step * mondeq.HALF
        if not mondeq.is_semidefinite(mondeq.bordered(corner, row, Q.T @ Q * multiplier)):
            raise Refused("the multiplier does not prove the bound")

    def words(claim: Mapping) -> str:
        text = "the ellipsoid holds F" if "holds" in claim else _margin(claim, "<=", "bound")
        return text + _ball(certificate)

    yield from _each(certificate, words, prove)


def _mondeq_points(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"label", "target", "least", "m"}: F_target - F_label >= least at row i of `point`."""
    network = mondeq.Network.read(arrays)
    region, _ = _region(certificate, "point", "z")
    known: set[Fraction] = set()

    def prove(number: int, claim: Mapping) -> None:
        _keys(claim, "label", "target", "least", "m")
        least, m = (regions.decimal(claim, name) for name in ("least", "m"))
        if m not in known:
            network.prove_monotone(m)
            known.add(m)
        point, z = (Exact.of(_row(certificate.arrays.get(name, np.zeros(0)), number, name)) for name in ("point", "z"))
        points.prove_point(network, region, _index(claim, "label"), _index(claim, "target"), least, m, point, z)

    words = "at a point of"
    yield from _each(certificate, lambda claim: _margin(claim, ">=", "least") + _ball(certificate, words), prove)


def _mondeq_lipschitz(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"norm", "bound"} for F, with "pair" for F_i - F_j; their parts take the arrays' rows in turn."""
    network = mondeq.Network.read(arrays)
    _only(certificate, "a", "v", "t")
    if certificate.region:
        raise Refused("region: a global constant has none")
    network.prove_monotone()
    yield from _constants(certificate, network, ("a", "v", "t"))


def _mondeq_local(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """The same claims for inputs of a region, under bounds l <= h <= u that are proven first."""
    network = mondeq.Network.read(arrays)
    names = ("a", "v", "t", "equal")
    region, _ = _region(certificate, *names, "l", "u", "h")
    low, high, start = (np.asarray(certificate.arrays.get(name, np.zeros(0)), float) for name in ("l", "u", "h"))
    phases.prove_invariant(network, region, low, high, start)  # refuses the whole file, if I - W is not monotone too
    signs = np.where(high <= 0, -1, np.where(low >= 0, 1, 0))
    yield from _constants(certificate, network, names, signs)


def _constants(
    certificate: Certificate, network: mondeq.Network, names: tuple[str, ...], signs: np.ndarray | None = None
) -> Iterator[Finding]:
    taken = 0

    def prove(_: int, claim: Mapping) -> None:
        nonlocal taken
        pair = claim.get("pair")
        _keys(claim, "norm", "bound", *(["pair"] if "pair" in claim else []))
        if "pair" in claim and not (isinstance(pair, list) and len(pair) == 2 and all(type(i) is int for i in pair)):
            raise Refused(f"pair: expected two labels, got {pair!r}")
        bound, norm = regions.decimal(claim, "bound"), claim["norm"]
        count = lipschitz.parts(network, str(norm), pair is not None)
        first, taken = taken, taken + count
        own = {name: certificate.arrays[name] for name in names if name in certificate.arrays}
        rows = ({name: _row(a, i, name) for name, a in own.items()} for i in range(first, taken))
        lipschitz.prove_constant(network, str(norm), pair and tuple(pair), bound, rows, signs)

    def words(claim: Mapping) -> str:
        i, j = pair if isinstance(pair := claim.get("pair"), list) and len(pair) == 2 else ("", "")
        what = f"F_{i} - F_{j}" if "pair" in claim else "F"
        where = "" if signs is None else _ball(certificate)
        return f"the L{claim.get('norm')} Lipschitz constant of {what} is at most {claim.get('bound')}{where}"

    yield from _each(certificate, words, prove)


def _relu_linear(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"layer", "rule"}: l <= h <= u of hidden layers in order; then {"label", "target", "bound", "rule"}.

    With the rule "given" the forms of layer i are in mu<i>.1, mu<i>.2, ..., those of the margins in turn in mu.1, ...;
    a margin with "leaves" takes as many rows, and those of sign.1, ..., the phases of each leaf.
    """
    network = ReluNetwork.read(arrays)
    region = regions.read(certificate.region, certificate.arrays)
    proofs = relu.Proofs(network, region)
    _only(certificate, *regions.ARRAYS, *_relu_arrays(certificate, len(network.sizes) - 1))
    taken = {"mu.": 0, "sign.": 0}
    inside = network.sizes[:-1]

    def rows(prefix: str, count: int) -> list[np.ndarray]:
        first, taken[prefix] = taken[prefix], taken[prefix] + count
        return relu.given_forms(certificate.arrays, prefix, inside, slice(first, first + count))

    def prove(_: int, claim: Mapping) -> str:
        given, number = claim.get("rule"), len(proofs.bounds) + 1
        if given != "given" and given not in relu.RULES:
            raise Refused(f"rule: expected given or one of {', '.join(relu.RULES)}, got {given!r}")
        if "layer" in claim:
            _keys(claim, "layer", "rule")
            if _index(claim, "layer") != number or number > len(inside):
                raise Refused("layer: hidden layers are proven in order, each once")
            if given == "given":
                both = slice(0, 2 * inside[number - 1])
                given = relu.given_forms(certificate.arrays, f"mu{number}.", inside[: number - 1], both)
            low, high = (certificate.arrays.get(f"{side}{number}", np.zeros(0)) for side in "lu")
            proofs.prove_layer(low, high, given)
            return proofs.arithmetic.by
        _keys(claim, "label", "target", "bound", "rule", *(["leaves"] if "leaves" in claim else []))
        leaves = _index(claim, "leaves") if "leaves" in claim else 1
        if leaves < 1:
            raise Refused("leaves: expected at least one")
        signs = rows("sign.", leaves) if "leaves" in claim else None
        given = rows("mu.", leaves) if given == "given" else given
        bound = regions.decimal(claim, "bound")
        proofs.prove_margin(_index(claim, "label"), _index(claim, "target"), bound, given, signs)
        return proofs.arithmetic.by

    def words(claim: Mapping) -> str:
        text = f"the bounds of layer {claim.get('layer')}" if "layer" in claim else _margin(claim, "<=", "bound")
        return text + _ball(certificate)

    yield from _each(certificate, words, prove)


def _relu_arrays(certificate: Certificate, hidden: int) -> Iterator[str]:
    """Yield the names of the arrays that the claims use."""
    for claim in certificate.claims:
        prefixes = ["mu."] if claim.get("rule") == "given" else []
        last, number = hidden, claim.get("layer")
        if type(number) is int and 1 <= number <= hidden:
            yield from (f"l{number}", f"u{number}")
            prefixes, last = [f"mu{number}."] * len(prefixes), number - 1
        prefixes += ["sign."] if "leaves" in claim else []
        yield from (f"{prefix}{i}" for prefix in prefixes for i in range(1, last + 1))


def _relu_points(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"label", "target", "least"}: F_target - F_label >= least at row i of `point`."""
    network = ReluNetwork.read(arrays)
    region, _ = _region(certificate, "point")

    def prove(number: int, claim: Mapping) -> str:
        _keys(claim, "label", "target", "least")
        point = _row(certificate.arrays.get("point", np.zeros(0)), number, "point")
        least = regions.decimal(claim, "least")
        return relu.prove_point(network, region, point, _index(claim, "label"), _index(claim, "target"), least)

    words = "at a point of"
    yield from _each(certificate, lambda claim: _margin(claim, ">=", "least") + _ball(certificate, words), prove)


def _relu_distortion(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims of relu-linear with all margins below 0, or none, then {"label", "target", "distance"} and a `point`.

    The last one says that the distance of the ball's centre from what is not of this label alone is between the
    ball's radius (if there are others) and `distance`.
    """
    *inner, last = certificate.claims
    own = {name: array for name, array in certificate.arrays.items() if name != "point"}
    linear = replace(certificate, claims=inner, arrays=own)
    inside = list(_relu_linear(linear, arrays))
    yield from inside

    def prove(_: int, claim: Mapping) -> str:
        _keys(claim, "label", "target", "distance")
        label, target = _index(claim, "label"), _index(claim, "target")
        if "shape" in certificate.region:
            raise Refused("region: distances are for balls")
        regions.decimal(claim, "distance")
        wide = regions.read({**certificate.region, "radius": claim["distance"]}, own)
        network = ReluNetwork.read(arrays)
        point = _row(certificate.arrays.get("point", np.zeros(0)), 0, "point")
        by = {relu.prove_point(network, wide, point, label, target, Fraction(0)), *(found.by for found in inside)}
        if not all(found.proven for found in inside):
            raise Refused("a claim about the ball is not proven")
        margins = [part for part in inner if "layer" not in part and part["label"] == label]
        held = {part["target"] for part in margins if regions.decimal(part, "bound") < 0}
        if inner and held != set(range(network.sizes[-1])) - {label}:
            raise Refused("not every margin of the ball is below 0")
        return EXACT if by == {EXACT} else next(iter(by - {EXACT}))

    def words(claim: Mapping) -> str:
        region = certificate.region
        least = f"above {region.get('radius')} and " if inner else ""
        text = f"the L{region.get('norm')} distance of label {claim.get('label')} from another is {least}at most "
        return f"{text}{claim.get('distance')}{_ball(linear).partition(str(region.get('radius')))[2]}"

    yield from _each(replace(certificate, claims=[last]), words, prove)


def _relu_lipschitz(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"layer", "rule"}: l <= h <= u, as of relu-linear; then {"part", "norm", "bound", "rule"}.

    The constant of an output or a pair; row i of each array belongs to the i-th of these.
    """
    network = ReluNetwork.read(arrays)
    hidden = range(1, len(network.layers))
    names = [f"{side}{i}" for i in hidden for side in "lu"] + ["products", "multipliers", *relu_lipschitz.OF_INPUTS]
    names += [f"{i}.{name}" for i in hidden for name in relu_lipschitz.OF_NEURONS]
    _only(certificate, *names, *(regions.ARRAYS if certificate.region else ()))
    region = regions.read(certificate.region, certificate.arrays) if certificate.region else None
    proofs = relu.Proofs(network, region) if region is not None else None
    own = {name: array for name, array in certificate.arrays.items() if name in names and name[0] not in "lu"}
    taken = 0

    def prove(_: int, claim: Mapping) -> str | None:
        nonlocal taken
        if "layer" in claim:
            _keys(claim, "layer", "rule")
            if proofs is None or _index(claim, "layer") != len(proofs.bounds) + 1:
                raise Refused("layer: hidden layers are proven in order, each once, on a region")
            if claim["rule"] not in relu.RULES:
                raise Refused(f"rule: expected one of {', '.join(relu.RULES)}, got {claim['rule']!r}")
            low, high = (certificate.arrays.get(f"{side}{claim['layer']}", np.zeros(0)) for side in "lu")
            proofs.prove_layer(low, high, claim["rule"])
            return proofs.arithmetic.by
        number, taken = taken, taken + 1
        _keys(claim, "part", "norm", "bound", "rule")
        _lipschitz_norm(claim)
        bounds = proofs.bounds if proofs is not None else []
        states = relu_lipschitz.States.read(network, claim["part"], region, bounds)
        bound, rule = regions.decimal(claim, "bound"), claim["rule"]

        def row(name: str) -> np.ndarray:
            found = own.get(name, np.zeros(0))
            whole = name == "products" and found.ndim == 3 and number < len(found)
            return found[number] if whole else _row(found, number, name)

        relu_lipschitz.prove(states, claim["norm"], bound, rule, row, own)
        return proofs.arithmetic.by if proofs is not None and proofs.bounds else None

    def words(claim: Mapping) -> str:
        place = _ball(certificate) if certificate.region else ""
        return (f"the bounds of layer {claim['layer']}" if "layer" in claim else _constant(claim, "at most")) + place

    yield from _each(certificate, words, prove)


def _relu_quotients(certificate: Certificate, arrays: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Claims {"part", "norm", "least"}: the constant is at least that, by rows i of `point` and `other`."""
    network = ReluNetwork.read(arrays)
    _only(certificate, "point", "other", *(regions.ARRAYS if certificate.region else ()))
    region = regions.read(certificate.region, certificate.arrays) if certificate.region else None

    def prove(number: int, claim: Mapping) -> None:
        _keys(claim, "part", "norm", "least")
        _lipschitz_norm(claim)
        ends = [_row(certificate.arrays.get(name, np.zeros(0)), number, name) for name in ("point", "other")]
        least = regions.decimal(claim, "least")
        relu_lipschitz.prove_quotient(network, region, claim["part"], claim["norm"], least, ends)

    def words(claim: Mapping) -> str:
        return _constant(claim, "at least") + (_ball(certificate) if certificate.region else "")

    yield from _each(certificate, words, prove)


def _lipschitz_norm(claim: Mapping) -> None:
    if claim["norm"] not in relu_lipschitz.NORMS:
        raise Refused(f"norm: expected one of {', '.join(relu_lipschitz.NORMS)}, got {claim['norm']!r}")


def _constant(claim: Mapping, relation: str) -> str:
    part = claim.get("part")
    what = f"F_{part[0]} - F_{part[1]}" if isinstance(part, list) and len(part) == 2 else f"F_{part}"
    value = claim.get("least") if "least" in claim else claim.get("bound")
    return f"the L{claim.get('norm')} Lipschitz constant of {what} is {relation} {value}"


def _each(
    certificate: Certificate, words: Callable[[Mapping], str], prove: Callable[[int, Mapping], str | None]
) -> Iterator[Finding]:
    """Prove claim after claim; a refusal is that of one claim. `prove` returns how, if not in exact numbers."""
    for number, claim in enumerate(certificate.claims):
        try:
            by = prove(number, claim)
        except Refused as refusal:
            yield Finding(words(claim), False, reason=str(refusal))
        else:
            yield Finding(words(claim), True, by or EXACT)


def _region(certificate: Certificate, *names: str) -> tuple[regions.Region, list[str]]:
    """Return the region, and which of these arrays the file has beside the region's own; others are refused."""
    _only(certificate, *names, *regions.ARRAYS)
    region = regions.read(certificate.region, certificate.arrays)
    return region, [name for name in names if name in certificate.arrays]


def _only(certificate: Certificate, *names: str) -> None:
    foreign = sorted(set(certificate.arrays) - set(names))
    if foreign:
        raise Refused(f"arrays: {', '.join(foreign)}: not known to the theory {certificate.theory}")


def _keys(claim: Mapping, *names: str) -> None:
    if set(claim) != set(names):
        raise Refused(f"claim: expected the keys {', '.join(names)}, got {', '.join(claim)}")


def _margin(claim: Mapping, relation: str, name: str) -> str:
    return f"F_{claim.get('target')} - F_{claim.get('label')} {relation} {claim.get(name)}"


def _index(claim: Mapping, name: str) -> int:
    value = claim.get(name)
    if type(value) is not int:
        raise Refused(f"{name}: expected a whole number, got {value!r}")
    return value


def _row(array: np.ndarray, number: int, name: str) -> np.ndarray:
    if array.ndim != 2 or number >= len(array):
        raise Refused(f"{name}: expected one row for each claim")
    return array[number]


def _ball(certificate: Certificate, words: str = "on") -> str:
    region = certificate.region
    if "shape" in region:
        return f" {words} the {region['shape']}"
    clipped = " in the pixel range" if region.get("clip") is True else ""
    clipped = " within the arrays lower and upper" if "lower" in certificate.arrays else clipped
    unit = "pixel units" if "pixels" in certificate.arrays else "input units"
    return f" {words} the L{region.get('norm')} ball of radius {region.get('radius')} ({unit}){clipped}"


THEORIES: dict[str, Theory] = {
    "mondeq-order-1": Theory("mondeq", mondeq.ARRAYS, _mondeq_margins),
    "mondeq-order-2": Theory("mondeq", mondeq.ARRAYS, _mondeq_second_order),
    "mondeq-phases": Theory("mondeq", mondeq.ARRAYS, _mondeq_phases),
    "mondeq-lipschitz": Theory("mondeq", mondeq.ARRAYS, _mondeq_lipschitz),
    "mondeq-lipschitz-local": Theory("mondeq", mondeq.ARRAYS, _mondeq_local),
    "mondeq-ellipsoid": Theory("mondeq", mondeq.ARRAYS, _mondeq_ellipsoid),
    "mondeq-point": Theory("mondeq", mondeq.ARRAYS, _mondeq_points),
    "relu-linear": Theory("relu", (), _relu_linear),
    "relu-point": Theory("relu", (), _relu_points),
    "relu-distortion": Theory("relu", (), _relu_distortion),
    "relu-lipschitz": Theory("relu", (), _relu_lipschitz),
    "relu-lipschitz-points": Theory("relu", (), _relu_quotients),
}
