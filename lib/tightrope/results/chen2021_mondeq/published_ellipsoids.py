"""What the authors published beside the network: 400 ellipsoids, and the points that Figure 1 shows."""

import numpy as np
from scipy.io import loadmat

from tightrope import datasets
from tightrope.regions import Ball
from tightrope.verifiers.ellipsoid import Ellipsoid
from .common import PAPER

RADII = {2: (0.1,), "inf": (0.01, 0.05, 0.1)}  # in pixel units, each for the first 100 test images


def published_ellipsoid(image: int, norm: object, epsilon_pixel: float) -> Ellipsoid | None:
    """Return the authors' {xi : ||Q xi + b|| <= 1} around the image of an unclipped ball; None if it is not here."""
    file = f"{PAPER}/params_ellips/Ellip_momDEQ_eg{image + 1}_m20_l{norm}_eps{epsilon_pixel:.2f}.mat"
    if image >= 100 or epsilon_pixel not in RADII.get(norm, ()) or not datasets.available(file):
        return None
    content = loadmat(datasets.fetch(file))
    Q, b = np.array(content["Q"], float), np.array(content["b"], float).ravel()
    sign = -1.0 if np.trace(Q) < 0 else 1.0  # (Q, b) and (-Q, -b) are one ellipsoid; the files have the negative one
    return Ellipsoid(sign * Q, sign * b)


def published_points(kind: str, norm: object) -> np.ndarray:
    """Return the authors' points of Figure 1, (count, p0) in network-input units: "attack" (50) or "border" (200)."""
    content = loadmat(datasets.fetch(f"{PAPER}/{kind}_l{norm}_0.10.mat"))[kind]
    return np.ascontiguousarray(content.reshape(-1, content.shape[-1]).T, float)


def outer_points(region: Ball, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (3 count + 1, p0): the centre, uniform points, points of the boundary, extreme points (or near ones)."""
    inner = region.sample(count, rng)
    far = 100 * region.radius
    boundary = region.project(region.center + far * rng.standard_normal((count, region.size)))
    extreme = region.project(region.center + far * rng.choice([-1.0, 1.0], (count, region.size)))
    return np.vstack([region.center, inner, boundary, extreme])


def reach(ellipsoid: Ellipsoid, outputs: np.ndarray) -> float:
    """Return max ||Q xi + b|| over outputs xi (n, K): at most 1 if the ellipsoid holds them."""
    return float(np.linalg.norm(outputs @ ellipsoid.Q + ellipsoid.b, axis=1).max())
