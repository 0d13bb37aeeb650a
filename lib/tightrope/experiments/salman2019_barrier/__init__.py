"""A convex relaxation barrier to tight robustness verification: the paper's results, one function each.

Every region is an L-infinity ball in pixels, cut to the pixel range [0, 1], as in the paper's own evaluation: with
other sets its numbers for LP-GREEDY do not come out.
"""

from tightrope.experiments.registry import Experiment
from tightrope.experiments.salman2019_barrier import robust_error
from tightrope.experiments.salman2019_barrier.robust_error import (
    GREEDY,
    TABLE_1,
    table_1,
    table_1_cases,
    table_1_cells,
)

__all__ = ["EXPERIMENTS", "table_1"]

EXPERIMENTS = {
    TABLE_1: Experiment(
        table_1_cases, table_1_cells, {TABLE_1: robust_error.decide_group, GREEDY: robust_error.greedy_group}
    ),
}
