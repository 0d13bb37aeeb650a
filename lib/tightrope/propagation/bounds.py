"""Bounds of a network's preactivations and margins over a batch of regions, by any relaxation of two lines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tightrope.errors import InputError, RegionError
from tightrope.networks import FeedForward
from tightrope.networks.activations import RELU
from tightrope.propagation.backsubstitution import layer_bounds, upper_bounds
from tightrope.propagation.inputs import InputSet, box_range
from tightrope.propagation.lines import Lines, Relaxation, array, carried, image, relaxation
from tightrope.propagation.operators import Affine, SparseOperator, interval, operators, settled
from tightrope.propagation.rounding import allowance


@dataclass(frozen=True, eq=False)
class Bounds:
    """What a relaxation proves about N regions.

    `lower` and `upper` (N, n_i) bound the preactivations of each hidden layer, `output_lower` and `output_upper` (N, K)
    the outputs (None if the last layer was elided). `margins` (N, K) are upper bounds of F_k - F_label, 0 for the label
    itself; the region is certified if all others are negative.
    """

    lower: tuple[Tensor, ...]
    upper: tuple[Tensor, ...]
    margins: Tensor = None  # type: ignore[assignment]  # None unless labels are given
    output_lower: Tensor = None  # type: ignore[assignment]  # both None if the last layer was elided
    output_upper: Tensor = None  # type: ignore[assignment]


def bounds(
    network: FeedForward | Sequence[Affine],
    inputs: InputSet,
    method: str | Relaxation,
    labels: Tensor | Sequence[int] | None = None,
    *,
    elision: bool = True,
    hidden: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None,
) -> Bounds:
    """Bound a network on N regions, up to rounding: :func:`tightrope.propagation.rounding.allowance` makes it a proof.

    The network, or its operators, is differentiated where its tensors need gradients; the dtype is that of the regions.
    The method is a relaxation's name: box, hbox, hbox_back, crown_ibp, deepz, crown, crown_0. With the true labels (N,)
    the margins are bounded: with `elision` F_k - F_label as one form, merged with the last layer, otherwise as the
    upper bound of F_k minus the lower bound of F_label. `hidden` are bounds (lower, upper) of hidden preactivations
    that are known already, from the first layer on; only the rest is computed.

    Examples
    --------
    >>> network = FeedForward.dense(weights=([[1.0], [1.0]], [[1.0, -1.0]]), biases=([0.0, 0.0], [0.0]))
    >>> region = InputSet.boxes([-1.0], [1.0])
    >>> [float(bounds(network, region, name).output_upper) for name in ("box", "deepz", "crown")]
    [1.0, 0.5, 1.0]
    """
    chosen = relaxation(method)
    layers = operators(network, inputs.lower.dtype, inputs.lower.device.type)
    if inputs.size != layers[0].inputs:
        raise RegionError(f"inputs: regions of {inputs.size} inputs; the network has {layers[0].inputs}.")
    below = hidden_bounds(layers, inputs, chosen, hidden)
    last = layers[-1]
    if labels is None or not elision:
        low, high = below.next(last)
        known = Bounds(tuple(below.lower), tuple(below.upper), output_lower=low, output_upper=high)
        if labels is None:
            return known
        own = _checked(labels, len(low), low.shape[1])[:, None]
        return replace(known, margins=(high - low.gather(1, own)).scatter(1, own, 0.0))
    labels = _checked(labels, len(inputs), last.outputs).to(inputs.lower.device)
    margins = below.maximum(*specification(last, labels))
    return Bounds(tuple(below.lower), tuple(below.upper), margins.scatter(1, labels[:, None], 0.0))


class Hidden:
    """Bounds of hidden layers, from the first on, and what bounds the next layer."""

    def __init__(self, inputs: InputSet, chosen: Relaxation) -> None:
        self.inputs, self.chosen = inputs, chosen
        self.layers: list[Affine] = []
        self.lines: list[Lines] = []
        self.lower: list[Tensor] = []
        self.upper: list[Tensor] = []
        self._radius: Tensor | None = None  # of the activations, for an uncorrelated relaxation

    def add(self, layer: Affine, low: Tensor, high: Tensor) -> None:
        """Put one layer with bounds of its preactivations and its nonlinearity on top."""
        radius = None if self._radius is None else layer.absolute(self._radius)
        self.layers.append(layer)
        self.lower.append(low)
        self.upper.append(high)
        one = layer.activation
        if self.chosen.lines is None:
            return
        line = self.chosen.lines_of(one, low, high)
        if self.chosen.uncorrelated and one == RELU:
            stable = torch.zeros_like(high) if radius is None else radius * (low >= 0)
            self._radius = torch.where((low < 0) & (high > 0), high / 2, stable)
        elif self.chosen.uncorrelated:
            center, half = line.intercepts
            line = replace(line, lower_intercept=center, upper_intercept=center)
            flat = torch.tensor(one.curved(array(low), array(high)), device=low.device)
            self._radius = half if radius is None else half + carried(one, radius, low, high) * ~flat
        self.lines.append(line)

    def next(self, layer: Affine, hidden: bool = False) -> tuple[Tensor, Tensor]:
        """Bounds (N, outputs) of the layer above these."""
        if not self.layers:
            if self.inputs.radius is None:
                return interval(layer, self.inputs.lower, self.inputs.upper)
            low, high = self.inputs.range(layer.rows(0, layer.outputs)[None])
            return low + layer.bias, high + layer.bias
        if self.chosen.lines is None or (hidden and self.chosen.by_intervals):
            return interval(layer, *image(self.layers[-1].activation, self.lower[-1], self.upper[-1]))
        if hidden and isinstance(layer, SparseOperator):
            return self._where_undecided(layer)
        low, high = layer_bounds(layer, self.layers, self.lines, self.inputs)
        if self._radius is None:
            return low, high
        radius = layer.absolute(self._radius)
        return low - radius, high + radius

    def _where_undecided(self, layer: SparseOperator) -> tuple[Tensor, Tensor]:
        """Bounds by intervals where these decide, so of carried values too; elsewhere the better ones."""
        low, high = interval(layer, *image(self.layers[-1].activation, self.lower[-1], self.upper[-1]))
        ends = array(low.detach()), array(high.detach())
        unknown = torch.tensor(layer.activation.undecided(*ends), device=low.device)
        if len(rows := unknown.any(0).nonzero()[:, 0]):
            least, most = self.next(layer.part(rows))
            low[:, rows] = torch.where(unknown[:, rows], torch.maximum(low[:, rows], least), low[:, rows])
            high[:, rows] = torch.where(unknown[:, rows], torch.minimum(high[:, rows], most), high[:, rows])
        return low, high

    def maximum(self, A: Tensor, constant: Tensor) -> Tensor:
        """Upper bounds (N, m) of A z + constant over the activations z of the last layer; A is (N, m, n)."""
        if not self.layers:
            return constant + self.inputs.maximum(A)
        if self.chosen.lines is None:
            return constant + box_range(A, *image(self.layers[-1].activation, self.lower[-1], self.upper[-1]))[1]
        high = upper_bounds(A, constant, self.layers, self.lines, self.inputs)
        return high if self._radius is None else high + (A.abs() @ self._radius[..., None])[..., 0]


def hidden_bounds(
    layers: Sequence[Affine],
    inputs: InputSet,
    chosen: Relaxation,
    known: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None,
) -> Hidden:
    """Bound the preactivations of all layers but the last; known = (lower, upper) gives those of the first ones.

    With another nonlinearity than ReLU each layer's bounds are moved apart by its allowance before lines are drawn
    between them: a value beyond them by rounding is off a line by as much for ReLU, but by 1 for a step.
    """
    below = Hidden(inputs, chosen)
    pairs = [] if known is None else list(zip(*known, strict=True))
    exact = all(layer.activation == RELU for layer in layers[:-1])
    for i, layer in enumerate(layers[:-1]):
        low, high = pairs[i] if i < len(pairs) else below.next(layer, hidden=True)
        if i >= len(pairs) and not exact:
            extra = allowance(layers[: i + 1], inputs, below)
            low, high = low - extra, high + extra
        below.add(layer, low, high)
    return below


def best_hidden(
    layers: Sequence[Affine], inputs: InputSet, methods: Sequence[str]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Lower and upper bounds (N, n_i) of all hidden layers, the best of several relaxations, rounding included."""
    hidden = range(len(layers) - 1)
    low, high = [torch.tensor(-torch.inf)] * len(hidden), [torch.tensor(torch.inf)] * len(hidden)
    for method in methods:
        found = hidden_bounds(layers, inputs, relaxation(method))
        for i in hidden:  # an allowance is for the largest error in the layer above those it is given
            extra = allowance(layers[: i + 1], inputs, found)
            low[i] = torch.maximum(low[i], settled(layers[i], found.lower[i] - extra))
            high[i] = torch.minimum(high[i], found.upper[i] + extra)
    return tuple(low), tuple(high)


def specification(last: Affine, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The forms A (N, K, n) and constants (N, K) with F_k - F_label = A z + constant."""
    rows = last.rows(0, last.outputs)
    bias = last.bias
    return rows[None] - rows[labels][:, None], bias[None] - bias[labels][:, None]


def _checked(labels: Tensor | Sequence[int], count: int, classes: int) -> Tensor:
    labels = labels if isinstance(labels, Tensor) else torch.tensor(labels)
    if labels.shape != (count,) or bool(((labels < 0) | (labels >= classes)).any()):
        raise InputError(f"labels: expected ({count},) integers from 0 to {classes - 1}, got {labels.tolist()!r}.")
    return labels.long()


def hybrid_margins(tight: Tensor, box: Tensor, beta: float) -> Tensor:
    """The bounds of the CROWN-IBP defence, beta times CROWN-IBP (R)'s margins plus 1 - beta times Box's.

    Both are bounds, so any mixture is. Training moves beta from 1 to 0 and certifies with Box.
    """
    if not 0 <= beta <= 1:
        raise InputError(f"beta: expected a number from 0 to 1, got {beta!r}.")
    return beta * tight + (1 - beta) * box


def certified(margins: Tensor, labels: Tensor | Sequence[int], allowance: Tensor | float = 0.0) -> Tensor:
    """Whether every margin but the label's is below 0 by more than the allowance: (N,) of bool."""
    labels = _checked(labels, *margins.shape)
    negative = margins + allowance < 0
    return negative.scatter(1, labels[:, None].to(negative.device), True).all(1)
