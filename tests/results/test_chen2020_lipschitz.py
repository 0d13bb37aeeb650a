"""Results of chen2020-lipschitz: cases, verdicts in rows, tables as functions of rows, printed cells, bad input."""

import numpy as np
import pytest

from tightrope import paths
from tightrope.errors import InputError
from tightrope.results.chen2020_lipschitz import EXPERIMENTS, certified_images, certified_points, random_networks
from tightrope.results.chen2020_lipschitz.common import bound, make_case, network_of, shown
from tightrope.results.chen2020_lipschitz.trained_network import table_2, table_2_cases, table_2_cells
from tightrope.workbench import published
from tightrope.workbench.records import Store

SMALL = dict(sizes=[[4, 4], [3, 3, 2]], sparsities=[3, 4], draws=2, time_limit=60, samples=200, profile="custom")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "records.sqlite") as own:
        yield own


def test_table_1_and_its_claims(store):
    result = random_networks.table_1(**SMALL, store=store)
    claims = {text: (holds, total) for text, holds, total in result.claims.rows}
    assert claims["LBS <= product Shor"] == (8, 8)
    assert claims["HR-2 (its upper end) <= SHOR"] == (4, 4)
    assert len(result.rows) == 2 * (2 * 8 + 2 * 6)
    assert {row["verdict"] for row in result.rows} == {"proven"}
    assert "(3, 3, 2)" in str(result.bounds) and "HR-1" in str(result.bounds)
    cells = random_networks.table_1_cells(result.rows, SMALL)
    assert cells["table-1/4-4/s3/lbs"].value <= cells["table-1/4-4/s3/hr-2"].value * (1 + 1e-6)
    panels = random_networks.panels(result.rows)
    assert [panel["title"] for panel in panels] == ["(4, 4), global"] * 2 + ["(3, 3, 2), global"] * 2
    again = random_networks.table_1(**SMALL, store=store, solve=lambda case: pytest.fail("solved twice"))
    assert again.rows == result.rows


def test_linear_programs_come_last_and_degree_4_on_fewer_draws(store):
    parameters = dict(width=4, sparsities=[3], draws=3, methods=["shor", "lipopt-4", "lbs"], lipopt_4_draws=2,
                      time_limit=60, samples=200, profile="custom")  # fmt: skip
    cases = random_networks.figure_1_cases(parameters)
    assert [case["method"] for case in cases[-4:]] == ["lipopt-4"] * 4 and len(cases) == 2 * (3 + 3 + 2)
    assert {case["draw"] for case in cases if case["method"] == "lipopt-4"} == {0, 1}
    table = str(random_networks.figure_1(**parameters, store=store).bounds)
    assert table.count("(2 draws)") == 2


def test_drawings_have_all_series(store, tmp_path):
    rows = random_networks.table_1(**SMALL, store=store).rows
    from tightrope import figures

    drawing = figures.sweeps(random_networks.panels(rows), "bounds")
    assert len(drawing.figure.axes) == 4 and drawing._repr_png_()[:4] == b"\x89PNG"
    assert len(random_networks.numbers_table(rows).rows) == 2 * (8 + 6)


def test_verdicts_stand_where_numbers_would():
    case = make_case("table-1-random-networks", "custom", "random/30-30-1/dense/0", 10.0, "shor", {"memory_limit": 0.1})
    row = {**case, **bound(case)}
    assert row["verdict"] == "OfM" and row["value"] is None and shown(row) == "OfM"
    assert shown({"value": 1.23456, "verdict": "time"}) == "1.235 (time)"
    assert shown(None) is None


def test_out_of_memory_is_a_verdict(monkeypatch):
    from tightrope.results.chen2020_lipschitz import common

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(common, "lipschitz_bound", fail)
    case = make_case("table-1-random-networks", "custom", "random/3-3-1/dense/0", 10.0, "shor", {})
    assert bound(case)["verdict"] == "OfM"


def test_table_2(store):
    parameters = dict(network="random/5-6-2/dense/0", output=1, time_limit=60, samples=200, profile="custom")
    result = table_2(**parameters, store=store)
    values = {(row["method"], row["set"]): row["value"] for row in result.rows}
    for where in ("global", "local"):
        assert values["lbs", where] <= values["product-shor", where] * (1 + 1e-6)
        assert values["product-shor", where] <= values["shor", where] * (1 + 3e-4)
    cells = table_2_cells(result.rows, parameters)
    printed = {cell.id for cell in published.find("chen2020-lipschitz/table-2-sdp-nn").cells}
    assert set(cells) == printed
    assert len(table_2_cases(parameters)) == len(result.rows) == 16


def test_table_3(store):
    result = certified_points.table_3("spheres/relu-10", points=2_000, time_limit=60, profile="custom", store=store)
    rows = {row["method"]: row for row in result.rows}
    assert rows["ascent"]["certified"] is None
    tight, loose = rows["product-shor"], rows["lipopt-3"]
    assert tight["value"] <= loose["value"] and all(np.subtract(tight["certified"], loose["certified"]) >= 0)
    assert rows["ascent"]["value"] <= tight["value"]
    cells = certified_points.table_3_cells(result.rows, {})
    assert set(cells) == {c.id for c in published.find("chen2020-lipschitz/table-3-certified-ratio-random").cells}
    with pytest.raises(InputError, match="box"):
        certified_points.table_3("spheres/relu-10", box=2.95)


def test_certified_points_keep_their_sign(store):
    result = certified_points.table_3("spheres/relu-10", points=500, time_limit=60, profile="custom", store=store)
    value = {row["method"]: row["value"] for row in result.rows}["product-shor"]
    network, rng = network_of("spheres/relu-10"), np.random.default_rng(5)
    x = rng.uniform(-2.9, 2.9, (500, 10))
    y = network.logits(x)[:, 0]
    sure = np.abs(y) > 0.1 * value
    moved = network.logits(x[sure] + 0.1 * rng.choice([-1, 1], (sure.sum(), 10)))[:, 0]
    assert sure.any() and (np.sign(moved) == np.sign(y[sure])).all()


def test_table_4(store, tmp_path, monkeypatch):
    result = certified_images.table_4("digits/relu-16", images=50, methods=["qcqp"], profile="custom", store=store)
    assert len(result.rows) == 45 and len(result.ratios) == 1
    (ratio,) = result.ratios
    assert all(a >= b for a, b in zip(ratio["certified"], ratio["correct"], strict=True))
    assert list(ratio["certified"]) == sorted(ratio["certified"], reverse=True)
    L = certified_images.pair_matrix(result.rows, "qcqp", "paper", 10)
    assert (L == L.T).all() and (np.diag(L) == 0).all() and L[0, 1] > 0
    assert str(result.constants("qcqp")).count("\n") == 11
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    assert result.draw_constants()._repr_png_()[:4] == b"\x89PNG"
    (numbers,) = tmp_path.glob("*/*-constants.*.csv")
    assert numbers.read_text().count("proven") == 45
    with pytest.raises(InputError, match="images"):
        certified_images.table_4("digits/relu-16", images=0)
    with pytest.raises(InputError, match="balls"):
        certified_images.table_4("digits/relu-16", images=50, balls=["all"])


def test_missing_pairs_give_no_ratio(store):
    def late(case):
        return {"value": None, "verdict": "time", "reason": "", "iterations": 0, "program": {}, "seconds": 1.0,
                "cpu_seconds": 1.0}  # fmt: skip

    result = certified_images.table_4("digits/relu-16", images=50, methods=["qcqp"], profile="custom", store=store,
                                      solve=late)  # fmt: skip
    assert result.ratios == () and "0 of 45" in str(result.progress)


def test_cases_of_the_paper_profile_exist():
    for result in published.results():
        if result.paper == "chen2020-lipschitz":
            assert result.name in EXPERIMENTS and result.paper_parameters["profile"] == "paper"
    figure = published.find("chen2020-lipschitz/figure-1-sparsity-sweep").paper_parameters
    assert len(EXPERIMENTS["figure-1-sparsity-sweep"].cases(figure)) == 8 * 2 * 10 * 6


def test_bad_input_by_name():
    with pytest.raises(InputError, match="draws"):
        random_networks.table_1([[4, 4]], [3], draws=0)
    with pytest.raises(InputError, match="hidden layers"):
        random_networks.table_1([[4, 4, 4, 4]], [3])
    with pytest.raises(InputError, match="sparsities"):
        random_networks.table_1([[4, 4]], [0])
    with pytest.raises(InputError, match="unknown method"):
        random_networks.figure_1(4, [3], 1, ["hr-9"])
    with pytest.raises(InputError, match="feed-forward"):
        network_of("digits/mondeq-16")
