"""The relaxations of `propagation` in the forms of other papers, as oracles: zonotopes, DeepPoly's rule, two duals.

Each returns proven-in-exact-arithmetic upper bounds of F_k - F_label for all k, (K,), 0 for the label itself; rounding
is not added, since nothing is certified by them. They are written to be compared with the engine, not to be fast.
"""

import numpy as np
import torch

from tightrope.networks import FeedForward
from tightrope.propagation.alpha import DualObjective, Triangles, minimise, start
from tightrope.propagation.bounds import bounds, specification
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.propagation.operators import operators
from tightrope.regions import Ball


def zonotope_margins(network: FeedForward, region: Ball, label: int) -> np.ndarray:
    """DeepZ as its authors write it: centre and generators pushed forward, one new generator per unstable neuron."""
    network.require_relu("these forms are of networks with")
    lower, upper = region.bounding_box()
    center, G = (lower + upper) / 2, np.diag((upper - lower) / 2)
    for layer in network.layers[:-1]:
        W, b = layer.dense()
        center, G = W @ center + b, W @ G
        spread = np.abs(G).sum(1)
        low, high = center - spread, center + spread
        free = (low < 0) & (high > 0)
        slope = np.where(free, high / np.where(free, high - low, 1.0), (low >= 0).astype(float))
        half = np.where(free, -slope * low / 2, 0.0)  # between s h and s h - s l
        new = np.diag(half)[:, free]
        center, G = slope * center + half, np.hstack([slope[:, None] * G, new])
    W, b = network.layers[-1].dense()
    A, c = W - W[label], b - b[label]
    return A @ center + c + np.abs(A @ G).sum(1)


def deeppoly_margins(network: FeedForward, region: Ball, label: int) -> np.ndarray:
    """DeepPoly as its authors write it: lower line by the smaller area, dense matrices, one form after the other."""
    network.require_relu("these forms are of networks with")
    lower, upper = region.bounding_box()
    below: list[tuple] = []

    def substituted(A: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Upper bounds of the rows of A z + c."""
        A, c = A.copy(), c.copy()
        for W, b, low_slope, up_slope, up_offset in reversed(below):
            positive, negative = np.maximum(A, 0), np.minimum(A, 0)
            c = c + positive @ up_offset
            A = positive * up_slope + negative * low_slope
            c, A = c + A @ b, A @ W
        return c + np.maximum(A, 0) @ upper + np.minimum(A, 0) @ lower

    for layer in network.layers[:-1]:
        W, b = layer.dense()
        high, low = substituted(W, b), -substituted(-W, -b)
        free = (low < 0) & (high > 0)
        width, stable = np.where(free, high - low, 1.0), (low >= 0).astype(float)
        up_slope = np.where(free, high / width, stable)
        up_offset = np.where(free, -up_slope * low, 0.0)
        smaller_above_h = high * width / 2 > -low * width / 2  # the area above h is smaller than that above 0
        low_slope = np.where(free, smaller_above_h, stable)
        below.append((W, b, low_slope, up_slope, up_offset))
    W, b = network.layers[-1].dense()
    return substituted(W - W[label], b - b[label])


def wong_kolter_margins(network: FeedForward, region: Ball, label: int, slopes: str) -> np.ndarray:
    """The dual objective with fixed slopes ("deepz" or "crown") and hidden bounds of the same slopes."""
    network.require_relu("these forms are of networks with")
    inputs, layers = InputSet.from_balls([region]), operators(network)
    with torch.no_grad():
        hidden = bounds(layers, inputs, slopes, [label])
        A, constant = specification(layers[-1], torch.tensor([label]))
        triangles = Triangles(tuple(layers[:-1]), hidden.lower, hidden.upper)
        first = start(triangles, 1, A.shape[1], slopes)
        return minimise(A, constant, triangles, inputs, first=first, steps=0).bound[0].numpy()


def lagrangian_margins(network: FeedForward, region: Ball, label: int, steps: int) -> np.ndarray:
    """The Lagrangian dual of the problem itself (Dvijotham et al. 2018), with no relaxation in it.

    With lambda for z = ReLU(h) and mu for h = W z + b, each neuron is maximised by itself over its bounds,

        max_{l <= h <= u} lambda ReLU(h) - mu h,     attained at l, 0 or u,

    and the inputs over the box. The multipliers are those that the dual of LP-ALL ends with: lambda the form above the
    neuron, mu the form in h that its lines give. That both values agree there is one half of theorem 4.2; the other is
    that LP-ALL's dual is optimal, which the linear program shows.
    """
    network.require_relu("these forms are of networks with")
    inputs, layers = InputSet.from_balls([region]), operators(network)
    with torch.no_grad():
        found = layerwise(network, inputs, label, "lp-all", steps=steps)
        A, constant = specification(layers[-1], torch.tensor([label]))
        others = torch.arange(A.shape[1]) != label
        A, total, triangles = A[:, others], constant[0, others], found.triangles
        problem = DualObjective(A, total[None], triangles, inputs, torch.float64)
        kept = problem.bound(problem.converted(found.dual))[2]
        for i in reversed(range(len(triangles.layers))):
            form, above, lower_slope = (part[0] for part in kept[i])
            mu = above * problem.upper_slope[i][0] + (form - above) * lower_slope
            low, high = triangles.lower[i][0], triangles.upper[i][0]
            best = torch.maximum(*(form * h.clamp(min=0) - mu * h for h in (low, high)))
            best = torch.where((low < 0) & (high > 0), best.clamp(min=0), best)
            total = total + best.sum(1) + mu @ triangles.layers[i].bias
        margins = np.zeros(network.classes)
        margins[others.numpy()] = (total + inputs.maximum(triangles.layers[0].transpose(mu[None]))[0]).numpy()
        return margins
