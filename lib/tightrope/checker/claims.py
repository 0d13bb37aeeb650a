"""What all theories read alike: the keys of a claim and its words, the rows of arrays, and multipliers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tightrope.checker.file import Certificate
from tightrope.checker.numbers import Exact, Refused
from tightrope.checker.regions import ARRAYS, Region, decimal, read

EXACT = "exact"
#: Keys whose values are decimal text, and whole numbers; a theory reads the others, and says which a claim has.
DECIMALS = {"bound", "least", "distance", "multiplier", "m"}
WHOLE = {"label", "target", "layer", "leaves"}


@dataclass(frozen=True)
class Finding:
    """What became of one claim."""

    claim: str  # in words
    proven: bool
    by: str = EXACT  # or "float64 analysis": in floats, with an a-priori bound of their error; or "ball arithmetic"
    reason: str = ""  # why it is refused

    def __str__(self) -> str:
        text = f"PROVEN ({self.by})  {self.claim}" if self.proven else f"REFUSED  {self.claim}: {self.reason}"
        return text.encode("unicode_escape").decode()  # what a file says cannot pass for a line of its own


def values(claim: Mapping, forms: Sequence[str]) -> dict[str, Any]:
    """Return what a claim says by key, decimals as fractions; its keys must be those of one of the forms."""
    if set(claim) not in [set(form.split()) for form in forms]:
        raise Refused(f"claim: expected the keys {', or '.join(forms)}, got {', '.join(claim)}")
    for name in WHOLE & set(claim):
        if type(claim[name]) is not int or (name == "leaves" and claim[name] < 1):
            raise Refused(f"{name}: expected a whole number, and leaves at least 1, got {claim[name]!r}")
    return {name: decimal(claim, name) if name in DECIMALS else value for name, value in claim.items()}


def words(claim: Mapping, file: Certificate) -> str:
    """Return what a claim says, in words."""
    region, said = file.region, claim.get
    cut = " in the pixel range" if region.get("clip") is True else ""
    cut = " within the arrays lower and upper" if "lower" in file.arrays else cut
    unit = f"({'pixel' if 'pixels' in file.arrays else 'input'} units){cut}"
    if "distance" in claim:
        least = f"above {region.get('radius')} and " if len(file.claims) > 1 else ""
        what = f"the L{region.get('norm')} distance of label {said('label')} from another is {least}"
        return f"{what}at most {said('distance')} {unit}"
    ball = f"L{region.get('norm')} ball of radius {region.get('radius')} {unit}"
    place = f" on the {region.get('shape', ball)}" if region else ""
    if "layer" in claim:
        return f"the bounds of layer {said('layer')}{place}"
    if "holds" in claim:
        return f"the ellipsoid holds F{place}"
    if "norm" in claim:
        part = said("pair", said("part"))
        what = f"F_{part[0]} - F_{part[1]}" if isinstance(part, list) and len(part) == 2 else f"F_{part}"
        what = what if "part" in claim or "pair" in claim else "F"
        limit = f"at least {said('least')}" if "least" in claim else f"at most {said('bound')}"
        return f"the L{said('norm')} Lipschitz constant of {what} is {limit}{place}"
    what = f"F_{said('target')} - F_{said('label')}"
    if "least" in claim:
        return f"{what} >= {said('least')} at a point of{place.removeprefix(' on')}"
    return f"{what} <= {said('bound')}{place}" + (f", by {said('leaves')} leaves" if "leaves" in claim else "")


def region_of(file: Certificate, *names: str) -> Region:
    """Return the region, refusing arrays other than its own and those of these names."""
    only(file, *names, *ARRAYS)
    return read(file.region, file.arrays)


def only(file: Certificate, *names: str) -> None:
    """Refuse arrays of other names."""
    foreign = sorted(set(file.arrays) - set(names))
    if foreign:
        raise Refused(f"arrays: {', '.join(foreign)}: not known to the theory {file.theory}")


def array(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Return an array, empty where it is missing."""
    return arrays.get(name, np.zeros(0))


def row(arrays: Mapping[str, np.ndarray], name: str, number: int) -> np.ndarray:
    """Return a row of an array."""
    found = array(arrays, name)
    if found.ndim < 2 or number >= len(found):
        raise Refused(f"{name}: expected one row for each claim, part or leaf")
    return found[number]


def rows(arrays: Mapping[str, np.ndarray], names: Sequence[str], number: int) -> dict[str, np.ndarray]:
    """Return this row of those arrays of these names that there are."""
    return {name: row(arrays, name, number) for name in names if name in arrays}


def vector(arrays: Mapping[str, np.ndarray], name: str, size: int, *, signed: bool = False) -> Exact:
    """Return the multipliers (size,) of this name, at least 0 but if they are `signed`."""
    found = Exact.of(array(arrays, name))
    if found.shape != (size,):
        raise Refused(f"{name}: expected {size} multipliers, got the shape {found.shape}")
    if not signed and (found.signs < 0).any():
        raise Refused(f"{name}: a multiplier of an inequality is negative")
    return found


def check_labels(label: int, target: int, classes: int) -> None:
    """Refuse what are not two labels."""
    if not (0 <= label < classes and 0 <= target < classes and label != target):
        raise Refused(f"claim: expected two different labels below {classes}, got {label} and {target}")


def output(outputs: Exact, part: object) -> Exact:
    """Return one of the rows, or the difference of a pair [i, j] of them."""
    given: list = part if isinstance(part, list) else [part]
    whole = all(type(k) is int and 0 <= k < len(outputs) for k in given)
    if not whole or len(given) != len(set(given)) or len(given) != (2 if isinstance(part, list) else 1):
        raise Refused(f"part: expected an output below {len(outputs)}, or a list of two of them, got {part!r}")
    return outputs[given[0]] - outputs[given[1]] if len(given) == 2 else outputs[given[0]]
