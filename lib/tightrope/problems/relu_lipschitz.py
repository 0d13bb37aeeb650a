"""Lipschitz constants of a ReLU network as polynomial problems (LCEP of chen2020-lipschitz, section 2.2).

With h_i = A_i x_{i-1} + b_i, u_i = 1[h_i > 0] and x_i = u_i h_i, the generalised gradient of x -> c'x_m is
A_1'diag(u_1) ... A_m'diag(u_m) c, and the Lipschitz constant on a convex set is its largest dual norm there:

    max t'A_1'r_1,   r_m = u_m c,   g_i = A_{i+1}'r_{i+1},   r_i = u_i g_i   (i < m),   ||t|| <= 1, x_0 in the set.

For m = 1 nothing is lifted: r_1 = u_1 c is affine. For m >= 2 the objective of the paper has degree m + 1; with the
p_1 + ... + p_{m-1} variables r_i, backpropagated gradients, everything is of degree 2. (One variable for each product
u_1^j u_2^k, the lifting that the paper's text suggests, would be p_1 p_2 of them.)

Refinements, each a list of further products of valid inequalities, at the price of Shor's relaxation:

=============  ========================================================================================
``printed``    LCEP itself: u (u - 1) = 0, (u - 1/2) h >= 0, x (x - h) = 0, x >= 0, x - h >= 0, r = u g
``signs``      and u h >= 0, (u - 1) h >= 0: what the second-order matrices of {u_j, h_j} in HR-2 add
``corners``    and (1 - d_j)(1 - t_j) >= 0 with all four signs (L-infinity): at least what those of {x_j, t_j} add
``products``   and u (h^ - h), (1 - u)(h - l), h (h^ u + l (1 - u) - h) >= 0 with bounds l <= h <= h^, and the same
               for g; with u_j constant for neurons that the bounds decide
=============  ========================================================================================
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError, UnknownNameError
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.problems.relu_question import Question, gradient_bounds
from tightrope.regions import INFINITY, Ball
from tightrope.regions.row_space import EPS, row_space
from tightrope.semialgebraic import Constraint, Forms, Products, Space, products, unit_box, unit_l2_ball

REFINEMENTS = ("printed", "signs", "corners", "products")
Terms: TypeAlias = Mapping[str, float | np.ndarray]
Table: TypeAlias = Sequence[tuple[str, Sequence[str], Callable[[np.ndarray, np.ndarray], Terms]]]
#: Constraints on a neuron's u, h and x, and on its u, g and r: their names, with # for the layer; the refinements that
#: have them; weights of products of two letters, of one, or of none. Low and high bound h, or g.
OF_H: Table = (
    ("u# (u - 1) = 0", REFINEMENTS, lambda low, high: {"uu": 1, "u": -1}),
    ("(u# - 1/2) h >= 0", ("printed",), lambda low, high: {"uh": 1, "h": -0.5}),
    ("u# h >= 0", REFINEMENTS[1:], lambda low, high: {"uh": 1}),
    ("(u# - 1) h >= 0", REFINEMENTS[1:], lambda low, high: {"uh": 1, "h": -1}),
    ("x# (x - h) = 0", REFINEMENTS, lambda low, high: {"xx": 1, "xh": -1}),
    ("x# >= 0", REFINEMENTS, lambda low, high: {"x": 1}),
    ("x# - h >= 0", REFINEMENTS, lambda low, high: {"x": 1, "h": -1}),
    ("u# (h^ - h) >= 0", ("products",), lambda low, high: {"u": high, "uh": -1}),
    ("(1 - u#)(h - l) >= 0", ("products",), lambda low, high: {"h": 1, "uh": -1, "": -low, "u": low}),
    ("h# (h^ u + l (1 - u) - h) >= 0", ("products",), lambda low, high: {"uh": high - low, "h": low, "hh": -1}),
    ("x# = u h", ("products",), lambda low, high: {"x": 1, "uh": -1}),
    ("u# x = x", ("products",), lambda low, high: {"ux": 1, "x": -1}),
)
OF_G: Table = (
    ("r# = u g", REFINEMENTS, lambda low, high: {"r": 1, "ug": -1}),
    ("r# (g - r) = 0", REFINEMENTS, lambda low, high: {"rg": 1, "rr": -1}),
    ("u# r = r", ("products",), lambda low, high: {"ur": 1, "r": -1}),
    ("r# - l u >= 0", ("products",), lambda low, high: {"r": 1, "u": -low}),
    ("g^ u - r# >= 0", ("products",), lambda low, high: {"u": high, "r": -1}),
    ("(1 - u#)(g - l) >= 0", ("products",), lambda low, high: {"g": 1, "r": -1, "": -low, "u": low}),
    ("(1 - u#)(g^ - g) >= 0", ("products",), lambda low, high: {"": high, "u": -high, "g": -1, "r": 1}),
    ("(r# - l u)(g^ u - r) >= 0", ("products",), lambda low, high: {"rr": -1, "r": high + low, "u": -low * high}),
    ("(g# - l)(g^ - g) >= 0", ("products",), lambda low, high: {"gg": -1, "g": high + low, "": -low * high}),
)
#: Groups that couple inputs with each other or with t, so that the block of d is not diagonal.
CURVE = "h1 (h^ u + l (1 - u) - h) >= 0"
CORNERS = tuple(f"(1 {a} d)(1 {b} t) >= 0" for a in "+-" for b in "+-")
#: Share of a variable's spread that the interior point starts with: product Shor takes two iterations less than with 1.
START = 0.7


@dataclass(frozen=True, eq=False)
class LayerForms:
    """One hidden layer in the variables of a problem.

    All are (p, N) forms; x only if another hidden layer follows, and then r is lifted; else None, and r = u c. `free`
    are the neurons whose u is a variable, `lifted` those among them whose gradient g can differ from 0. `h_scale` and
    `g_scale` (p,) bound |h| and |g|: forms are divided by them, so that all numbers are of size 1, and `h_bounds` and
    `g_bounds`, lower and upper (p,), are in these units.
    """

    u: Forms
    h: Forms
    x: Forms | None
    g: Forms
    r: Forms
    free: np.ndarray
    lifted: np.ndarray
    h_scale: np.ndarray
    g_scale: np.ndarray
    h_bounds: tuple[np.ndarray, np.ndarray]
    g_bounds: tuple[np.ndarray, np.ndarray]


def relu_lipschitz_problem(ask: Question, refinement: str = "products") -> PolynomialProblem:
    """LCEP with one of the :data:`REFINEMENTS`; the largest dual norm of the gradient is its value."""
    if refinement not in REFINEMENTS:
        raise UnknownNameError("refinement", refinement, REFINEMENTS)
    if ask.depth == 0:
        raise InputError("network: it has no hidden layer; its gradient is constant.")
    box, tight = ask.coordinates.kind == "box", refinement == "products"
    free = free_neurons(ask, tight)
    n, R = ask.coordinates.V.shape[1], _rows_of_t(ask)
    blocks = {"t": R.shape[1], "d": n}
    for i, (rows, lifted) in enumerate(zip(free, lifted_neurons(ask, free), strict=True), start=1):
        blocks[f"u{i}"] = len(rows)
        if i < ask.depth:
            blocks |= {f"x{i}": len(rows), f"r{i}": len(lifted)}
    space = Space(**{name: size for name, size in blocks.items() if size})
    layers = layer_forms(space, ask, free, tight)
    t = space["t"]
    unit = unit_box if box else unit_l2_ball
    constraints = unit(space, "t") + (unit(space, "d") if n else [])
    for k, layer in enumerate(layers, start=1):
        constraints += _of_neurons(space, refinement, k, layer)
    if refinement in ("corners", "products") and box and n:
        constraints += _corners(space, space["d"], sp.csr_array(t[wide(ask.region)]))
    inner = sp.csr_array(sp.csr_array(R.T) @ layers[0].r)
    objective = products(t, inner, sp.csr_array(np.ones((1, inner.shape[0]))))
    return PolynomialProblem(space, tuple(constraints), *_sizes(space, ask, free), objective)


def free_neurons(ask: Question, tight: bool) -> list[np.ndarray]:
    """For each layer the neurons whose u is a variable: all, or those that the bounds leave undecided."""
    if not tight:
        return [np.arange(len(lo)) for lo in ask.lower]
    return [np.flatnonzero((lo <= 0) & (hi >= 0)) for lo, hi in zip(ask.lower, ask.upper, strict=True)]


def lifted_neurons(ask: Question, free: list[np.ndarray]) -> list[np.ndarray]:
    """For each layer but the last the free neurons whose backpropagated gradient g is not proven to be 0."""
    low, high = gradient_bounds(ask)
    moving = [(lo != 0) | (hi != 0) for lo, hi in zip(low, high, strict=True)]
    return [rows[moving[i][rows]] if i < ask.depth - 1 else rows[:0] for i, rows in enumerate(free)]


def wide(region: Ball) -> np.ndarray:
    """The inputs that have a coordinate d: those of positive width."""
    lower, upper = region.bounding_box()
    return np.flatnonzero(upper > lower)


def _rows_of_t(ask: Question) -> np.ndarray:
    """A_1 as a map from t, (p_1, size of t). L2: t'A_1'r only sees the row space, A_1' = Q R and ||Q't|| <= ||t||."""
    A = ask.weights[0]
    reduce = ask.region.norm == 2 and A.shape[1] > len(A)
    return row_space(A)[0] if reduce else A


def layer_forms(space: Space, ask: Question, free: list[np.ndarray], tight: bool) -> list[LayerForms]:
    """All layers in the variables of a space; u of a neuron that is not free is constant."""
    coords, lifted = ask.coordinates, lifted_neurons(ask, free)
    on = [(lo > 0).astype(float) if tight else np.zeros(len(lo)) for lo in ask.lower]
    us = [_block(space, f"u{i + 1}", rows, len(on[i])) + space.constant(on[i]) for i, rows in enumerate(free)]
    hs: list[Forms] = []
    xs: list[Forms | None] = []
    for i, (A, b) in enumerate(zip(ask.weights, ask.biases, strict=True)):
        h = space.constant(b + A @ coords.origin if i == 0 else b)
        if i == 0 and coords.V.shape[1]:
            h = h + sp.csr_array(coords.V) @ space["d"]
        elif i:
            h = h + sp.csr_array(A) @ xs[-1]
        hs.append(sp.csr_array(h))
        x = _block(space, f"x{i + 1}", free[i], len(b)) + sp.diags_array(on[i]) @ h if i < ask.depth - 1 else None
        xs.append(None if x is None else sp.csr_array(x))
    g = space.constant(ask.c)
    gs, rs = [g], [sp.csr_array(sp.diags_array(ask.c) @ us[-1])]
    for i in range(ask.depth - 2, -1, -1):
        g = sp.csr_array(sp.csr_array(ask.weights[i + 1].T) @ rs[0])
        gs.insert(0, g)
        rs.insert(0, sp.csr_array(_block(space, f"r{i + 1}", lifted[i], g.shape[0]) + sp.diags_array(on[i]) @ g))
    found = []
    low, high = gradient_bounds(ask)
    for i in range(ask.depth):
        # l <= 0 <= h^ holds for the free neurons of the tight problem; elsewhere these bounds are not used.
        lo, hi = np.minimum(ask.lower[i], 0), np.maximum(ask.upper[i], 0)
        s, q = _scale(lo, hi), _scale(low[i], high[i])
        bounds = ((lo / s, hi / s), (low[i] / q, high[i] / q))
        found.append(LayerForms(sp.csr_array(us[i]), hs[i], xs[i], gs[i], rs[i], free[i], lifted[i], s, q, *bounds))
    return found


def relative_rounding(ask: Question) -> float:
    """How far the forms h and g of :func:`layer_forms` can be from exact ones, relative to their bounds.

    Forms of neurons that are not free are multiplied out, layer by layer; errors pass through as in
    :mod:`tightrope.propagation.rounding`.
    """
    coords, largest = ask.coordinates, 0.0
    low, high = gradient_bounds(ask)
    error = np.zeros(ask.region.size)
    size = np.abs(coords.origin) + ask.region.radius
    for i, ((A, b), lo, hi) in enumerate(zip(ask.sizes[:-1], ask.lower, ask.upper, strict=True)):
        error = A @ error + (A.shape[1] + 4) * EPS * (A @ size + b) + (0.0 if i else coords.rounding)
        largest = np.maximum(largest, (error / _scale(np.minimum(lo, 0), np.maximum(hi, 0))).max(initial=0.0))
        size = np.maximum(hi, 0)
    error = (len(ask.c) + 4) * EPS * ask.sizes[-1][0][0]
    for i in range(ask.depth - 1, -1, -1):
        largest = np.maximum(largest, (error / _scale(low[i], high[i])).max(initial=0.0))
        if i:
            A = ask.sizes[i][0].T
            error = A @ error + (sum(A.shape) + 4) * EPS * (A @ np.maximum(np.abs(low[i]), np.abs(high[i])))
    return float(largest)


def _scale(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The largest absolute value in each interval; 1 where that is 0."""
    size = np.maximum(np.abs(lower), np.abs(upper))
    return np.where(size > 1e-12, size, 1.0)


def _block(space: Space, name: str, rows: np.ndarray, count: int) -> Forms:
    """The variables of a block as forms of `count` neurons, 0 for those that have none."""
    if not len(rows):
        return sp.csr_array((count, space.size))
    place = sp.csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(count, len(rows)))
    return sp.csr_array(place @ space[name])


def _of_neurons(space: Space, refinement: str, k: int, layer: LayerForms) -> Iterator[Constraint]:
    """The constraints of both tables on the neurons of layer k, in units of the bounds of |h| and |g|."""
    of_h = (OF_H, layer.free, layer.h_scale, layer.h_bounds, {"h": layer.h, "x": layer.x})
    of_g = (OF_G, layer.lifted, layer.g_scale, layer.g_bounds, {"g": layer.g, "r": layer.r})
    for table, rows, scale, bounds, letters in (of_h, of_g) if layer.x is not None else (of_h,):
        divide = sp.diags_array(1 / scale[rows])
        forms = {letter: sp.csr_array(divide @ form[rows]) for letter, form in letters.items() if form is not None}
        forms |= {"u": sp.csr_array(layer.u[rows]), " ": space.constant(np.ones(len(rows)))}
        for name, refinements, body in table if len(rows) else ():
            terms = body(*(bound[rows] for bound in bounds))
            if refinement in refinements and set("".join(terms)) <= forms.keys():
                factors = ((w, *(forms[letter] for letter in product.ljust(2))) for product, w in terms.items())
                yield Constraint(name.replace("#", str(k)), _sum(*factors), equality=">=" not in name)


def _corners(space: Space, d: Forms, t: Forms) -> list[Constraint]:
    """(1 + a d_j)(1 + b t_j) >= 0 for all signs: with the squares, the hull of a square's second moments."""
    one = space.constant(np.ones(d.shape[0]))
    signs = [(a, b) for a in (1, -1) for b in (1, -1)]
    bodies = [_sum((1, one, one), (a, d, one), (b, t, one), (a * b, d, t)) for a, b in signs]
    return [Constraint(name, body) for name, body in zip(CORNERS, bodies, strict=True)]


def _sum(*terms: tuple[np.ndarray | float, Forms, Forms]) -> Products:
    """k functions sum_r w_r left_r right_r from terms (w, left, right): few base forms, small Gram matrices."""
    k = terms[0][1].shape[0]
    left, right = (sp.vstack([term[side] for term in terms], format="csr") for side in (1, 2))
    weights = [sp.diags_array(np.broadcast_to(np.asarray(w, float), (k,))) for w, _, _ in terms]
    return products(left, right, sp.hstack(weights, format="csr"))


def variable_bounds(space: Space, ask: Question, free: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (N,) of every variable over the set; the constant 1 first."""
    low, high = gradient_bounds(ask)
    lifted = lifted_neurons(ask, free)
    lower: dict[str, np.ndarray | float] = {"t": -1.0, "d": -1.0}  # of u and x it is 0
    upper: dict[str, np.ndarray | float] = {"t": 1.0, "d": 1.0}
    for i in range(ask.depth):
        lower[f"r{i + 1}"] = np.minimum(low[i], 0)[lifted[i]]
        upper |= {f"u{i + 1}": 1.0, f"x{i + 1}": np.maximum(ask.upper[i], 0)[free[i]]}
        upper[f"r{i + 1}"] = np.maximum(high[i], 0)[lifted[i]]
    return space.point(**lower), space.point(**upper)


def _sizes(space: Space, ask: Question, free: list[np.ndarray]) -> tuple[float, np.ndarray, np.ndarray]:
    """R^2 >= ||v||^2 over the set, and a centre with spreads to start from."""
    lower, upper = variable_bounds(space, ask, free)
    squares = np.maximum(lower**2, upper**2)
    spread = ((upper - lower) / 2) ** 2 + 1e-6
    spread[0] = 1.0
    for name in {"t", "d"} & space.sizes.keys():
        where, size = space.slices[name], space.sizes[name]
        spread[where] = 1 / 3 if ask.coordinates.kind == "box" else 1 / size
        if ask.coordinates.kind != "box":
            squares[where] = 1 / size  # a ball: the squares add up to 1
    return (1 + 1e-9) * float(squares.sum()), (lower + upper) / 2, START * spread


def slope_problem(ask: Question) -> PolynomialProblem:
    """The QCQP of LipOpt: derivatives are only known to lie in [0, 1], and x plays no part.

    With r_i = u_i g_i and 0 <= u_i <= 1: r_i (g_i - r_i) >= 0, g_m = c. For one hidden layer its Shor relaxation is
    the bound with which SDP-NN was trained and certified (grad-cert): max <M, P> : P >= 0, diag P <= 1.
    """
    if ask.depth == 0:
        raise InputError("network: it has no hidden layer; its gradient is constant.")
    box, R = ask.region.norm == INFINITY, _rows_of_t(ask)
    inputs = R.shape[1]
    anywhere = tuple(np.full(len(b), np.inf) for b in ask.biases)
    low, high = gradient_bounds(replace(ask, lower=tuple(-h for h in anywhere), upper=anywhere))
    scale = [_scale(lo, hi) for lo, hi in zip(low, high, strict=True)]
    moving = [np.flatnonzero((lo != 0) | (hi != 0)) for lo, hi in zip(low, high, strict=True)]  # r = 0 elsewhere
    space = Space(t=inputs, **{f"r{i + 1}": len(rows) for i, rows in enumerate(moving)})
    constraints = (unit_box if box else unit_l2_ball)(space, "t")
    center: dict[str, np.ndarray | float] = {}
    spread: dict[str, np.ndarray | float] = {"t": 1 / 3 if box else 0.5 / inputs}
    g = space.constant(ask.c)
    for i in range(ask.depth - 1, -1, -1):
        name, rows = f"r{i + 1}", moving[i]
        r, h = space[name], sp.csr_array(sp.diags_array(1 / scale[i][rows]) @ g[rows])  # the variable is r / scale
        constraints.append(Constraint(f"{name} (g - r) >= 0", _sum((1, r, h), (-1, r, r))))
        g = sp.csr_array(sp.csr_array((R if i == 0 else ask.weights[i]).T[:, rows] * scale[i][rows]) @ r)
        lo, hi = np.clip(low[i][rows] / scale[i][rows], -1, 0), np.clip(high[i][rows] / scale[i][rows], 0, 1)
        center[name], spread[name] = (lo + hi) / 2, 0.8 * ((hi - lo) / 2) ** 2
    objective = products(space["t"], g, sp.csr_array(np.ones((1, g.shape[0]))))
    squared_norm = (1 + 1e-9) * (1.0 + (inputs if box else 1.0) + sum(map(len, moving)))  # |r / scale| <= 1
    points = space.point(**center), space.point(**spread)
    return PolynomialProblem(space, tuple(constraints), squared_norm, *points, objective)
