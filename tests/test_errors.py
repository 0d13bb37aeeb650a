"""Errors are the project's own: named, with close names, and what the operating system refuses in one line."""

import ast
import builtins
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tightrope import datasets, files, paths
from tightrope.cli import main
from tightrope.errors import CorruptDataError, FileAccessError, InputError, TightropeError, UnknownNameError
from tightrope.workbench import published
from tightrope.workbench.records import Store

PACKAGE = paths.ROOT / "lib" / "tightrope"
# What Python itself asks for: an attribute that is not there, an iterator's end, a method that a subclass has to give,
# a division of numbers.
PROTOCOLS = {"AttributeError", "StopIteration", "NotImplementedError", "ZeroDivisionError"}
BUILTIN = {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)}


def bare_raises(tree: ast.AST, caught: frozenset[str] = frozenset()):
    """Lines that raise a builtin exception which no `try` around them catches."""
    if isinstance(tree, ast.Raise) and tree.exc is not None:
        made = tree.exc.func if isinstance(tree.exc, ast.Call) else tree.exc
        if isinstance(made, ast.Name) and made.id in BUILTIN - PROTOCOLS - caught:
            yield tree.lineno, made.id
    if isinstance(tree, ast.Try):
        names = {name.id for handler in tree.handlers for name in ast.walk(handler.type or tree) if _is_name(name)}
        for child in tree.body:
            yield from bare_raises(child, caught | names)
        rest = [*tree.handlers, *tree.orelse, *tree.finalbody]
    else:
        rest = list(ast.iter_child_nodes(tree))
    for child in rest:
        yield from bare_raises(child, caught)


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)


def test_no_bare_builtin_exception_is_raised():
    """A person meets errors of tightrope.errors only."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if "checker" not in path.parts  # imports nothing of the library, its errors neither
        for line, name in bare_raises(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, "raise an error of tightrope.errors instead"


def test_the_search_for_bare_exceptions_finds_them():
    """But neither protocols nor what is caught where it is raised."""
    code = (
        "raise ValueError('x')\ntry:\n    raise TypeError\nexcept TypeError:\n    raise KeyError\nraise StopIteration"
    )
    assert list(bare_raises(ast.parse(code))) == [(1, "ValueError"), (5, "KeyError")]


def test_names_that_hold_what_was_written_are_offered():
    """The part before the slash may be left out; names that are merely spelt alike come after."""
    known = ["a/table-2-certified-ratio", "a/table-2-products", "a/table-12", "b/figure-2"]
    text = str(UnknownNameError("result", "table-2", known))
    assert "Did you mean 'a/table-2-certified-ratio' or 'a/table-2-products'" in text
    assert "figure-2'" in str(UnknownNameError("result", "figur-2", known)).split("Known")[0]
    assert "Did you mean" not in str(UnknownNameError("result", "poster", known))


@pytest.mark.parametrize(
    ("content", "read", "message"),
    [
        (b"\xff\xfe", files.read_text, "UTF-8"),
        (b"{", files.read_json, "not JSON"),
        (b"a: [", files.read_yaml, "not YAML"),
        (b"- 1", files.read_yaml, "expected names with values"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, read, message):
    """With its path and what it is not."""
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match=rf"damaged.*{message}"):
        read(path)


def test_what_cannot_be_read_or_written_is_named(tmp_path):
    """A folder in place of a file, a file in place of a folder."""
    with pytest.raises(FileAccessError, match=rf"{tmp_path.name} cannot be read"):
        files.read_text(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileAccessError, match="cannot be written"):
        files.replace_text(tmp_path / "file" / "inside", "text")


def home(tmp_path: Path) -> Path:
    """A repository of which a test may damage what it likes; notebooks and papers are copies."""
    place = tmp_path / "clone"
    (place / "data" / "results").mkdir(parents=True)
    shutil.copy(paths.DATA / "registry.json", place / "data")
    (place / "data" / "models").symlink_to(paths.MODELS)
    for name in ("papers", "notebooks"):
        shutil.copytree(paths.ROOT / name, place / name)
    return place


def one_line(*arguments: str) -> str:
    """The command must end in one line and exit code 2."""
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("Error: ")
    return done.stderr


def test_damage_that_a_user_can_do_is_one_line(tmp_path, monkeypatch):
    """Store, notebook, published.yaml, registry, and a TIGHTROPE_HOME that is none."""
    place = home(tmp_path)
    monkeypatch.setenv("TIGHTROPE_HOME", str(place))
    monkeypatch.setattr(paths, "_root", paths.find_root)
    monkeypatch.setattr(datasets, "registry", datasets.registry.__wrapped__)
    name, paper = "figure-1-relations", "salman2019-barrier"
    store, printed = place / "data" / "results" / "records.sqlite", place / "papers" / paper / "published.yaml"
    cases = (
        (store, "this is no database, whatever its name says", ("compare", name)),
        (place / "notebooks" / paper / f"{name}.ipynb", "{", ("run", name)),
        (printed, "results: [", ("list",)),
        (printed, "title: without results", ("list",)),
        (place / "data" / "registry.json", "[", ("data",)),
    )
    for path, content, arguments in cases:
        before = path.read_bytes() if path.exists() else None
        path.write_text(content)
        assert path.name in one_line(*arguments)
        path.unlink()
        if before is not None:
            path.write_bytes(before)
    monkeypatch.setenv("TIGHTROPE_HOME", str(tmp_path))
    assert "TIGHTROPE_HOME" in one_line("list")


def test_a_store_that_only_is_read_changes_nothing(tmp_path):
    """Rows of the file and of CSV files are there; nothing is written, not even the file."""
    folder = tmp_path / "results"
    case = dict(paper="p", result="r", profile="paper", network_sha256="ab", image=0)
    with Store(folder / "records.sqlite") as store:
        store.put(case, {"value": 1.0})
        store.export_csv("p", "r", "paper")
    (folder / "records.sqlite").unlink()
    before = sorted(path.name for path in folder.rglob("*"))
    with Store(folder / "records.sqlite", read_only=True) as store:
        (row,) = store.rows("r", "paper")
        assert row["value"] == 1.0 and store.get(case) == row
        for change in (store.put, case, {}), (store.forget, [case]), (store.export_csv, "p", "r", "paper"):
            with pytest.raises(InputError, match="opened to be read"):
                change[0](*change[1:])
    assert sorted(path.name for path in folder.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_a_checkout_of_somebody_else_can_be_read(tmp_path):
    """As the user nobody: rows are read, also of a store in WAL mode; what would write is refused in one line."""
    folder = tmp_path / "results"
    case = dict(paper="p", result="r", profile="paper", network_sha256="ab", image=0)
    with Store(folder / "records.sqlite") as store:
        store.put(case, {"value": 1.0})
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in (tmp_path, *tmp_path.parents):
        if os.stat(parent).st_uid == 0 and parent != Path("/"):
            parent.chmod(os.stat(parent).st_mode | 0o055)
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tightrope.errors import FileAccessError\n"
        "from tightrope.workbench.records import Store\n"
        "path = Path(sys.argv[1])\n"
        "os.setuid(65534)\n"
        "with Store(path, read_only=True) as store:\n"
        "    print(len(store.rows('r', 'paper')))\n"
        "try:\n"
        "    Store(path)\n"
        "except FileAccessError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "records.sqlite")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "1" and "records.sqlite cannot be used" in second


def test_a_refusal_in_the_middle_is_named(tmp_path, monkeypatch):
    """A disk that fills up while rows are written, and any error of the operating system that a command meets."""
    with Store(tmp_path / "records.sqlite") as store, monkeypatch.context() as patched:

        class Full:
            def execute(self, *_):
                raise sqlite3.OperationalError("database or disk is full")

            def close(self):
                pass

        patched.setattr(store, "_connection", Full())
        with pytest.raises(FileAccessError, match="disk is full"):
            store.get(dict(paper="p", result="r", profile="paper"))

    def refuse(*_):
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr(published, "results", refuse)
    done = CliRunner().invoke(main, ["list"])
    assert (done.exit_code, done.stderr) == (2, "Error: /somewhere: Permission denied\n")


def test_a_report_that_cannot_be_written_is_one_line(tmp_path):
    """Where a file is in the way."""
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(main, ["report", "--output", str(tmp_path / "file" / "site")])
    assert done.exit_code == 2 and "site cannot be written" in done.stderr and len(done.stderr.splitlines()) == 1


def test_every_error_is_one_of_ours():
    """All have one base, by which the command line knows them."""
    assert issubclass(FileAccessError, TightropeError) and issubclass(FileAccessError, OSError)


def test_a_notebook_shows_one_line():
    """IPython asks an error for what it shows; what a person wrote wrong needs no traceback."""
    from IPython.core.interactiveshell import InteractiveShell

    shell, shown = InteractiveShell(), []
    shell._showtraceback = lambda kind, error, lines: shown.append(lines)
    shell.run_cell("from tightrope.regions import Ball\nBall([0.0], -1, 2)")
    assert shown == [["RegionError: radius: expected a finite number >= 0, got -1."]]
