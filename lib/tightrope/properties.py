"""Properties in the VNN-LIB format, versions 1 and 2: boxes of inputs and the outputs that must not be reached.

The file asserts what a counterexample is: bounds on the inputs X_0, X_1, ... and linear constraints on them and on the
outputs Y_0, Y_1, ..., with `and`, `or` and `not`. Version 2 declares tensors of a network in place of variables; their
entries are counted row by row, so that X[0,3] of shape [1,5] is X_3. It is read into separate questions
(:class:`Case`); the property holds if none of them has a point. Numbers are exact fractions. A case has two readings:
its own constraints as they stand, strict or not, by which a counterexample is checked; and for proofs a float64 box and
float64 limits, which are larger by the last digit where a float64 cannot hold a number, and not strict. A constraint
that joins inputs bounds each of them by the others, outward, and stands beside those on the outputs.
"""

import gzip
import math
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial, reduce
from itertools import chain, product
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tightrope.errors import CorruptDataError, InputError, MissingDataError
from tightrope.regions import Ball

#: Limits that keep a hostile file from taking the machine down.
LARGEST_FILE, DEEPEST, MOST_CASES = 2**28, 50, 25_000
#: Constraints of all cases together, words when define-fun is written out (no file has more), bits of a number.
MOST_CONSTRAINTS, MOST_WORDS, LONGEST = 2**25, LARGEST_FILE // 2, 2**14
FLOAT_MAX = Fraction(sys.float_info.max)
#: Entries of a tensor of version 2; numbers in the matrices of all cases, as a proof makes them.
LARGEST_TENSOR, LARGEST_MATRICES = 2**20, 2**27
#: The first bytes of a file that gzip has packed.
PACKED = b"\x1f\x8b"
_TOKEN = re.compile(r"\(|\)|\[[^\[\]()]*\]|\[|\]|[^\s()\[\]]+")
_VARIABLE = re.compile(r"([XY])_(0|[1-9][0-9]{0,8})")
_INDEXED = re.compile(r"([A-Za-z][A-Za-z0-9_]*)(\[\]|\[[0-9]{1,9}(?:,[0-9]{1,9}){0,9}\])?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
#: How often bounds of inputs are drawn from constraints that join several; each time is sound, the next ones finer.
ROUNDS = 10
#: Each comparison as the signs s for which s (left - right) <= 0, and whether that is strict.
_COMPARISONS = {"<=": ((1,), False), ">=": ((-1,), False), "<": ((1,), True), ">": ((-1,), True), "=": ((1, -1), False)}
_NEGATED = {"<=": ">", ">=": "<", "<": ">=", ">": "<="}


@dataclass(frozen=True)
class Constraint:
    """sum_v weights[v] v <= limit, or < where it is strict, over the variables v = ("X", i) or ("Y", i)."""

    weights: Mapping[tuple[str, int], Fraction]
    limit: Fraction
    strict: bool

    def holds(self, values: Mapping[str, Mapping[int, tuple[Fraction, Fraction]]]) -> bool:
        """Whether it holds for all numbers between the two that are given for each X_i and Y_i."""
        most = sum((c * values[v][i][c > 0] for (v, i), c in self.weights.items()), Fraction())
        return most < self.limit or (most == self.limit and not self.strict)


@dataclass(frozen=True, eq=False)
class Case:
    """Is there an x in a box with forbidden outputs F(x)?

    A counterexample meets all `constraints` as the file has them, on inputs and outputs; `box` holds every input that
    they allow. The `region`, a box in network-input units, A (k, K), C (k, p0) and b (k,) are a larger question, for
    proofs: is there an x in the region with A F(x) + C x <= b? C is None where no constraint joins inputs to anything.
    """

    constraints: tuple[Constraint, ...]
    box: tuple[tuple[Fraction, Fraction], ...]
    region: Ball
    A: np.ndarray
    b: np.ndarray
    C: np.ndarray | None = None

    def slack(self, points: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return b - A F(x) - C x (N, k) at points (N, p0) with outputs (N, K), up to rounding."""
        slack = self.b - outputs @ self.A.T
        return slack if self.C is None else slack - points @ self.C.T

    def moved_inside(self, point: np.ndarray) -> list[Fraction]:
        """Return the point (p0,) in the file's box: a float64, or the middle of its bounds where it has none.

        Where it is beyond a constraint that joins inputs, one of these is moved until the constraint is met exactly:
        the one that has the most room in the box then.
        """
        strict = [one for one in self.constraints if one.strict and len(one.weights) == 1]
        excluded = {(v, one.limit / c) for one in strict for v, c in one.weights.items()}
        found = []
        for i, (value, (lower, upper)) in enumerate(zip(point.tolist(), self.box, strict=True)):
            low, high = _above(lower), _below(upper)
            low = math.nextafter(low, math.inf) if (("X", i), low) in excluded else low
            high = math.nextafter(high, -math.inf) if (("X", i), high) in excluded else high
            found.append(Fraction(min(max(value, low), high)) if low <= high else (lower + upper) / 2)
        solved: dict[int, tuple[dict[int, Fraction], Fraction]] = {}  # x_i = d - sum_j w_j x_j
        for one in self.constraints if self.C is not None else ():
            row, limit = {i: c for (_, i), c in one.weights.items()}, one.limit
            if _bound(one) or _joined([one], "Y") or sum(c * found[i] for i, c in row.items()) < limit:
                continue
            for i, (own, value) in solved.items():
                row, limit = _without(i, own, value, row, limit)
            if row:
                gap = limit - sum(c * found[i] for i, c in row.items())
                new = {i: found[i] + gap / c for i, c in row.items()}
                most = max(row, key=lambda i: min(new[i] - self.box[i][0], self.box[i][1] - new[i]))
                factor = row.pop(most)
                last = {i: c / factor for i, c in row.items()}, limit / factor
                solved = {i: _without(most, *last, *own) for i, own in solved.items()} | {most: last}
        moved = {i: d - sum(c * found[j] for j, c in own.items()) for i, (own, d) in solved.items()}
        return [moved.get(i, value) for i, value in enumerate(found)]


def _without(
    i: int, own: dict[int, Fraction], value: Fraction, row: dict[int, Fraction], limit: Fraction
) -> tuple[dict[int, Fraction], Fraction]:
    """Return sum_j row_j x_j <= limit with x_i = value - sum_j own_j x_j."""
    factor = row.get(i, Fraction())
    row = {j: row.get(j, Fraction()) - factor * own.get(j, Fraction()) for j in {**row, **own} if j != i}
    return {j: c for j, c in row.items() if c}, limit - factor * value


@dataclass(frozen=True, eq=False)
class Property:
    """The cases of a file; the property holds for a network if none of them has a point.

    Those whose box is empty, or whose constraints contradict each other, are left out.
    """

    cases: tuple[Case, ...]
    inputs: int
    outputs: int


def read_vnnlib(path: str | PathLike[str]) -> Property:
    """Read a .vnnlib file, packed by gzip or not; InputError names what this reader does not know."""
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no file {path}. Give the path of a .vnnlib or .vnnlib.gz file.")
    try:
        with path.open("rb") as plain, gzip.open(plain) if plain.peek(2)[:2] == PACKED else plain as stream:
            content = stream.read(LARGEST_FILE + 1)
        text = content.decode("utf-8-sig")
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise CorruptDataError(f"{path} is not a whole VNN-LIB text ({error}); get it again.") from error
    if len(content) > LARGEST_FILE:
        raise InputError(f"{path} is larger than {LARGEST_FILE} bytes.")
    try:
        return parse_vnnlib(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse_vnnlib(text: str) -> Property:
    """Read a property from the text of a file.

    Examples
    --------
    >>> found = parse_vnnlib('''
    ... (declare-const X_0 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
    ... (assert (>= X_0 -1)) (assert (<= X_0 0.5))   ; the box
    ... (assert (or (<= Y_0 Y_1) (>= Y_0 10)))       ; what must not happen
    ... ''')
    >>> [(case.A.tolist(), case.b.tolist()) for case in found.cases]
    [([[1.0, -1.0]], [0.0]), ([[-1.0, 0.0]], [-10.0])]
    """
    declared: dict[str, set[int]] = {"X": set(), "Y": set()}
    defined: dict[str, _Expanded] = {}
    tensors: dict[str, _Tensor] | None = None  # of version 2
    words = 0
    conjunctions: list[list[Constraint]] = [[]]

    def meaning(word: str) -> _Expanded:
        return defined.get(word, (word, 0, 1)) if tensors is None else (_entry(word, tensors), 0, 1)

    for i, command in enumerate(_commands(text)):
        match command:
            case ["vnnlib-version", str(version)] if not i and re.fullmatch(r"<2\.[0-9]+>", version):
                tensors = {}
            case ["declare-network", _, *parts] if tensors == {}:
                tensors = _tensors(parts)
                declared = {kind: set(range(prod(shape))) for kind, shape in tensors.values()}
            case ["assert", formula]:
                expression, depth, more = _expanded(formula, meaning)
                words += more
                if depth > DEEPEST or words > MOST_WORDS:
                    raise InputError(f"define-fun makes more than {DEEPEST} levels or {MOST_WORDS} words.")
                conjunctions = _and(conjunctions, _disjunctive(expression, declared))
            case _ if tensors is not None:
                known = "after the version, declare-network once, then assert"
                raise InputError(f"{_shown(command)} is not known; of VNN-LIB version 2 are read: {known}.")
            case ["define-fun", str(name), [], _, body]:
                taken = name in ("and", "or", "not", *defined) or _VARIABLE.fullmatch(name)
                if taken or not re.match("[A-Za-z_]", name):
                    raise InputError(f"{_shown(command)}: a new name is needed, one that begins with a letter.")
                defined[name] = _expanded(body, meaning)
            case ["declare-const", name, sort] | ["declare-fun", name, [], sort]:
                variable = _VARIABLE.fullmatch(str(name))
                if variable is None or sort != "Real":
                    raise InputError(f"{_shown(command)}: variables are X_0, X_1, ..., Y_0, Y_1, ..., of sort Real.")
                declared[variable[1]].add(int(variable[2]))
            case ["set-logic" | "set-info" | "check-sat" | "exit", *_]:
                pass
            case _:
                known = "declare-const, assert, and define-fun without arguments"
                raise InputError(f"{_shown(command)} is not known; {known} of VNN-LIB version 1 are read.")
    if not any(declared.values()):
        raise InputError("no inputs and outputs are declared; the file may be empty.")
    for kind, numbers in declared.items():
        if not numbers or numbers != set(range(len(numbers))):
            raise InputError(f"{len(numbers)} variables {kind} are declared, not {kind}_0, {kind}_1, ... without gaps.")
    sizes = (len(declared["X"]), len(declared["Y"]))
    rows = [[one for one in atoms if not _bound(one)] for atoms in conjunctions]
    if sum(len(own) * max(len(own), sizes[1] + ROUNDS * sizes[0] * _joined(own)) for own in rows) > LARGEST_MATRICES:
        about = f"{sum(map(len, rows))} constraints on {sizes[1]} outputs"
        raise InputError(f"{about} make more than {LARGEST_MATRICES} numbers.")
    cases = (_case(atoms, *sizes) for atoms in conjunctions)
    return Property(tuple(case for case in cases if case is not None), *sizes)


# text to expressions ------------------------------------------------------------------------------


def _commands(text: str) -> Iterator[list]:
    """The expressions of the file one after the other, as nested lists of words."""
    stack: list[list] = []
    for line in re.split("[\r\n]", text):  # a comment ends with the line, and at no other character
        for token in _TOKEN.findall(line.split(";")[0]):
            if token == "(":
                stack.append([])
                if len(stack) > DEEPEST:
                    raise InputError(f"brackets are nested more than {DEEPEST} deep.")
            elif token[0] == "[" and stack and stack[-1] and _is_name(stack[-1][-1]):
                stack[-1][-1] += re.sub(r"\s*([\[\],])\s*", r"\1", token)
            elif not stack:
                bracket = "there is a closing bracket too many."
                raise InputError(bracket if token == ")" else f"{token[:40]!r} stands outside brackets.")
            elif token == ")":
                done = stack.pop()
                if stack:
                    stack[-1].append(done)
                else:
                    yield done
            else:
                stack[-1].append(token)
    if stack:
        raise InputError(f"{len(stack)} brackets are not closed; the file may be truncated.")


def _is_name(before: Any) -> bool:
    """Whether an index belongs to what stands before it."""
    return isinstance(before, str) and "[" not in before


def _shown(expression: object) -> str:
    text = f"({' '.join(map(_shown, expression))})" if isinstance(expression, list) else str(expression)
    return text if len(text) <= 80 else text[:77] + "..."


# expressions to conjunctions of constraints -------------------------------------------------------


#: An expression, how deep it is, and of how many words.
_Expanded = tuple[Any, int, int]


def _expanded(expression: Any, meaning: Callable[[str], _Expanded]) -> _Expanded:
    """Return an expression with what its words stand for."""
    if not isinstance(expression, list):
        return meaning(expression)
    parts = [_expanded(part, meaning) for part in expression]
    depth = 1 + max((depth for _, depth, _ in parts), default=0)
    return [part for part, _, _ in parts], depth, sum(words for _, _, words in parts)


#: Input (X) or output (Y), and shape.
_Tensor = tuple[str, tuple[int, ...]]


def _tensors(parts: list) -> dict[str, _Tensor]:
    """Return the tensors that a declare-network has, by name: those of one input and one output."""
    found: dict[str, _Tensor] = {}
    for part in parts:
        match part:
            case ["declare-input" | "declare-output" as head, str(name), str(form)] if name not in found:
                element, shape = _indexed(form) or ("", None)
            case _:
                raise InputError(
                    f"{_shown(part)}: declare-input and declare-output of one network are read, each with another name "
                    "and without options; no hidden values, and no relations to other networks."
                )
        if _indexed(name) != (name, None):
            raise InputError(f"{_shown(part)}: a name is letters, digits and _, and begins with a letter.")
        if element not in ("real", "Real"):
            raise InputError(
                f"{_shown(part)}: element type {element[:40]!r} asks about the network in that arithmetic; answers "
                "here are about real numbers: write real if these are meant."
            )
        if shape is None or not 0 < prod(shape) <= LARGEST_TENSOR:
            raise InputError(f"{_shown(part)}: expected a shape such as [1,5], of 1 to {LARGEST_TENSOR} entries.")
        found[name] = ("X" if head == "declare-input" else "Y", shape)
    if (kinds := [kind for kind, _ in found.values()]) != ["X", "Y"]:
        raise InputError(
            f"{kinds.count('X')} inputs and {kinds.count('Y')} outputs; one input, then one output, is read."
        )
    return found


def _indexed(word: str) -> tuple[str, tuple[int, ...] | None] | None:
    """Return name and numbers of a word such as X[0,3], None for those of X; None if it is another word."""
    if (match := _INDEXED.fullmatch(word)) is None:
        return None
    numbers = None if match[2] is None else tuple(int(number) for number in match[2][1:-1].split(",") if number)
    return match[1], numbers


def _entry(word: str, tensors: Mapping[str, _Tensor]) -> str:
    """Return a word of version 2 as one of version 1."""
    if word in ("and", "or", "not") or not re.match("[A-Za-z]", word):
        return word
    name, given = _indexed(word) or ("", None)
    if name not in tensors:
        raise InputError(f"{word[:40]!r} is not declared.")
    (kind, shape), numbers = tensors[name], given or ()
    if len(numbers) != len(shape) or any(number >= size for number, size in zip(numbers, shape, strict=True)):
        raise InputError(f"{word[:40]} is no entry of {name}, which has the shape {list(shape)}.")
    place = 0
    for number, size in zip(numbers, shape, strict=True):
        place = place * size + number
    return f"{kind}_{place}"


def _and(left: list[list[Constraint]], right: list[list[Constraint]]) -> list[list[Constraint]]:
    if len(left) * len(right) > MOST_CASES:
        raise InputError(f"more than {MOST_CASES} cases after `or` is multiplied out.")
    if len(right) * sum(map(len, left)) + len(left) * sum(map(len, right)) > MOST_CONSTRAINTS:
        raise InputError(f"more than {MOST_CONSTRAINTS} constraints after `or` is multiplied out.")
    if len(right) == 1:  # in place: a file has thousands of bounds, one after the other
        for atoms in left:
            atoms.extend(right[0])
        return left
    return [a + b for a, b in product(left, right)]


def _disjunctive(expression: Any, declared: dict[str, set[int]], negated: bool = False) -> list[list[Constraint]]:
    """Return the expression, or its negation, as a disjunction of conjunctions of constraints."""
    head = expression[0] if isinstance(expression, list) and expression else None
    head, negated = ("=", negated != (head == "!=")) if head in ("==", "!=") else (head, negated)
    if head == "not" and len(expression) == 2:
        return _disjunctive(expression[1], declared, not negated)
    if head == "and" or (head == "or" and len(expression) > 1):
        parts = [_disjunctive(part, declared, negated) for part in expression[1:]]
        if (head == "and") != negated:
            return reduce(_and, parts, [[]])
        joined = [atoms for part in parts for atoms in part]
        if len(joined) > MOST_CASES:
            raise InputError(f"more than {MOST_CASES} cases in one `or`.")
        return joined
    if not isinstance(head, str) or head not in _COMPARISONS or len(expression) != 3:
        raise InputError(
            f"{_shown(expression)}: expected (and ...), (or ...), (not ...), or a comparison <=, >=, <, >, = of two."
        )
    left, right = (_linear(side, declared) for side in expression[1:])
    if negated and head == "=":
        return [[_difference(left, right, sign, True)] for sign in (1, -1)]
    signs, strict = _COMPARISONS[_NEGATED[head] if negated else head]
    return [[_difference(left, right, sign, strict) for sign in signs]]


def _difference(left: dict, right: dict, sign: int, strict: bool) -> Constraint:
    """sign (left - right) <= 0, or < 0."""
    weights = {v: sign * (left.get(v, 0) - right.get(v, 0)) for v in {None: 0, **left, **right}}
    limit = Fraction(-weights.pop(None))
    return Constraint({v: c for v, c in weights.items() if c}, limit, strict)


def _linear(expression: Any, declared: dict[str, set[int]]) -> dict:
    """A linear expression as coefficients by variable, the constant under None."""
    if isinstance(expression, str):
        match = _VARIABLE.fullmatch(expression)
        if match is None:
            return {None: _number(expression)}
        if int(match[2]) not in declared[match[1]]:
            raise InputError(f"{expression} is not declared.")
        return {(match[1], int(match[2])): Fraction(1)}
    head, *arguments = expression or [None]
    if head not in ("+", "-", "*", "/") or not arguments:
        raise InputError(f"{_shown(expression)}: expected a number, a variable, or +, -, *, / of them.")
    terms = [_linear(argument, declared) for argument in arguments]
    if head == "*":
        return reduce(partial(_times, expression), terms)
    if head == "/":
        divisor = terms[1].get(None) if len(terms) == 2 and set(terms[1]) == {None} else None
        if not divisor:
            raise InputError(f"{_shown(expression)}: expected (/ a b) with a number b other than 0.")
        return _times(expression, terms[0], {None: 1 / divisor})
    sign = -1 if head == "-" else 1
    if len(terms) == 1:
        return {v: sign * c for v, c in terms[0].items()}
    total = dict(terms[0])
    for v, c in chain.from_iterable(term.items() for term in terms[1:]):
        total[v] = _short(total.get(v, 0) + sign * c)
    return total


def _times(expression: Any, left: dict, right: dict) -> dict:
    """The product of linear expressions, of which one must be a number."""
    number, other = (left, right) if set(left) == {None} else (right, left)
    if set(number) != {None}:
        raise InputError(f"{_shown(expression)} is not linear.")
    return {v: _short(number[None] * c) for v, c in other.items()}


def _short(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > LONGEST:
        raise InputError(f"a number of more than {LONGEST} bits is computed.")
    return value


def _number(text: str) -> Fraction:
    if len(text) > 100 or not _NUMBER.fullmatch(text):
        raise InputError(f"{text[:40]!r} is no number and no variable X_i or Y_i.")
    return Fraction(text)


# conjunctions to cases ----------------------------------------------------------------------------


def _bound(one: Constraint) -> bool:
    """Whether it bounds a single input, or nothing."""
    return len(one.weights) < 2 and not _joined([one], "Y")


def _joined(constraints: list[Constraint], kind: str = "X") -> bool:
    """Whether inputs, or outputs (Y), occur."""
    return any(v == kind for one in constraints for v, _ in one.weights)


def _case(atoms: list[Constraint], inputs: int, outputs: int) -> Case | None:
    """The case of these constraints, or None if those about one form contradict each other, or leave no box."""
    spans: dict[Any, list[Fraction | None]] = {}
    ends = []
    for one in atoms:
        if not one.weights:
            if not one.holds({}):  # 0 <= limit
                return None
            continue
        lead = one.weights[min(one.weights)]
        form = frozenset((v, c / lead) for v, c in one.weights.items())
        span, side, end = spans.setdefault(form, [None, None]), int(lead > 0), one.limit / lead
        known = span[side]
        span[side] = end if known is None else (min if side else max)(known, end)
        ends.append((span, side, end, one.strict))
    for (low, high), side, end, strict in ends:
        if low is not None and high is not None:
            middle = (low + high) / 2
            if (middle > end if side else middle < end) or (strict and middle == end):
                return None
    single = {i: span for (((kind, i), _), *more), span in spans.items() if kind == "X" and not more}
    lower, upper = ({i: own for i, span in single.items() if (own := span[side]) is not None} for side in (0, 1))
    others = [one for one in atoms if not _bound(one)]
    if not _drawn(lower, upper, [one for one in others if not _joined([one], "Y")]):
        return None
    for i in range(inputs):
        if i not in lower or i not in upper:
            raise InputError(f"X_{i} has no {'upper' if i in lower else 'lower'} bound.")
    box = tuple((lower[i], upper[i]) for i in range(inputs))
    region = Ball.box(np.array([_below(low) for low, _ in box]), np.array([_above(high) for _, high in box]))
    columns = {"Y": outputs, "X": inputs} if _joined(others) else {"Y": outputs}
    A, C = (np.zeros((len(others), columns.get(kind, 0))) for kind in "YX")
    limits = [_row(one, {"Y": A[i], "X": C[i]}) for i, one in enumerate(others)]
    return Case(tuple(atoms), box, region, A, np.array(limits), C if C.size else None)


def _drawn(lower: dict[int, Fraction], upper: dict[int, Fraction], joined: list[Constraint]) -> bool:
    """Draw bounds from constraints that join inputs, rounded outward, in place; False if no point is left."""
    for _ in range(ROUNDS):
        before = dict(lower), dict(upper)
        for one in joined:
            least = {i: (lower if c > 0 else upper).get(i) for (_, i), c in one.weights.items()}
            open_ends = [i for i, end in least.items() if end is None]
            if len(open_ends) > 1:
                continue
            rest = one.limit - sum(c * (least[i] or 0) for (_, i), c in one.weights.items())
            if not open_ends and (rest < 0 or (rest == 0 and one.strict)):
                return False
            for (_, i), c in one.weights.items():
                if open_ends in ([], [i]):
                    end = (rest + c * (least[i] or 0)) / c
                    if abs(end) > FLOAT_MAX:  # it says nothing of a float64
                        continue
                    rounded = Fraction(_above(end) if c > 0 else _below(end))
                    if c > 0 and (i not in upper or rounded < upper[i]):
                        upper[i] = rounded
                    elif c < 0 and (i not in lower or rounded > lower[i]):
                        lower[i] = rounded
        if any(lower[i] > upper[i] for i in lower.keys() & upper.keys()):
            return False
        if before == (lower, upper):
            break
    return True


def _row(one: Constraint, row: Mapping[str, np.ndarray]) -> float:
    """Write a constraint's coefficients as whole numbers, which float64 holds exactly; return the limit, rounded up."""
    scale = math.lcm(*(c.denominator for c in one.weights.values()))
    for (kind, i), c in one.weights.items():
        if abs(c * scale) >= 2**53:
            raise InputError(f"the coefficients of a constraint on {kind}_{i} have too many digits for float64.")
        row[kind][i] = int(c * scale)
    return _above(one.limit * scale)


def _below(value: Fraction) -> float:
    """The largest float64 not above value."""
    try:
        nearest = float(value)
    except OverflowError:
        raise InputError("a number is too large for float64.") from None
    below = nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)
    if math.isinf(below):
        raise InputError("a number is too large for float64.")
    return below


def _above(value: Fraction) -> float:
    return 0.0 - _below(-value)
