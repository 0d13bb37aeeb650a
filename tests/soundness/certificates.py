"""Certificate files: what is issued is accepted, and a claim that the exact answer contradicts is refused."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction

import numpy as np
from flint import fmpq

from tests.soundness.bed import Bed, near
from tests.soundness.exact import q
from tests.soundness.pieces import Pieces
from tightrope import checker, proofs
from tightrope.proofs import Proof

#: Digits of the claims that are made false: as close to the truth as one could wish.
DIGITS = 25


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


def altered(file: checker.Certificate, number: int, change: Mapping) -> checker.Certificate:
    """A file with another claim in one place."""
    claims = [claim | change if i == number else claim for i, claim in enumerate(file.claims)]
    return replace(file, claims=claims)


def forged(file: checker.Certificate, rng: np.random.Generator) -> Iterator[tuple[str, checker.Certificate]]:
    """The file itself, and with other numbers in one array that is part of the proof only."""
    yield "as issued", file
    own = [
        name
        for name in file.arrays
        if name.split(".")[0].rstrip("0123456789") in ("mu", "nu", "t", "q", "a", "v", "clip")
    ]
    if not own:
        return
    name = str(rng.choice(own))
    array = file.arrays[name]
    noise = rng.normal(size=array.shape)
    changes = {
        "noise": array * (1 + 1e-3 * noise),
        "zeros": array * 0,
        "minus": -array,
        "large": array * 1e6,
        "nan": array * np.nan,
        "inf": array + np.inf,
    }
    what = str(rng.choice(list(changes)))
    with np.errstate(all="ignore"):
        yield f"{name}: {what}", replace(file, arrays=file.arrays | {name: changes[what].astype(array.dtype)})


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


def refused(bed: Bed, kind: str, file: checker.Certificate, arrays: Mapping, number: int, what: str) -> None:
    """A claim that is false, by its number, is not proven."""
    findings = checker.check(file, arrays)
    proven = findings[number].proven if len(findings) > number else False
    bed.holds(f"false claims: {kind}", not proven, lambda: f"accepted: {what}: {findings[number]}")


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


def margins(bed: Bed, kind: str, file: checker.Certificate, rng, network, pieces: Pieces) -> None:
    """Claims F_target - F_label <= bound: true ones, and false ones with the same proof."""
    arrays = proofs.arrays_of(network)[1]
    for number, claim in enumerate(file.claims):
        if "target" not in claim:
            continue
        label, target = claim["label"], claim["target"]
        exact, _ = pieces.largest_margin(label, target)
        bound = fmpq(*Fraction(claim["bound"]).as_integer_ratio())
        text = f"target {target}: bound {claim['bound']}, but {near(exact)!r} is attained"
        bed.holds(f"certificates: {kind}", bound >= exact, text)
        false = altered(file, number, {"bound": just_below(exact)})
        for what, one in forged(false, rng):
            refused(bed, kind, one, arrays, number, f"a bound below what is attained, {what}")
        if pieces.largest_margin(target, label)[0] > bound:
            turned = altered(file, number, {"label": target, "target": label})
            refused(bed, kind, turned, arrays, number, "label and target exchanged")


def relu(bed: Bed, kind: str, proof: Proof, rng, network, pieces: Pieces) -> None:
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
        j = int(rng.integers(len(low)))
        side, value, away = (("l", low[j], np.inf), ("u", high[j], -np.inf))[int(rng.integers(2))]
        end = near(value)
        while (q(end) <= value) if side == "l" else (q(end) >= value):
            end = float(np.nextafter(end, away))
        if not np.isfinite(end):
            continue
        narrow = file.arrays[f"{side}{i}"].copy()
        narrow[j] = end
        one = replace(file, arrays=file.arrays | {f"{side}{i}": narrow})
        refused(bed, kind, one, arrays, number, f"{side}{i}[{j}] narrower than what is attained")
    margins(bed, kind, file, rng, network, pieces)
    other_networks(bed, kind, file, rng, arrays)
