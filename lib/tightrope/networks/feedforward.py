"""Feed-forward networks: affine layers with a nonlinearity between each two, ReLU unless another one is given."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import ArrayLike

from tightrope.errors import AssumptionWarning, NetworkError
from tightrope.networks.activations import RELU, Activation, between, named
from tightrope.networks.arrays import PathOrName, batch, hash_arrays, read_npz, read_state_dict, weight
from tightrope.networks.layers import Composition, Dense, Layer, chain, forward, from_named_arrays, named_arrays
from tightrope.networks.mondeq import MonDEQ
from tightrope.networks.stacking import stack
from tightrope.networks.state_dicts import layers_of_state_dict

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class FeedForward:
    """``x_0 = x, x_{i+1} = activation_i(layer_i(x_i))``, the last layer without one.

    `layers` are the affine maps (:mod:`tightrope.networks.layers`); `activations` are the nonlinearities between them
    (:mod:`tightrope.networks.activations`), one fewer, all ReLU if left out. Each layer has as many inputs as the
    activation before it has outputs. The name is for messages and tables; `assumed` says what a file left open.

    Examples
    --------
    >>> network = FeedForward.dense(weights=([[1.0], [-1.0]], [[1.0, 1.0]]), biases=([0.0, 0.0], [0.0]))
    >>> network.logits([[-3.0], [2.0]]).ravel()
    array([3., 2.])
    """

    layers: tuple[Layer, ...]
    name: str = ""
    activations: tuple[Activation, ...] = ()
    assumed: str = ""

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        object.__setattr__(self, "activations", between(len(layers), self.activations) if layers else ())
        object.__setattr__(self, "layers", chain(layers, self.activations))

    def after(self, center: np.ndarray, G: np.ndarray) -> "FeedForward":
        """Return the network w -> F(center + G w), for center (p0,) and G (p0, n)."""
        first, *rest = self.layers
        return FeedForward((Composition((Dense(G, center), first)), *rest), activations=self.activations)

    # making one -----------------------------------------------------------------------------------

    @classmethod
    def dense(
        cls, weights: Sequence, biases: Sequence, name: str = "", activations: Sequence[Activation] = ()
    ) -> "FeedForward":
        """Build from weights (p_{i+1}, p_i), biases (p_{i+1},) and what is between them."""
        if not weights or len(weights) != len(biases):
            raise NetworkError(f"{len(weights)} weights and {len(biases)} biases; give one bias for each weight.")
        activations = between(len(weights), activations)
        layers: list[Dense] = []
        for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
            size = activations[i - 1].outputs(layers[-1].output_size) if i else None
            W = weight(f"weights[{i}]", W, (None, size))
            layers.append(Dense(W, weight(f"biases[{i}]", b, (len(W),))))
        return cls(tuple(layers), name, activations)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, object], name: str = "", source: object = "the file") -> "FeedForward":
        """Build from what an .npz file of :meth:`to_npz` holds.

        Dense networks have the keys W1, b1, W2, b2, ... (counted from 1, without gaps), others 1.convolution.weight,
        1.convolution.bias, 1.convolution.input_shape, ..., 2.dense.weight, ... What follows layer i, if it is not
        ReLU, is activation.<i>.<name>, an array of its parameters.
        """
        following = {key: value for key, value in arrays.items() if key.startswith("activation.")}
        if any(re.match(r"\d+\.", key) for key in arrays):
            named = from_named_arrays({key: value for key, value in arrays.items() if key not in following}, source)
            return cls(named, name, _activations(following, len(named), source))
        depth = sum(bool(re.fullmatch(r"W\d+", key)) for key in arrays)
        wanted = {f"{letter}{i}" for i in range(1, depth + 1) for letter in "Wb"}
        if not depth or wanted != {key for key in arrays if re.fullmatch(r"[Wb]\d+", key)}:
            raise NetworkError(
                f"{source} must have W1, b1, W2, b2, ... without gaps; it has {', '.join(sorted(arrays))}."
            )
        layers = range(1, depth + 1)
        weights, biases = ([arrays[f"{letter}{i}"] for i in layers] for letter in "Wb")
        return cls.dense(weights, biases, name, _activations(following, depth, source))

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
        activation: str | Sequence[Activation] | None = None,
    ) -> "FeedForward":
        """Read a torch state dictionary, or a file of one: its layers in order, with `activations` between them.

        A state dictionary does not say what is between the layers: `activation` does, a name such as "relu" or "tanh"
        for all, or a sequence of :mod:`tightrope.networks.activations`, of max pooling for instance. Left out, ReLU is
        assumed with a warning, and :attr:`assumed` and every report say so. Where the module is at hand,
        :meth:`from_torch` knows and checks. Nor does it hold, for convolutions, `input_shape`, the (channels, height,
        width) of the images, and `convolutions`, the (stride, padding) of each in order.
        """
        between = () if activation is None or isinstance(activation, str) else tuple(activation)
        layers = layers_of_state_dict(read_state_dict(source), input_shape, convolutions, between)
        if isinstance(activation, str):
            between = (named(activation),) * (len(layers) - 1)
        network = cls(layers, name, between)
        if activation is not None or len(layers) == 1:
            return network
        sizes = " -> ".join(map(str, network.sizes))
        assumed = f"ReLU between the layers {sizes}, a state dictionary does not say so"
        warnings.warn(f"{name or 'a state dictionary'}: {assumed}", AssumptionWarning, stacklevel=2)
        return replace(network, assumed=assumed)

    @classmethod
    def from_torch(
        cls, module: "nn.Module", input_shape: tuple[int, ...] | None = None, name: str = ""
    ) -> "FeedForward":
        """Read a module, also one with a forward of its own, and check on random inputs that it is the same function.

        It may do what :data:`tightrope.networks.torch_reader.SUPPORTED` lists; all else is named in the error.
        `input_shape` is (channels, height, width) of the images, or (p0,), and may be left out if the first layer is
        Linear. Weights in single precision are taken as they are; the network computes in double precision.

        Examples
        --------
        >>> from torch import nn
        >>> FeedForward.from_torch(nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)), (1, 8, 8))
        FeedForward('', 64 -> 8 -> 3)
        """
        from tightrope.networks.torch_reader import layers_of_module  # torch takes seconds to import

        layers, activations = layers_of_module(module, input_shape)
        return cls(layers, name, activations)

    @classmethod
    def from_onnx(cls, path: PathOrName) -> "FeedForward":
        """Read an .onnx file (needs the extra ``onnx``) and check that it is the same function.

        The operations that are read are listed in :mod:`tightrope.networks.onnx_reader`; others are named in the error.
        """
        from tightrope.networks.onnx_reader import layers_of_onnx

        layers, activations = layers_of_onnx(path)
        return cls(layers, Path(path).stem, activations)

    def to_npz(self, path: PathOrName, dtype: str = "float64") -> None:
        """Write the arrays, W1, b1, W2, b2, ... for a dense network.

        A dtype of "float64" gives the same network back, "float32" and "float16" a rounded one in a smaller file.
        """
        arrays = {k: a.astype(dtype) if a.dtype.kind == "f" else a for k, a in self.arrays().items()}
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what defines the network, by the names of :meth:`from_arrays`."""
        others = enumerate(self.activations, start=1)
        following = {f"activation.{i}.{one.name}": one.parameters() for i, one in others if one != RELU}
        if not self.is_dense:
            return named_arrays(self.layers) | following
        pairs = enumerate(zip(self.weights, self.biases, strict=True), start=1)
        own = {f"{letter}{i}": array for i, pair in pairs for letter, array in zip("Wb", pair, strict=True)}
        return own | following

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
    def is_relu(self) -> bool:
        """Whether ReLU is between all layers."""
        return all(one == RELU for one in self.activations)

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
        return replace(self, layers=tuple(Dense(*layer.dense()) for layer in self.layers))

    def to_mondeq(self) -> MonDEQ:
        """Return the same function as a monDEQ (:mod:`tightrope.networks.stacking`), for the tools that take one.

        Layers that are not dense are made dense first; for small networks.

        Examples
        --------
        >>> network = FeedForward.dense(([[1.0]], [[2.0]], [[3.0]]), ([0.0], [-1.0], [0.5]))
        >>> network.logits([2.0]).item(), round(network.to_mondeq().logits([2.0]).item(), 6)
        (9.5, 9.5)
        """
        self.require_relu("a monDEQ has")
        dense = self.to_dense()
        return stack(dense.weights, dense.biases, self.name)

    def require_relu(self, what: str, instead: str = "crown, deepz or lp-all, which take every activation") -> None:
        """Refuse a network with another nonlinearity than ReLU, for what is about ReLU only."""
        others = sorted({one.name for one in self.activations if one != RELU})
        if others:
            raise NetworkError(f"network: {what} ReLU only, and this one has {', '.join(others)}; use {instead}.")

    def sha256(self) -> str:
        """Return the SHA-256 of all arrays; the name does not enter."""
        return hash_arrays(self.arrays())

    def __repr__(self) -> str:
        others = "".join(f", {name}" for name in dict.fromkeys(one.name for one in self.activations if one != RELU))
        assumed = ", ReLU assumed" if self.assumed else ""
        return f"FeedForward({self.name!r}, {' -> '.join(map(str, self.sizes))}{others}{assumed})"

    # what it does ---------------------------------------------------------------------------------

    def preactivations(self, x: ArrayLike) -> list[np.ndarray]:
        """Return layer_i(x_i) for each layer, (N, p_{i+1}) each; the last are the logits."""
        rows, _ = batch("x", x, self.input_size)
        return list(forward(self.layers, self.activations, rows))

    def logits(self, x: ArrayLike) -> np.ndarray:
        """Return F(x), (K,) or (N, K)."""
        rows, single = batch("x", x, self.input_size)
        *_, out = forward(self.layers, self.activations, rows)
        return out[0] if single else out

    def predict(self, x: ArrayLike) -> int | np.ndarray:
        """Return the label of the largest logit (the first one on a tie): int, or (N,) for a batch."""
        labels = self.logits(x).argmax(-1)
        return int(labels) if np.ndim(labels) == 0 else labels


def _activations(arrays: Mapping[str, object], count: int, source: object) -> tuple[Activation, ...]:
    """What is between `count` layers, by the names of :meth:`FeedForward.from_arrays`."""
    found: list[Activation] = [RELU] * (count - 1)
    for key, value in arrays.items():
        number, _, kind = key.removeprefix("activation.").partition(".")
        if not number.isdecimal() or not 1 <= int(number) < count:
            raise NetworkError(f"{source}: {key!r} is no activation.<i>.<name> with i from 1 to {count - 1}.")
        found[int(number) - 1] = named(kind, np.asarray(value))
    return tuple(found)
