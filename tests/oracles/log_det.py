"""The Ellipsoid Model as it is printed, by a general conic solver: for small networks."""

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from tightrope.problems.ellipsoid import Q_GROUP, EllipsoidModel
from tightrope.relaxations.shor import shor_constraints

OPTIONS = {"CLARABEL": ("tol_gap_abs", "tol_gap_rel", "tol_feas"), "SCS": ("eps_abs", "eps_rel")}


def solve_log_det(model: EllipsoidModel, solver: str, tolerance: float = 1e-7) -> tuple[float, np.ndarray]:
    """Return the largest log det Q over y with E_00 + E_oo - sum_k y_k A_k >= 0, Q among the y_k, and y (k,)."""
    c, K = shor_constraints(model), model.classes
    y, Q = cp.Variable(len(c.equality)), cp.Variable((K, K), symmetric=True)
    corner = sp.csr_array(([1.0], ([0], [0])), shape=(c.size, c.size))
    columns = sp.csr_array(sp.hstack([sp.csr_array(A.reshape(-1, 1)) for A in c.matrices()]))
    slack = (model.identity() + corner).toarray() - cp.reshape(columns @ y, (c.size, c.size), order="F")
    constraints = [(slack + slack.T) / 2 >> 0, Q[np.triu_indices(K)] == y[c.groups[Q_GROUP]]]
    inequality = np.flatnonzero(~c.equality)
    if len(inequality):
        constraints.append(y[inequality] >= 0)
    problem = cp.Problem(cp.Maximize(cp.log_det(Q)), constraints)
    problem.solve(solver=solver, **dict.fromkeys(OPTIONS[solver], tolerance))
    assert problem.status == cp.OPTIMAL
    return float(problem.value), np.array(y.value)
