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
from tightrope.problems.polynomial import PolynomialProblem
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

    Attributes
    ----------
    origin
        (p0,): where d = 0; the centre of the box when the region is a (clipped) L-infinity ball.
    V
        (p, n): U times the basis, so that U x = U origin + V d.
    kind
        "box", "l2" or "l1": the set that d runs over, of unit radius; "polytope": the box with `rows`.
    lower, upper
        (n,) bounds on d of a clipped L2 or L1 ball, else None.
    squared_norm
        Bound on ||d||^2.
    rounding
        (p,) how far V d can be, neuron by neuron, from U times the exact basis times d.
    rows, offsets
        (k, n) and (k,) of a polytope, rows d <= offsets, else None.
    """

    origin: np.ndarray
    V: np.ndarray
    kind: str
    lower: np.ndarray | None
    upper: np.ndarray | None
    squared_norm: float
    rounding: np.ndarray
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
    if region.half_spaces is not None:
        return _polytope(U, *region.bounding_box(), *region.half_spaces)
    if (G := region.generators) is not None:
        inner = coordinates(U @ G, region.parameters)
        product = (p0 + 2) * EPS * (np.abs(U) @ np.abs(G)).sum(1)  # |d_j| <= 1
        return replace(inner, origin=region.center, rounding=inner.rounding + product)
    region = region.enclosure()[0]
    if region.norm == INFINITY:
        origin, half = _box(*region.bounding_box())
        wide = half > 0
        V = U[:, wide] * half[wide]
        return Coordinates(origin, V, "box", None, None, float(wide.sum()), _products(V))
    radius = region.radius
    if radius == 0:
        return Coordinates(region.center, U[:, :0], "l2", None, None, 0.0, _products(U[:, :0]))
    kind = "l2" if region.norm == 2 else "l1"
    if kind == "l2" and not region.clipped:
        V, off = row_space(U) if p0 > U.shape[0] else (U, np.zeros(len(U)))
        rounding = radius * off + _products(radius * V)
        return Coordinates(region.center, radius * V, kind, None, None, 1.0, rounding)
    if region.lower is None or region.upper is None:
        return Coordinates(region.center, radius * U, kind, None, None, 1.0, _products(radius * U))
    wide = region.upper > region.lower  # a flat pixel stays at the centre's
    if not wide.any():
        return Coordinates(region.center, U[:, :0], "l2", None, None, 0.0, _products(U[:, :0]))
    lower, upper = ((bound - region.center)[wide] / radius for bound in (region.lower, region.upper))
    lower, upper = lower - 2 * EPS * np.abs(lower), upper + 2 * EPS * np.abs(upper)  # outwards by their rounding
    V = radius * U[:, wide]
    return Coordinates(region.center, V, kind, lower, upper, 1.0, _products(V))


def _products(V: np.ndarray) -> np.ndarray:
    """The rounding (p,) of V d for |d_j| <= 1, where each entry of V is one rounded product."""
    return EPS * np.abs(V).sum(1)


def _box(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half-widths; outwards by one rounding: [origin - half, origin + half] holds [lower, upper]."""
    origin = (lower + upper) / 2
    half = np.nextafter(np.maximum(upper - origin, origin - lower), np.inf)
    return origin, np.where(upper > lower, half, 0.0)


def _polytope(U: np.ndarray, lower: np.ndarray, upper: np.ndarray, A: np.ndarray, b: np.ndarray) -> Coordinates:
    """The box of a polytope, and the rows that cut it: A x <= b is (A half) d <= b - A origin."""
    origin, half = _box(lower, upper)
    wide = half > 0
    rows, offsets = _rows(A, b, origin, half)
    cuts = np.abs(rows).sum(1) > offsets  # the others hold on the whole box
    squared_norm = float(wide.sum())
    V = U[:, wide] * half[wide]
    return Coordinates(origin, V, "polytope", None, None, squared_norm, _products(V), rows[cuts], offsets[cuts])


def binding_rows(region: Region) -> np.ndarray:
    """Which rows (k,) of a region's half-spaces cut its box; the others hold on all of it."""
    A, b = region.half_spaces or (np.zeros((0, region.size)), np.zeros(0))
    rows, offsets = _rows(A, b, *_box(*region.bounding_box()))
    return np.abs(rows).sum(1) > offsets


def _rows(A: np.ndarray, b: np.ndarray, origin: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows (k, n) and ends (k,) of A x <= b in unit coordinates, outwards by what rounding can have done."""
    noise = 4 * (len(origin) + 2) * np.finfo(float).eps
    wide = half > 0
    return A[:, wide] * half[wide], b - A @ origin + noise * (np.abs(b) + np.abs(A) @ (np.abs(origin) + half))


@dataclass(frozen=True, eq=False)
class RobustnessModel:
    """What the problems of all targets of one region share: variables (1, z, d[, e]) and constraints.

    Build it with :func:`robustness_model`; :meth:`problem` adds the objective of one target.

    Attributes
    ----------
    rounding
        How far its states can be from the network's own, ||z - z'||, at the same input: V and b = U x_0 + u are
        rounded, and states whose h differ by e for the same z differ by at most ||e|| / m.
    """

    network: MonDEQ
    region: Region
    label: int
    coordinates: Coordinates
    space: Space
    constraints: tuple[Constraint, ...]
    squared_norm: float
    center: np.ndarray
    spread: np.ndarray
    rounding: float

    @property
    def states(self) -> Forms:
        """z of all neurons as forms, (p, N)."""
        return self.space["z"]

    def problem(self, target: int) -> PolynomialProblem:
        """max F(x)_target - F(x)_label over the region, with what the model's rounding can take off."""
        classes = self.network.classes
        if not (0 <= target < classes and target != self.label):
            raise InputError(f"target: got {target!r}; write one of 0..{classes - 1} other than {self.label}.")
        C, c = self.network.C, self.network.c
        xi, constant = C[target] - C[self.label], c[target] - c[self.label]
        rounding = np.linalg.norm(xi) * (self.rounding + EPS * np.sqrt(self.squared_norm)) + EPS * abs(constant)
        form = sp.csr_array(xi[None]) @ self.space["z"] + self.space.constant(constant + 1.01 * rounding)
        objective = products(form, self.space.constant(1))
        return PolynomialProblem(self.space, objective, self.constraints, self.squared_norm, self.center, self.spread)

    def point(self, d: np.ndarray) -> np.ndarray:
        """Homogeneous coordinates (..., N) of the network's state at d (..., n): z is the equilibrium there."""
        z = equilibrium_at(self.network, self.coordinates, np.atleast_2d(d)).reshape(*d.shape[:-1], -1)
        lift = {"e": np.abs(d)} if "e" in self.space.slices else {}
        return self.space.point(z=z, d=d, **lift)


def equilibrium_at(network: MonDEQ, coords: Coordinates, d: np.ndarray) -> np.ndarray:
    """z (count, p) with z = ReLU(W z + V d + b), for d (count, n), n possibly 0."""
    injected = MonDEQ(
        W=network.W, U=np.eye(network.width), u=np.zeros(network.width), C=network.C, c=network.c, m=network.m
    )
    return injected.equilibrium(d @ coords.V.T + network.U @ coords.origin + network.u)


def state_constraints(space: Space, network: MonDEQ, coords: Coordinates) -> list[Constraint]:
    """z is the network's state at d, and d lies in the region: on any space with blocks z, d (and e for L1)."""
    z, d = space["z"], space["d"]
    n = d.shape[0]
    b = network.U @ coords.origin + network.u
    h = sp.csr_array(network.W) @ z + sp.csr_array(coords.V) @ d + space.constant(b)
    constraints = relu_graph(space, z, h)
    if coords.kind in ("box", "polytope"):
        constraints += unit_box(space, d)
        if coords.rows is not None and coords.offsets is not None and len(coords.rows):
            constraints += half_spaces(space, d, coords.rows, coords.offsets, z)
    elif coords.kind == "l2":
        constraints += unit_l2_ball(space, d) if n else []
    else:
        constraints += unit_l1_ball(space, d, space["e"])
    if coords.lower is not None and coords.upper is not None:
        # A bound outside [-1, 1] is implied by the ball; the product still needs two valid factors.
        binding = (coords.lower > -1) | (coords.upper < 1)
        rows = sp.eye_array(n, format="csr")[binding]
        lower, upper = np.maximum(coords.lower, -1)[binding], np.minimum(coords.upper, 1)[binding]
        if binding.any():
            constraints += interval(space, rows @ d, lower, upper, "d")
    return constraints


def robustness_model(network: MonDEQ, region: Region, label: int) -> RobustnessModel:
    """The Robustness Model of one network, region and label.

    Raises
    ------
    InputError
        If the label does not exist or the region has another input size.
    """
    if not 0 <= label < network.classes:
        raise InputError(f"label: got {label!r}; write one of 0..{network.classes - 1}.")
    coords = coordinates(network.U, region)
    n = coords.V.shape[1]
    b = network.U @ coords.origin + network.u
    lift = {"e": n} if coords.kind == "l1" else {}
    space = Space(z=network.width, d=n, **lift)
    constraints = state_constraints(space, network, coords)
    z0 = equilibrium_at(network, coords, np.zeros((1, n)))[0]
    variance = {
        "z": z0**2 + 0.1 * np.mean(z0**2) + 1e-6,
        "d": np.full(n, (1 / 3 if coords.kind in ("box", "polytope") else 1 / max(n, 1))),
    }
    variance |= {"e": variance["d"]} if lift else {}
    spread = space.point(**variance)
    spread[0] = 0.1
    zeros = {name: np.zeros(n) for name in ("d", *lift)}
    return RobustnessModel(
        network,
        region,
        label,
        coords,
        space,
        tuple(constraints),
        _squared_norm(network, coords, b, z0, bool(lift)),
        space.point(z=z0, **zeros),
        spread,
        float(np.linalg.norm(preactivation_rounding(network, coords)) / network.proven_m),
    )


def preactivation_rounding(network: MonDEQ, coords: Coordinates) -> np.ndarray:
    """How far V d + b, with the rounded V and b = U x_0 + u, can be from U x + u, neuron by neuron, (p,)."""
    size = np.abs(network.U) @ np.abs(coords.origin) + np.abs(network.u)
    return coords.rounding + (network.input_size + 3) * EPS * size


def _squared_norm(network: MonDEQ, coords: Coordinates, b: np.ndarray, z0: np.ndarray, lifted: bool) -> float:
    """R^2 >= 1 + ||z||^2 + ||d||^2 (+ ||e||^2) over the region.

    ||z|| <= ||z_0|| + how far this computed state at d = 0 is from the exact one + ||V|| ||d|| / m, by strong
    monotonicity, m ||z - z'|| <= ||difference of the affine parts||. Rounding here is added to the result.
    """
    spread = np.linalg.norm(coords.V, 2) * np.sqrt(coords.squared_norm) if coords.V.size else 0.0
    z_bound = np.linalg.norm(z0) + network.distance(z0, b) + spread / network.proven_m
    return float((1 + 1e-9) * (1 + z_bound**2 + coords.squared_norm * (2 if lifted else 1)))
