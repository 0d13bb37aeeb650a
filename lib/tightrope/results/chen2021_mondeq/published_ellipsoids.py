"""What the authors published beside the network: 400 ellipsoids, and the points that Figure 1 shows."""

import re
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from scipy.io import loadmat

from tightrope import datasets
from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.problems.ellipsoid import B_GROUP, Q_GROUP, ellipsoid_model
from tightrope.problems.robustness import robustness_model
from tightrope.regions import Ball, Region
from tightrope.relaxations.shor import shor_constraints
from tightrope.results.chen2021_mondeq.common import PAPER
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.verifiers.ellipsoid import Ellipsoid

POINT_SETS = ("attack", "border")
_RADII = {"l2": (0.1,), "linf": (0.01, 0.05, 0.1)}


def ellipsoid_file(image: int, norm: object, epsilon_pixel: float) -> str | None:
    """The registered file of one ellipsoid (the file's own numbers count from 1), or None if there is none."""
    name = f"l{norm}"
    if not (0 <= image < 100 and epsilon_pixel in _RADII.get(name, ())):
        return None
    return f"{PAPER}/params_ellips/Ellip_momDEQ_eg{image + 1}_m20_{name}_eps{epsilon_pixel:.2f}.mat"


def published_ellipsoid(image: int, norm: object, epsilon_pixel: float) -> Ellipsoid:
    """The authors' {xi : ||Q xi + b|| <= 1} around the image of an unclipped ball.

    Raises
    ------
    InputError
        If they published none for this image, norm and radius.
    MissingDataError
        If the file is not here and cannot be fetched.
    """
    file = ellipsoid_file(image, norm, epsilon_pixel)
    if file is None:
        raise InputError(
            f"image {image}, norm {norm}, epsilon_pixel {epsilon_pixel}: no ellipsoid was published; they are for "
            "images 0..99 at L2 0.1 and L-infinity 0.01, 0.05, 0.1."
        )
    content = loadmat(datasets.fetch(file))
    Q, b = np.array(content["Q"], float), np.array(content["b"], float).ravel()
    sign = -1.0 if np.trace(Q) < 0 else 1.0  # (Q, b) and (-Q, -b) are one ellipsoid; the files have the negative one
    return Ellipsoid(sign * Q, sign * b)


def published_points(kind: str, norm: object) -> np.ndarray:
    """The authors' points of Figure 1, (count, p0) in network-input units: "attack" (50) or "border" (200)."""
    if kind not in POINT_SETS or f"l{norm}" not in _RADII:
        raise InputError(f"kind {kind!r}, norm {norm!r}: write one of {POINT_SETS} and 2 or 'inf'.")
    content = loadmat(datasets.fetch(f"{PAPER}/{kind}_l{norm}_0.10.mat"))[kind]
    return np.ascontiguousarray(content.reshape(-1, content.shape[-1]).T, float)


def is_published_network(name: str) -> bool:
    """Whether the authors' ellipsoids and points belong to this network."""
    return re.fullmatch(rf"{PAPER}/.*", name) is not None


def outer_points(region: Ball, count: int, rng: np.random.Generator) -> np.ndarray:
    """(3 count + 1, p0): the centre, uniform points, points of the boundary, and extreme points (or near ones)."""
    inner = region.sample(count, rng)
    far = 100 * region.radius
    boundary = region.project(region.center + far * rng.standard_normal((count, region.size)))
    extreme = region.project(region.center + far * rng.choice([-1.0, 1.0], (count, region.size)))
    return np.vstack([region.center, inner, boundary, extreme])


def reach(ellipsoid: Ellipsoid, network: MonDEQ, points: np.ndarray) -> float:
    """max ||Q F(x) + b|| over points x: at most 1 if the ellipsoid holds their outputs."""
    return float(np.linalg.norm(network.logits(points) @ ellipsoid.Q + ellipsoid.b, axis=1).max())


def provable_log_det(ellipsoid: Ellipsoid, network: MonDEQ, region: Region) -> tuple[float, float]:
    """What multipliers can prove of a given ellipsoid: (y_0, the log det that is left).

    With Q and b fixed, y_0 is the least number for which y_0 - ||Q F + b||^2 - sum y_k g_k is a sum of squares for some
    multipliers y of region and equilibrium. At most 1: the ellipsoid is feasible for the Ellipsoid Model. Above: only
    {||Q xi + b||^2 <= y_0} is proven, and log det Q loses K / 2 log y_0.
    """
    model = ellipsoid_model(robustness_model(network, region, 0))
    rows = shor_constraints(model)
    y = np.zeros(len(rows.equality))
    y[rows.groups[Q_GROUP]] = ellipsoid.Q[np.triu_indices(model.classes)]
    y[rows.groups[B_GROUP]] = ellipsoid.b
    state = tuple(c for c in model.constraints if c.name not in (Q_GROUP, B_GROUP))
    data = ArrowData(shor_constraints(replace(model, constraints=state)))
    objective = sp.csr_array(rows.matrix(y) - model.identity())
    y0 = InteriorPoint(data).solve(objective, tolerance=1e-7)[0].dual_value
    return y0, float(ellipsoid.log_det - model.classes / 2 * np.log(y0))
