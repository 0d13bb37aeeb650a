"""Lipschitz constants of a monotone equilibrium network, of all inputs or of a region; README.md has the statements."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import partial

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
    network: Network,
    norm: str,
    pair: tuple[int, int] | None,
    bound: Fraction,
    rows: Iterator[Mapping[str, np.ndarray]],
    signs: np.ndarray | None = None,
) -> None:
    """Prove the claim, with the multipliers a, v, t of each part in turn; `network` is known to be monotone.

    On a region, `signs` (p,) has 1 where h >= 0 on all of it, -1 where h <= 0 is, else 0, and a part has `equal` too.

    Raises
    ------
    Refused
        They do not prove it.
    """
    if bound < 0:
        raise Refused("bound: a constant is not negative")  # nor is that of a network without outputs, of no parts
    if signs is not None:  # y_i = 0 where a neuron is inactive
        kept, width = np.flatnonzero(signs >= 0), len(signs)
        W, U, C = network.W[np.ix_(kept, kept)], network.U[kept], network.C[:, kept]
        network, signs = Network(W, U, network.u[kept], C, network.c), signs[kept]
    if pair is not None:
        C = network.difference(*pair)[0][None, :]
    for part in range(parts(network, norm, pair is not None)):
        if pair is None:
            C = network.C[part][None, :] if norm == "inf" else network.C
        sizes = {"inf": (0, network.U.shape[1]), "2": (1, 1), "1": (len(C), 0)}[norm]
        own = next(rows)
        a, v, t = _multipliers(own, len(network.u) if signs is None else width, *sizes)
        a = a if signs is None else a[kept]
        matrices = _matrices(network, norm, C, part, bound, a, v, t)
        if signs is not None:
            matrices = map(partial(_on_region, network, C, signs, _equal(own)), matrices)
        if not all(map(is_semidefinite, matrices)):
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


def _on_region(network: Network, C: Exact, signs: np.ndarray, equal: Exact, S: Exact) -> Exact:
    """Return the matrix with equal |y_A - (W'y + C'v)_A|^2 for the active neurons A."""
    head, active = len(S) - len(signs), np.flatnonzero(signs > 0)
    if not len(active) or head <= 0:  # the matrix of the bound alone
        return S
    before = Exact.zeros(len(active), head - len(C))
    E = stack([[before, -C.T[active], (Exact.identity(len(signs)) - network.W.T)[active]]])
    return S + E.T @ E * equal.fraction()


def _equal(arrays: Mapping[str, np.ndarray]) -> Exact:
    values = Exact.of(arrays.get("equal", np.zeros(0)))
    if values.shape != (1,):
        raise Refused("equal: expected one multiplier for each part")
    return values[0]


def _multipliers(arrays: Mapping[str, np.ndarray], *sizes: int) -> list[Exact]:
    found = []
    for name, size in zip("avt", sizes, strict=True):
        values = Exact.of(arrays.get(name, np.zeros(0)))
        if values.shape != (size,) or (values.signs < 0).any():
            raise Refused(f"{name}: expected {size} multipliers >= 0 for each part")
        found.append(values)
    return found
