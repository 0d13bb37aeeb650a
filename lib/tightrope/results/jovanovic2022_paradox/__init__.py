"""Certified defenses, why tighter relaxations may hurt training: the paper's results, one function each.

Every region is an L-infinity box cut to the pixel range [0, 1], radius in pixel units, unless a result says otherwise.
"""

from tightrope.results.jovanovic2022_paradox.accuracy import (
    TABLE_2,
    TABLE_8,
    TABLE_9,
    TABLE_10,
    TABLE_11,
    TABLE_12,
    accuracy_cells,
    certify_and_attack,
    certify_own,
    own_cases,
    own_certificates,
    table_2_cells,
)
from tightrope.results.jovanovic2022_paradox.cross_certification import (
    TABLE_7,
    count_certified,
    table_7,
    table_7_cases,
    table_7_cells,
)
from tightrope.results.jovanovic2022_paradox.degrees import DEGREES, degree_cases, degrees, find_degree
from tightrope.results.jovanovic2022_paradox.landscapes import (
    FIGURE_5,
    FIGURE_6,
    ascent_cases,
    ascents,
    climb,
)
from tightrope.results.jovanovic2022_paradox.new_relaxations import FIGURE_7, figure_7_cases, new_shapes
from tightrope.results.jovanovic2022_paradox.printed_settings import (
    TABLE_5,
    TABLE_6,
    count_parameters,
    read_configuration,
    table_5,
    table_5_cases,
    table_5_cells,
    table_6,
    table_6_cases,
    table_6_cells,
)
from tightrope.results.jovanovic2022_paradox.seeds import (
    SPREAD,
    TABLE_13,
    table_13_cases,
    table_13_cells,
    train_seed,
    trained_seeds,
)
from tightrope.results.jovanovic2022_paradox.shapes import (
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
from tightrope.results.jovanovic2022_paradox.shifts import (
    FIGURE_4,
    FIGURE_10,
    shifted_bounds,
    shifted_cases,
    shifted_curve,
)
from tightrope.results.jovanovic2022_paradox.small_training import (
    TABLE_14,
    table_14,
    table_14_cases,
    table_14_cells,
    train_one,
)
from tightrope.results.jovanovic2022_paradox.tightness import (
    FIGURE_2,
    FIGURE_9,
    TABLE_1,
    TABLE_4,
    area_cells,
    draw_paradox,
    paradox,
    solve_tightness,
    tightness,
    tightness_cases,
)
from tightrope.results.jovanovic2022_paradox.trained_networks import (
    TABLE_3,
    accuracy_and_robustness,
    table_3,
    table_3_cases,
    table_3_cells,
)
from tightrope.workbench.legacy import Experiment

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
    "table_3",
    "table_5",
    "table_6",
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
    TABLE_3: Experiment(table_3_cases, table_3_cells, {TABLE_3: accuracy_and_robustness}),
    TABLE_5: Experiment(table_5_cases, table_5_cells, {TABLE_5: count_parameters}),
    TABLE_6: Experiment(table_6_cases, table_6_cells, {TABLE_6: read_configuration}),
    TABLE_7: Experiment(table_7_cases, table_7_cells, {TABLE_7: count_certified}),
    TABLE_8: Experiment(own_cases(TABLE_8), accuracy_cells(8), {TABLE_8: certify_and_attack}),
    **{
        name: Experiment(own_cases(name), accuracy_cells(number), {name: certify_and_attack})
        for number, name in ((9, TABLE_9), (10, TABLE_10), (11, TABLE_11), (12, TABLE_12))
    },
    TABLE_13: Experiment(table_13_cases, table_13_cells, {TABLE_13: train_seed, SPREAD: train_seed}),
    TABLE_14: Experiment(table_14_cases, table_14_cells, {TABLE_14: train_one}),
    FIGURE_1: Experiment(figure_1_cases, _no_cells, {FIGURE_1: shape}),
    FIGURE_3: Experiment(figure_3_cases, figure_3_cells, {FIGURE_3: minimal_curve}),
    FIGURE_5: Experiment(ascent_cases(FIGURE_5), _no_cells, {FIGURE_5: climb}),
    FIGURE_6: Experiment(_figure_6_cases, _no_cells, {FIGURE_6: climb, DEGREES: find_degree}),
    FIGURE_7: Experiment(figure_7_cases, _no_cells, {FIGURE_7: shape, TABLE_14: train_one}),
    FIGURE_8: Experiment(figure_8_cases, figure_8_cells, {FIGURE_8: toy_bounds}),
    **{
        name: Experiment(tightness_cases(name), cells, {name: solve_tightness(name)})
        for name, cells in (
            (TABLE_1, area_cells(1)),
            (TABLE_4, area_cells(4)),
            (FIGURE_2, _no_cells),
            (FIGURE_9, _no_cells),
        )
    },
    **{name: Experiment(shifted_cases(name), _no_cells, {name: shifted_curve}) for name in (FIGURE_4, FIGURE_10)},
}
