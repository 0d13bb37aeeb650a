"""Global Lipschitz constants of a monotone equilibrium network; statement, identity and matrices are in README.md."""

from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np

from tightrope.checker.mondeq import HALF, Network, bordered, inverse_up, symmetric
from tightrope.checker.numbers import Exact, Refused, diagonal, stack
from tightrope.checker.positive import is_semidefinite

QUARTER = Fraction(1, 4)


def parts(network: Network, norm: str, pair: bool) -> int:
    """Return how many problems a constant is the largest value of."""
    counts = {"inf": len(network.c), "2": 1, "1": network.U.shape[1]}
    if norm not in counts or (pair and norm == "1"):
        raise Refused(f"norm: expected {'2 or inf' if pair else '1, 2 or inf'}, got {norm!r}")
    return 1 if pair else counts[norm]


def prove_constant(
    network: Network, norm: str, pair: tuple[int, int] | None, bound: Fraction, rows: Iterator[Mapping[str, np.ndarray]]
) -> None:
    """Prove the claim, with the multipliers a, v, t of each part in turn; `network` is known to be monotone.

    Raises
    ------
    Refused
        They do not prove it.
    """
    if pair is not None:
        C = network.difference(*pair)[0][None, :]
    for part in range(parts(network, norm, pair is not None)):
        if pair is None:
            C = network.C[part][None, :] if norm == "inf" else network.C
        sizes = {"inf": (0, network.U.shape[1]), "2": (1, 1), "1": (len(C), 0)}[norm]
        a, v, t = _multipliers(next(rows), len(network.u), *sizes)
        if not all(map(is_semidefinite, _matrices(network, norm, C, part, bound, a, v, t))):
            raise Refused(f"the multipliers of part {part} do not prove the bound")


def _matrices(
    network: Network, norm: str, C: Exact, part: int, bound: Fraction, a: Exact, v: Exact, t: Exact
) -> Iterator[Exact]:
    U, CA = network.U, C * a[None, :] * -HALF
    M = symmetric(a.column() * (Exact.identity(len(a)) - network.W.T))
    spare = Exact.rational(bound) - v.sum() - t.sum()
    if norm != "1":
        moved = np.abs(U.integers).any(0)
        t = t[np.flatnonzero(moved)] if norm == "inf" else t
        U = U[:, np.flatnonzero(moved)]
        if (t.signs <= 0).any() and U.shape[1]:
            raise Refused("t: a coordinate that the network sees has the multiplier 0")
        M = M - (U * inverse_up(t)[None, :] @ U.T) * QUARTER if U.shape[1] else M
    if norm == "inf":
        yield bordered(spare, CA[0], M)
    elif norm == "2":
        yield Exact(spare.integers.reshape(1, 1), spare.scale)
        yield stack([[Exact.identity(len(C)) * v, CA], [CA.T, M]])
    else:
        side = stack([[Exact.zeros(1, len(C)), U[:, part][None, :] * -HALF]])[0]
        yield bordered(spare, side, stack([[diagonal(v), CA], [CA.T, M]]))


def _multipliers(arrays: Mapping[str, np.ndarray], *sizes: int) -> list[Exact]:
    found = []
    for name, size in zip("avt", sizes, strict=True):
        values = Exact.of(arrays.get(name, np.zeros(0)))
        if values.shape != (size,) or (values.signs < 0).any():
            raise Refused(f"{name}: expected {size} multipliers >= 0 for each part")
        found.append(values)
    return found
