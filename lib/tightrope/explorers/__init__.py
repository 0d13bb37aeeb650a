"""Explorers for notebooks: the pattern (`explorer`), one image (`certify`), and one module for each other question."""

import importlib

from tightrope.explorers.certify import attack, certify
from tightrope.explorers.explorer import Explorer, Still, View, explores

#: Explorers by the module that makes them. What these need on top takes as long to import as all that the others do, so
#: each is imported when it is asked for.
_HOMES = {
    "ascents": "landscapes",
    "constants": "lipschitz",
    "envelopes": "activation_envelopes",
    "orders": "along_orders",
    "radius_curves": "along_radius",
    "relaxations": "relu_shapes",
    "relu_constants": "relu_lipschitz",
    "schedules": "training_schedules",
    "sizes": "problem_sizes",
}
__all__ = ["Explorer", "Still", "View", "attack", "certify", "explores", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
