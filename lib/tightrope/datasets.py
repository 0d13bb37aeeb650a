"""Data sets, the files behind them, and the one place where pixels become network input.

Files are known by SHA-256 (data/registry.json; provenance in data/README.md). :func:`fetch` looks in the
folder named by the environment variable TIGHTROPE_DATA, then in the user's cache, then downloads;
TIGHTROPE_OFFLINE=1 forbids the last step. Pixels are in [0, 1] everywhere; images are flattened row by row.
"""

import gzip
import hashlib
import math
import operator
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import cast
from urllib.parse import quote

import numpy as np

from tightrope import files, image_files, paths
from tightrope.errors import CorruptDataError, InputError, MissingDataError, RegionError, UnknownNameError

DATA_VARIABLE = "TIGHTROPE_DATA"
OFFLINE_VARIABLE = "TIGHTROPE_OFFLINE"
#: The folder of the user, in words; a path below it is that of no file.
GIVEN = f"the folder that {DATA_VARIABLE} names"
#: Sets of the registry in MNIST's format.
IDX_SETS = ("mnist", "fashionmnist")


# ---------------------------------------------------------------------------------------------- normalisation


@dataclass(frozen=True)
class Normalisation:
    """The affine map from pixels in [0, 1] to network input, ``x = (pixels - mean) / std``.

    `mean` and `std` are numbers, or tuples with one for each colour channel; the pixels (..., p0) of a channel are then
    one after the other.
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]

    def __post_init__(self) -> None:
        mean, std = np.ravel(self.mean), np.ravel(self.std)
        if len(mean) != len(std) or not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise InputError(f"normalisation needs a finite mean and std > 0, got {self.mean} and {self.std}")

    def of(self, size: int) -> tuple[float | np.ndarray, float | np.ndarray]:
        """Return mean and std for images of p0 = size pixels: numbers, or arrays (p0,) where channels differ."""
        if not isinstance(self.mean, tuple):
            return cast(float, self.mean), cast(float, self.std)
        if size % len(self.mean):
            raise InputError(f"{size} pixels are not {len(self.mean)} channels")
        repeats = size // len(self.mean)
        return np.repeat(self.mean, repeats), np.repeat(self.std, repeats)

    def to_input(self, pixels: np.ndarray) -> np.ndarray:
        """Map pixels (any shape) to network input (same shape)."""
        pixels = np.asarray(pixels, dtype=np.float64)
        mean, std = self.of(np.shape(pixels)[-1] if pixels.ndim else 1)
        return (pixels - mean) / std

    def to_pixels(self, x: np.ndarray) -> np.ndarray:
        """Map network input (any shape) to pixels (same shape); no clipping."""
        x = np.asarray(x, dtype=np.float64)
        mean, std = self.of(np.shape(x)[-1] if x.ndim else 1)
        return x * std + mean

    def radius_to_input(self, epsilon_pixel: float) -> float:
        """Convert a radius in pixel units, in any norm, to network-input units."""
        if isinstance(self.std, tuple) and len(set(self.std)) > 1:
            raise RegionError("a ball in pixel units is none in network-input units where channels have their own std")
        return float(np.ravel(self.steps_to_input(epsilon_pixel, len(np.ravel(self.std))))[0])

    def steps_to_input(self, epsilon_pixel: float, size: int) -> float | np.ndarray:
        """Convert the length of a step along each of p0 = size pixels to network-input units: a number, or (p0,)."""
        radius = float(epsilon_pixel)
        if not (math.isfinite(radius) and radius >= 0):
            raise RegionError(f"epsilon_pixel: expected a finite number >= 0, got {epsilon_pixel!r}")
        return radius / self.of(size)[1]


#: By data set. Networks of the zoo may take other input: see :class:`tightrope.zoo.Entry`.
NORMALISATIONS: Mapping[str, Normalisation] = {
    # Mean and standard deviation of the pixels of the training split, to four digits.
    "digits": Normalisation(mean=0.3052, std=0.3763),
    # The constants that MNIST networks are usually trained with.
    "mnist": Normalisation(mean=0.1307, std=0.3081),
    # Those of the published networks of jovanovic2022-paradox; for FashionMNIST they are MNIST's.
    "fashionmnist": Normalisation(mean=0.1307, std=0.3081),
    "svhn": Normalisation(mean=(0.4377, 0.4438, 0.4728), std=(0.1980, 0.2011, 0.1970)),
    "cifar10": Normalisation(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
}


# ---------------------------------------------------------------------------------------------- data sets


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels, both read-only.

    The pixels, in [0, 1], are (N, p0) float64, flattened row by row; the labels (N,) int64 are classes, counted from 0.
    `shape` is height and width, p0 = height * width, with channels before them where there are several;
    `normalisation` is what the networks trained on this set expect.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    shape: tuple[int, ...]
    normalisation: Normalisation

    def __post_init__(self) -> None:
        images = np.array(self.images, dtype=np.float64)
        labels = np.array(self.labels, dtype=np.int64)
        size = math.prod(self.shape)
        if images.ndim != 2 or images.shape[1] != size or labels.shape != images.shape[:1]:
            expected = f"images (N, {size}) and labels (N,)"
            raise InputError(f"data set {self.name!r}: expected {expected}, got {images.shape} and {labels.shape}")
        if not (np.all(images >= 0) and np.all(images <= 1)):  # also refuses NaN
            raise InputError(f"data set {self.name!r}: pixels must lie in [0, 1], as 0..255 divided by 255")
        images.flags.writeable = labels.flags.writeable = False
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> np.ndarray:
        """Return the pixels (p0,) of image ``index``, counted from 0."""
        return self.images[self._checked(index)]

    def label(self, index: int) -> int:
        """Return the class of image ``index``, both counted from 0."""
        return int(self.labels[self._checked(index)])

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the pixels, as float64, and of the labels: what a row that was computed from them rests on."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images, "<f8").tobytes())
        digest.update(np.ascontiguousarray(self.labels, "<i8").tobytes())
        return digest.hexdigest()

    def _checked(self, index: int) -> int:
        try:
            number = operator.index(index)
        except TypeError:
            raise InputError(f"image index: expected an integer, got {index!r}") from None
        if not 0 <= number < len(self):
            raise InputError(f"image index: {number} is out of range, {self.name!r} has 0 to {len(self) - 1}")
        return number


def load(name: str, split: str = "test") -> Dataset:
    """Load the "train" or "test" split of a data set: digits, mnist, fashionmnist, svhn or cifar10.

    ``digits`` (8 x 8) comes with scikit-learn; every fifth image (0, 5, 10, ... in its order, 360 in all) is for
    testing, the other 1437 are for training. ``mnist`` and ``fashionmnist`` (28 x 28) are four IDX files of the
    registry each. The others are files that a user puts into the folder TIGHTROPE_DATA, as they are published
    (data/README.md). Any other name that ends in .npz is a file with the arrays images and labels; its pixels are the
    input as they are.
    """
    if str(name).endswith(".npz"):
        path = next((path for path in (_given(name), Path(name)) if path.is_file()), None)
        if path is None:
            raise MissingDataError(f"data set: there is no file {name}, here or in {GIVEN}.")
        return Dataset(name, *image_files.read_npz(path), Normalisation(0.0, 1.0))
    if name not in NORMALISATIONS:
        raise UnknownNameError("data set", name, NORMALISATIONS)
    if split not in ("train", "test"):
        raise UnknownNameError("split", split, ("train", "test"))
    shape: tuple[int, ...] = (8, 8)
    if name == "digits":
        rows = _digits_file()
        rows = rows[(np.arange(len(rows)) % 5 == 0) == (split == "test")]
        pixels, labels = rows[:, :-1] / 16, rows[:, -1]
    elif name in IDX_SETS:
        images, labels = (image_files.read_idx(fetch(file)) for file in _idx_files(name, split))
        pixels, shape = images.reshape(len(images), -1) / 255, images.shape[1:]
    elif own := _own_files(name, split):
        pixels, labels, shape = image_files.read_npz(own[0])
    else:
        pixels, labels, shape = image_files.read_set(name, split, _given(name))
    return Dataset(name, pixels, labels, shape, NORMALISATIONS[name])


def _digits_file() -> np.ndarray:
    """scikit-learn's digits (1797, 65): pixels 0..16, label."""
    # The file alone, where it lies: importing scikit-learn, with scipy.stats, takes longer than everything
    # else that the first picture of an explorer needs.
    package = find_spec("sklearn")
    file = Path(package.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if package else Path()
    if file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])


def _idx_files(name: str, split: str) -> tuple[str, str]:
    prefix = {"train": f"{name}/train", "test": f"{name}/t10k"}[split]
    return f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz"


def _own_files(name: str, split: str) -> list[Path]:
    """The files <split>*.npz of a set that only the user can provide, for where the published ones are not."""
    folder = _given(name)
    return [] if image_files.present(name, split, folder) else sorted(folder.glob(f"{split}*.npz"))


# ---------------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class RegistryEntry:
    """One file of data/registry.json; ``bytes`` are those of the copy from which the registry was made.

    Mirrors of MNIST pack the same data differently: there ``sha256`` is of the content that is ``packed`` in the file.
    """

    file: str
    sha256: str
    bytes: int
    urls: tuple[str, ...]
    packed: bool = False

    @property
    def hashed(self) -> str:
        """What :attr:`sha256` is, in words."""
        return "SHA-256 of the unpacked content" if self.packed else "SHA-256"


@cache
def registry() -> Mapping[str, RegistryEntry]:
    """Return every known file by name, for instance ``mnist/t10k-images-idx3-ubyte.gz``."""
    entries = {}
    for source in files.read_json(paths.DATA / "registry.json"):
        raw = f"https://raw.githubusercontent.com/{source['repository']}/{source['commit']}/{source.get('path', '')}"
        for name, facts in source["files"].items():
            sha256, size, *content = facts.split()  # of the file; content: the SHA-256 of what is packed in it
            file = f"{source['folder']}/{name}"
            urls = tuple(base + quote(name) for base in source.get("mirrors", [raw]))
            entries[file] = RegistryEntry(file, (content or [sha256])[0], int(size), urls, bool(content))
    return entries


def fetch(file: str) -> Path:
    """Return the path of a registered file whose SHA-256 has been checked.

    Looked for in TIGHTROPE_DATA, then in the cache, then at its public addresses. An altered file in
    TIGHTROPE_DATA is an error (the folder is the user's); one in the cache is replaced by a fresh download.
    """
    entry, given = _entry(file), _given(file)
    if given.is_file():
        if problem := _mismatch(given, entry):
            raise CorruptDataError(f"{given}: {problem}. Replace it, or unset {DATA_VARIABLE} and run `make data`.")
        return given
    cached = cache_folder() / file
    altered = cached.is_file() and _mismatch(cached, entry)
    if (cached.is_file() and not altered) or not (failure := _download(entry, cached)):
        return cached
    remedy = (
        f"Run `make data` with a network, or set {DATA_VARIABLE} to a folder that holds {file} "
        f"({entry.hashed} {entry.sha256}). {failure}"
    )
    if altered:
        raise CorruptDataError(f"{cached}: {altered}. {remedy}")
    places = f"{given.parent} and {cached.parent}" if os.environ.get(DATA_VARIABLE) else cached.parent
    raise MissingDataError(f"data file {file!r} is missing (looked in {places}). {remedy}")


def available(file: str) -> bool:
    """Say whether a registered file is on this machine; neither downloads it nor checks its content."""
    return _given(_entry(file).file).is_file() or (cache_folder() / file).is_file()


def on_this_machine(name: str, split: str = "test") -> bool:
    """Say whether a data set can be loaded without a download."""
    if name in image_files.SETS:
        return image_files.present(name, split, _given(name)) or bool(_own_files(name, split))
    return all(map(available, _idx_files(name, split))) if name in IDX_SETS else name == "digits"


def cache_folder() -> Path:
    """Return the folder in which downloads are kept: the operating system's cache folder of this user."""
    import pooch  # a slow import that the embedded data does not need

    return Path(pooch.os_cache("tightrope"))


def _entry(file: str) -> RegistryEntry:
    if file not in registry():
        raise UnknownNameError("data file", file, get_close_matches(str(file), registry(), n=5))
    return registry()[file]


def _given(file: str) -> Path:
    return Path(os.environ.get(DATA_VARIABLE) or f"({GIVEN})").expanduser() / file


def _mismatch(path: Path, entry: RegistryEntry) -> str | None:
    """Return what is wrong with the file at ``path``, or None."""
    try:
        with gzip.open(path) if entry.packed else path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        found = f"no SHA-256, since it does not unpack ({error})"
    if found == entry.sha256:
        return None
    size = path.stat().st_size
    return f"expected {entry.hashed} {entry.sha256}, found {found} ({size} bytes, {entry.bytes} expected)"


def _download(entry: RegistryEntry, target: Path) -> str | None:
    """Download ``entry`` to ``target`` and check it; return what went wrong at each address, or None."""
    import pooch

    if os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0"):
        return f"Nothing was downloaded: {OFFLINE_VARIABLE} is set."
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    failures = []
    for url in entry.urls:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            pooch.HTTPDownloader(timeout=60)(url, str(partial), None)
            problem = _mismatch(partial, entry)
            if not problem:
                partial.replace(target)
                return None
            failures.append(f"{url}: {problem}")
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            failures.append(f"{url}: {type(error).__name__}: {error}")
        finally:
            partial.unlink(missing_ok=True)
    return "Tried " + "; ".join(failures) + "."
