"""The networks as PyTorch modules, with the derivative of an equilibrium by the implicit function theorem."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import scipy.sparse
import torch
from torch import nn

from tightrope.errors import NetworkError
from tightrope.networks import activations
from tightrope.networks.activations import Activation
from tightrope.networks.feedforward import FeedForward
from tightrope.networks.layers import Composition, Convolution, Dense, Layer, Scaling, Sparse
from tightrope.networks.mondeq import MonDEQ
from tightrope.networks.splitting import peaceman_rachford


class _ImplicitGradient(torch.autograd.Function):
    """Identity whose backward pass turns dLoss/dz at an equilibrium into what one recorded layer needs.

    The forward pass found z = ReLU(h), h = W z + b, without recording how. Evaluating ReLU(W z + b) again,
    with z held fixed, gives autograd D (dW z + db) only; through the equilibrium it is
    dz = (I - D W)^-1 D (dW z + db). So the incoming g becomes y = (I - W'D)^-1 g, and the recorded layer
    multiplies it with D, z and the input.
    """

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, W: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(W, active)
        return z.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        W, active = ctx.saved_tensors
        # (I - W'D) y = g for each row: W'D scales the columns of W' by the row's activations.
        system = torch.eye(len(W), dtype=W.dtype, device=W.device) - W.T * active.to(W.dtype).unsqueeze(1)
        return torch.linalg.solve(system, g.unsqueeze(-1)).squeeze(-1), None, None


def implicit_equilibrium(
    W: torch.Tensor, b: torch.Tensor, *, step: float | None = None, tolerance: float = 1e-10
) -> torch.Tensor:
    """Return z = ReLU(W z + b) (N, p) for rows b (N, p), b = U x + u, differentiable in W (p, p) and b.

    I - W is strongly monotone; the step of the Peaceman-Rachford iteration is 1 / ||I - W|| if left out; the tolerance
    is that of :meth:`tightrope.networks.MonDEQ.equilibrium`.
    """
    with torch.no_grad():
        identity = torch.eye(len(W), dtype=W.dtype, device=W.device)
        G = identity - W
        step = step or 1.0 / float(torch.linalg.matrix_norm(G, 2))
        V = torch.linalg.inv(identity + step * G)
        fixed = peaceman_rachford(G, V, step, b.detach(), torch.relu, torch.zeros_like(b), tolerance, 1_000)
    h = fixed @ W.T + b
    return _ImplicitGradient.apply(torch.relu(h), W.detach(), h.detach() > 0)


class MonDEQModule(nn.Module):
    """A :class:`MonDEQ` as a module: inputs (N, ...) with p0 entries a row -> logits (N, K), in float64.

    Differentiable once in the input and in the parameters W, U, u, C, c. Gradient steps on W would leave the
    monotone set; :mod:`tightrope.training` parametrises W by factors instead.
    """

    def __init__(self, network: MonDEQ) -> None:
        super().__init__()
        self.W, self.U, self.u = (nn.Parameter(torch.tensor(array)) for array in (network.W, network.U, network.u))
        self.C, self.c = (nn.Parameter(torch.tensor(array)) for array in (network.C, network.c))
        self.step = network.peaceman_rachford_step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, K); x is flattened row by row and converted to the parameters' type."""
        rows = x.flatten(1).to(self.W.dtype)
        z = implicit_equilibrium(self.W, rows @ self.U.T + self.u, step=self.step)
        return z @ self.C.T + self.c


def to_module(network: MonDEQ | FeedForward) -> nn.Module:
    """Return the network as a float64 PyTorch module from inputs to logits."""
    if isinstance(network, MonDEQ):
        return MonDEQModule(network)
    if not isinstance(network, FeedForward):
        raise NetworkError(f"network is a {type(network).__name__}; give a MonDEQ or a FeedForward.")
    modules: list[nn.Module] = [nn.Flatten(), *affine_modules(network.layers[0])]
    for activation, layer in zip(network.activations, network.layers[1:], strict=True):
        modules += [*activation_modules(activation), *affine_modules(layer)]
    return nn.Sequential(*modules)


class _Arctan(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.atan(x)


class _Step(nn.Module):
    """The step with the derivative of the sigmoid, so that a gradient leads somewhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        smooth = torch.sigmoid(x)
        return (x > 0).to(x) + (smooth - smooth.detach())


_SMOOTH: Mapping[type[Activation], type[nn.Module]] = {
    activations.ReLU: nn.ReLU,
    activations.Sigmoid: nn.Sigmoid,
    activations.Tanh: nn.Tanh,
    activations.Arctan: _Arctan,
    activations.Step: _Step,
}


def activation_modules(activation: Activation) -> list[nn.Module]:
    """Return modules that map rows (N, n) to (N, m) as the activation does, differentiable."""
    if isinstance(activation, activations.LeakyReLU):
        return [nn.LeakyReLU(activation.slope)]
    if isinstance(activation, activations.ELU):
        return [nn.ELU(activation.alpha)]
    if isinstance(activation, activations.MaxPool):
        pool = nn.MaxPool2d(activation.kernel, activation.stride, activation.padding)
        return [nn.Unflatten(1, activation.input_shape), pool, nn.Flatten()]
    return [_SMOOTH[type(activation)]()]


class Scale(nn.Module):
    """``y_j = scale_j x_j + shift_j`` for rows (N, n), differentiable in both."""

    def __init__(self, scale: np.ndarray, shift: np.ndarray) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(scale)), nn.Parameter(torch.tensor(shift))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rows scaled and shifted."""
        return x * self.scale + self.shift


class SparseRows(nn.Module):
    """``y = W x + b`` for rows (N, n), differentiable in x."""

    def __init__(self, layer: Sparse) -> None:
        super().__init__()
        W, b = layer.sparse()
        rows, columns, values = (torch.tensor(array) for array in scipy.sparse.find(W))
        places = torch.stack([rows, columns]).long()
        self.register_buffer("W", torch.sparse_coo_tensor(places, values, W.shape, check_invariants=True))
        self.register_buffer("b", torch.tensor(b))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rows mapped."""
        return torch.sparse.mm(cast(torch.Tensor, self.W), x.T).T + self.b


def affine_modules(layer: Layer) -> list[nn.Module]:
    """Return float64 modules that map rows (N, n_in) to (N, n_out) as the layer does."""
    if isinstance(layer, Composition):
        return [module for part in layer.layers for module in affine_modules(part)]
    if isinstance(layer, Scaling):
        return [Scale(layer.scale, layer.shift)]
    if isinstance(layer, Dense):
        return [_filled(nn.Linear(layer.input_size, layer.output_size, dtype=torch.float64), layer)]
    if isinstance(layer, Sparse):
        return [SparseRows(layer)]
    out, channels, *kernel = layer.weight.shape
    convolution = nn.Conv2d(
        channels, out, tuple(kernel), stride=layer.stride, padding=layer.padding, dtype=torch.float64
    )
    return [nn.Unflatten(1, layer.input_shape), _filled(convolution, layer), nn.Flatten()]


def _filled(module: nn.Linear | nn.Conv2d, layer: Dense | Convolution) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(torch.tensor(layer.weight))
        cast(torch.Tensor, module.bias).copy_(torch.tensor(layer.bias))
    return module
