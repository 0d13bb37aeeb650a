"""The equilibrium of a monDEQ by forward-backward splitting, independent of the library's method."""

import numpy as np

from tightrope.networks import MonDEQ


def equilibrium(network: MonDEQ, x: np.ndarray, tolerance: float) -> np.ndarray:
    """z <- ReLU(z - step (G z - b)) for rows x (N, p0); step = m / L^2 contracts by sqrt(1 - (m / L)^2)."""
    G, b = np.eye(network.width) - network.W, x @ network.U.T + network.u
    step, z = network.m / network.lipschitz**2, np.zeros_like(b)
    for _ in range(100_000):
        gradient = z @ G.T - b
        residual = np.linalg.norm(z - np.maximum(z - gradient, 0), axis=1).max(initial=0.0)
        if residual <= tolerance * max(1.0, np.linalg.norm(z, axis=1).max(initial=0.0)):
            return z
        z = np.maximum(z - step * gradient, 0)
    raise AssertionError(f"forward-backward splitting: residual {residual:.3g}")
