"""Drawings of the results, one module per paper; the only package that draws."""

from tightrope.experiments.figures.drawing import Drawing
from tightrope.experiments.figures.mondeq import (
    adversarial_example,
    bounds,
    certificate,
    outer_ellipses,
    problem_sizes,
    stacked_ratios,
)

__all__ = [
    "Drawing",
    "adversarial_example",
    "bounds",
    "certificate",
    "outer_ellipses",
    "problem_sizes",
    "stacked_ratios",
]
