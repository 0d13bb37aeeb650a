"""Certified training: one configuration, one loop, checkpoints that resume to the same weights.

Everything that decides the outcome is in :class:`Configuration`. Random numbers come from the seed, the epoch and the
batch only, so a run that was interrupted after an epoch continues as if it had not been.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tightrope.datasets import Dataset, Normalisation
from tightrope.errors import CorruptDataError, InputError, TrainingError, UnknownNameError
from tightrope.files import replaced
from tightrope.networks import FeedForward
from tightrope.propagation.inputs import InputSet
from tightrope.threads import one_torch_thread
from tightrope.training.architectures import Architecture
from tightrope.training.losses import METHODS, training_loss
from tightrope.training.schedules import Schedule


@dataclass(frozen=True)
class Configuration:
    """Everything that decides the weights, besides the data.

    The architecture is what :meth:`Architecture.parse` reads, the method one of
    :data:`tightrope.training.losses.METHODS`. `l1` and `l2` weigh the sums of absolute and of squared weights, biases
    not counted; `elision` says whether margins are bounded with the last layer merged; "pgd" makes `attack_steps` of
    length `attack_step`, in pixel units; `clip` cuts regions to the pixel range; `augment` mirrors images at random and
    moves them by up to 4 pixels.
    """

    architecture: str
    method: str
    schedule: Schedule
    batch_size: int = 100
    l1: float = 0.0
    l2: float = 0.0
    elision: bool = True
    attack_steps: int = 100
    attack_step: float = 0.01
    clip: bool = True
    augment: bool = False
    seed: int = 10

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownNameError("training method", self.method, METHODS)
        if self.batch_size < 1 or self.attack_steps < 0 or min(self.l1, self.l2, self.attack_step) < 0:
            raise InputError(
                f"batch_size={self.batch_size}, attack_steps={self.attack_steps}, attack_step={self.attack_step}, "
                f"l1={self.l1}, l2={self.l2}: batch_size must be at least 1, the others not negative."
            )

    def sha256(self) -> str:
        """Return the SHA-256 of all values, as hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network (for normalised input), and the mean loss of each epoch, regularisation included."""

    network: FeedForward
    configuration: Configuration
    losses: tuple[float, ...]


def train(
    configuration: Configuration,
    data: Dataset,
    *,
    checkpoint: Path | None = None,
    until: int | None = None,
    progress: Callable[[int, float], None] | None = None,
    device: str | None = None,
    name: str = "",
) -> Trained:
    """Train a network on the images of a data set; TrainingError if a loss is no number.

    The file `checkpoint` is written after each epoch, and an interrupted run continues from it (CorruptDataError if it
    is another configuration's); `until` stops after this many epochs (with a checkpoint: for now). `progress` is called
    with the number of the epoch, from 1, and its mean loss. The `device` is "cpu" or "cuda", the GPU if there is one;
    results are the same to the last bit on one device and version only.
    """
    schedule, normalisation = configuration.schedule, data.normalisation
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    channels, height, width = (1, *data.shape) if len(data.shape) == 2 else data.shape
    architecture = Architecture.parse(configuration.architecture, (channels, height, width))
    start = torch.Generator().manual_seed(configuration.seed)
    tensors = [t.to(device).requires_grad_() for t in architecture.initial(start)]
    optimiser = torch.optim.Adam(tensors, lr=schedule.learning_rate)
    losses = _resume(checkpoint, configuration, tensors, optimiser)
    images = torch.tensor(data.images, dtype=torch.float32, device=device)
    x = torch.tensor(normalisation.to_input(data.images), dtype=torch.float32, device=device)
    labels = torch.tensor(data.labels, device=device)
    step = _tensor(normalisation.steps_to_input(configuration.attack_step, x.shape[1]), x)
    last = schedule.epochs if until is None else min(until, schedule.epochs)

    def one_pass(epoch: int) -> float:
        """One pass over the images; the mean loss."""
        seed = hashlib.sha256(f"{configuration.seed}/{epoch}".encode()).digest()  # far from those of other epochs
        generator = torch.Generator().manual_seed(int.from_bytes(seed[:7], "big"))
        for group in optimiser.param_groups:
            group["lr"] = schedule.learning_rate_at(epoch)
        total, weights = 0.0, tensors[::2]
        batches = torch.randperm(len(x), generator=generator).split(configuration.batch_size)
        for number, rows in enumerate(batches):
            rows = rows.to(x.device)
            now = epoch + number / len(batches)
            pixels, natural = images[rows], x[rows]
            if configuration.augment:
                pixels = augmented(pixels, architecture.input_shape, generator)
                natural = boxes(pixels, 0.0, normalisation).lower
            inputs = boxes(pixels, schedule.epsilon_at(now), normalisation, configuration.clip)
            attack = (configuration.attack_steps, step, generator)
            asked = (configuration.method, schedule.kappa_at(now), schedule.beta_at(now), configuration.elision, attack)
            loss = training_loss(architecture.operators(tensors), natural, inputs, labels[rows], *asked)
            if configuration.l1:
                loss = loss + configuration.l1 * sum(weight.abs().sum() for weight in weights)
            if configuration.l2:
                loss = loss + configuration.l2 * sum((weight**2).sum() for weight in weights)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise TrainingError(
                    f"loss is {value} at epoch {epoch}, batch {number} of {len(batches)} (epsilon "
                    f"{schedule.epsilon_at(now):.4g}, kappa {schedule.kappa_at(now):.4g}): lower the learning rate or "
                    f"lengthen the ramp-up. {configuration}"
                )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += value * len(rows)
        return total / len(x)

    with one_torch_thread():
        for epoch in range(len(losses), last):
            losses.append(loss := one_pass(epoch))
            if checkpoint is not None:
                state = {"tensors": [t.detach().cpu() for t in tensors], "optimiser": optimiser.state_dict()}
                with replaced(Path(checkpoint)) as partial:  # a killed run leaves the old file or the new one
                    torch.save({"configuration": configuration.sha256(), **state, "losses": losses}, partial)
            if progress is not None:
                progress(epoch + 1, loss)
    return Trained(architecture.network(tensors, name), configuration, tuple(losses))


def boxes(pixels: torch.Tensor, epsilon_pixel: float, normalisation: Normalisation, clip: bool = True) -> InputSet:
    """L-infinity boxes around rows of pixels, in network-input units."""
    lower, upper = pixels - epsilon_pixel, pixels + epsilon_pixel
    if clip:
        lower, upper = lower.clamp(min=0), upper.clamp(max=1)
    mean, std = (_tensor(value, pixels) for value in normalisation.of(pixels.shape[-1]))
    return InputSet((lower - mean) / std, (upper - mean) / std)


def augmented(pixels: torch.Tensor, shape: tuple[int, int, int], generator: torch.Generator) -> torch.Tensor:
    """Images (N, p0) mirrored with probability 1/2 and moved by up to 4 pixels, with black where nothing was."""
    images = torch.nn.functional.pad(pixels.reshape(-1, *shape), (4, 4, 4, 4))
    _, height, width = shape
    moves = torch.randint(0, 9, (len(images), 2), generator=generator).tolist()
    mirrored = (torch.rand(len(images), generator=generator) < 0.5).tolist()
    parts = [image[:, i : i + height, j : j + width] for image, (i, j) in zip(images, moves, strict=True)]
    parts = [part.flip(2) if flip else part for part, flip in zip(parts, mirrored, strict=True)]
    return torch.stack(parts).flatten(1)


def _tensor(value: float | np.ndarray, like: torch.Tensor) -> Any:
    """Numbers as they are, arrays as tensors of the same kind as another one."""
    return value if isinstance(value, float) else torch.tensor(value, dtype=like.dtype, device=like.device)


def _resume(
    checkpoint: Path | None, configuration: Configuration, tensors: list[torch.Tensor], optimiser: torch.optim.Optimizer
) -> list[float]:
    if checkpoint is None or not Path(checkpoint).is_file():
        return []
    content = torch.load(checkpoint, map_location=tensors[0].device, weights_only=True)
    if content["configuration"] != configuration.sha256():
        raise CorruptDataError(
            f"{checkpoint} belongs to another configuration; give each configuration a file of its own."
        )
    with torch.no_grad():
        for tensor, saved in zip(tensors, content["tensors"], strict=True):
            tensor.copy_(saved)
    optimiser.load_state_dict(content["optimiser"])
    return list(content["losses"])
