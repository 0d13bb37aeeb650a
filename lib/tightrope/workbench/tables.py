"""Small text tables that look right in a terminal, in a notebook and in a text comparison."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tightrope.cells import as_text, number, numeric
from tightrope.errors import InputError, UnknownNameError

#: Longer cells may be broken into lines.
SHORT = 24


@dataclass(frozen=True)
class Table:
    """Columns and rows of values.

    Text is shown as it is, numbers by :func:`number`. The tolerance is by how much the numbers that are shown may
    differ on another processor: absolute, by column or for all of them. Columns that are not named: one unit in the
    last digit shown, integers not at all. It stands in the metadata of the notebook's output, where the tests read it;
    the text of the table stays the same. `bounds` names the columns whose floats bound something, from "upper" or
    "lower": these are rounded outward.

    Examples
    --------
    >>> Table(("norm", "log det Q"), [("L2", "0.9 to 17.2")], tolerance={"log det Q": 0.2})
    norm  log det Q
    -----------------
    L2    0.9 to 17.2
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    tolerance: Mapping[str, float] | float | None = None
    bounds: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "rows", tuple(tuple(row) for row in self.rows))
        repeated = [name for name, count in Counter(name.strip() for name in self.columns).items() if count > 1]
        if repeated:
            raise InputError(f"columns: expected different names, got {repeated[0]!r} more than once.")
        tolerances = self.tolerance if isinstance(self.tolerance, Mapping) else {}
        for what, names in (("with a tolerance", tolerances), ("of bounds", self.bounds)):
            for name in names:
                if name not in self.columns:
                    raise UnknownNameError(f"column {what}", name, self.columns)

    def cells(self) -> list[list[str]]:
        """Every cell as text, header first."""
        sides = [self.bounds.get(name, "") for name in self.columns]
        return [list(self.columns), *([number(v, s) for v, s in zip(row, sides, strict=True)] for row in self.rows)]

    def __str__(self) -> str:
        lines = self.cells()
        return as_text(lines, numeric(lines))

    __repr__ = __str__

    def _repr_mimebundle_(self, **options: object) -> tuple[dict, dict]:
        """What a notebook stores beside the text: the Markdown, and the tolerance as metadata."""
        stated = dict(self.tolerance) if isinstance(self.tolerance, Mapping) else self.tolerance
        metadata = {} if stated is None else {"tightrope": {"tolerance": stated}}
        return {"text/markdown": self.to_markdown(unbroken=True)}, metadata

    def to_markdown(self, unbroken: bool = False) -> str:
        """The table as Markdown, numbers to the right; short cells may be kept `unbroken` in a narrow window."""
        header, *body = [[cell.replace("|", "\\|") for cell in line] for line in self.cells()]
        if unbroken:
            space = "\N{NO-BREAK SPACE}"
            body = [[cell.replace(" ", space) if len(cell) <= SHORT else cell for cell in line] for line in body]
        rule = "|" + "".join("---:|" if right else "---|" for right in numeric(self.cells()))
        return "\n".join(["| " + " | ".join(header) + " |", rule, *("| " + " | ".join(line) + " |" for line in body)])

    def to_csv(self) -> str:
        """The table as CSV, floats with every digit."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([[_exact(value) for value in row] for row in self.rows])
        return out.getvalue()


def _exact(value: object) -> object:
    return "" if value is None else repr(value) if isinstance(value, float) else value


def interval(bounds: Sequence[float]) -> str:
    """Show an interval in percent, such as ``[16, 34]``."""
    return f"[{bounds[0]:.0f}, {bounds[1]:.0f}]"
