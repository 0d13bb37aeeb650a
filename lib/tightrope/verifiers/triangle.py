"""Triangle and Parallelogram: bounds of every layer by linear programs, one after the other.

Each neuron's bounds are optima of a linear program over the constraints of all layers below it, which are themselves
built from such bounds. Neurons that a looser relaxation already proves stable need none: their constraints depend on
the sign of the bounds only. That relaxation is CROWN or DeepZ for Triangle, back-substituted hBox for Parallelogram,
whose sides are implied.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from tightrope.solvers.highs import LinearProgram
from tightrope.solvers.report import Status

#: What each kind is never looser than, so that its stable neurons are stable.
LOOSER = {"triangle": ("deepz", "crown"), "parallelogram": ("hbox_back",)}


@dataclass(frozen=True, eq=False)
class LayerwiseBounds:
    """What linear programs prove about one region.

    Attributes
    ----------
    lower, upper : tuple of (n_i,) arrays
        Bounds of the preactivations of each hidden layer, those of programs where the neuron is unstable; of the
        network whose compositions are one matrix each. The margins include what that costs.
    margins : (K,) array
        Upper bounds of F_k - F_label; 0 for the label.
    programs : int
        How many were solved.
    unfinished : int
        How many of them ended at a limit; their bounds are valid and looser.
    hidden, forms
        The multipliers that prove the hidden layers' bounds and the margins, if `keep` was set; for
        :meth:`certificate`.
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
    time_limit: float | None = None,
    keep: bool = False,
) -> LayerwiseBounds:
    """Bound the margins of a network over a box by Triangle or Parallelogram.

    Parameters
    ----------
    network : FeedForward
    lower, upper : (p0,)
        The box, in network-input units.
    label : int
    kind : {"triangle", "parallelogram"}
    time_limit : float, optional
        Seconds for one program.
    keep
        Return the multipliers too, as a proof needs them.
    """
    if kind not in LOOSER:
        raise InputError(f"kind: expected one of {', '.join(LOOSER)}, got {kind!r}.")
    if not 0 <= label < network.classes:
        raise InputError(f"label: expected an integer from 0 to {network.classes - 1}, got {label!r}.")
    kept: list[_Kept] = []
    program, below, found_lower, found_upper, solved, unfinished = _build(network, lower, upper, kind, time_limit, kept)
    last = kept.pop()
    W, b = network.layers[-1].dense()
    inexact = composition_error(network, InputSet.boxes(lower, upper))
    margins = np.zeros(network.classes)
    for k in range(network.classes):
        if k != label:
            found = program.maximise(below, W[k] - W[label])
            last.add(k, found.multipliers)
            # The difference of two rows is rounded once for each entry.
            reach = np.maximum(np.abs(program.lower[below]), np.abs(program.upper[below]))
            size = (np.abs(W[k]) + np.abs(W[label])) @ reach + abs(b[k]) + abs(b[label])
            slack = 2 * np.finfo(float).eps * (size + np.finfo(float).tiny)
            margins[k] = found.bound + (b[k] - b[label]) + slack + inexact[k] + inexact[label]
            solved += 1
            unfinished += found.status is not Status.SOLVED
    whole = LayerwiseBounds(tuple(found_lower), tuple(found_upper), margins, solved, unfinished)
    if not keep:
        return whole
    return replace(whole, hidden=tuple(layer.forms for layer in kept), forms=last.forms)


def output_bounds(
    network: FeedForward, lower: np.ndarray, upper: np.ndarray, kind: str = "triangle"
) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds (K,) of the outputs over a box by Triangle or Parallelogram."""
    program, below, *_ = _build(network, lower, upper, kind, None, [])
    W, b = network.layers[-1].dense()
    inexact = composition_error(network, InputSet.boxes(lower, upper))
    low = np.array([program.minimise(below, row).bound for row in W]) + b - inexact
    high = np.array([program.maximise(below, row).bound for row in W]) + b + inexact
    return np.nextafter(low, -np.inf), np.nextafter(high, np.inf)


def _build(
    network: FeedForward,
    lower: np.ndarray,
    upper: np.ndarray,
    kind: str,
    time_limit: float | None,
    kept: "list[_Kept]",
) -> tuple[LinearProgram, np.ndarray, list[np.ndarray], list[np.ndarray], int, int]:
    """Return the program of all hidden layers, its last columns, bounds, and the counts of solved and unfinished."""
    network.require_relu("triangles and parallelograms are of")
    lower, upper = np.asarray(lower, float), np.asarray(upper, float)
    before = proven_hidden(network, InputSet.boxes(lower, upper), LOOSER[kind])
    program = LinearProgram(time_limit)
    below = program.add_columns(lower, upper)
    found_lower, found_upper, solved, unfinished = [], [], 0, 0
    places: list[slice] = []
    for i, layer in enumerate(network.layers[:-1]):
        low, high = (side[0].copy() for side in before[i])
        kept.append(_Kept(places))
        if i:  # the first layer's bounds are exact already
            matrix, offset = layer.sparse()
            for j in np.flatnonzero((low < 0) & (high > 0)).tolist():
                row = slice(matrix.indptr[j], matrix.indptr[j + 1])
                columns, weights = below[matrix.indices[row]], matrix.data[row]
                least, most = program.minimise(columns, weights), program.maximise(columns, weights)
                low[j] = max(low[j], np.nextafter(least.bound + offset[j], -np.inf))
                high[j] = min(high[j], np.nextafter(most.bound + offset[j], np.inf))
                high[j] = max(low[j], high[j])
                solved += 2
                kept[-1].add(j, most.multipliers)
                kept[-1].add(len(low) + j, -least.multipliers)
                unfinished += (least.status is not Status.SOLVED) + (most.status is not Status.SOLVED)
        places.append(slice(program.rows, program.rows + len(low)))
        below = add_layer(program, below, kind, layer, low, high)
        found_lower.append(low)
        found_upper.append(high)
    kept.append(_Kept(places))
    return program, below, found_lower, found_upper, solved, unfinished


class _Kept:
    """What proves the bounds of one layer: forms in the preactivations below, minus the multipliers of W z - h = -b.

    `places` are the rows W z - h = -b of the layers below.
    """

    def __init__(self, places: Sequence[slice]) -> None:
        self.places = tuple(places)
        self.rows: list[int] = []
        self.parts: list[list[np.ndarray]] = []

    def add(self, row: int, multipliers: np.ndarray) -> None:
        """Keep what proves one upper bound, or with the signs changed one lower bound."""
        self.rows.append(row)
        self.parts.append([-multipliers[place] for place in self.places])

    @property
    def forms(self) -> Forms:
        """The forms of all bounds that were added."""
        return Forms(np.array(self.rows, int), tuple(np.array(part) for part in zip(*self.parts, strict=True)))


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
