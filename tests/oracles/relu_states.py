"""The state of a ReLU network at a point, as homogeneous coordinates of a Lipschitz problem."""

import numpy as np

from tightrope.problems.polynomial import PolynomialProblem
from tightrope.problems.relu_lipschitz import _rows_of_t, free_neurons, lifted_neurons
from tightrope.problems.relu_question import Question
from tightrope.regions import INFINITY


def state(ask: Question, problem: PolynomialProblem, d: np.ndarray) -> np.ndarray:
    """Homogeneous coordinates (N,) of the network's state at d (n,), with the t that attains the dual norm there."""
    h = ask.weights[0] @ ask.coordinates.origin + ask.biases[0] + ask.coordinates.V @ d
    u: list[np.ndarray] = []
    x: list[np.ndarray] = []
    for i in range(ask.depth):
        h = h if i == 0 else ask.weights[i] @ x[-1] + ask.biases[i]
        u.append((h > 0).astype(float))
        x.append(np.maximum(h, 0))
    g, r = ask.c, [ask.c] * ask.depth
    for i in range(ask.depth - 1, -1, -1):
        r[i] = u[i] * g
        g = ask.weights[i].T @ r[i]
    slope = _rows_of_t(ask).T @ r[0]
    values = {
        "d": d,
        "t": np.sign(slope) if ask.region.norm == INFINITY else slope / max(np.linalg.norm(slope), 1e-300),
    }
    sizes = {name: where.stop - where.start for name, where in problem.space.slices.items()}
    tight = any(sizes.get(f"u{i + 1}", 0) != len(ask.biases[i]) for i in range(ask.depth))
    free = free_neurons(ask, tight)
    lifted = lifted_neurons(ask, free)
    for i in range(ask.depth):
        values |= {f"u{i + 1}": u[i][free[i]], f"x{i + 1}": x[i][free[i]], f"r{i + 1}": r[i][lifted[i]]}
    return problem.space.point(**{name: values[name] for name in problem.space.slices})
