"""Weights as they come from files and callers: read without running code, checked, made read-only float64."""

import hashlib
import pickle
import zipfile
import zlib
from collections.abc import Mapping
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
    if array.ndim != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        raise NetworkError(f"{name} has shape {array.shape}; it must be {wanted}.")
    if 0 in array.shape:
        raise NetworkError(f"{name} is empty: shape {array.shape}.")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise NetworkError(
            f"{name} has {np.sum(~np.isfinite(array))} entries that are nan or infinite, first at {where}."
        )
    array.setflags(write=False)
    return array


def batch(name: str, value: object, width: int) -> tuple[np.ndarray, bool]:
    """Return value as float64 rows (N, width) and whether it was a single vector (width,)."""
    rows = np.asarray(value, dtype=np.float64)
    if rows.ndim not in (1, 2) or rows.shape[-1] != width:
        raise NetworkError(
            f"{name} has shape {rows.shape}; this network needs ({width},) or (N, {width}), "
            "each input flattened row by row."
        )
    if not np.isfinite(rows).all():
        raise NetworkError(f"{name} has entries that are nan or infinite.")
    return np.atleast_2d(rows), rows.ndim == 1


def hash_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of names, shapes and little-endian float64 contents, in the mapping's order."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name}{np.shape(array)}".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _existing(path: PathOrName) -> Path:
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no file {path}. Give the path of a .npz, .mat, .pt or .pth file with weights.")
    return path


def read_npz(path: PathOrName) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file; pickled objects are refused, since reading them could run code."""
    path = _existing(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (
        ValueError,
        TypeError,
        OSError,
        EOFError,
        KeyError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise CorruptDataError(
            f"{path} cannot be read as an .npz file of plain arrays ({error}). It may be truncated or hold "
            "pickled objects; write it again with numpy.savez_compressed and numeric arrays."
        ) from error


def read_npy(path: PathOrName) -> np.ndarray:
    """Read the array of an .npy file; pickled objects are refused."""
    path = _existing(path)
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise CorruptDataError(f"{path} cannot be read as an .npy file of plain numbers ({error}).") from error


def read_mat(path: PathOrName) -> dict[str, np.ndarray]:
    """Read all matrices of a MATLAB file up to version 7."""
    import scipy.io  # a third of a second, which only these files need
    from scipy.io.matlab import MatReadError

    path = _existing(path)
    try:
        content = scipy.io.loadmat(path)
    except NotImplementedError as error:
        raise CorruptDataError(f"{path} is a MATLAB 7.3 (HDF5) file; save it again with save(..., '-v7').") from error
    except (
        MatReadError,
        ValueError,
        TypeError,
        OSError,
        EOFError,
        KeyError,
        IndexError,
        OverflowError,
        zlib.error,
    ) as error:
        raise CorruptDataError(
            f"{path} cannot be read as a .mat file ({error}). It may be truncated: get it again."
        ) from error
    return {name: value for name, value in content.items() if not name.startswith("__")}


def read_state_dict(source: Mapping[str, object] | PathOrName) -> dict[str, np.ndarray]:
    """Read a torch state dictionary, or take a mapping of tensors, as float64 arrays."""
    if not isinstance(source, Mapping):
        import torch  # slow to import, and not needed for .npz and .mat

        path = _existing(source)
        try:
            source = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
            raise CorruptDataError(
                f"{path} cannot be read as a torch state dictionary with weights_only=True "
                f"({_first_line(error)}). It may be truncated or hold a whole module; save it again with "
                "torch.save(module.state_dict(), path)."
            ) from error
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
