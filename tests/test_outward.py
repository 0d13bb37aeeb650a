"""Numbers that are shown are bounds themselves."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tightrope.outward import at_least, at_most


@given(value=st.floats(allow_nan=False, allow_infinity=False), digits=st.integers(1, 12))
@example(value=5e-324, digits=3)
@example(value=1.7976931348623157e308, digits=2)
@example(value=-0.0, digits=4)
@example(value=0.1 + 0.2, digits=17)
def test_what_is_shown_lies_on_the_right_side_and_near(value, digits):
    """As decimals, exactly: never inside, and less than one unit of the last digit away."""
    low, high = (Fraction(Decimal(text)) for text in (at_least(value, digits), at_most(value, digits)))
    exact = Fraction(value)
    assert low <= exact <= high
    assert high - low <= 2 * abs(exact) * Fraction(10) ** (1 - digits)
    assert at_least(-value, digits).lstrip("-") == at_most(value, digits).lstrip("-")


@pytest.mark.parametrize("text", [at_most, at_least])
def test_numbers_with_few_digits_are_shown_as_they_are(text):
    assert [text(value) for value in (0.5, 3.0, -0.0625, 1e6, 0.0)] == ["0.5", "3", "-0.0625", "1e+06", "0"]
    assert text(float("inf")) == "inf" and text(float("nan")) == "nan"
