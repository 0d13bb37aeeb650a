"""Notebooks: parameters checked before anything runs, nothing done twice, and a kill that loses nothing."""

import os
import signal
import time
from dataclasses import replace

import nbformat
import pytest

from tests.helpers import tightrope
from tightrope import paths
from tightrope.errors import InputError, UnknownParameterError
from tightrope.workbench import published, runner
from tightrope.workbench.records import Store

TABLE = "table-2-certified-ratio"


@pytest.fixture
def result():
    """Table 2."""
    return published.find(TABLE)


@pytest.mark.parametrize("one", [r for r in published.results() if r.runnable], ids=lambda r: r.key)
def test_every_notebook_can_be_run_in_both_profiles(one):
    """Its parameters cell is readable, and paper.yaml names only parameters that it has."""
    for profile in published.PROFILES:
        run = runner.prepare(one, profile)
        assert run.parameters["profile"] == profile
        assert run.output.name == f"{one.name}.{profile}.ipynb"


def test_defaults_agree_with_papermill(result):
    """What we read from the parameters cell is what papermill sees."""
    import papermill

    seen = papermill.inspect_notebook(str(result.notebook))
    assert set(seen) == set(runner.defaults(result))
    assert all(parameter["help"] for parameter in seen.values())  # every parameter has its comment


def test_an_unknown_parameter_is_refused(result):
    """papermill would only warn and run the defaults."""
    with pytest.raises(UnknownParameterError, match="Did you mean 'images'"):
        runner.prepare(result, "quick", {"image_": 3})
    wrong = replace(result, paper_parameters={"imagse": 3})
    with pytest.raises(UnknownParameterError, match="images"):
        runner.prepare(wrong, "paper")


def test_changed_parameters_keep_their_rows_apart(result):
    """They are not the profile's any more; a limit alone is, and so is a value that was there."""
    assert runner.prepare(result, "quick", {"seed": 1}).parameters["profile"] == "custom"
    assert runner.prepare(result, "quick", {"seed": 0}).parameters["profile"] == "quick"
    limited = runner.prepare(result, "paper", limit=3)
    assert (limited.parameters["profile"], limited.parameters["images"]) == ("paper", 3)
    with pytest.raises(InputError, match="limit"):
        runner.prepare(result, "quick", limit=0)


def test_a_result_without_notebook_says_why():
    """The reason of published.yaml."""
    waiting = replace(published.find("table-2-certified-ratio"), not_run="its network is lost")
    with pytest.raises(InputError, match="its network is lost"):
        runner.prepare(waiting, "quick")


def test_a_limit_holds_for_each_network():
    """Of a result that takes a number of images for each network."""
    limited = runner.prepare(published.find("table-4-cr-auc"), "quick", limit=5)
    assert limited.parameters["image_counts"] == [5, 5]


def test_parameter_values_are_yaml():
    """Numbers, lists and words."""
    pairs = [("a", "3"), ("b", "[0.1, 0.2]"), ("c", "inf"), ("d", "true"), ("e", "digits/x")]
    assert runner.parse_parameters(pairs) == {"a": 3, "b": [0.1, 0.2], "c": "inf", "d": True, "e": "digits/x"}
    with pytest.raises(InputError, match="YAML"):
        runner.parse_parameters([("a", "[")])


def test_a_parameters_cell_with_code_is_refused(tmp_path, result, monkeypatch):
    """Only constants, so that it can be read without running anything."""
    cell = nbformat.v4.new_code_cell("a = print(1)", metadata={"tags": ["parameters"]})
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    (tmp_path / result.paper).mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), result.notebook)
    with pytest.raises(InputError, match="holds only"):
        runner.defaults(result)


def rows_in(home):
    """Key, time of creation and seconds of the rows so far."""
    with Store(home / "data" / "results" / "records.sqlite") as store:
        found = store.rows(TABLE, "quick")
    return {row["key"]: (row["created"], row["seconds"]) for row in found}


@pytest.mark.notebooks
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_run_continues_where_it_stopped(home):
    """`tightrope run` is killed in the middle; the second call keeps every row, the third has nothing to do."""
    process = tightrope("run", TABLE, "--limit", "1")
    deadline = time.monotonic() + 240
    while len(rows_in(home)) < 3:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no rows"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = rows_in(home)
    assert 3 <= len(before)

    again = tightrope("run", TABLE, "--limit", "1")
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    after = rows_in(home)
    assert len(after) == 5 * 2  # radii by sets
    assert all(after[case] == seen for case, seen in before.items())

    third = tightrope("run", TABLE, "--limit", "1")
    _, errors = third.communicate(timeout=120)
    assert third.returncode == 0, errors
    assert "up to date" in errors
    executed = home / "figures" / "executed" / "chen2021-mondeq" / f"{TABLE}.quick.ipynb"
    notebook = nbformat.read(executed, as_version=4)
    assert "papermill" not in notebook.metadata
    assert str(home) not in executed.read_text()
