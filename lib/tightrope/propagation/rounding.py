"""How far float64 bounds can be off by rounding, and so what to add before a bound is a proof.

A bound of back-substitution is a sum of products along all paths from the output to the inputs. Replacing every number
by its absolute value, and every slope (at most 1) by 1, gives the size S of what is summed; a computation with sums of
at most k terms, one after the other, is off by less than 2 k u S, with u = 2^-53 and k the number of all operations
along a path (Higham, Accuracy and stability of numerical algorithms, section 3.1); the rounding of the lines themselves
is counted in k. Hidden bounds that are off by e make lines that miss a value by at most e, which the layers above
enlarge by at most |W|: so the error of layer i is E_i = |W_i| E_{i-1} + 2 k u S_i.

A layer that stands for several, W = W_2 W_1, has entries that are rounded sums themselves: the network that is bounded
is not quite the one that was given. :func:`composed` bounds how far their outputs are apart.

A product below the smallest normal number loses up to 2^-1075 = u TINY, whatever its size. Where it is a coefficient of
a form, what it loses is multiplied by the value z that it belongs to, and by none of the weights above: so each layer's
error also has 2 k u TINY (1 + |z_0|_1 + ... + |z_{i-1}|_1), the sum over all values below.

Other nonlinearities than ReLU count with the largest slope of their lines and the intercepts that it can need. Their
hidden bounds are moved apart as they are made (:func:`tightrope.propagation.bounds.hidden_bounds`), so that no value is
off a line, and what remains is each layer's own sum.

The allowance is pessimistic, and still small beside any margin: 1e-9 to 1e-7 for the networks here.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from tightrope.networks import FeedForward
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import carried, image, reached
from tightrope.propagation.operators import Affine, operators

#: Operations for one neuron besides its scalar product: slope, intercept, bias, products with them.
PER_NEURON = 12
#: The smallest normal number. Unit roundoff times this is what a product loses by underflow.
TINY = torch.finfo(torch.float64).tiny


class _Ends(Protocol):
    """What has bounds (N, n_i) of the preactivations of each hidden layer."""

    @property
    def lower(self) -> Sequence[Tensor]: ...

    @property
    def upper(self) -> Sequence[Tensor]: ...


def allowance(network: FeedForward | Sequence[Affine], inputs: InputSet, bounds: _Ends) -> Tensor:
    """Return what to add to the margins (N, K) of :func:`tightrope.propagation.bounds.bounds`, (N, 1).

    The margins plus the allowance are at least what exact arithmetic would give for the same relaxation of the same
    regions; the regions are the float64 boxes and balls as they are.
    """
    dtype = inputs.lower.dtype
    with torch.no_grad():
        layers = operators(network, dtype, inputs.lower.device.type)
        unit = torch.finfo(dtype).eps / 2
        size = torch.maximum(inputs.lower.abs(), inputs.upper.abs()) + TINY
        error = torch.zeros_like(size)
        operations, below = 0, torch.ones_like(size[:, :1])
        for i, layer in enumerate(layers):
            operations += layer.inputs + PER_NEURON
            below = below + size.sum(1, keepdim=True)
            value = layer.absolute(size) + layer.bias.abs() + TINY * below
            error = layer.absolute(error) + 2 * operations * unit * value
            if i == len(layers) - 1:
                break
            operations += pooled(layer)
            # slope times preactivation, and an intercept of at most the larger bound
            one, low, high = layer.activation, bounds.lower[i], bounds.upper[i]
            size = carried(one, value, low, high) + reached(one, low, high)
            error = carried(one, error, low, high)
        # A margin is the difference of two rows; the sums above are rounded themselves.
        error = error + composed(layers, inputs, bounds)
        return 2.01 * error.max(1, keepdim=True).values


def pooled(layer: Affine) -> int:
    """How many more terms a sum over a layer's outputs has below max pooling than the layer above has inputs."""
    return 0 if layer.activation.windows is None else layer.outputs


def composed(layers: Sequence[Affine], inputs: InputSet, bounds: _Ends) -> Tensor:
    """How far the outputs (N, K) can be from those of the layers that some of these were multiplied from.

    ReLU brings values no further apart, so each layer's own error, 2 k u |W_2| |W_1| |z|, goes through the absolute
    values of the layers above.
    """
    size = torch.maximum(inputs.lower.abs(), inputs.upper.abs())
    if not any(layer.parts for layer in layers):
        return size.new_zeros(len(size), layers[-1].outputs)
    error = torch.zeros_like(size)
    for i, layer in enumerate(layers):
        error = layer.absolute(error)
        if layer.parts:
            value, lost = size, TINY * (1 + size.sum(1, keepdim=True))
            for part in layer.parts:
                value = part.absolute(value) + part.bias.abs() + lost
            operations = sum(part.inputs for part in layer.parts) + PER_NEURON
            error = error + 2 * operations * (torch.finfo(size.dtype).eps / 2) * value
        if i < len(layers) - 1:
            one, low, high = layer.activation, bounds.lower[i], bounds.upper[i]
            least, most = image(one, low, high)
            error = carried(one, error, low, high)
            size = torch.maximum(least.abs(), most) + error
    return error
