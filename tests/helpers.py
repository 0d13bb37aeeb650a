"""Small random questions that several tests ask, and the command line in a process of its own."""

import itertools
import subprocess
import sys
from fractions import Fraction

import clarabel
import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from tightrope.networks import MonDEQ
from tightrope.problems.robustness import RobustnessModel, robustness_model
from tightrope.regions import Ball
from tightrope.relaxations.shor import MomentProgram, shor
from tightrope.solvers.arrow import ArrowData


def mondeq(seed: int, p: int = 4, p0: int = 3, K: int = 3) -> MonDEQ:
    """Random monDEQ."""
    rng = np.random.default_rng(seed)
    A, B, U = (rng.standard_normal(shape) for shape in [(p, p), (p, p), (p, p0)])
    u, C, c = (rng.standard_normal(shape) for shape in [p, (K, p), K])
    return MonDEQ.from_factors(A, B, U, u, C, c, m=1.0)


def ball(seed: int, p0: int, norm: float, radius: float, clip: bool = False) -> Ball:
    """Ball around a random centre; the box, if any, is narrower than the ball on one side and has one flat pixel."""
    center = np.random.default_rng(seed + 1000).standard_normal(p0)
    if not clip:
        return Ball(center, radius, norm)
    lower, upper = center - 0.3 * radius, center + 2 * radius
    lower[0] = upper[0] = center[0]
    return Ball(center, radius, norm, lower, upper)


def in_ball(region: Ball, x: np.ndarray) -> bool:
    """Whether x is in the ball of an order that is an integer, in rational numbers."""
    step = [abs(Fraction(float(a)) - Fraction(float(b))) for a, b in zip(x, region.center, strict=True)]
    radius, sides = Fraction(region.radius), () if region.lower is None else (region.lower, region.upper)
    if sides and not ((sides[0] <= x) & (x <= sides[1])).all():
        return False
    if region.norm == np.inf:
        return max(step) <= radius
    return sum(s ** int(region.norm) for s in step) <= radius ** int(region.norm)


def question(seed: int, norm: float, radius: float = 0.3, clip: bool = False, **sizes: int):
    """(network, region, label, target): the label is the network's own at the centre."""
    network = mondeq(seed, **sizes)
    region = ball(seed, network.input_size, norm, radius, clip)
    label = network.predict(region.center)
    return network, region, label, (label + 1) % network.classes


def program(network: MonDEQ, region: Ball, label: int, target: int) -> tuple[RobustnessModel, MomentProgram, ArrowData]:
    """The model, its Shor program, and the constraints on the arrow pattern."""
    model = robustness_model(network, region, label)
    relaxed = shor(model.problem(target))
    return model, relaxed, ArrowData(relaxed.constraints)


def exact_margin(network: MonDEQ, region: Ball, label: int, target: int) -> float:
    """max F_target - F_label over a ball of norm 1, 2 or infinity, by one convex program for each activation pattern.

    With the active set S given, z_S = (I - W_SS)^-1 (U x + u)_S >= 0, z = 0 elsewhere and (W z + U x + u) <= 0 there.
    """
    p, best = network.width, -np.inf
    xi, U, u = network.C[target] - network.C[label], network.U, network.u
    for pattern in itertools.product([False, True], repeat=p):
        on = np.array(pattern)
        slope, value = np.zeros(U.shape), np.zeros(p)
        system = (np.eye(p) - network.W)[np.ix_(on, on)]
        slope[on], value[on] = np.linalg.solve(system, U[on]), np.linalg.solve(system, u[on])
        slope_h, value_h = (network.W @ slope + U)[~on], (network.W @ value + u)[~on]
        rows, ends = np.vstack([-slope[on], slope_h]), np.concatenate([value[on], -value_h])
        best = max(best, xi @ value + _largest(xi @ slope, rows, ends, region))
    return float(best + network.c[target] - network.c[label])


def _largest(a: np.ndarray, rows: np.ndarray, ends: np.ndarray, region: Ball) -> float:
    """max a'x over rows x <= ends within a ball; -inf if there is no such x."""
    n, (lower, upper) = region.size, region.bounding_box()
    if region.norm == 2 and region.radius > 0:
        eye = np.eye(n)
        A = np.vstack([rows, eye, -eye, np.zeros((1, n)), -eye])
        b = np.concatenate([ends, upper, -lower, [region.radius], -region.center])
        cones = [clarabel.NonnegativeConeT(len(rows) + 2 * n), clarabel.SecondOrderConeT(n + 1)]
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        found = clarabel.DefaultSolver(sp.csc_matrix((n, n)), -a, sp.csc_matrix(A), b, cones, settings).solve()
        return -found.obj_val if str(found.status) in ("Solved", "AlmostSolved") else -np.inf
    cost, bounds = np.concatenate([-a, np.zeros(n)]), [*zip(lower, upper, strict=True), *[(0, None)] * n]
    size = np.concatenate([np.zeros(n), np.ones(n)])  # of e >= |x - x0|
    within = np.vstack([np.hstack([np.eye(n), -np.eye(n)]), np.hstack([-np.eye(n), -np.eye(n)]), size])
    A = np.vstack([np.hstack([rows, np.zeros(rows.shape)]), within])
    b = np.concatenate([ends, region.center, -region.center, [region.radius * (1 if region.norm == 1 else n)]])
    result = linprog(cost, A_ub=A, b_ub=b, bounds=bounds, method="highs")
    return -result.fun if result.status == 0 else -np.inf


def random_arrows(data: ArrowData, rng: np.random.Generator):
    """Dense positive definite X and Z in the order (core, tip): X a maximum-determinant completion, Z an arrow."""
    q, n = data.q, data.n

    def arrow():
        G = rng.standard_normal((q + n, q + n))
        full = G @ G.T + (q + n) * np.eye(q + n)
        full[q:, q:] = np.diag(np.diag(full[q:, q:]) + np.abs(full[:q, q:]).sum(0) ** 2)
        return full

    return np.linalg.inv(arrow()), arrow()


def tightrope(*arguments: str, **options) -> subprocess.Popen:
    """Start `tightrope` with these arguments, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tightrope.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


exact = np.vectorize(Fraction, otypes=[object])  #: arrays of floats as rational numbers


def exactly_solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The solution of a system in rational numbers; the matrix has a positive definite symmetric part: no pivots."""
    table, k = np.hstack([matrix, right]), len(matrix)
    for i in range(k):
        table[i] = table[i] / table[i, i]
        for j in set(range(k)) - {i}:
            table[j] = table[j] - table[j, i] * table[i]
    return table[:, k:]
