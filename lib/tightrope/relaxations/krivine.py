"""LipOpt-k: Krivine-Stengle linear programs over the layered sparsity (Latorre, Rolland and Cevher 2020).

The gradient's dual norm is a polynomial with a degree of at most 1 in each variable, the derivatives u of ReLU relaxed
to [0, 1] and t = 2 s - 1 in the box: for one hidden layer p(s, u) = sum_ij c_j A_ji (2 s_i - 1) u_j. LipOpt-k is the
smallest lambda with

    lambda - p = sum over subsets I of variables, |alpha| + |beta| <= k, of c_ab x^a (1 - x)^b,   c_ab >= 0, x = x_I.

Its maximum over [0, 1]^n is attained at a vertex, and so squarefree products are enough: where x^2 = x, a product with
a repeated factor is one with fewer factors, or 0. (A certificate in the ring remains one on the vertices, and p and the
squarefree products are determined by their values there.) So the linear program's dual has one pseudo-moment y_S for
each set S of at most k variables of a subset, and the rows say that products of k factors are >= 0.

Two reductions, both exact, keep it small. The four products of three factors with y_ijk (or its complement) can be
solved for y_ijk wherever it is not in the objective; what remains are the triangle inequalities

    y_i - y_ij - y_ik + y_jk >= 0,    1 - y_i - y_j - y_k + y_ij + y_ik + y_jk >= 0,

each the sum of two products of degree 3. And of these only violated ones, and sums of two of them without y_ij, are
given to the solver (:mod:`tightrope.relaxations.krivine_cuts`).

Subsets, as in the paper's layered sparsity: for every neuron of the last hidden layer, that neuron and all that it
depends on. (The authors' first code had a fault in its gradient polynomial; here it is expanded from the definition,
and tests compare it with the network's own gradient.)
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError, RegionError
from tightrope.problems.relu_question import Question
from tightrope.regions import INFINITY

#: Products of a program that is built in one piece (LipOpt-4), beyond which it counts as out of memory.
LARGEST = 2_000_000


class TooLarge(InputError):
    """A linear program that would not fit into memory; the paper writes OfM."""


@dataclass(frozen=True, eq=False)
class Multilinear:
    """sum_k values[k] * product of x_i, i in monomials[k], over [0, 1]^n, n = `size`.

    Monomials are sorted tuples of variables, () for the constant; each lies in one of the subsets. Values over [0, 1]^n
    are at most `rounding` from those with coefficients of exact arithmetic.
    """

    size: int
    monomials: tuple[tuple[int, ...], ...]
    values: np.ndarray
    subsets: tuple[tuple[int, ...], ...]
    rounding: float = 0.0

    @property
    def degree(self) -> int:
        """The largest number of variables in a monomial."""
        return max(map(len, self.monomials), default=0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Values (...,) at points (..., n)."""
        total = np.zeros(np.shape(x)[:-1])
        for monomial, value in zip(self.monomials, self.values, strict=True):
            total = total + value * np.prod(x[..., list(monomial)], axis=-1)
        return total


def gradient_polynomial(ask: Question) -> Multilinear:
    """Return p(s, u), max p = max ||A_1'diag(u_1) ... diag(u_m) c||_1 over u in [0, 1] and, locally, decided u fixed.

    Variables: s = (t + 1) / 2 of every input, then the undecided u of every layer, in the order of the layers. The norm
    is L-infinity.
    """
    if ask.region.norm != INFINITY:
        raise RegionError(f"region: LipOpt is built for L-infinity here, not L{ask.region.norm:g}.")
    count = ask.region.size
    names: list[np.ndarray] = [np.arange(count)]
    fixed: list[np.ndarray] = [np.ones(count)]
    for lo, hi in zip(ask.lower, ask.upper, strict=True):
        free = (lo <= 0) & (hi >= 0)
        name = np.full(len(lo), -1)
        name[free] = count + np.arange(free.sum())
        count += int(free.sum())
        names.append(name)
        fixed.append(np.where(hi < 0, 0.0, 1.0))
    # Paths from the inputs to the output: monomials t_i u_1 ... u_m; layer by layer, zero weights left out.
    front: dict[int, dict[tuple[int, ...], float]] = {i: {(i,): 1.0} for i in range(ask.region.size)}
    steps = zip((*ask.weights, ask.c[None]), (*names[1:], np.array([-1])), (*fixed[1:], np.ones(1)), strict=True)
    for A, name, on in steps:
        front, before = {}, front
        for j, source in np.argwhere(A * on[:, None]).tolist():
            here = front.setdefault(j, {})
            for monomial, value in before.get(source, {}).items():
                longer = (*monomial, int(name[j])) if name[j] >= 0 else monomial
                here[longer] = here.get(longer, 0.0) + value * A[j, source]
    terms: dict[tuple[int, ...], float] = {}
    for monomial, value in sorted(front.get(0, {}).items(), key=lambda term: term[0][0]):  # t_i = 2 s_i - 1
        terms[monomial] = terms.get(monomial, 0.0) + 2 * value
        terms[monomial[1:]] = terms.get(monomial[1:], 0.0) - value
    kept = {monomial: value for monomial, value in terms.items() if value}
    values = np.array(list(kept.values()))
    return Multilinear(count, tuple(kept), values, _layered(ask, names, fixed), _rounding(ask, fixed))


def _rounding(ask: Question, fixed: list[np.ndarray]) -> float:
    """Return what rounding can change in all coefficients of the gradient polynomial together.

    A coefficient is a sum over paths, each a product of weights that is taken at most three times (2 value, -value);
    the sum of K products of d factors is off by at most (K + d) u times the sum of their sizes, and no coefficient has
    more than 3 K of them, K the number of all paths.
    """
    size, count, inner = np.ones(ask.weights[0].shape[1]), np.ones(ask.weights[0].shape[1]), 0
    for (A, _), here in zip(ask.sizes, (*fixed[1:], np.ones(1)), strict=True):
        size, count, inner = here * (A @ size), here * ((A != 0) @ count), inner + A.shape[1]
    unit = np.finfo(float).eps / 2
    return float(3 * 1.01 * (3 * count[0] + inner + ask.depth + 3) * unit * size[0])


def _layered(ask: Question, names: list[np.ndarray], fixed: list[np.ndarray]) -> tuple[tuple[int, ...], ...]:
    """Return for each neuron of the last hidden layer it and all variables that it depends on, without repeats."""
    found: dict[tuple[int, ...], None] = {}
    for j in np.flatnonzero(fixed[-1] * np.abs(ask.c)):
        reached = np.zeros(len(ask.c), bool)
        reached[j] = True
        chosen = [names[-1][j]] if names[-1][j] >= 0 else []
        for k in range(ask.depth - 1, -1, -1):
            reached = (np.abs(ask.weights[k][reached]).sum(0) > 0) & (fixed[k] > 0)
            chosen += [v for v in names[k][reached] if v >= 0]
        found[tuple(sorted(map(int, chosen)))] = None
    sets = [set(s) for s in found]
    return tuple(s for s in found if not any(set(s) < other for other in sets))


@dataclass(frozen=True, eq=False)
class KrivineProgram:
    """max constant + objective'y : rows y >= offsets, 0 <= y <= 1, and for degree 3 cuts that are added when violated.

    `moments` gives a set of variables its position in y; `faces` are sets of variables, in order, and the rows of each
    are the products of :func:`products_of`.
    """

    constant: float
    objective: np.ndarray
    rows: sp.csr_array
    offsets: np.ndarray
    moments: dict[tuple[int, ...], int]
    faces: tuple[tuple[int, ...], ...]


def krivine(p: Multilinear, degree: int) -> KrivineProgram:
    """Return the linear program LipOpt-k of a polynomial of at most this degree, 3 or 4, or raise TooLarge."""
    if degree not in (3, 4) or degree < p.degree:
        raise InputError(f"degree: got {degree!r}; write 3 or 4, at least that of the polynomial, {p.degree}.")
    if degree == 4:
        whole = _faces(p.subsets, 4)
    else:
        whole = {m for m in p.monomials if len(m) == 3} | _faces(p.subsets, 2) | {s for s in p.subsets if len(s) < 3}
    products = sum(2 ** len(face) for face in whole)
    if products > LARGEST:
        raise TooLarge(f"degree: {degree} needs {products} products, more than {LARGEST} (OfM).")
    moments: dict[tuple[int, ...], int] = {}
    for face in itertools.chain(p.monomials, whole):
        for size in range(1, len(face) + 1):
            for part in itertools.combinations(face, size):
                moments.setdefault(part, len(moments))
    values = dict(zip(p.monomials, p.values, strict=True))
    constant, objective = float(values.pop((), 0.0)), np.zeros(len(moments))
    objective[[moments[monomial] for monomial in values]] = list(values.values())
    faces = tuple(sorted(whole))
    return KrivineProgram(constant, objective, *_products(faces, moments), moments, faces)


def _faces(subsets: tuple[tuple[int, ...], ...], size: int) -> set[tuple[int, ...]]:
    """Return all sets of `size` variables of a subset (smaller subsets as they are)."""
    found: set[tuple[int, ...]] = set()
    for subset in subsets:
        found.update(itertools.combinations(subset, min(size, len(subset))))
        if len(found) * 2**size > LARGEST:
            raise TooLarge(f"degree: {size} needs more than {LARGEST} products (OfM).")
    return found


def products_of(face: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """Yield each subset T of a face, and the rest: of prod_{i in T} x_i prod_{i in face - T} (1 - x_i)."""
    for size in range(len(face) + 1):
        for inside in itertools.combinations(face, size):
            yield inside, [i for i in face if i not in inside]


def _products(faces: tuple[tuple[int, ...], ...], moments: dict) -> tuple[sp.csr_array, np.ndarray]:
    """Return rows of L(prod_{i in T} x_i prod_{i in face - T} (1 - x_i)) >= 0 for every T, inclusion and exclusion."""
    r, c, v, offsets = [], [], [], list[float]()
    for face in faces:
        for inside, outside in products_of(face):
            for extra in range(len(outside) + 1):
                for more in itertools.combinations(outside, extra):
                    if whole := tuple(sorted(inside + more)):
                        r.append(len(offsets))
                        c.append(moments[whole])
                        v.append((-1.0) ** extra)
            offsets.append(0.0 if inside else -1.0)
    return sp.csr_array((v, (r, c)), shape=(len(offsets), len(moments))), np.array(offsets)
