"""The Robustness Model of a monDEQ (section 3.1 of chen2021-mondeq), with the output bias that its print drops.

For a label y, a target j and a region E:

    delta_j = max { F(x)_j - F(x)_y : z = ReLU(W z + U x + u), x in E },   F(x) = C z + c.

The network is robust on E when delta_j < 0 for all j != y. (The printed model omits c_j - c_y: erratum 1.)
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from tightrope.errors import InputError, RegionError
from tightrope.networks import MonDEQ
from tightrope.problems.polynomial import Constrained, PolynomialProblem
from tightrope.regions import INFINITY, Region
from tightrope.regions.row_space import EPS, row_space
from tightrope.semialgebraic import (
    Constraint,
    Forms,
    Space,
    half_spaces,
    interval,
    products,
    relu_graph,
    unit_box,
    unit_l1_ball,
    unit_l2_ball,
)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """x = origin + basis d on the region, up to directions that U does not see.

    `origin` (p0,) is where d = 0, the centre of the box when the region is a (clipped) L-infinity ball, and V (p, n) is
    U times the basis, so that U x = U origin + V d. `kind` is the set that d runs over, of unit radius: "box", "l2" or
    "l1", or "polytope": the box with `rows` d <= `offsets`, (k, n) and (k,). `squared_norm` bounds ||d||^2; `rounding`
    (p,) is how far V d can be, neuron by neuron, from U times the exact basis times d; `lower` and `upper` (n,) bound d
    of a clipped L2 or L1 ball.
    """

    origin: np.ndarray
    V: np.ndarray
    kind: str
    squared_norm: float
    rounding: np.ndarray
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    rows: np.ndarray | None = None
    offsets: np.ndarray | None = None


def coordinates(U: np.ndarray, region: Region) -> Coordinates:
    """The smallest unit-scaled coordinates of a region, each choice exact.

    L-infinity: one coordinate in [-1, 1] per pixel of positive width. L2 without clipping: only the row space of U
    matters, so x - x_0 is rotated into it (R of a QR factorisation of U'); clipping keeps the pixels, and so does
    L1. Norms between are replaced by :meth:`Ball.enclosure`. A zonotope has one coordinate per generator, an ellipsoid
    is an L2 ball; a polytope is its box with rows.
    """
    p0 = region.size
    if U.shape[1] != p0:
        raise RegionError(f"region: {p0} inputs, but the network has {U.shape[1]}; use the network's own data set.")
    if (G := region.generators) is not None:
        inner = coordinates(U @ G, region.parameters)
        product = (p0 + 2) * EPS * (np.abs(U) @ np.abs(G)).sum(1)  # |d_j| <= 1
        return replace(inner, origin=region.center, rounding=inner.rounding + product)
    ball = region.enclosure()[0]
    if ball.norm == INFINITY:
        origin, half = _box(region)
        wide = half > 0
        box = _unit(origin, U[:, wide] * half[wide], "box", float(wide.sum()))
        if region.half_spaces is None:
            return box
        rows, offsets, binding = _rows(region)
        return replace(box, kind="polytope", rows=rows[binding], offsets=offsets[binding])
    center, radius, kind = ball.center, ball.radius, "l2" if ball.norm == 2 else "l1"
    if radius == 0:
        return _unit(center, U[:, :0], "l2", 0.0)
    if kind == "l2" and not ball.clipped and p0 > len(U):
        R, off = row_space(U)
        found = _unit(center, radius * R, kind)
        return replace(found, rounding=radius * off + found.rounding)
    if ball.lower is None or ball.upper is None:
        return _unit(center, radius * U, kind)
    wide = ball.upper > ball.lower  # a flat pixel stays at the centre's
    if not wide.any():
        return _unit(center, U[:, :0], "l2", 0.0)
    lower, upper = ((bound - center)[wide] / radius for bound in (ball.lower, ball.upper))
    lower, upper = lower - 2 * EPS * np.abs(lower), upper + 2 * EPS * np.abs(upper)  # outwards by their rounding
    return replace(_unit(center, radius * U[:, wide], kind), lower=lower, upper=upper)


def _unit(origin: np.ndarray, V: np.ndarray, kind: str, squared_norm: float = 1.0) -> Coordinates:
    """Coordinates whose V has one rounded product in each entry, for |d_j| <= 1."""
    return Coordinates(origin, V, kind, squared_norm, EPS * np.abs(V).sum(1))


def _box(region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half-widths; outwards by one rounding: [origin - half, origin + half] holds the bounding box."""
    lower, upper = region.bounding_box()
    origin = (lower + upper) / 2
    half = np.nextafter(np.maximum(upper - origin, origin - lower), np.inf)
    return origin, np.where(upper > lower, half, 0.0)


def binding_rows(region: Region) -> np.ndarray:
    """Which rows (k,) of a region's half-spaces cut its box; the others hold on all of it."""
    return _rows(region)[2]


def _rows(region: Region) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (k, n) and ends (k,) of A x <= b in unit coordinates, outwards by their rounding; which cut the box, (k,).

    A x <= b is (A half) d <= b - A origin.
    """
    A, b = region.half_spaces or (np.zeros((0, region.size)), np.zeros(0))
    origin, half = _box(region)
    noise = 4 * (len(origin) + 2) * EPS
    wide = half > 0
    rows = A[:, wide] * half[wide]
    offsets = b - A @ origin + noise * (np.abs(b) + np.abs(A) @ (np.abs(origin) + half))
    return rows, offsets, np.abs(rows).sum(1) > offsets


@dataclass(frozen=True, eq=False)
class StateModel(Constrained):
    """What describes the states of a network on a region; its `space` has a block z for them.

    `rounding` is how far its states can be from the network's own, ||z - z'||, at the same input: V and b = U x_0 + u
    are rounded, and states whose h differ by e for the same z differ by at most ||e|| / m.
    """

    rounding: float

    @property
    def states(self) -> Forms:
        """z of all neurons as forms, (p, N)."""
        return self.space["z"]


@dataclass(frozen=True, eq=False)
class RobustnessModel(StateModel):
    """What the problems of all targets of one region share: variables (1, z, d[, e]) and constraints.

    Build it with :func:`robustness_model`; :meth:`problem` adds the objective of one target.
    """

    network: MonDEQ
    region: Region
    label: int
    coordinates: Coordinates

    def problem(self, target: int) -> PolynomialProblem:
        """max F(x)_target - F(x)_label over the region, with what the model's rounding can take off."""
        classes = self.network.classes
        if not (0 <= target < classes and target != self.label):
            raise InputError(f"target: got {target!r}; write one of 0..{classes - 1} other than {self.label}.")
        C, c = self.network.C, self.network.c
        xi, constant = C[target] - C[self.label], c[target] - c[self.label]
        rounding = np.linalg.norm(xi) * (self.rounding + EPS * np.sqrt(self.squared_norm)) + EPS * abs(constant)
        form = sp.csr_array(xi[None]) @ self.space["z"] + self.space.constant(constant + 1.01 * rounding)
        return self.maximise(products(form, self.space.constant(1)))

    def point(self, d: np.ndarray) -> np.ndarray:
        """Homogeneous coordinates (..., N) of the network's state at d (..., n): z is the equilibrium there."""
        z = equilibrium_at(self.network, self.coordinates, np.atleast_2d(d)).reshape(*d.shape[:-1], -1)
        return self.space.point(z=z, d=d, e=np.abs(d))


def equilibrium_at(network: MonDEQ, coords: Coordinates, d: np.ndarray) -> np.ndarray:
    """z (count, p) with z = ReLU(W z + V d + b), for d (count, n), n possibly 0."""
    p = network.width
    injected = replace(network, U=np.eye(p), u=np.zeros(p))
    return injected.equilibrium(d @ coords.V.T + network.U @ coords.origin + network.u)


def preactivation(space: Space, network: MonDEQ, coords: Coordinates) -> Forms:
    """h = W z + V d + b, b = U x_0 + u, as forms on a space with blocks z and d, (p, N)."""
    b = space.constant(network.U @ coords.origin + network.u)
    return sp.csr_array(network.W) @ space["z"] + sp.csr_array(coords.V) @ space["d"] + b


def state_constraints(space: Space, network: MonDEQ, coords: Coordinates) -> list[Constraint]:
    """z is the network's state at d, and d lies in the region: on any space with blocks z, d (and e for L1)."""
    z, d = space["z"], space["d"]
    n = d.shape[0]
    constraints = relu_graph(space, z, preactivation(space, network, coords))
    if coords.kind in ("box", "polytope"):
        constraints += unit_box(space)
        if coords.rows is not None and coords.offsets is not None and len(coords.rows):
            constraints += half_spaces(space, d, coords.rows, coords.offsets, z)
    elif coords.kind == "l2":
        constraints += unit_l2_ball(space) if n else []
    else:
        constraints += unit_l1_ball(space)
    if coords.lower is not None and coords.upper is not None:
        # A bound outside [-1, 1] is implied by the ball; the product still needs two valid factors.
        binding = (coords.lower > -1) | (coords.upper < 1)
        rows = sp.eye_array(n, format="csr")[binding]
        lower, upper = np.maximum(coords.lower, -1)[binding], np.minimum(coords.upper, 1)[binding]
        if binding.any():
            constraints += interval(space, rows @ d, lower, upper, "d")
    return constraints


def robustness_model(network: MonDEQ, region: Region, label: int) -> RobustnessModel:
    """The Robustness Model of one network, region and label; an InputError if the label or the sizes do not fit."""
    if not 0 <= label < network.classes:
        raise InputError(f"label: got {label!r}; write one of 0..{network.classes - 1}.")
    coords = coordinates(network.U, region)
    n = coords.V.shape[1]
    space = Space(z=network.width, d=n, **({"e": n} if coords.kind == "l1" else {}))
    z0 = equilibrium_at(network, coords, np.zeros((1, n)))[0]
    variance = variances(coords, z0)
    spread = space.point(**variance, e=variance["d"])
    spread[0] = 0.1
    return RobustnessModel(
        space=space,
        constraints=tuple(state_constraints(space, network, coords)),
        squared_norm=_squared_norm(network, coords, z0),
        center=space.point(z=z0),
        spread=spread,
        rounding=float(np.linalg.norm(preactivation_rounding(network, coords)) / network.proven_m),
        network=network,
        region=region,
        label=label,
        coordinates=coords,
    )


def variances(coords: Coordinates, z0: np.ndarray) -> dict[str, np.ndarray]:
    """How far states and inputs are from the centre's, roughly, for a solver to start from: the blocks z and d."""
    n = coords.V.shape[1]
    d = np.full(n, 1 / 3 if coords.kind in ("box", "polytope") else 1 / max(n, 1))
    return {"z": z0**2 + 0.1 * np.mean(z0**2) + 1e-6, "d": d}


def preactivation_rounding(network: MonDEQ, coords: Coordinates) -> np.ndarray:
    """How far V d + b, with the rounded V and b = U x_0 + u, can be from U x + u, neuron by neuron, (p,)."""
    size = np.abs(network.U) @ np.abs(coords.origin) + np.abs(network.u)
    return coords.rounding + (network.input_size + 3) * EPS * size


def _squared_norm(network: MonDEQ, coords: Coordinates, z0: np.ndarray) -> float:
    """R^2 >= 1 + ||z||^2 + ||d||^2 (+ ||e||^2 of an L1 ball) over the region.

    ||z|| <= ||z_0|| + how far this computed state at d = 0 is from the exact one + ||V|| ||d|| / m, by strong
    monotonicity, m ||z - z'|| <= ||difference of the affine parts||. Rounding here is added to the result.
    """
    spread = np.linalg.norm(coords.V, 2) * np.sqrt(coords.squared_norm) if coords.V.size else 0.0
    drift = network.distance(z0, network.U @ coords.origin + network.u)
    z_bound = np.linalg.norm(z0) + drift + spread / network.proven_m
    return float((1 + 1e-9) * (1 + z_bound**2 + coords.squared_norm * (2 if coords.kind == "l1" else 1)))
