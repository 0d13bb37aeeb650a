"""Linear programs through HiGHS, in the form  max objective'y : rows y >= offsets, lower <= y <= upper.

Rows can be added to a program that has been solved, which then starts from its last basis. What a solver returns is a
proposal: :func:`dual_bound` turns any row multipliers into an upper bound that holds in float64, rounding included.
"""

import importlib.metadata
import time
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError, UnknownNameError
from tightrope.solvers.report import Status

METHODS = ("choose", "simplex", "ipm", "pdlp")


@dataclass(frozen=True, eq=False)
class LinearReport:
    """Outcome of one solve.

    Attributes
    ----------
    status
        How it ended; SOLVED when HiGHS calls it optimal.
    point
        (n,) primal solution, or None.
    multipliers
        (rows,) >= 0, or None.
    value
        objective'point: information only.
    seconds, iterations, version
        Work done, and by whom.
    """

    status: Status
    point: np.ndarray | None
    multipliers: np.ndarray | None
    value: float
    seconds: float
    iterations: int
    version: str


class LinearSolver:
    """One program that grows by rows.

    Parameters
    ----------
    objective
        (n,), maximised.
    lower, upper
        (n,) bounds of the variables.
    method
        "choose", "simplex", "ipm" (without crossover) or "pdlp".
    tolerance
        Feasibility and optimality tolerance.

    Examples
    --------
    >>> solver = LinearSolver(np.array([1.0, 1.0]), np.zeros(2), np.ones(2))
    >>> solver.add(sp.csr_array([[-1.0, -1.0]]), np.array([-1.0]))  # y_0 + y_1 <= 1
    >>> float(round(solver.solve().value, 6))
    1.0
    """

    def __init__(
        self,
        objective: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
        *,
        method: str = "choose",
        tolerance: float = 1e-7,
    ):
        import highspy  # here, so that what needs no linear program does not load it

        if method not in METHODS:
            raise UnknownNameError("HiGHS method", method, METHODS)
        self.objective = np.asarray(objective, float)
        n = len(self.objective)
        if np.shape(lower) != (n,) or np.shape(upper) != (n,):
            raise InputError(f"lower, upper: expected shapes ({n},), got {np.shape(lower)} and {np.shape(upper)}.")
        self._highs = highspy.Highs()
        self._optimal = highspy.HighsModelStatus.kOptimal
        self._limit = highspy.HighsModelStatus.kTimeLimit
        options = {"output_flag": False, "threads": 1, "solver": method, "run_crossover": "off"}
        options |= {"primal_feasibility_tolerance": tolerance, "dual_feasibility_tolerance": tolerance}
        for name, value in options.items():
            self._highs.setOptionValue(name, value)
        empty = np.empty(0, np.int32)
        lower, upper = np.asarray(lower, float), np.asarray(upper, float)
        self._highs.addCols(n, -self.objective, lower, upper, 0, empty, empty, np.empty(0))

    def add(self, rows: sp.csr_array, offsets: np.ndarray) -> None:
        """Add the constraints rows y >= offsets, rows (k, n)."""
        rows = sp.csr_array(rows)
        k, offsets = rows.shape[0], np.asarray(offsets, float)
        if rows.shape[1] != len(self.objective) or offsets.shape != (k,):
            raise InputError(f"rows, offsets: expected (k, {len(self.objective)}) and (k,), got {rows.shape}.")
        starts, indices = rows.indptr[:-1].astype(np.int32), rows.indices.astype(np.int32)
        self._highs.addRows(k, offsets, np.full(k, np.inf), rows.nnz, starts, indices, rows.data)

    def solve(self, time_limit: float | None = None) -> LinearReport:
        """Solve what is there now; the limit is in seconds."""
        began = time.perf_counter()
        if time_limit is not None:
            self._highs.setOptionValue("time_limit", self._highs.getRunTime() + max(time_limit, 0.0))
        self._highs.run()
        found, info, model = self._highs.getSolution(), self._highs.getInfo(), self._highs.getModelStatus()
        point = np.array(found.col_value) if found.value_valid else None
        # HiGHS minimises -objective: the multiplier of a row >= offset is its dual.
        duals = np.maximum(np.array(found.row_dual), 0) if found.dual_valid else None
        status = Status.SOLVED if model == self._optimal else Status.NUMERICAL
        if model == self._limit:
            status = Status.TIME_LIMIT
        return LinearReport(
            status=status if duals is not None else Status.TIME_LIMIT if model == self._limit else Status.FAILED,
            point=point,
            multipliers=duals,
            value=float(self.objective @ point) if point is not None else np.nan,
            seconds=time.perf_counter() - began,
            iterations=int(info.simplex_iteration_count + info.ipm_iteration_count),
            version=importlib.metadata.version("highspy"),
        )


def dual_bound(
    objective: np.ndarray,
    rows: sp.csr_array,
    offsets: np.ndarray,
    multipliers: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
) -> float:
    """A proven upper bound of objective'y : rows y >= offsets, lower <= y <= upper, from any multipliers (rows,).

    With lambda = max(multipliers, 0): objective'y <= (objective + rows'lambda)'y - offsets'lambda, and the rest is bounded
    by the variables' own bounds. Sums are rounded outwards by gamma_n times the sums of absolute values.

    Examples
    --------
    >>> rows, offsets, box = sp.csr_array([[-1.0, -1.0]]), np.array([-1.0]), (np.zeros(2), np.ones(2))
    >>> round(dual_bound(np.ones(2), rows, offsets, np.array([1.0]), *box), 9)
    1.0
    """
    weight = np.maximum(np.nan_to_num(np.asarray(multipliers, float), nan=0.0, posinf=0.0, neginf=0.0), 0)
    rest = objective + rows.T @ weight
    size = np.abs(objective) + abs(rows).T @ weight
    terms = np.maximum(rest * lower, rest * upper)
    reach = np.maximum(np.abs(lower), np.abs(upper))
    unit = 2 * np.finfo(float).eps * (rows.shape[0] + len(objective) + 8)
    noise = unit * (float(size @ reach) + float(np.abs(offsets) @ weight))
    return float(terms.sum() - offsets @ weight + noise)
