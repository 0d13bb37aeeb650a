"""Training of ReLU networks with one hidden layer, and the points near two spheres (chen2020-lipschitz, Table 3)."""

from functools import partial

import numpy as np
import torch

from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.training.mondeq import adam, uniform_start


def spheres(count: int, dimension: int, seed: int, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Points (count, dimension) near the spheres of radius 1 (label 0) and 2 (label 1), half of them each.

    The paper says "concentrated around"; here the radius is normal with the given relative deviation.
    """
    if count < 2 or dimension < 1:
        raise InputError(f"count, dimension: got {count!r} and {dimension!r}; write at least 2 and 1.")
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    directions = rng.normal(size=(count, dimension))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * ((1 + labels) * (1 + noise * rng.normal(size=count)))[:, None], labels


def train_relu(
    x: np.ndarray,
    labels: np.ndarray,
    width: int,
    *,
    seed: int = 0,
    epochs: int = 30,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    name: str = "",
) -> FeedForward:
    """Train input -> width -> output: one output and the logistic loss for labels 0 and 1, else one per label.

    Adam, a learning rate that falls on a cosine, last weights kept; same seed, same machine: same weights.
    """
    if width < 1 or epochs < 0 or batch_size < 1:
        raise InputError(
            f"width, epochs, batch_size: got {width!r}, {epochs!r}, {batch_size!r}; write positive numbers."
        )
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = torch.tensor(np.asarray(x, float)), torch.tensor(np.asarray(labels))
    classes = int(targets.max()) + 1
    outputs = 1 if classes == 2 else classes
    p0, uniform = inputs.shape[1], partial(uniform_start, generator)
    A, b = uniform(p0**-0.5, width, p0), uniform(p0**-0.5, width)
    C, k = uniform(width**-0.5, outputs, width), uniform(width**-0.5, outputs)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        logits = torch.relu(inputs[rows] @ A.T + b) @ C.T + k
        if outputs == 1:
            return torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets[rows].double())
        return torch.nn.functional.cross_entropy(logits, targets[rows])

    adam([A, b, C, k], loss, len(inputs), generator, epochs, batch_size, learning_rate)
    weights, biases = ([tensor.detach().numpy() for tensor in pair] for pair in ((A, C), (b, k)))
    return FeedForward.dense(weights, biases, name)
