"""Mixed-integer linear programs through SciPy's HiGHS, with a time limit.

Unlike the dual bounds elsewhere, an optimum or infeasibility is the solver's word here: HiGHS works with tolerances of
1e-6 and gives no multipliers that could be checked. Whoever states a proof has to say so, or to check the point found.
"""

from dataclasses import dataclass

import numpy as np
import scipy.optimize as so
from numpy.typing import ArrayLike

from tightrope.solvers.report import Status


@dataclass(frozen=True, eq=False)
class MixedReport:
    """Outcome of one solve: SOLVED, TIME_LIMIT or FAILED.

    `feasible` is True with a point (n,), False if HiGHS says that there is none, None if it is not known; `bound` is
    HiGHS's upper bound of the maximum, -inf if infeasible, inf if there is none.
    """

    status: Status
    feasible: bool | None
    bound: float
    point: np.ndarray | None
    reason: str


def maximise(
    objective: ArrayLike,
    matrix: ArrayLike,
    row_lower: ArrayLike,
    row_upper: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    integral: ArrayLike,
    *,
    time_limit: float | None = None,
) -> MixedReport:
    """Maximise objective'y over row_lower <= matrix y <= row_upper, lower <= y <= upper, some y integer.

    Examples
    --------
    >>> found = maximise([1.0, 1.0], [[1.0, 1.0]], [0.0], [1.5], [0.0, 0.0], [1.0, 1.0], [True, True])
    >>> round(found.bound, 6), found.feasible
    (1.0, True)
    """
    result = so.milp(
        -np.asarray(objective, float),
        integrality=np.asarray(integral, int),
        bounds=so.Bounds(lower, upper),
        constraints=so.LinearConstraint(matrix, row_lower, row_upper),
        options={} if time_limit is None else {"time_limit": float(time_limit)},
    )
    status = {0: Status.SOLVED, 1: Status.TIME_LIMIT, 2: Status.SOLVED}.get(result.status, Status.FAILED)
    infeasible = result.status == 2
    feasible = True if result.x is not None else False if infeasible else None
    dual = getattr(result, "mip_dual_bound", None)
    if dual is None and result.status == 0:  # a program without integers
        dual = result.fun
    bound = -np.inf if infeasible else np.inf if dual is None else -float(dual)
    return MixedReport(status, feasible, bound, result.x, str(result.message))
