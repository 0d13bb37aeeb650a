"""VNN-LIB files: read exactly, refused by name."""

import gzip
from fractions import Fraction

import numpy as np
import pytest

from tightrope import properties
from tightrope.errors import CorruptDataError, InputError, MissingDataError, TightropeError
from tightrope.properties import MOST_CASES, Constraint, parse_vnnlib, read_vnnlib

DECLARED = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)"
BOX = "(assert (<= X_0 1))(assert (>= X_0 0))(assert (<= X_1 0.5))(assert (>= X_1 (- 0.5)))"


def test_a_file_as_they_are_written(tmp_path):
    """Comments, line breaks, both declarations, both sides of a comparison, exponents; packed or not."""
    text = """; ACAS-like
    (set-logic QF_LRA)
    (declare-fun X_0 () Real)
    (declare-const X_1 Real) (declare-const Y_0 Real)
    (declare-const Y_1 Real)
    ; unscaled input: [0, 1]
    (assert (<= X_0 0.679857769)) (assert (>= X_0 6.0e-1))
    (assert (and (<= -0.5 X_1) (> 0.5 X_1)))
    (assert (<= (* 2 (- Y_0 Y_1)) (+ 3.0 (* 0.5 Y_1)
    )))   ; forbidden
    (check-sat)
    """
    (tmp_path / "p.vnnlib").write_text(text)
    (tmp_path / "p.vnnlib.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "packed.vnnlib").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "plain.vnnlib.gz").write_text(text, encoding="utf-8-sig")  # with a mark of the byte order
    for name in ("p.vnnlib", "p.vnnlib.gz", "packed.vnnlib", "plain.vnnlib.gz"):
        found = read_vnnlib(tmp_path / name)
        (case,) = found.cases
        assert (found.inputs, found.outputs) == (2, 2)
        low, high = case.region.bounding_box()
        np.testing.assert_allclose(low, [0.6, -0.5], atol=1e-15)
        np.testing.assert_allclose(high, [0.679857769, 0.5], atol=1e-15)
        assert case.A.tolist() == [[4.0, -5.0]] and case.b.tolist() == [6.0]  # times 2: whole numbers


def test_boxes_and_limits_grow_by_rounding_never_shrink():
    """0.1 is no float64: the read box holds the written one, and every counterexample stays one."""
    text = DECLARED + "(assert (<= X_0 0.3))(assert (>= X_0 0.1))(assert (<= X_1 0.7))(assert (>= X_1 0.7))"
    (case,) = parse_vnnlib(text + "(assert (<= (* 0.1 Y_0) 0.7))").cases
    low, high = case.region.bounding_box()
    assert Fraction(low[0]) <= Fraction("0.1") and Fraction("0.3") <= Fraction(high[0])
    assert Fraction(low[1]) <= Fraction("0.7") <= Fraction(high[1])
    assert case.region.contains(np.array([0.2, 0.7])) and high[1] - low[1] < 1e-15
    assert case.A.tolist() == [[1.0, 0.0]] and Fraction(case.b[0]) >= 7


def test_or_is_multiplied_out():
    """Cases of inputs and outputs; boxes that are empty disappear."""
    text = (
        DECLARED + "(assert (or (and (<= X_0 1) (>= X_0 0)) (and (<= X_0 3) (>= X_0 2)) (and (<= X_0 3) (>= X_0 4))))"
    )
    text += "(assert (and (<= X_1 0) (>= X_1 0)))(assert (or (<= Y_0 Y_1) (and (>= Y_0 5) (<= Y_1 7) (= Y_0 Y_1))))"
    cases = parse_vnnlib(text).cases
    assert len(cases) == 4 and [len(case.b) for case in cases] == [1, 4, 1, 4]
    assert sorted(float(case.region.bounding_box()[0][0]) for case in cases) == [0, 0, 2, 2]
    y = np.array([[6.0, 6.0], [6.0, 6.1], [4.0, 4.0]])
    assert (cases[1].slack(y, y) >= 0).all(1).tolist() == [True, False, False]


def test_the_same_set_as_direct_evaluation(rng):
    """Random formulas against Python's own and, or and <=."""
    for _ in range(50):
        formula, evaluate = _random_formula(rng, depth=3)
        found = parse_vnnlib(DECLARED + BOX + f"(assert {formula})")
        for y in rng.integers(-3, 4, size=(30, 1, 2)).astype(float):
            assert any((case.slack(y, y) >= 0).all() for case in found.cases) == evaluate(y[0])


def _random_formula(rng, depth: int):
    """Text and function of y, with whole numbers."""
    if depth and rng.random() < 0.6:
        parts = [_random_formula(rng, depth - 1) for _ in range(rng.integers(1, 4))]
        word, combine = (("and", all), ("or", any))[rng.integers(2)]
        return f"({word} {' '.join(t for t, _ in parts)})", lambda y: combine(f(y) for _, f in parts)
    a, b, c, d = (int(n) for n in rng.integers(-3, 4, size=4))
    forms = (f"(+ (* {a} Y_0) (* Y_1 {b}))", f"(- {c} (* {d} Y_1))")
    if rng.random() < 0.5:
        return f"(<= {forms[0]} {forms[1]})", lambda y: a * y[0] + b * y[1] <= c - d * y[1]
    return f"(>= {forms[0]} {forms[1]})", lambda y: a * y[0] + b * y[1] >= c - d * y[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(assert (<= Y_0 Y_1)", "1 brackets are not closed"),
        ("(assert (<= Y_0 Y_1))) ", "closing bracket too many"),
        ("assert", "'assert' stands outside brackets"),
        ("(" * 60, "nested more than 50"),
        ("(vnnlib-version <2.0>)", "not known; declare-const, assert, and define-fun"),
        ("(declare-const Z_0 Real)", "variables are X_0"),
        ("(declare-const X_2 Int)", "of sort Real"),
        ("(declare-const X_3 Real)", "3 variables X are declared, not X_0, X_1, ... without gaps"),
        ("(assert (<= Y_2 0))", "Y_2 is not declared"),
        ("(assert (not (<= Y_0 0) (<= Y_1 0)))", r"\(<= Y_1 0\)\): expected \(and"),
        ("(define-fun half (Real) Real 0.5)", "not known"),
        ("(assert (or))", "expected"),
        ("(assert Y_0)", "expected"),
        ("(assert (<= (* Y_0 Y_1) 0))", "is not linear"),
        ("(assert (<= (^ Y_0 2) 0))", r"expected a number, a variable, or \+, -, \*"),
        ("(assert (<= (/ Y_0 0) 0))", "with a number b other than 0"),
        ("(assert (<= (/ 1 Y_0) 0))", "with a number b other than 0"),
        ("(assert (<= Y_0 ten))", "'ten' is no number"),
        ("(assert (<= Y_0 nan))", "'nan' is no number"),
        ("(assert (<= Y_0 1e9999999999))", "is no number"),
        ("(assert (<= Y_0 1e999))", "too large for float64"),
        ("(assert (<= (* 0.12345678901234567 Y_0) Y_1))", "too many digits"),
        ("(assert (<= (* 0.12345678901234567 X_0) Y_1))", "a constraint on X_0 have too many digits"),
        ("(assert (<= (* X_0 Y_0) 0))", "is not linear"),
        ("(assert " + "(and " * 48 + "(<= Y_0 0)" + ")" * 49, None),
        ("".join("(assert (or (<= Y_0 0) (<= Y_1 0)))" for _ in range(20)), f"more than {MOST_CASES} cases"),
    ],
)
def test_what_is_not_read_is_named(text, message):
    """The expression and what is expected."""
    if message is None:
        assert len(parse_vnnlib(DECLARED + BOX + text).cases) == 1
        return
    with pytest.raises(InputError, match=message):
        parse_vnnlib(DECLARED + BOX + text)


def test_inputs_without_bounds_and_without_variables():
    """A half-line is no box; a file without outputs asks nothing."""
    with pytest.raises(InputError, match="X_1 has no upper bound"):
        parse_vnnlib(DECLARED + "(assert (<= X_0 1))(assert (>= X_0 0))(assert (>= X_1 0))")
    for empty in ("", "; nothing\n", "(vnnlib-version <2.0>)"):
        with pytest.raises(InputError, match="no inputs and outputs are declared"):
            parse_vnnlib(empty)
    with pytest.raises(InputError, match="0 variables Y are declared"):
        parse_vnnlib("(declare-const X_0 Real)")


def test_files(tmp_path):
    """Absent, truncated, not text: each has its error, and the path is in it."""
    with pytest.raises(MissingDataError, match=r"no file .*p\.vnnlib"):
        read_vnnlib(tmp_path / "p.vnnlib")
    packed = gzip.compress((DECLARED + BOX).encode())
    (tmp_path / "p.vnnlib.gz").write_bytes(packed[:-20])
    with pytest.raises(CorruptDataError, match=r"p\.vnnlib\.gz is not a whole"):
        read_vnnlib(tmp_path / "p.vnnlib.gz")
    (tmp_path / "p.vnnlib").write_bytes(b"\xff\xfe(assert")
    with pytest.raises(CorruptDataError, match="is not a whole VNN-LIB text"):
        read_vnnlib(tmp_path / "p.vnnlib")
    (tmp_path / "p.vnnlib").write_text(DECLARED + BOX + "(assert (<= Y_0")
    with pytest.raises(InputError, match=r"p\.vnnlib: 3 brackets|p\.vnnlib: 2 brackets"):
        read_vnnlib(tmp_path / "p.vnnlib")


def test_damaged_texts_are_named_errors_or_properties(rng):
    """Characters changed at random never end in another exception."""
    text = DECLARED + BOX + "(assert (or (<= Y_0 Y_1) (and (>= (* 2 Y_0) 5) (<= Y_1 7.5))))"
    letters = "()XY_019.+-*<>= eandorst;"
    refused = 0
    for _ in range(400):
        changed = list(text)
        for place in rng.integers(len(changed), size=2):
            changed[place] = letters[rng.integers(len(letters))]
        try:
            parse_vnnlib("".join(changed))
        except TightropeError:
            refused += 1
    assert refused > 100


def test_not_quotients_and_definitions():
    """Negations by De Morgan, strict where the comparison was not; thirds exactly; names for expressions."""
    text = DECLARED + BOX + "(define-fun sum () Real (+ Y_0 Y_1))"
    text += "(assert (not (or (<= sum (/ 1 3)) (and (> Y_0 1) (= Y_1 2)))))"
    cases = parse_vnnlib(text).cases
    outputs = [
        [one for one in case.constraints if ("Y", 0) in one.weights or ("Y", 1) in one.weights] for case in cases
    ]
    third = Constraint({("Y", 0): Fraction(-1), ("Y", 1): Fraction(-1)}, Fraction(-1, 3), True)
    apart = [Constraint({("Y", 1): Fraction(sign)}, Fraction(2 * sign), True) for sign in (1, -1)]
    assert outputs == [
        [third, Constraint({("Y", 0): Fraction(1)}, Fraction(1), False)],
        *([third, one] for one in apart),
    ]


def test_a_comment_ends_with_its_line_only():
    """Form feeds and the line separators of Unicode do not end it, as in SMT-LIB."""
    text = DECLARED + BOX + "(assert (<= Y_0 0)) ; was\f(assert (<= Y_0 -5)) or\u2028(assert (<= Y_0 -6))\r\n"
    (case,) = parse_vnnlib(text + "(assert (<= Y_1 1))").cases
    assert case.b.tolist() == [0.0, 1.0]


def doubled(what, times):
    return f"(define-fun f0 () Real {what})" + "".join(
        f"(define-fun f{i + 1} () Real ({sign} f{i} f{i}))" for i, sign in enumerate(times)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(define-fun X_0 () Real 5)", "a new name is needed"),
        ("(define-fun or () Bool and)", "a new name is needed"),
        ("(define-fun 5 () Real 6)", "a new name is needed"),
        ("(define-fun a () Real 6)(define-fun a () Real 7)", "a new name is needed"),
        (doubled(1, "+" * 45) + "(assert (<= Y_0 f45))", "define-fun makes more than"),
        (doubled(1, "-" * 2000) + "(assert (<= Y_0 f2000))", "define-fun makes more than"),
        (doubled("1e999", "*" * 10) + "(assert (<= Y_0 f10))", "a number of more than"),
        ("(declare-const X_" + "9" * 5000 + " Real)", "variables are X_0"),
    ],
    ids=range(8),
)
def test_files_that_would_take_the_machine_down(text, message):
    """Definitions that double, numbers that square: refused before they are written out."""
    with pytest.raises(InputError, match=message):
        parse_vnnlib(DECLARED + BOX + text)


def test_cases_are_bounded_together(monkeypatch):
    """Constraints that come after `or` are in every case."""
    monkeypatch.setattr(properties, "MOST_CONSTRAINTS", 1000)
    with pytest.raises(InputError, match="more than 1000 constraints"):
        parse_vnnlib(DECLARED + BOX + "(assert (or" + " (<= Y_0 0)" * 50 + "))" + "(assert (<= Y_1 0))" * 50)


def test_strict_and_exact_boxes():
    """A box that only a strict bound empties is none, and points are moved into what the file says."""
    declared = "(declare-const X_0 Real)(declare-const Y_0 Real)"
    assert not parse_vnnlib(declared + "(assert (>= X_0 1))(assert (< X_0 1))").cases
    (case,) = parse_vnnlib(declared + "(assert (> X_0 0.5))(assert (<= X_0 0.7))").cases
    for start in (0.0, 0.5, 0.6, 0.7, 1.0):
        (moved,) = case.moved_inside(np.array([start]))
        assert Fraction(1, 2) < moved <= Fraction("0.7")


def test_constraints_that_join_inputs_bound_each_of_them():
    """By exact arithmetic, outward; also inputs that have no bound of their own. Contradictions leave no case."""
    declared = "".join(f"(declare-const X_{i} Real)" for i in range(3)) + "(declare-const Y_0 Real)"
    box = "(assert (and (>= X_0 0) (>= X_1 0.1) (<= X_2 1) (>= X_2 1)))"
    (case,) = parse_vnnlib(declared + box + "(assert (<= (+ X_0 (* 3 X_1) X_2) 2))(assert (<= Y_0 (+ X_0 0.5)))").cases
    (_, first), (second, third), last = case.box
    assert (Fraction("0.7"), Fraction(1, 3)) <= (first, third) <= (Fraction("0.7") + 2**-52, Fraction(1, 3) + 2**-53)
    assert (second, last) == (Fraction("0.1"), (1, 1))
    assert (case.A.tolist(), case.C.tolist(), case.b.tolist()) == ([[0], [1]], [[1, 3, 1], [-1, 0, 0]], [2, 0.5])
    whole = declared + "(assert (and (= X_0 0) (<= X_1 1) (>= X_1 0) (<= X_2 1) (>= X_2 0)))"
    for impossible in (
        "(> (+ X_1 X_2) 2)",
        "(and (< (- X_1 X_2) 0.5) (>= (* 2 X_1) (+ 1 (* 2 X_2))))",
        "(and (<= Y_0 0) (> Y_0 0))",
        "(and (<= (+ X_0 X_1) 0.5) (<= (+ X_0 X_2) 0.5) (> (+ X_1 X_2) 1))",
    ):
        assert not parse_vnnlib(whole + f"(assert {impossible})").cases, impossible
    with pytest.raises(InputError, match="X_0 has no upper bound"):
        parse_vnnlib(declared + box + "(assert (<= (+ X_1 X_2) (* 2 X_0)))(assert (<= Y_0 0))")


def test_points_are_moved_onto_constraints_that_join_inputs(rng):
    """Exactly, also where two of them share inputs; a point that meets them stays where it is."""
    declared = "".join(f"(declare-const X_{i} Real)(assert (<= X_{i} 1))(assert (>= X_{i} -1))" for i in range(4))
    joined = "(assert (= (+ X_0 (* 3 X_1)) 0.1))(assert (<= (- X_1 X_2) 0.2))(assert (= X_3 (/ X_2 3)))"
    (case,) = parse_vnnlib(declared + joined + "(declare-const Y_0 Real)(assert (<= Y_0 0))").cases
    about_inputs = [one for one in case.constraints if ("Y", 0) not in one.weights]
    met = 0
    for point in rng.uniform(-1, 1, (50, 4)):
        moved = case.moved_inside(point)
        met += all(one.holds({"X": {i: (x, x) for i, x in enumerate(moved)}}) for one in about_inputs)
        assert case.moved_inside(np.array([0.25, -0.05, 0.0, 0.0]))[2:] == [0, 0]
    assert met > 35


def two(*assertions, of="(declare-input X real [2,3]) (declare-output Y real [2])", version="2.0"):
    """A file of version 2."""
    return f"(vnnlib-version <{version}>) (declare-network f {of}) " + "".join(f"(assert {one})" for one in assertions)


INSIDE = tuple(f"(and (>= X[{i},{j}] 0) (<= X[{i},{j}] {i}.{j}))" for i in range(2) for j in range(3))


def test_version_2_is_version_1_with_tensors_row_by_row(tmp_path):
    """Indices, blanks in them, scalars, both signs of equality; != as two strict cases."""
    text = two(*INSIDE, "(or (<= (+ (* 2.5 Y[0]) (- Y[ 1 ])) 0.1) (!= Y[0] 3) (== Y[1] Y[0]))", version="2.1")
    found = parse_vnnlib(text.replace("X[1,2]", "X [1 , 2]"))
    old = "".join(f"(declare-const X_{i} Real)" for i in range(6)) + "(declare-const Y_0 Real)(declare-const Y_1 Real)"
    old += "".join(
        f"(assert (and (>= X_{3 * i + j} 0) (<= X_{3 * i + j} {i}.{j})))" for i in range(2) for j in range(3)
    )
    old += "(assert (or (<= (+ (* 2.5 Y_0) (- Y_1)) 0.1) (not (= Y_0 3)) (= Y_1 Y_0)))"
    wanted = parse_vnnlib(old)
    assert (found.inputs, found.outputs) == (wanted.inputs, wanted.outputs) == (6, 2)
    assert [case.constraints for case in found.cases] == [case.constraints for case in wanted.cases]
    assert len(found.cases) == 4 and found.cases[0].box[5] == (0, Fraction("1.2"))
    scalar = "; a file\n" + two(
        "(and (>= A -1) (<= A 1))", "(> X_0 0.5)", of="(declare-input A Real [])(declare-output X_0 Real [])"
    )
    (tmp_path / "p.vnnlib").write_text(scalar)
    (case,) = read_vnnlib(tmp_path / "p.vnnlib").cases
    assert case.box == ((-1, 1),) and case.A.tolist() == [[-1.0]] and case.b.tolist() == [-0.5]


NETWORK = "(declare-input X real [2,3])(declare-output Y real [2])"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(vnnlib-version <3.0>)", r"\(vnnlib-version <3.0>\) is not known"),
        ("(vnnlib-version 2.0)", "is not known"),
        (two(of=NETWORK) + f"(declare-network g {NETWORK})", "declare-network once, then assert"),
        (two(of=NETWORK) + "(declare-const X_0 Real)", "of VNN-LIB version 2 are read"),
        (two(of=NETWORK) + "(define-fun half () Real 0.5)", "of VNN-LIB version 2 are read"),
        (two(of="(equal-to g)" + NETWORK), r"\(equal-to g\): .* no relations to other networks"),
        (
            two(of='(declare-input X real [1])(declare-hidden H real [1] "a)b")(declare-output Y real [1])'),
            "declare-hidden",
        ),
        (two(of="(declare-input X real [1] initialized)(declare-output Y real [1])"), "initialized"),
        (two(of="(declare-input X float32 [1])(declare-output Y float32 [1])"), "element type 'float32'.* write real"),
        (two(of="(declare-input X real)(declare-output Y real [1])"), "declare-input X real"),
        (two(of="(declare-input X [1])(declare-output Y real [1])"), "declare-input X"),
        (two(of="(declare-input X real [0])(declare-output Y real [1])"), "expected a shape such as"),
        (two(of="(declare-input X real [1024,1025])(declare-output Y real [1])"), "of 1 to 1048576 entries"),
        (two(of="(declare-input X real [" + "9," * 99 + "9])(declare-output Y real [1])"), "element type ''"),
        (two(of="(declare-input X real [1])(declare-output X real [1])"), "each with another name"),
        (
            two(of="(declare-input X real [1])(declare-input Z real [1])(declare-output Y real [1])"),
            "2 inputs and 1 outputs",
        ),
        (two(of="(declare-output Y real [1])(declare-input X real [1])"), "1 inputs and 1 outputs; one input, then"),
        (two(of="(declare-input 1X real [1])(declare-output Y real [1])"), "declare-input 1X .*: a name is letters"),
        (two(of="(declare-input X[] real [1])(declare-output Y real [1])"), "a name is letters"),
        (two("(<= Y[0] \u0661)"), "'\u0661' is no number"),
        (two("(<= Y[0] 1e\uff12)"), "is no number"),
        (two("(<= X_0 1)"), "'X_0' is not declared"),
        (two("(<= Z[0] 1)"), r"'Z\[0\]' is not declared"),
        (two("(<= X[0,3] 1)"), r"X\[0,3\] is no entry of X, which has the shape \[2, 3\]"),
        (two("(<= X[0] 1)"), "is no entry of X"),
        (two("(<= X 1)"), "is no entry of X"),
        (two("(<= Y[0 1] 1)"), r"'Y\[0 1\]' is not declared"),
        (two("(<= Y[0][1] 1)"), "expected"),
        (two("(<= Y[0,] 1)"), "is not declared"),
        (two("(<= Y[-1] 1)"), "is not declared"),
        (two("(<= Y[0 1)"), r"'Y\[' is not declared"),
        (two("(<= [0] 1)"), r"\(<=\[0\] 1\): expected"),
        (two("(forall Y[0])"), "'forall' is not declared"),
        (two("(<= (* Y[0] Y[1]) 1)"), "is not linear"),
        (two(*INSIDE[1:]), "X_0 has no lower bound"),
        ("(assert (<= X[0] 1))" + two(), r"'X\[0\]' is no number"),
        (two() + "(vnnlib-version <2.0>)", "is not known"),
    ],
)
def test_what_version_2_has_beyond_boxes_is_named(text, message):
    """Several networks, hidden values, floating-point types, wrong indices; blanks never join two numbers."""
    with pytest.raises(InputError, match=message):
        parse_vnnlib(text)


def test_damaged_texts_of_version_2(rng):
    """Characters changed at random: a named error, or a property; no other exception."""
    text, refused = two(*INSIDE, "(or (<= Y[0] Y[1]) (!= (* 2 Y[0]) 5))"), 0
    for _ in range(400):
        changed = list(text)
        for place in rng.integers(len(changed), size=2):
            changed[place] = "()[],XY_019.<=! eandr"[rng.integers(21)]
        try:
            parse_vnnlib("".join(changed))
        except TightropeError:
            refused += 1
    assert refused > 100


def test_very_many_outputs_are_refused_with_their_number(monkeypatch):
    """Matrices that do not fit in memory are not begun."""
    monkeypatch.setattr(properties, "LARGEST_MATRICES", 1000)
    of = "(declare-input X real [1])(declare-output Y real [400])"
    box = "(and (>= X[0] 0) (<= X[0] 1))"
    assert parse_vnnlib(two(box, "(or (<= Y[0] 0) (<= Y[399] 1))", of=of)).cases[1].A.shape == (1, 400)
    with pytest.raises(InputError, match="3 constraints on 400 outputs make more than 1000 numbers"):
        parse_vnnlib(two(box, "(and (<= Y[0] 0) (<= Y[1] 1) (<= Y[2] 1))", of=of))
