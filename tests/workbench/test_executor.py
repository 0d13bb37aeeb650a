"""Notebooks in a process that stays: what fails is one line, what hangs is ended, what works may take its time."""

import queue
import time

import nbformat
import psutil
import pytest

from tightrope.workbench import executor
from tightrope.workbench.executor import DIED, Executor, Watch

SECONDS = 120  # for what takes two on a machine that does nothing else


def notebook(folder, source):
    """A notebook of one cell."""
    own = nbformat.v4.new_code_cell("value: int = 1", metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = nbformat.v4.new_notebook(cells=[own, nbformat.v4.new_code_cell(source)], metadata={"kernelspec": kernel})
    path = folder / "one.ipynb"
    nbformat.write(content, path)
    return path


@pytest.fixture
def answers():
    return queue.SimpleQueue()


@pytest.fixture
def one(answers):
    """An executor, ended with its test."""
    started = Executor(answers, one_thread=True)
    yield started
    started.close()


@pytest.mark.notebooks
def test_an_error_is_one_line_and_the_next_notebook_is_executed(one, answers, tmp_path):
    """In the same process, with its parameters, in its own folder, on one thread; what a cell prints is no answer."""
    output = tmp_path / "out.ipynb"
    one.start(notebook(tmp_path, "print('{}')\n1 / 0"), output, {})
    assert answers.get(timeout=SECONDS) == (one, "ZeroDivisionError: division by zero")

    source = "import os\nfrom pathlib import Path\nvalue, os.environ['OMP_NUM_THREADS'], Path.cwd().name"
    one.start(notebook(tmp_path, source), output, {"value": 7})
    assert answers.get(timeout=SECONDS) == (one, "")
    content = nbformat.read(output, as_version=4)
    assert content.cells[-1].outputs[0].data["text/plain"] == f"(7, '1', '{tmp_path.name}')"
    assert "papermill" not in content.metadata


@pytest.mark.notebooks
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import time\ntime.sleep(1000)", "it has done nothing for 3 s"),
        ("while True:\n    pass", "no new row and no finished cell in 2 s of processor time"),
    ],
    ids=["waits", "turns"],
)
def test_a_notebook_that_hangs_is_ended(one, answers, tmp_path, monkeypatch, source, reason):
    """With its kernel, which would not notice."""
    monkeypatch.setattr(executor, "EVERY", 0.5)
    monkeypatch.setattr(executor, "IDLE", 3)
    output = tmp_path / "out.ipynb"
    one.start(notebook(tmp_path, source), output, {})
    deadline = time.monotonic() + SECONDS
    while states(output)[-1:] != ["running"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    watch = Watch(one.pid, limit=2)
    while not (said := watch.stuck(output.stat().st_mtime_ns)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert said == reason
    kernels = psutil.Process(one.pid).children(recursive=True)
    assert kernels
    one.close()
    assert answers.get(timeout=SECONDS) == (one, DIED)
    assert not psutil.wait_procs(kernels, timeout=20)[1]


def states(path):
    """Of the cells, in a copy that is being written; nothing while there is none that can be read."""
    try:
        return [cell.metadata.papermill["status"] for cell in nbformat.read(path, as_version=4).cells]
    except (OSError, ValueError):
        return []


def test_an_executor_that_dies_says_so(one, answers):
    """And does not take another notebook."""
    psutil.Process(one.pid).kill()
    assert answers.get(timeout=SECONDS) == (one, DIED)
    assert not one.alive


class Machine:
    """A clock and a process, both by hand."""

    def __init__(self, monkeypatch):
        self.now = self.used = 0.0
        monkeypatch.setattr(executor.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(executor, "processor_seconds", lambda pid: {(pid, 0.0): self.used})

    def pass_by(self, seconds, share):
        self.now += seconds
        self.used += share * seconds


@pytest.mark.parametrize(("share", "hours"), [(0.02, 8), (0.99, 0.16)], ids=["busy", "free"])
def test_the_clock_of_a_busy_machine_does_not_count(monkeypatch, share, hours):
    """A cell may use 600 s of a processor, whether it gets them in ten minutes or in eight hours."""
    machine = Machine(monkeypatch)
    watch = Watch(1, limit=600)
    said = []
    while machine.now < 9 * 3600 and not said:
        machine.pass_by(10, share)
        said += [reason] if (reason := watch.stuck("one cell")) else []
    assert "processor time" in said[0]
    assert machine.now > hours * 3600


def test_progress_starts_the_count_again(monkeypatch):
    """Rows that arrive, each after less than the limit, are no hang; neither is a laptop that sleeps."""
    machine = Machine(monkeypatch)
    watch = Watch(1, limit=600)
    for row in range(100):
        machine.pass_by(500, 1.0)
        assert not watch.stuck(row)
    machine.pass_by(12 * 3600, 0.0)
    assert not watch.stuck("last")
    machine.pass_by(12 * 3600, 0.0)
    assert not watch.stuck("last")
    for _ in range(executor.IDLE // 10 + 1):
        machine.pass_by(10, 0.001)
        said = watch.stuck("last")
    assert said == f"it has done nothing for {executor.IDLE} s"
