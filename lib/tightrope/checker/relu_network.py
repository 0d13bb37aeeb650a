"""Feed-forward ReLU networks: affine layers, each of one or more steps, with ReLU between them; see README-relu.md."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from tightrope.checker.numbers import Exact, Refused

_NAME = re.compile(r"([1-9][0-9]{0,3})\.(dense|convolution|scaling|composition)\.(.+)")


@dataclass(frozen=True)
class Dense:
    """x -> weight x + bias, weight (outputs, inputs)."""

    weight: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or 0 in self.weight.shape or self.bias.shape != self.weight.shape[:1]:
            raise Refused("network: a dense layer needs a matrix and one bias for each row")

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return self.weight.shape

    @property
    def terms(self) -> int:
        """The most products that are added up for one number, forward, transposed, or with the bias."""
        return max(self.shape)

    @cached_property
    def exact(self) -> tuple[Exact, Exact]:
        """The matrix and the bias."""
        return Exact.of(self.weight), Exact.of(self.bias)

    def transposed(self, forms: np.ndarray) -> np.ndarray:
        """Return forms W for floats (m, outputs)."""
        return forms @ self.weight

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return W x for floats (inputs,)."""
        return self.weight @ x

    def absolute(self, x: np.ndarray) -> np.ndarray:
        """Return |W| x for floats (inputs,)."""
        return np.abs(self.weight) @ x


@dataclass(frozen=True)
class Scaling:
    """x -> scale x + bias, entry by entry."""

    scale: np.ndarray
    bias: np.ndarray
    terms = 1

    def __post_init__(self) -> None:
        if self.scale.ndim != 1 or not len(self.scale) or self.bias.shape != self.scale.shape:
            raise Refused("network: a scaling needs vectors of one length")

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return len(self.scale), len(self.scale)

    @cached_property
    def exact(self) -> tuple[Exact, Exact]:
        """The scale and the bias."""
        return Exact.of(self.scale), Exact.of(self.bias)

    def transposed(self, forms: np.ndarray) -> np.ndarray:
        """Return forms times the scale, for floats (m, outputs)."""
        return forms * self.scale

    forward = transposed

    def absolute(self, x: np.ndarray) -> np.ndarray:
        """Return |scale| x for floats."""
        return x * np.abs(self.scale)


@dataclass(frozen=True)
class Convolution:
    """Cross-correlation with zero padding of images (channels, height, width), flattened.

    y[o, i, j] = filter_bias[o] + sum weight[o, c, a, b] x[c, i s_0 - p_0 + a, j s_1 - p_1 + b].
    """

    weight: np.ndarray
    filter_bias: np.ndarray
    image: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def __post_init__(self) -> None:
        fits = self.weight.ndim == 4 and 0 not in self.weight.shape and self.filter_bias.shape == self.weight.shape[:1]
        fits = fits and len(self.image) == 3 and len(self.stride) == len(self.padding) == 2
        fits = fits and min(*self.image, *self.stride) > 0 and min(self.padding) >= 0
        if not fits or self.image[0] != self.weight.shape[1] or min(self.out) <= 0:
            raise Refused("network: the arrays of a convolution do not fit each other")

    @property
    def out(self) -> tuple[int, ...]:
        """Channels, height and width of an output."""
        sizes = zip(self.image[1:], self.padding, self.weight.shape[2:], self.stride, strict=True)
        return len(self.weight), *((n + 2 * pad - kernel) // step + 1 for n, pad, kernel, step in sizes)

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return int(np.prod(self.out)), int(np.prod(self.image))

    @property
    def terms(self) -> int:
        """The most products that are added up for one number, with the bias or not."""
        return max(self.shape[0], self.weight[0].size)

    @property
    def bias(self) -> np.ndarray:
        """The filters' biases at every place (outputs,)."""
        return np.repeat(self.filter_bias, self.out[1] * self.out[2])

    @cached_property
    def exact(self) -> tuple[Exact, Exact]:
        """The matrix, whose entries are those of the kernels, and the bias."""
        return Exact.of(self.transposed(np.eye(self.shape[0]))), Exact.of(self.bias)

    def _places(self) -> list[tuple[int, int, tuple[slice, slice]]]:
        """Return each place of the kernel with the padded pixels that it meets."""
        (_, height, width), (down, right) = self.out, self.stride
        rows, columns = self.weight.shape[2:]
        return [
            (a, b, (slice(a, a + down * height, down), slice(b, b + right * width, right)))
            for a in range(rows)
            for b in range(columns)
        ]

    def _padded(self) -> tuple[int, int, int]:
        return self.image[0], self.image[1] + 2 * self.padding[0], self.image[2] + 2 * self.padding[1]

    def _inside(self) -> tuple[slice, slice]:
        (top, left), (_, height, width) = self.padding, self.image
        return slice(top, top + height), slice(left, left + width)

    def transposed(self, forms: np.ndarray) -> np.ndarray:
        """Return forms W for floats (m, outputs)."""
        images = forms.reshape(-1, *self.out)
        padded = np.zeros((len(forms), *self._padded()))
        for a, b, pixels in self._places():
            part = np.tensordot(images, self.weight[:, :, a, b], (1, 0))  # (m, height, width, channels)
            padded[(..., *pixels)] += np.moveaxis(part, 3, 1)
        return padded[(..., *self._inside())].reshape(len(forms), -1)

    def _apply(self, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
        padded = np.zeros(self._padded())
        padded[(..., *self._inside())] = x.reshape(self.image)
        parts = (np.tensordot(weight[:, :, a, b], padded[(..., *pixels)], 1) for a, b, pixels in self._places())
        return np.asarray(sum(parts)).ravel()

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return W x for floats (inputs,)."""
        return self._apply(self.weight, x)

    def absolute(self, x: np.ndarray) -> np.ndarray:
        """Return |W| x for floats (inputs,)."""
        return self._apply(np.abs(self.weight), x)


Step = Dense | Scaling | Convolution


@dataclass(frozen=True)
class Network:
    """Affine layers with ReLU between them, from the input up; each a tuple of steps without ReLU."""

    layers: tuple[tuple[Step, ...], ...]

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray]) -> "Network":
        """Return the network of the arrays W1, b1, W2, b2, ... or 1.convolution.weight, 1.convolution.bias, ...

        Raises
        ------
        Refused
            One is missing or foreign, is not finite, or the shapes do not fit.
        """
        values = {name: np.asarray(array) for name, array in arrays.items()}
        if any(array.dtype.kind not in "iuf" or not np.isfinite(array).all() for array in values.values()):
            raise Refused("network: an array holds what is no finite number")
        depth = len(values) // 2
        if values and set(values) == {f"{letter}{i}" for i in range(1, depth + 1) for letter in "Wb"}:
            pairs = [(values[f"W{i}"].astype(float), values[f"b{i}"].astype(float)) for i in range(1, depth + 1)]
            network = cls(tuple((Dense(W, b),) for W, b in pairs))
        else:
            network = cls(_layers(values))
        steps = [step for layer in network.layers for step in layer]
        if any(below.shape[0] != above.shape[1] for below, above in pairwise(steps)):
            raise Refused("network: the sizes of its layers do not fit each other")
        return network

    @property
    def inputs(self) -> int:
        """The number of inputs."""
        return self.layers[0][0].shape[1]

    @property
    def sizes(self) -> list[int]:
        """The number of outputs of each layer."""
        return [layer[-1].shape[0] for layer in self.layers]

    @property
    def cost(self) -> int:
        """Products of substituting both bounds of every hidden neuron, and the margins, back to the inputs."""
        below, total = 0, 0
        for i, layer in enumerate(self.layers):
            below += sum(s.shape[0] * (1 if isinstance(s, Scaling) else s.shape[1]) for s in layer)
            total += (2 if i else 0) * layer[-1].shape[0] * below
        return total


def _layers(arrays: Mapping[str, np.ndarray]) -> tuple[tuple[Step, ...], ...]:
    found: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    for name, array in arrays.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise Refused(f"network: {name!r} is not the name of an array of a ReLU network")
        found.setdefault(int(match[1]), {}).setdefault(match[2], {})[match[3]] = array
    if sorted(found) != list(range(1, len(found) + 1)) or any(len(kinds) != 1 for kinds in found.values()):
        raise Refused("network: its layers must be numbered from 1 without gaps, of one kind each")
    return tuple(_steps(*next(iter(found[i].items()))) for i in sorted(found))


def _steps(kind: str, arrays: Mapping[str, np.ndarray]) -> tuple[Step, ...]:
    if kind == "composition":
        return tuple(step for layer in _layers(arrays) for step in layer)
    names = {
        "dense": ("weight", "bias"),
        "scaling": ("scale", "shift"),
        "convolution": ("weight", "bias", "input_shape", "stride", "padding"),
    }[kind]
    if set(arrays) != set(names):
        raise Refused(f"network: a {kind} layer has the arrays {', '.join(names)}")
    first, second = (arrays[name].astype(float) for name in names[:2])
    if kind == "dense":
        return (Dense(first, second),)
    if kind == "scaling":
        return (Scaling(first, second),)
    whole = [arrays[name] for name in names[2:]]
    if any(array.dtype.kind not in "iu" for array in whole) or [array.shape for array in whole] != [(3,), (2,), (2,)]:
        raise Refused(f"network: expected three, two and two whole numbers in {', '.join(names[2:])}")
    shape, stride, padding = ([int(n) for n in array] for array in whole)
    three, pairs = (shape[0], shape[1], shape[2]), ((stride[0], stride[1]), (padding[0], padding[1]))
    return (Convolution(first, second, three, *pairs),)
