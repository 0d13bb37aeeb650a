"""Train two small networks on digits with PyTorch and scikit-learn alone, as a reader may have done elsewhere.

Run it as `python train.py [folder]`: it writes digits-mlp.pt (a state dictionary) and digits-cnn.onnx (which needs the
package onnx), by default beside this file. Both take pixels in [0, 1]; the convolutional one normalises inside. Every
fifth image, from 0, is kept for testing, as in tightrope.datasets.
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn


class Normalize(nn.Module):
    """(pixels - mean) / std."""

    def __init__(self, mean: float, std: float):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise images (N, 1, 8, 8)."""
        return (x - self.mean) / self.std


def mlp() -> nn.Sequential:
    """64-32-10."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def cnn() -> nn.Sequential:
    """Two convolutions, one hidden dense layer."""
    return nn.Sequential(
        Normalize(0.3052, 0.3763),
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 20),
        nn.ReLU(),
        nn.Linear(20, 10),
    )


def images(test: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, 8, 8) and labels (N,) of one split."""
    digits = load_digits()
    chosen = (torch.arange(len(digits.target)) % 5 == 0) == test
    x, y = torch.tensor(digits.images, dtype=torch.float32) / 16, torch.tensor(digits.target)
    return x[chosen][:, None], y[chosen]


def train(module: nn.Module, epochs: int = 60) -> float:
    """Train in place with cross-entropy, Adam and a little noise; return the accuracy on the test images."""
    x, y = images(test=False)
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            noisy = (x[rows] + 0.1 * torch.randn(x[rows].shape)).clamp(0, 1)
            loss = nn.functional.cross_entropy(module(noisy), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    x, y = images(test=True)
    with torch.no_grad():
        return float((module(x).argmax(1) == y).float().mean())


def main(folder: Path) -> None:
    """Train both with seed 0 and write them."""
    torch.set_num_threads(1)
    for make in (mlp, cnn):
        torch.manual_seed(0)
        module = make()
        print(f"{make.__name__}: accuracy {100 * train(module):.1f} %")
        if make is mlp:
            torch.save(module.state_dict(), folder / "digits-mlp.pt")
        else:
            example = torch.zeros(1, 1, 8, 8)
            torch.onnx.export(module.eval(), (example,), str(folder / "digits-cnn.onnx"), dynamo=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
