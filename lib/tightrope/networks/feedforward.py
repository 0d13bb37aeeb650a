"""Feed-forward ReLU networks of affine layers."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import ArrayLike

from tightrope.errors import AssumptionWarning, NetworkError
from tightrope.networks.arrays import PathOrName, batch, hash_arrays, read_npz, read_state_dict, weight
from tightrope.networks.layers import Composition, Dense, Layer, chain, from_named_arrays, named_arrays
from tightrope.networks.mondeq import MonDEQ
from tightrope.networks.stacking import stack
from tightrope.networks.state_dicts import assumption, layers_of_state_dict

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class FeedForward:
    """``x_0 = x, x_{i+1} = ReLU(layer_i(x_i))``, the last layer without ReLU.

    `layers` are the affine maps (:mod:`tightrope.networks.layers`), each with as many inputs as the one before has
    outputs; the name is for messages and tables. `assumed` says what a file left open; empty if nothing.

    Examples
    --------
    >>> network = FeedForward.dense(weights=([[1.0], [-1.0]], [[1.0, 1.0]]), biases=([0.0, 0.0], [0.0]))
    >>> network.logits([[-3.0], [2.0]]).ravel()
    array([3., 2.])
    """

    layers: tuple[Layer, ...]
    name: str = ""
    assumed: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", chain(self.layers))

    def after(self, center: np.ndarray, G: np.ndarray) -> "FeedForward":
        """Return the network w -> F(center + G w), for center (p0,) and G (p0, n)."""
        first, *rest = self.layers
        return FeedForward((Composition((Dense(G, center), first)), *rest))

    # making one -----------------------------------------------------------------------------------

    @classmethod
    def dense(cls, weights: Sequence, biases: Sequence, name: str = "") -> "FeedForward":
        """Build from weights (p_{i+1}, p_i) and biases (p_{i+1},)."""
        if not weights or len(weights) != len(biases):
            raise NetworkError(f"{len(weights)} weights and {len(biases)} biases; give one bias for each weight.")
        layers, size = [], None
        for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
            W = weight(f"weights[{i}]", W, (None, size))
            size = len(W)
            layers.append(Dense(W, weight(f"biases[{i}]", b, (size,))))
        return cls(tuple(layers), name)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, object], name: str = "", source: object = "the file") -> "FeedForward":
        """Build from what an .npz file of :meth:`to_npz` holds.

        Dense networks have the keys W1, b1, W2, b2, ... (counted from 1, without gaps), others 1.convolution.weight,
        1.convolution.bias, 1.convolution.input_shape, ..., 2.dense.weight, ...
        """
        if any(re.match(r"\d+\.", key) for key in arrays):
            return cls(from_named_arrays(arrays, source), name)
        depth = sum(bool(re.fullmatch(r"W\d+", key)) for key in arrays)
        wanted = {f"{letter}{i}" for i in range(1, depth + 1) for letter in "Wb"}
        if not depth or wanted != {key for key in arrays if re.fullmatch(r"[Wb]\d+", key)}:
            raise NetworkError(
                f"{source} must have W1, b1, W2, b2, ... without gaps; it has {', '.join(sorted(arrays))}."
            )
        layers = range(1, depth + 1)
        return cls.dense([arrays[f"W{i}"] for i in layers], [arrays[f"b{i}"] for i in layers], name)

    @classmethod
    def from_npz(cls, path: PathOrName) -> "FeedForward":
        """Read an .npz file with the keys of :meth:`from_arrays`."""
        return cls.from_arrays(read_npz(path), Path(path).stem, path)

    @classmethod
    def from_state_dict(
        cls,
        source: Mapping[str, object] | PathOrName,
        name: str = "",
        *,
        input_shape: tuple[int, int, int] | None = None,
        convolutions: Sequence[tuple] = (),
        activation: str | None = None,
    ) -> "FeedForward":
        """Read a torch state dictionary, or a file of one: its layers in order, with ReLU between them.

        A state dictionary does not say what is between the layers: `activation` does, "relu". Left out, ReLU is assumed
        with a warning, and :attr:`assumed` and every report say so. Where the module is at hand, :meth:`from_torch`
        knows and checks. Nor does it hold, for convolutions, `input_shape`, the (channels, height, width) of the
        images, and `convolutions`, the (stride, padding) of each in order.
        """
        layers = layers_of_state_dict(read_state_dict(source), input_shape, convolutions)
        assumed = assumption(layers, activation)
        if assumed:
            warnings.warn(f"{name or 'a state dictionary'}: {assumed}", AssumptionWarning, stacklevel=2)
        return cls(layers, name, assumed)

    @classmethod
    def from_torch(
        cls, module: "nn.Module", input_shape: tuple[int, ...] | None = None, name: str = ""
    ) -> "FeedForward":
        """Read a ``torch.nn.Sequential`` and check on random inputs that it is the same function.

        Its layers may be those of :data:`tightrope.networks.torch_reader.SUPPORTED`; others are named in the error.
        `input_shape` is (channels, height, width) of the images, or (p0,), and may be left out if the first layer is
        Linear. Weights in single precision are taken as they are; the network computes in double precision.
        Examples
        --------
        >>> from torch import nn
        >>> FeedForward.from_torch(nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)), (1, 8, 8))
        FeedForward('', 64 -> 8 -> 3)
        """
        from tightrope.networks.torch_reader import layers_of_module  # torch takes seconds to import

        return cls(layers_of_module(module, input_shape), name)

    @classmethod
    def from_onnx(cls, path: PathOrName) -> "FeedForward":
        """Read an .onnx file (needs the extra ``onnx``) and check that it is the same function.

        The operations that are read are listed in :mod:`tightrope.networks.onnx_reader`; others are named in the error.
        """
        from tightrope.networks.onnx_reader import layers_of_onnx

        return cls(layers_of_onnx(path), Path(path).stem)

    def to_npz(self, path: PathOrName, dtype: str = "float64") -> None:
        """Write the arrays, W1, b1, W2, b2, ... for a dense network.

        A dtype of "float64" gives the same network back, "float32" and "float16" a rounded one in a smaller file.
        """
        arrays = {k: a.astype(dtype) if a.dtype.kind == "f" else a for k, a in self.arrays().items()}
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what defines the network, by the names of :meth:`from_arrays`."""
        if not self.is_dense:
            return named_arrays(self.layers)
        pairs = enumerate(zip(self.weights, self.biases, strict=True), start=1)
        return {f"{letter}{i}": array for i, pair in pairs for letter, array in zip("Wb", pair, strict=True)}

    # what it is -----------------------------------------------------------------------------------

    @property
    def sizes(self) -> tuple[int, ...]:
        """(p0, p1, ..., K): numbers of inputs, of neurons of each hidden layer, and of labels."""
        return (self.input_size, *(layer.output_size for layer in self.layers))

    @property
    def input_size(self) -> int:
        """p0, the number of inputs."""
        return self.layers[0].input_size

    @property
    def classes(self) -> int:
        """K, the number of labels."""
        return self.layers[-1].output_size

    @property
    def is_dense(self) -> bool:
        """Whether every layer is :class:`~tightrope.networks.layers.Dense`, so that `weights` and `biases` exist."""
        return all(isinstance(layer, Dense) for layer in self.layers)

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """W_i (p_{i+1}, p_i) of a dense network."""
        return tuple(layer.weight for layer in self._dense_layers("weights"))

    @property
    def biases(self) -> tuple[np.ndarray, ...]:
        """b_i (p_{i+1},) of a dense network."""
        return tuple(layer.bias for layer in self._dense_layers("biases"))

    def _dense_layers(self, asked: str) -> tuple[Dense, ...]:
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Dense):
                raise NetworkError(
                    f"{asked}: layers[{i}] of {self!r} is a {type(layer).__name__}, which has no matrix of its own. "
                    "Use to_dense() for the same network with matrices, or its layers."
                )
        return cast(tuple[Dense, ...], self.layers)

    def to_dense(self) -> "FeedForward":
        """Return the same function with every layer as a matrix; itself if it is dense already.

        Convolutions grow: a row for each output pixel, a column for each input pixel.
        """
        if self.is_dense:
            return self
        return FeedForward(tuple(Dense(*layer.dense()) for layer in self.layers), self.name)

    def to_mondeq(self) -> MonDEQ:
        """Return the same function as a monDEQ (:mod:`tightrope.networks.stacking`), for the tools that take one.

        Layers that are not dense are made dense first; for small networks.

        Examples
        --------
        >>> network = FeedForward.dense(([[1.0]], [[2.0]], [[3.0]]), ([0.0], [-1.0], [0.5]))
        >>> network.logits([2.0]).item(), round(network.to_mondeq().logits([2.0]).item(), 6)
        (9.5, 9.5)
        """
        dense = self.to_dense()
        return stack(dense.weights, dense.biases, self.name)

    def sha256(self) -> str:
        """Return the SHA-256 of all arrays; the name does not enter."""
        return hash_arrays(self.arrays())

    def __repr__(self) -> str:
        assumed = ", ReLU assumed" if self.assumed else ""
        return f"FeedForward({self.name!r}, {' -> '.join(map(str, self.sizes))}{assumed})"

    # what it does ---------------------------------------------------------------------------------

    def preactivations(self, x: ArrayLike) -> list[np.ndarray]:
        """Return layer_i(x_i) for each layer, (N, p_{i+1}) each; the last are the logits."""
        rows, _ = batch("x", x, self.input_size)
        values = [self.layers[0].forward(rows)]
        for layer in self.layers[1:]:
            values.append(layer.forward(np.maximum(values[-1], 0.0)))
        return values

    def logits(self, x: ArrayLike) -> np.ndarray:
        """Return F(x), (K,) or (N, K)."""
        rows, single = batch("x", x, self.input_size)
        for layer in self.layers[:-1]:
            rows = np.maximum(layer.forward(rows), 0.0)
        out = self.layers[-1].forward(rows)
        return out[0] if single else out

    def predict(self, x: ArrayLike) -> int | np.ndarray:
        """Return the label of the largest logit (the first one on a tie): int, or (N,) for a batch."""
        labels = self.logits(x).argmax(-1)
        return int(labels) if np.ndim(labels) == 0 else labels
