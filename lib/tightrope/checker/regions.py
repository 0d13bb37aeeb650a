"""Input regions as rational numbers: balls, stated by pixels as integers and decimals as text, or by floats.

README.md has what a region is to a proof: x = o + G d with B(q), a_j <= d_j <= c_j, and R d <= e.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt

import numpy as np

from tightrope.checker.numbers import Exact, Refused

NORMS = ("1", "2", "inf")
#: The norm of the unit ball of d.
SHAPES = {"zonotope": "inf", "ellipsoid": "2"}
VECTORS, MATRICES = ("pixels", "centre", "lower", "upper"), ("generators", "facets")
ARRAYS = (*VECTORS, *MATRICES, "offsets")
PIXELS = {"norm", "radius", "scale", "mean", "std", "clip"}
#: The arrays that state a region, no more and no fewer: one of another kind would be read by people, but not here.
FORMS: dict[str, tuple[set[str], ...]] = {
    "ball": ({"pixels"}, {"centre"}, {"centre", "lower", "upper"}),
    "zonotope": ({"centre", "generators"},),
    "ellipsoid": ({"centre", "generators"},),
    "polytope": ({"lower", "upper", "facets", "offsets"},),
}
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?([0-3]?[0-9]?[0-9]|400))?")


@dataclass(frozen=True)
class Region:
    """A ball of an L_q norm, cut to a box or not, around o (p0,), or its image under G, as used by a proof."""

    norm: str
    centre: Exact  # o (p0,): the ball's own centre, or for L-infinity the centre of the box that is left
    radius: Fraction  # of no effect for L-infinity
    box: tuple[Exact, Exact] | None = None  # a, c (n,); for L-infinity always, and a = -c
    generators: Exact | None = None  # G (p0, n), with d (n,) in the unit ball; None for the identity
    rows: Exact | None = None  # (k, p0), R d <= e of a polytope
    ends: Exact | None = None  # (k,)

    @property
    def half(self) -> Exact | None:
        """The half-widths (n,) of a box; None for balls of L1 and L2."""
        return self.box[1] if self.box is not None and self.norm == "inf" else None

    @property
    def size(self) -> int:
        """The number of coordinates of d."""
        return len(self.centre) if self.generators is None else self.generators.shape[1]

    @property
    def free(self) -> np.ndarray:
        """Whether each coordinate (n,) can move at all."""
        return np.ones(self.size, bool) if self.box is None else (self.box[0].signs < 0) | (self.box[1].signs > 0)

    def seen(self, U: Exact) -> Exact:
        """Return the matrix (p, n) with U x = U o + seen d, for U (p, p0)."""
        return U if self.generators is None else U @ self.generators

    def largest(self, q: Exact, w: Exact | None = None) -> Fraction:
        """Return B(q, w), the largest sum_j q_j d_j^2 + w_j d_j over the ball, for q (n,) >= 0; w is for L1."""
        if w is not None:
            if self.norm != "1":
                raise Refused("w: it is for balls of L1")
            return max((q * self.radius + abs(w)).fractions(), default=Fraction(0)) * self.radius
        if self.half is not None:
            return (q * self.half * self.half).sum().fraction()
        return self.radius**2 * max(q.fractions(), default=Fraction(0))

    def reach(self, forms: Exact) -> list[Fraction]:
        """Return upper bounds of forms (rows, p0) of x - o: the largest values, but for roots and clipped balls."""
        B, found = self.seen(forms), []
        if self.norm == "1":
            found.append([self.radius * max(row.fractions(), default=Fraction(0)) for row in abs(B)])
        elif self.norm == "2":
            found.append([self.radius * _root_up(value) for value in (B * B).sum(1).fractions()])
        if self.box is not None:
            found.append((B * self.box[0]).maximum(B * self.box[1]).sum(1).fractions())
        return [min(ends) for ends in zip(*found, strict=True)]

    def point(self, stated: Exact) -> Exact:
        """Return the input x (p0,) that a file states, itself or by its d (n,) in a zonotope or an ellipsoid."""
        if stated.shape != (self.size,):
            raise Refused(f"point: expected {self.size} coordinates")
        d = stated if self.generators is not None else stated - self.centre
        room = []  # numbers that must not be negative
        if self.norm != "inf":
            size = (d * d).sum() if self.norm == "2" else abs(d).sum()
            room.append(Exact.rational(self.radius ** int(self.norm)) - size)
        if self.box is not None:
            room += [d - self.box[0], self.box[1] - d]
        if self.rows is not None and self.ends is not None:
            room.append(self.ends - self.rows @ d)
        if any((part.signs < 0).any() for part in room):
            raise Refused("point: it is outside the region")
        return self.centre + (d if self.generators is None else self.generators @ d)


def ball(centre: Exact, radius: Fraction, norm: str, lower: Exact | None = None, upper: Exact | None = None) -> Region:
    """Return the ball ||x - centre||_q <= radius, within lower <= x <= upper if these are given."""
    if norm not in NORMS:
        raise Refused(f"region: expected one of the norms {', '.join(NORMS)}, got {norm!r}")
    if radius < 0:
        raise Refused("region: the radius is negative")
    size = Exact.rational([radius] * len(centre))
    low, high = centre - size, centre + size  # in every norm: |d_j| <= r
    if lower is not None and upper is not None:
        low, high = low.maximum(lower), high.minimum(upper)
    if norm == "inf":
        return _box(low, high)
    if ((high - low).signs < 0).any():
        raise Refused("region: it is empty")
    if lower is None:
        return Region(norm, centre, radius)
    low, high = low - centre, high - centre
    if (low.signs > 0).any() or (high.signs < 0).any():
        raise Refused("region: its centre is outside the pixel range, where only L-infinity is read")
    return Region(norm, centre, radius, (low, high))


def _box(lower: Exact, upper: Exact, facets: Exact | None = None, offsets: Exact | None = None) -> Region:
    """Return a box, perhaps with rows facets x <= offsets."""
    centre, half = (lower + upper) * Fraction(1, 2), (upper - lower) * Fraction(1, 2)
    if (half.signs < 0).any():
        raise Refused("region: it is empty")
    ends = offsets - facets @ centre if facets is not None and offsets is not None and len(facets) else None
    return Region("inf", centre, Fraction(0), (-half, half), rows=facets if ends is not None else None, ends=ends)


def read(description: Mapping, arrays: Mapping[str, np.ndarray]) -> Region:
    """Return the region that a file's header describes, with one set of the arrays of FORMS, as exact numbers.

    With `pixels`, x = (pixels / scale - mean) / std, radius and pixel range [0, 1] in the unit before the division;
    with `centre` and perhaps `lower` and `upper` in the network's own unit. Other shapes state `shape` alone.
    """
    own = {name: arrays[name] for name in ARRAYS if name in arrays}
    shape = description.get("shape", "ball")
    keys = {"shape"} if "shape" in description else PIXELS if "pixels" in own else {"norm", "radius"}
    if not isinstance(shape, str) or set(own) not in FORMS.get(shape, ()) or set(description) != keys:
        raise Refused(f"region: {', '.join(description)} and the arrays {', '.join(own) or 'none'} do not state one")
    exact = {name: Exact.of(values) for name, values in own.items()}
    dimensions = all(len(values.shape) == (2 if name in MATRICES else 1) for name, values in exact.items())
    sizes = {values.shape for name, values in exact.items() if name in VECTORS}
    if not dimensions or len(sizes) != 1 or not _fit(exact, *sizes):
        raise Refused(f"region: the shapes of {', '.join(own)} do not fit each other")
    if shape == "polytope":
        return _box(**exact)
    if shape in SHAPES:
        inner = ball(Exact.zeros(exact["generators"].shape[1]), Fraction(1), SHAPES[shape])
        return replace(inner, centre=exact["centre"], generators=exact["generators"])
    radius, norm = decimal(description, "radius"), str(description["norm"])
    if "centre" in own:
        return ball(exact["centre"], radius, norm, exact.get("lower"), exact.get("upper"))
    scale, mean, std = (decimal(description, name) for name in ("scale", "mean", "std"))
    if scale <= 0 or std <= 0 or own["pixels"].dtype.kind != "u":
        raise Refused("region: scale and std must be above 0, and pixels unsigned integers")
    n = len(exact["pixels"])
    black, white = (Exact.rational([(end - mean) / std] * n) for end in (Fraction(0), Fraction(1)))
    centre = exact["pixels"] * (1 / scale / std) + black
    return ball(centre, radius / std, norm, *((black, white) if description["clip"] is True else ()))


def _fit(exact: Mapping[str, Exact], sizes: tuple[int, ...]) -> bool:
    """Return whether matrices and `offsets` are of as many coordinates as the vectors."""
    G, R, e = (exact.get(name) for name in ("generators", "facets", "offsets"))
    return (G is None or G.shape[:1] == sizes) and (R is None or e is None or R.shape == (*e.shape, *sizes))


def decimal(description: Mapping, name: str) -> Fraction:
    """Return the number that a header states as decimal text, such as "0.05" or "1e-3"."""
    text = description.get(name)
    if not isinstance(text, str) or len(text) > 60 or not _DECIMAL.fullmatch(text):
        raise Refused(f"{name}: expected a decimal number as text, of at most 60 characters, got {text!r}")
    return Fraction(text)


def _root_up(value: Fraction) -> Fraction:
    """Return a fraction at or above the square root of a number >= 0, by less than 2^-60 of it."""
    shift = max(0, 64 + (value.denominator.bit_length() - value.numerator.bit_length()) // 2)
    scaled = value * 4**shift
    floor = isqrt(scaled.numerator // scaled.denominator)
    return Fraction(floor + (Fraction(floor) ** 2 < scaled), 2**shift)
