"""Shor programs through CVXPY: Clarabel, SCS, and MOSEK where it has a licence.

Every solve names its solver: with MOSEK installed but unlicensed, CVXPY's default choice fails for every problem.
"""

import importlib.metadata
import time
import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tightrope.errors import SolverUnavailableError, UnknownNameError
from tightrope.problems.ellipsoid import Q_GROUP, EllipsoidModel
from tightrope.relaxations.heuristic import MomentProgram
from tightrope.relaxations.lasserre import LasserreProgram, proven_bound
from tightrope.relaxations.shor import ShorProgram, shor_constraints
from tightrope.solvers.report import SolveReport, Status

SOLVERS = {"clarabel": "CLARABEL", "scs": "SCS", "mosek": "MOSEK"}


def require(solver: str) -> None:
    """Raise a named error unless `solver` can be used here; MOSEK's licence is checked out and returned.

    Raises
    ------
    UnknownNameError
        If the name is not one of "clarabel", "scs", "mosek".
    SolverUnavailableError
        If the package or, for MOSEK, the licence is missing.
    """
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


def _options(solver: str, tolerance: float, time_limit: float | None) -> dict:
    if solver == "clarabel":
        options = {"tol_gap_abs": tolerance, "tol_gap_rel": tolerance, "tol_feas": tolerance}
        return options | ({"time_limit": time_limit} if time_limit else {})
    if solver == "scs":
        options = {"eps_abs": tolerance, "eps_rel": tolerance, "max_iters": 1_000_000}
        return options | ({"time_limit_secs": time_limit} if time_limit else {})
    parameters = {"MSK_DPAR_INTPNT_CO_TOL_REL_GAP": tolerance}
    if time_limit:
        parameters["MSK_DPAR_OPTIMIZER_MAX_TIME"] = time_limit
    return {"mosek_params": parameters}


def solve(
    program: ShorProgram, solver: str, *, tolerance: float = 1e-7, time_limit: float | None = None
) -> SolveReport:
    """Solve a Shor program with a general conic solver.

    Parameters
    ----------
    program
        max <C, X> over the moment matrix X (N, N).
    solver
        "clarabel", "scs" or "mosek".
    tolerance
        The solver's own gap and feasibility tolerances.
    time_limit
        Seconds, or None.
    """
    import cvxpy as cp  # slow to import, and only these methods need it

    require(solver)
    c = program.constraints
    N = c.size
    X = cp.Variable((N, N), PSD=True)
    rows = sp.csr_array(sp.vstack([sp.csr_array(A.reshape(1, -1)) for A in c.matrices()]))
    values = rows @ cp.vec(X, order="F")
    equality = np.flatnonzero(c.equality)
    inequality = np.flatnonzero(~c.equality)
    constraints = [X[0, 0] == 1]
    if len(equality):
        constraints.append(values[equality] == 0)
    if len(inequality):
        constraints.append(values[inequality] >= 0)
    problem = cp.Problem(
        cp.Maximize(sp.csr_array(program.objective.reshape(1, -1)) @ cp.vec(X, order="F")), constraints
    )
    began = time.perf_counter()
    failed = SolveReport(
        Status.FAILED, np.nan, np.nan, None, np.nan, np.nan, np.nan, 0, 0.0, solver, importlib.metadata.version(solver)
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "may be inaccurate": the status says so
            problem.solve(solver=SOLVERS[solver], **_options(solver, tolerance, time_limit))
    except BaseException as error:
        if not _of_solver(error):
            raise
        return failed
    seconds = time.perf_counter() - began
    stats = problem.solver_stats
    y0 = constraints[0].dual_value
    if X.value is None or y0 is None:
        return failed
    y = np.zeros(len(c.equality))
    position = 1
    if len(equality):
        # CVXPY: Lagrangian of a maximisation is objective - dual * (lhs - rhs) for equalities, + dual * (lhs) for >= 0.
        y[equality] = -constraints[position].dual_value
        position += 1
    if len(inequality):
        y[inequality] = constraints[position].dual_value
    value = X.value
    slack = rows @ value.ravel()
    residual = np.concatenate([[value[0, 0] - 1], slack[equality], np.minimum(slack[inequality], 0)])
    dual = float(np.squeeze(y0))
    primal = float(problem.value)
    limited = problem.status in (cp.USER_LIMIT,) or (time_limit is not None and seconds >= time_limit)
    solved = problem.status in (cp.OPTIMAL,)
    return SolveReport(
        status=Status.SOLVED if solved else Status.TIME_LIMIT if limited else Status.NUMERICAL,
        primal_value=primal,
        dual_value=dual,
        multipliers=y,
        primal_residual=float(np.linalg.norm(residual)) / 2,
        dual_residual=np.nan,
        gap=abs(primal - dual) / (1 + abs(primal) + abs(dual)),
        iterations=int(stats.num_iters or 0),
        seconds=seconds,
        solver=solver,
        version=importlib.metadata.version(solver),
    )


def solve_log_det(
    model: EllipsoidModel, solver: str, *, tolerance: float = 1e-7, time_limit: float | None = None
) -> SolveReport:
    """The Ellipsoid Model by a general conic solver, as it is printed: small networks only.

    maximise log det Q over y subject to E_00 + E_oo - sum_k y_k A_k >= 0, with Q and b among the y_k.

    Returns
    -------
    SolveReport
        `multipliers` and values as in :func:`tightrope.solvers.log_det.solve`, `dual_value` unchecked.
    """
    import cvxpy as cp

    require(solver)
    c = shor_constraints(model)
    K = model.classes
    y = cp.Variable(len(c.equality))
    Q = cp.Variable((K, K), symmetric=True)
    corner = sp.csr_array(([1.0], ([0], [0])), shape=(c.size, c.size))
    columns = sp.csr_array(sp.hstack([sp.csr_array(A.reshape(-1, 1)) for A in c.matrices()]))
    slack = (model.identity() + corner).toarray() - cp.reshape(columns @ y, (c.size, c.size), order="F")
    upper = Q[np.triu_indices(K)]
    constraints = [(slack + slack.T) / 2 >> 0, upper == y[c.groups[Q_GROUP]]]
    inequality = np.flatnonzero(~c.equality)
    if len(inequality):
        constraints.append(y[inequality] >= 0)
    problem = cp.Problem(cp.Maximize(cp.log_det(Q)), constraints)
    began = time.perf_counter()
    version = importlib.metadata.version(solver)
    failed = SolveReport(Status.FAILED, np.nan, np.nan, None, np.nan, np.nan, np.nan, 0, 0.0, solver, version)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            problem.solve(solver=SOLVERS[solver], **_options(solver, tolerance, time_limit))
    except BaseException as error:
        if not _of_solver(error):
            raise
        return failed
    if y.value is None:
        return failed
    value = float(problem.value)
    return SolveReport(
        status=Status.SOLVED if problem.status == cp.OPTIMAL else Status.NUMERICAL,
        primal_value=value,
        dual_value=value,
        multipliers=np.array(y.value),
        primal_residual=np.nan,
        dual_residual=float(max(0.0, -np.linalg.eigvalsh(slack.value)[0])),
        gap=np.nan,
        iterations=int(problem.solver_stats.num_iters or 0),
        seconds=time.perf_counter() - began,
        solver=solver,
        version=version,
    )


def solve_moments(
    program: LasserreProgram, solver: str, *, tolerance: float = 1e-9, time_limit: float | None = None
) -> float | None:
    """The bound that the multipliers of a moment problem prove (relaxations.lasserre), or None without any."""
    import cvxpy as cp

    require(solver)
    y = cp.Variable(len(program.objective))

    def square(columns: np.ndarray):
        side = round(columns.shape[1] ** 0.5)
        return cp.reshape(columns.T @ y, (side, side), order="C")

    psd = [square(columns) >> 0 for columns in (program.gram, *program.localizing)]
    zero = [program.equalities.T @ y == 0] if program.equalities.shape[1] else []
    problem = cp.Problem(cp.Maximize(program.objective @ y), [y[0] == 1, *psd, *zero])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            problem.solve(solver=SOLVERS[solver], **_options(solver, tolerance, time_limit))
    except BaseException as error:
        if not _of_solver(error):
            raise
        return None
    if psd[0].dual_value is None:
        return None
    grams = [constraint.dual_value for constraint in psd]
    # Either sign of the tau is a valid proposal; the right one (CVXPY's convention) proves the better bound.
    free = -zero[0].dual_value if zero else np.zeros(0)
    bounds = [proven_bound(program, grams[0], grams[1:], sign * free) for sign in (1.0, -1.0)]
    return min((bound for bound in bounds if np.isfinite(bound)), default=None)


@dataclass(frozen=True, eq=False)
class MomentMultipliers:
    """What a solver proposes as a proof for a program of :mod:`tightrope.relaxations.heuristic`.

    Attributes
    ----------
    first_order
        (k,) multipliers of the Shor constraints.
    grams
        For each block, the Gram matrices of its sums of squares.
    free
        For each block, the multipliers of its equalities.
    primal_value, seconds, status
        Of the solve: information only.
    """

    first_order: np.ndarray
    grams: tuple[tuple[np.ndarray, ...], ...]
    free: tuple[np.ndarray, ...]
    primal_value: float
    seconds: float
    status: Status


def solve_moment_program(
    program: MomentProgram, solver: str, *, tolerance: float = 1e-7, time_limit: float | None = None
) -> MomentMultipliers | None:
    """Solve a program with dense first-order and small higher-order matrices; None if there are no multipliers."""
    import cvxpy as cp

    require(solver)
    c = program.constraints
    N = c.size
    X = cp.Variable((N, N), PSD=True) if program.dense else cp.Variable((N, N), symmetric=True)
    values = sp.csr_array(sp.vstack([sp.csr_array(A.reshape(1, -1)) for A in c.matrices()])) @ cp.vec(X, order="F")
    constraints: list = [X[0, 0] == 1]
    groups = [np.flatnonzero(c.equality), np.flatnonzero(~c.equality)]
    rows = [values[groups[0]] == 0 if len(groups[0]) else None, values[groups[1]] >= 0 if len(groups[1]) else None]
    constraints += [row for row in rows if row is not None]
    psd, zero = [], []
    for block in program.blocks:
        unit = sp.csr_array(([1.0], ([0], [0])), shape=(1, N))
        forms = sp.csr_array(sp.vstack([unit, block.forms])).tocsr()
        pairs = block.moments()
        products = [sp.csr_array(forms[[i]].T @ forms[[j]]).reshape(1, -1) for i, j in pairs]
        known = sp.csr_array(sp.vstack(products)) @ cp.vec(X, order="F")
        own = len(block.monomials) - block.low
        moments = cp.hstack([known, cp.Variable(own)]) if own else known
        sides = [round(A.shape[1] ** 0.5) for A in block.psd]
        psd.append([cp.reshape(A.T @ moments, (b, b), order="C") >> 0 for A, b in zip(block.psd, sides, strict=True)])
        zero.append(block.equalities.T @ moments == 0 if block.equalities.shape[1] else None)
    constraints += [constraint for block in psd for constraint in block] + [z for z in zero if z is not None]
    objective = sp.csr_array(program.objective.reshape(1, -1)) @ cp.vec(X, order="F")
    problem = cp.Problem(cp.Maximize(objective), constraints)
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            problem.solve(solver=SOLVERS[solver], **_options(solver, tolerance, time_limit))
    except BaseException as error:
        if not _of_solver(error):
            raise
        return None
    seconds = time.perf_counter() - began
    if X.value is None or constraints[0].dual_value is None:
        return None
    y = np.zeros(len(c.equality))
    if rows[0] is not None:
        y[groups[0]] = -rows[0].dual_value
    if rows[1] is not None:
        y[groups[1]] = rows[1].dual_value
    limited = time_limit is not None and seconds >= time_limit
    return MomentMultipliers(
        first_order=y,
        grams=tuple(tuple(np.asarray(constraint.dual_value) for constraint in block) for block in psd),
        free=tuple(np.zeros(0) if z is None else -np.atleast_1d(z.dual_value) for z in zero),
        primal_value=float(problem.value),
        seconds=seconds,
        status=Status.SOLVED if problem.status == cp.OPTIMAL else Status.TIME_LIMIT if limited else Status.NUMERICAL,
    )


def _of_solver(error: BaseException) -> bool:
    """Whether a solve has failed: a verdict, not a crash. Clarabel's panic is no Exception."""
    import cvxpy as cp

    return isinstance(error, cp.SolverError) or type(error).__module__.split(".")[0] in ("mosek", "pyo3_runtime")
