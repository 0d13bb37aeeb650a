"""Printed beside reproduced: the verdict of each kind of cell, and what counts as a comparison at all."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightrope.workbench import compare as comparing
from tightrope.workbench import published, registry
from tightrope.workbench.certificates import Statement
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.published import Cell, Result
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value

RESULT = Result("p", "r", "Table 1", "t", "deterministic", paper_parameters={"images": 2})


@pytest.mark.parametrize(
    ("cell", "value", "expected"),
    [
        (dict(printed=24, kind="deterministic", tolerance=1, better="higher"), 23, "reproduced"),
        (dict(printed=24, kind="deterministic", tolerance=1, better="higher"), 26, "tighter"),
        (dict(printed=24, kind="deterministic", tolerance=1, better="higher"), 20, "looser"),
        (dict(printed=7, kind="deterministic"), 3, "disagrees"),
        (dict(printed=1.45, kind="drawn", tolerance=0.51), 1.8, "comparable"),
        (dict(printed=1.45, kind="drawn", tolerance=0.51), 2.8, "disagrees"),
        (dict(printed=1936, kind="size"), 1936, "reproduced"),
        (dict(printed=1936, kind="size"), 1900, "smaller"),
        (dict(printed=872, kind="size"), 882, "disagrees"),
        (dict(printed=200, kind="configuration"), 200, "configured"),
        (dict(printed=0.1 + 0.2, kind="deterministic"), 0.3, "reproduced"),
        (dict(printed=82, kind="bound", side="upper", tolerance=1), 75, "tighter"),
        (dict(printed=82, kind="bound", side="upper", tolerance=1), 84, "looser"),
        (dict(printed=1.65, kind="bound", side="lower"), 1.7, "tighter"),
        (dict(printed=1.65, kind="deterministic", side="lower"), 1.7, "disagrees"),
        (dict(printed=74, kind="statistical", interval=(66, 76)), 70.7, "reproduced"),
        (dict(printed=74, kind="statistical", interval=(66, 76), better="higher"), 80, "tighter"),
        (dict(printed=74, kind="statistical", interval=(66, 76)), 80, "disagrees"),
        (dict(printed=98.2, kind="trained", tolerance=0.5), 98.0, "reproduced"),
        (dict(printed=1350, kind="timing", better="lower"), 3.0, "reproduced"),
        (dict(printed=1350, kind="timing", better="lower"), 2000.0, "looser"),
    ],
)
def test_agreement(cell, value, expected):
    """Each kind of number has its own rule."""
    assert comparing.agreement(Cell("c", **cell), value) == expected


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Compare one cell of RESULT after writing rows; its value is the mean of the rows' values."""

    monkeypatch.setattr(registry, "_REGISTERED", {})
    of_rows = Experiment("p", "r")

    @of_rows.cells
    def cells(rows, images):
        return {"c": Value(rows.mean("value"), "of the rows", rows)} if len(rows) >= images else {}

    of_rows.states(lambda row: Statement((), None) if row["value"] > 30 else None)
    monkeypatch.setattr(registry, "experiments", lambda paper: {"r": of_rows})

    monkeypatch.setattr(comparing, "experiment", lambda result: of_rows)
    monkeypatch.setattr(Result, "runnable", property(lambda result: not result.not_run))
    monkeypatch.setattr(published, "defaults", lambda result: {"images": 1})

    def run(cell, rows, result=RESULT):
        from dataclasses import replace

        with Store(tmp_path / "records.sqlite") as store:
            for number, (profile, value) in enumerate(rows):
                case = dict(paper="p", result="r", profile=profile, network_sha256="ab", image=number)
                store.put(case, {"value": value, "certificate": None if value > 40 else "ab"})
            (line,) = comparing.compare([replace(result, cells=(cell,))], store)
        return line

    return run


CELL = Cell("c", printed=24, kind="deterministic", tolerance=1, better="higher", erratum="bias left out")


def test_rows_of_the_paper_profile_are_compared(compare):
    """The line has the value, its note, and the erratum where the numbers differ."""
    line = compare(CELL, [("paper", 22), ("paper", 24), ("quick", 99)])
    assert line.as_dict() == {
        "paper": "p",
        "result": "r",
        "cell": "c",
        "kind": "deterministic",
        "printed": 24,
        "reproduced": 23.0,
        "agreement": "reproduced",
        "reason": "of the rows; bias left out",
        "profile": "paper",
    }


@pytest.mark.parametrize(
    ("values", "proof"), [([22, 24], ""), ([22, 31], "proven"), ([31, 41], "computed"), ([41, 22], "computed")]
)
def test_a_number_is_proven_by_the_certificates_of_its_rows(compare, values, proof):
    """Of those that state anything: above 30 here."""
    line = compare(CELL, [("paper", value) for value in values])
    assert line.proof == proof
    table = comparing.comparison_table([line])
    assert table.rows[0][table.columns.index("proof")] == proof


def test_the_quick_profile_is_no_comparison(compare):
    """Another network: its number is shown, and nothing is claimed."""
    line = compare(CELL, [("quick", 24.0)])
    assert (line.reproduced, line.agreement, line.profile) == (24.0, "not run", "quick")
    assert "another network" in line.reason


def test_an_unfinished_run_is_no_comparison(compare):
    """One of two images: nothing is claimed, and the reason says so."""
    line = compare(CELL, [("paper", 24)])
    assert (line.reproduced, line.agreement, line.profile) == (None, "not run", None)
    assert "only 1 cases" in line.reason


def test_what_cannot_be_run_says_why(compare):
    """A result without a notebook, and a column that nothing computes yet."""
    from dataclasses import replace

    waiting = replace(RESULT, not_run="no notebook yet")
    assert compare(CELL, [], waiting).reason == "no notebook yet"
    column = Cell("d", printed=1, kind="deterministic", not_run="not written")
    line = compare(column, [("paper", 24), ("paper", 24)])
    assert (line.agreement, line.reason) == ("not run", "not written")


def test_a_timing_is_shown_and_says_so(compare):
    """Its reason tells that nothing depends on it."""
    line = compare(Cell("c", printed=1350, kind="timing", better="lower"), [("paper", 2.0), ("paper", 4.0)])
    assert "never asserted" in line.reason


def test_results_without_cells_have_one_line():
    """A table whose numbers are not cells yet keeps its row."""
    waiting = Result("p", "r", "Table 9", "t", "trained")
    (line,) = comparing.compare([waiting], None)
    said = [line.as_dict()[name] for name in ("cell", "printed", "agreement", "kind")]
    assert said == ["r", None, "not run", "trained"] and line.reason == "its notebook does not exist"


@given(value=st.floats(-1e300, 1e300, allow_subnormal=False), kind=st.sampled_from(("bound", "deterministic", "drawn")))
def test_a_number_that_bounds_something_is_shown_on_its_side(value, kind):
    """On the command line; a share, which stands for a count, is rounded like every other number."""
    cells = {side: Cell(side, printed=1.0, kind=kind, side=side) for side in ("upper", "lower")}
    share = Cell("share", printed=1.0, kind=kind, side="upper", unit="%")
    result = Result("p", "r", "Table 1", "t", "bound", (*cells.values(), share))
    lines = [comparing.Comparison(result, cell, value, "tighter", "", "paper") for cell in result.cells]
    rows = [line.split() for line in str(comparing.comparison_table(lines)).splitlines()[2:]]
    high, low, near = (Fraction(Decimal(row[2])) for row in rows)
    assert low <= Fraction(value) <= high
    assert [row[2] for row in rows[:2]] == [line.ours for line in lines[:2]]
    assert near in (low, high) and rows[2][2] == f"{value:.4g}"
