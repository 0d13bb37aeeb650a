"""Plain training of monDEQs and of ReLU networks with one hidden layer, and the points near two spheres.

Cross-entropy, Adam, mini-batches in a seeded order, a learning rate that falls to zero on a cosine, the last weights
kept: same seed, same machine, same weights to the last bit. Nothing is chosen by looking at the test split.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from tightrope.datasets import Dataset
from tightrope.errors import InputError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.networks.torch_modules import implicit_equilibrium
from tightrope.threads import one_torch_thread
from tightrope.training.architectures import Architecture
from tightrope.training.losses import logits


def _adam(
    tensors: Sequence[torch.Tensor],
    loss: Callable[[torch.Tensor], torch.Tensor],
    count: int,
    generator: torch.Generator,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Minimise loss(rows), in place, over mini-batches of `count` rows."""
    optimiser = torch.optim.Adam([tensor.requires_grad_() for tensor in tensors], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, epochs))
    for epoch in range(1, epochs + 1):
        total = 0.0
        with one_torch_thread():
            for rows in torch.randperm(count, generator=generator).split(batch_size):
                value = loss(rows)
                optimiser.zero_grad()
                value.backward()
                optimiser.step()
                total += float(value.detach()) * len(rows)
        schedule.step()
        if progress is not None:
            progress(epoch, total / count)


def train_mondeq(
    dataset: Dataset,
    width: int,
    m: float,
    seed: int,
    *,
    epochs: int = 40,
    name: str = "",
    progress: Callable[[int, float], None] | None = None,
) -> MonDEQ:
    """Train a monDEQ with `width` hidden neurons on all images of a data set; W comes from the trained factors.

    The weights are W = (1 - m) I - A'A + B - B', so that every step of the optimiser leaves I - W strongly monotone
    with the constant m > 0. `progress` is called with the number of the epoch, from 1, and its mean loss.
    """
    if width < 1 or epochs < 0 or not m > 0:
        at_least = "width must be at least 1, m positive, epochs at least 0"
        raise InputError(f"width={width}, m={m}, epochs={epochs}: {at_least}.")
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.tensor(dataset.normalisation.to_input(dataset.images)), torch.tensor(dataset.labels)
    A, B = (width**-0.5 * (2 * torch.rand(width, width, generator=generator, dtype=x.dtype) - 1) for _ in range(2))
    # z scales with U / m, so U / m and u / m are trained: the learning rate then means the same for every m.
    outside = Architecture.parse(f"FC {width}, FC {int(y.max()) + 1}", (1, 1, x.shape[1]))
    U, u, C, c = outside.initial(generator, x.dtype)
    identity = torch.eye(width, dtype=x.dtype)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        W = (1 - m) * identity - A.T @ A + B - B.T
        z = implicit_equilibrium(W, m * (x[rows] @ U.T + u), tolerance=1e-6)
        return cross_entropy(z @ C.T + c, y[rows])

    _adam([A, B, U, u, C, c], loss, len(x), generator, epochs, 64, 1e-2, progress)
    trained = {"A": A, "B": B, "U": m * U, "u": m * u, "C": C, "c": c}
    return MonDEQ.from_arrays({key: tensor.detach().numpy() for key, tensor in trained.items()}, m, name)


def spheres(count: int, dimension: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (count, dimension) near the spheres of radius 1 (label 0) and 2 (label 1), half of them each.

    Table 3 of chen2020-lipschitz says "concentrated around"; here the radius is normal, with relative deviation 0.05.
    """
    if count < 2 or dimension < 1:
        raise InputError(f"count, dimension: got {count!r} and {dimension!r}; write at least 2 and 1.")
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    directions = rng.normal(size=(count, dimension))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * ((1 + labels) * (1 + 0.05 * rng.normal(size=count)))[:, None], labels


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
    """Train input -> width -> output: one output and the logistic loss for labels 0 and 1, else one per label."""
    if width < 1 or epochs < 0 or batch_size < 1:
        raise InputError(
            f"width, epochs, batch_size: got {width!r}, {epochs!r}, {batch_size!r}; write positive numbers."
        )
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = torch.tensor(np.asarray(x, float)), torch.tensor(np.asarray(labels))
    classes = int(targets.max()) + 1
    architecture = Architecture.parse(f"FC {width}, FC {1 if classes == 2 else classes}", (1, 1, inputs.shape[1]))
    tensors = architecture.initial(generator, inputs.dtype)
    layers = architecture.operators(tensors)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        scores = logits(layers, inputs[rows])
        if classes == 2:
            return binary_cross_entropy_with_logits(scores[:, 0], targets[rows].double())
        return cross_entropy(scores, targets[rows])

    _adam(tensors, loss, len(inputs), generator, epochs, batch_size, learning_rate)
    return architecture.network(tensors, name)
