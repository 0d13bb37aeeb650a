"""What a person sees while results are computed: results, cases done and left, rate, time to finish."""

from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

WINDOW = 600  # seconds over which the rate is taken: cases of one result differ


class Board:
    """One line for everything and one for each result that is being computed; finished ones move up and stay.

    Parameters
    ----------
    names
        Of the results, in their order.
    console
        Where it is shown; stderr if None. Without a terminal only finished results are printed, one line each.
    """

    def __init__(self, names: Sequence[str], console: Console | None = None):
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("cases"),
                   _Pace(), TextColumn("{task.fields[state]}"))  # fmt: skip
        self._progress = Progress(*columns, console=console or Console(stderr=True), speed_estimate_period=WINDOW)
        self._done = [0] * len(names)
        self._totals = [0] * len(names)
        self._finished = 0
        self._whole = self._progress.add_task("", total=None, state="", whole=True)
        self._lines = [
            self._progress.add_task(name, total=None, start=False, state="", visible=False, whole=False)
            for name in names
        ]

    def __enter__(self) -> "Board":
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()

    @property
    def done(self) -> int:
        """Cases that have a row."""
        return sum(self._done)

    @property
    def total(self) -> int:
        """All cases."""
        return sum(self._totals)

    def expect(self, number: int, done: int, total: int) -> None:
        """Say how many cases a result has and had before this run: those do not count for the rate."""
        self._done[number], self._totals[number] = done, total
        self._progress.update(self._lines[number], completed=done, total=total)
        self._progress.reset(self._whole, completed=self.done, total=self.total)
        self._show()

    def state(self, number: int, words: str) -> None:
        """Say what is done with a result now."""
        if self._task(self._lines[number]).start_time is None:
            self._progress.start_task(self._lines[number])
        self._progress.update(self._lines[number], state=words, visible=True)

    def solved(self, number: int, done: int) -> None:
        """Say how many cases of a result have a row now."""
        self._done[number] = done
        self._progress.update(self._lines[number], completed=done)
        self._show()

    def more(self, number: int) -> None:
        """Say that one more case of a result has a row."""
        self.solved(number, self._done[number] + 1)

    def finish(self, number: int, words: str) -> None:
        """Say how a result ended."""
        self._finished += 1
        line = self._lines[number]
        seconds = self._task(line).elapsed or 0
        count = f"{self._done[number]}/{self._totals[number]} cases"
        self._progress.console.print(f"{self._task(line).description}  {count}  {_clock(seconds)}  {words}")
        self._progress.update(line, visible=False)
        self._show()

    def _task(self, line: TaskID) -> Task:
        return next(task for task in self._progress.tasks if task.id == line)

    def _show(self) -> None:
        words = f"{self._finished} of {len(self._lines)} results"
        self._progress.update(self._whole, completed=self.done, total=self.total, description=words,
                              state=f"{self.total - self.done} left")  # fmt: skip


class _Pace(ProgressColumn):
    """Rate and time to finish of everything; the time that a single result has taken."""

    def render(self, task: Task) -> Text:
        if not task.fields["whole"]:
            return Text(_clock(task.elapsed or 0))
        if task.speed is None or task.finished:
            return Text("")
        rate = f"{task.speed:.1f}/s" if task.speed >= 1 else f"{1 / task.speed:.1f} s each"
        return Text(f"{rate}, {_clock(task.time_remaining or 0)} to finish")


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))
