"""Certificate files of Lipschitz constants of ReLU networks: what the methods found, in the checker's terms.

Multipliers of products of one neuron's numbers add up to a quadratic function of that neuron; the checker minimises it
and asks nothing of the multipliers' signs. So a file of SHOR, HR-1, HR-2 and product Shor holds these functions'
coefficients. Where they leave the remainder a little below 0, squares are taken from it, and the bound is raised.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from tightrope.checker import Finding, Refused, regions
from tightrope.checker import relu_lipschitz as theory
from tightrope.checker.numbers import above
from tightrope.checker.relu_network import Network
from tightrope.outward import at_least, at_most
from tightrope.problems.relu_lipschitz import (
    CORNERS,
    OF_G,
    OF_H,
    LayerForms,
    free_neurons,
    layer_forms,
    relu_lipschitz_problem,
    wide,
)
from tightrope.problems.relu_question import Question, gradient_bounds
from tightrope.proofs import LOOSEST, Proof, checked, decimal_above, decimal_below, moved_inside
from tightrope.regions import INFINITY
from tightrope.relaxations.krivine import KrivineProgram, products_of
from tightrope.relaxations.lasserre import semidefinite_part
from tightrope.relaxations.shor import MomentProgram
from tightrope.solvers.conic import MomentMultipliers

#: What is taken from the squares of all variables, relative to the bound.
NUDGES = (0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
#: What multipliers of products may add up to that are left out, relative to the bound.
DROPPED = 1e-7
#: Shares of a region's size, smaller and smaller, for the two points of a lower bound.
STEPS = tuple(2.0**-k for k in (6, 12, 18, 24))


@dataclass(frozen=True, eq=False)
class Shor:
    """Multipliers by the group of their constraints; the refinement of the problem, None for LipOpt's QCQP."""

    refinement: str | None
    multipliers: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Moments:
    """A program of HR-d and its multipliers."""

    program: MomentProgram
    found: MomentMultipliers


@dataclass(frozen=True, eq=False)
class Products:
    """A linear program of LipOpt, the products that each batch of cuts is made of, and the multipliers of all rows."""

    program: KrivineProgram
    cuts: list[np.ndarray]
    multipliers: np.ndarray


@dataclass(frozen=True, eq=False)
class Place:
    """A point (p0,) and the patterns (p_i,) of the gradient there."""

    point: np.ndarray
    patterns: tuple[np.ndarray, ...]


#: None: intervals, or a gradient that is constant.
Evidence: TypeAlias = Shor | Moments | Products | Place | None
Part: TypeAlias = int | tuple[int, int]


# upper bounds ----------------------------------------------------------------------------------------------------


def upper(ask: Question, part: Part, value: float, evidence: Evidence) -> Proof:
    """Return the proof of an upper bound; the bound in the file may be larger by :data:`LOOSEST`, relatively."""
    header, arrays, claims, norm = *_stated(ask), "inf" if ask.region.norm == INFINITY else "2"
    if isinstance(evidence, Shor) and evidence.refinement is None:  # it uses nothing of the region
        header, arrays, claims = {}, {}, []
    network = Network.read(ask.network.arrays())
    region = regions.read(header, arrays) if header else None
    known = [(arrays[f"l{i}"], arrays[f"u{i}"]) for i in range(1, len(claims) + 1)]
    states = theory.States.read(network, _listed(part), region, known)
    most, refusal = value + LOOSEST * (1 + abs(value)), "the multipliers prove no such bound"
    proof = None
    for rule, bound, own in _candidates(states, ask, value, norm, evidence):
        if bound > most:
            refusal = f"what was found proves {at_most(bound, 6)} only"
            continue
        claim = {"part": _listed(part), "norm": norm, "bound": decimal_above(bound), "rule": rule}
        rows = {name: array[None] for name, array in own.items()}
        proof = checked("relu-lipschitz", ask.network, header, [*claims, claim], arrays | rows)
        if proof.proven:
            return proof
    words = f"the L{norm} Lipschitz constant of F_{part} is at most {at_most(value, 6)}"
    return proof or Proof(None, (Finding(words, False, reason=refusal),))


def _stated(ask: Question) -> tuple[dict, dict[str, np.ndarray], list[dict]]:
    """Return the region and the bounds of the hidden layers, with the claims that prove these."""
    header, arrays = ask.region.stated()
    for i, (low, high) in enumerate(zip(ask.lower, ask.upper, strict=True), start=1):
        arrays = arrays | {f"l{i}": low, f"u{i}": high}
    return header, arrays, [{"layer": i, "rule": "interval"} for i in range(1, ask.depth + 1)]


def _listed(part: Part) -> int | list[int]:
    return [int(k) for k in part] if isinstance(part, tuple) else int(part)


_Candidate: TypeAlias = tuple[str, float, dict[str, np.ndarray]]


def _candidates(
    states: theory.States, ask: Question, value: float, norm: str, evidence: Evidence
) -> Iterator[_Candidate]:
    """Yield rules, bounds and arrays that may prove them."""
    if isinstance(evidence, Products):
        literals, multipliers = _literals(ask, value, evidence)
        try:
            bound = above(theory.proven_by_products(states, literals, multipliers))
        except Refused:
            bound = np.inf
        yield "products", bound, {"products": literals, "multipliers": multipliers}
    elif isinstance(evidence, Shor | Moments):
        coefficients, squares = _coefficients(ask, evidence)
        found = []
        for size in NUDGES:
            taken = {name: array * size * (1 + abs(value)) for name, array in squares.items()}
            own = {name: coefficients.get(name, 0.0) - taken.get(name, 0.0) for name in coefficients | taken}
            own = {name: array for name, array in own.items() if array.any()}
            bound = _proposed(states, norm, own)
            found.append((bound, own))
            if bound <= value * (1 + 1e-5):
                break
        for bound, own in sorted(found, key=lambda pair: pair[0])[:3]:
            for more in (1e-9, 1e-6):
                yield "quadratics", bound + more * (1 + abs(bound)), own
    else:
        yield "intervals", value, {}


def _proposed(states: theory.States, norm: str, coefficients: dict[str, np.ndarray]) -> float:
    """Return the bound that these coefficients prove, as far as floating point can tell."""
    try:
        form = theory.quadratics(states, norm, coefficients).matrix().floats()
    except Refused:
        return np.inf
    row, matrix = form[0, 1:], form[1:, 1:]
    kept = np.abs(matrix).any(1) | (row != 0)
    row, matrix = row[kept], matrix[np.ix_(kept, kept)]
    scale = 1 / np.sqrt(np.maximum(matrix.diagonal(), 1e-300))
    matrix, row = matrix * scale[:, None] * scale, row * scale
    if not np.isfinite(matrix).all() or (len(row) and not np.linalg.eigvalsh(matrix)[0] > 1e-11):
        return np.inf
    need = float(row @ np.linalg.solve(matrix, row)) if len(row) else 0.0
    return need - float(form[0, 0])


# quadratic functions of neurons ------------------------------------------------------------------------------------


class _Coefficients:
    """Coefficients by the file's names, zero where nothing is added."""

    def __init__(self) -> None:
        self.found: dict[str, np.ndarray] = {}

    def add(self, name: str, size: int, rows: np.ndarray, values: np.ndarray | float) -> None:
        self.found.setdefault(name, np.zeros(size))[rows] += values


def _coefficients(ask: Question, evidence: Shor | Moments) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the functions' coefficients, and those of squares of the variables, which are at most about 1."""
    into, squares = _Coefficients(), _Coefficients()
    n, box = ask.region.size, ask.region.norm == INFINITY
    size = n if box else 1
    squares.add("tt", size, np.arange(size), 1.0)
    for i, bias in enumerate(ask.biases, start=1):
        # u^2 - u is 0
        squares.add(f"{i}.uu", len(bias), np.arange(len(bias)), 1.0)
        squares.add(f"{i}.u", len(bias), np.arange(len(bias)), -1.0)
    if isinstance(evidence, Shor):
        multipliers, refinement = evidence.multipliers, evidence.refinement
    else:
        multipliers = {k: evidence.found.report.multipliers[v] for k, v in evidence.program.constraints.groups.items()}
        refinement = "printed"
    of_t = next(multipliers[k] for k in ("1 - t_j^2 >= 0", "1 - |t|^2 >= 0") if k in multipliers)
    into.add("tt", size, np.arange(size), -of_t)
    if refinement is None:
        anywhere = tuple(np.full(len(b), np.inf) for b in ask.biases)
        _slopes(ask, multipliers, into, squares, anywhere)
        return into.found, squares.found
    moving = wide(ask.region) if box else np.arange(1)
    if ask.coordinates.V.shape[1]:
        squares.add("dd", size, moving, 1.0)
        into.add("dd", size, moving, -multipliers["1 - d_j^2 >= 0" if box else "1 - |d|^2 >= 0"])
    for name, signs in zip(CORNERS, ((1, 1), (1, -1), (-1, 1), (-1, -1)), strict=True):
        for key, sign in (("d", signs[0]), ("t", signs[1]), ("dt", signs[0] * signs[1])):
            if name in multipliers:
                into.add(key, n, moving, sign * multipliers[name])
    tight = refinement == "products"
    layers = layer_forms(relu_lipschitz_problem(ask, refinement).space, ask, free_neurons(ask, tight), tight)
    for i, layer in enumerate(layers, start=1):
        count = layer.u.shape[0]
        for letter, scale in (("x", layer.h_scale), ("r", layer.g_scale)):
            if i < ask.depth:
                squares.add(f"{i}.{2 * letter}", count, np.arange(count), scale**-2)
        for bodies, rows, scale, bounds in (
            (OF_H, layer.free, layer.h_scale, layer.h_bounds),
            (OF_G, layer.lifted, layer.g_scale, layer.g_bounds),
        ):
            low, high = (bound[rows] for bound in bounds)
            for name, _, body in bodies:
                y = multipliers.get(name.replace("#", str(i)))
                for product, factor in body(low, high).items() if y is not None else ():
                    if product:  # files hold no constants
                        own = "".join(sorted(product, key="uhxgr".index))
                        into.add(f"{i}.{own}", count, rows, y * factor * _unit(product, scale[rows]))
    if isinstance(evidence, Moments):
        _of_subsets(ask, evidence, layers, into)
    return into.found, squares.found


def _unit(product: str, scale: np.ndarray) -> np.ndarray:
    return scale ** -float(sum(letter in "hxgr" for letter in product))


def _slopes(ask: Question, multipliers: Mapping, into: _Coefficients, squares: _Coefficients, ends: tuple) -> None:
    """Add the functions of LipOpt's QCQP, whose variables are r in units of its bounds over all inputs."""
    low, high = gradient_bounds(replace(ask, lower=tuple(-h for h in ends), upper=ends))
    for i, (lo, hi) in enumerate(zip(low, high, strict=True), start=1):
        rows = np.flatnonzero((lo != 0) | (hi != 0))
        size = np.maximum(np.abs(lo), np.abs(hi))
        scale = np.where(size > 1e-12, size, 1.0)
        y = multipliers[f"r{i} (g - r) >= 0"]
        if i < ask.depth:
            squares.add(f"{i}.rr", len(lo), np.arange(len(lo)), scale**-2)
        for product, sign in (("gr", 1), ("rr", -1)):
            into.add(f"{i}.{product}", len(lo), rows, sign * y / scale[rows] ** 2)


def _of_subsets(ask: Question, evidence: Moments, layers: list[LayerForms], into: _Coefficients) -> None:
    """Add what the Gram matrices of subsets say in degree 2, in the order of relaxations.heuristic.hr.

    What they leave in higher degrees is 0 up to the solver's tolerance; the checker minimises the rest anyway.
    """
    owners: list[tuple[str, str, int, int, float, float]] = []  # prefix, letters, size, row, units
    if ask.region.norm == INFINITY:
        owners += [("", "dt", ask.region.size, int(j), 1.0, 1.0) for j in wide(ask.region)]
    for i, layer in enumerate(layers, start=1):
        h, g, count = layer.h_scale, layer.g_scale, layer.u.shape[0]
        letters = "uh" if layer.x is None else "uhx"
        owners += [(f"{i}.", letters, count, j, h[j], 1.0) for j in range(count)]
        if layer.x is not None:
            owners += [(f"{i}.", "ugr", count, int(j), 1.0, g[j]) for j in layer.lifted]
    parts = zip(owners, evidence.program.blocks, evidence.found.grams, evidence.found.free, strict=True)
    for (prefix, letters, count, row, h, g), block, grams, free in parts:
        q = block.equalities @ free if block.equalities.shape[1] else np.zeros(len(block.monomials))
        for A, gram in zip(block.psd, grams, strict=True):
            q = q + A @ semidefinite_part(gram).ravel()
        for exponents, value in zip(block.monomials[: block.low].tolist(), q[: block.low].tolist(), strict=True):
            product = "".join(letter * e for letter, e in zip(letters, exponents, strict=True))
            unit = _unit(product, np.array(g if "g" in letters else h))
            if product:
                into.add(f"{prefix}{product}", count, np.array([row]), value * unit)


# products of literals ------------------------------------------------------------------------------------------------


def _literals(ask: Question, value: float, evidence: Products) -> tuple[np.ndarray, np.ndarray]:
    """Return the products (R, k) that have a multiplier, as the checker counts variables, and the multipliers (R,)."""
    free = np.concatenate([(lo <= 0) & (hi >= 0) for lo, hi in zip(ask.lower, ask.upper, strict=True)])
    known = np.concatenate([np.arange(ask.region.size), ask.region.size + np.flatnonzero(free)])  # by our number
    weights = np.maximum(-evidence.multipliers, 0.0)
    order = np.sort(weights)  # the smallest that add up to next to nothing are left out
    small = int(np.searchsorted(np.cumsum(order), DROPPED * (1 + value)))
    least = order[small - 1] if small else 0.0
    rows: list[list[int]] = []
    found: list[float] = []
    first = (product for face in evidence.program.faces for product in products_of(face))
    for weight, (inside, outside) in zip(weights.tolist(), first, strict=False):
        if weight > least:
            rows.append([*(known[v] + 1 for v in inside), *(-known[v] - 1 for v in outside)])
            found.append(weight)
    places = {place: moment[0] for moment, place in evidence.program.moments.items() if len(moment) == 1}
    variable = np.zeros(max(evidence.program.moments.values(), default=0) + 2, int)
    variable[[place + 1 for place in places]] = [known[v] + 1 for v in places.values()]
    start = len(evidence.program.offsets)
    for cuts in evidence.cuts:
        own = weights[start : start + len(cuts)]
        start += len(cuts)
        factor = 4.0 if cuts.shape[1] == 4 else 1.0
        chosen = np.flatnonzero(own > least)
        rows += (np.sign(cuts[chosen]) * variable[np.abs(cuts[chosen])]).reshape(-1, 3).tolist()
        found += np.repeat(factor * own[chosen], cuts.shape[1]).tolist()
    longest = max(map(len, rows), default=1)
    table = np.array([row + [0] * (longest - len(row)) for row in rows], np.int32).reshape(-1, longest)
    return table, np.array(found)


# lower bounds ------------------------------------------------------------------------------------------------------


def lower(ask: Question, part: Part, value: float, evidence: Evidence) -> Proof:
    """Return the proof of a lower bound: two points of the region with that difference quotient."""
    point, g = ask.region.center, ask.c if ask.depth == 0 else np.zeros(ask.region.size)
    if isinstance(evidence, Place):
        point, g = evidence.point, ask.c
        for A, u in zip(reversed(ask.weights), reversed(evidence.patterns), strict=True):
            g = (g * u) @ A
    g = g if g.any() else np.ones(len(g))  # 0 is attained in every direction
    norm = "inf" if ask.region.norm == INFINITY else "2"
    direction = np.sign(g) if norm == "inf" else g / np.linalg.norm(g / np.abs(g).max()) / np.abs(g).max()
    low, high = ask.region.bounding_box()
    half = (high - low) / 2
    moving = half > 0
    width, centre = half[moving].min(initial=np.inf), (low + high) / 2
    network = Network.read(ask.network.arrays())
    best: tuple[Fraction, list[np.ndarray]] = (Fraction(-1), [])
    for share in STEPS:
        # In a ball, what is `share` of the way to its centre has that share of its size around it.
        inner = point + share * (centre - point)
        ends = [
            moved_inside(ask.region, inner + sign * share / 2 * width * np.where(moving, direction, 0.0))
            for sign in (1, -1)
        ]
        try:
            found = theory.quotient(network, _listed(part), norm, ends)
        except Refused:
            continue
        best = max(best, (found, ends), key=lambda pair: pair[0])
    size = -1.0 if not best[1] else float(best[0]) if norm == "inf" else float(best[0]) ** 0.5
    claim = {"part": _listed(part), "norm": norm, "least": decimal_below(max(0.0, min(size * (1 - 1e-12), value)))}
    if size < value - LOOSEST * (1 + abs(value)):
        reason = f"near the point that was found only {at_least(max(size, 0), 6)} is attained: a neuron is 0 there"
        words = f"the L{norm} Lipschitz constant of F_{part} is at least {at_least(value, 6)}"
        return Proof(None, (Finding(words, False, reason=reason),))
    header, arrays = ask.region.stated()
    arrays = arrays | {"point": best[1][0][None], "other": best[1][1][None]}
    return checked("relu-lipschitz-points", ask.network, header, [claim], arrays)
