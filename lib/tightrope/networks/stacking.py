"""A dense ReLU network as a monDEQ: the same function, hidden layers stacked into one equilibrium."""

from math import ceil, log2

import numpy as np

from tightrope.errors import NetworkError
from tightrope.networks.mondeq import MonDEQ

#: Most hidden neurons: the matrix W is square in them.
LARGEST = 4096


def stack(weights: tuple[np.ndarray, ...], biases: tuple[np.ndarray, ...], name: str = "") -> MonDEQ:
    """Return the monDEQ with z = (s_1 z_1, ..., s_L z_L), z_1, ..., z_L the hidden layers of the network.

    ReLU is positively homogeneous, so z_{i+1} = ReLU(W_i z_i + b_i) gives, for any s_i > 0,

        s_{i+1} z_{i+1} = ReLU((s_{i+1} / s_i) W_i (s_i z_i) + s_{i+1} b_i):

    an equilibrium z = ReLU(W z + U x + u) whose W has these blocks below the diagonal and nothing else. With
    ||(s_{i+1} / s_i) W_i|| <= 1/2 the symmetric part of W has norm at most 1/2, hence I - W is strongly monotone with
    m >= 1/2 whatever the network. The s_i are powers of two: the scaling is exact in floating point. The weights are
    (p_{i+1}, p_i), the biases (p_{i+1},).
    """
    if len(weights) == 1:  # no hidden layer: h = ReLU(h) - ReLU(-h)
        (W,), (b,) = weights, biases
        p, identity = len(W), np.eye(len(W))
        W, U, u = np.zeros((2 * p, 2 * p)), np.vstack([W, -W]), np.concatenate([b, -b])
        return MonDEQ(W=W, U=U, u=u, C=np.hstack([identity, -identity]), c=np.zeros(p), name=name)
    sizes = [len(b) for b in biases[:-1]]
    if sum(sizes) > LARGEST:
        raise NetworkError(f"{name or 'the network'} has {sum(sizes)} hidden neurons; at most {LARGEST} are stacked.")
    starts = np.cumsum([0, *sizes])
    exponents = [0]  # s_i = 2^exponents[i]
    W = np.zeros((starts[-1], starts[-1]))
    for i, weight in enumerate(weights[1:-1]):
        norm = np.linalg.norm(weight, 2) * (1 + 1e-12)  # not below the norm for a rounding error
        step = -ceil(log2(2 * norm)) if norm > 0 else 0
        W[starts[i + 1] : starts[i + 2], starts[i] : starts[i + 1]] = np.ldexp(weight, step)
        exponents.append(exponents[-1] + step)
    if max(map(abs, exponents)) > 500:
        raise NetworkError(f"{name or 'the network'} scales its input by more than 2^500; scale its weights down.")
    U = np.zeros((starts[-1], weights[0].shape[1]))
    U[: sizes[0]] = weights[0]
    u = np.concatenate([np.ldexp(b, e) for b, e in zip(biases[:-1], exponents, strict=True)])
    C = np.zeros((len(biases[-1]), starts[-1]))
    C[:, starts[-2] :] = np.ldexp(weights[-1], -exponents[-1])
    return MonDEQ(W=W, U=U, u=u, C=C, c=biases[-1], name=name)
