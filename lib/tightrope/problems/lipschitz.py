"""Lipschitz constants of a monDEQ as polynomial problems with proven upper bounds (section 3.2 of chen2021-mondeq).

A generalised derivative of F at x is C (I - S W)^-1 S U with S = diag(s), s in the subgradient of ReLU. For its product
v' ... t with two vectors let y = S (I - W'S)^-1 C'v, that is r = W'y + C'v and y = S r: the product is t'U'y. The
Lipschitz constant is its maximum over ||t||_q <= 1 and v in the unit ball of the dual norm.

What is sound about the sets used here (the paper's code is not: errata 2 and 3):

* y_i (r_i - y_i) = s_i (1 - s_i) r_i^2 >= 0 holds for every s in [0, 1]^p, whatever x is: the bound is global.
* It implies y'(I - W')y = y'(y - r) + y'C'v <= y'C'v, hence m ||y|| <= ||C'v||: no bound on r has to be assumed.
* q = infinity: ||v||_1 <= 1 has the extreme points +-e_j, and t -> -t removes the sign: one problem per output.
"""

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError, RegionError
from tightrope.networks import MonDEQ
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.regions import INFINITY, parse_norm
from tightrope.semialgebraic import Constraint, Space, products, unit_box, unit_l2_ball


def slope_products(space: Space, y, r) -> Constraint:
    """y = s r with 0 <= s <= 1, by y (r - y) >= 0."""
    return Constraint("y (r - y) >= 0", products(y, r - y))


def l2_problem(network: MonDEQ, rows: np.ndarray | None = None) -> PolynomialProblem:
    """max t'U'y over ||t||_2 <= 1, ||v||_2 <= 1: bounds the L2 Lipschitz constant of x -> rows C z(x) everywhere.

    Parameters
    ----------
    rows
        (k, K) combinations of outputs; all outputs by default.
    """
    C = network.C if rows is None else np.atleast_2d(rows) @ network.C
    # Only the row space of U matters: with U' = Q R, t'U'y = (Q't)'R y and ||Q't|| <= ||t||.
    R = np.linalg.qr(network.U.T, mode="r") if network.input_size > network.width else network.U.T
    space = Space(y=network.width, v=len(C), t=len(R))
    y, v, t = space["y"], space["v"], space["t"]
    r = sp.csr_array(network.W.T) @ y + sp.csr_array(C.T) @ v
    constraints = (
        slope_products(space, y, r),
        *_named("v", unit_l2_ball(space, v)),
        *_named("t", unit_l2_ball(space, t)),
    )
    reach = np.linalg.norm(C, 2) / network.m
    return _problem(space, t, R, y, constraints, reach, t_squared=1.0, t_spread=1 / len(R), v_squared=1.0)


def linf_problem(network: MonDEQ, row: np.ndarray) -> PolynomialProblem:
    """max t'U'y over ||t||_inf <= 1 with v fixed: bounds the L1 norm of the gradient of x -> row . C z(x) everywhere.

    The maximum over row = e_0, ..., e_(K-1) bounds the L-infinity Lipschitz constant of F; e_i - e_j bounds F_i - F_j.

    Parameters
    ----------
    row
        (K,) combination of outputs.
    """
    row = np.asarray(row, float)
    if row.shape != (network.classes,) or not np.isfinite(row).all():
        raise InputError(f"row: expected {network.classes} finite numbers, got shape {row.shape}.")
    g = row @ network.C
    space = Space(y=network.width, t=network.input_size)
    y, t = space["y"], space["t"]
    r = sp.csr_array(network.W.T) @ y + space.constant(g)
    constraints = (slope_products(space, y, r), *_named("t", unit_box(space, t)))
    reach = np.linalg.norm(g) / network.m
    p0 = network.input_size
    return _problem(space, t, network.U.T, y, constraints, reach, t_squared=p0, t_spread=1 / 3, v_squared=0.0)


def lipschitz_problems(network: MonDEQ, norm: object) -> list[PolynomialProblem]:
    """The problems whose largest value bounds the Lipschitz constant of F with respect to L2 or L-infinity."""
    q = parse_norm(norm)
    if q == 2:
        return [l2_problem(network)]
    if q == INFINITY:
        return [linf_problem(network, row) for row in np.eye(network.classes)]
    raise RegionError(f"norm: the Lipschitz Model is built for 2 and inf, not L{q:g}.")


def _named(name: str, constraints: list[Constraint]) -> list[Constraint]:
    """Constraint groups of d under another variable's name."""
    return [Constraint(c.name.replace("d", name), c.body, c.equality) for c in constraints]


def _problem(space, t, R, y, constraints, reach, *, t_squared, t_spread, v_squared) -> PolynomialProblem:
    """The objective t'R y; `reach` bounds ||y||."""
    n = t.shape[0]
    objective = products(t, sp.csr_array(R) @ y, sp.csr_array(np.ones((1, n))))
    blocks = {"y": reach**2 / y.shape[0], "v": v_squared / 10, "t": t_spread}
    sizes = {name: where.stop - where.start for name, where in space.slices.items()}
    spread = space.point(**{name: np.full(size, blocks[name] + 1e-6) for name, size in sizes.items()})
    center = space.point(**{name: np.zeros(size) for name, size in sizes.items()})
    return PolynomialProblem(space, objective, constraints, 1 + reach**2 + t_squared + v_squared, center, spread)
