"""Networks as frozen arrays with a forward pass; as PyTorch modules on request."""

from typing import Any

from tightrope.networks.activations import ELU, Activation, Arctan, LeakyReLU, MaxPool, ReLU, Sigmoid, Step, Tanh
from tightrope.networks.feedforward import FeedForward
from tightrope.networks.layers import Composition, Convolution, Dense, Layer, Scaling, Sparse
from tightrope.networks.loading import load
from tightrope.networks.mondeq import MonDEQ

__all__ = [
    "ELU",
    "Activation",
    "Arctan",
    "Composition",
    "Convolution",
    "Dense",
    "FeedForward",
    "Layer",
    "LeakyReLU",
    "MaxPool",
    "MonDEQ",
    "MonDEQModule",
    "ReLU",
    "Scaling",
    "Sigmoid",
    "Sparse",
    "Step",
    "Tanh",
    "implicit_equilibrium",
    "load",
    "to_module",
]
_NEED_TORCH = ("MonDEQModule", "implicit_equilibrium", "to_module")


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import and most commands do not need it.
    if name in _NEED_TORCH:
        from tightrope.networks import torch_modules

        return getattr(torch_modules, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
