"""LP-GREEDY, LP-LAST and LP-ALL through the dual: bounds of all layers by triangles, one image at a time.

The three differ in how much is optimised (Salman et al. 2019, section 5):

- LP-GREEDY takes the chord's slope everywhere (DeepZ, Fast-Lin, Wong and Kolter's dual);
- LP-LAST keeps these bounds of the hidden layers and optimises the slopes of the margins;
- LP-ALL optimises the bounds of every unstable neuron, layer by layer, and then the margins.

A neuron that a looser bound proves stable needs no tighter one: its triangle is a line already. The bounds l <= h <= u
themselves, which the paper's program has too, follow from the triangles below, as l and u are no tighter than their
optima; so the dual needs no multipliers for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tightrope.names import known_name
from tightrope.networks import FeedForward
from tightrope.propagation.alpha import STEPS, Dual, Triangles, minimise, start
from tightrope.propagation.backsubstitution import LARGEST
from tightrope.propagation.bounds import Bounds, bounds, specification
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import Affine, DenseOperator, operators
from tightrope.propagation.rounding import TINY, allowance, composed

METHODS = ("lp-greedy", "lp-last", "lp-all")


@dataclass(frozen=True, eq=False)
class Tightened:
    """Bounds of some neurons of one hidden layer, and the slopes that prove them.

    Attributes
    ----------
    layer : int
        From 0.
    rows : (k,) integers
        The neurons.
    slopes : tuple of (2 k, n_l) tensors, for each layer below
        Those of the upper bounds, then those of the lower ones.
    """

    layer: int
    rows: Tensor
    slopes: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Layerwise:
    """Bounds of one image.

    Attributes
    ----------
    triangles : Triangles
        The hidden layers with their bounds, for one problem.
    margins : (K,) tensor
        Proven upper bounds of F_k - F_label, rounding included; 0 for the label itself.
    label : int
    dual : Dual
        The multipliers of the margins, (1, K - 1, n_l), in the order of the other labels.
    points : (K - 1, n_0) tensor
        Where the margins' forms are largest: inputs of the region to start an attack from.
    hidden : tuple of Tightened
        What proves the bounds that were optimised, if that was asked for.
    """

    triangles: Triangles
    margins: Tensor
    label: int
    dual: Dual
    points: Tensor
    hidden: "tuple[Tightened, ...]" = ()

    @property
    def worst(self) -> float:
        """The largest bound; negative if the image is proven robust."""
        return float(self.margins[torch.arange(len(self.margins)) != self.label].max())


def layerwise(
    network: FeedForward | Sequence[Affine],
    inputs: InputSet,
    label: int,
    method: str = "lp-all",
    *,
    steps: int = STEPS,
    dtype: torch.dtype = torch.float32,
    decide: bool = False,
    keep: bool = False,
) -> Layerwise:
    """Bound the margins of one region.

    Parameters
    ----------
    network
        A network or its operators.
    inputs : InputSet
        One box.
    label : int
        The true label.
    method
        lp-greedy, lp-last or lp-all.
    steps
        Steps of the ascent for each layer's forms. More steps are tighter; any number is sound.
    dtype
        The type of the ascent's numbers.
    decide
        Stop where the sign is known: with the bounds of CROWN and DeepZ where these suffice.
    keep
        Return the slopes of the hidden layers' bounds too, as a proof needs them.

    Examples
    --------
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 0.7]))
    >>> box = InputSet(torch.tensor([[-1.0]]).double(), torch.tensor([[1.0]]).double())
    >>> [round(float(layerwise(network, box, 1, name).margins[0]), 6) for name in METHODS]
    [0.3, 0.3, 0.3]
    """
    method = known_name("method", method, METHODS)
    layers = operators(network)
    labels = torch.tensor([label])
    with torch.no_grad():
        loose = bounds(layers, inputs, "deepz", labels)
        widened = _widened(layers[:-1], loose.lower, loose.upper, inputs)
        A, constant = specification(layers[-1], labels)
        constant = constant + 2.01 * composed(layers, inputs, widened.upper).max(1, keepdim=True).values
        others = torch.arange(layers[-1].outputs) != label
        A, constant = A[:, others], constant[:, others]
        if method == "lp-greedy":
            return _margins(A, constant, widened, inputs, label, others, 0, dtype, None)
        if method == "lp-last":
            return _margins(A, constant, widened, inputs, label, others, steps, dtype, 0.0 if decide else None)
        crown = bounds(layers, inputs, "crown", labels)
        triangles = intersect(widened, _widened(layers[:-1], crown.lower, crown.upper, inputs))
        if decide:
            found = _margins(A, constant, triangles, inputs, label, others, steps // 2, dtype, 0.0)
            if found.worst < 0:
                return found
        kept: list[Tightened] | None = [] if keep else None
        for i in range(1, len(layers) - 1):
            triangles = tighten(triangles, i, inputs, steps=steps, dtype=dtype, kept=kept)
        found = _margins(A, constant, triangles, inputs, label, others, 2 * steps, dtype, 0.0 if decide else None)
        return replace(found, hidden=tuple(kept or ()))


def tighten(
    triangles: Triangles,
    i: int,
    inputs: InputSet,
    *,
    steps: int = STEPS,
    dtype: torch.dtype = torch.float32,
    kept: list[Tightened] | None = None,
) -> Triangles:
    """Improve the bounds of the unstable neurons of hidden layer i of one problem by the triangles below it.

    What proves them is appended to `kept`, if that is a list.
    """
    layer, lower, upper = triangles.layers[i], triangles.lower[i].clone(), triangles.upper[i].clone()
    below = Triangles(triangles.layers[:i], triangles.lower[:i], triangles.upper[:i])
    reduced, keep = below.alive()
    unstable = ((lower[0] < 0) & (upper[0] > 0)).nonzero()[:, 0]
    widest = max(max(below.inputs, below.outputs) for below in reduced.layers)
    group = max(1, LARGEST // (2 * widest))
    bias = layer.bias
    for rows in unstable.split(group) if len(unstable) else ():
        W = _rows(layer, rows)[:, keep[-1]]
        found = minimise(
            torch.cat([W, -W])[None],
            torch.cat([bias[rows], -bias[rows]])[None],
            reduced,
            inputs,
            steps=steps,
            dtype=dtype,
        )
        high, low = found.bound[0].split(len(rows))
        upper[0, rows] = torch.minimum(upper[0, rows], high)
        lower[0, rows] = torch.maximum(lower[0, rows], -low)
        if kept is not None:
            slopes = zip(found.dual.slopes, keep, _sizes(below), strict=True)
            kept.append(Tightened(i, rows, tuple(_filled(a, k, n)[0] for a, k, n in slopes)))
    upper = torch.maximum(upper, lower)  # where the neuron is a constant, rounding may have crossed them
    sides = [list(triangles.lower), list(triangles.upper)]
    sides[0][i], sides[1][i] = lower, upper
    return replace(triangles, lower=tuple(sides[0]), upper=tuple(sides[1]))


def intersect(first: Triangles, second: Triangles) -> Triangles:
    """The better of two bounds of each neuron."""
    lower = tuple(torch.maximum(a, b) for a, b in zip(first.lower, second.lower, strict=True))
    upper = tuple(torch.minimum(a, b) for a, b in zip(first.upper, second.upper, strict=True))
    return replace(first, lower=lower, upper=upper)


def _margins(
    A: Tensor,
    constant: Tensor,
    triangles: Triangles,
    inputs: InputSet,
    label: int,
    others: Tensor,
    steps: int,
    dtype: torch.dtype,
    goal: float | None,
) -> Layerwise:
    if not triangles.layers:  # an affine network: exact
        size = A.abs() @ (torch.maximum(inputs.lower.abs(), inputs.upper.abs()) + TINY)[..., None]
        rounding = (A.shape[-1] + 4) * torch.finfo(torch.float64).eps * (size[..., 0] + constant.abs() + TINY)
        margin = constant + inputs.maximum(A) + rounding
        dual, points = Dual(()), torch.where(A[0] > 0, inputs.upper, inputs.lower)
    else:
        reduced, keep = triangles.alive()
        part = A[..., keep[-1]]
        first = start(reduced, 1, A.shape[1], "deepz" if steps == 0 else "crown")
        found = minimise(part, constant, reduced, inputs, first=first, steps=steps, dtype=dtype, goal=goal)
        margin, points = found.bound, found.points[0]
        dual = Dual(tuple(_filled(a, k, n) for a, k, n in zip(found.dual.slopes, keep, _sizes(triangles), strict=True)))
    margins = torch.zeros(len(others), dtype=torch.float64)
    margins[others] = margin[0]
    return Layerwise(triangles, margins, label, dual, points)


def _sizes(triangles: Triangles) -> list[int]:
    return [layer.outputs for layer in triangles.layers]


def _filled(slopes: Tensor, keep: Tensor | slice, size: int) -> Tensor:
    """Slopes of all neurons from those of the kept ones."""
    whole = torch.zeros(*slopes.shape[:-1], size, dtype=slopes.dtype)
    whole[..., keep] = slopes
    return whole


def _widened(layers: Sequence[Affine], lower: Sequence[Tensor], upper: Sequence[Tensor], inputs: InputSet) -> Triangles:
    """Bounds of hidden layers, moved apart by what rounding can have cost."""
    low, high = [], []
    for i, (least, most) in enumerate(zip(lower, upper, strict=True)):
        # The allowance of :mod:`rounding` is for the largest margin of the layer above those it is given.
        extra = allowance(layers[: i + 1], inputs, Bounds(tuple(lower[:i]), tuple(upper[:i])))
        low.append(least - extra)
        high.append(most + extra)
    return Triangles(tuple(layers), tuple(low), tuple(high))


def _rows(layer: Affine, rows: Tensor) -> Tensor:
    """Some rows of W."""
    if isinstance(layer, DenseOperator):
        return layer.weight[rows]
    unit = torch.zeros(1, len(rows), layer.outputs, dtype=torch.float64)
    unit[0, torch.arange(len(rows)), rows] = 1.0
    return layer.transpose(unit)[0]
