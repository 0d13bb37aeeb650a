"""Drawings by kind: bars, curves, maps, networks; the only package that draws."""

from tightrope.figures.bars import barrier_bars, between, bounds, error_bars, gap_bars, problem_sizes, stacked_ratios
from tightrope.figures.curves import ascents, curves, order_axis, pairs, ratio_curves, spreads, sweeps
from tightrope.figures.drawing import Drawing
from tightrope.figures.maps import envelope_panels, matrix, pair_matrices, region_and_bounds, relation_map, relu_regions
from tightrope.figures.networks import adversarial_example, certificate, outer_ellipses

__all__ = [
    "Drawing",
    "adversarial_example",
    "ascents",
    "barrier_bars",
    "between",
    "bounds",
    "certificate",
    "curves",
    "envelope_panels",
    "error_bars",
    "gap_bars",
    "matrix",
    "order_axis",
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
