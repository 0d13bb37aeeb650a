"""`tightrope run` on several processes: Ctrl-C loses nothing and leaves nothing behind; papermill gives the same."""

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import nbformat
import psutil
import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.helpers import tightrope
from tightrope.cli import main
from tightrope.workbench import batch, progress, published, registry, runner
from tightrope.workbench.records import Store, case_key

TABLE = "table-3-lipschitz-bounds"
FIGURE = "figure-2-adversarial-example"
RUN = ("run", TABLE, "-p", "images", "20", "-p", "restarts", "1", "--jobs", "2")


def rows_in(home, result, profile="custom"):
    """The rows so far, by key."""
    with Store(home / "data" / "results" / "records.sqlite") as store:
        return {row["key"]: row for row in store.rows(result, profile)}


def processes_of(home):
    """What runs with this repository."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TIGHTROPE_HOME") == str(home) and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def within(seconds, condition):
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.notebooks
@pytest.mark.skipif(os.name == "nt", reason="SIGINT to a process group")
def test_ctrl_c_loses_no_case_and_leaves_no_process(home):
    """As in a terminal: every process of the group gets the signal. The same command then continues."""
    process = tightrope(*RUN)
    within(240, lambda: process.poll() is not None or len(rows_in(home, TABLE)) >= 4)
    assert process.poll() is None, process.stderr.read()
    assert len(processes_of(home)) >= 3  # itself and two workers
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    before = rows_in(home, TABLE)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert f"Stopped. {len(before)} of " in errors
    assert len(before) >= 4
    within(20, lambda: not processes_of(home))

    again = tightrope(*RUN)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    after = rows_in(home, TABLE)
    assert len(after) > len(before)
    assert all(after[key] == row for key, row in before.items())
    within(20, lambda: not processes_of(home))


def texts(path):
    """Text outputs of the cells whose outputs are checked."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if "nbval-check-output" in c.metadata.get("tags", ())]
    return [output.data["text/plain"] for cell in cells for output in cell.outputs if "data" in output]


@pytest.mark.notebooks
def test_papermill_from_any_folder_gives_what_the_command_gives(home, tmp_path_factory, monkeypatch):
    """With another radius: same tables, same row, and neither under the name of the quick profile."""
    change = ("-p", "epsilon_pixel", "0.02")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    notebook = home / "notebooks" / "chen2021-mondeq" / f"{FIGURE}.ipynb"
    command = [sys.executable, "-m", "papermill", notebook, "out.ipynb", *change]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (by_papermill,) = rows_in(home, FIGURE).values()
    assert not rows_in(home, FIGURE, "quick")
    drawn = sorted(path.name for path in (home / "figures" / "chen2021-mondeq").iterdir())
    assert drawn == [f"{FIGURE}.custom.{ending}" for ending in ("csv", "pdf", "png")]
    assert sorted(path.name for path in elsewhere.iterdir()) == ["out.ipynb"]

    (home / "data" / "results" / "records.sqlite").unlink()
    process = tightrope("run", FIGURE, *change)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    (by_command,) = rows_in(home, FIGURE).values()
    executed = home / "figures" / "executed" / "chen2021-mondeq" / f"{FIGURE}.custom.ipynb"
    assert texts(elsewhere / "out.ipynb") == texts(executed) != []
    for row in (by_papermill, by_command):
        row.pop("created")
    assert by_papermill == by_command


class Still:
    """Executors that have a log in place of a process; a notebook is done when the next one has been started."""

    def __init__(self, answers, one_thread):
        self.answers, self.one_thread, self.alive, self.pid = answers, one_thread, True, os.getpid()

    def start(self, notebook, output, parameters):
        output.write_text("executed")
        self.log.append((notebook.stem, self.one_thread))
        if notebook.stem not in self.hanging:
            self.answers.put((self, "Failed: on purpose" if notebook.stem in self.failing else ""))

    def close(self):
        self.alive = False


@pytest.fixture
def log(monkeypatch):
    """What is executed, in its order, without a kernel."""
    monkeypatch.setattr(Still, "log", [], raising=False)
    monkeypatch.setattr(Still, "failing", set(), raising=False)
    monkeypatch.setattr(Still, "hanging", set(), raising=False)
    monkeypatch.setattr(batch, "Executor", Still)
    return Still.log


def test_the_dear_ones_start_first(log, tmp_path):
    """Whatever the order of the command; what has been executed is not executed again, but for what has failed."""
    seconds = {"table-5-architectures": 0, "table-6-hyperparameters": 30, "table-1-problem-sizes": 0, FIGURE: 50}
    runs = [runner.prepare(published.find(name), "quick", folder=tmp_path) for name in seconds]
    runs = [replace(one, result=replace(one.result, seconds=seconds[one.result.name])) for one in runs]
    Still.failing.add("table-6-hyperparameters")
    (error,) = batch.run(runs, jobs=1, force=True)
    assert "table-6-hyperparameters (quick): Failed: on purpose. See " in str(error)
    assert [name for name, _ in log] == [
        FIGURE,
        "table-6-hyperparameters",
        "table-5-architectures",
        "table-1-problem-sizes",
    ]
    assert not any(one_thread for _, one_thread in log)
    log.clear()
    Still.failing.clear()
    with Store() as store:
        unsolved = {one.result.name for one in runs if store.missing(runner.cases(one))}
    assert not batch.run(runs)
    assert {name for name, _ in log} == {"table-6-hyperparameters", *unsolved}


def test_a_notebook_that_hangs_does_not_hold_up_the_others(log, tmp_path, monkeypatch):
    """It is reported, its executor is ended, and the next notebook gets another one."""
    names = ("table-5-architectures", "table-6-hyperparameters")
    Still.hanging.add(names[0])
    monkeypatch.setattr(batch, "LOOK", 0.01)
    monkeypatch.setattr(batch.Watch, "stuck", lambda watch, mark: "it has done nothing")
    runs = [runner.prepare(published.find(name), "quick", folder=tmp_path) for name in names]
    (error,) = batch.run(runs, jobs=1, force=True)
    assert f"{names[0]} (quick): it has done nothing. See " in str(error)
    assert [name for name, _ in log] == list(names)
    assert [one.stamp.is_file() for one in runs] == [False, True]


def test_no_case_is_solved_by_two_at_the_same_time():
    """A run waits for another one that is solving a case of its own; the rest goes on."""
    shared, other = ({"paper": "p", "result": "r", "profile": "quick", "image": image} for image in (0, 1))
    missing = {0: [shared], 1: [shared, other], 2: [other]}

    def at_work(number):
        keys = {case_key(case) for case in missing[number]}
        return batch._Execution(number, None, "", missing[number], keys, None)

    assert batch._next([0, 1, 2], missing, []) == 0
    assert batch._next([1, 2], missing, [at_work(0)]) == 2
    assert batch._next([1], missing, [at_work(0)]) is None
    assert batch._next([1], missing, []) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--jobs", "0"), "jobs: expected at least 1"),
        (("--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"), "give one of them"),
        (("--scheduler", "nowhere"), "no Dask scheduler answers"),
    ],
)
def test_a_mistake_is_one_line(arguments, message):
    """Before anything is solved."""
    done = CliRunner().invoke(main, ["run", FIGURE, *arguments])
    assert done.exit_code == 2
    assert [message in line for line in done.stderr.strip().splitlines()] == [True]


def test_cases_belong_to_the_profile_whose_they_are():
    """A part is the profile's, another radius is not, and a kind that is in no list says itself what it is."""
    experiment = registry.experiments("chen2021-mondeq")[FIGURE]
    values = published.parameters(published.find(FIGURE), "quick")
    (case,) = experiment.all_cases(values)
    (other,) = experiment.all_cases(values | {"epsilon_pixel": 0.02})
    assert registry.named([case]) == [case]
    assert registry.named([other]) == [other | {"profile": "custom"}]
    assert registry.named([other | {"profile": "mine"}]) == [other | {"profile": "mine"}]
    assert registry.named([other | {"result": "made-of-others"}]) == [other | {"result": "made-of-others"}]
    table = published.find("table-2-certified-ratio")
    cases = registry.experiment(table).all_cases(published.parameters(table, "quick"))
    assert registry.named(cases) == cases
    assert {c["profile"] for c in registry.named(cases[:3])} == {"quick"}


@pytest.mark.parametrize("result", [r for r in published.results() if r.runnable], ids=lambda r: r.key)
def test_workers_can_solve_the_cases_of_every_result(result):
    """But for kinds that are made of other rows, which a worker does not have."""
    experiment = registry.experiment(result)
    cases = experiment.all_cases(published.parameters(result, "quick"))
    assert {case["result"] for case in cases} - set(experiment.solvers) <= {"table-2-lipschitz"}
    assert {case["profile"] for case in registry.named(cases)} == {"quick"}


def test_a_part_of_a_profile_is_not_drawn_as_the_whole():
    """`--limit 3` does not replace the picture of 100 images."""
    name = "table-2-certified-ratio"
    keys = [key for key, kind in registry.profile_cases("chen2021-mondeq", name, "quick").items() if kind == name]
    rows = [{"paper": "chen2021-mondeq", "result": name, "profile": "quick", "key": key} for key in keys]
    assert registry.drawn_profile(rows) == "quick"
    assert registry.drawn_profile(rows[1:]) == "custom"


def test_a_finished_line_accounts_for_every_case():
    """A notebook that ran to its end has not asked for what has no row; one that failed may have."""
    out = io.StringIO()
    with progress.Board(["a", "b"], Console(file=out, width=100)) as board:
        for number in (0, 1):
            board.expect(number, 0, 3)
            board.left(number, 1)
        board.finish(0, "ran", "that its notebook did not ask for")
        board.finish(1, "failed")
    assert "a: ran, 2 of 3 cases (1 that its notebook did not ask for), 0:00:00" in out.getvalue().splitlines()
    assert "b: failed, 2 of 3 cases, 0:00:00" in out.getvalue().splitlines()


def test_the_board_counts_what_is_left(monkeypatch):
    """Without a terminal: one line per result, and one a minute; rows that were there do not count for the rate."""
    out = io.StringIO()
    clock = iter(range(0, 10_000, 40))
    monkeypatch.setattr(progress, "monotonic", lambda: next(clock))
    with progress.Board(["a", "b"], Console(file=out, width=100)) as board:
        board.expect(0, 3, 10)
        board.expect(1, 0, 1)
        board.state(0, "running")
        for left in reversed(range(7)):
            board.left(0, left)
        board.finish(0, "ran")
        board.more(1)
        board.finish(1, "up to date")
        assert (board.done, board.total) == (11, 11)
    lines = out.getvalue().splitlines()
    assert "a: ran, 10 of 10 cases, 0:00:00" in lines
    assert lines[-1] == "b: up to date, 1 of 1 cases, 0:00:00"
    assert any(line.startswith("0 of 2 results, 6 of 11 cases, 5 left") for line in lines)
