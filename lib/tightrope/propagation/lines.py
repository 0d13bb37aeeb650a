"""Relaxations of one ReLU z = max(h, 0) over l <= h <= u by two lines, and the relaxations that use them.

Every relaxation keeps z = 0 where u <= 0 and z = h where l >= 0; they differ where l < 0 < u. Two lines are enough for
back-substitution; Triangle and Parallelogram have more sides and need a linear program
(:mod:`tightrope.relaxations.triangle`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from tightrope.names import known_name


@dataclass(frozen=True, eq=False)
class Lines:
    """lower_slope h + lower_intercept <= max(h, 0) <= upper_slope h + upper_intercept; tensors (N, n)."""

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor

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
        return Lines(lower, change(self.lower_intercept), upper, change(self.upper_intercept))


def _chord(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Positive, unstable, the chord's slope u / (u - l) and minus its l times slope (0 where not unstable)."""
    positive = (low >= 0).to(low)
    unstable = (low < 0) & (high > 0)
    # The division is only made where it is meant, or its gradient would be nan elsewhere.
    width = torch.where(unstable, high - low, torch.ones_like(high))
    slope = torch.where(unstable, high / width, torch.zeros_like(high))
    return positive, unstable, slope, -slope * low


def hbox_lines(low: Tensor, high: Tensor) -> Lines:
    """0 <= z <= u where unstable."""
    positive, unstable, _, _ = _chord(low, high)
    zero = torch.zeros_like(high)
    return Lines(positive, zero, positive, torch.where(unstable, high, zero))


def hbox_middle(low: Tensor, high: Tensor) -> Lines:
    """z = u / 2 where unstable: the middle of hBox's interval, whose half-width u / 2 is carried by itself."""
    positive, unstable, _, _ = _chord(low, high)
    middle = torch.where(unstable, high / 2, torch.zeros_like(high))
    return Lines(positive, middle, positive, middle)


def deepz_lines(low: Tensor, high: Tensor) -> Lines:
    """The chord, and its parallel through the origin."""
    positive, _, slope, intercept = _chord(low, high)
    both = positive + slope
    return Lines(both, torch.zeros_like(high), both, intercept)


def crown_lines(low: Tensor, high: Tensor) -> Lines:
    """The chord; below it 0 if -l >= u, h otherwise (the smaller triangle)."""
    positive, unstable, slope, intercept = _chord(low, high)
    adaptive = (unstable & (high > -low)).to(low)
    return Lines(positive + adaptive, torch.zeros_like(high), positive + slope, intercept)


def crown_0_lines(low: Tensor, high: Tensor) -> Lines:
    """The chord (h where l >= 0); below it 0 always, even where l >= 0."""
    positive, _, slope, intercept = _chord(low, high)
    zero = torch.zeros_like(high)
    return Lines(zero, zero, positive + slope, intercept)


@dataclass(frozen=True)
class Relaxation:
    """How a network is bounded, by its key in :data:`RELAXATIONS` and its title in the paper.

    `lines` maps l and u to lines; None means intervals only, without back-substitution. `by_intervals` says whether l
    and u of the hidden layers come from intervals; back-substitution then bounds the outputs only. `uncorrelated` says
    whether the interval of an unstable neuron goes on as a radius of its own, which |W| enlarges layer by layer, as in
    hybrid zonotopes and symbolic intervals; otherwise back-substitution first adds up all paths that lead from a neuron
    to the bound, which is tighter. `continuous` says whether its bounds are continuous in the weights (a theorem of the
    paper).
    """

    name: str
    title: str
    lines: Callable[[Tensor, Tensor], Lines] | None
    by_intervals: bool = False
    uncorrelated: bool = False
    continuous: bool = False


_ALL = (
    Relaxation("box", "Box", None, by_intervals=True, continuous=True),
    Relaxation("hbox", "hBox", hbox_middle, uncorrelated=True),
    Relaxation("hbox_back", "hBox, back-substituted", hbox_lines),
    Relaxation("crown_ibp", "CROWN-IBP (R)", crown_lines, by_intervals=True),
    Relaxation("deepz", "DeepZ", deepz_lines, continuous=True),
    Relaxation("crown", "CROWN", crown_lines),
    Relaxation("crown_0", "CROWN-0", crown_0_lines, continuous=True),
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
