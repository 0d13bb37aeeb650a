"""What the report says, without a word of HTML: papers, their results, and each printed number beside ours."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tightrope import files, paths
from tightrope.workbench import compare
from tightrope.workbench.compare import TIMING, Comparison, laid_out
from tightrope.workbench.paper_size import drawn, stem
from tightrope.workbench.published import PROFILES, Paper, Result
from tightrope.workbench.records import Store
from tightrope.workbench.registry import COMPUTED, PROVEN

TIME = "time"  # what stands in the place of an agreement where none is asserted
SYMBOLS = {**compare.SYMBOLS, TIME: "t"}
PROOFS = {PROVEN: "✓", COMPUTED: "○"}


@dataclass(frozen=True)
class Grid:
    """Numbers as a table, None where the paper prints nothing; `unit` is what all are counted in, if they are."""

    unit: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Comparison | None, ...]], ...]


@dataclass(frozen=True)
class Picture:
    """A drawing with the files beside it (PNG, PDF, the numbers as CSV), its size in pixels and what it shows."""

    files: tuple[Path, ...]
    profile: str
    width: int
    height: int
    alt: str = ""


@dataclass(frozen=True)
class Origin:
    """Where our numbers come from: so many rows of a profile, made by these versions on these dates."""

    profile: str
    count: int
    seconds: float
    first: str
    last: str
    made_by: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """One table or figure. Its `times` have no verdict: their agreement is :data:`TIME`, unless they were not run."""

    result: Result
    anchor: str
    lines: tuple[Comparison, ...]
    times: tuple[Comparison, ...]
    grid: Grid | None
    pictures: tuple[Picture, ...]
    origin: Origin | None
    not_run: str

    @property
    def notes(self) -> tuple[tuple[tuple[str, str], tuple[Comparison, ...]], ...]:
        """What a reader should not miss: agreement and reason, each once, with the lines that they are of."""
        told = [line for line in self.lines if line.agreement in ("looser", "disagrees")]
        reasons = dict.fromkeys((line.agreement, line.reason) for line in told)
        return tuple((r, tuple(line for line in told if (line.agreement, line.reason) == r)) for r in reasons)

    @property
    def counts(self) -> Counter:
        """How many of its numbers agree in which way."""
        if self.not_run and not self.lines and not self.times:
            return Counter(["not run"])
        return Counter(line.agreement for line in (*self.lines, *self.times))


@dataclass(frozen=True)
class Chapter:
    """One paper."""

    paper: Paper
    sections: tuple[Section, ...]

    @property
    def counts(self) -> Counter:
        """How many of its numbers agree in which way; a result that is not run and prints none counts once."""
        return sum((section.counts for section in self.sections), Counter())


def chapters(
    papers: Iterable[Paper],
    results: Iterable[Result],
    lines: Iterable[Comparison],
    store: Store,
    figures: Path | None = None,
) -> tuple[Chapter, ...]:
    """Arrange what :func:`~tightrope.workbench.compare.compare` found by paper and result, with the drawings."""
    by_result: dict[str, list[Comparison]] = {}
    for line in lines:
        by_result.setdefault(line.result.key, []).append(line)
    folder = figures or paths.FIGURES
    sections = [_section(result, by_result.get(result.key, ()), store, folder) for result in results]
    return tuple(Chapter(p, tuple(own for own in sections if own.result.paper == p.key)) for p in papers)


def soundness(path: Path | None = None) -> str:
    """Say how many comparisons with exact answers `make soundness` has made, by its file (data/soundness.json).

    Nothing without that.
    """
    path = path or paths.DATA / "soundness.json"
    if not path.is_file():
        return ""
    total = files.read_json(path)["total"]
    return f"{total['comparisons']:,} comparisons with exact answers, {total['wrong']:,} wrong"


@dataclass(frozen=True)
class Peers:
    """Verifiers on the questions that all of them were asked: a table, and which were skipped, with the reason."""

    about: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    skipped: Mapping[str, str]


def peers(path: Path | None = None) -> Peers | None:
    """Return what `make peers` has measured, by its file (tests/benchmarks/peers.json); None without that.

    An answer is wrong if it is sat and its point was refused, or unsat where anybody's point was accepted.
    """
    path = path or paths.ROOT / "tests" / "benchmarks" / "peers.json"
    if not path.is_file():
        return None
    found = files.read_json(path)
    names = [name for name in found["versions"] if name not in found["skipped"]]
    asked = {key: row for key, row in found["instances"].items() if all(name in row for name in names)}
    kinds = {key: key.split()[0].rpartition("/")[0] or "papers" for key in asked}
    many = Counter(kinds.values())
    rows = []
    for name in names:
        counts, seconds = Counter[str](), 0.0
        for key, row in asked.items():
            own, sat = row[name], any(row[other].get("holds") for other in names)
            wrong = not own["holds"] if own["answer"] == "sat" else own["answer"] == "unsat" and sat
            solved = own["answer"] in ("sat", "unsat") and not wrong
            counts.update({"wrong": wrong, "solved": solved, "failed": own["answer"] == "failed", kinds[key]: solved})
            seconds += min(max(0.0, own["cpu"] - found["starts"][name]), found["limit"]) if solved else found["limit"]
        mib = max((row[name]["mib"] for row in asked.values()), default=0)
        numbers = [*(counts[word] for word in ("solved", "wrong", "failed")), round(seconds), mib]
        rows.append((name, *(str(int(count)) for count in [*numbers, *(counts[kind] for kind in many)])))
    about = f"{len(asked)} questions, {found['limit']:g} processor seconds each; {found['machine']}"
    head = ("verifier", "solved", "wrong", "failed", "seconds", "MiB", *(f"{kind}, {many[kind]}" for kind in many))
    return Peers(about, head, tuple(rows), found["skipped"])


def _section(result: Result, compared: Sequence[Comparison], store: Store, figures: Path) -> Section:
    own = compared if result.cells else ()
    lines = tuple(one for one in own if one.cell.kind != "timing")
    times = tuple(_time(one) for one in own if one.cell.kind == "timing")
    drawings = pictures(figures / result.paper, result.name, f"{result.number}, {result.title}")
    absent = "" if result.runnable else result.not_run or "its notebook does not exist"
    anchor = f"{result.paper}-{result.name}"
    return Section(result, anchor, lines, times, grid(lines), drawings, _origin(result, store), absent)


def _time(compared: Comparison) -> Comparison:
    """Return it without a verdict, and without the reason that all times have."""
    agreement = TIME if compared.agreement != "not run" else compared.agreement
    return replace(compared, agreement=agreement, reason=compared.reason.removesuffix(TIMING).removesuffix("; "))


def grid(lines: Sequence[Comparison]) -> Grid | None:
    """Lay lines out by the last part of their place and what is before it, if that makes a table."""
    found = {line.place: line for line in lines}
    axes = laid_out(tuple(found))
    if axes is None:
        return None
    units = {line.cell.unit for line in found.values()}
    rows = tuple((", ".join(row), tuple(found.get((*row, column)) for column in axes[1])) for row in axes[0])
    return Grid(units.pop() if len(units) == 1 else "", axes[1], rows)


def pictures(folder: Path, name: str, title: str = "") -> tuple[Picture, ...]:
    """Return the drawings of a result: those of the paper profile if there are any, else of the quick one."""
    for profile in reversed(PROFILES):
        if every := drawn(name, folder, profile):
            return tuple(_picture(path, profile, title) for path in every)
    return ()


def _picture(path: Path, profile: str, title: str) -> Picture:
    width, height = (int.from_bytes(path.read_bytes()[at : at + 4]) for at in (16, 20))  # the header of every PNG
    beside = [path.with_suffix(ending) for ending in (".pdf", ".csv")]
    alt = f"Drawing of {title} ({path.name.split('.')[0]}); its numbers are in the CSV file beside it"
    return Picture((path, *(file for file in beside if file.is_file())), profile, width, height, alt)


def _origin(result: Result, store: Store) -> Origin | None:
    """Tell of the rows behind a result, those of kinds of their own (table-2-ellipsoids) included."""
    for profile in reversed(PROFILES):
        files = (store.folder / result.paper).glob(f"{stem(result.name)}*.{profile}.csv")
        kinds = {result.name} | {path.name.split(".")[0] for path in files}
        rows = [row for kind in sorted(kinds) for row in store.rows(kind, profile, result.paper)]
        if rows:
            dates = sorted(row["created"][:10] for row in rows if row.get("created"))
            seconds = sum(row["seconds"] for row in rows if isinstance(row.get("seconds"), int | float))
            made_by = tuple(sorted({_made_by(row.get("versions") or {}) for row in rows}))
            return Origin(profile, len(rows), seconds, dates[0], dates[-1], made_by)
    return None


def _made_by(versions: Mapping) -> str:
    processors = versions.get("processors")
    names = sorted(versions.keys() - {"processors"}, key=lambda name: (name != "tightrope", name))
    text = ", ".join(f"{name} {versions[name]}" for name in names if versions[name])
    return f"{processors} processors; {text}" if processors else text
