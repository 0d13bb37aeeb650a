"""Every method for monDEQs against the exact answer."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from flint import fmpq, fmpq_mat

from tests.soundness import certificates
from tests.soundness.bed import Bed, near
from tests.soundness.cases import SHAPES, Case, region_of
from tests.soundness.distortion import minimum
from tests.soundness.exact import (
    ONE,
    ZERO,
    Domain,
    Piece,
    domain,
    dot,
    everywhere,
    inscribed,
    matrix,
    operator_norm_below,
    operator_norm_exceeds,
    q,
)
from tests.soundness.feedforward import LIMITS, REGIONS, Wider, hidden, on_file, verdicts, wider
from tests.soundness.pieces import Pieces, active, mondeq_pieces, slopes
from tightrope import proofs
from tightrope.networks import MonDEQ
from tightrope.propagation import fixpoint
from tightrope.question import Limits
from tightrope.regions import INFINITY, Ball
from tightrope.verifiers import lipschitz, lipschitz_lower
from tightrope.verifiers.ellipsoid import outer_ellipsoid
from tightrope.verifiers.local_lipschitz import local_upper_bound
from tightrope.verifiers.robustness import certify

NORMS = (1.0, 2.0, INFINITY)


def compare(case: Case, bed: Bed) -> None:
    """Compare everything about one case."""
    rng, more = case.rng, case.more
    network, region = case.network, case.region
    label = int(rng.integers(network.classes))
    pieces = mondeq_pieces(network, domain(region))
    if rng.random() < 0.4:
        network = tied(network, max(pieces.largest_margins(label).values()), label)
        pieces = mondeq_pieces(network, domain(region))

    def make(where: Domain) -> Pieces:
        return mondeq_pieces(network, where)

    exact = pieces.largest_margins(label)
    stated, larger = on_file(region, pieces, make), wider(region, make)
    answers(bed, rng, more, network, region, label, exact, stated, larger)
    ellipsoids(bed, rng, more, network, region, label, pieces, exact, stated)
    fixpoints(bed, network, region, pieces)
    for shape in more.choice(SHAPES, REGIONS, replace=False).tolist():
        other = region_of(more, network.input_size, shape, case.family)
        fixpoints(bed, network, other, make(domain(other)))
    if isinstance(region, Ball):
        if region.radius > 0 and (rng if region.norm != 1 else more).random() < 0.5:
            local_constants(bed, more, network, region)
        if region.norm == INFINITY and more.random() < 0.15:
            resumed(bed, network, region, label, exact)
        if more.random() < 0.08:
            predicted = int(network.predict(region.center))
            minimum(bed, more, "monDEQ minimum distortion", network, predicted, region.center, "cascade")
    if rng.random() < 0.5:
        constants(bed, rng, network, more)


def tied(network: MonDEQ, exact: fmpq, label: int) -> MonDEQ:
    """Move the label's bias until the largest margin is the least number >= 0 that a float makes."""
    c = network.c.copy()
    wanted = q(c[label]) + exact
    c[label] = near(wanted)
    while np.isfinite(c[label]) and q(c[label]) > wanted:
        c[label] = np.nextafter(c[label], -np.inf)
    return replace(network, c=c) if np.isfinite(c).all() else network


def answers(bed: Bed, rng, more, network: MonDEQ, region, label: int, exact, stated: Pieces, larger: Wider) -> None:
    """What `certify` says, and the files of its reports."""
    methods = ["cascade", "interior-point"]
    if isinstance(region, Ball):
        methods += ["interior-point, 1+cuts"] if rng.random() < 0.3 else ["cascade, 1+cuts"]
        methods += ["interior-point, 1+bounds"] * (more.random() < 0.2) + ["branch-and-bound"] * (more.random() < 0.2)
        if network.width + region.size <= 6 and rng.random() < 0.05:
            methods.append("interior-point, 2")
    if rng.random() < 0.1:
        methods.append(str(rng.choice(["scs", "clarabel"])))
    for text in methods:
        method, _, order = text.partition(", ")
        name = f"monDEQ {text}"
        with bed.asking(name):
            options = {"method": method, "order": order or "1", "attack": text == "cascade", "limits": LIMITS}
            report = certify(network, region, label, **options)
            verdicts(bed, name, report, network, region, label, exact)
            reached = None if report.attack is None else report.attack.label
            bounded = [own.label for own in report.decisions if own.provable and own.label != reached]
            if bounded:  # the file of a falsified question is that of the attack
                proof = report.certificates() if reached is None else report.certificate(bounded[0])
                certificates.margins_of(bed, name, proof, rng, network, stated, larger)
            if report.attack is not None and isinstance(region, Ball):
                proof = report.certificate(reached)
                certificates.point(bed, "attack", proof, network, region, lambda x: at(network, x)[1], rng)


def resumed(bed: Bed, network: MonDEQ, region: Ball, label: int, exact) -> None:
    """Trees that end by a limit, and go on from their files."""
    kind = "monDEQ branch-and-bound, resumed"
    with TemporaryDirectory() as folder, bed.asking(kind):
        for seconds in (1e-3, LIMITS.time):
            limits = Limits(time=seconds, trees=Path(folder))
            report = certify(network, region, label, method="branch-and-bound", attack=False, limits=limits)
            verdicts(bed, kind, report, network, region, label, exact)


def at(network: MonDEQ, x: Iterable) -> tuple[Pieces, list[fmpq]]:
    """The patterns of a point, several at ties, and its outputs."""
    x = [v if isinstance(v, fmpq) else q(v) for v in x]
    where = Domain(fmpq_mat(len(x), 1, x), fmpq_mat(len(x), 0), Piece((((), 0),), ()), None)
    pieces = mondeq_pieces(network, where)
    return pieces, [row[0] for row in pieces.rows(pieces.found[0], "F")]


def ellipsoids(bed: Bed, rng, more, network: MonDEQ, region, label: int, pieces: Pieces, exact, stated: Pieces) -> None:
    """||Q F(x) + b|| <= 1 wherever the corners of pieces are, and the margins that are read off."""
    orders = ("1", "1+cuts") if isinstance(region, Ball) and rng.random() < 0.3 else ("1",)
    if network.classes <= network.width <= 5 - stated.domain.size and more.random() < 0.3:
        orders += ("2",)
    for order in orders:
        kind = f"ellipsoid, {order}"
        with bed.asking(kind):
            report = outer_ellipsoid(network, region, order=order, limits=LIMITS)
            if report.ellipsoid is None:
                bed.refused[kind] += 1
                continue
            worst = farthest(pieces, report.ellipsoid.Q, report.ellipsoid.b)
            bed.holds(kind, worst <= 1, f"||Q F(x) + b||^2 is {near(worst)!r}")
            for target, value in exact.items():
                bed.above(f"{kind}, margins", float(report.margins(label)[target]), value, f"target {target}")
            file = certificates.issued(bed, kind, report.certificates(), network)
            if file is None:
                continue
            Q, b = file.arrays["Q"], file.arrays["b"]
            worst, arrays = farthest(stated, Q, b), proofs.arrays_of(network)[1]
            bed.holds(f"certificates: {kind}", worst <= 1, f"||Q F(x) + b||^2 is {near(worst)!r}")
            certificates.other_networks(bed, kind, file, rng, arrays)
            factor = (1 + 1e-9) / np.sqrt(max(near(worst), 1e-300))
            large = {"Q": Q * factor, "b": b * factor}
            if factor < 1e100 and farthest(stated, large["Q"], large["b"]) > 1:
                smaller = replace(file, arrays=file.arrays | large)
                for what, one in certificates.forged(smaller, rng):
                    certificates.refused(bed, kind, one, arrays, [0], f"an ellipsoid that F leaves, {what}")


def farthest(pieces: Pieces, Q: np.ndarray, b: np.ndarray) -> fmpq:
    """The largest ||Q F(x) + b||^2: at a corner, since it is convex on each piece."""
    rows = matrix(np.hstack([Q, b[:, None]])).tolist()
    images = set(pieces.attained("F"))
    return max(sum(v * v for v in (dot(row, (*F, ONE)) for row in rows)) for F in images)


def fixpoints(bed: Bed, network: MonDEQ, region, pieces: Pieces) -> None:
    """Boxes of z and h, and margins of all labels."""
    for method in fixpoint.METHODS:
        kind = f"fixpoint, {method}"
        with bed.asking(kind):
            found = fixpoint.fixpoint_bounds(network, region, method)
            for name, own in (("z", found.z), ("h", found.h)):
                hidden(bed, kind, own.lower, own.upper, pieces.extremes(name), name)
            for label in range(network.classes):
                bounds = found.margins(network, label)
                for target, value in pieces.largest_margins(label).items():
                    bed.above(f"{kind}, margins", float(bounds[target]), value, f"label {label}, target {target}")


def jacobians(pieces: Pieces, of: str) -> list[fmpq_mat]:
    """Slopes of the outputs or of the states, each once."""
    found = {tuple(J.entries()): J for J in slopes(pieces, "F" if of == "output" else "z")}
    return list(found.values())


def difference(J: fmpq_mat, i: int, j: int) -> fmpq_mat:
    """The row of F_i - F_j."""
    rows = J.tolist()
    return fmpq_mat(1, J.ncols(), [a - b for a, b in zip(rows[i], rows[j], strict=True)])


def constants(bed: Bed, rng, network: MonDEQ, more) -> None:
    """Global Lipschitz constants from above and from below, and what they certify."""
    whole = mondeq_pieces(network, everywhere(network.input_size))
    arrays = proofs.arrays_of(network)[1]
    for norm in NORMS:
        kind = f"monDEQ Lipschitz {norm:g}"
        for of in ("output", "state") if rng.random() < 0.3 else ("output",):
            slope = jacobians(whole, of)
            with bed.asking(f"{kind}, {of}"):
                bound = lipschitz.upper_bound(network, norm, of=of)
                constant(bed, f"{kind}, {of}", bound.value, slope, norm)
            with bed.asking(f"{kind}, product"):
                constant(bed, f"{kind}, product", lipschitz.product_bound(network, norm, of=of), slope, norm)
        slope = jacobians(whole, "output")
        with bed.asking(f"{kind}, output"):
            bound = lipschitz.upper_bound(network, norm)
            files_of_constants(bed, kind, bound.certificates(), rng, network, slope, norm, arrays)
            certified(bed, rng, network, norm, bound)
        if norm != 1 or more.random() < 0.3:
            with bed.asking(f"{kind}, pairs"):
                pairs = lipschitz.pairwise_bounds(network, norm)
                for i in range(network.classes):
                    for j in range(i):
                        own = [difference(J, i, j) for J in slope]
                        constant(bed, f"{kind}, pairs", float(pairs.values[i, j]), own, norm)
                certified(bed, more, network, norm, pairs)
                files_of_constants(bed, f"{kind}, pairs", pairs.certificates(), rng, network, slope, norm, arrays)
        points = rng.normal(size=(5, network.input_size))
        for name, ask in (("sampled", lipschitz_lower.sampled), ("ascent", lipschitz_lower.ascent)):
            with bed.asking(f"{kind}, {name}"):
                effort = {"restarts": 3, "steps": 30} if name == "ascent" else {}
                found = ask(network, norm, points, **effort)
                attained_slope(bed, f"{kind}, {name}", network, found, norm)
    if more.random() < 0.3:
        between_norms(bed, more, network, jacobians(whole, "output"))


def between_norms(bed: Bed, rng, network: MonDEQ, slope: list[fmpq_mat]) -> None:
    """Constants of a norm that follow from others: sum |J x|^r <= L^r sum |x|^r at whole numbers x, r = 3 or 4."""
    r = int(rng.integers(3, 5))
    kind = f"monDEQ Lipschitz {r}"
    with bed.asking(kind):
        value = lipschitz.upper_bound(network, r).value
        if slope and np.isfinite(value):
            bed.holds(kind, q(value) ** r >= rise(rng, slope, r), f"{value!r} is below the norm of a slope")
    if slope and network.classes > 1:
        kind = f"monDEQ Lipschitz {r}, pairs"
        with bed.asking(kind):
            for (i, j), value in np.ndenumerate(lipschitz.pairwise_bounds(network, r).values):
                if i < j and np.isfinite(value):
                    most = rise(rng, [difference(J, i, j) for J in slope], r)
                    bed.holds(kind, q(value) ** r >= most, f"{value!r} is below the norm of a slope of {i}, {j}")


def rise(rng, slope: list[fmpq_mat], r: int) -> fmpq:
    """The largest sum |J x|^r / sum |x|^r at some whole numbers x."""

    def size(values) -> fmpq:
        return sum((abs(v) ** r for v in values), ZERO)

    steps = [[fmpq(int(v)) for v in x] for x in rng.integers(-9, 10, (20, slope[0].ncols())) if x.any()]
    return max((size([dot(row, x) for row in J.tolist()]) / size(x) for x in steps for J in slope), default=ZERO)


def constant(bed: Bed, kind: str, value: float, found: list[fmpq_mat], norm: float) -> None:
    """An upper bound of the norm of every slope."""
    if value is None or value == np.inf:
        bed.refused[kind] += 1
        return
    true = not np.isnan(value) and value >= 0 and not any(operator_norm_exceeds(J, norm, q(value)) for J in found)
    bed.holds(kind, true, f"{value!r} is below the norm of a slope")


def files_of_constants(bed: Bed, kind: str, proof, rng, network: MonDEQ, slope, norm: float, arrays) -> None:
    """A certificate file of constants: true ones, and claims below the norm of a slope."""
    file = certificates.issued(bed, kind, proof, network)
    if file is None:
        return
    certificates.other_networks(bed, kind, file, rng, arrays)
    for number, claim in enumerate(file.claims):
        own = [difference(J, *claim["pair"]) for J in slope] if "pair" in claim else slope
        bound = fmpq(*proofs.Decimal(claim["bound"]).as_integer_ratio())
        true = not any(operator_norm_exceeds(J, norm, bound) for J in own)
        bed.holds(f"certificates: {kind}", true, f"{claim['bound']} is below the norm of a slope")
        low, high = fmpq(0), bound  # what is attained is between
        for _ in range(40):
            middle = (low + high) / 2
            if any(operator_norm_exceeds(J, norm, middle) for J in own):
                low = middle
            else:
                high = middle
        if low > 0:
            text = certificates.just_below(low)
            false = certificates.altered(file, {number: {"bound": text}})
            for what, one in certificates.forged(false, rng):
                certificates.refused(bed, kind, one, arrays, [number], f"{text}, below the norm of a slope, {what}")


def certified(bed: Bed, rng, network: MonDEQ, norm: float, bound) -> None:
    """A ball of which constants, of F or of differences, say that its label wins."""
    x = rng.normal(size=network.input_size)
    label = int(network.predict(x))
    pairs = hasattr(bound, "values")
    L = bound.values[label] if pairs else np.full(network.classes, 2 * bound.value)
    gaps = network.logits(x)[label] - network.logits(x)
    others = (np.arange(network.classes) != label) & (L > 0)
    if not others.any():
        return
    radius = float((gaps[others] / L[others]).min() * rng.choice([0.0, 0.5, 0.999, 1.0]))
    if not np.isfinite(radius):
        return
    ask, given = (lipschitz.certified_pairwise, bound.values) if pairs else (lipschitz.certified, bound)
    if ask(network, x[None], np.array([label]), radius, given)[0]:
        pieces = mondeq_pieces(network, domain(Ball(x, radius, norm)))
        worst = max(pieces.largest_margins(label).values())
        kind = f"monDEQ Lipschitz {norm:g}, certified{' by pairs' if pairs else ''}"
        bed.holds(kind, worst < 0, f"another label is reached: {near(worst)!r}")


def attained_slope(bed: Bed, kind: str, network: MonDEQ, found, norm: float) -> None:
    """A lower bound is at most the norm of the slope at its point, of one of its slopes at a tie."""
    value = found.value
    if found.point is None:
        bed.holds(kind, value == 0, f"{value!r} without a point")
        return
    patterns = at(network, found.point)[0].patterns
    own = [jacobian(network, pattern) for pattern in patterns]
    true = value == 0 or not all(operator_norm_below(J, norm, q(value)) for J in own)
    bed.holds(kind, true, f"{value!r} is above the norm of the slope at {found.point.tolist()}")


def jacobian(network: MonDEQ, pattern: tuple[int, ...]) -> fmpq_mat:
    """C (I - D W)^-1 D U (K, p0) for the active neurons of a pattern."""
    on = [i for i, active_one in enumerate(pattern) if active_one]
    if not on:
        return fmpq_mat(network.classes, network.input_size)
    return matrix(network.C[:, on]) * active(matrix(network.W), on).solve(matrix(network.U[on]))


def local_constants(bed: Bed, rng, network: MonDEQ, region: Ball) -> None:
    """Constants on one ball; slopes on a box in it, and on one in the ball of a file."""
    inner = mondeq_pieces(network, inscribed(region))
    found = jacobians(inner, "output") if inner.domain.size else []
    for order in ("1", "1+cuts"):
        for graph in (False, True):
            kind = f"monDEQ Lipschitz on a ball, {order}{', graph' if graph else ''}"
            with bed.asking(kind):
                bound = local_upper_bound(network, region, order=order, graph=graph)
                constant(bed, kind, bound.value, found, region.norm)
                if not graph:
                    arrays = proofs.arrays_of(network)[1]
                    files_of_constants(bed, kind, bound.certificates(), rng, network, found, region.norm, arrays)
    if found and rng.random() < 0.3:
        r = int(rng.integers(3, 5))
        ball = Ball(region.center, region.radius, r, region.lower, region.upper)
        kind = f"monDEQ Lipschitz on a ball of L{r}"
        with bed.asking(kind):
            value = local_upper_bound(network, ball, order="1+cuts").value
            small = Ball(region.center, region.radius / region.size, INFINITY, region.lower, region.upper)  # is in it
            slope = jacobians(mondeq_pieces(network, domain(small)), "output")
            if slope and np.isfinite(value):
                bed.holds(kind, q(value) ** r >= rise(rng, slope, r), f"{value!r} is below the norm of a slope")
