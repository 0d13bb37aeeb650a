"""Networks whose values are used more than once, as the layers of a sequence: what is needed later is carried along.

A graph with branches is the function of a sequence of wider layers, so that every relaxation, tree and proof takes it.
Beside the neurons of each ReLU stand the values v that a later part needs: as relu(v) = v where v comes from a ReLU and
is never negative (no relaxation loses by it: :class:`tightrope.propagation.operators.SparseOperator`); otherwise as
relu(v) - relu(-v), the same function, but relaxed less tightly where v can have both signs. An affine map of what is
never negative is computed where it is needed (the projection of a skip), any other one as early as it can be. No number
is rounded: what cannot be multiplied exactly remains a composition.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import cast

import numpy as np
import scipy.sparse

from tightrope.errors import NetworkError
from tightrope.networks.activations import RELU, Activation, LeakyReLU, MaxPool, ReLU, Sigmoid, Step
from tightrope.networks.layers import Composition, Layer, Scaling, Sparse, identity, merged


@dataclass(frozen=True, eq=False)
class Node:
    """A value of the network: its input, or what a layer or nonlinearity makes of its sources, one after the other.

    `size` is the number of entries; `level` and `height` count the nonlinearities and all nodes on the longest path
    from the input; `steady` says that it is made of what is never negative.
    """

    size: int
    part: Layer | Activation | None = None
    sources: "tuple[Node, ...]" = ()
    level: int = 0
    height: int = 0
    steady: bool = False

    @classmethod
    def of(cls, part: Layer | Activation, sources: "Sequence[Node]") -> "Node":
        """Return the value that a layer or nonlinearity makes."""
        size, active = sum(source.size for source in sources), isinstance(part, Activation)
        steady = all(source.steady for source in sources)
        if isinstance(part, Activation):
            outputs, steady = (
                part.outputs(size),
                isinstance(part, ReLU | Sigmoid | Step) or (steady and isinstance(part, MaxPool)),
            )
        elif part.input_size == size:
            outputs = part.output_size
        else:
            raise NetworkError(f"it takes {part.input_size} values and gets {size}.")
        level, height = (max(getattr(source, name) for source in sources) for name in ("level", "height"))
        return cls(outputs, part, tuple(sources), level + active, height + 1, steady)


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
        size = prod(value.shape) if isinstance(value, Signal) else 0
        found.append(np.arange(count + 1, count + size + 1).reshape(value.shape) if size else np.zeros(np.shape(value)))
        count += size
    return [numbers.astype(int) for numbers in found]


def moved(values: Sequence[Value], places: Sequence[np.ndarray], signs: Sequence[float] = (1.0,)) -> Signal:
    """Return the sum over i of signs[i] times the entries of signals with the numbers places[i], 0 for none."""
    nodes = [value.node for value in values if isinstance(value, Signal)]
    size, shape = sum(node.size for node in nodes), places[0].shape
    if len(nodes) == len(places) == 1 and np.array_equal(places[0].ravel(), np.arange(1, size + 1)):
        return (
            Signal(nodes[0], shape) if signs[0] == 1 else Signal(nodes[0], shape).scaled(np.array(signs), np.zeros(1))
        )
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


# the sequence --------------------------------------------------------------------------------------

_Factors = tuple[float, ...]
_ONE: _Factors = (1.0,)


def assemble(output: Node) -> tuple[tuple[Layer, ...], tuple[Activation, ...]]:
    """Return affine layers and the nonlinearities between them that compute the output of the input.

    A nonlinearity before the first layer, after the last one or after another one gets an identity layer there.

    Examples
    --------
    >>> x = Signal(Node(2), (1, 2))
    >>> layers, activations = assemble(added([x.then(RELU).then(Scaling([2.0, 3.0], [0.0, 0.0])), x], (1, 1)).node)
    >>> [layer.output_size for layer in layers], activations
    ([6, 2], (ReLU(),))
    """
    layers: list[Layer] = []
    activations: list[Activation] = []
    targets = [(output, _ONE)]
    parts = 0
    for level in range(output.level, -1, -1):
        leaves, between = _below([node for node, _ in targets], level)
        activation, copies = _applied(leaves, level) if level else (RELU, [(_ONE, _ONE)])
        layers.append(_layer(targets, [(leaf, own[1]) for leaf, own in zip(leaves, copies, strict=True)], between))
        activations += [activation] * (level > 0)
        parts += len(between)
        targets = [
            (leaf.sources[0] if _is_new(leaf, level) else leaf, own[0])
            for leaf, own in zip(leaves, copies, strict=True)
        ]
    if not parts:
        raise NetworkError("there is no layer with weights.")
    return tuple(reversed(layers)), tuple(reversed(activations))


def _is_new(node: Node, level: int) -> bool:
    return isinstance(node.part, Activation) and node.level == level


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


def _applied(leaves: Sequence[Node], level: int) -> tuple[Activation, list[tuple[_Factors, _Factors]]]:
    """What makes these values, or leaves them; and for each the multiples that it gets, and those that add up to it."""
    kinds = dict.fromkeys(leaf.part if _is_new(leaf, level) else None for leaf in leaves)
    (first, *others) = kinds
    if isinstance(first, Activation) and not others and (len(leaves) == 1 or first.windows is None):
        return first, [(_ONE, _ONE)] * len(leaves)
    if wrong := [kind for kind in kinds if not isinstance(kind, ReLU | LeakyReLU | None)]:
        raise NetworkError(
            f"{type(wrong[0]).__name__} beside other values that a later part of the network needs; they are carried "
            "past ReLU and LeakyReLU only."
        )
    copies: list[tuple[_Factors, _Factors]] = []
    for leaf in leaves:
        plain = leaf.part == RELU if _is_new(leaf, level) else leaf.steady
        slope = leaf.part.slope if isinstance(leaf.part, LeakyReLU) and _is_new(leaf, level) else 1.0
        copies.append((_ONE, _ONE) if plain else ((1.0, -1.0), (1.0, -slope)))
    return RELU, copies


def _layer(targets: list[tuple[Node, _Factors]], state: list[tuple[Node, _Factors]], between: list[Node]) -> Layer:
    """The multiples of the targets, of the copies of each value of the state that add up to it."""
    stages: list[Layer] = []

    def add(rows: list[dict[Node, scipy.sparse.csr_array]], offset: np.ndarray) -> None:
        grid = [[row.get(node) for node in present] for row in rows]
        stages.append(Sparse.of(scipy.sparse.block_array(grid, format="csr"), offset))

    present = [node for node, _ in state]
    if any(factors != _ONE for _, factors in state):
        parts = [scipy.sparse.hstack([f * scipy.sparse.eye_array(node.size) for f in own]) for node, own in state]
        stages.append(Sparse.of(scipy.sparse.block_diag(parts), np.zeros(sum(node.size for node in present))))
    ends = [node for node, _ in targets]
    for i, node in enumerate(between):
        later = {*ends, *(source for other in between[i + 1 :] for source in other.sources)}
        kept = [one for one in present if one in later]
        if present == list(node.sources) and not kept:
            stages.append(cast(Layer, node.part))
        else:
            W, b = cast(Layer, node.part).sparse()
            own: dict[Node, scipy.sparse.csr_array] = {}
            at = 0
            for source in node.sources:
                block = W[:, at : at + source.size]
                own[source] = own[source] + block if source in own else block
                at += source.size
            rows = [{one: scipy.sparse.eye_array(one.size)} for one in kept]
            add([*rows, own], np.concatenate([np.zeros(sum(one.size for one in kept)), b]))
        present = [*kept, node]
    if targets != [(node, _ONE) for node in present]:
        rows = [{node: factor * scipy.sparse.eye_array(node.size)} for node, factors in targets for factor in factors]
        add(rows, np.zeros(sum(node.size * len(factors) for node, factors in targets)))
    return _composed(stages) if stages else identity(present[0].size)


def _composed(stages: list[Layer]) -> Layer:
    """Layers in a row as few of them as multiply to them exactly."""
    parts = stages[:1]
    for stage in stages[1:]:
        parts[-1:] = [parts[-1], stage] if (one := merged(parts[-1], stage)) is None else [one]
    return parts[0] if len(parts) == 1 else Composition(tuple(parts))
