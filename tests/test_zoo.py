"""The zoo: names, paths, errors."""

import importlib.util

import numpy as np
import pytest
import torch

from tightrope import datasets, paths, zoo
from tightrope.errors import CorruptDataError, InputError, MissingDataError, UnknownNameError
from tightrope.networks import FeedForward
from tightrope.training import Architecture

LISTED = dict(line.split() for line in (paths.ROOT / "tests/zoo_names.txt").read_text().splitlines()[1:])


def test_names_do_not_move():
    """Rows and notebooks hold them: all that were there are there, in order; new ones go into the list."""
    assert list(zoo.names()) == list(LISTED) == sorted(LISTED)


@pytest.mark.published
@pytest.mark.parametrize("paper", sorted({name.split("/")[0] for name, digits in LISTED.items() if digits != "-"}))
def test_weights_do_not_move(paper):
    """The networks that can be had are the ones of the list, to the last bit."""
    names = [name for name, digits in LISTED.items() if name.startswith(f"{paper}/") and digits != "-"]
    if not all(map(zoo.available, names)):
        pytest.skip(f"not on this machine: {paper}; run `make data` or set TIGHTROPE_DATA")
    assert {name: zoo.get(name).network.sha256()[:16] for name in names} == {name: LISTED[name] for name in names}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {", "networks.yaml"),
        ("networks", "list of groups"),
        ("- {format: tar, networks: {}, normalisation: {}}", "tar"),
    ],
)
def test_a_damaged_list_of_networks_is_named(tmp_path, monkeypatch, text, message):
    """The file, and what is wrong with it."""
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "networks.yaml").write_text(text)
    monkeypatch.setattr(paths, "PAPERS", tmp_path)
    zoo._published.cache_clear()
    with pytest.raises(CorruptDataError, match=message):
        zoo.names()
    zoo._published.cache_clear()


@pytest.mark.parametrize("name", [name for name in zoo.names() if name.startswith("digits/")])
def test_shipped_entries_are_complete(name):
    """The network fits its data set and carries its name."""
    entry = zoo.get(name)
    assert entry.network.name == name
    data = datasets.load(entry.dataset)
    assert entry.network.input_size == data.images.shape[1] and entry.normalisation == data.normalisation
    assert (paths.ROOT / entry.source).is_file()


@pytest.mark.parametrize(
    ("name", "file", "architecture", "shape"),
    [
        ("fashionmnist-fc-deepz", "fashionmnist_FC_zono", "FC", (1, 28, 28)),
        ("svhn-conv-crown", "svhn_crown", "CONV", (3, 32, 32)),
        ("cifar10-conv-plus-crown-ibp-r", "cifar_crowinbp1to1", "CONV+", (3, 32, 32)),
    ],
)
def test_published_networks_that_a_user_provides(tmp_path, monkeypatch, name, file, architecture, shape):
    """A state dictionary of the published form, normalisation included, made here; missing and foreign ones by name."""
    name, path = f"jovanovic2022-paradox/{name}", tmp_path / f"jovanovic2022-paradox/pretrained/{file}.pt"
    monkeypatch.setenv("TIGHTROPE_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(MissingDataError, match=rf"{file}\.pt.*TIGHTROPE_DATA"):
        zoo.get(name)
    assert not zoo.available(name)
    wanted = Architecture.parse(architecture, shape)
    tensors = wanted.initial(torch.Generator().manual_seed(0))
    monkeypatch.setattr(datasets, "_mismatch", lambda path, entry: None)  # it is not the published file
    parts = dict(zip([f"layers.{i}.{part}" for i in range(2, 20, 2) for part in ("weight", "bias")], tensors,
                     strict=False))  # fmt: skip
    colours = datasets.NORMALISATIONS[name.split("/")[1].split("-")[0]]
    for part, values in (("mean", colours.mean), ("sigma", colours.std)):
        parts[f"layers.0.{part}"] = torch.tensor(np.ravel(values), dtype=torch.float32).reshape(1, -1, 1, 1)
    path.parent.mkdir(parents=True)
    torch.save(parts, path)
    entry = zoo.get(name)
    assert entry.network.sizes == wanted.sizes and entry.dataset == name.split("/")[1].split("-")[0]
    x = np.random.default_rng(0).random((2, wanted.sizes[0]))
    np.testing.assert_allclose(entry.network.logits(x), wanted.network(tensors).logits(x), rtol=1e-12)
    torch.save(parts | {"layers.0.mean": torch.tensor([0.5])}, path)
    with pytest.raises(CorruptDataError, match="it normalises with"):
        zoo.get(name)


def test_a_path_is_a_name_too(tmp_path):
    """A file of the user has no data set."""
    network = zoo.get("digits/mondeq-16").network
    network.to_npz(tmp_path / "mine.npz")
    entry = zoo.get(str(tmp_path / "mine.npz"))
    assert entry.dataset is None and entry.network.sha256() == network.sha256()


def test_unknown_names_and_damaged_files(tmp_path):
    """Close names are offered; files say what is wrong."""
    with pytest.raises(UnknownNameError, match="Did you mean 'digits/mondeq-32'"):
        zoo.get("digits/mondeq-33")
    with pytest.raises(MissingDataError):
        zoo.get(str(tmp_path / "absent.npz"))
    (tmp_path / "bad.npz").write_bytes(b"not a zip file")
    with pytest.raises(CorruptDataError):
        zoo.get(str(tmp_path / "bad.npz"))


@pytest.mark.published
def test_published_entry():
    """The paper's network, with the m that its file does not state."""
    entry = zoo.get("chen2021-mondeq/mnist-87")
    assert (entry.network.m, entry.dataset, entry.network.width) == (20.0, "mnist", 87)
    x = np.zeros(784)
    assert entry.network.equilibrium(x).shape == (87,)
    assert entry.normalisation == datasets.NORMALISATIONS["mnist"]


# Test errors in per cent as printed: Table 1 of salman2019-barrier (sdp-nn is its ADV-MLP-A); 100 minus the accuracy
# at epsilon 0.3 of Tables 8 and 9 of jovanovic2022-paradox, which round to one digit (84.95 is printed as 84.9).
MLP_B = {"adv-mlp-b-0.03": 1.53, "adv-mlp-b-0.05": 1.62, "adv-mlp-b-0.1": 3.33, "nor-mlp-b": 2.05,
         "lpd-mlp-b-0.1": 4.09, "lpd-mlp-b-0.2": 15.72, "lpd-mlp-b-0.3": 39.22, "lpd-mlp-b-0.4": 67.97}  # fmt: skip
ACCURACY = {"fc-box": 88.7, "fc-hbox": 89.2, "fc-crown-ibp-r": 92.2, "fc-deepz": 87.4, "fc-crown": 84.9,
            "fc-crown-ibp": 90.8, "conv-box": 95.9, "conv-hbox": 95.1, "conv-crown-ibp-r": 93.4, "conv-deepz": 92.5,
            "conv-crown": 92.6, "conv-crown-ibp": 94.8}  # fmt: skip
PRINTED = {"chen2020-lipschitz/sdp-nn": (4.18, 0.001)}
PRINTED |= {f"salman2019-barrier/{name}": (error, 0.001) for name, error in MLP_B.items()}
PRINTED |= {f"jovanovic2022-paradox/{name}": (100 - accuracy, 0.051) for name, accuracy in ACCURACY.items()}


def error_percent(name: str, images: int) -> float:
    """Per cent of the first test images that the network labels wrongly, with the input that its entry states."""
    if not zoo.available(name):
        pytest.skip(f"not on this machine: {name}; run `make data` or set TIGHTROPE_DATA")
    entry = zoo.get(name)
    data = datasets.load(entry.dataset)
    predicted = entry.network.predict(entry.normalisation.to_input(data.images[:images]))
    return 100 * float(np.mean(predicted != data.labels[:images]))


@pytest.mark.published
@pytest.mark.parametrize("name", PRINTED)
def test_clean_accuracy_is_the_printed_one(name):
    """All 10,000 test images; the exact count where two digits are printed."""
    printed, tolerance = PRINTED[name]
    assert error_percent(name, 10_000) == pytest.approx(printed, abs=tolerance)


@pytest.mark.published
@pytest.mark.parametrize("name", [name for name in zoo.names() if "cnn" in name or "mlp-9" in name])
def test_networks_of_figure_3(name):
    """Their errors are not printed; a wrong stride, padding or normalisation would show."""
    images, most = (9_886, 60) if "cifar10" in name else (1_000, 8 if "mlp" in name else 3)
    assert error_percent(name, images) < most


@pytest.mark.published
def test_networks_that_are_published_twice():
    """MLP 2x100 of experiment 2 is MLP-B of experiment 1, trained naturally and with LP at 0.1."""
    for twin, name in (("nor-mlp-2-100", "nor-mlp-b"), ("lpd-mlp-2-100", "lpd-mlp-b-0.1")):
        if not zoo.available(f"salman2019-barrier/{name}"):
            pytest.skip("not on this machine: salman2019-barrier; run `make data` or set TIGHTROPE_DATA")
        pair = [zoo.get(f"salman2019-barrier/{one}").network.sha256() for one in (twin, name)]
        assert pair[0] == pair[1]


ELSEWHERE = "data/models/elsewhere"


def test_a_network_is_loaded_by_its_name_or_from_its_file():
    """As `tightrope.load`: what has no ending is meant as a name."""
    assert zoo.load("digits/mondeq-16").sha256() == zoo.get("digits/mondeq-16").network.sha256()
    assert zoo.load(paths.ROOT / ELSEWHERE / "digits-mlp.pt", activation="relu").sizes == (64, 32, 10)
    with pytest.raises(UnknownNameError, match="Did you mean 'digits/mondeq"):
        zoo.load("digits/mondq")
    with pytest.raises(UnknownNameError, match="file type"):
        zoo.load("network.txt")
    with pytest.raises(UnknownNameError, match=r"file type '\.md'"):
        zoo.get(str(paths.ROOT / "README.md"))


def test_own_networks_from_files_and_objects(tmp_path, monkeypatch):
    """A path in the repository from any directory, a path of the working directory, a network; its input as stated."""
    monkeypatch.chdir(tmp_path)
    entry = zoo.own(f"{ELSEWHERE}/digits-mlp.pt", "digits", "none")
    assert entry.dataset == "digits" and entry.normalisation is zoo.PIXELS and entry.network.sizes == (64, 32, 10)
    entry.network.to_npz("mine.npz")
    again = zoo.own("mine.npz", "digits", "0.5,0.25")
    assert again.network.sha256() == entry.network.sha256() and again.normalisation.std == 0.25
    assert zoo.own(entry.network, "digits").normalisation == datasets.NORMALISATIONS["digits"]


def test_own_networks_that_do_not_fit():
    """Each argument has its message."""
    three = FeedForward.dense([np.eye(3)], [np.zeros(3)], "three")
    with pytest.raises(InputError, match="network 'three' takes 3 pixels, digits has 64"):
        zoo.own(three, "digits")
    with pytest.raises(UnknownNameError, match="data set"):
        zoo.own(f"{ELSEWHERE}/digits-mlp.pt", "digit")
    with pytest.raises(InputError, match="expected MEAN,STD such as"):
        zoo.own(f"{ELSEWHERE}/digits-mlp.pt", "digits", "imagenet")
    with pytest.raises(InputError, match="std > 0"):
        zoo.own(f"{ELSEWHERE}/digits-mlp.pt", "digits", "0.1,0")
    with pytest.raises(MissingDataError, match="no file"):
        zoo.own("absent.pt", "digits")


def test_networks_made_elsewhere(tmp_path):
    """The script beside them trains such networks anew; the shipped ones have the accuracy that their page states."""
    script = paths.ROOT / ELSEWHERE / "train.py"
    spec = importlib.util.spec_from_file_location("train_elsewhere", script)
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    torch.manual_seed(0)
    module = train.mlp()
    assert train.train(module, epochs=8) > 0.9
    torch.save(module.state_dict(), tmp_path / "again.pt")
    fresh, entry = (zoo.own(f, "digits", "none") for f in (tmp_path / "again.pt", f"{ELSEWHERE}/digits-mlp.pt"))
    assert fresh.network.sizes == entry.network.sizes
    x, y = train.images(test=True)
    assert (fresh.network.predict(x.flatten(1).double().numpy()) == y.numpy()).mean() > 0.9
    data = datasets.load("digits")
    assert round(1000 * (entry.network.predict(data.images) == data.labels).mean()) == 964


def test_convolutional_network_made_elsewhere():
    """From ONNX, normalising inside."""
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'tightrope[onnx]'")
    entry, data = zoo.own(f"{ELSEWHERE}/digits-cnn.onnx", "digits", "none"), datasets.load("digits")
    assert round(1000 * (entry.network.predict(data.images) == data.labels).mean()) == 978
