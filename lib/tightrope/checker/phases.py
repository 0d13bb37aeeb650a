"""Margins of an equilibrium network under bounds on h: orders 1+bounds and 1+cuts, and trees of phases.

README.md has the statement and the identity. Facts are affine forms that are at least 0 at every state, known by name.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from tightrope.checker.claims import array, region_of, rows, vector
from tightrope.checker.file import Certificate
from tightrope.checker.forms import ONE, Form, Quadratic
from tightrope.checker.mondeq import Network, inputs, subtract_of_region
from tightrope.checker.numbers import Exact, Refused, dense, stack
from tightrope.checker.positive import is_semidefinite
from tightrope.checker.regions import Region
from tightrope.checker.trees import complete, in_leaf

#: Facts of each neuron, and of each coordinate of the region.
FACTS = ("z", "u-z", "z-h", "triangle", "h-l", "-h", "d-a", "c-d")
#: By what else a fact may be multiplied than by 1.
FACTORS = ("z", "u-z")
BOUNDS = ("l", "u", "h")
SINGLE = ("t", "q", "clip", "w", *FACTS)
PRODUCTS = tuple(f"{factor}*{fact}{end}" for factor in FACTORS for fact in FACTS for end in ("", " at"))

ARRAYS = (*BOUNDS, *SINGLE, *PRODUCTS)

Arrays = Mapping[str, np.ndarray]
Bounds = tuple[np.ndarray, np.ndarray]


def margins(file: Certificate, arrays: Arrays) -> Callable[..., None]:
    """Theory mondeq-phases: l <= h <= u is proven first, and else refuses the whole file."""
    network, region = Network.read(arrays), region_of(file, "sign", *ARRAYS)
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
                about = label, target, bound
                if not is_semidefinite(margin_form(network, region, about, bounds, file.arrays, number)):
                    raise Refused("the multipliers do not prove the bound")
            except Refused as refusal:
                raise Refused(f"leaf {number - first + 1} of {len(signs)}: {refusal}") from None

    return prove


def proven_bounds(file: Certificate, network: Network, region: Region) -> Bounds:
    """Return the file's l, u (p,), proving l <= h(x) <= u on the region; its `h` is near h at the centre."""
    low, high, start = (np.asarray(array(file.arrays, name), float) for name in BOUNDS)
    p = len(network.u)
    if not all(values.shape == (p,) and np.isfinite(values).all() for values in (low, high, start)):
        raise Refused(f"l, u, h: expected {p} finite numbers each")
    if not ((low < start) & (start < high)).all():
        raise Refused("h: it is not inside the bounds")
    network.prove_monotone()
    W, (b, _) = network.W, network.bias(region)
    identity = dense(Exact.ones(p))
    lower, upper, h0 = Exact.of(low), Exact.of(high), Exact.of(start)
    with np.errstate(all="ignore"):
        slopes = np.where(low >= 0, 1.0, np.where(high <= 0, 0.0, high / (high - low)))
        try:
            proposed = np.linalg.inv(np.eye(p) - W.floats() * slopes)
        except np.linalg.LinAlgError:
            raise Refused("l, u: the relaxed equation is singular") from None
    S, X = Exact.of(slopes), Exact.of(proposed).shortened()
    c = (-(S * lower)).maximum(upper - S * upper) * Exact.of((low < 0) & (high > 0))  # S h <= ReLU(h) <= S h + c
    off = W @ h0.positive() + b - h0  # h0 is the preactivation where b is b - off
    slack = abs(identity - X @ (identity - W * S.row())) @ abs(lower).maximum(abs(upper))
    middle, by_start, by_relu, by_input = X @ b, X @ off, X @ W * c.row(), X @ network.U

    def most(sign: int, factor: Exact, more: Exact) -> Exact:
        """Return upper bounds of sign times factor h + more e."""
        parts = (by_relu * factor.column() + more) * sign
        reach = Exact.rational(region.reach(by_input * sign))
        return factor * (middle * sign + (-by_start * sign).positive() + reach + slack) + parts.positive().sum(1)

    one, nothing = Exact.ones(p), Exact.zeros(p, p)
    high_image = most(1, one, nothing).minimum(most(1, S, identity * c.row()).positive())  # h <= z
    low_image = -most(-1, one, nothing)
    wrong = int(((upper - high_image).signs <= 0).sum() + ((low_image - lower).signs <= 0).sum())
    if wrong:
        raise Refused(f"l, u: {wrong} of {2 * p} bounds on h are not proven")
    return low, high


def margin_form(
    network: Network, region: Region, about: tuple[int, int, Fraction], bounds: Bounds, arrays: Arrays, number: int
) -> Exact:
    """Return the matrix of :func:`form` for the claim `about` a label, a target and a bound."""
    return form(network, region, lambda z: network.spare(*about, z), bounds, arrays, number)


def form(
    network: Network,
    region: Region,
    spare: Callable[[Form], Quadratic],
    bounds: Bounds,
    arrays: Arrays,
    number: int,
    more: int = 0,
) -> Exact:
    """Return a matrix in (1, z) for row `number` of a file's multipliers: semidefinite, it proves `spare` >= 0.

    `spare` makes of the forms z what is claimed to be at least 0 at every state. It may have so many `more` variables
    o, which are in the matrix, too; then what is proven is |o| <= 1 at every state, where it is 1 - |o|^2. Of the
    neurons whose sign the bounds do not leave open the rows are 0.
    """
    low, high = bounds
    free, active = (low < 0) & (high > 0), (low >= 0) & (high > 0)  # else z = 0
    p, top, own = len(low), Exact.of(high).positive(), rows(arrays, SINGLE, number)
    unknown = Form({"z": Exact.of(free)})
    z, h = unknown + Form({"active": Exact.of(active)}), Form({"h": Exact.ones(p)})
    found = spare(z)
    factors = {"": ONE, "z*": unknown, "u-z*": Form.constant(top * Exact.of(free)) - unknown}
    for name, (fact, exists) in _facts(low, high, z, h, region).items():
        for factor, first in factors.items():
            m = np.zeros((len(first), len(exists)))
            if factor:
                _add_products(arrays, f"{factor}{name}", number, m)
            elif name in own:
                m[0] = vector(own, name, len(exists)).floats()
            if not np.isfinite(m).all() or (m < 0).any():
                raise Refused(f"{factor}{name}: a multiplier is negative or no finite number")
            if m[:, ~exists].any():
                raise Refused(f"{name}: there is no such fact of a neuron with these bounds, or of the region")
            if factor and m[~free].any():
                raise Refused(f"{name}: a factor belongs to a neuron whose sign is known")
            if m.any():
                found.add(-Exact.of(m), fact, first)
    if "t" in own:  # of z_i (h_i - z_i) = 0
        found.add(vector(own, "t", p, signed=True), z - h, unknown)
    subtract_of_region(found, region, own)

    sizes = {"1": 1, "z": p} | ({"o": more} if more else {})

    def beside(block: str) -> Exact:
        """Return what 1, z and o are multiplied with in the form for a block (p,)."""
        parts = ((size, found.blocks.get((name, block))) for name, size in sizes.items())
        return stack([[Exact.zeros(size, p) if part is None else dense(part)] for size, part in parts])

    # z = h where a neuron is active: N times that leaves next to nothing of such z, which are between 0 and `top`.
    identity = dense(Exact.ones(p))
    if active.any():
        system = (identity - network.W)[np.ix_(active, active)].floats()
        try:
            N = np.linalg.solve(system.T, -(beside("active") + beside("h") @ network.W)[:, active].floats().T).T
        except np.linalg.LinAlgError:
            raise Refused("the active neurons are not determined by the others") from None
        start = 0
        for name, size in sizes.items():
            own_rows = Exact.of(N[start : start + size]).shortened() @ identity[active]
            found.add(own_rows, z - h, Form({name: Exact.ones(size)}))
            start += size
    found.substitute("h", network.preactivation(region, z))
    # Rows of o: 1 - |o|^2 >= s (1 - |o|) with their sum s < 1, so (1 - |o|)(1 + |o| - s) >= 0, and |o| <= 1.
    left = abs(beside("active")) @ top
    if left[1 + p :].sum().fraction() >= 1:
        raise Refused("the active neurons are not known well enough")
    found.add(-(left[:1].sum() + (top @ left[1 : 1 + p]) + left[1 + p :].sum()).row(), ONE)
    for name in sizes:
        found.blocks.pop((name, "active"), None)
    found.minimise("d")
    return found.matrix()


def _facts(low: np.ndarray, high: np.ndarray, z: Form, h: Form, region: Region) -> dict[str, tuple[Form, np.ndarray]]:
    """Return what FACTS are, and which of each there are."""
    least, most, d = Exact.of(low), Exact.of(high), inputs(region)
    above = h - Form.constant(least)
    a, c = map(Form.constant, region.box or (Exact.zeros(region.size),) * 2)
    always, boxed = np.ones(len(low), bool), np.full(region.size, region.box is not None)
    return {
        "z": (z, always),
        "u-z": (Form.constant(most.positive()) - z, always),
        "z-h": (z - h, always),
        "triangle": (most * above - (most - least) * z, (low < 0) & (high > 0)),
        "h-l": (above, always),
        "-h": (-h, high <= 0),
        "d-a": (d - a, boxed),
        "c-d": (c - d, boxed),
    }


def _add_products(arrays: Arrays, name: str, number: int, rows: np.ndarray) -> None:
    """Add the multipliers of a product in row `number` of a file to rows (p, size).

    `z*triangle at` and the like (r, 3) say in which row, and of which neuron and which fact, the `z*triangle` (r,) are.
    """
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
