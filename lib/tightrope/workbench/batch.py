"""Running many results: their cases on workers if there are any, then their notebooks, several at a time."""

import os
import queue
import signal
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tightrope.errors import InputError, MissingDataError
from tightrope.workbench import runner, workers
from tightrope.workbench.executor import Executor, Watch
from tightrope.workbench.progress import Board
from tightrope.workbench.records import Store, case_key
from tightrope.workbench.registry import experiment
from tightrope.workbench.runner import NotebookError, Run

STOPPED = 130  # the exit code of a command that Ctrl-C has ended
LOOK = 1.0  # seconds between two looks at the rows of notebooks that run
AT_A_TIME = 8  # notebooks, unless another number is asked for: a kernel takes half a gigabyte


class Stopped(KeyboardInterrupt):
    """Ctrl-C, with what has become of the work."""


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    runs: Sequence[Run],
    *,
    force: bool = False,
    fresh: bool = False,
    jobs: int | None = None,
    scheduler: str | None = None,
) -> list[NotebookError | MissingDataError]:
    """Execute these notebooks; return what went wrong. Ctrl-C raises Stopped; every finished case has its row.

    Parameters
    ----------
    force, fresh
        Execute notebooks that are up to date; forget the rows of all cases first.
    jobs
        Notebooks that are executed at a time, the dear ones first; as many as there are processors if None. With 2 or
        more given, that many worker processes first solve the cases; otherwise each notebook solves its own.
    scheduler
        The address of a Dask scheduler whose workers do that.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs: expected at least 1, got {jobs}")
    if scheduler and jobs is not None:
        raise InputError("jobs, scheduler: give one of them; the workers of a scheduler are started beside it")
    missing: dict[int, list[Mapping]] = {}
    with Board([one.result.name for one in runs]) as board, _stoppable(board):
        try:
            with ExitStack() as stack:
                # A scheduler is asked for before anything is forgotten; processes are started if there is work.
                client = stack.enter_context(workers.remote_workers(scheduler)) if scheduler else None
                errors, missing = _expect(runs, board, fresh)
                tasks = {number: _tasks(runs[number], cases) for number, cases in missing.items()}
                if jobs is not None and jobs > 1 and any(tasks.values()):
                    client = stack.enter_context(workers.local_workers(jobs))
                if client is not None and any(tasks.values()):
                    errors |= _solve_ahead(runs, tasks, client, board)
            ready = {number: cases for number, cases in missing.items() if number not in errors}
            errors |= _execute(runs, ready, board, force or fresh, jobs or min(processors(), AT_A_TIME))
            return [errors[number] for number in sorted(errors)]
        except KeyboardInterrupt:
            done = board.done
            if missing:  # a row may be there that the board has not heard of
                with Store() as store:
                    done = board.total - sum(len(store.missing(cases)) for cases in missing.values())
            raise Stopped(
                f"{done} of {board.total} cases have their rows; "
                f"the same command{' without --fresh' if fresh else ''} continues there"
            ) from None


def _expect(
    runs: Sequence[Run], board: Board, fresh: bool
) -> tuple[dict[int, NotebookError | MissingDataError], dict[int, list[Mapping]]]:
    """Runs without their data; and by run, the cases that have no row."""
    errors: dict[int, NotebookError | MissingDataError] = {}
    todo = {}
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
            todo[number] = store.missing(every)
            board.expect(number, len(every) - len(todo[number]), len(every))
    return errors, todo


def _tasks(one: Run, cases: Sequence[Mapping]) -> list[workers.Task]:
    """What workers can solve of these cases."""
    known = experiment(one.result).solvers
    return [workers.Task(case, known[case["result"]]) for case in cases if case["result"] in known]


def _solve_ahead(runs: Sequence[Run], todo: dict, client: object, board: Board) -> dict[int, NotebookError]:
    """Solve the missing cases on workers; by run, why its notebook cannot be executed."""
    count = workers.count(client)
    numbers: defaultdict[str, list[int]] = defaultdict(list)  # a case of two results is solved once
    for number, tasks in todo.items():
        for task in tasks:
            numbers[task.key].append(number)
    board.say(f"{len(numbers)} cases to solve, {count} workers{'' if count else ' yet'}")

    with Store() as store:

        def keep(case: Mapping, outcome: Mapping, by: Mapping) -> None:
            store.put(case, outcome, by)
            for number in numbers[case_key(case)]:
                board.state(number, "solving")
                board.more(number)

        failures = workers.solve(client, [task for tasks in todo.values() for task in tasks], keep)
    errors = {}
    for number, one in enumerate(runs):
        if own := [failure for failure in failures if number in numbers[failure.task.key]]:
            reasons = "; ".join(dict.fromkeys(failure.reason for failure in own))
            errors[number] = NotebookError(
                f"{one.result.key} ({one.profile}): {len(own)} cases have no row, its notebook was not run: {reasons}"
            )
            board.finish(number, runner.FAILED)
    return errors


@dataclass
class _Execution:
    """A notebook that is being executed."""

    number: int
    run: Run
    digest: str
    left: Sequence[Mapping]  # cases without a row
    keys: set[str]  # of these cases when it began
    watch: Watch

    def look(self, store: Store, board: Board) -> str:
        """Show how far it is; say why it counts as stuck, or nothing."""
        self.left = store.missing(self.left)
        board.left(self.number, len(self.left))
        written = self.run.output.stat().st_mtime_ns if self.run.output.is_file() else 0
        return self.watch.stuck((len(self.left), written))


def _execute(
    runs: Sequence[Run], missing: Mapping[int, Sequence[Mapping]], board: Board, force: bool, places: int
) -> dict[int, NotebookError]:
    """Execute the notebooks of these runs, so many `places` at a time; by run, what went wrong.

    Only the `missing` cases of each run are without a row: rows that were solved before are kept.
    """
    waiting = sorted(missing, key=lambda number: -runs[number].result.seconds)
    places = min(places, len(waiting))
    answers: queue.SimpleQueue = queue.SimpleQueue()
    working: dict[Executor, _Execution] = {}
    free: list[Executor] = []
    errors: dict[int, NotebookError] = {}

    def end(executor: Executor, reason: str) -> None:
        execution = working.pop(executor)
        execution.look(store, board)
        one = execution.run
        if reason:
            text = f"{one.result.key} ({one.profile}): {reason}. See {one.output}"
            errors[execution.number] = NotebookError(text)
            board.finish(execution.number, runner.FAILED)
        else:
            one.stamp.write_text(execution.digest)
            board.finish(execution.number, runner.RAN, "that its notebook did not ask for")

    with Store() as store:
        try:
            while waiting or working:
                while len(working) < places and (number := _next(waiting, missing, working.values())) is not None:
                    waiting.remove(number)
                    one, left = runs[number], store.missing(missing[number])
                    board.left(number, len(left))
                    board.state(number, "running")
                    if one.up_to_date() and not left and not force:
                        board.finish(number, runner.UP_TO_DATE)
                        continue
                    one.stamp.unlink(missing_ok=True)
                    one.output.parent.mkdir(parents=True, exist_ok=True)
                    free = [executor for executor in free if executor.alive]
                    executor = free.pop() if free else Executor(answers, one_thread=places > 1)
                    watch = Watch(executor.pid, runner.LIMITS[one.profile])
                    keys = {case_key(case) for case in left}
                    working[executor] = _Execution(number, one, one.digest(), left, keys, watch)
                    executor.start(one.result.notebook, one.output, one.parameters)
                try:
                    executor, reason = answers.get(timeout=LOOK)
                except queue.Empty:
                    for executor, execution in list(working.items()):
                        if reason := execution.look(store, board):
                            executor.close()
                            end(executor, reason)
                    continue
                if executor in working:  # not what one says that was ended above
                    end(executor, reason)
                    if executor.alive:
                        free.append(executor)
        finally:
            for executor in [*working, *free]:
                executor.close()
    return errors


def _next(
    waiting: Sequence[int], missing: Mapping[int, Sequence[Mapping]], working: Iterable[_Execution]
) -> int | None:
    """The first run that waits and needs no case which another one is solving."""
    solving = {key for execution in working for key in execution.keys}
    return next((number for number in waiting if solving.isdisjoint(map(case_key, missing[number]))), None)


@contextmanager
def _stoppable(board: Board) -> Iterator[None]:
    """Ctrl-C once ends the work in order; twice, at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(*_: object) -> None:
        board.leave()
        os._exit(STOPPED)  # what this process started notices and ends

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, leave)
        board.say("Stopping; Ctrl-C again ends at once.")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
