"""What the rows of the paper profile say of a printed result, shown without solving anything."""

from dataclasses import dataclass
from pathlib import Path

from tightrope import paths
from tightrope.workbench.compare import compare, printed_table
from tightrope.workbench.published import Result
from tightrope.workbench.records import Store
from tightrope.workbench.tables import Table


@dataclass(frozen=True)
class AtPaperSize:
    """A printed result as the kept rows have it: the drawings made of them, and each printed number beside ours.

    A notebook shows both; the table only where the paper prints numbers.
    """

    result: Result
    pictures: tuple[Path, ...]
    printed: Table

    def __repr__(self) -> str:
        counts = f"{len(self.printed.rows)} lines of printed numbers, {len(self.pictures)} drawings"
        return f"<{self.result.number}: {counts}>"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        for path in self.pictures:
            display(_Picture(path, f"{self.result.number} at the paper's size: {self.result.title}"))
        if self.printed.rows:
            display(self.printed)


@dataclass(frozen=True)
class _Picture:
    path: Path
    title: str

    def __repr__(self) -> str:
        return f"<{self.title}>"

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


def at_paper_size(result: Result) -> AtPaperSize:
    """Return what is kept of a result in the paper profile."""
    with Store(read_only=True) as store:
        lines = compare([result], store)
    return AtPaperSize(result, drawn(result.name, paths.FIGURES / result.paper), printed_table(result, lines))


def drawn(name: str, folder: Path, profile: str = "paper") -> tuple[Path, ...]:
    """Return the drawings of a result as PNG files, its own before those of its parts."""
    own = folder / f"{name}.{profile}.png"
    return tuple(sorted(folder.glob(f"{stem(name)}*.{profile}.png"), key=lambda path: (path != own, path.name)))


def stem(name: str) -> str:
    """Return what the names of everything about one table or figure begin with, such as ``table-2-``."""
    return "-".join(name.split("-")[:2]) + "-"
