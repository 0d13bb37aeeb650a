"""Batches of input regions, and the extreme values of linear forms on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tightrope.errors import RegionError
from tightrope.regions import INFINITY, Region


@dataclass(frozen=True, eq=False)
class InputSet:
    """N regions {x : lower <= x <= upper, ||x - center||_norm <= radius}, one for each image.

    The regions are the boxes `lower`, `upper` (N, n), or with a center (N, n) and a radius (N,) balls of norm 1 or 2
    that are cut to them.

    Examples
    --------
    >>> from tightrope.regions import Ball
    >>> x = torch.tensor([[3.0, 4.0]]).double()
    >>> float(InputSet.from_balls([Ball(np.zeros(2), 1.0, 2)]).maximum(x[None]))
    5.0
    """

    lower: Tensor
    upper: Tensor
    center: Tensor | None = None
    radius: Tensor | None = None
    norm: float = INFINITY

    def __post_init__(self) -> None:
        if self.lower.ndim != 2 or self.lower.shape != self.upper.shape:
            raise RegionError(
                f"lower, upper: shapes {tuple(self.lower.shape)} and {tuple(self.upper.shape)}; give (N, n) both."
            )
        if not bool((self.lower <= self.upper).all()):  # also refuses nan
            raise RegionError("lower, upper: a lower bound is above its upper bound, or one of them is nan.")

    @classmethod
    def boxes(cls, lower: ArrayLike, upper: ArrayLike) -> "InputSet":
        """Return the boxes between rows of arrays (N, n), or one box of vectors (n,), in float64."""
        low, high = (torch.tensor(np.atleast_2d(side), dtype=torch.float64) for side in (lower, upper))
        return cls(low, high)

    @classmethod
    def from_balls(cls, regions: Sequence[Region]) -> "InputSet":
        """Return the regions of a batch in float64; what is no ball of a norm 1, 2 or inf by its enclosure."""
        balls = [region.enclosure()[0] for region in regions]
        norms = {ball.norm for ball in balls}
        if len(norms) != 1:
            raise RegionError(f"regions: norms {sorted(norms)} in one batch; give balls of one norm.")
        boxes = cls.boxes(*zip(*(ball.bounding_box() for ball in balls), strict=True))
        (norm,) = norms
        if norm == INFINITY:
            return boxes
        center = torch.tensor(np.stack([ball.center for ball in balls]), dtype=torch.float64)
        radius = torch.tensor([ball.radius for ball in balls], dtype=torch.float64)
        return cls(boxes.lower, boxes.upper, center, radius, norm)

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def size(self) -> int:
        """The number of inputs of one region."""
        return self.lower.shape[1]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "InputSet":
        """Return the regions whose tensors are those of these, changed: other types, or some of the rows."""
        center, radius = (None if t is None else change(t) for t in (self.center, self.radius))
        return InputSet(change(self.lower), change(self.upper), center, radius, self.norm)

    def rows(self, chosen: slice | Tensor) -> "InputSet":
        """Return the regions of some images: a slice, a mask or indices."""
        return self.mapped(lambda tensor: tensor[chosen])

    def range(self, A: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds (N, m) of A x for forms A (N or 1, m, n): exact for a box or an unclipped ball.

        A clipped L1 or L2 ball lies in the ball and in its box; the better of both bounds is taken for each form.
        """
        low, high = box_range(A, self.lower, self.upper)
        if self.radius is None or self.center is None:
            return low, high
        dual = torch.linalg.vector_norm(A, ord=2 if self.norm == 2 else INFINITY, dim=-1)
        if self.norm == 2:  # squares below the smallest number are lost, so that their root is off by up to this much
            dual = dual + (A.shape[-1] * torch.finfo(A.dtype).tiny * torch.finfo(A.dtype).eps) ** 0.5
        dual = dual * self.radius[:, None]
        at = torch.matmul(A, self.center[..., None])[..., 0]
        return torch.maximum(low, at - dual), torch.minimum(high, at + dual)

    def maximum(self, A: Tensor) -> Tensor:
        """Upper bounds (N, m) of A x, as :meth:`range`."""
        return self.range(A)[1]


def box_range(A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds (N, m) of A x over lower <= x <= upper, (N, n) each; nan where a bound is."""
    middle, reach = (lower + upper) / 2, (upper - lower) / 2
    center = torch.matmul(A, middle[..., None])[..., 0]
    spread = torch.matmul(A.abs(), reach[..., None])[..., 0]
    return center - spread, center + spread
