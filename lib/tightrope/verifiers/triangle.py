"""Triangle and Parallelogram: bounds of every layer by linear programs, one after the other.

Each neuron's bounds are optima of a linear program over the constraints of all layers below it, which are themselves
built from such bounds. Neurons that a looser relaxation already proves stable need none: their constraints depend on
the sign of the bounds only. That relaxation is CROWN or DeepZ for Triangle, back-substituted hBox for Parallelogram,
whose sides are implied.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.networks.layers import Layer
from tightrope.proofs import Proof
from tightrope.propagation.certify import composition_error, proven_hidden
from tightrope.propagation.inputs import InputSet
from tightrope.regions import Ball
from tightrope.relaxations.triangle import layer_constraints
from tightrope.relu_proofs import Forms, programs
from tightrope.solvers.highs import LinearProgram, LinearReport
from tightrope.solvers.report import Status

#: What each kind is never looser than, so that its stable neurons are stable.
LOOSER = {"triangle": ("deepz", "crown"), "parallelogram": ("hbox_back",)}


@dataclass(frozen=True, eq=False)
class LayerwiseBounds:
    """What linear programs prove about one region.

    `lower` and `upper` (n_i,) bound the preactivations of each hidden layer, by programs where the neuron is unstable;
    of the network whose compositions are one matrix each. `margins` (K,) are upper bounds of F_k - F_label that include
    what that costs; 0 for the label. So many `programs` were solved; the `unfinished` ones ended early, with bounds
    that are valid and looser. `hidden` and `forms` are the multipliers that prove both, if `keep` was set.
    """

    lower: tuple[np.ndarray, ...]
    upper: tuple[np.ndarray, ...]
    margins: np.ndarray
    programs: int
    unfinished: int
    hidden: tuple[Forms, ...] = ()
    forms: Forms | None = None

    @property
    def worst(self) -> float:
        """The largest margin's bound, the label's own 0 not counted; negative: certified."""
        return float(np.delete(self.margins, np.flatnonzero(self.margins == 0)[:1]).max())

    def certificate(self, network: FeedForward, region: Ball, label: int) -> Proof:
        """Return a certificate file of the margins over the box that was bounded, solved with `keep`."""
        if self.forms is None:
            raise InputError("bounds: they were found without `keep`, so nothing of their proof is left.")
        known = [np.concatenate([high, -low]) for low, high in zip(self.lower, self.upper, strict=True)]
        return programs(network, region, label, known, self.hidden, self.forms)


def layerwise_bounds(
    network: FeedForward,
    lower: np.ndarray,
    upper: np.ndarray,
    label: int,
    kind: str = "triangle",
    *,
    keep: bool = False,
) -> LayerwiseBounds:
    """Bound the margins of a network over a box, lower and upper (p0,), by Triangle or Parallelogram.

    With `keep` the multipliers are returned too, as a proof needs them.
    """
    if kind not in LOOSER:
        raise InputError(f"kind: expected one of {', '.join(LOOSER)}, got {kind!r}.")
    if not 0 <= label < network.classes:
        raise InputError(f"label: expected an integer from 0 to {network.classes - 1}, got {label!r}.")
    built = _Program(network, lower, upper, kind)
    program, below = built.program, built.below
    W, b = network.layers[-1].dense()
    inexact = composition_error(network, InputSet.boxes(lower, upper))
    margins = np.zeros(network.classes)
    for k in range(network.classes):
        if k != label:
            found = program.maximise(below, W[k] - W[label])
            built.keep(k, found)
            # The difference of two rows is rounded once for each entry.
            reach = np.maximum(np.abs(program.lower[below]), np.abs(program.upper[below]))
            size = (np.abs(W[k]) + np.abs(W[label])) @ reach + abs(b[k]) + abs(b[label])
            slack = 2 * np.finfo(float).eps * (size + np.finfo(float).tiny)
            margins[k] = found.bound + (b[k] - b[label]) + slack + inexact[k] + inexact[label]
    whole = LayerwiseBounds(tuple(built.lower), tuple(built.upper), margins, built.solved, built.unfinished)
    return replace(whole, hidden=tuple(built.forms[:-1]), forms=built.forms[-1]) if keep else whole


def output_bounds(
    network: FeedForward, lower: np.ndarray, upper: np.ndarray, kind: str = "triangle"
) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds (K,) of the outputs over a box by Triangle or Parallelogram."""
    built = _Program(network, lower, upper, kind)
    program, below = built.program, built.below
    W, b = network.layers[-1].dense()
    inexact = composition_error(network, InputSet.boxes(lower, upper))
    low = np.array([program.minimise(below, row).bound for row in W]) + b - inexact
    high = np.array([program.maximise(below, row).bound for row in W]) + b + inexact
    return np.nextafter(low, -np.inf), np.nextafter(high, np.inf)


class _Program:
    """The program of all hidden layers, `below` its last columns, with the bounds that were found on the way."""

    def __init__(self, network: FeedForward, lower: np.ndarray, upper: np.ndarray, kind: str) -> None:
        network.require_relu("triangles and parallelograms are of")
        lower, upper = np.asarray(lower, float), np.asarray(upper, float)
        before = proven_hidden(network, InputSet.boxes(lower, upper), LOOSER[kind])
        self.program = program = LinearProgram()
        self.below = program.add_columns(lower, upper)
        self.lower, self.upper, self.solved, self.unfinished = list[np.ndarray](), list[np.ndarray](), 0, 0
        self.places: list[slice] = []  # of the rows W z - h = -b
        self.kept: list[dict[int, list[np.ndarray]]] = [{}]
        for i, layer in enumerate(network.layers[:-1]):
            low, high = (side[0].copy() for side in before[i])
            if i:  # the first layer's bounds are exact already
                self._tighten(layer, low, high)
            self.places.append(slice(program.rows, program.rows + len(low)))
            self.below = add_layer(program, self.below, kind, layer, low, high)
            self.lower.append(low)
            self.upper.append(high)
            self.kept.append({})

    def _tighten(self, layer: Layer, low: np.ndarray, high: np.ndarray) -> None:
        """Bound the unstable neurons of a layer by programs."""
        matrix, offset = layer.sparse()
        for j in np.flatnonzero((low < 0) & (high > 0)).tolist():
            row = slice(matrix.indptr[j], matrix.indptr[j + 1])
            columns, weights = self.below[matrix.indices[row]], matrix.data[row]
            least, most = self.program.minimise(columns, weights), self.program.maximise(columns, weights)
            low[j] = max(low[j], np.nextafter(least.bound + offset[j], -np.inf))
            high[j] = max(low[j], min(high[j], np.nextafter(most.bound + offset[j], np.inf)))
            self.keep(j, most)
            self.keep(len(low) + j, least, -1)

    def keep(self, row: int, found: LinearReport, sign: int = 1) -> None:
        """Count a program, and keep what proves one upper bound, or with the sign -1 one lower bound, of a layer.

        That are forms in the preactivations below, minus the multipliers of W z - h = -b.
        """
        self.solved += 1
        self.unfinished += found.status is not Status.SOLVED
        self.kept[-1][row] = [-sign * found.multipliers[place] for place in self.places]

    @cached_property
    def forms(self) -> list[Forms]:
        """What proves the bounds of each layer, the margins last."""
        columns = (tuple(np.array(part) for part in zip(*own.values(), strict=True)) for own in self.kept)
        return [Forms(np.array(list(own), int), parts) for own, parts in zip(self.kept, columns, strict=True)]


def add_layer(
    program: LinearProgram, below: np.ndarray, kind: str, layer: Layer, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Add one hidden layer to a program whose columns `below` are its inputs; return the columns of its activations."""
    constraints = layer_constraints(kind, layer, lower, upper)
    new = program.add_columns(constraints.lower, constraints.upper)
    local = constraints.matrix.tocoo()
    columns = np.r_[below, new][local.col]
    shape = (local.shape[0], program.columns)
    matrix = type(constraints.matrix)((local.data, (local.row, columns)), shape=shape)
    program.add_rows(matrix, constraints.row_lower, constraints.row_upper)
    return new[len(new) // 2 :]
