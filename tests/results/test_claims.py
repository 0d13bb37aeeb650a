"""Claims that figures make, as cells: a row that says otherwise changes the number."""

import copy
import inspect

import pytest

from tightrope import paths
from tightrope.results.chen2020_lipschitz import random_networks
from tightrope.results.jovanovic2022_paradox import accuracy, landscapes, new_relaxations, shifts, tightness
from tightrope.results.jovanovic2022_paradox.small_training import table_14
from tightrope.results.salman2019_barrier import relations
from tightrope.workbench import published
from tightrope.workbench.records import Store
from tightrope.workbench.rows import Rows


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """The rows of a result that are committed, as a copy to change."""
    with Store(tmp_path_factory.mktemp("claims") / "records.sqlite", folder=paths.RESULTS) as store:

        def rows(kind):
            return Rows(copy.deepcopy(store.rows(kind.name, "paper", kind.paper)))

        yield rows


def parameters(kind):
    """The parameters of the paper profile."""
    return published.find(f"{kind.paper}/{kind.name}").paper_parameters


def values(kind, rows):
    """The numbers of the cells, by the last parts of their names."""
    wanted = {"networks", "image_counts", "program_images", "draws", "images", "epsilons"}
    own = {name: value for name, value in parameters(kind).items() if name in wanted}
    names = list(inspect.signature(kind._cells).parameters)[1:]
    found = kind._cells(rows, **{name: own[name] for name in names})
    return {cell.split("/", 1)[1]: value.value for cell, value in found.items()}


def test_a_jump_more_or_less_contradicts_figure_4(committed):
    rows = committed(shifts.figure_4)
    before = values(shifts.figure_4, rows)
    rows.one(method="box")["jumps"] = [[0.0, 1.0, 2.0]]
    rows.one(method="hbox")["jumps"] = [[0.0, 1.0, 2.0]]
    rows.one(method="crown")["jumps"] = rows.one(method="crown")["jumps"][:1]
    after = values(shifts.figure_4, rows)
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    assert changed["box/jumps"] == (0, 1) and changed["hbox/discontinuous"] == (0, 1)
    assert changed["crown/more-jumps-than"] == (2, 0)
    assert values(shifts.figure_4, Rows(rows[1:])) == {}


def test_figure_10_counts_the_jumps_of_a_relaxation_on_its_own_network(committed):
    rows = committed(shifts.figure_10)
    own = rows.one(network="jovanovic2022-paradox/fc-hbox", method="hbox")
    assert values(shifts.figure_10, rows)["hbox/fewer-jumps-than"] == 5
    own["jumps"] = [[0.0, 1.0, 2.0]] * 100
    own["values"] = [value - 100 for value in own["values"]]
    after = values(shifts.figure_10, rows)
    assert after["hbox/fewer-jumps-than"] == 0 and after["own-tightest"] == 0


def test_areas_in_another_order_contradict_figures_2_and_9(committed):
    rows = committed(tightness.figure_2)
    assert values(tightness.figure_2, rows) == {"low-below-mid": 2, "mid-below-high": 4}
    for row in rows.where(method="crown"):
        row["certified"] = [0] * len(row["certified"])
    assert values(tightness.figure_2, rows)["mid-below-high"] == 2
    rows = committed(tightness.figure_9)
    for row in rows.where(method="triangle"):
        row["certified"] = [0] * len(row["certified"])
    assert values(tightness.figure_9, rows)["triangle/tighter-than"] == 0


def test_figures_5_and_6_need_a_network_that_shows_them(committed):
    rows = committed(landscapes.figure_5)
    assert values(landscapes.figure_5, rows)["shown"] == 1
    for row in rows:
        row["fallen"] = 0.0
    assert values(landscapes.figure_5, rows)["shown"] == 0
    assert values(landscapes.figure_5, Rows(rows[1:])) == {}


def test_figure_7_counts_the_losses(committed):
    rows = committed(table_14)
    assert values(new_relaxations.figure_7, rows)["triangle/lower-loss-than"] == 5
    for row in rows.where(method="triangle"):
        row["losses"] = [9.0] * len(row["losses"])
    assert values(new_relaxations.figure_7, rows)["triangle/lower-loss-than"] == 0


def test_the_properties_of_table_2_come_from_rows(committed):
    """Classes are cut at the gaps, a jump ends continuity, a degree above the proven one is shown."""
    rows = committed(tightness.table_4)
    classes = {method: value.value for method, value in accuracy.tightness(rows).items()}
    assert classes == {"box": 1, "hbox": 2, "crown_ibp": 2, "deepz": 3, "crown": 3}
    for row in rows.where(method="hbox"):
        row["certified"] = [10 * count for count in row["certified"]]
    assert accuracy.tightness(rows)["hbox"].value == 3
    curves = Rows([{"method": "box", "jumps": []}, {"method": "box", "jumps": [[0.0, 0.0, 1.0]]}])
    assert accuracy.continuity(curves)["box"].value == 0
    neurons, hidden = accuracy.SIZE
    degrees = Rows({"neurons": neurons, "hidden": hidden, "method": "deepz", "degree": n} for n in (3, 17))
    assert accuracy.sensitivity(degrees)["deepz"].value == 17


def test_a_bound_on_the_wrong_side_breaks_its_arrow_and_no_other(committed):
    rows = committed(relations.figure_1)
    before = values(relations.figure_1, rows)
    assert len(before) == len(relations.RELATIONS) and set(before.values()) == {1}
    rows[0]["margins"]["DeepPoly"][0] += 1.0
    after = values(relations.figure_1, rows)
    assert [name for name in before if after[name] != before[name]] == ["deeppoly/crown"]


def test_bounds_below_lbs_contradict_figure_1_of_chen2020(committed):
    rows = committed(random_networks.figure_1)
    before = values(random_networks.figure_1, rows)
    assert before["above-lbs"] == 100 and before["global/s80/lipopt-3-below-hr-2"] == 0
    rows.one(method="shor")["value"] = 0.0
    for row in rows.where(method="lipopt-3", sparsity=80):
        row["value"] = 0.1
    after = values(random_networks.figure_1, rows)
    assert after["above-lbs"] < 100 and after["global/s80/lipopt-3-below-hr-2"] == 1
