"""Trainings with several seeds, scaled components, landscapes and degrees: what the results are made of, bad input."""

import numpy as np
import pytest

from tests.notebook_outputs import differences
from tightrope import explorers
from tightrope.errors import InputError, UnknownNameError
from tightrope.results.jovanovic2022_paradox import landscapes, seeds, small_training
from tightrope.results.jovanovic2022_paradox.degrees import degrees, sensitivity_degrees
from tightrope.results.jovanovic2022_paradox.new_relaxations import areas, figure_7
from tightrope.results.jovanovic2022_paradox.small_training import SCALINGS, principal_components
from tightrope.workbench import published
from tightrope.workbench.compare import agreement
from tightrope.workbench.records import Store
from tightrope.workbench.rows import Rows

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
    trainings = seeds.table_13(runs=[RUN], printed_runs=[], store=store)
    shares = seeds.percents_by_seed(trainings.rows, "certified")
    assert {name: set(part) for name, part in shares.items()} == {"digits FC 8, FC 10": {"Box", "CROWN-IBP"}}
    for line in trainings.spread.rows:
        part = shares[line[0]][line[1]]
        assert len(part) == line[2] == 2 and line[4] == round(max(part), 1) and line[7] == round(min(part), 1)
        assert line[7] <= line[5] <= line[4]
    (order,) = trainings.order.values()
    (part,) = shares.values()
    assert np.mean(part[order[0]]) == max(map(np.mean, part.values()))


def test_a_setting_that_does_not_exist_is_named(store):
    with pytest.raises(UnknownNameError, match="epsilon_pixel"):
        seeds.training_spread(runs=[{**RUN, "epsilon": 0.1}], store=store)
    with pytest.raises(InputError, match="methods missing"):
        seeds.training_spread(runs=[{name: RUN[name] for name in RUN if name != "methods"}], store=store)


def test_a_killed_training_continues_from_its_checkpoint(monkeypatch, tmp_path):
    """With the weights of an uninterrupted one; the file is gone afterwards."""
    monkeypatch.setattr("tightrope.paths.CHECKPOINTS", tmp_path)
    case = seeds.training_spread.own_cases("quick", {"runs": [RUN]})[0]
    whole = seeds.train_and_certify(case)
    real = seeds.train

    def killed(*arguments, **options):
        real(*arguments, **options, until=2)
        raise KeyboardInterrupt

    monkeypatch.setattr(seeds, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        seeds.train_and_certify(case)
    assert len(list(tmp_path.glob("*.pt"))) == 1
    monkeypatch.setattr(seeds, "train", real)
    again = seeds.train_and_certify(case)
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in whole.items() if k != "seconds"}
    assert not list(tmp_path.glob("*.pt"))


def test_the_printed_seeds_have_the_printed_mean_and_deviation():
    """Rows made of the printed numbers give mean and deviation as printed: the deviation is the one with n - 1."""
    result = published.find("jovanovic2022-paradox/table-13-seeds")
    for network in ("FC", "CONV"):
        shares = [result.cell(f"table-13/mnist-{network.lower()}/seed-{seed}").printed for seed in range(10, 20)]
        same = {"result": seeds.table_13.name, "dataset": "mnist", "architecture": network, "test_images": 1000}
        rows = Rows(
            {**same, "seed": seed, "certified": round(10 * share)}
            for seed, share in zip(range(10, 20), shares, strict=True)
        )
        runs = [{"dataset": "mnist", "architecture": network, "seeds": list(range(10, 20))}]
        values = seeds.cells(rows, runs)
        assert len(values) == 12
        for id, value in values.items():
            assert agreement(result.cell(id), value.value) == "reproduced"
            assert abs(value.value - result.cell(id).printed) <= 0.06
        assert "table-13/mnist-fc/mean" not in seeds.cells(Rows(rows[:9]), runs)


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


def test_table_14_has_a_line_for_each_scaling_and_relaxation(store, monkeypatch):
    monkeypatch.setattr(small_training, "METHODS", ("box", "triangle"))
    small = dict(dataset="digits", images=40, components=4, neurons=4, epsilon=0.3, epochs=3, warm_up=2, ramp_up=0)
    small |= dict(batch_size=20, learning_rate=0.02, scalings=SCALINGS, seeds=[0, 1], program_seeds=[0])
    trainings = small_training.table_14(**small, store=store)
    assert [line[:3] for line in trainings.scores.rows] == [
        (scaling, name, count) for scaling in SCALINGS for name, count in (("Box", 2), ("Triangle", 1))
    ]
    for scaling in SCALINGS:
        losses = [line[-1] for line in trainings.final_losses.rows if line[0] == scaling]
        assert len(losses) == 2 and losses == sorted(losses)
    values = small_training.cells(trainings.rows)
    plain = [100 * row["certified"] / 40 for row in trainings.rows.where(method="box", scaling="plain")]
    assert values["table-14/box/certified"].value == pytest.approx(np.mean(plain), abs=0.01)
    assert "whitened" in values["table-14/box/certified"].note


def test_parallelogram_has_twice_the_area_of_triangle():
    rows = Rows({**case, **figure_7.solver(case)} for case in figure_7.own_cases("quick", {}))
    lines = {line[0]: line[1:] for line in areas(rows).rows}
    assert lines["Parallelogram"] == (1.5, 4, "none") and lines["Triangle"] == (0.75, 3, "the upper one")


# ---------------------------------------------------------------------------------------------- Figures 5 and 6


def test_ascents_count_what_the_rows_say(store):
    ascents = landscapes.figure_5(draws=3, first=169, store=store)
    (drawn,) = landscapes.figure_5_drawn(rows=ascents.rows, store=store).rows
    counts = dict(ascents.counts.rows)
    assert counts["networks"] == sum(not row["flat"] for row in ascents.rows) <= 3
    assert drawn["seed"] == 170 and counts["a step of CROWN falls at a jump"] >= 1
    lines = {line[0]: line[1:] for line in ascents.example.rows}
    assert lines["CROWN"][1] < lines["Box"][1] < lines["CROWN"][2]
    assert len(drawn["paths"]["crown"][0]) == 21


def test_networks_that_show_nothing_are_counted_and_not_drawn(store):
    ascents = landscapes.figure_5(draws=2, first=0, store=store)
    drawn = landscapes.figure_5_drawn(rows=ascents.rows, store=store)
    assert not drawn.rows and not ascents.example.rows
    with pytest.raises(InputError, match="draws"):
        ascents.draw(drawn.rows)


@pytest.mark.parametrize("figure", [5, 6])
def test_kept_rows_show_what_the_readme_says(figure):
    """Continuous relaxations never fall, and the tight relaxation mostly ends higher than Box."""
    rows = getattr(landscapes, f"figure_{figure}").kept("paper", flat=False)
    if not rows:
        pytest.skip("no rows of the paper profile are kept")
    assert len(rows) == 180 and len(getattr(landscapes, f"figure_{figure}_drawn").kept("paper")) == 1
    assert sum(row["end"] < row["box_end"] for row in rows) < 0.1 * len(rows)
    assert any(row["fallen"] > 0 for row in rows) == (figure == 5)
    for row in rows:
        assert row["lowest"] <= min(row["start"], row["end"]) and max(row["start"], row["end"]) <= row["highest"]


def test_kept_degrees_are_below_the_formulas():
    rows = sensitivity_degrees.kept("paper")
    if not rows:
        pytest.skip("no rows of the paper profile are kept")
    for neurons, hidden, name, _, highest, shared, fewer, printed in degrees(rows).rows:
        assert highest <= shared <= fewer <= printed
        assert highest == {"DeepZ": (neurons + 1) ** hidden, "Box": 1, "hBox": 1}.get(name, highest)


def test_the_explorer_of_ascents_says_where_both_end():
    explorer = explorers.ascents(170, "crown", background=False)
    assert not differences("network 170: Box from -2 to -2, CROWN from -38.4 to -70.2", explorer.view.text)
    assert explorer.view.png.startswith(b"\x89PNG")
    explorer.controls["seed"].value = 1
    assert "does not depend" in explorer.view.text and not explorer.view.png
    assert set(explorers.ascents(1, controls=("rate",), background=False).controls) == {"rate"}
