"""Margins by sums of squares of degree 4, Lasserre's order 2, for small equilibrium networks; see README.md."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tightrope.checker.claims import region_of, rows
from tightrope.checker.file import Certificate
from tightrope.checker.mondeq import Network
from tightrope.checker.numbers import Exact, Refused
from tightrope.checker.positive import is_semidefinite
from tightrope.checker.regions import Region

Exponents = tuple[int, ...]
Polynomial = dict[Exponents, Fraction]

#: Of v = (z, d): a Gram matrix has as many rows as there are monomials of degree at most 2, 45 for eight.
LARGEST = 8


def margins(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """Theory mondeq-order-2."""
    network, names = Network.read(arrays), ("sigma", "tau", "gram")
    region = region_of(file, *names)

    def prove(number: int, label: int, target: int, bound: Fraction) -> None:
        asked = question(network, region, label, target)
        sigma, tau, gram = read(asked, rows(file.arrays, names, number))
        for k, part in enumerate(sigma):
            if not is_semidefinite(part):
                raise Refused(f"sigma: the Gram matrix of inequality {k} is not proven to be semidefinite")
        if not is_semidefinite(completed(asked, bound, sigma, tau, gram)):
            raise Refused("the Gram matrices do not prove the bound")

    return prove


@dataclass(frozen=True)
class Question:
    """What is to be shown about v = (z, d), d without the coordinates that cannot move."""

    margin: Polynomial  # F_target - F_label
    inequalities: list[Polynomial]  # at least 0 at every state of the region; in the order of README.md
    equalities: list[Polynomial]  # 0
    size: int  # the number of variables

    @property
    def low(self) -> list[Exponents]:
        """The monomials of degree at most 1."""
        return monomials(self.size, 1)

    @property
    def mid(self) -> list[Exponents]:
        """The monomials of degree at most 2."""
        return monomials(self.size, 2)


def monomials(size: int, degree: int) -> list[Exponents]:
    """Return the exponents of all monomials of at most this degree, those of lower degree first."""
    chosen = (itertools.combinations_with_replacement(range(size), d) for d in range(degree + 1))
    return [tuple(c.count(i) for i in range(size)) for c in itertools.chain.from_iterable(chosen)]


def question(network: Network, region: Region, label: int, target: int) -> Question:
    """Return what has to be shown, and what is known of the states of the region, in exact numbers."""
    bias, through = network.bias(region)
    p, free = len(network.u), np.flatnonzero(region.free)
    size = p + len(free)
    if size > LARGEST:
        raise Refused(f"network: order 2 is for at most {LARGEST} hidden neurons and moving inputs, not {size}")
    # Affine forms are rows (1, z, d) of fractions.
    unit = _fractions(Exact.identity(1 + size))
    one, z, d = unit[0], unit[1 : 1 + p], unit[1 + p :]
    h = np.concatenate([_fractions(part) for part in (bias.column(), network.W, through[:, free])], axis=1)
    xi, constant = network.difference(label, target)
    states = [*z, *(z - h)]
    walls, own = _walls(region, free, one, d)
    pairs = [(i, j) for i, j in itertools.combinations(range(2 * p), 2) if j != i + p]
    inequalities = [
        *(_product(one, form) for form in (*states, *walls)),
        *own,
        *(_product(states[i], states[j]) for i, j in pairs),
        *(_product(state, wall) for state in states for wall in walls),
    ]
    equalities = [_product(state, state - form) for state, form in zip(z, h, strict=True)]
    return Question(_product(one, one * constant + _fractions(xi) @ z), inequalities, equalities, size)


def _walls(region: Region, free: np.ndarray, one: np.ndarray, d: np.ndarray) -> tuple[list, list[Polynomial]]:
    """Return affine forms, and polynomials of degree 2, that are at least 0 on the region."""
    low = high = np.zeros(0, dtype=object)
    if region.half is not None:
        low, high = -_fractions(region.half)[free], _fractions(region.half)[free]
    elif region.lower is not None and region.upper is not None:
        low, high = _fractions(region.lower)[free], _fractions(region.upper)[free]
    sides = [(x - one * a, one * b - x) for x, a, b in zip(d, low, high, strict=False)]
    walls, own = [side for pair in sides for side in pair], [_product(*pair) for pair in sides]
    if region.half is None:
        round_ = _product(one, one * region.radius**2)
        for x in d:
            _add(round_, Fraction(-1), _product(x, x))
        own.append(round_)
    if region.norm == "1" and len(d):
        walls += [
            one * region.radius - np.array(s, dtype=object) @ d for s in itertools.product((1, -1), repeat=len(d))
        ]
    return walls, own


def read(asked: Question, arrays: Mapping[str, np.ndarray]) -> tuple[list[Exact], list[Exact], Exact]:
    """Return the Gram matrices sigma, the coefficients tau and the matrix gram; a file has upper triangles."""
    low, mid = len(asked.low), len(asked.mid)
    counts = {"sigma": len(asked.inequalities), "tau": len(asked.equalities), "gram": 1}
    sizes = {"sigma": low * (low + 1) // 2, "tau": mid, "gram": mid * (mid + 1) // 2}
    found = {}
    for name, count in counts.items():
        array = np.asarray(arrays.get(name, np.zeros(0)))
        if array.shape != (count * sizes[name],):
            raise Refused(f"{name}: expected {count} times {sizes[name]} numbers for each claim")
        found[name] = [Exact.of(part) for part in array.reshape(count, sizes[name])]
    return [_whole(part, low) for part in found["sigma"]], found["tau"], _whole(found["gram"][0], mid)


def completed(asked: Question, bound: Fraction, sigma: list[Exact], tau: list[Exact], gram: Exact) -> Exact:
    """Return a Gram matrix of bound - margin - sum sigma_k g_k - sum tau_j e_j, coefficient by coefficient.

    It is `gram` where that has the right coefficients; what is missing of one goes to one entry, see :func:`halves`.
    """
    rest = {(0,) * asked.size: bound}
    _add(rest, Fraction(-1), asked.margin)
    for matrix, polynomial in zip(sigma, asked.inequalities, strict=True):
        for e, value in _squares(matrix, asked.low).items():
            _add(rest, -value, polynomial, e)
    for row, polynomial in zip(tau, asked.equalities, strict=True):
        for e, value in zip(asked.mid, row.fractions(), strict=True):
            _add(rest, -value, polynomial, e)
    _add(rest, Fraction(-1), _squares(gram, asked.mid))
    place = {e: i for i, e in enumerate(asked.mid)}
    found = _fractions(gram)
    for e, value in rest.items():
        i, j = (place[half] for half in halves(e))
        found[i, j] += value / 2
        found[j, i] += value / 2
    whole = Exact.rational(found.ravel())
    return Exact(whole.integers.reshape(found.shape), whole.scale)


def halves(exponents: Exponents) -> tuple[Exponents, Exponents]:
    """Return two monomials of about equal degree whose product this one is; the same twice if it is a square.

    Examples
    --------
    >>> halves((2, 2)), halves((3, 0))
    (((1, 1), (1, 1)), ((2, 0), (1, 0)))
    """
    factors = [i for i, count in enumerate(exponents) for _ in range(count)]
    one, other = (tuple(part.count(i) for i in range(len(exponents))) for part in (factors[::2], factors[1::2]))
    return one, other


def _squares(matrix: Exact, basis: list[Exponents]) -> Polynomial:
    """Return the polynomial m'Qm of a symmetric matrix Q."""
    found: Polynomial = {}
    for one, row in zip(basis, _fractions(matrix), strict=True):
        _add(found, Fraction(1), dict(zip(basis, row, strict=True)), one)
    return found


def _product(form: np.ndarray, other: np.ndarray) -> Polynomial:
    """Return the product of two affine forms (1 + size,)."""
    units = [tuple(int(i == j) for i in range(1, len(form))) for j in range(len(form))]
    found: Polynomial = {}
    for e, factor in zip(units, form, strict=True):
        _add(found, factor, dict(zip(units, other, strict=True)), e)
    return found


def _add(total: Polynomial, factor: Fraction, polynomial: Polynomial, times: Exponents | None = None) -> None:
    """Add factor * polynomial * the monomial `times`."""
    if not factor:
        return
    for e, value in polynomial.items():
        if value:
            e = e if times is None else tuple(map(sum, zip(e, times, strict=True)))
            total[e] = total.get(e, Fraction(0)) + factor * value


def _fractions(values: Exact) -> np.ndarray:
    """Return an array of fractions of the same shape."""
    return np.array(values.fractions(), dtype=object).reshape(values.shape)


def _whole(triangle: Exact, size: int) -> Exact:
    """Return the symmetric matrix (size, size) with this upper triangle."""
    found = np.zeros((size, size), dtype=object)
    found[np.triu_indices(size)] = triangle.integers
    return Exact(found + np.triu(found, 1).T, triangle.scale)
