"""FashionMNIST, SVHN and CIFAR-10 from files made here in their published formats; missing and damaged ones by name."""

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
import scipy.io

from tightrope import datasets, image_files
from tightrope.errors import CorruptDataError, InputError, MissingDataError, RegionError
from tightrope.networks import FeedForward
from tightrope.training import Configuration, Schedule, train
from tightrope.training.printed import train_printed

COUNT = 7


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def cifar(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    return np.column_stack([labels, pixels.reshape(len(labels), -1)]).astype(np.uint8).tobytes()


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def given(tmp_path, monkeypatch):
    """TIGHTROPE_DATA with seven images of each set; (height, width) = (row, column) of a colour image is visible."""
    rng = np.random.default_rng(0)
    monkeypatch.setenv("TIGHTROPE_DATA", str(tmp_path))
    monkeypatch.setattr(image_files, "SETS", {name: {"train": COUNT, "test": COUNT} for name in ("svhn", "cifar10")})
    monkeypatch.setattr(datasets, "_mismatch", lambda path, entry: None)  # FashionMNIST's are made up too
    labels = np.array([3, 0, 9, 1, 0, 5, 2], dtype=np.uint8)
    grey = rng.integers(0, 256, (COUNT, 28, 28), dtype=np.uint8)
    colour = rng.integers(0, 256, (COUNT, 3, 32, 32), dtype=np.uint8)
    for name in ("fashionmnist", "svhn", "cifar10"):
        (tmp_path / name).mkdir()
    for prefix in ("train", "t10k"):
        (tmp_path / f"fashionmnist/{prefix}-images-idx3-ubyte.gz").write_bytes(idx(grey))
        (tmp_path / f"fashionmnist/{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    for split in ("train", "test"):
        published = {"X": colour.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None]}
        scipy.io.savemat(tmp_path / f"svhn/{split}_32x32.mat", published)
    parts = zip(np.split(colour, [1, 3, 4, 6]), np.split(labels, [1, 3, 4, 6]), strict=True)
    members = {f"cifar-10-batches-bin/data_batch_{i}.bin": cifar(*part) for i, part in enumerate(parts, 1)}
    members["cifar-10-batches-bin/test_batch.bin"] = cifar(colour, labels)
    (tmp_path / "cifar10/cifar-10-binary.tar.gz").write_bytes(archive(members))
    return tmp_path, labels, {"fashionmnist": grey, "svhn": colour, "cifar10": colour}, members


@pytest.mark.parametrize("name", ["fashionmnist", "svhn", "cifar10"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_sets_are_read_as_they_are_published(given, name, split):
    _, labels, pixels, _ = given
    assert datasets.on_this_machine(name, split)
    data = datasets.load(name, split)
    assert data.labels.tolist() == labels.tolist() and len(data) == COUNT
    assert data.shape == ((28, 28) if name == "fashionmnist" else (3, 32, 32))
    np.testing.assert_allclose(data.images, pixels[name].reshape(COUNT, -1) / 255, rtol=1e-15)


def test_cifar10_unpacked_is_the_same(given):
    folder, _, _, members = given
    packed = datasets.load("cifar10", "train")
    (folder / "cifar10/cifar-10-binary.tar.gz").unlink()
    assert not datasets.on_this_machine("cifar10", "train")
    for name, content in members.items():
        (folder / "cifar10" / name).parent.mkdir(exist_ok=True)
        (folder / "cifar10" / name).write_bytes(content)
    assert datasets.on_this_machine("cifar10", "train")
    np.testing.assert_array_equal(datasets.load("cifar10", "train").images, packed.images)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("svhn", "test_32x32.mat"),
        ("cifar10", "cifar-10-binary.tar.gz"),
    ],
)
def test_missing_and_truncated_files_are_named(given, monkeypatch, name, file):
    path = given[0] / name / file
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptDataError, match=file):
        datasets.load(name)
    path.unlink()
    with pytest.raises(MissingDataError, match=rf"{name} is missing: put .*{file}.* into {given[0] / name}"):
        datasets.load(name)
    monkeypatch.delenv("TIGHTROPE_DATA")
    assert not datasets.on_this_machine(name)
    with pytest.raises(MissingDataError, match="the folder that TIGHTROPE_DATA names"):
        datasets.load(name)


def test_a_set_with_too_few_images_is_refused(given, monkeypatch):
    monkeypatch.setattr(image_files, "SETS", {"svhn": {"test": COUNT + 1}, "cifar10": {"test": COUNT + 1}})
    for name in image_files.SETS:
        with pytest.raises(CorruptDataError, match=f"expected {COUNT + 1} images"):
            datasets.load(name)


def test_labels_and_records_that_cannot_be_are_refused(given):
    folder, labels, pixels, members = given
    batch, packed = "cifar-10-batches-bin/test_batch.bin", folder / "cifar10/cifar-10-binary.tar.gz"
    packed.write_bytes(archive({batch: members[batch][:-1]}))
    with pytest.raises(CorruptDataError, match=r"test_batch\.bin: .* no whole number of images"):
        datasets.load("cifar10")
    packed.write_bytes(archive({batch: b"\x0b" + members[batch][1:]}))
    with pytest.raises(CorruptDataError, match="image 0 has the label 11"):
        datasets.load("cifar10")
    packed.write_bytes(archive({"cifar-10-batches-py/test_batch": b""}))
    with pytest.raises(CorruptDataError, match=r"holds no cifar-10-batches-bin/test_batch\.bin"):
        datasets.load("cifar10")
    scipy.io.savemat(folder / "svhn/test_32x32.mat", {"X": pixels["svhn"], "y": labels})
    with pytest.raises(CorruptDataError, match=r"expected uint8 \(32, 32, 3, N\)"):
        datasets.load("svhn")
    scipy.io.savemat(folder / "svhn/test_32x32.mat", {"digits": labels})
    with pytest.raises(CorruptDataError, match="no matrix 'X'"):
        datasets.load("svhn")


def test_colour_channels_have_their_own_normalisation(given):
    data = datasets.load("cifar10")
    x = data.normalisation.to_input(data.images)
    images = data.images.reshape(COUNT, 3, 1024)
    expected = (images - np.array([[0.4914], [0.4822], [0.4465]])) / np.array([[0.2023], [0.1994], [0.2010]])
    np.testing.assert_allclose(x, expected.reshape(COUNT, -1), rtol=1e-13)
    np.testing.assert_allclose(data.normalisation.to_pixels(x), data.images, atol=1e-14)
    np.testing.assert_allclose(data.normalisation.steps_to_input(0.1, 6), np.repeat(0.1 / np.array(
        [0.2023, 0.1994, 0.2010]), 2))  # fmt: skip
    with pytest.raises(RegionError, match="channels have their own std"):
        data.normalisation.radius_to_input(0.1)
    with pytest.raises(InputError, match="64 pixels are not 3 channels"):
        data.normalisation.to_input(np.zeros(64))


@pytest.mark.parametrize("method", ["pgd", "box"])
def test_colour_images_train(given, method):
    """A convolution on three channels, in normalised units: the attack and the boxes are in pixel units."""
    data = datasets.load("cifar10", "train")
    schedule = Schedule(epochs=3, epsilon=2 / 255, learning_rates="constant")
    configuration = Configuration("CONV 2 4x4+4, FC 10", method, schedule, batch_size=4, attack_steps=2)
    found = train(configuration, data, device="cpu")
    assert found.network.input_size == 3072 and found.losses[-1] < found.losses[0]


def test_a_printed_configuration_trains_on_files_of_the_user(given, tmp_path):
    """Two epochs, stopped and continued; its schedule is the printed one."""
    losses = []
    arguments = ("fashionmnist", "FC", 0.3, "box", tmp_path / "network.npz")
    for epochs in (1, 2):
        found = train_printed(*arguments, until=epochs, progress=lambda epoch, loss: losses.append(loss))
    assert found.losses == tuple(losses) and len(losses) == 2 and found.configuration.schedule.epochs == 200
    assert FeedForward.from_npz(tmp_path / "network.npz").sizes == (784, 400, 200, 100, 100, 10)
    assert (tmp_path / "network.pt").is_file()


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (np.full((2, 4, 5), 51, np.uint8), (4, 5)),
        (np.full((2, 4, 5, 3), 51, np.uint8), (3, 4, 5)),
        (np.full((2, 3, 4, 5), 0.2), (3, 4, 5)),
        (np.full((2, 4, 5, 1), 0.2), (4, 5)),
        (np.full((2, 7), 0.2), (1, 7)),
    ],
)
def test_an_npz_file_is_a_data_set(tmp_path, monkeypatch, images, shape):
    """By its path, or by its name below TIGHTROPE_DATA; bytes are pixels times 255, channels may come last."""
    np.savez(tmp_path / "mine.npz", images=images, labels=np.array([1, 0]))
    data = datasets.load(str(tmp_path / "mine.npz"))
    assert data.shape == shape and data.labels.tolist() == [1, 0]
    np.testing.assert_allclose(data.images, 0.2)
    np.testing.assert_array_equal(data.normalisation.to_input(data.image(1)), data.image(1))
    monkeypatch.setenv("TIGHTROPE_DATA", str(tmp_path))
    assert datasets.load("mine.npz").sha256 == data.sha256


def test_part_of_cifar10_may_be_an_npz_file(given):
    folder, labels, pixels, _ = given
    (folder / "cifar10/cifar-10-binary.tar.gz").unlink()
    part = pixels["cifar10"][:3].transpose(0, 2, 3, 1)
    np.savez(folder / "cifar10/test-3.npz", images=part, labels=labels[:3])
    assert datasets.on_this_machine("cifar10") and not datasets.on_this_machine("cifar10", "train")
    data = datasets.load("cifar10")
    np.testing.assert_allclose(data.images, pixels["cifar10"][:3].reshape(3, -1) / 255)
    assert data.labels.tolist() == labels[:3].tolist() and data.normalisation == datasets.NORMALISATIONS["cifar10"]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((2, 4))}, "expected the arrays images and labels"),
        ({"images": np.zeros((2, 4)), "labels": np.zeros(3, int)}, "do not fit"),
        ({"images": np.zeros((2, 4)), "labels": np.zeros(2)}, "do not fit"),
        ({"images": np.array([None, 1]), "labels": np.zeros(2, int)}, "cannot be read"),
    ],
)
def test_npz_files_that_are_none_are_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(CorruptDataError, match=words):
        datasets.load(str(tmp_path / "bad.npz"))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(CorruptDataError, match="cannot be read"):
        datasets.load(str(tmp_path / "bad.npz"))
    with pytest.raises(MissingDataError, match=r"there is no file absent\.npz"):
        datasets.load("absent.npz")
