"""Max pooling: which inputs each output sees, and the largest A max_k h_k - mu h of each window, h in a box.

A window's places are taken one by one, as if each had an input of its own: this can only enlarge what is found.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from tightrope.checker.numbers import Refused

#: Pixels of an image, and places of all windows.
LARGEST = 2**24


@dataclass(frozen=True)
class Pool:
    """The inputs (m, k) of each output; on the padding stands a pixel that the window has already."""

    windows: np.ndarray
    inputs: int

    @classmethod
    def read(cls, parameters: np.ndarray) -> "Pool":
        """Return the windows of input_shape (channels, height, width), kernel, stride, padding: 9 whole numbers."""
        given = parameters.astype(float)
        if given.shape != (9,) or not ((given >= 0) & (given <= LARGEST) & (given == np.floor(given))).all():
            raise Refused("network: max_pool has 9 whole numbers: input_shape, kernel, stride, padding")
        whole = [int(n) for n in given]
        channels, sides = whole[0], [*zip(*(whole[i : i + 2] for i in (1, 3, 5, 7)), strict=True)]
        fits = all(n >= 1 and kernel > pad and step >= 1 and n + 2 * pad >= kernel for n, kernel, step, pad in sides)
        if channels < 1 or not fits:
            raise Refused("network: each window of max_pool must hold a pixel, and one must fit")
        places = (((n + 2 * pad - kernel) // step + 1) * kernel for n, kernel, step, pad in sides)
        inputs = channels * prod(n for n, *_ in sides)
        if max(inputs, channels * prod(places)) > LARGEST:
            raise Refused(f"network: max_pool of more than {LARGEST} places")
        rows, columns = (
            np.clip(np.arange(0, n + 2 * pad - kernel + 1, step)[:, None] - pad + np.arange(kernel), 0, n - 1)
            for n, kernel, step, pad in sides
        )
        pixels = np.arange(inputs).reshape(channels, *(n for n, *_ in sides))
        windows = pixels[:, rows[:, None, :, None], columns[None, :, None, :]]
        return cls(windows.reshape(-1, rows.shape[1] * columns.shape[1]), inputs)

    @property
    def owners(self) -> np.ndarray:
        """The output (m k,) of each place, window by window."""
        return np.repeat(np.arange(len(self.windows)), self.windows.shape[1])

    def summed(self, mu: np.ndarray) -> np.ndarray:
        """Return forms (rows, inputs) of forms (rows, m k) of places."""
        found = np.zeros((self.inputs, len(mu)), mu.dtype)
        np.add.at(found, self.windows.ravel(), mu.T)
        return np.ascontiguousarray(found.T)

    def peaks(self, A: np.ndarray, mu: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return the largest A max_k h_k - mu h (rows, m) for low <= h <= high (m k,), A and mu (rows, m k).

        Numbers may be floats or integers. Where A >= 0 it is the largest over which h_k stands for the maximum, and
        each is at an end. Where A < 0 it is that of A M - mu h over M >= max low and h <= M, concave and piecewise
        linear in M: at max low, or at an end above it.
        """
        A, mu, low, high = [array.reshape(*array.shape[:-1], *self.windows.shape) for array in (A, mu, low, high)]
        other = np.maximum(-mu * low, -mu * high)
        most = np.maximum(A * low - mu * low, A * high - mu * high) - other
        rising, A, least = other.sum(-1) + most.max(-1), A[..., 0], low.max(-1, keepdims=True)

        def falls(top: np.ndarray) -> np.ndarray:
            return A * top[..., 0] + np.maximum(-mu * low, -mu * np.minimum(top, high)).sum(-1)

        falling = falls(least)
        for k in range(high.shape[-1]):
            falling = np.maximum(falling, falls(np.maximum(high[..., [k]], least)))
        return np.where(A >= 0, rising, falling)
