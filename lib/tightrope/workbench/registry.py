"""Which experiments there are, and to which profile cases belong."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from tightrope import paths
from tightrope.errors import MissingDataError, UnknownNameError
from tightrope.workbench.certificates import COLUMN, Several, Statement
from tightrope.workbench.published import PROFILES, Result, parameters, read
from tightrope.workbench.records import case_key

if TYPE_CHECKING:
    from tightrope.workbench.experiment import Experiment

CUSTOM = "custom"  # under which rows are kept that are of no profile
#: What is said of a number by the certificates of its rows.
PROVEN, COMPUTED = "proven", "computed"
_REGISTERED: dict[str, dict[str, "Experiment"]] = {}


@dataclass(frozen=True)
class Value:
    """A number of ours, what a reader has to know about it, and the rows whose certificates prove it, if any can."""

    value: float
    note: str = ""
    rows: Sequence[Mapping] = field(default=(), compare=False, repr=False)


def register(experiment: "Experiment") -> None:
    """Make an experiment known by its paper and name."""
    _REGISTERED.setdefault(experiment.paper, {})[experiment.name] = experiment


def experiment(result: Result) -> "Experiment":
    """Return the experiment of a printed result from the modules of its paper."""
    known = experiments(result.paper)
    if result.name not in known:
        raise UnknownNameError("experiment", result.name, known)
    return known[result.name]


def experiments(paper: str) -> Mapping[str, "Experiment"]:
    """Return the experiments of a paper by name: every module of its package in `tightrope.results` is imported."""
    name = f"tightrope.results.{paper.replace('-', '_')}"
    try:
        package = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return {}
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{name}.{module.name}")
    return _REGISTERED.get(paper, {})


def statement(row: Mapping) -> Statement | Several | None:
    """Return what a row says that a certificate can prove; None if that is nothing."""
    kind = experiments(row["paper"]).get(row["result"])
    return None if kind is None else kind.statement(row)


def proof(rows: Iterable[Mapping]) -> str:
    """Say "proven" if every row that says something provable has its certificate, "computed" if one has none.

    Nothing where no row does.
    """
    have = [bool(row.get(COLUMN)) for row in rows if statement(row) is not None]
    return "" if not have else PROVEN if all(have) else COMPUTED


def named(cases: Sequence[Mapping]) -> list[dict]:
    """Return these cases, of one paper, under the profile that those of their kind belong to.

    A notebook that papermill or a person gives another radius still says ``profile="quick"``; its rows are not those of
    the quick profile, and must not be drawn or compared as if they were. They become :data:`CUSTOM`.
    """
    kinds = dict.fromkeys(case["result"] for case in cases)
    return [case for kind in kinds for case in _named([dict(case) for case in cases if case["result"] == kind])]


def _named(cases: list[dict]) -> list[dict]:
    paper, kind, profile = (cases[0][name] for name in ("paper", "result", "profile"))
    if profile not in PROFILES:
        return cases
    keys = {case_key(case) for case in cases}
    known: dict[str, str] = {}
    for name in sorted(experiments(paper), key=lambda name: name != kind):  # its own first: often enough
        known |= profile_cases(paper, name, profile)
        if keys <= known.keys():
            return cases
    # A kind that is made of other rows is in no list of cases, and says itself to which profile it belongs.
    return [{**case, "profile": CUSTOM} for case in cases] if kind in known.values() else cases


def drawn_profile(rows: Sequence[Mapping]) -> str:
    """Return the profile under which a drawing of these rows is kept: :data:`CUSTOM` for a part of a profile's."""
    if not rows:
        return CUSTOM
    paper, kind, profile = (rows[0][name] for name in ("paper", "result", "profile"))
    keys, kinds = {row.get("key") for row in rows}, {row["result"] for row in rows}
    whole = profile_cases(paper, kind, profile)
    some_missing = any(whole[key] in kinds for key in set(whole) - keys)
    return CUSTOM if some_missing or any(row["profile"] == CUSTOM for row in rows) else profile


@cache
def profile_cases(paper: str, name: str, profile: str) -> Mapping[str, str]:
    """Return key -> kind of row for all cases of a result in a profile; none if it cannot be run here."""
    folder = paths.PAPERS / paper
    known = {result.name: result for result in read(folder)} if (folder / "published.yaml").is_file() else {}
    result = known.get(name)
    if result is None or not result.runnable or profile not in PROFILES:
        return {}
    try:
        cases = experiment(result).all_cases(parameters(result, profile))
    except MissingDataError:  # another result's: a case without its data cannot have been asked for
        return {}
    return {case_key(case): case["result"] for case in cases}
