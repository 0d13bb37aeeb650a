"""Table 2 against the radius: which relaxations a row says certify its image."""

from types import SimpleNamespace

import pytest

from tightrope.question import Verdict
from tightrope.results.chen2021_mondeq import certified_radii
from tightrope.results.chen2021_mondeq.certified_radii import ORDERS, certify_by_each, table_2_radii

UNKNOWN, CERTIFIED, FALSIFIED = Verdict.UNKNOWN, Verdict.CERTIFIED, Verdict.FALSIFIED


def decision(label, verdict, nodes=None):
    return SimpleNamespace(label=label, verdict=verdict, tree=None if nodes is None else SimpleNamespace(nodes=nodes))


@pytest.mark.parametrize(
    ("trees", "cuts", "split", "verdict", "orders"),
    [
        # The root of a tree is 1+bounds: what it decides needs no split.
        ({1: (CERTIFIED, 1), 2: (CERTIFIED, 1)}, None, None, CERTIFIED, ORDERS[1:]),
        ({1: (CERTIFIED, 1), 2: (CERTIFIED, 5)}, CERTIFIED, [2], CERTIFIED, ORDERS[2:]),
        ({1: (CERTIFIED, 5), 2: (CERTIFIED, 1)}, UNKNOWN, [1], CERTIFIED, ()),
        ({1: (CERTIFIED, 3), 2: (UNKNOWN, 1)}, CERTIFIED, [1, 2], UNKNOWN, ORDERS[2:]),
        ({1: (CERTIFIED, 1), 2: (FALSIFIED, 3)}, None, None, FALSIFIED, ()),
        ({1: (FALSIFIED, None)}, None, None, FALSIFIED, ()),
    ],
    ids=["each at its root", "one is split", "cuts are not enough", "one is open", "one is reached", "at once"],
)
def test_an_order_certifies_an_image_if_it_does_each_label(trees, cuts, split, verdict, orders, monkeypatch):
    """Labels 1 and 2 are open after order 1, 3 is not; an image that is reached is certified by nothing."""
    asked = []

    def certify(*_, targets=None, order="1", **__):
        if targets is None:
            known = (decision(1, UNKNOWN), decision(3, CERTIFIED), decision(2, UNKNOWN))
            return SimpleNamespace(verdict=UNKNOWN, decisions=known)
        asked.append((order, targets))
        if order == "1+cuts":
            return SimpleNamespace(verdict=cuts)
        return SimpleNamespace(decisions=(decision(targets[0], *trees[targets[0]]),))

    monkeypatch.setattr(certified_radii, "certify", certify)
    parameters = {"network": "digits/mondeq-16", "curve_images": 1, "curve_epsilons": [0.3], "seed": 0}
    row = certify_by_each(table_2_radii.own_cases("quick", parameters)[0])
    assert row["verdict"] == verdict.value
    assert tuple(row["certified_by"]) == tuple(orders)  # by intervals and zonotopes nothing, at this radius
    assert row["nodes"] == sum(nodes or 0 for _, nodes in trees.values())
    assert asked == [("1", [label]) for label in trees] + ([("1+cuts", split)] if split else [])
