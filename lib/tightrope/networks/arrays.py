"""Weights as they come from files and callers: read without running code, checked, made read-only float64."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tightrope.errors import CorruptDataError, MissingDataError, NetworkError

PathOrName = str | PathLike[str]


def weight(name: str, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return value as a read-only float64 array of the given shape (None: any size), or raise NetworkError.

    Vectors may arrive as one-row or one-column matrices, which is how MATLAB stores them.
    """
    try:
        if np.iscomplexobj(value):
            raise TypeError("it is complex")
        array = np.array(value, dtype=np.float64, order="C")  # a copy: the network owns its weights
    except (TypeError, ValueError) as error:
        raise NetworkError(f"{name} is not an array of real numbers: {error}.") from error
    if len(shape) == 1 and array.ndim == 2 and 1 in array.shape:
        array = array.ravel()
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        raise NetworkError(f"{name} has shape {array.shape}; it must be {wanted}.")
    if 0 in array.shape:
        raise NetworkError(f"{name} is empty: shape {array.shape}.")
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        where = tuple(bad[0].tolist())
        raise NetworkError(f"{name} has {len(bad)} entries that are nan or infinite, first at {where}.")
    array.setflags(write=False)
    return array


def batch(name: str, value: object, width: int) -> tuple[np.ndarray, bool]:
    """Return value as float64 rows (N, width) and whether it was a single vector (width,).

    An image of another shape with as many entries, and a batch (N, ...) of such, are flattened row by row.
    """
    rows = np.asarray(value, dtype=np.float64)
    if rows.ndim > 1 and rows.shape[1:] != (width,) and rows.size:
        rows = rows.ravel() if rows.size == width else rows.reshape(len(rows), -1)
    if rows.ndim not in (1, 2) or rows.shape[-1] != width:
        raise NetworkError(
            f"{name} has shape {rows.shape}; this network needs ({width},) or (N, {width}), "
            "each input flattened row by row."
        )
    if not np.isfinite(rows).all():
        raise NetworkError(f"{name} has entries that are nan or infinite.")
    return np.atleast_2d(rows), rows.ndim == 1


def integers(name: str, value: object, length: int, least: int) -> tuple[int, ...]:
    """Return value as `length` integers of at least `least`; a single one stands for a pair."""
    return tuple(integer_array(name, value, length, least).tolist())


def integer_array(name: str, value: object, length: int, least: int) -> np.ndarray:
    """Return what :func:`integers` does as a read-only array of its own."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iu":
            raise TypeError("not integers")
        array = array.astype(np.int64)  # what does not fit is negative
        if array.ndim == 0 and length == 2:
            array = np.repeat(array, 2)
        if array.shape != (length,) or array.min() < least:
            raise ValueError("wrong number or too small")
    except (TypeError, ValueError):
        raise NetworkError(f"{name}: expected {length} integers of at least {least}, got {value!r}.") from None
    array.setflags(write=False)
    return array


def hash_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of names, shapes and little-endian float64 contents, in the mapping's order."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name}{np.shape(array)}".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


@contextmanager
def _reading(path: PathOrName, kind: str, advice: str) -> Iterator[Path]:
    """The path of a file that is there; an error of its reader becomes a :class:`CorruptDataError` with the advice."""
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no file {path}. Give the path of a .npz, .mat, .pt or .pth file with weights.")
    try:
        yield path
    except Exception as error:  # the readers of NumPy, SciPy and torch raise whatever comes
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise CorruptDataError(f"{path} cannot be read as {kind} ({first_line}). {advice}") from error


def read_npz(path: PathOrName) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file; pickled objects are refused, since reading them could run code."""
    advice = "It may be truncated or hold pickled objects; write it with numpy.savez_compressed and numeric arrays."
    with (
        _reading(path, "an .npz file of plain arrays", advice) as path,
        path.open("rb") as stream,
        np.load(stream, allow_pickle=False) as archive,
    ):
        return {name: archive[name] for name in archive.files}


def read_npy(path: PathOrName) -> np.ndarray:
    """Read the array of an .npy file; pickled objects are refused."""
    with _reading(path, "an .npy file of plain numbers", "It may be truncated: get it again.") as path:
        return np.load(path, allow_pickle=False)


def read_mat(path: PathOrName) -> dict[str, np.ndarray]:
    """Read all matrices of a MATLAB file up to version 7."""
    import scipy.io  # a third of a second, which only these files need

    advice = "It may be truncated: get it again. A MATLAB 7.3 (HDF5) file must be saved again with save(..., '-v7')."
    with _reading(path, "a .mat file", advice) as path:
        content = scipy.io.loadmat(path)
    return {name: value for name, value in content.items() if not name.startswith("__")}


def read_state_dict(source: Mapping[str, object] | PathOrName) -> dict[str, np.ndarray]:
    """Read a torch state dictionary, or take a mapping of tensors, as float64 arrays."""
    if not isinstance(source, Mapping):
        import torch  # slow to import, and not needed for .npz and .mat

        advice = "It may be truncated or hold a whole module; save torch.save(module.state_dict(), path)."
        with _reading(source, "a torch state dictionary with weights_only=True", advice) as path:
            source = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(source, Mapping):
            raise NetworkError(f"{path} holds a {type(source).__name__}; it must be a state dictionary.")
    # detach().cpu() for tensors, nothing for arrays
    return {
        str(name): np.asarray(value.detach().cpu().double() if hasattr(value, "detach") else value)
        for name, value in source.items()
    }


def required(arrays: Mapping[str, object], names: tuple[str, ...], source: object) -> list[Any]:
    """Return the named arrays, or say which are missing and which are there."""
    missing = [name for name in names if name not in arrays]
    if missing:
        raise NetworkError(f"{source} lacks {', '.join(missing)}; it has {', '.join(sorted(arrays)) or 'nothing'}.")
    return [arrays[name] for name in names]
