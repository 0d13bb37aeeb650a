"""LP-GREEDY, LP-LAST and LP-ALL through the dual: bounds of all layers, by triangles for ReLU.

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
from typing import Any

import torch
from torch import Tensor

from tightrope.names import known_name
from tightrope.networks import FeedForward
from tightrope.propagation.alpha import STEPS, Dual, Triangles, minimise, start
from tightrope.propagation.backsubstitution import LARGEST
from tightrope.propagation.bounds import Bounds, bounds, specification
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import Affine, DenseOperator, operators, settled
from tightrope.propagation.rounding import TINY, allowance, composed

METHODS = ("lp-greedy", "lp-last", "lp-all")
#: Regions that are optimised together: forms of more leave the cache, and fewer neurons are 0 in all of them.
TOGETHER = 4


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
    return layerwise_each(network, inputs, [label], method, steps=steps, dtype=dtype, decide=decide, keep=keep)[0]


def layerwise_each(
    network: FeedForward | Sequence[Affine],
    inputs: InputSet,
    labels: Sequence[int] | Tensor,
    method: str = "lp-all",
    *,
    steps: int = STEPS,
    dtype: torch.dtype = torch.float32,
    decide: bool = False,
    keep: bool = False,
) -> list[Layerwise]:
    """Bound the margins of N regions together: the bounds of :func:`layerwise`, and the same arguments, (N,) labels."""
    method = known_name("method", method, METHODS)
    layers = operators(network)
    truth = torch.as_tensor(labels)
    if len(inputs) > TOGETHER:
        options: dict[str, Any] = {"steps": steps, "dtype": dtype, "decide": decide, "keep": keep}
        groups = torch.arange(len(inputs)).split(TOGETHER)
        return [one for g in groups for one in layerwise_each(layers, inputs.rows(g), truth[g], method, **options)]
    with torch.no_grad():
        loose = bounds(layers, inputs, "deepz", truth)
        triangles = _widened(layers[:-1], loose.lower, loose.upper, inputs)
        A, constant = specification(layers[-1], truth)
        others = torch.arange(layers[-1].outputs) != truth[:, None]
        A, constant = A[others].reshape(len(A), -1, A.shape[2]), constant[others].reshape(len(A), -1)
        goal = 0.0 if decide else None

        def margins(rows: Tensor, triangles: Triangles, steps: int) -> list[Layerwise]:
            own_inputs = inputs.rows(rows)
            inexact = 2.01 * composed(layers, own_inputs, triangles).max(1, keepdim=True).values
            part = A[rows], constant[rows] + inexact, triangles, own_inputs
            margin, dual, points = _margins(*part, steps=steps, dtype=dtype, goal=goal)
            every = torch.zeros(others[rows].shape, dtype=torch.float64)
            every[others[rows]] = margin.flatten()
            one = [slice(j, j + 1) for j in range(len(rows))]
            own = [(triangles.rows(j), dual.rows(j)) for j in one]
            return [
                Layerwise(t, every[j], int(truth[i]), d, points[j])
                for j, (i, (t, d)) in enumerate(zip(rows, own, strict=True))
            ]

        rows = torch.arange(len(inputs))
        if method != "lp-all":
            return margins(rows, triangles, steps if method == "lp-last" else 0)
        crown = bounds(layers, inputs, "crown", truth)
        triangles = intersect(triangles, _widened(layers[:-1], crown.lower, crown.upper, inputs))
        found: list[Layerwise] = []
        if decide:
            found = margins(rows, triangles, steps // 2)
            rows = torch.tensor([i for i, one in enumerate(found) if not one.worst < 0], dtype=torch.long)
            if not len(rows):
                return found
            triangles = triangles.rows(rows)
        kept: list[list[Tightened]] = [[] for _ in rows]
        for i in range(1, len(layers) - 1):
            triangles = tighten(triangles, i, inputs.rows(rows), steps=steps, dtype=dtype, kept=kept if keep else None)
        last = margins(rows, triangles, 2 * steps)
        better = {int(i): replace(one, hidden=tuple(own)) for i, one, own in zip(rows, last, kept, strict=True)}
        return [better[i] if i in better else found[i] for i in range(len(inputs))]


def _margins(
    A: Tensor, constant: Tensor, triangles: Triangles, inputs: InputSet, *, steps: int, **options: Any
) -> tuple[Tensor, Dual, Tensor]:
    """Proven bounds (N, m) of forms of the last activations, their multipliers, and points (N, m, n_0)."""
    if not triangles.layers:  # an affine network: exact
        size = A.abs() @ (torch.maximum(inputs.lower.abs(), inputs.upper.abs()) + TINY)[..., None]
        rounding = (A.shape[-1] + 4) * torch.finfo(torch.float64).eps * (size[..., 0] + constant.abs() + TINY)
        points = torch.where(A > 0, inputs.upper[:, None], inputs.lower[:, None])
        return constant + inputs.maximum(A) + rounding, Dual(()), points
    reduced, keep = triangles.alive()
    part, first = A[..., keep[-1]], start(reduced, len(A), A.shape[1], "crown" if steps else "deepz")
    found = minimise(part, constant, reduced, inputs, first=first, steps=steps, **options)
    kept = zip(found.dual.slopes, keep, _sizes(triangles), strict=True)
    return found.bound, Dual(tuple(_filled(*one) for one in kept)), found.points


def tighten(
    triangles: Triangles,
    i: int,
    inputs: InputSet,
    *,
    steps: int = STEPS,
    dtype: torch.dtype = torch.float32,
    kept: list[list[Tightened]] | None = None,
) -> Triangles:
    """Improve the bounds of the unstable neurons of hidden layer i of N problems by the triangles below it.

    What proves them is appended to `kept` (N lists), if given.
    """
    layer, lower, upper = triangles.layers[i], triangles.lower[i].clone(), triangles.upper[i].clone()
    below = Triangles(triangles.layers[:i], triangles.lower[:i], triangles.upper[:i])
    reduced, keep = below.alive()
    inexact = 1.01 * composed(triangles.layers[: i + 1], inputs, below)  # a step is decided for both networks or not
    unstable = torch.tensor(layer.activation.undecided(lower.numpy(), upper.numpy()))
    # Every problem's unstable neurons first; those with fewer than others go on with stable ones.
    order = unstable.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(unstable.sum(1).max())]
    widest = max(max(below.inputs, below.outputs) for below in reduced.layers)
    group = max(1, LARGEST // (2 * widest * len(inputs)))
    for rows in order.split(group, 1) if order.shape[1] else ():
        W, b = _rows(layer, rows)[..., keep[-1]], layer.bias[rows]
        forms, constant = torch.cat([W, -W], 1), torch.cat([b, -b], 1)
        found = minimise(forms, constant, reduced, inputs, steps=steps, dtype=dtype)
        high, low = (side + inexact.gather(1, rows) for side in found.bound.split(rows.shape[1], 1))
        upper.scatter_(1, rows, torch.minimum(upper.gather(1, rows), high))
        lower.scatter_(1, rows, torch.maximum(lower.gather(1, rows), -low))
        for n, own in enumerate(kept or ()):
            open_ = unstable[n, rows[n]]
            slopes = [
                _filled(a[n][open_.repeat(2)], k, s)
                for a, k, s in zip(found.dual.slopes, keep, _sizes(below), strict=True)
            ]
            own += [Tightened(i, rows[n, open_], tuple(slopes))] if len(slopes[0]) else []
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
        low.append(settled(layers[i], least - extra))
        high.append(most + extra)
    return Triangles(tuple(layers), tuple(low), tuple(high))


def _rows(layer: Affine, rows: Tensor) -> Tensor:
    """Some rows (N, m) of W: (N, m, inputs)."""
    if isinstance(layer, DenseOperator):
        return layer.weight[rows]
    unit = torch.zeros(*rows.shape, layer.outputs, dtype=torch.float64)
    return layer.transpose(unit.scatter_(2, rows[..., None], 1.0))
