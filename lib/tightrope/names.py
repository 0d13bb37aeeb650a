"""Names as people write them: LP-ALL, lp_all and lp-all are one method."""

from collections.abc import Iterable, Mapping

from tightrope.errors import UnknownNameError


def known_name(kind: str, name: object, known: Iterable[str], same: Mapping[str, str] | None = None) -> str:
    """Return the known name that is meant; case, hyphens, underscores and blanks make no difference.

    The `known` names are as rows and reports spell them, `same` has other names of some of them. UnknownNameError, with
    the `kind` of thing that has such a name, if none is meant.

    Examples
    --------
    >>> known_name("method", "LP-ALL", ("lp-last", "lp-all"))
    'lp-all'
    >>> known_name("method", "CROWN-IBP (R)", ("crown", "crown_ibp"), {"crown-ibp-r": "crown_ibp"})
    'crown_ibp'
    """
    known = tuple(known)
    meant = {_letters(other): full for other, full in (same or {}).items() if full in known}
    meant |= {_letters(full): full for full in known}
    if _letters(name) not in meant:
        raise UnknownNameError(kind, name, known)
    return meant[_letters(name)]


def _letters(name: object) -> str:
    return "".join(letter for letter in str(name).lower() if letter.isalnum())
