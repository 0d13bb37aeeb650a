"""Ellipsoids around a box of inputs: Shor's relaxation of a box, with the ratios of its multipliers fixed.

In a box of many inputs nearly all of a solve is spent on the multipliers lambda_j of 1 - d_j^2 >= 0. With their ratios
fixed the box becomes the ellipsoid sum lambda_j d_j^2 <= sum lambda_j, which contains it and of which the network sees
at most p coordinates. Multipliers that prove a bound on the ellipsoid prove it on the box.

**Which ratios.** The dual matrix is Z = [P, R; R', diag(lambda)] in the blocks (1, z) and d. For a moment matrix X of
(1, z), the best lambda minimises sum_j (lambda_j + <R_j R_j', X> / lambda_j), so that lambda_j = sqrt(<R_j R_j', X>):
the size of what input j does to the objective through R, on average over X. Of X nothing is known before the first
solve; then R d is the objective's gradient times d, in which an unstable neuron's slope is a random number
(:func:`expected_weights`). A solution has an R and an X (:func:`best_weights`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope.problems.robustness import RobustnessModel, robustness_model
from tightrope.propagation.fixpoint import Box, relu_parallelogram
from tightrope.regions import EllipsoidRegion

#: By how much an ellipsoid is larger than it would have to be in exact arithmetic, and the least multiplier of an input
#: relative to the largest.
ROOM, FLATTEST = 1e-9, 1e-9
#: The multipliers of a box and of an ellipsoid.
BOX, ELLIPSOID = "1 - d_j^2 >= 0", "1 - |d|^2 >= 0"


@dataclass(frozen=True, eq=False)
class Around:
    """The ellipsoid {d : sum d_j^2 / axes_j^2 <= 1} around a box, in the box's unit coordinates, and its model."""

    model: RobustnessModel
    axes: np.ndarray

    @classmethod
    def box(cls, model: RobustnessModel, weights: np.ndarray) -> "Around":
        """Return sum_j weights_j d_j^2 <= sum_j weights_j for weights (n,) >= 0 around the box of `model`."""
        weights = np.maximum(weights, FLATTEST * weights.max())
        axes = (1 + ROOM) * np.sqrt(weights.sum() / weights)
        lower, upper = model.region.bounding_box()
        half = np.maximum(upper - model.coordinates.origin, model.coordinates.origin - lower)
        region = EllipsoidRegion(model.coordinates.origin, np.diag(half)[:, upper > lower] * axes)
        return cls(robustness_model(model.network, region, model.label), axes)

    def of_box(self, multipliers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return multipliers of the box that prove what these of the ellipsoid do."""
        named = dict(multipliers)
        if ELLIPSOID in named:
            named[BOX] = named.pop(ELLIPSOID) / self.axes**2
        return named


def best_weights(R: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return lambda_j = sqrt(<R_j R_j', X>), (n,), for R (q, n) and a moment matrix X (q, q) of (1, z)."""
    weights: np.ndarray = np.sqrt(np.maximum(np.sum((X @ R) * R, 0), 0))
    return weights


def expected_weights(model: RobustnessModel, bounds: Box, targets: Sequence[int]) -> np.ndarray:
    """Return weights (n,) for these targets under bounds on h, before anything is solved.

    By input the root mean square of the gradient of F_target - F_label, whose slopes are independent: those of the
    chords on average, with a variance of 1/4 where the neuron is unstable.
    """
    network, V = model.network, model.coordinates.V
    slope, height = relu_parallelogram(bounds)
    xi = network.C[list(targets)] - network.C[model.label]
    G = np.linalg.solve((np.eye(network.width) - slope[:, None] * network.W).T, xi.T).T
    mean = np.abs((G * slope) @ V).mean(0)
    weights: np.ndarray = np.sqrt(mean**2 + ((G**2).mean(0) * (height > 0) / 4) @ V**2)
    return weights if weights.any() else np.ones(len(weights))
