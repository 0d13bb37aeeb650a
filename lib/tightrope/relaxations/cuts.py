"""The Robustness Model with bounds on the preactivations: order "1+cuts".

Known bounds l <= h <= u (propagation.fixpoint) make Shor's relaxation tighter in three ways:

1. Stable neurons leave the problem. Where u_i <= 0, z_i = 0. Where l_i >= 0, z_i = h_i; with U the unstable and A the
   always active neurons, z_A = (I - W_AA)^-1 (W_AU z_U + V_A d + b_A) is a form in the others. (I - W_AA inherits
   strong monotonicity, so the inverse exists.) The moment matrix is that of (1, z_U, d), and every product with the
   equality z_A = h_A holds in it.
2. Linear facts: u - z >= 0, the triangle u (h - l) - (u - l) z >= 0, z_A >= l_A, h <= 0 where z = 0, |d| <= e in an L1
   ball, and the products z (u - z) >= 0 that bound the diagonal.
3. Products of two facts. One factor is always z_i or u_i - z_i, so that the matrices keep the arrow pattern: no two
   perturbations d meet. There are thousands; :meth:`CutModel.violated` finds those that a moment matrix breaks.

Everything here holds at every state of the network if the bounds do, which is for the caller to prove. The inverse in 1
is rounded: then z_A is the state of a network whose h differs by the residual, which is in :attr:`CutModel.rounding`.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.problems.robustness import RobustnessModel, StateModel, preactivation
from tightrope.propagation.fixpoint import Box
from tightrope.regions.row_space import EPS
from tightrope.semialgebraic import Constraint, Forms, Space, products

NO_PAIRS = np.zeros((0, 2), int)
PAIRS = "pairs of facts >= 0"
ABSOLUTE = ("e - d >= 0", "e + d >= 0")
RELU = ("z (z - h) = 0", "z >= 0", "z - h >= 0")  # the groups of relu_graph, made anew for the unstable neurons


@dataclass(frozen=True, eq=False)
class CutModel(StateModel):
    """What the problems of all targets share under bounds on h: variables (1, z of the unstable neurons, d[, e]).

    Build it with :func:`cut_model`. `unstable` (k,) are the neurons that are variables; `lift` (N of `model`, N) are
    the coordinates of `model` as forms in those of this one. `core_facts`, z_i and u_i - z_i, (2 k, N), and all `facts`
    (f, N), these first, are forms that are nonnegative at every state; `pairs` (r, 2) says which are multiplied, rows
    of the first with rows of the second.
    """

    model: RobustnessModel
    bounds: Box
    unstable: np.ndarray
    lift: sp.csr_array
    core_facts: Forms
    facts: Forms
    pairs: np.ndarray

    def problem(self, target: int) -> PolynomialProblem:
        """Return max F(x)_target - F(x)_label over the region, with what the model's rounding can take off."""
        return self.maximise(replace(self.model, rounding=self.rounding).problem(target).objective.under(self.lift))

    @property
    def states(self) -> Forms:
        """z of all neurons as forms, (p, N)."""
        return sp.csr_array(self.model.states @ self.lift)

    def point(self, d: np.ndarray) -> np.ndarray:
        """Return homogeneous coordinates (..., N) of the network's state at d (..., n)."""
        values = self.model.space.blocks(self.model.point(d))
        return self.space.point(**values | {"z": values["z"][..., self.unstable]})

    def violated(self, X: np.ndarray, count: int) -> np.ndarray:
        """Return the `count` pairs of facts (r, 2) whose product <f g', X> is most negative, on the scale of f and g.

        X (q, N) are the rows of a moment matrix for the coordinates 1, z, which is all that a core fact touches.
        """
        if not len(self.unstable):
            return NO_PAIRS
        core = self.core_facts[:, : X.shape[0]].toarray()
        values = (core @ X) @ self.facts.T.toarray()
        # The mean of a fact under X, plus a share of its size, says what a violation is large against.
        size = np.maximum(np.abs(self.facts[:, 1:]).max(1).toarray().ravel(), 1e-9)
        mean = np.maximum(self.facts @ X[0], 0) + 0.1 * size
        values /= mean[: len(core), None] * mean
        k = np.arange(len(self.unstable))
        values[np.arange(len(core))[:, None] > np.arange(values.shape[1])] = 0.0  # f g = g f
        values[k, 2 * len(k) + k] = 0.0  # z (z - h) = 0 is a constraint already
        values[k, len(k) + k] = 0.0  # and so is z (u - z) >= 0
        values[self.pairs[:, 0], self.pairs[:, 1]] = 0.0
        order = np.argsort(values, axis=None)[:count]
        worst = np.stack(np.unravel_index(order, values.shape), axis=1)
        return worst[values.ravel()[order] < -1e-7]

    def with_pairs(self, pairs: np.ndarray) -> "CutModel":
        """Return the model with these pairs of facts in place of those that it has."""
        return cut_model(self.model, self.bounds, pairs)


def cut_model(model: RobustnessModel, bounds: Box, pairs: np.ndarray = NO_PAIRS) -> CutModel:
    """Tighten a Robustness Model by bounds on h, and by products of pairs of facts, which must exist."""
    network, coords = model.network, model.coordinates
    p, n = network.width, coords.V.shape[1]
    lower, upper = bounds.lower, bounds.upper
    if len(lower) != p:
        raise InputError(f"bounds: expected {p} neurons, got {len(lower)}.")
    dead = upper <= 0
    active = (lower >= 0) & ~dead
    unstable = np.flatnonzero(~active & ~dead)
    lu, uu = lower[unstable], upper[unstable]
    k = len(unstable)
    space = Space(z=k, d=n, **({"e": n} if "e" in model.space.slices else {}))
    of_model = preactivation(model.space, network, coords)
    lift = _lift(model, space, unstable, np.flatnonzero(active))
    h = sp.csr_array(of_model @ lift)
    z, ones = space["z"], space.constant(np.ones(n))
    hu = sp.csr_array(h[unstable])
    above = space.constant(uu) - z
    triangle = sp.diags_array(uu) @ (hu - space.constant(lu)) - sp.diags_array(uu - lu) @ z
    always = sp.csr_array(h[active]) - space.constant(lower[active])
    never = -sp.csr_array(h[dead])
    box = [ones - space["d"], ones + space["d"]] if coords.kind == "box" else []
    facts = sp.vstack([z, above, z - hu, triangle, always, never, *box], format="csr")
    core_facts = sp.csr_array(facts[: 2 * k])
    pairs = np.asarray(pairs, int).reshape(-1, 2)
    if not ((pairs >= 0) & (pairs < [2 * k, facts.shape[0]])).all():
        raise InputError(f"pairs: rows must be in 0..{2 * k - 1} and 0..{facts.shape[0] - 1}.")

    def linear(name: str, form: Forms) -> Constraint:
        return Constraint(name, products(form, space.constant(np.ones(form.shape[0]))))

    # Of an L1 ball: what |d| <= e says of the means.
    means = zip(ABSOLUTE, (-1, 1), strict=True) if "e" in space.slices else ()
    constraints = [
        Constraint(RELU[0], products(z, z - hu), equality=True),
        linear(RELU[1], z),
        linear(RELU[2], z - hu),
        *(c.under(lift) for c in model.constraints if c.name not in RELU),
        *(linear(name, space["e"] + sign * space["d"]) for name, sign in means),
        Constraint("z (u - z) >= 0", products(z, above)),
        linear("u (h - l) - (u - l) z >= 0", triangle),
        linear("always active: h - l >= 0", always),
        linear("never active: -h >= 0", never),
        Constraint(PAIRS, products(core_facts[pairs[:, 0]], facts[pairs[:, 1]])),
    ]
    center, spread = model.space.blocks(model.center), model.space.blocks(model.spread)
    variance = space.point(**spread | {"z": 0.1 * uu**2 + 1e-6})
    variance[0] = model.spread[0]
    squared_norm = (1 + 1e-9) * (1 + uu @ uu + coords.squared_norm * (len(space.slices) - 1))
    return CutModel(
        space=space,
        constraints=tuple(c for c in constraints if len(c.body)),
        squared_norm=float(min(model.squared_norm, squared_norm)),
        center=space.point(**center | {"z": np.clip(center["z"][unstable], 0, uu)}),
        spread=variance,
        rounding=_rounding(model, of_model, lift, h, active),
        model=model,
        bounds=bounds,
        unstable=unstable,
        lift=lift,
        core_facts=core_facts,
        facts=facts,
        pairs=pairs,
    )


def _rounding(model: RobustnessModel, of_model: Forms, lift: sp.csr_array, h: Forms, active: np.ndarray) -> float:
    """Return the rounding of the states: z_A misses h_A by a residual, other h and outputs are rounded sums."""
    z = sp.csr_array(lift[model.space.slices["z"]])
    unit = (sum(model.coordinates.V.shape) + 6) * EPS
    sizes = abs(of_model) @ abs(lift) + abs(z)
    off = sp.linalg.norm(z[active] - h[active]) if active.any() else 0.0
    off += 3 * unit * sp.linalg.norm(sizes)
    reach = np.sqrt(model.squared_norm)
    return float(model.rounding + reach * (off / model.network.proven_m + unit * sp.linalg.norm(z)))


def _lift(model: RobustnessModel, space: Space, unstable: np.ndarray, active: np.ndarray) -> sp.csr_array:
    """Coordinates of the model of order 1 as forms in (1, z_U, d[, e]): z_A is eliminated, dead neurons are 0."""
    network, coords = model.network, model.coordinates
    W, V, b = network.W, coords.V, network.U @ coords.origin + network.u
    rows = sp.csr_array(W[np.ix_(active, unstable)]) @ space["z"] + sp.csr_array(V[active]) @ space["d"]
    rows = (rows + space.constant(b[active])).toarray() if len(active) else np.zeros((0, space.size))
    z = np.zeros((network.width, space.size))
    z[active] = np.linalg.solve(np.eye(len(active)) - W[np.ix_(active, active)], rows)
    z[unstable] = space["z"].toarray()
    others = [space[name] for name in space.slices if name != "z"]
    return sp.vstack([space.constant(1), sp.csr_array(z), *others], format="csr")
