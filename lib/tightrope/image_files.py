"""Image sets in their own published formats: files in, arrays of bytes out. No file is trusted to be whole.

IDX (MNIST, FashionMNIST), the binary version of CIFAR-10 (the Python version is a pickle, which could run code), MATLAB
files of SVHN's cropped digits. For the sets that only a user can provide no SHA-256 is known here: that files unpack,
and sizes, shapes, numbers of images and the range of labels are checked.
"""

import gzip
import math
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tightrope.errors import CorruptDataError, MissingDataError

#: Sets that a user provides: images of each split.
SETS: Mapping[str, Mapping[str, int]] = {
    "svhn": {"train": 73_257, "test": 26_032},
    "cifar10": {"train": 50_000, "test": 10_000},
}
#: Bytes of one image of CIFAR-10's binary version: its label, then 32 x 32 red, green and blue values, row by row.
CIFAR_RECORD = 1 + 3 * 32 * 32
CIFAR_ARCHIVE, CIFAR_FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"


def read_idx(path: str | Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes (MNIST's format), gzipped if its name ends in .gz, in the shape it states."""
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptDataError(f"{path} is not a whole gzip file ({error}); run `make data` to replace it") from None
    # Magic number: two zero bytes, 8 = unsigned byte, number of dimensions; then each dimension in 4 bytes.
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise CorruptDataError(f"{path} is not an IDX file of unsigned bytes: it starts with {content[:4]!r}")
    start = 4 + 4 * content[3]
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], dtype=">u4"))
    if (size := len(content) - start) != math.prod(shape):
        raise CorruptDataError(f"{path}: shape {shape} needs {math.prod(shape)} bytes, the file has {size}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def read_npz(path: str | Path) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Read the arrays ``images`` and ``labels`` from an .npz file without pickles.

    Returns pixels (N, p0) in [0, 1] (bytes are divided by 255), labels (N,), and the shape (height, width) or
    (channels, height, width); channels may come last in the file, and an image of one row is (1, p0). CorruptDataError
    if it cannot be read, an array is missing, or their shapes do not fit.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            images, labels = content["images"], content["labels"]
    except KeyError as error:
        raise CorruptDataError(f"{path}: {error}; expected the arrays images and labels.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CorruptDataError(f"{path} cannot be read as an .npz file ({error}).") from None
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or not 2 <= images.ndim <= 4:
        raise CorruptDataError(f"{path}: images {images.shape} and {labels.dtype} labels {labels.shape} do not fit.")
    if images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    shape = images.shape[1:] if images.ndim > 2 else (1, images.shape[1])
    pixels = images.reshape(len(images), -1) / (255 if images.dtype == np.uint8 else 1)
    return pixels, labels.astype(np.int64), shape[1:] if len(shape) == 3 and shape[0] == 1 else shape


def files_of(name: str, split: str) -> tuple[str, ...]:
    """The names of the published files of one of :data:`SETS`, "train" or "test"."""
    if name == "svhn":
        return (f"{split}_32x32.mat",)
    return tuple(f"data_batch_{i}.bin" for i in range(1, 6)) if split == "train" else ("test_batch.bin",)


def present(name: str, split: str, folder: Path) -> bool:
    """Say whether the published files of one of :data:`SETS` are in a folder; does not read them."""
    if name == "cifar10" and (folder / CIFAR_ARCHIVE).is_file():
        return True
    inside = folder / CIFAR_FOLDER if name == "cifar10" else folder
    return all((inside / file).is_file() for file in files_of(name, split))


def read_set(name: str, split: str, folder: Path) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Read one of :data:`SETS` from the folder with its files, or name the file and where to put it.

    Returns pixels (N, 3072) in [0, 1], labels (N,), 0 to 9, and the shape (3, 32, 32).
    """
    files, shape, count = files_of(name, split), (3, 32, 32), SETS[name][split]
    if not present(name, split, folder):
        wanted = f"{CIFAR_ARCHIVE} (the binary version)" if name == "cifar10" else " and ".join(files)
        raise MissingDataError(f"{name} is missing: put {wanted}, as it is published, into {folder}.")
    parts = [_cifar10_batch(folder, file) if name == "cifar10" else _svhn_file(folder / file) for file in files]
    pixels, labels = (np.concatenate(side) for side in zip(*parts, strict=True))
    if len(labels) != count:
        raise CorruptDataError(
            f"{folder}, {', '.join(files)}: pixels {pixels.shape} and labels {labels.shape}; expected {count} images "
            f"of shape {shape}. Get the files again."
        )
    return pixels / 255, labels, shape


def _cifar10_batch(folder: Path, batch: str) -> tuple[np.ndarray, np.ndarray]:
    """A batch of CIFAR-10's binary version: pixels (N, 3072), red, green, blue, each row by row, and labels (N,)."""
    plain, archive = folder / CIFAR_FOLDER / batch, folder / CIFAR_ARCHIVE
    if plain.is_file():
        content, source = plain.read_bytes(), str(plain)
    else:
        content, source = _member(archive, f"{CIFAR_FOLDER}/{batch}"), f"{archive}, {batch}"
    if not content or len(content) % CIFAR_RECORD:
        size = f"{len(content)} bytes are no whole number of images of {CIFAR_RECORD} bytes"
        raise CorruptDataError(f"{source}: {size}; get it again.")
    rows = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    _check_labels(source, rows[:, 0], 0, 9)
    return rows[:, 1:], rows[:, 0]


def _member(archive: Path, name: str) -> bytes:
    try:
        with tarfile.open(archive, "r:gz") as opened:
            stream = opened.extractfile(name)
            content = b"" if stream is None else stream.read()
    except KeyError:
        raise CorruptDataError(f"{archive} holds no {name}; is it CIFAR-10's binary version?") from None
    except (EOFError, zlib.error, OSError, tarfile.TarError) as error:
        raise CorruptDataError(f"{archive} is not a whole .tar.gz file ({error}); get it again.") from None
    return content


def _svhn_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """SVHN's cropped digits, X (32, 32, 3, N) and y (N, 1) with 10 for the digit 0, as pixels (N, 3072) and digits."""
    import scipy.io  # a slow import that the other sets do not need

    try:
        content = scipy.io.loadmat(path)
        X, y = content["X"], content["y"].ravel()
    except KeyError as error:
        raise CorruptDataError(f"{path}: no matrix {error}; the cropped digits (Format 2) hold X and y.") from None
    except Exception as error:  # scipy's reader meets damaged bytes with errors of many kinds
        raise CorruptDataError(f"{path} cannot be read as a .mat file ({error}); get it again.") from None
    if X.shape != (32, 32, 3, len(y)) or X.dtype != np.uint8:
        raise CorruptDataError(f"{path}: X is {X.dtype} {X.shape} for {len(y)} labels; expected uint8 (32, 32, 3, N).")
    _check_labels(str(path), y, 1, 10)
    return X.transpose(3, 2, 0, 1).reshape(len(y), -1), (y % 10).astype(np.uint8)


def _check_labels(source: str, labels: np.ndarray, least: int, most: int) -> None:
    wrong = np.flatnonzero((labels < least) | (labels > most))
    if len(wrong):
        first = f"image {wrong[0]} has the label {labels[wrong[0]]}"
        raise CorruptDataError(f"{source}: {first}; they run from {least} to {most}.")
