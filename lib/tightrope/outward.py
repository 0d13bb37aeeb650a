"""Bounds as text, rounded so that what is shown is still a bound: upper ones up, lower ones down."""

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal


def at_most(bound: float, digits: int = 4) -> str:
    """Return an upper bound with `digits` significant digits, rounded up.

    Examples
    --------
    >>> at_most(3.68106), at_most(-1.23456), at_most(0.0), at_most(1234567.0), at_most(float("inf"))
    ('3.682', '-1.234', '0', '1.235e+06', 'inf')
    """
    return _text(bound, Context(prec=digits, rounding=ROUND_CEILING))


def at_least(bound: float, digits: int = 4) -> str:
    """Return a lower bound with `digits` significant digits, rounded down.

    Examples
    --------
    >>> at_least(3.68196), at_least(-1.23456)
    ('3.681', '-1.235')
    """
    return _text(bound, Context(prec=digits, rounding=ROUND_FLOOR))


def nearest(number: float, digits: int = 4) -> str:
    """Return a number that bounds nothing with `digits` significant digits."""
    return f"{number:.{digits}g}"


def outward(side: str) -> Callable[..., str]:
    """Return what shows a bound of this side, "upper" or "lower"; other numbers are rounded to the nearest."""
    return {"lower": at_least, "upper": at_most}.get(side, nearest)


def _text(bound: float, context: Context) -> str:
    """Formatted like other numbers."""
    rounded = context.create_decimal_from_float(float(bound))
    text = format(float(rounded), f".{context.prec}g")
    # At the ends of the range of floats, or with more digits than they have, that would round once more.
    return text if Decimal(text) == rounded or rounded.is_nan() else str(rounded)
