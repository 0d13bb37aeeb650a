"""Exact answers for networks with one moving coordinate, by enumerating the activation patterns in rationals."""

import itertools
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from tightrope.checker import regions
from tightrope.networks import MonDEQ


def exact(array: np.ndarray) -> np.ndarray:
    """Floats as an object array of fractions, of the same shape."""
    return np.vectorize(Fraction, otypes=[object])(np.asarray(array, float))


def pieces(
    network: MonDEQ, centre: np.ndarray, step: np.ndarray, low: Fraction, high: Fraction
) -> Iterator[tuple[Fraction, Fraction, np.ndarray, np.ndarray]]:
    """The intervals [a, b] of d on which F(centre + step d) = slope d + offset, (K,) each, within [low, high]."""
    W, C, c = exact(network.W), exact(network.C), exact(network.c)
    bias, direction = exact(network.U) @ centre + exact(network.u), exact(network.U) @ step
    p = network.width
    for pattern in itertools.product((False, True), repeat=p):
        on = np.flatnonzero(pattern)
        z = np.full((p, 2), Fraction(0))  # z = z[:, 0] + z[:, 1] d
        eye = np.array([[Fraction(int(i == j)) for j in range(p)] for i in range(p)])
        right = np.stack([bias, direction], 1)
        if len(on):
            z[on] = _solve((eye - W)[np.ix_(on, on)], right[on])
        h = W @ z + right
        signs = np.where(pattern, 1, -1)
        a, b, empty = low, high, False
        for value, slope in h * signs[:, None]:  # each is to be at least 0
            if slope > 0:
                a = max(a, -value / slope)
            elif slope < 0:
                b = min(b, -value / slope)
            else:
                empty |= value < 0
        if a <= b and not empty:
            yield a, b, C @ z[:, 1], C @ z[:, 0] + c


def largest_margin(network: MonDEQ, region: regions.Region, label: int, target: int) -> Fraction:
    """Max F_target - F_label over a region with one coordinate d."""
    assert region.size == 1
    reach = region.half.fractions()[0] if region.half is not None else region.radius
    low, high = -reach, reach
    if region.box is not None:
        low, high = max(low, region.box[0].fractions()[0]), min(high, region.box[1].fractions()[0])
    for slope, end in (
        zip(*(part.fractions() for part in (region.rows, region.ends)), strict=True) if region.rows else ()
    ):
        low, high = (low, min(high, end / slope)) if slope > 0 else (max(low, end / slope), high)
    centre = np.array(region.centre.fractions(), dtype=object)
    step = np.array([Fraction(1)] if region.generators is None else region.generators.fractions(), dtype=object)
    return max(
        (slope[target] - slope[label]) * end + offset[target] - offset[label]
        for a, b, slope, offset in pieces(network, centre, step, low, high)
        for end in (a, b)
    )


def steepest(network: MonDEQ) -> np.ndarray:
    """|dF_k / dx| at its largest over all x, (K,), for a network with one input."""
    far = Fraction(10**9)
    centre, step = np.array([Fraction(0)], dtype=object), np.array([Fraction(1)], dtype=object)
    return np.max([np.abs(slope) for a, b, slope, _ in pieces(network, centre, step, -far, far) if a < b], axis=0)


def _solve(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """A^-1 B by Gauss-Jordan elimination."""
    M = np.concatenate([A, B], 1)
    for i in range(len(A)):
        pivot = next(j for j in range(i, len(A)) if M[j, i] != 0)
        M[[i, pivot]] = M[[pivot, i]]
        M[i] = M[i] / M[i, i]
        for j in range(len(A)):
            if j != i:
                M[j] = M[j] - M[j, i] * M[i]
    return M[:, len(A) :]
