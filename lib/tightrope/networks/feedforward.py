"""Feed-forward ReLU networks with dense layers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tightrope.errors import NetworkError
from tightrope.networks.arrays import PathOrName, batch, hash_arrays, read_npz, read_state_dict, weight


@dataclass(frozen=True, eq=False)
class FeedForward:
    """``x_0 = x, x_{i+1} = ReLU(W_i x_i + b_i)``, the last layer without ReLU.

    Parameters
    ----------
    weights : tuple of (p_{i+1}, p_i) arrays
    biases : tuple of (p_{i+1},) arrays
    name : str
        For messages and tables.

    Examples
    --------
    >>> network = FeedForward(weights=([[1.0], [-1.0]], [[1.0, 1.0]]), biases=([0.0, 0.0], [0.0]))
    >>> network.logits([[-3.0], [2.0]]).ravel()
    array([3., 2.])
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if not self.weights or len(self.weights) != len(self.biases):
            raise NetworkError(
                f"{len(self.weights)} weights and {len(self.biases)} biases; give one bias for each weight."
            )
        weights, biases, size = [], [], None
        for i, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            weights.append(weight(f"weights[{i}]", W, (None, size)))
            size = len(weights[-1])
            biases.append(weight(f"biases[{i}]", b, (size,)))
        object.__setattr__(self, "weights", tuple(weights))
        object.__setattr__(self, "biases", tuple(biases))

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, object], name: str = "", source: object = "the file"
    ) -> "FeedForward":
        """Build from a mapping with the keys W1, b1, W2, b2, ... (counted from 1, without gaps)."""
        depth = sum(bool(re.fullmatch(r"W\d+", key)) for key in arrays)
        wanted = {f"{letter}{i}" for i in range(1, depth + 1) for letter in "Wb"}
        if not depth or wanted != {key for key in arrays if re.fullmatch(r"[Wb]\d+", key)}:
            raise NetworkError(
                f"{source} must have W1, b1, W2, b2, ... without gaps; it has {', '.join(sorted(arrays))}."
            )
        layers = range(1, depth + 1)
        return cls(tuple(arrays[f"W{i}"] for i in layers), tuple(arrays[f"b{i}"] for i in layers), name)

    @classmethod
    def from_npz(cls, path: PathOrName) -> "FeedForward":
        """Read an .npz file with the keys W1, b1, W2, b2, ..."""
        return cls.from_arrays(read_npz(path), Path(path).stem, path)

    @classmethod
    def from_state_dict(cls, source: Mapping[str, object] | PathOrName, name: str = "") -> "FeedForward":
        """Read the ``torch.nn.Linear`` layers of a state dictionary, in its order."""
        arrays = read_state_dict(source)
        prefixes = [
            key.removesuffix("weight") for key in arrays if key == "weight" or key.endswith(".weight")
        ]
        other = set(arrays) - {prefix + part for prefix in prefixes for part in ("weight", "bias")}
        if other or any(arrays[prefix + "weight"].ndim != 2 for prefix in prefixes):
            raise NetworkError(
                "only dense layers with ReLU between them are read; the state dictionary has "
                + ", ".join(f"{key} {value.shape}" for key, value in arrays.items())
            )
        weights = tuple(arrays[prefix + "weight"] for prefix in prefixes)
        biases = tuple(
            arrays.get(p + "bias", np.zeros(len(W))) for p, W in zip(prefixes, weights, strict=True)
        )
        return cls(weights, biases, name)

    def to_npz(self, path: PathOrName) -> None:
        """Write W1, b1, W2, b2, ... in float64."""
        np.savez_compressed(path, **self._named())

    def _named(self) -> dict[str, np.ndarray]:
        pairs = enumerate(zip(self.weights, self.biases, strict=True), start=1)
        return {f"{letter}{i}": array for i, pair in pairs for letter, array in zip("Wb", pair, strict=True)}

    @property
    def input_size(self) -> int:
        """p0, the number of inputs."""
        return self.weights[0].shape[1]

    @property
    def classes(self) -> int:
        """K, the number of labels."""
        return len(self.biases[-1])

    def sha256(self) -> str:
        """Return the SHA-256 of the weights and biases; the name does not enter."""
        return hash_arrays(self._named())

    def __repr__(self) -> str:
        sizes = [self.input_size, *map(len, self.biases)]
        return f"FeedForward({self.name!r}, {' -> '.join(map(str, sizes))})"

    def logits(self, x) -> np.ndarray:
        """Return F(x), (K,) or (N, K)."""
        rows, single = batch("x", x, self.input_size)
        for W, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            rows = np.maximum(rows @ W.T + b, 0.0)
        out = rows @ self.weights[-1].T + self.biases[-1]
        return out[0] if single else out

    def predict(self, x) -> int | np.ndarray:
        """Return the label of the largest logit (the first one on a tie): int, or (N,) for a batch."""
        labels = self.logits(x).argmax(-1)
        return int(labels) if np.ndim(labels) == 0 else labels
