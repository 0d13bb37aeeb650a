"""Every error a user can meet, by name.

Messages say which argument, what arrived, and what to write instead. All of them are raised before any solve,
except :class:`ConvergenceError` and :class:`StoppedError`.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class TightropeError(Exception):
    """Base class of all errors of this package."""

    def _render_traceback_(self) -> list[str]:
        """Return the one line that IPython shows in place of a traceback: what to write instead is in it."""
        return [f"{type(self).__name__}: {self}"]


class AssumptionWarning(UserWarning):
    """Something that a file does not say, and what was taken for it."""


class InputError(TightropeError, ValueError):
    """An argument has the wrong shape, value or unit."""


class NetworkError(InputError):
    """Weights that do not describe a network: NaN, wrong shapes, a W that is not monotone."""


class RegionError(InputError):
    """An input region that does not exist: negative radius, unknown norm, empty box."""


class UnknownNameError(InputError, KeyError):
    """A name (network, data set, result, method) that nothing has."""

    def __init__(self, kind: str, name: object, known: Iterable[str]):
        known = sorted(str(k) for k in known)
        close = _close(str(name), known)
        hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
        super().__init__(f"unknown {kind} {name!r}. {hint}Known: {', '.join(known) or 'none'}.")

    def __str__(self) -> str:  # KeyError would print the repr
        return self.args[0]


def _close(name: str, known: list[str]) -> list[str]:
    """What a name may have been meant to be: the names that hold it, then those spelt much like it.

    The part before the last "/" of a known name may be left out.
    """
    holding = [full for full in known if len(name) > 2 and name.lower() in full.lower()]
    last = {full.rpartition("/")[2]: full for full in known}
    alike = [*get_close_matches(name, known, n=3), *(last[found] for found in get_close_matches(name, last, n=3))]
    return list(dict.fromkeys([*holding, *alike]))[:8]


class UnknownParameterError(UnknownNameError):
    """A notebook parameter that the notebook does not have."""


class MissingDataError(TightropeError, FileNotFoundError):
    """A data file that is neither in TIGHTROPE_DATA nor in the cache, and could not be fetched."""


class FileAccessError(TightropeError, OSError):
    """A file or folder that cannot be read or written: no permission, no space, in use by another program."""


class CorruptDataError(TightropeError):
    """A data file whose content is not what its SHA-256 says, or that cannot be parsed."""


class ConvergenceError(TightropeError, ArithmeticError):
    """An iteration stopped before its residual reached the tolerance."""


class TrainingError(TightropeError, ArithmeticError):
    """A training whose loss is no number any more; the message has the step and the configuration."""


class StoppedError(TightropeError):
    """A computation ended because its `stop` said so; what it knew so far is not wanted any more."""


class SolverUnavailableError(TightropeError):
    """A solver asked for by name is not installed or has no licence."""


class ClusterError(TightropeError):
    """Workers that cannot be started or reached, or that run another version of this package."""


class CertificateError(TightropeError):
    """A certificate that does not prove what it claims."""
