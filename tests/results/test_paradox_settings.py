"""Printed architectures and hyperparameters of the paradox paper, and its tables of sets that a user provides."""

import gzip

import numpy as np
import pytest
import scipy.io
import torch

from tightrope import datasets, image_files
from tightrope.results.jovanovic2022_paradox.common import letter_of
from tightrope.results.jovanovic2022_paradox.tightness import cr_auc, cr_curve, table_4
from tightrope.training import Architecture
from tightrope.workbench import cases, published
from tightrope.workbench.compare import agreement
from tightrope.workbench.records import Store, case_key
from tightrope.workbench.registry import experiments


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "rows.sqlite") as opened:
        yield opened


@pytest.fixture(autouse=True)
def forget_files():
    """Data sets and networks are read once per process; those made here must not stay."""
    yield
    for function in (cases.dataset, cases.entry, cases.network_sha256):
        function.cache_clear()


def printed(name: str) -> published.Result:
    return published.find(f"jovanovic2022-paradox/{name}")


@pytest.mark.parametrize("name", ["table-5-architectures", "table-6-hyperparameters"])
def test_every_printed_setting_is_what_the_training_takes(name):
    """Each cell of Tables 5 and 6 comes out of the rows of the paper profile, and agrees."""
    result = printed(name)
    parameters = {**result.paper_parameters, "profile": "custom", "counted": [None] * 4}
    experiment = experiments(result.paper)[name]
    solved = experiment.all_cases(parameters)
    rows = [{**case, **experiment.solver(case)} for case in solved]
    assert len({case_key(case) for case in solved}) == len(rows)
    found = experiment.values(rows, parameters)
    assert {cell.id for cell in result.cells} == set(found)
    assert {agreement(cell, found[cell.id].value) for cell in result.cells} == {"configured"}


@pytest.mark.parametrize(
    ("name", "file", "cells"),
    [
        ("table-10-fashionmnist-fc", "fashionmnist_FC_box", "table-10/0.3/box"),
        ("table-12-svhn-cifar10", "svhn_box", "table-12/svhn/box"),
    ],
)
def test_tables_of_other_sets_run_on_files_of_the_user(store, tmp_path, monkeypatch, name, file, cells):
    """Made-up images and weights in the published formats: the printed cells are computed from them."""
    folder, rng, fashion = tmp_path / "data", np.random.default_rng(0), "fashion" in file
    monkeypatch.setenv("TIGHTROPE_DATA", str(folder))
    labels = rng.integers(0, 10, 4).astype(np.uint8)
    monkeypatch.setattr(image_files, "SETS", {"svhn": {"test": 4}})
    monkeypatch.setattr(datasets, "_mismatch", lambda path, entry: None)  # they are not the published files
    (folder / "fashionmnist").mkdir(parents=True)
    (folder / "svhn").mkdir()
    if fashion:
        for part, array in (
            ("images-idx3", rng.integers(0, 256, (4, 28, 28), dtype=np.uint8)),
            ("labels-idx1", labels),
        ):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"fashionmnist/t10k-{part}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    else:
        images = rng.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
        scipy.io.savemat(folder / "svhn/test_32x32.mat", {"X": images, "y": np.where(labels, labels, 10)[:, None]})
    wanted = Architecture.parse("FC" if fashion else "CONV", (1, 28, 28) if fashion else (3, 32, 32))
    keys = [f"layers.{i}.{part}" for i in range(2, 12, 2) for part in ("weight", "bias")]
    weights = dict(zip(keys, wanted.initial(torch.Generator().manual_seed(1)), strict=False))
    normalisation = datasets.NORMALISATIONS["fashionmnist" if fashion else "svhn"]
    weights["layers.0.mean"] = torch.tensor(np.ravel(normalisation.mean), dtype=torch.float32)
    weights["layers.0.sigma"] = torch.tensor(np.ravel(normalisation.std), dtype=torch.float32)
    (folder / "jovanovic2022-paradox/pretrained").mkdir(parents=True)
    torch.save(weights, folder / f"jovanovic2022-paradox/pretrained/{file}.pt")
    parameters = {**printed(name).paper_parameters, "images": 4, "epsilon_pixel": 0.3 if fashion else 8 / 255}
    network = "fashionmnist-fc-box" if fashion else "svhn-conv-box"
    parameters |= {"networks": [f"jovanovic2022-paradox/{network}"], "profile": "custom"}
    experiment = experiments("jovanovic2022-paradox")[name]
    found = experiment.values(experiment(**parameters, store=store).rows, parameters)
    assert set(found) == {f"{cells}/{part}" for part in ("accuracy", "pgd", "certified")}
    known = {cell.id for cell in printed(name).cells}
    assert set(found) <= known and all(0 <= value.value <= 100 for value in found.values())


def test_kept_curves_have_the_printed_order():
    """Networks of experiments A, F, G and H trained here: the classes of tightness, CROWN-0 with nothing."""
    rows = table_4.kept("paper")
    assert {letter_of(network) for network in rows.different("network")} >= {"A", "F", "G"}
    for _, own in rows.by("network"):
        curves = {method: cr_curve(part) for (method,), part in own.by("method")}
        area = {method: cr_auc(*curve) for method, curve in curves.items()}
        middle = [area["hbox"], area["crown_ibp"]]
        assert 0 == area["crown_0"] < area["box"] < min(middle) and max(middle) < area["deepz"] < area["crown"]
        if "triangle" in curves:  # of the first images only: no looser radius by radius than Parallelogram
            pairs = zip(curves["triangle"][1], curves["parallelogram"][1], strict=True)
            assert all(tight >= loose for tight, loose in pairs)
