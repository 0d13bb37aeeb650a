"""The questions that the explorers ask: what is known of one image, part by part, each part solved once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from tightrope import attacks, zoo
from tightrope.errors import InputError
from tightrope.explorers.explorer import Memo
from tightrope.networks import FeedForward, MonDEQ
from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import Ball, pixel_ball
from tightrope.threads import one_blas_thread
from tightrope.verifiers import robustness
from tightrope.verifiers.ellipsoid import LIMITS, Ellipsoid, outer_ellipsoid
from tightrope.verifiers.report import combined
from tightrope.workbench.cases import dataset

#: Inputs up to which the cascade decides all labels in about a second.
SMALL = 100
TRUE, CLOSEST = -1, -2  # labels of the ellipse that depend on the image
OPEN = "open"  # the reason of a label that is not decided yet


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known of one image and region so far, of p0 pixels and K labels."""

    image: int
    region: Ball
    pixels: np.ndarray  # (p0,)
    shape: tuple[int, ...]  # (height, width)
    label: int  # y, the true one
    scores: np.ndarray  # (K,), outputs at the image
    pair: tuple[int, int]  # labels that the ellipse is projected onto
    attack: attacks.Attack | None = None  # the clearest point with another label
    attack_pixels: np.ndarray | None = None  # (p0,)
    attack_scores: np.ndarray | None = None  # (K,)
    attack_margin: np.ndarray | None = None  # (K,), largest F_k - F_y that was found; nan where nothing was looked for
    decisions: Mapping[int, robustness.LabelDecision] = field(default_factory=dict)
    enclosure: np.ndarray | None = None  # (K,), F_k - F_y at most, by a zonotope fixpoint (monDEQs, balls): at once
    to_the_sign: bool = False  # whether the decisions' solves stop once the sign is known
    ellipsoid: Ellipsoid | None = None
    cloud: np.ndarray | None = None  # (n, K), outputs at random points of the region
    open: str = ""  # what is still being computed
    note: str = ""  # why there is no ellipsoid

    @property
    def nominal(self) -> np.ndarray:
        """F_k - F_y at the image, (K,)."""
        return self.scores - self.scores[self.label]

    @property
    def predicted(self) -> int:
        """The network's label at the image."""
        return int(np.argmax(self.scores))

    @property
    def about(self) -> str:
        """The image, in words."""
        return f"image {self.image} (a {self.label}, seen as a {self.predicted})"

    @property
    def targets(self) -> list[int]:
        """All labels but the true one."""
        return [k for k in range(len(self.scores)) if k != self.label]

    @property
    def verdict(self) -> Verdict | None:
        """FALSIFIED with an attack, CERTIFIED when every label is, None while labels are open."""
        if self.attack is not None:
            return Verdict.FALSIFIED
        verdicts = [self.verdict_of(k) for k in self.targets]
        return None if None in verdicts else combined(verdicts)

    @property
    def progress(self) -> str:
        """How many labels are decided, in words."""
        decided = sum(self.verdict_of(label) is not None for label in self.targets)
        return f"{decided} of {len(self.targets)} labels"

    def decision(self, label: int) -> robustness.LabelDecision:
        """What is known of one label, whatever it comes from; UNKNOWN, with the reason OPEN, while it is open."""
        nominal, found = float(self.nominal[label]), np.nan if self.attack_margin is None else self.attack_margin[label]
        margin = float(found) if np.isfinite(found) else None
        known = self.decisions.get(label, robustness.LabelDecision(label, nominal, reason=OPEN))
        known = replace(known, nominal_margin=nominal, attack_margin=margin)
        if self.by_enclosure(label):
            known = replace(known, method="fixpoint", solver="", bound=float(self.enclosure[label]))
            if known.bound < 0:
                known = replace(known, verdict=Verdict.CERTIFIED, reason="by a zonotope fixpoint")
        if nominal >= 0 or (margin is not None and margin >= 0):
            reason = "at the image itself" if nominal >= 0 else ""
            known = replace(known, method="attack", solver="", verdict=Verdict.FALSIFIED, reason=reason)
        return known

    def verdict_of(self, label: int) -> Verdict | None:
        """What is decided about one label, if anything is."""
        decision = self.decision(label)
        return None if decision.reason == OPEN else decision.verdict

    def by_enclosure(self, label: int) -> bool:
        """Whether the enclosure bounds a label: until a relaxation has, and where the enclosure alone proves it.

        The cascade's bounds are those of solves that stop at the sign, so there the smaller one counts.
        """
        if self.enclosure is None:
            return False
        decision, proven = self.decisions.get(label), self.enclosure[label] < 0
        if decision is None or (proven and decision.verdict is not Verdict.CERTIFIED):
            return True
        return proven and self.to_the_sign and self.enclosure[label] < decision.bound


@cache
def entry(name: str | zoo.Entry) -> zoo.Entry:
    """A network of the zoo that says which images it is for."""
    found = name if isinstance(name, zoo.Entry) else zoo.get(name)
    if found.dataset is None or found.normalisation is None:
        raise InputError(
            f"network: the file {found.source} does not say which images it is for; give "
            "zoo.own(file, data set, normalisation)."
        )
    return found


def mondeq(name: str) -> zoo.Entry:
    """An entry whose network is a monDEQ, for the questions that are asked of those only."""
    found = entry(name)
    if not isinstance(found.network, MonDEQ):
        raise InputError(f"network: {name} has layers; this explorer is for monDEQs, such as digits/mondeq-16.")
    return found


class Certification:
    """What is found out of one image and region, part by part; what `parts` has is not solved again.

    Asked is (network, image, norm, epsilon_pixel, clip). The limits' seed is also that of the attack and of the sampled
    outputs; a solve that their `stop` ends raises a :class:`StoppedError`, and what was solved before it is kept.
    """

    def __init__(self, asked: tuple, parts: Memo, limits: Limits):
        network, self.image, norm, epsilon_pixel, clip = asked
        self._entry = found = entry(network)
        self.network, self.data = found.network, dataset(found.dataset)
        self.region = pixel_ball(self.data.image(self.image), norm, epsilon_pixel, found.normalisation, clip)
        self._parts, self._limits = parts, limits
        self._key = (network, self.image, norm, round(epsilon_pixel, 6), clip)

    def question(self, i: int = TRUE, j: int = CLOSEST) -> Answer:
        """What the network says of the image; i and j are the labels of the ellipse."""
        label, scores = self.data.label(self.image), self.network.logits(self.region.center)
        closest = next(int(k) for k in np.argsort(scores[label] - scores) if k != label)
        i, j = ({TRUE: label, CLOSEST: closest}.get(k, k) for k in (i, j))
        shape, pixels = tuple(self.data.shape), self.data.image(self.image)
        return Answer(self.image, self.region, pixels, shape, label, scores, (i, j))

    def attacked(self, answer: Answer) -> Answer:
        """With an attack, and outputs at points of the region."""
        network, seed = self.network, self._limits.seed

        def search():
            found = attacks.pgd(Question(network, answer.region, answer.label), restarts=2, steps=20, seed=seed)
            points = answer.region.sample(300, np.random.default_rng(seed))
            scores = None if found.best is None else np.ravel(network.logits(found.best.point))
            return found, network.logits(points), scores

        found, cloud, scores = self._parts.of(("attack", self._key), search)
        shown = None if found.best is None else self._entry.normalisation.to_pixels(found.best.point)
        known = {"attack_pixels": shown, "attack_scores": scores, "cloud": cloud, "attack_margin": found.best_margin}
        return replace(answer, attack=found.best, **known)

    def enclosed(self, answer: Answer, method: str) -> Answer:
        """With the bounds of a fixpoint: milliseconds, where a relaxation may take half a minute a label."""
        network = self.network
        if not isinstance(network, MonDEQ):
            return answer
        with one_blas_thread():
            bounds = self._parts.of(("enclosure", self._key), lambda: fixpoint_bounds(network, answer.region))
        return replace(answer, enclosure=bounds.margins(network, answer.label), to_the_sign=method == "cascade")

    def decided(self, answer: Answer, batch: list[int], method: str, order: str) -> Answer:
        """With decisions of these labels."""

        def solve():
            options = {"targets": batch, "method": method, "order": order, "attack": False}
            return robustness.certify(self.network, answer.region, answer.label, limits=self._limits, **options)

        report = self._parts.of(("decide", self._key, method, order, tuple(batch)), solve)
        return replace(answer, decisions={**answer.decisions, **{d.label: d for d in report.decisions}})

    def with_ellipsoid(self, answer: Answer) -> Answer:
        """With the outer ellipsoid, or the reason why there is none."""
        network, limits = self.network, replace(self._limits, tolerance=LIMITS.tolerance)
        if isinstance(network, FeedForward):
            from tightrope.verifiers.feedforward import LARGEST_SDP  # imports PyTorch

            if sum(network.sizes[1:-1]) > LARGEST_SDP:
                return replace(answer, note=f"it is for networks of at most {LARGEST_SDP} hidden neurons")
            network = network.to_mondeq()
        report = self._parts.of(
            ("ellipsoid", self._key), lambda: outer_ellipsoid(network, answer.region, limits=limits)
        )
        note = "" if report.ellipsoid is not None else str(report.solve.status)
        return replace(answer, ellipsoid=report.ellipsoid, note=note)


def batches(answer: Answer, method: str, order: str) -> list[list[int]]:
    """Labels to decide together, the closest first.

    The cascade starts each label where the one before ended, so only the closest is asked for alone, and only where all
    would take longer than a second; other methods solve each label anew and show it when it is there.
    """
    targets = sorted(answer.targets, key=lambda k: -answer.nominal[k])
    if method == "cascade":  # as in certify: what an attack reaches is decided
        targets = [k for k in targets if answer.verdict_of(k) is not Verdict.FALSIFIED]
    plain = method == "cascade" and order == "1"
    together = method not in robustness.methods()  # linear bounds of layers serve all labels
    if together or (plain and answer.region.size <= SMALL):
        parts = [targets]
    elif plain:
        parts = [targets[:1], targets[1:]]
    else:
        parts = [[k] for k in targets]
    return [part for part in parts if part]
