"""Equilibrium networks at order 1: margins, outer ellipsoids and points; README.md has the statements and identities.

The network is F(x) = C z + c with z = ReLU(h), h = W z + U x + u; the names here are those of that page.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tightrope.checker.claims import array, check_labels, region_of, row, rows, vector
from tightrope.checker.file import Certificate
from tightrope.checker.numbers import Exact, Refused, above, diagonal, stack
from tightrope.checker.positive import is_semidefinite
from tightrope.checker.regions import Region

ARRAYS = ("W", "U", "u", "C", "c")
#: Arrays of multipliers: of the states, of the region, and of a polytope's rows.
MULTIPLIERS = ("t", "mu", "nu", "q", "clip", "rows")
HALF = Fraction(1, 2)
#: Inputs of a polytope whose quadratic form may be dense: a second or two.
LARGEST = 128


@dataclass(frozen=True)
class Network:
    """The arrays W (p, p), U (p, p0), u (p,), C (K, p), c (K,) of a monDEQ, as exact numbers."""

    W: Exact
    U: Exact
    u: Exact
    C: Exact
    c: Exact

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray]) -> "Network":
        """Return the network of these arrays, refusing missing ones and shapes that do not fit."""
        missing = [name for name in ARRAYS if name not in arrays]
        if missing:
            raise Refused(f"network: expected the arrays {', '.join(ARRAYS)}; {', '.join(missing)} is missing")
        W, U, u, C, c = (np.asarray(arrays[name], float) for name in ARRAYS)
        p, K = u.size, c.size
        if not ([W.shape, u.shape, C.shape, c.shape] == [(p, p), (p,), (K, p), (K,)] and U.shape[:-1] == (p,)):
            raise Refused("network: the shapes of W, U, u, C, c do not fit each other")
        return cls(*map(Exact.of, (W, U, u, C, c)))

    def difference(self, label: int, target: int) -> tuple[Exact, Fraction]:
        """Return C_target - C_label (p,) and c_target - c_label, refusing what are not two labels."""
        check_labels(label, target, len(self.c))
        return self.C[target] - self.C[label], (self.c[target] - self.c[label]).fraction()

    def prove_monotone(self, m: Fraction = Fraction(0)) -> None:
        """Prove v'(I - W)v > m ||v||^2 for v != 0, from which there is one equilibrium for each input."""
        identity = Exact.identity(len(self.u))
        if m < 0 or not is_semidefinite(symmetric(identity - self.W) - identity * m, strictly=True):
            raise Refused("network: I - W is not proven to be strongly monotone, with the constant m if one is stated")

    def bias(self, region: Region) -> tuple[Exact, Exact]:
        """Return b (p,) and V (p, n) with U x + u = b + V d on the region, refusing one of other inputs."""
        if len(region.centre) != self.U.shape[1]:
            raise Refused(f"region: expected {self.U.shape[1]} coordinates, got {len(region.centre)}")
        return self.U @ region.centre + self.u, region.seen(self.U)


# theories ------------------------------------------------------------------------------------------------------------


def margins(file: Certificate, arrays: Mapping[str, np.ndarray], *more: str) -> Callable[..., None]:
    """Theory mondeq-order-1, also of a file with `more` arrays."""
    network, region = Network.read(arrays), region_of(file, *more, *MULTIPLIERS)

    def prove(number: int, label: int, target: int, bound: Fraction, leaves: int = 0) -> None:
        if leaves:
            raise Refused("leaves: they are of files with bounds l, u")
        m = multipliers(rows(file.arrays, MULTIPLIERS, number), len(network.u), region.size)
        if not is_semidefinite(state_form(network, region, m) + objective(network, label, target, bound)):
            raise Refused("the multipliers do not prove the bound")

    return prove


def ellipsoid(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """Theory mondeq-ellipsoid: that it holds the image is proven first, and else refuses the whole file."""
    network, region = Network.read(arrays), region_of(file, *MULTIPLIERS, "Q", "b")
    Q, b, K = Exact.of(array(file.arrays, "Q")), Exact.of(array(file.arrays, "b")), len(network.c)
    if Q.shape != (K, K) or b.shape != (K,):
        raise Refused(f"Q, b: expected the shapes ({K}, {K}) and ({K},)")
    offset, through = Q @ network.c + b, Q @ network.C  # Q F + b = offset + through z
    corner = Exact.rational(Fraction(1)) - offset @ offset
    inside = bordered(corner, -(through.T @ offset), -(through.T @ through))
    if not is_semidefinite(state_form(network, region, multipliers(file.arrays, len(network.u), region.size)) + inside):
        raise Refused("the multipliers do not prove that the ellipsoid holds the image")

    def prove(_: int, holds: object = "image", **margin: Any) -> None:
        if holds != "image":
            raise Refused("holds: it is the image that the ellipsoid is proven to hold")
        if not margin:
            return
        label, target, multiplier = margin["label"], margin["target"], margin["multiplier"]
        check_labels(label, target, K)
        if multiplier < 0:
            raise Refused("multiplier: it is negative")
        step = Exact.identity(K)[target] - Exact.identity(K)[label]
        corner = Exact.rational(margin["bound"] - multiplier) + b @ b * multiplier
        if not is_semidefinite(bordered(corner, Q.T @ b * multiplier - step * HALF, Q.T @ Q * multiplier)):
            raise Refused("the multiplier does not prove the bound")

    return prove


def points(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """Theory mondeq-point."""
    network, region = Network.read(arrays), region_of(file, "point", "z")
    known: set[Fraction] = set()

    def prove(number: int, label: int, target: int, least: Fraction, m: Fraction) -> None:
        if m not in known:
            network.prove_monotone(m)
            known.add(m)
        at = tuple(row(file.arrays, name, number) for name in ("point", "z"))
        prove_point(network, region, at, (label, target), least, m)

    return prove


def prove_point(
    network: Network,
    region: Region,
    at: tuple[np.ndarray, ...],
    pair: tuple[int, int],
    least: Fraction,
    m: Fraction,
) -> None:
    """Prove F_target - F_label >= least for a (label, target) at a point with nearly its state, I - W > m proven."""
    xi, constant = network.difference(*pair)
    point, z = map(Exact.of, at)
    network.bias(region)  # refuses another size
    if z.shape != network.u.shape:
        raise Refused(f"z: expected {len(network.u)} numbers")
    y = (network.W @ z + network.U @ region.point(point) + network.u).maximum(Exact.zeros(len(z)))
    off = network.W @ (z - y)
    spare = (xi @ y).fraction() + constant - least
    if spare < 0 or spare**2 * m**2 < (xi @ xi).fraction() * (off @ off).fraction():
        raise Refused("the point's margin is not proven to be that large")


# forms in (1, z) -----------------------------------------------------------------------------------------------------


def multipliers(arrays: Mapping[str, np.ndarray], p: int, n: int) -> dict[str, Exact]:
    """Return t, mu, nu (p,), q (n,), and clip (n,) and rows if they are there, refusing wrong shapes and signs."""
    found = {name: vector(arrays, name, p, signed=name == "t") for name in ("t", "mu", "nu")}
    if "rows" in arrays:
        found["rows"] = vector(arrays, "rows", np.size(arrays["rows"]))
    return found | of_region(arrays, n)


def of_region(arrays: Mapping[str, np.ndarray], n: int) -> dict[str, Exact]:
    """Return the multipliers `q` and perhaps `clip` (n,) of a region; `q` may be one number for all coordinates."""
    if "q" in arrays and np.shape(arrays["q"]) == (1,):
        arrays = {**arrays, "q": np.repeat(arrays["q"], n)}
    return {name: vector(arrays, name, n) for name in ("q", "clip") if name == "q" or name in arrays}


def objective(network: Network, label: int, target: int, bound: Fraction) -> Exact:
    """Return the form bound - (F_target - F_label) in (1, z), (1 + p, 1 + p)."""
    xi, constant = network.difference(label, target)
    return bordered(Exact.rational(bound - constant), -xi * HALF, Exact.zeros(len(xi), len(xi)))


def state_form(network: Network, region: Region, m: Mapping[str, Exact]) -> Exact:
    """Return a quadratic form in (1, z), (1 + p, 1 + p), that no state of the region makes positive.

    It is a lower bound over all d of minus the sum of the products above, each of which is at least 0 at every state.
    """
    b, U = network.bias(region)
    IW, t, mu, nu = Exact.identity(len(b)) - network.W, m["t"].column(), m["mu"], m["nu"]
    table = stack([[(nu @ b).row(), -(mu + IW.T @ nu).row()], [-(t * b.column()), t * IW]])
    D, Q = stack([[(nu @ U).row()], [-(t * U)]]), None
    if "rows" in m:
        first, linear, Q = _rows(region, m["rows"], len(b))
        table, D = stack([[table[:1] + first], [table[1:]]]), D + linear
    return without_inputs(region, m["q"], m.get("clip"), table, D, Q)


def _rows(region: Region, flat: Exact, p: int) -> tuple[Exact, Exact, Exact | None]:
    """Return row (1, 1 + p), D (1 + p, n) and Q (n, n) or None with -(e - R d)'M f = row y + y'D d + d'Q d.

    f = (y, e - R d, half - d, half + d), y = (1, z), without the last three where M (k, r) has r = 1 + p columns.
    """
    R, e, half = region.rows, region.ends, region.half
    if R is None or e is None or half is None:
        raise Refused("rows: the region is no polytope")
    (k, n), y = R.shape, 1 + p
    if flat.shape not in ((k * y,), (k * (y + k + 2 * n),)):
        raise Refused(f"rows: expected {k} times {y} multipliers for each claim, or {k} times {y + k + 2 * n}")
    M = Exact(flat.integers.reshape(k, len(flat) // k), flat.scale)
    row, D = -(e @ M[:, :y]).row(), M[:, :y].T @ R
    if M.shape[1] == y:
        return row, D, None
    both, minus, plus = M[:, y : y + k], M[:, y + k : y + k + n], M[:, y + k + n :]
    sides = minus + plus
    constant = (e @ both @ e + e @ sides @ half).row()
    linear = (e @ (both + both.T) @ R + e @ (minus - plus) + half @ sides.T @ R).row()
    row = row - stack([[constant, Exact.zeros(1, p)]])
    return row, stack([[D[:1] + linear], [D[1:]]]), symmetric(R.T @ (plus - minus) - R.T @ both @ R)


def without_inputs(
    region: Region,
    q: Exact,
    clip: Exact | None,
    table: Exact,
    D: Exact,
    Q: Exact | None = None,
    w: Exact | None = None,
) -> Exact:
    """Return S (r, r), y'S y <= y'(table y + D d) + d'Q d minus the region's products, for all d and y with y_0 = 1.

    The multipliers `q` and `clip` (n,) >= 0 are those of B(q, w) - sum q_j d_j^2 + w_j d_j and of
    (d_j - a_j)(c_j - d_j); `table` is (r, r), `D` (r, n), `Q` (n, n), and `w` (n,), or None for 0.
    """
    constant, quad, free = region.largest(q, w), q, region.free
    if w is not None:
        D = stack([[D[:1] + w.row()], [D[1:]]])
    if clip is not None:
        if region.lower is None or region.upper is None:
            raise Refused("clip: the region is not clipped")
        quad = q + clip
        constant -= (clip * region.lower * region.upper).sum().fraction()
        D = stack([[D[:1] - (clip * (region.lower + region.upper)).row()], [D[1:]]])
    quad, D, size = quad[free], D[:, free], len(table) - 1
    corner = bordered(Exact.rational(constant), Exact.zeros(size), Exact.zeros(size, size))
    if Q is None:
        return minimised(symmetric(table) - corner, D, quad, "q")
    inverse = _inverse_up(diagonal(quad) + Q[np.ix_(free, free)])
    return symmetric(table) - corner - D @ inverse @ D.T * Fraction(1, 4)


def minimised(S: Exact, D: Exact, weight: Exact, name: str) -> Exact:
    """Return S - D diag(weight)^-1 D' / 4, a little lower: at most y'S y + y'D d + d'diag(weight) d for all d.

    `D` is (r, n), `weight` (n,) or one number for all, at least 0; above where a column of D is not 0.
    """
    moved = np.flatnonzero(np.abs(D.integers).any(0))
    own = Exact(np.broadcast_to(weight.integers, D.shape[1:]), weight.scale)[moved]
    if (weight.signs < 0).any() or (own.signs == 0).any():
        raise Refused(f"{name}: a coordinate has a negative weight, or one that the network sees has none")
    D = D[:, moved]
    return S - D * _reciprocals(own).row() @ D.T * Fraction(1, 4)


def bordered(corner: Exact, row: Exact, core: Exact) -> Exact:
    """Return [[corner, row], [row', core]] (1 + p, 1 + p) of a number, a vector (p,) and a matrix (p, p)."""
    return stack([[corner.row(), row.row()], [row.column(), core]])


def symmetric(A: Exact) -> Exact:
    """Return (A + A') / 2."""
    return (A + A.T) * HALF


def _reciprocals(quad: Exact) -> Exact:
    """Return floats g_j >= 1 / quad_j for quad > 0, as exact numbers: short, where the inverses themselves are not."""
    return Exact.of([above(1 / value) for value in quad.fractions()])


def _inverse_up(M: Exact) -> Exact:
    """Return floats G (n, n), G >= M^-1 for M > 0: a float inverse, a little larger, if [[M, I], [I, G]] >= 0."""
    n, one = len(M), Exact.identity(len(M))
    if n > LARGEST:
        raise Refused(f"rows: products of two facts about the inputs are for at most {LARGEST} of these")
    try:
        inverse = np.linalg.inv(M.floats())
    except np.linalg.LinAlgError:
        inverse = np.full((n, n), np.nan)
    for more in (1e-11, 1e-9, 1e-7):
        G = Exact.of((inverse + inverse.T) / 2 + more * np.diag(np.abs(inverse).sum(1)))
        if is_semidefinite(stack([[M, one], [one, G]])):
            return G
    raise Refused("q, rows: the form in the inputs is not proven to be positive")
