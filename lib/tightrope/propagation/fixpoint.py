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

**Rounding.** Nothing is padded: what each step can lose is bounded from what it computes, in a vector `off` of its
result, and enters the next step as part of the set. A sum of n products is off by less than n EPS times that of the
absolute values; a computed inverse by its residual, (K M - I) z with z bounded or ||K M - I|| times what it is applied
to; the unit balls' b = U x_0 + u and V by :attr:`Inputs.rounding`. Equilibria are positively homogeneous in b and V, so
inputs of an unusual scale are divided by a power of 2 first, which rounds nothing.
"""

from dataclasses import dataclass, replace

import numpy as np

from tightrope.errors import InputError, RegionError
from tightrope.names import known_name
from tightrope.networks import MonDEQ
from tightrope.regions import INFINITY, Norm, Region
from tightrope.regions.row_space import EPS, lengths, row_space

METHODS = ("monotone", "interval", "zonotope")
TINY = np.finfo(float).tiny  # more than all products that underflow in one sum can lose
STEPS = 5  # Peaceman-Rachford steps of one abstract transformer
ATTEMPTS = 40  # at containment
ROUNDS = 30  # of contraction afterwards
SPARE = 1e-9  # relative: the room that inductive bounds leave for their exact check


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

    def times_power(self, k: int) -> "Box":
        """Bounds of 2^k v."""
        return Box(np.nextafter(np.ldexp(self.lower, k), -np.inf), np.nextafter(np.ldexp(self.upper, k), np.inf))

    def positive(self) -> "Box":
        """Bounds of ReLU(v)."""
        return Box(np.maximum(self.lower, 0), np.maximum(self.upper, 0))

    @property
    def width(self) -> np.ndarray:
        """upper - lower."""
        return self.upper - self.lower


@dataclass(frozen=True, eq=False)
class StateZonotope:
    """{(e, c + A e + B t + r): t in [-1, 1]^k, |r| <= off} for e in a unit ball: A (p, n) keeps the dependence on e."""

    c: np.ndarray
    A: np.ndarray
    B: np.ndarray
    off: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Sums (p,) of the absolute values in each row."""
        return np.abs(self.c) + np.abs(self.A).sum(1) + np.abs(self.B).sum(1) + self.off


@dataclass(frozen=True, eq=False)
class Inputs:
    """The ball as h = W z + b + V e with ||e|| <= 1 in `norm`; V e + b is off U x + u by at most `rounding` (p,)."""

    b: np.ndarray
    V: np.ndarray
    norm: Norm
    rounding: np.ndarray

    def reach(self, rows: np.ndarray) -> np.ndarray:
        """Upper bounds (k,) of max rows @ e over the ball, for rows (k, n)."""
        return self.norm.support(rows)

    @property
    def unit(self) -> float:
        """More than the relative rounding of any sum here: at most p (STEPS + 2) + n terms, and a few roundings."""
        return ((STEPS + 3) * self.V.shape[0] + self.V.shape[1] + 16) * EPS

    @property
    def sizes(self) -> np.ndarray:
        """Sums (p,) of the absolute values of b and V."""
        return np.abs(self.b) + np.abs(self.V).sum(1)

    def scaled(self) -> tuple["Inputs", int]:
        """These inputs over 2^k, and k: 0 at usual scales."""
        largest = self.sizes.max(initial=0.0)
        if not np.isfinite(largest) or not np.isfinite(self.rounding).all():
            raise RegionError("region: its numbers times the network's weights overflow; scale the network.")
        k = int(np.frexp(largest)[1])
        if abs(k) <= 10:
            return self, 0
        b, V, rounding = (np.ldexp(array, -k) for array in (self.b, self.V, self.rounding))
        return replace(self, b=b, V=V, rounding=rounding + TINY), k


@dataclass(frozen=True, eq=False)
class FixpointBounds:
    """Bounds on the equilibrium z and the preactivation h, (p,) each, of every input of the ball `inputs`.

    `contained` says whether a containment check succeeded; if not, the bounds come from strong monotonicity and
    contraction alone. `zonotope` is z over the ball, or None; the method is one of :data:`METHODS`.
    """

    z: Box
    h: Box
    method: str
    contained: bool
    inputs: Inputs
    zonotope: StateZonotope | None

    def margins(self, network: MonDEQ, label: int) -> np.ndarray:
        """Proven upper bounds of F_j - F_label over the ball, (K,); nan at the label."""
        if not 0 <= label < network.classes:
            raise InputError(f"label: got {label!r}; write one of 0..{network.classes - 1}.")
        xi, c = network.C - network.C[label], network.c - network.c[label]
        unit, a = self.inputs.unit, np.abs(xi)
        size = a @ self.z.upper + np.abs(c)
        upper = np.maximum(xi, 0) @ self.z.upper + np.minimum(xi, 0) @ self.z.lower + c + unit * size + TINY
        if (Z := self.zonotope) is not None:
            center, radius = _reach(Z, self.inputs, xi)
            upper = np.minimum(upper, center + c + radius + unit * (np.abs(c) + np.abs(center) + radius))
        upper[np.isnan(upper)] = np.inf  # what overflows is no bound
        upper[label] = np.nan
        return upper


@np.errstate(over="ignore", invalid="ignore")  # :meth:`Inputs.scaled` refuses what overflows
def inputs_of(network: MonDEQ, region: Region) -> Inputs:
    """The ball in unit coordinates. Clipping is exact for L-infinity; other clipped balls are taken unclipped."""
    region = region.require_ball("fixpoint bounds are")
    if region.size != network.input_size:
        raise RegionError(f"region: {region.size} inputs, but the network has {network.input_size}.")
    if np.isnan(region.norm):  # of another kind
        region = region.enclosure()[0]
    if region.is_box:
        lower, upper = region.bounding_box()
        origin = (lower + upper) / 2
        wide = upper > lower
        half = np.nextafter(np.maximum(upper - origin, origin - lower), np.inf)
        V = network.U[:, wide] * half[wide]
        return Inputs(network.U @ origin + network.u, V, Norm(INFINITY), _rounding(network, origin, V))
    V = region.radius * (network.U if region.radius > 0 else network.U[:, :0])
    rounding = _rounding(network, region.center, V)
    if region.norm == 2 and V.shape[1] > V.shape[0]:  # only the row space of U matters
        V, off = row_space(V)
        rounding += off
    return Inputs(network.U @ region.center + network.u, V, region.norm, rounding)


def _rounding(network: MonDEQ, origin: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Bound the rounding of V e + b, (p,): each entry of V is a rounded product, b a sum of p0 + 1 terms."""
    size = np.abs(network.U) @ np.abs(origin) + np.abs(network.u)
    return EPS * (np.abs(V).sum(1) + (network.input_size + 3) * size) + TINY


def fixpoint_bounds(network: MonDEQ, region: Region, method: str = "zonotope") -> FixpointBounds:
    """Bounds on z and h over a ball; a function of its arguments only, so that a checker can compute them again.

    UnknownNameError for another method, RegionError for a region that is no ball of the network's inputs.
    """
    method = known_name("fixpoint method", method, METHODS)
    original = inputs_of(network, region)
    inputs, k = original.scaled()
    p = network.width  # the equilibrium at e = 0 has the bias b in place of U x + u
    z0 = MonDEQ(network.W, np.eye(p), np.zeros(p), network.C, network.c, network.m).equilibrium(inputs.b)
    z, h = _monotone(network, inputs, z0)
    contained, shape = False, None
    if method == "interval":
        box = _interval_containment(network, inputs, z0)
        contained = box is not None
        z = z if box is None else z.intersect(box)
        z, h = _interval_contraction(network, inputs, z, h)
    elif method == "zonotope":
        # Stacked layers are solved one after the other by the relaxed equation, and need no containment.
        layered = not np.triu(network.W).any()
        found = None if layered else _zonotope_containment(network, inputs, z0)
        contained = found is not None
        h = h if found is None else h.intersect(found)
        z, h, shape = _implicit(network, inputs, z, h)
    z = z.intersect(Box(np.zeros_like(h.upper), np.maximum(h.upper, 0)))  # z = ReLU(h)
    if k:
        z, h = z.times_power(k).positive(), h.times_power(k)
    if k and shape is not None:
        c, A, B, off = (np.ldexp(array, k) for array in (shape.c, shape.A, shape.B, shape.off))
        shape = StateZonotope(c, A, B, off + inputs.unit * TINY)
    return FixpointBounds(z, h, method, contained, original, shape)


def _monotone(network: MonDEQ, inputs: Inputs, z0: np.ndarray) -> tuple[Box, Box]:
    """||z - z_0|| <= ||V e|| / m + how far z_0 is from the state at e = 0 (:meth:`MonDEQ.distance`)."""
    V, W = inputs.V, network.W
    n = V.shape[1]
    spread = 0.0
    if n:
        # ||V e|| <= ||V||_2 ||e||_2, and <= the norm of the row-wise maxima.
        spread = float(min(np.linalg.norm(V, 2) * inputs.norm.stretch(n), np.linalg.norm(inputs.reach(V))))
    more = 1 + 16 * inputs.unit
    radius = more * ((spread + np.linalg.norm(inputs.rounding)) / network.proven_m + network.distance(z0, inputs.b))
    around = radius + inputs.unit * np.abs(z0)
    z = Box(z0 - around, z0 + around).positive()
    h0, sizes = W @ z0 + inputs.b, np.abs(W) @ np.abs(z0) + np.abs(inputs.b)
    half = more * (lengths(W) * radius + inputs.reach(V) + inputs.rounding + inputs.unit * sizes)
    # z = ReLU(h) <= z_0 + radius bounds h from above too.
    return z, Box(h0 - half, np.maximum(np.minimum(h0 + half, z.upper), h0 - half))


# intervals ------------------------------------------------------------------------------------------------------------


def _image(M: np.ndarray, inputs: Inputs, z: Box) -> Box:
    """Bounds of M z + b + V e."""
    middle, half = (z.lower + z.upper) / 2, (z.upper - z.lower) / 2
    center, radius = M @ middle + inputs.b, np.abs(M) @ half + inputs.reach(inputs.V) + inputs.rounding
    radius += inputs.unit * (np.abs(M) @ np.abs(middle) + np.abs(inputs.b) + radius) + TINY
    return Box(center - radius, center + radius)


def _interval_step(network: MonDEQ, inputs: Inputs, z: Box) -> Box:
    """The image of a box under z_i = ReLU(sum_{j != i} W_ij z_j + b_i + V_i e) / (1 - W_ii)."""
    diagonal = np.diag(network.W)
    image = _image(network.W - np.diag(diagonal), inputs, z).positive()
    return Box(image.lower / (1 - diagonal) * (1 - 4 * EPS), image.upper / (1 - diagonal) * (1 + 4 * EPS) + TINY)


def _interval_containment(network: MonDEQ, inputs: Inputs, z0: np.ndarray) -> Box | None:
    """A box that contains its image, by iterating and widening from the centre's equilibrium; None if none is found."""
    box = Box(z0, z0)
    for _ in range(ATTEMPTS):
        image = _interval_step(network, inputs, box)
        if not np.isfinite(image.upper).all() or image.upper.max() > 1e9 * (1 + np.abs(z0).max()):
            return None
        if box.contains(np.array([image.lower, image.upper])).all():
            return image
        grow = 0.1 * image.width + 1e-3 * (1 + np.abs(z0).max())
        box = Box(np.maximum(image.lower - grow, 0), image.upper + grow)
    return None


def _interval_contraction(network: MonDEQ, inputs: Inputs, z: Box, h: Box) -> tuple[Box, Box]:
    """z and h that hold every equilibrium, intersected with their images until little changes."""
    for _ in range(ROUNDS):
        before = z.width.sum()
        z = z.intersect(_interval_step(network, inputs, z))
        h = h.intersect(_image(network.W, inputs, z))
        z = z.intersect(h.positive())
        if z.width.sum() > (1 - 1e-3) * before:
            break
    return z, h


# zonotopes ------------------------------------------------------------------------------------------------------------


def _reach(Z: StateZonotope, inputs: Inputs, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and radius of rows @ Z, with the rounding of both."""
    radius = inputs.reach(rows @ Z.A) + np.abs(rows @ Z.B).sum(1)
    return rows @ Z.c, (1 + inputs.unit) * radius + np.abs(rows) @ (Z.off + inputs.unit * Z.sizes) + TINY


def _extent(Z: StateZonotope, inputs: Inputs) -> Box:
    """The box around a zonotope."""
    radius = inputs.reach(Z.A) + np.abs(Z.B).sum(1) + Z.off
    radius = radius + inputs.unit * (np.abs(Z.c) + radius) + TINY
    return Box(Z.c - radius, Z.c + radius)


def relu_parallelogram(bounds: Box) -> tuple[np.ndarray, np.ndarray]:
    """slope, mu with ReLU(v) in slope v + mu + mu [-1, 1] on [lower, upper] (DeepZ).

    Unstable: slope = u / (u - l), and 0 <= ReLU(v) - slope v <= max(-slope l, (1 - slope) u) = 2 mu, where both are the
    same but for the rounding of the slope. Else mu = 0.
    """
    lower, upper = bounds.lower, bounds.upper
    unstable = (lower < 0) & (upper > 0)
    slope = np.where(lower >= 0, 1.0, 0.0)
    slope[unstable] = upper[unstable] / (upper[unstable] - lower[unstable])
    height = np.maximum(-slope * lower, (1 - slope) * upper) / 2
    return slope, np.where(unstable, np.nextafter(height * (1 + 4 * EPS), np.inf), 0.0)


@dataclass(frozen=True, eq=False)
class Resolvent:
    """w -> R (2 ReLU(w) - w) + T (b + V e) with computed R = 2 K - I and T = 2 alpha K, K = (I + alpha (I - W))^-1.

    As ||(I + alpha G)^-1|| <= 1, K y is off by at most ||K (I + alpha G) - I|| ||y|| <= `off` ||y||.
    """

    R: np.ndarray
    T: np.ndarray
    alpha: float
    off: float


def resolvent(network: MonDEQ, inputs: Inputs) -> Resolvent:
    """The map whose fixpoint is w = z + alpha (h - z)."""
    eye, alpha = np.eye(network.width), network.peaceman_rachford_step
    M = eye + alpha * (eye - network.W)
    K = np.linalg.inv(M)
    off = np.abs(K @ M - eye) + inputs.unit * (np.abs(K) @ (eye + alpha * (eye + np.abs(network.W))) + eye)
    return Resolvent(2 * K - eye, 2 * alpha * K, alpha, float(np.linalg.norm(off) * (1 + inputs.unit)))


def _peaceman_rachford(Z: StateZonotope, inputs: Inputs, step: Resolvent) -> StateZonotope:
    """The image of Z under w -> R (2 ReLU(w) - w) + T (b + V e)."""
    extent, R, T = _extent(Z, inputs), step.R, step.T
    slope, mu = relu_parallelogram(extent)
    L = R * (2 * slope - 1)
    fresh = 2 * R[:, mu > 0] * mu[mu > 0]
    sizes = np.abs(L) @ Z.sizes + 4 * np.abs(R) @ mu + np.abs(T) @ inputs.sizes
    applied = np.linalg.norm(np.maximum(np.abs(extent.lower), np.abs(extent.upper)))
    applied += step.alpha * np.linalg.norm(inputs.sizes + inputs.rounding)
    off = np.abs(L) @ Z.off + np.abs(T) @ inputs.rounding + 2 * step.off * applied + inputs.unit * sizes + TINY
    off = off * (1 + inputs.unit)
    return StateZonotope(L @ Z.c + 2 * R @ mu + T @ inputs.b, L @ Z.A + T @ inputs.V, np.hstack([L @ Z.B, fresh]), off)


def _widened(Z: StateZonotope) -> tuple[StateZonotope, np.ndarray]:
    """A larger zonotope with a square B (the principal axes of the generators), and the inverse of that B."""
    axes = np.linalg.svd(Z.B, full_matrices=True)[0]
    scale = 1.01 * np.abs(axes.T @ Z.B).sum(1) + 1e-4 * (1 + np.abs(Z.c).max())
    return StateZonotope(Z.c, Z.A, axes * scale, np.zeros_like(Z.c)), axes.T / scale[:, None]


def contains_slices(outer: StateZonotope, inverse: np.ndarray, inner: StateZonotope, inputs: Inputs) -> bool:
    """Whether every slice of `inner` (e fixed) lies in that of `outer`, whose B is square with about `inverse` = B^-1.

    c' + A'e + B't' + r' = c + A e + B t  <=>  (inverse B) t = inverse ((c' - c) + (A' - A) e + B't' + r'), and t must
    lie in [-1, 1]^p: with ||inverse B - I|| = d in the maximum norm, |t| is at most the right side's maximum / (1 - d).
    """
    a, unit = np.abs(inverse), inputs.unit
    defect = np.abs(inverse @ outer.B - np.eye(len(outer.c))) + unit * (a @ np.abs(outer.B))
    t = np.abs(inverse @ (inner.c - outer.c)) + inputs.reach(inverse @ (inner.A - outer.A))
    t += np.abs(inverse @ inner.B).sum(1) + a @ (inner.off + 2 * unit * (inner.sizes + outer.sizes) + TINY)
    return bool((t * (1 + unit) + defect.sum(1).max() * (1 + unit) <= 1).all())


def _zonotope_containment(network: MonDEQ, inputs: Inputs, z0: np.ndarray) -> Box | None:
    """Bounds on h from a zonotope of w = z + alpha (h - z) that contains its image; None if none is found."""
    step = resolvent(network, inputs)
    c = z0 + step.alpha * (inputs.b + network.W @ z0 - z0)
    Z = StateZonotope(c, np.zeros_like(inputs.V), np.zeros((network.width, 0)), np.zeros_like(c))
    for _ in range(ATTEMPTS):
        outer, inverse = _widened(Z)
        Z = outer
        for _ in range(STEPS):
            Z = _peaceman_rachford(Z, inputs, step)
        if not np.isfinite(Z.sizes).all() or np.abs(Z.c).max() > 1e6 * (1 + np.abs(z0).max()):
            return None
        if contains_slices(outer, inverse, Z, inputs):
            w = _extent(Z, inputs)
            # w > 0: w = h. w < 0: z = 0 and w = alpha h. Both are increasing.
            low, high = (np.minimum(v, 0) / step.alpha for v in (w.lower, w.upper))
            return Box(
                np.where(low < 0, low * (1 + 4 * EPS), w.lower), np.where(high < 0, high * (1 - 4 * EPS), w.upper)
            )
    return None


def _implicit(network: MonDEQ, inputs: Inputs, z: Box, h: Box) -> tuple[Box, Box, StateZonotope | None]:
    """Bounds that hold, tightened by the fixpoint of the relaxed equation.

    With l <= h <= u known, every equilibrium has z = S h + mu + diag(mu) t for some t in [-1, 1]^p, S = diag(slope), so

        (I - S W) z = S (b + V e) + mu + diag(mu) t:

    one linear system gives z as a zonotope, and h = W z + b + V e better bounds, hence a better S. (I - S W is regular:
    S in [0, 1]^p and I - W is strongly monotone.) No containment is needed where bounds are known to hold.
    """
    p, W, unit = network.width, network.W, inputs.unit
    shape = None
    for _ in range(ROUNDS):
        slope, mu = relu_parallelogram(h)
        system = np.eye(p) - slope[:, None] * W
        try:
            K = np.linalg.inv(system)
        except np.linalg.LinAlgError:  # regular, but not in floating point
            break
        # z = K rhs - (K system - I) z, and 0 <= z <= z.upper.
        a = np.abs(K)
        defect = np.abs(K @ system - np.eye(p)) + unit * (a @ (np.eye(p) + slope[:, None] * np.abs(W)) + np.eye(p))
        off = defect @ z.upper + a @ (slope * (inputs.rounding + unit * inputs.sizes) + 2 * unit * mu) + TINY
        if not np.isfinite(off).all():
            break
        keep = mu > 0
        c, A, B = K @ (slope * inputs.b + mu), K @ (slope[:, None] * inputs.V), K[:, keep] * mu[keep]
        shape = StateZonotope(c, A, B, off * (1 + unit))
        # h = W z + b + V e with the dependence on e kept.
        c, A, B = W @ c + inputs.b, W @ A + inputs.V, W @ B
        off = np.abs(W) @ (shape.off + unit * shape.sizes) + inputs.rounding + unit * inputs.sizes + TINY
        tighter = h.intersect(_extent(StateZonotope(c, A, B, off), inputs))
        z = z.intersect(_extent(shape, inputs).positive()).intersect(tighter.positive())
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
        margin = SPARE * (1 + np.maximum(np.abs(found.lower), np.abs(found.upper)))
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
