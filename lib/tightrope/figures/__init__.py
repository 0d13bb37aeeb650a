"""Drawings of the results, one module per paper; the only package that draws."""

from tightrope.figures.barrier import envelope_panels, error_bars, gap_bars, relation_map
from tightrope.figures.drawing import Drawing
from tightrope.figures.landscapes import ascents, spreads
from tightrope.figures.mondeq import (
    adversarial_example,
    bounds,
    certificate,
    outer_ellipses,
    problem_sizes,
    stacked_ratios,
)
from tightrope.figures.paradox import curves, matrix, pairs, region_and_bounds, relu_regions
from tightrope.figures.relu import pair_matrices, ratio_curves, sweeps

__all__ = [
    "Drawing",
    "adversarial_example",
    "ascents",
    "bounds",
    "certificate",
    "curves",
    "envelope_panels",
    "error_bars",
    "gap_bars",
    "matrix",
    "outer_ellipses",
    "pair_matrices",
    "pairs",
    "problem_sizes",
    "ratio_curves",
    "region_and_bounds",
    "relation_map",
    "relu_regions",
    "spreads",
    "stacked_ratios",
    "sweeps",
]
