"""Does a network have a property, read from a VNN-LIB file: a proof, a counterexample, or an honest unknown.

A counterexample is checked on the file's own fractions: its inputs are moved into the box exactly, its outputs are
computed in rational numbers, or for large networks and other nonlinearities than ReLU enclosed, and every constraint
must hold, strictly where it is strict. A proof is one of the larger question that float64 numbers state
(:class:`tightrope.properties.Case`); where only a strict constraint or a last digit is in the way, intervals in
rational numbers decide.

A constraint that joins inputs to each other or to outputs is one on an output of a network that carries C x past its
ReLUs (:mod:`tightrope.networks.graph`). Beside other nonlinearities, which nothing is carried past, proofs do without
such a constraint, and only counterexamples must meet it.

The order: points and an attack; linear bounds; the inputs halved again and again where few of them are free; branch
and bound on phases, for all constraints together.
"""

import operator
import time
from collections import Counter
from dataclasses import dataclass, replace
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from fractions import Fraction
from functools import cached_property, partial

import numpy as np

from tightrope.arguments import require_network
from tightrope.attacks import ascend
from tightrope.checker.numbers import Exact, Refused, above
from tightrope.checker.relu import enclosed_outputs, is_small
from tightrope.checker.relu_network import Network
from tightrope.errors import InputError
from tightrope.networks import Composition, Dense, FeedForward
from tightrope.networks.activations import RELU, LeakyReLU, ReLU
from tightrope.networks.graph import Node, assemble
from tightrope.networks.layers import Layer, Scaling
from tightrope.propagation.certify import proven_margins, proven_outputs
from tightrope.properties import Case, Property
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import Ball
from tightrope.verifiers.input_splitting import split_inputs
from tightrope.verifiers.report import Report, combined
from tightrope.verifiers.robustness import certify

#: Linear bounds that :func:`tightrope.verifiers.robustness.certify` may use.
RELAXED = ("box", "crown", "deepz")
#: Random points of a box that are looked at before the attack; of these and of what an attack finds, how many are
#: checked exactly.
SAMPLES, CHECKED = 1000, 5
#: Numbers of points that are moved until constraints that join inputs are met; each is a fraction.
MOVED, MOST_MOVED = 5000, 100_000
#: Free inputs up to which boxes are halved, and the share of the time that goes there before phases are tried.
FEW, SHARE = 12, 0.8
#: A minute of processor time for a whole property.
MINUTE = Limits(time=60.0)


@dataclass(frozen=True, eq=False, repr=False)
class PropertyReport(Report):
    """What is known of a property.

    CERTIFIED: no point of the boxes has forbidden outputs. FALSIFIED: the `counterexample` (p0,) has, with the
    `outputs` (K,), rounded to float64; `point` is as it was checked, float64 numbers but where the file's box has none.
    UNKNOWN and FAILED: the `reason` says why, and `timeout` whether it is the time limit. `cases` has a verdict for
    each case that was looked at; a counterexample ends it.
    """

    verdict: Verdict
    cases: tuple[Verdict, ...]
    counterexample: np.ndarray | None
    outputs: np.ndarray | None
    reason: str
    seconds: float
    network: FeedForward
    question: Property
    point: tuple[Fraction, ...] | None = None
    timeout: bool = False
    facts = ("verdict", "cases", "reason", "seconds", "counterexample", "outputs")

    @property
    def headline(self) -> str:
        """The verdict, and how many cases are decided."""
        if not self.cases:
            return f"no case, as the constraints of the file contradict each other: {self.verdict}"
        decided = sum(verdict in (Verdict.CERTIFIED, Verdict.FALSIFIED) for verdict in self.cases)
        return f"{decided} of {len(self.cases)} cases decided: {self.verdict}"

    def _shown(self, name: str, value: object) -> object:
        """Return a cell for people; points as VNN-LIB names their numbers, with every digit."""
        letter = {"counterexample": "X", "outputs": "Y"}.get(name)
        if letter is not None and isinstance(value, list):
            return " ".join(f"{letter}_{i}={number:.17g}" for i, number in enumerate(value))
        if name == "cases":
            return ", ".join(f"{count} {verdict}" for verdict, count in Counter(self.cases).items())
        return super()._shown(name, value)


def certify_property(network: FeedForward, question: Property, limits: Limits = MINUTE) -> PropertyReport:
    """Decide whether any case of a property (:func:`tightrope.properties.read_vnnlib`) has a point.

    The time of `limits` is the processor time of the whole question.

    Examples
    --------
    >>> from tightrope.properties import parse_vnnlib
    >>> network = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0]]), ([0.0, 0.0], [0.0]))  # |x|
    >>> text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))(assert (>= X_0 -1))"
    >>> [certify_property(network, parse_vnnlib(text + f"(assert (>= Y_0 {y}))")).verdict.value for y in ("0.9", "1.1")]
    ['falsified', 'certified']
    """
    require_network(network, FeedForward)
    if not isinstance(question, Property):
        raise InputError(f"question: expected what properties.read_vnnlib makes of a file, got {question!r:.80}.")
    if (question.inputs, question.outputs) != (network.input_size, network.classes):
        has = f"the network has {network.input_size} and {network.classes}"
        raise InputError(f"property: {question.inputs} inputs and {question.outputs} outputs, {has}.")
    return _Search(network, question, limits).answer()


class _Search:
    """One property on its way: what is open, and the counterexample."""

    def __init__(self, network: FeedForward, question: Property, limits: Limits) -> None:
        self.network, self.question, self.cases, self.limits = network, question, question.cases, limits
        if not all(isinstance(one, ReLU | LeakyReLU) for one in network.activations):
            self.cases = tuple(_without_joined(case) for case in question.cases)
        self.less = self.cases != question.cases
        self.began, self.began_cpu = time.perf_counter(), time.process_time()
        self.open = dict.fromkeys(range(len(self.cases)), Verdict.UNKNOWN)
        self.reason = ""
        self.found: tuple[tuple[Fraction, ...], Exact] | None = None

    @property
    def left(self) -> float:
        return (self.limits.time or np.inf) - (time.process_time() - self.began_cpu)

    @property
    def _over(self) -> str:
        return f"the time limit of {self.limits.time:g} s"

    @cached_property
    def exact(self) -> Network:
        return Network.read(self.network.arrays())

    def answer(self) -> PropertyReport:
        """Run the stages until nothing is open, a counterexample is found, or the time is over."""
        for stage in (self.by_splitting, self.by_cases):
            if self.open and self.found is None:
                stage()
        verdicts = tuple(self.open.get(i, Verdict.CERTIFIED) for i in range(len(self.cases)))
        seconds, asked = time.perf_counter() - self.began, (self.network, self.question)
        if self.found is not None:
            point, outputs = self.found
            floats = np.array([float(value) for value in point])
            return PropertyReport(Verdict.FALSIFIED, verdicts, floats, outputs.floats(), "", seconds, *asked, point)
        if self.less and self.reason:
            self.reason += "; constraints that join inputs are used for proofs beside ReLU and leaky ReLU only"
        known = combined(verdicts), verdicts, None, None, self.reason
        return PropertyReport(*known, seconds, *asked, timeout=self.left <= 0)

    # counterexamples ------------------------------------------------------------------------------

    def looked(self, number: int, points: np.ndarray) -> bool:
        """Whether one of these points (n, p0) is a counterexample to a case, checked exactly."""
        for point in points[:CHECKED]:
            if self.found is None:
                self._check(number, self.cases[number].moved_inside(point))
        return self.found is not None

    def _looked_among(self, numbers: list[int], k: int, points: np.ndarray) -> bool:
        return self.looked(numbers[k], points)

    def _check(self, number: int, point: list[Fraction]) -> None:
        if self.network.is_relu:
            try:
                low, high, _ = enclosed_outputs(self.exact, Exact.rational(point))
            except Refused:  # they overflow
                return
        else:  # the nonlinearities are enclosed in float64, of a box around the point
            ends = ([np.nextafter(float(value), side) for value in point] for side in (-np.inf, np.inf))
            enclosed = proven_outputs(self.network, *map(np.array, ends))
            if not np.isfinite(enclosed).all():
                return
            low, high = (Exact.rational([Fraction(float(value)) for value in side]) for side in enclosed)
        outputs = dict(enumerate(zip(low.fractions(), high.fractions(), strict=True)))
        values = {"X": {i: (value, value) for i, value in enumerate(point)}, "Y": outputs}
        if all(one.holds(values) for one in self.cases[number].constraints):
            self.found = (tuple(point), low)
            self.open[number] = Verdict.FALSIFIED

    def promising(self, number: int, points: np.ndarray) -> np.ndarray:
        """Return the points (n, p0) whose outputs are forbidden up to rounding, the clearest first."""
        case = self.cases[number]
        outputs = self.network.logits(points)
        slack = case.slack(points, outputs).min(1, initial=np.inf)
        scale = 1e-9 * (1 + np.abs(outputs).max(1) * np.abs(case.A).sum(1).max(initial=0.0))
        if case.C is not None:
            scale += 1e-9 * np.abs(points).max(1) * np.abs(case.C).sum(1).max()
        order = np.argsort(-slack, kind="stable")
        return points[order[slack[order] >= -scale[order]]]

    def by_points(self, number: int) -> None:
        """Look at the centre, at random points, and at what an attack finds."""
        case = self.cases[number]
        region, rng = case.region, np.random.default_rng(self.limits.seed)
        if self.looked(number, self.promising(number, region.center[None])):  # also without constraints on outputs
            return
        # Few inputs have local maxima in which gradients end and of which samples see more.
        samples = self._met(case, region.sample(SAMPLES, rng))
        if len(case.b) and not self.looked(number, self.promising(number, samples)):
            ends = ascend(Question(self.together(number), region, 0, [1]), 10, 50, self.limits.seed)[0]
            self.looked(number, self.promising(number, self._met(case, region.inwards(ends))))

    def _met(self, case: Case, points: np.ndarray) -> np.ndarray:
        """Return the points (n, p0), and in front of them the first ones where constraints that join inputs are met."""
        met = sum(all(kind == "X" for kind, _ in one.weights) for one in case.constraints if len(one.weights) > 1)
        work = points.shape[1] * max(1, met * met // 2)  # fractions that one point takes
        if case.C is None or work > MOST_MOVED:
            return points
        moved = [[float(value) for value in case.moved_inside(point)] for point in points[: 1 + MOVED // work]]
        return np.vstack([moved, points])

    # proofs ---------------------------------------------------------------------------------------

    def by_splitting(self) -> None:
        """Halve the inputs of all cases that have few free ones, those of the same A together."""
        free = [sum(low < high for low, high in case.box) for case in self.cases]
        few = [i for i, case in enumerate(self.cases) if len(case.b) and free[i] <= FEW]
        alike: dict[tuple, list[int]] = {}
        for i in few:
            A, C = self.cases[i].A, self.cases[i].C
            alike.setdefault((A.shape, A.tobytes(), None if C is None else C.tobytes()), []).append(i)
        for i in few[:: max(1, len(few) // 20)]:  # a counterexample to one of many cases ends it all
            if self.found is None:
                self.by_points(i)
        for numbers in alike.values():
            if self.found is not None:
                return
            cases = [self.cases[i] for i in numbers]
            lower, upper = (np.stack(side) for side in zip(*(c.region.bounding_box() for c in cases), strict=True))
            forms = _negated(self.network, cases[0], np.zeros(len(cases[0].A)), Ball.box(lower.min(0), upper.max(0)))
            until = time.process_time() + SHARE * self.left
            look = partial(self._looked_among, numbers)
            still = split_inputs(forms, lower, upper, np.stack([case.b for case in cases]), look, until)
            if self.found is None:
                for k, i in enumerate(numbers):
                    if k not in still:
                        del self.open[i]

    def by_cases(self) -> None:
        """Decide the cases that are open one after the other."""
        for number in list(self.open):
            if self.left <= 0:
                self.reason = self.reason or f"case {number}: {self._over}"
                return
            self.by_points(number)
            if self.found is None:
                self._by_bounds(number)
            if self.found is not None:
                return

    def together(self, number: int) -> FeedForward:
        """Return the network x -> (0, the smallest slack of the constraints)."""
        apart = slacks(self.network, self.cases[number])
        return smallest(apart, self.cases[number].region) if len(self.cases[number].b) > 1 else apart

    def _by_bounds(self, number: int) -> None:
        case = self.cases[number]
        if not len(case.b):
            self.reason = self.reason or f"case {number}: no point of its box was found"
            return
        apart = slacks(self.network, case)
        proven = np.min([proven_margins(apart, case.region, 0, method)[1:] for method in RELAXED], axis=0)
        if (proven < 0).any() or self._impossible(case):
            del self.open[number]
            return
        limits = replace(self.limits, time=max(1e-3, self.left))  # inf is no limit, None one of the stages' own
        report = certify(
            self.together(number), case.region, 0, targets=[1], order="1+cuts", attack=False, limits=limits
        )
        (decision,) = report.decisions
        if report.attack is not None and self.looked(number, report.attack.point[None]):
            return
        if decision.verdict is Verdict.CERTIFIED:
            del self.open[number]
            return
        self.open[number] = Verdict.FAILED if decision.verdict is Verdict.FAILED else Verdict.UNKNOWN
        why = decision.reason or "float64 meets its constraints somewhere, exactly no point was found"
        why = why if self.left > 0 else self._over
        self.reason = self.reason or f"case {number}: {why}"

    def _impossible(self, case: Case) -> bool:
        """Whether intervals in rational numbers exclude one of the constraints, strict ones too."""
        if not (self.network.is_relu and is_small(self.exact)):
            return False
        low, high = (Exact.rational([side[end] for side in case.box]) for end in (0, 1))
        for i, layer in enumerate(self.exact.layers):
            if i:
                zero = Exact.zeros(len(low))
                low, high = low.maximum(zero), high.maximum(zero)
            for step in layer:
                W, b = step.exact
                up, down = W.maximum(W - W), W.minimum(W - W)
                times = operator.matmul if len(W.shape) == 2 else operator.mul
                low, high = times(up, low) + times(down, high) + b, times(up, high) + times(down, low) + b
        ends = list(zip(low.fractions(), high.fractions(), strict=True))
        within = {"X": case.box, "Y": ends}
        for one in case.constraints:
            least = sum((c * within[kind][i][c < 0] for (kind, i), c in one.weights.items()), Fraction())
            if least > one.limit or (least == one.limit and one.strict):
                return True
        return False


def competition_text(report: PropertyReport) -> str:
    """Return the answer in the form of VNN-COMP: sat, unsat, unknown or timeout, and the counterexample after sat."""
    if report.point is None or report.outputs is None:
        open_answer = "timeout" if report.timeout else "unknown"
        return ("unsat" if report.verdict is Verdict.CERTIFIED else open_answer) + "\n"
    rows = [f"(X_{i} {_decimal(value)})" for i, value in enumerate(report.point)]
    rows += [f"(Y_{i} {value!r})" for i, value in enumerate(report.outputs.tolist())]
    return "sat\n(" + "\n".join(rows) + ")\n"


def _decimal(value: Fraction) -> str:
    """Return a fraction exactly: as a decimal, or if it has none as the quotient that SMT-LIB writes."""
    places = value.denominator.bit_length()  # of a power of 10 that the denominator divides, if it divides one
    if 10**places % value.denominator:
        top, bottom = (f"{Decimal(part):f}" for part in (abs(value.numerator), value.denominator))  # of any length
        quotient = f"(/ {top} {bottom})"
        return quotient if value > 0 else f"(- {quotient})"
    digits = Decimal(value.numerator * 10**places // value.denominator)
    exact = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)
    return format(digits.scaleb(-places, exact), "f").rstrip("0").rstrip(".")


def slacks(network: FeedForward, case: Case) -> FeedForward:
    """Return the network x -> (0, b - A F(x) - C x), on the case's region: a counterexample has no negative entry."""
    rows = len(case.b)
    after = Dense(np.vstack([np.zeros(rows), np.eye(rows)]), np.zeros(1 + rows))
    return _then(_negated(network, case, case.b, case.region), after)


def _negated(network: FeedForward, case: Case, offset: np.ndarray, region: Ball) -> FeedForward:
    """Return the network x -> offset - A F(x) - C x, the same function on the region.

    C x goes past the ReLUs as ReLU(C x + s) - s with a proven C x + s >= 0 on the region, which is relaxed exactly.
    """
    if case.C is None:
        return _then(network, Dense(-case.A, offset))
    box = [tuple(map(Fraction, ends)) for ends in zip(*(side.tolist() for side in region.bounding_box()), strict=True)]
    joined = np.flatnonzero(case.C.any(1))
    forms = (zip(row, box, strict=True) for row in case.C[joined].tolist())
    least = [sum((Fraction(c) * ends[c < 0] for c, ends in form), Fraction()) for form in forms]
    shift = np.array([above(-value) for value in least]) * bool(network.activations)
    end = Node(network.input_size)
    carried = Node.of(Dense(case.C[joined], shift), [end])
    for i, layer in enumerate(network.layers):
        if i:
            end = Node.of(network.activations[i - 1], [end])
            carried = Node.of(RELU, [carried])
        for part in _parts(layer):
            end = Node.of(part, [end])
    back = np.eye(len(case.A))[:, joined]
    both = Node.of(Dense(np.hstack([-case.A, -back]), back @ shift), [end, carried])
    layers, activations = assemble(Node.of(Scaling(np.ones(len(offset)), offset), [both]))
    return FeedForward(layers, activations=activations)


def _without_joined(case: Case) -> Case:
    """Return a larger question: the constraints that join inputs are left out of what proofs regard."""
    if case.C is None:
        return case
    kept = ~case.C.any(1)
    return replace(case, A=case.A[kept], b=case.b[kept], C=None)


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
    return replace(network, layers=(*first, Composition((*_parts(last), after))))


def _parts(layer: Layer) -> list[Layer]:
    """Return the layers that it is composed of."""
    return [part for one in layer.layers for part in _parts(one)] if isinstance(layer, Composition) else [layer]
