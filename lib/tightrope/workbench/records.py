"""Solved cases: one row each, in SQLite the moment it is solved, and as CSV for keeping.

A *case* is what identifies a piece of work (network, data, image, region, method, options); an *outcome* is
what solving it gave. A sweep that is killed has lost at most the case it was working on. The SQLite file is
working state; the CSV files under data/results are committed and have the rows that it lacks.
"""

import csv
import hashlib
import io
import json
import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import tightrope
from tightrope import files, paths
from tightrope.errors import CorruptDataError, FileAccessError, InputError
from tightrope.workbench import certificates

# A network is its weights (network_sha256), whatever it is called.
NOT_IDENTITY = ("network",)
# Rows of the paper profile cost hours and are kept when the library changes (`versions` says what made them);
# those of the other profiles cost seconds and are solved again.
KEPT_PROFILES = ("paper",)

# Sources that show rows and cannot change one.
_SHOWN_BY = ("batch", "compare", "executor", "paper_size", "progress", "runner", "tables", "workers")
PRESENTATION = ("cli", "explorers/", "figures/", "report/", *(f"workbench/{name}.py" for name in _SHOWN_BY))

_TABLE = """create table if not exists rows (
    key text primary key, paper text, result text, profile text, code text, row text)"""


def case_key(case: Mapping) -> str:
    """SHA-256 of a case: sorted JSON of (result, profile, network's SHA-256, example, method, options)."""
    identity = {name: value for name, value in case.items() if name not in NOT_IDENTITY}
    return hashlib.sha256(_json(identity).encode()).hexdigest()


def case_of(row: Mapping) -> dict:
    """Return the case of a row, which its first columns are: as many as give its key.

    Examples
    --------
    >>> case = {"network": "digits/mondeq-16", "network_sha256": "0", "image": 1}
    >>> case_of({**case, "verdict": "certified", "key": case_key(case)}) == case
    True
    """
    case: dict = {}
    for name, value in row.items():
        case[name] = value
        if case_key(case) == row["key"]:
            return case
    raise CorruptDataError(f"row {row['key']!r}: no case has this key; restore the CSV file: `git checkout`.")


@cache
def code_fingerprint() -> str:
    """SHA-256 of the library's sources, of everything that can change an outcome."""
    root = Path(tightrope.__file__).parent
    digest = hashlib.sha256()
    for source in sorted(root.rglob("*.py")):
        name = source.relative_to(root).as_posix()
        if not name.startswith(PRESENTATION):
            digest.update(name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def tree_folder() -> Path:
    """Return where trees of rows are that a limit has ended: with a larger one the same library goes on from there.

    Another library starts again, so that no row is the work of two.
    """
    return certificates.folder() / "trees" / code_fingerprint()[:16]


@cache
def versions() -> Mapping[str, str | int]:
    """What made a row: versions of the packages that compute, and the number of processors."""
    found: dict[str, str | int] = {"python": platform.python_version(), "processors": os.cpu_count() or 0}
    for package in ("tightrope", "numpy", "scipy", "torch", "foolbox"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found


class Store:
    """The rows on this machine, in an SQLite file, data/results/records.sqlite if None, and CSV files.

    These are in a folder, that of the SQLite file if None. `read_only` works on a copy in memory, so that nothing is
    written, not even where that could be. A file that cannot be used, or is none, is a FileAccessError or a
    CorruptDataError.
    """

    def __init__(self, path: Path | None = None, folder: Path | None = None, *, read_only: bool = False):
        self.path = Path(path) if path else paths.RESULTS / "records.sqlite"
        self.folder = Path(folder) if folder else self.path.parent
        self.read_only = read_only
        if not read_only:
            with files.access(self.path.parent, "written"):
                self.path.parent.mkdir(parents=True, exist_ok=True)
        self._read: dict[Path, tuple[tuple, dict[str, dict]]] = {}
        with _database(self.path):
            self._connection = _copy(self.path) if read_only else _opened(self.path)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; every row is already in it."""
        self._connection.close()

    def get(self, case: Mapping) -> dict | None:
        """Return the row of a case, or None if it has to be solved."""
        key, path = case_key(case), self.csv_path(case["paper"], case["result"], case["profile"])
        found = self._execute("select row, code from rows where key = ?", (key,))
        solved = next((json.loads(row) for row, code in found if self._current(case["profile"], code)), None)
        return _the_one(solved, self._committed(path, case["profile"]).get(key))

    def put(self, case: Mapping, outcome: Mapping, by: Mapping | None = None) -> dict:
        """Write the row of a solved case, at once, and return it; `by` are the :func:`versions` where it was solved.

        A proof in the outcome becomes a file and its SHA-256.
        """
        self._changing()
        key, now = case_key(case), datetime.now(UTC).isoformat(timespec="seconds")
        outcome = certificates.kept(case, outcome, key)
        row = {**case, **outcome, "versions": dict(by or versions()), "created": now, "key": key}
        self._write(row, code_fingerprint())
        return json.loads(_json(row, sort=False))  # what a reader will see

    def add_certificate(self, row: Mapping, sha256: str) -> dict:
        """Write a row again with the SHA-256 of its certificate, and return it."""
        self._changing()
        last = {name: row[name] for name in ("versions", "created", "key")}
        first = {name: value for name, value in row.items() if name not in last}
        new = {**first, certificates.COLUMN: sha256, **last}
        self._write(new, code_fingerprint())
        return new

    def rows(self, result: str, profile: str, paper: str | None = None) -> list[dict]:
        """Return the rows of one result and profile, sorted by case; committed ones fill the gaps."""
        found = self._execute(
            "select key, row, code from rows where result = ? and profile = ? and (? is null or paper = ?)",
            (result, profile, paper, paper),
        )
        rows = {key: json.loads(row) for key, row, code in found if self._current(profile, code)}
        for path in sorted(self.folder.glob(f"{paper or '*'}/{result}.{profile}.csv")):
            committed = self._committed(path, profile)
            rows |= {key: _the_one(rows.get(key), row) for key, row in committed.items()}
        return sort_rows(rows.values())

    def missing(self, cases: Iterable[Mapping]) -> list[Mapping]:
        """Return the cases that have no row."""
        return [case for case in cases if self.get(case) is None]

    def forget(self, cases: Iterable[Mapping]) -> None:
        """Delete the rows of these cases, here and in the CSV files, so that they are solved again."""
        self._changing()
        keys = {case_key(case): case for case in cases}
        with _database(self.path):
            self._connection.executemany("delete from rows where key = ?", [(key,) for key in keys])
        for paper, result, profile in {(c["paper"], c["result"], c["profile"]) for c in keys.values()}:
            path = self.csv_path(paper, result, profile)
            if path.is_file():
                kept = [row for row in _rows_of(path) if row["key"] not in keys]
                if kept:
                    files.replace_text(path, to_csv(kept))
                else:
                    path.unlink()

    def csv_path(self, paper: str, result: str, profile: str) -> Path:
        """Where the CSV file of one result and profile is."""
        return self.folder / paper / f"{result}.{profile}.csv"

    def export_csv(self, paper: str, result: str, profile: str) -> Path:
        """Write the rows of one result and profile as CSV: same rows, same bytes."""
        self._changing()
        path = self.csv_path(paper, result, profile)
        text = to_csv(self.rows(result, profile, paper))
        files.replace_text(path, text)
        return path

    def _committed(self, path: Path, profile: str) -> Mapping[str, dict]:
        """The rows of a CSV file by key, if their profile is kept; the file is read again when it has changed."""
        if profile not in KEPT_PROFILES or not path.is_file():
            return {}
        now = path.stat()
        version = (now.st_mtime_ns, now.st_size, now.st_ino)
        if path not in self._read or self._read[path][0] != version:
            self._read[path] = version, {row["key"]: row for row in _rows_of(path)}
        return self._read[path][1]

    def _execute(self, statement: str, values: tuple = ()) -> list[tuple]:
        with _database(self.path):
            return self._connection.execute(statement, values).fetchall()

    def _changing(self) -> None:
        if self.read_only:
            raise InputError(f"{self.path} was opened to be read; open it with Store() to change rows.")

    def _current(self, profile: str, code: str) -> bool:
        """Whether a row counts; one without code is an old copy of a committed one."""
        return code != "" and (profile in KEPT_PROFILES or code == code_fingerprint())

    def _write(self, row: Mapping, code: str) -> None:
        self._execute(
            "insert or replace into rows values (?, ?, ?, ?, ?, ?)",
            (row["key"], row["paper"], row["result"], row["profile"], code, _json(row, sort=False)),
        )


def _rows_of(path: Path) -> list[dict]:
    """The rows of a CSV file of a result."""
    rows = from_csv(files.read_text(path), str(path))
    if rows and not {"paper", "result", "profile", "key"} <= rows[0].keys():
        raise CorruptDataError(f"{path}: its rows lack paper, result, profile or key. Restore it: `git checkout`.")
    return rows


def _the_one(solved: dict | None, committed: Mapping | None) -> dict | None:
    """Of a row that was solved here and the committed one: the first, unless the other is it with its certificate."""
    if committed is None:
        return solved
    proven = committed.get(certificates.COLUMN) and not (solved or {}).get(certificates.COLUMN)
    same = solved is None or (proven and solved.get("created") == committed.get("created"))
    return dict(committed) if same else solved


@contextmanager
def _database(path: Path) -> Iterator[None]:
    """Name the SQLite file in what goes wrong with it."""
    try:
        yield
    except sqlite3.OperationalError as error:  # no permission, no space, locked for a minute
        raise FileAccessError(f"{path} cannot be used: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise CorruptDataError(
            f"{path} is damaged ({error}). Delete it: rows of the paper profile are committed as CSV, the others are "
            "solved again."
        ) from error


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute(_TABLE)
    return connection


def _copy(path: Path) -> sqlite3.Connection:
    """A copy in memory of the rows that the file has, none if there is no file."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    if path.is_file():
        try:
            _backup(path, "mode=ro", memory)
        except sqlite3.OperationalError:  # where the folder is read-only, SQLite cannot share the file with a writer
            _backup(path, "mode=ro&immutable=1", memory)
    memory.execute(_TABLE)
    return memory


def _backup(path: Path, how: str, memory: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", timeout=60, uri=True)) as source:
        source.backup(memory)


def sort_rows(rows: Iterable[dict]) -> list[dict]:
    """Sort rows by their columns from left to right: numbers by value, the rest by their text."""
    return sorted(rows, key=lambda row: [_order(v) for name, v in row.items() if name != "created"])


def to_csv(rows: Iterable[Mapping]) -> str:
    """Write rows as CSV: text as it is, everything else as JSON, so that floats keep every digit (repr)."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if certificates.COLUMN in names and "versions" in names:  # which few rows have, the first ones perhaps not
        names.remove(certificates.COLUMN)
        names.insert(names.index("versions"), certificates.COLUMN)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_cell(row.get(name)) for name in names] for row in rows])
    return out.getvalue()


def from_csv(text: str, source: str = "CSV text") -> list[dict]:
    """Read what :func:`to_csv` wrote: the same values and types."""
    header, *lines = list(csv.reader(io.StringIO(text))) or [[]]
    if "result" not in header:
        raise CorruptDataError(f"{source}: the first line is not a header of rows")
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise CorruptDataError(f"{source}: line {number} has another number of columns than the header")
    return [{name: _value(cell) for name, cell in zip(header, line, strict=True)} for line in lines]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and value and _value(value) == value:
        return value
    return _json(value)


def _value(cell: str) -> object:
    if cell == "":
        return None
    try:
        return json.loads(cell)
    except json.JSONDecodeError:
        return cell


def _json(value: object, sort: bool = True) -> str:
    return json.dumps(value, sort_keys=sort, default=_plain)


def _plain(value: object) -> object:
    """Turn NumPy's scalars and arrays into plain Python."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise InputError(f"a row cannot hold a {type(value).__name__}; outcomes are numbers, text, lists and arrays.")


def _order(value: object) -> tuple:
    if value is None or isinstance(value, (int, float)):
        return (0, value or 0, "")
    return (1, 0, value if isinstance(value, str) else _json(value))
