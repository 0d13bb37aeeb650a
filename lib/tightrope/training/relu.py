"""Small ReLU networks with one hidden layer: a classifier of two spheres (chen2020-lipschitz, Table 3), one of digits.

`python -m tightrope.training.relu` trains them again and writes them to data/models.
"""

from pathlib import Path

import numpy as np
import torch

from tightrope import datasets, paths
from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.threads import one_torch_thread

SPHERES = {"spheres/relu-80": 80, "spheres/relu-10": 10}  # dimension and width
DIGITS = "digits/relu-16"
README = """# Classifiers of one hidden layer

Dense ReLU networks for the results of chen2020-lipschitz: keys W1, b1, W2, b2 in float64. The points are near the
spheres of radius 1 (negative output) and 2 (positive output), half of 20,000 each, seed 0; accuracy is that of 10,000
others. Digits are normalised as `tightrope.datasets` says. `python -m tightrope.training.relu` trains all three again;
elsewhere rounding may differ, and with it the hash (SHA-256 of the weights, first 16 digits).

| name | sizes | test accuracy | hash |
|---|---|---|---|
"""


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

    def uniform(fan_in: int, *shape: int) -> torch.Tensor:
        return (fan_in**-0.5 * (2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1)).requires_grad_()

    p0 = inputs.shape[1]
    A, b, C, k = uniform(p0, width, p0), uniform(p0, width), uniform(width, outputs, width), uniform(width, outputs)
    optimiser = torch.optim.Adam([A, b, C, k], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, epochs))
    for _ in range(epochs):
        with one_torch_thread():
            for rows in torch.randperm(len(inputs), generator=generator).split(batch_size):
                logits = torch.relu(inputs[rows] @ A.T + b) @ C.T + k
                if outputs == 1:
                    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets[rows].double())
                else:
                    loss = torch.nn.functional.cross_entropy(logits, targets[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        schedule.step()
    A, b, C, k = (tensor.detach().numpy() for tensor in (A, b, C, k))
    return FeedForward.dense([A, C], [b, k], name)


def train_shipped(folder: Path | None = None) -> list[tuple[Path, float]]:
    """Train these networks, write them, and return their files and test accuracies."""
    folder = paths.MODELS if folder is None else Path(folder)
    found = []
    for name, size in SPHERES.items():
        x, labels = spheres(20_000, size, seed=0)
        network = train_relu(x, labels, size, seed=0, name=name)
        unseen, truth = spheres(10_000, size, seed=1)
        found.append((network, float(np.mean((network.logits(unseen)[:, 0] > 0) == truth))))
    train, test = datasets.load("digits", "train"), datasets.load("digits", "test")
    x = train.normalisation.to_input(train.images)
    network = train_relu(x, train.labels, 16, seed=0, epochs=40, batch_size=64, learning_rate=1e-2, name=DIGITS)
    predicted = network.predict(test.normalisation.to_input(test.images))
    found.append((network, float(np.mean(predicted == test.labels))))
    written, lines = [], []
    for network, accuracy in found:
        file = folder / f"{network.name}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        network.to_npz(file)
        written.append((file, accuracy))
        sizes = " -> ".join(map(str, network.sizes))
        lines.append(f"| `{network.name}` | {sizes} | {100 * accuracy:.2f} % | `{network.sha256()[:16]}` |")
    (folder / "spheres" / "README.md").write_text(README + "\n".join(lines) + "\n", encoding="utf-8")
    return written


if __name__ == "__main__":
    for file, accuracy in train_shipped():
        print(f"{file}: test accuracy {100 * accuracy:.2f} %")
