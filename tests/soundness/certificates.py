"""Certificate files: what is issued is accepted, and a claim that the exact answer contradicts is refused."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction

import numpy as np
from flint import fmpq

from tests.soundness.bed import Bed, near
from tests.soundness.exact import q
from tests.soundness.pieces import Pieces
from tightrope import checker, proofs
from tightrope.checker import regions
from tightrope.proofs import Proof
from tightrope.regions import Ball

#: Digits of the claims that are made false: as close to the truth as one could wish.
DIGITS = 25
#: Arrays that say what is claimed.
STATED = (*regions.ARRAYS, "Q", "b", "point", "other")


def just_below(value: fmpq) -> str:
    """A decimal number below a rational one, by less than 1e-24 of it."""
    return _decimal(value, ROUND_FLOOR, -1)


def just_above(value: fmpq) -> str:
    """A decimal number above it."""
    return _decimal(value, ROUND_CEILING, 1)


def _decimal(value: fmpq, rounding: str, sign: int) -> str:
    context = Context(prec=DIGITS, rounding=rounding)
    found = context.divide(Decimal(int(value.p)), Decimal(int(value.q)))
    found = context.next_plus(found) if sign > 0 else context.next_minus(found)
    if not found or abs(found.adjusted()) > 350:
        return "-1e-350" if sign < 0 else "1e-350"
    return str(found)


def altered(file: checker.Certificate, changes: Mapping[int, Mapping]) -> checker.Certificate:
    """A file with other claims, by their numbers."""
    return replace(file, claims=[claim | changes.get(i, {}) for i, claim in enumerate(file.claims)])


def moved(file: checker.Certificate, ball: Ball) -> checker.Certificate:
    """A file about a ball of another radius."""
    return replace(file, region=file.region | {"radius": ball.stated()[0]["radius"]})


#: What can be done to the numbers of a proof.
CHANGES: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "noise": lambda array, rng: array * (1 + 1e-3 * rng.normal(size=array.shape)),
    "large noise": lambda array, rng: array * 10 ** rng.normal(size=array.shape),
    "zeros": lambda array, rng: array * 0,
    "minus": lambda array, rng: -array,
    "large": lambda array, rng: array * 1e6,
    "small": lambda array, rng: array * 1e-3,
    "nan": lambda array, rng: array * np.nan,
    "inf": lambda array, rng: array + np.inf,
    "turned": lambda array, rng: array[::-1],
    "shifted": lambda array, rng: np.roll(array, 1, -1) if array.ndim else array,
    "one minus": lambda array, rng: np.where(np.arange(array.size).reshape(array.shape) == 0, -array - 1e-3, array),
    "cut": lambda array, rng: array[..., :-1] if array.ndim else array,
}


def forged(
    file: checker.Certificate, rng: np.random.Generator, most: int = 4
) -> Iterator[tuple[str, checker.Certificate]]:
    """The file itself, and with other numbers in one array that is no part of what is claimed: so many files."""
    yield "as issued", file
    own = [name for name, array in file.arrays.items() if name not in STATED and array.size]
    for what in rng.permutation(list(CHANGES))[: most if own else 0].tolist():
        name = str(rng.choice(own))
        array = file.arrays[name]
        changed = CHANGES[what](array, rng).astype(array.dtype)
        if changed.shape != array.shape or changed.tobytes() != array.tobytes():
            yield f"{name}: {what}", replace(file, arrays=file.arrays | {name: changed})


def issued(bed: Bed, kind: str, proof: Proof, network) -> checker.Certificate | None:
    """The file as it is read again, every claim of which is proven; None where nothing is."""
    if proof.certificate is None:
        bed.refused[f"certificates: {kind}"] += 1
        return None
    file = checker.from_bytes(proof.certificate.to_bytes())
    arrays = proofs.arrays_of(network)[1]
    for finding in checker.check(file, arrays):
        bed.holds(f"certificates: {kind}", finding.proven, f"issued, but refused: {finding}")
    return file


def refused(bed: Bed, kind: str, file: checker.Certificate, arrays: Mapping, numbers, what: str) -> None:
    """Claims that are false, by their numbers, are not proven; a file that is refused as a whole is one comparison."""
    findings = checker.check(file, arrays)
    if len(findings) < len(file.claims):
        bed.holds(f"false claims: {kind}", not any(one.proven for one in findings), f"accepted: {what}: {findings}")
        return
    for number in numbers:
        bed.holds(f"false claims: {kind}", not findings[number].proven, f"accepted: {what}: {findings[number]}")


def other_networks(bed: Bed, kind: str, file: checker.Certificate, rng, arrays: Mapping) -> None:
    """Next to the network there is another one that the file says nothing about."""
    name = str(rng.choice([name for name, array in arrays.items() if np.asarray(array).dtype.kind == "f"]))
    other = np.array(arrays[name], float)
    if not other.size:
        return
    place = tuple(rng.integers(other.shape))
    other[place] = np.nextafter(other[place], 1.0 if other[place] != 1 else 2.0)
    findings = checker.check(file, {**arrays, name: other})
    proven = any(finding.proven for finding in findings)
    bed.holds(f"false claims: {kind}", not proven, f"accepted for another network: {name}{place}")


def margins(bed: Bed, kind: str, file: checker.Certificate, rng, network, pieces: Pieces, wider=None) -> None:
    """Claims F_target - F_label <= bound: true ones, and false ones with the same proof.

    `wider` is a larger ball, and the pieces on it.
    """
    arrays = proofs.arrays_of(network)[1]
    own = {number: claim for number, claim in enumerate(file.claims) if "target" in claim and "bound" in claim}
    false, turned = {}, {}
    for number, claim in own.items():
        label, target = claim["label"], claim["target"]
        exact, _ = pieces.largest_margin(label, target)
        bound = fmpq(*Fraction(claim["bound"]).as_integer_ratio())
        text = f"target {target}: bound {claim['bound']}, but {near(exact)!r} is attained"
        bed.holds(f"certificates: {kind}", bound >= exact, text)
        false[number] = {"bound": just_below(exact)}
        if pieces.largest_margin(target, label)[0] > bound:
            turned[number] = {"label": target, "target": label}
    for what, one in forged(altered(file, false), rng, 8 if file.theory.startswith("mondeq") else 4):
        refused(bed, kind, one, arrays, false, f"a bound below what is attained, {what}")
    if turned:
        refused(bed, kind, altered(file, turned), arrays, turned, "label and target exchanged")
    if wider is not None and "radius" in file.region:
        ball, larger = wider
        false = {
            number: {"bound": just_below(larger.largest_margin(claim["label"], claim["target"])[0])}
            for number, claim in own.items()
        }
        refused(bed, kind, moved(altered(file, false), ball), arrays, false, f"the radius {ball.radius!r}")


def relu(bed: Bed, kind: str, proof: Proof, rng, network, pieces: Pieces, wider=None) -> None:
    """A file of bounds of a ReLU network: hidden layers, then margins."""
    file = issued(bed, kind, proof, network)
    if file is None:
        return
    arrays = proofs.arrays_of(network)[1]
    for number, claim in enumerate(file.claims):
        if "layer" not in claim:
            continue
        i = claim["layer"]
        low, high = pieces.extremes(f"h{i}")
        for j, (least, most) in enumerate(zip(low, high, strict=True)):
            bed.below(f"certificates: {kind}", float(file.arrays[f"l{i}"][j]), least, f"l{i}[{j}]")
            bed.above(f"certificates: {kind}", float(file.arrays[f"u{i}"][j]), most, f"u{i}[{j}]")
        for side, attained, away in (("l", low, np.inf), ("u", high, -np.inf)):
            j = int(rng.integers(len(attained)))
            end = near(attained[j])
            while (q(end) <= attained[j]) if side == "l" else (q(end) >= attained[j]):
                end = float(np.nextafter(end, away))
            if not np.isfinite(end):
                continue
            narrow = file.arrays[f"{side}{i}"].copy()
            narrow[j] = end
            one = replace(file, arrays=file.arrays | {f"{side}{i}": narrow})
            refused(bed, kind, one, arrays, [number], f"{side}{i}[{j}] narrower than what is attained")
    margins(bed, kind, file, rng, network, pieces, wider)
    other_networks(bed, kind, file, rng, arrays)


def margins_of(bed: Bed, kind: str, proof: Proof, rng, network, pieces: Pieces, wider=None) -> None:
    """A file of margins."""
    file = issued(bed, kind, proof, network)
    if file is not None:
        margins(bed, kind, file, rng, network, pieces, wider)
        other_networks(bed, kind, file, rng, proofs.arrays_of(network)[1])


def point(bed: Bed, kind: str, proof: Proof, network, region, scores: Callable, rng) -> None:
    """A file of an attack; a larger margin at its point is refused, and so is a point outside."""
    file = issued(bed, kind, proof, network)
    if file is None:
        return
    claim, arrays = file.claims[0], proofs.arrays_of(network)[1]
    F = scores([q(v) for v in np.ravel(file.arrays["point"])])
    margin, other = F[claim["target"]] - F[claim["label"]], F[claim["label"]] - F[claim["target"]]
    least = fmpq(*Fraction(claim["least"]).as_integer_ratio())
    bed.holds(f"certificates: {kind}", least <= margin, f"{claim['least']}, but exactly {near(margin)!r}")
    refused(
        bed, kind, altered(file, {0: {"least": just_above(margin)}}), arrays, [0], "a margin above that of the point"
    )
    turned = {"label": claim["target"], "target": claim["label"], "least": just_above(other)}
    refused(bed, kind, altered(file, {0: turned}), arrays, [0], "label and target exchanged")
    outside = file.arrays["point"] + 2.1 * region.radius * np.eye(region.size)[int(rng.integers(region.size))]
    if region.radius > 0 and (outside != file.arrays["point"]).any():
        one = replace(file, arrays=file.arrays | {"point": outside})
        refused(bed, kind, one, arrays, [0], "a point outside")
    other_networks(bed, kind, file, rng, arrays)
