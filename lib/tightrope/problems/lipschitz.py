"""Lipschitz constants of a monDEQ as polynomial problems with proven upper bounds (section 3.2 of chen2021-mondeq).

A generalised derivative of F at x is C (I - S W)^-1 S U with S = diag(s), s in the subgradient of ReLU. For its product
v' ... t with two vectors let y = S (I - W'S)^-1 C'v, that is r = W'y + C'v and y = S r: the product is t'U'y. The
Lipschitz constant is its maximum over ||t||_q <= 1 and v in the unit ball of the dual norm.

What is sound about the sets used here (the paper's code is not: see :mod:`tightrope.problems.lipmon`):

* y_i (r_i - y_i) = s_i (1 - s_i) r_i^2 >= 0 holds for every s in [0, 1]^p, whatever x is: the bound is global.
* It implies y'(I - W')y = y'(y - r) + y'C'v <= y'C'v, hence m ||y|| <= ||C'v||: no bound on r has to be assumed.
* q = infinity: ||v||_1 <= 1 has the extreme points +-e_j, and t -> -t removes the sign: one problem per output.
* q = 1: ||t||_1 <= 1 has the extreme points +-e_j, and v -> -v removes the sign: one problem per input.

The maximum over s in [0, 1]^p is attained at s in {0, 1}^p. With t, v and all other s_j fixed, s_i enters I - W'S by a
rank-one term, so t'U'y is (a + b s_i) / (c + d s_i) with no pole in [0, 1], hence monotone in s_i. (Binary s gives
y_i (r_i - y_i) = 0; on the networks tried the equality never moved a bound, so the inequality stays.)
"""

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError, RegionError
from tightrope.networks import MonDEQ
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.regions import INFINITY, parse_norm
from tightrope.regions.row_space import EPS, row_space
from tightrope.semialgebraic import Constraint, Forms, Space, products, unit_box, unit_l2_ball


def l2_problem(network: MonDEQ, rows: np.ndarray | None = None, direct: np.ndarray | None = None) -> PolynomialProblem:
    """max t'(U'y + direct'v) over ||t||_2 <= 1, ||v||_2 <= 1: bounds the L2 Lipschitz constant everywhere.

    The map is x -> rows (C z(x) + direct x): `rows` (k, K) combine outputs, all by default, and `direct` (K, p0) is
    what does not pass through z, such as the part of stable neurons; none by default.
    """
    rows = np.eye(network.classes) if rows is None else checked_rows(network, rows)
    C = rows @ network.C
    # Only the row space of U (and direct) matters: with U' = Q R, t'U'y = (Q't)'R y and ||Q't|| <= ||t||.
    through = network.U if direct is None else np.vstack([network.U, rows @ direct])
    R, off = row_space(through) if network.input_size > len(through) else (through, 0.0)
    n = R.shape[1]
    space = Space(y=network.width, v=len(C), t=n)
    y, v, t = space["y"], space["v"], space["t"]
    inner = sp.csr_array(R.T) @ (y if direct is None else sp.vstack([y, v], format="csr"))
    sets = [*unit_l2_ball(space, "v"), *unit_l2_ball(space, "t")]
    reach = y_radius(network, np.linalg.norm(C, 2))
    rounding = _of_rows(network, rows, direct) + float(np.linalg.norm(off)) * (1 + reach)
    return _problem(network, space, sp.csr_array(C.T) @ v, t, inner, sets, reach, rounding, t=(1, 1 / n), v=(1, 0.1))


def linf_problem(network: MonDEQ, row: np.ndarray, direct: np.ndarray | None = None) -> PolynomialProblem:
    """max t'(U'y + direct'row) over ||t||_inf <= 1: bounds the L1 norm of a gradient everywhere.

    The maximum over row = e_0, ..., e_(K-1) bounds the L-infinity Lipschitz constant of F; e_i - e_j bounds F_i - F_j.
    The map is x -> row . (C z(x) + direct x), `row` (K,) and `direct` (K, p0) as in :func:`l2_problem`.
    """
    (row,) = checked_rows(network, row)
    g, p0 = row @ network.C, network.input_size
    space = Space(y=network.width, t=p0)
    inner = sp.csr_array(network.U.T) @ space["y"]
    if direct is not None:
        inner = inner + space.constant(row @ direct)
    reach = y_radius(network, np.hypot.reduce(g))
    rounding = float(np.sqrt(p0)) * _of_rows(network, row[None], direct)
    box = unit_box(space, "t")
    return _problem(network, space, space.constant(g), space["t"], inner, box, reach, rounding, t=(p0, 1 / 3))


def l1_problem(network: MonDEQ, column: int, row: np.ndarray | None = None) -> PolynomialProblem:
    """max U_column'y over ||v||_inf <= 1: bounds the L1 norm of dF/dx_column everywhere (t = e_column).

    With a `row` (K,) it bounds |d(row . F)/dx_column|.
    """
    if not 0 <= column < network.input_size:
        raise InputError(f"column: got {column!r}; write one of 0..{network.input_size - 1}.")
    rows = np.eye(network.classes) if row is None else checked_rows(network, row)
    C, K = rows @ network.C, len(rows)
    space = Space(y=network.width, v=K)
    inner = sp.csr_array(network.U[:, column][None]) @ space["y"]
    reach = y_radius(network, np.linalg.norm(C, 2) * np.sqrt(K))
    Cv, rounding = sp.csr_array(C.T) @ space["v"], _of_rows(network, rows, None)
    return _problem(network, space, Cv, space.constant(1), inner, unit_box(space, "v"), reach, rounding, v=(K, 1 / 3))


def lipschitz_problems(network: MonDEQ, norm: object) -> list[PolynomialProblem]:
    """The problems whose largest value bounds the Lipschitz constant of F with respect to the norm: 1, 2 or inf."""
    q = parse_norm(norm)
    if q == 2:
        return [l2_problem(network)]
    if q == INFINITY:
        return [linf_problem(network, row) for row in np.eye(network.classes)]
    if q == 1:
        return [l1_problem(network, column) for column in range(network.input_size)]
    raise RegionError(f"norm: the Lipschitz Model is built for 1, 2 and inf, not L{q:g}.")


def checked_rows(network: MonDEQ, rows: np.ndarray) -> np.ndarray:
    """(k, K) finite combinations of outputs from (K,) or (k, K)."""
    rows = np.atleast_2d(np.asarray(rows, float))
    if rows.ndim != 2 or rows.shape[1] != network.classes or not np.isfinite(rows).all():
        raise InputError(f"rows: expected {network.classes} finite numbers per row, got shape {rows.shape}.")
    return rows


def y_radius(network: MonDEQ, size: float | np.floating) -> float:
    """||y|| <= ||C'v|| / m for ||C'v|| <= size."""
    return float(size * (1 + 1e-9) / network.proven_m)


def _of_rows(network: MonDEQ, rows: np.ndarray, direct: np.ndarray | None) -> float:
    """How far rows C K U + rows direct, with ||K|| <= 1 / m, is in the L2 norm from that of the rounded products.

    Rows with one entry, 1, are exact, and so are their products.
    """
    if (np.count_nonzero(rows, axis=1) <= 1).all() and np.isin(rows, (0, 1)).all():
        return 0.0
    unit = (network.classes + 1) * EPS
    through = y_radius(network, unit * np.linalg.norm(abs(rows) @ abs(network.C))) * np.linalg.norm(network.U)
    return float(through + (0.0 if direct is None else unit * np.linalg.norm(abs(rows) @ abs(direct))))


def _problem(
    network: MonDEQ,
    space: Space,
    Cv: Forms,
    outer: Forms,
    inner: Forms,
    constraints: list[Constraint],
    reach: float,
    rounding: float,
    **sets: tuple[float, float],
) -> PolynomialProblem:
    """max sum_j outer_j inner_j + rounding, where y = s r with 0 <= s <= 1 and r = W'y + C'v.

    `reach` bounds ||y||, `sets` the squares of other variables' norms, with spreads.
    """
    if rounding:
        outer, inner = (sp.vstack([side, space.constant(last)]) for side, last in ((outer, 1.0), (inner, rounding)))
    y = space["y"]
    r = sp.csr_array(network.W.T) @ y + Cv
    spreads = {"y": reach * reach / network.width} | {name: spread for name, (_, spread) in sets.items()}
    return PolynomialProblem(
        space=space,
        constraints=(Constraint("y (r - y) >= 0", products(y, r - y)), *constraints),
        squared_norm=(1 + 1e-9) * (1 + reach * reach + sum(square for square, _ in sets.values())),
        center=space.point(),
        spread=space.point(**{name: value + 1e-6 for name, value in spreads.items()}),
        objective=products(outer, inner, sp.csr_array(np.ones((1, inner.shape[0])))),
    )
