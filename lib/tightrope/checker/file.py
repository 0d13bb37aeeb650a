"""Certificate files: a header of JSON and one block of numbers. Nothing in a file is ever executed.

Layout: the header's length as 8 bytes (little-endian), the header as UTF-8, then the arrays, little-endian, in
the order of their names and without gaps. The header is an object with

    format   "tightrope-certificate/1"
    theory   which statement is proven and how, a name of `theories.THEORIES`
    network  {"sha256": digest of the network's arrays}
    region   see `regions.read`
    claims   a list of objects, the theory says of which form
    arrays   name -> {"dtype": one of DTYPES, "shape": [...]}

The same content gives the same bytes: keys are sorted, arrays lie in the order of their names. Where a file holds
several certificates, these follow each other without gaps, and each stands alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

FORMAT = "tightrope-certificate/1"
#: What an array may consist of, little-endian.
DTYPES = ("<f4", "<f8", "|i1", "<i4", "|u1", "<u2")
LONGEST_HEADER = 16 * 2**20  # bytes


class Unreadable(Exception):
    """A file that is no certificate file; the message says what is wrong with it."""


@dataclass(frozen=True)
class Certificate:
    """A certificate file in memory."""

    theory: str
    network: str  # SHA-256 of the network's arrays, see :func:`digest`
    region: Mapping
    claims: list[Mapping]
    arrays: Mapping[str, np.ndarray]

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        arrays = {name: np.ascontiguousarray(self.arrays[name]) for name in sorted(self.arrays)}
        arrays = {name: array.astype(array.dtype.newbyteorder("<")) for name, array in arrays.items()}
        if foreign := {array.dtype.str for array in arrays.values()} - {*DTYPES}:
            raise ValueError(f"arrays: expected a dtype of {', '.join(DTYPES)}, got {', '.join(foreign)}")
        header = {
            "format": FORMAT,
            "theory": self.theory,
            "network": {"sha256": self.network},
            "region": self.region,
            "claims": self.claims,
            "arrays": {name: {"dtype": array.dtype.str, "shape": list(array.shape)} for name, array in arrays.items()},
        }
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in arrays.values())

    def save(self, path: str | Path) -> str:
        """Write the file and return the SHA-256 of its bytes."""
        content = self.to_bytes()
        Path(path).write_bytes(content)
        return hashlib.sha256(content).hexdigest()


def load(path: str | Path) -> list[Certificate]:
    """Read the certificates of a file; one that is missing, truncated or not of this form is Unreadable."""
    try:
        return all_from_bytes(Path(path).read_bytes())
    except OSError as error:
        raise Unreadable(str(error)) from None


def all_from_bytes(content: bytes) -> list[Certificate]:
    """Return what the bytes of a file say, one certificate after the other and at least one; see :func:`load`."""
    found: list[Certificate] = []
    rest = memoryview(content)
    while rest or not found:
        certificate, rest = _first(rest)
        found.append(certificate)
    return found


def from_bytes(content: bytes) -> Certificate:
    """Return what the bytes of a single certificate say."""
    certificate, rest = _first(memoryview(content))
    if rest:
        raise Unreadable(f"{len(rest)} bytes follow the last array")
    return certificate


def _first(content: memoryview) -> tuple[Certificate, memoryview]:
    """Return the first certificate, and what follows it."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 2 <= length <= min(LONGEST_HEADER, len(content) - 8):
        raise Unreadable("not a certificate file: the length of its header does not fit")
    try:
        text = bytes(content[8 : 8 + length]).decode()
        header = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        json.dumps(header, ensure_ascii=False).encode()  # fails at half of a surrogate pair, which nobody could print
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not a certificate file: its header is no JSON ({error})") from None
    kinds = {"format": str, "theory": str, "network": dict, "region": dict, "claims": list, "arrays": dict}
    if not isinstance(header, dict) or {key: type(value) for key, value in header.items()} != kinds:
        raise Unreadable(f"not a certificate file: its header must have the keys {', '.join(kinds)}, of their types")
    if header["format"] != FORMAT:
        raise Unreadable(f"expected the format {FORMAT}, got {header['format']!r}")
    network, claims = header["network"], header["claims"]
    if {key: type(value) for key, value in network.items()} != {"sha256": str}:
        raise Unreadable("header: network must have the key sha256 and no other")
    if not all(isinstance(claim, dict) for claim in claims):
        raise Unreadable("header: each claim must be an object")
    arrays, rest = _arrays(header["arrays"], content[8 + length :])
    return Certificate(header["theory"], network["sha256"], header["region"], claims, arrays), rest


def digest(kind: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of a network: its kind, then names, shapes and little-endian float64 contents by name."""
    found = hashlib.sha256(kind.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype="<f8")
        found.update(f"\0{name}{list(array.shape)}".encode() + array.tobytes())
    return found.hexdigest()


def _arrays(table: Mapping, block: memoryview) -> tuple[dict[str, np.ndarray], memoryview]:
    """Return the arrays, and what follows them."""
    arrays, start = {}, 0
    for name in sorted(table):
        entry = table[name]
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape"} or entry["dtype"] not in DTYPES:
            raise Unreadable(f"array {name!r}: expected a dtype of {', '.join(DTYPES)} and a shape")
        shape = entry["shape"]
        sizes = isinstance(shape, list) and len(shape) <= 4 and all(type(n) is int and 0 <= n < 2**31 for n in shape)
        if not sizes or prod(max(n, 1) for n in shape) >= 2**40:
            raise Unreadable(f"array {name!r}: expected a shape of at most four sizes, not too large")
        dtype = np.dtype(entry["dtype"])
        end = start + prod(shape) * dtype.itemsize
        if end > len(block):
            raise Unreadable(f"array {name!r}: the file ends before it does")
        arrays[name] = np.frombuffer(block[start:end], dtype).reshape(shape)
        start = end
    return arrays, block[start:]


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a key occurs twice")
    return names


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")
