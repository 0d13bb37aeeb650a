"""What is counted: comparisons with exact answers by method, and those that come out wrong."""

import math
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

from flint import fmpq

from tests.soundness.cases import Case
from tests.soundness.exact import q
from tightrope.errors import TightropeError


@dataclass
class Bed:
    """The counts of some cases.

    Attributes
    ----------
    comparisons
        By method.
    wrong
        One line for each comparison on the wrong side: the command that repeats the case, the method, the numbers.
    refused
        By method, how often it said by a named error that it has no answer; that is no comparison.
    """

    comparisons: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    refused: Counter = field(default_factory=Counter)
    case: Case | None = None

    def holds(self, method: str, true: bool, what: Callable[[], str] | str) -> None:
        """Count one comparison."""
        self.comparisons[method] += 1
        if not true:
            self.wrong.append(f"{self.case}: {method}: {what if isinstance(what, str) else what()}")

    def above(self, method: str, bound: float | None, exact: fmpq, what: str) -> None:
        """A proven upper bound is at least what is attained; without a bound there is nothing to compare."""
        if bound is None or bound == math.inf:
            self.refused[method] += 1
            return
        true = not math.isnan(bound) and bound != -math.inf and q(bound) >= exact
        self.holds(method, true, lambda: f"{what}: bound {bound!r}, but {near(exact)!r} is attained")

    def below(self, method: str, bound: float | None, exact: fmpq, what: str) -> None:
        """A proven lower bound is at most what is attained."""
        if bound is None or bound == -math.inf:
            self.refused[method] += 1
            return
        true = not math.isnan(bound) and bound != math.inf and q(bound) <= exact
        self.holds(method, true, lambda: f"{what}: bound {bound!r}, but {near(exact)!r} is attained")

    @contextmanager
    def asking(self, method: str):
        """A method may refuse by a named error; any other exception is wrong."""
        try:
            yield
        except TightropeError:
            self.refused[method] += 1
        except Exception as error:  # whatever it is, no user should meet it
            self.holds(method, False, f"{type(error).__name__}: {error}")


def near(value: fmpq) -> float:
    """A float next to a rational number, for messages."""
    try:
        return float(Fraction(int(value.p), int(value.q)))
    except OverflowError:
        return math.copysign(math.inf, value)
