"""The nonlinearities between the layers of a network: one dataclass each, with all that a relaxation needs of it.

A line a h + t is below sigma on l <= h <= u exactly if t is at most

    t(a) = min { sigma(h) - a h : l <= h <= u },

and above it if t is at least the maximum. So a relaxation chooses slopes, and the nonlinearity answers with intercepts
(:meth:`Activation.intercept`), moved outward by what rounding can cost. The optimal convex relaxation of eq. (6) of
Salman et al. 2019, the greatest convex function below and the least concave one above, is at each point the best of
these lines (:meth:`Activation.best`): sigma and its envelope have the same t(a), which is theorem 4.2 for one neuron.

The minimum is at an end, at a kink, or where the derivative is a; so a function of one variable states its value, its
derivative, its kinks, and where its derivative has a value. Max pooling states t(a) for a slope in each of its inputs.
Everything is elementwise in NumPy: preactivations (..., n), slopes (..., n), or (..., m, k) of m windows of k inputs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from tightrope.errors import NetworkError
from tightrope.names import known_name
from tightrope.networks.arrays import integers

#: Intercepts are moved outward by this part of what they are computed from. It covers the elementary functions of NumPy
#: (at most 4 units in the last place off; the tests enclose them in balls), the sums and products after them, and the
#: point where the derivative is a, of which the derivative is off by a few roundoffs.
OUTWARD = 2.0**-46
#: The steepest line of the step that is used: any slope is sound, and an infinite one is no line.
STEEPEST = 1e6
_TINY = float(np.finfo(np.float64).tiny)


class Activation:
    """One value z for each neuron of the next layer: sigma of one preactivation, unless a subclass has windows."""

    #: Where the derivative jumps.
    kinks: ClassVar[tuple[float, ...]] = ()
    #: The inputs (m, k) of each output, if there are several.
    windows: np.ndarray | None = None

    def value(self, h: np.ndarray) -> np.ndarray:
        """sigma(h)."""
        raise NotImplementedError

    def derivative(self, h: np.ndarray) -> np.ndarray:
        """A derivative at h; at a kink one of both."""
        raise NotImplementedError

    def turning(self, slope: np.ndarray) -> tuple[np.ndarray, ...]:
        """Where the derivative equals the slope; nan, infinite or any point where it nowhere does."""
        return ()

    def limit(self, h: np.ndarray, above: ArrayLike) -> np.ndarray:
        """sigma(h), at a jump the end of the closed graph on this side."""
        return self.value(h)

    def outputs(self, inputs: int) -> int:
        """m, the number of values of n preactivations."""
        return inputs

    def inputs(self, outputs: int) -> int:
        """n, the number of preactivations of m values."""
        return outputs

    @property
    def name(self) -> str:
        """Key in :data:`ACTIVATIONS`."""
        return next(name for name, kind in ACTIVATIONS.items() if isinstance(self, kind))

    def parameters(self) -> np.ndarray:
        """All fields in order, flattened: what :func:`named` makes the same one of."""
        own = [np.ravel(getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]
        return np.concatenate([np.zeros(0), *own])

    # lines ----------------------------------------------------------------------------------------

    def slopes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest slope of a secant between the bounds: all slopes of the envelopes are between."""
        at = [self.derivative(point) for point in (low, high, np.clip(np.zeros_like(low), low, high))]
        return np.minimum.reduce(at), np.maximum.reduce(at)

    def curved(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Whether sigma is no line between the bounds, for each output."""
        return low < high

    def undecided(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Whether tighter bounds of a preactivation can give better lines, for each of them."""
        return self.curved(low, high)

    def gathered(self, h: np.ndarray) -> np.ndarray:
        """Preactivations in the shape of slopes."""
        return h

    def _touching(
        self, slope: np.ndarray, low: np.ndarray, high: np.ndarray, above: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """The extreme of sigma(h) - slope h, the largest where `above`, and a point that has it."""
        sign = np.where(above, 1.0, -1.0).astype(slope.dtype)
        with np.errstate(all="ignore"):
            others = [np.clip(np.nan_to_num(point), low, high) for point in self.turning(slope)]
        others += [np.clip(np.full_like(low, kink), low, high) for kink in self.kinks]
        best, at = sign * (self.limit(low, above) - slope * low), low + 0 * slope
        for point in (high, *others):
            found = sign * (self.limit(point, above) - slope * point)
            better = found > best
            best, at = np.where(better, found, best), np.where(better, point, at)
        return sign * best, at

    @np.errstate(over="ignore", invalid="ignore")  # what overflows has an infinite size, and so no line
    def intercept(
        self, slope: np.ndarray, low: np.ndarray, high: np.ndarray, above: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """The intercept t (..., m) of the line of this slope above sigma, or below it, outward; and where it touches.

        The second has the shape of slopes: a point of the graph with this t, up to rounding, which is minus the
        derivative of t by the slope.

        Examples
        --------
        >>> t, touch = ReLU().intercept(np.array([0.75]), np.array([-1.0]), np.array([3.0]), True)  # the chord
        >>> round(t.item(), 9), touch.item()
        (0.75, -1.0)
        """
        t, touch = self._touching(slope, low, high, above)
        size = (1 + np.abs(slope)) * np.maximum(np.abs(low), np.abs(high))
        size = size + np.maximum(np.abs(self.limit(low, above)), np.abs(self.limit(high, above)))
        return t + np.where(above, OUTWARD, -OUTWARD) * size + np.where(above, _TINY, -_TINY), touch

    @np.errstate(over="ignore", invalid="ignore")
    def best(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, above: bool) -> np.ndarray:
        """The slope of the envelope at x, by bisection: steeper, while the line touches on the wrong side of x."""
        least, most = self.slopes(low, high)
        for _ in range(50):
            middle = (least + most) / 2
            touch = self._touching(middle, low, high, above)[1]
            steeper = touch > x if above else touch < x
            least, most = np.where(steeper, middle, least), np.where(steeper, most, middle)
        a, b = (self._touching(slope, low, high, above)[1] for slope in (least, most))
        bridge = np.abs(b - a) > 1e-3 * (high - low)  # the envelope is a segment from a to b
        rise = self.limit(b, above) - self.limit(a, above)
        slope = np.where(bridge, rise / np.where(bridge, b - a, 1.0), (least + most) / 2)
        return np.clip(slope, *self.slopes(low, high))

    @np.errstate(over="ignore", invalid="ignore")
    def chord(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """One slope for both lines: that from end to end."""
        wide = low < high
        slope = (self.value(high) - self.value(low)) / np.where(wide, high - low, 1.0)
        return np.clip(slope, *self.slopes(low, high))  # rounding can make it steeper

    def flat(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Slopes 0, so that the lines are an interval, where sigma is curved; its own slope otherwise."""
        curved = self.curved(low, high)
        return np.where(curved if self.windows is None else curved[..., None], 0.0, self.chord(low, high))


@dataclass(frozen=True)
class ReLU(Activation):
    """``max(h, 0)``."""

    kinks = (0.0,)

    def value(self, h: np.ndarray) -> np.ndarray:
        return np.maximum(h, 0.0)

    def derivative(self, h: np.ndarray) -> np.ndarray:
        return (h > 0).astype(h.dtype)

    def curved(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low < 0) & (high > 0)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """``h`` above 0, ``slope h`` below."""

    slope: float = 0.01
    kinks = (0.0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", _real("slope", self.slope))

    def value(self, h: np.ndarray) -> np.ndarray:
        return np.where(h > 0, h, self.slope * h)

    def derivative(self, h: np.ndarray) -> np.ndarray:
        return np.where(h > 0, 1.0, self.slope).astype(h.dtype)

    def curved(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low < 0) & (high > 0)


@dataclass(frozen=True)
class ELU(Activation):
    """``h`` above 0, ``alpha (exp(h) - 1)`` below; alpha > 0."""

    alpha: float = 1.0
    kinks = (0.0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", _real("alpha", self.alpha, positive=True))

    def value(self, h: np.ndarray) -> np.ndarray:
        return np.where(h > 0, h, self.alpha * np.expm1(np.minimum(h, 0)))

    def derivative(self, h: np.ndarray) -> np.ndarray:
        return np.where(h > 0, 1.0, self.alpha * np.exp(np.minimum(h, 0))).astype(h.dtype)

    def turning(self, slope: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.minimum(np.log(slope / self.alpha), 0.0),)

    def curved(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low < 0) & (low < high)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """``1 / (1 + exp(-h))``."""

    def value(self, h: np.ndarray) -> np.ndarray:
        return 0.5 * (1 + np.tanh(h / 2))

    def derivative(self, h: np.ndarray) -> np.ndarray:
        return self.value(h) * self.value(-h)

    def turning(self, slope: np.ndarray) -> tuple[np.ndarray, ...]:
        root = np.sqrt(np.maximum(1 - 4 * slope, 0.0))  # of z (1 - z) = a, for the larger z = (1 + root) / 2
        at = np.log((1 + root) ** 2 / (4 * slope))
        return at, -at


@dataclass(frozen=True)
class Tanh(Activation):
    """``tanh(h)``."""

    def value(self, h: np.ndarray) -> np.ndarray:
        return np.tanh(h)

    def derivative(self, h: np.ndarray) -> np.ndarray:
        return 1 / np.cosh(np.clip(h, -300, 300)) ** 2

    def turning(self, slope: np.ndarray) -> tuple[np.ndarray, ...]:
        at = np.log((1 + np.sqrt(np.maximum(1 - slope, 0.0))) / np.sqrt(slope))  # of 1 - z^2 = a
        return at, -at


@dataclass(frozen=True)
class Arctan(Activation):
    """``arctan(h)``."""

    def value(self, h: np.ndarray) -> np.ndarray:
        return np.arctan(h)

    def derivative(self, h: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.clip(h, -1e150, 1e150) ** 2)

    def turning(self, slope: np.ndarray) -> tuple[np.ndarray, ...]:
        at = np.sqrt(np.maximum(1 - slope, 0.0) / slope)
        return at, -at


@dataclass(frozen=True)
class Step(Activation):
    """1 where h > 0, else 0; relaxations are of its closed graph, which has both values at 0."""

    kinks = (0.0,)

    def value(self, h: np.ndarray) -> np.ndarray:
        return (h > 0).astype(h.dtype)

    def derivative(self, h: np.ndarray) -> np.ndarray:
        return np.zeros_like(h)

    def limit(self, h: np.ndarray, above: ArrayLike) -> np.ndarray:
        return np.where(above, h >= 0, h > 0).astype(np.result_type(h))

    def slopes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nearest = np.maximum(np.minimum(-low, high), 1 / STEEPEST)
        return np.zeros_like(low), np.where(self.curved(low, high), 1 / nearest, 0.0)

    def curved(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low <= 0) & (high >= 0)


@dataclass(frozen=True)
class MaxPool(Activation):
    """The largest entry of each window of an image, as torch.nn.MaxPool2d; padding counts for nothing.

    `input_shape` is (channels, height, width) of the preactivations, flattened as everywhere; `kernel`, `stride` and
    `padding` are of rows and columns, or one integer for both.

    Examples
    --------
    >>> pool = MaxPool((1, 2, 4), 2, 2)
    >>> pool.value(np.arange(8.0)[None]), pool.windows.tolist()
    (array([[5., 7.]]), [[0, 1, 4, 5], [2, 3, 6, 7]])
    """

    input_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for name, length, least in (("input_shape", 3, 1), ("kernel", 2, 1), ("stride", 2, 1), ("padding", 2, 0)):
            object.__setattr__(self, name, integers(name, getattr(self, name), length, least))
        if min(self.output_shape) < 1 or any(p >= k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise NetworkError(
                f"kernel {self.kernel}, padding {self.padding} for images {self.input_shape}: every window must hold a "
                "pixel, and one window must fit."
            )

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the values."""
        height, width = ((n + 2 * pad - size) // step + 1 for n, size, step, pad in self._sides())
        return self.input_shape[0], height, width

    def _sides(self) -> zip:
        """Size, kernel, stride and padding of rows and of columns."""
        return zip(self.input_shape[1:], self.kernel, self.stride, self.padding, strict=True)

    @cached_property
    def windows(self) -> np.ndarray:  # type: ignore[override]
        """(m, k): the inputs of each output. On the padding stands the nearest pixel, which the window has already."""
        index = np.arange(prod(self.input_shape)).reshape(self.input_shape)
        rows, columns = (
            np.clip(np.arange(out)[:, None] * step - pad + np.arange(size), 0, n - 1)
            for out, (n, size, step, pad) in zip(self.output_shape[1:], self._sides(), strict=True)
        )
        return index[:, rows[:, None, :, None], columns[None, :, None, :]].reshape(-1, prod(self.kernel))

    def outputs(self, inputs: int) -> int:
        if inputs != prod(self.input_shape):
            raise NetworkError(f"max pooling of images {self.input_shape} for {inputs} values.")
        return prod(self.output_shape)

    def inputs(self, outputs: int) -> int:
        return prod(self.input_shape)

    def gathered(self, h: np.ndarray) -> np.ndarray:
        return h[..., self.windows]

    def value(self, h: np.ndarray) -> np.ndarray:
        return self.gathered(h).max(-1)

    def slopes(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        least = np.zeros_like(self.gathered(low))
        return least, least + 1

    def curved(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Whether no input is at least as large as all others."""
        low, high = self.gathered(low), self.gathered(high)
        k = np.argmax(low, -1)[..., None]
        largest = np.take_along_axis(np.broadcast_to(self.windows, low.shape), k, -1)  # it may be there twice
        others = np.where(self.windows == largest, -np.inf, high)
        return others.max(-1) > low.max(-1)

    def undecided(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        inputs = np.zeros(low.shape, dtype=bool)
        reached = self.gathered(high) > self.gathered(low).max(-1, keepdims=True)
        reached &= self.curved(low, high)[..., None]
        for k in range(reached.shape[-1]):
            np.logical_or.at(inputs.T, self.windows[:, k], reached[..., k].T)
        return inputs

    @np.errstate(over="ignore", invalid="ignore")
    def intercept(
        self, slope: np.ndarray, low: np.ndarray, high: np.ndarray, above: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """As for one variable, of max_k h_k - a h over the box of the window.

        The largest: one input j is the maximum, and each is at the better of its ends. The least: for a value M of the
        maximum each h_k is as large as it can be, min(M, u_k), where a_k > 0; M is L = max l or one of the u above it.
        """
        low, high = self.gathered(low), self.gathered(high)
        above = np.broadcast_to(np.asarray(above), slope.shape[:-1])
        at = np.where(slope < 0, high, low) + 0 * slope  # of the least a h
        top = np.where(slope < 1, high, low) + 0 * slope
        gain = (1 - slope) * top + slope * at  # of what input j adds as the maximum
        j = np.argmax(gain, -1)[..., None]
        upper = np.take_along_axis(gain, j, -1)[..., 0] - (slope * at).sum(-1)
        touch = at.copy()
        np.put_along_axis(touch, j, np.take_along_axis(top, j, -1), -1)
        least = low.max(-1, keepdims=True)
        lower = np.full(upper.shape, np.inf, dtype=slope.dtype)
        for maximum in (least, *(np.maximum(high[..., [k]], least) for k in range(high.shape[-1]))):
            reached = np.where(slope > 0, np.minimum(maximum, high), low)
            found = maximum[..., 0] - (slope * reached).sum(-1)
            touch = np.where((~above & (found < lower))[..., None], reached, touch)
            lower = np.minimum(lower, found)
        size = ((1 + np.abs(slope)) * np.maximum(np.abs(low), np.abs(high))).sum(-1)
        outward = OUTWARD * high.shape[-1] * size + _TINY
        return np.where(above, upper + outward, lower - outward), touch

    @np.errstate(over="ignore", invalid="ignore")
    def best(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, above: bool) -> np.ndarray:
        """The slopes of the envelope at x: below those of the largest entry; above by falling upper bounds.

        With p_k = (x_k - l_k) / (u_k - l_k), the weight of the upper end, the envelope is L + sum_k (u_k - L)+ q_k,
        where q takes the entries by falling u_k, q_k = min(p_k, 1 - what is taken): it is the best mixture of vertices
        with the means p, max over a vertex is the largest u_k that is on, and it is best never to waste a u_k under a
        larger one. The entry that finds less than its p left over, r, gives (u_k - u_r) p_k to those before it.
        """
        x, low, high = self.gathered(x), self.gathered(low), self.gathered(high)
        if not above:
            return (np.arange(x.shape[-1]) == np.argmax(x, -1)[..., None]).astype(x.dtype)
        order = np.argsort(-high, -1, kind="stable")
        width = high - low
        p = np.where(width > 0, (x - low) / np.where(width > 0, width, 1.0), 1.0)
        least = low.max(-1, keepdims=True)
        p, top, width = (np.take_along_axis(a, order, -1) for a in (p, np.maximum(high, least), width))
        full = np.cumsum(p, -1) >= 1
        r, found_one = np.argmax(full, -1)[..., None], full.any(-1, keepdims=True)
        floor = np.where(found_one, np.take_along_axis(top, r, -1), least)
        steep = np.maximum(top - floor, 0) / np.where(width > 0, width, 1.0)
        slope = np.where((width > 0) & ((np.arange(x.shape[-1]) < r) | ~found_one), steep, 0.0)
        found = np.empty_like(slope)
        np.put_along_axis(found, order, slope, -1)
        return np.minimum(found, 1.0)

    def chord(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """One slope for both lines: that of the entry with the largest middle."""
        return self.best((low + high) / 2, low, high, False)


#: All kinds by the names that files use.
ACTIVATIONS: Mapping[str, type[Activation]] = MappingProxyType(
    dict(
        relu=ReLU, leaky_relu=LeakyReLU, elu=ELU, sigmoid=Sigmoid, tanh=Tanh, arctan=Arctan, step=Step, max_pool=MaxPool
    )
)
RELU = ReLU()


def named(name: str, parameters: ArrayLike = ()) -> Activation:
    """Return the nonlinearity of this name; `parameters` are those of :meth:`Activation.parameters`."""
    values = np.ravel(parameters).tolist()
    kind: Any = ACTIVATIONS[known_name("activation", name, ACTIVATIONS)]
    if kind is MaxPool:
        if len(values) != 9:
            raise NetworkError(f"max_pool has 9 parameters, input_shape, kernel, stride, padding; found {len(values)}.")
        whole = [int(v) for v in values]
        return MaxPool(*(tuple(whole[i:j]) for i, j in ((0, 3), (3, 5), (5, 7), (7, 9))))  # type: ignore[arg-type]
    if len(values) > len(fields(kind)):
        raise NetworkError(f"{name} has {len(fields(kind))} parameters; found {len(values)}.")
    return kind(*values)


def between(count: int, activations: Iterable[Activation]) -> tuple[Activation, ...]:
    """Return what is between `count` layers, ReLU if nothing is given."""
    activations = tuple(activations) or (RELU,) * (count - 1)
    if len(activations) != count - 1:
        raise NetworkError(f"{len(activations)} activations for {count} layers; give one for each two.")
    for i, one in enumerate(activations):
        if not isinstance(one, Activation):
            known = ", ".join(kind.__name__ for kind in ACTIVATIONS.values())
            raise NetworkError(
                f"activations[{i}] is a {type(one).__name__}; give one of {known} of tightrope.networks."
            )
    return activations


def _real(name: str, value: Any, positive: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number) or (positive and number <= 0):
        raise NetworkError(f"{name}: expected a {'positive' if positive else 'finite'} number, got {value!r}.")
    return number
