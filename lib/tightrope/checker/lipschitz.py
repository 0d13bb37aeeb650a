"""Lipschitz constants of a monotone equilibrium network, of all inputs or of a region; README.md has the statements."""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

import numpy as np

from tightrope.checker.claims import only, output, region_of, rows, vector
from tightrope.checker.file import Certificate
from tightrope.checker.mondeq import HALF, Network, bordered, minimised, symmetric
from tightrope.checker.numbers import Exact, Refused, diagonal, stack
from tightrope.checker.phases import BOUNDS, proven_bounds
from tightrope.checker.positive import is_semidefinite


def everywhere(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """Theory mondeq-lipschitz."""
    network = Network.read(arrays)
    only(file, "a", "v", "t")
    if file.region:
        raise Refused("region: a global constant has none")
    network.prove_monotone()
    return _constants(file, network, None)


def on_region(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """Theory mondeq-lipschitz-local."""
    network = Network.read(arrays)
    low, high = proven_bounds(file, network, region_of(file, "a", "v", "t", "equal", *BOUNDS))
    return _constants(file, network, np.where(high <= 0, -1, np.where(low >= 0, 1, 0)))


def _constants(file: Certificate, network: Network, signs: np.ndarray | None) -> Callable[..., None]:
    """Return what proves a claim, whose parts take the arrays' rows in turn, of a network that is known to be monotone.

    On a region, `signs` (p,) has 1 where h >= 0 on all of it, -1 where h <= 0 is, else 0, and a part has `equal` too.
    """
    taken, p, p0 = 0, len(network.u), network.U.shape[1]
    kept = np.arange(p) if signs is None else np.flatnonzero(signs >= 0)  # y_i = 0 where a neuron is inactive
    W, U, whole = network.W[np.ix_(kept, kept)], network.U[kept], network.C[:, kept]
    IW, active = Exact.identity(len(kept)) - W.T, None if signs is None else np.flatnonzero(signs[kept] > 0)

    def prove(_: int, norm: object, bound: Fraction, pair: object = ()) -> None:
        nonlocal taken
        C, norm = whole, str(norm)
        if pair != ():
            C = output(network.C, pair if isinstance(pair, list) else [])[None, kept]
        counts = {"inf": len(C), "2": 1} if pair else {"inf": len(C), "2": 1, "1": p0}
        if norm not in counts or bound < 0:  # of no parts, a bound below 0 would follow from nothing
            raise Refused(f"norm: expected one of {', '.join(counts)}, got {norm!r}, and a bound >= 0")
        first, taken = taken, taken + counts[norm]
        for part in range(counts[norm]):
            own = rows(file.arrays, ("a", "v", "t", "equal"), first + part)
            sizes = {"inf": (p, 0, p0), "2": (p, 1, 1), "1": (p, len(C), 0)}[norm]
            a, v, t = (vector(own, name, size) for name, size in zip("avt", sizes, strict=True))
            rows_of = C[part][None, :] if norm == "inf" else C
            forms = _forms(norm, IW, U, rows_of, part, bound, a[kept], v, t)
            if active is not None:
                equal = vector(own, "equal", 1, signed=True)[0].fraction()
                forms = (form + _equal(form, IW, rows_of, active) * equal for form in forms)
            if not all(map(is_semidefinite, forms)):
                raise Refused(f"the multipliers of part {part} do not prove the bound")

    return prove


def _forms(
    norm: str, IW: Exact, U: Exact, C: Exact, part: int, bound: Fraction, a: Exact, v: Exact, t: Exact
) -> Iterator[Exact]:
    """Yield the matrices of README.md that must be semidefinite; IW is I - W', without inactive neurons as U and C."""
    CA, M = C * a.row() * -HALF, symmetric(a.column() * IW)
    spare = Exact.rational(bound) - v.sum() - t.sum()
    if norm != "1":
        M = minimised(M, U, t, "t")
    if norm == "inf":
        yield bordered(spare, CA[0], M)
    elif norm == "2":
        yield spare.row()
        yield stack([[Exact.identity(len(C)) * v, CA], [CA.T, M]])
    else:
        side = stack([[Exact.zeros(1, len(C)), U[:, part].row() * -HALF]])[0]
        yield bordered(spare, side, stack([[diagonal(v), CA], [CA.T, M]]))


def _equal(form: Exact, IW: Exact, C: Exact, active: np.ndarray) -> Exact:
    """Return the matrix, of the size of a form, of |y_A - (W'y + C'v)_A|^2 for the active neurons A."""
    before = len(form) - len(IW) - len(C)
    if not len(active) or before < 0:  # the matrix of the bound alone
        return Exact.zeros(*form.shape)
    E = stack([[Exact.zeros(len(active), before), -C.T[active], IW[active]]])
    return E.T @ E
