"""Solved cases: one row each, in SQLite the moment it is solved, and as CSV for keeping.

A *case* is what identifies a piece of work (network, data, image, region, method, options); an *outcome* is
what solving it gave. A sweep that is killed has lost at most the case it was working on. The SQLite file is
working state; the CSV files under data/results are committed and fill a store that lacks their rows.
"""

import csv
import hashlib
import io
import json
import os
import platform
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import tightrope
from tightrope import paths
from tightrope.errors import CorruptDataError

# A network is its weights (network_sha256), whatever it is called.
NOT_IDENTITY = ("network",)
# Rows of the paper profile cost hours and are kept when the library changes (`versions` says what made them);
# those of the other profiles cost seconds and are solved again.
KEPT_PROFILES = ("paper",)

# What stands for the code of a row that was read from a CSV file.
IMPORTED = ""

# Sources that show rows and cannot change one.
_SHOWN_BY = ("batch", "compare", "progress", "runner", "tables", "workers")
PRESENTATION = ("cli", "explorers/", "figures/", "report/", *(f"workbench/{name}.py" for name in _SHOWN_BY))

_TABLE = """create table if not exists rows (
    key text primary key, paper text, result text, profile text, code text, row text)"""


def case_key(case: Mapping) -> str:
    """SHA-256 of a case: sorted JSON of (result, profile, network's SHA-256, example, method, options)."""
    identity = {name: value for name, value in case.items() if name not in NOT_IDENTITY}
    return hashlib.sha256(_json(identity).encode()).hexdigest()


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


@cache
def versions() -> Mapping[str, str | int]:
    """What made a row: versions of the packages that compute, and the number of processors."""
    found = {"python": platform.python_version(), "processors": os.cpu_count() or 0}
    for package in ("tightrope", "numpy", "scipy", "torch", "foolbox"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found


class Store:
    """The rows on this machine.

    Parameters
    ----------
    path
        The SQLite file; data/results/records.sqlite if None.
    folder
        Where CSV files are; the file's folder if None.
    """

    def __init__(self, path: Path | None = None, folder: Path | None = None):
        self.path = Path(path) if path else paths.RESULTS / "records.sqlite"
        self.folder = Path(folder) if folder else self.path.parent
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute(_TABLE)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; every row is already in it."""
        self._connection.close()

    def get(self, case: Mapping) -> dict | None:
        """Return the row of a case, or None if it has to be solved."""
        found = self._connection.execute("select row, code from rows where key = ?", (case_key(case),)).fetchone()
        if found is None or not self._current(case["profile"], found[1]):
            return None
        return json.loads(found[0])

    def put(self, case: Mapping, outcome: Mapping, by: Mapping | None = None) -> dict:
        """Write the row of a solved case, at once, and return it.

        Parameters
        ----------
        by
            The :func:`versions` where it was solved; this process's if None.
        """
        row = {**case, **outcome, "versions": dict(by or versions()), "created": _now(), "key": case_key(case)}
        self._write(row, code_fingerprint())
        return json.loads(_json(row, sort=False))  # what a reader will see

    def rows(self, result: str, profile: str, paper: str | None = None) -> list[dict]:
        """Return the rows of one result and profile, sorted by case; committed ones fill the gaps."""
        self.import_csv(result, profile, paper)
        found = self._connection.execute(
            "select row, code from rows where result = ? and profile = ? and (? is null or paper = ?)",
            (result, profile, paper, paper),
        )
        return sort_rows(json.loads(row) for row, code in found if self._current(profile, code))

    def missing(self, cases: Iterable[Mapping]) -> list[Mapping]:
        """Return the cases that have no row."""
        return [case for case in cases if self.get(case) is None]

    def forget(self, cases: Iterable[Mapping]) -> None:
        """Delete the rows of these cases, here and in the CSV files, so that they are solved again."""
        keys = {case_key(case): case for case in cases}
        self._connection.executemany("delete from rows where key = ?", [(key,) for key in keys])
        for paper, result, profile in {(c["paper"], c["result"], c["profile"]) for c in keys.values()}:
            path = self.csv_path(paper, result, profile)
            if path.is_file():
                rows = from_csv(path.read_text(encoding="utf-8"), str(path))
                kept = [row for row in rows if row["key"] not in keys]
                if kept:
                    _replace(path, to_csv(kept))
                else:
                    path.unlink()

    def csv_path(self, paper: str, result: str, profile: str) -> Path:
        """Where the CSV file of one result and profile is."""
        return self.folder / paper / f"{result}.{profile}.csv"

    def export_csv(self, paper: str, result: str, profile: str) -> Path:
        """Write the rows of one result and profile as CSV: same rows, same bytes."""
        path = self.csv_path(paper, result, profile)
        text = to_csv(self.rows(result, profile, paper))
        _replace(path, text)
        return path

    def import_csv(self, result: str, profile: str, paper: str | None = None) -> int:
        """Add the committed rows that the store lacks, if their profile is kept; return their number.

        Rows that came from a CSV file leave with it: those that a newer version of it lacks are deleted.
        """
        if profile not in KEPT_PROFILES:
            return 0
        added, committed = 0, set()
        for path in sorted(self.folder.glob(f"{paper or '*'}/{result}.{profile}.csv")):
            for row in from_csv(path.read_text(encoding="utf-8"), str(path)):
                committed.add(row["key"])
                have = self._connection.execute("select 1 from rows where key = ?", (row["key"],))
                if have.fetchone() is None:
                    self._write(row, IMPORTED)
                    added += 1
        imported = self._connection.execute(
            "select key from rows where code = ? and result = ? and profile = ? and (? is null or paper = ?)",
            (IMPORTED, result, profile, paper, paper),
        ).fetchall()
        gone = [found for found in imported if found[0] not in committed]
        self._connection.executemany("delete from rows where key = ?", gone)
        return added

    def _current(self, profile: str, code: str) -> bool:
        return profile in KEPT_PROFILES or code == code_fingerprint()

    def _write(self, row: Mapping, code: str) -> None:
        self._connection.execute(
            "insert or replace into rows values (?, ?, ?, ?, ?, ?)",
            (row["key"], row["paper"], row["result"], row["profile"], code, _json(row, sort=False)),
        )


def _replace(path: Path, text: str) -> None:
    """Write a file at once: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def sort_rows(rows: Iterable[dict]) -> list[dict]:
    """Sort rows by their columns from left to right: numbers by value, the rest by their text."""
    return sorted(rows, key=lambda row: [_order(v) for name, v in row.items() if name != "created"])


def to_csv(rows: Iterable[Mapping]) -> str:
    """Write rows as CSV: text as it is, everything else as JSON, so that floats keep every digit (repr)."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_cell(row.get(name)) for name in names] for row in rows])
    return out.getvalue()


def from_csv(text: str, source: str = "CSV text") -> list[dict]:
    """Read what :func:`to_csv` wrote: the same values and types."""
    lines = list(csv.reader(io.StringIO(text)))
    if not lines or "result" not in lines[0]:
        raise CorruptDataError(f"{source}: the first line is not a header of rows")
    wrong = [number for number, line in enumerate(lines, 1) if len(line) != len(lines[0])]
    if wrong:
        raise CorruptDataError(f"{source}: line {wrong[0]} has another number of columns than the header")
    return [{name: _value(cell) for name, cell in zip(lines[0], line, strict=True)} for line in lines[1:]]


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
    raise TypeError(f"a row cannot hold {type(value).__name__}")


def _order(value: object) -> tuple:
    if isinstance(value, bool) or value is None:
        return (0, int(bool(value)), "")
    if isinstance(value, (int, float)):
        return (0, value, "")
    return (1, 0, value if isinstance(value, str) else _json(value))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
