"""The best bounds that triangles give, by the dual over lower slopes; split neurons by one more multiplier each.

Over z = ReLU(h), l <= h <= u, the tightest convex set of an unstable neuron is the triangle z >= 0, z >= h,
z <= s (h - l) with s = u / (u - l). A linear form A z + c above it is bounded by

    A z <= mu h + tau,   mu = A+ s + A- a,   tau = -A+ s l,   h = W x + b,   0 <= a <= 1,

for any lower slope a; the least bound over the a of all layers, one for each form and neuron, is the optimum of the
linear program over the triangles, by duality (Wong and Kolter 2018; Salman et al. 2019, theorem 4.2). Where a neuron is
split, sigma h >= 0 with sigma = 1 or -1 is known: z = h or z = 0, and mu gains sigma beta with beta >= 0.

The bound is convex and piecewise linear in each layer's a and beta. Its gradient costs a pass forward: with x a
maximiser of the form that arrives at the inputs and h the preactivations of the linearised network at x,

    d bound / d a = A- h,     d bound / d beta = sigma h.

Every step gives a bound; the smallest is kept and computed again in float64.

Of any other nonlinearity both slopes are searched, one for each form, neuron and sign of A: with t(a) the intercept of
the line of slope a (:meth:`tightrope.networks.activations.Activation.intercept`) and h* where it touches the graph,

    A z <= A (a h + t(a)),     d bound / d a = A (h - h*),

which is the Lagrangian dual of the network's own constraints z = sigma(h) (theorem 4.2).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tightrope.errors import InputError
from tightrope.networks.activations import RELU, Activation
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import RELAXATIONS, array, carried, reached, times
from tightrope.propagation.operators import Affine, DenseOperator, SparseOperator, without_zeros
from tightrope.propagation.rounding import PER_NEURON, TINY, pooled

STEPS = 40
#: First step of a slope, of a multiplier (relative to its form's size), and what each becomes after every step.
SLOPE_STEP, SPLIT_STEP, DECAY = 0.15, 0.15, 0.95


@dataclass(frozen=True, eq=False)
class Triangles:
    """The hidden layers below a form, from the input up, for N problems, with what is above each; bounds (N, n_l).

    `split` (N, n_l) is 1 where h >= 0 is assumed, -1 where h <= 0 is, else 0.
    """

    layers: tuple[Affine, ...]
    lower: tuple[Tensor, ...]
    upper: tuple[Tensor, ...]
    split: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        sizes = [layer.outputs for layer in self.layers]
        for name in ("lower", "upper", "split"):
            found = getattr(self, name)
            if [t.shape[-1] for t in found] != sizes and (found or name != "split"):
                raise InputError(f"{name}: expected sizes {sizes}, got {[tuple(t.shape) for t in found]}.")

    def rows(self, chosen: Tensor | slice) -> "Triangles":
        """Those of some problems."""
        sides = (tuple(t[chosen] for t in side) for side in (self.lower, self.upper, self.split))
        return Triangles(self.layers, *sides)

    def alive(self) -> tuple["Triangles", tuple[Tensor | slice, ...]]:
        """Leave out the neurons that are 0 in every problem; also return those of each layer that are kept."""
        zero = [
            (high <= 0).all(0) & (layer.activation == RELU) for layer, high in zip(self.layers, self.upper, strict=True)
        ]
        layers, keep = without_zeros(self.layers, zero)
        sides = (self.lower, self.upper, self.split)
        kept = (tuple(t[:, k] for t, k in zip(side, keep if side else (), strict=True)) for side in sides)
        return Triangles(layers, *kept), keep


@dataclass(frozen=True, eq=False)
class Dual:
    """Multipliers of N x m forms, (N, m, n_l) for each layer: lower slopes in [0, 1], and those of splits, >= 0.

    Above a layer with another nonlinearity than ReLU the slopes are (N, m, ..., 2): of lower and upper lines.
    """

    slopes: tuple[Tensor, ...]
    multipliers: tuple[Tensor, ...] = ()

    def rows(self, chosen: Tensor | slice) -> "Dual":
        """Those of some problems."""
        return Dual(*(tuple(t[chosen] for t in side) for side in (self.slopes, self.multipliers)))


@dataclass(frozen=True, eq=False)
class Solved:
    """What :func:`minimise` found.

    `bound` (N, m) are proven upper bounds of the forms in float64, rounding included; `points` (N, m, n_0) maximise
    each last form over the region: inputs of the network, where an attack may start; `forms` (N, m, n_l) are those in
    the activations of each hidden layer, for branching.
    """

    bound: Tensor
    dual: Dual
    points: Tensor
    forms: tuple[Tensor, ...]


def start(triangles: Triangles, problems: int, forms: int, kind: str = "deepz") -> Dual:
    """First multipliers: slopes of DeepZ (the chord's) or of CROWN (0 or 1), no split multipliers."""
    slopes = []
    for layer, low, high in zip(triangles.layers, triangles.lower, triangles.upper, strict=True):
        lines = RELAXATIONS[kind].lines_of(layer.activation, low, high)
        both = torch.stack([lines.lower_slope, lines.upper_slope], -1)
        own = lines.lower_slope if layer.activation == RELU else both
        slopes.append(own[:, None].expand(problems, forms, *own.shape[1:]).clone())
    return Dual(tuple(slopes), tuple(torch.zeros_like(a) for a in slopes) if triangles.split else ())


def minimise(
    A: Tensor,
    constant: Tensor,
    triangles: Triangles,
    inputs: InputSet,
    *,
    first: Dual | None = None,
    steps: int = STEPS,
    dtype: torch.dtype = torch.float32,
    goal: float | None = None,
) -> Solved:
    """Bound the forms A z + constant over the triangles from above, as tightly as `steps` steps do.

    The forms are A (N or 1, m, n_L) and constant (N or 1, m), the triangles of N problems, the inputs N boxes, all in
    float64; `dtype` is the type of the search's numbers only. The search starts from `first`, DeepZ's slopes if left
    out (with 0 steps they are evaluated), and stops early as soon as all bounds are below the goal.

    Examples
    --------
    >>> layer = DenseOperator(torch.tensor([[1.0], [-1.0]]).double(), torch.zeros(2).double())
    >>> one = torch.ones(1, 2, dtype=torch.float64)
    >>> box = InputSet(-one[:, :1], one[:, :1])
    >>> found = minimise(-one[None], torch.zeros(1, 1).double(), Triangles((layer,), (-one,), (one,)), box)
    >>> round(float(found.bound), 6)  # -|x| <= 0
    0.0
    """
    if inputs.radius is not None:
        raise InputError("inputs: the dual over lower slopes is for boxes; give the L-infinity ball.")
    if steps < 0:
        raise InputError(f"steps: expected at least 0, got {steps}.")
    N, m = len(inputs), A.shape[1]
    A, constant = A.expand(N, -1, -1), constant.expand(N, -1)
    dual = first or start(triangles, N, m)
    if steps:
        search = DualObjective(A, constant, triangles, inputs, dtype)
        dual = _descend(search, search.converted(dual), steps, goal)
    problem = DualObjective(A, constant, triangles, inputs, torch.float64)
    dual = problem.converted(dual)
    value, x, kept = problem.bound(dual)
    extra = allowance(A, constant, triangles, inputs, dual)
    return Solved(value + extra, dual, x, tuple(form for form, *_ in kept))


class DualObjective:
    """The bound of forms as a function of the multipliers, and its gradient, in one precision."""

    def __init__(self, A: Tensor, constant: Tensor, triangles: Triangles, inputs: InputSet, dtype: torch.dtype) -> None:
        self.A, self.constant = A.to(dtype), constant.to(dtype)
        self.layers = [_to(layer, dtype) for layer in triangles.layers]
        self.center = ((inputs.lower + inputs.upper) / 2).to(dtype)[:, None]
        self.reach = ((inputs.upper - inputs.lower) / 2).to(dtype)[:, None]
        self.upper_slope: list[Tensor] = []
        self.intercept: list[Tensor] = []
        self.free: list[Tensor] = []
        self.sign = [split[:, None].to(dtype) for split in triangles.split]
        self.limits: list[tuple[Any, Any]] = []  # of slopes
        self.ends: list[tuple[np.ndarray, np.ndarray]] = []
        splits = triangles.split or [torch.zeros_like(low) for low in triangles.lower]
        for layer, low, u, split in zip(self.layers, triangles.lower, triangles.upper, splits, strict=True):
            self.ends.append((array(low)[:, None], array(u)[:, None]))
            self.limits.append((0.0, 1.0) if layer.activation == RELU else _limits(layer.activation, low, u, dtype))
            on = (low >= 0) | (split > 0)
            free = ~(on | (u <= 0) | (split < 0))
            slope = torch.where(free, u / torch.where(free, u - low, torch.ones_like(u)), on.to(u))
            intercept = torch.where(free, -slope * low, torch.zeros_like(u))
            self.upper_slope.append(slope[:, None].to(dtype))
            self.intercept.append(intercept[..., None].to(dtype))
            self.free.append(free[:, None])

    def converted(self, dual: Dual) -> Dual:
        """The multipliers in this precision, inside the limits."""
        pairs, dtype = zip(dual.slopes, self.limits, strict=True), self.A.dtype
        more = tuple(t.to(dtype).clamp(min=0) for t in dual.multipliers)
        return Dual(tuple(t.to(dtype).clamp(*limits) for t, limits in pairs), more)

    def lines(self, i: int, A: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The line that each form A (N, m, outputs) uses above layer i: slope, intercept, and where it touches."""
        one, above = self.layers[i].activation, A > 0
        slope = torch.where(above[..., None] if one.windows is not None else above, slopes[..., 1], slopes[..., 0])
        intercept, touch = one.intercept(array(slope.double()), *self.ends[i], array(above))
        return slope, A.new_tensor(intercept), A.new_tensor(touch)

    def bound(self, dual: Dual) -> tuple[Tensor, Tensor, list]:
        """Values (N, m), maximisers (N, m, n_0), and for each layer the forms above it and what the gradient needs."""
        A, constant = self.A, self.constant
        kept: list[tuple[Tensor, ...]] = []
        for i in reversed(range(len(self.layers))):
            layer, slope = self.layers[i], self.upper_slope[i]
            one = layer.activation
            if one != RELU:
                line = self.lines(i, A, dual.slopes[i])
                kept.append((A, *line))
                constant = constant + (A * line[1]).sum(-1)
                mu = times(A, line[0], None if one.windows is None else torch.tensor(one.windows), layer.outputs)
            else:
                above = A.clamp(min=0)
                lower_slope = torch.where(self.free[i], dual.slopes[i], slope)
                kept.append((A, above, lower_slope))
                constant = constant + torch.matmul(above, self.intercept[i])[..., 0]
                mu = above * slope + (A - above) * lower_slope
                if self.sign:
                    mu = mu + self.sign[i] * dual.multipliers[i]
            constant = constant + torch.matmul(mu, layer.bias)
            A = _transposed(layer, mu)
        x = self.center + self.reach * A.sign()
        # The maximum is computed by itself: A x with the rounded x would be a little different.
        value = constant + torch.matmul(A, self.center.mT)[..., 0] + torch.matmul(A.abs(), self.reach.mT)[..., 0]
        return value, x, kept[::-1]

    def gradient(self, x: Tensor, kept: list) -> list[Tensor]:
        """Derivatives by the slopes of each layer, then by its split multipliers: (N, m, n_l) each."""
        slopes, multipliers, z = [], [], x
        for i, layer in enumerate(self.layers):
            h = layer.linear(z.flatten(0, 1)).reshape(*z.shape[:2], layer.outputs) + layer.bias
            if layer.activation != RELU:
                A, slope, intercept, touch = kept[i]
                windows = layer.activation.windows
                of_slope = h if windows is None else h[..., torch.tensor(windows)]
                z = slope * of_slope
                z = (z if windows is None else z.sum(-1)) + intercept
                A = A if windows is None else A[..., None]
                slopes.append((A * (of_slope - touch))[..., None] * torch.stack([A < 0, A > 0], -1))
                continue
            A, above, lower_slope = kept[i]
            slopes.append((A - above) * h * self.free[i])
            if self.sign:
                multipliers.append(self.sign[i] * h)
            if i + 1 < len(self.layers):
                z = torch.where(A > 0, self.upper_slope[i] * h + self.intercept[i].mT, lower_slope * h)
        return slopes + multipliers


def _descend(problem: DualObjective, dual: Dual, steps: int, goal: float | None) -> Dual:
    """Projected Adam on slopes and multipliers; returns the best ones seen for each form."""
    hidden = len(dual.slopes)

    def joined(values: list[Tensor]) -> Dual:
        return Dual(tuple(values[:hidden]), tuple(values[hidden:]))

    with torch.no_grad():
        variables = [t.clone() for t in (*dual.slopes, *dual.multipliers)]
        size = problem.A.abs().amax(-1, keepdim=True)  # multipliers are of the size of their form
        lengths: list[Any] = [SLOPE_STEP * (most - least) for least, most in problem.limits]
        lengths += [SPLIT_STEP * size] * (len(variables) - hidden)
        first, second = [torch.zeros_like(v) for v in variables], [torch.zeros_like(v) for v in variables]
        best, best_value = [v.clone() for v in variables], problem.A.new_full(problem.A.shape[:2], torch.inf)
        for k in range(steps + 1):
            value, x, kept = problem.bound(joined(variables))
            better = value < best_value
            best_value = torch.where(better, value, best_value)
            for kept_best, v in zip(best, variables, strict=True):
                torch.where(better.reshape(*better.shape, *[1] * (v.ndim - 2)), v, kept_best, out=kept_best)
            if k == steps or (goal is not None and bool((best_value < goal).all())):
                break
            for j, (v, g, length) in enumerate(zip(variables, problem.gradient(x, kept), lengths, strict=True)):
                first[j].mul_(0.9).add_(g, alpha=0.1)
                second[j].mul_(0.99).addcmul_(g, g, value=0.01)
                move = first[j] / (1 - 0.9 ** (k + 1)) / ((second[j] / (1 - 0.99 ** (k + 1))).sqrt() + 1e-12)
                v.sub_(move * length * DECAY**k)
                v.clamp_(*problem.limits[j] if j < hidden else (0,))
        return joined(best)


def _transposed(layer: Affine, mu: Tensor) -> Tensor:
    """mu W. The dense operator's own method looks for zeros in each problem: too costly for many problems."""
    if not isinstance(layer, DenseOperator):
        return layer.transpose(mu)
    return (mu.flatten(0, 1) @ layer.weight).reshape(*mu.shape[:2], layer.inputs)


def _to(layer: Affine, dtype: torch.dtype) -> Affine:
    if isinstance(layer, DenseOperator):
        return replace(layer, weight=layer.weight.to(dtype), bias=layer.bias.to(dtype))
    if isinstance(layer, SparseOperator):
        return replace(layer, bias=layer.bias.to(dtype))
    return replace(layer, weight=layer.weight.to(dtype), filter_bias=layer.filter_bias.to(dtype))


def _limits(one: Activation, low: Tensor, high: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The least and the largest slope of a line between bounds (N, n): (N, 1, ..., 1)."""
    least, most = one.slopes(array(low), array(high))
    return torch.tensor(least[:, None, ..., None], dtype=dtype), torch.tensor(most[:, None, ..., None], dtype=dtype)


def allowance(A: Tensor, constant: Tensor, triangles: Triangles, inputs: InputSet, dual: Dual) -> Tensor:
    """What to add to bounds (N, m) computed in float64 so that rounding cannot have made them too small.

    As in :func:`tightrope.propagation.rounding.allowance`: for each layer what |h| is summed from and the size of what
    z stands for, with absolute values everywhere, and slopes at their largest.
    """
    size, values = torch.maximum(inputs.lower.abs(), inputs.upper.abs()) + TINY, []
    below = 1 + size.sum(1, keepdim=True)
    for layer, low, high in zip(triangles.layers, triangles.lower, triangles.upper, strict=True):
        values.append(layer.absolute(size) + layer.bias.abs() + TINY * below)
        one = layer.activation
        size = carried(one, values[-1], low, high) + 2 * reached(one, low, high)
        if one == RELU:
            size = size * (high > 0)  # 0 stands for 0
        below = below + size.sum(1, keepdim=True)
    terms = sum(layer.inputs + pooled(layer) + PER_NEURON for layer in triangles.layers)
    operations = 2 * terms + A.shape[-1] + PER_NEURON
    total = torch.matmul(A.abs(), size[..., None])[..., 0] + constant.abs() + TINY * below
    for beta, value in zip(dual.multipliers, values, strict=False):  # without splits there are none
        total = total + torch.matmul(beta, value[..., None])[..., 0]
    return 4 * operations * (torch.finfo(torch.float64).eps / 2) * total
