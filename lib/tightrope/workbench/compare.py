"""Each printed number beside ours, and whether they agree."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tightrope.cells import number
from tightrope.workbench.published import PROFILES, Cell, Result, parameters
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, experiment, proof
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table

AGREEMENTS = ("reproduced", "tighter", "looser", "comparable", "smaller", "configured", "disagrees", "not run")
#: What stands for an agreement where there is no room for the word.
SYMBOLS = dict(zip(AGREEMENTS, "=▲▼≈<⚙≠·", strict=True))
#: By kind of cell, what is said of a number within its tolerance. Another random network of the same size can be
#: comparable; what our training is configured with is our own transcription of the print.
SAME = {"drawn": "comparable", "configuration": "configured"}
#: Units of shares, which stand for counts: these are not rounded outward.
SHARES = ("%", "percent")
TIMING = "a time on another machine and with other solvers: shown, never asserted"


@dataclass(frozen=True)
class Comparison:
    """A printed number, a cell of a result, and what is reproduced of it.

    `proof` is "proven" if all rows behind ours that certify something have certificates, else "computed"; empty where
    none does.
    """

    result: Result
    cell: Cell
    reproduced: float | None = None
    agreement: str = "not run"
    reason: str = ""
    profile: str | None = None
    proof: str = ""

    @property
    def place(self) -> tuple[str, ...]:
        """Where the number stands in the table, in the paper's words."""
        return self.result.place(self.cell.id)

    @property
    def ours(self) -> str:
        """Our number as text: what bounds something is rounded outward, None is nothing."""
        return number(self.reproduced, "" if self.cell.unit in SHARES else self.cell.side)

    def as_dict(self) -> dict:
        """What `tightrope compare --json` says."""
        about = {"paper": self.result.paper, "result": self.result.name, "cell": self.cell.id, "kind": self.cell.kind}
        told = ("reproduced", "agreement", "reason", "profile")
        return about | {"printed": self.cell.printed} | {name: getattr(self, name) for name in told}


def agreement(cell: Cell, value: float) -> str:
    """Say how our number stands to the printed one, by the cell's kind."""
    if cell.kind == "statistical" and cell.interval is not None:
        low, high = cell.interval
        same = low <= value <= high
    elif cell.kind == "timing":
        same = value <= cell.printed  # what the paper does in its time is done in that time
    else:
        same = abs(value - cell.printed) <= cell.tolerance + 1e-9 * abs(cell.printed)
    if same:
        return SAME.get(cell.kind, "reproduced")
    if cell.kind == "size":
        return "smaller" if value < cell.printed else "disagrees"
    better = cell.better or ({"upper": "lower", "lower": "higher"}[cell.side] if cell.kind == "bound" else "")
    if not better:
        return "disagrees"
    return "tighter" if (value > cell.printed) == (better == "higher") else "looser"


def compare(results: Iterable[Result], store: Store) -> list[Comparison]:
    """Compare every printed cell of these results; one without cells gives one line, under its own name."""
    return [line for result in results for line in _compare(result, store)]


def _compare(result: Result, store: Store) -> list[Comparison]:
    nothing_printed = Cell(result.name, None, result.kind, side="upper", interval=(0, 0))  # type: ignore[arg-type]
    cells = result.cells or (nothing_printed,)
    if not result.runnable:
        why = result.not_run or "its notebook does not exist"
        return [Comparison(result, cell, reason=cell.not_run or why) for cell in cells]
    functions = experiment(result)
    values, solved = {}, {}
    for profile in PROFILES:
        rows = store.rows(result.name, profile, result.paper)
        solved[profile] = len(rows)
        values[profile] = functions.values(rows, parameters(result, profile)) if rows else {}
    if not result.cells and solved["paper"]:
        why = f"a drawing without printed numbers; ours is of {solved['paper']} cases of the paper profile"
        return [Comparison(result, nothing_printed, reason=why, profile="paper")]
    return [_judge(result, cell, values, solved["paper"]) for cell in cells]


def _judge(result: Result, cell: Cell, values: Mapping[str, Mapping[str, Value]], solved: int) -> Comparison:
    ours, quick, line = values["paper"].get(cell.id), values["quick"].get(cell.id), partial(Comparison, result, cell)
    if ours is not None:
        remark = TIMING if cell.kind == "timing" else cell.erratum if ours.value != cell.printed else ""
        reason = "; ".join(filter(None, (ours.note, remark)))
        return line(ours.value, agreement(cell, ours.value), reason, "paper", proof(ours.rows))
    if cell.not_run:
        return line(reason=cell.not_run)
    partly = f"only {solved} cases of the paper profile are solved; " if solved else ""
    missing = f"{partly}run `tightrope run {result.name} --profile paper`"
    if quick is None:
        return line(reason=missing)
    reason = f"quick profile: another network and data set, so no comparison; {missing}"
    return line(quick.value, reason=reason, profile="quick")


def tallies(lines: Iterable[Comparison]) -> defaultdict[str, Counter]:
    """How many printed cells of each result, by its key, come out how; times are not counted."""
    counts: defaultdict[str, Counter] = defaultdict(Counter)
    for line in lines:
        if line.cell.kind != "timing" and line.cell.printed is not None:
            counts[line.result.key][line.agreement] += 1
    return counts


def comparison_table(lines: Sequence[Comparison]) -> Table:
    """Printed, reproduced and verdict, one line per cell; the number of its reason in :func:`reasons`."""
    notes, rows = reasons(lines), []
    for line in lines:
        ours = float(line.ours) if isinstance(line.reproduced, float) else line.reproduced
        why = f"({notes.index(line.reason) + 1})" if line.reason else ""
        rows.append((line.cell.id, line.cell.printed, ours, line.agreement, line.proof, line.profile or "", why))
    return Table(("cell", "printed", "reproduced", "verdict", "proof", "profile", "why"), rows)


def printed_table(result: Result, lines: Iterable[Comparison]) -> Table:
    """Return each printed number of a result beside ours, times and what was not run left out.

    Up to eight numbers have a line each; more are laid out as in the paper, if they make a table: printed, the symbol
    of the agreement, ours; claims in words are left out if only without them there is one.
    """
    ours = (line for line in lines if line.profile == "paper" and line.reproduced is not None)
    found = {line.place: line for line in ours if line.cell.kind != "timing"}
    plain = {place: line for place, line in found.items() if not line.cell.claim}
    found = next((places for places in (found, plain) if len(places) > 8 and laid_out(tuple(places))), found)
    grid = laid_out(tuple(found)) if len(found) > 8 else None
    units = {line.cell.unit for line in found.values()}
    unit = f" ({units.pop()})" if len(units) == 1 and units != {""} else ""
    if grid is None:
        listed = [(_told(line), line.cell.text, line.ours, line.agreement) for line in found.values()]
        return Table(("number", f"printed{unit}", f"ours{unit}", "verdict"), listed)
    texts = {place: f"{one.cell.text} {SYMBOLS[one.agreement]} {one.ours}" for place, one in found.items()}
    rows = [(", ".join(row), *(texts.get((*row, name)) for name in grid[1])) for row in grid[0]]
    return Table((f"printed, ours{unit}", *grid[1]), rows)


def _told(line: Comparison) -> str:
    """Return where a number stands; of a claim in words only the words that the paper has, then the claim."""
    cell, names = line.cell, line.result.names
    if not cell.claim:
        return ", ".join(line.place)
    known = ", ".join(names[word] for word in cell.id.split("/")[1:] if word in names)
    return f"{known}: {cell.claim}" if known else cell.claim


def laid_out(places: Sequence[tuple[str, ...]]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]] | None:
    """Return the rows (all parts of a place but the last) and columns (the last part), if that makes a table.

    Examples
    --------
    >>> laid_out([("L2", "SDP"), ("L2", "PGD"), ("L1", "SDP")])
    ((('L2',), ('L1',)), ('SDP', 'PGD'))
    >>> laid_out([("L2",), ("L1",)]) is None
    True
    """
    deep = dict.fromkeys(place for place in places if len(place) > 1)
    rows, columns = tuple(dict.fromkeys(p[:-1] for p in deep)), tuple(dict.fromkeys(p[-1] for p in deep))
    if min(len(rows), len(columns)) < 2 or 2 * len(deep) < max(len(rows) * len(columns), len(places)):
        return None
    return rows, columns


def summary_table(lines: Iterable[Comparison]) -> Table:
    """How many printed cells of each result come out how, for the README; times are not counted."""
    counts = tallies(lines)
    words = [word for word in AGREEMENTS if any(count[word] for count in counts.values())]
    rows = [(*key.split("/"), *(count[word] or "" for word in words)) for key, count in counts.items()]
    return Table(("paper", "result", *words), rows)


def paper_table(results: Iterable[Result], lines: Iterable[Comparison], store: Store) -> Table:
    """The size that was run beside the printed one, and the verdicts on each result's cells, for a paper's README.

    Times have no verdict; a result whose cells have none is a drawing.
    """
    counts, rows = tallies(lines), []
    for result in results:
        solved = Rows(store.rows(result.name, "paper", result.paper))
        run = experiment(result).size(solved) if solved else "not run"
        found = counts[result.key]
        verdicts = ", ".join(f"{found[word]} {word}" for word in AGREEMENTS if found[word]) or "drawn"
        rows.append((f"{result.number}: {result.title}", result.size, run, verdicts))
    return Table(("result", "printed size", "size run", "verdicts"), rows)


def reasons(lines: Iterable[Comparison]) -> list[str]:
    """The different reasons, in the order in which they first occur."""
    return list(dict.fromkeys(line.reason for line in lines if line.reason))
