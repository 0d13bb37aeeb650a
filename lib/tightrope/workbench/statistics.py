"""Intervals for ratios."""

from collections.abc import Sequence

import numpy as np
from scipy.special import betainccinv, betaincinv


def binomial_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper-Pearson) two-sided interval of a binomial proportion.

    Examples
    --------
    >>> [round(100 * p, 1) for p in binomial_interval(24, 100)]
    [16.0, 33.6]
    """
    tail = (1 - level) / 2
    low = betaincinv(successes, trials - successes + 1, tail) if successes else 0.0
    high = betainccinv(successes + 1, trials - successes, tail) if successes < trials else 1.0
    return float(low), float(high)


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the median.

    Examples
    --------
    >>> bootstrap_interval([1.0, 1.0, 1.0])
    (1.0, 1.0)
    """
    sample = np.asarray(values, float)
    chosen = np.random.default_rng(seed).integers(len(sample), size=(draws, len(sample)))
    medians = np.median(sample[chosen], axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
