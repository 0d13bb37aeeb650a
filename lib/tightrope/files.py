"""Text, JSON and YAML files as people leave them: what is wrong with one is said in a line that has its name."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tightrope.errors import CorruptDataError, FileAccessError, TightropeError


@contextmanager
def access(path: Path, doing: str) -> Iterator[None]:
    """Turn what the operating system refuses into a FileAccessError; `doing` is such as "read" or "written".

    No permission, no space, no such folder, a file in place of a folder.
    """
    try:
        yield
    except TightropeError:
        raise
    except OSError as error:
        raise FileAccessError(f"{path} cannot be {doing}: {error.strerror or error}.") from error


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; FileAccessError if it cannot be read, CorruptDataError if it is no text."""
    try:
        with access(path, "read"):
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CorruptDataError(f"{path} is not a text file in UTF-8 ({error}). Restore it: `git checkout`.") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file holds (a notebook is one); FileAccessError, CorruptDataError."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise CorruptDataError(f"{path} is not JSON ({error}). Restore it: `git checkout`.") from error


def read_yaml(path: Path) -> dict:
    """Return the mapping that a YAML file holds, empty for an empty file; FileAccessError, CorruptDataError."""
    import yaml  # of the papers' files; networks and regions do without

    # libyaml's parser where it is built in, ten times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(read_text(path), Loader=loader)
    except yaml.YAMLError as error:
        raise CorruptDataError(f"{path} is not YAML ({error}).") from error
    if content is not None and not isinstance(content, dict):
        raise CorruptDataError(f"{path}: expected names with values, got a {type(content).__name__}.")
    return content or {}


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a path beside this one, whose file takes its place in the end: a reader sees the old one or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with access(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)


def replace_text(path: Path, text: str) -> None:
    """Write a text file at once; FileAccessError."""
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")
