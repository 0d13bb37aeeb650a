"""Where a training that is stopped continues: one file for each case, written after each epoch, removed at the end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tightrope import paths
from tightrope.workbench.records import case_key


@contextmanager
def checkpoint(case: Mapping) -> Iterator[Path]:
    """A file for the training of this case; removed when the case is done, kept when it is interrupted."""
    file = paths.CHECKPOINTS / f"{case_key(case)}.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    yield file
    file.unlink(missing_ok=True)
