"""Bounds in the tables of results, read as text, beside the numbers of the rows."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from tightrope import paths
from tightrope.results.chen2020_lipschitz import pairwise_constants, trained_network
from tightrope.results.chen2021_mondeq import lipschitz_bounds, local_constants, orders, outer_ellipsoid
from tightrope.results.chen2021_mondeq.common import by_ball
from tightrope.results.jovanovic2022_paradox import worked_example
from tightrope.results.salman2019_barrier import distortion, relations
from tightrope.verifiers.relu_lipschitz import METHODS
from tightrope.workbench.records import from_csv
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table


def committed(paper: str, name: str) -> Rows:
    """Rows of the paper profile."""
    return Rows(from_csv((paths.RESULTS / paper / f"{name}.paper.csv").read_text(encoding="utf-8")))


def body(table: Table) -> list[list[str]]:
    """The cells as a reader has them, without the header."""
    return table.cells()[1:]


def holds(shown: str, side: str, bound: float) -> bool:
    """Whether what is shown is a bound of this side because the exact float is one, and near it."""
    number, exact = Fraction(Decimal(shown.split(" ")[0])), Fraction(bound)
    right = number <= exact if side == "lower" else number >= exact
    return right and abs(number - exact) <= Fraction(1, 500) * abs(exact)


def test_lipschitz_constants_of_a_mondeq():
    rows = committed("chen2021-mondeq", "table-3-lipschitz-bounds")
    places = {2: 2, "inf": 3, 1: 4}
    lines = {line[0]: line for line in body(lipschitz_bounds.bounds(rows))}
    for row in rows:
        name, side = lipschitz_bounds.METHODS[row["method"]]
        assert side == "UNPROVEN" or holds(lines[name][places[row["norm"]]], side, row["value"])
    parts = rows.one(method="lipschitz-model", norm="inf")["parts"]
    assert all(holds(line[1], "upper", parts[int(line[0])]) for line in body(lipschitz_bounds.outputs(rows)))


def test_local_lipschitz_constants():
    rows = committed("chen2021-mondeq", "table-3-local")
    for shown, (_, own) in zip(body(local_constants.bounds(rows)), by_ball(rows), strict=True):
        assert holds(shown[2], "lower", own[0]["sampled"])
        for place, order in ((3, "1"), (5, "1+cuts")):
            assert holds(shown[place], "upper", own.one(method=order)["value"])


def test_mean_bounds_of_orders():
    rows = committed("chen2021-mondeq", "table-2-orders")
    found = orders.by_order(rows)
    for shown in body(orders.bounds(rows)):
        assert holds(shown[3], "upper", float(np.mean([bound.bound for bound in found[shown[0]]])))


def test_margins_on_an_ellipsoid():
    rows = committed("chen2021-mondeq", "figure-1-outer-ellipsoid")
    for row, shown in zip(rows, body(outer_ellipsoid.numbers(rows)), strict=True):
        ends = *row["margin_range"], *(outer_ellipsoid.margins_of(row, name).max() for name in ("samples", "attacks"))
        assert all(map(holds, shown[2:6], ("lower", "upper", "lower", "lower"), map(float, ends)))


def test_lipschitz_constants_of_a_relu_network():
    rows = committed("chen2020-lipschitz", "table-2-sdp-nn")
    lines = {line[0]: line for line in body(trained_network.bounds(rows))}
    for row in (row for row in rows if row["value"] is not None):
        method, place = METHODS[row["method"]], 2 + (row["set"] == "local")
        assert holds(lines[method.title][place], method.side, row["value"])


def test_constants_of_pairs_of_labels():
    rows = committed("chen2020-lipschitz", "table-4-certified-ratio-sdp-nn")
    for row in rows.where(method="qcqp", ball="paper"):
        (i, j), table = row["part"], body(pairwise_constants.matrix(rows, "qcqp", "paper"))
        assert holds(table[i][1 + j], "upper", row["value"]) and table[i][1 + i] == ""


def test_margins_by_relaxation():
    rows = committed("salman2019-barrier", "figure-1-relations")
    radii = sorted(rows.different("epsilon_pixel"))
    for name, *shown in body(relations.bounds(rows)):
        for radius, text in zip(radii, shown, strict=True):
            own = rows.where(epsilon_pixel=radius)
            assert holds(text, "upper", float(np.mean([max(row["margins"][name]) for row in own])))


@pytest.mark.parametrize("seed", range(3))
def test_radii(seed):
    """Certified ones are rounded down, those of attacks up."""
    rng = np.random.default_rng(seed)
    row = {"network": "digits/fc-deepz", "image": 0, "label": 0, "pgd": rng.uniform(), "aimed": rng.uniform()}
    row["radii"] = {method: [rng.uniform(), 1.0] for method in distortion.METHODS}
    for table, scale, first in ((distortion.images, 1, 3), (distortion.means, 1000, 1)):
        (shown,) = body(table(Rows([row])))
        for name, text in zip(distortion.RADII, shown[first:], strict=True):
            side = "lower" if name in distortion.METHODS else "upper"
            assert holds(text, side, scale * float(np.mean([distortion.radius(row, name)])))


def test_bounds_of_neurons():
    ends = {"lower": [-1 / 3, -2.0], "upper": [2 / 3, 1.5]}
    rows = Rows([{"method": "crown", "layer": 3, **ends}])
    for j, shown in enumerate(body(worked_example.bounds(rows))):
        assert all(holds(shown[place], side, ends[side][j]) for place, side in ((2, "lower"), (3, "upper")))
