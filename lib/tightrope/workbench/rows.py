"""Rows of one kind as a table that can be filtered and grouped; shares, and intervals for them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.special import betainccinv, betaincinv

TAIL = (1 - 0.95) / 2  # of a two-sided 95 % interval


class Rows(tuple[dict, ...]):
    """Rows of one kind.

    Examples
    --------
    >>> rows = Rows([{"norm": 2, "ok": True}, {"norm": "inf", "ok": False}, {"norm": 2, "ok": False}])
    >>> [(key, len(some), some.percent(ok=True)) for key, some in rows.by("norm")]
    [((2,), 2, 50), (('inf',), 1, 0)]
    """

    def where(self, **equal: object) -> "Rows":
        """Return the rows that have these values."""
        return Rows(row for row in self if all(row[name] == value for name, value in equal.items()))

    def one(self, **equal: object) -> dict | None:
        """Return the first row that has these values, or None."""
        return next(iter(self.where(**equal)), None)

    def by(self, *names: str) -> list[tuple[tuple, "Rows"]]:
        """Return the groups of rows with the same values, in the order in which these first occur; lists as tuples."""
        groups: dict[tuple, list[dict]] = {}
        for row in self:
            groups.setdefault(tuple(_hashable(row[name]) for name in names), []).append(row)
        return [(key, Rows(some)) for key, some in groups.items()]

    def nested(self, outer: str, inner: str) -> dict[Any, dict[Any, "Rows"]]:
        """Return the rows by the values of one column, then by those of another."""
        return {key: {name: part for (name,), part in own.by(inner)} for (key,), own in self.by(outer)}

    def different(self, name: str) -> list:
        """Return the different values of a column, in the order in which they first occur."""
        return list(dict.fromkeys(_hashable(row[name]) for row in self))

    def column(self, name: str) -> list:
        """Return the values of a column; None is left out."""
        return [row[name] for row in self if row[name] is not None]

    def total(self, name: str) -> Any:
        """Return the sum of a column."""
        return sum(self.column(name))

    def mean(self, name: str) -> float:
        """Return the mean of a column; NaN if it has no value."""
        values = self.column(name)
        return sum(values) / len(values) if values else float("nan")

    def count(self, **equal: object) -> int:  # type: ignore[override]
        """Return how many rows have these values."""
        return len(self.where(**equal))

    def size(self) -> str:
        """Say how much the rows are about: networks, and how many images, draws or seeds of one.

        Examples
        --------
        >>> Rows([{"network": "a", "first": first, "count": 500} for first in (0, 500)]).size()
        '1,000 images'
        >>> Rows([{"network": "a", "draw": 0}, {"network": "b", "draw": 1}]).size()
        '2 networks, 2 draws'
        """
        names = self[0].keys() if self else ()
        networks = self.different("network") if "network" in names else []
        parts = [counted([len(networks)], "network")] if len(networks) > 1 else []
        one = [name for name in ("network", "epsilon_pixel", "method") if name in names]
        kind = [name for name in ("method", "sizes", "scaling") if name in names]
        if "count" in names:
            parts.append(counted([own.total("count") for _, own in self.by(*one)], "image"))
        if "images" in names:
            parts.append(counted(self.different("images"), "image"))
        for name, same in (("image", one), ("draw", kind), ("seed", kind)):
            if name in names:
                parts.append(counted([len(own.different(name)) for _, own in self.by(*same)], name))
        return ", ".join(parts) or counted([len(self)], "case")

    def percent(self, **equal: object) -> int | float:
        """Return how many rows have these values, in percent with one digit."""
        return percent(self.count(**equal), len(self))


def counted(counts: Iterable[int], what: str) -> str:
    """Say from how many to how many.

    Examples
    --------
    >>> counted([25, 100], "image"), counted([1], "seed")
    ('25 to 100 images', '1 seed')
    """
    ends = sorted({min(counts := list(counts)), max(counts)})
    return f"{' to '.join(f'{end:,}' for end in ends)} {what}{'' if ends == [1] else 's'}"


def percent(count: int, total: int) -> int | float:
    """Return a ratio in percent, rounded to one digit; an integer where it is one.

    Examples
    --------
    >>> percent(1, 4), percent(1, 3)
    (25, 33.3)
    """
    ratio = 100 * count / total
    return int(ratio) if ratio == int(ratio) else round(ratio, 1)


def binomial_interval(successes: int, trials: int) -> tuple[float, float]:
    """Exact (Clopper-Pearson) two-sided 95 % interval of a binomial proportion."""
    low = betaincinv(successes, trials - successes + 1, TAIL) if successes else 0.0
    high = betainccinv(successes + 1, trials - successes, TAIL) if successes < trials else 1.0
    return float(low), float(high)


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """Percentile bootstrap 95 % interval of the median, from 2,000 draws with a fixed seed.

    Examples
    --------
    >>> bootstrap_interval([1.0, 1.0, 1.0])
    (1.0, 1.0)
    """
    sample = np.asarray(values, float)
    chosen = np.random.default_rng(0).integers(len(sample), size=(2000, len(sample)))
    low, high = np.quantile(np.median(sample[chosen], axis=1), [TAIL, 1 - TAIL])
    return float(low), float(high)


def _hashable(value: object) -> object:
    return tuple(_hashable(part) for part in value) if isinstance(value, list) else value
