"""The affine layers of a torch state dictionary, which holds arrays but neither activations nor strides."""

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np

from tightrope.errors import NetworkError
from tightrope.networks.activations import Activation, MaxPool
from tightrope.networks.arrays import weight
from tightrope.networks.layers import Composition, Convolution, Dense, Layer, Scaling

Shape = tuple[int, int, int]  # channels, height, width
_WEIGHTED = ({"weight"}, {"weight", "bias"})
_NORMALISING = ({"mean", "std"}, {"mean", "sigma"})


def layers_of_state_dict(
    arrays: Mapping[str, np.ndarray],
    input_shape: Shape | None = None,
    convolutions: Sequence[tuple] = (),
    activations: Sequence[Activation] = (),
) -> tuple[Layer, ...]:
    """Read dense layers, convolutions and normalisations (mean with std or sigma) in the order of the dictionary.

    A layer is what shares the part of its name before the last dot. Convolutions need the (channels, height, width) of
    the images and, in order, their (stride, padding); the images after max pooling are smaller.
    """
    groups: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        prefix, _, part = key.rpartition(".")
        groups.setdefault(prefix, {})[part] = value
    count = sum("weight" in parts and np.ndim(parts["weight"]) == 4 for parts in groups.values())
    if count != len(convolutions) or (count and input_shape is None):
        raise NetworkError(
            f"a state dictionary does not hold strides and paddings: this one has {count} convolutions, and "
            f"{len(convolutions)} pairs came with input_shape={input_shape}. Give input_shape=(channels, height, "
            "width) and convolutions=((stride, padding), ...), or --input-shape and one --convolution for each, or the "
            "module itself to FeedForward.from_torch. For a command one can also export it to .onnx, or write "
            "FeedForward.from_torch(module, shape).to_npz('network.npz')."
        )
    settings, layers, before, shape = iter(convolutions), [], [], input_shape
    for prefix, parts in groups.items():
        if set(parts) in _NORMALISING:
            before.append((prefix, parts))
            continue
        if set(parts) not in _WEIGHTED or parts["weight"].ndim not in (2, 4):
            raise _unreadable(arrays)
        layer = _weighted(prefix, parts, shape, settings)
        scalings = []
        for name, found in before:
            std = found["std"] if "std" in found else found["sigma"]
            scalings.append(normalisation(f"{name}.", found["mean"], std, layer.input_size, shape))
        layers.append(Composition((*scalings, layer)) if scalings else layer)
        before, shape = [], layer.output_shape if isinstance(layer, Convolution) else None
        if len(layers) <= len(activations) and isinstance(pool := activations[len(layers) - 1], MaxPool):
            shape = pool.output_shape
    if layers and input_shape is not None and prod(input_shape) != layers[0].input_size:
        raise NetworkError(
            f"input_shape (--input-shape): {input_shape} has {prod(input_shape)} entries, the first layer takes "
            f"{layers[0].input_size}."
        )
    if before or not layers:  # a normalisation of the scores, or nothing
        raise _unreadable(arrays)
    return tuple(layers)


def _unreadable(arrays: Mapping[str, np.ndarray]) -> NetworkError:
    listed = ", ".join(f"{key} {np.shape(value)}" for key, value in arrays.items()) or "nothing"
    return NetworkError(
        "only dense layers and convolutions (weight, bias), and normalisations before them "
        f"(mean with std or sigma), are read; the state dictionary has {listed}. For anything else give the module "
        "itself to FeedForward.from_torch, which says what it knows."
    )


def _weighted(prefix: str, parts: Mapping[str, np.ndarray], shape: Shape | None, settings: Iterator[tuple]) -> Layer:
    W = parts["weight"]
    b = parts.get("bias", np.zeros(len(W)))
    try:
        if W.ndim == 2:
            return Dense(W, b)
        if shape is None:
            raise NetworkError("a convolution after a dense layer, whose outputs are not images.")
        return Convolution(W, b, shape, *next(settings))
    except NetworkError as error:
        raise NetworkError(f"{prefix or 'the first layer'}: {error}") from error


def normalisation(prefix: str, mean: np.ndarray, std: np.ndarray, size: int, shape: Shape | None) -> Scaling:
    """Return ``y = (x - mean) / std`` for rows of `size` entries, or images of `shape`; one pair for each channel."""
    mean, std = (weight(f"{prefix}{name}", np.ravel(value), (None,)) for name, value in (("mean", mean), ("std", std)))
    channels = 1 if shape is None else shape[0]
    if len(mean) != len(std) or len(mean) not in (1, channels) or not (std > 0).all():
        raise NetworkError(
            f"{prefix}mean, std: {len(mean)} and {len(std)} numbers for {channels} channels; give one positive std and "
            "one mean for all, or for each channel, and the input_shape (channels, height, width), or "
            "--input-shape."
        )
    repeats = size // len(mean)
    return Scaling(np.repeat(1 / std, repeats), np.repeat(-mean / std, repeats))
