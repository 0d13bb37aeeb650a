"""How many lines of the checker a theory needs, as lib/tightrope/checker/README.md says."""

import ast
import re
from pathlib import Path

import pytest

import tightrope.checker
from tightrope.checker import THEORIES

FOLDER = Path(tightrope.checker.__file__).parent
TREES = {path.stem: ast.parse(path.read_text()) for path in FOLDER.glob("*.py")}
ROW = re.compile(r"^\| ((?:mondeq|relu)[\w, -]*) \| (\w+) \| (\d+) \|$", re.MULTILINE)
TABLE = [
    (theories.split(", "), module, int(lines))
    for theories, module, lines in ROW.findall((FOLDER / "README.md").read_text())
]


def imported(module: str) -> set[str]:
    """Return the modules of the checker that one imports."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tightrope.checker"):
            own = (node.module or "").removeprefix("tightrope.checker").lstrip(".")
            found |= {own} if own else {name.name for name in node.names}
    return found


def read(module: str) -> set[str]:
    """Return what one reads for a module: itself, and what it imports."""
    seen, todo = set(), [module]
    while todo:
        if (last := todo.pop()) not in seen:
            seen.add(last)
            todo += imported(last)
    return seen


def code(module: str) -> int:
    """Return the lines of a module without docstrings, comments and blank lines."""
    lines, about = (FOLDER / f"{module}.py").read_text().splitlines(), set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            about |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    kept = [line for number, line in enumerate(lines, 1) if line.strip() and number not in about]
    return sum(not line.lstrip().startswith("#") for line in kept)


def test_the_table_names_each_theory_with_its_module():
    own = {name: theory.begin.__module__.rpartition(".")[2] for name, theory in THEORIES.items()}
    assert {name: module for names, module, _ in TABLE for name in names} == own


@pytest.mark.parametrize(("module", "most"), [row[1:] for row in TABLE])
def test_a_theory_is_no_more_to_read_than_the_table_says(module, most):
    """And not much less: the number says something."""
    assert most - 200 < sum(map(code, read(module))) <= most
