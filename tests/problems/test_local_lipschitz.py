"""Local Lipschitz problems: stable neurons are stable, the reduced network is the network, true points are feasible."""

import numpy as np
import pytest

from tests.helpers import exact, exactly_solved
from tests.problems.test_lipschitz import mondeq, slopes
from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.problems.local_lipschitz import Rounding, local_problem, preactivation_bounds, reduce
from tightrope.problems.robustness import coordinates
from tightrope.regions import Ball


def region_of(seed: int, norm: float, radius: float, clip: bool, p0: int = 5) -> Ball:
    """A ball around a random centre; the box cuts it on one side and has one flat pixel."""
    center = np.random.default_rng(seed + 50).standard_normal(p0)
    if not clip:
        return Ball(center, radius, norm)
    lower, upper = center - 0.3 * radius, center + 2 * radius
    lower[0] = upper[0] = center[0]
    return Ball(center, radius, norm, lower, upper)


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_reduction_keeps_outputs_and_bounds_hold(norm, clip, seed, rng):
    """F(x) = C_B z_B(x) + E x + constant on the region."""
    network = mondeq(seed, p=6, p0=5)
    region = region_of(seed, norm, 0.15, clip)
    lower, upper = preactivation_bounds(network, region)
    x = region.sample(50, rng)
    h = network.preactivation(x, network.equilibrium(x))
    assert (lower <= h).all() and (h <= upper).all()
    small = reduce(network, lower, upper)
    assert small.undecided.sum() < 6 or not small.active.any()
    outputs = x @ small.direct.T + (small.network.equilibrium(x) @ small.network.C.T if small.network else 0)
    constant = network.logits(x) - outputs
    assert np.allclose(constant, constant[0], atol=1e-7)


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_true_points_are_feasible(norm, clip, seed, rng):
    """States, slopes and directions at inputs of the region satisfy every product and the trace bound."""
    network = mondeq(seed, p=6, p0=5)
    region = region_of(seed, norm, 0.5, clip)
    small = reduce(network, *preactivation_bounds(network, region))
    if small.network is None:
        pytest.skip("every neuron is stable on this region")
    coords = coordinates(small.network.U, region)
    row = np.eye(3)[seed]
    problem = local_problem(small.network, small.direct, region, None if norm == 2 else row, graph=True)
    n = coords.V.shape[1]
    for _ in range(20):
        if coords.kind == "box":
            d = rng.uniform(-1, 1, n)
        elif clip:
            wide = region.upper > region.lower  # a flat pixel has no coordinate
            d = ((region.sample(1, rng)[0] - region.center) / region.radius)[wide]
        else:
            d = rng.standard_normal(n)
            d *= rng.uniform() / np.linalg.norm(d)
        b = small.network.U @ coords.origin + small.network.u + coords.V @ d
        z = np.zeros(small.network.width)
        for _ in range(20000):  # a fixed point without the solver that the model uses
            step = np.maximum(small.network.W @ z + b, 0) - z
            z = z + 0.02 * step
            if np.abs(step).max() < 1e-11:
                break
        s = (small.network.W @ z + b > 0).astype(float)
        blocks = {"d": d, "z": z}
        if norm == 2:
            blocks["v"] = rng.standard_normal(3)
            blocks["v"] /= np.linalg.norm(blocks["v"])
        g = small.network.C.T @ (blocks["v"] if norm == 2 else row)
        t = rng.uniform(-1, 1, problem.space["t"].shape[0])
        blocks |= {"y": slopes(small.network, s, g)[0], "t": t / (np.linalg.norm(t) if norm == 2 else 1)}
        point = problem.space.point(**{name: blocks[name] for name in problem.space.slices})
        assert max(problem.violations(point).values()) <= 1e-7
        assert point @ point <= problem.squared_norm


def test_wrong_arguments_are_named():
    """L-infinity needs a row, other norms are not built."""
    network = mondeq(0)
    direct = np.zeros((3, 3))
    with pytest.raises(InputError, match="row"):
        local_problem(network, direct, Ball(np.zeros(3), 1.0, np.inf))
    with pytest.raises(InputError, match="not L1"):
        local_problem(network, direct, Ball(np.zeros(3), 1.0, 1))


def exactly_reduced(network: MonDEQ, A: np.ndarray, B: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of the reduced network in rational numbers."""
    W, U, u, C = (exact(a) for a in (network.W, network.U, network.u, network.C))
    k, b = int(A.sum()), int(B.sum())
    right = np.hstack([W[np.ix_(A, B)], U[A], u[A, None]])
    solved = exactly_solved(np.eye(k, dtype=int) - W[np.ix_(A, A)], right)
    through, forward, bias = solved[:, :b], solved[:, b:-1], solved[:, -1:]
    W_BA = W[np.ix_(B, A)]
    return {
        "W": W[np.ix_(B, B)] + W_BA @ through,
        "U": U[B] + W_BA @ forward,
        "u": u[B, None] + W_BA @ bias,
        "C": C[:, B] + C[:, A] @ through,
        "direct": C[:, A] @ forward,
    }


@pytest.mark.parametrize("m", [1.0, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_rounding_of_the_reduction_against_rational_numbers(seed, m, rng):
    """Bounds of the error hold, and are not far from it; the smaller m, the larger they are."""
    network = mondeq(seed, p=8, p0=5, m=m)
    A, B = np.arange(8) < 4, np.arange(8) > 4
    small = reduce(network, np.where(A, 1.0, -1.0), np.where(A | B, 1.0, -0.5))
    assert (small.active == A).all() and (small.undecided == B).all()
    ours = {"W": small.network.W, "U": small.network.U, "u": small.network.u[:, None], "C": small.network.C,
            "direct": small.direct}  # fmt: skip
    for name, true in exactly_reduced(network, A, B).items():
        error = float(((exact(ours[name]) - true) ** 2).sum()) ** 0.5
        assert error <= getattr(small.rounding, name) <= 1e-12 / m**2


def test_neurons_stay_where_eliminating_them_is_inaccurate():
    """A network that is hardly monotone: (I - W_AA)^-1 may be 1e9 times larger than the residual."""
    network = mondeq(0, p=8, p0=5, m=1e-9)
    A = np.arange(8) < 4
    small = reduce(network, np.where(A, 1.0, -1.0), np.where(np.arange(8) == 7, -0.5, 1.0))
    assert not small.active.any() and small.undecided.sum() == 7
    assert small.rounding == Rounding(0.0, 0.0, 0.0, 0.0, 0.0)
