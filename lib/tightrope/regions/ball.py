"""Balls around an image, optionally clipped to the pixel range."""

import math
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from tightrope.datasets import Normalisation
from tightrope.errors import RegionError
from tightrope.regions.norms import EPS, INFINITY, parse_norm
from tightrope.regions.region import Region

#: The whole numbers of which a certificate file makes pixels, divided by one of these.
SCALES = (255, 16)


def parse_radius(name: str, value: Any) -> float:
    """A radius from one finite number >= 0; a RegionError for others, arrays, None and text."""
    radius = math.nan
    if not isinstance(value, str | bool) and np.ndim(value) == 0:
        with suppress(TypeError, ValueError, OverflowError):
            radius = float(value)
    if not (math.isfinite(radius) and radius >= 0):
        raise RegionError(f"{name}: expected a finite number >= 0, got {value!r}.")
    return radius


def _floats(name: str, value: Any) -> np.ndarray:
    """A copy as float64, refusing what is no array of numbers."""
    try:
        return np.asarray(value, float).copy()
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor with a gradient says what to write instead
        raise RegionError(f"{name}: expected numbers, got {type(value).__name__}: {error}") from None


def _described(array: np.ndarray) -> str:
    """Shape and range of what arrived."""
    numbers = array[np.isfinite(array)]
    odd = f", {array.size - numbers.size} of them not finite" if numbers.size < array.size else ""
    reach = f" with numbers from {numbers.min():g} to {numbers.max():g}" if numbers.size else ""
    return f"shape {array.shape}{reach}{odd}"


@dataclass(frozen=True, eq=False)
class PixelBall:
    """What :func:`pixel_ball` made a ball of: an image (p0,) with pixels in [0, 1], a radius, the normalisation."""

    image: np.ndarray
    epsilon_pixel: float
    normalisation: Normalisation


@dataclass(frozen=True, eq=False)
class Ball(Region):
    """{x : ||x - center||_norm <= radius, lower <= x <= upper}, in network-input units.

    The center (p0,) is inside [lower, upper]; an image of another shape is flattened row by row, as networks take it.
    The radius is at least 0; the norm is its order q >= 1, `inf` for the maximum norm, or another :class:`Norm`.
    `lower` and `upper` are the box to which the ball is cut, a number or (p0,) each, or None; :func:`pixel_ball` makes
    it of the pixel range if its `clip` says so. `made_of` is the image and the radius in pixel units that it was made
    of, for proofs about pixels; None for another ball.
    """

    center: np.ndarray
    radius: float
    norm: Any  # a Norm, however it was given
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    made_of: PixelBall | None = None

    def __post_init__(self) -> None:
        center = _floats("center", self.center)
        if center.ndim == 0 or not np.isfinite(center).all():
            raise RegionError(f"center: expected finite numbers (p0,) or an image, got {_described(center)}.")
        center = center.ravel()
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "norm", parse_norm(self.norm))
        object.__setattr__(self, "radius", parse_radius("radius", self.radius))
        if not math.isfinite(float(np.abs(center).max(initial=0.0)) + self.radius):
            raise RegionError("center, radius: their sum overflows.")
        if (self.lower is None) != (self.upper is None):
            raise RegionError("lower, upper: give both or neither.")
        if self.lower is not None:
            for name in ("lower", "upper"):
                side = _floats(name, getattr(self, name))
                if side.size not in (1, len(center)):
                    raise RegionError(f"{name}: expected a number or ({len(center)},), got shape {side.shape}.")
                object.__setattr__(self, name, np.broadcast_to(side.ravel(), len(center)).copy())
            if not ((self.lower <= center) & (center <= self.upper)).all():
                raise RegionError("center: outside [lower, upper]; a clipped ball needs its centre in the box.")
        for array in (self.center, self.lower, self.upper):
            if array is not None:
                array.flags.writeable = False

    @property
    def is_box(self) -> bool:
        return self.norm.is_box

    def require_ball(self, what: str) -> "Ball":
        return self

    def require_box(self, what: str) -> "Ball":
        return self if self.is_box else super().require_box(what)

    @property
    def clipped(self) -> bool:
        """Whether the ball is intersected with a box."""
        return self.lower is not None

    def distance(self, x: np.ndarray) -> np.ndarray:
        """||x - center||_norm for x of shape (..., p0)."""
        return self.norm.length(np.abs(np.atleast_1d(x) - self.center))

    def contains(self, x: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Whether each row of x (..., p0) lies in the ball, up to `tolerance` radii and the rounding of x itself."""
        x = np.asarray(x, float)
        rounding = 4 * EPS * (np.abs(x) + np.abs(self.center))
        inside = self.distance(x) <= (1 + tolerance) * self.radius + self.norm.length(rounding)
        if self.lower is not None and self.upper is not None:
            room = tolerance * self.radius + rounding
            inside &= ((x >= self.lower - room) & (x <= self.upper + room)).all(-1)
        return inside

    def holds(self, x: np.ndarray) -> np.ndarray:
        """Whether each row of x (..., p0) lies in the ball as its numbers stand, without any tolerance: a proof.

        For L-infinity and whole orders up to 16 that is exact, in rational numbers where rounding leaves it open. In
        other norms a row within the rounding of its distance, a few p0 units, of the sphere is not called inside.
        """
        x = np.asarray(x, float)
        inside = np.array(self._surely(x))
        if not self.is_box:
            lower, upper = self._box(inwards=True)
            near = ~inside & self.contains(x, 0.0) & ((x >= lower) & (x <= upper)).all(-1)
            center, radius = list(map(Fraction, self.center.tolist())), Fraction(self.radius)
            for row in map(tuple, np.argwhere(near)):
                step = [abs(Fraction(a) - b) for a, b in zip(x[row].tolist(), center, strict=True)]
                inside[row] = self.norm.within(step, radius)
        return inside

    def _surely(self, x: np.ndarray) -> np.ndarray:
        """Whether each row of x (..., p0) is inside by more than the rounding of its distance."""
        lower, upper = self._box(inwards=True)
        inside = np.asarray(((x >= lower) & (x <= upper)).all(-1))
        if self.is_box:
            return inside
        distance = self.distance(x)
        # Below the smallest normal number a distance is off by half a step, whatever its size; 0 is exact.
        most = np.where(distance > 0, np.nextafter(distance, INFINITY), 0.0)
        return inside & (most <= (1 - self._room) * self.radius)

    def inwards(self, x: np.ndarray) -> np.ndarray:
        """Move rows that are in the ball up to rounding towards the centre, by a few units of radius and coordinates.

        Of a box, into the largest box of floats in it.
        """
        x = np.asarray(x, float)
        if not self.is_box:
            distance = self.distance(x)[..., None]
            share = (1 - 2 * self._room) * np.minimum(distance, self.radius) / np.where(distance > 0, distance, 1.0)
            moved = np.nextafter(self.center + share * (x - self.center), self.center)
            x = np.where(self._surely(x)[..., None], x, moved)
        return np.clip(x, *self._box(inwards=True))

    @property
    def _room(self) -> float:
        """A bound on the relative rounding of a distance, without underflow: p0 terms, each off by a few units."""
        return 4 * (self.size + 16) * EPS

    def bounding_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self._box(inwards=False)

    def _box(self, inwards: bool) -> tuple[np.ndarray, np.ndarray]:
        """Sums center -+ radius rounded outwards, or inwards; within the clipping."""
        away = (INFINITY, -INFINITY) if inwards else (-INFINITY, INFINITY)
        reach = self.norm.extent(self.radius, outwards=not inwards)
        lower, upper = (rounded_sum(self.center, r, to) for r, to in zip((-reach, reach), away, strict=True))
        if self.lower is not None and self.upper is not None:
            lower, upper = np.maximum(lower, self.lower), np.minimum(upper, self.upper)
        return lower, upper

    @classmethod
    def box(cls, lower: np.ndarray, upper: np.ndarray) -> "Ball":
        """The box lower <= x <= upper, as an L-infinity ball that is cut to it."""
        center = np.clip(lower / 2 + upper / 2, lower, upper)
        reach = np.maximum(center - lower, upper - center).max(initial=0)
        return cls(center, np.nextafter(reach, INFINITY), INFINITY, lower, upper)

    def enclosure(self) -> tuple["Ball", str]:
        """A ball with norm 1, 2 or inf that holds this one, and what was enlarged ("" if nothing).

        For 1 < q < 2, ||x||_2 <= ||x||_q: the L2 ball of the same radius. For 2 < q < inf,
        ||x||_2 <= p0^(1/2 - 1/q) ||x||_q: the L2 ball of that radius, within the box of the same radius.
        """
        q = self.norm
        if q in (1.0, 2.0, INFINITY):
            return self, ""
        if math.isnan(q):  # of another kind
            return super().enclosure()
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
        if self.is_box:
            return np.clip(x, *self.bounding_box())

        def candidate(tau: np.ndarray) -> np.ndarray:
            moved = self.center + self.norm.shrink(x - self.center, tau)
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
        if self.is_box:
            return rng.uniform(*self.bounding_box(), (count, self.size))
        g = self.norm.directions(count, self.size, rng)  # the radius u^(1/p0) makes them uniform in the ball
        points = self.center + self.radius * rng.uniform(size=(count, 1)) ** (1 / self.size) * g
        return np.clip(points, self.lower, self.upper) if self.clipped else points

    @property
    def diameter(self) -> float:
        """The largest distance of two of its points, in its norm."""
        return 2 * self.radius

    def retract(self, x: np.ndarray) -> np.ndarray:
        """Move each row of x (..., p0) into the ball: scale it to the ball, then clip; cheaper than a projection.

        The centre lies in the box, so clipping moves coordinates towards the centre and keeps the point in the ball.
        """
        if self.is_box:
            return np.clip(x, *self.bounding_box())
        distance = self.distance(x)[..., None]
        x = self.center + (x - self.center) * np.minimum(1.0, self.radius / np.maximum(distance, 1e-300))
        return np.clip(x, self.lower, self.upper) if self.clipped else x

    def steepest(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """:meth:`Norm.steepest` at x (N, p0); coordinates that the clipping holds back take no part."""
        if self.lower is not None and self.upper is not None:
            held = ((x <= self.lower) & (gradient < 0)) | ((x >= self.upper) & (gradient > 0))
            gradient = np.where(held, 0.0, gradient)
        return self.norm.steepest(gradient)

    def stated(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Return the header and the arrays of a certificate file: by pixels where it was made of an image."""
        if self.norm not in (1.0, 2.0, INFINITY):
            given = repr(self.norm) if math.isnan(self.norm) else f"L{self.norm:g}"
            raise RegionError(f"region: certificate files state balls of the norms 1, 2 and inf, not {given}.")
        norm = "inf" if self.norm == INFINITY else f"{self.norm:g}"
        if (pixels := self._pixels()) is not None:
            return {"norm": norm, **pixels[0]}, pixels[1]
        arrays = {"centre": self.center}
        if self.lower is not None and self.upper is not None:
            arrays |= {"lower": self.lower, "upper": self.upper}
        return {"norm": norm, "radius": str(Decimal(repr(self.radius)))}, arrays

    def _pixels(self) -> tuple[dict, dict[str, np.ndarray]] | None:
        """Return what an image's ball is by whole numbers and decimals, or None for another ball."""
        if self.made_of is None:
            return None
        image, epsilon, normalisation = self.made_of.image, self.made_of.epsilon_pixel, self.made_of.normalisation
        if isinstance(normalisation.mean, tuple) or isinstance(normalisation.std, tuple):
            return None
        if pixel_ball(image, self.norm, epsilon, normalisation, self.clipped).sha256() != self.sha256():
            return None  # changed since
        for scale in SCALES:
            whole = np.round(image * scale)
            if (whole / scale == image).all():
                mean, std = (repr(float(value)) for value in (normalisation.mean, normalisation.std))
                header = {"radius": repr(epsilon), "scale": str(scale), "mean": mean, "std": std, "clip": self.clipped}
                return header, {"pixels": whole.astype(np.uint8)}
        return None

    def _numbers(self) -> tuple[tuple[object, ...], tuple[np.ndarray | None, ...]]:
        return (self.radius, self.norm, self.clipped), (self.center, self.lower, self.upper)


def rounded_sum(a: np.ndarray, b: np.ndarray, to: float) -> np.ndarray:
    """a + b rounded towards `to`: their sum in float64, and the next number where that is on the other side.

    What rounding took away, (a + b) - total, is a float and computed exactly (Knuth's TwoSum).
    """
    total = a + b
    part = total - a
    lost = (a - (total - part)) + (b - part)
    return np.where(lost > 0 if to > 0 else lost < 0, np.nextafter(total, to), total)


def pixel_ball(image: np.ndarray, norm: object, epsilon_pixel: float, normalisation: Normalisation, clip: bool) -> Ball:
    """The ball of radius `epsilon_pixel` >= 0, in pixel units, around an image, in network-input units.

    The image has pixels in [0, 1], (p0,) or another shape, such as (channels, height, width), which is flattened row by
    row; the norm is as :class:`Ball` takes it. The data set's normalisation alone converts pixels and radii to input
    units; `clip` says whether the ball is intersected with the pixel range [0, 1].
    """
    image = _floats("image", image)
    if image.ndim == 0 or not ((image >= 0) & (image <= 1)).all():
        raise RegionError(
            f"image: expected pixels in [0, 1], got {_described(image)}; divide bytes by 255, undo a normalisation."
        )
    image = image.ravel()
    epsilon_pixel = parse_radius("epsilon_pixel", epsilon_pixel)
    if not isinstance(normalisation, Normalisation):
        raise RegionError(
            f"normalisation: expected a datasets.Normalisation, got {normalisation!r}; write "
            "Normalisation(mean, std), with mean 0 and std 1 for a network that takes pixels as they are."
        )
    lower, upper = (normalisation.to_input(np.full_like(image, end)) if clip else None for end in (0.0, 1.0))
    radius, made_of = normalisation.radius_to_input(epsilon_pixel), PixelBall(image, epsilon_pixel, normalisation)
    return Ball(normalisation.to_input(image), radius, parse_norm(norm), lower, upper, made_of)
