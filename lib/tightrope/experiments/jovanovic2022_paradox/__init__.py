"""Certified defenses, why tighter relaxations may hurt training: the paper's results, one function each.

Every region is an L-infinity box cut to the pixel range [0, 1], radius in pixel units, unless a result says otherwise.
"""

from tightrope.experiments.jovanovic2022_paradox.accuracy import (
    TABLE_2,
    TABLE_8,
    TABLE_9,
    accuracy_cells,
    certify_and_attack,
    certify_own,
    own_cases,
    own_certificates,
    table_2_cells,
)
from tightrope.experiments.jovanovic2022_paradox.cross_certification import (
    TABLE_7,
    count_certified,
    table_7,
    table_7_cases,
    table_7_cells,
)
from tightrope.experiments.jovanovic2022_paradox.degrees import DEGREES, degree_cases, degrees, find_degree
from tightrope.experiments.jovanovic2022_paradox.landscapes import (
    FIGURE_5,
    FIGURE_6,
    ascent_cases,
    ascents,
    climb,
)
from tightrope.experiments.jovanovic2022_paradox.new_relaxations import FIGURE_7, figure_7_cases, new_shapes
from tightrope.experiments.jovanovic2022_paradox.seeds import (
    SPREAD,
    TABLE_13,
    table_13_cases,
    table_13_cells,
    train_seed,
    trained_seeds,
)
from tightrope.experiments.jovanovic2022_paradox.shapes import (
    FIGURE_1,
    FIGURE_3,
    FIGURE_8,
    figure_1,
    figure_1_cases,
    figure_3,
    figure_3_cases,
    figure_3_cells,
    figure_8,
    figure_8_cases,
    figure_8_cells,
    minimal_curve,
    shape,
    toy_bounds,
)
from tightrope.experiments.jovanovic2022_paradox.small_training import (
    TABLE_14,
    table_14,
    table_14_cases,
    table_14_cells,
    train_one,
)
from tightrope.experiments.jovanovic2022_paradox.tightness import (
    FIGURE_2,
    FIGURE_4,
    FIGURE_9,
    FIGURE_10,
    TABLE_1,
    TABLE_4,
    count_at_radius,
    draw_paradox,
    paradox,
    shifted_bounds,
    shifted_cases,
    shifted_curve,
    tightness,
    tightness_cases,
)
from tightrope.experiments.registry import Experiment

__all__ = [
    "EXPERIMENTS",
    "ascents",
    "degrees",
    "draw_paradox",
    "figure_1",
    "figure_3",
    "figure_8",
    "new_shapes",
    "own_certificates",
    "paradox",
    "shifted_bounds",
    "table_7",
    "table_14",
    "tightness",
    "trained_seeds",
]


def _no_cells(rows, parameters) -> dict:
    """Nothing printed to compare with: another network, or a drawing."""
    return {}


def _figure_6_cases(parameters) -> list[dict]:
    return ascent_cases(FIGURE_6)(parameters) + degree_cases(parameters)


EXPERIMENTS = {
    TABLE_2: Experiment(own_cases(TABLE_2), table_2_cells, {TABLE_2: certify_own}),
    TABLE_7: Experiment(table_7_cases, table_7_cells, {TABLE_7: count_certified}),
    TABLE_8: Experiment(own_cases(TABLE_8), accuracy_cells(8), {TABLE_8: certify_and_attack}),
    TABLE_9: Experiment(own_cases(TABLE_9), accuracy_cells(9), {TABLE_9: certify_and_attack}),
    TABLE_13: Experiment(table_13_cases, table_13_cells, {TABLE_13: train_seed, SPREAD: train_seed}),
    TABLE_14: Experiment(table_14_cases, table_14_cells, {TABLE_14: train_one}),
    FIGURE_1: Experiment(figure_1_cases, _no_cells, {FIGURE_1: shape}),
    FIGURE_3: Experiment(figure_3_cases, figure_3_cells, {FIGURE_3: minimal_curve}),
    FIGURE_5: Experiment(ascent_cases(FIGURE_5), _no_cells, {FIGURE_5: climb}),
    FIGURE_6: Experiment(_figure_6_cases, _no_cells, {FIGURE_6: climb, DEGREES: find_degree}),
    FIGURE_7: Experiment(figure_7_cases, _no_cells, {FIGURE_7: shape, TABLE_14: train_one}),
    FIGURE_8: Experiment(figure_8_cases, figure_8_cells, {FIGURE_8: toy_bounds}),
    **{
        name: Experiment(tightness_cases(name), _no_cells, {name: count_at_radius})
        for name in (TABLE_1, TABLE_4, FIGURE_2, FIGURE_9)
    },
    **{name: Experiment(shifted_cases(name), _no_cells, {name: shifted_curve}) for name in (FIGURE_4, FIGURE_10)},
}
