"""Training of the small networks that the repository ships: `tightrope train-zoo`.

The recipe is plain: cross-entropy, Adam, mini-batches in a seeded order, a learning rate that falls on a cosine,
the last weights kept. Nothing is chosen by looking at the test split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tightrope import datasets, paths
from tightrope.datasets import Dataset
from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.networks.torch_modules import implicit_equilibrium
from tightrope.threads import one_torch_thread


@dataclass(frozen=True)
class Recipe:
    """How one network of the zoo is trained.

    Attributes
    ----------
    name : str
        Its name in the zoo, ``<data set>/<network>``.
    width : int
        p, the number of hidden neurons.
    m : float
        Strong monotonicity constant.
    seed, epochs : int
    """

    name: str
    width: int
    m: float
    seed: int = 0
    epochs: int = 40

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.name.split("/")[0]


RECIPES = (
    Recipe("digits/mondeq-16", width=16, m=20.0),
    Recipe("digits/mondeq-32", width=32, m=1.0),
)


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
        Of the first weights and of the order of the images. Same seed, same machine: same weights to the last bit.
    epochs, batch_size : int
    learning_rate : float
        Of Adam; it falls to zero on a cosine.
    name : str
        Of the network.
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
    A, B, U, u, C, c = (tensor.detach().numpy() for tensor in (A, B, U, u, C, c))
    return MonDEQ.from_factors(A, B, m * U, m * u, C, c, m, name)


def accuracy(network, dataset: Dataset) -> float:
    """Return the share of images, from 0 to 1, that the network labels rightly."""
    predicted = network.predict(dataset.normalisation.to_input(dataset.images))
    return float(np.mean(predicted == dataset.labels))


def train_zoo(folder: Path | None = None, recipes: tuple[Recipe, ...] = RECIPES) -> list[Path]:
    """Train the networks of the zoo and write ``<folder>/<data set>/<network>.npz`` and ``<folder>/README.md``.

    Parameters
    ----------
    folder : Path, optional
        data/models of the repository if left out.
    recipes : tuple of Recipe

    Returns
    -------
    list of the files written
    """
    folder = paths.MODELS if folder is None else Path(folder)
    written, lines = [], []
    for recipe in recipes:
        train, test = (datasets.load(recipe.dataset, split) for split in ("train", "test"))
        network = train_mondeq(train, recipe.width, recipe.m, recipe.seed, epochs=recipe.epochs, name=recipe.name)
        file = folder / f"{recipe.name}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        network.to_npz(file)
        written.append(file)
        lines.append(
            f"| `{recipe.name}` | {network.input_size} -> {recipe.width} -> {network.classes} | {recipe.m:g} "
            f"| {recipe.seed} | {recipe.epochs} | {100 * accuracy(network, train):.1f} % "
            f"| {100 * accuracy(network, test):.1f} % | `{network.sha256()[:16]}` |"
        )
    (folder / "README.md").write_text(_README + "\n".join(lines) + "\n", encoding="utf-8")
    return [*written, folder / "README.md"]


_README = """# Networks trained for this project

Small monDEQs, `z = ReLU(W z + U x + u)`, `F(x) = C z + c`, for examples, tests and the quick profile. Each .npz file
holds W, U, u, C, c and m in float64; the name in the zoo is the path without its ending. Images are flattened row by
row and normalised as `tightrope.datasets` says.

`tightrope train-zoo` trains them again and writes this folder (less than a minute on one core). The recipe is
`tightrope.training`: cross-entropy, Adam, no augmentation, no robust training, last weights kept; the test split is
used for the accuracy below only. The same seed gives the same weights on the same machine and library versions;
elsewhere rounding may differ, and with it the hash (SHA-256 of weights and m, first 16 digits).

| name | sizes | m | seed | epochs | train accuracy | test accuracy | hash |
|---|---|---|---|---|---|---|---|
"""
