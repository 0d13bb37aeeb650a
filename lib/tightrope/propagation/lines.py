"""Relaxations of one nonlinearity over l <= h <= u by two lines, and the relaxations that use them.

Of ReLU, z = max(h, 0), every relaxation keeps z = 0 where u <= 0 and z = h where l >= 0; they differ where l < 0 < u.
Two lines are enough for back-substitution; Triangle and Parallelogram have more sides and need a linear program
(:mod:`tightrope.relaxations.triangle`). The lines of ReLU are written out, in differentiable operations. Of every other
nonlinearity a relaxation chooses the slopes by the same rule, and :mod:`tightrope.networks.activations` says the
intercepts that make them lines:

- Box, hBox: slopes 0, an interval, wherever the function is curved;
- DeepZ: the slope of the chord for both lines;
- CROWN: the slopes of both envelopes in the middle of l and u (of ReLU's lower one: 0 if -l >= u, else 1);
- CROWN-0: the same above, slope 0 below.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from tightrope.errors import InputError
from tightrope.names import known_name
from tightrope.networks.activations import RELU, Activation


@dataclass(frozen=True, eq=False)
class Lines:
    """lower_slope h + lower_intercept <= z <= upper_slope h + upper_intercept; tensors (N, n).

    Of max pooling the slopes are (N, m, k) for the k inputs of each of m windows, given by `windows` (m, k).
    """

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor
    windows: Tensor | None = None
    inputs: int = 0

    def times(self, A: Tensor, slopes: Tensor) -> Tensor:
        """The forms A (N or 1, m, outputs) of values in terms of preactivations, by slopes: (N, m, inputs)."""
        return times(A, slopes[:, None], self.windows, self.inputs)

    @property
    def parallel(self) -> bool:
        """Whether both lines have one slope, so that one pass of back-substitution gives both bounds."""
        return self.lower_slope is self.upper_slope

    @property
    def slopes(self) -> tuple[Tensor, Tensor]:
        """Mean and half the difference of the slopes."""
        return (self.upper_slope + self.lower_slope) / 2, (self.upper_slope - self.lower_slope) / 2

    @property
    def intercepts(self) -> tuple[Tensor, Tensor]:
        """Mean and half the difference of the intercepts."""
        return (self.upper_intercept + self.lower_intercept) / 2, (self.upper_intercept - self.lower_intercept) / 2

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Lines":
        """Return the lines of other neurons or images: `change` takes the slopes and intercepts of all to theirs."""
        lower = change(self.lower_slope)
        upper = lower if self.parallel else change(self.upper_slope)
        least, most = change(self.lower_intercept), change(self.upper_intercept)
        return Lines(lower, least, upper, most, self.windows, self.inputs)


def hbox_lines(low: Tensor, high: Tensor) -> Lines:
    """0 <= z <= u where unstable."""
    positive, zero = (low >= 0).to(low), torch.zeros_like(high)
    return Lines(positive, zero, positive, torch.where((low < 0) & (high > 0), high, zero))


def hbox_middle(low: Tensor, high: Tensor) -> Lines:
    """z = u / 2 where unstable: the middle of hBox's interval, whose half-width u / 2 is carried by itself."""
    interval = hbox_lines(low, high)
    middle = interval.upper_intercept / 2
    return replace(interval, lower_intercept=middle, upper_intercept=middle)


def deepz_lines(low: Tensor, high: Tensor) -> Lines:
    """The chord, of slope u / (u - l), and its parallel through the origin."""
    unstable, zero = (low < 0) & (high > 0), torch.zeros_like(high)
    # The division is only made where it is meant, or its gradient would be nan elsewhere.
    slope = torch.where(unstable, high / torch.where(unstable, high - low, torch.ones_like(high)), zero)
    both = (low >= 0).to(low) + slope
    return Lines(both, zero, both, -slope * low)


def crown_lines(low: Tensor, high: Tensor) -> Lines:
    """The chord; below it 0 if -l >= u, h otherwise (the smaller triangle)."""
    return replace(deepz_lines(low, high), lower_slope=((low >= 0) | (high > -low)).to(low))


def crown_0_lines(low: Tensor, high: Tensor) -> Lines:
    """The chord (h where l >= 0); below it 0 always, even where l >= 0."""
    return replace(deepz_lines(low, high), lower_slope=torch.zeros_like(high))


# any nonlinearity ---------------------------------------------------------------------------------

_Ends = np.ndarray  # l or u, (N, n)
#: From a nonlinearity and its bounds to slopes of a lower and an upper line.
_Slopes = Callable[[Activation, _Ends, _Ends], tuple[np.ndarray, np.ndarray]]


def _flat(one: Activation, low: _Ends, high: _Ends) -> tuple[np.ndarray, np.ndarray]:
    return (one.flat(low, high),) * 2


def _chords(one: Activation, low: _Ends, high: _Ends) -> tuple[np.ndarray, np.ndarray]:
    return (one.chord(low, high),) * 2


@np.errstate(over="ignore", invalid="ignore")
def _tangents(one: Activation, low: _Ends, high: _Ends) -> tuple[np.ndarray, np.ndarray]:
    middle = (low + high) / 2
    return one.best(middle, low, high, False), one.best(middle, low, high, True)


def _flat_below(one: Activation, low: _Ends, high: _Ends) -> tuple[np.ndarray, np.ndarray]:
    above = _tangents(one, low, high)[1]
    return np.zeros_like(above), above


def times(A: Tensor, slopes: Tensor, windows: Tensor | None, inputs: int) -> Tensor:
    """Forms A (..., m) of values in terms of preactivations (..., n), by slopes (..., n), or (..., m, k) of windows."""
    if windows is None:
        return A * slopes
    weights = (A[..., None] * slopes).flatten(-2)
    return weights.new_zeros(*weights.shape[:-1], inputs).index_add_(-1, windows.flatten(), weights)


def array(tensor: Tensor) -> np.ndarray:
    """The numbers of a tensor, for nonlinearities but ReLU, whose lines have no derivatives."""
    if tensor.requires_grad:
        raise InputError("network: bounds can be differentiated through ReLU only; give a network of ReLU.")
    return tensor.cpu().numpy()


def image(one: Activation, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds (N, m) of sigma(h) for l <= h <= u (N, n), outward."""
    if one == RELU:
        return low.clamp(min=0), high.clamp(min=0)
    ends = array(low), array(high)
    zero = np.zeros_like(one.gathered(ends[0]))
    return low.new_tensor(one.intercept(zero, *ends, False)[0]), low.new_tensor(one.intercept(zero, *ends, True)[0])


def carried(one: Activation, amount: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """At most what differences (N, n) of preactivations become by a line between the bounds, (N, m)."""
    if one == RELU:
        return amount
    if one.windows is not None:
        return amount[:, torch.tensor(one.windows)].sum(-1)
    least, most = one.slopes(array(low), array(high))
    return amount * low.new_tensor(1.01 * np.maximum(np.abs(least), np.abs(most)))


def reached(one: Activation, low: Tensor, high: Tensor) -> Tensor:
    """At most the size of the intercept of a line between the bounds, (N, m)."""
    largest = torch.maximum(low.abs(), high.abs())
    if one == RELU:
        return largest
    least, most = image(one, low, high)
    return torch.maximum(least.abs(), most.abs()) + carried(one, largest, low, high)


@dataclass(frozen=True)
class Relaxation:
    """How a network is bounded, by its key in :data:`RELAXATIONS` and its title in the paper.

    `lines` maps l and u to lines of ReLU, `slopes` says those of any other nonlinearity; None means intervals only,
    without back-substitution. `by_intervals` says whether l and u of the hidden layers come from intervals;
    back-substitution then bounds the outputs only. `uncorrelated` says whether the interval of an unstable neuron goes
    on as a radius of its own, which |W| enlarges layer by layer, as in hybrid zonotopes and symbolic intervals;
    otherwise back-substitution first adds up all paths that lead from a neuron to the bound, which is tighter.
    `continuous` says whether its bounds are continuous in the weights (a theorem of the paper).
    """

    name: str
    title: str
    lines: Callable[[Tensor, Tensor], Lines] | None
    by_intervals: bool = False
    uncorrelated: bool = False
    continuous: bool = False
    slopes: _Slopes = _flat

    def lines_of(self, one: Activation, low: Tensor, high: Tensor) -> Lines:
        """The lines of a nonlinearity between bounds (N, n); of ReLU, with `uncorrelated`, twice their middle."""
        if self.lines is None:
            raise InputError(f"{self.title} has no lines.")
        if one == RELU:
            return self.lines(low, high)
        ends = array(low), array(high)
        below, above = self.slopes(one, *ends)
        least, most = one.intercept(below, *ends, False)[0], one.intercept(above, *ends, True)[0]
        lower = low.new_tensor(below)
        upper = lower if above is below else low.new_tensor(above)
        windows = None if one.windows is None else torch.tensor(one.windows, device=low.device)
        return Lines(lower, low.new_tensor(least), upper, low.new_tensor(most), windows, low.shape[-1])


_ALL = (
    Relaxation("box", "Box", None, by_intervals=True, continuous=True),
    Relaxation("hbox", "hBox", hbox_middle, uncorrelated=True),
    Relaxation("hbox_back", "hBox, back-substituted", hbox_lines),
    Relaxation("crown_ibp", "CROWN-IBP (R)", crown_lines, by_intervals=True, slopes=_tangents),
    Relaxation("deepz", "DeepZ", deepz_lines, continuous=True, slopes=_chords),
    Relaxation("crown", "CROWN", crown_lines, slopes=_tangents),
    Relaxation("crown_0", "CROWN-0", crown_0_lines, continuous=True, slopes=_flat_below),
)
RELAXATIONS: Mapping[str, Relaxation] = MappingProxyType({one.name: one for one in _ALL})
#: Other names of the same bounds.
SAME: Mapping[str, str] = MappingProxyType(
    dict(ibp="box", cap="deepz", fast_lin="deepz", neurify="deepz", deeppoly="crown", crown_ibp_r="crown_ibp")
)


def relaxation(name: str | Relaxation) -> Relaxation:
    """Return a relaxation by its name in :data:`RELAXATIONS` or another one, in :data:`SAME`."""
    if isinstance(name, Relaxation):
        return name
    return RELAXATIONS[known_name("relaxation", name, RELAXATIONS, SAME)]
