"""Margins and outer ellipsoids of a monotone equilibrium network over a region, order 1 (Shor's relaxation).

The network is F(x) = C z + c with z = ReLU(h), h = W z + U x + u. README.md has the statements and the identity; the
names here are those of that page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tightrope.checker.numbers import Exact, Refused, above, stack
from tightrope.checker.positive import is_semidefinite
from tightrope.checker.regions import Region

ARRAYS = ("W", "U", "u", "C", "c")
HALF = Fraction(1, 2)


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
        """Return the network of these arrays.

        Raises
        ------
        Refused
            One is missing, or the shapes do not fit.
        """
        missing = [name for name in ARRAYS if name not in arrays]
        if missing:
            raise Refused(f"network: expected the arrays {', '.join(ARRAYS)}; {', '.join(missing)} is missing")
        W, U, u, C, c = (np.asarray(arrays[name], float) for name in ARRAYS)
        p, K = len(np.atleast_1d(u)), len(np.atleast_1d(c))
        fits = W.shape == (p, p) and U.ndim == 2 and len(U) == p and u.shape == (p,) and C.shape == (K, p)
        if not (fits and c.shape == (K,)):
            raise Refused("network: the shapes of W, U, u, C, c do not fit each other")
        return cls(*map(Exact.of, (W, U, u, C, c)))

    def difference(self, label: int, target: int) -> tuple[Exact, Fraction]:
        """Return C_target - C_label (p,) and c_target - c_label, refusing what are not two labels."""
        classes = len(self.c)
        if not (0 <= label < classes and 0 <= target < classes and label != target):
            raise Refused(f"claim: expected two different labels below {classes}, got {label} and {target}")
        return self.C[target] - self.C[label], (self.c[target] - self.c[label]).fraction()

    def prove_monotone(self, m: Fraction = Fraction(0)) -> None:
        """Prove v'(I - W)v > m ||v||^2 for v != 0, from which there is one equilibrium for each input."""
        identity = Exact.identity(len(self.u))
        if m < 0 or not is_semidefinite(symmetric(identity - self.W) - identity * m, strictly=True):
            raise Refused("network: I - W is not proven to be strongly monotone, with the constant m if one is stated")


@dataclass(frozen=True)
class Multipliers:
    """What a file holds for one claim: t, mu, nu (p,), q (n,), and clip (n,) or None."""

    t: Exact
    mu: Exact
    nu: Exact
    q: Exact
    clip: Exact | None = None

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray], p: int, n: int) -> "Multipliers":
        """Return the multipliers of these arrays, refusing wrong shapes and signs."""
        values = {name: vector(arrays, name, p, signed=name == "t") for name in ("t", "mu", "nu")}
        return cls(**values, **of_region(arrays, n))


def vector(arrays: Mapping[str, np.ndarray], name: str, size: int, *, signed: bool = False) -> Exact:
    """Return the multipliers (size,) of this name, at least 0 but if they are `signed`."""
    if name not in arrays:
        raise Refused(f"{name}: these multipliers are missing")
    array = np.asarray(arrays[name], float)
    if array.shape != (size,):
        raise Refused(f"{name}: expected {size} multipliers, got the shape {array.shape}")
    if not signed and (array < 0).any():
        raise Refused(f"{name}: a multiplier of an inequality is negative")
    return Exact.of(array)


def of_region(arrays: Mapping[str, np.ndarray], n: int) -> dict[str, Exact]:
    """Return the multipliers `q` and perhaps `clip` (n,) of a region; `q` may be one number for all coordinates."""
    if "q" in arrays and np.shape(arrays["q"]) == (1,):
        arrays = {**arrays, "q": np.repeat(arrays["q"], n)}
    return {name: vector(arrays, name, n) for name in ("q", "clip") if name == "q" or name in arrays}


def prove_margin(
    network: Network, region: Region, label: int, target: int, bound: Fraction, multipliers: Multipliers
) -> None:
    """Prove F_target(x) - F_label(x) <= bound for every x of the region.

    Raises
    ------
    Refused
        The multipliers do not prove it.
    """
    form = state_form(network, region, multipliers) + objective(network, label, target, bound)
    if not is_semidefinite(form):
        raise Refused("the multipliers do not prove the bound")


def objective(network: Network, label: int, target: int, bound: Fraction) -> Exact:
    """Return the form bound - (F_target - F_label) in (1, z), (1 + p, 1 + p)."""
    xi, constant = network.difference(label, target)
    return bordered(Exact.rational(bound - constant), -xi * HALF, Exact.zeros(len(xi), len(xi)))


def prove_image(network: Network, region: Region, Q: Exact, b: Exact, multipliers: Multipliers) -> None:
    """Prove ||Q F(x) + b||_2 <= 1 for every x of the region, for Q (k, K) and b (k,); see README.md.

    Raises
    ------
    Refused
        The multipliers do not prove it.
    """
    offset, through = Q @ network.c + b, Q @ network.C  # Q F + b = offset + through z
    corner = Exact.rational(Fraction(1)) - offset @ offset
    inside = bordered(corner, -(through.T @ offset), -(through.T @ through))
    if not is_semidefinite(state_form(network, region, multipliers) + inside):
        raise Refused("the multipliers do not prove that the ellipsoid holds the image")


def state_form(network: Network, region: Region, m: Multipliers) -> Exact:
    """Return a quadratic form in (1, z), (1 + p, 1 + p), that no state of the region makes positive.

    It is a lower bound over all d of minus the sum of the products above, each of which is at least 0 at every state.
    """
    b, U = bias(network, region)
    IW = Exact.identity(len(b)) - network.W
    t = m.t.column()
    table = stack([[(m.nu @ b).row(), -(m.mu + IW.T @ m.nu).row()], [-(t * b.column()), t * IW]])
    return without_inputs(region, m.q, m.clip, table, stack([[(m.nu @ U).row()], [-(t * U)]]))


def bias(network: Network, region: Region) -> tuple[Exact, Exact]:
    """Return b (p,) and V (p, n) with U x + u = b + V d on the region, refusing one of other inputs."""
    if len(region.centre) != network.U.shape[1]:
        raise Refused(f"region: expected {network.U.shape[1]} coordinates, got {len(region.centre)}")
    return network.U @ region.centre + network.u, region.seen(network.U)


def without_inputs(region: Region, q: Exact, clip: Exact | None, table: Exact, D: Exact) -> Exact:
    """Return S (r, r) with y'S y <= y'(table y + D d) minus the region's products, for all d and all y with y_0 = 1.

    Parameters
    ----------
    q, clip
        (n,) multipliers >= 0 of B(q) - sum q_j d_j^2 and of (d_j - a_j)(c_j - d_j).
    table, D
        (r, r) and (r, n).
    """
    constant, quad, free = region.largest(q), q, region.free
    if clip is not None:
        if region.lower is None or region.upper is None:
            raise Refused("clip: the region is not clipped")
        quad = q + clip
        constant -= (clip * region.lower * region.upper).sum().fraction()
        lin = (clip * (region.lower + region.upper)).row()
        D = stack([[D[:1] - lin], [D[1:]]])
    quad, D = quad[free], D[:, free]
    if (quad.signs <= 0).any():
        raise Refused("q: a coordinate that can move has the multiplier 0")
    eliminated = (D * inverse_up(quad).row()) @ D.T * Fraction(1, 4)
    size = len(table) - 1
    corner = bordered(Exact.rational(constant), Exact.zeros(size), Exact.zeros(size, size))
    return symmetric(table) - eliminated - corner


def bordered(corner: Exact, row: Exact, core: Exact) -> Exact:
    """Return [[corner, row], [row', core]] (1 + p, 1 + p) of a number, a vector (p,) and a matrix (p, p)."""
    return stack([[corner.row(), row.row()], [row.column(), core]])


def symmetric(A: Exact) -> Exact:
    """Return (A + A') / 2."""
    return (A + A.T) * HALF


def inverse_up(quad: Exact) -> Exact:
    """Return floats g_j >= 1 / quad_j for quad > 0, as exact numbers: short, where the inverses themselves are not."""
    return Exact.of([above(1 / value) for value in quad.fractions()])
