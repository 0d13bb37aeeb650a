"""What is shown at the paper's size: from kept rows, without a solve, in the paper's words."""

import pytest

from tightrope.results.chen2021_mondeq import lipschitz_bounds
from tightrope.workbench import compare, published
from tightrope.workbench.compare import Comparison, laid_out, printed_table
from tightrope.workbench.paper_size import at_paper_size, drawn
from tightrope.workbench.published import Cell, Result

NAMES = {"linf-0.05": "L-infinity 0.05", "sdp": "Robustness Model"}


def result(values, kind="deterministic"):
    cells = tuple(Cell(cell, printed, kind, unit="%", digits=2) for cell, printed, _ in values)
    return Result("p", "table-9", "Table 9", "t", kind, cells, names=NAMES)


def shown(values, kind="deterministic", told=("reproduced", "", "paper")):
    """The table of printed numbers and ours."""
    own = result(values, kind)
    lines = [Comparison(own, cell, ours, *told) for cell, (*_, ours) in zip(own.cells, values, strict=True)]
    return printed_table(own, lines)


def test_few_numbers_have_a_line_each_and_keep_the_printed_digits():
    values = [("table-9/linf-0.05/sdp", 67.5, 67.52), ("table-9/linf-0.05/pgd", 3, 3.0)]
    table = shown(values)
    assert table.columns == ("number", "printed (%)", "ours (%)", "verdict")
    assert table.rows[0] == ("L-infinity 0.05, Robustness Model", "67.50", "67.52", "reproduced")
    assert table.rows[1][1:3] == ("3.00", "3")


def test_many_numbers_are_laid_out_as_in_the_paper():
    values = [(f"table-9/r{i}/{column}", i, float(i)) for i in range(6) for column in ("sdp", "pgd")]
    table = shown(values)
    assert table.columns == ("printed, ours (%)", "Robustness Model", "pgd")
    assert table.rows[3] == ("r3", "3.00 = 3", "3.00 = 3")


def test_times_and_what_was_not_run_are_left_out():
    values = [("table-9/a", 1, 1.0)]
    assert not shown(values, "timing").rows
    assert not shown(values, told=("not run", "", "quick")).rows


def test_a_list_is_no_table():
    assert laid_out([("a",), ("b",)]) is None
    assert laid_out([(f"r{i}", f"c{i}") for i in range(9)]) is None  # a diagonal


def test_every_agreement_has_a_symbol_of_its_own():
    assert set(compare.SYMBOLS) == set(compare.AGREEMENTS)
    assert len(set(compare.SYMBOLS.values())) == len(compare.AGREEMENTS)


def test_a_notebook_shows_the_drawings_and_the_table(monkeypatch):
    """Nothing is solved, and nothing is written."""
    monkeypatch.setattr(lipschitz_bounds.table_3, "solver", None)
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    lipschitz_bounds.table_3.at_paper_size()._ipython_display_()
    picture, table = shown
    assert picture._repr_png_().startswith(b"\x89PNG") and "Table 3" in repr(picture)
    assert "| SemiUB_F,\N{NO-BREAK SPACE}L2 | 4.67 |" in table.to_markdown(unbroken=True)


@pytest.mark.parametrize("result", [one for one in published.results() if one.runnable], ids=lambda one: one.key)
def test_every_notebook_has_something_to_show(result):
    """A drawing, or printed numbers; every name of a cell is said once in the paper's words."""
    found = at_paper_size(result)
    assert found.pictures or found.printed.rows
    assert found.pictures == drawn(result.name, found.pictures[0].parent) if found.pictures else True
    places = [result.place(cell.id) for cell in result.cells]
    assert len(set(places)) == len(places)
