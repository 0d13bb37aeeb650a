"""Where things are: the only module that knows the repository's folders."""

import os
from functools import cache
from pathlib import Path

from tightrope.errors import MissingDataError

HOME_VARIABLE = "TIGHTROPE_HOME"
_LANDMARK = Path("data") / "registry.json"  # always committed, and read by every installation


def find_root() -> Path:
    """Return the repository's folder: TIGHTROPE_HOME if set, else the nearest fitting parent of this file.

    MissingDataError if the package was installed away from its repository, or TIGHTROPE_HOME points elsewhere.
    """
    home = os.environ.get(HOME_VARIABLE)
    candidates = [Path(home).expanduser().resolve()] if home else list(Path(__file__).resolve().parents)
    for folder in candidates:
        if (folder / _LANDMARK).is_file():
            return folder
    where = f"{HOME_VARIABLE}={home}" if home else f"a parent of {Path(__file__).parent}"
    raise MissingDataError(
        f"expected Tightrope's repository (a folder with {_LANDMARK.as_posix()}) at {where}. "
        f"Install with `pip install -e .` inside a clone, or set {HOME_VARIABLE} to the clone's folder."
    )


_FOLDERS = {
    "ROOT": Path(),
    "DATA": Path("data"),
    "MODELS": Path("data") / "models",
    "RESULTS": Path("data") / "results",
    "CHECKPOINTS": Path("data") / "checkpoints",  # of trainings that were stopped; not committed
    "FIGURES": Path("figures"),
    "NOTEBOOKS": Path("notebooks"),
    "PAPERS": Path("papers"),
}


def __getattr__(name: str) -> Path:
    """Return a folder when it is first asked for, so that what needs no repository works without one."""
    if name not in _FOLDERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _root() / _FOLDERS[name]


@cache
def _root() -> Path:
    return find_root()
