"""What every drawing has: colours, style, and how it is shown and written.

A :class:`Drawing` shows itself in a notebook and writes PNG, PDF and the numbers behind it as CSV. The same
numbers give the same bytes: no dates, no program names in the files.
"""

import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tightrope import paths
from tightrope.workbench.tables import Table

Points = Sequence[tuple[float, float]]
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]  # name -> (x, y); nan in y breaks a curve
Named = Sequence[tuple[str, float, float]]  # points or bounds, each with a name
Labels = tuple[str, str]  # of both axes

# Distinguishable with any colour vision and in grey: dark blue, light grey, orange.
CERTIFIED, UNDECIDED, ATTACKED = "#1f4e79", "#d5d8dc", "#e08a3c"
INK, MUTED = "#1b1f24", "#6b7280"
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.labelcolor": INK,
    "savefig.dpi": 150,
    "pdf.fonttype": 42,
    "figure.constrained_layout.use": True,
}
_BARE = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}


@contextmanager
def canvas(width: float, height: float, **style: object) -> Iterator[Figure]:
    """A blank figure of this size in inches, without a window, in our style."""
    with rc_context({**STYLE, **style}):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure


def grid(figure: Figure, count: int, columns: int, **options: object) -> list[Axes]:
    """Panels for `count` drawings, so many to a row; places that are left over stay empty."""
    axes = figure.subplots(-(-count // columns), columns, squeeze=False, **options).ravel()
    for ax in axes[count:]:
        ax.set_visible(False)
    return list(axes[:count])


def legend(figure: Figure, handles: Iterable | Mapping, columns: int, fontsize: float = 8.5, **options: object) -> None:
    """One legend above all panels, of handles or of those of a mapping under their names."""
    named = {"handles": handles}
    if isinstance(handles, Mapping):
        named = {"handles": handles.values(), "labels": handles.keys()}
    options = {"loc": "outside upper center", "frameon": False, "ncols": columns, "fontsize": fontsize, **options}
    figure.legend(**named, **options)


def name_ends(axes: Axes, lines: Mapping[str, tuple[float, float]]) -> None:
    """Write the names of lines at their right ends (x, y), one text for those that end at the same place.

    The limits of the axes must be final.
    """
    axes.get_xlim(), axes.get_ylim()  # which brings them up to date
    view = axes.transData + axes.transAxes.inverted()
    ends = {name: view.transform(end) for name, end in lines.items()}
    groups: list[list[str]] = []
    for name in sorted(ends, key=lambda name: ends[name][1]):
        same = groups and np.abs(ends[groups[-1][0]] - ends[name]).max() < 0.02
        if not same:
            groups.append([])
        groups[-1].append(name)
    free = -np.inf  # the height up to which the margin is taken
    for group in groups:
        x, y = ends[group[0]]
        text = "\n".join(name for name in lines if name in group)
        look = dict(xycoords="axes fraction", textcoords="offset points", fontsize=7.5, color=INK)
        if x < 0.9:  # a line that ends before the others
            frame = dict(facecolor="white", alpha=0.8, linewidth=0, pad=0.5)
            axes.annotate(text, (x, y), (0, 7), ha="center", va="bottom", bbox=frame, **look)
            continue
        half = 0.0275 * len(group)
        y = max(y, free + half)
        free = y + half
        axes.annotate(text, (x, y), (6, 0), va="center", annotation_clip=False, **look)


def plain_log(axis: Axis) -> None:
    """Write 1, 2, 5, 10, ... on a logarithmic axis, so that more than one tick has a number."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def over(number: int, count: int, thin: float = 1.2) -> float:
    """Return the width of line `number` of `count`: later ones are thinner, so that none hides another."""
    return thin + 0.3 * (count - 1 - number)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A finished figure: what it is of, its `title`, and what can be seen in it, its `finding`, if that is said."""

    figure: Figure
    title: str
    finding: str = ""

    def __repr__(self) -> str:
        return f"<drawing: {self.title}>"

    def saying(self, finding: str) -> "Drawing":
        """Write above everything else what can be seen, computed from what is drawn; nothing if it is empty."""
        if not finding:
            return self
        width, height = self.figure.get_size_inches()
        lines = textwrap.wrap(finding, int(11 * width))
        self.figure.set_size_inches(width, height + 0.18 * len(lines) + 0.08)
        above = [own for own in self.figure.legends if getattr(own, "_outside_loc", None) == "upper"]
        look = {"weight": "bold", "size": 9.5}
        if above:  # a legend and a title of the figure would take the same place
            above[0].set_title("\n".join(lines), prop=look)
            above[0].get_title().set_multialignment("center")
        else:
            self.figure.suptitle("\n".join(lines), **look)
        return replace(self, finding=finding)

    def _repr_png_(self) -> bytes:
        return self._render("png")

    def save(self, paper: str, name: str, numbers: Table, folder: Path | None = None) -> tuple[Path, ...]:
        """Write figures/<paper>/<name>.png, .pdf and .csv; return the three paths."""
        target = (folder or paths.FIGURES) / paper
        target.mkdir(parents=True, exist_ok=True)
        content = {"png": self._render("png"), "pdf": self._render("pdf"), "csv": numbers.to_csv().encode()}
        written = []
        for ending, data in content.items():
            path = target / f"{name}.{ending}"
            if not path.is_file() or path.read_bytes() != data:
                path.write_bytes(data)
            written.append(path)
        return tuple(written)

    def _render(self, ending: str) -> bytes:
        out = io.BytesIO()
        with rc_context(STYLE):
            self.figure.savefig(out, format=ending, metadata=_BARE[ending])
        self.figure.set_layout_engine("none")  # a second pass would move panels with colour bars
        return out.getvalue()
