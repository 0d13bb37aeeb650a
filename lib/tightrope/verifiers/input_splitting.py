"""Branch and bound on the inputs: boxes are halved until each is decided, many at a time, for networks with few inputs.

A box is closed for a case as soon as CROWN proves that one of the case's constraints cannot be met on it. The input to
halve is the one whose width, times the gradient at the middle, matters most to the constraint that is nearest to that,
of those that are not met on the whole box.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tightrope.networks import FeedForward, to_module
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import operators
from tightrope.propagation.rounding import allowance
from tightrope.verifiers.branch_and_bound import Rows

#: Boxes that are bounded together, and boxes that may wait.
BATCH, MOST = 512, 500_000
#: What is added to the distance of a constraint that is met on the whole box: there it closes no part.
BEHIND = 1e100
#: What an input counts for that the gradient at the middle does not depend on: nearby it may, and so do relaxations.
LEAST = 0.01


@dataclass(frozen=True, eq=False)
class _Boxes(Rows):
    """Boxes (N, p0), the case of each (N,), and how far it is from being closed (N,)."""

    lower: Tensor
    upper: Tensor
    case: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.case)


def split_inputs(
    network: FeedForward,
    lower: np.ndarray,
    upper: np.ndarray,
    limits: np.ndarray,
    look: Callable[[int, np.ndarray], bool],
    until: float,
) -> list[int]:
    """Return the cases that stay open, in no order: is there an x between lower and upper with F(x) >= -limits?

    The `network` is F, with k outputs; `lower` and `upper` (M, p0) are the boxes of M cases, `limits` (M, k). `look` is
    called with a case and the points (n, p0) of its boxes at which float64 meets its constraints; True ends all, and
    nothing is said of what is open. So does, with what is open, the processor time `until`.
    """
    layers, module = operators(network), to_module(network).requires_grad_(False)
    needed = -torch.tensor(limits)  # F_i < needed_i for some i closes a box
    score = torch.full((len(lower),), np.inf, dtype=torch.float64)
    waiting = _Boxes(torch.tensor(lower), torch.tensor(upper), torch.arange(len(lower)), score)
    with torch.no_grad():
        while len(waiting):
            if time.process_time() > until or len(waiting) > MOST:
                return waiting.case.unique().tolist()
            order = torch.argsort(waiting.score, descending=True)
            now, waiting = waiting.rows(order[:BATCH]), waiting.rows(order[BATCH:])
            inputs = InputSet(now.lower, now.upper)
            proven = bounds(layers, inputs, "crown")
            most = proven.output_upper + allowance(layers, inputs, proven)
            slack = most - needed[now.case]
            slack = torch.where(slack.isnan(), np.inf, slack)
            slack, constraint = torch.where(proven.output_lower >= needed[now.case], slack + BEHIND, slack).min(1)
            left = ~(slack < 0)
            now, constraint = now.rows(left), constraint[left]
            if not len(now):
                continue
            middle = (now.lower + now.upper) / 2
            slopes = _gradients(module, middle, constraint)
            corner = torch.where(slopes > 0, now.upper, now.lower)
            if any(_seen(network, points, now.case, needed, look) for points in (middle, corner)):
                return []
            width = now.upper - now.lower
            divides = (middle > now.lower) & (middle < now.upper)
            slopes = slopes.abs() + LEAST * slopes.abs().max(1, keepdim=True).values + 1e-9
            matters = torch.where(divides, slopes * width, -1.0)
            value, axis = matters.max(1)
            if bool((value < 0).any()):  # a point that is not decided
                return torch.cat([now.case, waiting.case]).unique().tolist()
            waiting = _Boxes.join([*_halved(now, axis, slack[left]), waiting])
    return []


def _gradients(module: Callable[[Tensor], Tensor], x: Tensor, rows: Tensor) -> Tensor:
    """Return the gradient (N, p0) of output rows_n at each of the points x (N, p0)."""
    with torch.enable_grad():
        x = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(module(x).gather(1, rows[:, None]).sum(), x)
    return gradient


def _halved(boxes: _Boxes, axis: Tensor, score: Tensor) -> tuple[_Boxes, _Boxes]:
    """Return the lower and the upper half of each box along its own axis."""
    rows = torch.arange(len(boxes))
    middle = (boxes.lower[rows, axis] + boxes.upper[rows, axis]) / 2
    lower, upper = boxes.lower.clone(), boxes.upper.clone()
    lower[rows, axis], upper[rows, axis] = middle, middle
    return replace(boxes, upper=upper, score=score), replace(boxes, lower=lower, score=score)


def _seen(
    network: FeedForward, points: Tensor, cases: Tensor, needed: Tensor, look: Callable[[int, np.ndarray], bool]
) -> bool:
    """Whether one of the points (N, p0) is a counterexample to its case."""
    meets = (network.logits(points.numpy()) >= needed[cases].numpy()).all(1)
    chosen, rows = cases.numpy()[meets], points.numpy()[meets]
    return any(look(int(case), rows[chosen == case]) for case in np.unique(chosen))
