"""Running many results: their cases on workers if there are any, then their notebooks, and how far that is."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tightrope.errors import InputError, MissingDataError
from tightrope.workbench import runner, workers
from tightrope.workbench.progress import Board
from tightrope.workbench.records import Store
from tightrope.workbench.registry import experiment
from tightrope.workbench.runner import NotebookError, Run

STOPPED = 130  # the exit code of a command that Ctrl-C has ended


class Stopped(KeyboardInterrupt):
    """Ctrl-C, with what has become of the work."""


def run(
    runs: Sequence[Run], *, force: bool = False, fresh: bool = False, jobs: int = 1, scheduler: str | None = None
) -> list[NotebookError | MissingDataError]:
    """Execute these notebooks; return what went wrong.

    Parameters
    ----------
    force
        Execute notebooks that are up to date.
    fresh
        Forget the rows of all cases first.
    jobs
        Worker processes that solve the cases first; with 1 each notebook solves its own.
    scheduler
        The address of a Dask scheduler whose workers do that.

    Raises
    ------
    Stopped
        Ctrl-C. Every case that was finished has its row.
    ClusterError
        The workers cannot be used.
    """
    if jobs < 1:
        raise InputError(f"jobs: expected at least 1, got {jobs}")
    if scheduler and jobs > 1:
        raise InputError("jobs, scheduler: give one of them; the workers of a scheduler are started beside it")
    with Board([one.result.name for one in runs]) as board, _stoppable(board):
        try:
            with ExitStack() as stack:
                # A scheduler is asked for before anything is forgotten; processes are started if there is work.
                client = stack.enter_context(workers.remote_workers(scheduler)) if scheduler else None
                errors, todo = _expect(runs, board, fresh)
                if jobs > 1 and any(todo.values()):
                    client = stack.enter_context(workers.local_workers(jobs))
                if client is not None and any(todo.values()):
                    errors |= _solve_ahead(runs, todo, client, board)
            for number, one in enumerate(runs):
                if number not in errors:
                    error = _execute(number, one, board, force or fresh)
                    if error is not None:
                        errors[number] = error
            return [errors[number] for number in sorted(errors)]
        except KeyboardInterrupt:
            raise Stopped(
                f"{board.done} of {board.total} cases have their rows; "
                f"the same command{' without --fresh' if fresh else ''} continues there"
            ) from None


def _expect(
    runs: Sequence[Run], board: Board, fresh: bool
) -> tuple[dict[int, MissingDataError], dict[int, list[workers.Task]]]:
    """Runs without their data; and by run, the cases that workers can solve."""
    errors, todo = {}, {}
    with Store() as store:
        for number, one in enumerate(runs):
            try:
                every = runner.cases(one)
            except MissingDataError as error:
                errors[number] = error
                board.finish(number, runner.FAILED)
                continue
            if fresh:
                store.forget(every)
            missing = runner.missing(every, store)
            board.expect(number, len(every) - len(missing), len(every))
            known = experiment(one.result).solvers
            todo[number] = [workers.Task(case, known[case["result"]]) for case in missing if case["result"] in known]
    return errors, todo


def _solve_ahead(runs: Sequence[Run], todo: dict, client: object, board: Board) -> dict[int, NotebookError]:
    """Solve the missing cases on workers; by run, why its notebook cannot be executed."""
    count = workers.count(client)
    numbers: dict[str, list[int]] = {}  # a case of two results is solved once
    for number, tasks in todo.items():
        for task in tasks:
            numbers.setdefault(task.key, []).append(number)
    board.say(f"{len(numbers)} cases to solve, {count} workers{'' if count else ' yet'}")

    def solved(task: workers.Task) -> None:
        for number in numbers[task.key]:
            board.state(number, "solving")
            board.more(number)

    with Store() as store:
        failures = workers.solve(client, [task for tasks in todo.values() for task in tasks], store, solved)
    errors = {}
    for number, one in enumerate(runs):
        own = [failure for failure in failures if number in numbers[failure.task.key]]
        if own:
            reasons = "; ".join(dict.fromkeys(failure.reason for failure in own))
            errors[number] = NotebookError(
                f"{one.result.key} ({one.profile}): {len(own)} cases have no row, its notebook was not run: {reasons}"
            )
            board.finish(number, runner.FAILED)
    return errors


def _execute(number: int, one: Run, board: Board, force: bool) -> NotebookError | None:
    board.state(number, "running")
    try:
        words = runner.execute(one, lambda done, total: board.solved(number, done), force=force)
        board.finish(number, words, "that its notebook did not ask for")
    except NotebookError as error:
        board.finish(number, runner.FAILED)
        return error
    return None


@contextmanager
def _stoppable(board: Board) -> Iterator[None]:
    """Ctrl-C once ends the work in order; twice, at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(*_) -> None:
        board.leave()
        os._exit(STOPPED)  # what this process started notices and ends

    def stop(*_) -> None:
        signal.signal(signal.SIGINT, leave)
        board.say("Stopping; Ctrl-C again ends at once.")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
