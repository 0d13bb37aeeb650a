"""Certified defenses, why tighter relaxations may hurt training: the paper's results, one function each.

Every region is an L-infinity box cut to the pixel range [0, 1], radius in pixel units, unless a result says otherwise.
"""

from tightrope.experiments.jovanovic2022_paradox.cross_certification import (
    TABLE_7,
    count_certified,
    table_7,
    table_7_cases,
    table_7_cells,
)
from tightrope.experiments.registry import Experiment

__all__ = ["EXPERIMENTS", "table_7"]

EXPERIMENTS = {
    TABLE_7: Experiment(table_7_cases, table_7_cells, {TABLE_7: count_certified}),
}
