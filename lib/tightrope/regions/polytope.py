"""Polytopes in a box."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from tightrope.errors import RegionError
from tightrope.regions.region import Region


@dataclass(frozen=True, eq=False)
class Polytope(Region):
    """{x : A x <= b, lower <= x <= upper}, in network-input units; a RegionError if it is empty.

    A is (k, p0) and b (k,); the finite box, (p0,) each, keeps it bounded, whatever the rows are.
    """

    A: np.ndarray
    b: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    center: np.ndarray = field(init=False)  # of a largest ball inside (0 radius if the polytope is flat)
    # All inequalities, the box's too, as rows of length 1: derived, so no part of what the polytope is.
    _rows: np.ndarray = field(init=False, repr=False)
    _ends: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        A, b, lower, upper = (np.array(value, float) for value in (self.A, self.b, self.lower, self.upper))
        if A.ndim != 2 or b.shape != A.shape[:1] or not (np.isfinite(A).all() and np.isfinite(b).all()):
            raise RegionError(f"A, b: expected finite rows (k, p0) and (k,), got shapes {A.shape} and {b.shape}.")
        p0 = A.shape[1]
        if lower.shape != (p0,) or upper.shape != (p0,) or not np.isfinite([lower, upper]).all():
            raise RegionError(f"lower, upper: expected finite vectors ({p0},), got {lower.shape} and {upper.shape}.")
        length = np.linalg.norm(A, axis=1)
        if (b[length == 0] < 0).any():
            raise RegionError("A, b: a row of zeros has a negative end; the polytope is empty.")
        unit, end = A[length > 0] / length[length > 0, None], b[length > 0] / length[length > 0]
        center = _center(unit, end, lower, upper)
        rows, ends = np.vstack([unit, np.eye(p0), -np.eye(p0)]), np.concatenate([end, upper, -lower])
        arrays = dict(A=A, b=b, lower=lower, upper=upper, center=center, _rows=rows, _ends=ends)
        for name, array in arrays.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def half_spaces(self) -> tuple[np.ndarray, np.ndarray]:
        return self.A, self.b

    def stated(self) -> tuple[dict, dict[str, np.ndarray]]:
        rows = {"facets": self.A, "offsets": self.b}
        return {"shape": "polytope"}, {**rows, "lower": self.lower, "upper": self.upper}

    def bounding_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.lower, self.upper

    def contains(self, x: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Whether each row of x (..., p0) is at most `tolerance` (times a width below 1) beyond every inequality."""
        reach = tolerance * min(1.0, float((self.upper - self.lower).max(initial=0.0)))
        x = np.asarray(x, float)
        rounding = 4 * np.finfo(float).eps * (np.abs(x) @ np.abs(self._rows).T + np.abs(self._ends))
        return (x @ self._rows.T <= self._ends + reach + rounding).all(-1)

    def holds(self, x: np.ndarray) -> np.ndarray:
        """Whether rows of x (..., p0) fulfil all inequalities; in rational numbers where rounding leaves it open."""
        x = np.asarray(x, float)
        inside = np.array(self._surely(x))
        near = ~inside & self.contains(x, 0.0) & ((x >= self.lower) & (x <= self.upper)).all(-1)
        for row in map(tuple, np.argwhere(near)):
            point = list(map(Fraction, x[row].tolist()))
            forms = ((map(Fraction, a), Fraction(end)) for a, end in zip(self.A.tolist(), self.b.tolist(), strict=True))
            inside[row] = all(sum(map(Fraction.__mul__, a, point)) <= end for a, end in forms)
        return inside

    def _surely(self, x: np.ndarray) -> np.ndarray:
        """Whether each row of x (..., p0) fulfils every inequality by more than rounding, and the box."""
        size = np.abs(x) @ np.abs(self.A).T + np.abs(self.b) + np.finfo(float).tiny
        below = x @ self.A.T + 2 * (self.size + 4) * np.finfo(float).eps * size <= self.b
        return below.all(-1) & ((x >= self.lower) & (x <= self.upper)).all(-1)

    def inwards(self, x: np.ndarray) -> np.ndarray:
        """Move each row of x (..., p0) that rounding may put outside towards the centre, by 1e-12 of the way."""
        x = np.asarray(x, float)
        moved = self.center + (1 - 1e-12) * (x - self.center)
        return np.clip(np.where(self._surely(x)[..., None], x, moved), self.lower, self.upper)

    def _reach(self, x: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """The largest t >= 0 (...,) with x + t direction inside, for x inside."""
        room, speed = self._ends - x @ self._rows.T, direction @ self._rows.T
        slow = 1e-14 * np.linalg.norm(direction, axis=-1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(speed > slow, np.maximum(room, 0) / speed, np.inf)
        return times.min(-1)

    def sample(self, count: int, rng: np.random.Generator, steps: int = 60) -> np.ndarray:
        """`count` points, (count, p0), by hit-and-run from the centre: one walk of `steps` steps for each."""
        x = np.tile(self.center, (count, 1))
        for _ in range(steps):
            direction = rng.standard_normal(x.shape)
            direction[:, self.upper == self.lower] = 0
            ends = self._reach(x, direction), self._reach(x, -direction)
            forward, back = (np.where(np.isfinite(t), t, 0) for t in ends)  # a single point has no direction
            t = rng.uniform(-back, forward)
            x = np.clip(x + t[:, None] * direction, self.lower, self.upper)
        return x

    @property
    def diameter(self) -> float:
        return float(np.linalg.norm(self.upper - self.lower))

    def steepest(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Directions of length 1 along the gradients at x, (N, p0) both; 0 where the gradient is."""
        return gradient / np.maximum(np.linalg.norm(gradient, axis=-1, keepdims=True), 1e-300)

    def retract(self, x: np.ndarray) -> np.ndarray:
        """Move each row of x (..., p0) into the polytope on the segment to the centre (no projection)."""
        step = np.asarray(x, float) - self.center
        reach = np.minimum(self._reach(np.broadcast_to(self.center, step.shape), step), 1.0)
        return self.center + reach[..., None] * step


def _center(A: np.ndarray, b: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The point x with the largest r such that a'x + r <= b for every row of length 1, and the box shrunk by r holds x.

    Coordinates of zero width are left out of the second condition. The program is in units of the box's width, as its
    solver's tolerance is absolute.
    """
    from scipy.optimize import linprog

    p0 = len(lower)
    wide = upper > lower
    eye = np.eye(p0)[wide]
    one = np.ones((wide.sum(), 1))
    middle, unit = (lower + upper) / 2, float((upper - lower).max(initial=0)) or 1.0
    room, half = (b - A @ middle) / unit, (upper - lower) / (2 * unit)
    rows, ends = np.block([[A, np.ones((len(A), 1))], [eye, one], [-eye, one]]), np.r_[room, half[wide], half[wide]]
    bounds = [*zip(-half, half, strict=True), (0, 1)]
    result = None
    if (lower <= upper).all():
        result = linprog(np.r_[np.zeros(p0), -1.0], A_ub=rows, b_ub=ends, bounds=bounds, method="highs")
    if result is None or result.status != 0:
        raise RegionError("A, b, lower, upper: no point fulfils them all; the polytope is empty.")
    return np.clip(middle + unit * result.x[:-1], lower, upper)
