"""Sound bounds on the equilibrium z = ReLU(h), h = W z + U x + u of a monDEQ over a ball of inputs.

Write x = x_0 + R e with e in a unit ball, so that h = W z + b + V e. Three sources, each intersected with the others:

"monotone"
    m ||z(e) - z(0)|| <= ||V e|| by strong monotonicity: cheap, loose, always there.
"interval"
    Boxes through z_i = ReLU(sum_{j != i} W_ij z_j + b_i + V_i e) / (1 - W_ii).
"zonotope"
    Z = {(e, c + A e + B t): t in [-1, 1]^k} through the Peaceman-Rachford iteration (the approach of CRAFT, PLDI 2023),
    then, with bounds on h known, the fixpoint of the relaxed equation in closed form (:func:`_implicit`).

**Containment.** Let f_e be continuous with the only fixpoint w(e), and S_e a nonempty compact convex set with
f_e(S_e) in S_e. By Brouwer's theorem f_e has a fixpoint in S_e: it is w(e). For k > 1 steps of a contraction f_e, f_e^k
has the same only fixpoint. So if an abstract transformer F# maps the slices of S into the slices of S, S holds the
equilibrium of every input of the ball, wherever S came from; without that check an abstract iterate proves nothing,
because it describes iterates and not their limit. Conversely, if S is known to hold every equilibrium, so does F#(S).

Both maps used here have the equilibrium as only fixpoint: the one of "interval" because 1 - W_ii >= m > 0 makes
z_i = ReLU(W_ii z_i + r) and z_i = ReLU(r) / (1 - W_ii) the same, and Peaceman-Rachford's because
w -> R (2 ReLU(w) - w) + 2 alpha V b, R = (I - alpha G)(I + alpha G)^-1, G = I - W, is a contraction (||R|| < 1, and
2 ReLU(w) - w = |w|), with w = z + alpha (h - z) at its fixpoint.

**Rounding.** Containment is asked for with a margin of 1e-6, and every bound is moved outwards by 1e-9 times the sum of
absolute values that it is computed from: several thousand times what sums of that length can lose in float64. Inverses
are checked by their residual. This is a stated tolerance, not interval arithmetic. The rounding of b = U x_0 + u and V,
which may cancel, is bounded by itself: states whose h differ by e for the same z differ by at most ||e|| / m.
"""

from dataclasses import dataclass

import numpy as np

from tightrope.errors import InputError, RegionError
from tightrope.names import known_name
from tightrope.networks import MonDEQ
from tightrope.regions import INFINITY, Ball
from tightrope.regions.row_space import EPS, row_space

METHODS = ("monotone", "interval", "zonotope")
MARGIN = 1e-6  # with which containment has to hold
PADDING = 1e-9  # relative to the absolute values summed
STEPS = 5  # Peaceman-Rachford steps of one abstract transformer
ATTEMPTS = 40  # at containment
ROUNDS = 30  # of contraction afterwards


@dataclass(frozen=True, eq=False)
class Box:
    """lower <= v <= upper for a vector v (p,)."""

    lower: np.ndarray
    upper: np.ndarray

    def __post_init__(self) -> None:
        lower, upper = np.array(self.lower, float), np.array(self.upper, float)
        if lower.ndim != 1 or lower.shape != upper.shape or not (lower <= upper).all():
            raise InputError(f"lower, upper: expected vectors with lower <= upper, got {lower.shape}, {upper.shape}.")
        for name, array in (("lower", lower), ("upper", upper)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def contains(self, v: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
        """Whether each row of v (..., p) lies within the bounds, up to `tolerance`."""
        return np.all((v >= self.lower - tolerance) & (v <= self.upper + tolerance), axis=-1)

    def outward(self, relative: float) -> "Box":
        """Wider bounds, by `relative` times 1 + |bound| on each side."""
        lower, upper = self.lower, self.upper
        return Box(lower - relative * (1 + np.abs(lower)), upper + relative * (1 + np.abs(upper)))

    def intersect(self, other: "Box") -> "Box":
        """Both bounds at once. Sound bounds of one nonempty set always meet; rounding may make them cross."""
        lower, upper = np.maximum(self.lower, other.lower), np.minimum(self.upper, other.upper)
        crossed = lower > upper
        return Box(np.where(crossed, upper, lower), np.where(crossed, lower, upper))

    @property
    def width(self) -> np.ndarray:
        """upper - lower."""
        return self.upper - self.lower


@dataclass(frozen=True, eq=False)
class StateZonotope:
    """{(e, c + A e + B t): t in [-1, 1]^k} for e in a unit ball: A (p, n) keeps the dependence on the input."""

    c: np.ndarray
    A: np.ndarray
    B: np.ndarray


@dataclass(frozen=True, eq=False)
class Inputs:
    """The ball as h = W z + b + V e with ||e||_q <= 1.

    Attributes
    ----------
    dual
        The order of the dual norm.
    rounding
        (p,) how far V e + b can be from U x + u, neuron by neuron.
    """

    b: np.ndarray
    V: np.ndarray
    dual: float
    rounding: np.ndarray

    def reach(self, rows: np.ndarray) -> np.ndarray:
        """max rows @ e over the ball: (k,) for rows (k, n)."""
        if not rows.shape[1]:
            return np.zeros(len(rows))
        if np.isinf(self.dual):
            return np.abs(rows).max(1)
        size = np.abs(rows).max(1)  # taken out, so that high powers neither overflow nor vanish
        return size * np.linalg.norm(rows / np.where(size > 0, size, 1.0)[:, None], ord=self.dual, axis=1)


@dataclass(frozen=True, eq=False)
class FixpointBounds:
    """Bounds on the equilibrium z and the preactivation h of every input of a ball.

    Attributes
    ----------
    z, h
        (p,) each.
    method
        One of :data:`METHODS`.
    contained
        Whether a containment check succeeded; if not, the bounds come from strong monotonicity and contraction alone.
    zonotope, inputs
        z as a zonotope over the ball, or None.
    off
        How far, ||z - z'||, the states of these inputs' rounded b and V can be from the network's: the bounds are for
        the network, the zonotope is for the rounded numbers.
    """

    z: Box
    h: Box
    method: str
    contained: bool
    inputs: Inputs
    zonotope: StateZonotope | None
    off: float

    def margins(self, network: MonDEQ, label: int) -> np.ndarray:
        """Proven upper bounds of F_j - F_label over the ball, (K,); nan at the label."""
        if not 0 <= label < network.classes:
            raise InputError(f"label: got {label!r}; write one of 0..{network.classes - 1}.")
        xi, c = network.C - network.C[label], network.c - network.c[label]
        size = np.abs(xi) @ np.maximum(np.abs(self.z.lower), np.abs(self.z.upper)) + np.abs(c)
        upper = np.maximum(xi, 0) @ self.z.upper + np.minimum(xi, 0) @ self.z.lower + c
        if self.zonotope is not None:
            center, radius, total = _reach(self.zonotope, self.inputs, xi)
            radius = radius + np.linalg.norm(xi, axis=1) * self.off
            upper, size = np.minimum(upper, center + radius + c), size + total
        upper = upper + PADDING * (1 + size)
        upper[label] = np.nan
        return upper


def inputs_of(network: MonDEQ, region: Ball) -> Inputs:
    """The ball in unit coordinates. Clipping is exact for L-infinity; other clipped balls are taken unclipped."""
    if not isinstance(region, Ball):
        raise RegionError(f"region: fixpoint bounds are for balls, not for a {type(region).__name__}.")
    if region.size != network.input_size:
        raise RegionError(f"region: {region.size} inputs, but the network has {network.input_size}.")
    if region.norm == INFINITY:
        lower, upper = region.bounding_box()
        origin = (lower + upper) / 2
        wide = upper > lower
        half = np.nextafter(np.maximum(upper - origin, origin - lower), np.inf)
        V = network.U[:, wide] * half[wide]
        return Inputs(network.U @ origin + network.u, V, 1.0, _rounding(network, origin, V))
    q = region.norm
    dual = INFINITY if q == 1 else q / (q - 1)
    V = region.radius * (network.U if region.radius > 0 else network.U[:, :0])
    rounding = _rounding(network, region.center, V)
    if q == 2 and V.shape[1] > V.shape[0]:  # only the row space of U matters
        V, off = row_space(V)
        rounding += off
    return Inputs(network.U @ region.center + network.u, V, dual, rounding)


def _rounding(network: MonDEQ, origin: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Bound the rounding of V e + b, (p,): each entry of V is a rounded product, b a sum of p0 + 1 terms."""
    size = np.abs(network.U) @ np.abs(origin) + np.abs(network.u)
    return EPS * (np.abs(V).sum(1) + (network.input_size + 3) * size)


def fixpoint_bounds(network: MonDEQ, region: Ball, method: str = "zonotope") -> FixpointBounds:
    """Bounds on z and h over a ball; a function of its arguments only, so that a checker can compute them again.

    Raises
    ------
    UnknownNameError, RegionError
    """
    method = known_name("fixpoint method", method, METHODS)
    inputs = inputs_of(network, region)
    z0 = _center(network, inputs)
    z, h = _monotone(network, inputs, z0)
    contained, shape = False, None
    if method == "interval":
        box = _interval_containment(network, inputs, z0)
        contained = box is not None
        z = z if box is None else z.intersect(box)
        z, h = _interval_contraction(network, inputs, z, h)
    elif method == "zonotope":
        found = _zonotope_containment(network, inputs, z0)
        contained = found is not None
        h = h if found is None else h.intersect(found)
        z, h, shape = _implicit(network, inputs, z, h)
    off = np.linalg.norm(inputs.rounding) / network.proven_m
    further = inputs.rounding + np.linalg.norm(network.W, axis=1) * off
    h = Box(h.lower - further, h.upper + further)
    z = Box(np.maximum(z.lower - off, 0), np.minimum(z.upper + off, np.maximum(h.upper, 0)))  # z = ReLU(h)
    return FixpointBounds(z, h, method, contained, inputs, shape, float(off))


def _center(network: MonDEQ, inputs: Inputs) -> np.ndarray:
    """The equilibrium at e = 0, computed with the bias b in place of U x + u."""
    eye = np.eye(network.width)
    injected = MonDEQ(network.W, eye, np.zeros(network.width), network.C, network.c, network.m)
    return injected.equilibrium(inputs.b)


def _monotone(network: MonDEQ, inputs: Inputs, z0: np.ndarray) -> tuple[Box, Box]:
    """||z - z_0|| <= ||V e|| / m + how far z_0 is from the state at e = 0 (:meth:`MonDEQ.distance`)."""
    V, W = inputs.V, network.W
    n = V.shape[1]
    spread = 0.0
    if n:
        # ||V e|| <= ||V||_2 ||e||_2, and <= the norm of the row-wise maxima.
        stretch = n ** max(0.0, 1 / 2 - (1 - 1 / inputs.dual))
        spread = min(np.linalg.norm(V, 2) * stretch, np.linalg.norm(inputs.reach(V)))
    radius = (1 + PADDING) * (spread / network.proven_m + network.distance(z0, inputs.b)) + PADDING
    z = Box(np.maximum(z0 - radius, 0), np.maximum(z0 + radius, 0))
    h0 = W @ z0 + inputs.b
    size = np.abs(W) @ np.abs(z0) + np.abs(inputs.b)
    half = (1 + PADDING) * (np.linalg.norm(W, axis=1) * radius + inputs.reach(V)) + PADDING * (1 + size)
    # z = ReLU(h) <= z_0 + radius bounds h from above too.
    return z, Box(h0 - half, np.maximum(np.minimum(h0 + half, z.upper), h0 - half))


# intervals ------------------------------------------------------------------------------------------------------------


def _interval_step(network: MonDEQ, inputs: Inputs, z: Box) -> Box:
    """The image of a box under z_i = ReLU(sum_{j != i} W_ij z_j + b_i + V_i e) / (1 - W_ii)."""
    diagonal = 1 - np.diag(network.W)
    off = network.W - np.diag(np.diag(network.W))
    middle, half = (z.lower + z.upper) / 2, (z.upper - z.lower) / 2
    center, radius = off @ middle + inputs.b, np.abs(off) @ half + inputs.reach(inputs.V)
    radius = radius + PADDING * (1 + np.abs(off) @ np.abs(middle) + np.abs(inputs.b) + radius)
    return Box(np.maximum(center - radius, 0) / diagonal, np.maximum(center + radius, 0) / diagonal)


def _interval_containment(network: MonDEQ, inputs: Inputs, z0: np.ndarray) -> Box | None:
    """A box that contains its image, by iterating and widening from the centre's equilibrium; None if none is found."""
    box = Box(z0, z0)
    for _ in range(ATTEMPTS):
        image = _interval_step(network, inputs, box)
        if not np.isfinite(image.upper).all() or image.upper.max() > 1e9:
            return None
        if contains_box(box, image):
            return image
        grow = 0.1 * image.width + 1e-3 * (1 + np.abs(z0).max())
        box = Box(np.maximum(image.lower - grow, 0), image.upper + grow)
    return None


def contains_box(box: Box, image: Box) -> bool:
    """Whether `image` lies in `box` with the margin; a lower bound of 0 needs none, z is never negative."""
    low = (image.lower >= box.lower + MARGIN) | (box.lower <= 0)
    return bool((low & (image.upper <= box.upper - MARGIN)).all())


def _interval_contraction(network: MonDEQ, inputs: Inputs, z: Box, h: Box) -> tuple[Box, Box]:
    """z and h that hold every equilibrium, intersected with their images until little changes."""
    for _ in range(ROUNDS):
        before = z.width.sum()
        z = z.intersect(_interval_step(network, inputs, z))
        middle, half = (z.lower + z.upper) / 2, z.width / 2
        center, radius = network.W @ middle + inputs.b, np.abs(network.W) @ half + inputs.reach(inputs.V)
        radius = radius + PADDING * (1 + np.abs(network.W) @ np.abs(middle) + np.abs(inputs.b) + radius)
        h = h.intersect(Box(center - radius, center + radius))
        z = z.intersect(Box(np.maximum(h.lower, 0), np.maximum(h.upper, 0)))
        if z.width.sum() > (1 - 1e-3) * before:
            break
    return z, h


# zonotopes ------------------------------------------------------------------------------------------------------------


def _reach(Z: StateZonotope, inputs: Inputs, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre and radius of rows @ Z, and the absolute values behind them."""
    center = rows @ Z.c
    radius = inputs.reach(rows @ Z.A) + np.abs(rows @ Z.B).sum(1)
    return center, radius, np.abs(rows) @ (np.abs(Z.c) + inputs.reach(Z.A) + np.abs(Z.B).sum(1))


def _extent(Z: StateZonotope, inputs: Inputs) -> Box:
    """The box around a zonotope, moved outwards."""
    radius = inputs.reach(Z.A) + np.abs(Z.B).sum(1)
    radius = radius + PADDING * (1 + np.abs(Z.c) + radius)
    return Box(Z.c - radius, Z.c + radius)


def relu_parallelogram(bounds: Box) -> tuple[np.ndarray, np.ndarray]:
    """slope, mu with ReLU(v) in slope v + mu + mu [-1, 1] on [lower, upper] (DeepZ).

    Unstable: slope = u / (u - l), and 0 <= ReLU(v) - slope v <= -slope l = 2 mu. Else mu = 0.
    """
    lower, upper = bounds.lower, bounds.upper
    unstable = (lower < 0) & (upper > 0)
    slope = np.where(lower >= 0, 1.0, 0.0)
    slope[unstable] = upper[unstable] / (upper[unstable] - lower[unstable])
    return slope, np.where(unstable, -slope * lower / 2, 0.0)


def _peaceman_rachford(Z: StateZonotope, inputs: Inputs, R: np.ndarray, T: np.ndarray) -> StateZonotope:
    """The image of Z under w -> R (2 ReLU(w) - w) + T (b + V e)."""
    slope, mu = relu_parallelogram(_extent(Z, inputs))
    L = R * (2 * slope - 1)
    fresh = 2 * R[:, mu > 0] * mu[mu > 0]
    return StateZonotope(L @ Z.c + 2 * R @ mu + T @ inputs.b, L @ Z.A + T @ inputs.V, np.hstack([L @ Z.B, fresh]))


def _widened(Z: StateZonotope) -> tuple[StateZonotope, np.ndarray]:
    """A larger zonotope with a square B (the principal axes of the generators), and the inverse of that B."""
    axes = np.linalg.svd(Z.B, full_matrices=True)[0]
    scale = 1.01 * np.abs(axes.T @ Z.B).sum(1) + 1e-4 * (1 + np.abs(Z.c).max())
    return StateZonotope(Z.c, Z.A, axes * scale), axes.T / scale[:, None]


def contains_slices(outer: StateZonotope, inverse: np.ndarray, inner: StateZonotope, inputs: Inputs) -> bool:
    """Whether every slice of `inner` (e fixed) lies in that of `outer`, whose B is square with about `inverse` = B^-1.

    c' + A'e + B't' = c + A e + B t  <=>  t = B^-1 ((c' - c) + (A' - A) e + B't'); it must lie in [-1, 1]^p.
    """
    defect = np.abs(inverse @ outer.B - np.eye(len(outer.c))).sum(1).max()
    if not defect < 1e-9:
        return False
    t = np.abs(inverse @ (inner.c - outer.c)) + inputs.reach(inverse @ (inner.A - outer.A))
    t = t + np.abs(inverse @ inner.B).sum(1)
    return bool((t <= 1 - MARGIN).all())


def _zonotope_containment(network: MonDEQ, inputs: Inputs, z0: np.ndarray) -> Box | None:
    """Bounds on h from a zonotope of w = z + alpha (h - z) that contains its image; None if none is found."""
    p, alpha = network.width, network.peaceman_rachford_step
    G = np.eye(p) - network.W
    V = np.linalg.inv(np.eye(p) + alpha * G)
    R, T = 2 * V - np.eye(p), 2 * alpha * V
    Z = StateZonotope(z0 + alpha * (inputs.b - G @ z0), np.zeros_like(inputs.V), np.zeros((p, 0)))
    for _ in range(ATTEMPTS):
        outer, inverse = _widened(Z)
        Z = outer
        for _ in range(STEPS):
            Z = _peaceman_rachford(Z, inputs, R, T)
        if not np.isfinite(Z.c).all() or np.abs(Z.c).max() > 1e6 * (1 + np.abs(z0).max()):
            return None
        if contains_slices(outer, inverse, Z, inputs):
            w = _extent(Z, inputs)
            # w > 0: w = h. w < 0: z = 0 and w = alpha h. Both are increasing.
            lower, upper = (np.maximum(v, 0) + np.minimum(v, 0) / alpha for v in (w.lower, w.upper))
            return Box(lower, upper)
    return None


def _implicit(network: MonDEQ, inputs: Inputs, z: Box, h: Box) -> tuple[Box, Box, StateZonotope | None]:
    """Bounds that hold, tightened by the fixpoint of the relaxed equation.

    With l <= h <= u known, every equilibrium has z = S h + mu + diag(mu) t for some t in [-1, 1]^p, S = diag(slope), so

        (I - S W) z = S (b + V e) + mu + diag(mu) t:

    one linear system gives z as a zonotope, and h = W z + b + V e better bounds, hence a better S. (I - S W is regular:
    S in [0, 1]^p and I - W is strongly monotone.) No containment is needed where bounds are known to hold.
    """
    p = network.width
    shape = None
    for _ in range(ROUNDS):
        slope, mu = relu_parallelogram(h)
        system = np.eye(p) - slope[:, None] * network.W
        K = np.linalg.inv(system)
        defect = np.abs(K @ system - np.eye(p)).sum(1).max()
        # z = K rhs - (K system - I) z: the padding pays for this, too.
        if not defect * (1 + z.upper.max(initial=0)) < 1e-10:
            break
        keep = mu > 0
        shape = StateZonotope(K @ (slope * inputs.b + mu), K @ (slope[:, None] * inputs.V), K[:, keep] * mu[keep])
        # h = W z + b + V e with the dependence on e kept.
        c, A, B = network.W @ shape.c + inputs.b, network.W @ shape.A + inputs.V, network.W @ shape.B
        radius = inputs.reach(A) + np.abs(B).sum(1)
        size = np.abs(network.W) @ (np.abs(shape.c) + z.upper) + np.abs(inputs.b) + radius
        radius = radius + PADDING * (1 + size)
        tighter = h.intersect(Box(c - radius, c + radius))
        z = z.intersect(_extent(shape, inputs)).intersect(
            Box(np.maximum(tighter.lower, 0), np.maximum(tighter.upper, 0))
        )
        gain = (h.width - tighter.width).max()
        h = tighter
        if gain <= 1e-3 * (1 + h.width.max()):
            break
    return z, h, shape


def inductive(network: MonDEQ, inputs: Inputs, h: Box) -> Box:
    """Return bounds on h, these or a little wider ones, that the relaxed equation maps strictly into themselves.

    Bounds that do so at one state hold at all states of a convex region, since h is continuous: a proof that needs no
    other bounds (theory mondeq-phases of the checker). Where none are found, `h` is returned as it is.
    """
    found = h
    for _ in range(2 * ATTEMPTS):
        image = _relaxed_image(network, inputs, found)
        if image is None:
            break
        margin = PADDING * (1 + np.maximum(np.abs(found.lower), np.abs(found.upper)))
        under, over = found.lower + margin - image.lower, image.upper + margin - found.upper
        most = max(under.max(), over.max())
        if most <= 0:
            return found
        if not most < 1e3 * (1 + h.width.max()):
            break
        grow = 1e-3 * most + margin
        found = Box(np.minimum(found.lower, image.lower - grow), np.maximum(found.upper, image.upper + grow))
    return h


def _relaxed_image(network: MonDEQ, inputs: Inputs, h: Box) -> Box | None:
    """Bounds on h from (I - W S) h = W e + b + V d, 0 <= e <= 2 mu, and h <= z = S h + e; None if that is singular."""
    slope, mu = relu_parallelogram(h)
    try:
        X = np.linalg.inv(np.eye(network.width) - network.W * slope)
    except np.linalg.LinAlgError:
        return None
    center, radius, freedom = X @ inputs.b, inputs.reach(X @ inputs.V), (X @ network.W) * (2 * mu)
    lower = center - radius + np.minimum(freedom, 0).sum(1)
    upper = center + radius + np.maximum(freedom, 0).sum(1)
    of_z = slope * (center + radius) + np.maximum(slope[:, None] * freedom + np.diag(2 * mu), 0).sum(1)
    upper = np.minimum(upper, np.maximum(of_z, 0))
    return Box(lower, upper) if np.isfinite(upper - lower).all() and (lower <= upper).all() else None
