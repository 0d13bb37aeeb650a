"""Names as people write them: LP-ALL, lp_all and lp-all are one method."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tightrope.errors import UnknownNameError

_NONE: Mapping[str, str] = MappingProxyType({})


def known_name(kind: str, name: object, known: Iterable[str], same: Mapping[str, str] = _NONE) -> str:
    """Return the known name that is meant; case, hyphens, underscores and blanks make no difference.

    Parameters
    ----------
    kind
        What it is a name of, for the error.
    known
        The names, as rows and reports spell them.
    same
        Other names of some of them.

    Raises
    ------
    UnknownNameError
        If none is meant.

    Examples
    --------
    >>> known_name("method", "LP-ALL", ("lp-last", "lp-all"))
    'lp-all'
    >>> known_name("method", "CROWN-IBP (R)", ("crown", "crown_ibp"), {"crown-ibp-r": "crown_ibp"})
    'crown_ibp'
    """
    known = tuple(known)
    meant = {_letters(other): full for other, full in same.items() if full in known}
    meant |= {_letters(full): full for full in known}
    if _letters(name) not in meant:
        raise UnknownNameError(kind, name, known)
    return meant[_letters(name)]


def _letters(name: object) -> str:
    return "".join(letter for letter in str(name).lower() if letter.isalnum())
