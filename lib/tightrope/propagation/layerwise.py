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
from tightrope.propagation.bounds import best_hidden, specification
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import Affine, DenseOperator, operators
from tightrope.propagation.rounding import TINY, composed

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
    network: FeedForward | Sequence[Affine], inputs: InputSet, label: int, method: str = "lp-all", **options: Any
) -> Layerwise:
    """Bound the margins of one region, a box, for the true label; options as :func:`layerwise_each`.

    Examples
    --------
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 0.7]))
    >>> box = InputSet.boxes([-1.0], [1.0])
    >>> [round(float(layerwise(network, box, 1, name).margins[0]), 6) for name in METHODS]
    [0.3, 0.3, 0.3]
    """
    return layerwise_each(network, inputs, [label], method, **options)[0]


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
    """Bound the margins of N boxes for their true labels (N,) by lp-greedy, lp-last or lp-all.

    `steps` and `dtype` are those of the ascent for each layer's forms: more steps are tighter, any number is sound.
    With `decide` it stops where the sign is known: with the bounds of CROWN and DeepZ where these suffice. With `keep`
    the slopes of the hidden layers' bounds are returned too, as a proof needs them.
    """
    method = known_name("method", method, METHODS)
    layers = operators(network)
    truth = torch.as_tensor(labels)
    if len(inputs) > TOGETHER:
        same: dict[str, Any] = {"steps": steps, "dtype": dtype, "decide": decide, "keep": keep}
        groups = torch.arange(len(inputs)).split(TOGETHER)
        return [one for g in groups for one in layerwise_each(layers, inputs.rows(g), truth[g], method, **same)]
    with torch.no_grad():
        hidden = best_hidden(layers, inputs, ("deepz", "crown") if method == "lp-all" else ("deepz",))
        triangles = Triangles(layers[:-1], *hidden)
        A, constant = specification(layers[-1], truth)
        others = torch.arange(layers[-1].outputs) != truth[:, None]
        A, constant = A[others].reshape(len(A), -1, A.shape[2]), constant[others].reshape(len(A), -1)
        options: dict[str, Any] = {"dtype": dtype, "goal": 0.0 if decide else None}

        def margins(rows: Tensor, triangles: Triangles, steps: int) -> list[Layerwise]:
            own_inputs = inputs.rows(rows)
            inexact = 2.01 * composed(layers, own_inputs, triangles).max(1, keepdim=True).values
            margin, dual, points = _margins(A[rows], constant[rows] + inexact, triangles, own_inputs, steps, **options)
            every = torch.zeros(others[rows].shape, dtype=torch.float64)
            every[others[rows]] = margin.flatten()
            parts = [(triangles.rows(j), dual.rows(j)) for j in torch.arange(len(rows)).split(1)]
            return [
                Layerwise(part, own, int(label), multipliers, at)
                for (part, multipliers), own, label, at in zip(parts, every, truth[rows], points, strict=True)
            ]

        rows = torch.arange(len(inputs))
        if method != "lp-all":
            return margins(rows, triangles, steps if method == "lp-last" else 0)
        found: list[Layerwise] = []
        if decide:
            found = margins(rows, triangles, steps // 2)
            rows = torch.tensor([i for i, one in enumerate(found) if not one.worst < 0], dtype=torch.long)
            if not len(rows):
                return found
            triangles = triangles.rows(rows)
        kept: list[list[Tightened]] = [[] for _ in rows]
        for i in range(1, len(layers) - 1):
            triangles = tighten(triangles, i, inputs.rows(rows), kept if keep else [], steps=steps, dtype=dtype)
        last = margins(rows, triangles, 2 * steps)
        better = {int(i): replace(one, hidden=tuple(own)) for i, one, own in zip(rows, last, kept, strict=True)}
        return [better[i] if i in better else found[i] for i in range(len(inputs))]


def _margins(
    A: Tensor, constant: Tensor, triangles: Triangles, inputs: InputSet, steps: int, **options: Any
) -> tuple[Tensor, Dual, Tensor]:
    """Proven bounds (N, m) of forms of the last activations, their multipliers, and points (N, m, n_0)."""
    if not triangles.layers:  # an affine network: exact
        size = A.abs() @ (torch.maximum(inputs.lower.abs(), inputs.upper.abs()) + TINY)[..., None]
        rounding = (A.shape[-1] + 4) * torch.finfo(torch.float64).eps * (size[..., 0] + constant.abs() + TINY)
        points = torch.where(A > 0, inputs.upper[:, None], inputs.lower[:, None])
        return constant + inputs.maximum(A) + rounding, Dual(()), points
    reduced, keep = triangles.alive()
    first = start(reduced, len(A), A.shape[1], "crown" if steps else "deepz")
    found = minimise(A[..., keep[-1]], constant, reduced, inputs, first=first, steps=steps, **options)
    return found.bound, Dual(_filled(found.dual.slopes, keep, triangles.layers)), found.points


def tighten(
    triangles: Triangles, i: int, inputs: InputSet, kept: Sequence[list[Tightened]] = (), **options: Any
) -> Triangles:
    """Improve the bounds of the unstable neurons of hidden layer i of N problems by the triangles below it.

    What proves them is appended to `kept` (N lists), if given; the options are those of :func:`minimise`.
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
        found = minimise(torch.cat([W, -W], 1), torch.cat([b, -b], 1), reduced, inputs, **options)
        high, low = (side + inexact.gather(1, rows) for side in found.bound.split(rows.shape[1], 1))
        upper.scatter_(1, rows, torch.minimum(upper.gather(1, rows), high))
        lower.scatter_(1, rows, torch.maximum(lower.gather(1, rows), -low))
        for n, own in enumerate(kept):
            open_ = unstable[n, rows[n]]
            slopes = _filled([a[n][open_.repeat(2)] for a in found.dual.slopes], keep, below.layers)
            own += [Tightened(i, rows[n, open_], slopes)] if len(slopes[0]) else []
    upper = torch.maximum(upper, lower)  # where the neuron is a constant, rounding may have crossed them
    lowers = (*triangles.lower[:i], lower, *triangles.lower[i + 1 :])
    return replace(triangles, lower=lowers, upper=(*triangles.upper[:i], upper, *triangles.upper[i + 1 :]))


def _filled(slopes: Sequence[Tensor], keep: Sequence[Tensor | slice], layers: Sequence[Affine]) -> tuple[Tensor, ...]:
    """Slopes of all neurons of each layer from those of the kept ones."""
    found = []
    for own, chosen, layer in zip(slopes, keep, layers, strict=True):
        if isinstance(chosen, Tensor):
            whole = torch.zeros(*own.shape[:-1], layer.outputs, dtype=own.dtype)
            whole[..., chosen] = own
            own = whole
        found.append(own)
    return tuple(found)


def _rows(layer: Affine, rows: Tensor) -> Tensor:
    """Some rows (N, m) of W: (N, m, inputs)."""
    if isinstance(layer, DenseOperator):
        return layer.weight[rows]
    unit = torch.zeros(*rows.shape, layer.outputs, dtype=torch.float64)
    return layer.transpose(unit.scatter_(2, rows[..., None], 1.0))
