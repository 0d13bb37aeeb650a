"""A network from a file, whatever its format."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from tightrope.errors import NetworkError, UnknownNameError
from tightrope.networks.arrays import PathOrName, read_mat, read_npz, read_state_dict
from tightrope.networks.feedforward import FeedForward
from tightrope.networks.mondeq import MonDEQ

SUFFIXES = (".mat", ".npz", ".onnx", ".onnx.gz", ".pt", ".pth")


def is_file_name(name: PathOrName) -> bool:
    """Say whether a name ends as the files do that :func:`load` reads."""
    return str(name).lower().endswith(SUFFIXES)


def load(
    path: PathOrName,
    m: float | None = None,
    activation: str | None = None,
    input_shape: tuple[int, int, int] | None = None,
    convolutions: Sequence[tuple] = (),
) -> MonDEQ | FeedForward:
    """Read a network from a .npz, .mat, .onnx, .onnx.gz, .pt or .pth file.

    A monDEQ has the keys W, U, u, C, c (m optional) or A, B, U, u, C, c, m; a feed-forward network those of
    :meth:`FeedForward.from_arrays`; torch files hold a state dictionary, ONNX files what :meth:`FeedForward.from_onnx`
    reads. What a state dictionary does not state is given: m of a monDEQ, `activation` ("relu") of a feed-forward
    network, `input_shape` (channels, height, width) where there are convolutions, and of a feed-forward network the
    (stride, padding) of these in order.
    """
    if not isinstance(path, str | PathLike):
        raise NetworkError(
            f"path: expected the name of a file, got {type(path).__name__}; write FeedForward.from_torch(module), "
            "FeedForward.from_state_dict(arrays) or FeedForward.from_arrays(arrays)."
        )
    path = Path(path)
    suffix = path.suffix.lower()
    if not is_file_name(path):
        raise UnknownNameError("network file type", suffix or path.name, SUFFIXES)
    if suffix in (".onnx", ".gz"):
        return FeedForward.from_onnx(path)
    if suffix in (".pt", ".pth"):
        arrays = read_state_dict(path)
        if not any(key.startswith("mon.") for key in arrays):
            return FeedForward.from_state_dict(
                arrays, path.stem, input_shape=input_shape, convolutions=convolutions, activation=activation
            )
        if m is None:
            raise NetworkError(f"{path} is a monDEQ; its state dictionary does not hold m. Give m=... or --m.")
        return MonDEQ.from_state_dict(arrays, m, path.stem, input_shape=input_shape)
    arrays = read_mat(path) if suffix == ".mat" else read_npz(path)
    if "W1" in arrays or any(key.startswith("1.") for key in arrays):
        return FeedForward.from_arrays(arrays, path.stem, path)
    return MonDEQ.from_arrays(arrays, m, path.stem, path)
