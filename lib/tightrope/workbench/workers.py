"""Solving the cases of results on several processes, or on several machines, before their notebooks run.

A worker gets one case and returns its outcome; this process alone writes rows, each as it arrives. A worker that dies,
or a run that is stopped, therefore costs the cases that were being solved and nothing else.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from tightrope.errors import ClusterError
from tightrope.workbench.cases import data_of
from tightrope.workbench.executor import ONE_THREAD
from tightrope.workbench.records import case_key, code_fingerprint, versions

DEATHS = 3  # a case that has taken more workers with it than this is given up
SECONDS = 15  # within which a scheduler has to answer


@dataclass(frozen=True)
class Task:
    """A case, and what solves it: case -> outcome."""

    case: Mapping
    solve: Callable[[Mapping], Mapping]

    @property
    def key(self) -> str:
        """The key of its row."""
        return case_key(self.case)


@dataclass(frozen=True)
class Failure:
    """A case without a row, and why."""

    task: Task
    reason: str


@contextmanager
def local_workers(jobs: int) -> Iterator[Any]:
    """Start this many worker processes on this machine, for a client; they end with the context, or this process."""
    distributed = _distributed()
    import dask

    settings = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.scheduler.worker-saturation": 1.0,  # a death is counted against the one case that ran
        # A solver that holds Python's lock for minutes is not dead; a process that is dead is seen at once.
        "distributed.scheduler.worker-ttl": None,
        "distributed.nanny.pre-spawn-environ": ONE_THREAD,
    }
    # Ctrl-C reaches every process of a terminal; it is this one that ends the others.
    ignore = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    with dask.config.set(settings):
        try:
            cluster = distributed.LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # any free port: with None it is 8787, which warns if it is taken
                memory_limit=None,
                silence_logs=logging.CRITICAL,
                preload=ignore,
            )
        except (OSError, TimeoutError, RuntimeError) as error:
            raise ClusterError(f"jobs: {jobs} worker processes could not be started: {_text(error)}") from error
        with cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield client


@contextmanager
def remote_workers(address: str) -> Iterator[Any]:
    """Connect to a Dask scheduler, whose workers may come and go; ClusterError if nothing answers."""
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout=SECONDS, set_as_default=False)
    except Exception as error:  # no such host, refused, another protocol, no certificate: what they raise varies
        raise ClusterError(
            f"scheduler: no Dask scheduler answers at {address!r} ({_text(error)}); "
            "start one with `dask scheduler` and give the address that it prints, such as tcp://host:8786"
        ) from error
    with client:
        yield client


def count(client: Any) -> int:
    """Return the number of workers now."""
    return len(client.nthreads())


def solve(client: Any, tasks: Iterable[Task], keep: Callable[[Mapping, Mapping, Mapping], object]) -> list[Failure]:
    """Solve these on the workers of a client and `keep` each as it arrives; return cases without an outcome, and why.

    It is given the case, its outcome, and the versions where it was solved, as :meth:`Store.put` is. A case fails that
    raises, or takes too many workers with it. ClusterError if the workers run another version of the library, or the
    connection is lost.
    """
    distributed = _distributed()
    by_key = {task.key: task for task in tasks}
    code = code_fingerprint()
    # A scheduler's own names, which a dashboard shows: new ones each time, since it may still know those of a run that
    # was stopped.
    names = {f"{task.case['result']}-{uuid.uuid4().hex}": task for task in by_key.values()}
    # Nothing else may hold a future: a scheduler solves again what a worker takes with it, unless it was let go.
    arriving = distributed.as_completed(
        [client.submit(_solve, task.solve, dict(task.case), code, key=name) for name, task in names.items()],
        loop=client.loop,
        with_results=True,
        raise_errors=False,
    )
    failures = []
    for future, answer in arriving:
        task = names[future.key]
        if future.status == "finished":
            outcome, by = answer
            keep(task.case, outcome, by)
        elif future.status == "error":
            error = answer[1]
            if isinstance(error, ClusterError):
                raise error
            failures.append(Failure(task, _reason(error)))
        elif future.status == "lost":  # its worker died after it was solved and before its outcome was here
            arriving.add(future)  # the scheduler has it solved again
        else:
            raise ClusterError(f"scheduler: the connection is lost ({future.status}); what is solved is kept")
    return failures


def _solve(function: Callable[[Mapping], Mapping], case: Mapping, code: str) -> tuple[Mapping, Mapping]:
    """Solve one case, on a worker: its outcome and the versions that made it."""
    if code_fingerprint() != code:
        raise ClusterError("scheduler: a worker runs another version of Tightrope; start it again from this one")
    with threadpool_limits(limits=1):  # for workers that were started without OMP_NUM_THREADS
        return {**function(case), **data_of(case)}, dict(versions())


def _reason(error: Any) -> str:
    if type(error).__name__ == "KilledWorker":
        return f"{error.allowed_failures + 1} workers died while they solved it (out of memory, or killed)"
    return f"{type(error).__name__}: {_text(error)}"


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        missing = "the package `distributed` is missing; run `pip install -e .` again"
        raise ClusterError(f"{missing}, or leave out --jobs and --scheduler") from None
    for handler in logging.getLogger("distributed").handlers:
        handler.setLevel(logging.CRITICAL)  # what matters of it is in our errors
    return distributed
