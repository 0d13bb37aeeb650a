"""Robust or not, for many boxes: each image is decided by the cheapest method that can.

LP-GREEDY (DeepZ), CROWN, Foolbox's attack, the targeted attack, LP-ALL by its dual, LP-ALL by linear programs where the
dual is too close to 0 to tell, branch and bound. CROWN proves nothing that LP-ALL does not, so what is certified up to
there is what LP-ALL certifies; what is attacked is certified by none of them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tightrope import attacks
from tightrope.attacks import Attack
from tightrope.certificates import Verdict
from tightrope.errors import CertificateError, InputError, RegionError
from tightrope.networks import FeedForward
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.regions import INFINITY, Ball
from tightrope.solvers.threads import single_thread
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.triangle import layerwise_bounds

#: A dual bound of LP-ALL from 0 to here is computed again by linear programs. The dual is off by about 1e-4.
NEAR = 3e-3


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
        Of branch and bound.
    seconds
        By the method's letter.
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


def decide(
    network: FeedForward,
    regions: Sequence[Ball],
    labels: Sequence[int],
    *,
    time_limit: float = 60.0,
    subproblems: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Decision]:
    """Decide each region.

    Parameters
    ----------
    network : FeedForward
    regions : sequence of Ball
        Of the maximum norm.
    labels : sequence of int
        The true labels.
    time_limit : float
        Seconds of branch and bound for one image; at the limit its verdict is unknown. 0 leaves it out.
    subproblems : int, optional
        Most subproblems of branch and bound for one image: a limit that is the same on every machine.
    seed : int
        Of the attacks.
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
    with single_thread():
        inputs = InputSet.from_balls(regions)
        began = time.perf_counter()
        greedy = certify(network, inputs, labels, "deepz", batch=32)
        between = time.perf_counter()
        left = ~greedy.certified
        crown = certify(network, inputs, labels, "crown", consider=left, batch=32) if left.any() else greedy
        shared = {By.GREEDY.value: (between - began) / len(regions),
                  By.CROWN.value: (time.perf_counter() - between) / len(regions)}  # fmt: skip
        decisions = []
        for i, (region, label) in enumerate(zip(regions, labels, strict=True)):
            certified = By.GREEDY if greedy.certified[i] else By.CROWN if crown.certified[i] else None
            worst = float(greedy.worst[i])
            limits = (time_limit, subproblems)
            decisions.append(_decided(network, region, int(label), certified, worst, dict(shared), limits, seed))
            if progress:
                progress(i + 1)
    return decisions


def _decided(network, region, label, certified, greedy, seconds, limits, seed) -> Decision:
    def done(by: By, lp_all=None, attack=None, subproblems=0, reason="") -> Decision:
        return Decision(by, greedy, lp_all, attack, subproblems, seconds, reason)

    def timed(by: By, call):
        began = time.perf_counter()
        found = call()
        seconds[by.value] = time.perf_counter() - began
        return found

    at_center = attacks.check(network, region, label, region.center)
    if at_center is not None:
        if certified:
            raise CertificateError(f"{certified.name}: it certified an image that the network labels wrongly.")
        return done(By.WRONG, attack=at_center)
    if certified:
        return done(certified)
    found = timed(By.FOOLBOX, lambda: attacks.foolbox_pgd(network, region, label, seed=seed))
    if found is not None:
        return done(By.FOOLBOX, attack=found)
    result = timed(By.PGD, lambda: attacks.pgd(network, region, label, restarts=2, steps=40, seed=seed))
    if result.best is not None:
        return done(By.PGD, attack=result.best)
    root = timed(By.DUAL, lambda: layerwise(network, InputSet.from_balls([region]), label, "lp-all", decide=True))
    if root.worst < 0:
        return done(By.DUAL, lp_all=root.worst)
    if root.worst < NEAR:
        exact = timed(By.PROGRAM, lambda: layerwise_bounds(network, *region.bounding_box(), label))
        if exact.worst < 0:
            return done(By.PROGRAM, lp_all=exact.worst)
    time_limit, limit = limits
    if not time_limit:
        return done(By.NOTHING, lp_all=root.worst, reason="not certified by LP-ALL")
    tree = timed(
        By.TREE, lambda: branch_and_bound(network, region, label, root=root, time_limit=time_limit, limit=limit)
    )
    by = {Verdict.CERTIFIED: By.TREE, Verdict.FALSIFIED: By.TREE_ATTACK}.get(tree.verdict, By.NOTHING)
    return done(by, root.worst, tree.attack, tree.subproblems, tree.reason)
