"""Certificate files of what the solvers found: written here, and called proven only where the checker proves them.

The multipliers of a :class:`tightrope.certificates.Certificate` belong to coordinates of unit size; a file has them in
input units, in single precision where the checker still proves the claim. :mod:`tightrope.checker` decides and knows
nothing of this module; each kind of file is a theory of its README.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from pathlib import Path

import numpy as np

from tightrope import checker, zoo
from tightrope.arguments import require_network
from tightrope.attacks import Attack
from tightrope.certificates import Certificate
from tightrope.checker import Finding
from tightrope.checker import mondeq as theory
from tightrope.checker import regions as exact_regions
from tightrope.errors import CertificateError, InputError, TightropeError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.regions import INFINITY, Ball, Region

#: Significant digits of a bound in a file.
DIGITS = 5
#: By how much a multiplier may be below the largest one of its kind: 0 proves nothing where an input can move.
SMALLEST = 1e-12
#: By how much t and q are raised, relative to the largest and to themselves, where a solver's own multipliers leave
#: the form in z with an eigenvalue a little below 0: the bounds that `sound_bound` proves may use that z is bounded.
NUDGES = tuple((size, factor * size) for size in (1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5) for factor in (1, 10, 100, 1000))

#: By how much, relative to 1 + its size, the bound in a file may be above the solver's for it.
LOOSEST = 1e-3

_Content = tuple[dict, dict[str, np.ndarray]]
#: A claim, and its row of each array.
_Claim = tuple[dict, dict[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Proof:
    """A certificate file before it is written, with what the checker says of it.

    Attributes
    ----------
    certificate
        What :meth:`save` writes: the claims that the checker proves; None if there are none.
    findings
        What became of each claim, those that were refused with the reason; these are not in the file.
    """

    certificate: checker.Certificate | None
    findings: tuple[Finding, ...]

    @property
    def proven(self) -> bool:
        """Whether every claim is."""
        return bool(self.findings) and all(finding.proven for finding in self.findings)

    def save(self, path: str | Path) -> str:
        """Write the file and return the SHA-256 of its bytes.

        Raises
        ------
        CertificateError
            No claim is proven.
        """
        if self.certificate is None:
            reasons = "; ".join(finding.reason for finding in self.findings) or "there are no claims"
            raise CertificateError(f"certificate: nothing is proven that could be written ({reasons}).")
        return self.certificate.save(path)


# networks and regions ------------------------------------------------------------------------------------------


def arrays_of(network: MonDEQ | FeedForward) -> tuple[str, dict[str, np.ndarray]]:
    """Return the kind of a network and its arrays, as the checker knows them.

    Raises
    ------
    InputError
        There are no certificate files for this kind of network.
    """
    if isinstance(network, MonDEQ):
        return "mondeq", {name: getattr(network, name) for name in ("W", "U", "u", "C", "c")}
    if isinstance(network, FeedForward):
        return "relu", network.arrays()
    kinds = "a MonDEQ or a FeedForward"
    raise InputError(f"network: there are certificate files for {kinds}, not for a {type(network).__name__}.")


def digest(network: MonDEQ | FeedForward) -> str:
    """Return the SHA-256 by which a certificate file knows a network."""
    return checker.digest(*arrays_of(network))


def find_network(sha256: str) -> MonDEQ | FeedForward:
    """Return the network of the zoo with this :func:`digest`, of those that are on this machine.

    Raises
    ------
    InputError
        There is none.
    """
    for name in filter(zoo.available, zoo.names()):
        try:
            network = zoo.get(name).network
            if digest(network) == sha256:
                return network
        except TightropeError:  # of another kind, or damaged: not the one that is looked for
            continue
    raise InputError("network: no network of the zoo has the SHA-256 that the file states; name it by --network.")


# margins of a monDEQ -------------------------------------------------------------------------------------------


def margins(network: MonDEQ | FeedForward, region: Region, certificates: Sequence[Certificate]) -> Proof:
    """Return the proof that F_target - F_label <= bound on the region, for each certificate of order 1."""
    whole = [certificate for certificate in certificates if certificate.cuts is None]
    content = region.stated()

    def candidates(certificate: Certificate) -> Iterator[_Claim]:
        claim = {"label": certificate.label, "target": certificate.target, "bound": decimal_above(certificate.bound)}
        multipliers = state_multipliers(certificate.multipliers, region)
        yield from _shorter((claim, multipliers))
        yield _nudged(network, content, claim, multipliers, certificate.bound)

    proof = _proof("mondeq-order-1", network, content, map(candidates, whole))
    cut = [certificate for certificate in certificates if certificate.cuts is not None]
    words = "F_{0.target} - F_{0.label} <= {0.bound:.6g}"
    reason = "no theory of the checker covers the order 1+cuts"
    extra = tuple(Finding(words.format(certificate), False, reason=reason) for certificate in cut)
    return Proof(proof.certificate, proof.findings + extra)


def _nudged(network: MonDEQ, content: _Content, claim: dict, multipliers: dict, bound: float) -> _Claim:
    """Return multipliers a little to the side with the bound that they prove, as far as floating point can tell."""
    weights = arrays_of(network)[1]
    exact, region = theory.Network.read(weights), exact_regions.read(*content)
    xi, constant = exact.difference(claim["label"], claim["target"])
    best: tuple[float, dict] = (np.inf, multipliers)
    for size, found in _around(multipliers):
        read = theory.Multipliers.read(found, network.width, region.size)
        corner, row, core = (part.floats() for part in theory.state_form(exact, region, read))
        smallest = np.linalg.eigvalsh(core)[0]
        if smallest <= 1e-11 * np.abs(core).max():
            continue
        side = row - xi.floats() / 2
        value = float(constant) + float(side @ np.linalg.solve(core, side) - corner)
        if value >= best[0]:
            continue
        best = (value, found)
        if value <= bound + size * (1 + abs(bound)):
            break
    value = max(bound, best[0] + 1e-10 * (1 + abs(best[0])))
    if value > bound + LOOSEST * (1 + abs(bound)) or (bound < 0 <= value):
        return claim, multipliers
    return claim | {"bound": decimal_above(value)}, best[1]


def _around(multipliers: dict[str, np.ndarray]) -> Iterator[tuple[float, dict[str, np.ndarray]]]:
    """Yield how far t is raised, and the multipliers: itself first, then NUDGES in turn."""
    t, q = multipliers["t"], multipliers["q"]
    largest = max(np.abs(multipliers[name]).max(initial=0.0) for name in ("t", "mu", "nu"))
    for size, more in ((0.0, 0.0), *NUDGES):
        yield size, multipliers | {"t": t + size * largest, "q": q + more * max(q.max(), 1e-3 * largest)}


def state_multipliers(multipliers: Mapping[str, np.ndarray], region: Region) -> dict[str, np.ndarray]:
    """Return t, mu, nu (p,), q (n,) or (1,), and clip (n,) where a ball is clipped, in input units.

    ||d||_1 <= r implies sum q_j d_j^2 <= r^2 max q, so of the lift of an L1 ball nothing else is needed.
    """
    named = multipliers
    found = {"t": -named["z (z - h) = 0"], "mu": named["z >= 0"], "nu": named["z - h >= 0"]}
    if region.generators is not None:
        return found | {"q": _positive(named["1 - d_j^2 >= 0" if region.parameters.is_box else "1 - |d|^2 >= 0"])}
    region = region.require_ball("certificate files are")
    if region.is_box:
        lower, upper = region.bounding_box()
        q, wide = np.zeros(region.size), upper > lower
        q[wide] = _positive(named["1 - d_j^2 >= 0"] / ((upper - lower)[wide] / 2) ** 2)
        return found | {"q": q}
    clipped = region.lower is not None and region.upper is not None
    wide = region.upper > region.lower if clipped else np.ones(region.size, bool)
    square = region.radius**2 or 1.0
    q = np.zeros(region.size)
    q[wide] = named.get("1 - |d|^2 >= 0", np.ones(1)) / square
    if region.norm == 1 and "1 - d_j^2 >= 0" in named:
        q[wide] += (named["1 - d_j^2 >= 0"] + named["e_j^2 - d_j^2 >= 0"]) / square
    found["q"] = _positive(q) if region.norm == 1 else _positive(q[wide][:1] if wide.any() else np.ones(1))
    if clipped:
        a, c = ((bound - region.center)[wide] / region.radius for bound in (region.lower, region.upper))
        eps = np.finfo(float).eps  # as in problems.robustness.coordinates, where a bound that binds has a multiplier
        binding = (a - 2 * eps * np.abs(a) > -1) | (c + 2 * eps * np.abs(c) < 1)
        clip = np.zeros(region.size)
        clip[np.flatnonzero(wide)[binding]] = named.get("(d - lower)(upper - d) >= 0", np.zeros(0)) / square
        found["clip"] = clip
    return found


# other claims --------------------------------------------------------------------------------------------------


def lipschitz(network: MonDEQ, norm: float, claims: Sequence[tuple[dict, Sequence[Mapping | None]]]) -> Proof:
    """Return the proof of global Lipschitz constants.

    Parameters
    ----------
    norm
        1, 2 or inf.
    claims
        {"bound": float} for F or {"bound", "pair"} for a difference of outputs, each with the multipliers by group of
        its parts in their order; None in place of multipliers that there are not.
    """
    text = "inf" if norm == INFINITY else f"{norm:g}"
    names = {"1": {"v": "1 - v_j^2 >= 0"}, "2": {"v": "1 - |v|^2 >= 0", "t": "1 - |t|^2 >= 0"}, "inf": {}}[text]
    names = names or {"t": "1 - t_j^2 >= 0"}
    made: list[_Claim] = []
    for claim, parts in claims:
        header = {"norm": text, **claim, "bound": decimal_above(claim["bound"])}
        if any(part is None for part in parts):
            made.append((header, {}))
            continue
        rows = [{"a": part["y (r - y) >= 0"], **{name: part[group] for name, group in names.items()}} for part in parts]
        arrays = {name: np.stack([row[name] for row in rows]) for name in ("a", *names)}
        if "t" in arrays:
            arrays["t"] = _positive(arrays["t"])
        made.append((header, arrays))
    return _proof("mondeq-lipschitz", network, ({}, {}), map(_shorter, made))


def ellipsoid(network: MonDEQ, region: Region, Q: np.ndarray, b: np.ndarray, multipliers: Mapping) -> Proof:
    """Return the proof that ||Q F(x) + b|| <= 1 on the region; Q and b are shrunk a little where that is needed.

    The multipliers, by group, are those of the Ellipsoid Model that belong to this Q and b.
    """
    header, arrays = region.stated()
    states = state_multipliers(multipliers, region)
    for size, found in _around(states):
        shrink = 1e-9 + 1000 * size
        parts = {name: array * (1 - shrink) ** 2 for name, array in found.items()}
        whole = arrays | parts | {"Q": Q * (1 - shrink), "b": b * (1 - shrink)}
        file = checker.Certificate("mondeq-ellipsoid", digest(network), header, [{"holds": "image"}], whole)
        findings = tuple(checker.check(file, arrays_of(network)[1]))
        if all(finding.proven for finding in findings):
            return Proof(file, findings)
    return Proof(None, findings)


def attack(network: MonDEQ | FeedForward, region: Region, label: int, hit: Attack) -> Proof:
    """Return the proof that F_(hit.label) is above F_label at a point of a ball, with the distance from a tie.

    The point is moved into the ball by as much as its rounding can be outside.
    """
    require_network(network, MonDEQ)
    region = region.require_ball("certificate files of attacks are")
    point = moved_inside(region, hit.point)
    z = network.equilibrium(point, tolerance=1e-12)
    above = float((network.C[hit.label] - network.C[label]) @ z + network.c[hit.label] - network.c[label])
    m = Context(prec=DIGITS, rounding=ROUND_FLOOR).create_decimal(Decimal(network.proven_m * (1 - 1e-6)))
    claim = {"label": label, "target": int(hit.label), "m": str(m)}
    arrays = {"point": point, "z": z}
    candidates = [(claim | {"least": decimal_below(above * (1 - part))}, arrays) for part in (1e-9, 1e-3)]
    return _proof("mondeq-point", network, region.stated(), [candidates])


def moved_inside(region: Ball, point: np.ndarray) -> np.ndarray:
    """Return floats that are inside exactly, next to a point that is inside up to rounding."""
    centre = region.center
    step = (point - centre) * (1 - 1e-12)
    moved = centre + np.where(np.abs(step) < 1e-12 * np.abs(centre), 0, step)
    if region.lower is not None and region.upper is not None:
        slack = 1e-14 * (1 + np.abs(region.lower) + np.abs(region.upper))
        inner = (region.lower + slack, region.upper - slack)
        flat = inner[0] > inner[1]
        moved = np.where(flat, centre, np.clip(moved, *inner))
    return moved


# how a file comes about ----------------------------------------------------------------------------------------


def decimal_above(value: float) -> str:
    """Return a number of few digits, as text, that is at least `value`."""
    return str(Context(prec=DIGITS, rounding=ROUND_CEILING).create_decimal(Decimal(float(value))))


def decimal_below(value: float) -> str:
    """Return a number of few digits, as text, that is at most `value`."""
    return str(Context(prec=DIGITS, rounding=ROUND_FLOOR).create_decimal(Decimal(float(value))))


def _shorter(claim: _Claim) -> Iterator[_Claim]:
    """Yield a claim with its multipliers rounded to single precision, then as they are."""
    with np.errstate(over="ignore"):  # what is too large is refused
        yield claim[0], {name: array.astype(np.float32).astype(float) for name, array in claim[1].items()}
    yield claim


def _proof(theory: str, network: MonDEQ | FeedForward, region: _Content, claims: Iterable[Iterable[_Claim]]) -> Proof:
    """Return the claims that the checker proves: of each the first of its candidates.

    The file is in single precision if all that it holds is.
    """
    header, arrays = region
    kind, weights = arrays_of(network)
    sha256 = checker.digest(kind, weights)

    def file(chosen: Sequence[_Claim]) -> checker.Certificate:
        rows = {name: np.concatenate([np.atleast_2d(own[name]) for _, own in chosen]) for name in chosen[0][1]}
        if all((array == array.astype(np.float32)).all() for array in rows.values()):
            rows = {name: array.astype(np.float32) for name, array in rows.items()}
        return checker.Certificate(theory, sha256, header, [claim for claim, _ in chosen], arrays | rows)

    kept, findings = [], []
    for candidates in claims:
        refused = None
        for candidate in candidates:
            if candidate[1]:
                (finding,) = checker.check(file([candidate]), weights)
            else:
                finding = Finding(
                    str(candidate[0]), False, reason="it was proven by a closed form, without multipliers"
                )
            if finding.proven:
                kept.append(candidate)
                break
            refused = refused or finding
        findings.append(finding if finding.proven else refused)
    return Proof(file(kept) if kept else None, tuple(findings))


def _positive(values: np.ndarray) -> np.ndarray:
    """Return the multipliers with a small positive number in place of 0."""
    values = np.asarray(values, float)
    return np.maximum(values, SMALLEST * values.max(initial=0.0))
