"""Points at which a label is beaten: lower bounds of margins of a monotone equilibrium network; see README.md."""

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
    if point.shape != (region.size,) or z.shape != network.u.shape or len(region.centre) != network.U.shape[1]:
        raise Refused("point, z: their sizes are not the network's")
    d = point if region.generators is not None else point - region.centre
    x = region.point(d)
    y = (network.W @ z + network.U @ x + network.u).maximum(Exact.zeros(len(z)))
    off = network.W @ (z - y)
    spare = (xi @ y).fraction() + constant - least
    if spare < 0 or spare**2 * m**2 < (xi @ xi).fraction() * (off @ off).fraction():
        raise Refused("the point's margin is not proven to be that large")
