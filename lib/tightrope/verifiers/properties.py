"""Does a network have a property, read from a VNN-LIB file: a proof, a counterexample, or an honest unknown."""

import time
from dataclasses import dataclass, replace

import numpy as np

from tightrope.arguments import require_network
from tightrope.attacks import pgd
from tightrope.certificates import Verdict
from tightrope.errors import InputError
from tightrope.networks import Composition, Dense, FeedForward
from tightrope.networks.activations import RELU
from tightrope.propagation.margins import proven_margins
from tightrope.properties import Case, Property
from tightrope.regions import Ball
from tightrope.verifiers.question import DEFAULT, Limits
from tightrope.verifiers.report import LabelDecision, Report, combined
from tightrope.verifiers.robustness import certify

#: Linear bounds that :func:`tightrope.verifiers.robustness.certify` may use.
RELAXED = ("box", "crown", "deepz")
#: Random points of a box that are looked at before the attack.
SAMPLES = 1000


@dataclass(frozen=True, eq=False)
class PropertyReport(Report):
    """What is known of a property.

    Attributes
    ----------
    verdict : Verdict
        CERTIFIED: no point of the boxes has forbidden outputs. FALSIFIED: `counterexample` has. UNKNOWN and FAILED:
        `reason` says why.
    cases : tuple of Verdict
        One for each case that was looked at; a counterexample ends it.
    counterexample, outputs : (p0,), (K,) or None
        The input, and what the network makes of it in float64.
    reason : str
    seconds : float
    """

    verdict: Verdict
    cases: tuple[Verdict, ...]
    counterexample: np.ndarray | None
    outputs: np.ndarray | None
    reason: str
    seconds: float
    facts = ("verdict", "cases", "reason", "seconds", "counterexample", "outputs")


def certify_property(network: FeedForward, question: Property, limits: Limits = DEFAULT) -> PropertyReport:
    """Decide each case of a property: attack, then bounds of each output constraint, then of all of them together.

    Parameters
    ----------
    network
    question
        From :func:`tightrope.properties.read_vnnlib`.
    limits
        Of one solve, and the seed of the attack.

    Examples
    --------
    >>> from tightrope.properties import parse_vnnlib
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0]]), ([0.0, 0.0], [0.0]))  # |x|
    >>> text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))(assert (>= X_0 -1))"
    >>> [certify_property(network, parse_vnnlib(text + f"(assert (>= Y_0 {y}))")).verdict.value for y in ("0.9", "1.1")]
    ['falsified', 'certified']
    """
    require_network(network, FeedForward)
    if (question.inputs, question.outputs) != (network.input_size, network.classes):
        raise InputError(
            f"property: {question.inputs} inputs and {question.outputs} outputs, the network has {network.input_size} "
            f"and {network.classes}."
        )
    began, verdicts, reason = time.perf_counter(), [], ""
    for number, case in enumerate(question.cases):
        verdict, point, why = _decide(network, case, limits)
        verdicts.append(verdict)
        if point is not None:
            seconds = time.perf_counter() - began
            return PropertyReport(verdict, tuple(verdicts), point, network.logits(point), "", seconds)
        if why and not reason:
            reason = f"case {number}: {why}"
    return PropertyReport(combined(verdicts), tuple(verdicts), None, None, reason, time.perf_counter() - began)


def _decide(network: FeedForward, case: Case, limits: Limits) -> tuple[Verdict, np.ndarray | None, str]:
    """Return the verdict of one case, its counterexample, and the reason of an unknown."""
    point = _counterexample(network, case, case.region.center[None])  # also without constraints on outputs
    if point is None:  # few inputs have local maxima in which gradients end and of which samples see more
        point = _counterexample(network, case, case.region.sample(SAMPLES, np.random.default_rng(limits.seed)))
    if point is not None:
        return Verdict.FALSIFIED, point, ""
    apart = slacks(network, case)
    together = smallest(apart, case.region) if len(case.b) > 1 else apart
    found = pgd(together, case.region, 0, targets=[1], restarts=10, steps=50, seed=limits.seed)
    points = [attack.point for attack in found.attacks.values()]
    point = _counterexample(network, case, np.array(points)) if points else None
    if point is not None:
        return Verdict.FALSIFIED, point, ""
    # It is enough that one constraint cannot be met; the one that is furthest from it at the centre first.
    margins = apart.logits(case.region.center)
    questions = [(apart, int(target), "1") for target in np.argsort(margins) if target != 0]
    decision: LabelDecision
    for asked, target, order in [*questions, (together, 1, "1+cuts")]:
        report = certify(asked, case.region, 0, targets=[target], order=order, attack=False, limits=limits)
        (decision,) = report.decisions
        if decision.verdict is Verdict.CERTIFIED:
            return Verdict.CERTIFIED, None, ""
    failed = decision.verdict is Verdict.FAILED
    return (Verdict.FAILED if failed else Verdict.UNKNOWN), None, decision.reason or "a constraint is met at the centre"


def _counterexample(network: FeedForward, case: Case, points: np.ndarray) -> np.ndarray | None:
    """Return the first of the points (N, p0) whose outputs are forbidden."""
    points = np.clip(points, case.region.lower, case.region.upper)
    outputs = network.logits(points)
    forbidden = np.flatnonzero((outputs @ case.A.T <= case.b).all(1))
    return points[forbidden[0]] if len(forbidden) and case.violated(outputs[forbidden[0]]) else None


def slacks(network: FeedForward, case: Case) -> FeedForward:
    """Return the network x -> (0, b - A F(x)): a counterexample has no negative entry."""
    zeros = np.zeros((1, network.classes))
    after = Dense(np.vstack([zeros, -case.A]), np.concatenate([[0.0], case.b]))
    return _then(network, after)


def smallest(network: FeedForward, region: Ball) -> FeedForward:
    """Return the network x -> (0, min_i F_i(x)) of (0, F_1, F_2, ...), the same function on the region.

    Level by level min(a, b) = b - ReLU(b - a), where b goes through the ReLU as ReLU(b + s) - s with a proven bound
    b + s >= 0 on the region: a neuron that is always active is relaxed exactly, ReLU(b) - ReLU(-b) would not be.
    """
    while (count := network.classes - 1) > 1:
        opposite = _then(network, Dense(-np.eye(count + 1), np.zeros(count + 1)))
        # Of -F_i, by each relaxation: b + s must be active for all of them.
        largest = np.max([proven_margins(opposite, region, 0, method)[1:] for method in RELAXED], axis=0)
        shift = np.maximum(0.0, largest) + 1e-6 * (1 + np.abs(largest))
        if not np.isfinite(shift).all():
            raise InputError("network: its outputs have no finite bounds on the box; scale its weights down.")
        pairs, rest = divmod(count, 2)
        before, offset = np.zeros((2 * pairs + rest, count + 1)), np.zeros(2 * pairs + rest)
        after, back = np.zeros((1 + pairs + rest, len(before))), np.zeros(1 + pairs + rest)
        for i in range(pairs + rest):
            a, b = (2 * i + 1, 2 * i + 2) if i < pairs else (None, count)
            row = 2 * i
            before[row, b], offset[row], after[1 + i, row], back[1 + i] = 1, shift[b - 1], 1, -shift[b - 1]
            if a is not None:
                before[row + 1, [a, b]], after[1 + i, row + 1] = (-1, 1), -1
        network = _then(network, Dense(before, offset))
        layers, activations = (*network.layers, Dense(after, back)), (*network.activations, RELU)
        network = replace(network, layers=layers, activations=activations)
    return network


def _then(network: FeedForward, after: Dense) -> FeedForward:
    *first, last = network.layers
    parts = last.layers if isinstance(last, Composition) else (last,)
    return replace(network, layers=(*first, Composition((*parts, after))))
