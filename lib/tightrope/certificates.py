"""Sound bounds from multipliers, verdicts, and an independent check.

For max <C, X> : <A_k, X> {= or >=} 0, X_00 = 1, X >= 0, any y with y_k >= 0 on the inequalities gives, by weak duality,

    <C, X> <= y_0 + R^2 max(0, -lambda_min(Z)),   Z = y_0 E_00 - C - sum_k y_k A_k,   trace(X) <= R^2,

whatever solver proposed y. Nothing here trusts a solver: y is clipped to its signs, y_0 is recomputed, and positive
definiteness is established by a Cholesky factorisation of a matrix shifted by a bound on all rounding errors, from the
numbers of the Shor program on. The rounding of these numbers themselves, such as of b = U x_0 + u and of V, is in the
problems: see :attr:`tightrope.problems.robustness.RobustnessModel.rounding`.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack

from tightrope.errors import CertificateError, InputError
from tightrope.networks import MonDEQ
from tightrope.problems.robustness import RobustnessModel, robustness_model
from tightrope.propagation.fixpoint import Box, fixpoint_bounds
from tightrope.regions import Region
from tightrope.relaxations.cuts import CutModel, cut_model
from tightrope.relaxations.exact import exact_bound
from tightrope.solvers.arrow import Arrow, ArrowData

UNIT = np.finfo(float).eps / 2  # unit roundoff
TINY = 1e-150  # what is smaller is taken for 0, so that no product underflows


class Verdict(StrEnum):
    """The answer to a yes-or-no question. A failure is never a number.

    CERTIFIED is proven; COMPUTED is the same answer by the word of a floating-point solver, which nothing has checked.
    """

    CERTIFIED = "certified"
    COMPUTED = "computed"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, eq=False)
class SoundBound:
    """A proven upper bound and what proves it: `value >= y0 + shift * R^2` with Z + shift * I positive definite."""

    value: float
    y0: float
    shift: float
    multipliers: np.ndarray


def sound_bound(data: ArrowData, objective: sp.csr_array, multipliers: np.ndarray) -> SoundBound | None:
    """Return the bound that the multipliers (k,) prove, or None if they are not finite numbers or prove nothing.

    The multiplier y_0 is chosen here: the smallest for which Z + shift I is proven positive definite.
    """
    c = data.constraints
    y = np.asarray(multipliers, float)
    if y.shape != c.equality.shape:
        raise InputError(f"multipliers: expected shape {c.equality.shape}, got {y.shape}; one per constraint.")
    if not np.isfinite(y).all():
        return None
    y = np.where(c.equality, y, np.maximum(y, 0))
    with np.errstate(all="ignore"):  # multipliers beyond all measure overflow to inf and nan, which prove nothing
        return _sound_bound(data, data.arrow(objective), y)


def _sound_bound(data: ArrowData, C: Arrow, y: np.ndarray) -> SoundBound | None:
    c = data.constraints
    Z = Arrow(*(-part for part in data.adjoint(y).plus(C)))
    size = data.arrow(c.absolute_matrix(y)).plus(Arrow(*map(np.abs, C)))
    shift = max(0.0, -1.01 * float(Z.dd.min(initial=0)))
    best = None
    for _ in range(60):
        y0 = _corner(Z, size, shift, c.terms)
        if y0 is not None:
            cost = shift * c.squared_norm
            value = float(y0 + cost + 4 * UNIT * (abs(y0) + cost))
            if not np.isfinite(value) or (best is not None and value >= best.value):
                break
            best = SoundBound(value, float(y0), float(shift), y)
            if shift == 0:
                break
        # A larger shift than needed costs R^2 times as much, but allows a smaller y_0.
        shift = max(2 * shift, 1e-13 * (1 + float(np.abs(size.cc).max())))
    return best


def _corner(Z: Arrow, size: Arrow, shift: float, terms: int) -> float | None:
    """Return the smallest proven y_0 with Z + y_0 E_00 + shift I positive definite, or None.

    With S = cc - cd (dd)^-1 cd' the core's Schur complement, it suffices that dd > 0 and S > 0. Rounding: an entry of Z
    is off by at most gamma_(terms + 4) < g / 2 times the same sum of absolute values (`size`). With dd > 2 g size_dd,
    1 / dd is off by at most 4/3 of its first-order error, so |dS| is at most

        g (size_cc + 2 |cd| dd^-1 size_cd' + |cd| dd^-2 size_dd |cd|') + g^2 size_cd dd^-1 size_cd'
        + gamma_(n + 4) |cd| dd^-1 |cd|',

    all taken twice. (The square matters where cd almost cancels and dd is small.) A Cholesky factorisation that
    succeeds on S - c I, with c that error's norm plus Cholesky's own gamma_(q + 1) trace(S), proves S > 0 (Rump 2006).
    """
    q, n = Z.cd.shape
    dd = Z.dd + shift
    g = 2 * (terms + 4) * UNIT
    if not (dd > 2 * g * size.dd + TINY).all():
        return None
    W = Z.cd / dd
    S = Z.cc - W @ Z.cd.T
    S = (S + S.T) / 2
    S[np.diag_indices(q)] += shift
    A = np.abs(W)
    error = g * (size.cc + 2 * A @ size.cd.T + (A * size.dd) @ A.T + (g * size.cd / dd) @ size.cd.T)
    error += 2 * (n + 4) * UNIT * (A @ np.abs(Z.cd).T)
    norm = 2 * float(np.linalg.norm(error)) + 2 * (q + 4) * UNIT * float(np.abs(np.diag(S)).sum()) + TINY
    if not (np.isfinite(norm) and np.isfinite(S).all()):  # Cholesky routines let nan pass
        return None
    # y_0 enters row 0 only and is a number of ours, without error; the rest decides.
    rest = S[1:, 1:] - norm * np.eye(q - 1)
    factor, info = lapack.dpotrf(rest, lower=1, clean=1)
    if info:
        return None
    half = lapack.dtrtrs(factor, S[1:, :1], lower=1)[0][:, 0] if q > 1 else np.zeros(0)
    need = float(half @ half)
    y0 = need - S[0, 0] + norm
    y0 += 4 * (q + 4) * UNIT * (need + abs(S[0, 0])) + 2 * norm
    for _ in range(40):
        if not np.isfinite(y0):
            return None
        whole = S - norm * np.eye(q)
        whole[0, 0] += y0 - 2 * (q + 4) * UNIT * abs(y0)
        if lapack.dpotrf(whole, lower=1, clean=0)[1] == 0:
            return y0
        y0 += 1e-12 * (1 + abs(y0)) + norm
        norm *= 1.5
    return None


@dataclass(frozen=True, eq=False)
class Cuts:
    """The part of a certificate that says which problem of order "1+cuts" its multipliers belong to.

    The bounds are no assumption: :func:`check` computes the fixpoint bounds of network and region again and refuses
    stored ones that are narrower. (They are stored a little wider than computed, so that another machine's rounding
    does not matter.) A pair is a product of two facts that follow from the bounds; any set of pairs is valid.

    Attributes
    ----------
    lower, upper
        (p,) bounds on h = W z + U x + u.
    pairs
        (r, 2) rows of relaxations.cuts.CutModel.core_facts and .facts.
    """

    lower: np.ndarray
    upper: np.ndarray
    pairs: np.ndarray

    def model(self, base: RobustnessModel) -> CutModel:
        """Return the tightened model, if the bounds follow from the fixpoint bounds; else a CertificateError."""
        proven = fixpoint_bounds(base.network, base.region).h
        if self.lower.shape != proven.lower.shape or self.upper.shape != proven.upper.shape:
            raise CertificateError(f"cuts: expected bounds of {len(proven.lower)} neurons.")
        if not ((self.lower <= proven.lower) & (proven.upper <= self.upper)).all():
            raise CertificateError("cuts: bounds on h that are narrower than the fixpoint bounds prove.")
        try:
            return cut_model(base, Box(self.lower, self.upper), self.pairs)
        except InputError as error:
            raise CertificateError(f"cuts: {error}") from error


@dataclass(frozen=True, eq=False)
class Certificate:
    """A proof that F(x)_target - F(x)_label <= bound on a region, in a form that :func:`check` can verify alone.

    Attributes
    ----------
    bound, y0, shift
        As in :class:`SoundBound`.
    multipliers
        Name of a constraint group -> (k,) multipliers.
    network_sha256, region_sha256
        What the proof is about.
    cuts
        What the problem was tightened by (order "1+cuts"), or None (order 1).
    """

    label: int
    target: int
    bound: float
    y0: float
    shift: float
    multipliers: dict[str, np.ndarray]
    network_sha256: str
    region_sha256: str
    cuts: Cuts | None = None

    @property
    def verdict(self) -> Verdict:
        """CERTIFIED when the bound is negative, else UNKNOWN."""
        return Verdict.CERTIFIED if self.bound < 0 else Verdict.UNKNOWN

    def to_json(self) -> str:
        """Return everything as JSON text, in which floats keep all digits."""
        content = asdict(self)
        content["multipliers"] = {name: list(map(float, y)) for name, y in self.multipliers.items()}
        if self.cuts is not None:
            content["cuts"] = {name: array.tolist() for name, array in content["cuts"].items()}
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> "Certificate":
        """Return the inverse of :meth:`to_json`."""
        try:
            content = json.loads(text, object_pairs_hook=_without_repeats)
            content["multipliers"] = {name: _numbers(y) for name, y in content["multipliers"].items()}
            content |= {name: _integer(content[name]) for name in ("label", "target")}
            content |= {name: float(_numbers(content[name])) for name in ("bound", "y0", "shift")}
            if any(not isinstance(content[name], str) for name in ("network_sha256", "region_sha256")):
                raise ValueError("a SHA-256 is no text")
            if content.get("cuts") is not None:
                cuts = {name: _numbers(value) for name, value in content["cuts"].items()}
                pairs = cuts["pairs"].reshape(-1, 2)
                if (pairs != np.floor(pairs)).any() or (np.abs(pairs) > 2**31).any():
                    raise ValueError("pairs are not whole numbers")
                content["cuts"] = Cuts(**(cuts | {"pairs": pairs.astype(int)}))
            return cls(**content)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise CertificateError(
                f"certificate: not in the form that Certificate.to_json writes ({error})."
            ) from error


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of JSON, in which no name may occur twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise InputError("a name occurs twice")
    return content


def _numbers(value: object) -> np.ndarray:
    """Return lists of numbers as an array; text and truth values are none."""
    array = np.array(value)
    if array.size and array.dtype.kind not in "iuf":
        raise InputError("expected numbers in the range of a float")
    return array.astype(float)


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError("a label is no integer")
    return value


def check(certificate: Certificate, network: MonDEQ, region: Region) -> float:
    """Return the bound of a certificate after checking in exact arithmetic that its multipliers prove it.

    The problem is rebuilt from network and region; :mod:`tightrope.relaxations.exact` decides.

    Raises
    ------
    CertificateError
        If it is for another network or region, a label does not exist, a multiplier has the wrong sign, or the bound
        does not follow.
    """
    if certificate.network_sha256 != network.sha256():
        raise CertificateError("network: not the one that the certificate is for (SHA-256 differs).")
    if certificate.region_sha256 != region.sha256():
        raise CertificateError("region: not the one that the certificate is for (SHA-256 differs).")
    label, target, known = certificate.label, certificate.target, range(network.classes)
    if label not in known or target not in known or label == target:
        raise CertificateError(f"label, target: got {label!r} and {target!r}; two different ones below {len(known)}.")
    if not np.isfinite(certificate.bound):
        raise CertificateError(f"bound: got {certificate.bound!r}; it must be finite.")
    base = robustness_model(network, region, label)
    model = base if certificate.cuts is None else certificate.cuts.model(base)
    proven = exact_bound(model.problem(target), certificate.multipliers, certificate.y0, certificate.shift)
    if not certificate.bound >= proven:
        raise CertificateError(f"bound: the certificate claims {certificate.bound!r}, but proves only {proven!r}.")
    return certificate.bound
