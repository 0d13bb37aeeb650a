"""Which functions compute which printed result."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tightrope.errors import UnknownNameError
from tightrope.experiments.published import Result


@dataclass(frozen=True)
class Value:
    """A number of ours, and what a reader has to know about it."""

    value: float
    note: str = ""


@dataclass(frozen=True)
class Experiment:
    """How one printed result is computed; both functions take the parameters of its notebook.

    Attributes
    ----------
    cases : callable
        Parameters -> the cases of a full run.
    cells : callable
        Rows, parameters -> :class:`Value` by cell id; a cell whose cases are not all there is left out.
    """

    cases: Callable[[Mapping], list[dict]]
    cells: Callable[[Sequence[Mapping], Mapping], dict[str, Value]]


def experiment(result: Result) -> Experiment:
    """Return the experiment of a result from the module of its paper."""
    name = f"{__package__}.{result.paper.replace('-', '_')}"
    try:
        known = importlib.import_module(name).EXPERIMENTS
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        known = {}
    if result.name not in known:
        raise UnknownNameError("experiment", result.name, known)
    return known[result.name]
