"""Norms: what a ball asks of one, each answer in one place.

A norm of order q is the number q, so that it is compared, printed and stored as one. Another norm is a subclass that
gives the answers below; its number is nan. Where its balls are boxes, `is_box`, :meth:`length`, :meth:`extent`,
:meth:`support` and :meth:`steepest` are all that is asked.
"""

from contextlib import suppress
from fractions import Fraction

import numpy as np

from tightrope.errors import RegionError

INFINITY = float("inf")
EPS = np.finfo(float).eps


class Norm(float):
    """An L_q norm, q >= 1.

    Examples
    --------
    >>> float(Norm(2).length(np.array([3.0, 4.0]))), Norm(1).dual, Norm(2) == 2
    (5.0, inf, True)
    """

    def __repr__(self) -> str:
        if type(self) is Norm:
            return float.__repr__(self)
        return f"{type(self).__name__}({', '.join(map(repr, vars(self).values()))})"  # enters a region's SHA-256

    @property
    def is_box(self) -> bool:
        """Whether its balls are boxes with sides along the axes."""
        return self == INFINITY

    @property
    def dual(self) -> float:
        """The order of the dual norm."""
        return INFINITY if self == 1 else 1.0 if self == INFINITY else self / (self - 1)

    def length(self, step: np.ndarray) -> np.ndarray:
        """||step|| (...,) of step (..., n) >= 0, scaled so that no square or power underflows or overflows."""
        if self in (1.0, INFINITY):
            return np.linalg.norm(step, ord=self, axis=-1)
        scale = step.max(-1, initial=0.0)
        if self == 2.0:  # a power of 2 rounds nothing
            scale = np.ldexp(1.0, np.frexp(scale)[1].clip(-1000, 1000))
        scale = np.where(scale > 0, scale, 1.0)
        return scale * np.linalg.norm(step / scale[..., None], ord=self, axis=-1)

    def within(self, step: list[Fraction], radius: Fraction) -> bool:
        """Whether ||step|| <= radius, decided exactly for step >= 0; False for an order that is not 1 to 16."""
        return self in range(1, 17) and sum(s ** int(self) for s in step) <= radius ** int(self)

    def extent(self, radius: float, outwards: bool) -> np.ndarray:
        """Half-widths, (n,) or one for all, of the box around a ball; rounded, if they are, outwards or inwards."""
        return np.array(radius)

    def support(self, rows: np.ndarray) -> np.ndarray:
        """Upper bounds (k,) of max rows @ e over ||e|| <= 1, for rows (k, n): the dual norm and its rounding."""
        if not rows.shape[1]:
            return np.zeros(len(rows))
        return Norm(self.dual).length(np.abs(rows)) * (1 + 4 * (rows.shape[1] + 16) * EPS)

    def stretch(self, n: int) -> float:
        """max ||e||_2 over ||e|| <= 1 in n dimensions."""
        return n ** max(0.0, 1 / 2 - 1 / self)

    def steepest(self, gradient: np.ndarray) -> np.ndarray:
        """Directions d (N, n) with ||d|| = 1 that maximise gradient'd, row by row; 0 where the gradient is.

        By Hoelder's inequality d is proportional to sign(g) |g|^(q* - 1) with 1/q + 1/q* = 1.
        """
        if self == INFINITY:
            return np.sign(gradient)
        size = np.abs(gradient)
        relative = size / np.maximum(size.max(-1, keepdims=True), 1e-300)
        # For q = 1 the maximum is at one coordinate; a high power of |g| stands for it and spreads over ties.
        power = min(self.dual, 50.0) - 1
        direction = np.sign(gradient) * relative**power
        return direction / np.maximum(np.linalg.norm(direction, ord=self, axis=-1, keepdims=True), 1e-300)

    def shrink(self, step: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """The minimiser of ||y - step||_2^2 / 2 + tau ||y|| (of ||y||^2 / 2 for L2), for orders 1 and 2."""
        if self == 2:
            return step / (1 + tau)
        if self == 1:
            return np.sign(step) * np.maximum(np.abs(step) - tau, 0)
        raise RegionError(f"norm: no projection onto the L{self:g} ball; use Ball.enclosure() or 1, 2, inf.")

    def directions(self, count: int, n: int, rng: np.random.Generator) -> np.ndarray:
        """`count` random points with ||d|| = 1, (count, n): exp(-|g|^q) is uniform on the L_q sphere for q = 1, 2."""
        if self in (1, 2):
            g = rng.gamma(1 / self, size=(count, n)) ** (1 / self)
        else:  # the same law without underflow: a gamma variable of shape a is one of shape a + 1 times u^(1/a)
            g = rng.gamma(1 + 1 / self, size=(count, n)) ** (1 / self) * rng.uniform(size=(count, n))
            g /= g.max(1, keepdims=True)
        g = g * rng.choice([-1.0, 1.0], (count, n))
        return g / np.linalg.norm(g, ord=self, axis=1, keepdims=True)


def parse_norm(norm: object) -> Norm:
    """A norm as it is, or the L_q norm of 1, 2, "2", "inf", "linf", numpy.inf, ...; q >= 1, else a RegionError."""
    if isinstance(norm, Norm):
        return norm
    q = np.nan
    with suppress(ValueError):
        q = float(str(norm).strip().lower().removeprefix("l"))
    if not q >= 1:
        raise RegionError(f"norm: unknown norm {norm!r}; write 1, 2, inf, or another order q >= 1.")
    return Norm(q)
