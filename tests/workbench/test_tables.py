"""Tables as text, Markdown and CSV; intervals of ratios."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter
from scipy.stats import binomtest

from tightrope.errors import InputError, UnknownNameError
from tightrope.workbench.rows import binomial_interval
from tightrope.workbench.tables import Table

TABLE = Table(("name", "value"), (("a", 0.1 + 0.2), ("b|c", None), ("d", 12)))


def test_text_aligns_numbers_to_the_right():
    assert str(TABLE).splitlines() == ["name  value", "-----------", "a       0.3", "b|c", "d        12"]
    assert repr(TABLE) == str(TABLE)


def test_markdown_aligns_numbers_and_breaks_no_short_cell():
    """Texts that read as numbers count, orders of a relaxation do not; a long sentence may be broken."""
    long = "a sentence that is longer than a column can be"
    rows = [("1", "ball in [0, 1]", "45 of 45", "[16, 34]", long), ("1+cuts", "ball", "95.00", None, long)]
    table = Table(("order", "set", "pairs", "95 %", "why"), [*rows, ("monotone", "", "OfM", "[1, 2]", "")])
    _, rule, first, *_ = table.to_markdown(unbroken=True).splitlines()
    assert rule == "|---|---|---:|---:|---|"
    assert "ball in [0, 1]" in table.to_markdown()
    assert "| ball\N{NO-BREAK SPACE}in\N{NO-BREAK SPACE}[0,\N{NO-BREAK SPACE}1] |" in first and long in first


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(InputError, match="'printed' more than once"):
        Table(("printed", "printed "), [(1, 2)])


def test_markdown_escapes_bars():
    assert TABLE.to_markdown().splitlines()[3] == "| b\\|c |  |"


def test_csv_has_every_digit():
    assert TABLE.to_csv() == "name,value\na,0.30000000000000004\nb|c,\nd,12\n"


@pytest.mark.parametrize("tolerance", [0.1, {"value": 0.1}])
def test_a_notebook_stores_the_tolerance_beside_the_same_text(tolerance):
    data, metadata = DisplayFormatter().format(Table(TABLE.columns, TABLE.rows, tolerance))
    assert data == {"text/plain": str(TABLE), "text/markdown": TABLE.to_markdown()}
    assert metadata == {"tightrope": {"tolerance": tolerance}}
    assert DisplayFormatter().format(TABLE) == (data, {})


def test_a_tolerance_of_a_column_that_is_not_there_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'value'"):
        Table(TABLE.columns, TABLE.rows, {"values": 0.1})


def test_a_column_of_bounds_that_is_not_there_is_refused():
    with pytest.raises(UnknownNameError, match=r"column of bounds .*Did you mean 'value'"):
        Table(TABLE.columns, TABLE.rows, bounds={"values": "upper"})


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(rows=st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=4))
def test_columns_of_bounds_stay_on_their_side(rows):
    """As a reader of the text or of the Markdown takes them; CSV has the floats themselves."""
    table = Table(("at least", "at most"), rows, bounds={"at least": "lower", "at most": "upper"})
    texts = [line.split() for line in str(table).splitlines()[2:]]
    markdown = [line.strip("| ").split(" | ") for line in table.to_markdown().splitlines()[2:]]
    assert texts == markdown
    for (lower, upper), (low, high) in zip(rows, texts, strict=True):
        assert Fraction(Decimal(low)) <= Fraction(lower) and Fraction(upper) <= Fraction(Decimal(high))
    assert [tuple(map(float, line.split(","))) for line in table.to_csv().splitlines()[1:]] == rows


@pytest.mark.parametrize("successes", [0, 1, 24, 82, 99, 100])
def test_binomial_interval_is_the_exact_one(successes):
    """Against SciPy's test, and the printed intervals of 24 % and 82 %."""
    expected = binomtest(successes, 100).proportion_ci(method="exact")
    assert np.allclose(binomial_interval(successes, 100), (expected.low, expected.high), atol=1e-12)
