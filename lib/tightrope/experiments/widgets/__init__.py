"""Explorers for notebooks: the pattern (`explorer`), one image (`certify`), constants and sizes of problems."""

from tightrope.experiments.widgets.certify import attack, certify
from tightrope.experiments.widgets.explorer import Explorer, Still, View

__all__ = [
    "Explorer",
    "Still",
    "View",
    "ascents",
    "attack",
    "certify",
    "constants",
    "radius_curves",
    "relaxations",
    "relu_constants",
    "sizes",
]


def __getattr__(name: str):
    # What these two need on top takes as long to import as all that the others do.
    if name == "constants":
        from tightrope.experiments.widgets.lipschitz import constants

        return constants
    if name == "relu_constants":
        from tightrope.experiments.widgets.relu_lipschitz import relu_constants

        return relu_constants
    if name == "sizes":
        from tightrope.experiments.widgets.problem_sizes import sizes

        return sizes
    if name == "ascents":
        from tightrope.experiments.widgets.landscapes import ascents

        return ascents
    if name == "radius_curves":
        from tightrope.experiments.widgets.along_radius import radius_curves

        return radius_curves
    if name == "relaxations":
        from tightrope.experiments.widgets.relu_shapes import relaxations

        return relaxations
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
