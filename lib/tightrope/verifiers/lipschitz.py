"""Upper bounds of Lipschitz constants of a monDEQ, each with its proof, and what they certify.

Constants are with respect to network inputs, and global: they hold on all of R^p0 (local ones:
:mod:`tightrope.verifiers.local_lipschitz`; lower bounds: :mod:`tightrope.verifiers.lipschitz_lower`).
"""

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike

from tightrope import proofs
from tightrope.arguments import require_network
from tightrope.errors import InputError, RegionError, UnknownNameError
from tightrope.networks import MonDEQ
from tightrope.problems.lipschitz import l1_problem, l2_problem, linf_problem, y_radius
from tightrope.problems.polynomial import PolynomialProblem
from tightrope.question import DEFAULT, Limits, Verdict
from tightrope.regions import INFINITY, parse_norm
from tightrope.relaxations.shor import objective_matrix, shor_constraints
from tightrope.solvers.arrow import ArrowData
from tightrope.solvers.interior_point import InteriorPoint
from tightrope.solvers.sound import sound_bound
from tightrope.verifiers.report import LipschitzReport

MAPS = ("output", "state")
KNOWN = (1.0, 2.0, INFINITY)  # norms whose dual balls are described exactly
#: Of the squared length of a problem's variables.
LARGEST = 1e100


@dataclass(frozen=True, eq=False)
class PartBound:
    """A proven bound of one problem.

    `part` is the index of an output (L-infinity) or input (L1), 0 for the single problem of L2, or a pair (i, j) for
    F_i - F_j; `value` the smaller of the relaxation's bound and of the closed form. `multipliers` prove the
    relaxation's bound, by name of constraint group; None where the closed form decides. The rest is how the solve
    ended, and its cost.
    """

    part: int | tuple[int, int]
    value: float
    multipliers: dict[str, np.ndarray] | None
    status: str
    gap: float | None = None
    iterations: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if np.isnan(self.value):  # infinity times 0 where numbers overflow: nothing is proven
            object.__setattr__(self, "value", np.inf)


class Constants(LipschitzReport):
    """Constants of a monDEQ by their parts; CERTIFIED, or FAILED where nothing finite is proven.

    In a norm that no problem is built for, the value follows by the `inequality` from those of the `ends`, in others.
    """

    if TYPE_CHECKING:  # a field of each

        @property
        def ends(self) -> Sequence["Constants"]: ...

    facts: ClassVar[tuple[str, ...]] = ("norm", "value", "verdict", "inequality", "seconds")
    several = ("parts", "parts", ("part", "value", "status", "gap", "iterations", "seconds"))

    @property
    def verdict(self) -> Verdict:
        """Whether the largest constant is proven."""
        return Verdict.CERTIFIED if np.isfinite(cast(float, self.value)) else Verdict.FAILED

    @property
    def inequality(self) -> str:
        """How the value follows from those of the ends, in words; "" without any."""
        norms = " and ".join(f"L{end.norm:g}" for end in self.ends)
        return norms and f"{'Riesz-Thorin' if len(self.ends) > 1 else 'equivalence of norms'} from {norms}"

    @property
    def headline(self) -> str:
        """The constant in words, rounded outward, and the inequality."""
        return super().headline + (self.inequality and f" by {self.inequality}")

    def _own_parts(self) -> None:
        if self.ends:
            raise InputError(
                f"bound: it follows by {self.inequality}, without a certificate; those of its ends have one."
            )


@dataclass(frozen=True, eq=False, repr=False)
class LipschitzBound(Constants):
    """||G(x) - G(x')||_norm <= value ||x - x'||_norm for all inputs, G the outputs F or the states z.

    `value` is the largest of the parts; unless they are the `whole`, it is for a part of the Jacobian only.
    """

    norm: float
    of: str
    value: float
    parts: tuple[PartBound, ...]
    network: MonDEQ
    seconds: float
    whole: bool = True
    ends: tuple["LipschitzBound", ...] = ()

    @property
    def subject(self) -> str:
        """The map, in words."""
        return ("F" if self.of == "output" else "z") + ("" if self.whole else ", in part")

    def certificates(self) -> proofs.Proof:
        """Return the file that proves the constant; an InputError if it is that of the states, or in part."""
        self._own_parts()
        if not (self.of == "output" and self.whole):
            raise InputError("bound: only a constant of the outputs, with all parts, has a certificate.")
        parts = sorted(self.parts, key=lambda part: cast(int, part.part))
        return proofs.lipschitz(self.network, self.norm, [({"bound": self.value}, [own.multipliers for own in parts])])


@dataclass(frozen=True, eq=False, repr=False)
class PairwiseBounds(Constants):
    """|(F_i - F_j)(x) - (F_i - F_j)(x')| <= values[i, j] ||x - x'||_norm for all inputs; values (K, K).

    The parts are one problem for each pair i < j, for L1 one for each pair and input.
    """

    norm: float
    values: np.ndarray
    parts: tuple[PartBound, ...]
    network: MonDEQ
    seconds: float
    ends: tuple["PairwiseBounds", ...] = ()

    @property
    def value(self) -> float:
        """The largest of the constants."""
        return float(np.max(self.values))

    @property
    def subject(self) -> str:
        """The maps, in words."""
        return "any F_i - F_j"

    def certificates(self) -> proofs.Proof:
        """Return the file that proves the constants, one claim for each pair."""
        self._own_parts()
        proven: dict[tuple[int, int], list] = {}
        for part in self.parts:
            proven.setdefault(cast(tuple[int, int], part.part), []).append(part.multipliers)
        claims = [({"bound": float(self.values[pair]), "pair": list(pair)}, own) for pair, own in proven.items()]
        return proofs.lipschitz(self.network, self.norm, claims)


#: What to write for a network that is no monDEQ.
RELU = "write tightrope.lipschitz_bound(network, norm=2), or give network.to_mondeq()"


def upper_bound(
    network: MonDEQ, norm: object, *, of: str = "output", parts: Iterable[int] | None = None, limits: Limits = DEFAULT
) -> LipschitzBound:
    """Prove a global Lipschitz constant with respect to `norm` on both sides.

    For 1, 2 and inf that is one problem for each input, one problem, or one for each output; with `parts` only these,
    for a bound on a part of the Jacobian. Of another norm it is :func:`interpolated`. `of` is "output" for F, "state"
    for z; the limits are those of each solve.
    """
    began = time.perf_counter()
    q, target = _checked(network, norm, of)
    if q not in KNOWN:
        if parts is not None:
            raise InputError("parts: of another norm than 1, 2 and inf there are none; leave parts out.")
        ends = tuple(upper_bound(network, end, of=of, limits=limits) for end in _around(q))
        found = float(interpolated(q, *(end.value for end in ends)))
        return LipschitzBound(q, of, found, (), network, time.perf_counter() - began, ends=ends)
    count = {1.0: target.input_size, 2.0: 1, INFINITY: target.classes}[q]
    chosen = range(count) if parts is None else list(parts)
    for part in chosen:
        if not isinstance(part, int | np.integer) or not 0 <= part < count:
            raise InputError(f"parts: got {part!r}; write integers in 0..{count - 1}.")
    if not len(chosen):
        raise InputError("parts: got none; leave parts out for all problems.")
    solved = tuple(_solve(target, q, int(part), limits) for part in chosen)
    value, whole = max(part.value for part in solved), set(chosen) == set(range(count))
    return LipschitzBound(q, of, value, solved, network, time.perf_counter() - began, whole)


def pairwise_bounds(network: MonDEQ, norm: object, limits: Limits = DEFAULT) -> PairwiseBounds:
    """Prove a global Lipschitz constant of every difference F_i - F_j with respect to `norm` of the input.

    The constant of a scalar function is the largest dual norm of its gradient: L2 for L2, L1 for L-infinity, and for L1
    the largest entry, one problem for each input. Of another norm it is :func:`interpolated`.
    """
    began = time.perf_counter()
    q, _ = _checked(network, norm, "output")
    K = network.classes
    if K < 2:
        raise InputError("network: it has one output; pairwise bounds need two.")
    if q not in KNOWN:
        ends = tuple(pairwise_bounds(network, end, limits) for end in _around(q))
        found = interpolated(q, *(end.values for end in ends))
        return PairwiseBounds(q, found, (), network, time.perf_counter() - began, ends)
    solved, values = list[PartBound](), np.zeros((K, K))
    for pair in itertools.combinations(range(K), 2):
        for column in range(network.input_size) if q == 1 else (None,):
            solved.append(_solve(network, q, pair, limits, column))
            values[pair] = values[pair[::-1]] = max(values[pair], solved[-1].value)
    return PairwiseBounds(q, values, tuple(solved), network, time.perf_counter() - began)


def interpolated(q: float, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Return upper bounds of ||J||_q from those of ||J||_1 and ||J||_2 for q < 2, of ||J||_2 and ||J||_inf for q > 2.

    By the theorem of Riesz and Thorin log ||J||_q is convex in 1 / q (for real matrices too, with one norm on both
    sides), and never above what equivalence of norms gives.
    """
    low, high = np.asarray(low, float), np.asarray(high, float)
    share = 2 / q - 1 if q < 2 else 2 / q  # 1 / q = share / 1 + (1 - share) / 2, or share / 2
    with np.errstate(invalid="ignore"):
        mean = low**share * high ** (1 - share) * (1 + 1e-12)  # a power of at most 1e300 with a rounded exponent
    return np.where((low == 0) | (high == 0), 0.0, np.nextafter(mean, np.inf))


def _around(q: float) -> tuple[float, float]:
    return (1.0, 2.0) if q < 2 else (2.0, INFINITY)


def product_bound(network: MonDEQ, norm: object, *, of: str = "output") -> float:
    """Return UB_F^q of Pabbaraju, Winston and Kolter (2021): ||C||_q ||U||_2 / m, times a change of norms.

    ||z - z'||_2 <= ||U||_2 ||x - x'||_2 / m. For q = inf, ||.||_inf <= ||.||_2 and ||x||_2 <= sqrt(p0) ||x||_inf; for
    q = 1, ||z||_1 <= sqrt(p) ||z||_2 and ||.||_2 <= ||.||_1.
    """
    q, target = known_norm(norm), _checked(network, norm, of)[1]
    change = {1.0: np.sqrt(network.width), 2.0: 1.0, INFINITY: np.sqrt(network.input_size)}[q]
    return y_radius(network, float(np.linalg.norm(target.C, q) * change * np.linalg.norm(network.U, 2)))


def certified(
    network: MonDEQ, x: np.ndarray, labels: np.ndarray, radius: float, bound: LipschitzBound | float
) -> np.ndarray:
    """Return for which images the printed criterion holds: 2 radius L < F_y - max_(k != y) F_k at the centre.

    The centres x (N, p0) and the radius are in network-input units, in the norm of the `bound`, a Lipschitz constant of
    F (one of the states, or of a part of the Jacobian, is an InputError); the labels (N,) are the true ones. The
    answers (N,) are true only where it holds whatever the computed scores are off by.
    """
    if isinstance(bound, LipschitzBound) and not (bound.of == "output" and bound.whole):
        raise InputError("bound: expected one of the outputs and of all parts; call upper_bound without of and parts.")
    L = bound.value if isinstance(bound, LipschitzBound) else float(bound)
    return certified_pairwise(network, x, labels, radius, np.full((network.classes,) * 2, 2 * L))


def certified_pairwise(
    network: MonDEQ, x: np.ndarray, labels: np.ndarray, radius: float, values: np.ndarray
) -> np.ndarray:
    """Return for which images the sharper criterion holds: radius L_yk < F_y - F_k for all k; values (K, K) of L."""
    if not 0 <= radius < np.inf:
        raise InputError(f"radius: expected a finite number >= 0, got {radius!r}.")
    if np.shape(values) != (network.classes,) * 2:
        raise InputError(f"values: expected shape {(network.classes,) * 2}, got {np.shape(values)}.")
    x, labels = np.atleast_2d(np.asarray(x, float)), np.atleast_1d(labels)
    if len(labels) != len(x) or not ((labels >= 0) & (labels < network.classes)).all():
        raise InputError(f"labels: expected {len(x)} labels in 0..{network.classes - 1}, got {labels!r}.")
    differences, error = network.margins(x, labels)
    margins = -differences - error  # what F_y - F_k is at least
    margins[np.arange(len(x)), labels] = np.inf
    return (np.nextafter(float(radius) * np.asarray(values)[labels], np.inf) < margins).all(-1)


def prove(
    problem: PolynomialProblem, limits: Limits = DEFAULT, part: int | tuple[int, int] = 0, closed_form: float = np.inf
) -> PartBound:
    """Solve Shor's relaxation of a problem and prove a bound of its value; at most `closed_form`, itself proven."""
    began = time.perf_counter()
    if not problem.squared_norm <= LARGEST:  # rounding outweighs any proof, where nothing overflows
        return PartBound(part, closed_form, None, "variables too large; scale C")
    data = ArrowData(shor_constraints(problem), core=("y", "v"))  # the objective couples y and v with t
    objective = objective_matrix(problem.objective)
    report, _ = InteriorPoint(data).solve(objective, **limits.options)
    bound = None if report.multipliers is None else sound_bound(data, objective, report.multipliers)
    common = (report.status.name.lower(), float(report.gap), report.iterations, time.perf_counter() - began)
    if bound is None or not bound.value <= closed_form:
        return PartBound(part, closed_form if np.isfinite(closed_form) else np.inf, None, *common)
    return PartBound(part, bound.value, data.constraints.split(bound.multipliers), *common)


def _solve(
    network: MonDEQ, q: float, part: int | tuple[int, int], limits: Limits, column: int | None = None
) -> PartBound:
    """Bound one problem, at most by m ||y|| <= ||C'v||, which is valid without a solve and 0 for a constant map.

    The `column` is the input of a pair for L1.
    """
    unit = np.eye(network.classes)
    row = unit[part[0]] - unit[part[1]] if isinstance(part, tuple) else unit[part] if q == INFINITY else None
    C = network.C if row is None else row[None] @ network.C
    if q == 1:  # |v'C ...| with ||v||_2 <= sqrt(K)
        at = cast(int, part if column is None else column)
        size = float(np.linalg.norm(C, 2) * np.sqrt(len(C)))
        closed = y_radius(network, size) * float(np.hypot.reduce(network.U[:, at]))
        problem = partial(l1_problem, network, at, row)
    else:
        change = np.sqrt(network.input_size) if q == INFINITY else 1.0
        closed = y_radius(network, float(np.linalg.norm(C, 2))) * float(np.linalg.norm(network.U, 2) * change)
        problem = partial(l2_problem, network, row) if q == 2 else partial(linf_problem, network, cast(np.ndarray, row))
    return prove(problem(), limits, part, closed) if closed else PartBound(part, 0.0, None, "constant")


def known_norm(norm: object) -> float:
    """Return a norm that closed forms and lower bounds are built for: 1, 2 or inf; else a RegionError."""
    q = parse_norm(norm)
    if q not in KNOWN:
        raise RegionError(f"norm: these Lipschitz bounds are built for 1, 2 and inf, not L{q:g}.")
    return q


def _checked(network: MonDEQ, norm: object, of: str) -> tuple[float, MonDEQ]:
    """Return the norm and the network whose outputs are the map: its own, or its states z."""
    require_network(network, MonDEQ, instead=RELU)
    if not (q := parse_norm(norm)) >= 1:  # of another kind
        raise RegionError(f"norm: got {q!r}; write 1, 2, inf, or another order q >= 1.")
    if of not in MAPS:
        raise UnknownNameError("map", of, MAPS)
    p = network.width
    return q, network if of == "output" else replace(network, C=np.eye(p), c=np.zeros(p))
