"""Certificate files of what the solvers found: written here, and called proven only where the checker proves them.

The multipliers of a :class:`DualBound` belong to coordinates of unit size; a file has them in input units, in single
precision where the checker still proves the claim. :mod:`tightrope.checker` decides and knows nothing of this module;
each kind of file is a theory of its README.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from tightrope import checker, zoo
from tightrope.attacks import Attack
from tightrope.checker import Finding
from tightrope.checker import mondeq as theory
from tightrope.checker import phases as phase_theory
from tightrope.checker import regions as exact_regions
from tightrope.checker.ellipsoid import image_form
from tightrope.checker.numbers import Exact
from tightrope.checker.theories import WHOLE_FILE
from tightrope.checker.trees import in_leaf
from tightrope.errors import CertificateError, InputError, TightropeError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.problems.robustness import binding_rows
from tightrope.propagation.fixpoint import Box
from tightrope.question import Question
from tightrope.regions import INFINITY, Ball, Region
from tightrope.relaxations.cuts import ABSOLUTE, PAIRS

#: Significant digits of a bound in a file.
DIGITS = 5
#: Significant digits of a minimum distortion's ends.
DISTANCE_DIGITS = 7
#: By how much a multiplier may be below the largest one of its kind: 0 proves nothing where an input can move.
SMALLEST = 1e-12
#: The multiplier of a ball that is a point, relative to the largest one.
POINT = 1e20
#: By how much t is raised, relative to the largest, where a solver's own multipliers leave the form in z with an
#: eigenvalue a little below 0: the bounds that `sound_bound` proves may use that z is bounded. And q, see `_around`.
NUDGES = tuple(itertools.product(10.0 ** np.arange(-12, 0), (0.01, 1.0)))

#: By how much, relative to 1 + its size, the bound in a file may be above the solver's for it, if that is not negative.
LOOSEST = 1e-3

#: The products of two facts about the inputs of a polytope, in problems.robustness.
ROW_PAIRS = "(offset - row d)(offset - row d, 1 - d, 1 + d)"

#: The arrays of a Lipschitz constant's part, by norm, and whose multipliers they hold.
LIPSCHITZ_GROUPS = {
    "inf": {"a": "y (r - y) >= 0", "t": "1 - t_j^2 >= 0"},
    "2": {"a": "y (r - y) >= 0", "v": "1 - |v|^2 >= 0", "t": "1 - |t|^2 >= 0"},
    "1": {"a": "y (r - y) >= 0", "v": "1 - v_j^2 >= 0"},
}

_Content = tuple[dict, dict[str, np.ndarray]]
#: A claim, and its row of each array.
_Claim = tuple[dict, dict[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class DualBound:
    """An upper bound of F_target - F_label on a region, and the multipliers that it follows from.

    The bound is proven in floating point (:func:`tightrope.solvers.sound.sound_bound`); whether the checker proves it
    too, a :class:`Proof` says.
    """

    target: int
    bound: float
    multipliers: Mapping[str, np.ndarray]  # by constraint group (k,); with products of pairs of facts "pairs" (r, 2)
    bounds: Box | None = None  # l <= h <= u, which the problem was tightened by (1+bounds, 1+cuts); None for order 1


@dataclass(frozen=True, eq=False)
class Proof:
    """A certificate file before it is written, with what the checker says of it."""

    certificate: checker.Certificate | None  # the claims that the checker proves; None if there are none
    findings: tuple[Finding, ...]  # what became of each claim; those that were refused are not in the file

    @property
    def proven(self) -> bool:
        """Whether every claim is."""
        return bool(self.findings) and all(finding.proven for finding in self.findings)

    def save(self, path: str | Path) -> str:
        """Write the file and return the SHA-256 of its bytes.

        Raises
        ------
        CertificateError
            No claim is proven.
        """
        if self.certificate is None:
            reasons = "; ".join(finding.reason for finding in self.findings) or "there are no claims"
            raise CertificateError(f"certificate: nothing is proven that could be written ({reasons}).")
        return self.certificate.save(path)


@contextmanager
def named_refusals() -> Iterator[None]:
    """Return a context, which is a decorator too, in which numbers that the checker cannot read are a named error."""
    try:
        yield
    except checker.Refused as refusal:
        raise CertificateError(f"certificate: {refusal}.") from refusal


# networks and regions ------------------------------------------------------------------------------------------


def arrays_of(network: MonDEQ | FeedForward) -> tuple[str, dict[str, np.ndarray]]:
    """Return the kind of a network and its arrays, as the checker knows them.

    Raises
    ------
    InputError
        There are no certificate files for this kind of network.
    """
    if isinstance(network, MonDEQ):
        return "mondeq", {name: getattr(network, name) for name in ("W", "U", "u", "C", "c")}
    if isinstance(network, FeedForward):
        return "relu", network.arrays()
    kinds = "a MonDEQ or a FeedForward"
    raise InputError(f"network: there are certificate files for {kinds}, not for a {type(network).__name__}.")


def digest(network: MonDEQ | FeedForward) -> str:
    """Return the SHA-256 by which a certificate file knows a network."""
    return checker.digest(*arrays_of(network))


def find_network(sha256: str) -> MonDEQ | FeedForward:
    """Return the network of the zoo with this :func:`digest`, itself or as a monDEQ, of those that are on this machine.

    Raises
    ------
    InputError
        There is none.
    """
    for name in filter(zoo.available, zoo.names()):
        try:
            network = zoo.get(name).network
            layers = isinstance(network, FeedForward) and network.is_dense  # Shor's relaxation is of dense layers
            if sha256 == digest(network) or (layers and sha256 == digest(network.to_mondeq())):
                return network
        except TightropeError:  # of another kind, or damaged: not the one that is looked for
            continue
    raise InputError("network: no network of the zoo has the SHA-256 that the file states; name it by --network.")


# margins of a monDEQ -------------------------------------------------------------------------------------------


@named_refusals()
def margins(question: Question, duals: Sequence[DualBound]) -> Proof:
    """Return the proof that F_target - F_label <= bound on the region, for each dual bound, whatever the targets are.

    Where one is of order 1+bounds or 1+cuts the file has the theory mondeq-phases, else mondeq-order-1.
    """
    bounds = next((dual.bounds for dual in duals if dual.bounds is not None), None)
    if bounds is not None:
        return trees(question, bounds, [], duals)
    network, region, label = question.mondeq, question.region, question.label
    content = region.stated()
    exact, exact_region = theory.Network.read(arrays_of(network)[1]), exact_regions.read(*content)

    def candidates(dual: DualBound) -> Iterator[_Claim]:
        target, bound = dual.target, dual.bound
        claim = {"label": label, "target": target, "bound": decimal_above(bound)}
        multipliers = state_multipliers(dual.multipliers, region)
        yield from _shorter((claim, multipliers))

        def form(found: dict) -> np.ndarray:
            return theory.margin_form(exact, exact_region, label, target, Fraction(0), found).floats()

        value, found = _nudged(form, _around(network, region, multipliers), bound)
        if value is not None:
            yield claim | {"bound": decimal_above(value)}, found

    return _proof("mondeq-order-1", network, content, map(candidates, duals))


def _nudged(
    form: Callable[[dict], np.ndarray], around: Iterable[tuple[float, dict]], bound: float
) -> tuple[float | None, dict]:
    """Return a bound and multipliers a little to the side that prove it, as far as floating point can tell, or None.

    `form` makes of multipliers the form in (1, z) that must be at least 0 where the bound is 0.
    """
    best: tuple[float, dict] = (np.inf, {})
    for size, found in around:
        try:
            S = form(found)
        except checker.Refused:
            continue
        side, core = S[0, 1:], S[1:, 1:]
        if len(core) and np.linalg.eigvalsh(core)[0] <= 1e-11 * np.abs(core).max():
            continue
        value = float(side @ np.linalg.solve(core, side) - S[0, 0])
        if value >= best[0]:
            continue
        best = (value, found)
        if value <= bound + (max(size, LOOSEST) if value < 0 else size) * (1 + abs(bound)):
            break
    value = max(bound, best[0] + 1e-10 * (1 + abs(best[0])))
    if value >= 0 and (bound < 0 or value > bound + LOOSEST * (1 + abs(bound))):
        return None, {}
    return value, best[1]


def _around(
    network: MonDEQ, region: Region, multipliers: dict[str, np.ndarray], where: float | np.ndarray = 1.0
) -> Iterator[tuple[float, dict[str, np.ndarray]]]:
    """Yield how far t is raised (by so much times `where`), and the multipliers: itself first, then NUDGES in turn.

    All t by s adds s z'(z - W z - U d) to the form, and all q by s |U|^2 / (2 m) that times |d|^2: together at least
    s m |z|^2 / 2, as z'(z - W z) >= m |z|^2, so that every eigenvalue of the form in z rises.
    """
    q, largest = multipliers["q"], 0.0
    for name, array in multipliers.items():
        if name not in ("q", "clip", "w", "rows") and array.dtype.kind == "f":
            largest = max(largest, float(np.abs(array).max(initial=0.0)))
    U = network.U if region.generators is None else network.U @ region.generators
    steep = np.linalg.norm(U, 2) ** 2 / (2 * network.m)
    for size, share in ((0.0, 0.0), *NUDGES):
        step = size * largest
        yield size, multipliers | {"t": multipliers["t"] + step * where, "q": q + share * step * steep}


def state_multipliers(multipliers: Mapping[str, np.ndarray], region: Region) -> dict[str, np.ndarray]:
    """Return t, mu, nu (p,), q (n,) or (1,), and clip (n,) where a ball is clipped, in input units.

    ||d||_1 <= r implies sum q_j d_j^2 <= r^2 max q, so of the lift of an L1 ball nothing else is needed.
    """
    states = {"t": -multipliers["z (z - h) = 0"], "mu": multipliers["z >= 0"], "nu": multipliers["z - h >= 0"]}
    return states | _region_multipliers(multipliers, region)


def _region_multipliers(named: Mapping[str, np.ndarray], region: Region) -> dict[str, np.ndarray]:
    """Return q (n,) or (1,), and clip (n,) where a ball is clipped, in input units."""
    if region.generators is not None:
        return {"q": _positive(named["1 - d_j^2 >= 0" if region.parameters.is_box else "1 - |d|^2 >= 0"])}
    cut = region.half_spaces
    if region.is_box or cut is not None:
        lower, upper = region.bounding_box()
        q, wide = np.zeros(region.size), upper > lower
        half = (upper - lower)[wide] / 2
        # There are none where no state depends on d.
        q[wide] = _positive(named.get("1 - d_j^2 >= 0", np.zeros(len(half))) / half**2)
        if cut is None or not len(cut[0]):
            return {"q": q}
        return {"q": q, "rows": _row_multipliers(named, region, wide, half).ravel()}
    region = region.require_ball("certificate files are")
    clipped = region.lower is not None and region.upper is not None
    wide = region.upper > region.lower if clipped else np.ones(region.size, bool)
    square = region.radius**2 or 1.0
    q = np.zeros(region.size)
    q[wide] = named.get("1 - |d|^2 >= 0", np.ones(1)) / square
    if region.norm == 1 and "1 - d_j^2 >= 0" in named:
        q[wide] += (named["1 - d_j^2 >= 0"] + named["e_j^2 - d_j^2 >= 0"]) / square
    if not region.radius:  # the ball is a point, so that any multiplier is for nothing
        q[:] = POINT * max(np.abs(values).max(initial=0.0) for values in named.values())
    found = {"q": _positive(q) if region.norm == 1 else _positive(q[wide][:1] if wide.any() else np.ones(1))}
    if clipped:
        a, c = ((bound - region.center)[wide] / region.radius for bound in (region.lower, region.upper))
        eps = np.finfo(float).eps  # as in problems.robustness.coordinates, where a bound that binds has a multiplier
        binding = (a - 2 * eps * np.abs(a) > -1) | (c + 2 * eps * np.abs(c) < 1)
        clip = np.zeros(region.size)
        clip[np.flatnonzero(wide)[binding]] = named.get("(d - lower)(upper - d) >= 0", np.zeros(0)) / square
        found["clip"] = clip
    return found


def _row_multipliers(named: Mapping[str, np.ndarray], region: Region, wide: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Return the multipliers (k, r) of a polytope's rows times 1, z, the rows, and both sides of the box.

    r = 1 + p without products of two facts about the inputs, 1 + p + k + 2 p0 with them.
    """
    (A, _), p = region.half_spaces or (np.zeros((0, region.size)), None), len(named["z >= 0"])
    k, n = A.shape
    once, twice, more = (f"{name} >= 0" for name in ("offset - row d", "(offset - row d) z", ROW_PAIRS))
    # The rows that hold on the whole box have none: those of problems.robustness are the others.
    cuts = np.flatnonzero(binding_rows(region))
    found = np.zeros((k, 1 + p + (k + 2 * n) * (more in named)))
    if once in named:
        found[cuts, 0] = named[once]
        found[cuts, 1 : 1 + p] = named[twice].reshape(len(cuts), p)
    if more in named:
        i, j = np.triu_indices(len(cuts), 1)
        found[cuts[i], 1 + p + cuts[j]] = named[more][: len(i)]
        sides = named[more][len(i) :].reshape(len(cuts), 2, len(half)) / half
        columns = 1 + p + k + np.flatnonzero(wide)
        for side in (0, 1):
            found[np.ix_(cuts, columns + side * n)] = sides[:, side]
    return found


def trees(
    question: Question,
    invariant: Box,
    grown: Sequence[tuple[int, float, np.ndarray, Sequence[Mapping[str, np.ndarray]]]],
    duals: Sequence[DualBound] = (),
) -> Proof:
    """Return the proof that F_target - F_label <= bound on the region, by trees of phases (theory mondeq-phases).

    Parameters
    ----------
    invariant
        Bounds l <= h <= u of the root, of which the checker proves that they hold: those of
        :func:`tightrope.propagation.fixpoint.inductive`. A leaf's own follow from them and its signs.
    grown
        The target of each tree, a bound that every leaf proves (at least the largest `sound_bound` of the leaves),
        signs (leaves, p) int8, 1 where h_i >= 0 is assumed, -1 where h_i <= 0, 0 for nothing, and for each leaf its
        multipliers by the name of a fact: names and order are those of
        `cut_model(robustness_model(network, region, label), Box(l, u)).constraints` with the leaf's own bounds, and
        the region's own in unit coordinates. A fact that is not there has multipliers 0, an empty leaf (l_i > u_i)
        has none: {}. Products of pairs of facts have "pairs" (r, 2) beside "pairs of facts >= 0" (r,).
    duals
        Dual bounds under the same bounds on h, or of order 1; each is a tree of one leaf without signs.
    """
    network, label = question.mondeq, question.label
    region = question.region.require_ball("trees on phases are")
    claims = []
    for dual in duals:
        own = dual.bounds or invariant
        if not (np.array_equal(own.lower, invariant.lower) and np.array_equal(own.upper, invariant.upper)):
            raise CertificateError("certificates: those of one file must have the same bounds on h.")
        claim, signs = {"label": label, "target": dual.target}, np.zeros((1, network.width), np.int8)
        claims.append(_tree(network, region, claim, dual.bound, invariant, signs, [dual.multipliers]))
    for target, bound, signs, named in grown:
        signs = np.asarray(signs, np.int8)
        if signs.shape != (len(named), network.width):
            raise InputError(f"leaves: expected signs ({len(named)}, {network.width}), got {signs.shape}.")
        claim = {"label": label, "target": target, "leaves": len(named)}
        claims.append(_tree(network, region, claim, bound, invariant, signs, named))
    return _proof("mondeq-phases", network, _with_bounds(network, region, invariant), claims, _joined)


def _with_bounds(network: MonDEQ, region: Ball, bounds: Box) -> _Content:
    """Return a region with bounds on h, and with h at the centre of a ball, or of what is left of one of L-infinity."""
    header, arrays = region.stated()
    middle = np.add(*region.bounding_box()) / 2 if region.norm == INFINITY else region.center
    h = network.W @ network.equilibrium(middle) + network.U @ middle + network.u
    return header, {**arrays, "l": bounds.lower, "u": bounds.upper, "h": h}


def _tree(
    network: MonDEQ,
    region: Ball,
    claim: dict,
    bound: float,
    invariant: Box,
    signs: np.ndarray,
    named: Sequence[Mapping[str, np.ndarray]],
) -> Iterator[_Claim]:
    """Yield a claim with its leaves' multipliers: shorter, as they are, and a little to the side."""
    low, high = in_leaf(invariant.lower, invariant.upper, signs)
    rows = [_fact_multipliers(*leaf, region) for leaf in zip(low, high, named, strict=True)]

    def whole(bound: float, rows: list[dict]) -> _Claim:
        own = {"sign": signs} if "leaves" in claim else {}
        return claim | {"bound": decimal_above(bound)}, _joined(rows) | own

    yield from _shorter(whole(bound, rows))
    exact, exact_region = theory.Network.read(arrays_of(network)[1]), exact_regions.read(*region.stated())

    def form(found: dict, leaf: int) -> np.ndarray:
        about, bounds = (claim["label"], claim["target"], Fraction(0)), (low[leaf], high[leaf])
        S = phase_theory.margin_form(exact, exact_region, about, bounds, found, 0).floats()
        kept = np.append(0, 1 + np.flatnonzero(S[1:].any(1)))  # of neurons whose sign is known there is nothing
        return S[np.ix_(kept, kept)]

    values, changed = [bound], []
    for leaf, own in enumerate(rows):
        if (low[leaf] > high[leaf]).any():
            changed.append(own)
            continue
        free = (low[leaf] < 0) & (high[leaf] > 0)
        value, found = _nudged(partial(form, leaf=leaf), _around(network, region, own, free), bound)
        if value is None:
            return
        values.append(value)
        changed.append(found)
    yield whole(max(values), changed)


def _fact_multipliers(
    low: np.ndarray, high: np.ndarray, named: Mapping[str, np.ndarray], region: Ball
) -> dict[str, np.ndarray]:
    """Return one leaf's arrays in a file, in input units, for multipliers by the names of relaxations.cuts.

    Multipliers of order 1, which are of all neurons, are those of a leaf, too.
    """
    p = len(low)
    if (low > high).any():
        return {"t": np.zeros((1, p))}  # there is no such state
    dead, on = high <= 0, low >= 0
    free, active = np.flatnonzero(~dead & ~on), np.flatnonzero(on & ~dead)
    places = {"always active: h - l >= 0": active, "never active: -h >= 0": np.flatnonzero(dead)}

    def spread(name: str) -> np.ndarray:
        found, values = np.zeros((1, p)), np.asarray(named.get(name, ()), float)
        if len(values):
            found[0, places.get(name, free) if len(values) < p or name in places else slice(None)] = values
        return found

    names = {"z": "z >= 0", "z-h": "z - h >= 0", "triangle": "u (h - l) - (u - l) z >= 0"}
    names |= {"h-l": "always active: h - l >= 0", "-h": "never active: -h >= 0"}
    arrays = {"t": -spread("z (z - h) = 0"), **{fact: spread(name) for fact, name in names.items()}}
    arrays |= {name: values[None] for name, values in _region_multipliers(named, region).items()}
    if ABSOLUTE[0] in named:  # a (e - d) + b (e + d) >= 0
        moving = region.upper > region.lower if region.lower is not None and region.upper is not None else slice(None)
        arrays["w"] = np.zeros((1, region.size))
        arrays["w"][0, moving] = (named[ABSOLUTE[0]] - named[ABSOLUTE[1]]) / region.radius
    square = np.asarray(named.get("z (u - z) >= 0", ()), float)
    products = {("z", "u-z"): [(free[: len(square)], free[: len(square)], square)]}

    # The pairs of relaxations.cuts: which fact a row is.
    lower, upper = region.bounding_box()
    wide = np.flatnonzero(upper > lower)
    groups = [
        *((fact, free) for fact in ("z", "u-z", "z-h", "triangle")),
        ("h-l", active),
        ("-h", np.flatnonzero(dead)),
    ]
    groups += [("c-d", wide), ("d-a", wide)] if region.norm == INFINITY else []
    kinds = np.repeat(np.arange(len(groups)), [len(where) for _, where in groups])
    index = np.concatenate([where for _, where in groups])
    pairs, values = np.asarray(named.get("pairs", np.zeros((0, 2))), int), np.asarray(named.get(PAIRS, ()), float)
    for first, (factor, _) in enumerate(groups[:2]):
        for second, (fact, _) in enumerate(groups):
            mine = (kinds[pairs[:, 0]] == first) & (kinds[pairs[:, 1]] == second)
            i, j = index[pairs[mine, 0]], index[pairs[mine, 1]]
            unit = ((upper - lower) / 2)[j] if fact in ("c-d", "d-a") else 1.0
            products.setdefault((factor, fact), []).append((i, j, values[mine] / unit))
    for (factor, fact), parts in products.items():
        i, j, y = (np.concatenate(part) for part in zip(*parts, strict=True))
        if len(y):
            arrays[f"{factor}*{fact}"] = y
            arrays[f"{factor}*{fact} at"] = np.stack([np.zeros(len(i), int), i, j], 1)
    return arrays


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of leaves, or of claims, in turn; what one of them does not have is 0."""
    counts = [len(part["t"]) for part in parts]
    found: dict[str, np.ndarray] = {}
    for name in sorted({name for part in parts for name in part}):
        size = next(part[name].shape[1:] for part in parts if name in part)
        rows = []
        for first, count, part in zip(np.cumsum([0, *counts]), counts, parts, strict=False):
            if name.endswith(" at") and name in part:
                rows.append(part[name] + np.array([first, 0, 0]))
            elif name in part:
                rows.append(part[name])
            elif "*" not in name and name != "sign":
                rows.append(np.zeros((count, *size)))
        found[name] = np.concatenate(rows)
        if name.endswith(" at"):
            found[name] = found[name].astype(np.uint16 if found[name].max(initial=0) < 2**16 else np.int32)
    return found


# other claims --------------------------------------------------------------------------------------------------


@named_refusals()
def lipschitz(network: MonDEQ, norm: float, claims: Sequence[tuple[dict, Sequence[Mapping | None]]]) -> Proof:
    """Return the proof of global Lipschitz constants, for the norm 1, 2 or inf.

    The claims are {"bound": float} for F or {"bound", "pair"} for a difference of outputs, each with the multipliers by
    group of its parts in their order; None in place of multipliers that there are not.
    """
    text = "inf" if norm == INFINITY else f"{norm:g}"
    made: list[_Claim] = []
    for claim, parts in claims:
        arrays = {}
        if all(part is not None for part in parts):
            arrays = {name: np.stack([part[of] for part in parts]) for name, of in LIPSCHITZ_GROUPS[text].items()}
        if "t" in arrays:
            arrays["t"] = _positive(arrays["t"])
        made.append(({"norm": text, **claim, "bound": decimal_above(claim["bound"])}, arrays))
    return _proof("mondeq-lipschitz", network, ({}, {}), map(_shorter, made))


def local_lipschitz(
    network: MonDEQ,
    region: Ball,
    bound: float,
    bounds: Box,
    undecided: np.ndarray,
    parts: Sequence[Mapping | np.ndarray],
) -> Proof:
    """Return the proof of a Lipschitz constant on a ball, in its norm (2 or inf).

    The checker proves the `bounds` on h, see :func:`tightrope.propagation.fixpoint.inductive`. The parts' multipliers,
    by group, are of the `undecided` neurons (p,) bool; without such a part is the matrix (k, p0) of its map.
    """
    text = "inf" if region.norm == INFINITY else "2"
    made = [_local_part(part, undecided, text) for part in parts]
    rows = {name: np.stack([part[name] for part in made]) for name in made[0]}
    signs = np.where(bounds.upper <= 0, -1, np.where(bounds.lower >= 0, 1, 0))

    def candidates() -> Iterator[_Claim]:
        for step, more in ((0, 1e-6), (1e-9, 1e-6), (1e-8, 1e-5), (1e-7, 1e-4), (1e-6, 1e-3)):
            claim = {"norm": text, "bound": decimal_above(bound * (1 + more))}
            own = {name: values * (1 + more / 2) for name, values in rows.items()}
            own["a"] = own["a"] + step * own["a"].max(1, keepdims=True, initial=0.0) * (signs == 0)
            # By Finsler's lemma any large multiple will do; too large a one is lost in rounding.
            size = max(float(np.abs(values).max(initial=0.0)) for values in own.values()) or 1.0
            for factor in (1e3, 1e5, 1e7):
                yield claim, own | {"equal": np.full((len(parts), 1), factor * size)}

    return _proof("mondeq-lipschitz-local", network, _with_bounds(network, region, bounds), [candidates()])


def _local_part(part: Mapping | np.ndarray, undecided: np.ndarray, norm: str) -> dict[str, np.ndarray]:
    """Return the multipliers a, t, and v for the norm 2, of one part."""
    a = np.zeros(len(undecided))
    if isinstance(part, np.ndarray):
        size = np.abs(part[0]) / 2 if norm == "inf" else np.full(1, np.linalg.norm(part, 2) / 2)
        return {"a": a, "t": _positive(size)} | ({} if norm == "inf" else {"v": size})
    row = {name: part[group] for name, group in LIPSCHITZ_GROUPS[norm].items()}
    a[undecided] = row["a"]
    return row | {"a": a, "t": _positive(row["t"])}


@named_refusals()
def ellipsoid(
    network: MonDEQ,
    region: Region,
    Q: np.ndarray,
    b: np.ndarray,
    multipliers: Mapping,
    known: tuple[Box, Box] | None = None,
) -> Proof:
    """Return the proof that ||Q F(x) + b|| <= 1 on the region; Q and b are shrunk a little where that is needed.

    The multipliers, by group, are those of the Ellipsoid Model that belong to this Q and b; of order 1+cuts under the
    first bounds on h that are `known`, while the checker proves the second, a little wider ones.
    """
    header, arrays, where = *region.stated(), np.ones(network.width)
    if known is None:
        states = state_multipliers(multipliers, region)
    else:
        ball, (low, high) = region.require_ball("bounds on h are"), (known[0].lower, known[0].upper)
        header, arrays = _with_bounds(network, ball, known[1])
        states, where = _joined([_fact_multipliers(low, high, multipliers, ball)]), (low < 0) & (high > 0)
    exact, exact_region = theory.Network.read(arrays_of(network)[1]), exact_regions.read(*region.stated())
    bounds = None if known is None else (known[1].lower, known[1].upper)

    def form(found: dict) -> np.ndarray:
        about = Exact.of(Q), Exact.of(b)
        S = image_form(exact, exact_region, Fraction(0), about, bounds, found).floats()
        kept = np.append(0, 1 + np.flatnonzero(S[1:].any(1)))
        return S[np.ix_(kept, kept)]

    # Where every sign is known there is no t, and q alone makes the form positive.
    near = _around(network, region, states, where)
    around = ((max(size, 1e-6), own | {"q": own["q"] * (1 + size)}) for size, own in near)
    least, found = _nudged(form, around, 1.0)
    for more in (0.0, 1e-8, 1e-6, 1e-4):  # of a thin ellipsoid rounding counts more
        square = (least or 1.0) * (1 + more)
        own = found if least else states
        parts = {name: array / square if array.dtype.kind == "f" else array for name, array in own.items()}
        whole = arrays | parts | {"Q": Q / np.sqrt(square), "b": b / np.sqrt(square)}
        proof = checked("mondeq-ellipsoid", network, header, [{"holds": "image"}], whole)
        if proof.proven:
            break
    return proof


@named_refusals()
def attack(question: Question, hit: Attack) -> Proof:
    """Return the proof that F_(hit.label) is above F_label at a point of a ball or polytope.

    The point is moved into it by as much as its rounding can be outside.
    """
    network, region, label = question.mondeq, question.region, question.label
    point = region.inwards(hit.point) if region.half_spaces is not None else None
    if point is None:
        point = moved_inside(region.require_ball("certificate files of attacks are"), hit.point)
    z = network.equilibrium(point, tolerance=1e-12)
    above = float((network.C[hit.label] - network.C[label]) @ z + network.c[hit.label] - network.c[label])
    claim = {"label": label, "target": int(hit.label), "m": decimal_below(network.proven_m * (1 - 1e-6))}
    arrays = {"point": point, "z": z}
    candidates = [(claim | {"least": decimal_below(above * (1 - part))}, arrays) for part in (1e-9, 1e-3)]
    return _proof("mondeq-point", network, region.stated(), [candidates])


@named_refusals()
def distortion(question: Question, hit: Attack, lower: Proof | None) -> Proof:
    """Return the proof of the minimum distortion of a ball's centre between the ball's radius and an attack's distance.

    `lower` is the file that the ball has no other label; without one only the attack's distance is proven.
    """
    network, label, region = question.mondeq, question.label, question.region.require_box("distortions are")
    distance = decimal_above(float(np.abs(hit.point - region.center).max()) * (1 + 1e-9), DISTANCE_DIGITS)
    reached = attack(Question(network, replace(region, radius=float(distance)), label), hit)
    if reached.certificate is None:
        return reached
    last = {"label": label, "target": int(hit.label), "distance": distance, "m": reached.certificate.claims[0]["m"]}
    found = {own: reached.certificate.arrays[name] for own, name in (("point", "point"), ("state", "z"))}
    return with_last_claim("mondeq-distortion", network, region, lower, last, found)


def with_last_claim(
    theory: str, network: MonDEQ | FeedForward, region: Region, lower: Proof | None, claim: dict, arrays: dict
) -> Proof:
    """Return the file of the margins of a ball, if there is one, with a last claim and its arrays."""
    file = None if lower is None else lower.certificate
    header, own, claims = (*region.stated(), []) if file is None else (file.region, file.arrays, file.claims)
    return checked(theory, network, dict(header), [*claims, claim], {**own, **arrays})


def moved_inside(region: Ball, point: np.ndarray) -> np.ndarray:
    """Return floats that are inside exactly, next to a point that is inside up to rounding."""
    centre = region.center
    step = (point - centre) * (1 - 1e-12)
    moved = centre + np.where(np.abs(step) < 1e-12 * np.abs(centre), 0, step)
    if region.lower is not None and region.upper is not None:
        slack = 1e-14 * (1 + np.abs(region.lower) + np.abs(region.upper))
        inner = (region.lower + slack, region.upper - slack)
        flat = inner[0] > inner[1]
        moved = np.where(flat, centre, np.clip(moved, *inner))
    return moved


# how a file comes about ----------------------------------------------------------------------------------------


def decimal_above(value: float, digits: int = DIGITS) -> str:
    """Return a number of few digits, as text, that is at least `value`."""
    return str(Context(prec=digits, rounding=ROUND_CEILING).create_decimal(Decimal(float(value))))


def decimal_below(value: float, digits: int = DIGITS) -> str:
    """Return a number of few digits, as text, that is at most `value`."""
    return str(Context(prec=digits, rounding=ROUND_FLOOR).create_decimal(Decimal(float(value))))


def _shorter(claim: _Claim) -> Iterator[_Claim]:
    """Yield a claim with its multipliers rounded to single precision, then as they are."""
    yield claim[0], {name: shortened(array).astype(array.dtype) for name, array in claim[1].items()}
    yield claim


def shortened(array: np.ndarray) -> np.ndarray:
    """Return floats in single precision, or as they are where they are too large or too small for it."""
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        short = array.astype(np.float32)
    usual = np.isfinite(short) & ((np.abs(short) >= np.finfo(np.float32).tiny) | (array == 0))
    return short if usual.all() else array


def _stacked(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the rows of claims in turn."""
    return {name: np.concatenate([np.atleast_2d(part[name]) for part in parts]) for name in parts[0]}


def _proof(
    theory: str,
    network: MonDEQ | FeedForward,
    region: _Content,
    claims: Iterable[Iterable[_Claim]],
    together: Callable[[Sequence[Mapping[str, np.ndarray]]], dict[str, np.ndarray]] = _stacked,
) -> Proof:
    """Return the claims that the checker proves: of each the first of its candidates.

    `together` makes the arrays of a file of those of its claims. It is in single precision if all that it holds is.
    """
    header, arrays = region
    kind, weights = arrays_of(network)
    sha256 = checker.digest(kind, weights)

    def file(chosen: Sequence[_Claim]) -> checker.Certificate:
        rows = together([own for _, own in chosen])
        if all((array == shortened(array)).all() for array in rows.values()):
            rows = {name: shortened(array) for name, array in rows.items()}
        return checker.Certificate(theory, sha256, header, [claim for claim, _ in chosen], arrays | rows)

    candidates = [iter(own) for own in claims]
    kept: dict[int, _Claim] = {}
    findings: dict[int, Finding] = {}
    while True:  # all claims that are left at once: what they share is proven once
        left = [number for number in range(len(candidates)) if number not in kept]
        tried = {number: found for number in left if (found := next(candidates[number], None)) is not None}
        for number in [number for number, (_, own) in tried.items() if not own]:
            claim, reason = tried.pop(number)[0], "it was proven by a closed form, without multipliers"
            findings[number] = Finding(str(claim), False, reason=reason)
        if not tried:
            break
        found = checker.check(file(list(tried.values())), weights)
        whole = len(found) != len(tried) or found[0].claim == WHOLE_FILE  # refused, and other multipliers do not help
        for number, finding in zip(tried, found * len(tried) if whole else found, strict=False):
            if finding.proven:
                kept[number] = tried[number]
            if finding.proven or number not in findings:  # the first reason stays
                findings[number] = finding
        if whole:
            break
    chosen = [kept[number] for number in sorted(kept)]
    return Proof(file(chosen) if chosen else None, tuple(findings[number] for number in range(len(candidates))))


def checked(theory: str, network: MonDEQ | FeedForward, header: dict, claims: list[dict], arrays: dict) -> Proof:
    """Return a file of one theory; with the findings alone where a claim is refused."""
    kind, weights = arrays_of(network)
    file = checker.Certificate(theory, checker.digest(kind, weights), header, claims, arrays)
    findings = tuple(checker.check(file, weights))
    return Proof(file if all(finding.proven for finding in findings) else None, findings)


def _positive(values: np.ndarray) -> np.ndarray:
    """Return the multipliers with a small positive number in place of 0."""
    values = np.asarray(values, float)
    return np.maximum(values, SMALLEST * values.max(initial=0.0))
