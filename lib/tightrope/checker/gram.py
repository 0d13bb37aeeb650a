"""Margins and ellipsoids by sums of squares of degree 4, Lasserre's order 2, for small equilibrium networks."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tightrope.checker.claims import array, region_of, rows
from tightrope.checker.file import Certificate
from tightrope.checker.mondeq import Network
from tightrope.checker.numbers import Exact, Refused, dense
from tightrope.checker.positive import is_semidefinite
from tightrope.checker.regions import Region

#: The variables of a monomial of degree 2 or 4, ascending, where 0 stands for 1; of a polynomial its coefficients.
Monomial = tuple[int, ...]
Polynomial = dict[Monomial, Fraction]

#: Of v = (z, d): a Gram matrix has as many rows as there are monomials of degree at most 2, 45 for eight.
LARGEST = 8


def margins(file: Certificate, arrays: Mapping[str, np.ndarray]) -> Callable[..., None]:
    """Theory mondeq-order-2."""
    network, names = Network.read(arrays), ("sigma", "tau", "gram")
    region = region_of(file, *names, "Q", "b")

    def prove(
        number: int, label: int = 0, target: int = 0, bound: Fraction = Fraction(1), holds: object = None
    ) -> None:
        if holds not in (None, "image"):
            raise Refused("holds: it is the image that the ellipsoid is proven to hold")
        if holds is None:
            asked = question(network, region, label, target)
        else:
            asked = image(network, region, *network.ellipsoid(file))
        sigma, tau, gram = read(asked, rows(file.arrays, names, number))
        for k, part in enumerate(sigma):
            if not is_semidefinite(part):
                raise Refused(f"sigma: the Gram matrix of inequality {k} is not proven to be semidefinite")
        if not is_semidefinite(completed(asked, bound, sigma, tau, gram)):
            raise Refused("the Gram matrices do not prove the claim")

    return prove


@dataclass(frozen=True)
class Question:
    """What is to be shown about v = (z, d), d without the coordinates that cannot move."""

    margin: Polynomial  # F_target - F_label, or ||Q F + b||^2: it is to be at most a bound
    inequalities: list[Polynomial]  # at least 0 at every state of the region; in the order of README.md
    equalities: list[Polynomial]  # 0
    size: int  # the number of variables

    @property
    def low(self) -> list[Monomial]:
        """The monomials of degree at most 1."""
        return [(i,) for i in range(1 + self.size)]

    @property
    def mid(self) -> list[Monomial]:
        """The monomials of degree at most 2."""
        return list(itertools.combinations_with_replacement(range(1 + self.size), 2))


def question(network: Network, region: Region, label: int, target: int) -> Question:
    """Return what has to be shown of a margin, and what is known of the states of the region, in exact numbers."""
    xi, constant = network.difference(label, target)
    form = np.concatenate([_fractions(constant.row())[0], _fractions(xi)])
    return known(network, region, {(0, i): value for i, value in enumerate(form) if value})


def image(network: Network, region: Region, Q: Exact, b: Exact) -> Question:
    """Return the same of an ellipsoid, of ||Q (C z + c) + b||^2."""
    square: Polynomial = {}
    for form in np.concatenate([_fractions((Q @ network.c + b).column()), _fractions(Q @ network.C)], axis=1):
        _add(square, Fraction(1), _product(form, form))
    return known(network, region, square)


def known(network: Network, region: Region, margin: Polynomial) -> Question:
    """Return what is known of the states of the region, and this polynomial."""
    bias, through = network.bias(region)
    p, free = len(network.u), np.flatnonzero(region.free)
    size = p + len(free)
    if size > LARGEST:
        raise Refused(f"network: order 2 is for at most {LARGEST} hidden neurons and moving inputs, not {size}")
    # Affine forms are rows (1, z, d) of fractions.
    unit = _fractions(dense(Exact.ones(1 + size)))
    one, z, d = unit[0], unit[1 : 1 + p], unit[1 + p :]
    h = np.concatenate([_fractions(part) for part in (bias.column(), network.W, through[:, free])], axis=1)
    states = [*z, *(z - h)]
    walls: list[np.ndarray] = []
    own: list[Polynomial] = []
    if region.box is not None:
        ends = (_fractions(end)[free] for end in region.box)
        sides = [(x - one * a, one * c - x) for x, a, c in zip(d, *ends, strict=True)]
        walls, own = [side for pair in sides for side in pair], [_product(*pair) for pair in sides]
    if region.norm != "inf":
        own.append(_product(one, one * region.radius**2))
        for x in d:
            _add(own[-1], Fraction(-1), _product(x, x))
    if region.norm == "1" and len(d):
        walls += [
            one * region.radius - np.array(s, dtype=object) @ d for s in itertools.product((1, -1), repeat=len(d))
        ]
    pairs = [(i, j) for i, j in itertools.combinations(range(2 * p), 2) if j != i + p]
    inequalities = [
        *(_product(one, form) for form in (*states, *walls)),
        *own,
        *(_product(states[i], states[j]) for i, j in pairs),
        *(_product(state, wall) for state in states for wall in walls),
    ]
    equalities = [_product(state, state - form) for state, form in zip(z, h, strict=True)]
    return Question(margin, inequalities, equalities, size)


def read(asked: Question, arrays: Mapping[str, np.ndarray]) -> tuple[list[Exact], list[Exact], Exact]:
    """Return the Gram matrices sigma, the coefficients tau and the matrix gram; a file has upper triangles."""
    low, mid = len(asked.low), len(asked.mid)

    def parts(name: str, count: int, size: int) -> list[Exact]:
        found = array(arrays, name)
        if found.shape != (count * size,):
            raise Refused(f"{name}: expected {count} times {size} numbers for each claim")
        return [Exact.of(part) for part in found.reshape(count, size)]

    sigma = parts("sigma", len(asked.inequalities), low * (low + 1) // 2)
    (gram,) = parts("gram", 1, mid * (mid + 1) // 2)
    return [_whole(part, low) for part in sigma], parts("tau", len(asked.equalities), mid), _whole(gram, mid)


def completed(asked: Question, bound: Fraction, sigma: list[Exact], tau: list[Exact], gram: Exact) -> Exact:
    """Return a Gram matrix of bound - margin - sum sigma_k g_k - sum tau_j e_j, coefficient by coefficient.

    It is `gram` where that has the right coefficients; what is missing of one goes to one entry: that of two monomials
    of about equal degree, the same twice for a square.
    """
    rest: Polynomial = {(0, 0, 0, 0): bound}
    _add(rest, Fraction(-1), asked.margin, (0, 0))
    for matrix, polynomial in zip(sigma, asked.inequalities, strict=True):
        for e, value in _expanded(_fractions(matrix), asked.low).items():
            _add(rest, -value, polynomial, e)
    for row, polynomial in zip(tau, asked.equalities, strict=True):
        for e, value in zip(asked.mid, row.fractions(), strict=True):
            _add(rest, -value, polynomial, e)
    found, place = _fractions(gram), {e: i for i, e in enumerate(asked.mid)}
    _add(rest, Fraction(-1), _expanded(found, asked.mid))
    for e, value in rest.items():
        i, j = place[e[::2]], place[e[1::2]]
        found[i, j] += value / 2
        found[j, i] += value / 2
    return Exact.rational(found)


def _expanded(matrix: np.ndarray, basis: list[Monomial]) -> Polynomial:
    """Return the polynomial m'Q m of a matrix Q and the monomials m."""
    found: Polynomial = {}
    for e, row in zip(basis, matrix, strict=True):
        _add(found, Fraction(1), dict(zip(basis, row, strict=True)), e)
    return found


def _product(form: np.ndarray, other: np.ndarray) -> Polynomial:
    """Return the product of two affine forms (1 + size,)."""
    return _expanded(np.outer(form, other), [(i,) for i in range(len(form))])


def _add(total: Polynomial, factor: Fraction, polynomial: Polynomial, times: Monomial = ()) -> None:
    """Add factor * polynomial * the monomial `times`."""
    for e, value in polynomial.items() if factor else ():
        if value:
            e = tuple(sorted(e + times))
            total[e] = total.get(e, Fraction(0)) + factor * value


def _fractions(values: Exact) -> np.ndarray:
    """Return an array of fractions of the same shape."""
    return np.array(values.fractions(), dtype=object).reshape(values.shape)


def _whole(triangle: Exact, size: int) -> Exact:
    """Return the symmetric matrix (size, size) with this upper triangle."""
    found = np.zeros((size, size), dtype=object)
    found[np.triu_indices(size)] = triangle.integers
    return Exact(found + np.triu(found, 1).T, triangle.scale)
