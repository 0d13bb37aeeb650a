"""The table of orders: stronger methods never have larger bounds where a theorem says so."""

import numpy as np
import pytest

from tightrope import datasets, zoo
from tightrope.attacks import pgd
from tightrope.experiments.chen2021_mondeq.orders import COLUMNS, orders_of, table
from tightrope.regions import pixel_ball


def test_orders_of_one_digit():
    entry = zoo.get("digits/mondeq-16")
    data = datasets.load(entry.dataset)
    region = pixel_ball(data.image(0), "inf", 0.05, data.normalisation, True)
    scores = entry.network.logits(region.center)
    label, target = (int(i) for i in np.argsort(-scores)[:2])
    rows = orders_of(entry.network, region, label, target, rounds=1, count=50)
    assert [tuple(row) for row in rows] == [COLUMNS] * len(rows)
    bound = {row["order"]: row["bound"] for row in rows}
    attack = pgd(entry.network, region, label, targets=[target], seed=0).best_margin[target]
    assert attack <= min(bound.values())
    assert bound["1+bounds"] <= bound["1"] + 1e-3
    assert bound["zonotope"] <= bound["monotone"]
    assert bound["1"] == pytest.approx(orders_of(entry.network, region, label, target, rounds=0)[3]["bound"])
    rows = [row | {"image": 0, "attack_margin": attack} for row in rows]
    assert len(table(rows).splitlines()) == len(rows) + 1
