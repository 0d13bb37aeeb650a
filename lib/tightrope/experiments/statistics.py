"""Intervals for ratios."""

from scipy.stats import beta


def binomial_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper-Pearson) two-sided interval of a binomial proportion.

    Examples
    --------
    >>> [round(100 * p, 1) for p in binomial_interval(24, 100)]
    [16.0, 33.6]
    """
    tail = (1 - level) / 2
    low = beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    high = beta.isf(tail, successes + 1, trials - successes) if successes < trials else 1.0
    return float(low), float(high)
