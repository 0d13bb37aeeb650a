"""Feed-forward networks: affine layers, each of one or more steps, with ReLU between them; see README-relu.md."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tightrope.checker import activations
from tightrope.checker.activations import Piece
from tightrope.checker.numbers import Exact, Refused
from tightrope.checker.pooling import Pool

_NAME = re.compile(r"([1-9][0-9]{0,3})\.(dense|convolution|scaling|sparse|composition)\.(.+)")
_ACTIVATION = re.compile(r"activation\.([1-9][0-9]{0,3})\.([a-z_]+)")
#: The arrays of each kind of step.
PARTS = {
    "dense": ("weight", "bias"),
    "scaling": ("scale", "shift"),
    "convolution": ("weight", "bias", "input_shape", "stride", "padding"),
    "sparse": ("weight", "bias", "columns", "starts", "inputs"),
}
#: Entries of a sparse layer's row, of an image with its padding, and places of it that a kernel meets.
LARGEST = 2**26

#: A nonlinearity other than ReLU: its pieces below and above 0, or windows.
Other = tuple[Piece, Piece] | Pool


@dataclass(frozen=True)
class Step:
    """x -> W x + bias (outputs,): `weight` is the matrix W (outputs, inputs), or (outputs,) its diagonal."""

    weight: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        if self.weight.ndim not in (1, 2) or not self.weight.size or self.bias.shape != self.weight.shape[:1]:
            raise Refused("network: a layer needs a matrix or a vector, and one bias for each row")

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return len(self.bias), self.weight.shape[-1]

    @property
    def products(self) -> int:
        """The entries of W that are stated."""
        return self.weight.size

    @property
    def terms(self) -> int:
        """The most products that are added up for one number, forward, transposed, or with the bias."""
        return max(self.weight.shape) if self.weight.ndim == 2 else 1

    @cached_property
    def exact(self) -> tuple[Exact, Exact]:
        """W, as `weight` has it, and the bias."""
        return Exact.of(self.weight), Exact.of(self.bias)

    def image(self, x: Exact) -> Exact:
        """Return W x + bias for exact numbers (inputs,)."""
        W, b = self.exact
        return (W @ x if len(W.shape) == 2 else W * x) + b

    def transposed(self, forms: np.ndarray) -> np.ndarray:
        """Return forms W for floats (m, outputs)."""
        return forms @ self.weight if self.weight.ndim == 2 else forms * self.weight

    def forward(self, x: np.ndarray, absolute: bool = False) -> np.ndarray:
        """Return W x for floats (inputs,), or |W| x."""
        weight = np.abs(self.weight) if absolute else self.weight
        return weight @ x if weight.ndim == 2 else weight * x


class Implicit(Step):
    """A step whose matrix W is not an array."""

    def __post_init__(self) -> None:
        """Nothing: `read` has checked all."""

    @property
    def products(self) -> int:
        """The entries of W."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def exact(self) -> tuple[Exact, Exact]:
        """The matrix, whose entries are numbers of `weight` and 0, and the bias."""
        return Exact.of(self.transposed(np.eye(self.shape[0]))), Exact.of(self.bias)


@dataclass(frozen=True)
class Sparse(Implicit):
    """Compressed rows: `weight` (entries,) stands in these rows and columns, in each place once; 0 elsewhere."""

    rows: np.ndarray
    columns: np.ndarray
    inputs: int

    @classmethod
    def read(cls, weight: np.ndarray, bias: np.ndarray, *whole: np.ndarray) -> "Sparse":
        """Return the step of these arrays, those after PARTS."""
        shapes = [weight.shape, (len(weight),), (len(bias) + 1,), ()] if weight.ndim == bias.ndim == 1 else []
        if any(n.dtype.kind not in "iu" for n in whole) or [n.shape for n in (weight, *whole)] != shapes:
            raise Refused("network: expected whole numbers in columns, starts, inputs of a sparse layer, one per entry")
        columns, starts, inputs = whole[0].astype(int), whole[1].astype(int), int(whole[2])
        rising = (
            not starts[0] and starts[-1] == len(weight) and (starts[1:] >= starts[:-1]).all()
        )  # no difference wraps
        if not len(weight) or not len(bias) or not rising or inputs > LARGEST:
            raise Refused(f"network: starts must rise from 0 to the number of entries, with at most {LARGEST} inputs")
        counts = np.diff(starts)
        rows = np.repeat(np.arange(len(bias)), counts)
        rises = (np.diff(columns) > 0) | (np.diff(rows) > 0)
        if columns.min() < 0 or columns.max() >= inputs or not rises.all():
            raise Refused("network: columns must be those of inputs, and rise in each row")
        return cls(weight, bias, rows, columns, inputs)

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return len(self.bias), self.inputs

    @property
    def terms(self) -> int:
        """The most products that are added up for one number, with the bias or not."""
        return max(self.shape)

    def transposed(self, forms: np.ndarray) -> np.ndarray:
        """Return forms W for floats (m, outputs)."""
        found = [np.bincount(self.columns, form[self.rows] * self.weight, self.inputs) for form in forms]
        return np.array(found).reshape(len(forms), self.inputs)

    def forward(self, x: np.ndarray, absolute: bool = False) -> np.ndarray:
        """Return W x for floats (inputs,), or |W| x."""
        weight = np.abs(self.weight) if absolute else self.weight
        return np.bincount(self.rows, weight * x[self.columns], len(self.bias))


@dataclass(frozen=True)
class Convolution(Implicit):
    """Cross-correlation with zero padding of images (channels, height, width), flattened.

    y[o, i, j] = filters[o] + sum weight[o, c, a, b] x[c, i s_0 - p_0 + a, j s_1 - p_1 + b]; the places (a, b) are one
    axis of `weight` (out, in, places), and `bias` repeats filters.
    """

    pixels: np.ndarray  # (places, in, positions): which input a place meets at a position; `inputs` for the padding
    inputs: int

    @classmethod
    def read(cls, weight: np.ndarray, filters: np.ndarray, *whole: np.ndarray) -> "Convolution":
        """Return the step of these arrays, those after PARTS."""
        if any(n.dtype.kind not in "iu" for n in whole) or [n.shape for n in whole] != [(3,), (2,), (2,)]:
            raise Refused("network: expected three, two and two whole numbers in input_shape, stride, padding")
        image, stride, padding = (tuple(map(int, n)) for n in whole)
        fits = weight.ndim == 4 and weight.size and filters.shape == weight.shape[:1]
        if not fits or min(*image, *stride) <= 0 or min(padding) < 0 or image[0] != weight.shape[1]:
            raise Refused("network: the arrays of a convolution do not fit each other")
        room = [n + 2 * pad - kernel for n, pad, kernel in zip(image[1:], padding, weight.shape[2:], strict=True)]
        if min(room) < 0:
            raise Refused("network: the kernel of a convolution is larger than its image")
        met = weight[0].size * prod(n // step + 1 for n, step in zip(room, stride, strict=True))
        if max(met, image[0] * prod(n + 2 * pad for n, pad in zip(image[1:], padding, strict=True))) > LARGEST:
            raise Refused(f"network: a convolution of more than {LARGEST} places")
        around = ((0, 0), *((pad, pad) for pad in padding))
        inputs = prod(image)
        numbers = np.pad(np.arange(inputs).reshape(image), around, constant_values=inputs)
        windows = sliding_window_view(numbers, weight.shape[2:], (1, 2))[:, :: stride[0], :: stride[1]]
        pixels = windows.reshape(image[0], -1, weight[0, 0].size).transpose(2, 0, 1)
        bias = np.repeat(filters, pixels.shape[2])
        return cls(weight.reshape(*weight.shape[:2], -1), bias, pixels, inputs)

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return len(self.bias), self.inputs

    @property
    def terms(self) -> int:
        """The most products that are added up for one number, with the bias or not."""
        return max(len(self.bias), self.weight[0].size)

    def transposed(self, forms: np.ndarray) -> np.ndarray:
        """Return forms W for floats (m, outputs)."""
        found = np.zeros((len(forms), self.inputs + 1))
        images = forms.reshape(len(forms), len(self.weight), -1)
        for place, pixels in enumerate(self.pixels):  # each pixel once, and what falls into the padding is not used
            found[:, pixels] += np.einsum("moi,oc->mci", images, self.weight[:, :, place], optimize=True)
        return found[:, :-1]

    def forward(self, x: np.ndarray, absolute: bool = False) -> np.ndarray:
        """Return W x for floats (inputs,), or |W| x."""
        weight = np.abs(self.weight) if absolute else self.weight
        return np.einsum("ock,kci->oi", weight, np.append(x, 0.0)[self.pixels], optimize=True).ravel()


@dataclass(frozen=True)
class Network:
    """Affine layers with ReLU between them, from the input up; each a tuple of steps without ReLU.

    After a hidden layer, counted from 1, there may be another nonlinearity.
    """

    layers: tuple[tuple[Step, ...], ...]
    others: Mapping[int, Other] = field(default_factory=dict)

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray], any_activation: bool = False) -> "Network":
        """Return the network of the arrays W1, b1, W2, b2, ... or 1.convolution.weight, 1.convolution.bias, ...

        With `any_activation` there may be those of activation.1.tanh, ..., else it is refused.
        """
        values = {name: np.asarray(array) for name, array in arrays.items()}
        if any(array.dtype.kind not in "iuf" or not np.isfinite(array).all() for array in values.values()):
            raise Refused("network: an array holds what is no finite number")
        matches = {name: match for name in values if (match := _ACTIVATION.fullmatch(name))}
        if matches and not any_activation:
            raise Refused("network: this theory is about ReLU, and there is another nonlinearity")
        others = {int(match[1]): activations.read(match[2], values.pop(name)) for name, match in matches.items()}
        numbers = range(1, len(values) // 2 + 1)
        if values and set(values) == {f"{letter}{i}" for i in numbers for letter in "Wb"}:
            names = {"W": "weight", "b": "bias"}
            values = {f"{name[1:]}.dense.{names[name[0]]}": array for name, array in values.items()}
        network = cls(_layers(values), others)
        if len(others) != len(matches) or not set(others) <= set(range(1, len(network.layers))):
            raise Refused("network: a nonlinearity stands after each hidden layer, and one only")
        joints = [pair for layer in network.layers for pair in pairwise(layer)]
        fit = all(below.shape[0] == above.shape[1] for below, above in joints)
        for i, (layer, above) in enumerate(pairwise(network.layers), start=1):
            size = layer[-1].shape[0]
            if i in network.pools:
                fit, size = fit and size == network.pools[i].inputs, len(network.pools[i].windows)
            fit = fit and size == above[0].shape[1]
        if not fit:
            raise Refused("network: the sizes of its layers do not fit each other")
        return network

    @property
    def steps(self) -> list[Step]:
        """All steps, from the input up."""
        return [step for layer in self.layers for step in layer]

    @property
    def inputs(self) -> int:
        """The number of inputs."""
        return self.layers[0][0].shape[1]

    @property
    def sizes(self) -> list[int]:
        """The number of outputs of each layer."""
        return [layer[-1].shape[0] for layer in self.layers]

    @property
    def pools(self) -> dict[int, Pool]:
        """Max pooling, after hidden layers counted from 1."""
        return {i: other for i, other in self.others.items() if isinstance(other, Pool)}

    @property
    def places(self) -> list[int]:
        """The number of slopes of each hidden layer: one for each neuron, or for each place of a window."""
        found = self.sizes[:-1]
        for i, pool in self.pools.items():
            found[i - 1] = pool.windows.size
        return found

    @property
    def cost(self) -> int:
        """Products of substituting both bounds of every hidden neuron, and the margins, back to the inputs."""
        below, total = 0, 0
        for i, layer in enumerate(self.layers):
            below += sum(step.products for step in layer)
            if i in self.pools:
                below += self.pools[i].windows.size * self.pools[i].windows.shape[1]
            total += (2 if i else 0) * layer[-1].shape[0] * below
        return total


def _layers(arrays: Mapping[str, np.ndarray]) -> tuple[tuple[Step, ...], ...]:
    found: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    for name, array in arrays.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise Refused(f"network: {name!r} is not the name of an array of a ReLU network")
        found.setdefault(int(match[1]), {}).setdefault(match[2], {})[match[3]] = array
    if not found or sorted(found) != [*range(1, len(found) + 1)] or any(len(kinds) != 1 for kinds in found.values()):
        raise Refused("network: its layers must be numbered from 1 without gaps, of one kind each")
    return tuple(_steps(*next(iter(found[i].items()))) for i in sorted(found))


def _steps(kind: str, arrays: Mapping[str, np.ndarray]) -> tuple[Step, ...]:
    if kind == "composition":
        return tuple(step for layer in _layers(arrays) for step in layer)
    if set(arrays) != set(PARTS[kind]):
        raise Refused(f"network: a {kind} layer has the arrays {', '.join(PARTS[kind])}")
    weight, bias, *whole = (arrays[name] for name in PARTS[kind])
    weight, bias = weight.astype(float), bias.astype(float)
    if kind in ("convolution", "sparse"):
        return ((Convolution if kind == "convolution" else Sparse).read(weight, bias, *whole),)
    if weight.ndim != (2 if kind == "dense" else 1):
        raise Refused("network: a dense layer has a matrix, a scaling a vector")
    return (Step(weight, bias),)
