"""Every method for feed-forward networks against the exact answer."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from flint import fmpq

from tests.soundness import certificates
from tests.soundness.bed import Bed, near
from tests.soundness.cases import SHAPES, Case, region_of
from tests.soundness.distortion import distortion
from tests.soundness.exact import Domain, domain, inside, q
from tests.soundness.pieces import Pieces, TooMany, feedforward_pieces, outputs_at, rounding
from tests.soundness.properties import properties
from tests.soundness.relu_lipschitz import constants, lipschitz
from tightrope import relu_proofs
from tightrope.attacks import Attack
from tightrope.errors import TightropeError
from tightrope.networks import Dense, FeedForward
from tightrope.propagation.certify import certify, proven_hidden, proven_margins
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import METHODS as LAYERWISE
from tightrope.propagation.layerwise import layerwise
from tightrope.propagation.lines import RELAXATIONS
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import INFINITY, Ball, Polytope, Region
from tightrope.verifiers import robustness
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.cascade import certify_boxes
from tightrope.verifiers.triangle import layerwise_bounds, output_bounds

#: Seconds of processor time of one subproblem; what does not end in it is no comparison.
PATIENCE = 5.0
LIMITS = Limits(time=PATIENCE)
#: Further regions on which the linear relaxations of a network are asked.
REGIONS = 3
#: A ball, and the pieces on it as a certificate file states it.
Wider = tuple[Ball, Pieces] | None


def compare(case: Case, bed: Bed) -> None:
    """Compare everything about one case."""
    rng, more = case.rng, case.more
    network, region = case.network, case.region
    label = int(rng.integers(network.classes))
    pieces = feedforward_pieces(network, domain(region))
    if rng.random() < 0.6 and isinstance(network.layers[-1], Dense):
        network = tied(network, pieces, label, below=rng.random() < 0.3)
        pieces = feedforward_pieces(network, domain(region))

    def make(where: Domain) -> Pieces:
        return feedforward_pieces(network, where)

    exact = pieces.largest_margins(label)
    stated, larger = on_file(region, pieces, make), wider(region, make)
    linear(bed, more, network, region, pieces)
    for method in relu_proofs.RULES:
        with bed.asking("certificates: linear"):
            proof = relu_proofs.linear(Question(network, region, label), method)
            certificates.relu(bed, "linear", proof, rng, network, stated, larger)
    elsewhere(bed, more, network, case.family, make)
    if isinstance(region, Ball) and region.norm == INFINITY:
        layers(bed, rng, more, network, region, label, pieces, stated, larger)
        if more.random() < 0.2:
            distortion(bed, more, network, region)
        if more.random() < 0.2:
            properties(bed, more, network, region)
    answers(bed, more, network, region, label, exact, stated)
    if isinstance(region, Ball) and region.norm != 1 and rng.random() < 0.5:
        lipschitz(bed, rng, more, network, region)
    elif more.random() < 0.2:
        lipschitz(bed, more, more, network, region_of(more, region.size, str(more.choice(["linf", "l2"])), case.family))
    if more.random() < 0.1:
        constants(bed, more, network)


def on_file(region: Region, pieces: Pieces, make: Callable[[Domain], Pieces]) -> Pieces:
    """The pieces on the region as a certificate file states it, by decimals."""
    return make(domain(region, stated=True)) if isinstance(region, Ball) else pieces


def wider(region: Region, make: Callable[[Domain], Pieces]) -> Wider:
    """A ball of twice the radius, where it is not too much."""
    if not isinstance(region, Ball) or not region.radius:
        return None
    ball = Ball(region.center, 2 * region.radius, region.norm, region.lower, region.upper)
    try:
        return ball, make(domain(ball, stated=True))
    except TooMany:
        return None


def tied(network: FeedForward, pieces: Pieces, label: int, below: bool) -> FeedForward:
    """Move the label's bias until the largest margin is the least number >= 0 that a float makes, or one below 0."""
    others = [k for k in range(network.classes) if k != label]
    exact = max(pieces.largest_margin(label, k)[0] for k in others)
    *first, last = network.layers
    bias = last.bias.copy()
    wanted = q(bias[label]) + exact  # the margin is 0 there
    bias[label] = near(wanted)
    if not np.isfinite(bias[label]):
        return network
    while q(bias[label]) > wanted:
        bias[label] = np.nextafter(bias[label], -np.inf)
    while below and q(bias[label]) <= wanted:
        bias[label] = np.nextafter(bias[label], np.inf)
    return FeedForward((*first, Dense(last.weight, bias))) if np.isfinite(bias).all() else network


def linear(bed: Bed, rng, network: FeedForward, region: Region, pieces, kind: str = "") -> None:
    """Relaxations by two lines: margins of all labels, and hidden layers."""
    exact = {label: pieces.largest_margins(label) for label in range(network.classes)}
    names = [name for name in pieces.names if name != "F"]
    for method in RELAXATIONS:
        with bed.asking(f"{method}{kind}"):
            for label, own in exact.items():
                margins(bed, f"{method}{kind}", proven_margins(network, region, label, method), own)
        if not isinstance(region, Ball):
            continue
        with bed.asking(f"{method}, hidden{kind}"):
            found = proven_hidden(network, InputSet.from_balls([region]), (method,))
            for name, (low, high) in zip(names, found, strict=True):
                hidden(bed, f"{method}, hidden{kind}", low[0], high[0], pieces.extremes(name), name)
        with bed.asking(f"{method}, batch{kind}"):
            many = certify(network, InputSet.from_balls([region] * len(exact)), list(exact), method)
            for label, own in exact.items():
                most = max(own.values())
                bed.above(f"{method}, batch{kind}", float(many.worst[label]), most, f"worst of {label}")
                if many.certified[label]:
                    bed.holds(f"{method}, batch{kind}", most < 0, f"label {label} certified, but another is reached")


def elsewhere(bed: Bed, rng, network: FeedForward, family: str, make: Callable[[Domain], Pieces]) -> None:
    """The linear relaxations of the same network on other regions."""
    for shape in rng.choice(SHAPES, REGIONS, replace=False).tolist():
        region = region_of(rng, network.input_size, shape, family)
        try:
            pieces = make(domain(region))
            stated, larger = on_file(region, pieces, make), wider(region, make)
        except TooMany:
            continue
        linear(bed, rng, network, region, pieces)
        with bed.asking("certificates: linear"):
            question = Question(network, region, int(rng.integers(network.classes)))
            proof = relu_proofs.linear(question, *rng.choice(list(relu_proofs.RULES), 2, replace=False).tolist())
            certificates.relu(bed, "linear", proof, rng, network, stated, larger)


def margins(bed: Bed, method: str, bounds, exact: dict[int, fmpq]) -> None:
    """Bounds (K,) of all targets."""
    for target, value in exact.items():
        bed.above(method, float(bounds[target]), value, f"target {target}")


def hidden(bed: Bed, method: str, low, high, attained, name: str) -> None:
    """Bounds (n,) of functions against their extremes."""
    for j, (least, most) in enumerate(zip(*attained, strict=True)):
        bed.above(method, float(high[j]), most, f"{name}[{j}]")
        bed.below(method, float(low[j]), least, f"{name}[{j}]")


def layers(
    bed: Bed, rng, more, network: FeedForward, region: Ball, label: int, pieces: Pieces, stated: Pieces, larger: Wider
) -> None:
    """Bounds layer by layer on boxes: the dual over slopes, linear programs, and the tree of phases."""
    names = [name for name in pieces.names if name != "F"]
    attained, exact = {name: pieces.extremes(name) for name in pieces.names}, pieces.largest_margins(label)
    inputs = InputSet.from_balls([region])
    for method in LAYERWISE:
        with bed.asking(method):
            found = layerwise(network, inputs, label, method, keep=True)
            margins(bed, method, found.margins.numpy(), exact)
            for name, low, high in zip(names, found.triangles.lower, found.triangles.upper, strict=True):
                hidden(bed, f"{method}, hidden", low[0].numpy(), high[0].numpy(), attained[name], name)
            proof = relu_proofs.layerwise(network, region, found)
            certificates.relu(bed, method, proof, rng, network, stated, larger)
    for kind in ("triangle", "parallelogram"):
        with bed.asking(kind):
            found = layerwise_bounds(network, *region.bounding_box(), label, kind, keep=True)
            margins(bed, kind, found.margins, exact)
            for name, low, high in zip(names, found.lower, found.upper, strict=True):
                hidden(bed, f"{kind}, hidden", low, high, attained[name], name)
            certificates.relu(bed, kind, found.certificate(network, region, label), rng, network, stated, larger)
        with bed.asking(f"{kind}, outputs"):
            hidden(bed, f"{kind}, outputs", *output_bounds(network, *region.bounding_box(), kind), attained["F"], "F")
    with bed.asking("branch-and-bound"):
        found = branch_and_bound(Question(network, region, label), Limits(time=PATIENCE), subproblems=2000, keep=True)
        decided(bed, "branch-and-bound", found.verdict, found.attack, network, region, label, exact)
        if found.attack is None:
            bed.above("branch-and-bound", found.bound, max(exact.values()), "the largest")
        if found.root is not None:
            proof = relu_proofs.layerwise(network, region, found.root, found.leaves)
            certificates.relu(bed, "branch-and-bound", proof, rng, network, stated, larger)
    if more.random() < 0.2:
        resumed(bed, network, region, label, exact)
    if network.is_dense and more.random() < 0.15:
        with bed.asking("order 1, 1+cuts, phases"):
            (each,) = certify_boxes([Question(network, region, label)], Limits(time=PATIENCE), semidefinite=True)
            decided(bed, "order 1, 1+cuts, phases", each.by.verdict, each.attack, network, region, label, exact)
            for letter, bound in each.shor.items():  # below 0 it is of the labels that LP-ALL leaves open
                bed.above(f"{letter} of the cascade", max(bound, 0.0), max(exact.values()), "the largest")


def resumed(bed: Bed, network: FeedForward, region: Ball, label: int, exact) -> None:
    """A tree that ends by a limit several times, and goes on from its file."""
    kind = "branch-and-bound, resumed"
    with TemporaryDirectory() as folder, bed.asking(kind):
        limits, question = Limits(time=PATIENCE, trees=Path(folder)), Question(network, region, label)
        for most in (1, 2, 4, 2000):
            found = branch_and_bound(question, limits, subproblems=most)
            decided(bed, kind, found.verdict, found.attack, network, region, label, exact)
            if found.attack is None:
                bed.above(kind, found.bound, max(exact.values()), "the largest")
            if found.verdict is not Verdict.UNKNOWN:
                break


def decided(bed: Bed, method: str, verdict: Verdict, hit: Attack | None, network, region, label: int, exact) -> None:
    """A verdict of all labels."""
    if verdict is Verdict.CERTIFIED:
        bed.holds(method, max(exact.values()) < 0, lambda: f"certified, but {near(max(exact.values()))!r} is attained")
    if verdict is Verdict.FALSIFIED:
        bed.holds(method, hit is not None, "falsified, without a point")
    if hit is not None:
        attacked(bed, "attack", hit, network, region, label)


def attacked(bed: Bed, method: str, hit: Attack, network, region, label: int) -> None:
    """The point is in a ball, and its margin is what float64 may make of the exact one (CONVENTIONS, verdict)."""
    x = [q(v) for v in hit.point]
    scores = outputs_at(network, x)
    margin, error = scores[hit.label] - scores[label], rounding(network, x)
    bed.holds(method, margin >= -error, lambda: f"margin {hit.margin!r}, but exactly {near(margin)!r}")
    if isinstance(region, Ball | Polytope):
        bed.holds(f"{method}, inside", inside(region, hit.point), lambda: f"{hit.point.tolist()} is outside")


def answers(bed: Bed, rng, network: FeedForward, region, label: int, exact: dict[int, fmpq], stated: Pieces) -> None:
    """What `certify` says by its other methods, and the files of its reports."""
    chosen = {"cascade": 1.0, "interior-point": 0.3, "clarabel": 0.03, "scs": 0.03}
    neurons = sum(network.sizes[1:-1])
    if isinstance(region, Ball) and neurons:
        small = neurons + region.size <= 6
        chosen |= {"interior-point, 1+bounds": 0.1, "interior-point, 1+cuts": 0.1, "interior-point, 2": 0.2 * small}
        if region.norm == INFINITY:
            chosen |= {"milp": 0.3, "branch-and-bound": 0.1, "cascade, 1+cuts": 0.1}
    for text, share in chosen.items():
        if rng.random() >= share:
            continue
        method, _, order = text.partition(", ")
        with bed.asking(text):
            attack = method == "cascade"
            options = {"method": method, "order": order or "1", "attack": attack, "limits": LIMITS}
            report = robustness.certify(network, region, label, **options)
            verdicts(bed, text, report, network, region, label, exact)
            if method != "milp" and rng.random() < 0.3:
                filed(bed, f"report, {text}", report, rng, network, region, stated)


def filed(bed: Bed, kind: str, report, rng, network: FeedForward, region, stated: Pieces) -> None:
    """The file of a report: of an attack, of layers, or of the same function as a monDEQ."""
    try:
        proof = report.certificates()
    except TightropeError:
        bed.refused[f"certificates: {kind}"] += 1
        return
    theory = "" if proof.certificate is None else proof.certificate.theory
    if report.attack is not None:
        certificates.point(bed, "attack of layers", proof, network, region, lambda x: outputs_at(network, x), rng)
    elif theory.startswith("relu"):
        certificates.relu(bed, kind, proof, rng, network, stated)
    elif theory:
        same = network.to_mondeq()
        certificates.margins_of(bed, kind, proof, rng, same, stated)


def verdicts(bed: Bed, method: str, report, network, region, label: int, exact: dict[int, fmpq]) -> None:
    """The decisions of a report, its attack, and its certificates."""
    decided(bed, method, report.verdict, report.attack, network, region, label, exact)
    for decision in report.decisions:
        target, value = decision.label, exact[decision.label]
        if method != "milp" and decision.bound is not None:
            bed.above(method, decision.bound, value, f"target {target}")
        if decision.verdict is Verdict.CERTIFIED:
            bed.holds(method, method != "milp" and value < 0, f"target {target} certified: {near(value)!r} is attained")
