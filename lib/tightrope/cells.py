"""Cells of tables: how a value is written, and rows of cells as text and as HTML."""

import re
from collections.abc import Sequence
from html import escape

from tightrope.outward import outward

#: Text that reads as a number, alone or with a few words: 95.00, -1.2, 45 of 45, [16, 34].
_NUMBER = re.compile(r"[-+\[]?\d[\d.,e]*(?:[-+]\d+)?\]?(?: \S+){0,2}")


def number(value: object, side: str = "") -> str:
    """Show a value: floats with four significant digits, rounded outward if they bound something; None as nothing."""
    if isinstance(value, float):
        return outward(side)(value)
    return "" if value is None else str(value)


def numeric(lines: Sequence[Sequence[str]]) -> list[bool]:
    """Say of each column of cells, below its header, whether at least half of what it shows reads as a number."""
    columns = [[line[i] for line in lines[1:] if line[i]] for i in range(len(lines[0]))]
    return [2 * sum(bool(_NUMBER.fullmatch(cell)) for cell in shown) >= len(shown) > 0 for shown in columns]


def as_text(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Return lines of cells, the header first, with aligned columns.

    Examples
    --------
    >>> print(as_text([["label", "bound"], ["1", "-0.5"]], [True, True]))
    label  bound
    ------------
        1   -0.5
    """
    widths = [max(len(line[i]) for line in lines) for i in range(len(right))]
    text = [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([text[0], "-" * (sum(widths) + 2 * len(widths) - 2), *text[1:]])


def as_html(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Return lines of cells, the header first, as an HTML table.

    Examples
    --------
    >>> print(as_html([["a < b"], ["1"]], [True]).replace("><", ">\\n<"))  # doctest: +ELLIPSIS
    <table>
    ...
    <th style="text-align:right">a &lt; b</th>
    ...
    </table>
    """

    def row(line: Sequence[str], tag: str) -> str:
        sides = ["right" if r else "left" for r in right]
        cells = (f'<{tag} style="text-align:{side}">{escape(c)}</{tag}>' for c, side in zip(line, sides, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    header, *body = lines
    rows = "".join(row(line, "td") for line in body)
    return f"<table><thead>{row(header, 'th')}</thead><tbody>{rows}</tbody></table>"
