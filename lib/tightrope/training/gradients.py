"""The loss of a batch and its gradient: kernel by kernel, or replayed as one CUDA graph.

An attack of 100 steps on a small network is thousands of kernels of some microseconds each, less than Python takes to
launch them. A CUDA graph launches all of them at once: the same kernels on the same numbers.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tightrope.propagation.inputs import InputSet
from tightrope.training.architectures import Architecture
from tightrope.training.losses import training_loss

if TYPE_CHECKING:
    from tightrope.training.certified import Configuration

#: Training whose kernels are the same for every batch: a graph can be replayed.
CAPTURED = ("natural", "pgd")
# Capturing synchronises the device, which another capture at the same time does not allow.
_CAPTURING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Batch:
    """What the loss of one batch depends on, besides the weights.

    Attributes
    ----------
    x : (N, n)
        Natural images.
    inputs : InputSet
        The regions around them.
    labels : (N,)
    kappa, beta : float, or a tensor without axes
        Weight of the natural loss, and of CROWN-IBP's bounds.
    noise : (N, n), or None
        Numbers in [0, 1], where in its region the attack on each image starts; None without attack, for kappa = 1.
    """

    x: Tensor
    inputs: InputSet
    labels: Tensor
    kappa: float | Tensor
    beta: float | Tensor
    noise: Tensor | None = None


class Gradients:
    """Loss and gradient of batches.

    Parameters
    ----------
    configuration : Configuration
    architecture : Architecture
    tensors : sequence of Tensor
        Weights and biases, layer after layer; their `grad` is set.
    step : float or (n,)
        Of the attack, in network-input units.
    """

    def __init__(self, configuration: "Configuration", architecture: Architecture, tensors: Sequence[Tensor], step):
        self.configuration, self.architecture, self.tensors, self.step = configuration, architecture, tensors, step

    def __call__(self, batch: Batch) -> float:
        """Set the gradients and return the loss, regularisation included."""
        loss, gradients = self._evaluate(batch)
        self._set(gradients)
        return float(loss)

    def _evaluate(self, batch: Batch) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        c = self.configuration
        loss = training_loss(
            self.architecture.operators(self.tensors),
            batch.x,
            batch.inputs,
            batch.labels,
            c.method,
            batch.kappa,
            batch.beta,
            c.elision,
            (c.attack_steps, self.step, batch.noise),
        )
        weights = self.tensors[::2]
        if c.l1:
            loss = loss + c.l1 * sum(weight.abs().sum() for weight in weights)
        if c.l2:
            loss = loss + c.l2 * sum((weight**2).sum() for weight in weights)
        return loss.detach(), torch.autograd.grad(loss, self.tensors, allow_unused=True)

    def _set(self, gradients: Sequence[Tensor | None]) -> None:
        for tensor, gradient in zip(self.tensors, gradients, strict=True):
            tensor.grad = gradient


class CapturedGradients(Gradients):
    """The same on a GPU, for the methods of :data:`CAPTURED`.

    One graph for each size of a batch, with and without attack. The weights must stay where they are: changed in place.
    """

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._graphs: dict[tuple[int, bool], tuple[torch.cuda.CUDAGraph, Batch, Tensor, tuple]] = {}

    def __call__(self, batch: Batch) -> float:
        """Set the gradients and return the loss, regularisation included."""
        kind = (len(batch.labels), batch.noise is not None)
        if kind not in self._graphs:
            self._graphs[kind] = self._capture(batch)
        graph, static, loss, gradients = self._graphs[kind]
        _copy(static, batch)
        graph.replay()
        self._set(gradients)
        return float(loss)

    def _capture(self, batch: Batch) -> tuple[torch.cuda.CUDAGraph, Batch, Tensor, tuple]:
        attacked = batch.noise is not None
        # Without attack kappa is 1 and stays a number: the loss is the natural one alone.
        kappa = torch.tensor(float(batch.kappa), device=batch.x.device) if attacked else 1.0
        inputs = InputSet(batch.inputs.lower.clone(), batch.inputs.upper.clone())
        static = replace(batch, x=batch.x.clone(), inputs=inputs, labels=batch.labels.clone(), kappa=kappa,
                         noise=batch.noise.clone() if attacked else None)  # fmt: skip
        graph = torch.cuda.CUDAGraph()
        with _CAPTURING:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # libraries prepare themselves at the first call, which a graph cannot hold
                self._evaluate(static)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                loss, gradients = self._evaluate(static)
        return graph, static, loss, gradients


def _copy(static: Batch, batch: Batch) -> None:
    """Write a batch over another one, in place."""
    static.inputs.lower.copy_(batch.inputs.lower)
    static.inputs.upper.copy_(batch.inputs.upper)
    for field in fields(Batch):
        target, source = getattr(static, field.name), getattr(batch, field.name)
        if isinstance(target, Tensor):
            target.copy_(source) if isinstance(source, Tensor) else target.fill_(source)


def gradients_of(configuration: "Configuration", architecture: Architecture, tensors: Sequence[Tensor], step):
    """A :class:`Gradients`, as a graph where that is possible."""
    kind = CapturedGradients if tensors[0].is_cuda and configuration.method in CAPTURED else Gradients
    return kind(configuration, architecture, tensors, step)
