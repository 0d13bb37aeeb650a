"""Proven bounds of the margins of one network on one region of any kind, as arrays: what verifiers ask for."""

import numpy as np
import torch

from tightrope.errors import RegionError
from tightrope.names import known_name
from tightrope.networks import FeedForward
from tightrope.propagation import layerwise
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import RELAXATIONS, SAME
from tightrope.propagation.operators import operators
from tightrope.propagation.rounding import allowance, composed
from tightrope.regions import Ball, Region


def proven_margins(network: FeedForward, region: Region, label: int, method: str) -> np.ndarray:
    """Return upper bounds of F_k - F_label over the region for all k, rounding included, (K,).

    Balls of norm 1, 2, infinity are taken as they are, of other norms by their enclosure; zonotopes and ellipsoids as
    balls of their parameters; polytopes by their box. The method is a name of
    :data:`tightrope.propagation.lines.RELAXATIONS`; for L-infinity balls also lp-greedy, lp-last, lp-all
    (:mod:`tightrope.propagation.layerwise`).

    Examples
    --------
    >>> from tightrope.regions import Ball
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 1.5]))
    >>> proven_margins(network, Ball([0.0], 1.0, np.inf), 1, "deepz").round(6)  # |x| - 1.5
    array([-0.5,  0. ])
    """
    method = known_name("method", method, (*RELAXATIONS, *layerwise.METHODS), SAME)
    inputs, network = _question(network, region)
    layers = operators(network)
    if method in layerwise.METHODS:
        if inputs.radius is not None:
            raise RegionError(f"method: {method} is for boxes; give a Ball of norm inf, or crown or deepz.")
        return layerwise.layerwise(layers, inputs, label, method).margins.numpy().copy()
    with torch.no_grad():
        found = bounds(layers, inputs, method, [label])
        margins = found.margins + allowance(layers, inputs, found)
    proven = margins[0].numpy().copy()
    proven[label] = 0.0
    return proven


def composition_error(network: FeedForward, region: Region | InputSet) -> np.ndarray:
    """Return how far each output can be from its value by a network whose compositions are one matrix each, (K,)."""
    inputs, network = (region, network) if isinstance(region, InputSet) else _question(network, region)
    layers = operators(network)
    with torch.no_grad():
        error = composed(layers, inputs, bounds(layers, inputs, "box"))
    return 1.01 * error[0].numpy()


def unstable_neurons(network: FeedForward, region: Ball) -> int:
    """Return the number of hidden neurons of either sign on an L-infinity ball, as far as CROWN can tell."""
    with torch.no_grad():
        found = bounds(operators(network), InputSet.from_balls([region]), "crown")
    return sum(int(((low < 0) & (high > 0)).sum()) for low, high in zip(found.lower, found.upper, strict=True))


def _question(network: FeedForward, region: Region) -> tuple[InputSet, FeedForward]:
    """The region as a batch of one, and the network on it."""
    if region.generators is not None:
        network, region = network.after(region.center, region.generators), region.parameters
    return InputSet.from_balls([region]), network
