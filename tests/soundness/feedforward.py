"""Every method for feed-forward networks against the exact answer."""

import numpy as np
from flint import fmpq, fmpq_mat

from tests.soundness import certificates
from tests.soundness.bed import Bed, near
from tests.soundness.cases import Case
from tests.soundness.exact import ONE, ZERO, Domain, box, domain, dot, inside, q, root
from tests.soundness.pieces import Pieces, TooMany, feedforward_pieces, layer_matrix, outputs_at
from tightrope import relu_proofs
from tightrope.attacks import Attack
from tightrope.networks import Dense, FeedForward
from tightrope.propagation.certify import certify, proven_hidden, proven_margins
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import METHODS as LAYERWISE
from tightrope.propagation.layerwise import layerwise
from tightrope.propagation.lines import RELAXATIONS
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import INFINITY, Ball, Polytope
from tightrope.verifiers import robustness
from tightrope.verifiers.branch_and_bound import branch_and_bound
from tightrope.verifiers.cascade import certify_boxes
from tightrope.verifiers.distortion import attacked_distortion, certified_distortion
from tightrope.verifiers.relu_lipschitz import METHODS as LIPSCHITZ
from tightrope.verifiers.relu_lipschitz import lipschitz_bound
from tightrope.verifiers.triangle import layerwise_bounds, output_bounds

#: Methods of seconds, of which a case gets one.
SLOW = ("hr-2", "hr-3", "hr-2-signs", "hr-2-products", "lipopt-3", "lipopt-4", "sparse-lasserre")
#: Seconds of processor time of one subproblem; what does not end in it is no comparison.
PATIENCE = 5.0
LIMITS = Limits(time=PATIENCE)


def compare(case: Case, bed: Bed) -> None:
    """Compare everything about one case."""
    rng = case.rng
    network, region = case.network, case.region
    label = int(rng.integers(network.classes))
    pieces = feedforward_pieces(network, domain(region))
    if rng.random() < 0.6 and isinstance(network.layers[-1], Dense):
        network = tied(network, pieces, label, below=rng.random() < 0.3)
        pieces = feedforward_pieces(network, domain(region))
    targets = [k for k in range(network.classes) if k != label]
    exact = {k: pieces.largest_margin(label, k)[0] for k in targets}
    stated = feedforward_pieces(network, domain(region, stated=True))
    linear(bed, rng, network, region, label, pieces, exact, stated)
    if isinstance(region, Ball) and region.norm == INFINITY:
        layers(bed, rng, network, region, label, pieces, exact, stated)
        if rng.random() < 0.3:
            distortion(bed, rng, network, region)
    answers(bed, rng, network, region, label, exact)
    if isinstance(region, Ball) and region.norm != 1 and rng.random() < 0.5:
        lipschitz(bed, rng, network, region)


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


def linear(bed: Bed, rng, network: FeedForward, region, label: int, pieces: Pieces, exact, stated: Pieces) -> None:
    """Relaxations by two lines: margins, hidden layers, and the files of their proofs."""
    names = [name for name in pieces.names if name != "F"]
    attained = {name: pieces.extremes(name) for name in names}
    for method in RELAXATIONS:
        with bed.asking(method):
            margins(bed, method, proven_margins(network, region, label, method), exact)
        if not isinstance(region, Ball):
            continue
        inputs = InputSet.from_balls([region])
        with bed.asking(f"{method}, hidden"):
            for name, (low, high) in zip(names, proven_hidden(network, inputs, (method,)), strict=True):
                hidden(bed, f"{method}, hidden", low[0], high[0], attained[name], name)
        with bed.asking(f"{method}, batch"):
            found = certify(network, inputs, [label], method)
            bed.above(f"{method}, batch", float(found.worst[0]), max(exact.values()), "worst")
            wrong = found.certified[0] and max(exact.values()) >= 0
            bed.holds(f"{method}, batch", not wrong, "certified, but it is reached")
    for method in rng.permutation(list(relu_proofs.RULES))[:2].tolist():
        with bed.asking("certificates: linear"):
            proof = relu_proofs.linear(Question(network, region, label), method)
            certificates.relu(bed, "linear", proof, rng, network, stated)


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
    bed: Bed, rng, network: FeedForward, region: Ball, label: int, pieces: Pieces, exact, stated: Pieces
) -> None:
    """Bounds layer by layer on boxes: the dual over slopes, linear programs, and the tree of phases."""
    names = [name for name in pieces.names if name != "F"]
    attained = {name: pieces.extremes(name) for name in pieces.names}
    inputs = InputSet.from_balls([region])
    for method in LAYERWISE:
        with bed.asking(method):
            found = layerwise(network, inputs, label, method, keep=True)
            margins(bed, method, found.margins.numpy(), exact)
            for name, low, high in zip(names, found.triangles.lower, found.triangles.upper, strict=True):
                hidden(bed, f"{method}, hidden", low[0].numpy(), high[0].numpy(), attained[name], name)
            proof = relu_proofs.layerwise(network, region, found)
            certificates.relu(bed, method, proof, rng, network, stated)
    for kind in ("triangle", "parallelogram"):
        with bed.asking(kind):
            found = layerwise_bounds(network, *region.bounding_box(), label, kind, keep=True)
            margins(bed, kind, found.margins, exact)
            for name, low, high in zip(names, found.lower, found.upper, strict=True):
                hidden(bed, f"{kind}, hidden", low, high, attained[name], name)
            certificates.relu(bed, kind, found.certificate(network, region, label), rng, network, stated)
        with bed.asking(f"{kind}, outputs"):
            hidden(bed, f"{kind}, outputs", *output_bounds(network, *region.bounding_box(), kind), attained["F"], "F")
    with bed.asking("branch-and-bound"):
        found = branch_and_bound(Question(network, region, label), Limits(time=PATIENCE), subproblems=2000, keep=True)
        decided(bed, "branch-and-bound", found.verdict, found.attack, network, region, label, exact)
        if found.attack is None:
            bed.above("branch-and-bound", found.bound, max(exact.values()), "the largest")
        if found.root is not None:
            proof = relu_proofs.layerwise(network, region, found.root, found.leaves)
            certificates.relu(bed, "branch-and-bound", proof, rng, network, stated)
    if network.is_dense:
        with bed.asking("order 1, 1+cuts, phases"):
            (each,) = certify_boxes([Question(network, region, label)], Limits(time=PATIENCE), semidefinite=True)
            decided(bed, "order 1, 1+cuts, phases", each.by.verdict, each.attack, network, region, label, exact)
            for letter, bound in each.shor.items():  # below 0 it is of the labels that LP-ALL leaves open
                bed.above(f"{letter} of the cascade", max(bound, 0.0), max(exact.values()), "the largest")


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


def rounding(network, x: list[fmpq]) -> fmpq:
    """What a forward pass in float64 may lose: 0 for a monDEQ, whose margins are less their error."""
    if not isinstance(network, FeedForward):
        return ZERO
    size, terms, tiny = [abs(v) for v in x], 0, fmpq(1, 2**1022)
    for layer in network.layers:
        sizes, products = layer_sizes(layer)
        terms += products
        size = [dot(row, (*size, ONE)) + tiny for row in sizes.tolist()]
    return 2 * fmpq(terms + 4, 2**53) * max(size)


def layer_sizes(layer) -> tuple[fmpq_mat, int]:
    """(|W|, |b|) multiplied through, and the number of terms of all parts."""
    parts = getattr(layer, "layers", (layer,))
    found, terms = None, 0
    for part in parts:
        own = layer_matrix(part)
        own = fmpq_mat(own.nrows(), own.ncols(), [abs(v) for v in own.entries()])
        terms += own.ncols() + 1
        if found is not None:
            n = found.ncols()
            own = own * fmpq_mat(found.nrows() + 1, n, [*found.entries(), *([ZERO] * (n - 1)), ONE])
        found = own
    return found, terms


def answers(bed: Bed, rng, network: FeedForward, region, label: int, exact: dict[int, fmpq]) -> None:
    """What `verify` says by its other methods."""
    methods = ["cascade"]
    hidden_neurons = sum(network.sizes[1:-1])
    if rng.random() < 0.5:
        methods.append("interior-point")
    if isinstance(region, Ball):
        if hidden_neurons and rng.random() < 0.1:
            methods.append("interior-point, 1+cuts")
        if region.norm == INFINITY:
            methods.append("milp")
        if 0 < hidden_neurons and hidden_neurons + region.size <= 6 and rng.random() < 0.2:
            methods.append("interior-point, 2")
    for text in methods:
        method, _, order = text.partition(", ")
        with bed.asking(text):
            report = robustness.certify(
                network,
                region,
                label,
                method=method,
                order=order or "1",
                attack=method == "cascade",
                limits=LIMITS,
            )
            verdicts(bed, text, report, network, region, label, exact)


def verdicts(bed: Bed, method: str, report, network, region, label: int, exact: dict[int, fmpq]) -> None:
    """The decisions of a report, its attack, and its certificates."""
    decided(bed, method, report.verdict, report.attack, network, region, label, exact)
    for decision in report.decisions:
        target, value = decision.label, exact[decision.label]
        if method != "milp" and decision.bound is not None:
            bed.above(method, decision.bound, value, f"target {target}")
        if decision.verdict is Verdict.CERTIFIED:
            bed.holds(method, method != "milp" and value < 0, f"target {target} certified: {near(value)!r} is attained")


def distortion(bed: Bed, rng, network: FeedForward, region: Ball) -> None:
    """The radius that is certified, and that of a point with another label."""
    label = int(network.predict(region.center))

    def largest(radius: float) -> fmpq:
        found = feedforward_pieces(network, domain(Ball(region.center, radius, INFINITY)))
        return max(found.largest_margin(label, k)[0] for k in range(network.classes) if k != label)

    method, question = str(rng.choice(LAYERWISE)), Question(network, Ball(region.center, 1.0, INFINITY), label)
    with bed.asking(f"distortion, {method}"):
        found = certified_distortion(question, method, Limits(0.1))
        if found.lower > 0:
            true = largest(found.lower) < 0
            bed.holds(f"distortion, {method}", true, f"{found.lower!r} is certified, but another label is reached")
    with bed.asking("distortion, attack"):
        found = attacked_distortion(question, Limits(0.1), steps=10)
        if 0 < found.upper < np.inf:
            value = largest(found.upper)
            error = rounding(network, [abs(q(v)) + q(found.upper) for v in region.center])
            bed.holds("distortion, attack", value >= -error, f"no other label within {found.upper!r}: {near(value)!r}")


def gradient(network: FeedForward, pattern: tuple[int, ...], part) -> list[fmpq]:
    """The gradient (p0,) of an output, or of a difference of two, for phases of all neurons."""
    parts = [layer_matrix(layer) for layer in network.layers]
    *hidden_layers, last = [fmpq_mat(m.nrows(), m.ncols() - 1, [v for r in m.tolist() for v in r[:-1]]) for m in parts]
    rows = last.tolist()
    row = rows[part] if isinstance(part, int) else [a - b for a, b in zip(rows[part[0]], rows[part[1]], strict=True)]
    end = len(pattern)
    for W in reversed(hidden_layers):
        phases = pattern[end - W.nrows() : end]
        end -= W.nrows()
        row = (fmpq_mat(1, W.nrows(), [v if s else ZERO for v, s in zip(row, phases, strict=True)]) * W).entries()
    return row


def lipschitz(bed: Bed, rng, network: FeedForward, region: Ball) -> None:
    """The largest dual norm of a gradient, with 0 or 1 for the derivative of each neuron at 0."""
    whole, inner = domain(region), inscribed(region)
    try:
        above = feedforward_pieces(network, whole, closed=True, most=200)  # all patterns, and perhaps more
        below = above if whole.radius is None else feedforward_pieces(network, inner, closed=True, most=200)
    except TooMany:
        return
    K = network.classes
    part = int(rng.integers(K)) if rng.random() < 0.7 else tuple(map(int, rng.choice(K, 2, replace=False)))
    power = 2 if region.norm == 2 else 1

    def largest(pieces: Pieces) -> fmpq:
        found = (gradient(network, pattern, part) for pattern in set(pieces.patterns))
        return max(dot(g, g) if power == 2 else sum(map(abs, g), ZERO) for g in found)

    most, least = largest(above), largest(below)
    slow = str(rng.choice(SLOW))
    for method, about in LIPSCHITZ.items():
        if method in SLOW and (method != slow or sum(network.sizes[:-1]) > 6 or rng.random() < 0.7):
            continue
        with bed.asking(f"Lipschitz, {method}"):
            value = lipschitz_bound(network, region, part, method, limits=LIMITS, samples=200).value
            if value is None:
                bed.refused[f"Lipschitz, {method}"] += 1
                continue
            size = q(value) ** power
            if about.side == "upper":
                text = f"part {part}: {value!r} to the power {power} is below {near(least)!r}"
                bed.holds(f"Lipschitz, {method}", size >= least, text)
            elif about.side == "lower":  # "exact" has the tolerance of its programs
                text = f"part {part}: {value!r} to the power {power} is above {near(most)!r}"
                bed.holds(f"Lipschitz, {method}", size <= most, text)


def inscribed(region: Ball) -> Domain:
    """A box in a ball of L2 or L-infinity, with the ball's clipping."""
    where = domain(region)
    if where.radius is None or not where.size:
        return where
    half = root(where.radius**2 / where.size)
    bounds = []
    for j in range(where.size):
        values = [point[j] for point, _ in where.whole.corners]
        bounds.append((max(min(values), -half), min(max(values), half)))
    return Domain(where.origin, where.basis, box(bounds), None)
