"""Small random questions that several tests ask, and the command line in a process of its own."""

import itertools
import subprocess
import sys
from fractions import Fraction

import numpy as np
from scipy.optimize import linprog

from tightrope.networks import MonDEQ
from tightrope.problems.robustness import RobustnessModel, robustness_model
from tightrope.regions import Ball
from tightrope.relaxations.shor import ShorProgram, shor
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


def program(network: MonDEQ, region: Ball, label: int, target: int) -> tuple[RobustnessModel, ShorProgram, ArrowData]:
    """The model, its Shor program, and the constraints on the arrow pattern."""
    model = robustness_model(network, region, label)
    relaxed = shor(model.problem(target))
    return model, relaxed, ArrowData(relaxed.constraints)


def exact_margin(network: MonDEQ, region: Ball, label: int, target: int) -> float:
    """max F_target - F_label over an L-infinity ball, by one linear program for each activation pattern.

    With the active set S given, z_S = (W z + U x + u)_S >= 0, z = 0 elsewhere and (W z + U x + u) <= 0 there.
    """
    p, p0 = network.width, network.input_size
    lower, upper = region.bounding_box()
    eye, cost = np.eye(p), np.concatenate([network.C[label] - network.C[target], np.zeros(p0)])
    best = -np.inf
    for pattern in itertools.product([False, True], repeat=p):
        on = np.array(pattern)
        h = np.hstack([network.W, network.U])
        bounds = [(0, None) if active else (0, 0) for active in on] + list(zip(lower, upper, strict=True))
        result = linprog(
            cost,
            A_eq=(np.hstack([eye, np.zeros((p, p0))]) - h)[on] if on.any() else None,
            b_eq=network.u[on] if on.any() else None,
            A_ub=h[~on] if not on.all() else None,
            b_ub=-network.u[~on] if not on.all() else None,
            bounds=bounds,
            method="highs",
        )
        if result.status == 0:
            best = max(best, -result.fun)
    return float(best + network.c[target] - network.c[label])


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
