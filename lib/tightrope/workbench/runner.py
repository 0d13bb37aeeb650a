"""What a run of a notebook is: its parameters, checked, its cases, and whether it is out of date.

papermill only warns about a parameter that a notebook does not have and then runs the defaults; here that
is an error. The executed copy goes to figures/executed/<paper>/<result>.<profile>.ipynb beside a stamp of everything
that it depended on.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

import tightrope
from tightrope import paths
from tightrope.errors import InputError, MissingDataError, TightropeError, UnknownParameterError
from tightrope.workbench.published import Result, defaults, parameters
from tightrope.workbench.registry import experiment, named

# Processor seconds that a notebook may use without a new row or a finished cell.
LIMITS = {"quick": 600, "paper": 7 * 24 * 3600}
RAN, UP_TO_DATE, FAILED = "ran", "up to date", "failed"


class NotebookError(TightropeError):
    """A notebook stopped with an error."""


@dataclass(frozen=True)
class Run:
    """A notebook with its parameters, ready to be executed."""

    result: Result
    profile: str
    parameters: Mapping[str, object]
    output: Path

    @property
    def stamp(self) -> Path:
        """Where the hash of the last successful execution is."""
        return self.output.with_suffix(".stamp")

    def digest(self) -> str:
        """SHA-256 of what the outputs depend on: notebook, parameters, library, printed numbers, data."""
        own = _of_files(self.result.notebook, paths.PAPERS / self.result.paper / "published.yaml")
        text = json.dumps([self.parameters, sys.version, own, _of_library()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def up_to_date(self) -> bool:
        """Whether the executed copy is there and nothing it depends on has changed."""
        return self.output.is_file() and self.stamp.is_file() and self.stamp.read_text() == self.digest()


@cache
def _of_library() -> str:
    """SHA-256 of what all notebooks depend on, as it was when this process asked first."""
    code, networks = Path(tightrope.__file__).parent.rglob("*.py"), paths.MODELS.rglob("*.npz")
    lists = paths.PAPERS.glob("*/networks.yaml")
    return _of_files(*sorted(code), *sorted(networks), paths.DATA / "registry.json", *sorted(lists))


def _of_files(*sources: Path) -> str:
    digest = hashlib.sha256()
    for source in filter(Path.is_file, sources):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def prepare(
    result: Result, profile: str, changes: Mapping | None = None, limit: int | None = None, folder: Path | None = None
) -> Run:
    """Check the parameters of one run of a result with a notebook, in the "quick" or "paper" profile.

    `changes` are the user's parameters; rows are kept under the profile "custom" where these make other cases than the
    profile's (`registry.named`). At most `limit` images are taken. The executed notebook goes to the folder, or
    figures/executed.
    """
    if not result.runnable:
        raise InputError(f"result {result.key} cannot be run: {result.not_run or f'no {result.notebook}'}")
    own = defaults(result)
    for name in (*(result.paper_parameters or ()), *(changes or ())):
        if name not in own:
            raise UnknownParameterError(f"parameter of {result.name}:", name, own)
    values = parameters(result, profile) | dict(changes or {})
    if limit is not None:
        if limit < 1:
            raise InputError(f"limit: expected at least 1, got {limit}")
        if "images" in values:
            values["images"] = min(values["images"], limit)
        if "image_counts" in values:
            values["image_counts"] = [min(count, limit) for count in values["image_counts"]]
    if changes or limit is not None:
        with suppress(MissingDataError):  # said when the run starts, so that others can be prepared
            asked = named(experiment(result).all_cases(values))
            if not asked:
                raise InputError(f"{result.name}: no case is left with these parameters.")
            values["profile"] = asked[0]["profile"]
    name = f"{result.name}.{values['profile']}.ipynb"
    return Run(result, profile, values, (folder or paths.FIGURES / "executed") / result.paper / name)


def cases(run: Run) -> list[dict]:
    """Return every case of a run, under the profile that its row will have."""
    return named(experiment(run.result).all_cases(run.parameters))


def parse_parameters(pairs: Sequence[tuple[str, str]]) -> dict:
    """Read `-p name value` pairs; a value is YAML: 10, 0.05, true and [0.1, 0.05] are what they look like."""
    try:
        return {name: yaml.safe_load(value) for name, value in pairs}
    except yaml.YAMLError as error:
        raise InputError(f"parameter value that is not YAML: {error}") from None
