"""What is asked of a network on a region, how far its solves may go, and what the answers are.

The first two are checked once, before anything is solved.
"""

import operator
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import numpy as np

from tightrope.arguments import require_network, require_region
from tightrope.errors import InputError, RegionError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.regions import Ball, Region

#: Asked between iterations, from the thread that solves: True ends the solve. `threading.Event().is_set` is one.
Stop = Callable[[], bool]


@dataclass(frozen=True, eq=False, init=False)
class Question:
    """Which of the target labels can reach the score of `label` somewhere on the region?

    A NetworkError, RegionError or InputError names the argument that is wrong, and what to write instead.

    The `region` is in the network's input units, `label` is the true label y. The `targets` are the labels to decide,
    each once; "all" for all others than y. Left out (`everything`) they are the same, until the question is answered:
    once an attack reaches one of them, the cascade does not go on for the others.

    Examples
    --------
    >>> network = FeedForward.dense((np.eye(3),), (np.zeros(3),))
    >>> Question(network, Ball(np.ones(3), 0.1, np.inf), 1).targets
    (0, 2)
    """

    network: MonDEQ | FeedForward
    region: Region
    label: int
    targets: tuple[int, ...]
    everything: bool = field(init=False)

    def __init__(
        self, network: MonDEQ | FeedForward, region: Region, label: int, targets: Iterable[int] | str | None = None
    ) -> None:
        require_network(network)
        require_region(region)
        if region.size != network.input_size:
            raise RegionError(f"region: {region.size} inputs, but the network has {network.input_size}.")
        labels, last = range(network.classes), network.classes - 1
        with suppress(TypeError):  # also a tensor of one whole number
            label = operator.index(label)
        if not isinstance(label, int) or label not in labels:
            raise InputError(f"label: got {label!r}; write one of 0..{last}.")
        if isinstance(targets, str) and targets != "all":
            raise InputError(f"targets: got {targets!r}; write a list of labels, or 'all'.")
        whole = targets is None or isinstance(targets, str)
        chosen: list[Any] = [j for j in labels if j != label] if whole else list(dict.fromkeys(targets or ()))
        for target in chosen:
            if not isinstance(target, int | np.integer) or target not in labels or target == label:
                raise InputError(f"targets: got {target!r}; write labels in 0..{last} other than {label}.")
        if targets is not None and not chosen:
            raise InputError("targets: got none; leave targets out to decide all labels.")
        own = (network, region, label, tuple(map(int, chosen)), targets is None)
        for name, value in zip(("network", "region", "label", "targets", "everything"), own, strict=True):
            object.__setattr__(self, name, value)

    @property
    def mondeq(self) -> MonDEQ:
        """The network, if it is an equilibrium network; else a NetworkError."""
        require_network(self.network, MonDEQ)
        return cast(MonDEQ, self.network)

    @property
    def layers(self) -> FeedForward:
        """The network, if it is a feed-forward one; else a NetworkError."""
        require_network(self.network, FeedForward)
        return cast(FeedForward, self.network)

    @property
    def box(self) -> Ball | None:
        """The region if it is a ball of the maximum norm, clipped or not."""
        return self.region.require_box("this is") if self.region.is_box else None

    @property
    def neurons(self) -> int:
        """The number of hidden neurons."""
        return self.network.width if isinstance(self.network, MonDEQ) else sum(self.network.sizes[1:-1])


@dataclass(frozen=True)
class Limits:
    """How far a solve goes; an InputError names a number that makes no sense.

    `tolerance` is its relative gap, `time` seconds for one solve, None for as long as it takes; `seed` that of the
    attack and of whatever else is drawn at random. `stop` is asked between the iterations of a solve and before each
    target (Clarabel, SCS and MOSEK cannot be asked inside a solve); True ends everything with a
    :class:`tightrope.errors.StoppedError`: for a question that nobody waits for any more. `trees` is a folder in which
    a tree that ends by a limit leaves a file, from which the same question goes on with a larger limit; the seconds are
    then those of all runs together. None keeps nothing.
    """

    tolerance: float = 1e-5
    time: float | None = None
    seed: int = 0
    stop: Stop | None = None
    trees: Path | None = None

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < np.inf:
            raise InputError(f"tolerance: expected a positive number, got {self.tolerance!r}.")
        if self.time is not None and not self.time > 0:
            raise InputError(f"time: expected a positive number of seconds or None, got {self.time!r}.")

    def after(self, seconds: float) -> "Limits":
        """Return what is left of the limits after some seconds: at least a millisecond."""
        return self if self.time is None else replace(self, time=max(self.time - seconds, 1e-3))

    @property
    def options(self) -> dict[str, Any]:
        """What our own solvers take: tolerance, time_limit and stop."""
        return {"tolerance": self.tolerance, "time_limit": self.time, "stop": self.stop}


#: A relative gap of 1e-5, without a limit of time.
DEFAULT = Limits()


class Verdict(StrEnum):
    """The answer to a yes-or-no question. A failure is never a number.

    CERTIFIED is proven; COMPUTED is the same answer by the word of a floating-point solver, which nothing has checked.
    """

    CERTIFIED = "certified"
    COMPUTED = "computed"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"
    FAILED = "failed"
