"""Parameters of notebooks, checked by their names before any case is made of them.

A name means the same in every notebook, so that its rule has one home. What depends on data (an image that the data set
has, a label that the network has) is checked where cases are made.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from numbers import Integral, Real
from typing import Any

from tightrope.errors import InputError


@dataclass(frozen=True)
class Rule:
    """What a parameter has to be: in words, as an error says it, and whether a value is `accepted`.

    The depth is 0 for a value alone, 1 for a list of them, 2 for a list of lists; `empty` lists may be a choice.
    """

    words: str
    accepts: Callable[[Any], bool]
    depth: int = 0
    empty: bool = False


def many(rule: Rule, depth: int = 1, empty: bool = False) -> Rule:
    """The rule for a list of values."""
    return replace(rule, depth=depth, empty=empty)


def _real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


def _integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _line(value: object) -> bool:
    """Whether it is a network's name, a radius, and perhaps a time limit and a number of images."""
    if not isinstance(value, (list, tuple)) or not 2 <= len(value) <= 4:
        return False
    return _text(value[0]) and all(_real(number) and number >= 0 for number in value[1:])


COUNT = Rule("an integer of at least 1", lambda v: _integer(v) and v >= 1)
INDEX = Rule("an integer of at least 0", lambda v: _integer(v) and v >= 0)
RADIUS = Rule("a finite number >= 0", lambda v: _real(v) and v >= 0)
_AT_MOST = Rule("an integer of at least 0, or None for all", lambda v: v is None or INDEX.accepts(v))
_SOME = Rule("an integer of at least 1, or None for all", lambda v: v is None or COUNT.accepts(v))
_POSITIVE = Rule("a finite number > 0", lambda v: _real(v) and v > 0)
_NUMBER = Rule("a finite number", _real)
_NAME = Rule("a name", _text)
_NAME_OR_NONE = Rule("a name, or None", lambda v: v is None or _text(v))
_LINE = Rule("a list [name, radius], then seconds, then images, if wanted", _line)
_SWITCH = Rule("True or False", lambda v: isinstance(v, bool))
_NORM = Rule("1, 2, inf or another order q >= 1", lambda v: _text(v) or (isinstance(v, (int, float)) and v >= 1))
_BY_NAME = Rule("parameters by name", lambda v: isinstance(v, Mapping))
_ANY = Rule("rows of another kind, of which this one is made", lambda v: True)
#: Lists of parameters by name, checked entry by entry.
LISTS_OF_PARAMETERS = ("runs", "printed_runs")

_RULES = (
    (COUNT, "images test_images certified_images curve_images group count points draws degree_draws samples"),
    (COUNT, "restarts steps subproblems width components neurons epochs batch_size"),
    (many(COUNT), "sparsities image_counts"),
    (many(COUNT, 2), "sizes input_shapes"),
    (many(COUNT, 2, empty=True), "one_layer two_layers"),
    (INDEX, "image first output other seed warm_up ramp_up"),
    (many(INDEX), "seeds program_seeds"),
    (_SOME, "program_images"),
    (_AT_MOST, "lipopt_3_draws lipopt_4_draws"),
    (RADIUS, "epsilon epsilon_pixel kappa_end l1"),
    (many(RADIUS), "epsilons curve_epsilons largest"),
    (many(RADIUS, empty=True), "epsilons_l2 epsilons_linf ellipsoids_clipped"),
    (_POSITIVE, "time_limit learning_rate radius box reach"),
    (_NUMBER, "lower upper"),
    (_NAME, "profile network dataset architecture method learning_rates"),
    (many(_NAME), "networks methods laws balls scalings trained datasets architectures"),
    (many(_NAME, empty=True), "programs"),
    (many(_NAME_OR_NONE), "counted"),
    (many(_LINE), "lines"),
    (many(_LINE, empty=True), "beyond"),
    (_SWITCH, "clip printed_model elision"),
    (_NORM, "norm"),
    (many(_BY_NAME, empty=True), " ".join(LISTS_OF_PARAMETERS)),
    (_ANY, "rows"),
)
#: Parameter -> its rule.
RULES: Mapping[str, Rule] = {name: rule for rule, names in _RULES for name in names.split()}


def require_rules(names: Iterable[str], where: str) -> None:
    """Refuse names of parameters that nothing says the meaning of."""
    for name in names:
        if name not in RULES:
            raise InputError(f"{where}: the parameter {name} has no rule; give it one in workbench/parameters.py.")


def check(parameters: Mapping) -> None:
    """Refuse parameters that cannot be what their names say, and names without a rule."""
    require_rules(parameters, "parameters")
    for name, value in parameters.items():
        _require(name, value, RULES[name])
        for entry in value if name in LISTS_OF_PARAMETERS else ():
            check(entry)
    lower, upper = parameters.get("lower"), parameters.get("upper")
    if lower is not None and upper is not None and not lower < upper:
        raise InputError(f"lower, upper: lower must be below upper, got {lower!r} and {upper!r}.")


def _require(name: str, value: Any, rule: Rule) -> None:
    values = [value]
    for level in range(rule.depth):
        for found in values:
            if not isinstance(found, (list, tuple)):
                raise InputError(f"{name}: expected a list, each entry {rule.words}; got {found!r}.")
            if not found and (level or not rule.empty):
                raise InputError(f"{name}: expected at least one entry, got {value!r}.")
        values = [entry for found in values for entry in found]
    for entry in values:
        if not rule.accepts(entry):
            raise InputError(f"{name}: expected {rule.words}, got {entry!r}.")


def rows_of(**lists: Sequence) -> Iterator[tuple]:
    """Pair the entries of lists that belong together, refusing lists of different lengths."""
    if len({len(entries) for entries in lists.values()}) > 1:
        found = ", ".join(f"{len(entries)} {name}" for name, entries in lists.items())
        raise InputError(f"{', '.join(lists)}: expected as many entries of each, got {found}.")
    return zip(*lists.values(), strict=True)
