"""Points of a region at which a label is beaten: a lower bound of a margin of a monotone equilibrium network.

Claim: F_target(x) - F_label(x) >= least at a point x of the region that the file states. It also states z, near the state
there, and m > 0 with v'(I - W)v >= m ||v||^2, which is proven. Let h = W z + U x + u, y = ReLU(h), rho = z - y, and z*,
h* the state and its preactivation. ReLU is firmly nonexpansive, and h - h* = W (y - z* + rho), so

    ||y - z*||^2 <= (y - z*)'(h - h*) <= (1 - m) ||y - z*||^2 + ||y - z*|| ||W rho||,   m ||y - z*|| <= ||W rho||,

and the margin is at least xi'y + c0 - ||xi|| ||W rho|| / m with xi = C_target - C_label. Squares decide, without a root.
"""

from fractions import Fraction

from tightrope.checker.mondeq import Network
from tightrope.checker.numbers import Exact, Refused
from tightrope.checker.regions import Region


def prove_point(
    network: Network, region: Region, label: int, target: int, least: Fraction, m: Fraction, point: Exact, z: Exact
) -> None:
    """Prove the claim at x = o + point, for a ball's own point x = `point`; I - W is known to be monotone with m > 0.

    Raises
    ------
    Refused
        The point is outside, or its state as enclosed by z is not known well enough.
    """
    xi, constant = network.difference(label, target)
    d = point if region.generators is not None else point - region.centre
    x = region.point(d)
    if len(x) != network.U.shape[1] or z.shape != network.u.shape:
        raise Refused("point, z: their sizes are not the network's")
    y = (network.W @ z + network.U @ x + network.u).maximum(Exact.zeros(len(z)))
    off = network.W @ (z - y)
    spare = (xi @ y).fraction() + constant - least
    if spare < 0 or spare**2 * m**2 < (xi @ xi).fraction() * (off @ off).fraction():
        raise Refused("the point's margin is not proven to be that large")
