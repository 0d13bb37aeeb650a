"""The questions that the explorers ask: what is known of one image, part by part, each part solved once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from tightrope import attacks, zoo
from tightrope.errors import InputError
from tightrope.explorers.explorer import Memo
from tightrope.networks import FeedForward, MonDEQ
from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.question import Limits, Question, Stop, Verdict
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
            reason = "at the image itself" if nominal >= 0 else "by an attack"
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
    """Answers to states of an explorer; each part of an answer is solved once and kept.

    The seed is that of the attack and of the sampled outputs, the time limit in seconds for one solve.
    """

    def __init__(self, seed: int = 0, time_limit: float = 20.0):
        self.seed, self.time_limit = seed, time_limit
        self._parts = Memo(512)

    def stages(self, state: Mapping, stop: Stop | None = None) -> Iterator[Answer | None]:
        """Answer network, image, norm, epsilon_pixel, clip; method, order, labels i and j, and ellipse (a bool).

        Each answer yielded knows more than the one before; None only says that this is a good place to stop. A solve
        that `stop` ends raises a :class:`StoppedError`; what was solved before it is kept.
        """
        network = entry(state["network"]).network
        answer, question = self._question(state), _key(state)
        yield None
        answer = self._attacked(answer, question, network)
        if state["method"] is None:
            yield answer
            return
        if isinstance(network, MonDEQ):  # milliseconds, where a relaxation may take half a minute a label
            with one_blas_thread():
                bounds = self._parts.of(("enclosure", question), lambda: fixpoint_bounds(network, answer.region))
            enclosure = bounds.margins(network, answer.label)
            answer = replace(answer, enclosure=enclosure, to_the_sign=state["method"] == "cascade")
        ellipse = state.get("ellipse", False)
        yield replace(answer, open="bounds")
        batches = _batches(answer, state)
        for number, batch in enumerate(batches, 1):
            answer = self._decided(answer, question, network, batch, state, stop)
            ready = number == len(batches)
            yield replace(answer, open="ellipse" if ready else "bounds") if ellipse or not ready else None
        yield self._enclosed(answer, question, network, stop) if ellipse else answer

    def _question(self, state: Mapping) -> Answer:
        found = entry(state["network"])
        data, index = dataset(found.dataset), state["image"]
        pixels, label = data.image(index), data.label(index)
        region = pixel_ball(pixels, state["norm"], state["epsilon_pixel"], found.normalisation, state["clip"])
        scores = found.network.logits(region.center)
        closest = next(int(k) for k in np.argsort(scores[label] - scores) if k != label)
        asked = (state.get("i", TRUE), state.get("j", CLOSEST))
        i, j = ({TRUE: label, CLOSEST: closest}.get(k, k) for k in asked)
        return Answer(index, region, pixels, tuple(data.shape), label, scores, (i, j))

    def _attacked(self, answer: Answer, question: tuple, network) -> Answer:
        def search():
            found = attacks.pgd(Question(network, answer.region, answer.label), restarts=2, steps=20, seed=self.seed)
            points = answer.region.sample(300, np.random.default_rng(self.seed))
            return found, network.logits(points), None if found.best is None else network.logits(found.best.point)

        found, cloud, scores = self._parts.of(("attack", question), search)
        best = found.best
        normalisation = entry(dict(question)["network"]).normalisation
        shown = None if best is None else normalisation.to_pixels(best.point)
        return replace(
            answer, attack=best, attack_pixels=shown, attack_scores=scores, cloud=cloud, attack_margin=found.best_margin
        )

    def _decided(self, answer: Answer, question: tuple, network, batch: list[int], state: Mapping, stop) -> Answer:
        method, order = state["method"], state.get("order", "1")

        def solve():
            options = {"targets": batch, "method": method, "order": order, "attack": False}
            limits = Limits(time=self.time_limit, seed=self.seed, stop=stop)
            return robustness.certify(network, answer.region, answer.label, limits=limits, **options)

        report = self._parts.of(("decide", question, method, order, tuple(batch)), solve)
        return replace(answer, decisions={**answer.decisions, **{d.label: d for d in report.decisions}})

    def _enclosed(self, answer: Answer, question: tuple, network, stop) -> Answer:
        if isinstance(network, FeedForward):
            from tightrope.verifiers.feedforward import LARGEST_SDP  # imports PyTorch

            if sum(network.sizes[1:-1]) > LARGEST_SDP:
                return replace(answer, note=f"it is for networks of at most {LARGEST_SDP} hidden neurons")
            network = network.to_mondeq()
        limits = Limits(LIMITS.tolerance, time=self.time_limit, seed=self.seed, stop=stop)
        report = self._parts.of(("ellipsoid", question), lambda: outer_ellipsoid(network, answer.region, limits=limits))
        note = "" if report.ellipsoid is not None else str(report.solve.status)
        return replace(answer, ellipsoid=report.ellipsoid, note=note)


def _key(state: Mapping) -> tuple:
    names = ("network", "image", "norm", "epsilon_pixel", "clip")
    return tuple((name, round(state[name], 6) if name == "epsilon_pixel" else state[name]) for name in names)


def _batches(answer: Answer, state: Mapping) -> list[list[int]]:
    """Labels to decide together, the closest first.

    The cascade starts each label where the one before ended, so only the closest is asked for alone, and only where all
    would take longer than a second; other methods solve each label anew and show it when it is there.
    """
    targets = sorted(answer.targets, key=lambda k: -answer.nominal[k])
    method, region = state["method"], answer.region
    if method == "cascade":  # as in certify: what an attack reaches is decided
        targets = [k for k in targets if answer.verdict_of(k) is not Verdict.FALSIFIED]
    plain = method == "cascade" and state.get("order", "1") == "1"
    together = method not in robustness.methods()  # linear bounds of layers serve all labels
    if together or (plain and region.size <= SMALL):
        parts = [targets]
    elif plain:
        parts = [targets[:1], targets[1:]]
    else:
        parts = [[k] for k in targets]
    return [part for part in parts if part]
