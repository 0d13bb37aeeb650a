"""Outer ellipsoids of equilibrium networks, at order 1 or under bounds on h; README.md has the identities."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from tightrope.checker import phases
from tightrope.checker.claims import check_labels, region_of
from tightrope.checker.file import Certificate
from tightrope.checker.forms import Form, Quadratic
from tightrope.checker.mondeq import MULTIPLIERS, Network, subtract_products
from tightrope.checker.numbers import Exact, Refused
from tightrope.checker.positive import is_semidefinite
from tightrope.checker.regions import Region


def outer(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """Theory mondeq-ellipsoid: that it holds the image is proven first, and else refuses the whole file."""
    network, bounded = Network.read(arrays), "l" in file.arrays
    region = region_of(file, "Q", "b", *(phases.ARRAYS if bounded else MULTIPLIERS))
    (Q, b), K = network.ellipsoid(file), len(network.c)
    bounds = phases.proven_bounds(file, network, region) if bounded else None
    if not is_semidefinite(image_form(network, region, Fraction(1), (Q, b), bounds, file.arrays)):
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
        y, step = Form({"y": Exact.ones(K)}), np.zeros(K, int)
        step[[target, label]] = 1, -1
        form = Quadratic(margin["bound"] - multiplier)
        form.add(-Exact.of(step), y)
        at = Q @ y + Form.constant(b)
        form.add(Exact.ones(K) * multiplier, at, at)
        if not form.is_nonnegative():
            raise Refused("the multiplier does not prove the bound")

    return prove


def image_form(
    network: Network,
    region: Region,
    square: Fraction,
    about: tuple[Exact, Exact],
    bounds: phases.Bounds | None,
    arrays: Mapping[str, np.ndarray],
) -> Exact:
    """Return a matrix for a file's multipliers: semidefinite, with `square` 1 it proves ||Q F + b|| <= 1.

    It is `about` Q and b. With bounds on h they are row 0 of the file's.
    """
    Q, b = about
    K = len(b)

    def spare(z: Form) -> Quadratic:
        """Return square - 2 o'(Q F + b) + |o|^2, which is square - |o|^2 at o = Q F + b."""
        form, o = Quadratic(square), Form({"o": Exact.ones(K)})
        form.add(Exact.ones(K), o, o)
        form.add(Exact.ones(K) * -2, Q @ (network.C @ z + Form.constant(network.c)) + Form.constant(b), o)
        return form

    if bounds is not None:
        return phases.form(network, region, spare, bounds, arrays, 0, K)
    form = spare(Form({"z": Exact.ones(len(network.u))}))
    subtract_products(form, network, region, arrays)
    for block in ("o", "d"):
        form.minimise(block)
    return form.matrix()
