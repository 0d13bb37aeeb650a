"""Networks whose values are used more than once, as the layers of a sequence: what is needed later is carried along.

A graph with branches is the function of a sequence of wider layers, so that every relaxation, tree and proof takes it.
Beside the neurons of each ReLU stand the values v that a later part needs: as relu(v) = v where v comes from a ReLU and
is never negative (no relaxation loses by it: :class:`tightrope.propagation.operators.SparseOperator`); otherwise as
relu(v) - relu(-v), the same function, but relaxed less tightly where v can have both signs. An affine map of what is
never negative is computed where it is needed (the projection of a skip), any other one as early as it can be. No number
is rounded: what cannot be multiplied exactly remains a composition.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import numpy as np
import scipy.sparse

from tightrope.errors import NetworkError
from tightrope.networks.activations import RELU, Activation, LeakyReLU, MaxPool, ReLU, Sigmoid, Step
from tightrope.networks.layers import Composition, Dense, Layer, Scaling, Sparse, identity, merged

#: Entries of the largest value, and of the largest matrix that is made of answers to unit vectors.
LARGEST = 2**24


@dataclass(frozen=True, eq=False)
class Node:
    """A value of the network: its input, or what a layer or nonlinearity makes of its sources, one after the other.

    `size` is the number of entries; `level` and `height` count the nonlinearities and all nodes on the longest path
    from the input. `never_negative` holds for what ReLU, sigmoid and step make, and for its sums, moves and pools
    with weights that are not negative either; `steady` says that it is that, or an affine map of what is steady.
    """

    size: int
    part: Layer | Activation | None = None
    sources: "tuple[Node, ...]" = ()
    level: int = 0
    height: int = 0
    steady: bool = False
    never_negative: bool = False

    @classmethod
    def of(cls, part: Layer | Activation, sources: "Sequence[Node]") -> "Node":
        """Return the value that a layer or nonlinearity makes."""
        size, kept = sum(source.size for source in sources), all(source.never_negative for source in sources)
        if isinstance(part, Activation):
            outputs = part.outputs(size)
            steady = kept = isinstance(part, ReLU | Sigmoid | Step) or (kept and isinstance(part, MaxPool))
        elif part.input_size == size:
            outputs, steady = part.output_size, all(source.steady for source in sources)
            kept = kept and all((array >= 0).all() for array in part.arrays().values())
        else:
            raise NetworkError(f"it takes {part.input_size} values and gets {size}.")
        if outputs > LARGEST:
            raise NetworkError(f"{outputs} values, more than {LARGEST}.")
        level = max(source.level for source in sources) + isinstance(part, Activation)
        height = max(source.height for source in sources) + 1
        return cls(outputs, part, tuple(sources), level, height, steady, kept)


@dataclass(frozen=True)
class Signal:
    """A value and its shape for one example, batch of 1."""

    node: Node
    shape: tuple[int, ...]

    def then(self, part: Layer | Activation, shape: tuple[int, ...] | None = None) -> "Signal":
        """Return what a layer or nonlinearity makes of it."""
        again = part == RELU == self.node.part  # ReLU(ReLU(h)) = ReLU(h)
        return Signal(self.node if again else Node.of(part, [self.node]), self.shape if shape is None else shape)

    def scaled(self, scale: np.ndarray, shift: np.ndarray) -> "Signal":
        """Return the entries times scale plus shift; both are broadcast as ONNX and torch do."""
        return self.then(Scaling(self.spread(scale), self.spread(shift)))

    def spread(self, constant: np.ndarray) -> np.ndarray:
        """Return a constant as one number for each entry."""
        try:
            return np.broadcast_to(constant, self.shape).ravel()
        except ValueError:
            shape = np.shape(constant)
            raise NetworkError(f"a constant of shape {shape} beside values of shape {self.shape}.") from None

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        if len(self.shape) != 4 or self.shape[0] != 1:
            raise NetworkError(f"values of shape {self.shape}; images are needed.")
        return self.shape[1], self.shape[2], self.shape[3]


Value = Signal | np.ndarray


def numbered(values: Sequence[Value]) -> list[np.ndarray]:
    """Return the numbers from 1 of all entries of signals, one after the other; 0 for those of constants."""
    found, count = [], 0
    for value in values:
        numbers = np.zeros(np.shape(value) if not isinstance(value, Signal) else value.shape, dtype=int)
        if isinstance(value, Signal):
            numbers += np.arange(count + 1, count + value.node.size + 1).reshape(value.shape)
            count += value.node.size
        found.append(numbers)
    return found


def moved(values: Sequence[Value], places: Sequence[np.ndarray], signs: Sequence[float] = (1.0,)) -> Signal:
    """Return the sum over i of signs[i] times the entries of signals with the numbers places[i], 0 for none."""
    nodes = [value.node for value in values if isinstance(value, Signal)]
    size, shape = sum(node.size for node in nodes), places[0].shape
    if len(nodes) == len(places) == 1 and np.array_equal(places[0].ravel(), np.arange(1, size + 1)):
        same = Signal(nodes[0], shape)
        return same if signs[0] == 1 else same.scaled(np.array(signs), np.zeros(1))
    W = sum(sign * _selection(place.ravel(), size) for place, sign in zip(places, signs, strict=True))
    return Signal(Node.of(Sparse.of(W, np.zeros(prod(shape))), nodes), shape)


def _selection(place: np.ndarray, size: int) -> scipy.sparse.csr_array:
    rows = place.nonzero()[0]
    return scipy.sparse.csr_array((np.ones(len(rows)), (rows, place[rows] - 1)), shape=(len(place), size))


def added(values: Sequence[Value], signs: Sequence[float]) -> Signal:
    """Return the sum of signs times values, broadcast as ONNX and torch do."""
    numbers = np.broadcast_arrays(*numbered(values))
    own = [i for i, value in enumerate(values) if isinstance(value, Signal)]
    found = moved(values, [numbers[i] for i in own], [signs[i] for i in own])
    constants = [signs[i] * np.asarray(value, float) for i, value in enumerate(values) if i not in own]
    return found.scaled(np.ones(1), sum(constants, np.zeros(1))) if constants else found


def concatenated(values: Sequence[Value], axis: int) -> Signal:
    """Return the values one after the other along an axis."""
    found = moved(values, [np.concatenate(numbered(values), axis)])
    constants = [np.zeros(value.shape) if isinstance(value, Signal) else value for value in values]
    shift = np.concatenate(constants, axis)
    return found.scaled(np.ones(1), shift) if shift.any() else found


def moves(signal: Signal, function: Callable[[np.ndarray], Sequence[np.ndarray]]) -> list[Signal]:
    """Return the results of a function of arrays that moves entries, leaves some out, or puts zeros between them."""
    if any(result.any() for result in function(np.zeros(signal.shape))):
        raise NetworkError("it must move the entries of its first input, and pad with 0.")
    return [moved([signal], [result.astype(int)]) for result in function(numbered([signal])[0].astype(float))]


def sign(signal: Signal) -> Signal:
    """Return the signs of the entries, 0 of 0: a step up for what is above it, and one down for what is below."""
    same = scipy.sparse.eye_array(size := signal.node.size)
    both = signal.then(Sparse.of(scipy.sparse.vstack([same, -same]), np.zeros(2 * size))).then(Step())
    return both.then(Sparse.of(scipy.sparse.hstack([same, -same]), np.zeros(size)))


def matrix(
    signal: Signal, function: Callable[[np.ndarray], np.ndarray], homogeneous: Callable[[np.ndarray], np.ndarray]
) -> Signal:
    """Return the result of an affine function of arrays, by its answer to 0, and without offset to unit vectors."""
    size, zero = signal.node.size, function(np.zeros(signal.shape))
    if zero.size * size > LARGEST:
        raise NetworkError(f"a matrix of {zero.size} x {size}, more than {LARGEST} entries.")
    W = np.array([homogeneous(unit.reshape(signal.shape)).ravel() for unit in np.eye(size)]).T
    sparse = 0 < 4 * np.count_nonzero(W) < W.size
    return signal.then(Sparse.of(W, zero.ravel()) if sparse else Dense(W, zero.ravel()), zero.shape)


# comparison ----------------------------------------------------------------------------------------


def samples(size: int) -> np.ndarray:
    """Return rows (8, size) of several sizes, for :func:`agreeing`: the first four of at most 3, then up to pixels."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((6, size)) * np.array([0.0, 0.3, 1.0, 3.0, 30.0, 300.0])[:, None]
    return np.concatenate([normal, rng.uniform(0, 255, (2, size))])


def agreeing(found: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    """Whether scores (8, classes) of the samples are the same, relative to the largest of those of similar inputs."""
    return found.shape == expected.shape and all(
        np.abs(found[own] - expected[own]).max() <= tolerance * np.abs(expected[own]).max(initial=1e-300)
        for own in (slice(4), slice(4, None))
    )


# the sequence --------------------------------------------------------------------------------------

#: A multiple of a value, to which the nonlinearity is applied.
_Multiple = tuple[Node, float]
_NONE = np.zeros(0)


def assemble(output: Node) -> tuple[tuple[Layer, ...], tuple[Activation, ...]]:
    """Return affine layers and the nonlinearities between them that compute the output of the input.

    A nonlinearity before the first layer, after the last one or after another one gets an identity layer there.

    Examples
    --------
    >>> x = Signal(Node(2), (1, 2))
    >>> layers, activations = assemble(added([x.then(RELU).then(Scaling([2.0, 3.0], [0.0, 0.0])), x], (1, 1)).node)
    >>> [layer.output_size for layer in layers], activations
    ([4, 2], (ReLU(),))
    """
    layers: list[Layer] = []
    activations: list[Activation] = []
    targets, parts = [(output, 1.0)], 0
    for level in range(output.level, -1, -1):
        leaves, between = _below([node for node, _ in targets], level)
        if level:
            activation, sums = _applied(leaves, level)
            activations.append(activation)
        else:
            sums = {leaf: {(leaf, 1.0): 1.0} for leaf in leaves}  # the input alone
        below = list(dict.fromkeys(multiple for own in sums.values() for multiple in own))
        layers.append(_layer(targets, sums, below, between))
        targets, parts = below, parts + len(between)
    if not parts:
        raise NetworkError("there is no layer with weights.")
    return tuple(reversed(layers)), tuple(reversed(activations))


def _below(targets: Iterable[Node], level: int) -> tuple[list[Node], list[Node]]:
    """What is there above `level` nonlinearities, and the affine values that are made of it for the targets."""
    leaves: dict[Node, None] = {}
    between: dict[Node, None] = {}
    waiting = list(targets)
    for node in waiting:
        if node in leaves or node in between:
            continue
        carried = not node.steady and node.level < level
        if node.part is None or isinstance(node.part, Activation) or carried:
            leaves[node] = None
        else:
            between[node] = None
            waiting += node.sources
    return list(leaves), sorted(between, key=lambda node: node.height)


def _applied(leaves: Sequence[Node], level: int) -> tuple[Activation, dict[Node, dict[_Multiple, float]]]:
    """What makes these values or carries them, and each as a sum: coefficients of what it makes of multiples."""
    new = [leaf for leaf in leaves if isinstance(leaf.part, Activation) and leaf.level == level]
    kinds = list(dict.fromkeys(leaf.part for leaf in new if isinstance(leaf.part, Activation)))
    if len(kinds) == 1 and len(new) == len(leaves) and (len(new) == 1 or kinds[0].windows is None):
        return kinds[0], {leaf: {(leaf.sources[0], 1.0): 1.0} for leaf in leaves}
    if wrong := [kind for kind in kinds if not isinstance(kind, ReLU | LeakyReLU)]:
        raise NetworkError(
            f"{type(wrong[0]).__name__} beside other values that a later part of the network needs; they are carried "
            "past ReLU and LeakyReLU only."
        )
    sums: dict[Node, dict[_Multiple, float]] = {}
    for leaf in leaves:
        value = leaf.sources[0] if leaf in new else leaf
        negative = getattr(leaf.part, "slope", 0.0) if leaf in new else float(not leaf.never_negative)
        sums[leaf] = {(value, 1.0): 1.0} | ({(value, -1.0): -negative} if negative else {})
    return RELU, sums


def _layer(
    targets: list[_Multiple],
    sums: Mapping[Node, Mapping[_Multiple, float]],
    state: list[_Multiple],
    between: list[Node],
) -> Layer:
    """The targets, of the values that are sums of the state, by way of those between."""
    stages: list[Layer] = []
    present: list[Any] = list(state)

    def add(rows: list[dict[Any, Any]], last: np.ndarray = _NONE) -> None:
        """Blocks of rows, each the matrices by which it takes present values; `last` is the offset of the last ones."""
        W = scipy.sparse.block_array([[row.get(one) for one in present] for row in rows], format="csr")
        stages.append(Sparse.of(W, np.concatenate([np.zeros(W.shape[0] - len(last)), last])))

    if list(sums.values()) != [{one: 1.0} for one in state]:
        add([{one: _multiple(leaf, factor) for one, factor in own.items()} for leaf, own in sums.items()])
    present = list(sums)
    for i, node in enumerate(between):
        later = {*(end for end, _ in targets), *(source for other in between[i + 1 :] for source in other.sources)}
        kept, part = [one for one in present if one in later], cast(Layer, node.part)
        if present == list(node.sources) and not kept:
            stages.append(part)
        else:
            W, b = part.sparse()
            own: dict[Node, Any] = {}
            for source, end in zip(node.sources, np.cumsum([one.size for one in node.sources]), strict=True):
                block = W[:, end - source.size : end]
                own[source] = own[source] + block if source in own else block
            add([*({one: _multiple(one)} for one in kept), own], b)
        present = [*kept, node]
    if targets != [(node, 1.0) for node in present]:
        add([{node: _multiple(node, factor)} for node, factor in targets])
    return _composed(stages) if stages else identity(sum(node.size for node, _ in targets))


def _multiple(node: Node, factor: float = 1.0) -> Any:
    return factor * scipy.sparse.eye_array(node.size)


def _composed(stages: list[Layer]) -> Layer:
    """Layers in a row as few of them as multiply to them exactly."""
    parts = stages[:1]
    for stage in stages[1:]:
        parts[-1:] = [parts[-1], stage] if (one := merged(parts[-1], stage)) is None else [one]
    return parts[0] if len(parts) == 1 else Composition(tuple(parts))
