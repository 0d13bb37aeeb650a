"""Points of the Lipschitz Model as it is printed, and how long its adjoints are."""

import numpy as np

from tightrope.networks import MonDEQ
from tightrope.regions import Ball


def unbounded_ray(network: MonDEQ, region: Ball, scale: float) -> tuple[dict[str, np.ndarray], float]:
    """A point of the printed model and its objective, which grows like `scale` >= 0: the model has no finite value.

    x is the region's centre, s the slopes there, w = 0 and v = scale v_1 with v_1, t the best unit directions.
    """
    x = region.center
    z = network.equilibrium(x)
    h = network.preactivation(x, z)
    s = (h > 0).astype(float)
    left, _, right = np.linalg.svd(network.jacobian(x))
    v = scale * left[:, 0]
    y = s * np.linalg.solve(np.eye(network.width) - network.W.T * s, network.C.T @ v)
    r = network.W.T @ y + network.C.T @ v
    point = {"x": x, "z": z, "s": s, "t": right[0], "v": v, "w": np.zeros_like(v), "y": y, "r": r}
    return point, float(right[0] @ network.U.T @ y)


def adjoint_lengths(network: MonDEQ, x: np.ndarray) -> tuple[float, float]:
    """The largest ||r|| and ||y|| over inputs x (N, p0) and ||v||_2 <= 1; the reference code assumes ||r|| <= 1."""
    x = np.atleast_2d(x)
    active = network.preactivation(x, network.equilibrium(x)) > 0
    longest = np.zeros(2)
    for s in active.astype(float):
        r = np.linalg.solve(np.eye(network.width) - network.W.T * s, network.C.T)
        longest = np.maximum(longest, [np.linalg.norm(r, 2), np.linalg.norm(s[:, None] * r, 2)])
    return float(longest[0]), float(longest[1])
