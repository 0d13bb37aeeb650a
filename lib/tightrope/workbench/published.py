"""What the papers print (papers/<key>/published.yaml), and at which sizes (papers/<key>/paper.yaml)."""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from tightrope import files, paths
from tightrope.errors import CorruptDataError, InputError, TightropeError, UnknownNameError

KINDS = ("deterministic", "statistical", "trained", "drawn", "size", "configuration", "timing", "bound")
PROFILES = ("quick", "paper")


@dataclass(frozen=True)
class Cell:
    """One printed number, under an id such as ``table-2/linf-0.05/robustness``.

    Its kind, one of :data:`KINDS`, says how a number of ours is put beside it. `tolerance` is the largest difference
    that counts as the same number (deterministic, trained, bound), `interval` the 95 % interval that the paper prints,
    `side`, "upper" or "lower", the one from which a number bounds the true value and ours is rounded, `better`,
    "higher" or "lower", the direction in which a number is a stronger result. `clip` says whether our number is for the
    ball clipped to the pixel range, `erratum` why the paper's number is expected to differ, `not_run` why nothing here
    computes it yet. The paper prints at least so many `digits` after the point; as many as the number needs if None.
    """

    id: str
    printed: float
    kind: str
    unit: str = ""
    tolerance: float = 0.0
    interval: tuple[float, float] | None = None
    side: str = ""
    better: str = ""
    clip: bool | None = None
    claim: str = ""
    erratum: str = ""
    not_run: str = ""
    digits: int | None = None

    @property
    def text(self) -> str:
        """The number as the paper prints it."""
        text = str(self.printed)
        if self.digits is None or self.kind == "timing" or len(text.partition(".")[2]) >= self.digits:
            return text
        return f"{self.printed:.{self.digits}f}"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError(f"kind of cell {self.id}:", self.kind, KINDS)
        if self.kind == "statistical" and self.interval is None:
            raise InputError(f"cell {self.id}: a statistical cell needs an interval")
        if self.kind == "bound" and self.side not in ("upper", "lower"):
            raise InputError(f"cell {self.id}: a bound needs side: upper or side: lower, got {self.side!r}")


@dataclass(frozen=True)
class Result:
    """One table or figure of one paper, such as ``Table 2``; its name is that of its notebook.

    `size` is the size that the paper prints, in words, where it has one. `not_run` says why there is no notebook yet.
    `seconds` are processor time of its notebook in the quick profile, where it is much: several notebooks end sooner if
    the dear ones start first. `paper_parameters` are what papermill is given in the paper profile; the quick profile is
    the notebook's defaults. `names` says how the paper prints what is a word of an id here.
    """

    paper: str
    name: str
    number: str
    title: str
    kind: str
    cells: tuple[Cell, ...] = ()
    size: str = ""
    not_run: str = ""
    seconds: float = 0.0
    paper_parameters: Mapping[str, object] | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def place(self, id: str) -> tuple[str, ...]:
        """Where a cell stands in the table, in the paper's words: its id without the table."""
        return tuple(self.names.get(word, word) for word in id.split("/")[1:]) or (id,)

    @property
    def key(self) -> str:
        """Paper and name, unique over all papers."""
        return f"{self.paper}/{self.name}"

    @property
    def notebook(self) -> Path:
        """Where its notebook is (or will be)."""
        return paths.NOTEBOOKS / self.paper / f"{self.name}.ipynb"

    @property
    def runnable(self) -> bool:
        """Whether its notebook exists."""
        return not self.not_run and self.notebook.is_file()

    def cell(self, id: str) -> Cell:
        """Return the cell with this id."""
        known = {cell.id: cell for cell in self.cells}
        if id not in known:
            raise UnknownNameError("cell", id, known)
        return known[id]


@dataclass(frozen=True)
class Paper:
    """A paper: its key, its title, what its printed times were taken on, who wrote it and where it is found."""

    key: str
    title: str
    hardware: str
    authors: str = ""
    link: str = ""


def papers() -> tuple[Paper, ...]:
    """Return every paper, in the order of their keys."""
    found = []
    for source in sorted(paths.PAPERS.glob("*/published.yaml")):
        content = files.read_yaml(source)
        with _entries_of(source):
            known = (content.get(name, "") for name in ("hardware", "authors", "link"))
            found.append(Paper(content["paper"], content.get("title", content["paper"]), *known))
    return tuple(found)


@contextmanager
def _entries_of(source: Path) -> Iterator[None]:
    """Name the file in what goes wrong with an entry that is not as it should be."""
    try:
        yield
    except TightropeError:
        raise
    except KeyError as error:
        raise CorruptDataError(f"{source}: an entry lacks {error}.") from error
    except (TypeError, ValueError, AttributeError, SyntaxError) as error:
        raise CorruptDataError(f"{source}: an entry is not as expected: {error}.") from error


def read(folder: Path) -> tuple[Result, ...]:
    """Read published.yaml, and paper.yaml if there is one, of one paper's folder."""
    sources = [folder / "published.yaml", folder / "paper.yaml"]
    # A notebook asks for its cells table by table, and YAML is slow: a file is read again when it has changed.
    return _read(*sources, *(path.stat().st_mtime_ns if path.is_file() else None for path in sources))


@lru_cache
def _read(source: Path, sizes_file: Path, written: int | None, sizes_written: int | None) -> tuple[Result, ...]:
    content = files.read_yaml(source)
    sizes = files.read_yaml(sizes_file) if sizes_written is not None else {}
    with _entries_of(source):
        names = {str(word): name for word, name in content.get("names", {}).items()}
        results = tuple(_result(content["paper"], entry, sizes, names, source) for entry in content["results"])
    ids = Counter(name for result in results for name in (result.name, *(cell.id for cell in result.cells)))
    if repeated := sorted(name for name, count in ids.items() if count > 1):
        raise InputError(f"{source}: repeated names {', '.join(repeated)}")
    return results


def results() -> tuple[Result, ...]:
    """Return every result of every paper, in the order of the files."""
    sources = sorted(paths.PAPERS.glob("*/published.yaml"))
    return tuple(result for source in sources for result in read(source.parent))


def find(name: str, among: tuple[Result, ...] | None = None) -> Result:
    """Return the result called ``name`` or ``paper/name``; the key is needed where several papers have that name."""
    among = results() if among is None else among
    found = [result for result in among if name in (result.name, result.key)]
    if len(found) != 1:
        raise UnknownNameError("result", name, [result.key for result in among])
    return found[0]


def defaults(result: Result) -> dict:
    """Return the parameters of a result's notebook with their values: the cell tagged `parameters`."""
    notebook = files.read_json(result.notebook)
    with _entries_of(result.notebook):
        tagged = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", ())]
        if len(tagged) != 1:
            raise InputError(f"{result.notebook}: expected one cell tagged `parameters`, found {len(tagged)}")
        body: list[Any] = ast.parse("".join(tagged[0]["source"])).body
        values: dict[str, object] = {}
        try:
            for statement in body:
                targets: list[Any] = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                values |= dict.fromkeys([target.id for target in targets], ast.literal_eval(statement.value))
        except (AttributeError, ValueError):
            raise InputError(f"{result.notebook}: the parameters cell holds only `name: type = constant`") from None
        return values


def parameters(result: Result, profile: str) -> dict:
    """Return a notebook's parameters in a profile: its defaults, which are "quick", and the sizes of paper.yaml."""
    if profile not in PROFILES:
        raise UnknownNameError("profile", profile, PROFILES)
    return {**defaults(result), **((result.paper_parameters or {}) if profile == "paper" else {}), "profile": profile}


def _result(paper: str, entry: dict, sizes: dict, names: Mapping[str, str], source: Path) -> Result:
    known, cells = {own.name for own in fields(Cell)}, []
    for raw in entry.get("cells", ()):
        if unknown := [name for name in raw if name not in known]:
            raise UnknownNameError(f"key of cell {raw.get('id')} in {source}:", unknown[0], known)
        interval = tuple(raw.get("interval") or ()) or None
        cells.append(Cell(**{"digits": entry.get("digits"), **raw, "interval": interval}))
    told = {name: entry[name] for name in ("size", "not_run", "seconds") if name in entry}
    name, number, title, kind = entry["name"], str(entry["number"]), entry["title"], entry["kind"]
    return Result(paper, name, number, title, kind, tuple(cells), paper_parameters=sizes.get(name), names=names, **told)
