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
from tightrope.problems.lipschitz import y_radius
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.problems.robustness import coordinates, equilibrium_at, preactivation, state_constraints
from tightrope.regions import INFINITY, Ball
from tightrope.regions.row_space import row_space
from tightrope.semialgebraic import Constraint, Space, at_most_one, products, subgradient_graph, unit_box, unit_l2_ball


def lipmon_problem(network: MonDEQ, region: Ball, *, reference_constraints: bool = False) -> PolynomialProblem:
    """The model for the norm and the set S of `region`, an L2 or L-infinity ball.

    Variables: d (x = origin + basis d), t, s, z, y, v, w. `reference_constraints` add ||r||_2 <= 1 as the authors' code
    does, instead of the proven bound on y: the value is then UNPROVEN.
    """
    q = region.norm
    if q not in (2, INFINITY) or region.clipped:
        raise RegionError(f"region: the printed model is built for unclipped L2 and L-infinity balls, not L{q:g}.")
    coords = coordinates(network.U, region)
    # Only the row space of U matters in the L2 norm.
    R = row_space(network.U)[0] if q == 2 and network.input_size > network.width else network.U
    p, n, K, inputs = network.width, coords.V.shape[1], network.classes, R.shape[1]
    space = Space(d=n, t=inputs, s=p, z=p, y=p, v=K, w=K)
    t, s, y, v, w = (space[name] for name in "tsyvw")
    r = sp.csr_array(network.W.T) @ y + sp.csr_array(network.C.T) @ v
    unit = unit_l2_ball if q == 2 else unit_box
    C_norm = float(np.linalg.norm(network.C, 2))
    reach = C_norm if reference_constraints else y_radius(network, C_norm)
    # y = s r: the two products as one constraint per neuron.
    forms = sp.vstack([y, s], format="csr"), sp.vstack([space.constant(np.ones(p)), r], format="csr")
    slope = products(*forms, sp.hstack([sp.eye_array(p), -sp.eye_array(p)]))
    name, scaled = ("|r| <= radius", r) if reference_constraints else ("|y| <= radius", y / reach)
    constraints = (
        *state_constraints(space, network, coords),
        *subgradient_graph(space, s, preactivation(space, network, coords)),
        *unit(space, "t"),
        *unit(space, "w"),
        at_most_one("1 - w'v >= 0", space, w, v),
        *unit_l2_ball(space, "v"),
        Constraint("y - s r = 0", slope, equality=True),
        at_most_one(name, space, scaled, scaled),
    )
    z0 = equilibrium_at(network, coords, np.zeros((1, n)))[0]
    sizes = {"d": 1.0 if q == 2 else float(n), "t": 1.0 if q == 2 else float(inputs), "w": 1.0 if q == 2 else float(K)}
    y_size = 1.0 if reference_constraints else reach  # |y_i| = s_i |r_i| <= |r_i|
    shape = 1 if q == 2 else 3
    # ||z|| <= ||z_0|| + ||V|| ||d|| / m, with the residual of z_0 negligible beside the 1 % added.
    z_size = np.linalg.norm(z0) + np.linalg.norm(coords.V, 2) * np.sqrt(sizes["d"]) / network.m if n else 0.0
    return PolynomialProblem(
        space=space,
        constraints=constraints,
        squared_norm=float(1.01 * (1 + sum(sizes.values()) + p + z_size**2 + y_size**2 + 1)),
        center=space.point(z=z0, s=0.5),
        spread=space.point(
            d=sizes["d"] / max(n, 1) / shape,
            t=sizes["t"] / inputs / shape,
            s=0.1,
            z=z0**2 + 0.1 * np.mean(z0**2) + 1e-6,
            y=y_size**2 / p + 1e-6,
            v=1 / K,
            w=sizes["w"] / K / 3,
        ),
        objective=products(t, sp.csr_array(R.T) @ y, sp.csr_array(np.ones((1, inputs)))),
    )
