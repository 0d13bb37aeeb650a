"""Input regions: L_q balls around an image, optionally clipped to the pixel range.

A radius is `epsilon_pixel` until :func:`pixel_ball` turns it into network-input units; every :class:`Ball` is in
network-input units. An attack and a certificate for the same claim must be given the same `Ball`.
"""

from dataclasses import dataclass, field

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
    """

    center: np.ndarray
    radius: float
    norm: float
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None

    def __post_init__(self):
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
        if self.clipped:
            inside &= ((x >= self.lower - tolerance) & (x <= self.upper + tolerance)).all(-1)
        return inside

    def bounding_box(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest box (lower, upper) that holds the ball; exact for every norm, clipped or not."""
        lower, upper = self.center - self.radius, self.center + self.radius
        if self.clipped:
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
        radius = self.radius * self.size ** (0.5 - 1 / q)
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

            def shrink(step, tau):
                return step / (1 + tau)

        elif self.norm == 1.0:

            def shrink(step, tau):
                return np.sign(step) * np.maximum(np.abs(step) - tau, 0)

        else:
            raise RegionError(f"norm: no projection onto the L{self.norm:g} ball; use Ball.enclosure() or 1, 2, inf.")

        def candidate(tau):
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
        g = rng.gamma(1 / self.norm, size=(count, p0)) ** (1 / self.norm) * rng.choice([-1.0, 1.0], (count, p0))
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
    bounds = (
        (normalisation.to_input(np.zeros_like(image)), normalisation.to_input(np.ones_like(image)))
        if clip
        else (None, None)
    )
    return Ball(normalisation.to_input(image), normalisation.radius_to_input(epsilon_pixel), parse_norm(norm), *bounds)


class _AffineImage:
    """{center + G w : ||w||_norm <= 1}: what :class:`Zonotope` and :class:`EllipsoidRegion` share.

    A network on such a set is another network on a ball of radius 1 (:attr:`parameters`), so attacks, samples and
    relaxations need nothing new.
    """

    norm: float
    clipped = False  # no pixel range
    center: np.ndarray
    G: np.ndarray

    def __post_init__(self):
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
        """Whether each row of x (..., p0) is center + G w, |w| <= 1, up to `tolerance` in x.

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
        return (distance <= tolerance * (1 + np.abs(step).max(1))).reshape(x.shape[:-1])

    def _distance(self, step: np.ndarray) -> float:
        from scipy.optimize import linprog  # slow to import, and balls do without it

        p0, n = self.G.shape
        slack = np.ones((p0, 1))
        result = linprog(
            np.r_[np.zeros(n), 1.0],
            A_ub=np.block([[self.G, -slack], [-self.G, -slack]]),
            b_ub=np.r_[step, -step],
            bounds=[(-1, 1)] * n + [(0, None)],
            method="highs",
        )
        return float(result.fun) if result.status == 0 else np.inf


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
        """Whether each row of x (..., p0) is center + G w with ||w||_2 <= 1, up to `tolerance`."""
        x = np.asarray(x, float)
        step = (np.atleast_2d(x) - self.center).T
        w = np.linalg.lstsq(self.G, step)[0]  # the smallest w
        near = np.abs(self.G @ w - step).max(0) <= tolerance * (1 + np.abs(step).max(0))
        return (near & (np.linalg.norm(w, axis=0) <= 1 + tolerance)).reshape(x.shape[:-1])


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


Region = Ball | Zonotope | EllipsoidRegion | Polytope
