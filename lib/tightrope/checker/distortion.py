"""How far an image is from another label: the margins of a ball around it are below 0, and a point beyond has another.

Both kinds of network have this theory; README.md and README-relu.md have its statement.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from tightrope.checker import mondeq, phases, relu
from tightrope.checker.claims import EXACT, row
from tightrope.checker.file import Certificate
from tightrope.checker.numbers import Refused
from tightrope.checker.regions import Region, read

_Prove = Callable[..., str | None]


def of_layers(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., str]:
    """Theory relu-distortion: claims of relu-linear, if any, and a last one of the distance."""
    network = relu.Network.read(arrays)

    def reached(wide: Region, label: int, target: int) -> str:
        return relu.prove_point(network, wide, row(file.arrays, "point", 0), label, target, Fraction(0))

    return _between(file, network.sizes[-1], relu.linear(file, arrays, "point"), reached)


def of_equilibrium(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., str]:
    """Theory mondeq-distortion: claims of mondeq-phases or mondeq-order-1, if any, and a last one of the distance."""
    network = mondeq.Network.read(arrays)
    margins = phases.margins if "l" in file.arrays else mondeq.margins

    def reached(wide: Region, label: int, target: int, m: Fraction) -> str:
        network.prove_monotone(m)
        at = tuple(row(file.arrays, name, 0) for name in ("point", "state"))
        mondeq.prove_point(network, wide, at, (label, target), Fraction(0), m)
        return EXACT

    return _between(file, len(network.c), margins(file, arrays, "point", "state"), reached)


def _between(file: Certificate, classes: int, inside: _Prove, reached: Callable[..., str]) -> Callable[..., str]:
    """Return what proves the claims of a file, the last one by `reached` on the ball of the distance."""
    if "shape" in file.region:
        raise Refused("region: distances are for balls")
    below: set[tuple[int, int]] = set()
    how: list[str] = []  # of the claims that are proven

    def prove(number: int, distance: Fraction | None = None, **claim: Any) -> str:
        if (distance is None) == (number + 1 == len(file.claims)):
            raise Refused("distance: it is what the last claim, and no other, is about")
        if distance is None:
            how.append(inside(number, **claim) or EXACT)
            if "layer" not in claim and claim["bound"] < 0:
                below.add((claim["label"], claim["target"]))
            return how[-1]
        wide = read({**file.region, "radius": file.claims[-1]["distance"]}, file.arrays)
        how.append(reached(wide, **claim))
        if len(how) <= number:
            raise Refused("a claim about the ball is not proven")
        label = claim["label"]
        if number and not {(label, k) for k in range(classes) if k != label} <= below:
            raise Refused("not every margin of the ball is below 0")
        return max(how, key=lambda by: by != EXACT)

    return prove
