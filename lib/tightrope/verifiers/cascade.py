"""Robust or not, for many boxes: each image is decided by the cheapest method that can.

LP-GREEDY (DeepZ), CROWN and Foolbox's attack for all images at once, then for each that is left LP-ALL by its dual,
LP-ALL by linear programs where the dual is too close to 0 to tell, the attack aimed at the labels that LP-ALL leaves
open, and branch and bound. CROWN proves nothing that LP-ALL does not, so what is certified up to there is what LP-ALL
certifies; what is attacked is certified by none of them.

With `semidefinite`, what LP-ALL leaves open goes on to Shor's relaxation of the network as a monDEQ instead: order 1
with bounds, 1+cuts, and branch and bound on phases with that relaxation at its nodes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias, cast

import numpy as np

from tightrope import attacks
from tightrope.attacks import Attack
from tightrope.errors import CertificateError, InputError, NetworkError
from tightrope.networks import MonDEQ
from tightrope.problems.robustness import RobustnessModel, robustness_model
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import Layerwise, layerwise
from tightrope.question import Limits, Question, Verdict
from tightrope.threads import one_blas_thread
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.phases import Phases
from tightrope.verifiers.tightening import Reweighting, Tightened, Tightening, reweightable
from tightrope.verifiers.triangle import layerwise_bounds

#: Of branch and bound for one image.
PATIENCE = Limits(time=60.0)
#: A dual bound of LP-ALL from 0 to here is computed again by linear programs. The dual is off by about 1e-4.
NEAR = 3e-3
#: Steps of the dual's first try, and how far above 0 its bound, relative to 1 + LP-GREEDY's, leaves no doubt that
#: LP-ALL certifies nothing: several times what more steps gain. A proof is not at stake, only what is left open.
ROUGH, CLEAR = 5, 0.06
#: Most unstable neurons for which products of facts are added to Shor's relaxation: seconds a label.
MOST_CUT = 200
#: Beyond LP-ALL's bound, how far below 0 its maximisers are when a short attack is not worth its time: none of the
#: 1,084 images of MNIST that it found on six lines of Table 1 was further.
HOPELESS = 0.6


class By(StrEnum):
    """What decided an image; one letter each, so that a row can hold many."""

    WRONG = "w"
    GREEDY = "g"
    CROWN = "c"
    FOOLBOX = "f"
    PGD = "p"
    DUAL = "d"
    PROGRAM = "h"
    SHOR = "s"
    CUTS = "k"
    PHASES = "t"
    TREE = "b"
    TREE_ATTACK = "a"
    NOTHING = "?"

    @property
    def verdict(self) -> Verdict:
        """What it decided."""
        if self in (*LP_ALL, By.SHOR, By.CUTS, By.PHASES, By.TREE):
            return Verdict.CERTIFIED
        return Verdict.UNKNOWN if self is By.NOTHING else Verdict.FALSIFIED


#: What LP-ALL certifies.
LP_ALL = (By.GREEDY, By.CROWN, By.DUAL, By.PROGRAM)


#: What decided an image if it is decided, LP-GREEDY's bound, the attack, and the seconds.
_Known: TypeAlias = tuple[By, float, Attack | None, dict[str, float]]


@dataclass(frozen=True, eq=False)
class Decision:
    """One image: what decided it (`by`, whose `verdict` is the verdict), or the `reason` why it is open.

    `greedy` and `lp_all` are proven bounds of the largest margin by LP-GREEDY and by LP-ALL's dual, None where it was
    not computed; `shor` those of the labels that LP-ALL leaves open (the others are below 0 by LP-ALL), by the letter
    of Shor's relaxations that were asked. `attack` is the point with another label, or None; `subproblems` how many
    branch and bound needed; `seconds` processor time by the method's letter, where all images share that of what is
    done for all at once.
    """

    by: By
    greedy: float
    lp_all: float | None
    attack: Attack | None
    subproblems: int
    seconds: dict[str, float]
    reason: str = ""
    shor: Mapping[str, float] = field(default_factory=dict)


def certify_boxes(
    questions: Sequence[Question],
    limits: Limits = PATIENCE,
    *,
    subproblems: int | None = None,
    complete: bool = True,
    semidefinite: bool = False,
) -> list[Decision]:
    """Verify each box, by the cheapest method that decides it.

    The questions are of one feed-forward network, about balls of the maximum norm and all labels. A CertificateError
    says that a linear bound certified an image that the network labels wrongly. (What is certified is not attacked.)

    Parameters
    ----------
    limits, subproblems
        Processor seconds of branch and bound for one image, and its most subproblems: a limit that is the same on every
        machine. There the verdict is unknown. The seed is that of the attacks.
    complete
        Whether to go on to branch and bound; without it, what LP-ALL does not certify and attacks do not find is
        unknown.
    semidefinite
        Whether Shor's relaxation takes the place of branch and bound on linear bounds, for networks of dense layers.
        The seconds are then those of branch and bound on phases, for each label.
    """
    if len({question.network for question in questions}) != 1:
        raise InputError("questions: expected some, all of one network.")
    network = questions[0].layers
    network.require_relu("branch and bound splits", "certify, image by image")
    if semidefinite and not network.is_dense:
        raise NetworkError("network: semidefinite=True is for dense layers; leave it out, or give network.to_dense().")
    same = network.to_mondeq() if semidefinite else None
    regions, labels = [question.region for question in questions], [question.label for question in questions]
    with one_blas_thread():
        inputs = InputSet.from_balls([region.require_box("the cascade is") for region in regions])
        began = time.process_time()
        greedy = certify(network, inputs, labels, "deepz", batch=32)
        between = time.process_time()
        left = ~greedy.certified
        crown = certify(network, inputs, labels, "crown", consider=left, batch=32) if left.any() else greedy
        spent = {By.GREEDY: between - began, By.CROWN: time.process_time() - between}
        shared = {by.value: seconds / len(regions) for by, seconds in spent.items()}
        fooled, each = _fooled(questions, greedy.certified | crown.certified, limits.seed)
        decisions = []
        for i, question in enumerate(questions):
            seconds = dict(shared)
            if i in fooled and fooled[i][0] is not By.WRONG:
                seconds[By.FOOLBOX.value] = each
            certified = By.GREEDY if greedy.certified[i] else By.CROWN if crown.certified[i] else None
            by, attack = (certified, None) if certified else fooled[i]
            known = by, float(greedy.worst[i]), attack, seconds
            image = _Image(question, limits, subproblems, complete, same, known)
            image.decide()
            decisions.append(Decision(**{own.name: getattr(image, own.name) for own in fields(Decision)}))
    return decisions


def _fooled(
    questions: Sequence[Question], certified: np.ndarray, seed: int
) -> tuple[dict[int, tuple[By, Attack | None]], float]:
    """Return what attacks say of the images that are not certified, and seconds of Foolbox for each."""
    found: dict[int, tuple[By, Attack | None]] = {}
    for i, question in enumerate(questions):
        at_center = attacks.check(question, question.region.center)
        if at_center is not None and certified[i]:
            raise CertificateError(f"image {i} of regions: certified although the network labels it wrongly.")
        if not certified[i]:
            found[i] = (By.NOTHING if at_center is None else By.WRONG, at_center)
    todo, began = [i for i, (by, _) in found.items() if by is By.NOTHING], time.process_time()
    tried = attacks.foolbox_pgd_each([questions[i] for i in todo], seed=seed)
    found |= {i: (By.FOOLBOX, attack) for i, attack in zip(todo, tried, strict=True) if attack is not None}
    return found, (time.process_time() - began) / max(1, len(todo))


class _Image:
    """One box on its way through the stages; see :class:`Decision`."""

    def __init__(
        self, question: Question, limits: Limits, most: int | None, complete: bool, same: MonDEQ | None, known: _Known
    ) -> None:
        self.question, self.limits, self.most, self.complete, self.same = question, limits, most, complete, same
        self.by, self.greedy, self.attack, self.seconds = known
        self.network, self.box = question.layers, question.region.require_box("the cascade is")
        self.lp_all: float | None = None
        self.subproblems, self.reason, self.shor = 0, "", dict[str, float]()

    def decide(self) -> None:
        """Run stage after stage, from the cheapest to the dearest, as long as the image is open."""
        for letter, work in self._stages():
            if self.by is not By.NOTHING or self.reason:
                return
            began = time.process_time()
            work()
            self.seconds[letter.value] = time.process_time() - began

    def _stages(self) -> Iterator[tuple[By, Callable[[], None]]]:
        yield By.DUAL, self.by_dual
        if self.root.worst < NEAR:
            yield By.PROGRAM, self.by_program
        yield By.PGD, self.by_attack
        if self.same is not None:
            yield from ((By.SHOR, self.by_shor), (By.CUTS, self.by_cuts), (By.PHASES, self.by_phases))
        yield By.TREE, self.by_tree

    @cached_property
    def root(self) -> Layerwise:
        """LP-ALL's bounds by the dual; only as good as they must be to tell what LP-ALL certifies, if that is all."""
        network, inputs, label = self.network, InputSet.from_balls([self.box]), self.question.label
        if not self.complete:
            first = layerwise(network, inputs, label, "lp-all", steps=ROUGH, decide=True)
            if not 0 <= first.worst <= CLEAR * (1 + self.greedy):
                return first
        return layerwise(network, inputs, label, "lp-all", decide=True)

    @cached_property
    def left(self) -> list[int]:
        """The labels that LP-ALL leaves open."""
        return [k for k in range(self.network.classes) if k != self.question.label and not self.root.margins[k] < 0]

    def by_dual(self) -> None:
        self.lp_all = self.root.worst
        self.by = By.DUAL if self.lp_all < 0 else By.NOTHING

    def by_program(self) -> None:
        exact = layerwise_bounds(self.network, *self.box.bounding_box(), self.question.label)
        if exact.worst < 0:
            self.by, self.lp_all = By.PROGRAM, exact.worst

    def by_attack(self) -> None:
        """Look at the points where LP-ALL's forms are largest; then aim at each label that LP-ALL leaves open."""
        points = self.box.project(self.root.points.double().numpy())
        self.attack = attacks.check(self.question, points) or self._aimed(points)
        self.by = By.NOTHING if self.attack is None else By.PGD
        self.reason = "not certified by LP-ALL" if self.attack is None and not self.complete else ""

    def _aimed(self, points: np.ndarray) -> Attack | None:
        """Without branch and bound, left out where the points are further below 0 than LP-ALL's bound is above."""
        network, label, root = self.network, self.question.label, self.root
        margins = np.delete(network.logits(points), label, axis=1) - network.logits(points)[:, [label]]
        if not self.complete and margins.max() < -root.worst - HOPELESS:
            return None
        restarts, steps = (2, 40) if self.complete else (1, 20)
        asked = Question(network, self.box, label, self.left)
        return attacks.pgd(asked, restarts=restarts, steps=steps, seed=self.limits.seed).best

    def by_tree(self) -> None:
        tree = branch_and_bound(self.question, self.limits, root=self.root, subproblems=self.most)
        by = {Verdict.CERTIFIED: By.TREE, Verdict.FALSIFIED: By.TREE_ATTACK}.get(tree.verdict, By.NOTHING)
        self.by, self.attack, self.subproblems, self.reason = by, tree.attack, tree.subproblems, tree.reason

    # Shor's relaxations, from the cheapest, of the labels that are open

    @cached_property
    def model(self) -> RobustnessModel:
        return robustness_model(cast(MonDEQ, self.same), self.box, self.question.label)

    @cached_property
    def tightening(self) -> Tightening:
        return Tightening(self.model)

    @cached_property
    def bounds(self) -> dict[int, float]:
        """The proven bounds of the labels that are left, the largest of LP-ALL first; inf where LP-ALL overflows."""
        margins = self.root.margins.nan_to_num(nan=np.inf, posinf=np.inf)  # max and min would lose a nan
        return {k: float(margins[k]) for k in sorted(self.left, key=lambda k: -float(margins[k]))}

    def by_relaxation(self, letter: By, bound: Callable[[int], float]) -> None:
        """Bound the open labels, and certify the image if none is left."""
        for target in [k for k, known in self.bounds.items() if not known < 0]:
            self.bounds[target] = min(self.bounds[target], bound(target))
            if self.attack is not None:
                return
        self.shor[letter.value] = worst = max(self.bounds.values())
        self.by = letter if worst < 0 else By.NOTHING

    @cached_property
    def reweighting(self) -> Reweighting | None:
        base = self.tightening.base
        return Reweighting(base, list(self.bounds)) if reweightable(base) else None

    def by_shor(self) -> None:
        if (relaxation := self.reweighting) is not None:
            self.by_relaxation(By.SHOR, lambda target: _value(relaxation(target)))

    def by_cuts(self) -> None:
        if len(self.tightening.base.unstable) <= MOST_CUT:
            solve = self.tightening if self.reweighting is None else self.reweighting.cut
            self.by_relaxation(By.CUTS, lambda target: _value(solve(target)))

    def by_phases(self) -> None:
        grow = Phases(self.model)

        def bound(target: int) -> float:
            tree = grow(target, self.limits)
            self.subproblems += tree.nodes
            if tree.attack is not None:
                self.attack = attacks.check(self.question, tree.attack.point)
            self.reason = tree.reason or self.reason
            return tree.bound

        self.by_relaxation(By.PHASES, bound)
        self.by = By.TREE_ATTACK if self.attack is not None else self.by
        self.reason = "" if self.by is not By.NOTHING else self.reason or "not certified by Shor's relaxation"


def _value(found: Tightened) -> float:
    return np.inf if found.bound is None else found.bound.value
