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
        """Return the multipliers of these arrays, refusing wrong shapes and signs.

        `q` may be one number for all coordinates.
        """
        values = {}
        for name, size in (("t", p), ("mu", p), ("nu", p), ("q", n), ("clip", n)):
            if name not in arrays:
                if name == "clip":
                    continue
                raise Refused(f"{name}: these multipliers are missing")
            array = np.asarray(arrays[name], float)
            if name == "q" and array.shape == (1,):
                array = np.repeat(array, n)
            if array.shape != (size,):
                raise Refused(f"{name}: expected {size} multipliers, got the shape {array.shape}")
            values[name] = Exact.of(array)
            if name != "t" and (values[name].signs < 0).any():
                raise Refused(f"{name}: a multiplier of an inequality is negative")
        return cls(**values)


def prove_margin(
    network: Network, region: Region, label: int, target: int, bound: Fraction, multipliers: Multipliers
) -> None:
    """Prove F_target(x) - F_label(x) <= bound for every x of the region.

    Raises
    ------
    Refused
        The multipliers do not prove it.
    """
    xi, constant = network.difference(label, target)
    corner, row, core = state_form(network, region, multipliers)
    corner = corner + Exact.rational(bound - constant)
    if not is_semidefinite(bordered(corner, row - xi * HALF, core)):
        raise Refused("the multipliers do not prove the bound")


def prove_image(network: Network, region: Region, Q: Exact, b: Exact, multipliers: Multipliers) -> None:
    """Prove ||Q F(x) + b||_2 <= 1 for every x of the region, for Q (k, K) and b (k,); see README.md.

    Raises
    ------
    Refused
        The multipliers do not prove it.
    """
    offset, through = Q @ network.c + b, Q @ network.C  # Q F + b = offset + through z
    corner, row, core = state_form(network, region, multipliers)
    corner = corner + Exact.rational(Fraction(1)) - offset @ offset
    if not is_semidefinite(bordered(corner, row - through.T @ offset, core - through.T @ through)):
        raise Refused("the multipliers do not prove that the ellipsoid holds the image")


def state_form(network: Network, region: Region, m: Multipliers) -> tuple[Exact, Exact, Exact]:
    """Return corner, row (p,) and core (p, p) of a quadratic form in (1, z) that no state of the region makes positive.

    It is a lower bound over all d of minus the sum of the products above, each of which is at least 0 at every state.
    """
    if len(region.centre) != network.U.shape[1]:
        raise Refused(f"region: expected {network.U.shape[1]} coordinates, got {len(region.centre)}")
    free, U = region.free, region.seen(network.U)
    constant, quad = region.largest(m.q), m.q
    lin = Exact.zeros(region.size)
    if m.clip is not None:
        if region.lower is None or region.upper is None:
            raise Refused("clip: the region is not clipped")
        quad = m.q + m.clip
        lin = m.clip * (region.lower + region.upper)
        constant -= (m.clip * region.lower * region.upper).sum().fraction()
    U, quad, lin = U[:, free], quad[free], lin[free]
    if (quad.signs <= 0).any():
        raise Refused("q: a coordinate that can move has the multiplier 0")
    g = inverse_up(quad)
    Ug = U * g[None, :]
    K, k, kappa = Ug @ U.T, Ug @ lin, ((lin * g) @ lin).fraction()
    b = network.U @ region.centre + network.u
    K_nu = K @ m.nu
    corner = Exact.rational(-constant - kappa / 4) + m.nu @ b + (k @ m.nu) * HALF - (m.nu @ K_nu) * Fraction(1, 4)
    IW = Exact.identity(len(b)) - network.W
    row = -(m.mu + IW.T @ m.nu + m.t * (b + (k - K_nu) * HALF)) * HALF
    TIW = m.t.column() * IW
    core = symmetric(TIW) - (m.t.column() * K * m.t[None, :]) * Fraction(1, 4)
    return corner, row, core


def bordered(corner: Exact, row: Exact, core: Exact) -> Exact:
    """Return [[corner, row], [row', core]] (1 + p, 1 + p) of a number, a vector (p,) and a matrix (p, p)."""
    return stack([[Exact(corner.integers.reshape(1, 1), corner.scale), row[None, :]], [row.column(), core]])


def symmetric(A: Exact) -> Exact:
    """Return (A + A') / 2."""
    return (A + A.T) * HALF


def inverse_up(quad: Exact) -> Exact:
    """Return floats g_j >= 1 / quad_j for quad > 0, as exact numbers: short, where the inverses themselves are not."""
    return Exact.of([above(1 / value) for value in quad.fractions()])
