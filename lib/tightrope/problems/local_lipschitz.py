"""Local Lipschitz constants: the model of problems.lipschitz for x in a ball instead of everywhere.

Two things are known on a ball that are not known everywhere:

1. **Stable neurons.** If h_i keeps its sign on the ball, s_i is 1 or 0 there, and the neuron is eliminated. With A the
   neurons that stay active and B the undecided ones, z_A = (I - W_AA)^-1 (W_AB z_B + U_A x + u_A), which leaves a
   monDEQ on B (:func:`reduce`): W_B = W_BB + W_BA (I - W_AA)^-1 W_AB, and so on. I - W_B is a Schur complement of
   I - W_(A+B), whose strong monotonicity it inherits with the same m: with z_A = (I - W_AA)^-1 W_AB z_B,
   z_B'(I - W_B) z_B = (z_A, z_B)'(I - W)(z_A, z_B) >= m ||z_B||^2. Outputs gain a part E x that does not pass
   through z_B. When every neuron is stable the network is affine on the ball and the bound is exact.
2. **The graph** (`graph=True`): z = ReLU(h), and y = s r with s in the subgradient of ReLU at the same h. With s in
   {0, 1}, which loses nothing (problems.lipschitz; where h_i = 0 both values are allowed), z_i = s_i h_i gives
   z_i (r_i - y_i) = s_i (1 - s_i) h_i r_i = 0 and y_i (z_i - h_i) = s_i (s_i - 1) r_i h_i = 0. These two equalities
   replace s: keeping it with s (1 - s) >= 0, s h = z, s z = z, s r = y and s y = y gave the same bounds at twice the
   time, and each of these six groups alone was worth nothing beside the rest. They pay for L-infinity (a digits
   network, radius 0.01 in pixels: 27.83 instead of 32.34) and hardly for L2.

Which neurons are stable is known from ||z(x) - z_0|| <= ||V|| ||d|| / m.

Arithmetic: eliminating neurons solves a linear system, so the reduced network is not quite that of the formula.
:class:`Rounding` bounds how far, from the residual and strong monotonicity, and :func:`exact_excess` what that can add
to a bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError, NetworkError
from tightrope.networks import MonDEQ
from tightrope.problems.lipschitz import l2_problem, linf_problem, y_radius
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.problems.robustness import (
    coordinates,
    equilibrium_at,
    preactivation,
    preactivation_rounding,
    state_constraints,
    variances,
)
from tightrope.regions import INFINITY, Ball
from tightrope.regions.row_space import EPS
from tightrope.semialgebraic import Constraint, Space, embedding, products

#: Relative to the network's own numbers, the largest rounding with which neurons are eliminated.
ACCURATE = 1e-10


@dataclass(frozen=True)
class Rounding:
    """Bounds of the Frobenius norm of what exact arithmetic would change in the arrays of a :class:`Reduced`."""

    W: float
    U: float
    u: float
    C: float
    direct: float


@dataclass(frozen=True, eq=False)
class Reduced:
    """What is left of a network on a region: F(x) = network.C z_B(x) + direct x + constant.

    `network` is the monDEQ of the undecided neurons, None if all are stable, and `direct` (K, p0) E above. The neurons
    that are neither `active` nor `undecided`, (p,) bool, are inactive on the region. `rounding` says how far these
    arrays are from those of exact arithmetic.
    """

    network: MonDEQ | None
    direct: np.ndarray
    active: np.ndarray
    undecided: np.ndarray
    rounding: Rounding


def preactivation_bounds(network: MonDEQ, region: Ball) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds (p,) of h on the region.

    |h_i(x) - h_i(x_0)| <= ||W_i|| rho + max_d |V_i d| with rho = ||V|| max ||d|| / m >= ||z - z_0||.
    """
    coords = coordinates(network.U, region)
    V, n = coords.V, coords.V.shape[1]
    z0 = equilibrium_at(network, coords, np.zeros((1, n)))[0]
    h0 = network.W @ z0 + network.U @ coords.origin + network.u
    dual = {"box": 1, "l2": 2, "l1": np.inf}[coords.kind]
    spread = np.linalg.norm(V, 2) * np.sqrt(coords.squared_norm) if n else 0.0
    rounding = preactivation_rounding(network, coords)
    # How far the computed z_0 is from the equilibrium of the centre.
    drift = network.distance(z0, network.U @ coords.origin + network.u) + y_radius(network, np.linalg.norm(rounding))
    rho = y_radius(network, spread) + drift
    reach = np.linalg.norm(network.W, axis=1) * rho + (np.linalg.norm(V, ord=dual, axis=1) if n else 0.0)
    slack = 1e-9 * (1 + np.abs(h0)) + rounding
    return h0 - reach - slack, h0 + reach + slack


def reduce(network: MonDEQ, lower: np.ndarray, upper: np.ndarray) -> Reduced:
    """Eliminate the neurons whose preactivation bounds (p,) have a sign.

    Active ones stay where eliminating them is too inaccurate. Inactive ones are left out, which rounds nothing.
    """
    active, inactive = lower > 0, upper < 0
    kept = np.zeros_like(active), ~inactive
    try:
        small = _eliminated(network, active, ~active & ~inactive)
    except NetworkError:  # what is left is not monotone, by rounding
        return _eliminated(network, *kept)
    errors = small.rounding
    size = float(np.linalg.norm(network.U) + np.linalg.norm(network.C) + np.linalg.norm(network.u))
    if not max(errors.W / network.m, max(errors.U, errors.u, errors.C, errors.direct) / (1 + size)) <= ACCURATE:
        return _eliminated(network, *kept)
    return small


def _eliminated(network: MonDEQ, A: np.ndarray, B: np.ndarray) -> Reduced:
    """The network on B without its active neurons A."""
    W, U, C = network.W, network.U, network.C
    W_AA, W_BA, k = W[np.ix_(A, A)], W[np.ix_(B, A)], int(A.sum())
    right = np.hstack([W[np.ix_(A, B)], U[A], network.u[A, None]])
    solve = np.linalg.solve(np.eye(k) - W_AA, right)
    # (I - W_AA)(solve - exact) is the residual, and ||(I - W_AA)^-1|| <= 1 / m. Sums of k products are off by k u of
    # the sum of their sizes.
    unit = (k + 3) * EPS
    residual = np.abs((np.eye(k) - W_AA) @ solve - right)
    residual += unit * ((np.eye(k) + np.abs(W_AA)) @ np.abs(solve) + np.abs(right))
    parts = slice(0, B.sum()), slice(B.sum(), -1), slice(-1, None)  # z_A as a function of z_B, x and 1
    (through, forward, bias), errors = zip(
        *((solve[:, part], y_radius(network, np.linalg.norm(residual[:, part]))) for part in parts), strict=True
    )

    def composed(base: np.ndarray, factor: np.ndarray, part: int) -> tuple[np.ndarray, float]:
        """base + factor (z_A's part), and how far it is from exact."""
        found = (through, forward, bias)[part]
        sizes = np.abs(base) + np.abs(factor) @ np.abs(found)
        error = np.linalg.norm(factor) * errors[part] + unit * np.linalg.norm(sizes)
        return base + factor @ found, float(error) if k else 0.0

    direct, direct_error = composed(np.zeros((len(C), U.shape[1])), C[:, A], 1)
    if not B.any():
        return Reduced(None, direct, A, B, Rounding(0.0, 0.0, 0.0, 0.0, direct_error))
    W_B, W_error = composed(W[np.ix_(B, B)], W_BA, 0)
    U_B, U_error = composed(U[B], W_BA, 1)
    u_B, u_error = composed(network.u[B, None], W_BA, 2)
    C_B, C_error = composed(C[:, B], C[:, A], 0)
    smaller = MonDEQ(W_B, U_B, u_B[:, 0], C_B, network.c + C[:, A] @ bias[:, 0])
    # Rounding may put m of the smaller network a little below; the larger of the two is not needed.
    smaller = replace(smaller, m=min(smaller.m, network.m))
    return Reduced(smaller, direct, A, B, Rounding(W_error, U_error, u_error, C_error, direct_error))


def exact_excess(small: Reduced, region: Ball, row: np.ndarray | None, multipliers: Mapping[str, np.ndarray]) -> float:
    """By how much the maximum for exact arithmetic may exceed a bound that these multipliers prove for `small`.

    Where the proof says objective <= bound - sum_k multiplier_k constraint_k, a point that violates constraint k by e_k
    has an objective of at most bound + sum_k |multiplier_k| e_k. The points of exact arithmetic have r off by
    ||dr|| <= ||dW|| ||y|| + ||dC|| and h by ||dh|| <= ||dW|| ||z|| + ||dU|| ||x|| + ||du||. A product of y_i or z_i
    with one of these, summed over i, is at most that of the norms (Cauchy-Schwarz), and the objective misses
    ||t|| (||dU|| ||y|| + ||dE||).
    """
    network, e = small.network, small.rounding
    if network is None:
        raise InputError("small: every neuron is stable, and there are no multipliers of a bound.")
    C = network.C if row is None else row[None] @ network.C
    y = y_radius(network, np.linalg.norm(C, 2) + e.C)
    t = float(np.sqrt(region.size)) if region.norm == INFINITY else 1.0
    x = float(np.linalg.norm(region.center)) + region.radius * t
    # ||h|| >= ||z|| for z = ReLU(h), and m ||z|| <= ||U x + u||, as z'(I - W)z = z'(U x + u).
    injected = float(np.linalg.norm(network.U) * x + np.linalg.norm(network.u))
    z = y_radius(network, injected + e.U * x + e.u)
    off_r = e.W * y + e.C
    off_h = e.W * z + e.U * x + e.u
    off_h += float(np.linalg.norm(preactivation_rounding(network, coordinates(network.U, region))))
    each = {
        "y (r - y) >= 0": y * off_r,
        "z (r - y) = 0": z * off_r,
        "y (z - h) = 0": y * off_h,
        "z (z - h) = 0": z * off_h,
    }
    excess = t * (e.U * y + e.direct)
    for name, values in multipliers.items():
        excess += float(np.abs(values).max(initial=0.0)) * each.get(name, 0.0)
        if name == "z - h >= 0":
            excess += float(np.linalg.norm(values)) * off_h
    return float(excess * (1 + 1e-9))


def local_problem(
    network: MonDEQ, direct: np.ndarray, region: Ball, row: np.ndarray | None = None, *, graph: bool = False
) -> PolynomialProblem:
    """Bounds the Lipschitz constant of x -> C z(x) + direct x on the region, in the region's norm (2 or infinity).

    `network` and `direct` are those of a :class:`Reduced`; `row` (K,) combines outputs, as L-infinity needs; L2 takes
    all by default. The `graph` keeps x and z: tighter for L-infinity, and several times larger.
    """
    q = region.norm
    if q == INFINITY:
        if row is None:
            raise InputError("row: L-infinity takes one problem for each combination of outputs; give one.")
        base = linf_problem(network, row, direct)
    elif q == 2:
        base = l2_problem(network, row, direct)
    else:
        raise InputError(f"region: local bounds are built for L2 and L-infinity balls, not L{q:g}.")
    return _with_graph(base, network, region, row) if graph else base


def _with_graph(base: PolynomialProblem, network: MonDEQ, region: Ball, row: np.ndarray | None) -> PolynomialProblem:
    """Add x, z and the products above to a problem in y, t and v."""
    coords = coordinates(network.U, region)
    p, n = network.width, coords.V.shape[1]
    old = base.space.sizes
    # The larger diagonal blocks come first, so that a solver finds them.
    space = Space(t=old.pop("t"), d=n, **old, z=p)
    lift = embedding(base.space, space)
    y, z, h = space["y"], space["z"], preactivation(space, network, coords)
    if "v" in old:
        C = network.C if row is None else np.atleast_2d(row) @ network.C
        Cv = sp.csr_array(C.T) @ space["v"]
    else:
        Cv = space.constant(np.asarray(row, float) @ network.C)
    r = sp.csr_array(network.W.T) @ y + Cv
    constraints = (
        *(c.under(lift) for c in base.constraints),
        *state_constraints(space, network, coords),
        Constraint("z (r - y) = 0", products(z, r - y), equality=True),
        Constraint("y (z - h) = 0", products(y, z - h), equality=True),
    )
    z0 = equilibrium_at(network, coords, np.zeros((1, n)))[0]
    spread_z = np.linalg.norm(coords.V, 2) * np.sqrt(coords.squared_norm) if n else 0.0
    drift = network.distance(z0, network.U @ coords.origin + network.u)
    z_size = np.linalg.norm(z0) + drift + y_radius(network, spread_z)  # as in problems.robustness
    z_size += 1e-6 * (1 + np.linalg.norm(z0))
    return PolynomialProblem(
        space=space,
        constraints=constraints,
        squared_norm=float(base.squared_norm + (z_size**2 + coords.squared_norm) * (1 + 1e-9)),
        center=space.point(**base.space.blocks(base.center), z=z0),
        spread=space.point(**base.space.blocks(base.spread), **variances(coords, z0)),
        objective=base.objective.under(lift),
    )
