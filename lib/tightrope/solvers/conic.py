"""Shor programs through CVXPY: Clarabel, SCS, and MOSEK where it has a licence.

Every solve names its solver: with MOSEK installed but unlicensed, CVXPY's default choice fails for every problem.
"""

import importlib.metadata
import itertools
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from tightrope.errors import SolverUnavailableError, UnknownNameError
from tightrope.relaxations.lasserre import MomentBlock
from tightrope.relaxations.shor import MomentProgram
from tightrope.solvers.report import SolveReport, Status, relative_gap

SOLVERS = {"clarabel": "CLARABEL", "scs": "SCS", "mosek": "MOSEK"}


def require(solver: str) -> None:
    """Raise SolverUnavailableError if the package or, for MOSEK, the licence is missing, which is returned at once."""
    if solver not in SOLVERS:
        raise UnknownNameError("solver", solver, SOLVERS)
    try:
        importlib.metadata.version(solver)
    except importlib.metadata.PackageNotFoundError:
        raise SolverUnavailableError(
            f"{solver}: the package is not installed; run `pip install {solver}` or choose another method."
        ) from None
    if solver == "mosek":
        try:
            import mosek

            with mosek.Env() as env:
                env.checkoutlicense(mosek.feature.pton)
                env.checkinlicense(mosek.feature.pton)
        except Exception as error:  # mosek.Error, or whatever a broken licence set-up raises
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise SolverUnavailableError(
                f"mosek: installed, but without a usable licence ({reason}). "
                "Set MOSEKLM_LICENSE_FILE, or choose the method interior-point, which needs none."
            ) from None


def licensed() -> bool:
    """Whether there is a licence of MOSEK to look at, without starting it."""
    return bool(os.environ.get("MOSEKLM_LICENSE_FILE")) or (Path.home() / "mosek" / "mosek.lic").is_file()


def _options(solver: str, tolerance: float, time_limit: float | None) -> dict[str, Any]:
    names = {"mosek": "MSK_DPAR_OPTIMIZER_MAX_TIME", "clarabel": "time_limit", "scs": "time_limit_secs"}
    limit = {names[solver]: time_limit} if time_limit else {}
    if solver == "mosek":
        return {"mosek_params": {"MSK_DPAR_INTPNT_CO_TOL_REL_GAP": tolerance, **limit}}
    if solver == "clarabel":
        return dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance) | limit
    return {"eps_abs": tolerance, "eps_rel": tolerance, "max_iters": 1_000_000, **limit}


def _seconds(problem: Any, solver: str, tolerance: float, time_limit: float | None) -> float | None:
    """Solve a CVXPY problem in place; return the seconds that it took, or None if the solver failed.

    A failed solve is a verdict, not a crash. Clarabel's panic is no Exception.
    """
    import cvxpy as cp

    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "may be inaccurate": the status says so
            problem.solve(solver=SOLVERS[solver], **_options(solver, tolerance, time_limit))
    except BaseException as error:
        own = ("mosek", "pyo3_runtime")
        if not isinstance(error, cp.SolverError) and type(error).__module__.split(".")[0] not in own:
            raise
        return None
    return time.perf_counter() - began


def _status(problem: Any, seconds: float, time_limit: float | None) -> Status:
    """Return how the solve of a CVXPY problem ended."""
    import cvxpy as cp

    if problem.status == cp.OPTIMAL:
        return Status.SOLVED
    limited = problem.status == cp.USER_LIMIT or (time_limit is not None and seconds >= time_limit)
    return Status.TIME_LIMIT if limited else Status.NUMERICAL


def _entries(X: Any, matrices: Sequence[sp.csr_array]) -> Any:
    """Return the expressions <A_k, X> (k,) for a CVXPY matrix X (N, N) and symmetric matrices A_k (N, N)."""
    import cvxpy as cp

    return sp.csr_array(sp.vstack([A.reshape(1, -1) for A in matrices])) @ cp.vec(X, order="F")


@dataclass(frozen=True, eq=False)
class MomentMultipliers:
    """What a solver proposes as a proof for a :class:`tightrope.relaxations.shor.MomentProgram`.

    The multipliers of `report` are those of the Shor constraints; for each block, `grams` are the Gram matrices of its
    sums of squares and `free` the multipliers of its equalities. All else is information only.
    """

    report: SolveReport
    grams: tuple[tuple[np.ndarray, ...], ...]
    free: tuple[np.ndarray, ...]


def solve(
    program: MomentProgram, solver: str, *, tolerance: float = 1e-7, time_limit: float | None = None
) -> SolveReport:
    """Solve a program, max <C, X> over the moment matrix X (N, N), with "clarabel", "scs" or "mosek".

    The tolerance is the solver's own for gap and feasibility, the time limit in seconds.
    """
    return solve_moment_program(program, solver, tolerance=tolerance, time_limit=time_limit).report


def solve_moment_program(
    program: MomentProgram, solver: str, *, tolerance: float = 1e-7, time_limit: float | None = None
) -> MomentMultipliers:
    """Solve as :func:`solve` does; also return what the blocks' matrices prove, nothing if there are no multipliers.

    CVXPY's Lagrangian of a maximisation is objective - dual * (lhs - rhs) for equalities, + dual * lhs for >= 0: these
    are multipliers y (k,) for which y_0 E_00 - C - sum_k y_k A_k is the dual matrix.
    """
    import cvxpy as cp  # slow to import, and only these methods need it

    require(solver)
    version = importlib.metadata.version(solver)
    c = program.constraints
    N, matrices = c.size, c.matrices()
    if not all(np.isfinite(A.data).all() for A in (program.objective, *matrices)):  # its numbers have overflowed
        return MomentMultipliers(SolveReport(Status.FAILED, solver=solver, version=version), (), ())
    X = cp.Variable((N, N), PSD=True) if program.dense else cp.Variable((N, N), symmetric=True)
    values, corner = _entries(X, matrices), X[0, 0] == 1
    groups = [(np.flatnonzero(c.equality), -1), (np.flatnonzero(~c.equality), 1)]  # rows, sign of CVXPY's multiplier
    first = [(values[k] == 0 if sign < 0 else values[k] >= 0, k, sign) for k, sign in groups if len(k)]
    psd, zero = [], []
    unit = sp.csr_array(([1.0], ([0], [0])), shape=(1, N))
    for block in program.blocks:
        forms = sp.csr_array(sp.vstack([unit, block.forms])).tocsr()
        known = _entries(X, [sp.csr_array(forms[[i]].T @ forms[[j]]) for i, j in block.moments()])
        own = len(block.monomials) - block.low
        moments = cp.hstack([known, cp.Variable(own)]) if own else known
        psd.append(_semidefinite(block, moments))
        zero.append(block.equalities.T @ moments == 0 if block.equalities.shape[1] else None)
    constraints = [corner, *(row for row, _, _ in first), *itertools.chain(*psd), *(z for z in zero if z is not None)]
    problem = cp.Problem(cp.Maximize(_entries(X, [program.objective])), constraints)
    seconds = _seconds(problem, solver, tolerance, time_limit)
    if seconds is None or X.value is None or corner.dual_value is None:
        return MomentMultipliers(SolveReport(Status.FAILED, solver=solver, version=version), (), ())
    y = np.zeros(len(c.equality))
    for row, k, sign in first:
        y[k] = sign * row.dual_value
    slack = values.value
    short = np.where(c.equality, slack, np.minimum(slack, 0))
    primal, dual = float(problem.value), float(np.squeeze(corner.dual_value))
    report = SolveReport(
        status=_status(problem, seconds, time_limit),
        primal_value=primal,
        dual_value=dual,
        multipliers=y,
        primal_residual=float(np.hypot(X.value[0, 0] - 1, np.linalg.norm(short))) / 2,
        gap=relative_gap(primal, dual),
        iterations=int(problem.solver_stats.num_iters or 0),
        seconds=seconds,
        solver=solver,
        version=version,
    )
    grams = tuple(tuple(np.asarray(constraint.dual_value) for constraint in block) for block in psd)
    return MomentMultipliers(
        report, grams, tuple(np.zeros(0) if z is None else -np.atleast_1d(z.dual_value) for z in zero)
    )


def solve_lasserre(
    objective: np.ndarray, block: MomentBlock, solver: str, *, tolerance: float = 1e-9, time_limit: float | None = None
) -> tuple[list[np.ndarray], np.ndarray] | None:
    """Return the Gram matrices of sigma_0 and the sigma_k, and the coefficients of the tau; None without any.

    The program is that of :func:`tightrope.relaxations.lasserre.lasserre`: moments (M,) with the constant's 1.
    """
    import cvxpy as cp

    require(solver)
    y = cp.Variable(len(objective))
    psd = _semidefinite(block, y)
    zero = [block.equalities.T @ y == 0] if block.equalities.shape[1] else []
    problem = cp.Problem(cp.Maximize(objective @ y), [y[0] == 1, *psd, *zero])
    if _seconds(problem, solver, tolerance, time_limit) is None or psd[0].dual_value is None:
        return None
    return [constraint.dual_value for constraint in psd], -zero[0].dual_value if zero else np.zeros(0)


def solve_image(
    block: MomentBlock, out: np.ndarray, slack: float, *, time_limit: float | None = None
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray] | None:
    """Return Gram matrices of sigma_0 and the sigma_k, the tau, Q (K, K) and b (K,) by Clarabel; None without any.

    1 - ||Q F + b||^2 = sigma_0 + sum sigma_k g_k + sum tau_j e_j, with the largest log det Q, where F are the rows of
    `out` (K, s) on the monomials of sigma_0, whose Gram matrix is at least `slack`.
    """
    import cvxpy as cp

    K, side = out.shape
    Q, b, tau = cp.Variable((K, K), PSD=True), cp.Variable((K, 1)), cp.Variable(block.equalities.shape[1])
    whole = cp.Variable((side + K, side + K), PSD=True)  # [G, B'; B, I] >= 0 says G >= B'B, B the rows of Q F + b
    sigma = [cp.Variable((round(A.shape[1] ** 0.5),) * 2, PSD=True) for A in block.psd[1:]]
    B, G = Q @ out + b @ np.eye(1, side), whole[:side, :side] + slack * np.eye(side)
    total = block.equalities @ tau
    for A, gram in zip(block.psd, [G, *sigma], strict=True):
        total = total + A @ cp.vec(gram, order="C")
    rows = [whole[side:, side:] == np.eye(K), whole[side:, :side] == B, total == np.eye(1, len(block.monomials))[0]]
    if _seconds(cp.Problem(cp.Maximize(cp.log_det(Q)), rows), "clarabel", 1e-9, time_limit) is None or Q.value is None:
        return None
    values: list[Any] = [part.value for part in (G, B, tau, b, *sigma)]
    return [values[0] - values[1].T @ values[1], *values[4:]], values[2], Q.value, values[3][:, 0]


def _semidefinite(block: MomentBlock, moments: Any) -> list[Any]:
    """Return the CVXPY constraints that the block's matrices of the moments (M,) are positive semidefinite."""
    import cvxpy as cp

    sides = [round(A.shape[1] ** 0.5) for A in block.psd]
    return [cp.reshape(A.T @ moments, (b, b), order="C") >> 0 for A, b in zip(block.psd, sides, strict=True)]
