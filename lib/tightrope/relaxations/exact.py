"""What multipliers prove of a polynomial problem by Shor's relaxation, decided in exact arithmetic.

For max f(v) : g_k(v) {= or >=} 0, v_0 = 1, ||v||^2 <= R^2, any y with y_k >= 0 on the inequalities gives
f(v) <= y_0 + shift R^2 as soon as Z + shift I >= 0 for the matrix Z of y_0 v_0^2 - f - sum_k y_k g_k. Here Z is summed
from the products of the problem in integers, apart from the solver's matrices (:mod:`tightrope.relaxations.shor`), and
no eigenvalue or factor is trusted. The forms of the problem are rounded numbers themselves, such as 1 - W_ii; that
counts against the proof.
"""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import scipy.sparse as sp

from tightrope.checker.numbers import Exact, above
from tightrope.checker.positive import LARGEST, is_semidefinite
from tightrope.errors import CertificateError
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.semialgebraic import Products

UNIT = np.finfo(float).eps / 2
HALF = Fraction(1, 2)


def exact_bound(problem: PolynomialProblem, multipliers: Mapping[str, np.ndarray], y0: float, shift: float) -> float:
    """Return y_0 + shift R^2, rounded up, if the multipliers, by name of constraint group, prove it.

    CertificateError if they do not, or a group is missing, of a wrong length, not finite, negative for an inequality.
    """
    if not (np.isfinite(y0) and np.isfinite(shift) and shift >= 0):
        raise CertificateError(f"y0, shift: got {y0!r} and {shift!r}; they must be finite, the shift at least 0.")
    y = _checked(problem, multipliers)
    bodies = [(problem.objective, np.ones(1)), *((c.body, y[c.name]) for c in problem.constraints)]
    size = len(problem.center)
    Z = _matrix(bodies, size) + Exact.identity(size) * Fraction(shift)
    corner = Exact.identity(size)[:1]
    Z = Z + Exact.of([[y0]]) * (corner.T @ corner)
    terms = sum(sum(body.weights.shape) for body, _ in bodies) + 4  # at least the roundings in a product, of 1+cuts too
    with np.errstate(all="ignore"):  # multipliers beyond all measure overflow to inf and nan, which prove nothing
        holds = _is_semidefinite(Z, _sizes(bodies), terms, list(problem.space.slices.values()))
    if not holds:
        raise CertificateError(f"multipliers: they do not prove y_0 = {y0!r} with the shift {shift!r}.")
    return above(Fraction(y0) + Fraction(shift) * Fraction(problem.squared_norm))


def _checked(problem: PolynomialProblem, multipliers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    sizes = {constraint.name: len(constraint.body) for constraint in problem.constraints}
    if set(multipliers) != set(sizes):
        raise CertificateError(f"multipliers: expected the groups {sorted(sizes)}.")
    y = {name: np.asarray(part, float) for name, part in multipliers.items()}
    for constraint in problem.constraints:
        part, name = y[constraint.name], constraint.name
        if part.shape != (sizes[name],) or not np.isfinite(part).all():
            raise CertificateError(f"multipliers: group {name!r} has a wrong length or a number that is not finite.")
        if not constraint.equality and (part < 0).any():
            raise CertificateError(f"multipliers: negative for an inequality, in the group {constraint.name!r}.")
    return y


def _matrix(bodies: list[tuple[Products, np.ndarray]], size: int) -> Exact:
    """Return the symmetric matrix (size, size) of - sum_k y_k sum_r weights_kr left_r right_r over all bodies.

    Products with the same left form are added up first: a cut's forms have many entries.
    """
    parts = []
    for body, y in bodies:
        left, right, weights = (sp.csr_array(part) for part in (body.left, body.right, body.weights))
        f, g, w, factors = (Exact.of(values) for values in (left.data, right.data, weights.data, y))
        total = np.zeros(left.shape[0], dtype=object)  # the weight of each product
        np.add.at(total, weights.indices, w.integers * np.repeat(factors.integers, np.diff(weights.indptr)))
        parts.append((left, right, f, g, total, f.scale * g.scale * w.scale * factors.scale))
    scale = min(part[-1] for part in parts)  # all are powers of two
    found = np.zeros((size, size), dtype=object)
    for left, right, f, g, total, own in parts:
        total = total * (own / scale).numerator
        sums: dict[tuple[bytes, bytes], tuple[slice, np.ndarray]] = {}
        for n in np.flatnonzero(total):
            here, there = (slice(part.indptr[n], part.indptr[n + 1]) for part in (left, right))
            key = left.indices[here].tobytes(), left.data[here].tobytes()
            _, row = sums.setdefault(key, (here, np.zeros(size, dtype=object)))
            np.add.at(row, right.indices[there], total[n] * g.integers[there])
        for here, row in sums.values():
            columns = np.flatnonzero(row)
            for i, value in zip(left.indices[here], f.integers[here], strict=True):
                found[i, columns] -= value * row[columns]
    return Exact(found + found.T, scale * HALF)


def _sizes(bodies: list[tuple[Products, np.ndarray]]) -> np.ndarray:
    """Return sum |y_k| |weights_kr| |left_r| |right_r| (N, N), before anything cancels."""
    size = sum(
        abs(body.left).T @ sp.diags_array(abs(body.weights).T @ np.abs(y)) @ abs(body.right) for body, y in bodies
    )
    dense = sp.csr_array(size).toarray()
    return (dense + dense.T) / 2


def _is_semidefinite(Z: Exact, size: np.ndarray, terms: int, blocks: list[slice]) -> bool:
    """Return True only if every matrix whose entries are off by at most terms u size from Z is semidefinite.

    Coordinates that are coupled to each other only through their squares are eliminated: with Z = [[cc, cd], [cd', dd]]
    it is enough that dd > 0 and cc - cd dd^-1 cd' >= 0. How far that matrix can be off is in
    :mod:`tightrope.certificates`; it can be more than Z, so a small matrix is tried as it is too.
    """
    tip = _tip(Z, blocks)
    whole = [tip[:0]] if len(tip) and len(size) <= LARGEST else []
    return any(_holds_without(part, Z, size, terms) for part in (tip, *whole))


def _holds_without(tip: np.ndarray, Z: Exact, size: np.ndarray, terms: int) -> bool:
    """Return True only if that is so by the elimination of these coordinates."""
    core = np.setdiff1d(np.arange(len(size)), tip)
    cd = Z[np.ix_(core, tip)]
    dd = Z[tip, tip].fractions()
    g = 2 * terms * UNIT
    least = [Fraction(g) * Fraction(entry) for entry in size[tip, tip]]
    if not np.isfinite(size).all() or any(value <= 2 * low for value, low in zip(dd, least, strict=True)):
        return False
    inverse = Exact.of(np.array([above(1 / value) for value in dd], float))
    if len(tip) and not np.isfinite(inverse.floats()).all():
        return False
    S = Z[np.ix_(core, core)] - (cd * inverse[None, :]) @ cd.T
    A, d = np.abs(cd.floats() * inverse.floats()), inverse.floats()
    s_cc, s_cd, s_dd = size[np.ix_(core, core)], size[np.ix_(core, tip)], size[tip, tip]
    error = g * (s_cc + 2 * A @ s_cd.T + (A * s_dd) @ A.T + (g * s_cd * d) @ s_cd.T)
    off = float(np.hypot.reduce(error.ravel())) * (1 + 1e-9) + 1e-300
    return bool(np.isfinite(off)) and is_semidefinite(S - Exact.identity(len(core)) * Fraction(off))


def _tip(Z: Exact, blocks: list[slice]) -> np.ndarray:
    """Return the coordinates whose mutual block is diagonal: whole blocks, the largest first."""
    tip = np.zeros(0, dtype=int)
    for block in sorted(blocks, key=lambda where: where.start - where.stop):
        wider = np.concatenate([tip, np.arange(block.start, block.stop)])
        part = Z.integers[np.ix_(wider, wider)] != 0
        if not (part & ~np.eye(len(wider), dtype=bool)).any():
            tip = wider
    return tip
