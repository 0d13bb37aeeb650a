"""Linear programs with HiGHS: one model that grows and changes in place, and a bound that is checked afterwards.

    maximise c'x    subject to    row_lower <= A x <= row_upper,   lower <= x <= upper,    lower, upper finite.

For any multipliers y, c'x = y'Ax + (c - A'y)'x is at most the sum of what each row and each column can add by itself.
So whatever HiGHS returns as row multipliers, even at a time limit, gives a bound (Neumaier and Shcherbina 2004); it is
evaluated here, with an allowance for its rounding, and the solver's own value is only information.
"""

from dataclasses import dataclass, replace

import highspy
import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike

from tightrope.errors import InputError
from tightrope.solvers.report import Status


@dataclass(frozen=True, eq=False)
class LinearReport:
    """Outcome of one solve; FAILED if HiGHS gave no multipliers, and the bound then comes from the columns alone.

    `bound` is a proven upper bound of the objective, a lower one after :meth:`LinearProgram.minimise`, by the
    `multipliers` (rows,); `value` is the objective at the solver's point x (columns,), information only. `reason` is
    HiGHS's own word for how it ended.
    """

    status: Status
    bound: float
    value: float
    x: np.ndarray | None
    multipliers: np.ndarray
    reason: str


class LinearProgram:
    """Columns and rows that can be added and whose bounds can be moved; each solve starts from the last basis.

    With `interior` HiGHS solves by its interior-point method and no basis is made: the multipliers are checked anyway.

    Examples
    --------
    >>> program = LinearProgram()
    >>> x = program.add_columns([0.0, 0.0], [1.0, 1.0])
    >>> _ = program.add_rows([[1.0, 1.0]], [-np.inf], [1.5])
    >>> round(program.maximise(x, [1.0, 2.0]).bound, 6)
    2.5
    >>> program.set_columns([1], [0.0], [0.25])
    >>> round(program.maximise(x, [1.0, 2.0]).bound, 6)
    1.5
    """

    def __init__(self, time_limit: float | None = None, interior: bool = False):
        self._highs = highspy.Highs()
        self._highs.silent()
        self._highs.setOptionValue("threads", 1)
        self._highs.setOptionValue("solver", "ipm" if interior else "simplex")
        for option in ("run_crossover", "presolve") if interior else ():
            self._highs.setOptionValue(option, "off")
        self._highs.changeObjectiveSense(highspy.ObjSense.kMaximize)
        self._time_limit = time_limit
        self.lower, self.upper = np.zeros(0), np.zeros(0)
        self.row_lower, self.row_upper = np.zeros(0), np.zeros(0)
        self._blocks: list[scipy.sparse.csr_array] = []
        self._matrix: scipy.sparse.csr_array | None = None
        self._cost = np.zeros(0, dtype=np.int32)  # columns with an objective now

    def limit_time(self, seconds: float) -> None:
        """Give each later solve this much time."""
        self._time_limit = max(float(seconds), 0.0)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.lower)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.row_lower)

    @property
    def matrix(self) -> scipy.sparse.csr_array:
        """A, (rows, columns)."""
        if self._matrix is None or self._matrix.shape != (self.rows, self.columns):
            blocks = [scipy.sparse.csr_array((0, self.columns))]
            for block in self._blocks:
                entries, shape = (block.data, block.indices, block.indptr), (block.shape[0], self.columns)
                blocks.append(scipy.sparse.csr_array(entries, shape))
            self._matrix = scipy.sparse.vstack(blocks, format="csr")
        return self._matrix

    def add_columns(self, lower: ArrayLike, upper: ArrayLike) -> np.ndarray:
        """Add columns with finite bounds; return their numbers."""
        lower, upper = _bounds("lower, upper", lower, upper)
        if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
            raise InputError("lower, upper: columns need finite bounds, from which every bound here is built.")
        first = self.columns
        self._highs.addVars(len(lower), lower, upper)
        self.lower, self.upper = np.r_[self.lower, lower], np.r_[self.upper, upper]
        return np.arange(first, self.columns, dtype=np.int32)

    def add_rows(self, matrix: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> np.ndarray:
        """Add rows lower <= matrix x <= upper, matrix (m, at most all columns), dense or not; return their numbers."""
        block = scipy.sparse.csr_array(matrix, dtype=float, copy=True)
        lower, upper = _bounds("row bounds", lower, upper)
        if block.shape[0] != len(lower) or block.shape[1] > self.columns or not np.isfinite(block.data).all():
            raise InputError(
                f"matrix: shape {block.shape} for {len(lower)} rows and {self.columns} columns; entries must be finite."
            )
        first = self.rows
        starts, indices = block.indptr[:-1].astype(np.int32), block.indices.astype(np.int32)
        self._highs.addRows(len(lower), lower, upper, block.nnz, starts, indices, block.data)
        self._blocks.append(block)
        self.row_lower, self.row_upper = np.r_[self.row_lower, lower], np.r_[self.row_upper, upper]
        return np.arange(first, self.rows, dtype=np.int32)

    def set_columns(self, columns: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> None:
        """Move the bounds of some columns."""
        lower, upper = _bounds("lower, upper", lower, upper)
        where = np.asarray(columns, dtype=np.int32)
        self._highs.changeColsBounds(len(where), where, lower, upper)
        self.lower[where], self.upper[where] = lower, upper

    def set_rows(self, rows: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> None:
        """Move the bounds of some rows; -inf to inf switches a row off."""
        lower, upper = _bounds("row bounds", lower, upper)
        where = np.asarray(rows, dtype=np.int32)
        self._highs.changeRowsBounds(len(where), where, lower, upper)  # type: ignore[attr-defined]
        self.row_lower[where], self.row_upper[where] = lower, upper

    def set_coefficients(self, rows: ArrayLike, columns: ArrayLike, values: ArrayLike) -> None:
        """Change entries of A that were given, as nonzero, when their rows were added."""
        starts = np.cumsum([0, *(block.shape[0] for block in self._blocks)])
        for row, column, value in zip(*map(np.asarray, (rows, columns, values)), strict=True):
            k = int(np.searchsorted(starts, row, side="right")) - 1
            block, local = self._blocks[k], int(row - starts[k])
            span = slice(block.indptr[local], block.indptr[local + 1])
            at = np.flatnonzero(block.indices[span] == column)
            if not len(at) or not np.isfinite(value):
                raise InputError(f"row {row}, column {column}: no entry there to be set to {value}.")
            block.data[span][at] = value
            self._highs.changeCoeff(int(row), int(column), float(value))
        self._matrix = None

    def raw(self, columns: ArrayLike, cost: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Maximise cost'x and return HiGHS's x and multipliers of rows and columns as they are; None without any.

        For derivatives, where speed counts and nothing is claimed: a multiplier is the derivative of the optimum in
        the end of the row or column that holds it.
        """
        self._run(np.asarray(columns, dtype=np.int32), np.asarray(cost, float))
        solution = self._highs.getSolution()
        if not (solution.dual_valid and solution.value_valid and len(solution.row_dual) == self.rows):
            return None
        return np.array(solution.col_value), np.array(solution.row_dual), np.array(solution.col_dual)

    def _run(self, columns: np.ndarray, cost: np.ndarray) -> None:
        if len(self._cost):
            self._highs.changeColsCost(len(self._cost), self._cost, np.zeros(len(self._cost)))
        self._highs.changeColsCost(len(columns), columns, cost)
        self._cost = columns
        if self._time_limit is not None:
            # HiGHS counts the time of all runs of a model together.
            self._highs.setOptionValue("time_limit", self._highs.getRunTime() + self._time_limit)
        self._highs.run()

    def minimise(self, columns: ArrayLike, cost: ArrayLike) -> LinearReport:
        """Minimise cost'x over some columns; `bound` and `value` are those of the minimum."""
        found = self.maximise(columns, -np.asarray(cost, float))
        return replace(found, bound=-found.bound, value=-found.value, multipliers=-found.multipliers)

    def maximise(self, columns: ArrayLike, cost: ArrayLike) -> LinearReport:
        """Maximise cost'x over some columns."""
        where = np.asarray(columns, dtype=np.int32)
        self._run(where, np.asarray(cost, float))
        model, solution = self._highs.getModelStatus(), self._highs.getSolution()
        status = _STATUS.get(model, Status.FAILED)
        objective = np.zeros(self.columns)
        np.add.at(objective, where, np.asarray(cost, float))
        # HiGHS refuses rows with entries that are too large for it; the bound holds with any multipliers.
        dual = solution.dual_valid and len(solution.row_dual) == self.rows
        if not dual and status is Status.SOLVED:
            status = Status.FAILED
        y, bound = self.dual_bound(objective, np.array(solution.row_dual) if dual else np.zeros(self.rows))
        whole = solution.value_valid and self._highs.getNumRow() == self.rows
        x = np.array(solution.col_value) if whole and len(solution.col_value) == self.columns else None
        value = np.nan if x is None else float(objective @ x)
        return LinearReport(status, bound, value, x, y, self._highs.modelStatusToString(model))

    def dual_bound(self, objective: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
        """Return y without multipliers that would need an infinite row bound, and the upper bound it proves.

        The sums have at most rows + columns + 1 terms one after the other, so their rounding is below twice that number
        of units times the sum of absolute values, which is added. A product that underflows loses less than a unit of
        the smallest normal number, and one of a column's cost loses that times the column's value.
        """
        y = np.where(np.isfinite(y), y, 0.0)
        # y_i > 0 uses the upper end of a row, y_i < 0 the lower one.
        end = np.where(y > 0, self.row_upper, self.row_lower)
        y = np.where(np.isfinite(end), y, 0.0)
        end = np.where(np.isfinite(end), end, 0.0)
        A = self.matrix
        reduced = objective - A.T @ y
        columns = np.where(reduced > 0, reduced * self.upper, reduced * self.lower)
        largest = np.maximum(np.abs(self.lower), np.abs(self.upper))
        size = np.abs(y * end).sum() + ((np.abs(objective) + abs(A).T @ np.abs(y)) * largest).sum()
        size += np.finfo(float).tiny * (1 + largest.sum())
        allowance = 2 * (self.rows + self.columns + 4) * np.finfo(float).eps * size
        return y, float((y * end).sum() + columns.sum() + allowance)


_STATUS = {
    highspy.HighsModelStatus.kOptimal: Status.SOLVED,
    highspy.HighsModelStatus.kTimeLimit: Status.TIME_LIMIT,
    highspy.HighsModelStatus.kIterationLimit: Status.ITERATION_LIMIT,
}


def _bounds(name: str, lower: ArrayLike, upper: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    lower, upper = np.asarray(lower, float).ravel(), np.asarray(upper, float).ravel()
    if lower.shape != upper.shape or not (lower <= upper).all():
        raise InputError(f"{name}: shapes {lower.shape} and {upper.shape}; give lower <= upper of one length.")
    return lower, upper
