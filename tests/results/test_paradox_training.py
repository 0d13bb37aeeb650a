"""Trainings with several seeds, scaled components, landscapes and degrees: what the results are made of, bad input."""

import numpy as np
import pytest

from tests.notebook_outputs import differences
from tightrope import explorers
from tightrope.errors import InputError, UnknownNameError
from tightrope.results import jovanovic2022_paradox as paper
from tightrope.results.jovanovic2022_paradox import seeds
from tightrope.results.jovanovic2022_paradox.degrees import DEGREES
from tightrope.results.jovanovic2022_paradox.landscapes import FIGURE_5, FIGURE_6, SUFFIX
from tightrope.results.jovanovic2022_paradox.small_training import SCALINGS, principal_components
from tightrope.workbench import published
from tightrope.workbench.compare import agreement
from tightrope.workbench.records import Store

RUN = {
    "dataset": "digits",
    "architecture": "FC 8, FC 10",
    "methods": ["box", "crown_ibp_hybrid"],
    "seeds": [0, 1],
    "images": 100,
    "test_images": 40,
    "epsilon_pixel": 0.02,
    "epochs": 3,
    "warm_up": 1,
    "ramp_up": 1,
    "learning_rate": 0.02,
    "batch_size": 20,
}


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "rows.sqlite") as opened:
        yield opened


# ------------------------------------------------------------------------------------------------- Table 13


def test_trained_seeds_show_best_and_spread(store):
    result = paper.trained_seeds([RUN], store=store)
    shares = result.shares()
    assert set(shares) == {("digits FC 8, FC 10", "Box"), ("digits FC 8, FC 10", "CROWN-IBP")}
    for line in result.spread.rows:
        part = shares[line[:2]]
        assert len(part) == line[2] == 2 and line[4] == round(max(part), 1) and line[7] == round(min(part), 1)
        assert line[7] <= line[5] <= line[4]
    (order,) = result.order.values()
    assert np.mean(shares["digits FC 8, FC 10", order[0]]) == max(map(np.mean, shares.values()))


def test_a_setting_that_does_not_exist_is_named(store):
    with pytest.raises(UnknownNameError, match="epsilon_pixel"):
        paper.trained_seeds([{**RUN, "epsilon": 0.1}], store=store)


def test_a_killed_training_continues_from_its_checkpoint(monkeypatch, tmp_path):
    """With the weights of an uninterrupted one; the file is gone afterwards."""
    monkeypatch.setattr("tightrope.paths.CHECKPOINTS", tmp_path)
    case = seeds.seed_cases([RUN], seeds.SPREAD, "quick")[0]
    whole = seeds.train_seed(case)
    real = seeds.train

    def killed(*arguments, **options):
        real(*arguments, **options, until=2)
        raise KeyboardInterrupt

    monkeypatch.setattr(seeds, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        seeds.train_seed(case)
    assert len(list(tmp_path.glob("*.pt"))) == 1
    monkeypatch.setattr(seeds, "train", real)
    again = seeds.train_seed(case)
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in whole.items() if k != "seconds"}
    assert not list(tmp_path.glob("*.pt"))


def test_the_printed_seeds_have_the_printed_mean_and_deviation():
    """Rows made of the printed numbers give mean and deviation as printed: the deviation is the one with n - 1."""
    result = published.find("jovanovic2022-paradox/table-13-seeds")
    for network in ("FC", "CONV"):
        shares = [result.cell(f"table-13/mnist-{network.lower()}/seed-{seed}").printed for seed in range(10, 20)]
        rows = [
            {"result": seeds.TABLE_13, "dataset": "mnist", "architecture": network, "seed": seed, "test_images": 1000,
             "certified": round(10 * share)}
            for seed, share in zip(range(10, 20), shares, strict=True)
        ]  # fmt: skip
        runs = [{"dataset": "mnist", "architecture": network, "seeds": list(range(10, 20))}]
        values = seeds.table_13_cells(rows, {"printed_runs": runs})
        assert len(values) == 12
        for id, value in values.items():
            assert agreement(result.cell(id), value.value) == "reproduced"
            assert abs(value.value - result.cell(id).printed) <= 0.06
        assert "table-13/mnist-fc/mean" not in seeds.table_13_cells(rows[:9], {"printed_runs": runs})


# ---------------------------------------------------------------------------------------- Table 14 and Figure 7


@pytest.mark.parametrize("scaling", SCALINGS)
def test_components_are_scaled_as_named(scaling):
    data = principal_components("digits", 90, 5, 0, scaling)
    x = data.normalisation.to_input(data.images)
    deviations = x.std(0)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-12)
    if scaling == "whitened":
        np.testing.assert_allclose(deviations, 1)
    else:
        assert (np.diff(deviations) <= 0).all() and deviations[0] > 1.2 * deviations[-1]
    covariance = np.corrcoef(x.T)
    np.testing.assert_allclose(covariance, np.eye(5), atol=1e-9)


def test_bad_components_are_named():
    with pytest.raises(UnknownNameError, match="whitened"):
        principal_components("digits", 90, 5, 0, "white")
    with pytest.raises(InputError, match="components=65"):
        principal_components("digits", 90, 65, 0)


def test_table_14_has_a_line_for_each_scaling_and_relaxation(store):
    small = dict(images=40, components=4, neurons=4, epochs=3, warm_up=2, ramp_up=0, batch_size=20, learning_rate=0.02)
    result = paper.table_14(
        "digits", **small, seeds=[0, 1], program_seeds=[0], methods=["box", "triangle"], store=store
    )
    assert [line[:3] for line in result.results.rows] == [
        (scaling, name, count) for scaling in SCALINGS for name, count in (("Box", 2), ("Triangle", 1))
    ]
    for scaling in SCALINGS:
        losses = [line[-1] for line in result.final_losses.rows if line[0] == scaling]
        assert len(losses) == 2 and losses == sorted(losses)
    values = paper.EXPERIMENTS["table-14-triangle-parallelogram"].cells(result.rows, {})
    plain = [100 * row["certified"] / 40 for row in result.rows if (row["method"], row["scaling"]) == ("box", "plain")]
    assert values["table-14/box/certified"].value == pytest.approx(np.mean(plain), abs=0.01)
    assert "whitened" in values["table-14/box/certified"].note


def test_parallelogram_has_twice_the_area_of_triangle(store):
    areas = {line[0]: line[1:] for line in paper.new_shapes(store=store).areas.rows}
    assert areas["Parallelogram"] == (1.5, 4, "none") and areas["Triangle"] == (0.75, 3, "the upper one")


# ---------------------------------------------------------------------------------------------- Figures 5 and 6


def test_ascents_count_what_the_rows_say(store):
    result = paper.ascents(FIGURE_5, 3, first=169, store=store)
    counts = dict(result.counts.rows)
    assert counts["networks"] == sum(not row["flat"] for row in result.rows) <= 3
    assert result.shown["seed"] == 170 and counts["a step of CROWN falls at a jump"] >= 1
    lines = {line[0]: line[1:] for line in result.example.rows}
    assert lines["CROWN"][1] < lines["Box"][1] < lines["CROWN"][2]
    assert len(result.shown["paths"]["crown"][0]) == 21


def test_networks_that_show_nothing_are_counted_and_not_drawn(store):
    result = paper.ascents(FIGURE_5, 2, first=0, store=store)
    assert result.shown is None
    with pytest.raises(InputError, match="networks"):
        result.draw()


def kept(name: str) -> list[dict]:
    with Store() as opened:
        return opened.rows(name, "paper", "jovanovic2022-paradox")


@pytest.mark.parametrize("name", [FIGURE_5, FIGURE_6])
def test_kept_rows_show_what_the_readme_says(name):
    """Continuous relaxations never fall, and the tight relaxation mostly ends higher than Box."""
    rows = [row for row in kept(name) if not row["flat"]]
    if not rows:
        pytest.skip("no rows of the paper profile are kept")
    assert len(rows) == 180 and len(kept(name + SUFFIX)) == 1
    assert sum(row["end"] < row["box_end"] for row in rows) < 0.1 * len(rows)
    assert any(row["fallen"] > 0 for row in rows) == (name == FIGURE_5)
    for row in rows:
        assert row["lowest"] <= min(row["start"], row["end"]) and max(row["start"], row["end"]) <= row["highest"]


def test_kept_degrees_are_below_the_formulas():
    rows = kept(DEGREES)
    if not rows:
        pytest.skip("no rows of the paper profile are kept")
    from tightrope.results.jovanovic2022_paradox.degrees import Degrees

    for neurons, hidden, name, _, highest, shared, fewer, printed in Degrees(tuple(rows)).table.rows:
        assert highest <= shared <= fewer <= printed
        assert highest == {"DeepZ": (neurons + 1) ** hidden, "Box": 1, "hBox": 1}.get(name, highest)


def test_the_explorer_of_ascents_says_where_both_end():
    explorer = explorers.ascents(170, "crown", background=False)
    assert not differences("network 170: Box from -2 to -2, CROWN from -38.4 to -70.2", explorer.view.text)
    assert explorer.view.png.startswith(b"\x89PNG")
    explorer.controls["seed"].value = 1
    assert "does not depend" in explorer.view.text and not explorer.view.png
    assert set(explorers.ascents(1, controls=("rate",), background=False).controls) == {"rate"}
