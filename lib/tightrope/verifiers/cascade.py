"""Robust or not, for many boxes: each image is decided by the cheapest method that can.

LP-GREEDY (DeepZ), CROWN and Foolbox's attack for all images at once, then for each that is left LP-ALL by its dual,
LP-ALL by linear programs where the dual is too close to 0 to tell, the attack aimed at the labels that LP-ALL leaves
open, and branch and bound. CROWN proves nothing that LP-ALL does not, so what is certified up to there is what LP-ALL
certifies; what is attacked is certified by none of them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

from tightrope import attacks
from tightrope.attacks import Attack
from tightrope.certificates import Verdict
from tightrope.errors import CertificateError, InputError, RegionError
from tightrope.networks import FeedForward
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import Layerwise, layerwise
from tightrope.regions import INFINITY, Ball
from tightrope.threads import one_blas_thread
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.triangle import layerwise_bounds

#: A dual bound of LP-ALL from 0 to here is computed again by linear programs. The dual is off by about 1e-4.
NEAR = 3e-3
#: Steps of the dual's first try, and how far above 0 its bound, relative to 1 + LP-GREEDY's, leaves no doubt that
#: LP-ALL certifies nothing: several times what more steps gain. A proof is not at stake, only what is left open.
ROUGH, CLEAR = 5, 0.06
#: Beyond LP-ALL's bound, how far below 0 its maximisers are when a short attack is not worth its time: none of the
#: 1,084 images of MNIST that it found on six lines of Table 1 was further.
HOPELESS = 0.6


T = TypeVar("T")


class By(StrEnum):
    """What decided an image; one letter each, so that a row can hold many."""

    WRONG = "w"
    GREEDY = "g"
    CROWN = "c"
    FOOLBOX = "f"
    PGD = "p"
    DUAL = "d"
    PROGRAM = "h"
    TREE = "b"
    TREE_ATTACK = "a"
    NOTHING = "?"

    @property
    def verdict(self) -> Verdict:
        """What it decided."""
        if self in (By.GREEDY, By.CROWN, By.DUAL, By.PROGRAM, By.TREE):
            return Verdict.CERTIFIED
        return Verdict.UNKNOWN if self is By.NOTHING else Verdict.FALSIFIED


#: What LP-ALL certifies.
LP_ALL = (By.GREEDY, By.CROWN, By.DUAL, By.PROGRAM)


@dataclass(frozen=True, eq=False)
class Decision:
    """One image.

    Attributes
    ----------
    by
        What decided it; `by.verdict` is the verdict.
    greedy, lp_all
        Proven bounds of the largest margin by LP-GREEDY and by LP-ALL's dual; None where it was not computed.
    attack
        The point with another label, or None.
    subproblems
        How many branch and bound needed.
    seconds
        Processor time by the method's letter; that of what is done for all images at once is shared among them.
    reason
        Why it is open.
    """

    by: By
    greedy: float
    lp_all: float | None
    attack: Attack | None
    subproblems: int
    seconds: dict[str, float]
    reason: str = ""


def certify_boxes(
    network: FeedForward,
    regions: Sequence[Ball],
    labels: Sequence[int],
    *,
    time_limit: float = 60.0,
    subproblems: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Decision]:
    """Verify each box, by the cheapest method that decides it.

    Parameters
    ----------
    network : FeedForward
    regions : sequence of Ball
        Balls of the maximum norm.
    labels : sequence of int
        The true labels.
    time_limit : float
        Processor seconds of branch and bound for one image; at the limit its verdict is unknown. 0 leaves it out; what
        LP-ALL does not certify and attacks do not find is unknown then.
    subproblems : int, optional
        Most subproblems of branch and bound for one image: a limit that is the same on every machine.
    seed : int
        The seed of the attacks.
    progress
        Called with the number of decided images.

    Raises
    ------
    CertificateError
        A linear bound certified an image that the network labels wrongly. (What is certified is not attacked.)
    """
    if len(regions) != len(labels) or not regions:
        raise InputError(f"regions, labels: got {len(regions)} and {len(labels)}; give one label for each region.")
    for region in regions:
        if not isinstance(region, Ball) or region.norm != INFINITY or region.size != network.input_size:
            raise RegionError(f"regions: expected balls of norm inf with {network.input_size} inputs, got {region!r}.")
    if not time_limit >= 0:
        raise InputError(f"time_limit: expected seconds >= 0, got {time_limit!r}.")
    with one_blas_thread():
        inputs = InputSet.from_balls(regions)
        began = time.process_time()
        greedy = certify(network, inputs, labels, "deepz", batch=32)
        between = time.process_time()
        left = ~greedy.certified
        crown = certify(network, inputs, labels, "crown", consider=left, batch=32) if left.any() else greedy
        spent = {By.GREEDY: between - began, By.CROWN: time.process_time() - between}
        shared = {by.value: seconds / len(regions) for by, seconds in spent.items()}
        fooled, each = _fooled(network, regions, labels, greedy.certified | crown.certified, seed)
        decisions = []
        for i, (region, label) in enumerate(zip(regions, labels, strict=True)):
            seconds = dict(shared)
            if i in fooled and fooled[i][0] is not By.WRONG:
                seconds[By.FOOLBOX.value] = each
            certified = By.GREEDY if greedy.certified[i] else By.CROWN if crown.certified[i] else None
            by, attack = (certified, None) if certified else fooled[i]
            worst = float(greedy.worst[i])
            if by is By.NOTHING:
                limits = (time_limit, subproblems)
                decisions.append(_decided(network, region, int(label), worst, seconds, limits, seed))
            else:
                decisions.append(Decision(by, worst, None, attack, 0, seconds))
            if progress:
                progress(i + 1)
    return decisions


def _fooled(
    network: FeedForward, regions: Sequence[Ball], labels: Sequence[int], certified: np.ndarray, seed: int
) -> tuple[dict[int, tuple[By, Attack | None]], float]:
    """Return what attacks say of the images that are not certified, and seconds of Foolbox for each."""
    found: dict[int, tuple[By, Attack | None]] = {}
    for i, (region, label) in enumerate(zip(regions, labels, strict=True)):
        at_center = attacks.check(network, region, label, region.center)
        if at_center is not None and certified[i]:
            raise CertificateError(f"image {i} of regions: certified although the network labels it wrongly.")
        if not certified[i]:
            found[i] = (By.NOTHING if at_center is None else By.WRONG, at_center)
    todo = [i for i, (by, _) in found.items() if by is By.NOTHING]
    began = time.process_time()
    tried = attacks.foolbox_pgd_each(network, [regions[i] for i in todo], [int(labels[i]) for i in todo], seed=seed)
    found |= {i: (By.FOOLBOX, attack) for i, attack in zip(todo, tried, strict=True) if attack is not None}
    return found, (time.process_time() - began) / max(1, len(todo))


def _decided(
    network: FeedForward,
    region: Ball,
    label: int,
    greedy: float,
    seconds: dict[str, float],
    limits: tuple[float, int | None],
    seed: int,
) -> Decision:
    def done(by: By, attack: Attack | None = None, subproblems: int = 0, reason: str = "") -> Decision:
        return Decision(by, greedy, bound, attack, subproblems, seconds, reason)

    def timed(by: By, call: Callable[[], T]) -> T:
        began = time.process_time()
        answer = call()
        seconds[by.value] = time.process_time() - began
        return answer

    time_limit, limit = limits
    root = timed(By.DUAL, lambda: _lp_all(network, region, label, greedy, rough=not time_limit))
    bound = root.worst
    if bound < 0:
        return done(By.DUAL)
    if bound < NEAR:
        exact = timed(By.PROGRAM, lambda: layerwise_bounds(network, *region.bounding_box(), label))
        if exact.worst < 0:
            bound = exact.worst
            return done(By.PROGRAM)
    found = timed(By.PGD, lambda: _aimed(network, region, label, root, seed, rough=not time_limit))
    if found is not None:
        return done(By.PGD, found)
    if not time_limit:
        return done(By.NOTHING, reason="not certified by LP-ALL")
    tree = timed(
        By.TREE, lambda: branch_and_bound(network, region, label, root=root, time_limit=time_limit, limit=limit)
    )
    by = {Verdict.CERTIFIED: By.TREE, Verdict.FALSIFIED: By.TREE_ATTACK}.get(tree.verdict, By.NOTHING)
    return done(by, tree.attack, tree.subproblems, tree.reason)


def _aimed(network: FeedForward, region: Ball, label: int, root: Layerwise, seed: int, *, rough: bool) -> Attack | None:
    """Return points where LP-ALL's forms are largest; then PGD aimed at each label that LP-ALL leaves open.

    With `rough`, PGD is shorter, and left out where these points are further below 0 than LP-ALL's bound is above.
    """
    points = region.project(root.points.double().numpy())
    found = attacks.check(network, region, label, points)
    if found is None:
        margins = np.delete(network.logits(points), label, axis=1) - network.logits(points)[:, [label]]
        if rough and margins.max() < -root.worst - HOPELESS:
            return None
        aims = [k for k in range(network.classes) if k != label and not root.margins[k] < 0]
        restarts, steps = (1, 20) if rough else (2, 40)
        found = attacks.pgd(network, region, label, targets=aims, restarts=restarts, steps=steps, seed=seed).best
    return found


def _lp_all(network: FeedForward, region: Ball, label: int, greedy: float, *, rough: bool) -> Layerwise:
    """LP-ALL's bounds by the dual; with `rough` only as good as they must be to tell what LP-ALL certifies."""
    inputs = InputSet.from_balls([region])
    if rough:
        first = layerwise(network, inputs, label, "lp-all", steps=ROUGH, decide=True)
        if not 0 <= first.worst <= CLEAR * (1 + greedy):
            return first
    return layerwise(network, inputs, label, "lp-all", decide=True)
