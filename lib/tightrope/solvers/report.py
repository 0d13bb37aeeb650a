"""What every solver returns, and how its caller ends it early."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tightrope.errors import StoppedError
from tightrope.question import Stop


class Status(StrEnum):
    """How a solve ended; the text says what it means and what to try."""

    SOLVED = "gap and residuals below the tolerance"
    SIGN_KNOWN = "stopped early: the sign of the bound is known"
    ITERATION_LIMIT = "iteration limit reached before the tolerance; allow more iterations or a larger tolerance"
    TIME_LIMIT = "time limit reached before the tolerance; allow more time"
    NUMERICAL = "numerical breakdown before the tolerance; the multipliers so far are kept"
    UNBOUNDED = "the value grows without bound: the image is flat; give it a thickness"
    FAILED = "the solver returned no multipliers"


@dataclass(frozen=True, eq=False)
class SolveReport:
    """Outcome of one solve of `max <C, X> : <A_k, X> {= or >=} 0, X_00 = 1, X >= 0`.

    `primal_value` is <C, X> of the last iterate: information only, never a bound. `dual_value` is the solver's own,
    a bound only after :func:`tightrope.solvers.sound.sound_bound` has checked it: the smallest y_0 with
    y_0 E_00 - C - sum_k y_k A_k >= 0 for the `multipliers` y (k,), y_k >= 0 for inequalities; None if there are none.
    Residuals and gap are relative, |primal - dual| / (1 + |primal| + |dual|). `mean` (N,) is row 0 of the last X, the
    moments of degree one: a point that need not be feasible, None if not kept. `core` (q, q) are the moments of the
    core's coordinates (:class:`tightrope.solvers.arrow.ArrowData`) in the last X, likewise.
    """

    status: Status
    primal_value: float = np.nan
    dual_value: float = np.nan
    multipliers: np.ndarray | None = None
    primal_residual: float = np.nan
    dual_residual: float = np.nan
    gap: float = np.nan
    iterations: int = 0
    seconds: float = 0.0
    solver: str = ""
    version: str = ""
    mean: np.ndarray | None = None
    core: np.ndarray | None = None


def end_if(stop: Stop | None) -> None:
    """Raise :class:`StoppedError` if there is a `stop` and it says True."""
    if stop is not None and stop():
        raise StoppedError("stop: the computation was ended because its `stop` returned True.")


def relative_gap(primal: float, dual: float) -> float:
    """Return |primal - dual| / (1 + |primal| + |dual|)."""
    return abs(primal - dual) / (1 + abs(primal) + abs(dual))
