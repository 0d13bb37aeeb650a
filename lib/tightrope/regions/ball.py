"""Input regions: L_q balls around an image, optionally clipped to the pixel range.

A radius is `epsilon_pixel` until :func:`pixel_ball` turns it into network-input units; every :class:`Ball` is in
network-input units. An attack and a certificate for the same claim must be given the same `Ball`.
"""

from dataclasses import dataclass

import numpy as np

from tightrope.datasets import Normalisation
from tightrope.errors import RegionError

INFINITY = float("inf")


def parse_norm(norm: object) -> float:
    """The order q of an L_q norm from 1, 2, "2", "inf", "linf", numpy.inf, ...

    Raises
    ------
    RegionError
        If q is not a number >= 1.
    """
    text = str(norm).strip().lower()
    text = {"linf": "inf", "infinity": "inf", "l1": "1", "l2": "2"}.get(text, text)
    try:
        q = float(text)
    except ValueError:
        q = float("nan")
    if not q >= 1:
        raise RegionError(f"norm: unknown norm {norm!r}; write 1, 2, inf, or another order q >= 1.")
    return q


@dataclass(frozen=True, eq=False)
class PixelBall:
    """What :func:`pixel_ball` made a ball of: an image (p0,) with pixels in [0, 1], a radius, the normalisation."""

    image: np.ndarray
    epsilon_pixel: float
    normalisation: Normalisation


@dataclass(frozen=True, eq=False)
class Ball:
    """{x : ||x - center||_norm <= radius, lower <= x <= upper}, in network-input units.

    Parameters
    ----------
    center
        (p0,), inside [lower, upper].
    radius
        At least 0.
    norm
        The order q >= 1; `inf` for the maximum norm.
    lower, upper
        (p0,) each, or None: the pixel range in input units when the ball is clipped.
    made_of
        The image and the radius in pixel units that it was made of, for proofs about pixels; None for another ball.
    """

    center: np.ndarray
    radius: float
    norm: float
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    made_of: PixelBall | None = None

    def __post_init__(self) -> None:
        center = np.array(self.center, dtype=float)
        if center.ndim != 1 or not np.isfinite(center).all():
            raise RegionError(f"center: expected a finite vector (p0,), got shape {center.shape}.")
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "norm", parse_norm(self.norm))
        radius = float(self.radius)
        if not (np.isfinite(radius) and radius >= 0):
            raise RegionError(f"radius: expected a finite number >= 0, got {self.radius!r}.")
        object.__setattr__(self, "radius", radius)
        if (self.lower is None) != (self.upper is None):
            raise RegionError("lower, upper: give both or neither.")
        if self.lower is not None:
            lower = np.broadcast_to(np.asarray(self.lower, float), center.shape).copy()
            upper = np.broadcast_to(np.asarray(self.upper, float), center.shape).copy()
            if not ((lower <= center) & (center <= upper)).all():
                raise RegionError("center: outside [lower, upper]; a clipped ball needs its centre in the box.")
            object.__setattr__(self, "lower", lower)
            object.__setattr__(self, "upper", upper)
        for array in (self.center, self.lower, self.upper):
            if array is not None:
                array.flags.writeable = False

    @property
    def size(self) -> int:
        """p0, the number of inputs."""
        return len(self.center)

    @property
    def clipped(self) -> bool:
        """Whether the ball is intersected with a box."""
        return self.lower is not None

    def distance(self, x: np.ndarray) -> np.ndarray:
        """||x - center||_norm for x of shape (..., p0)."""
        step = np.abs(np.atleast_1d(x) - self.center)
        if self.norm in (1.0, 2.0, INFINITY):
            return np.linalg.norm(step, ord=self.norm, axis=-1)
        # |step|^q would underflow for a large q, and points far outside would count as inside.
        largest = step.max(-1, initial=0.0)
        scale = np.where(largest > 0, largest, 1.0)
        return scale * np.linalg.norm(step / scale[..., None], ord=self.norm, axis=-1)

    def contains(self, x: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Whether each row of x (..., p0) lies in the ball, up to `tolerance` in each inequality."""
        inside = self.distance(x) <= self.radius + tolerance
        if self.lower is not None and self.upper is not None:
            inside &= ((x >= self.lower - tolerance) & (x <= self.upper + tolerance)).all(-1)
        return inside

    def bounding_box(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest box (lower, upper) that holds the ball; exact for every norm, clipped or not."""
        lower, upper = self.center - self.radius, self.center + self.radius
        if self.lower is not None and self.upper is not None:
            lower, upper = np.maximum(lower, self.lower), np.minimum(upper, self.upper)
        return lower, upper

    def enclosure(self) -> tuple["Ball", str]:
        """A ball with norm 1, 2 or inf that holds this one, and what was enlarged ("" if nothing).

        For 1 < q < 2, ||x||_2 <= ||x||_q: the L2 ball of the same radius. For 2 < q < inf,
        ||x||_2 <= p0^(1/2 - 1/q) ||x||_q: the L2 ball of that radius, within the box of the same radius.
        """
        q = self.norm
        if q in (1.0, 2.0, INFINITY):
            return self, ""
        if q < 2:
            return Ball(self.center, self.radius, 2, self.lower, self.upper), f"L{q:g} ball enclosed in the L2 ball"
        radius = self.radius * self.size ** (0.5 - 1 / q) * (1 + 1e-12)  # a power is rounded
        return Ball(self.center, radius, 2, *self.bounding_box()), f"L{q:g} ball enclosed in an L2 ball and a box"

    def project(self, x: np.ndarray) -> np.ndarray:
        """The nearest point of the ball (Euclidean) to each row of x (..., p0), for norms 1, 2 and inf.

        With multiplier tau of the norm constraint the minimiser is separable: clip(center + shrink_tau(x - center)),
        where shrink is soft-thresholding (L1) or division by 1 + tau (L2). tau is found by bisection.
        """
        x = np.asarray(x, float)
        if self.norm == INFINITY:
            return np.clip(x, *self.bounding_box())
        if self.norm == 2.0:

            def shrink(step: np.ndarray, tau: np.ndarray) -> np.ndarray:
                return step / (1 + tau)

        elif self.norm == 1.0:

            def shrink(step: np.ndarray, tau: np.ndarray) -> np.ndarray:
                return np.sign(step) * np.maximum(np.abs(step) - tau, 0)

        else:
            raise RegionError(f"norm: no projection onto the L{self.norm:g} ball; use Ball.enclosure() or 1, 2, inf.")

        def candidate(tau: np.ndarray) -> np.ndarray:
            moved = self.center + shrink(x - self.center, tau)
            return np.clip(moved, self.lower, self.upper) if self.clipped else moved

        shape = (*x.shape[:-1], 1)
        low, high = np.zeros(shape), np.ones(shape)
        if self.radius == 0:
            return np.broadcast_to(self.center, x.shape).copy()
        outside = self.distance(candidate(low))[..., None] > self.radius
        if not outside.any():
            return candidate(low)
        while (self.distance(candidate(high)) > self.radius).any():
            high *= 2
        for _ in range(80):
            middle = (low + high) / 2
            far = self.distance(candidate(middle))[..., None] > self.radius
            low, high = np.where(far, middle, low), np.where(far, high, middle)
        return candidate(np.where(outside, high, 0.0))

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """`count` points of the ball, (count, p0): uniform when not clipped, clipped ones projected into the box.

        Norms other than 1, 2 and inf are sampled uniformly in direction (generalised normal), not in volume.
        """
        p0 = self.size
        if self.norm == INFINITY:
            lower, upper = self.bounding_box()
            return rng.uniform(lower, upper, (count, p0))
        # exp(-|g|^q) directions are uniform on the L_q sphere; the radius u^(1/p0) makes them uniform in the ball.
        if self.norm in (1, 2):
            g = rng.gamma(1 / self.norm, size=(count, p0)) ** (1 / self.norm)
        else:  # the same law without underflow: a gamma variable of shape a is one of shape a + 1 times u^(1/a)
            g = rng.gamma(1 + 1 / self.norm, size=(count, p0)) ** (1 / self.norm) * rng.uniform(size=(count, p0))
            g /= g.max(1, keepdims=True)
        g = g * rng.choice([-1.0, 1.0], (count, p0))
        g /= np.linalg.norm(g, ord=self.norm, axis=1, keepdims=True)
        points = self.center + self.radius * rng.uniform(size=(count, 1)) ** (1 / p0) * g
        return np.clip(points, self.lower, self.upper) if self.clipped else points


def pixel_ball(image: np.ndarray, norm: object, epsilon_pixel: float, normalisation: Normalisation, clip: bool) -> Ball:
    """The ball of radius `epsilon_pixel` around an image with pixels in [0, 1], in network-input units.

    Parameters
    ----------
    image
        (p0,) pixels in [0, 1].
    norm
        Order of the norm: 1, 2, inf, or another q >= 1.
    epsilon_pixel
        Radius in pixel units, at least 0.
    normalisation
        The data set's; it alone converts pixels and radii to input units.
    clip
        Whether to intersect the ball with the pixel range [0, 1].
    """
    image = np.asarray(image, float)
    if image.ndim != 1 or not ((image >= 0) & (image <= 1)).all():
        raise RegionError(f"image: expected (p0,) pixels in [0, 1], got shape {image.shape}, unnormalised?")
    try:
        epsilon_pixel = float(epsilon_pixel)
    except (TypeError, ValueError):
        raise RegionError(f"epsilon_pixel: expected a finite number >= 0, got {epsilon_pixel!r}.") from None
    if not (np.isfinite(epsilon_pixel) and epsilon_pixel >= 0):
        raise RegionError(f"epsilon_pixel: expected a finite number >= 0, got {epsilon_pixel!r}.")
    lower, upper = (normalisation.to_input(np.full_like(image, end)) if clip else None for end in (0.0, 1.0))
    radius, made_of = normalisation.radius_to_input(epsilon_pixel), PixelBall(image, epsilon_pixel, normalisation)
    return Ball(normalisation.to_input(image), radius, parse_norm(norm), lower, upper, made_of)
