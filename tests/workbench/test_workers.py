"""Cases on workers: the rows of a sequential run, whatever happens to a worker."""

import os
import signal
import sys

import pytest

from tightrope.errors import ClusterError
from tightrope.workbench import published, runner, workers
from tightrope.workbench.cases import sweep
from tightrope.workbench.records import Store
from tightrope.workbench.registry import experiment
from tightrope.workbench.workers import Task

CASE = dict(paper="p", result="r", profile="quick", network_sha256="ab")


def timeless(value):
    """A row without what differs from run to run."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if not k.startswith("seconds") and k != "created"}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def tasks_of(name, count):
    """Some cases of a result in the quick profile."""
    run = runner.prepare(published.find(name), "quick")
    solve = experiment(run.result).solvers
    return [Task(case, solve[case["result"]]) for case in runner.cases(run)[:count]]


@pytest.fixture(scope="module")
def client():
    """Two workers, for all tests that leave them alive: starting them takes seconds."""
    with workers.local_workers(2) as client:
        yield client


@pytest.fixture
def mortal():
    """Two workers of one test that kills some: Dask's nannies do not always bring back one that dies as it starts."""
    with workers.local_workers(2) as client:
        yield client


def test_a_killed_worker_costs_nothing_that_is_solved(mortal, tmp_path):
    """One of two workers is killed when the first rows are there; the rows are those of a sequential run."""
    tasks = tasks_of("table-1-problem-sizes", 8) + tasks_of("table-2-certified-ratio", 4)
    assert len({task.case["result"] for task in tasks}) == 2
    before = list(mortal.run(os.getpid).values())
    solved, killed = [], []

    with Store(tmp_path / "workers.sqlite") as store:

        def keep(*solved_case):
            solved.append(store.put(*solved_case)["key"])
            if len(solved) == 3:
                os.kill(before[0], signal.SIGKILL)
                killed.append(before[0])

        failures = workers.solve(mortal, tasks, keep)
        rows = [store.get(task.case) for task in tasks]
    assert not failures and killed
    assert sorted(solved) == sorted(task.key for task in tasks)  # each once
    mortal.wait_for_workers(2, timeout=120)
    after = list(mortal.run(os.getpid).values())
    assert before[0] not in after  # it was a worker of this cluster, and another took its place

    with Store(tmp_path / "sequential.sqlite") as store:
        expected = [row for task in tasks for row in sweep(store, [task.case], task.solve)]
    assert [timeless(row) for row in rows] == [timeless(row) for row in expected]


def test_a_case_that_kills_its_workers_is_given_up(mortal, tmp_path, monkeypatch):
    """After a bounded number of workers, without a row; every other case is solved."""

    def solve(case):
        if case["image"] == 1:
            os._exit(9)  # as the kernel ends a process that is out of memory
        return {"square": case["image"] ** 2}

    tasks = [Task(CASE | {"image": image}, solve) for image in range(5)]
    with Store(tmp_path / "records.sqlite") as store:
        (failure,) = workers.solve(mortal, tasks, store.put)
        rows = [store.get(task.case) for task in tasks]
    assert failure.task == tasks[1]
    assert failure.reason.startswith(f"{workers.DEATHS + 1} workers died")
    assert [row and row["square"] for row in rows] == [0, None, 4, 9, 16]


def test_an_error_is_a_reason_and_not_a_row(client, tmp_path):
    """Once: it would be the same a second time."""

    def solve(case):
        if case["image"] == 0:
            raise ArithmeticError("no [bounded]\nvalue")
        return {"pools": pools()}

    def pools():
        import numpy  # noqa: F401
        from threadpoolctl import threadpool_info

        return [pool["num_threads"] for pool in threadpool_info()]

    tasks = [Task(CASE | {"image": image}, solve) for image in range(2)]
    with Store(tmp_path / "records.sqlite") as store:
        (failure,) = workers.solve(client, tasks, store.put)
        row = store.get(tasks[1].case)
        assert store.get(tasks[0].case) is None
    assert (failure.task, failure.reason) == (tasks[0], "ArithmeticError: no [bounded] value")
    assert row["pools"] and set(row["pools"]) == {1}
    assert row["versions"]["numpy"]


def test_a_worker_with_another_version_is_refused(client, tmp_path, monkeypatch):
    """Its rows would carry the name of code that did not make them."""
    monkeypatch.setattr(workers, "code_fingerprint", lambda: "another")
    task = Task(CASE | {"image": 0}, lambda case: {"value": 1})
    with Store(tmp_path / "records.sqlite") as store:
        with pytest.raises(ClusterError, match="another version"):
            workers.solve(client, [task], store.put)
        assert store.get(task.case) is None


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    """Address, and what to start."""
    monkeypatch.setattr(workers, "SECONDS", 1)
    with (
        pytest.raises(ClusterError, match=r"tcp://127.0.0.1:1'.*dask scheduler"),
        workers.remote_workers("tcp://127.0.0.1:1"),
    ):
        pass


def test_a_scheduler_is_used_by_its_address(client, tmp_path):
    """The workers of one that runs already."""
    with workers.remote_workers(client.scheduler.address) as other, Store(tmp_path / "records.sqlite") as store:
        assert workers.count(other) == 2
        task = Task(CASE | {"image": 3}, lambda case: {"value": case["image"] + 1})
        assert not workers.solve(other, [task], store.put)
        assert store.get(task.case)["value"] == 4


def test_without_distributed_the_error_says_what_to_install(monkeypatch):
    """For --jobs as for --scheduler."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    for context in (workers.local_workers(2), workers.remote_workers("tcp://127.0.0.1:8786")):
        with pytest.raises(ClusterError, match="pip install"), context:
            pass
