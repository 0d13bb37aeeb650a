"""Training of monDEQs.

The recipe is plain: cross-entropy, Adam, mini-batches in a seeded order, a learning rate that falls on a cosine,
the last weights kept. Nothing is chosen by looking at the test split.
"""

from collections.abc import Callable

import torch

from tightrope.datasets import Dataset
from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.networks.torch_modules import implicit_equilibrium
from tightrope.threads import one_torch_thread


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
    """Train a monDEQ on all images of a data set.

    The weights are W = (1 - m) I - A'A + B - B', so that every step of the optimiser leaves I - W strongly monotone
    with the constant m.

    Parameters
    ----------
    dataset : Dataset
    width : int
        p, the number of hidden neurons.
    m : float
        Strong monotonicity constant, positive.
    seed : int
        For the first weights and the order of the images. Same seed, same machine: same weights to the last bit.
    epochs, batch_size : int
    learning_rate : float
        The first one of Adam; it falls to zero on a cosine.
    name : str
        The name of the network.
    progress : callable, optional
        Called with the number of the epoch, from 1, and its mean loss.

    Returns
    -------
    MonDEQ
        In float64, W from the trained factors.
    """
    if width < 1 or epochs < 0 or batch_size < 1 or not m > 0:
        raise InputError(
            f"width={width}, m={m}, epochs={epochs}, batch_size={batch_size}: width and batch_size must be at "
            "least 1, m positive, epochs at least 0."
        )
    generator = torch.Generator().manual_seed(seed)
    x = torch.tensor(dataset.normalisation.to_input(dataset.images))
    y = torch.tensor(dataset.labels)
    p0, classes = x.shape[1], int(y.max()) + 1

    def uniform(size: float, *shape: int) -> torch.Tensor:
        start = size * (2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1)
        return start.requires_grad_()

    # z scales with U / m, so U / m and u / m are trained: the learning rate then means the same for every m.
    # Starting sizes as in torch.nn.Linear.
    A, B = uniform(width**-0.5, width, width), uniform(width**-0.5, width, width)
    U, u = uniform(p0**-0.5, width, p0), uniform(p0**-0.5, width)
    C, c = uniform(width**-0.5, classes, width), uniform(width**-0.5, classes)
    identity = torch.eye(width, dtype=torch.float64)

    optimiser = torch.optim.Adam([A, B, U, u, C, c], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, epochs))
    for epoch in range(1, epochs + 1):
        total = 0.0
        with one_torch_thread():
            for rows in torch.randperm(len(x), generator=generator).split(batch_size):
                W = (1 - m) * identity - A.T @ A + B - B.T
                z = implicit_equilibrium(W, m * (x[rows] @ U.T + u), tolerance=1e-6)
                loss = torch.nn.functional.cross_entropy(z @ C.T + c, y[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                total += float(loss.detach()) * len(rows)
        schedule.step()
        if progress is not None:
            progress(epoch, total / len(x))
    trained = {"A": A, "B": B, "U": m * U, "u": m * u, "C": C, "c": c}
    return MonDEQ.from_arrays({key: tensor.detach().numpy() for key, tensor in trained.items()}, m, name)
