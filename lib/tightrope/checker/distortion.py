"""How far an image is from another label: the margins of a ball around it are below 0, and a point beyond has another.

Both kinds of network have this theory; README.md and README-relu.md have its statement.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from tightrope.checker import mondeq, phases, relu
from tightrope.checker.claims import EXACT
from tightrope.checker.file import Certificate
from tightrope.checker.numbers import Refused
from tightrope.checker.regions import ARRAYS
from tightrope.checker.relu_network import Network

_Prove = Callable[..., str | None]


def of_layers(file: Certificate, arrays: Mapping[str, np.ndarray]) -> _Prove:
    """Theory relu-distortion: claims of relu-linear, if any, then as of relu-point."""
    inner, near = _parts(file, {"point": "point"})
    return _both(file, relu.linear(inner, arrays), lambda: relu.points(near, arrays), Network.read(arrays).sizes[-1])


def of_equilibrium(file: Certificate, arrays: Mapping[str, np.ndarray]) -> _Prove:
    """Theory mondeq-distortion: claims of mondeq-phases or mondeq-order-1, if any, then as of mondeq-point."""
    inner, near = _parts(file, {"point": "point", "state": "z"})
    margins = phases.margins if "l" in file.arrays else mondeq.margins
    return _both(file, margins(inner, arrays), lambda: mondeq.points(near, arrays), len(arrays["c"]))


def _parts(file: Certificate, names: Mapping[str, str]) -> tuple[Certificate, Certificate]:
    """Return the file of the ball's margins, and that of the point in the ball of the distance, by its `names`."""
    if "shape" in file.region:
        raise Refused("region: distances are for balls")
    margins = {name: values for name, values in file.arrays.items() if name not in names}
    point = {names.get(name, name): file.arrays[name] for name in (*names, *ARRAYS) if name in file.arrays}
    wide = {**file.region, "radius": file.claims[-1].get("distance")}
    return replace(file, arrays=margins), replace(file, arrays=point, region=wide)


def _both(file: Certificate, inside: _Prove, reached: Callable[[], _Prove], classes: int) -> _Prove:
    """Return what proves the claims of a file, the last one by `reached`."""
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
        how.append(reached()(0, least=Fraction(0), **claim) or EXACT)
        if len(how) <= number:
            raise Refused("a claim about the ball is not proven")
        label = claim["label"]
        if number and not {(label, k) for k in range(classes) if k != label} <= below:
            raise Refused("not every margin of the ball is below 0")
        return max(how, key=lambda by: by != EXACT)

    return prove
