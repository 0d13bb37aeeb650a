"""Results of chen2020-lipschitz: cases, verdicts in rows, tables as functions of rows, printed cells, bad input."""

import numpy as np
import pytest

from tightrope import figures, paths
from tightrope.errors import InputError
from tightrope.results.chen2020_lipschitz import (
    certified_points,
    common,
    pairwise_constants,
    random_networks,
    trained_network,
)
from tightrope.results.chen2020_lipschitz.common import ball_case, bound_constant, network_of, shown
from tightrope.workbench import published
from tightrope.workbench.records import Store, case_key
from tightrope.workbench.registry import experiments
from tightrope.workbench.rows import Rows

SMALL = dict(sizes=[[4, 4], [3, 3, 2]], sparsities=[3, 4], draws=2, time_limit=60, samples=200)
SPHERES = dict(network="spheres/relu-10", laws=["lengths", "box"], radius=3.0, box=2.9, time_limit=60, seed=0)
DIGITS = dict(network="digits/relu-16", images=50, methods=["qcqp"], balls=["paper"], time_limit=60)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "records.sqlite") as own:
        yield own


def test_table_1_and_its_claims(store, monkeypatch):
    constants = random_networks.table_1(**SMALL, profile="custom", store=store)
    claims = {text: (holds, total) for text, holds, total in constants.claims.rows}
    assert claims["LBS <= product Shor"] == (8, 8)
    assert claims["HR-2 (its upper end) <= SHOR"] == (4, 4)
    assert len(constants.rows) == 2 * (2 * 8 + 2 * 6)
    assert {row["verdict"] for row in constants.rows} == {"proven"}
    assert "(3, 3, 2)" in str(constants.bounds) and "HR-1" in str(constants.bounds)
    cells = random_networks.table_1.values(constants.rows, {})
    assert cells["table-1/4-4/s3/lbs"].value <= cells["table-1/4-4/s3/hr-2"].value * (1 + 1e-6)
    panels = random_networks.panels(constants.rows)
    assert [panel["title"] for panel in panels] == ["(4, 4), global"] * 2 + ["(3, 3, 2), global"] * 2
    monkeypatch.setattr(random_networks.table_1, "solver", lambda case: pytest.fail("solved twice"))
    assert random_networks.table_1(**SMALL, profile="custom", store=store).rows == constants.rows


def test_linear_programs_come_last_and_degree_4_on_fewer_draws(store):
    methods = ["shor", "lipopt-4", "lbs"]
    draws = dict(draws=3, lipopt_3_draws=None, lipopt_4_draws=2)
    parameters = dict(width=4, sparsities=[3], methods=methods, time_limit=60, samples=200, **draws)
    cases = random_networks.figure_1_cases(**parameters)
    assert [case["method"] for case in cases[-4:]] == ["lipopt-4"] * 4 and len(cases) == 2 * (3 + 3 + 2)
    assert {case["draw"] for case in cases if case["method"] == "lipopt-4"} == {0, 1}
    constants = random_networks.figure_1(**parameters, profile="custom", store=store)
    assert str(constants.bounds).count("(2 draws)") == 2


def test_drawings_have_all_series(store):
    rows = random_networks.table_1(**SMALL, profile="custom", store=store).rows
    drawing = figures.sweeps(random_networks.panels(rows), "bounds")
    assert len(drawing.figure.axes) == 4 and drawing._repr_png_()[:4] == b"\x89PNG"
    assert len(random_networks.quartiles(rows).rows) == 2 * (8 + 6)


def test_verdicts_stand_where_numbers_would():
    case = ball_case("random/30-30-1/dense/0", 10.0, "shor", {"memory_limit": 0.1})
    row = {**case, **bound_constant(case)}
    assert row["verdict"] == "OfM" and row["value"] is None and shown(row) == "OfM"
    assert shown({"method": "shor", "value": 1.23446, "verdict": "time"}) == "1.235 (time)"
    assert shown({"method": "lbs", "value": 1.23456, "verdict": "proven"}) == "1.234"
    assert shown(None) is None


def test_out_of_memory_is_a_verdict(monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(common, "lipschitz_bound", fail)
    assert bound_constant(ball_case("random/3-3-1/dense/0", 10.0, "shor", {}))["verdict"] == "OfM"


def test_table_2(store):
    parameters = dict(network="random/5-6-2/dense/0", output=1, time_limit=60, samples=200)
    constants = trained_network.table_2(**parameters, profile="custom", store=store)
    values = {(row["method"], row["set"]): row["value"] for row in constants.rows}
    for where in ("global", "local"):
        assert values["lbs", where] <= values["product-shor", where] * (1 + 1e-6)
        assert values["product-shor", where] <= values["shor", where] * (1 + 3e-4)
    cells = trained_network.table_2.values(constants.rows, parameters)
    printed = {cell.id for cell in published.find("chen2020-lipschitz/table-2-sdp-nn").cells}
    assert set(cells) == printed
    assert len(trained_network.cases(**parameters)) == len(constants.rows) == 16


def test_table_3(store):
    constants = certified_points.table_3(**SPHERES, points=2_000, profile="custom", store=store)
    rows = {row["method"]: row for row in constants.rows if certified_points.law_of(row) == "lengths"}
    assert rows["ascent"]["certified"] is None
    tight, loose = rows["product-shor"], rows["lipopt-3"]
    assert tight["value"] <= loose["value"] and all(np.subtract(tight["certified"], loose["certified"]) >= 0)
    assert rows["ascent"]["value"] <= tight["value"]
    cells = certified_points.table_3.values(constants.rows, {})
    assert set(cells) == {c.id for c in published.find("chen2020-lipschitz/table-3-certified-ratio-random").cells}
    with pytest.raises(InputError, match="box"):
        certified_points.table_3(**SPHERES | {"box": 2.95}, points=2_000)


def test_own_constants_certify_what_one_constant_does():
    """The ball around a point is smaller than that around 0, and so is the constant."""
    arguments = SPHERES | {"laws": ["lengths"]}
    arguments.pop("time_limit")
    table = certified_points.own_constants(**arguments, points=4)
    assert [line[:3] for line in table.rows] == [("lengths", epsilon, 4) for epsilon in (0.02, 0.05, 0.1)]
    assert all(0 <= one <= own <= 100 for *_, own, one in table.rows) and table.rows[0][3] > 0
    with pytest.raises(InputError, match=r"leaves less than 0\.1"):
        certified_points.own_constants(**arguments | {"box": 2.95}, points=1)


def test_certified_points_keep_their_sign(store):
    constants = certified_points.table_3(**SPHERES, points=500, profile="custom", store=store)
    value = constants.rows.where(method="product-shor")[0]["value"]
    network, rng = network_of("spheres/relu-10"), np.random.default_rng(5)
    x = rng.uniform(-2.9, 2.9, (500, 10))
    y = network.logits(x)[:, 0]
    sure = np.abs(y) > 0.1 * value
    moved = network.logits(x[sure] + 0.1 * rng.choice([-1, 1], (sure.sum(), 10)))[:, 0]
    assert sure.any() and (np.sign(moved) == np.sign(y[sure])).all()


def test_table_4(store, tmp_path, monkeypatch):
    constants = pairwise_constants.table_4(**DIGITS, profile="custom", store=store)
    ratios = pairwise_constants.ratios(rows=constants.rows, images=50, profile="custom", store=store)
    assert len(constants.rows) == 45
    (ratio,) = ratios.rows
    assert all(a >= b for a, b in zip(ratio["certified"], ratio["correct"], strict=True))
    assert list(ratio["certified"]) == sorted(ratio["certified"], reverse=True)
    L = pairwise_constants.pair_matrix(constants.rows)
    assert (L == L.T).all() and (np.diag(L) == 0).all() and L[0, 1] > 0
    assert str(constants.matrix("qcqp", "paper")).count("\n") == 11
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    assert constants.draw_constants()._repr_png_()[:4] == b"\x89PNG"
    (numbers,) = tmp_path.glob("*/*-constants.*.csv")
    assert numbers.read_text().count("certified") == 45
    with pytest.raises(InputError, match="no constants by 'shor'"):
        constants.matrix("shor", "paper")
    for name, value in (("images", 0), ("images", 10_000), ("balls", ["all"])):
        with pytest.raises(InputError, match=name):
            pairwise_constants.table_4(**DIGITS | {name: value})


def test_missing_pairs_give_no_ratio(store, tmp_path, monkeypatch):
    late = {"value": None, "verdict": "time", "reason": "", "iterations": 0, "program": {}, "seconds": 1.0}
    monkeypatch.setattr(pairwise_constants.table_4, "solver", lambda case: late | {"cpu_seconds": 1.0})
    constants = pairwise_constants.table_4(**DIGITS, profile="custom", store=store)
    ratios = pairwise_constants.ratios(rows=constants.rows, images=50, profile="custom", store=store)
    assert ratios.rows == () and "0 of 45" in str(constants.progress)
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    assert ratios.draw()._repr_png_()[:4] == b"\x89PNG"  # the printed ratios alone


def test_ratios_of_a_part_of_a_profile_are_of_no_profile():
    defaults = published.defaults(published.find("chen2020-lipschitz/table-4-certified-ratio-sdp-nn"))
    cases = pairwise_constants.table_4.all_cases(defaults)
    rows = Rows({**case, "value": 1.0, "key": case_key(case)} for case in cases)
    assert [case["profile"] for case in pairwise_constants.ratio_cases(rows, 50)] == ["quick", "quick"]
    assert [case["profile"] for case in pairwise_constants.ratio_cases(rows.where(method="qcqp"), 50)] == ["custom"]


def test_cases_of_the_paper_profile_exist():
    known = experiments("chen2020-lipschitz")
    for result in published.results():
        if result.paper == "chen2020-lipschitz":
            assert result.name in known and result.paper_parameters["profile"] == "paper"
    figure = published.find("chen2020-lipschitz/figure-1-sparsity-sweep").paper_parameters
    assert len(known["figure-1-sparsity-sweep"].all_cases(figure)) == 8 * 2 * 10 * 6


def test_bad_input_by_name():
    for words, change in (
        ("draws", {"draws": 0}),
        ("hidden layers", {"sizes": [[4, 4, 4, 4]]}),
        ("sparsities", {"sparsities": [0]}),
    ):
        with pytest.raises(InputError, match=words):
            random_networks.table_1(**SMALL | change)
    parameters = dict(width=4, sparsities=[3], draws=1, lipopt_3_draws=1, lipopt_4_draws=1, time_limit=60, samples=9)
    with pytest.raises(InputError, match="unknown method"):
        random_networks.figure_1(**parameters, methods=["hr-9"])
    with pytest.raises(InputError, match="feed-forward"):
        network_of("digits/mondeq-16")
    with pytest.raises(InputError, match="random/80-80-1/s20/0"):
        network_of("random/80")
