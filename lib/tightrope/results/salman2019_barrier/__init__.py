"""A convex relaxation barrier to tight robustness verification: the paper's results, one function each.

Every region is an L-infinity ball in pixels, cut to the pixel range [0, 1], as in the paper's own evaluation: with
other sets its numbers for LP-GREEDY do not come out.
"""

from tightrope.results.salman2019_barrier import distortion, nonlinearities, relations, robust_error
from tightrope.results.salman2019_barrier.distortion import FIGURE_3, figure_3, figure_3_cases, figure_3_cells
from tightrope.results.salman2019_barrier.nonlinearities import FIGURE_2, figure_2, figure_2_cases, figure_2_cells
from tightrope.results.salman2019_barrier.relations import FIGURE_1, figure_1, figure_1_cases, figure_1_cells
from tightrope.results.salman2019_barrier.robust_error import (
    TABLE_1,
    UP_TO_LP_ALL,
    table_1,
    table_1_cases,
    table_1_cells,
)
from tightrope.workbench.legacy import Experiment

__all__ = ["EXPERIMENTS", "figure_1", "figure_2", "figure_3", "table_1"]

EXPERIMENTS = {
    TABLE_1: Experiment(
        table_1_cases, table_1_cells, {TABLE_1: robust_error.decide_group, UP_TO_LP_ALL: robust_error.cheap_group}
    ),
    FIGURE_1: Experiment(figure_1_cases, figure_1_cells, {FIGURE_1: relations.measure}),
    FIGURE_2: Experiment(figure_2_cases, figure_2_cells, {FIGURE_2: nonlinearities.measure}),
    FIGURE_3: Experiment(figure_3_cases, figure_3_cells, {FIGURE_3: distortion.search}),
}
