"""How far float64 bounds can be off by rounding, and so what to add before a bound is a proof.

A bound of back-substitution is a sum of products along all paths from the output to the inputs. Replacing every number
by its absolute value, and every slope (at most 1) by 1, gives the size S of what is summed; a computation with sums of
at most k terms, one after the other, is off by less than 2 k u S, with u = 2^-53 and k the number of all operations
along a path (Higham, Accuracy and stability of numerical algorithms, section 3.1); the rounding of the lines themselves
is counted in k. Hidden bounds that are off by e make lines that miss a value by at most e, which the layers above
enlarge by at most |W|: so the error of layer i is E_i = |W_i| E_{i-1} + 2 k u S_i.

The allowance is pessimistic, and still small beside any margin: 1e-9 to 1e-7 for the networks here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tightrope.networks import FeedForward
from tightrope.propagation.bounds import Bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.operators import Affine, operators

#: Operations for one neuron besides its scalar product: slope, intercept, bias, products with them.
PER_NEURON = 12


def allowance(network: FeedForward | Sequence[Affine], inputs: InputSet, bounds: Bounds) -> Tensor:
    """Return what to add to the margins (N, K) of :func:`tightrope.propagation.bounds.bounds`, (N, 1).

    The margins plus the allowance are at least what exact arithmetic would give for the same relaxation of the same
    regions; the regions are the float64 boxes and balls as they are.
    """
    dtype = inputs.lower.dtype
    with torch.no_grad():
        layers = operators(network, dtype, inputs.lower.device.type)
        unit = torch.finfo(dtype).eps / 2
        size = torch.maximum(inputs.lower.abs(), inputs.upper.abs())
        error = torch.zeros_like(size)
        operations = 0
        for i, layer in enumerate(layers):
            operations += layer.inputs + PER_NEURON
            value = layer.absolute(size) + layer.bias.abs()
            error = layer.absolute(error) + 2 * operations * unit * value
            if i == len(layers) - 1:
                break
            # slope times preactivation, and an intercept of at most the larger bound
            size = value + torch.maximum(bounds.lower[i].abs(), bounds.upper[i].abs())
        # A margin is the difference of two rows; the sums above are rounded themselves.
        return 2.01 * error.max(1, keepdim=True).values
