"""Table 3 and the column Lipschitz Model of Table 2 as functions of rows, and real cases on a tiny question."""

import json

import numpy as np
import pytest

from tightrope import paths, zoo
from tightrope.results import chen2021_mondeq as paper
from tightrope.results.chen2021_mondeq import lipschitz_bounds as bounds
from tightrope.results.chen2021_mondeq import lipschitz_ratio as ratio
from tightrope.verifiers.lipschitz import upper_bound
from tightrope.workbench.records import Store, from_csv

NETWORK = "digits/mondeq-16"
PARAMETERS = dict(network=NETWORK, images=20, restarts=2, printed_model=True, seed=0, profile="quick")
COMMITTED = paths.RESULTS / "chen2021-mondeq" / "table-3-lipschitz-bounds.paper.csv"


def row(method, norm, value, **changes):
    """A row of Table 3."""
    return {"method": method, "norm": norm, "value": value, "seconds": 2.0, "parts": None, **changes}


def test_cases_are_norms_by_methods():
    """Options only where they change the outcome."""
    cases = bounds.table_3_cases(PARAMETERS)
    assert len(cases) == 2 * len(bounds.METHODS) + len(bounds.L1_METHODS)
    options = {case["method"]: case["options"] for case in cases}
    assert options["ascent"] == {"images": 20, "restarts": 2, "seed": 0} and options["lipschitz-model"] == {}
    short = bounds.table_3_cases({**PARAMETERS, "printed_model": False})
    left_out = {case["method"] for case in cases} - {case["method"] for case in short}
    assert left_out == {"printed-model", "reference-model"}


def test_tables_stand_beside_the_printed_numbers():
    """The printed upper bounds belong to the printed model with the reference constraint, which proves nothing."""
    rows = [row("product-bound", 2, 4.8), row("reference-model", 2, 4.13), row("lipschitz-model", "inf", 57.5)]
    lines = {line[0]: line for line in bounds.bounds_table(rows).rows}
    assert lines["printed model, reference constraint"][1:4] == ("UNPROVEN", "4.13", 4.67)
    assert lines["closed form (UB_F)"][3] == 4.80
    assert lines["Lipschitz Model, here"][4] == "57.5"
    assert "1757" in str(bounds.seconds_table(rows))
    cells = bounds.table_3_cells(rows, PARAMETERS)
    assert set(cells) == {"table-3/ub-l2", "table-3/semi-ub-linf", "table-3/seconds/semi-ub-linf"}
    assert "proven" in cells["table-3/semi-ub-linf"].note


def test_real_cases_hold_together(tmp_path):
    """lower <= proven <= closed form; a second call solves nothing; the drawing is drawn."""
    cases = [c for c in bounds.table_3_cases(PARAMETERS) if c["norm"] == 2 and c["method"] != "pairwise"]
    rows = [{**case, **bounds.bound(case)} for case in cases]
    assert json.loads(json.dumps(rows)) == rows
    value = {r["method"]: r["value"] for r in rows}
    assert value["sampled"] <= value["ascent"] <= value["lipschitz-model"] <= value["printed-model"] * 1.001
    assert value["lipschitz-model"] <= value["product-bound"]
    assert not next(r for r in rows if r["method"] == "reference-model")["proven"]
    proven = next(r for r in rows if r["method"] == "lipschitz-model")
    assert proven["checked"] == pytest.approx(proven["value"], rel=1e-5)
    outcome = {c["method"]: r for c, r in zip(cases, rows, strict=True)}

    def solve(case):
        return {k: v for k, v in outcome.get(case["method"], outcome["sampled"]).items() if k not in case}

    with Store(tmp_path / "records.sqlite") as store:
        arguments = (NETWORK, 20, 2)
        first = paper.table_3(*arguments, store=store, solve=solve)
        again = paper.table_3(*arguments, store=store, solve=pytest.fail)
    assert first.rows == again.rows and len(first.rows) == 17
    assert len(first.bounds.rows) == 7


def test_local_constants_hold_together(tmp_path):
    """Jacobians in the ball <= order 1+cuts <= order 1 <= the global constant."""
    with Store(tmp_path / "records.sqlite") as store:
        found = paper.table_3_local(NETWORK, 0, (0.1,), (0.01,), store=store)
    largest = {norm: upper_bound(zoo.get(NETWORK).network, norm).value for norm in (2, "inf")}
    for plain, tight in zip(found.rows[::2], found.rows[1::2], strict=True):
        assert (plain["method"], tight["method"]) == ("1", "1+cuts")
        assert tight["sampled"] <= tight["value"] <= plain["value"] * 1.001 <= largest[plain["norm"]] * 1.002
        assert tight["undecided"] <= plain["undecided"]
    assert len(found.bounds.rows) == 2 and len(found.seconds.rows) == 4


def test_column_of_table_2():
    """Counts by three criteria; a setting without its constants is left out; cells of what is there."""
    K = 10
    pairs = np.full(K * (K - 1) // 2, 1e-3).tolist()
    constants = {
        ("product-bound", 2): row("product-bound", 2, 1e9),
        ("lipschitz-model", 2): row("lipschitz-model", 2, 1e-3),
        ("lipschitz-model", "inf"): row("lipschitz-model", "inf", 1e-3),
        ("pairwise", 2): row("pairwise", 2, 1e-3, parts=pairs),
    }
    found = ratio.counts(NETWORK, 10, [(2, 0.1), ("inf", 0.1)], constants)
    (only,) = found
    assert (only.name, only.images, only.product) == ("l2-0.1", 10, 0)
    assert only.printed_criterion == only.pairwise == 9  # image 1 has the wrong label
    table = dict(zip((t := ratio.count_table(found)).columns, t.rows[0], strict=True))
    assert (table["Lipschitz Model %"], table["printed"], table["pairwise %"]) == (90, 91, 90)
    cells = ratio.count_cells(found, constants)
    assert cells["table-2/l2-0.1/lipschitz"].value == 90
    assert cells["table-2/l2-0.1/lipschitz-product-bound"].value == 0
    assert cells["table-2/seconds/lipschitz-total"].value == 4.0
    matrix = bounds.pair_matrix(row("pairwise", 2, 3.0, parts=[1.0, 2.0, 3.0]), 3)
    assert matrix.tolist() == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]


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
        assert rows["lipschitz-model", norm]["checked"] == pytest.approx(upper, rel=1e-5)


def test_a_custom_choice_of_images_counts_the_constants_that_are_kept():
    """Constants know no images: the cases are those of the profile that has the network, not new ones."""
    asked = {"network": "digits/mondeq-16", "profile": "custom"}
    assert {case["profile"] for case in bounds.constants_cases(asked)} == {"quick"}
    assert {case["profile"] for case in bounds.constants_cases(asked | {"network": "digits/mondeq-32"})} == {"custom"}
