"""Certificate files of order 2, by Gram matrices; what is solved is the checker's own list of facts about a state.

The solver's matrices are rounded, and a little slack is left in sigma_0 into which the checker puts what they miss of
the identity (Peyrl and Parrilo 2008, *Computing sum of squares decompositions with rational coefficients*).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np

from tightrope.checker import Finding, gram, mondeq, regions
from tightrope.checker.numbers import Exact, above, nearest
from tightrope.errors import InputError
from tightrope.networks import MonDEQ
from tightrope.proofs import Proof, arrays_of, checked, decimal_above, named_refusals
from tightrope.question import DEFAULT, Limits, Question
from tightrope.regions import Region
from tightrope.relaxations.lasserre import MomentBlock, lasserre, semidefinite_part
from tightrope.solvers import conic

#: Significant digits of a bound: this order is a yardstick for others.
DIGITS = 9
#: How much of each squared monomial is left in sigma_0, relative to the objective's size.
SLACKS = (1e-7, 1e-5)
#: The least eigenvalue of the other Gram matrices, relative to the largest entry of all.
LEAST = 1e-12

ROWS = ("sigma", "tau", "gram")

_Arrays = dict[str, np.ndarray]


@named_refusals()
def margin(question: Question, limits: Limits = DEFAULT) -> Proof:
    """Return the proof of the bound of F_target - F_label that Lasserre's order 2 gives on the region, by Clarabel.

    Raises
    ------
    InputError
        The question has several targets.
    """
    network, region, label = question.mondeq, question.region, question.label
    if len(question.targets) != 1:
        raise InputError(f"targets: got {question.targets}; bounds of order 2 are solved one at a time.")
    (target,) = question.targets
    header, arrays = region.stated()
    exact = regions.read(header, arrays)
    asked = gram.question(mondeq.Network.read(arrays_of(network)[1]), exact, label, target)
    scale = _scale(network, region, exact)
    reason = "the solver returned no multipliers that prove a bound"
    proof = Proof(None, (Finding(f"F_{target} - F_{label}", False, reason=reason),))
    for slack in SLACKS:
        own = _solve(asked, scale, slack, partial(conic.solve_lasserre, solver="clarabel", time_limit=limits.time))
        if own is None or (bound := _bound(asked, scale, own)) is None:
            continue
        claim = {"label": label, "target": target, "bound": decimal_above(bound, DIGITS)}
        rows = {name: row[None] for name, row in own.items()}
        proof = checked("mondeq-order-2", network, header, [claim], arrays | rows)
        if proof.proven:
            break
    return proof


@named_refusals()
def ellipsoid(network: MonDEQ, region: Region, limits: Limits = DEFAULT) -> Proof:
    """Return the proof of an ellipsoid, Q (K, K) and b (K,) in its file, that holds F: ||Q F + b|| <= 1 on the region.

    Lasserre's order 2 by Clarabel proposes it; that it is the smallest one is not claimed.
    """
    header, arrays = region.stated()
    exact, stated = regions.read(header, arrays), mondeq.Network.read(arrays_of(network)[1])
    known = gram.known(stated, exact, {})
    scale, center = _scale(network, region, exact), network.logits(region.center)
    size = float(np.abs(network.logits(region.sample(30, np.random.default_rng(0))) - center).max()) or 1.0
    out = np.zeros((network.classes, len(known.mid)))  # (F - center) / size on the scaled monomials
    out[:, 0], out[:, 1 : 1 + network.width] = network.c - center, network.C * scale[: network.width]
    out /= size
    reason = "the solver returned no multipliers that prove an ellipsoid; is the image flat?"
    proof = Proof(None, (Finding("the ellipsoid holds F", False, reason=reason),))
    for slack in SLACKS:
        image = partial(conic.solve_image, out=out, slack=slack, time_limit=limits.time)
        if (own := _solve(known, scale, 0.0, lambda _, block, image=image: image(block))) is None:
            continue
        Q = own.pop("Q") / size
        b = own.pop("b") - Q @ center
        square = _bound(gram.image(stated, exact, Exact.of(Q), Exact.of(b)), scale, own)
        if square is None or not square > 0:
            continue
        shrink = (1 - 1e-9) / np.sqrt(square)
        rows = {name: shrink**2 * row[None] for name, row in own.items()} | {"Q": shrink * Q, "b": shrink * b}
        proof = checked("mondeq-order-2", network, header, [{"holds": "image"}], arrays | rows)
        if proof.proven:
            break
    return proof


def bound_of(proof: Proof) -> float | None:
    """Return the bound of the one claim of a proof, rounded up, or None if it was refused."""
    return None if proof.certificate is None else above(Fraction(proof.certificate.claims[0]["bound"]))


def joined(proofs: Sequence[Proof]) -> Proof:
    """Return one file with the claims of several about one network and region."""
    kept = [proof.certificate for proof in proofs if proof.certificate is not None]
    findings = tuple(finding for proof in proofs for finding in proof.findings)
    if not kept:
        return Proof(None, findings)
    claims = [claim for file in kept for claim in file.claims]
    rows = {name: np.concatenate([file.arrays[name] for file in kept]) for name in ROWS}
    return Proof(replace(kept[0], claims=claims, arrays=kept[0].arrays | rows), findings)


def _scale(network: MonDEQ, region: Region, exact: regions.Region) -> np.ndarray:
    """Return powers of two (size,), about as large as the variables (z, d) are on the region."""
    points = np.vstack([region.center, region.sample(30, np.random.default_rng(0))])
    z = np.abs(network.equilibrium(points)).max(0)
    d = np.full(exact.size, float(exact.radius)) if exact.half is None else exact.half.floats()
    size = np.concatenate([np.maximum(z, 0.25 * z.max(initial=0.0)), d[exact.free]])
    return 2.0 ** np.round(np.log2(np.where(size > 0, size, 1.0)))


def _solve(
    asked: gram.Question, scale: np.ndarray, slack: float, solve: Callable[[np.ndarray, MomentBlock], tuple | None]
) -> _Arrays | None:
    """Return sigma, tau and gram as a file has them, and Q and b as they are, or None if the solver gives none."""

    def scaled(polynomial: gram.Polynomial) -> tuple[dict, float]:
        own = by_exponents(polynomial, asked.size)
        found = {e: nearest(*value.as_integer_ratio()) * float(np.prod(scale**e)) for e, value in own.items()}
        size = float(np.max(np.abs(list(found.values())), initial=0.0)) or 1.0
        return {e: value / size for e, value in found.items()}, size

    objective, unit = scaled(asked.margin)
    low, mid = (np.array([exponents(m, asked.size) for m in basis]) for basis in (asked.low, asked.mid))
    for e in mid:
        square = tuple((2 * e).tolist())
        objective[square] = objective.get(square, 0.0) + slack
    inequalities, equalities = (list(map(scaled, part)) for part in (asked.inequalities, asked.equalities))
    if not np.isfinite([unit, *(size for _, size in (*inequalities, *equalities))]).all():
        return None  # squares of weights overflow
    program = lasserre(objective, [g for g, _ in inequalities], [e for e, _ in equalities], asked.size)
    found = solve(*program)
    if found is None or not all(np.isfinite(part).all() for part in (*found[0], found[1])):
        return None
    (first, *others), tau, *shape = found
    low, mid = (1 / np.prod(scale**basis, axis=1) for basis in (low, mid))
    least = LEAST * max((float(np.abs(Q).max()) for Q in others), default=0.0)
    sigma = [
        _triangle((semidefinite_part(Q) + least * np.eye(len(low))) * np.outer(low, low) * unit / size)
        for Q, (_, size) in zip(others, inequalities, strict=True)
    ]
    sizes = np.array([size for _, size in equalities])
    tau = tau.reshape(len(equalities), len(mid)) * mid * unit / sizes[:, None]
    whole = {"sigma": np.concatenate(sigma), "tau": tau.ravel(), "gram": _triangle(first * np.outer(mid, mid) * unit)}
    return whole | dict(zip(("Q", "b"), shape, strict=False))


def _bound(asked: gram.Question, scale: np.ndarray, own: Mapping[str, np.ndarray]) -> float | None:
    """Return the bound that these arrays prove, as far as floating point can tell; None if it is none."""
    mid = np.array([np.prod(scale ** exponents(m, asked.size)) for m in asked.mid])
    G = gram.completed(asked, Fraction(0), *gram.read(asked, own)).floats() * np.outer(mid, mid)
    try:
        half = np.linalg.solve(np.linalg.cholesky(G[1:, 1:]), G[1:, 0])
    except np.linalg.LinAlgError:
        return None
    value = float(half @ half - G[0, 0])
    return value + 1e-9 * (1 + abs(value))


def by_exponents(polynomial: gram.Polynomial, size: int) -> dict[tuple[int, ...], Fraction]:
    """Return the coefficients of the checker's polynomial by the exponents of its variables."""
    return {exponents(monomial, size): value for monomial, value in polynomial.items()}


def exponents(monomial: gram.Monomial, size: int) -> tuple[int, ...]:
    """Return the exponents of the checker's monomial, whose variable 0 is 1."""
    return tuple(monomial.count(i) for i in range(1, size + 1))


def _triangle(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix))]
