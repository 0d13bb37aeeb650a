"""Training of monDEQs.

The recipe is plain: cross-entropy, Adam, mini-batches in a seeded order, a learning rate that falls on a cosine,
the last weights kept. Nothing is chosen by looking at the test split.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from tightrope.datasets import Dataset
from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.networks.torch_modules import implicit_equilibrium
from tightrope.threads import one_torch_thread


def uniform_start(generator: torch.Generator, size: float, *shape: int) -> torch.Tensor:
    """Random weights between -size and size, in float64, to be trained."""
    return (size * (2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1)).requires_grad_()


def adam(
    tensors: Sequence[torch.Tensor],
    loss: Callable[[torch.Tensor], torch.Tensor],
    count: int,
    generator: torch.Generator,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Minimise loss(rows), in place, over mini-batches of `count` rows; the learning rate falls on a cosine."""
    optimiser = torch.optim.Adam(tensors, lr=learning_rate)
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
    batch_size: int = 64,
    learning_rate: float = 1e-2,
    name: str = "",
    progress: Callable[[int, float], None] | None = None,
) -> MonDEQ:
    """Train a monDEQ with `width` hidden neurons on all images of a data set; W comes from the trained factors.

    The weights are W = (1 - m) I - A'A + B - B', so that every step of the optimiser leaves I - W strongly monotone
    with the constant m > 0. The seed is for the first weights and the order of the images: same seed, same machine,
    same weights to the last bit. The learning rate, Adam's, falls to zero on a cosine; `progress` is called with the
    number of the epoch, from 1, and its mean loss.
    """
    if width < 1 or epochs < 0 or batch_size < 1 or not m > 0:
        raise InputError(
            f"width={width}, m={m}, epochs={epochs}, batch_size={batch_size}: width and batch_size must be at "
            "least 1, m positive, epochs at least 0."
        )
    generator = torch.Generator().manual_seed(seed)
    x = torch.tensor(dataset.normalisation.to_input(dataset.images))
    x, y = torch.tensor(dataset.normalisation.to_input(dataset.images)), torch.tensor(dataset.labels)
    p0, classes = x.shape[1], int(y.max()) + 1
    uniform = partial(uniform_start, generator)

    # z scales with U / m, so U / m and u / m are trained: the learning rate then means the same for every m.
    # Starting sizes as in torch.nn.Linear.
    A, B = uniform(width**-0.5, width, width), uniform(width**-0.5, width, width)
    U, u = uniform(p0**-0.5, width, p0), uniform(p0**-0.5, width)
    C, c = uniform(width**-0.5, classes, width), uniform(width**-0.5, classes)
    identity = torch.eye(width, dtype=torch.float64)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        W = (1 - m) * identity - A.T @ A + B - B.T
        z = implicit_equilibrium(W, m * (x[rows] @ U.T + u), tolerance=1e-6)
        return torch.nn.functional.cross_entropy(z @ C.T + c, y[rows])

    adam([A, B, U, u, C, c], loss, len(x), generator, epochs, batch_size, learning_rate, progress)
    trained = {"A": A, "B": B, "U": m * U, "u": m * u, "C": C, "c": c}
    return MonDEQ.from_arrays({key: tensor.detach().numpy() for key, tensor in trained.items()}, m, name)
