"""What every region answers, so that nobody asks of which kind it is."""

import hashlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tightrope.errors import RegionError

if TYPE_CHECKING:
    from tightrope.regions.ball import Ball


class Region:
    """A bounded set of inputs (p0,), in network-input units: {at(w) : w in `parameters`}, cut by `half_spaces`."""

    center: np.ndarray

    @property
    def size(self) -> int:
        """p0, the number of inputs."""
        return len(self.center)

    @property
    def is_box(self) -> bool:
        """Whether it is a ball and the same as its bounding box."""
        return False

    @property
    def generators(self) -> np.ndarray | None:
        """G (p0, n) where the region is center + G w for w in `parameters`; None where w is x itself."""
        return None

    @property
    def half_spaces(self) -> tuple[np.ndarray, np.ndarray] | None:
        """A (k, p0) and b (k,) where the region is A x <= b within its bounding box, else None."""
        return None

    @property
    def parameters(self) -> Any:
        """The region of w, a ball or a polytope."""
        return self

    def at(self, w: np.ndarray) -> np.ndarray:
        """The points (..., p0) of w (..., n)."""
        G = self.generators
        return np.asarray(w, float) if G is None else self.center + np.asarray(w, float) @ G.T

    def bounding_box(self) -> tuple[np.ndarray, np.ndarray]:
        """A box (lower, upper) of floats that holds the region, rounded outwards."""
        raise NotImplementedError

    def enclosure(self) -> tuple["Ball", str]:
        """A ball with norm 1, 2 or inf that holds the region, and what was enlarged ("" if nothing)."""
        from tightrope.regions.ball import Ball

        kind = type(self).__name__
        return Ball.box(*self.bounding_box()), "" if self.is_box else f"{kind} enclosed in its box"

    def contains(self, x: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Whether each row of x (..., p0) is in the region, up to `tolerance` of its size and rounding."""
        raise NotImplementedError

    def holds(self, x: np.ndarray) -> np.ndarray:
        """Whether each row of x (..., p0) is in the region as its numbers stand, without any tolerance: a proof."""
        raise NotImplementedError

    def inwards(self, x: np.ndarray) -> np.ndarray:
        """Move each row of x (..., p0) that is inside up to rounding to where :meth:`holds` is true, if it can be."""
        raise NotImplementedError

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """`count` random points, (count, p0)."""
        raise NotImplementedError

    def require_ball(self, what: str) -> "Ball":
        """Return the region if it is a ball; else a RegionError, "region: `what` for balls, not for a ..."."""
        raise RegionError(f"region: {what} for balls, not for a {type(self).__name__}.")

    def require_box(self, what: str) -> "Ball":
        """Return the region if it is a ball that is a box; else a RegionError, "region: `what` for boxes; ..."."""
        raise RegionError(f"region: {what} for boxes; give a Ball of norm inf.")

    def stated(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Return the header and arrays by which a certificate file states the region, or raise a RegionError."""
        raise RegionError(f"region: no certificate file states a {type(self).__name__}.")

    def sha256(self) -> str:
        """Return the SHA-256 of the region's numbers."""
        head, arrays = self._numbers()
        digest = hashlib.sha256(repr(head).encode())
        for array in arrays:
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _numbers(self) -> tuple[tuple[object, ...], tuple[np.ndarray | None, ...]]:
        parts = tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]  # a dataclass
        return (type(self).__name__, *(part.shape for part in parts)), parts
