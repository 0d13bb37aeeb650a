"""Data sets, their normalisation, and files by SHA-256: found, missing, truncated, altered."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightrope import datasets, image_files, paths
from tightrope.datasets import Dataset, Normalisation
from tightrope.errors import CorruptDataError, InputError, MissingDataError, RegionError, UnknownNameError
from tightrope.files import read_json

CONTENT = b"weights" * 1000
FILE = "paper/net.mat"
PACKED = "mnist/t10k-images-idx3-ubyte.gz"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def idx(array: np.ndarray) -> bytes:
    """Pack unsigned bytes in the IDX format."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(path, content: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A registry of one plain file, with an empty TIGHTROPE_DATA folder and an empty cache."""
    entry = datasets.RegistryEntry(FILE, sha256(CONTENT), len(CONTENT), ("https://example.org/net.mat",))
    monkeypatch.setattr(datasets, "registry", lambda: {FILE: entry})
    monkeypatch.setattr(datasets, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("TIGHTROPE_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def download(monkeypatch):
    """Allow downloads, served from the returned dictionary (address -> content) instead of the network."""
    served, asked = {}, []

    class Downloader:
        def __init__(self, **options):
            assert options["timeout"]

        def __call__(self, url, output_file, pooch):
            asked.append(url)
            if url not in served:
                raise ConnectionError("no route")
            with open(output_file, "wb") as stream:
                stream.write(served[url])

    monkeypatch.setattr("pooch.HTTPDownloader", Downloader)
    monkeypatch.delenv("TIGHTROPE_OFFLINE")
    served["asked"] = asked
    return served


# ------------------------------------------------------------------------------------------ normalisation


@given(st.floats(-1, 1), st.floats(0.01, 10), st.floats(0, 1))
def test_normalisation_goes_there_and_back(mean, std, pixel):
    """Pixels survive the round trip."""
    normalisation = Normalisation(mean, std)
    assert normalisation.to_pixels(normalisation.to_input(np.array([pixel]))) == pytest.approx(pixel, abs=1e-12)


def test_radius_is_the_distance_of_normalised_points():
    """Two pixels epsilon apart are radius_to_input(epsilon) apart as input."""
    normalisation = Normalisation(0.1307, 0.3081)
    low, high = normalisation.to_input(np.array([0.2, 0.25]))
    assert normalisation.radius_to_input(0.05) == pytest.approx(high - low, rel=1e-12)
    assert normalisation.radius_to_input(0.05) == pytest.approx(0.162285, abs=1e-6)


@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), float("inf")])
def test_radius_must_be_a_number(epsilon):
    """Negative, infinite and NaN radii are refused by name."""
    with pytest.raises(RegionError, match="epsilon_pixel"):
        Normalisation(0.0, 1.0).radius_to_input(epsilon)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_normalisation_needs_a_positive_std(std):
    """A std that cannot be divided by is refused."""
    with pytest.raises(InputError, match="std > 0"):
        Normalisation(0.0, std)


# ------------------------------------------------------------------------------------------ data sets


def test_digits_splits_are_disjoint_and_complete():
    """360 test and 1437 training images, every fifth of scikit-learn's for testing."""
    from sklearn.datasets import load_digits

    test, train = datasets.load("digits"), datasets.load("digits", "train")
    assert (len(test), len(train)) == (360, 1437)
    assert test.images.shape == (360, 64) and test.shape == (8, 8)
    everything = load_digits()
    np.testing.assert_array_equal(test.image(1), everything.data[5] / 16)
    np.testing.assert_array_equal(train.images[:4], everything.data[1:5] / 16)
    assert test.label(1) == everything.target[5]
    assert set(test.labels) == set(train.labels) == set(range(10))


def test_digits_are_the_same_where_only_scikit_learn_knows_its_file(monkeypatch):
    """The file that is read without importing scikit-learn holds what scikit-learn loads."""
    direct = datasets._digits_file()
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    loaded = datasets._digits_file()
    np.testing.assert_array_equal(direct, loaded)
    assert direct.shape == (1797, 65)


def test_digits_constants_are_those_of_the_training_split():
    """The constants in the code are the mean and the standard deviation, to four digits."""
    train = datasets.load("digits", "train")
    assert train.normalisation.mean == pytest.approx(train.images.mean(), abs=5e-5)
    assert train.normalisation.std == pytest.approx(train.images.std(), abs=5e-5)


def test_unknown_names_list_the_known_ones():
    """Unknown data set, split and file."""
    with pytest.raises(UnknownNameError, match=r"Did you mean 'mnist'.*Known: .*digits.*mnist"):
        datasets.load("mnits")
    with pytest.raises(UnknownNameError, match="Known: test, train"):
        datasets.load("digits", "validation")
    with pytest.raises(UnknownNameError, match="deq_MNIST") as caught:
        datasets.fetch("chen2021-mondeq/deq_MNIST_SingleFcNet_m=2.mat")
    assert len(str(caught.value)) < 1000
    with pytest.raises(UnknownNameError):
        datasets.available("nothing")


@pytest.mark.parametrize("index", [-1, 360, 0.5, "0", None])
def test_image_index_out_of_range(index):
    """Images count from 0; a negative number does not count from the end."""
    with pytest.raises(InputError, match="image index"):
        datasets.load("digits").image(index)


def test_dataset_is_checked_and_read_only():
    """Wrong shapes, pixels out of range and NaN are refused; arrays are copies that nobody can change."""
    pixels = np.full((2, 4), 0.5)
    built = Dataset("tiny", pixels, np.array([0, 1]), (2, 2), Normalisation(0, 1))
    pixels[:] = 0
    assert built.image(0).min() == 0.5 and built.images.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        built.image(0)[0] = 1.0
    with pytest.raises(InputError, match="got"):
        Dataset("tiny", pixels, np.array([0]), (2, 2), Normalisation(0, 1))
    for bad in (255.0, -0.1, np.nan):
        with pytest.raises(InputError, match="pixels must lie in"):
            Dataset("tiny", pixels + bad, np.array([0, 1]), (2, 2), Normalisation(0, 1))


def test_mnist_from_idx_files(tmp_path, monkeypatch):
    """Two images of 2 x 3 pixels, read through the registry's names, row by row, as fractions of 255."""
    pixels = np.array([[[0, 51, 102], [153, 204, 255]], [[255, 0, 0], [0, 0, 255]]], dtype=np.uint8)
    write(tmp_path / PACKED, gzip.compress(idx(pixels)))
    write(tmp_path / "mnist/t10k-labels-idx1-ubyte.gz", gzip.compress(idx(np.array([3, 7], dtype=np.uint8))))
    monkeypatch.setattr(datasets, "fetch", lambda file: tmp_path / file)
    read = datasets.load("mnist")
    assert read.shape == (2, 3) and read.labels.tolist() == [3, 7]
    np.testing.assert_allclose(read.image(0), [0, 0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-15)
    assert (read.normalisation.mean, read.normalisation.std) == (0.1307, 0.3081)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG....", "not an IDX file"),
        (b"\x00\x00\x08\x03\x00\x00", "not an IDX file"),
        (idx(np.zeros((2, 3), dtype=np.uint8))[:-1], r"shape \(2, 3\) needs 6 bytes, the file has 5"),
        (idx(np.zeros(2, dtype=np.uint8)) + b"!", r"shape \(2,\) needs 2 bytes, the file has 3"),
    ],
)
def test_what_is_not_idx_is_named(tmp_path, content, message):
    """Empty, foreign, cut and overlong files, plain or gzipped."""
    with pytest.raises(CorruptDataError, match=message):
        image_files.read_idx(write(tmp_path / "plain", content))
    with pytest.raises(CorruptDataError, match=message):
        image_files.read_idx(write(tmp_path / "packed.gz", gzip.compress(content)))


def test_truncated_gzip_is_named(tmp_path):
    """A gzip file that ends early."""
    packed = gzip.compress(idx(np.arange(250, dtype=np.uint8)))
    with pytest.raises(CorruptDataError, match="not a whole gzip file"):
        image_files.read_idx(write(tmp_path / "cut.gz", packed[:-20]))


@pytest.mark.published(PACKED, "mnist/t10k-labels-idx1-ubyte.gz")
def test_published_mnist():
    """The real test split: its size, first labels and mean grey value."""
    mnist = datasets.load("mnist")
    assert mnist.images.shape == (10000, 784)
    assert mnist.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist.images.mean() == pytest.approx(0.1325, abs=1e-4)


# ------------------------------------------------------------------------------------------ files


def test_registry_is_complete():
    """490 files, each with a SHA-256, a size, a licence and an address at a fixed commit."""
    registry = datasets.registry()
    assert len(registry) == 490
    assert all(source["licence"] for source in read_json(paths.DATA / "registry.json"))
    for file, entry in registry.items():
        assert entry.file == file
        assert len(bytes.fromhex(entry.sha256)) == 32 and entry.bytes > 0
        assert all(url.startswith("https://") and " " not in url for url in entry.urls)
    network = registry["chen2021-mondeq/deq_MNIST_SingleFcNet_m=20.mat"]
    assert network.urls == (
        "https://raw.githubusercontent.com/NeurIPS2021Paper4075/SemiMonDEQ/"
        "5ecc1afdc37a7ff312fe33fd8ee6a1480131b625/deq_MNIST_SingleFcNet_m%3D20.mat",
    )
    assert len(registry[PACKED].urls) == 2 and registry[PACKED].packed
    folder = registry["chen2020-lipschitz/sdp-nn/W1.npy"].urls[0]
    assert folder.endswith("/MIPVerify_data/weights/mnist/RSL18a/linf0.1/W1.npy")


def test_data_folder_comes_first(files):
    """TIGHTROPE_DATA before the cache, the cache when the folder lacks the file."""
    assert not datasets.available(FILE)
    cached = write(files / "cache" / FILE, CONTENT)
    assert datasets.available(FILE) and datasets.fetch(FILE) == cached
    given = write(files / "data" / FILE, CONTENT)
    assert datasets.fetch(FILE) == given


@pytest.mark.parametrize("content", [CONTENT[:-1], b"", CONTENT.replace(b"w", b"W")])
@pytest.mark.parametrize("folder", ["data", "cache"])
def test_altered_file_is_named(files, folder, content):
    """A truncated, empty or altered file: which one, expected and found SHA-256, what to run."""
    path = write(files / folder / FILE, content)
    with pytest.raises(CorruptDataError, match="make data") as caught:
        datasets.fetch(FILE)
    for part in (
        str(path),
        sha256(CONTENT),
        sha256(content),
        f"({len(content)} bytes, {len(CONTENT)} expected)",
    ):
        assert part in str(caught.value)


def test_altered_file_in_the_data_folder_is_not_skipped(files):
    """A good copy in the cache does not hide a bad one in the folder that the user named."""
    write(files / "data" / FILE, b"altered")
    write(files / "cache" / FILE, CONTENT)
    with pytest.raises(CorruptDataError, match="unset TIGHTROPE_DATA"):
        datasets.fetch(FILE)


def test_missing_file_is_named(files, monkeypatch):
    """Where it was looked for, the SHA-256 to look for, what to run, and that nothing was downloaded."""
    with pytest.raises(MissingDataError, match="TIGHTROPE_OFFLINE is set") as caught:
        datasets.fetch(FILE)
    for part in (
        FILE,
        str(files / "data"),
        str(files / "cache"),
        "make data",
        "TIGHTROPE_DATA",
        sha256(CONTENT),
    ):
        assert part in str(caught.value)
    monkeypatch.delenv("TIGHTROPE_DATA")
    with pytest.raises(MissingDataError, match=r"looked in [^ ]*cache"):
        datasets.fetch(FILE)


def test_download_fills_the_cache(files, download):
    """Fetched once, checked, then found in the cache."""
    download["https://example.org/net.mat"] = CONTENT
    assert datasets.fetch(FILE) == datasets.fetch(FILE) == files / "cache" / FILE
    assert download["asked"] == ["https://example.org/net.mat"]
    assert [path.name for path in (files / "cache" / "paper").iterdir()] == ["net.mat"]


def test_download_replaces_an_altered_cache(files, download):
    """What is wrong in the cache is fetched again, unless the network is gone too."""
    write(files / "cache" / FILE, b"cut")
    with pytest.raises(CorruptDataError, match="no route"):
        datasets.fetch(FILE)
    download["https://example.org/net.mat"] = CONTENT
    assert datasets.fetch(FILE).read_bytes() == CONTENT


def test_altered_download_is_not_kept(files, download):
    """An address that serves something else: an error, and nothing stays in the cache."""
    download["https://example.org/net.mat"] = b"<html>404</html>"
    with pytest.raises(MissingDataError, match=sha256(b"<html>404</html>")):
        datasets.fetch(FILE)
    assert not list((files / "cache" / "paper").iterdir())


def test_packed_files_are_known_by_their_content(files, download, monkeypatch):
    """Another gzip file of the same content is as good; other content, or half a gzip file, is not."""
    entry = datasets.RegistryEntry(PACKED, sha256(CONTENT), 1, ("https://a.org/", "https://b.org/"), packed=True)
    monkeypatch.setattr(datasets, "registry", lambda: {PACKED: entry})
    given = files / "data" / PACKED
    for level in (1, 9):
        write(given, gzip.compress(CONTENT, level))
        assert datasets.fetch(PACKED) == given
    with pytest.raises(CorruptDataError, match=rf"unpacked content {sha256(CONTENT)}, found {sha256(b'other')}"):
        datasets.fetch(write(given, gzip.compress(b"other")) and PACKED)
    for bad in (gzip.compress(CONTENT)[:-9], b"not gzip", b""):
        write(given, bad)
        with pytest.raises(CorruptDataError, match="found"):
            datasets.fetch(PACKED)
    given.unlink()
    download["https://a.org/"] = gzip.compress(b"other")
    download["https://b.org/"] = gzip.compress(CONTENT)
    assert gzip.decompress(datasets.fetch(PACKED).read_bytes()) == CONTENT
    assert download["asked"] == ["https://a.org/", "https://b.org/"]
