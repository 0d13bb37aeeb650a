"""Networks with other nonlinearities than ReLU: what their values are at points, in balls of hundreds of bits.

What is attained is not the largest value, but as near to it as a search comes: a bound below it is wrong. The classes
and functions of the bed need no more of pieces than their names, extremes and largest margins.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
from flint import arb, ctx, fmpq

from tests.soundness import certificates
from tests.soundness.bed import Bed, near
from tests.soundness.cases import Case
from tests.soundness.exact import inside
from tests.soundness.feedforward import LIMITS, hidden, linear, margins
from tightrope import relu_proofs
from tightrope.networks import FeedForward
from tightrope.networks.activations import ELU, Activation, Arctan, LeakyReLU, MaxPool, Sigmoid, Step, Tanh
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import METHODS as LAYERWISE
from tightrope.propagation.layerwise import layerwise
from tightrope.question import Question, Verdict
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers import robustness

#: Bits of the balls.
BITS = 400
#: Points of the first round of a search, of each other one about each function, and rounds.
FIRST, EACH, ROUNDS = 400, 8, 4


def compare(case: Case, bed: Bed) -> None:
    """Compare everything about one case."""
    rng, network, region = case.rng, case.network, case.region
    label, kind = int(rng.integers(network.classes)), f", {case.family}"
    with ctx.workprec(BITS):
        points = Points.searched(rng, network, region)
    if points is None:
        bed.refused[f"points{kind}"] += 1
        return
    exact = points.largest_margins(label)
    linear(bed, rng, network, region, points, kind)
    for method in relu_proofs.RULES:
        with bed.asking(f"certificates: linear{kind}"):
            proof = relu_proofs.linear(Question(network, region, label), method)
            if (stated := points.on_file(region)).values:
                certificates.relu(bed, f"linear{kind}", proof, rng, network, stated)
    if region.norm == INFINITY:
        for method in LAYERWISE:
            with bed.asking(f"{method}{kind}"):
                found = layerwise(network, InputSet.from_balls([region]), label, method)
                margins(bed, f"{method}{kind}", found.margins.numpy(), exact)
                names = [name for name in points.names if name != "F"]
                for name, low, high in zip(names, found.triangles.lower, found.triangles.upper, strict=True):
                    hidden(bed, f"{method}, hidden{kind}", low[0].numpy(), high[0].numpy(), points.extremes(name), name)
    for method in ("cascade", "crown"):
        with bed.asking(f"{method}{kind}"):
            report = robustness.certify(network, region, label, method=method, limits=LIMITS)
            answered(bed, f"{method}{kind}", report, network, region, label, exact)


def answered(bed: Bed, kind: str, report, network: FeedForward, region: Ball, label: int, exact) -> None:
    """The decisions of a report, and its attack."""
    most = max(exact.values())
    if report.verdict is Verdict.CERTIFIED:
        bed.holds(kind, most < 0, lambda: f"certified, but {near(most)!r} is attained")
    for decision in report.decisions:
        if decision.bound is not None:
            bed.above(kind, decision.bound, exact[decision.label], f"target {decision.label}")
    if report.attack is None:
        return
    hit = report.attack
    bed.holds("attack, nonlinear, inside", inside(region, hit.point), lambda: f"{hit.point.tolist()} is outside")
    with ctx.workprec(BITS):
        F = values_at(network, hit.point)
        if F is not None:
            found = F[-1][hit.label] - F[-1][label]
            size = max(abs(float(v)) for v in F[-1])
            bed.holds(
                "attack, nonlinear", not found < -1e-9 * (1 + size), lambda: f"margin {hit.margin!r}, but {found}"
            )


@dataclass(frozen=True)
class Points:
    """The values of all layers at points of the region: "h1", "h2", ... and "F", (N, n) balls each."""

    names: dict[str, int]
    values: list[list[list[tuple[fmpq, fmpq]]]]  # of each point and layer, the ends of the ball
    at: list[np.ndarray]

    @classmethod
    def searched(cls, rng, network: FeedForward, region: Ball) -> "Points | None":
        """The points where a search in float64 finds the extremes of hidden layers and margins."""
        lower, upper = region.bounding_box()
        corners = np.array(list(itertools.product(*zip(lower, upper, strict=True))))
        x = np.vstack([region.center[None], region.sample(FIRST, rng), region.project(corners)])
        x = region.inwards(x)
        for round_ in range(ROUNDS):
            best = x[np.unique(functions(network, x).argmax(0))]
            step = (upper - lower) * 0.3**round_ * 0.3
            tried = best[:, None] + step * rng.normal(size=(len(best), EACH, region.size))
            x = np.vstack([best, region.inwards(region.project(tried.reshape(-1, region.size)))])
        best = x[np.unique(functions(network, x).argmax(0))]
        found = [(point, values_at(network, point)) for point in best if inside(region, point)]
        known = [(point, layers) for point, layers in found if layers is not None]
        kept = [[[ends(v) for v in layer] for layer in layers] for _, layers in known]
        names = {f"h{i + 1}": i for i in range(len(network.layers) - 1)} | {"F": len(network.layers) - 1}
        return cls(names, kept, [point for point, _ in known]) if kept else None

    def on_file(self, region: Ball) -> "Points":
        """Those inside the ball that a file states, whose radius is a decimal number."""
        kept = [i for i, x in enumerate(self.at) if inside(region, x, stated=True)]
        return replace(self, values=[self.values[i] for i in kept], at=[self.at[i] for i in kept])

    def extremes(self, name: str) -> tuple[list[fmpq], list[fmpq]]:
        """Numbers that the least values are at most, and the largest at least."""
        own = [layers[self.names[name]] for layers in self.values]
        neurons = list(zip(*own, strict=True))
        return [min(high for _, high in each) for each in neurons], [max(low for low, _ in each) for each in neurons]

    def largest_margin(self, label: int, target: int) -> tuple[fmpq, None]:
        """A number that F_target - F_label attains or exceeds."""
        return max(layers[-1][target][0] - layers[-1][label][1] for layers in self.values), None

    def largest_margins(self, label: int) -> dict[int, fmpq]:
        """The same for every other target."""
        return {k: self.largest_margin(label, k)[0] for k in range(len(self.values[0][-1])) if k != label}


def functions(network: FeedForward, x: np.ndarray) -> np.ndarray:
    """Hidden preactivations, these negated, and margins, at points (N, p0), in float64."""
    found = []
    for i, layer in enumerate(network.layers):
        W, b = layer.dense()
        h = x @ W.T + b
        if i < len(network.activations):
            found += [h, -h]
            x = network.activations[i].value(h)
    found += [h[:, [j]] - h for j in range(h.shape[1])]
    return np.nan_to_num(np.hstack(found))


def values_at(network: FeedForward, x: np.ndarray) -> list[list[arb]] | None:
    """The preactivations of all layers and the outputs; None where a ball does not decide a jump."""
    z, found = [arb(float(v)) for v in x], []
    for i, layer in enumerate(network.layers):
        W, b = layer.dense()
        h = [
            sum((arb(w) * v for w, v in zip(row, z, strict=True)), arb(c)) for row, c in zip(W.tolist(), b, strict=True)
        ]
        found.append(h)
        if i < len(network.activations):
            z = image(network.activations[i], h)
            if any(not v.is_finite() for v in z):
                return None
    return found


def image(one: Activation, h: list[arb]) -> list[arb]:
    """The values of a nonlinearity by its definition, each a ball; not finite where a jump is not decided."""
    match one:
        case LeakyReLU():
            return [v.max(arb(0)) + arb(one.slope) * v.min(arb(0)) for v in h]
        case ELU():
            return [v.max(arb(0)) + arb(one.alpha) * v.min(arb(0)).expm1() for v in h]
        case Sigmoid():
            return [1 / (1 + (-v).exp()) for v in h]
        case Tanh():
            return [v.tanh() for v in h]
        case Arctan():
            return [v.atan() for v in h]
        case Step():
            return [arb(1) if v > 0 else arb(0) if v <= 0 else arb("nan") for v in h]
        case MaxPool():
            return [_largest([h[j] for j in window]) for window in one.windows.tolist()]
    raise TypeError(one)


def _largest(values: list[arb]) -> arb:
    found = values[0]
    for value in values[1:]:
        found = found.max(value)
    return found


def ends(value: arb) -> tuple[fmpq, fmpq]:
    """The ends of a ball."""
    return _dyadic(value.lower()), _dyadic(value.upper())


def _dyadic(value: arb) -> fmpq:
    mantissa, exponent = (int(part) for part in value.man_exp())
    return fmpq(mantissa) * fmpq(2) ** exponent
