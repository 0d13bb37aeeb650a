"""Executing notebooks with papermill, in processes that stay: importing it takes longer than many a notebook.

An executor is told of a notebook by a line of JSON and answers with one when it is done. It is watched from outside:
what counts against a notebook is work without progress, or no work at all, and never the clock of a busy machine.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import psutil

EVERY = 5  # seconds between two looks at the processor time
IDLE = 300  # seconds after which a notebook that does nothing hangs
IDLE_SHARE = 0.01  # of one processor, below which a notebook does nothing: kernels look around now and then
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# What an executor says when its process is gone.
DIED = "the process that executed it died"


class Executor:
    """A process that executes notebooks, one at a time; it ends with this one.

    `answers` gets (this executor, reason) when a notebook is done; the reason is empty if every cell was executed.
    `one_thread` is for linear algebra beside other executors.
    """

    def __init__(self, answers: queue.SimpleQueue, one_thread: bool):
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **(ONE_THREAD if one_thread else {})},
        )
        self._input, self._output = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        threading.Thread(target=self._listen, args=(answers,), daemon=True).start()

    @property
    def pid(self) -> int:
        """The process, whose children are kernels."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take another notebook."""
        return self._process.poll() is None

    def start(self, notebook: Path, output: Path, parameters: Mapping[str, object]) -> None:
        """Execute a notebook in its own folder with these parameters; the executed copy is written as it grows."""
        request = {"input_path": str(notebook), "output_path": str(output), "cwd": str(notebook.parent)}
        with suppress(BrokenPipeError):  # then the end of its answers says what happened
            self._input.write(json.dumps({**request, "parameters": dict(parameters)}) + "\n")
            self._input.flush()

    def close(self) -> None:
        """End the process and its kernels, whatever they do."""
        for one in _family(self.pid):
            with suppress(psutil.Error):
                one.kill()
        self._process.wait()
        self._input.close()

    def _listen(self, answers: queue.SimpleQueue) -> None:
        with self._output:
            for line in self._output:
                answers.put((self, json.loads(line)))
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").split("\n")
        answers.put((self, next((line for line in reversed(said) if line.strip()), DIED)))
        self._errors.close()


class Watch:
    """Notices a notebook that does not get on, by the pid of its executor.

    The limit is in processor seconds, of all its processes together, between one sign of progress and the next.
    """

    def __init__(self, pid: int, limit: float):
        self._pid, self._limit = pid, limit
        self._mark: Hashable = None
        self._spent = self._idle = 0.0
        self._looked = time.monotonic()
        self._seconds = processor_seconds(pid)

    def stuck(self, mark: Hashable) -> str:
        """Say why it counts as stuck, or nothing; `mark` is another one whenever a row or a cell has been finished."""
        now = time.monotonic()
        passed = now - self._looked
        if passed < EVERY:
            return ""
        seconds = processor_seconds(self._pid)
        # What a process that has ended had used is lost: less than before is no work, not negative work.
        used = sum(max(0.0, value - self._seconds.get(process, 0.0)) for process, value in seconds.items())
        self._looked, self._seconds = now, seconds
        progress = mark != self._mark
        self._mark = mark
        self._spent = 0.0 if progress else self._spent + used
        # A machine that slept meanwhile has not waited for an answer: a pause counts as one look.
        self._idle = 0.0 if progress or used > IDLE_SHARE * passed else self._idle + min(passed, 2 * EVERY)
        if self._spent > self._limit:
            return f"no new row and no finished cell in {self._limit:.0f} s of processor time"
        if self._idle > IDLE:
            return f"it has done nothing for {IDLE:.0f} s"
        return ""


def processor_seconds(pid: int) -> dict[tuple[int, float], float]:
    """Return the processor time used so far by a process and by all that descend from it, in seconds, by process."""
    found = {}
    for one in _family(pid):
        with suppress(psutil.Error):
            times = one.cpu_times()
            found[one.pid, one.create_time()] = times.user + times.system
    return found


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


# ------------------------------------------------------------------------------------------------ in the process


def _main() -> None:
    """Execute what the lines of stdin ask for; one line of JSON on stdout for each."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches every process of a terminal; the first one ends us
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # kernels inherit stdout, and what they print is no answer
    for line in sys.stdin:
        print(json.dumps(_execute(json.loads(line))), file=answers, flush=True)


def _execute(request: dict) -> str:
    """Execute one notebook; return why it failed, in one line, or nothing."""
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    # TCP between kernel and client: encrypted where the client can, without a warning where it cannot.
    config = Config({"KernelManager": {"transport_encryption": "auto"}})
    try:
        papermill.execute_notebook(
            **request,
            kernel_name="python3",
            start_timeout=24 * 3600,  # who hangs is seen from outside
            autosave_cell_every=0,  # the copy changes when a cell begins or ends, and then only
            progress_bar=False,
            log_output=False,
            config=config,
        )
    except PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}".replace("\n", " ").strip()
    except Exception as error:  # a dead kernel, a folder that cannot be written: one line for the caller
        return f"{type(error).__name__}: {error}".replace("\n", " ").strip()
    finally:
        _strip(Path(request["output_path"]))
    return ""


def _strip(path: Path) -> None:
    """Remove papermill's metadata (times, absolute paths) from an executed notebook."""
    import nbformat

    if not path.is_file():
        return
    notebook = nbformat.read(path, as_version=4)
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)
        part.metadata.pop("execution", None)
    nbformat.write(notebook, path)


def _end_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, so that a killed run leaves nothing behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    _main()
