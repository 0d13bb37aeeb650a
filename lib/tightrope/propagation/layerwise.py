"""LP-GREEDY, LP-LAST and LP-ALL through the dual: bounds of all layers, by triangles for ReLU, one image at a time.

The three differ in how much is optimised (Salman et al. 2019, section 5):

- LP-GREEDY takes the chord's slope everywhere (DeepZ, Fast-Lin, Wong and Kolter's dual);
- LP-LAST keeps these bounds of the hidden layers and optimises the slopes of the margins;
- LP-ALL optimises the bounds of every unstable neuron, layer by layer, and then the margins.

Of other nonlinearities than ReLU the set is the optimal convex relaxation of each neuron (eq. (6)), and every neuron
where it is more than a line is unstable.

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
    """Bounds of some neurons (`rows`) of one hidden layer, from 0, and the slopes that prove them.

    The slopes are (2 k, n_l) for each layer below: those of the upper bounds, then those of the lower ones.
    """

    layer: int
    rows: Tensor
    slopes: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Layerwise:
    """Bounds of one image.

    The triangles have its bounds of the hidden layers. `margins` (K,) are proven upper bounds of F_k - F_label, with
    rounding, 0 for the label itself; `dual` has their multipliers, (1, K - 1, n_l) in the order of the other labels,
    `points` (K - 1, n_0) where their forms are largest: inputs of the region to start an attack from. `hidden` proves
    the bounds that were optimised, if that was asked for.
    """

    triangles: Triangles
    margins: Tensor
    label: int
    dual: Dual
    points: Tensor
    hidden: tuple[Tightened, ...] = ()

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
    """Bound the margins of one region, a box, for the true label, by lp-greedy, lp-last or lp-all.

    `steps` and `dtype` are those of the ascent for each layer's forms: more steps are tighter, any number is sound.
    With `decide` it stops where the sign is known: with the bounds of CROWN and DeepZ where these suffice. With `keep`
    the slopes of the hidden layers' bounds are returned too, as a proof needs them.

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
        constant = constant + 2.01 * composed(layers, inputs, widened).max(1, keepdim=True).values
        others = torch.arange(layers[-1].outputs) != label
        A, constant = A[:, others], constant[:, others]
        goal = 0.0 if decide else None

        def margins(triangles: Triangles, steps: int) -> Layerwise:
            if not triangles.layers:  # an affine network: exact
                size = A.abs() @ (torch.maximum(inputs.lower.abs(), inputs.upper.abs()) + TINY)[..., None]
                rounding = (A.shape[-1] + 4) * torch.finfo(torch.float64).eps * (size[..., 0] + constant.abs() + TINY)
                margin = constant + inputs.maximum(A) + rounding
                dual, points = Dual(()), torch.where(A[0] > 0, inputs.upper, inputs.lower)
            else:
                reduced, keep = triangles.alive()
                part, first = A[..., keep[-1]], start(reduced, 1, A.shape[1], "crown" if steps else "deepz")
                found = minimise(part, constant, reduced, inputs, first=first, steps=steps, dtype=dtype, goal=goal)
                margin, points = found.bound, found.points[0]
                kept = zip(found.dual.slopes, keep, _sizes(triangles), strict=True)
                dual = Dual(tuple(_filled(*one) for one in kept))
            every = torch.zeros(len(others), dtype=torch.float64)
            every[others] = margin[0]
            return Layerwise(triangles, every, label, dual, points)

        if method != "lp-all":
            return margins(widened, steps if method == "lp-last" else 0)
        crown = bounds(layers, inputs, "crown", labels)
        triangles = intersect(widened, _widened(layers[:-1], crown.lower, crown.upper, inputs))
        if decide:
            found = margins(triangles, steps // 2)
            if found.worst < 0:
                return found
        kept: list[Tightened] | None = [] if keep else None
        for i in range(1, len(layers) - 1):
            triangles = tighten(triangles, i, inputs, steps=steps, dtype=dtype, kept=kept)
        return replace(margins(triangles, 2 * steps), hidden=tuple(kept or ()))


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
    unstable = torch.tensor(layer.activation.undecided(lower[0].numpy(), upper[0].numpy())).nonzero()[:, 0]
    widest = max(max(below.inputs, below.outputs) for below in reduced.layers)
    group = max(1, LARGEST // (2 * widest))
    for rows in unstable.split(group) if len(unstable) else ():
        W, b = _rows(layer, rows)[:, keep[-1]], layer.bias[rows]
        forms, constant = torch.cat([W, -W])[None], torch.cat([b, -b])[None]
        found = minimise(forms, constant, reduced, inputs, steps=steps, dtype=dtype)
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


def _sizes(triangles: Triangles) -> list[int]:
    return [layer.outputs for layer in triangles.layers]


def _filled(slopes: Tensor, keep: Tensor | slice, size: int) -> Tensor:
    """Slopes of all neurons from those of the kept ones."""
    if isinstance(keep, slice):
        return slopes
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
