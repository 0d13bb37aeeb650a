"""Affine layers as frozen arrays: dense, convolution, scaling, sparse, and several of them in a row.

All kinds share one small protocol, so that whoever walks through a network need not know them:

- ``input_size``, ``output_size``: numbers of entries of a row, images flattened channel by channel, row by row;
- ``forward(rows)``: (N, n_in) -> (N, n_out) in float64;
- ``dense()``: ``W`` (n_out, n_in) and ``b`` (n_out,) with ``forward(x) = W x + b``; ``sparse()``: the same with
  W in compressed rows;
- ``arrays()``: what defines the layer, by name, for files and hashes.

Arrays are float64, read-only, and checked when the layer is made.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse

from tightrope.errors import NetworkError
from tightrope.networks.activations import Activation
from tightrope.networks.arrays import integer_array, integers, weight


class _Affine:
    """What follows from the fields, ``_matrix`` (an array or compressed sparse rows) and ``_offset``."""

    @property
    def input_size(self) -> int:
        """n_in."""
        raise NotImplementedError

    @property
    def output_size(self) -> int:
        """n_out."""
        raise NotImplementedError

    def _matrix(self) -> Any:
        raise NotImplementedError

    def _offset(self) -> np.ndarray:
        raise NotImplementedError

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what defines the layer, by name."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    def dense(self) -> tuple[np.ndarray, np.ndarray]:
        """Return W (n_out, n_in) and b (n_out,) as arrays; not the layer's own, except for :class:`Dense`."""
        W = self._matrix()
        return (W.toarray() if scipy.sparse.issparse(W) else W), self._offset()

    def sparse(self) -> tuple[scipy.sparse.csr_array, np.ndarray]:
        """Return W in compressed sparse rows and b (n_out,)."""
        return scipy.sparse.csr_array(self._matrix()), self._offset()


@dataclass(frozen=True, eq=False)
class Dense(_Affine):
    """``y = W x + b`` with weight (n_out, n_in) and bias (n_out,).

    Examples
    --------
    >>> Dense([[1.0, 2.0]], [3.0]).forward(np.array([[1.0, 1.0]]))
    array([[6.]])
    """

    weight: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", weight("weight", self.weight, (None, None)))
        object.__setattr__(self, "bias", weight("bias", self.bias, (len(self.weight),)))

    @property
    def input_size(self) -> int:
        return self.weight.shape[1]

    @property
    def output_size(self) -> int:
        return self.weight.shape[0]

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """Map rows (N, n_in) to (N, n_out)."""
        return rows @ self.weight.T + self.bias

    def _matrix(self) -> Any:
        return self.weight

    def _offset(self) -> np.ndarray:
        return self.bias


@dataclass(frozen=True, eq=False)
class Convolution(_Affine):
    """``y[o, i, j] = bias[o] + sum_{c,a,b} weight[o, c, a, b] x[c, i s_h - p_h + a, j s_w - p_w + b]``, zero outside.

    The weight is (c_out, c_in, k_h, k_w), the bias (c_out,), the input shape (c_in, h, w); stride and padding are those
    of rows and columns, or one integer for both, as in ``torch.nn.Conv2d``.

    Examples
    --------
    >>> blur = Convolution(np.ones((1, 1, 2, 2)) / 4, [0.0], input_shape=(1, 4, 4), stride=2)
    >>> blur.output_shape, blur.output_size
    ((1, 2, 2), 4)
    >>> blur.forward(np.arange(16.0)[None])
    array([[ 2.5,  4.5, 10.5, 12.5]])
    """

    weight: np.ndarray
    bias: np.ndarray
    input_shape: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", weight("weight", self.weight, (None, None, None, None)))
        object.__setattr__(self, "bias", weight("bias", self.bias, (len(self.weight),)))
        object.__setattr__(self, "input_shape", integers("input_shape", self.input_shape, 3, 1))
        object.__setattr__(self, "stride", integers("stride", self.stride, 2, 1))
        object.__setattr__(self, "padding", integers("padding", self.padding, 2, 0))
        if self.input_shape[0] != self.weight.shape[1]:
            raise NetworkError(
                f"input_shape {self.input_shape} has {self.input_shape[0]} channels, the weight {self.weight.shape} "
                f"needs {self.weight.shape[1]}."
            )
        if min(self.output_shape) < 1:
            image = f"the input {self.input_shape[1:]} with padding {self.padding}"
            raise NetworkError(f"the kernel {self.weight.shape[2:]} is larger than {image}.")

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(c_out, h_out, w_out)."""
        sizes = zip(self.input_shape[1:], self.padding, self.weight.shape[2:], self.stride, strict=True)
        height, width = ((n + 2 * padding - kernel) // stride + 1 for n, padding, kernel, stride in sizes)
        return len(self.weight), height, width

    @property
    def input_size(self) -> int:
        return prod(self.input_shape)

    @property
    def output_size(self) -> int:
        return prod(self.output_shape)

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """Map rows (N, n_in) to (N, n_out)."""
        import torch  # slow to import; dense networks do not need it

        images = torch.tensor(np.reshape(rows, (-1, *self.input_shape)), dtype=torch.float64)
        weight, bias = torch.tensor(self.weight), torch.tensor(self.bias)
        with torch.no_grad():
            out = torch.nn.functional.conv2d(images, weight, bias, self.stride, self.padding)
        return out.flatten(1).numpy()

    def _matrix(self) -> Any:
        # One entry for each output position and kernel entry; those that fall on the padding are left out.
        shape = (*self.output_shape, *self.weight.shape[1:])
        o, i, j, c, a, b = np.indices(shape, sparse=True)
        row, column = i * self.stride[0] - self.padding[0] + a, j * self.stride[1] - self.padding[1] + b
        _, height, width = self.input_shape
        inside = np.broadcast_to((row >= 0) & (row < height) & (column >= 0) & (column < width), shape)
        values = np.broadcast_to(self.weight[:, None, None], shape)[inside]
        outputs = np.broadcast_to((o * shape[1] + i) * shape[2] + j, shape)[inside]
        inputs = np.broadcast_to((c * height + row) * width + column, shape)[inside]
        return scipy.sparse.csr_array((values, (outputs, inputs)), shape=(self.output_size, self.input_size))

    def _offset(self) -> np.ndarray:
        return np.repeat(self.bias, prod(self.output_shape[1:]))


@dataclass(frozen=True, eq=False)
class Scaling(_Affine):
    """``y_j = scale_j x_j + shift_j`` (n,): normalisation of images, batch normalisation, the identity.

    Examples
    --------
    >>> Scaling([2.0, 1.0], [0.0, -1.0]).forward(np.array([[1.0, 1.0]]))
    array([[2., 0.]])
    """

    scale: np.ndarray
    shift: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", weight("scale", self.scale, (None,)))
        object.__setattr__(self, "shift", weight("shift", self.shift, (len(self.scale),)))

    @property
    def input_size(self) -> int:
        return len(self.scale)

    @property
    def output_size(self) -> int:
        return len(self.scale)

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """Map rows (N, n) to (N, n)."""
        return rows * self.scale + self.shift

    def _matrix(self) -> Any:
        return scipy.sparse.csr_array(scipy.sparse.diags_array(self.scale))

    def _offset(self) -> np.ndarray:
        return self.shift


@dataclass(frozen=True, eq=False)
class Sparse(_Affine):
    """``y = W x + b``, row i of W being ``weight[k]`` in ``columns[k]`` for ``starts[i] <= k < starts[i + 1]``.

    For moves of entries, and networks with branches (:mod:`tightrope.networks.graph`). Columns rise in each row; W has
    `inputs` columns and a row for each entry of the bias (n_out,).

    Examples
    --------
    >>> Sparse.of(scipy.sparse.csr_array([[0.0, 2.0], [1.0, 0.0]]), [0.0, 3.0]).forward(np.array([[1.0, 5.0]]))
    array([[10.,  4.]])
    """

    weight: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    inputs: int
    bias: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", weight("weight", self.weight, (None,)))
        object.__setattr__(self, "bias", weight("bias", self.bias, (None,)))
        entries, rows = len(self.weight), len(self.bias)
        (inputs,) = integers("inputs", np.ravel(self.inputs), 1, 1)
        object.__setattr__(self, "inputs", inputs)
        for name, length in (("columns", entries), ("starts", rows + 1)):
            object.__setattr__(self, name, integer_array(name, getattr(self, name), length, 0))
        rising = np.diff(self.columns) > 0
        within = self.starts[(self.starts > 0) & (self.starts < entries)]
        if self.starts[0] or self.starts[-1] != entries or (np.diff(self.starts) < 0).any():
            raise NetworkError(f"starts: expected {rows + 1} numbers that rise from 0 to {entries}.")
        rising[within - 1] = True
        if self.columns.max() >= inputs or not rising.all():
            raise NetworkError(f"columns: expected numbers below {inputs} that rise in each row.")

    @classmethod
    def of(cls, matrix: Any, bias: Any) -> "Sparse":
        """Return the layer of a sparse matrix (n_out, n_in) and a bias (n_out,)."""
        W = scipy.sparse.csr_array(matrix)
        W.sum_duplicates()
        if not W.nnz:  # a file has no empty arrays
            W = scipy.sparse.csr_array(([0.0], ([0], [0])), shape=W.shape)
        return cls(W.data, W.indices, W.indptr, W.shape[1], bias)

    @property
    def input_size(self) -> int:
        return self.inputs

    @property
    def output_size(self) -> int:
        return len(self.bias)

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """Map rows (N, n_in) to (N, n_out)."""
        return (self._matrix() @ rows.T).T + self.bias

    def _matrix(self) -> Any:
        shape = (self.output_size, self.inputs)
        return scipy.sparse.csr_array((self.weight, self.columns, self.starts), shape=shape)

    def _offset(self) -> np.ndarray:
        return self.bias


@dataclass(frozen=True, eq=False)
class Composition(_Affine):
    """Affine layers one after the other, without ReLU between them.

    :meth:`dense` multiplies them in float64, so its W and b are those of ``forward`` up to rounding.

    Examples
    --------
    >>> Composition((Scaling([2.0], [1.0]), Dense([[3.0]], [0.0]))).dense()
    (array([[6.]]), array([3.]))
    """

    layers: "tuple[Layer, ...]"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", chain(self.layers))

    @property
    def input_size(self) -> int:
        return self.layers[0].input_size

    @property
    def output_size(self) -> int:
        return self.layers[-1].output_size

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """Map rows (N, n_in) to (N, n_out)."""
        for layer in self.layers:
            rows = layer.forward(rows)
        return rows

    def _matrix(self) -> Any:
        W = self.layers[0]._matrix()
        for layer in self.layers[1:]:
            W = layer._matrix() @ W
        return W

    def _offset(self) -> np.ndarray:
        b = self.layers[0]._offset()
        for layer in self.layers[1:]:
            b = layer._matrix() @ b + layer._offset()
        return b

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of all layers, as 1.scaling.scale, 2.dense.weight, ..."""
        return named_arrays(self.layers)


Pair: TypeAlias = tuple[int, int]
Layer: TypeAlias = Dense | Convolution | Scaling | Sparse | Composition
KINDS: Mapping[str, Any] = {kind.__name__.lower(): kind for kind in (Dense, Convolution, Scaling, Sparse, Composition)}


def chain(layers: Iterable[Layer], activations: Sequence[Activation] = ()) -> tuple[Layer, ...]:
    """Return the layers as a tuple, after checking that each fits the one before it and what is between them."""
    layers = tuple(layers)
    if not layers:
        raise NetworkError("layers is empty; give at least one layer.")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise NetworkError(
                f"layers[{i}] is a {type(layer).__name__}; give one of {', '.join(k.__name__ for k in KINDS.values())} "
                "of tightrope.networks."
            )
        if not i:
            continue
        size = layers[i - 1].output_size
        if activations:
            size = activations[i - 1].outputs(size)
        if layer.input_size != size:
            raise NetworkError(
                f"layers[{i}] ({type(layer).__name__}) needs {layer.input_size} inputs, "
                f"layers[{i - 1}] has {size} outputs."
            )
    return layers


def identity(size: int) -> Scaling:
    """Return the layer ``y = x``, (size,) -> (size,)."""
    return Scaling(np.ones(size), np.zeros(size))


def average(shape: tuple[int, int, int], kernel: Pair, stride: Pair, padding: Pair) -> Convolution:
    """Return average pooling of images (channels, height, width), zeros of the padding counted."""
    channels = np.arange(shape[0])
    weight = np.zeros((shape[0], shape[0], *kernel))
    weight[channels, channels] = 1 / prod(kernel)
    return Convolution(weight, np.zeros(shape[0]), shape, stride, padding)


def transposed(
    weight: np.ndarray, bias: np.ndarray, shape: tuple[int, int, int], stride: Pair, padding: Pair, more: Pair
) -> tuple[Sparse, tuple[int, int, int]]:
    """Return a transposed convolution of images, and the shape of its results; `more` pixels are added at their ends.

    The weight is (channels in, channels out, height, width), as torch and ONNX have it: the matrix is the transpose of
    that of the convolution with this weight.
    """
    sizes = zip(shape[1:], stride, padding, weight.shape[2:], more, strict=True)
    height, width = ((n - 1) * step - 2 * pad + kernel + end for n, step, pad, kernel, end in sizes)
    results = weight.shape[1], height, width
    if (entries := weight.size * prod(shape[1:])) > 2**24:
        raise NetworkError(f"a matrix with {entries} entries that are not 0, more than {2**24}.")
    back = Convolution(weight, np.zeros(len(weight)), results, stride, padding)
    if back.output_shape != shape:
        raise NetworkError(
            f"{more} more pixels for a stride of {stride}, or a weight {weight.shape} for images {shape}."
        )
    return Sparse.of(back.sparse()[0].T, np.repeat(bias, height * width)), results


def merged(first: Layer, second: Layer) -> Layer | None:
    """Return second(first(x)) as one layer, or None if an entry of its matrix or bias would be rounded.

    None is rounded if each is one product, one factor of it 1 or -1: a bias after a matrix, moved entries, signs.

    Examples
    --------
    >>> merged(Dense([[2.0, 3.0]], [0.0]), Scaling([-1.0], [0.5]))
    Dense(weight=array([[-2., -3.]]), bias=array([0.5]))
    """
    if not {Dense, Sparse} & {type(first), type(second)} or {Convolution, Composition} & {type(first), type(second)}:
        return None
    (B, b), (A, a) = first.sparse(), second.sparse()
    A, B = (scipy.sparse.block_array([[W, c[:, None]], [None, [[1.0]]]], format="csr") for W, c in ((A, a), (B, b)))
    rough, broad = abs(A) - abs(A.sign()), abs(B) - abs(B.sign())  # 0 where an entry is 0, 1 or -1
    if (abs(rough).max(axis=0).toarray() * abs(broad).max(axis=1).toarray()).any():
        return None
    if (abs(A.sign()) @ abs(B.sign())).max() > 1:
        return None
    whole = scipy.sparse.csr_array(A @ B)[:-1]
    W, bias = whole[:, :-1], whole[:, [-1]].toarray().ravel()
    return Dense(W.toarray(), bias) if Dense in (type(first), type(second)) else Sparse.of(W, bias)


def forward(layers: Sequence[Layer], activations: Sequence[Activation], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what each layer maps rows (N, p0) to: preactivations (N, n_i), the last are the network's outputs."""
    for i, layer in enumerate(layers):
        rows = layer.forward(activations[i - 1].value(rows) if i else rows)
        yield rows


def named_arrays(layers: tuple[Layer, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of all layers under `<layer, from 1>.<kind>.<array>`, the form of our .npz files."""
    return {
        f"{i}.{type(layer).__name__.lower()}.{name}": array
        for i, layer in enumerate(layers, start=1)
        for name, array in layer.arrays().items()
    }


def from_named_arrays(arrays: Mapping[str, object], source: object = "the file") -> tuple[Layer, ...]:
    """Build the layers from what :func:`named_arrays` returned."""
    groups: dict[int, dict[str, dict[str, object]]] = {}
    for key, value in arrays.items():
        number, _, rest = key.partition(".")
        kind, _, name = rest.partition(".")
        if not (number.isdecimal() and kind in KINDS and name):
            raise NetworkError(
                f"{source}: {key!r} is not the name of an array of a layer; names are <layer>.<kind>.<array>, counted "
                f"from 1, with a kind of {', '.join(KINDS)}."
            )
        groups.setdefault(int(number), {}).setdefault(kind, {})[name] = value
    if sorted(groups) != list(range(1, len(groups) + 1)) or any(len(kinds) > 1 for kinds in groups.values()):
        raise NetworkError(
            f"{source} must number its layers 1, 2, ... without gaps, one kind each; found {', '.join(sorted(arrays))}."
        )
    return tuple(_layer(*next(iter(groups[number].items())), f"{source}, layer {number}") for number in sorted(groups))


def _layer(kind: str, arrays: Mapping[str, object], source: str) -> Layer:
    if kind == "composition":
        return Composition(from_named_arrays(arrays, source))
    wanted = tuple(KINDS[kind].__dataclass_fields__)
    if set(arrays) != set(wanted):
        raise NetworkError(f"{source}: a {kind} layer has {', '.join(wanted)}; found {', '.join(sorted(arrays))}.")
    try:
        return KINDS[kind](**arrays)
    except NetworkError as error:
        raise NetworkError(f"{source}: {error}") from error
