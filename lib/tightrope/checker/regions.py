"""Input regions as rational numbers: balls, stated by pixels as integers and decimals as text, or by floats.

A region is all the points x = o + d of the network's input with

    sum_j q_j d_j^2 <= B(q)  for every q >= 0,    a_j <= d_j <= c_j,

where B(q) = sum_j q_j half_j^2 for the L-infinity ball (half_j the half-width of coordinate j, cut to the pixel range
or not), and B(q) = r^2 max_j q_j for L2 and for L1: there sum_j q_j d_j^2 is largest at a vertex, since it is convex.
A zonotope or an ellipsoid is x = o + G d with d in the unit ball of L-infinity or of L2 around 0. A polytope is a box
with rows, R d <= e.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np

from tightrope.checker.numbers import Exact, Refused

NORMS = ("1", "2", "inf")
#: The norm of the unit ball of d, and the columns of G in the array `generators`.
SHAPES = {"zonotope": "inf", "ellipsoid": "2"}
ARRAYS = ("pixels", "centre", "lower", "upper", "generators", "facets", "offsets")
PIXELS = {"norm", "radius", "scale", "mean", "std", "clip"}
#: The arrays that state a region, no more and no fewer: one of another kind would be read by people, but not here.
FORMS = (
    {"pixels"},
    {"centre"},
    {"centre", "lower", "upper"},
    {"centre", "generators"},
    {"lower", "upper", "facets", "offsets"},
)
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Region:
    """A ball of an L_q norm, cut to a box or not, around o (p0,), or its image under G, as used by a proof.

    Attributes
    ----------
    centre : (p0,) Exact
        o: the ball's own centre, or for L-infinity the centre of the box that is left.
    half : (p0,) Exact or None
        Half-widths of the box (L-infinity only).
    radius : Fraction
    lower, upper : (p0,) Exact or None
        Bounds of d = x - o that hold beside the ball; None without clipping, and for L-infinity, where `half` has them.
    generators : (p0, n) Exact or None
        G, with d (n,) in the unit ball; None for the identity.
    rows, ends : (k, p0) and (k,) Exact or None
        R d <= e of a polytope.
    """

    norm: str
    centre: Exact
    radius: Fraction
    half: Exact | None = None
    lower: Exact | None = None
    upper: Exact | None = None
    generators: Exact | None = None
    rows: Exact | None = None
    ends: Exact | None = None

    @property
    def size(self) -> int:
        """The number of coordinates of d."""
        return len(self.centre) if self.generators is None else self.generators.shape[1]

    def seen(self, U: Exact) -> Exact:
        """Return the matrix (p, n) with U x = U o + seen d, for U (p, p0)."""
        return U if self.generators is None else U @ self.generators

    def largest(self, q: Exact) -> Fraction:
        """Return B(q), the largest sum_j q_j d_j^2 over the region's ball, for q (p0,) >= 0."""
        if self.half is not None:
            return (q * self.half * self.half).sum().fraction()
        return self.radius**2 * max(q.fractions(), default=Fraction(0))

    def reach(self, forms: Exact) -> list[Fraction]:
        """Return upper bounds of forms (rows, p0) of x - o: the largest values, but for roots and clipped balls."""
        B = self.seen(forms)
        size = abs(B)
        if self.half is not None:
            return (size @ self.half).fractions()
        if self.norm == "1":
            found = [self.radius * max(row.fractions(), default=Fraction(0)) for row in size]
        else:
            found = [self.radius * _root_up(Exact((row.integers**2).sum(), row.scale**2)) for row in size]
        if self.lower is not None and self.upper is not None:
            box = (B * self.lower).maximum(B * self.upper)
            ends = Exact(box.integers.sum(1), box.scale).fractions()
            found = [min(pair) for pair in zip(found, ends, strict=True)]
        return found

    @property
    def free(self) -> np.ndarray:
        """Whether each coordinate (p0,) can move at all."""
        if self.half is not None:
            return self.half.signs > 0
        if self.lower is None or self.upper is None:
            return np.ones(self.size, bool)
        return (self.lower.signs < 0) | (self.upper.signs > 0)

    def point(self, d: Exact) -> Exact:
        """Return the input x (p0,) at d (n,).

        Raises
        ------
        Refused
            It is outside the region.
        """
        a = abs(d)
        if self.half is not None:
            outside = bool(((self.half - a).signs < 0).any())
        else:
            size = (a * a).sum().fraction() if self.norm == "2" else a.sum().fraction()
            outside = size > (self.radius**2 if self.norm == "2" else self.radius)
        if self.lower is not None and self.upper is not None:
            outside |= bool((((d - self.lower).signs < 0) | ((self.upper - d).signs < 0)).any())
        if self.rows is not None and self.ends is not None:
            outside |= bool(((self.ends - self.rows @ d).signs < 0).any())
        if outside:
            raise Refused("point: it is outside the region")
        return self.centre + (d if self.generators is None else self.generators @ d)


def ball(centre: Exact, radius: Fraction, norm: str, lower: Exact | None = None, upper: Exact | None = None) -> Region:
    """Return the ball ||x - centre||_q <= radius, within lower <= x <= upper if these are given.

    Raises
    ------
    Refused
        The norm is none of 1, 2 and inf, the radius is negative, or nothing is left of the ball.
    """
    if norm not in NORMS:
        raise Refused(f"region: expected one of the norms {', '.join(NORMS)}, got {norm!r}")
    if radius < 0:
        raise Refused("region: the radius is negative")
    size = Exact.rational([radius] * len(centre))
    low, high = centre - size, centre + size  # in every norm: |d_j| <= r
    if lower is not None and upper is not None:
        low, high = low.maximum(lower), high.minimum(upper)
    if ((high - low).signs < 0).any():
        raise Refused("region: it is empty")
    if norm == "inf":
        return Region(norm, (low + high) * Fraction(1, 2), radius, half=(high - low) * Fraction(1, 2))
    if lower is None:
        return Region(norm, centre, radius)
    low, high = low - centre, high - centre
    if (low.signs > 0).any() or (high.signs < 0).any():
        raise Refused("region: its centre is outside the pixel range, where only L-infinity is read")
    return Region(norm, centre, radius, lower=low, upper=high)


def read(description: Mapping, arrays: Mapping[str, np.ndarray]) -> Region:
    """Return the region that a file's header describes.

    Parameters
    ----------
    description
        ``norm``, ``radius`` (decimal text) and either ``scale``, ``mean``, ``std``, ``clip`` and the integers of the
        array ``pixels``: x = (pixels / scale - mean) / std, radius and pixel range [0, 1] in the same unit before the
        division; or the array ``centre`` of floats and perhaps ``lower`` and ``upper``, in the network's own unit; or
        ``shape``, one of SHAPES, and the arrays ``centre`` and ``generators``; or the shape polytope and the arrays
        ``lower``, ``upper``, ``facets`` and ``offsets``: facets x <= offsets in the box.
    """
    names = set(ARRAYS) & set(arrays)
    if names not in FORMS:
        raise Refused(f"region: the arrays {', '.join(sorted(names))} do not state one region")
    if description == {"shape": "polytope"}:
        return _polytope(arrays)
    if "shape" in description:
        return _image(description, arrays)
    radius = decimal(description, "radius")
    norm = str(description.get("norm"))
    if set(description) != (PIXELS if "pixels" in arrays else {"norm", "radius"}):
        raise Refused(f"region: expected the keys {', '.join(sorted(PIXELS))}, or norm and radius beside a centre")
    if "centre" in arrays:
        _vectors(arrays, "centre", "lower", "upper")
        ends = [Exact.of(arrays[name]) if name in arrays else None for name in ("lower", "upper")]
        return ball(Exact.of(arrays["centre"]), radius, norm, *ends)
    scale, mean, std = (decimal(description, name) for name in ("scale", "mean", "std"))
    if scale <= 0 or std <= 0:
        raise Refused("region: scale and std must be above 0")
    if "pixels" not in arrays or arrays["pixels"].dtype.kind != "u":
        raise Refused("region: expected the array pixels of unsigned integers, or the array centre of floats")
    _vectors(arrays, "pixels")
    pixels = Exact.of(arrays["pixels"])

    def to_input(value: Exact) -> Exact:
        return (value - Exact.rational([mean] * len(pixels))) * (1 / std)

    centre = to_input(pixels * (1 / scale))
    if description.get("clip") is not True:
        return ball(centre, radius / std, norm)
    ends = [to_input(Exact.rational([Fraction(end)] * len(pixels))) for end in (0, 1)]
    return ball(centre, radius / std, norm, *ends)


def _vectors(arrays: Mapping[str, np.ndarray], *names: str) -> None:
    shapes = {arrays[name].shape for name in names if name in arrays}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise Refused(f"region: expected vectors of one length in {', '.join(names)}")


def _image(description: Mapping, arrays: Mapping[str, np.ndarray]) -> Region:
    """Return x = o + G d with d in a unit ball."""
    shape = description["shape"]
    if set(description) != {"shape"} or not isinstance(shape, str) or shape not in SHAPES:
        raise Refused(f"region: expected one of the shapes {', '.join(SHAPES)}, got {shape!r}")
    if "centre" not in arrays or "generators" not in arrays:
        raise Refused("region: expected the arrays centre and generators")
    centre, G = (Exact.of(arrays[name]) for name in ("centre", "generators"))
    if len(centre.shape) != 1 or len(G.shape) != 2 or len(G) != len(centre):
        raise Refused("region: the shapes of centre and generators do not fit each other")
    inner = ball(Exact.zeros(G.shape[1]), Fraction(1), SHAPES[shape])
    return Region(inner.norm, centre, inner.radius, half=inner.half, generators=G)


def _polytope(arrays: Mapping[str, np.ndarray]) -> Region:
    """Return a box with rows."""
    missing = [name for name in ("lower", "upper", "facets", "offsets") if name not in arrays]
    if missing:
        raise Refused(f"region: expected the arrays lower, upper, facets and offsets; {', '.join(missing)} is missing")
    _vectors(arrays, "lower", "upper")
    lower, upper, A, b = (Exact.of(arrays[name]) for name in ("lower", "upper", "facets", "offsets"))
    if len(A.shape) != 2 or A.shape[1] != len(lower) or b.shape != A.shape[:1]:
        raise Refused("region: the shapes of facets, offsets, lower and upper do not fit each other")
    if ((upper - lower).signs < 0).any():
        raise Refused("region: it is empty")
    centre, half = (lower + upper) * Fraction(1, 2), (upper - lower) * Fraction(1, 2)
    if not len(A):
        return Region("inf", centre, Fraction(0), half=half)
    return Region("inf", centre, Fraction(0), half=half, rows=A, ends=b - A @ centre)


def decimal(description: Mapping, name: str) -> Fraction:
    """Return the number that a header states as decimal text, such as "0.05" or "1e-3".

    Raises
    ------
    Refused
        It is missing, is no text, or is no number of reasonable length.
    """
    text = description.get(name)
    if not isinstance(text, str) or len(text) > 60 or not _DECIMAL.fullmatch(text):
        raise Refused(f"{name}: expected a decimal number as text, of at most 60 characters, got {text!r}")
    return Fraction(text)


def _root_up(value: Exact) -> Fraction:
    """Return a fraction at or above the square root of a number >= 0, by less than 2^-60 of it."""
    number = value.fraction()
    shift = max(0, 64 + (number.denominator.bit_length() - number.numerator.bit_length()) // 2)
    scaled = number * 4**shift
    floor = isqrt(scaled.numerator // scaled.denominator)
    return Fraction(floor + (Fraction(floor) ** 2 < scaled), 2**shift)
