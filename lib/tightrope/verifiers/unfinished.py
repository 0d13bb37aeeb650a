"""Trees that a limit has ended: files from which the same question goes on.

A file has the form of a certificate file (:mod:`tightrope.checker`) and is in a folder under a name that follows from
the question. Nothing in it is trusted. Who reads it requires that its parts leave nothing out and evaluates their
bounds anew, so that a damaged or forged file can waste time and prove nothing that is wrong.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tightrope import checker, files
from tightrope.checker import Certificate
from tightrope.errors import CorruptDataError
from tightrope.question import Question


def writable_folder(folder: Path) -> Path:
    """Return the folder, made if it is not there, or raise a FileAccessError if no file can be written in it."""
    folder = Path(folder).expanduser()
    with files.access(folder, "written"):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    return folder


@dataclass(frozen=True)
class Unfinished:
    """Where the tree of a question is kept, and what its file says of the question."""

    path: Path
    about: Certificate  # without arrays

    @classmethod
    def of(cls, question: Question, kind: str, folder: Path | None) -> "Unfinished | None":
        """Return where a kind of tree of this question is in a folder, which is made; None without a folder."""
        if folder is None:
            return None
        folder = writable_folder(folder)  # before any work is lost
        claim = {"label": question.label, "targets": list(question.targets)}
        region = {"sha256": question.region.sha256()}
        about = Certificate(f"unfinished-{kind}", question.network.sha256(), region, [claim], {})
        name = hashlib.sha256(about.to_bytes()).hexdigest()
        return cls(folder / f"{name[:32]}.tree", about)

    def read(self, **dtypes: type) -> dict[str, np.ndarray] | None:
        """Return these arrays of the file in their order, None if there is no file, or raise a CorruptDataError."""
        if not self.path.is_file():
            return None
        try:
            found, *others = checker.load(self.path)
        except checker.Unreadable as error:
            raise self._refused(str(error)) from None
        if others or replace(found, arrays={}) != self.about:
            raise self._refused("it is about another question")
        kinds = {name: array.dtype for name, array in found.arrays.items()}
        self.require(kinds == {name: np.dtype(dtype) for name, dtype in dtypes.items()})
        return {name: found.arrays[name] for name in dtypes}

    def require(self, holds: bool) -> None:
        """Raise a CorruptDataError unless what is said of the file holds."""
        if not holds:
            raise self._refused("its parts are not those of a tree of this question")

    def keep(self, arrays: Mapping[str, np.ndarray] | None) -> None:
        """Write the arrays of a tree that is not finished; None removes the file of one that is."""
        if arrays is None:
            with files.access(self.path, "written"):
                self.path.unlink(missing_ok=True)
            return
        with files.replaced(self.path) as partial:
            replace(self.about, arrays=arrays).save(partial)

    def _refused(self, reason: str) -> CorruptDataError:
        return CorruptDataError(f"{self.path}: {reason}; delete it, and the tree starts again.")
