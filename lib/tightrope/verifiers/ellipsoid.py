"""Ellipsoids that provably hold the image of a region, and what they decide (section 3.3 of chen2021-mondeq)."""

import time
from dataclasses import dataclass

import numpy as np

from tightrope import gram_proofs, proofs
from tightrope.arguments import require_network, require_region
from tightrope.errors import InputError, UnknownNameError
from tightrope.networks import MonDEQ
from tightrope.outward import nearest
from tightrope.problems.ellipsoid import B_GROUP, Q_GROUP, EllipsoidModel, ellipsoid_model
from tightrope.problems.robustness import robustness_model
from tightrope.propagation.fixpoint import FixpointBounds, fixpoint_bounds, inductive
from tightrope.question import Limits, Verdict
from tightrope.regions import Region
from tightrope.relaxations.cuts import cut_model
from tightrope.relaxations.shor import shor_constraints
from tightrope.solvers import log_det
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.report import SolveReport, Status
from tightrope.solvers.sound import sound_bound
from tightrope.verifiers.methods import require_small
from tightrope.verifiers.report import Report
from tightrope.verifiers.tightening import STORED

ORDERS = ("1", "1+cuts", "2")
LIMITS = Limits(tolerance=2e-5)


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """{xi in R^K : ||Q xi + b||_2 <= 1} with Q symmetric positive definite."""

    Q: np.ndarray
    b: np.ndarray

    @property
    def log_det(self) -> float:
        """log det Q: larger is smaller in volume."""
        return float(np.linalg.slogdet(self.Q)[1])

    @property
    def center(self) -> np.ndarray:
        """-Q^-1 b, (K,)."""
        return -np.linalg.solve(self.Q, self.b)

    def contains(self, xi: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
        """Return whether each row of xi (..., K) is inside."""
        return np.linalg.norm(xi @ self.Q + self.b, axis=-1) <= 1 + tolerance

    def support(self, a: np.ndarray) -> float:
        """Return an upper bound of max a'xi over the ellipsoid, sharp up to rounding.

        With xi = Q^-1 (u - b), ||u|| <= 1, the maximum is ||g|| - g'b for g = Q^-1 a. A computed g with residual
        r = a - Q g is off by at most ||r|| / lambda_min(Q) =: e, so ||g|| + e - g'b + e ||b|| is an upper bound.
        """
        K, eps = len(a), np.finfo(float).eps
        size = np.linalg.norm(self.Q)
        smallest = np.linalg.eigvalsh(self.Q)[0] - 8 * K * eps * size
        if not smallest > 0:
            return np.inf
        g = np.linalg.solve(self.Q, a)
        rounding = 4 * K * eps * (size * np.linalg.norm(g) + np.linalg.norm(a))
        e = (np.linalg.norm(a - self.Q @ g) + rounding) / smallest
        reach = np.linalg.norm(self.b)
        slack = e * (1 + reach) + 4 * K * eps * np.linalg.norm(g) * (1 + reach)
        bound = float(np.linalg.norm(g) - g @ self.b + slack)
        return np.inf if np.isnan(bound) else bound

    def projection(self, i: int, j: int, count: int = 200) -> np.ndarray:
        """Return points (count, 2) on the boundary of the projection onto labels (i, j).

        P xi = P Q^-1 (u - b) for ||u|| <= 1 is an ellipse with the half-axes matrix (G G')^(1/2), G = P Q^-1.
        """
        G = np.linalg.inv(self.Q)[[i, j]]
        w, V = np.linalg.eigh(G @ G.T)
        angle = np.linspace(0, 2 * np.pi, count)
        circle = np.stack([np.cos(angle), np.sin(angle)])
        return (self.center[[i, j]][:, None] + (V * np.sqrt(w)) @ circle).T


@dataclass(frozen=True, eq=False, repr=False)
class EllipsoidReport(Report):
    """A proven outer ellipsoid, or None with the reason in `solve.status`.

    The `ellipsoid` holds F(region): the solver's Q and b, times `scale`. That is 1 when the multipliers prove just the
    solver's own ellipsoid; below 1 they prove a larger one, above 1 (where the solver's had slack) a smaller one; 0 if
    none is proven. The proof has Q and b before scaling: `multipliers` (k,) in the order of the model's constraints,
    and `parts` by group for :meth:`certificates`, at the order 1+cuts under bounds that are `known`. At order 2 it is a
    file, `second`.
    """

    ellipsoid: Ellipsoid | None
    scale: float
    multipliers: np.ndarray | None
    solve: SolveReport
    seconds: float
    network: MonDEQ
    region: Region
    parts: dict[str, np.ndarray] | None = None
    known: FixpointBounds | None = None
    second: proofs.Proof | None = None
    facts = ("verdict", "log_det", "scale", "status", "seconds")

    @property
    def verdict(self) -> Verdict:
        """CERTIFIED if an ellipsoid is proven to hold F(region), else FAILED."""
        return Verdict.FAILED if self.ellipsoid is None else Verdict.CERTIFIED

    @property
    def headline(self) -> str:
        """What is proven, in one line."""
        size = "" if self.log_det is None else f", log det Q = {nearest(self.log_det)}"
        return f"ellipsoid around the outputs{size}: {self.verdict}"

    @property
    def log_det(self) -> float | None:
        """That of the ellipsoid."""
        return None if self.ellipsoid is None else self.ellipsoid.log_det

    @property
    def status(self) -> str:
        """How the solve ended."""
        return str(self.solve.status)

    def certificates(self) -> proofs.Proof:
        """Return the file that proves that the ellipsoid, in it a little larger, holds F(region)."""
        if self.ellipsoid is not None and self.second is not None:
            return self.second
        if self.ellipsoid is None or self.parts is None:
            raise InputError("report: only a proven ellipsoid has a certificate.")
        parts, known = {name: part * self.scale**2 for name, part in self.parts.items()}, self.known
        bounds = None
        if known is not None:
            bounds = known.h, inductive(self.network, known.inputs, known.h.outward(STORED))
        return proofs.ellipsoid(self.network, self.region, self.ellipsoid.Q, self.ellipsoid.b, parts, bounds)

    def margins(self, label: int) -> np.ndarray:
        """Return (K,) proven upper bounds of F_j - F_label over the region; 0 at the label."""
        if self.ellipsoid is None:
            raise InputError("report: no ellipsoid was proven, so it has no margins.")
        return margins_of(self.ellipsoid, label)

    def verdict_of(self, label: int) -> Verdict:
        """Return CERTIFIED if every other label stays below `label` on the ellipsoid (the printed criterion)."""
        if self.ellipsoid is None:
            return Verdict.FAILED
        return Verdict.CERTIFIED if (np.delete(self.margins(label), label) < 0).all() else Verdict.UNKNOWN


def margins_of(ellipsoid: Ellipsoid, label: int) -> np.ndarray:
    """Return (K,) upper bounds of xi_j - xi_label over an ellipsoid; 0 at the label."""
    eye = np.eye(len(ellipsoid.b))
    return np.array([0.0 if j == label else ellipsoid.support(eye[j] - eye[label]) for j in range(len(eye))])


def outer_ellipsoid(
    network: MonDEQ, region: Region, *, order: str | int = "1", limits: Limits = LIMITS
) -> EllipsoidReport:
    """Return the smallest ellipsoid around F(region) that the Ellipsoid Model proves; the region is no single point.

    Order "1" is the paper's model. "1+cuts", for balls: with proven bounds on the preactivations, stable neurons are
    eliminated and the others get triangles and z (u - z) >= 0 (relaxations.cuts, without pairs of facts). "2", for at
    most six variables, is Lasserre's order 2 with all products of facts, by Clarabel, whose accuracy on thin ellipsoids
    can leave it larger than that of "1+cuts". The seed of `limits` is that of
    sampled outputs which set the starting scale and have no part in the proof.
    """
    began = time.perf_counter()
    require_network(network, MonDEQ, instead="write outer_ellipsoid(network.to_mondeq(), region)")
    require_region(region)
    if str(order) not in ORDERS:
        raise UnknownNameError("order", order, ORDERS)
    base, known = robustness_model(network, region, 0), None
    if str(order) == "1+cuts":
        known = fixpoint_bounds(network, region.require_ball("bounds of order 1+cuts are"))
    model = ellipsoid_model(base, None if known is None else cut_model(base, known.h))
    if str(order) == "2":
        require_small(network.width, region)
        proof = gram_proofs.ellipsoid(network, region, limits)
        file = proof.certificate
        proven = None if file is None else Ellipsoid(file.arrays["Q"], file.arrays["b"])
        seconds = time.perf_counter() - began
        report = SolveReport(Status.SOLVED if proven else Status.FAILED, seconds=seconds, solver="clarabel")
        return EllipsoidReport(proven, 1.0 if proven else 0.0, None, report, seconds, network, region, second=proof)
    data = ArrowData(shor_constraints(model))
    report = log_det.solve(model, data, _start(network, region, limits.seed), **limits.options)
    if report.multipliers is None:
        return EllipsoidReport(None, 0.0, None, report, time.perf_counter() - began, network, region)
    found = *proven_ellipsoid(model, data, report.multipliers), report.multipliers, report
    parts, seconds = data.constraints.split(report.multipliers), time.perf_counter() - began
    return EllipsoidReport(*found, seconds, network, region, parts, known)


def proven_ellipsoid(model: EllipsoidModel, data: ArrowData, multipliers: np.ndarray) -> tuple[Ellipsoid | None, float]:
    """Return the ellipsoid that multipliers (k,) prove, and the factor by which their Q and b had to be scaled.

    sound_bound proves y_0 E_00 + E_oo - sum y_k A_k + delta I >= 0 (Q and b among the y_k). At (v, o') with the state v
    and the minimising o' = B v / (1 + delta) this reads ||B v||^2 <= (1 + delta) (y_0 + delta ||v||^2), because the
    state's own terms are nonnegative. So Q and b, divided by the root of the right-hand side at ||v||^2 <= R^2, are
    proven for the model; for outputs that are off by e, ||Q (o + e) + b|| <= 1 + ||Q|| ||e||, which divides them again.
    """
    bound, square = sound_bound(data, -model.identity(), multipliers), np.nan
    if bound is not None:
        square = (1 + bound.shift) * (bound.y0 + bound.shift * model.squared_norm) * (1 + 1e-12)
    if not (np.isfinite(square) and square > 0):
        return None, 0.0
    scale, K, parts = float(1 / np.sqrt(square)), model.classes, data.constraints.split(multipliers)
    Q = np.zeros((K, K))
    Q[np.triu_indices(K)] = parts[Q_GROUP]
    Q = scale * (Q + np.triu(Q, 1).T)
    if np.linalg.eigvalsh(Q)[0] <= 0:
        return None, 0.0
    shrink = 1 / (1 + 1.01 * np.linalg.norm(Q) * model.rounding)
    return Ellipsoid(shrink * Q, shrink * scale * parts[B_GROUP]), float(shrink * scale)


def _start(network: MonDEQ, region: Region, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Q = (covariance of sampled outputs)^(-1/2) / 10 and b = -Q F(centre)."""
    center = network.logits(region.center)
    outputs = network.logits(region.sample(100, np.random.default_rng(seed))) - center
    covariance = outputs.T @ outputs / len(outputs)
    if not np.isfinite(covariance).all():
        raise InputError("network: the squares of its outputs on the region overflow; scale its last layer.")
    w, V = np.linalg.eigh(covariance)
    w = np.maximum(w, 1e-6 * w.mean() + 1e-12)
    Q = (V / np.sqrt(w) / 10) @ V.T
    return Q, -Q @ center
