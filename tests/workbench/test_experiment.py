"""The shape of a result: parameters, kinds of row, tables as attributes; and a fifth paper in forty lines."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from tightrope import paths
from tightrope.errors import CorruptDataError, InputError, UnknownParameterError
from tightrope.workbench import published, registry, runner
from tightrope.workbench.compare import compare
from tightrope.workbench.experiment import Experiment, Lines, Solved, Value
from tightrope.workbench.records import Store, case_key, from_csv
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table

FIFTH = Path(__file__).parent / "fifth_paper" / "table_1.py"
FILES = sorted(paths.RESULTS.glob("*/*.csv"))


@pytest.fixture
def squares(monkeypatch):
    """A kind of row that squares numbers, and one that it needs."""
    monkeypatch.setattr(registry, "_REGISTERED", {})
    doubles = Experiment("p", "doubles")
    squares = Experiment("p", "squares", needs=[doubles])
    doubles.cases(lambda count: [{"number": n} for n in range(count)])
    doubles.solve(lambda case: {"double": 2 * case["number"]})
    squares.cases(lambda count, seed: [{"number": n, "seed": seed} for n in range(count)])
    squares.solve(lambda case: {"square": case["number"] ** 2})

    @squares.table
    def numbers(rows: Rows) -> Table:
        return Table(("square",), [(row["square"],) for row in rows.where(result="squares")])

    @squares.table
    def above(rows: Rows, least: int) -> int:
        return sum(row["square"] >= least for row in rows.where(result="squares"))

    return squares


def test_a_call_solves_what_is_missing_and_shows_it(squares, tmp_path):
    with Store(tmp_path / "records.sqlite") as store:
        solved = squares(profile="custom", store=store, count=3, seed=0)
        assert solved.numbers.rows == ((0,), (1,), (4,))
        assert solved.above(1) == 2
        assert [row["double"] for row in solved.rows.where(result="doubles")] == [0, 2, 4]
        assert {"numbers", "above"} <= set(dir(solved)) and "numbers" in repr(solved)
        squares.solver = None  # nothing is solved again
        assert squares(profile="custom", store=store, count=3, seed=0).rows == solved.rows
    with pytest.raises(AttributeError, match=r"numbrs.*Did you mean 'numbers'"):
        _ = solved.numbrs


def test_a_table_has_the_head_and_the_lines_that_are_declared(squares):
    @squares.lines("number | square", "root", tolerance={"root": 0.1})
    def roots(rows: Rows) -> Lines:
        for row in rows:
            yield row["number"], row["square"], row["square"] ** 0.5

    table = Solved(squares, [{"number": 3, "square": 9, "result": "squares"}]).roots
    assert table.columns == ("number", "square", "root") and table.tolerance == {"root": 0.1}
    assert table.rows == roots(Rows([{"number": 3, "square": 9}])).rows == ((3, 9, 3.0),)


def test_results_that_are_alike_share_all_but_what_they_declare(squares, tmp_path):
    squares.cells(lambda rows: ((f"square-{row['number']}", Value(row["square"])) for row in rows))
    squares.needs = ()
    cubes = squares.same("cubes")
    cubes.solve(lambda case: {"square": case["number"] ** 3})
    cubes.table(lambda rows: rows)
    assert list(registry._REGISTERED["p"]) == ["doubles", "squares", "cubes"] and "<lambda>" not in squares.tables
    with Store(tmp_path / "records.sqlite") as store:
        for kind, two in ((squares, 4), (cubes, 8)):
            rows = kind(profile="custom", store=store, count=3, seed=0).rows.where(result=kind.name)
            assert kind.values(rows, {"profile": "custom"})["square-2"] == Value(two)


class Recorded:
    """A drawing that only remembers under which names it was written, with which numbers."""

    def __init__(self):
        self.saved = []

    def save(self, paper: str, name: str, numbers: Table) -> None:
        self.saved.append((name, numbers.rows))


def test_a_drawing_of_two_kinds_has_the_profile_of_both(squares, tmp_path):
    """It may take more than its rows; the kind that is needed is solved first."""
    order, (doubles,) = [], squares.needs
    doubles.solve(lambda case: order.append("doubles") or {"double": 2 * case["number"]})
    squares.solve(lambda case: order.append("squares") or {"square": case["number"] ** 2})

    @squares.drawing(lambda rows, drawing: Table(("square",), [(row["square"],) for row in rows[:1]]))
    def draw_part(rows: Rows, drawing: Recorded) -> Recorded:
        return drawing

    with Store(tmp_path / "records.sqlite") as store:
        solved = squares(profile="quick", store=store, count=1, seed=0)
    assert order == ["doubles", "squares"]
    drawing = solved.draw_part(Recorded())
    own, other = solved.rows
    Solved(squares, [own, {**other, "profile": "custom"}]).draw_part(drawing)
    assert drawing.saved == [("squares-part.quick", ((0,),)), ("squares-part.custom", ((0,),))]


def test_parameters_are_those_of_the_cases(squares, tmp_path):
    with Store(tmp_path / "records.sqlite") as store:
        with pytest.raises(UnknownParameterError, match="squares 'cont'"):
            squares(store=store, cont=3, seed=0)
        with pytest.raises(InputError, match="expected a value of seed"):
            squares(store=store, count=3)
        with pytest.raises(InputError, match="count: expected an integer of at least 1, got -1"):
            squares(store=store, count=-1, seed=0)
    with pytest.raises(InputError, match="banana has no rule"):
        squares.cases(lambda banana: [])


def test_a_part_has_the_same_rows(squares):
    few = squares.part(lambda count: [{"number": n, "seed": 0} for n in range(count)])
    keys = [case_key(case) for case in few.own_cases("custom", {"count": 2})]
    assert keys == [case_key(case) for case in squares.own_cases("custom", {"count": 3, "seed": 0})][:2]
    assert registry.experiments("p") == {}  # no such package
    assert registry._REGISTERED["p"]["squares"] is squares


def test_nothing_to_solve_is_named(squares, tmp_path):
    squares.cases(lambda seed: [])
    with Store(tmp_path / "records.sqlite") as store, pytest.raises(InputError, match="squares: nothing to solve"):
        squares(store=store, seed=0, count=1)


def test_a_kept_profile_is_exported(squares, tmp_path):
    with Store(tmp_path / "records.sqlite") as store:
        squares(profile="paper", store=store, count=2, seed=0)
        assert len(from_csv(store.csv_path("p", "squares", "paper").read_text())) == 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_committed_row_has_the_key_of_its_case(path):
    """The columns before the first of the outcome are the case: some prefix of a row has the row's key."""
    for row in from_csv(path.read_text(encoding="utf-8"), str(path)):
        names, case = list(row), {}
        for name in names:
            case[name] = row[name]
            if case_key({n: v for n, v in case.items() if v is not None}) == row["key"] or case_key(case) == row["key"]:
                break
        else:
            pytest.fail(f"{path.name}: no prefix of the row {row['key']} is its case")


@pytest.mark.published
@pytest.mark.parametrize("paper", sorted({path.parent.name for path in FILES}))
def test_committed_rows_are_found_again(paper):
    """On this machine too, whatever its processor, the cases of the paper profile have the keys of the rows."""
    known = {}
    for result in published.results():
        if result.paper == paper and result.runnable:
            with contextlib.suppress(CorruptDataError):  # a network's file that is refused
                for key, kind in registry.profile_cases(paper, result.name, "paper").items():
                    known.setdefault(kind, set()).add(key)
    assert known
    for kind, keys in known.items():
        path = paths.RESULTS / paper / f"{kind}.paper.csv"
        if path.is_file():
            committed = {row["key"] for row in from_csv(path.read_text(encoding="utf-8"))}
            assert keys <= committed or len(committed & keys) > 0.9 * len(committed), kind


def test_a_fifth_paper_takes_forty_lines(home, monkeypatch):
    """Its files in a repository of its own: listed, run by the notebook's parameters, compared."""
    assert len(FIFTH.read_text().splitlines()) <= 40
    import tightrope.results as results

    package = home / "results"
    (package / "demo2027_clean").mkdir(parents=True)
    (package / "demo2027_clean" / "__init__.py").touch()
    shutil.copy(FIFTH, package / "demo2027_clean")
    monkeypatch.setattr(results, "__path__", [*results.__path__, str(package)])
    monkeypatch.setattr(paths, "PAPERS", home / "papers", raising=False)
    monkeypatch.setattr(paths, "NOTEBOOKS", home / "notebooks", raising=False)
    paper = home / "papers" / "demo2027-clean"
    paper.mkdir()
    (paper / "published.yaml").write_text(PUBLISHED)
    (paper / "paper.yaml").write_text("table-1-clean-accuracy: {images: 300}\n")
    notebook = home / "notebooks" / "demo2027-clean" / "table-1-clean-accuracy.ipynb"
    notebook.parent.mkdir()
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {"tags": ["parameters"]},
        "outputs": [],
        "execution_count": None,
    }
    content = {"cells": [cell | {"source": PARAMETERS}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    notebook.write_text(json.dumps(content))

    result = published.find("table-1-clean-accuracy")
    run = runner.prepare(result, "paper")
    (case,) = runner.cases(run)
    assert case["images"] == 300 and case["profile"] == "paper"
    experiment = registry.experiment(result)
    with Store(home / "records.sqlite") as store:
        solved = experiment(profile="paper", store=store, networks=["digits/fc-natural"], images=300)
        assert isinstance(solved, Solved) and solved.accuracies.rows[0][1] > 90
        (line,) = compare([result], store)
    assert (line.cell.id, line.cell.printed, line.agreement) == ("table-1/accuracy", 96.0, "reproduced")


PARAMETERS = 'networks: list = ["digits/fc-natural"]\nimages: int = 20\nprofile: str = "quick"'
PUBLISHED = """
paper: demo2027-clean
title: Clean
results:
  - name: table-1-clean-accuracy
    number: Table 1
    title: Clean accuracy
    kind: deterministic
    cells:
      - {id: table-1/accuracy, printed: 96.0, kind: deterministic, tolerance: 3}
"""
