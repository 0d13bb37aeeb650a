"""The Ellipsoid Model of a monDEQ (section 3.3 of chen2021-mondeq, Lemma 2): an ellipsoid that holds F(E).

    maximise log det Q  over Q, b and multipliers y  such that, with o = C z + c,
    1 - ||Q o + b||^2 >= sum_k y_k g_k(v)   for all v = (1, z, d),    y_k >= 0 for inequalities g_k >= 0,

where g runs over the state constraints of the Robustness Model, or of a tightened one (relaxations.cuts). Homogenised,
with B v = Q o + b, this is
E_00 - sum y_k A_k - B'B >= 0, and by a Schur complement one linear matrix inequality in (y, Q, b):

    [ E_00 - sum y_k A_k   -B' ]
    [        -B             I  ]  >= 0.

The rows of B are products too: Q_ab multiplies o'_a (C z + c)_b with K new coordinates o', so the state constraints, Q
and b are one list of products on the space (1, z, d, o'), and the block of o' is diagonal like that of d.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError, RegionError
from tightrope.networks import MonDEQ
from tightrope.problems.polynomial import Constrained
from tightrope.problems.robustness import RobustnessModel, StateModel
from tightrope.regions.row_space import EPS
from tightrope.semialgebraic import Constraint, Space, embedding, products

Q_GROUP, B_GROUP = "Q", "b"


@dataclass(frozen=True, eq=False)
class EllipsoidModel(Constrained):
    """The constraint list on (1, z, d, o'); the multipliers of the groups "Q" and "b" are the ellipsoid.

    `constraints` are the state constraints, then "Q" (K (K + 1) / 2 rows, upper triangle by rows) and "b" (K rows);
    `center` has o' = 0, and `squared_norm` bounds ||(1, z, d)||^2 over the region. `rounding` is how far its outputs
    can be from the network's own, in the L2 norm.
    """

    network: MonDEQ
    rounding: float

    @property
    def classes(self) -> int:
        """K, the number of outputs."""
        return self.network.classes

    def identity(self) -> sp.csr_array:
        """E_oo, the identity of the coordinates o', (N, N)."""
        o = self.space["o"]
        return sp.csr_array(o.T @ o)


def ellipsoid_model(base: RobustnessModel, state: StateModel | None = None) -> EllipsoidModel:
    """The Ellipsoid Model of the network and region of a Robustness Model, whose label plays no part.

    `state` is another description of the same states, such as a CutModel. The region must not be a single point, whose
    image has no smallest ellipsoid, and the rows of C independent: else log det Q is unbounded.
    """
    network, K = base.network, base.network.classes
    states = state or base
    rank = int(np.linalg.matrix_rank(network.C))
    if rank < K:
        raise InputError(
            f"network: only {rank} of the {K} rows of C are independent, so its outputs lie in a "
            "plane and no ellipsoid around them is smallest; drop dependent outputs."
        )
    if not base.coordinates.V.any():
        raise RegionError("region: a single point; the Ellipsoid Model needs a positive radius.")
    sizes = states.space.sizes
    space = Space(z=sizes.pop("z"), o=K, **sizes)
    lift = embedding(states.space, space)
    out = sp.csr_array(network.C) @ sp.csr_array(states.states @ lift) + space.constant(network.c)
    rows, columns = np.triu_indices(K)
    # Q_ab = Q_ba multiplies 2 sym(o'_a out_b') + 2 sym(o'_b out_a'), once if a = b.
    a, b = np.repeat(np.arange(K), K), np.tile(np.arange(K), K)
    pair = np.zeros((K, K), int)
    pair[rows, columns] = pair[columns, rows] = np.arange(len(rows))
    weights = sp.csr_array((np.full(K * K, 2.0), (pair[a, b], np.arange(K * K))), shape=(len(rows), K * K))
    spread = lift.T @ states.spread
    spread[space.slices["o"]] = 0.1
    size = np.linalg.norm(network.C) * np.sqrt(states.squared_norm) + np.linalg.norm(network.c)
    return EllipsoidModel(
        space=space,
        constraints=(
            *(constraint.under(lift) for constraint in states.constraints),
            Constraint(Q_GROUP, products(space["o"][a], out[b], weights), equality=True),
            Constraint(B_GROUP, products(space["o"], space.constant(1), 2 * sp.eye_array(K)), equality=True),
        ),
        squared_norm=states.squared_norm,
        center=lift.T @ states.center,
        spread=spread,
        network=network,
        rounding=float(np.linalg.norm(network.C) * states.rounding + (network.width + 3) * EPS * size),
    )
