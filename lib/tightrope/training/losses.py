"""Losses of one batch: natural, adversarial, and by bounds."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tightrope.propagation.bounds import bounds, hybrid_margins
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import RELAXATIONS
from tightrope.propagation.operators import Affine
from tightrope.training.programs import PROGRAMS, program_margins

#: What a network can be trained with: nothing, attacks, a relaxation, CROWN-IBP's mixture, a linear program.
METHODS = ("natural", "pgd", *RELAXATIONS, "crown_ibp_hybrid", *PROGRAMS)
#: The relaxation that certifies what a method trained.
CERTIFIER = {**{name: name for name in (*RELAXATIONS, *PROGRAMS)}, "crown_ibp_hybrid": "box"}


def logits(layers: Sequence[Affine], x: Tensor) -> Tensor:
    """F(x), (N, K)."""
    for layer in layers[:-1]:
        x = torch.relu(layer.linear(x) + layer.bias)
    return layers[-1].linear(x) + layers[-1].bias


def robust_margins(
    layers: Sequence[Affine], inputs: InputSet, labels: Tensor, method: str, elision: bool, beta: float
) -> Tensor:
    """Upper bounds of F_k - F_label (N, K), the label's 0: logits of the worst case, up to a constant."""
    if method in PROGRAMS:
        return program_margins(layers, inputs, labels, method)
    if method != "crown_ibp_hybrid":
        return bounds(layers, inputs, method, labels, elision=elision).margins
    box = bounds(layers, inputs, "box", labels, elision=elision)
    if beta == 0:
        return box.margins
    tight = bounds(layers, inputs, "crown_ibp", labels, elision=elision, hidden=(box.lower, box.upper))
    return hybrid_margins(tight.margins, box.margins, beta)


def adversarial(
    layers: Sequence[Affine], inputs: InputSet, labels: Tensor, steps: int, step: float, generator: torch.Generator
) -> Tensor:
    """Points (N, n) of the boxes that raise the cross-entropy: a random start and signed gradient steps."""
    width = inputs.upper - inputs.lower
    x = inputs.lower + width * torch.rand(width.shape, generator=generator, dtype=torch.float64).to(width)
    for _ in range(steps):
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(cross_entropy(logits(layers, x), labels, reduction="sum"), x)
        x = torch.minimum(torch.maximum(x + step * gradient.sign(), inputs.lower), inputs.upper)
    return x.detach()


def training_loss(
    layers: Sequence[Affine],
    x: Tensor,
    inputs: InputSet,
    labels: Tensor,
    method: str,
    kappa: float,
    beta: float = 0.0,
    elision: bool = True,
    attack: tuple[int, float, torch.Generator] | None = None,
) -> Tensor:
    """kappa times the natural cross-entropy plus 1 - kappa times that of the worst case of the method.
    x is (N, n) in the regions `inputs`, with labels (N,); `attack` is (steps, length, generator) for "pgd".
    """
    natural = cross_entropy(logits(layers, x), labels)
    if kappa == 1 or method == "natural":
        return natural
    if method == "pgd" and attack is not None:
        worst = logits(layers, adversarial(layers, inputs, labels, *attack))
    else:
        worst = robust_margins(layers, inputs, labels, method, elision, beta)
    return kappa * natural + (1 - kappa) * cross_entropy(worst, labels)
