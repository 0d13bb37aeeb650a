"""Stored outputs of notebooks compared as what they promise: words exactly, numbers within a tolerance.

nbval compares the outputs of a cell as text. A digit at the edge of rounding, another BLAS kernel, and the text is
another. So before nbval compares, what a cell printed now takes the text of the stored output wherever both agree
(:func:`differences`); whatever differs is left to nbval, which reports it. Agreement is decided line by line, in a
table cell by cell, and white space and the length of rules do not count:

- words, and everything else between numbers, exactly;
- numbers within the tolerance that the table states (``Table.tolerance``, read from the metadata of the *stored*
  output), for its column or for the whole table;
- otherwise integers exactly, decimals within one unit in the last digit shown.
"""

import copy
import re
from decimal import Decimal

#: A number stands by itself: not the digit of `x_12` or `4x4`; `HR-2` and `8-8-1` hold integers without a sign.
NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?<![\w.])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)(?!\.\d)", re.IGNORECASE)
INTEGER = re.compile(r"[-+]?\d+")
#: What of an output is compared, by MIME type or stream. Not pictures; HTML and warnings are left out in conftest.py.
COMPARED = ("text/markdown", "text/plain", "stdout")
PLACE = "\N{WHITE SQUARE}"


def compare_outputs(cell, test: list, ref: list, skip_compare=None) -> bool:
    """nbval's ``IPyNbCell.compare_outputs``, after :func:`settle`, with the list of differences in the report."""
    test, ref, found = settle(test, ref)
    same = type(cell).compare_outputs(cell, test, ref, skip_compare)
    if not same:
        cell.comparison_traceback[:0] = [*found, ""]
    return same


def settle(test: list, ref: list) -> tuple[list, list, list[str]]:
    """Outputs for an exact comparison, and what differs.

    Parameters
    ----------
    test, ref : list of NotebookNode
        The outputs of a cell, now and as stored.

    Returns
    -------
    test, ref : list of NotebookNode
        Copies, in which texts of `test` that agree with the stored ones are replaced by them. The plain text of a table
        is left out where its Markdown is there: it repeats the cells, without saying where a column ends.
    differences : list of str
    """
    test, ref = [_without_repetition(output) for output in test], [_without_repetition(output) for output in ref]
    found = []
    for kind in COMPARED:
        for now, stored in zip(_with(test, kind), _with(ref, kind), strict=False):  # nbval counts them
            holder, key = _place(now, kind)
            old_holder, old_key = _place(stored, kind)
            stated = stored.get("metadata", {}).get("tightrope", {}).get("tolerance")
            differ = differences(old_holder[old_key], holder[key], stated)
            if not differ:
                holder[key] = old_holder[old_key]
            found += differ
    return test, ref, found


def differences(stored: str, now: str, tolerance: dict[str, float] | float | None = None) -> list[str]:
    """Where two outputs differ by more than the tolerances, in words; nothing where they agree.

    >>> differences("0.9 to 17.1", "0.9 to  17.2")
    []
    >>> differences("3 certified", "2 certified")
    ['3 certified stored, 2 certified now']
    >>> differences("|log det|\\n|---|\\n|17.1|", "|log det|\\n|---|\\n|17.4|", {"log det": 0.2})
    ['row 1, log det: 17.1 stored, 17.4 now, more than 0.2 apart']
    """
    old, new = stored.rstrip().splitlines(), now.rstrip().splitlines()
    if len(old) != len(new):
        return [f"{len(old)} lines stored, {len(new)} now"]
    found = []
    if isinstance(tolerance, dict):
        tolerance = {name.strip(): value for name, value in tolerance.items()}  # cells have no white space around them
    header, row = None, 0
    for before, after in zip(old, new, strict=True):
        if not before.startswith("|"):
            header = None
            found += _differ(before, after)
            continue
        cells, others = _cells(before), _cells(after)
        if header is None:
            header, row = cells, -1
            found += [] if cells == others else [f"header: {' | '.join(cells)} stored, {' | '.join(others)} now"]
        elif len(cells) != len(others):
            found.append(f"row {row}: {len(cells)} cells stored, {len(others)} now")
        else:
            for name, cell, other in zip(header, cells, others, strict=True):
                allowed = tolerance.get(name) if isinstance(tolerance, dict) else tolerance
                found += [f"row {row}, {name}: {text}" for text in _differ(cell, other, allowed)]
        row += 1
    return found


def _differ(stored: str, now: str, tolerance: float | None = None) -> list[str]:
    """At most one line of text: how two pieces of text differ."""
    alike = words(stored) == words(now)
    if alike and all(
        _close(*pair, tolerance) for pair in zip(NUMBER.findall(stored), NUMBER.findall(now), strict=True)
    ):
        return []
    apart = f", more than {tolerance:g} apart" if alike and tolerance is not None else ""
    return [f"{stored.strip() or 'nothing'} stored, {now.strip() or 'nothing'} now{apart}"]


def words(text: str) -> str:
    """What is left without numbers, white space in excess, the length of rules and their alignment."""
    return " ".join(re.sub(":?-{3,}:?", "---", NUMBER.sub(f" {PLACE} ", text)).split())


def _close(stored: str, now: str, tolerance: float | None) -> bool:
    if tolerance is None:
        tolerance = min(step(stored), step(now))  # the finer one: 75 may stand for 75.00 beside 75.01
        if INTEGER.fullmatch(stored) and INTEGER.fullmatch(now):
            tolerance = 0
    return abs(Decimal(stored) - Decimal(now)) <= Decimal(str(tolerance))


def step(number: str) -> Decimal:
    """One unit in the last digit shown."""
    return Decimal(1).scaleb(Decimal(number).as_tuple().exponent)


def _cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table."""
    cells = re.split(r"(?<!\\)\|", line.replace("\N{NO-BREAK SPACE}", " ").strip())[1:-1]
    return [cell.strip().replace("\\|", "|") for cell in cells]


def _without_repetition(output):
    output = copy.deepcopy(output)
    data = output.get("data", {})
    if "text/markdown" in data:
        data.pop("text/plain", None)
    return output


def _with(outputs: list, kind: str) -> list:
    return [output for output in outputs if kind in output.get("data", {}) or output.get("name") == kind]


def _place(output, kind: str) -> tuple[dict, str]:
    return (output["data"], kind) if "data" in output else (output, "text")
