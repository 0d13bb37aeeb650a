"""Lipschitz constants of feed-forward networks against the slopes of their pieces."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from flint import fmpq, fmpq_mat

from tests.soundness import certificates
from tests.soundness.bed import Bed, near
from tests.soundness.exact import ZERO, domain, dot, everywhere, inscribed, operator_norm_exceeds, q, root
from tests.soundness.pieces import Pieces, TooMany, feedforward_pieces, layer_matrix, slopes
from tightrope import lipschitz_bound as of_any
from tightrope import proofs
from tightrope.networks import Composition, FeedForward
from tightrope.question import Limits
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers.relu_lipschitz import METHODS, lipschitz_bound

#: Methods for small networks, of which a case gets some.
SLOW = ("hr-2", "hr-3", "hr-2-signs", "hr-2-products", "lipopt-3", "lipopt-4", "sparse-lasserre")
LIMITS = Limits(time=5.0)


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


def lipschitz(bed: Bed, rng, more, network: FeedForward, region: Ball) -> None:
    """The largest dual norm of a gradient, with 0 or 1 for the derivative of each neuron at 0."""
    if region.norm == 2 and region.clipped:  # that is refused by name
        if region.size > 3:
            return
        region = Ball(region.center, region.radius, 2)
    whole, inner = domain(region), inscribed(region)
    try:
        above = feedforward_pieces(network, whole, closed=True, most=200)  # all patterns, and perhaps more
        below = above if whole.radius is None else feedforward_pieces(network, inner, closed=True, most=200)
    except TooMany:
        return
    K = network.classes
    part = int(rng.integers(K)) if rng.random() < 0.7 else tuple(map(int, rng.choice(K, 2, replace=False)))
    power = 2 if region.norm == 2 else 1
    most, least = largest(network, above, part, power), largest(network, below, part, power)
    small = sum(network.sizes[:-1]) <= 6
    slow = more.choice(SLOW, 3, replace=False) if small else ()
    for method, about in METHODS.items():
        if about.side == "exact" or (method in SLOW and method not in slow):  # that has the tolerance of its programs
            continue
        kind = f"Lipschitz, {method}"
        with bed.asking(kind):
            bound = lipschitz_bound(network, region, part, method, limits=LIMITS, samples=200)
            if bound.value is None:
                bed.refused[kind] += 1
                continue
            size = q(bound.value) ** power
            if about.side == "upper":
                text = f"part {part}: {bound.value!r} to the power {power} is below {near(least)!r}"
                bed.holds(kind, size >= least, text)
            else:
                text = f"part {part}: {bound.value!r} to the power {power} is above {near(most)!r}"
                bed.holds(kind, size <= most, text)
            if method != "sparse-lasserre" and more.random() < 0.5:
                files(bed, kind, bound.certificates(), more, network, region, power, most, least)
    if region.norm == INFINITY and more.random() < 0.2:
        with bed.asking("Lipschitz, all outputs"):
            bound = of_any(network, region)
            every = max(largest(network, below, k, 1) for k in range(K))
            bed.above("Lipschitz, all outputs", bound.value, every, "the largest of all outputs")


def largest(network: FeedForward, pieces: Pieces, part, power: int) -> fmpq:
    """The largest dual norm of a gradient, to a power: 2 for L2."""
    found = (gradient(network, pattern, part) for pattern in set(pieces.patterns))
    return max(dot(g, g) if power == 2 else sum(map(abs, g), ZERO) for g in found)


def files(bed: Bed, kind: str, proof, rng, network: FeedForward, region: Ball, power: int, most, least) -> None:
    """A certificate file of a constant: its claim is true, and one on the other side of the truth is refused."""
    file = certificates.issued(bed, kind, proof, network)
    if file is None:
        return
    arrays, number = proofs.arrays_of(network)[1], len(file.claims) - 1
    claim = file.claims[number]
    if "bound" in claim:
        true = fmpq(*Fraction(claim["bound"]).as_integer_ratio()) ** power >= least
        bed.holds(f"certificates: {kind}", true, f"{claim['bound']} is below {near(least)!r}")
        change = {"bound": certificates.just_below(root(least) if power == 2 else least)}
    else:
        true = fmpq(*Fraction(claim["least"]).as_integer_ratio()) ** power <= most
        bed.holds(f"certificates: {kind}", true, f"{claim['least']} is above {near(most)!r}")
        change = {"least": certificates.just_above(root(most) * (1 + fmpq(1, 10**25)) if power == 2 else most)}
    if "least" in claim or least > 0:
        for what, one in certificates.forged(certificates.altered(file, {number: change}), rng):
            certificates.refused(bed, kind, one, arrays, [number], f"{change}, {what}")
    if "least" in claim and region.radius > 0:
        far = file.arrays["other"] + 2.1 * region.radius * np.eye(region.size)[int(rng.integers(region.size))]
        moved = replace(file, arrays=file.arrays | {"other": far})
        if (far != file.arrays["other"]).any():
            certificates.refused(bed, kind, moved, arrays, [number], "a point outside")
    certificates.other_networks(bed, kind, file, rng, arrays)


def constants(bed: Bed, rng, network: FeedForward) -> None:
    """The one door to constants, for all inputs, by the same function as a monDEQ."""
    if any(isinstance(layer, Composition) for layer in network.layers):
        return
    try:
        whole = feedforward_pieces(network, everywhere(network.input_size), most=200)
    except TooMany:
        return
    found = list({tuple(J.entries()): J for J in slopes(whole)}.values())
    norm = float(rng.choice([1.0, 2.0, INFINITY]))
    part = None if rng.random() < 0.5 else int(rng.integers(network.classes))
    own = found if part is None else [fmpq_mat([J.tolist()[part]]) for J in found]
    kind = f"Lipschitz {norm:g}, for all inputs"
    with bed.asking(kind):
        bound = of_any(network, norm=norm, part=part, limits=LIMITS)
        true = (
            not any(operator_norm_exceeds(J, norm, q(bound.value)) for J in own) if np.isfinite(bound.value) else True
        )
        bed.holds(kind, true, f"part {part}: {bound.value!r} is below the norm of a slope")
