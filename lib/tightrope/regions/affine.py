"""Affine images of a ball: zonotopes and ellipsoids."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tightrope.errors import RegionError
from tightrope.regions.ball import Ball, rounded_sum
from tightrope.regions.norms import EPS, INFINITY, Norm
from tightrope.regions.region import Region


class _AffineImage(Region):
    """{center + G w : ||w||_norm <= 1}: what :class:`Zonotope` and :class:`EllipsoidRegion` share.

    A network on such a set is another network on a ball of radius 1 (:attr:`parameters`), so attacks, samples and
    relaxations need nothing new.
    """

    norm: Norm
    shape: str  # its name in certificate files
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
    def generators(self) -> np.ndarray:
        return self.G

    @property
    def parameters(self) -> Ball:
        return Ball(np.zeros(self.G.shape[1]), 1.0, self.norm)

    def bounding_box(self) -> tuple[np.ndarray, np.ndarray]:
        tiny = self.G.shape[1] * np.finfo(float).smallest_subnormal
        reach = np.nextafter(self.norm.support(self.G) + tiny, INFINITY) * (self.G != 0).any(1)
        return rounded_sum(self.center, -reach, -INFINITY), rounded_sum(self.center, reach, INFINITY)

    @cached_property
    def _inverse(self) -> tuple[np.ndarray, float, int]:
        """A pseudoinverse R (n, p0) of G, a bound of ||G R - I|| in the maximum norm, and the rank of G."""
        left, sizes, right = np.linalg.svd(self.G, full_matrices=False)
        kept = sizes > sizes.max(initial=0.0) * max(self.G.shape) * EPS
        R = (right[kept].T / sizes[kept]) @ left[:, kept].T
        rounding = (len(sizes) + self.G.shape[1] + 4) * EPS * (np.abs(self.G) @ np.abs(R)).sum(1)
        defect = np.abs(self.G @ R - np.eye(self.size)).sum(1) + rounding
        return R, float(defect.max()), int(kept.sum())

    def _solved(self, step: np.ndarray) -> np.ndarray:
        """w (N, n) with G w = step (N, p0) as nearly as there is one; in the unit ball if that can be."""
        R = self._inverse[0]
        w = step @ R.T
        return w + (step - w @ self.G.T) @ R.T

    def contains(self, x: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Whether each row of x (..., p0) is center + G w with ||w|| <= 1, up to `tolerance` of the set's size in x."""
        rows = np.asarray(x, float).reshape(-1, self.size)
        step = rows - self.center
        off = np.abs(self.parameters.retract(self._solved(step)) @ self.G.T - step).max(1)
        largest = np.maximum(np.abs(rows), np.abs(self.center)).max(1)
        room = tolerance * np.abs(self.G).sum(1).max() + 4 * self.G.size * EPS * largest
        return (off <= room).reshape(np.shape(x)[:-1])

    def _excess(self, rows: np.ndarray) -> np.ndarray:
        """A bound (N,) of ||w|| - 1 for a w with center + G w = x exactly, for rows x (N, p0); inf for a flat set.

        With R the pseudoinverse, D = G R - I and r the residual of a computed w, w + R (I + D)^-1 r is one.
        """
        R, defect, _ = self._inverse
        if not defect < 1:
            return np.full(len(rows), INFINITY)
        step, terms = rows - self.center, self.G.shape[1] + 4
        w = self._solved(step)
        sizes = np.abs(step) + np.abs(w) @ np.abs(self.G).T
        r = np.abs(w @ self.G.T - step) + terms * (EPS * sizes + np.finfo(float).tiny)
        off = np.abs(R).sum(1) * (r.max(1) / (1 - defect))[:, None] * (1 + 1e-9)
        return self.norm.length(np.abs(w) + off) * (1 + 4 * terms * EPS) - 1

    def holds(self, x: np.ndarray) -> np.ndarray:
        """Whether each row of x (..., p0) is center + G w with ||w|| <= 1, without any tolerance: a proof.

        A row within the rounding of its w of the boundary is not called inside. Of a flat set, which has hardly a point
        whose coordinates are floats, a row is held that a point of the set rounds to, in a sum of its n + 1 terms.
        """
        rows = np.asarray(x, float).reshape(-1, self.size)
        inside = self._excess(rows) <= 0
        if not self._inverse[1] < 1:
            w = self.parameters.inwards(self.parameters.retract(self._solved(rows - self.center)))
            sizes = np.abs(self.center) + np.abs(w) @ np.abs(self.G).T
            inside = (np.abs(self.at(w) - rows) <= 2 * (self.G.shape[1] + 4) * EPS * sizes).all(1)
        return inside.reshape(np.shape(x)[:-1])

    def inwards(self, x: np.ndarray) -> np.ndarray:
        """Move each row of x (..., p0) that :meth:`holds` does not take towards the centre, by a few roundings of w."""
        rows = np.asarray(x, float).reshape(-1, self.size)
        excess = self._excess(rows)
        reach = np.abs(self._inverse[0]).sum(1).max() * np.maximum(np.abs(rows), np.abs(self.center)).max(1)
        part = np.clip(2 * (excess + 2 * EPS * (1 + reach)), 0, 1)
        part = np.where((excess > 0) & np.isfinite(excess), part, 0.0)  # no point of a flat set is nearer
        moved = self.center + (1 - part[:, None]) * (rows - self.center)
        return np.where(part[:, None] > 0, moved, rows).reshape(np.shape(x))

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return self.at(self.parameters.sample(count, rng))

    def stated(self) -> tuple[dict, dict[str, np.ndarray]]:
        return {"shape": self.shape}, {"centre": self.center, "generators": self.G}


@dataclass(frozen=True, eq=False)
class Zonotope(_AffineImage):
    """{center + G w : -1 <= w <= 1}, in network-input units; columns of G (p0, n) are its generators."""

    center: np.ndarray
    G: np.ndarray
    norm = Norm(INFINITY)
    shape = "zonotope"

    def _solved(self, step: np.ndarray) -> np.ndarray:
        """One linear program per row, the smallest t with G w - step in [-t, t]; none if G has full column rank."""
        if self._inverse[2] == self.G.shape[1]:
            return super()._solved(step)
        return np.array([self._nearest(row) for row in step]).reshape(len(step), -1)

    def _nearest(self, step: np.ndarray) -> np.ndarray:
        from scipy.optimize import linprog  # slow to import, and balls do without it

        p0, n = self.G.shape
        unit = np.abs(self.G).max() or 1.0  # the solver's tolerance is absolute
        G, step, slack = self.G / unit, step / unit, np.ones((p0, 1))
        rows, ends = np.block([[G, -slack], [-G, -slack]]), np.r_[step, -step]
        bounds = [(-1, 1)] * n + [(0, None)]
        result = linprog(np.r_[np.zeros(n), 1.0], A_ub=rows, b_ub=ends, bounds=bounds, method="highs")
        return result.x[:n] if result.status == 0 else np.zeros(n)


@dataclass(frozen=True, eq=False)
class EllipsoidRegion(_AffineImage):
    """{center + G w : ||w||_2 <= 1}, in network-input units; G is (p0, n), and flat where its rank is below p0."""

    center: np.ndarray
    G: np.ndarray
    norm = Norm(2)
    shape = "ellipsoid"

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
