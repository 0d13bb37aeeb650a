"""Bounds of growing order: never larger where a theorem says so, and tables that count what the rows say."""

import numpy as np
import pytest

from tightrope import datasets, zoo
from tightrope.attacks import pgd
from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.question import Question
from tightrope.regions import pixel_ball
from tightrope.results.chen2021_mondeq.common import question
from tightrope.results.chen2021_mondeq.fixpoint_ratio import METHODS, table_2_fixpoints
from tightrope.results.chen2021_mondeq.orders import bound_by_orders, orders_of, table_2_orders
from tightrope.workbench.experiment import Solved
from tightrope.workbench.records import Store
from tightrope.workbench.rows import Rows


def test_orders_of_one_digit():
    entry = zoo.get("digits/mondeq-16")
    data = datasets.load(entry.dataset)
    region = pixel_ball(data.image(0), "inf", 0.05, data.normalisation, True)
    scores = entry.network.logits(region.center)
    label, target = (int(i) for i in np.argsort(-scores)[:2])
    found = orders_of(entry.network, region, label, target, rounds=1, count=50)
    bound = {b.order: b.bound for b in found}
    attack = pgd(Question(entry.network, region, label, [target]), seed=0).best_margin[target]
    assert attack <= min(bound.values())
    assert bound["1+bounds"] <= bound["1"] + 1e-3
    assert bound["zonotope"] <= bound["monotone"]
    assert bound["1"] == pytest.approx(orders_of(entry.network, region, label, target, rounds=0)[3].bound)


def open_row(image, verdict="unknown", pgd="unknown"):
    """A row as Table 2 has it, with label 3 open."""
    labels = [{"label": 3, "verdict": "unknown"}, {"label": 4, "verdict": "certified"}]
    ball = {"norm": "inf", "epsilon_pixel": 0.05, "clip": True, "image": image}
    found = {"robustness": verdict, "pgd": pgd, "labels": labels}
    return {"network": "digits/mondeq-16", "profile": "custom", **ball, **found}


def test_only_open_rows_are_asked_again():
    rows = Rows([open_row(0), open_row(1, "certified"), open_row(2, "unknown", "falsified")])
    (case,) = table_2_orders.own_cases("quick", {"rows": rows, "seed": 0})
    assert case["image"] == 0 and case["options"]["targets"] == [3]
    assert case["profile"] == "custom"  # the row's own
    case["options"] |= {"rounds": 1, "count": 50}
    row = case | bound_by_orders(case)
    network, region, label = question(case)
    assert row["verdict"] in ("certified", "falsified", "unknown")
    lowest = min(bound for _, bound, _ in row["targets"][0]["orders"]) if row["targets"] else np.inf
    assert row["best_margin"] <= lowest
    sampled = network.logits(region.sample(200, np.random.default_rng(0)))
    assert (sampled[:, 3] - sampled[:, label]).max() <= lowest


def test_tables_count_rows_and_carry_bounds_forward():
    orders = [["monotone", 5.0, 0.1], ["1", 1.0, 2.0], ["1+bounds", 0.5, 3.0]]
    decided = [*orders[:2], ["1+bounds", -0.1, 3.0]]
    common = {"norm": "inf", "epsilon_pixel": 0.05, "clip": False}
    rows = (
        common | {"image": 7, "verdict": "unknown", "targets": [{"label": 1, "orders": orders}]},
        common | {"image": 9, "verdict": "certified", "targets": [{"label": 2, "orders": decided[:2] + decided[2:]}]},
        common | {"image": 11, "verdict": "falsified", "targets": []},
    )
    table = Solved(table_2_orders, rows)
    assert table.decided.rows == (("L-infinity", 0.05, "ball", 3, "11", "9", "7"),)
    assert table.bounds.rows[-1] == ("1+bounds", 2, 1, pytest.approx(0.2), "0.800")
    assert table.per_second.rows[-1] == ("1+bounds", 3.0, pytest.approx(0.8 / 3))


def test_nothing_open_is_no_error(tmp_path):
    with Store(tmp_path / "rows.sqlite") as store:
        none = table_2_orders(store=store, rows=Rows([open_row(1, "certified")]), seed=0)
    assert none.decided.rows == none.bounds.rows == none.per_second.rows == ()


def test_fixpoint_column_counts_what_the_bounds_prove(tmp_path):
    with Store(tmp_path / "rows.sqlite") as store:
        balls = dict(epsilons_l2=[0.1], epsilons_linf=[0.01])
        column = table_2_fixpoints(store=store, network="digits/mondeq-16", images=3, **balls)
    assert len(column.rows) == 3 * 2 * 2 * len(METHODS)
    for row in column.rows[:4]:
        network, region, label = question(row)
        largest = np.nanmax(fixpoint_bounds(network, region, row["method"]).margins(network, label))
        assert row["largest_margin"] == pytest.approx(largest)
        assert (row["fixpoint"] == "certified") == (largest < 0)
    assert len(column.ratios.rows) == 4
