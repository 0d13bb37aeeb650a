"""Equilibrium networks at order 1: margins and points; README.md has the statements and identities.

The network is F(x) = C z + c with z = ReLU(h), h = W z + U x + u; the names here are those of that page.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tightrope.checker.claims import array, check_labels, region_of, row, rows, vector
from tightrope.checker.file import Certificate
from tightrope.checker.forms import ONE, Form, Quadratic
from tightrope.checker.numbers import Exact, Refused, dense
from tightrope.checker.positive import is_semidefinite
from tightrope.checker.regions import Region

ARRAYS = ("W", "U", "u", "C", "c")
#: Arrays of multipliers: of the states, of the region, and of a polytope's rows.
MULTIPLIERS = ("t", "mu", "nu", "q", "clip", "rows")


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
        if missing := [name for name in ARRAYS if name not in arrays]:
            raise Refused(f"network: expected the arrays {', '.join(ARRAYS)}; {', '.join(missing)} is missing")
        W, U, u, C, c = (np.asarray(arrays[name], float) for name in ARRAYS)
        p, K = u.size, c.size
        if not ([W.shape, u.shape, C.shape, c.shape] == [(p, p), (p,), (K, p), (K,)] and U.shape[:-1] == (p,)):
            raise Refused("network: the shapes of W, U, u, C, c do not fit each other")
        return cls(*map(Exact.of, (W, U, u, C, c)))

    def difference(self, label: int, target: int) -> tuple[Exact, Exact]:
        """Return C_target - C_label (p,) and c_target - c_label, refusing what are not two labels."""
        check_labels(label, target, len(self.c))
        return self.C[target] - self.C[label], self.c[target] - self.c[label]

    def spare(self, label: int, target: int, bound: Fraction, z: Form) -> Quadratic:
        """Return the form bound - (F_target - F_label) of states z (p,)."""
        xi, constant = self.difference(label, target)
        form = Quadratic(bound - constant.fraction())
        form.add(-xi, z)
        return form

    def ellipsoid(self, file: Certificate) -> tuple[Exact, Exact]:
        """Return Q (K, K) and b (K,) of a file."""
        Q, b, K = Exact.of(array(file.arrays, "Q")), Exact.of(array(file.arrays, "b")), len(self.c)
        if Q.shape != (K, K) or b.shape != (K,):
            raise Refused(f"Q, b: expected the shapes ({K}, {K}) and ({K},)")
        return Q, b

    def prove_monotone(self, m: Fraction = Fraction(0)) -> None:
        """Prove v'(I - W)v > m ||v||^2 for v != 0, from which there is one equilibrium for each input."""
        M = dense(Exact.ones(len(self.u))) * (1 - m) - (self.W + self.W.T) * Fraction(1, 2)
        if m < 0 or not is_semidefinite(M, strictly=True):
            raise Refused("network: I - W is not proven to be strongly monotone, with the constant m if one is stated")

    def bias(self, region: Region) -> tuple[Exact, Exact]:
        """Return b (p,) and V (p, n) with U x + u = b + V d on the region, refusing one of other inputs."""
        if len(region.centre) != self.U.shape[1]:
            raise Refused(f"region: expected {self.U.shape[1]} coordinates, got {len(region.centre)}")
        return self.U @ region.centre + self.u, region.seen(self.U)

    def preactivation(self, region: Region, z: Form) -> Form:
        """Return h (p,) of states z at the inputs of the region."""
        b, V = self.bias(region)
        return self.W @ z + V @ inputs(region) + Form.constant(b)


def inputs(region: Region) -> Form:
    """Return d (n,), without the coordinates that cannot move."""
    return Form({"d": Exact.of(region.free)})


# theories ------------------------------------------------------------------------------------------------------------


def margins(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """Theory mondeq-order-1."""
    network, region = Network.read(arrays), region_of(file, *MULTIPLIERS)

    def prove(number: int, label: int, target: int, bound: Fraction, leaves: int = 0) -> None:
        if leaves:
            raise Refused("leaves: they are of files with bounds l, u")
        own = rows(file.arrays, MULTIPLIERS, number)
        if not is_semidefinite(margin_form(network, region, label, target, bound, own)):
            raise Refused("the multipliers do not prove the bound")

    return prove


def points(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """Theory mondeq-point."""
    network, region = Network.read(arrays), region_of(file, "point", "z")
    known: set[Fraction] = set()  # of constants m that are proven

    def prove(number: int, label: int, target: int, least: Fraction, m: Fraction) -> None:
        if m not in known:
            network.prove_monotone(m)
            known.add(m)
        point, z = (Exact.of(row(file.arrays, name, number)) for name in ("point", "z"))
        xi, constant = network.difference(label, target)
        network.bias(region)  # refuses another size
        if z.shape != network.u.shape:
            raise Refused(f"z: expected {len(network.u)} numbers")
        y = (network.W @ z + network.U @ region.point(point) + network.u).positive()
        off = network.W @ (z - y)
        spare = (xi @ y + constant).fraction() - least
        if spare < 0 or spare**2 * m**2 < (xi @ xi).fraction() * (off @ off).fraction():
            raise Refused("the point's margin is not proven to be that large")

    return prove


# forms in z and d ----------------------------------------------------------------------------------------------------


def margin_form(
    network: Network, region: Region, label: int, target: int, bound: Fraction, arrays: Mapping[str, np.ndarray]
) -> Exact:
    """Return the matrix of a form in (1, z): the bound is proven if it is semidefinite."""
    form = network.spare(label, target, bound, Form({"z": Exact.ones(len(network.u))}))
    subtract_products(form, network, region, arrays)
    form.minimise("d")
    return form.matrix()


def subtract_products(form: Quadratic, network: Network, region: Region, arrays: Mapping[str, np.ndarray]) -> None:
    """Subtract the products of a file's multipliers with facts, each of which is at least 0 at every state."""
    p = len(network.u)
    z = Form({"z": Exact.ones(p)})
    h = network.preactivation(region, z)
    form.add(-vector(arrays, "t", p, signed=True), h - z, z)
    form.add(-vector(arrays, "mu", p), z)
    form.add(-vector(arrays, "nu", p), z - h)
    subtract_of_region(form, region, arrays)
    if "rows" in arrays:
        _subtract_rows(form, region, vector(arrays, "rows", np.size(arrays["rows"])), z)


def subtract_of_region(form: Quadratic, region: Region, arrays: Mapping[str, np.ndarray]) -> None:
    """Subtract B(q, w) - sum q_j d_j^2 - w_j d_j and the products of `clip`; `q` may be one number for all."""
    n, d = region.size, inputs(region)
    given = array(arrays, "q")
    q = vector({"q": np.repeat(given, n) if given.shape == (1,) else given}, "q", n)
    w = vector(arrays, "w", n, signed=True) if "w" in arrays else None
    form.add(-Exact.rational([region.largest(q, w)]), ONE)
    form.add(q, d, d)
    if w is not None:
        form.add(w, d)
    if "clip" in arrays:
        if region.box is None or region.norm == "inf":
            raise Refused("clip: the region is not clipped")
        low, high = map(Form.constant, region.box)
        form.add(-vector(arrays, "clip", n), d - low, high - d)


def _subtract_rows(form: Quadratic, region: Region, flat: Exact, z: Form) -> None:
    """Subtract (e - R d)'M f for f = (1, z), or for f = (1, z, e - R d, half - d, half + d)."""
    if region.rows is None or region.ends is None or region.half is None:
        raise Refused("rows: the region is no polytope")
    d, half = inputs(region), Form.constant(region.half)
    cuts = Form.constant(region.ends) - region.rows @ d
    k, y = len(cuts), 1 + len(z)
    facts = [ONE, z] if len(flat) == k * y else [ONE, z, cuts, half - d, half + d]
    width = sum(map(len, facts))
    if len(flat) != k * width:
        raise Refused(f"rows: expected {k} times {y} multipliers for each claim, or {k} times {width}")
    M, start = Exact(flat.integers.reshape(k, width), flat.scale), 0
    for fact in facts:
        form.add(-M[:, start : start + len(fact)], fact, cuts)
        start += len(fact)
