"""The convex relaxation barrier in numbers: theorems 4.1 and 4.2 of salman2019-barrier, for any nonlinearity.

With z_0 = x in a box, h_l = W_l z_l + b_l and z_{l+1} = sigma(h_l), the largest margin c'z_L + c_0 is relaxed to
problem (C) with the optimal layer-wise relaxation of eq. (6), envelopes instead of sigma. Its optimum p*, that of its
dual (9) (theorem 4.1), and that of the dual (11) of the network's own constraints (theorem 4.2) are one number:

    feasible point of (C)  <=  p*  =  d*_C  =  d*_O  <=  g_O(mu)  <=  bound of a linear program around (C).

Both ends are computed here, by cutting planes: lines of the envelopes where the last solution left them. mu are the
multipliers of h = W z + b, and g_O is the Lagrangian of the network itself: each neuron by itself over its graph,

    g_O(mu) = sum_l max { lambda_l' sigma(h) - mu_l'h : l <= h <= u } + mu_l'b_l + c_0 + max_x (W_0'mu_0)'x,

with lambda_l = W_{l+1}'mu_{l+1}, c above the last hidden layer. No envelope is in it.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tightrope.arguments import require_network
from tightrope.networks import FeedForward
from tightrope.networks.activations import Activation
from tightrope.propagation.certify import proven_hidden
from tightrope.propagation.inputs import InputSet
from tightrope.regions import Ball
from tightrope.solvers.highs import LinearProgram

Bounds = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Barrier:
    """What theorems 4.1 and 4.2 say of one margin F_target - F_label.

    `primal`, at most p*, is the margin at a feasible point of the relaxed problem, computed in float64;
    `relaxation_dual`, at least d*_C, the dual (9) at the program's multipliers mu, a proven bound; `problem_dual`, at
    least d*_O, the Lagrangian (10) of the network's own constraints at the same mu (up to rounding). `multipliers` are
    mu (n_l,) of each hidden layer, `rounds` the linear programs that were solved for them.
    """

    primal: float
    relaxation_dual: float
    problem_dual: float
    multipliers: tuple[np.ndarray, ...]
    rounds: int

    @property
    def gap(self) -> float:
        """How far the ends of the chain are apart: 0 but for the tolerance, by theorem 4.1."""
        return max(self.relaxation_dual, self.problem_dual) - self.primal


def barrier(
    network: FeedForward, region: Ball, label: int, target: int, *, tolerance: float = 1e-6, most: int = 60
) -> Barrier:
    """Compute both ends of the chain for a box, with hidden bounds of CROWN and DeepZ.

    Windows of max pooling must be disjoint (definition B.2: the layer is not interactive). Lines are added as long as
    some value is further than the `tolerance` from the envelopes, for `most` rounds; the chain holds after any number.

    Examples
    --------
    >>> from tightrope.networks import Tanh
    >>> network = FeedForward.dense(([[1.0], [2.0]], [[0.0, 0.0], [1.0, -1.0]]), ([0.0, 0.5], [0.0, 0.0]), "", [Tanh()])
    >>> found = barrier(network, Ball([0.3], 0.5, np.inf), 0, 1)
    >>> round(found.primal, 4) == round(found.relaxation_dual, 4) == round(found.problem_dual, 4)
    True
    """
    require_network(network, FeedForward)
    region.require_box("the barrier is")
    lower, upper = region.bounding_box()
    hidden = [(a[0], b[0]) for a, b in proven_hidden(network, InputSet.boxes(lower, upper), ("crown", "deepz"))]
    affine = [layer.sparse() for layer in network.layers]
    W, b = affine[-1]
    c, offset = W.toarray()[target] - W.toarray()[label], float(b[target] - b[label])
    program = LinearProgram()
    x = below = program.add_columns(lower, upper)
    columns, equalities = [], []
    for (W, b), (low, high), one in zip(affine, hidden, network.activations, strict=False):
        h = program.add_columns(low, high)
        zero = np.zeros_like(one.gathered(low))
        z = program.add_columns(one.intercept(zero, low, high, False)[0], one.intercept(zero, low, high, True)[0])
        matrix = _rows((len(b), program.columns), (h, sp.eye_array(len(b))), (below, -W))
        equalities.append(program.add_rows(matrix, b, b))
        for point in np.linspace(low, high, 5):
            _add_lines(program, one, point, (low, high), (h, z))
        columns.append((h, z))
        below = z
    rounds, outside = 0, True
    while outside and rounds < most:
        found, outside, rounds = program.maximise(below, c), False, rounds + 1
        if (solved := found.x) is None:
            break
        for (h, z), (low, high), one in zip(columns, hidden, network.activations, strict=True):
            outside |= _add_lines(program, one, solved[h], (low, high), (h, z), solved[z], tolerance)
    mu = tuple(found.multipliers[rows] for rows in equalities)
    primal = -np.inf if solved is None else _feasible(network, hidden, solved[x], [solved[z] for _, z in columns], c)
    dual = lagrangian(network, hidden, mu, c, (lower, upper))
    return Barrier(primal + offset, found.bound + offset, dual + offset, mu, rounds)


def lagrangian(
    network: FeedForward, hidden: Bounds, mu: tuple[np.ndarray, ...], c: np.ndarray, box: tuple[np.ndarray, np.ndarray]
) -> float:
    """Return g_O(mu) of c'z_L: a bound for any mu (n_l,) of the hidden layers, whose bounds are given."""
    total, above = 0.0, c
    parts = list(zip(network.layers, network.activations, hidden, mu, strict=False))
    for layer, one, (low, high), own in reversed(parts):
        W, b = layer.sparse()
        slope = one.gathered(own)
        if one.windows is None:
            alone = above == 0
            with np.errstate(all="ignore"):
                slope = np.where(alone, 0.0, own / above)
        else:
            alone, weight = np.ones(len(own), dtype=bool), above[:, None]
            slope = np.where(weight == 0, 0.0, slope / np.where(weight == 0, 1.0, weight))
            alone[one.windows[above != 0]] = False  # inputs of no window that counts
        total += float((above * one.intercept(slope, low, high, above > 0)[0]).sum())
        total += float(np.maximum(-own * low, -own * high)[alone].sum() + own @ b)
        above = W.T @ own
    return total + float(np.maximum(above * box[0], above * box[1]).sum())


def _envelope(one: Activation, h: np.ndarray, low: np.ndarray, high: np.ndarray, above: bool) -> tuple:
    """Slopes and intercepts of the envelope's lines at h, and its values there."""
    slope = one.best(h, low, high, above)
    t = one.intercept(slope, low, high, above)[0]
    value = slope * one.gathered(h)
    return slope, t, (value if one.windows is None else value.sum(-1)) + t


def _add_lines(
    program: LinearProgram,
    one: Activation,
    at: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    columns: tuple[np.ndarray, np.ndarray],
    values: np.ndarray | None = None,
    tolerance: float = 0.0,
) -> bool:
    """Add the lines of both envelopes at points (n,), where values (m,) are outside if given; say whether any is."""
    (low, high), (h, z) = ends, columns
    at, some = np.clip(at, low, high), False
    for above in (False, True):
        slope, t, value = _envelope(one, at, low, high, above)
        if values is None:
            rows = np.arange(len(z))
        else:
            rows = np.flatnonzero(values > value + tolerance if above else values < value - tolerance)
        if not len(rows):
            continue
        inputs = np.arange(len(h))[:, None] if one.windows is None else one.windows
        weights = slope[..., None] if one.windows is None else slope
        places = (np.repeat(np.arange(len(rows)), inputs.shape[1]), inputs[rows].ravel())
        of_h = sp.coo_array((weights[rows].ravel(), places), shape=(len(rows), len(h)))
        of_z = sp.eye_array(len(z), format="csr")[rows]
        matrix = _rows((len(rows), program.columns), (z, of_z), (h, -of_h))
        free = np.full(len(rows), np.inf)
        program.add_rows(matrix, *((-free, t[rows]) if above else (t[rows], free)))
        some = True
    return some


def _rows(shape: tuple[int, int], *blocks: tuple) -> sp.csr_array:
    """A matrix with blocks (columns, matrix) in some of its columns."""
    parts = [(sp.coo_array(matrix), columns) for columns, matrix in blocks]
    row = np.concatenate([part.row for part, _ in parts])
    column = np.concatenate([columns[part.col] for part, columns in parts])
    return sp.csr_array((np.concatenate([part.data for part, _ in parts]), (row, column)), shape=shape)


def _feasible(network: FeedForward, hidden: Bounds, x: np.ndarray, values: list[np.ndarray], c: np.ndarray) -> float:
    """c'z_L at a point of the relaxed set near the program's solution."""
    z = x
    for layer, one, (low, high), wanted in zip(network.layers, network.activations, hidden, values, strict=False):
        h = np.clip(layer.forward(z[None])[0], low, high)
        z = np.clip(wanted, _envelope(one, h, low, high, False)[2], _envelope(one, h, low, high, True)[2])
    return float(c @ z)
