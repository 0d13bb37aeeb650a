"""The Lipschitz Model as the paper prints it, (LipMON) of chen2021-mondeq, for comparison with problems.lipschitz.

    max t'U'y :  x in S, ||t||_q <= 1, w'v <= 1, ||w||_q <= 1, r = W'y + C'v, y = s r,
                 s in the subgradient of ReLU at h = W z + U x + u, z = ReLU(h).

As printed it has no finite value: w = 0 leaves v free, and y and the objective grow with v. What
was meant is sup over ||w||_q <= 1 of w'v <= 1, the dual ball of v. Two ways to close the model:

* sound (the default): ||v||_2 <= 1, which the dual ball implies for q = 2 and q = infinity, and what then follows,
  ||y|| <= ||C||_2 / m (see problems.lipschitz).
* `reference_constraints`: the authors' code adds ||v||_2 <= 1 and ||r||_2 <= 1. The latter cuts off true points (at
  test images ||r|| exceeds 5 for unit v on the published network), so the value bounds nothing: it is UNPROVEN.

r is not a variable here but the form W'y + C'v, which can only tighten Shor's relaxation.
"""

import numpy as np
import scipy.sparse as sp

from tightrope.errors import RegionError
from tightrope.networks import MonDEQ
from tightrope.problems.lipschitz import named, y_radius
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.problems.robustness import coordinates, equilibrium_at, state_constraints
from tightrope.regions import INFINITY, Ball
from tightrope.regions.row_space import row_space
from tightrope.semialgebraic import Constraint, Forms, Space, products, subgradient_graph, unit_box, unit_l2_ball


def lipmon_problem(network: MonDEQ, region: Ball, *, reference_constraints: bool = False) -> PolynomialProblem:
    """The model for the norm and the set S of `region`, an L2 or L-infinity ball.

    Variables: d (x = origin + basis d), t, s, z, y, v, w. `reference_constraints` add ||r||_2 <= 1 as the authors' code
    does, instead of the proven bound on y: the value is then UNPROVEN.
    """
    q = region.norm
    if q not in (2, INFINITY) or region.clipped:
        raise RegionError(f"region: the printed model is built for unclipped L2 and L-infinity balls, not L{q:g}.")
    coords = coordinates(network.U, region)
    R = network.U.T
    if q == 2 and network.input_size > network.width:
        R, _ = row_space(network.U)  # only the row space of U matters
        R = R.T
    p, n, K = network.width, coords.V.shape[1], network.classes
    space = Space(d=n, t=len(R), s=p, z=p, y=p, v=K, w=K)
    t, s, y, v, w = (space[name] for name in "tsyvw")
    b = network.U @ coords.origin + network.u
    h = sp.csr_array(network.W) @ space["z"] + sp.csr_array(coords.V) @ space["d"] + space.constant(b)
    r = sp.csr_array(network.W.T) @ y + sp.csr_array(network.C.T) @ v
    unit = unit_l2_ball if q == 2 else unit_box
    C_norm = float(np.linalg.norm(network.C, 2))
    reach = C_norm if reference_constraints else y_radius(network, C_norm)
    # y = s r: the two products as one constraint per neuron.
    forms = sp.vstack([y, s], format="csr"), sp.vstack([space.constant(np.ones(p)), r], format="csr")
    slope = Constraint("y - s r = 0", products(*forms, sp.hstack([sp.eye_array(p), -sp.eye_array(p)])), equality=True)
    product = products(_with_one(space, w), _with_one(space, v), _one_minus(K))
    closing = [_ball(space, r, 1.0, "|r|")] if reference_constraints else [_ball(space, y, reach, "|y|")]
    constraints = (
        *state_constraints(space, network, coords),
        *subgradient_graph(space, s, h),
        *named("t", unit(space, t)),
        *named("w", unit(space, w)),
        Constraint("1 - w'v >= 0", product),
        *named("v", unit_l2_ball(space, v)),
        slope,
        *closing,
    )
    objective = products(t, sp.csr_array(R) @ y, sp.csr_array(np.ones((1, len(R)))))
    z0 = equilibrium_at(network, coords, np.zeros((1, n)))[0]
    center = {name: np.zeros(where.stop - where.start) for name, where in space.slices.items()}
    center |= {"z": z0, "s": np.full(p, 0.5)}
    sizes = {"d": 1.0 if q == 2 else float(n), "t": 1.0 if q == 2 else float(len(R)), "w": 1.0 if q == 2 else float(K)}
    y_size = 1.0 if reference_constraints else reach  # |y_i| = s_i |r_i| <= |r_i|
    spread = {
        "d": np.full(n, sizes["d"] / max(n, 1) / (1 if q == 2 else 3)),
        "t": np.full(len(R), sizes["t"] / len(R) / (1 if q == 2 else 3)),
        "s": np.full(p, 0.1),
        "z": z0**2 + 0.1 * np.mean(z0**2) + 1e-6,
        "y": np.full(p, y_size**2 / p + 1e-6),
        "v": np.full(K, 1 / K),
        "w": np.full(K, sizes["w"] / K / 3),
    }
    # ||z|| <= ||z_0|| + ||V|| ||d|| / m, with the residual of z_0 negligible beside the 1 % added.
    z_size = np.linalg.norm(z0) + np.linalg.norm(coords.V, 2) * np.sqrt(sizes["d"]) / network.m if n else 0.0
    squared_norm = 1.01 * (1 + sum(sizes.values()) + p + z_size**2 + y_size**2 + 1)
    points = space.point(**center), space.point(**spread)
    return PolynomialProblem(space, objective, constraints, float(squared_norm), *points)


def _with_one(space: Space, forms: Forms) -> Forms:
    return sp.vstack([space.constant(1), forms], format="csr")


def _one_minus(k: int) -> sp.csr_array:
    """Weights of 1 * 1 - sum of k products."""
    return sp.csr_array(np.concatenate([[1.0], -np.ones(k)])[None])


def _ball(space: Space, forms: Forms, radius: float, name: str) -> Constraint:
    """radius^2 - ||forms||^2 >= 0, scaled to 1."""
    scaled = _with_one(space, forms / radius)
    return Constraint(f"{name} <= radius", products(scaled, scaled, _one_minus(forms.shape[0])))
