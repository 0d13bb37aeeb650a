"""VNN-LIB properties: verdicts against the pieces that meet the constraints, counterexamples as they are."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
from flint import fmpq

from tests.soundness.bed import Bed, near
from tests.soundness.exact import ONE, ZERO, Domain, Row, box, dot, matrix
from tests.soundness.pieces import Pieces, TooMany, feedforward_pieces, outputs_at
from tightrope.networks import FeedForward
from tightrope.properties import parse_vnnlib
from tightrope.question import Limits, Verdict
from tightrope.regions import Ball
from tightrope.verifiers.properties import certify_property

#: Digits of the numbers in a file, which no float64 holds.
DIGITS = 9
#: a'F <= b, with a (K,) of small whole numbers.
Constraint = tuple[tuple[int, ...], fmpq]


def properties(bed: Bed, rng, network: FeedForward, region: Ball) -> None:
    """A box and a disjunction of conjunctions of constraints on the outputs."""
    ends = [(_decimal(low), _decimal(high)) for low, high in zip(*region.bounding_box(), strict=True)]
    for i in rng.permutation(len(ends))[3:]:
        ends[i] = (ends[i][0], ends[i][0])
    bounds = [tuple(_exact(end) for end in pair) for pair in ends]
    wide = [i for i, (low, high) in enumerate(bounds) if low < high]
    origin = matrix(np.zeros((len(bounds), 1)))
    for i, (low, _) in enumerate(bounds):
        origin[i, 0] = ZERO if i in wide else low
    where = Domain(origin, matrix(np.eye(len(bounds))[:, wide]), box([bounds[i] for i in wide]), None)
    try:
        pieces = feedforward_pieces(network, where)
    except TooMany:
        return
    cases = [[_constraint(rng, pieces) for _ in range(rng.integers(1, 3))] for _ in range(rng.integers(1, 3))]
    declared = [f"(declare-const X_{i} Real)" for i in range(len(ends))]
    declared += [f"(declare-const Y_{k} Real)" for k in range(network.classes)]
    asserted = [f"(assert (>= X_{i} {low:f}))(assert (<= X_{i} {high:f}))" for i, (low, high) in enumerate(ends)]
    words = " ".join("(and " + " ".join(map(_words, case)) + ")" for case in cases)
    text = "".join([*declared, *asserted, f"(assert (or {words}))"])
    kind = "property"
    with bed.asking(kind):
        report = certify_property(network, parse_vnnlib(text), Limits(time=3.0))
        if report.verdict is Verdict.CERTIFIED:
            met = any(_met(pieces, case) for case in cases)
            bed.holds(kind, not met, f"certified, but a point meets it: {text}")
        if report.verdict is Verdict.FALSIFIED:
            x = [fmpq(*Fraction(v).as_integer_ratio()) for v in report.point]
            inside = all(low <= v <= high for v, (low, high) in zip(x, bounds, strict=True))
            bed.holds(f"{kind}, inside", inside, f"{[near(v) for v in x]} is outside: {text}")
            F = outputs_at(network, x)
            true = any(all(_value(a, F) <= b for a, b in case) for case in cases)
            bed.holds(f"{kind}, counterexample", true, f"{[near(v) for v in x]} meets none of: {text}")


def _decimal(value: float) -> Decimal:
    return Decimal(f"{value:.{DIGITS}f}")


def _exact(value: Decimal) -> fmpq:
    return fmpq(*value.as_integer_ratio())


def _constraint(rng, pieces: Pieces) -> Constraint:
    """One whose limit is in the range of its left side, or next to its end."""
    own = pieces.names["F"]
    a = tuple(map(int, rng.integers(-2, 3, own.stop - own.start)))
    values = [_value(a, F) for F in pieces.attained("F")]
    low, high = min(values), max(values)
    share = float(rng.choice([0.0, -1e-3, 1e-3, 0.1, 0.5, rng.normal()]))
    limit = low + (high - low) * fmpq(*share.as_integer_ratio())
    return a, _exact(_decimal(near(limit)))


def _words(constraint: Constraint) -> str:
    a, b = constraint
    terms = " ".join(f"(* {weight}.0 Y_{k})" for k, weight in enumerate(a))
    return f"(<= (+ {terms}) {Decimal(int(b.p)) / Decimal(int(b.q)):f})"


def _value(a: tuple[int, ...], F) -> fmpq:
    return dot([fmpq(v) for v in a], F)


def _met(pieces: Pieces, case: list[Constraint]) -> bool:
    """Whether some point meets all constraints."""
    for piece in pieces.found:
        part, rows = piece, pieces.rows(piece, "F")
        for a, b in case:
            part = part and part.cut(_side(a, b, rows))
        if part is not None:
            return True
    return False


def _side(a: tuple[int, ...], b: fmpq, rows: list[Row]) -> Row:
    """b - a'F, a function of (d, 1)."""
    columns = [_value(a, column) for column in zip(*rows, strict=True)]
    return (*(-v for v in columns[:-1]), b * ONE - columns[-1])
