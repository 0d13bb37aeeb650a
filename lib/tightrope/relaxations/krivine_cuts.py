"""Inequalities of LipOpt-3 in the order in which a solver needs them: four-cycles, then triangles.

In spins e = 2 x - 1, with E_ij the pseudo-moment of e_i e_j, a triangle inequality is E_ij + E_ik - E_jk <= 1 up to an
even number of sign changes. Two triangles i, i', j and i, i', j' over the same pair of inputs (i, i') add up to

    s (E_ij + E_i'j) + s' (E_ij' - E_i'j') <= 2,    s, s' = +-1,

which needs no moment of (i, i'). For one hidden layer, p = sum_ij B_ij E_ij with j = 0 for the constant spin 1. There
E = sign(B) / 2 (and 0 for all other pairs) satisfies every triangle, so LipOpt-3 >= sum |B| / 2, always: half of the
bound that takes every sign as it likes. Where every input meets every neuron, the four-cycles are the projection of
all triangles (the graph is complete bipartite, and a cycle of six or more has a chord; Barahona and Mahjoub 1986), and
dense random networks attain sum |B| / 2.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tightrope.relaxations.krivine import KrivineProgram, Multilinear

#: Rows (k, n) and offsets (k,), rows y >= offsets, and the products (k, c, 3) that add up to each row, to a quarter of
#: it for cycles: 1 + the position in y of a variable, minus that for one minus the variable, 0 for 1.
Cuts = tuple[sp.csr_array, np.ndarray, np.ndarray]
TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Bipartite:
    """The moments of a quadratic polynomial of one hidden layer, as positions in y.

    `single` (inputs,), `neuron` (neurons,), `pair` (inputs, neurons), -1 where the two are not connected; `floor`, a
    lower bound of LipOpt-3, is sum |B| / 2.
    """

    single: np.ndarray
    neuron: np.ndarray
    pair: np.ndarray
    floor: float

    @property
    def complete(self) -> bool:
        """Whether every input meets every neuron."""
        return bool((self.pair >= 0).all())


def bipartite(p: Multilinear, program: KrivineProgram, inputs: int) -> Bipartite | None:
    """Return the structure of one hidden layer, or None for another polynomial; inputs are the first variables."""
    if p.degree > 2 or any(sum(i < inputs for i in m) > 1 for m in p.monomials):
        return None
    known = np.array(sorted(m[0] for m in program.moments if len(m) == 1), int)
    rows, columns = known[known < inputs], known[known >= inputs]
    place = {v: k for k, v in enumerate(rows)} | {v: k for k, v in enumerate(columns)}
    pair = np.full((len(rows), len(columns)), -1)
    for moment, position in program.moments.items():
        if len(moment) == 2 and moment[0] < inputs <= moment[1]:
            pair[place[moment[0]], place[moment[1]]] = position
    value = dict(zip(p.monomials, p.values, strict=True))
    # s_i = (1 + e_i) / 2, u_j = (1 + w_j) / 2: B_ij is a quarter of s_i u_j's value, B_i0 half of s_i's plus these.
    total = 0.0
    for i in rows:
        B = [value.get((int(i), int(j)), 0.0) / 4 for j in columns]
        total += float(np.abs(B).sum() + abs(sum(B) + value.get((int(i),), 0.0) / 2))
    single = np.array([program.moments[(int(i),)] for i in rows], int)
    neuron = np.array([program.moments[(int(j),)] for j in columns], int)
    return Bipartite(single, neuron, pair, total / 2)


def violated_cycles(graph: Bipartite, y: np.ndarray, count: int, each: int = 3) -> Cuts:
    """Return the most violated four-cycles, a few for each pair of inputs; y (n,)."""
    n, k = graph.pair.shape
    size = len(y)
    constant = 2 * y[graph.single] - 1
    pair = 4 * y[graph.pair] - 2 * y[graph.single][:, None] - 2 * y[graph.neuron][None] + 1
    E = np.where(graph.pair >= 0, pair, np.nan)
    E = np.concatenate([E, constant[:, None]], axis=1)
    first, second = np.triu_indices(n, 1)
    found = []
    for part in np.array_split(np.arange(len(first)), max(1, len(first) * k // 4_000_000)):
        i, j = first[part], second[part]
        a, b = E[i] + E[j], E[i] - E[j]
        top = [np.argsort(np.where(np.isnan(m), np.inf, -np.abs(m)), axis=1)[:, :each] for m in (a, b)]
        row = np.arange(len(part))
        for x, z in itertools.product(range(top[0].shape[1]), range(top[1].shape[1])):
            p, q = top[0][:, x], top[1][:, z]
            ap, bq = a[row, p], b[row, q]
            excess = np.abs(ap) + np.abs(bq) - 2
            good = (p != q) & (np.nan_to_num(excess, nan=-1.0) > TOLERANCE)
            found.append(np.stack([i, j, p, q, np.sign(ap), np.sign(bq), excess], axis=1)[good])
    if not found:
        return sp.csr_array((0, size)), np.zeros(0), np.zeros((0, 4, 3), int)
    chosen = np.concatenate(found)
    chosen = chosen[np.argsort(-chosen[:, 6], kind="stable")][:count]
    i, j, p, q = chosen[:, :4].T.astype(int)
    s, t = chosen[:, 4], chosen[:, 5]
    # 2 - s (E_ip + E_jp) - t (E_iq - E_jq) >= 0
    rows, offsets = sp.csr_array((len(chosen), size)), np.full(len(chosen), -2.0)
    for u, v, sign in ((i, p, -s), (j, p, -s), (i, q, -t), (j, q, t)):
        form, shift = _spin(graph, u, v, size)
        rows = rows + sp.diags_array(sign) @ form
        offsets = offsets - sign * shift
    rows = sp.csr_array(rows)
    rows.eliminate_zeros()
    return rows, offsets, _cycle_products(graph, i, j, p, q, s, t)


def _cycle_products(graph: Bipartite, *edges: np.ndarray) -> np.ndarray:
    """Return the literals (k, 4, 3) whose products add up to a quarter of a cycle's row.

    With 0 or 1 for spins a, b, c: (1 + a b - a c - b c) / 4 = a b (1 - c) + (1 - a)(1 - b) c; of a cycle these are
    e_i, e_j, s e_p and e_i, -e_j, t e_q.
    """
    i, j, p, q, s, t = edges
    alpha, beta = graph.single[i] + 1, graph.single[j] + 1
    found = []
    for b, c, sign in ((beta, p, s.astype(int)), (-beta, q, t.astype(int))):
        real = c < len(graph.neuron)
        gamma = sign * (graph.neuron[np.where(real, c, 0)] + 1)
        # The constant spin: a product with it is one of two literals, or 0, written as x (1 - x).
        for a, other, factor, alive in ((alpha, b, -gamma, sign < 0), (-alpha, -b, gamma, sign > 0)):
            two = np.where(alive, other, -a)
            found.append(np.stack([a, np.where(real, other, two), np.where(real, factor, 0)], axis=1))
    return np.stack(found, axis=1)


def _spin(graph: Bipartite, i: np.ndarray, j: np.ndarray, size: int) -> tuple[sp.csr_array, np.ndarray]:
    """E_ij as rows on y and constants; j = number of neurons is the constant spin."""
    count, last = len(i), graph.pair.shape[1]
    row = np.arange(count)
    real = j < last
    inner = np.where(real, j, 0)
    parts = [
        (np.where(real, 4.0, 0.0), np.where(real, graph.pair[i, inner], 0)),
        (np.where(real, -2.0, 2.0), graph.single[i]),
        (np.where(real, -2.0, 0.0), graph.neuron[inner] if last else np.zeros(count, int)),
    ]
    values, columns = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    return sp.csr_array((values, (np.tile(row, 3), columns)), shape=(count, size)), np.where(real, 1.0, -1.0)


def triangles(p: Multilinear, program: KrivineProgram, largest: int) -> np.ndarray | None:
    """Return positions in y (T, 3, 2): of each triple (i, j, k) the singles, and the pairs jk, ik, ij opposite.

    None if there are more than `largest`.
    """
    chosen: set[tuple[int, ...]] = set()
    for subset in p.subsets:
        chosen.update(itertools.combinations(subset, 3))
        if len(chosen) > largest:
            return None
    triples = np.array(sorted(chosen), int).reshape(-1, 3)
    found = np.empty((len(triples), 3, 2), int)
    moments = program.moments
    for corner, (a, b) in enumerate(((1, 2), (0, 2), (0, 1))):
        found[:, corner, 0] = [moments[(i,)] for i in triples[:, corner].tolist()]
        found[:, corner, 1] = [moments[tuple(pair)] for pair in triples[:, [a, b]].tolist()]
    return found


def violated_triangles(where: np.ndarray, y: np.ndarray, count: int) -> Cuts:
    """Return the most violated triangle inequalities, at most one of each triple."""
    single, pair = y[where[..., 0]], y[where[..., 1]]  # (T, 3) each
    # y_i - y_ij - y_ik + y_jk (pair[:, i] is y_jk), and 1 - y_i - y_j - y_k + y_ij + y_ik + y_jk
    values = single + 2 * pair - pair.sum(1, keepdims=True)
    values = np.concatenate([values, (1 - single.sum(1) + pair.sum(1))[:, None]], axis=1)
    kinds, worst = values.argmin(1), values.min(1)
    t = np.argsort(worst, kind="stable")[:count]
    t = t[worst[t] < -TOLERANCE]
    kind, rows = kinds[t], len(t)
    corner, last = kind[:, None] == np.arange(3), (kind == 3)[:, None]
    singles = np.where(last, -1.0, corner.astype(float))
    pairs = np.where(last | corner, 1.0, -1.0)
    index = np.concatenate([where[t][..., 0], where[t][..., 1]], axis=1)
    sign = np.concatenate([singles, pairs], axis=1)
    matrix = sp.csr_array((sign.ravel(), (np.repeat(np.arange(rows), 6), index.ravel())), shape=(rows, len(y)))
    matrix.eliminate_zeros()
    # x_i (1 - x_j)(1 - x_k) + (1 - x_i) x_j x_k, and (1 - x_i)(1 - x_j)(1 - x_k) + x_i x_j x_k
    literals = (where[t][..., 0] + 1) * np.where(corner, 1, -1)
    return matrix, np.where(kind == 3, -1.0, 0.0), np.stack([literals, -literals], axis=1)
