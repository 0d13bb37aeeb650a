"""Semialgebraic representation of monotone deep equilibrium models: the paper's results, one function each.

`table_2` and `figure_2` solve what is not solved yet, case by case, and return rows with the tables and
drawings made of them; everything after the rows is a pure function of the rows. A number is always for one
set: the ball of the norm (`clip` false) or that ball cut to the pixel range (`clip` true); attack and
certificate use the same one.
"""

from collections.abc import Mapping

from tightrope.results.chen2021_mondeq import (
    adversarial_example,
    ellipsoid_ratio,
    fixpoint_ratio,
    lipschitz_bounds,
    outer_ellipsoid,
    problem_sizes,
)
from tightrope.results.chen2021_mondeq.adversarial_example import (
    FIGURE_2,
    figure_2,
    figure_2_cases,
    figure_2_cells,
)
from tightrope.results.chen2021_mondeq.certified_ratio import (
    TABLE_2,
    decide,
    radii_of,
    table_2,
    table_2_cases,
    table_2_cells,
)
from tightrope.results.chen2021_mondeq.ellipsoid_ratio import ELLIPSOIDS, ellipsoid_cases, table_2_ellipsoids
from tightrope.results.chen2021_mondeq.fixpoint_ratio import FIXPOINTS, fixpoint_cases, table_2_fixpoints
from tightrope.results.chen2021_mondeq.lipschitz_bounds import (
    TABLE_3,
    constants_cases,
    table_3,
    table_3_cases,
    table_3_cells,
)
from tightrope.results.chen2021_mondeq.lipschitz_ratio import count_cases
from tightrope.results.chen2021_mondeq.local_constants import table_3_local
from tightrope.results.chen2021_mondeq.orders import table_2_orders
from tightrope.results.chen2021_mondeq.outer_ellipsoid import (
    FIGURE_1,
    figure_1,
    figure_1_cases,
    figure_1_cells,
)
from tightrope.results.chen2021_mondeq.problem_sizes import (
    TABLE_1,
    table_1,
    table_1_cases,
    table_1_cells,
)
from tightrope.workbench.legacy import Experiment

__all__ = [
    "EXPERIMENTS",
    "figure_1",
    "figure_2",
    "table_1",
    "table_2",
    "table_2_ellipsoids",
    "table_2_fixpoints",
    "table_2_orders",
    "table_3",
    "table_3_local",
]


def table_2_columns(parameters: Mapping) -> list[dict]:
    """The cases of every column of Table 2 that are known before any is solved."""
    columns = table_2_cases(parameters), ellipsoid_cases(parameters), fixpoint_cases(parameters)
    constants = constants_cases(parameters)  # of Table 3, by which images are counted
    return [case for column in columns for case in column] + constants + count_cases(parameters, radii_of(parameters))


_TABLE_2_SOLVE = {
    TABLE_2: decide,
    ELLIPSOIDS: ellipsoid_ratio.enclose,
    FIXPOINTS: fixpoint_ratio.enclose,
    TABLE_3: lipschitz_bounds.bound,
}
EXPERIMENTS = {
    TABLE_1: Experiment(table_1_cases, table_1_cells, {TABLE_1: problem_sizes.count}),
    TABLE_2: Experiment(table_2_columns, table_2_cells, _TABLE_2_SOLVE),
    TABLE_3: Experiment(table_3_cases, table_3_cells, {TABLE_3: lipschitz_bounds.bound}),
    FIGURE_1: Experiment(figure_1_cases, figure_1_cells, {FIGURE_1: outer_ellipsoid.enclose}),
    FIGURE_2: Experiment(figure_2_cases, figure_2_cells, {FIGURE_2: adversarial_example.attack}),
}
