"""The nearly sparse hierarchy and HR-d of chen2020-lipschitz (section 4), and the sparse Lasserre hierarchy.

The nearly sparse hierarchy of a polynomial problem, HR-d of a network, keeps Shor's relaxation, the dense first-order
moment matrix with L(g) >= 0 for every constraint, and adds for small subsets I_k of variables the moment matrix of
order d and localizing matrices of the constraints that involve only I_k. Constraints that destroy this sparsity stay
first-order ones. The sparse hierarchy (Waki et al. 2006) has no dense matrix, and needs subsets that hold every
constraint and every term of the objective.

A subset is given by affine forms w = (w_1, ..., w_s) of the variables, |w_i| <= 1 on the set. So z_j = a_j'x + b_j of
the paper needs no variable: (z - A x - b)^2 = 0 says that the moment matrix is one of (1, x, t, u), z substituted.
Moments of degree <= 2 of the forms are entries of the first-order matrix, those of degree 3, ..., 2 d are variables of
the subset alone.

For one hidden layer, HR-2 lies between two of the refinements in :mod:`tightrope.problems.relu_lipschitz`:
``corners <= HR-2 <= signs``. On {u_j, z_j} its second-order matrices say exactly u z >= 0 and (u - 1) z >= 0: both
are entries of the localizing matrix of (u - 1/2) z, since u^2 = u; and the moments z^3, z^4 are free to be large
enough for all the rest, as no bound of z_j is among the constraints of the subset. On {x_j, t_j}, order 2
proves (1 - x)(1 - t) >= -0.01124, and (1 - x)(1 - t) >= 0 (all four signs) gives the hull.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.problems.relu_lipschitz import (
    OF_G,
    OF_H,
    LayerForms,
    free_neurons,
    layer_forms,
    relu_lipschitz_problem,
    variable_bounds,
    wide,
)
from tightrope.problems.relu_question import Question
from tightrope.relaxations.lasserre import Condition, Exponents, MomentBlock, moment_block, polynomials
from tightrope.relaxations.shor import MomentProgram, objective_matrix, shor_constraints
from tightrope.semialgebraic import Forms


def hr(ask: Question, order: int) -> MomentProgram:
    """Return HR-d with the paper's subsets {x_i, t_i} and {u_j, z_j}; HR-1 is Shor's relaxation.

    With more hidden layers, the subsets of a layer that another one follows are {u, h, x} (its ReLU) and {u, g, r} (its
    lifted gradient): the paper's text gives none. For an L2 ball {x_i, t_i} has no constraint of its own; left out.
    """
    problem = relu_lipschitz_problem(ask, "printed")
    blocks: list[MomentBlock] = []
    if order > 1:
        if ask.coordinates.kind == "box" and len(moving := wide(ask.region)):
            square: list[Condition] = [({(0, 0): 1.0, (2, 0): -1.0}, False), ({(0, 0): 1.0, (0, 2): -1.0}, False)]
            forms = problem.space["d"], problem.space["t"][moving]
            blocks += _blocks(range(len(moving)), forms, square, order)
        for layer in layer_forms(problem.space, ask, free_neurons(ask, tight=False), tight=False):
            blocks += _of_layer(layer, order)
    return MomentProgram(objective_matrix(problem.objective), shor_constraints(problem), tuple(blocks))


def _of_layer(layer: LayerForms, order: int) -> list[MomentBlock]:
    """Return the block of each neuron of a layer, h and x in units of the bound of |h|, g and r in units of |g|'s."""
    of_h, of_g = (sp.diags_array(1 / scale) for scale in (layer.h_scale, layer.g_scale))
    u, h, every = layer.u, of_h @ layer.h, range(layer.u.shape[0])
    if layer.x is None:
        return _blocks(every, (u, h), _printed("uh"), order)
    found = _blocks(every, (u, h, of_h @ layer.x), _printed("uhx"), order)
    return found + _blocks(layer.lifted, (u, of_g @ layer.g, of_g @ layer.r), _printed("ugr"), order)


def _printed(letters: str) -> list[Condition]:
    """Return the printed constraints on the forms of these letters."""
    zero = np.zeros(1)  # these constraints have no bounds
    rows = [(body(zero, zero), ">=" not in name) for name, of, body in (*OF_H, *OF_G) if "printed" in of]
    return [
        ({tuple(map(product.count, letters)): float(w) for product, w in terms.items()}, equality)
        for terms, equality in rows
        if set("".join(terms)) <= set(letters)
    ]


def _blocks(
    rows: Iterable[int], forms: tuple[Forms, ...], conditions: list[Condition], order: int
) -> list[MomentBlock]:
    """Return the block of each of these rows of several forms together."""
    forms = tuple(map(sp.csr_array, forms))
    chosen = (sp.vstack([form[[j]] for form in forms], format="csr") for j in rows)
    return [moment_block(subset, conditions, order) for subset in chosen]


def sparse(ask: Question, order: int) -> tuple[MomentProgram, np.ndarray]:
    """Return the sparse Lasserre hierarchy of a network with narrow bands, and bounds (N,) of |v_i|, 1 included."""
    problem = relu_lipschitz_problem(ask, "signs")
    lower, upper = variable_bounds(problem.space, ask, free_neurons(ask, tight=False))
    scale = np.maximum(np.maximum(-lower, upper), 1e-12)
    return nearly_sparse(problem, order, scale=scale, dense=False), scale


def nearly_sparse(
    problem: PolynomialProblem,
    order: int,
    subsets: Sequence[Sequence[int]] | None = None,
    *,
    scale: np.ndarray | None = None,
    dense: bool = True,
    largest: int = 10,
) -> MomentProgram:
    """Return Shor's relaxation of any problem with the matrices of order d of subsets of its variables.

    The bound is that of :func:`tightrope.verifiers.moments.proven_bound`.

    Parameters
    ----------
    order
        d of the subsets; a constraint is a localizing matrix of those that hold its variables, and of first order too.
    subsets
        Of the variables v_1, ..., v_n, counted from 0; by default the cliques of a chordal extension of the correlative
        sparsity graph: they satisfy the running intersection property, and every constraint and term of the objective
        lies in one. A subset larger than `largest` is an InputError: the problem is not sparse enough.
    scale
        Bounds (N,) of |v_i| on the set, the root of the problem's `squared_norm` by default.
    dense
        Whether the first-order matrix of all variables is kept; without it this is the sparse hierarchy.
    """
    n = problem.space.size - 1
    scale = np.full(n + 1, problem.squared_norm**0.5) if scale is None else np.asarray(scale, float)
    if scale.shape != (n + 1,) or not (np.isfinite(scale) & (scale > 0)).all():
        raise InputError(f"scale: expected {n + 1} positive numbers, bounds of |v_0| = 1 and |v_1| to |v_{n}|.")
    rows = [(p, c.equality) for c in problem.constraints for p in polynomials(c.body, n)]
    (objective,) = polynomials(problem.objective, n)
    supports = [set().union(*map(_support, p)) for p, _ in rows]
    chosen = chordal_cliques(n, [*map(_support, objective), *supports]) if subsets is None else subsets
    for subset in chosen:  # an index given twice would be two variables
        if not set(subset) <= set(range(n)) or len(set(subset)) != len(subset) or not len(subset):
            raise InputError(f"subsets: expected different numbers from 0 to {n - 1} in each, got {list(subset)}.")
    widest = max(map(len, chosen))
    if widest > largest:
        raise InputError(f"problem: a subset or clique has {widest} variables, more than {largest}; use HR-2.")
    blocks = []
    for subset in chosen:
        conditions: list[Condition] = []
        for (polynomial, equality), support in zip(rows, supports, strict=True):
            if support <= set(subset):
                units = {
                    tuple(m[i] for i in subset): v * np.prod(scale[1:] ** np.array(m)) for m, v in polynomial.items()
                }
                if size := max(map(abs, units.values()), default=0.0):
                    conditions.append(({m: v / size for m, v in units.items()}, equality))
        where = np.array(subset) + 1
        forms = sp.csr_array((1 / scale[where], (np.arange(len(where)), where)), shape=(len(where), n + 1))
        blocks.append(moment_block(forms, conditions, order))
    return MomentProgram(objective_matrix(problem.objective), shor_constraints(problem), tuple(blocks), dense)


def _support(monomial: Exponents) -> set[int]:
    return {i for i, e in enumerate(monomial) if e}


def chordal_cliques(n: int, supports: Sequence[set[int]]) -> list[tuple[int, ...]]:
    """Return the maximal cliques of a chordal extension of the graph that joins the elements of each support.

    The elimination order is that of minimum degree.

    >>> chordal_cliques(4, [{0, 1}, {1, 2}, {2, 3}])
    [(0, 1), (1, 2), (2, 3)]
    """
    neighbours: list[set[int]] = [set() for _ in range(n)]
    for support in supports:
        for i in support:
            neighbours[i] |= support - {i}
    left, cliques = set(range(n)), list[frozenset[int]]()
    while left:
        v = min(left, key=lambda i: (len(neighbours[i] & left), i))
        around = neighbours[v] & left
        clique = frozenset(around | {v})
        if not any(clique <= other for other in cliques):
            cliques.append(clique)
        for i in around:
            neighbours[i] |= around - {i}
        left.remove(v)
    return sorted(tuple(sorted(c)) for c in cliques)
