"""Rows: written at once, found again, exported with every digit, and not lost by a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightrope.errors import CorruptDataError
from tightrope.workbench.cases import data_of, dataset, sweep
from tightrope.workbench.records import Store, case_key, from_csv, sort_rows, to_csv


def make_case(image, profile="quick", **changes):
    """A case of a made-up result."""
    base = dict(paper="p", result="r", profile=profile, network="n", network_sha256="ab", norm="inf")
    return {**base, "epsilon_pixel": 0.1, "clip": False, "options": {"seed": 0}, "image": image, **changes}


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "records.sqlite") as opened:
        yield opened


def test_a_key_is_what_a_case_is_not_what_its_network_is_called():
    """Renaming a network keeps its rows; other weights, options or images do not."""
    case = make_case(3)
    assert case_key(case) == case_key({**dict(reversed(case.items())), "network": "another name"})
    for change in (dict(network_sha256="cd"), dict(image=4), dict(options={"seed": 1}), dict(clip=True)):
        assert case_key({**case, **change}) != case_key(case)


def test_a_row_is_there_as_soon_as_it_is_solved(store, tmp_path):
    """Another process (another connection) sees it before the sweep goes on."""
    rows = sweep(store, [make_case(0), make_case(1)], lambda case: {"value": case["image"] / 3})
    first = next(rows)
    with Store(tmp_path / "records.sqlite") as other:
        assert other.get(make_case(0)) == first
        assert other.get(make_case(1)) is None


def test_a_sweep_solves_only_what_has_no_row(store):
    """The second sweep calls the solver for the new case only."""
    solved = []

    def solve(case):
        solved.append(case["image"])
        return {"value": 1.0}

    list(sweep(store, [make_case(0)], solve))
    rows = list(sweep(store, [make_case(0), make_case(1)], solve))
    assert solved == [0, 1]
    assert [row["image"] for row in rows] == [0, 1]


def test_rows_of_the_quick_profile_are_solved_again_when_the_library_changes(store, monkeypatch):
    """Those of the paper profile are kept: they cost hours, and say which versions made them."""
    for profile in ("quick", "paper"):
        store.put(make_case(0, profile), {"value": 1.0})
    monkeypatch.setattr("tightrope.workbench.records.code_fingerprint", lambda: "changed")
    assert store.get(make_case(0, "quick")) is None
    assert store.rows("r", "quick") == []
    assert store.get(make_case(0, "paper"))["value"] == 1.0


def test_csv_is_stable_and_sorted(store):
    """Whatever the order of solving, the file has the same bytes, numbers in order."""
    for image in (10, 2, 1):
        store.put(make_case(image, "paper"), {"value": 0.1 + 0.2, "labels": [{"b": 1e-17, "a": None}]})
    path = store.export_csv("p", "r", "paper")
    first = path.read_bytes()
    assert store.export_csv("p", "r", "paper").read_bytes() == first
    rows = from_csv(first.decode())
    assert [row["image"] for row in rows] == [1, 2, 10]
    assert rows[0]["value"] == 0.1 + 0.2
    assert b"0.30000000000000004" in first
    assert rows == store.rows("r", "paper")


def test_a_fresh_clone_has_the_committed_rows_of_the_paper_profile(store, tmp_path):
    """An empty store is filled from the CSV; the quick profile is always solved."""
    for profile in ("paper", "quick"):
        store.put(make_case(0, profile), {"value": 0.5})
        store.export_csv("p", "r", profile)
    with Store(tmp_path / "clone.sqlite", folder=tmp_path) as clone:
        (row,) = clone.rows("r", "paper", "p")
        assert row["value"] == 0.5
        assert clone.get(make_case(0, "paper")) == row
        assert clone.rows("r", "quick") == []


def test_rows_of_a_csv_leave_with_it(store, tmp_path):
    """An updated clone shows the rows of its CSV, and those that were solved on the machine."""
    for image in (0, 1):
        store.put(make_case(image, "paper"), {"value": 0.5})
    path = store.export_csv("p", "r", "paper")
    with Store(tmp_path / "clone.sqlite", folder=tmp_path) as clone:
        assert len(clone.rows("r", "paper", "p")) == 2
        clone.put(make_case(2, "paper"), {"value": 0.5})
        path.write_text(to_csv(row for row in store.rows("r", "paper") if row["image"] == 1), encoding="utf-8")
        assert [row["image"] for row in clone.rows("r", "paper", "p")] == [1, 2]
        assert clone.get(make_case(0, "paper")) is None


def test_forgotten_rows_do_not_come_back_from_the_csv(store):
    """`--fresh` solves again, also after a kill; the other rows of the file stay."""
    for image in (0, 1):
        store.put(make_case(image, "paper"), {"value": 0.5})
    path = store.export_csv("p", "r", "paper")
    store.forget([make_case(0, "paper")])
    assert [row["image"] for row in store.rows("r", "paper")] == [1]
    store.forget([make_case(1, "paper")])
    assert store.rows("r", "paper") == [] and not path.exists()


# Letters, digits, quotes, separators and some others: what CSV and JSON treat specially.
TEXT = st.text(st.sampled_from("aZé09.-e+,;\"'\n\t []{}:\\nulltrue"), max_size=12)


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "text": st.one_of(st.none(), TEXT),
                "number": st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.booleans()),
                "list": st.lists(st.floats(allow_nan=False)),
            }
        )
    )
)
def test_csv_gives_back_every_value_and_type(rows):
    """Text that looks like a number stays text, floats keep every digit."""
    rows = [{"result": "r", **row} for row in rows]
    again = from_csv(to_csv(rows) if rows else "result\n")
    assert again == rows
    types = [[{name: type(value) for name, value in row.items()} for row in side] for side in (again, rows)]
    assert types[0] == types[1]


def test_a_damaged_csv_is_named():
    """A cut line is not a row with missing values."""
    with pytest.raises(CorruptDataError, match="line 2"):
        from_csv("result,image\nr\n", "rows.csv")
    with pytest.raises(CorruptDataError, match="header"):
        from_csv("", "rows.csv")


def test_rows_sort_by_number_then_text():
    """2 before 10, numbers before words."""
    assert [r["n"] for r in sort_rows([{"n": "inf"}, {"n": 10}, {"n": 2}])] == [2, 10, "inf"]


SWEEP = """
import json, sys, time
from pathlib import Path
from tightrope.workbench.cases import sweep
from tightrope.workbench.records import Store
folder = Path(sys.argv[1])
cases = [dict(paper="p", result="r", profile="quick", network_sha256="ab", image=i) for i in range(12)]
def solve(case):
    with open(folder / "log", "a") as log:
        log.write(f"{case['image']}\\n")
    time.sleep(0.05)
    return {"value": case["image"] ** 0.5}
with Store(folder / "records.sqlite") as store:
    for row in sweep(store, cases, solve):
        print(json.dumps(row["image"]), flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_sweep_loses_nothing_and_solves_nothing_twice(tmp_path):
    """A process is killed in the middle of a case; the next one continues behind the last finished one."""
    command = [sys.executable, "-c", SWEEP, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    finished = [int(process.stdout.readline()) for _ in range(4)]
    time.sleep(0.02)  # inside the next case
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    finished += [int(line) for line in rest.split()]
    assert len(finished) < 12

    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in again.stdout.splitlines()] == list(range(12))
    solved = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert set(solved) == set(range(12))
    assert all(solved.count(image) == 1 for image in finished)
    assert len(solved) <= 13  # at most the case that was being solved is solved a second time
    with Store(tmp_path / "records.sqlite") as store:
        assert [row["value"] for row in store.rows("r", "quick")] == [i**0.5 for i in range(12)]


def test_a_row_says_which_images_and_which_normalisation_it_rests_on(store):
    """They are columns, not part of the key; a row without them is valid, one of other images is an error."""
    case = make_case(0, dataset="digits", network="digits/mondeq-16")
    assert case_key(case) == case_key({**case, "network": "x"})
    (row,) = sweep(store, [case], lambda case: {"value": 1.0})
    data = dataset("digits")
    assert row["dataset_sha256"] == data.sha256 and len(data.sha256) == 64
    assert row["normalisation"] == [[data.normalisation.mean], [data.normalisation.std]]
    assert [row] == list(sweep(store, [case], never)) == from_csv(to_csv([row]))
    for name, value in (("dataset_sha256", "0" * 64), ("normalisation", [[0.0], [1.0]])):
        store.put(case, {"value": 1.0, **data_of(case), name: value})
        with pytest.raises(CorruptDataError, match=f"its {name} is .*--fresh"):
            list(sweep(store, [case], never))
    store.put(case, {"value": 2.0})
    assert [found["value"] for found in sweep(store, [case], never)] == [2.0]
    assert data_of(make_case(0)) == data_of(make_case(0, dataset="svhn", network=None)) == {}


def never(case):
    """Rows are found, not solved."""
    raise AssertionError(case)
