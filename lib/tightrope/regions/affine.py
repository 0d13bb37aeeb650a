"""Affine images of a ball: zonotopes and ellipsoids."""

from dataclasses import dataclass

import numpy as np

from tightrope.errors import RegionError
from tightrope.regions.ball import EPS, INFINITY, Ball


class _AffineImage:
    """{center + G w : ||w||_norm <= 1}: what :class:`Zonotope` and :class:`EllipsoidRegion` share.

    A network on such a set is another network on a ball of radius 1 (:attr:`parameters`), so attacks, samples and
    relaxations need nothing new.
    """

    norm: float
    clipped = False  # no pixel range
    center: np.ndarray
    G: np.ndarray

    def __post_init__(self) -> None:
        center, G = np.array(self.center, float), np.array(self.G, float)
        if center.ndim != 1 or not np.isfinite(center).all():
            raise RegionError(f"center: expected a finite vector (p0,), got shape {center.shape}.")
        if G.ndim != 2 or len(G) != len(center) or not G.shape[1] or not np.isfinite(G).all():
            raise RegionError(f"G: expected finite columns ({len(center)}, n), n >= 1, got shape {G.shape}.")
        for name, array in (("center", center), ("G", G)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def size(self) -> int:
        """p0, the number of inputs."""
        return len(self.center)

    @property
    def parameters(self) -> Ball:
        """The unit ball of w, around 0."""
        return Ball(np.zeros(self.G.shape[1]), 1.0, self.norm)

    def at(self, w: np.ndarray) -> np.ndarray:
        """center + G w for w (..., n)."""
        return self.center + np.asarray(w, float) @ self.G.T

    def contains(self, x: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Whether each row of x (..., p0) is in the set, up to `tolerance` of its size."""
        raise NotImplementedError

    def _room(self, x: np.ndarray, tolerance: float) -> np.ndarray:
        """A part of the set's size, and the rounding of each row of x (..., p0): (N,)."""
        largest = np.maximum(np.abs(np.atleast_2d(x)), np.abs(self.center)).max(1)
        return tolerance * np.abs(self.G).sum(1).max() + 4 * self.G.size * EPS * largest

    def holds(self, x: np.ndarray) -> np.ndarray:
        """As :meth:`contains`: hardly any point of a flat set has coordinates that are floats."""
        return self.contains(x)

    def inwards(self, x: np.ndarray) -> np.ndarray:
        """x itself, which :meth:`holds` takes up to rounding."""
        return np.asarray(x, float)

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """`count` points, (count, p0), of uniform w."""
        return self.at(self.parameters.sample(count, rng))


@dataclass(frozen=True, eq=False)
class Zonotope(_AffineImage):
    """{center + G w : -1 <= w <= 1}, in network-input units; columns of G (p0, n) are its generators."""

    center: np.ndarray
    G: np.ndarray
    norm = INFINITY

    def bounding_box(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest box (lower, upper) that holds it."""
        reach = np.abs(self.G).sum(1)
        return self.center - reach, self.center + reach

    def contains(self, x: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Whether each row of x (..., p0) is center + G w, |w| <= 1, up to `tolerance` of the set's size in x.

        One linear program per row, the smallest t with center + G w - x in [-t, t]; none if G has full column rank.
        """
        x = np.asarray(x, float)
        step = np.atleast_2d(x) - self.center
        n = self.G.shape[1]
        if np.linalg.matrix_rank(self.G) == n:
            w = np.linalg.lstsq(self.G, step.T)[0]
            distance = np.abs(self.G @ np.clip(w, -1, 1) - step.T).max(0)
        else:
            distance = np.array([self._distance(row) for row in step])
        return (distance <= self._room(x, tolerance)).reshape(x.shape[:-1])

    def _distance(self, step: np.ndarray) -> float:
        from scipy.optimize import linprog  # slow to import, and balls do without it

        p0, n = self.G.shape
        slack = np.ones((p0, 1))
        unit = np.abs(self.G).max() or 1.0  # the solver's tolerance is absolute
        G, step = self.G / unit, step / unit
        result = linprog(
            np.r_[np.zeros(n), 1.0],
            A_ub=np.block([[G, -slack], [-G, -slack]]),
            b_ub=np.r_[step, -step],
            bounds=[(-1, 1)] * n + [(0, None)],
            method="highs",
        )
        return unit * float(result.fun) if result.status == 0 else np.inf


@dataclass(frozen=True, eq=False)
class EllipsoidRegion(_AffineImage):
    """{center + G w : ||w||_2 <= 1}, in network-input units; G is (p0, n), and flat where its rank is below p0."""

    center: np.ndarray
    G: np.ndarray
    norm = 2.0

    @classmethod
    def from_form(cls, Q: np.ndarray, b: np.ndarray) -> "EllipsoidRegion":
        """{x : ||Q x + b||_2 <= 1} with Q (p0, p0) invertible: such as the outer ellipsoid of another network."""
        Q, b = np.asarray(Q, float), np.asarray(b, float)
        if Q.ndim != 2 or Q.shape[0] != Q.shape[1] or b.shape != Q.shape[:1]:
            raise RegionError(f"Q, b: expected shapes (p0, p0) and (p0,), got {Q.shape} and {b.shape}.")
        if not (np.isfinite(Q).all() and np.linalg.matrix_rank(Q) == len(Q)):
            raise RegionError("Q: singular or not finite; {x : ||Q x + b|| <= 1} is unbounded.")
        inverse = np.linalg.inv(Q)
        return cls(-inverse @ b, inverse)

    def bounding_box(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest box (lower, upper) that holds it."""
        reach = np.linalg.norm(self.G, axis=1)
        return self.center - reach, self.center + reach

    def contains(self, x: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Whether each row of x (..., p0) is center + G w with ||w||_2 <= 1, up to `tolerance` of its size."""
        x = np.asarray(x, float)
        step = (np.atleast_2d(x) - self.center).T
        w = np.linalg.lstsq(self.G, step)[0]  # the smallest w
        near = np.abs(self.G @ w - step).max(0) <= self._room(x, tolerance)
        off = self._room(x, 0.0) * np.linalg.norm(np.linalg.pinv(self.G), 2)  # of w, by the rounding of x
        return (near & (np.linalg.norm(w, axis=0) <= 1 + tolerance + off)).reshape(x.shape[:-1])
