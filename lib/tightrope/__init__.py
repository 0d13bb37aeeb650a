"""Tightrope: how tight convex relaxations of neural networks are, and what that tightness buys.

What one needs first is here: networks (`FeedForward`, `MonDEQ`, `load`), regions (`Ball`, `pixel_ball`), and questions
(`certify`, `lipschitz_bound`, `outer_ellipsoid`, `minimum_distortion`, `attack`), whose reports have a `Verdict`.
CONTRIBUTING.md lists the modules in the order in which data flows; each imports only from those before it.

Examples
--------
>>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 1.5]))
>>> certify(network, Ball([0.0], 1.0, "inf"), label=1)  # |x| < 1.5
<RobustnessReport: label 1, predicted 1: certified>
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tightrope.networks import FeedForward, MonDEQ
    from tightrope.question import Verdict
    from tightrope.regions import Ball, pixel_ball
    from tightrope.verifiers.constants import lipschitz_bound
    from tightrope.verifiers.distortion import minimum_distortion
    from tightrope.verifiers.ellipsoid import outer_ellipsoid
    from tightrope.verifiers.robustness import attack, certify
    from tightrope.zoo import load

__version__ = "0.2.0.dev0"

#: Where each name comes from; it is imported when it is first asked for, as some of them need seconds.
_HOME = {
    "Ball": "regions",
    "FeedForward": "networks",
    "MonDEQ": "networks",
    "Verdict": "question",
    "attack": "verifiers.robustness",
    "certify": "verifiers.robustness",
    "lipschitz_bound": "verifiers.constants",
    "load": "zoo",
    "minimum_distortion": "verifiers.distortion",
    "outer_ellipsoid": "verifiers.ellipsoid",
    "pixel_ball": "regions",
}
__all__ = [
    "Ball",
    "FeedForward",
    "MonDEQ",
    "Verdict",
    "attack",
    "certify",
    "lipschitz_bound",
    "load",
    "minimum_distortion",
    "outer_ellipsoid",
    "pixel_ball",
]


if not TYPE_CHECKING:  # types are those of the imports above

    def __getattr__(name: str) -> object:
        if name in _HOME:
            value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        elif not name.startswith("_") and find_spec(f"{__name__}.{name}"):  # a module: tightrope.networks
            value = import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
