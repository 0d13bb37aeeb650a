"""The short forms of questions: `tightrope.attack` and `tightrope.minimum_distortion`, beside `tightrope.certify`."""

from collections.abc import Iterable

from tightrope import attacks
from tightrope.attacks import PGDResult
from tightrope.networks import FeedForward, MonDEQ
from tightrope.question import Limits, Question
from tightrope.regions import Ball, Region
from tightrope.verifiers import distortion
from tightrope.verifiers.distortion import ONE_PERCENT, Distortion


def attack(
    network: MonDEQ | FeedForward, region: Region, label: int, *, targets: Iterable[int] | None = None, seed: int = 0
) -> PGDResult:
    """Search the region for points with another label, by projected gradient ascent: :func:`tightrope.attacks.pgd`.

    Examples
    --------
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 1.5]))
    >>> attack(network, Ball([0.0], 2.0, "inf"), 1).best.label  # |x| < 1.5
    0
    """
    return attacks.pgd(Question(network, region, label, targets), seed=seed)


def minimum_distortion(
    network: MonDEQ | FeedForward, region: Ball, label: int, method: str | None = None, limits: Limits = ONE_PERCENT
) -> Distortion:
    """Bracket how far the image at the centre of a ball of norm inf is from another label, up to the ball's radius.

    That is :func:`tightrope.verifiers.distortion.minimum_distortion`.

    Examples
    --------
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]]), ([0.0, 0.0], [0.0, 1.5]))
    >>> found = minimum_distortion(network, Ball([0.0], 2.0, "inf"), 1)  # |x| < 1.5
    >>> 0.5 < found.lower <= 1.5 <= found.upper
    True
    """
    return distortion.minimum_distortion(Question(network, region, label), method, limits)
