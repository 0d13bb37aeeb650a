"""Stored outputs of notebooks are compared as words and numbers, and nbval does so."""

import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.notebook_outputs import differences, settle
from tightrope import paths
from tightrope.workbench.tables import Table

COLUMNS = ("norm", "images", "log det Q", "verdict", "published")
ROWS = (("L2", 10, "0.9 to 17.1", "certified", None), ("L1", 9, -27.98, "unknown", 12.5))
STATED = {"log det Q": 0.2}


def output(rows=ROWS, tolerance=STATED):
    """The output that a notebook stores of a table."""
    table = Table(COLUMNS, rows, tolerance)
    data, metadata = table._repr_mimebundle_()
    return new_output("execute_result", {"text/plain": str(table), **data}, metadata=metadata, execution_count=1)


def changed(row, column, value):
    """The rows with another value in one cell."""
    rows = [list(line) for line in ROWS]
    rows[row][COLUMNS.index(column)] = value
    return rows


@pytest.mark.parametrize(
    "rows, where",
    [
        (
            changed(0, "log det Q", "0.9 to 17.4"),
            "row 1, log det Q: 0.9 to 17.1 stored, 0.9 to 17.4 now, more than 0.2",
        ),
        (changed(1, "log det Q", -27.7), "row 2, log det Q"),
        (changed(1, "published", 12.52), "row 2, published"),
        (changed(0, "images", 11), "row 1, images: 10 stored, 11 now"),
        (changed(0, "norm", "L3"), "row 1, norm"),
        (changed(0, "verdict", "attacked"), "row 1, verdict"),
        (changed(0, "log det Q", "0.9 and 17.1"), "row 1, log det Q"),
        (changed(0, "published", 1.0), "row 1, published: nothing stored, 1 now"),
        (changed(1, "published", None), "row 2, published: 12.5 stored, nothing now"),
        (changed(1, "published", "inf"), "row 2, published"),
        (ROWS[:1], "4 lines stored, 3 now"),
        ((*ROWS, ROWS[0]), "4 lines stored, 5 now"),
        (ROWS[::-1], "row 1, norm"),
    ],
)
def test_what_changed_in_a_table_is_seen(rows, where):
    test, ref, found = settle([output(rows)], [output()])
    assert test != ref
    assert found[0].startswith(where)


@pytest.mark.parametrize(
    "rows",
    [
        changed(0, "log det Q", "1.1 to 17.2"),
        changed(1, "log det Q", -27.9),
        changed(1, "log det Q", "-28.000"),  # longer: the columns of the text are aligned anew
        changed(1, "published", 12.49),
        ROWS,
    ],
)
def test_what_agrees_becomes_the_stored_text(rows):
    test, ref, found = settle([output(rows)], [output()])
    assert test == ref
    assert not found


def test_the_tolerance_is_the_stored_one():
    """Neither the code's, nor that of another column; a number holds for every column."""
    shifted = changed(0, "log det Q", "0.9 to 17.3")
    assert settle([output(shifted, 5.0)], [output(tolerance=None)])[2]
    assert settle([output(shifted)], [output(tolerance={"published": 5.0})])[2]
    assert not settle([output(shifted, None)], [output(tolerance=0.2)])[2]
    assert settle([output(changed(0, "images", 11))], [output(tolerance=0.2)])[2]
    assert not settle([output(changed(0, "images", 11))], [output(tolerance={"images": 1})])[2]


def test_a_header_is_compared_as_text():
    """Also where it is a number, and whatever the tolerance."""
    stored, now = (Table(("epsilon", radius), [("Box", 95.0)], 10.0).to_markdown() for radius in ("0.01", "0.02"))
    assert differences(stored, now, 10.0) == ["header: epsilon | 0.01 stored, epsilon | 0.02 now"]


def test_names_of_columns_may_hold_bars_and_end_in_a_space():
    stored, now = (Table(("|x|", "printed "), [(1.5, value)]).to_markdown() for value in (2.0, 2.4))
    assert differences(stored, now) == ["row 1, printed: 2 stored, 2.4 now"]
    assert not differences(stored, now, {"printed ": 0.5, "|x|": 0.0})
    assert differences(stored, now, {"|x|": 0.5})


@pytest.mark.parametrize(
    "stored, now",
    [
        ("at most 9.99", "at most 10.0"),
        ("[-2.567, 2.650]", "[-2.568,  2.649]"),
        ("1.2e-05", "1.3e-05"),
        ("0.0001", "9.999e-05"),
        ("75", "75.01"),
        ("74 % of -inf", "74 % of   -inf"),
        ("name  value\n-----------\na       9.9", "name  value\n------------\na       10.0"),
    ],
)
def test_texts_that_agree(stored, now):
    assert differences(stored, now) == differences(now, stored) == []


@pytest.mark.parametrize(
    "stored, now",
    [
        ("at most 9.99", "at most 10.1"),
        ("[16, 34]", "[16, 35]"),
        ("[16, 34]", "[16, -34]"),
        ("1.2e-05", "1.4e-05"),
        ("1.2e-05", "1.2e-04"),
        ("75", "75.3"),
        ("74 %", "73 %"),
        ("-inf", "inf"),
        ("nan", "0.5"),
        ("x_12 = 0.5", "x_13 = 0.5"),
        ("HR-2", "HR-1"),
        ("8-8-1", "8-9-1"),
        ("version 1.2.3", "version 1.2.4"),
        ("image 0: certified", "image 0: falsified"),
        ("0.5 0.5", "0.5"),
        ("0.5 0.5", "0.5\n0.5"),
        ("", "0.5"),
    ],
)
def test_texts_that_differ(stored, now):
    assert differences(stored, now)
    assert differences(now, stored)


def test_nbval_compares_so(tmp_path):
    """A notebook whose numbers moved a little, then too far, then a verdict, then what is printed."""
    stored = [output(), output(), output(), new_output("stream", name="stdout", text="0.5 of 3\n")]
    now = [ROWS, changed(0, "log det Q", "0.9 to 17.4"), changed(0, "verdict", "unknown")]
    now[0] = changed(0, "log det Q", "1.1 to 17.1")
    start = "from tightrope.workbench.tables import Table\n"
    sources = [start + f"Table({COLUMNS}, {rows}, {STATED})" for rows in now] + ["print('0.6   of 3')"]
    cells = [
        new_code_cell(source, outputs=[old], execution_count=1, metadata={"tags": ["nbval-check-output"]})
        for source, old in zip(sources, stored, strict=True)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "moved.ipynb")
    options = ["-v", "-p", "conftest", "-p", "no:cacheprovider", "--color=no", "--nbval-lax", "--nbval-current-env"]
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", tmp_path, tmp_path / "moved.ipynb"]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert re.findall(r"::Cell \d (PASSED|FAILED)", done.stdout) == ["PASSED", "FAILED", "FAILED", "PASSED"], (
        done.stdout
    )
    assert "row 1, log det Q: 0.9 to 17.1 stored, 0.9 to 17.4 now, more than 0.2 apart" in done.stdout
    assert "row 1, verdict: certified stored, unknown now" in done.stdout
