"""Layers from the named arrays of an .npz file."""

from collections.abc import Mapping

from tightrope.errors import NetworkError
from tightrope.networks.layers import KINDS, Composition, Layer


def from_named_arrays(arrays: Mapping[str, object], source: object = "the file") -> tuple[Layer, ...]:
    """Build the layers from what :func:`named_arrays` returned."""
    groups: dict[int, dict[str, dict[str, object]]] = {}
    for key, value in arrays.items():
        number, _, rest = key.partition(".")
        kind, _, name = rest.partition(".")
        if not (number.isdecimal() and kind in KINDS and name):
            raise NetworkError(
                f"{source}: {key!r} is not the name of an array of a layer; names are <layer>.<kind>.<array>, counted "
                f"from 1, with a kind of {', '.join(KINDS)}."
            )
        groups.setdefault(int(number), {}).setdefault(kind, {})[name] = value
    if sorted(groups) != list(range(1, len(groups) + 1)) or any(len(kinds) > 1 for kinds in groups.values()):
        raise NetworkError(
            f"{source} must number its layers 1, 2, ... without gaps, one kind each; found {', '.join(sorted(arrays))}."
        )
    return tuple(_layer(*next(iter(groups[number].items())), f"{source}, layer {number}") for number in sorted(groups))


def _layer(kind: str, arrays: Mapping[str, object], source: str) -> Layer:
    if kind == "composition":
        return Composition(from_named_arrays(arrays, source))
    wanted = tuple(KINDS[kind].__dataclass_fields__)
    if set(arrays) != set(wanted):
        raise NetworkError(f"{source}: a {kind} layer has {', '.join(wanted)}; found {', '.join(sorted(arrays))}.")
    try:
        return KINDS[kind](**arrays)
    except NetworkError as error:
        raise NetworkError(f"{source}: {error}") from error
