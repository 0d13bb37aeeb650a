"""Table 3 and the column Lipschitz Model of Table 2 as functions of rows, and real cases on a tiny question."""

import json

import numpy as np
import pytest

from tightrope import paths, zoo
from tightrope.results.chen2021_mondeq import lipschitz_bounds as bounds
from tightrope.results.chen2021_mondeq import lipschitz_ratio as ratio
from tightrope.results.chen2021_mondeq import local_constants
from tightrope.verifiers.lipschitz import upper_bound
from tightrope.workbench.records import Store, from_csv
from tightrope.workbench.rows import Rows

NETWORK = "digits/mondeq-16"
PARAMETERS = dict(network=NETWORK, images=20, restarts=2, printed_model=True, seed=0)
COMMITTED = paths.RESULTS / "chen2021-mondeq" / "table-3-lipschitz-bounds.paper.csv"


def row(method, norm, value, **changes):
    """A row of Table 3."""
    return {"method": method, "norm": norm, "value": value, "seconds": 2.0, "parts": None, **changes}


def test_cases_are_norms_by_methods():
    """Options only where they change the outcome."""
    cases = bounds.cases(**PARAMETERS)
    assert len(cases) == 2 * len(bounds.METHODS) + len(bounds.L1_METHODS)
    options = {case["method"]: case["options"] for case in cases}
    assert options["ascent"] == {"images": 20, "restarts": 2, "seed": 0} and options["lipschitz-model"] == {}
    short = bounds.cases(**{**PARAMETERS, "printed_model": False})
    left_out = {case["method"] for case in cases} - {case["method"] for case in short}
    assert left_out == {"printed-model", "reference-model"}


def test_tables_say_what_is_proven():
    """The printed model with the reference constraint proves nothing."""
    rows = Rows([row("product-bound", 2, 4.8), row("reference-model", 2, 4.13), row("lipschitz-model", "inf", 57.5)])
    lines = {line[0]: line for line in bounds.bounds(rows).rows}
    assert lines["printed model, reference constraint"][1:3] == ("UNPROVEN", "4.13")
    assert lines["closed form (UB_F)"][1:3] == ("upper", "4.8")
    assert lines["Lipschitz Model, here"][2:] == (None, "57.5", None)
    assert len(bounds.seconds(rows).rows) == len(bounds.METHODS)
    cells = bounds.cells(rows)
    assert set(cells) == {"table-3/ub-l2", "table-3/semi-ub-linf", "table-3/seconds/semi-ub-linf"}
    assert "proven" in cells["table-3/semi-ub-linf"].note


def test_real_cases_hold_together(tmp_path, monkeypatch):
    """lower <= proven <= closed form; a second call solves nothing; the drawing is drawn."""
    cases = [c for c in bounds.cases(**PARAMETERS) if c["norm"] == 2 and c["method"] != "pairwise"]
    rows = [{**case, **bounds.bound_lipschitz(case)} for case in cases]
    assert all(row.pop("certificate").proven for row in rows if row["method"] == "lipschitz-model")
    assert json.loads(json.dumps(rows)) == rows
    value = {r["method"]: r["value"] for r in rows}
    assert value["sampled"] <= value["ascent"] <= value["lipschitz-model"] <= value["printed-model"] * 1.001
    assert value["lipschitz-model"] <= value["product-bound"]
    assert not next(r for r in rows if r["method"] == "reference-model")["proven"]
    outcome = {c["method"]: r for c, r in zip(cases, rows, strict=True)}

    def solve(case):
        return {k: v for k, v in outcome.get(case["method"], outcome["sampled"]).items() if k not in case}

    with Store(tmp_path / "records.sqlite") as store:
        monkeypatch.setattr(bounds.table_3, "solver", solve)
        first = bounds.table_3(store=store, **PARAMETERS)
        monkeypatch.setattr(bounds.table_3, "solver", pytest.fail)
        again = bounds.table_3(store=store, **PARAMETERS)
    assert first.rows == again.rows and len(first.rows) == 17
    assert len(first.bounds.rows) == 7


def test_local_constants_hold_together(tmp_path, monkeypatch):
    """Jacobians in the ball <= order 1+cuts <= order 1 <= the global constant."""
    monkeypatch.setattr(local_constants, "BALLS", ((2, 0.1), ("inf", 0.01)))
    with Store(tmp_path / "records.sqlite") as store:
        found = local_constants.table_3_local(network=NETWORK, store=store)
    largest = {norm: upper_bound(zoo.get(NETWORK).network, norm).value for norm in (2, "inf")}
    for plain, tight in zip(found.rows[::2], found.rows[1::2], strict=True):
        assert (plain["method"], tight["method"]) == ("1", "1+cuts")
        assert tight["sampled"] <= tight["value"] <= plain["value"] * 1.001 <= largest[plain["norm"]] * 1.002
        assert tight["undecided"] <= plain["undecided"]
    assert len(found.bounds.rows) == 2 and len(found.seconds.rows) == 4


def test_column_of_table_2():
    """Counts by three criteria; cells of what is there."""
    K = 10
    pairs = np.full(K * (K - 1) // 2, 1e-3).tolist()
    constants = Rows(
        [
            row("product-bound", 2, 1e9),
            row("lipschitz-model", 2, 1e-3),
            row("lipschitz-model", "inf", 1e-3),
            row("pairwise", 2, 1e-3, parts=pairs),
        ]
    )
    (case, _) = ratio.cases(network=NETWORK, images=10, epsilons_l2=[0.1], epsilons_linf=[0.1])
    counts = ratio.certified_counts(case, constants)
    assert counts == {"printed_criterion": 9, "pairwise": 9, "product": 0}  # image 1 has the wrong label
    found = Rows([case | counts])
    table = dict(zip((t := ratio.ratios(found)).columns, t.rows[0], strict=True))
    assert (table["Lipschitz Model %"], table["pairwise %"]) == (90, 90)
    cells = dict(ratio.cells(found, constants))
    assert cells["table-2/l2-0.1/lipschitz"].value == 90
    assert cells["table-2/l2-0.1/lipschitz-product-bound"].value == 0
    assert cells["table-2/seconds/lipschitz-total"].value == 4.0
    assert ratio.pair_matrix([1.0, 2.0, 3.0], 3).tolist() == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]


@pytest.mark.skipif(not COMMITTED.is_file(), reason="the rows of Table 3 are not committed yet")
def test_committed_rows():
    """What the project claims of the published network."""
    rows = {(r["method"], r["norm"]): r for r in from_csv(COMMITTED.read_text(encoding="utf-8"))}
    assert rows["lipschitz-model", 2]["value"] <= 3.69
    assert rows["lipschitz-model", "inf"]["value"] <= 57.6
    assert rows["product-bound", 2]["value"] == pytest.approx(4.8076, abs=1e-4)
    assert rows["product-bound", "inf"]["value"] == pytest.approx(824.135, abs=1e-3)
    assert rows["sampled", 2]["value"] == pytest.approx(3.206, abs=1e-3)
    assert rows["sampled", "inf"]["value"] == pytest.approx(50.69, abs=1e-2)
    for norm in (2, "inf"):
        lower, upper = rows["ascent", norm]["value"], rows["lipschitz-model", norm]["value"]
        assert rows["sampled", norm]["value"] < lower < upper <= rows["product-bound", norm]["value"]


def test_a_custom_choice_of_images_counts_the_constants_that_are_kept():
    """Constants know no images: the cases are those of the profile that has the network, not new ones."""
    for network, profile in (("digits/mondeq-16", "quick"), ("digits/mondeq-32", "custom")):
        cases = bounds.global_constants.own_cases("custom", {"network": network})
        assert {case["profile"] for case in cases} == {profile}
