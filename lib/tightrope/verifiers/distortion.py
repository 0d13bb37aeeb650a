"""The minimum distortion of an image: from below by what certifies, from above by an attack, both by bisection.

Of a monDEQ both are one bisection by the cascade, whose last stage is exact: it ends with a bracket as narrow as asked.

A method certifies some radii; whether it certifies a smaller radius too need not be, so nothing is concluded from one
radius for another: the lower end of a bracket is a radius that was certified itself. The upper end is a radius at
which the method gave no proof, or the distance of a point with another label, which bounds the distortion itself.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from tightrope import attacks, proofs, relu_proofs
from tightrope.errors import InputError
from tightrope.names import known_name
from tightrope.networks import FeedForward, MonDEQ
from tightrope.outward import at_least, at_most
from tightrope.proofs import DISTANCE_DIGITS, Proof, decimal_below
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import METHODS, Layerwise, layerwise
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import INFINITY, Ball
from tightrope.threads import one_blas_thread
from tightrope.verifiers.report import Report, RobustnessReport
from tightrope.verifiers.robustness import certify

#: Parts of the certified radius that a certificate file is tried for: the checker's arithmetic is not the method's.
SHRUNK = (1.0, 0.999, 0.99, 0.9)
#: Relative width of a bracket.
ONE_PERCENT = Limits(tolerance=0.01)


@dataclass(frozen=True)
class Bracket:
    """Two radii in network-input units, after `steps` that were tried.

    `lower` is certified, if it is above 0: no point within this distance has another label; for an attack: none was
    found. `upper` is not certified, and 0 where the image itself has another label; for an attack it is the distance of
    the point found, `hit`, or inf if none was.
    """

    lower: float
    upper: float
    steps: int
    hit: attacks.Attack | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Distortion(Report):
    """The minimum distortion of an image: above `certified.lower`, at most `attacked.upper`.

    `ascent` is the number of steps of the dual ascent; of a monDEQ, `inside` certifies the lower end if it is above 0.
    """

    certified: Bracket
    attacked: Bracket
    question: Question
    method: str
    ascent: int
    seconds: float
    inside: RobustnessReport | None = None
    facts = ("verdict", "lower", "upper", "method", "seconds")

    @property
    def verdict(self) -> Verdict:
        """CERTIFIED if no point up to the lower end has another label; FALSIFIED if the image has; else UNKNOWN."""
        if self.upper == 0:
            return Verdict.FALSIFIED
        return Verdict.CERTIFIED if self.lower > 0 else Verdict.UNKNOWN

    @property
    def headline(self) -> str:
        """Both ends in one line, rounded outward."""
        ends = f"{at_least(self.lower)} to {at_most(self.upper)}"
        return f"minimum distortion of label {self.question.label}: {ends} (L-inf, input units), {self.verdict}"

    @property
    def lower(self) -> float:
        """The radius that is certified."""
        return self.certified.lower

    @property
    def upper(self) -> float:
        """The distance of the point with another label."""
        return self.attacked.upper

    def certificates(self) -> Proof:
        """Return the file that proves both ends; the lower one may be some per cent smaller there.

        An InputError if no point with another label is known.
        """
        hit = self.attacked.hit
        if hit is None:
            raise InputError("attacked: no point with another label was found; the lower end alone has no certificate.")
        if isinstance(self.question.network, MonDEQ):
            inside = None if self.inside is None else self.inside.certificates()
            return proofs.distortion(_within(self.question, self.lower), hit, inside)
        for part in SHRUNK if self.lower > 0 else ():
            asked = _within(self.question, float(decimal_below(self.lower * part, DISTANCE_DIGITS)))
            with one_blas_thread():
                found = _layerwise(asked, self.method, steps=self.ascent, keep=True)
            within = relu_proofs.layerwise(asked.layers, cast(Ball, asked.region), found)
            proof = relu_proofs.distortion(asked, hit, within)
            if proof.proven:
                return proof
        return relu_proofs.distortion(_within(self.question, 0.0), hit, None)


def bisect(succeeds: Callable[[float], bool], lower: float, upper: float, tolerance: float) -> Bracket:
    """Narrow [lower, upper] to a relative width: `succeeds` is taken as true at lower and false at upper.

    Examples
    --------
    >>> found = bisect(lambda radius: radius < 0.3, 0.0, 1.0, 0.1)
    >>> found.lower < 0.3 <= found.upper <= 1.1 * found.lower
    True
    """
    if not (0 <= lower < upper < INFINITY) or not tolerance > 0:
        raise InputError(f"lower, upper, tolerance: got {lower!r}, {upper!r}, {tolerance!r}; give 0 <= lower < upper.")
    steps = 0
    while upper > lower * (1 + tolerance) and upper > 1e-9:
        middle = (lower + upper) / 2
        lower, upper = (middle, upper) if succeeds(middle) else (lower, middle)
        steps += 1
    return Bracket(lower, upper, steps)


def minimum_distortion(
    network: MonDEQ | FeedForward,
    region: Ball,
    label: int,
    method: str | None = None,
    limits: Limits = ONE_PERCENT,
    *,
    steps: int = 40,
) -> Distortion:
    """Bracket how far the image at the centre of a ball of norm inf is from another label, up to the ball's radius.

    The `method` of layers is one of :func:`certified_distortion`, "lp-all" if none is given, with so many `steps`. That
    of a monDEQ is one of :func:`tightrope.verifiers.robustness.certify`, "cascade" if none is given: then the bracket
    is as narrow as the tolerance of `limits` says, unless a tree of one label takes longer than their time.

    Examples
    --------
    >>> network = FeedForward.dense([[[1.0], [-1.0]]], [[0.5, 0.0]])
    >>> found = minimum_distortion(network, Ball([0.0], 1.0, "inf"), 0)
    >>> print(found.certificates().findings[-1])
    PROVEN (exact)  the Linf distance of label 0 from another is above 0.2480468 and at most 0.2500001 (input units)
    """
    began, equilibrium, question = time.perf_counter(), isinstance(network, MonDEQ), Question(network, region, label)
    method, ascent = method or ("cascade" if equilibrium else "lp-all"), 0 if equilibrium else steps
    attack = attacked_distortion(question, limits)
    certified, inside = Bracket(0.0, 0.0, 0), None
    if attack.upper > 0 and equilibrium:
        certified, attack, inside = _by_answers(question, method, limits, attack)
    elif attack.upper > 0:
        certified = certified_distortion(question, method, limits, upper=attack.upper, steps=steps)
    return Distortion(certified, attack, question, method, ascent, time.perf_counter() - began, inside)


def _by_answers(
    question: Question, method: str, limits: Limits, attacked: Bracket
) -> tuple[Bracket, Bracket, RobustnessReport | None]:
    """Bisect by answers for the region of each radius; return both brackets and what certifies the lower end."""
    hits = [] if attacked.hit is None else [attacked.hit]
    known = list[RobustnessReport]()
    own = Limits(time=limits.time, seed=limits.seed, stop=limits.stop)

    def certified(radius: float) -> bool:
        asked = _within(question, radius)
        report = certify(asked.network, asked.region, asked.label, method=method, limits=own)
        hits.extend([] if report.attack is None else [report.attack])
        known.extend([report] if report.verdict is Verdict.CERTIFIED else [])
        return report.verdict is Verdict.CERTIFIED

    found = bisect(certified, 0.0, min(attacked.upper, cast(Ball, question.box).radius), limits.tolerance)
    if hits:
        nearest = min(hits, key=partial(_distance, question))
        distance = _distance(question, nearest)
        without = attacked.lower if attacked.lower < distance else found.lower
        attacked = Bracket(without, distance, attacked.steps + found.steps, nearest)
    return found, attacked, known[-1] if known else None


def _distance(question: Question, hit: attacks.Attack) -> float:
    return float(np.abs(hit.point - question.region.center).max())


def _within(question: Question, radius: float) -> Question:
    """Return the question about another radius, and all labels."""
    box = question.region.require_box("minimum distortions are")
    return Question(question.network, Ball(box.center, radius, INFINITY, box.lower, box.upper), question.label)


def _layerwise(asked: Question, method: str, **options: Any) -> Layerwise:
    return layerwise(asked.layers, InputSet.from_balls([cast(Ball, asked.region)]), asked.label, method, **options)


def certified_distortion(
    question: Question,
    method: str,
    limits: Limits = ONE_PERCENT,
    *,
    lower: float = 0.0,
    upper: float = INFINITY,
    steps: int = 40,
) -> Bracket:
    """Return the largest radius that a method certifies, within a bracket as wide, relatively, as the tolerance.

    The question is about a feed-forward network and a ball of the maximum norm, whose radius is the largest that is
    tried; smaller balls are cut to the same box, if it is. The method is lp-greedy, lp-last or lp-all, with so many
    `steps` of the dual ascent. The search starts at `lower`, a radius that a looser method certifies, and ends at
    `upper`, one at which nothing can be certified: that of an attack.
    """
    method = known_name("method", method, METHODS)

    def certified(radius: float) -> bool:
        return _layerwise(_within(question, radius), method, steps=steps, decide=True).worst < 0

    with one_blas_thread():
        if attacks.check(_within(question, 0.0), question.region.center) is not None:
            return Bracket(0.0, 0.0, 0)
        return bisect(certified, lower, min(upper, cast(Ball, question.box).radius), limits.tolerance)


def attacked_distortion(question: Question, limits: Limits = ONE_PERCENT, *, steps: int = 40) -> Bracket:
    """Return the smallest distance at which projected gradient ascent finds another label; inf if it does not.

    The tolerance of `limits` is the relative width of the bracket; `steps` are those of each ascent.
    """
    image, nearest = _within(question, 0.0), list[attacks.Attack]()

    def survives(radius: float) -> bool:
        found = attacks.pgd(_within(question, radius), restarts=2, steps=steps, seed=limits.seed)
        nearest[:] = sorted([*nearest, *found.attacks.values()], key=partial(_distance, question))[:1]
        return not found.attacks

    with one_blas_thread():
        if image.network.predict(image.region.center) != image.label:
            return Bracket(0.0, 0.0, 0, attacks.check(image, image.region.center))
        largest = cast(Ball, question.box).radius
        if survives(largest):
            return Bracket(largest, INFINITY, 1)
        found = bisect(survives, 0.0, largest, limits.tolerance)
    return Bracket(found.lower, _distance(question, nearest[0]), found.steps + 1, nearest[0])
