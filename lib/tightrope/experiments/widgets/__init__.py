"""Explorers for notebooks: the pattern (`explorer`), and the one that certifies an image (`certify`)."""

from tightrope.experiments.widgets.certify import attack, certify
from tightrope.experiments.widgets.explorer import Explorer, Still, View

__all__ = ["Explorer", "Still", "View", "attack", "certify"]
