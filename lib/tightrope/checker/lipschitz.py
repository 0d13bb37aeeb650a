"""Lipschitz constants of a monotone equilibrium network, of all inputs or of a region; README.md has the statements."""

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from tightrope.checker.claims import only, output, region_of, rows, vector
from tightrope.checker.file import Certificate
from tightrope.checker.forms import Form, Quadratic
from tightrope.checker.mondeq import Network
from tightrope.checker.numbers import Exact, Refused
from tightrope.checker.phases import BOUNDS, proven_bounds


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
    return _constants(file, network, proven_bounds(file, network, region_of(file, "a", "v", "t", "equal", *BOUNDS)))


def _constants(
    file: Certificate, network: Network, bounds: tuple[np.ndarray, np.ndarray] | None
) -> Callable[..., None]:
    """Return what proves a claim, whose parts take the arrays' rows in turn, of a network that is known to be monotone.

    On a region, with `bounds` on h, a part has `equal` too.
    """
    taken, (p, p0) = 0, network.U.shape
    low, high = bounds or (np.full(p, -1.0), np.full(p, 1.0))
    y, active = Form({"y": Exact.of(high > 0)}), Exact.of((low >= 0) & (high > 0))  # y_i = 0 where one is inactive

    def prove(_: int, norm: object, bound: Fraction, pair: object = ()) -> None:
        nonlocal taken
        C, norm = network.C, str(norm)
        if pair != ():
            C = output(C, pair if isinstance(pair, list) else []).row()
        K = len(C)
        counts = {"inf": K, "2": 1, "1": p0}
        if norm not in counts or bound < 0:  # of no parts, a bound below 0 would follow from nothing
            raise Refused(f"norm: expected one of {', '.join(counts)}, got {norm!r}, and a bound >= 0")
        first, taken = taken, taken + counts[norm]
        for part in range(counts[norm]):
            own = rows(file.arrays, ("a", "v", "t", "equal"), first + part)
            sizes = {"inf": (p, 0, p0), "2": (p, 1, 1), "1": (p, K, 0)}[norm]
            a, of_v, of_t = (vector(own, name, size) for name, size in zip("avt", sizes, strict=True))
            form = Quadratic(bound - (of_v.sum() + of_t.sum()).fraction())
            v = _of_ball(form, "v", of_v, K, norm == "inf", part)
            t = _of_ball(form, "t", of_t, p0, norm == "1", part)
            spare = network.W.T @ y + C.T @ v - y  # r - y
            form.add(-network.U, t, y)
            form.add(-a, spare, y)
            if bounds is not None:
                form.add(active * vector(own, "equal", 1, signed=True), spare, spare)
            form.minimise("t")
            if not form.is_nonnegative():
                raise Refused(f"the multipliers of part {part} do not prove the bound")

    return prove


def _of_ball(form: Quadratic, name: str, multipliers: Exact, size: int, extreme: bool, part: int) -> Form:
    """Return all vectors of a unit ball, adding multipliers times squares to the form, or one of its extreme points."""
    if extreme:
        return Form.constant(Exact.of(np.arange(size) == part))
    found = Form({name: Exact.ones(size)})
    form.add(Exact.ones(size) * multipliers, found, found)
    return found
