"""Semialgebraic optimization for Lipschitz constants of ReLU networks: the paper's results, one function each."""

from tightrope.results.chen2020_lipschitz.certified_images import TABLE_4, table_4, table_4_cases, table_4_cells
from tightrope.results.chen2020_lipschitz.certified_points import (
    TABLE_3,
    certified,
    table_3,
    table_3_cases,
    table_3_cells,
)
from tightrope.results.chen2020_lipschitz.common import bound
from tightrope.results.chen2020_lipschitz.random_networks import (
    FIGURE_1,
    POSTER,
    TABLE_1,
    figure_1,
    figure_1_cases,
    no_cells,
    poster,
    poster_cases,
    table_1,
    table_1_cases,
    table_1_cells,
)
from tightrope.results.chen2020_lipschitz.trained_network import TABLE_2, table_2, table_2_cases, table_2_cells
from tightrope.workbench.legacy import Experiment

__all__ = ["EXPERIMENTS", "figure_1", "poster", "table_1", "table_2", "table_3", "table_4"]

EXPERIMENTS = {
    TABLE_1: Experiment(table_1_cases, table_1_cells, {TABLE_1: bound}),
    TABLE_2: Experiment(table_2_cases, table_2_cells, {TABLE_2: bound}),
    TABLE_3: Experiment(table_3_cases, table_3_cells, {TABLE_3: certified}),
    TABLE_4: Experiment(table_4_cases, table_4_cells, {TABLE_4: bound}),
    FIGURE_1: Experiment(figure_1_cases, no_cells, {FIGURE_1: bound}),
    POSTER: Experiment(poster_cases, no_cells, {POSTER: bound}),
}
