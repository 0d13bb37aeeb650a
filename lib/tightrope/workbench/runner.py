"""Running the notebooks: parameters checked, one process each, only what is out of date.

papermill only warns about a parameter that a notebook does not have and then runs the defaults; here that
is an error. A notebook runs in its own folder and its own process, with a time limit per cell; the executed
copy goes to figures/executed/<paper>/<result>.<profile>.ipynb beside a stamp of everything that it depended
on.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml

import tightrope
from tightrope import paths
from tightrope.errors import InputError, MissingDataError, TightropeError, UnknownParameterError
from tightrope.workbench.published import Result, defaults, parameters
from tightrope.workbench.records import Store
from tightrope.workbench.registry import experiment, named

KERNEL = "python3"
CELL_SECONDS = {"quick": 600, "paper": 7 * 24 * 3600}  # the time limit of one cell
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
        digest = hashlib.sha256(json.dumps([self.parameters, sys.version], sort_keys=True).encode())
        library = Path(tightrope.__file__).parent
        sources = [self.result.notebook, *sorted(library.rglob("*.py")), *sorted(paths.MODELS.rglob("*.npz"))]
        sources += [paths.PAPERS / self.result.paper / "published.yaml", paths.DATA / "registry.json"]
        sources += sorted(paths.PAPERS.glob("*/networks.yaml"))
        for source in sources:
            if source.is_file():
                digest.update(source.name.encode() + b"\0" + source.read_bytes())
        return digest.hexdigest()

    def up_to_date(self) -> bool:
        """Whether the executed copy is there and nothing it depends on has changed."""
        return self.output.is_file() and self.stamp.is_file() and self.stamp.read_text() == self.digest()


def prepare(
    result: Result,
    profile: str,
    changes: Mapping[str, object] | None = None,
    limit: int | None = None,
    folder: Path | None = None,
) -> Run:
    """Check the parameters of one run.

    Parameters
    ----------
    result
        One with a notebook.
    profile
        "quick" or "paper".
    changes
        Parameters given by the user; rows are kept under the profile "custom" where these make other cases than the
        profile's (`registry.named`).
    limit
        At most this many images.
    folder
        Where the executed notebook goes; figures/executed if None.

    Raises
    ------
    UnknownParameterError
        The notebook has no such parameter.
    """
    if not result.runnable:
        raise InputError(f"result {result.key} cannot be run: {result.not_run or f'no {result.notebook}'}")
    own = defaults(result)
    given = {**(result.paper_parameters or {}), **(changes or {})}
    for name in given:
        if name not in own:
            raise UnknownParameterError(f"parameter of {result.name}:", name, own)
    values = parameters(result, own, profile)
    values |= changes or {}
    if limit is not None:
        if limit < 1:
            raise InputError(f"limit: expected at least 1, got {limit}")
        if "images" in values:
            images = values["images"]
            values["images"] = min(images, limit) if isinstance(images, int) else [min(n, limit) for n in images]
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


def missing(cases: Sequence[Mapping], store: Store) -> list[Mapping]:
    """Return the cases that have no row, after the committed rows have been read."""
    for paper, kind, profile in dict.fromkeys((case["paper"], case["result"], case["profile"]) for case in cases):
        store.import_csv(kind, profile, paper)
    return store.missing(cases)


def execute(run: Run, progress: Callable[[int, int], None] | None = None, force: bool = False) -> str:
    """Execute one notebook in a process of its own; return "ran" or "up to date".

    Parameters
    ----------
    progress
        Called with (cases with a row, all cases), a few times a second.
    force
        Execute it even if nothing has changed.

    Raises
    ------
    NotebookError
        A cell failed, or the process died. Rows that were solved before are kept.
    """
    todo = cases(run)  # refuses bad values before a kernel starts
    total = len(todo)
    with Store() as store:
        todo = missing(todo, store)
        if progress:
            progress(total - len(todo), total)
        if run.up_to_date() and not todo and not force:
            return UP_TO_DATE
        digest = run.digest()
        run.stamp.unlink(missing_ok=True)
        run.output.parent.mkdir(parents=True, exist_ok=True)
        request = {
            "input_path": str(run.result.notebook),
            "output_path": str(run.output),
            "parameters": dict(run.parameters),
            "cwd": str(run.result.notebook.parent),
            "execution_timeout": CELL_SECONDS[run.profile],
        }
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(request)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)
        reader.start()
        try:
            while process.poll() is None:
                if progress:
                    todo = store.missing(todo)
                    progress(total - len(todo), total)
                time.sleep(0.25)
        finally:
            if process.poll() is None:
                process.kill()  # its kernel notices and ends
            process.wait()
            reader.join(timeout=5)
        if progress:
            progress(total - len(store.missing(todo)), total)
    if process.returncode != 0:
        text = "".join(errors).strip() or f"process ended with {process.returncode}"
        raise NotebookError(f"{run.result.key} ({run.profile}): {text.splitlines()[-1]}. See {run.output}")
    run.stamp.write_text(digest)
    return RAN


def parse_parameters(pairs: Sequence[tuple[str, str]]) -> dict:
    """Read `-p name value` pairs; a value is YAML: 10, 0.05, true and [0.1, 0.05] are what they look like."""
    try:
        return {name: yaml.safe_load(value) for name, value in pairs}
    except yaml.YAMLError as error:
        raise InputError(f"parameter value that is not YAML: {error}") from None


def _main(request: dict) -> int:
    """Execute one notebook in this process; the error, if any, as the last line of stderr."""
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    # TCP between kernel and client: encrypted where the client can, without a warning where it cannot.
    config = Config({"KernelManager": {"transport_encryption": "auto"}})
    try:
        papermill.execute_notebook(**request, kernel_name=KERNEL, progress_bar=False, log_output=False, config=config)
    except PapermillExecutionError as error:
        sys.stderr.write(f"\n{error.ename}: {error.evalue}".replace("\n", " ").strip() + "\n")
        return 1
    except Exception as error:  # a dead kernel, a time limit: one line for the caller
        sys.stderr.write(f"\n{type(error).__name__}: {error}".replace("\n", " ").strip() + "\n")
        return 1
    finally:
        _strip(Path(request["output_path"]))
    return 0


def _strip(path: Path) -> None:
    """Remove papermill's metadata (times, absolute paths) from an executed notebook."""
    if not path.is_file():
        return
    notebook = nbformat.read(path, as_version=4)
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)
        part.metadata.pop("execution", None)
    nbformat.write(notebook, path)


def _end_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, so that a killed run leaves nothing behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(_main(json.loads(sys.argv[1])))
