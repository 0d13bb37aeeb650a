"""What a person sees while results are computed: results, cases done and left, rate, time to finish."""

from collections.abc import Sequence
from datetime import timedelta
from time import monotonic

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeElapsedColumn
from rich.text import Text

WINDOW = 600  # seconds over which the rate is taken: cases of one result differ
EVERY = 60  # seconds between lines where there is no terminal


class Board:
    """One line for everything and one for each result that is being computed; finished ones move up and stay.

    Without a terminal on the console, stderr if None, a line is printed every minute and for each result.
    """

    def __init__(self, names: Sequence[str], console: Console | None = None):
        counted = ("{task.description}", BarColumn(10), MofNCompleteColumn())
        self._whole = Progress(*counted, "cases,", _Pace(), speed_estimate_period=WINDOW)
        self._each = Progress(*counted, "cases", TimeElapsedColumn(), "{task.fields[state]}")
        self._console = console or Console(stderr=True)
        self._live = Live(Group(self._whole, self._each), console=self._console, transient=True)
        self._names = list(names)
        self._finished = 0
        self._said = monotonic()
        self._whole.add_task("", total=None)
        self._lines = [self._each.add_task(name, total=None, start=False, state="", visible=False) for name in names]
        self._show()

    def __enter__(self) -> "Board":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def done(self) -> int:
        """Cases that have a row."""
        return int(sum(task.completed for task in self._each.tasks))

    @property
    def total(self) -> int:
        """All cases."""
        return int(sum(task.total or 0 for task in self._each.tasks))

    def leave(self) -> None:
        """Give the terminal back, before this process ends in the middle of everything."""
        self._console.show_cursor(True)

    def say(self, words: str) -> None:
        """Print a line above."""
        self._console.print(words, markup=False, highlight=False, soft_wrap=True)

    def expect(self, number: int, done: int, total: int) -> None:
        """Say how many cases a result has and had before this run: those do not count for the rate."""
        self._each.update(self._lines[number], completed=done, total=total)
        self._whole.reset(self._whole.task_ids[0], completed=self.done, total=self.total)
        self._show()

    def state(self, number: int, words: str) -> None:
        """Say what is done with a result now."""
        line = self._lines[number]
        if self._each.tasks[number].start_time is None:
            self._each.start_task(line)
        self._each.update(line, state=words, visible=True)

    def left(self, number: int, count: int) -> None:
        """Say how many cases of a result have no row now."""
        self._each.update(self._lines[number], completed=(self._each.tasks[number].total or 0) - count)
        self._show()

    def more(self, number: int) -> None:
        """Say that one more case of a result has a row; after the last one it is out of the way until it runs."""
        left = int(self._each.tasks[number].remaining or 0) - 1
        self.left(number, left)
        self._each.update(self._lines[number], visible=left > 0)

    def finish(self, number: int, words: str, rest: str = "") -> None:
        """Say how a result ended, and what is to be said of cases that have no row then."""
        self._finished += 1
        task = self._each.tasks[number]
        taken, done, total = _clock(task.elapsed), int(task.completed), int(task.total or 0)
        left = f" ({total - done} {rest})" if rest and done < total else ""
        self.say(f"{self._names[number]}: {words}, {done} of {total} cases{left}, {taken}")
        self._each.update(self._lines[number], visible=False)
        self._show()

    def _show(self) -> None:
        words = f"{self._finished} of {len(self._lines)} results"
        self._whole.update(self._whole.task_ids[0], completed=self.done, description=words)
        if not self._console.is_terminal and monotonic() - self._said > EVERY:
            self._said = monotonic()
            (task,) = self._whole.tasks
            self.say(f"{words}, {self.done} of {self.total} cases, {_pace(task)}")


class _Pace(ProgressColumn):
    """Cases left, the rate, the time to finish."""

    def render(self, task: Task) -> Text:
        return Text(_pace(task))


def _pace(task: Task) -> str:
    words = [f"{int(task.remaining or 0)} left"]
    if task.speed and not task.finished:
        rate = f"{task.speed:.1f}/s" if task.speed >= 1 else f"{1 / task.speed:.1f} s each"
        words += [rate, f"{_clock(task.time_remaining)} to finish"]
    return ", ".join(words)


def _clock(seconds: float | None) -> str:
    return str(timedelta(seconds=int(seconds or 0)))
