"""Polytopes in a box."""

from dataclasses import dataclass, field

import numpy as np

from tightrope.errors import RegionError


@dataclass(frozen=True, eq=False)
class Polytope:
    """{x : A x <= b, lower <= x <= upper}, in network-input units; the box keeps it bounded, whatever the rows are.

    Parameters
    ----------
    A, b
        (k, p0) and (k,).
    lower, upper
        (p0,) each, finite.

    Raises
    ------
    RegionError
        If it is empty.
    """

    A: np.ndarray
    b: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    center: np.ndarray = field(init=False)  # of a largest ball inside (0 radius if the polytope is flat)

    def __post_init__(self):
        A, b, lower, upper = (np.array(value, float) for value in (self.A, self.b, self.lower, self.upper))
        if A.ndim != 2 or b.shape != A.shape[:1] or not (np.isfinite(A).all() and np.isfinite(b).all()):
            raise RegionError(f"A, b: expected finite rows (k, p0) and (k,), got shapes {A.shape} and {b.shape}.")
        p0 = A.shape[1]
        if lower.shape != (p0,) or upper.shape != (p0,) or not np.isfinite([lower, upper]).all():
            raise RegionError(f"lower, upper: expected finite vectors ({p0},), got {lower.shape} and {upper.shape}.")
        center = _center(A, b, lower, upper)
        for name, array in (("A", A), ("b", b), ("lower", lower), ("upper", upper), ("center", center)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def size(self) -> int:
        """p0, the number of inputs."""
        return self.A.shape[1]

    def bounding_box(self) -> tuple[np.ndarray, np.ndarray]:
        """The box (lower, upper) that it was given with."""
        return self.lower, self.upper

    def contains(self, x: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Whether each row of x (..., p0) fulfils every inequality up to `tolerance`."""
        x = np.asarray(x, float)
        inside = ((x >= self.lower - tolerance) & (x <= self.upper + tolerance)).all(-1)
        return inside & (x @ self.A.T <= self.b + tolerance * (1 + np.abs(self.b))).all(-1)

    def _reach(self, x: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """The largest t >= 0 (...,) with x + t direction inside, for x inside."""
        rows = np.concatenate([self.A, np.eye(self.size), -np.eye(self.size)])
        room = np.concatenate([self.b, self.upper, -self.lower]) - x @ rows.T
        speed = direction @ rows.T
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(speed > 1e-14, np.maximum(room, 0) / speed, np.inf)
        return times.min(-1)

    def sample(self, count: int, rng: np.random.Generator, steps: int = 60) -> np.ndarray:
        """`count` points, (count, p0), by hit-and-run from the centre: one walk of `steps` steps for each."""
        x = np.tile(self.center, (count, 1))
        for _ in range(steps):
            direction = rng.standard_normal(x.shape)
            direction[:, self.upper == self.lower] = 0
            forward, back = self._reach(x, direction), self._reach(x, -direction)
            t = rng.uniform(-back, forward)
            x = np.clip(x + np.where(np.isfinite(t), t, 0)[:, None] * direction, self.lower, self.upper)
        return x

    def pull(self, x: np.ndarray) -> np.ndarray:
        """Move each row of x (..., p0) into the polytope on the segment to the centre (no projection)."""
        step = np.asarray(x, float) - self.center
        reach = np.minimum(self._reach(np.broadcast_to(self.center, step.shape), step), 1.0)
        return self.center + reach[..., None] * step


def _center(A: np.ndarray, b: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The point x with the largest r such that a'x + ||a|| r <= b for every row, and the box shrunk by r holds x.

    Coordinates of zero width are left out of the second condition.
    """
    from scipy.optimize import linprog

    p0 = len(lower)
    wide = upper > lower
    eye = np.eye(p0)[wide]
    one = np.ones((wide.sum(), 1))
    widest = float((upper - lower).max(initial=0))
    result = linprog(
        np.r_[np.zeros(p0), -1.0],
        A_ub=np.block([[A, np.linalg.norm(A, axis=1)[:, None]], [eye, one], [-eye, one]]),
        b_ub=np.concatenate([b, upper[wide], -lower[wide]]),
        bounds=[*zip(lower, upper, strict=True), (0, widest)],
        method="highs",
    ) if (lower <= upper).all() else None  # fmt: skip
    if result is None or result.status != 0:
        raise RegionError("A, b, lower, upper: no point fulfils them all; the polytope is empty.")
    return np.clip(result.x[:-1], lower, upper)
