"""Margins of an equilibrium network under bounds on h: orders 1+bounds and 1+cuts, and trees of phases.

README.md has the statement and the identity. Facts are affine forms that are at least 0 at every state, known by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tightrope.checker import mondeq
from tightrope.checker.claims import array, region_of, rows, vector
from tightrope.checker.file import Certificate
from tightrope.checker.mondeq import Network
from tightrope.checker.numbers import Exact, Refused, stack
from tightrope.checker.positive import is_semidefinite
from tightrope.checker.regions import Region
from tightrope.checker.trees import complete, in_leaf

#: A fact's name, and whether it is one of each neuron or of each coordinate of the region.
OF_NEURONS = ("z", "u-z", "z-h", "triangle", "h-l", "-h")
FACTS = (*OF_NEURONS, "d-a", "c-d")
#: By what else a fact may be multiplied than by 1.
FACTORS = ("z", "u-z")
BOUNDS = ("l", "u", "h")
SINGLE = ("t", "q", "clip", "w", *FACTS)
PRODUCTS = tuple(f"{factor}*{fact}{end}" for factor in FACTORS for fact in FACTS for end in ("", " at"))

_Fact = tuple[Exact, Exact | None, Exact | None, Exact | None]


def margins(file: Certificate, arrays: Mapping[str, np.ndarray], *more: str) -> Callable[..., None]:
    """Theory mondeq-phases, also with `more` arrays: l <= h <= u is proven first, and else refuses the whole file."""
    network, region = Network.read(arrays), region_of(file, *more, "sign", *BOUNDS, *SINGLE, *PRODUCTS)
    low, high = proven_bounds(file, network, region)
    p, taken, signed = len(low), 0, 0

    def prove(_: int, label: int, target: int, bound: Fraction, leaves: int = 0) -> None:
        nonlocal taken, signed
        first, taken = taken, taken + max(leaves, 1)
        used, signed = signed, signed + leaves
        signs = np.atleast_1d(array(file.arrays, "sign"))[used:signed] if leaves else np.zeros((1, p))
        if signs.shape != (max(leaves, 1), p) or not complete(signs):
            raise Refused("sign: the leaves do not cover all phases")
        network.difference(label, target)
        for number, leaf in enumerate(signs, first):
            bounds = in_leaf(low, high, leaf)
            if (bounds[0] > bounds[1]).any():
                continue  # there is no such state
            try:
                own = Multipliers.read(file.arrays, number, p, region.size)
                proven = is_semidefinite(margin_form(network, region, label, target, bound, bounds, own))
            except Refused as refusal:
                raise Refused(f"leaf {number - first + 1} of {len(signs)}: {refusal}") from None
            if not proven:
                raise Refused(f"leaf {number - first + 1} of {len(signs)}: the multipliers do not prove the bound")

    return prove


def proven_bounds(file: Certificate, network: Network, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Return the file's l, u (p,), proving l <= h(x) <= u on the region; its `h` is near h at the centre."""
    low, high, start = (np.asarray(array(file.arrays, name), float) for name in BOUNDS)
    p = len(network.u)
    if not all(values.shape == (p,) and np.isfinite(values).all() for values in (low, high, start)):
        raise Refused(f"l, u, h: expected {p} finite numbers each")
    if not ((low < start) & (start < high)).all():
        raise Refused("h: it is not inside the bounds")
    network.prove_monotone()
    W, (b, _) = network.W, network.bias(region)
    zero, identity = Exact.zeros(p), Exact.identity(p)
    lower, upper, h0 = Exact.of(low), Exact.of(high), Exact.of(start)
    with np.errstate(all="ignore"):
        slopes = np.where(low >= 0, 1.0, np.where(high <= 0, 0.0, high / (high - low)))
        try:
            proposed = np.linalg.inv(np.eye(p) - W.floats() * slopes)
        except np.linalg.LinAlgError:
            raise Refused("l, u: the relaxed equation is singular") from None
    S, X = Exact.of(slopes), Exact.of(proposed).shortened()
    c = (-(S * lower)).maximum(upper - S * upper) * Exact.of((low < 0) & (high > 0))  # S h <= ReLU(h) <= S h + c
    off = W @ h0.maximum(zero) + b - h0  # h0 is the preactivation where b is b - off
    slack = abs(identity - X @ (identity - W * S.row())) @ abs(lower).maximum(abs(upper))
    middle, by_start, by_relu = X @ b, X @ off, X @ W * c.row()
    by_input = X @ network.U

    def up(parts: Exact) -> Exact:
        positive = parts.maximum(Exact.zeros(*parts.shape))
        return Exact(positive.integers.sum(1), positive.scale)

    def most(sign: int, factor: Exact, more: Exact) -> Exact:
        """Return upper bounds of sign times factor h + more e."""
        parts = (by_relu * factor.column() + more) * sign
        reach = Exact.rational(region.reach(by_input * sign))
        fixed = factor * (middle * sign + (-by_start * sign).maximum(zero) + reach + slack)
        return fixed + up(parts)

    one = Exact.of(np.ones(p))
    high_image = most(1, one, Exact.zeros(p, p)).minimum(most(1, S, identity * c.row()).maximum(zero))  # h <= z
    low_image = -most(-1, one, Exact.zeros(p, p))
    wrong = int(((upper - high_image).signs <= 0).sum() + ((low_image - lower).signs <= 0).sum())
    if wrong:
        raise Refused(f"l, u: {wrong} of {2 * p} bounds on h are not proven")
    return low, high


@dataclass(frozen=True)
class Multipliers:
    """What a file holds for one claim or leaf."""

    t: np.ndarray  # (p,), of z_i (h_i - z_i) = 0, which is 0 = 0 where the sign of h_i is known
    q: Exact  # (n,), as clip of the region; see :func:`tightrope.checker.mondeq.without_inputs`
    clip: Exact | None
    w: Exact | None
    #: Name -> (1 + 2 p, size), of each fact times 1, z_0, z_1, ..., u_0 - z_0, u_1 - z_1, ...
    facts: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray], number: int, p: int, n: int) -> "Multipliers":
        """Return those of row `number`: row i of the arrays of SINGLE, all but `q` 0 where they are missing.

        Of the products, `z*triangle at` and the like (r, 3) say in which row, and of which neuron and which fact, the
        multipliers `z*triangle` (r,) are.
        """
        own, facts = rows(arrays, SINGLE, number), {}
        for name in FACTS:
            size = p if name in OF_NEURONS else n
            values = np.zeros((1 + 2 * p, size))
            if name in own:
                values[0] = vector(own, name, size).floats()
            for first, factor in zip((1, 1 + p), FACTORS, strict=True):
                _products(arrays, f"{factor}*{name}", number, values[first : first + p])
            if not np.isfinite(values).all() or (values < 0).any():
                raise Refused(f"{name}: a multiplier is negative or no finite number")
            if values.any():
                facts[name] = values
        t = vector(own, "t", p, signed=True).floats() if "t" in own else np.zeros(p)
        inputs = mondeq.of_region(own, n)
        w = vector(own, "w", n, signed=True) if "w" in own else None
        return cls(t, inputs["q"], inputs.get("clip"), w, facts)


def _products(arrays: Mapping[str, np.ndarray], name: str, number: int, rows: np.ndarray) -> None:
    """Add the multipliers of a product in row `number` of a file to rows (p, size)."""
    at, values = (arrays.get(key) for key in (f"{name} at", name))
    if at is None and values is None:
        return
    if at is None or values is None or at.dtype.kind not in "iu" or at.shape != (*values.shape, 3) or at.ndim != 2:
        raise Refused(f"{name}: expected multipliers (r,), and whole numbers (r, 3) where they are")
    mine = at[:, 0] == number
    i, j = at[mine, 1].astype(int), at[mine, 2].astype(int)
    if not ((i >= 0) & (i < rows.shape[0]) & (j >= 0) & (j < rows.shape[1])).all():
        raise Refused(f"{name}: there is no such neuron or fact")
    np.add.at(rows, (i, j), values[mine])  # rounded: any multipliers are a proof


def margin_form(
    network: Network,
    region: Region,
    label: int,
    target: int,
    bound: Fraction,
    bounds: tuple[np.ndarray, np.ndarray],
    multipliers: Multipliers,
) -> Exact:
    """Return S (1 + k, 1 + k), S >= 0 if the bound is proven, for the k neurons whose sign the bounds leave open."""
    low, high = bounds
    dead = high <= 0
    active, free = np.flatnonzero((low >= 0) & ~dead), np.flatnonzero((low < 0) & ~dead)
    (b, V), W, k = network.bias(region), network.W, len(free)
    top = Exact.of(high).maximum(Exact.zeros(len(b)))

    # The sum of the products is y'(one + Z z + H h + D d) with y = (1, z_free), once the factors u - z are folded in.
    one, Z, H, D = Exact.zeros(1 + 2 * k, 1), *(Exact.zeros(1 + 2 * k, size) for size in (len(b), len(b), region.size))
    facts = _facts(Exact.of(low), Exact.of(high), top, region)
    for name, m in _multiplied(multipliers, low, high, free).items():
        if name not in facts:
            raise Refused(f"{name}: the region is not clipped")
        constant, of_z, of_h, of_d = facts[name]
        one = one + (m @ constant).column()
        Z, H, D = (part if of is None else part + m * of.row() for part, of in ((Z, of_z), (H, of_h), (D, of_d)))

    def fold(rows: Exact) -> Exact:
        plain, times_z, times_rest = rows[:1], rows[1 : 1 + k], rows[1 + k :]
        return stack([[plain + top[free].row() @ times_rest], [times_z - times_rest]])

    equal = np.zeros((1 + k, len(b)))
    equal[np.arange(1, 1 + k), free] = multipliers.t[free]
    xi, difference = network.difference(label, target)
    one, Z, H, D = fold(one), fold(Z) - Exact.of(equal), fold(H) + Exact.of(equal), fold(D)
    Z = stack([[Z[:1] + xi.row()], [Z[1:]]])

    # z = h where a neuron is active: N times that leaves next to nothing of such z, which are between 0 and `top`.
    N = Exact.zeros(1 + k, len(b))
    if len(active):
        system = np.eye(len(active)) - W[np.ix_(active, active)].floats()
        try:
            solved = np.linalg.solve(system.T, -(Z + H @ W)[:, active].floats().T).T
        except np.linalg.LinAlgError:
            raise Refused("the active neurons are not determined by the others") from None
        part = Exact.of(solved).shortened()
        N.integers[:, active], N.scale = part.integers, part.scale
    H = H - N
    Z = Z + N + H @ W
    largest = stack([[Exact.identity(1), top[free].row()]])
    left = (largest @ abs(Z[:, active]) @ top[active]).sum().fraction()
    table = -stack([[one + (H @ b).column(), Z[:, free]]])
    rest = mondeq.bordered(Exact.rational(bound - difference - left), Exact.zeros(k), Exact.zeros(k, k))
    of_inputs = multipliers.q, multipliers.clip
    return rest + mondeq.without_inputs(region, *of_inputs, table, -(D + H @ V), w=multipliers.w)


def _facts(lower: Exact, upper: Exact, top: Exact, region: Region) -> dict[str, _Fact]:
    """Return what FACTS are: a constant, and the coefficients of z, of h and of d, entry by entry, or None for 0."""
    p, n = len(lower), region.size
    zero, plus, minus = Exact.zeros(p), Exact.of(np.ones(p)), Exact.of(-np.ones(p))
    found: dict[str, _Fact] = {
        "z": (zero, plus, None, None),
        "u-z": (top, minus, None, None),
        "z-h": (zero, plus, minus, None),
        "triangle": (-(upper * lower), lower - upper, upper, None),
        "h-l": (-lower, None, plus, None),
        "-h": (zero, None, minus, None),
    }
    ends = (region.lower, region.upper) if region.half is None else (-region.half, region.half)
    if ends[0] is not None and ends[1] is not None:
        found["d-a"] = (-ends[0], None, None, Exact.of(np.ones(n)))
        found["c-d"] = (ends[1], None, None, Exact.of(-np.ones(n)))
    return found


def _multiplied(multipliers: Multipliers, low: np.ndarray, high: np.ndarray, free: np.ndarray) -> dict[str, Exact]:
    """Return the multipliers (1 + 2 k, size) of each fact times 1, z_free, u - z_free, refusing what there is not."""
    p = len(low)
    kept = np.concatenate([[0], 1 + free, 1 + p + free])
    known = {"triangle": (low >= 0) | (high <= 0), "-h": high > 0}
    for name, m in multipliers.facts.items():
        if np.delete(m, kept, 0).any():
            raise Refused(f"{name}: a factor belongs to a neuron whose sign is known")
        if name in known and m[:, known[name]].any():
            raise Refused(f"{name}: there is no such fact of a neuron with these bounds")
    return {name: Exact.of(m[kept]) for name, m in multipliers.facts.items()}
