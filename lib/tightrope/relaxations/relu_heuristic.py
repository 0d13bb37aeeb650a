"""HR-d and sparse Lasserre programs for the Lipschitz constant of a ReLU network (section 4 of chen2020-lipschitz)."""

from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from tightrope.problems.relu_lipschitz import (
    LayerForms,
    free_neurons,
    layer_forms,
    relu_lipschitz_problem,
    variable_bounds,
    wide,
)
from tightrope.problems.relu_question import Question
from tightrope.relaxations.heuristic import MomentProgram, Polynomial, Subset, heuristic, sparse_lasserre
from tightrope.semialgebraic import Forms

Condition: TypeAlias = tuple[Polynomial, bool]  # of a subset: the polynomial, and whether it is 0 or nonnegative


def hr(ask: Question, order: int) -> MomentProgram:
    """Return HR-d with the paper's subsets {x_i, t_i} and {u_j, z_j}.

    With more hidden layers, the subsets of a layer that another one follows are {u, h, x} (its ReLU) and {u, g, r} (its
    lifted gradient): the paper's text gives none. For an L2 ball {x_i, t_i} has no constraint of its own; left out.
    """
    problem = relu_lipschitz_problem(ask, "printed")
    layers = layer_forms(problem.space, ask, free_neurons(ask, tight=False), tight=False)
    subsets: list[Subset] = []
    if ask.coordinates.kind == "box":
        square: list[Condition] = [({(0, 0): 1.0, (2, 0): -1.0}, False), ({(0, 0): 1.0, (0, 2): -1.0}, False)]
        for i, j in enumerate(wide(ask.region)):
            subsets.append(_subset(problem.space["d"][[i]], problem.space["t"][[j]], constraints=square))
    for layer in layers:
        subsets += _of_layer(layer)
    return heuristic(problem, subsets, order)


def sparse(ask: Question, order: int, largest: int = 10) -> tuple[MomentProgram, np.ndarray]:
    """Return the sparse Lasserre hierarchy of a network with narrow bands, and bounds (N,) of its variables."""
    problem = relu_lipschitz_problem(ask, "signs")
    lower, upper = variable_bounds(problem.space, ask, free_neurons(ask, tight=False))
    scale = np.maximum(np.maximum(-lower, upper), 1e-12)
    return sparse_lasserre(problem, order, scale, largest), scale


def _of_layer(layer: LayerForms) -> list[Subset]:
    """Return the subsets of each neuron of a layer, h and x in units of the bound of |h|, g and r in units of |g|'s."""
    u, h = layer.u, sp.csr_array(sp.diags_array(1 / layer.h_scale) @ layer.h)
    rows = range(u.shape[0])
    if layer.x is None:
        pair: list[Condition] = [({(2, 0): 1.0, (1, 0): -1.0}, True), ({(1, 1): 1.0, (0, 1): -0.5}, False)]
        return [_subset(u[[j]], h[[j]], constraints=pair) for j in rows]
    x = sp.csr_array(sp.diags_array(1 / layer.h_scale) @ layer.x)
    g, r = (sp.csr_array(sp.diags_array(1 / layer.g_scale) @ form) for form in (layer.g, layer.r))
    binary: Condition = ({(2, 0, 0): 1.0, (1, 0, 0): -1.0}, True)
    relu: list[Condition] = [
        binary,
        ({(1, 1, 0): 1.0, (0, 1, 0): -0.5}, False),
        ({(0, 0, 2): 1.0, (0, 1, 1): -1.0}, True),
        ({(0, 0, 1): 1.0}, False),
        ({(0, 0, 1): 1.0, (0, 1, 0): -1.0}, False),
    ]
    slope: list[Condition] = [
        binary,
        ({(0, 0, 1): 1.0, (1, 1, 0): -1.0}, True),
        ({(0, 1, 1): 1.0, (0, 0, 2): -1.0}, True),
    ]
    found = [_subset(u[[j]], h[[j]], x[[j]], constraints=relu) for j in rows]
    return found + [_subset(u[[j]], g[[j]], r[[j]], constraints=slope) for j in layer.lifted]


def _subset(*forms: Forms, constraints: list[Condition]) -> Subset:
    return Subset(sp.csr_array(sp.vstack([sp.csr_array(form) for form in forms])), tuple(constraints))
