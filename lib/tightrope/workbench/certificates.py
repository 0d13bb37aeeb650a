"""Certificate files of rows: where they are, what a row says that can be proven, and whether its file proves it.

A row has the SHA-256 of its file in the column `certificate`, no part of its case; the files are not committed. What
must be proven follows from the row alone, so that a file is held against the row and not against what wrote it.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tightrope import files
from tightrope.errors import CertificateError, TightropeError, UnknownNameError
from tightrope.outward import outward

# The list of results is shown without NumPy: what needs it is imported where it is used.
if TYPE_CHECKING:
    from tightrope import checker
    from tightrope.networks import FeedForward, MonDEQ
    from tightrope.proofs import Proof
    from tightrope.regions import Region
    from tightrope.verifiers.report import Report

FOLDER_VARIABLE = "TIGHTROPE_CERTIFICATES"
COLUMN = "certificate"
#: Keys of a file's claim that say how it is proven, and not what.
HOW = {"leaves", "rule", "m"}
SIDES = {"<=": "upper", ">=": "lower"}


def folder() -> Path:
    """Return where certificate files of rows are: TIGHTROPE_CERTIFICATES, or a part of this user's cache folder."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser()
    from tightrope import datasets

    return datasets.cache_folder() / "certificates"


def name_of(row: Mapping) -> str:
    """Return the name of a row's file in the folder, and in an archive: by paper, result and key."""
    return f"{row['paper']}/{row['result']}/{row['key']}.cert"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, by which a row knows it."""
    with files.access(path, "read"):
        return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Claim:
    """What a file must claim for a row: keys and values, and a number in relation to `value`."""

    keys: Mapping[str, object]  # without the number; None is any value
    relation: str  # "<" for a bound below it; "<=", ">=" for one that proves it to four digits, rounded outward
    value: float

    def __str__(self) -> str:
        what = ", ".join(f"{name} {value}" for name, value in self.keys.items())
        return f"{what}, {self._name} {self.relation} {self._limit}"

    @property
    def _name(self) -> str:
        return "least" if self.relation == ">=" else "bound"

    @property
    def _limit(self) -> str:
        return str(self.value) if self.relation == "<" else outward(SIDES[self.relation])(self.value)

    def met_by(self, claim: Mapping) -> bool:
        """Whether a claim of a file, whose numbers are decimal text, says this or more."""
        from tightrope.checker import Refused
        from tightrope.checker.regions import decimal

        said = {name: own for name, own in self.keys.items() if own is not None}
        if set(claim) - HOW != {*self.keys, self._name} or any(claim[name] != own for name, own in said.items()):
            return False
        try:
            stated, limit = decimal(claim, self._name), Fraction(self._limit)
        except Refused:
            return False
        return {"<": stated < limit, "<=": stated <= limit, ">=": stated >= limit}[self.relation]


@dataclass(frozen=True)
class Statement:
    """What a row says that a certificate can prove.

    `about` returns the network, and the region, or None where the claims hold for all inputs; it may read files. A row
    that contradicts these is a CertificateError.
    """

    claims: tuple[Claim, ...]  # all of them are to be proven
    about: Callable[[], tuple["MonDEQ | FeedForward", "Region | None"]]

    @property
    def parts(self) -> "tuple[Statement, ...]":
        """What a row says of each region; here of one."""
        return (self,)

    def missing(self, claims: Iterable[Mapping]) -> str:
        """Say what is not among the claims of a file; nothing if all of it is."""
        own = list(claims)
        return "; ".join(str(claim) for claim in self.claims if not any(map(claim.met_by, own)))


@dataclass(frozen=True)
class Several:
    """What a row of several images says, of each image that it says something of; made when asked, as it reads files.

    All are about the row's network. A file has the certificates of one image after the other.
    """

    make: Callable[[], Sequence[Statement]]

    @cached_property
    def parts(self) -> tuple[Statement, ...]:
        """The statement of each image."""
        return tuple(self.make())


def refusal(says: Statement | Several, proofs: Sequence[Sequence["Proof"]]) -> str:
    """Say why proofs, those of each part in turn, do not prove all that a row says; nothing if they do."""
    for statement, own in zip(says.parts, proofs, strict=True):
        known = [proof.certificate for proof in own if proof.certificate is not None]
        if missing := statement.missing(claim for certificate in known for claim in certificate.claims):
            lost = (finding for proof in own for finding in proof.findings if not finding.proven)
            return "; ".join(dict.fromkeys(finding.reason for finding in lost)) or (
                f"asked again, what is proven is not what the row says ({missing})"
            )
    return ""


def proof_of(statement: Statement | None, report: "Report") -> "Proof | None":
    """Return the file of what a row says, or why there is none, from the report that the row was made of.

    None without a statement.
    """
    from tightrope.checker import Finding
    from tightrope.proofs import Proof

    if statement is None:
        return None
    try:
        proof = report.certificates()
    except TightropeError as error:
        return Proof(None, (Finding("all that the row says", False, reason=str(error)),))
    missing = statement.missing([] if proof.certificate is None else proof.certificate.claims)
    if not missing:
        return proof
    lost = tuple(finding for finding in proof.findings if not finding.proven)
    return Proof(None, lost or (Finding(missing, False, reason="the file does not claim it"),))


def kept(case: Mapping, outcome: Mapping, key: str) -> dict:
    """Return an outcome for its row: a proof is written as the file of this case, and its SHA-256 is what stays."""
    proof = outcome.get(COLUMN)
    if proof is None or isinstance(proof, str):
        return dict(outcome)
    return {**outcome, COLUMN: None if proof.certificate is None else write(case, key, [proof])}


def write(case: Mapping, key: str, proofs: Iterable["Proof"]) -> str:
    """Write the file of a case and return its SHA-256; a reader sees the whole file or none."""
    content = b"".join(proof.certificate.to_bytes() for proof in proofs if proof.certificate is not None)
    path = folder() / name_of({**case, "key": key})
    with files.access(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(path)
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Checked:
    """What became of the file of one row: the reason why it does not prove the row, empty if it does."""

    row: Mapping
    reason: str = ""
    readable: bool = True

    def __str__(self) -> str:
        name = f"{self.row['result']} {self.row['key'][:12]}"
        return f"REFUSED  {name}: {self.reason}" if self.reason else f"PROVEN   {name}"


def check(row: Mapping, says: Statement | Several, sha256: str | None = None) -> Checked:
    """Check the file of a row, of this SHA-256 or the row's own, in exact arithmetic against what the row says."""
    from tightrope import checker

    path = folder() / name_of(row)
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = f"`tightrope certificates {row['result']}` makes it again"
        return Checked(row, f"its file cannot be read ({error.strerror}): {path}; {remedy}", readable=False)
    if hashlib.sha256(content).hexdigest() != (sha256 or row[COLUMN]):
        return Checked(row, "the SHA-256 of its file is not that of the row")
    try:
        certificates = checker.all_from_bytes(content)
    except checker.Unreadable as error:
        return Checked(row, str(error), readable=False)
    try:
        questions = [part.about() for part in says.parts]
    except TightropeError as error:  # data that are missing, or a row that contradicts them
        return Checked(row, str(error), readable=isinstance(error, CertificateError))
    if not questions:
        return Checked(row, "the row says nothing that a file can prove")
    network = questions[0][0]
    arrays_for = cache(lambda as_mondeq: _arrays(network, as_mondeq))
    known = row["network_sha256"] == _identity(row["network"], network)
    stated = [None if region is None else region.stated() for _, region in questions]
    claims: list[list[Mapping]] = [[] for _ in questions]
    for file in certificates:
        if not known or file.network != checker.digest(*arrays_for(file.theory.startswith("mondeq"))):
            return Checked(row, "the file is about another network")
        places = [i for i, own in enumerate(stated) if not file.region or (own is not None and _same(own, file))]
        if not places:
            return Checked(row, "the file is about another image or region")
        for i in places:
            claims[i] += file.claims
    for part, own in zip(says.parts, claims, strict=True):
        if missing := part.missing(own):
            return Checked(row, f"the file does not claim what the row says: {missing}")
    found = (checker.check(file, arrays_for(file.theory.startswith("mondeq"))[1]) for file in certificates)
    return Checked(row, "; ".join(str(finding) for own in found for finding in own if not finding.proven))


def _arrays(network: "MonDEQ | FeedForward", as_mondeq: bool) -> tuple[str, dict]:
    """Return the kind and the arrays of a network, of layers as they are or as the monDEQ that is the same function."""
    from tightrope import proofs
    from tightrope.networks import FeedForward

    if as_mondeq and isinstance(network, FeedForward) and network.is_dense:
        return proofs.arrays_of(network.to_mondeq())
    return proofs.arrays_of(network)


def _identity(name: str, network: "MonDEQ | FeedForward") -> str:
    """Return the SHA-256 by which rows know a network, of the zoo or a random one."""
    from tightrope import zoo

    try:
        return zoo.get(name).identity
    except UnknownNameError:
        return network.sha256()


def _same(stated: tuple[Mapping, Mapping], file: "checker.Certificate") -> bool:
    """Whether a file is about the region that states this: the same header and the same numbers, pixels of an image."""
    import numpy as np

    from tightrope.checker.regions import ARRAYS

    (header, arrays), own = stated, {name: array for name, array in file.arrays.items() if name in ARRAYS}
    if dict(file.region) != header or own.keys() != arrays.keys():
        return False
    pairs = [(array, arrays[name]) for name, array in own.items()]
    return all(one.dtype == other.dtype and np.array_equal(one, other) for one, other in pairs)
