"""Drawings of `jovanovic2022-paradox`: regions of one ReLU, curves of bounds, matrices of percentages."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tightrope.figures.drawing import ATTACKED, CERTIFIED, INK, MUTED, STYLE, UNDECIDED, Drawing

#: One colour and one dash for each relaxation, wherever it is drawn; distinguishable without colour.
LINES = {
    "Box": ("#1f4e79", "-"),
    "hBox": ("#6b7280", "--"),
    "CROWN-IBP (R)": ("#8e6c1f", "-."),
    "DeepZ": ("#2e8b57", (0, (5, 1, 1, 1))),
    "CROWN": ("#e08a3c", ":"),
    "Triangle": ("#7b3f8c", (0, (3, 1))),
    "Parallelogram": ("#b0413e", (0, (1, 1))),
    "CROWN-0": ("#4b4b4b", (0, (1, 3))),
    "CROWN-IBP": ("#17828a", (0, (7, 2))),
}


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _line(name: str) -> dict:
    colour, dash = LINES.get(name, (INK, "-"))
    return {"color": colour, "linestyle": dash}


def relu_regions(
    panels: Sequence[tuple[str, Sequence[tuple[float, float]]]], lower: float, upper: float, title: str
) -> Drawing:
    """Draw the region of each relaxation over the ReLU.

    Parameters
    ----------
    panels
        (heading, corners of the region) for each.
    """
    with rc_context(STYLE):
        columns = min(4, len(panels))
        rows = -(-len(panels) // columns)
        figure = _figure(2.25 * columns, 1.9 * rows + 0.1)
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for ax, (heading, corners) in zip(axes, panels, strict=False):
            ax.fill(*np.array(corners).T, facecolor="#c9d6e4", edgecolor=CERTIFIED, linewidth=1.2)
            ax.plot([lower, 0, upper], [0, 0, upper], color=ATTACKED, linewidth=2.0)
            ax.axhline(0, color=MUTED, linewidth=0.5, zorder=0)
            ax.axvline(0, color=MUTED, linewidth=0.5, zorder=0)
            ax.set_title(heading)
            ax.set_xticks([lower, 0, upper], ["$l$", "0", "$u$"])
            ax.set_yticks([0, upper], ["0", "$u$"])
            ax.set_aspect("equal")
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
    return Drawing(figure, title)


def curves(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    labels: tuple[str, str],
    title: str,
    marks: Mapping[str, Sequence[tuple[float, float, float]]] | None = None,
    shared: bool = False,
) -> Drawing:
    """Draw curves, one for each relaxation, in one panel or several side by side.

    Parameters
    ----------
    panels
        Heading -> name -> (x, y); nan in y breaks a curve.
    labels
        Of the axes.
    marks
        Heading -> (x, value before, value after) of jumps.
    shared
        Whether the panels have one y axis.
    """
    with rc_context(STYLE):
        columns = min(3, len(panels))
        rows = -(-len(panels) // columns)
        figure = _figure(3.4 * columns + (1.4 if columns == 1 else 0), 2.7 * rows + 0.4)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=shared).ravel()
        handles = {}
        for ax, (heading, lines) in zip(axes, panels.items(), strict=False):
            for name, (x, y) in lines.items():
                handles[name] = ax.plot(x, y, linewidth=1.6, **_line(name))[0]
            for x, before, after in (marks or {}).get(heading, ()):
                ax.plot([x, x], [before, after], color=INK, linewidth=0.8)
                ax.plot([x, x], [before, after], "o", color=INK, markersize=3)
            ax.set_title(heading)
            ax.set_xlabel(labels[0])
            ax.locator_params(axis="x", nbins=5)  # long numbers do not run into each other
        for row in range(rows):
            axes[row * columns].set_ylabel(labels[1])
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        wide = {1: 3, 2: 4}.get(columns, 7)
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=min(wide, len(handles)),
                      frameon=False, fontsize=8.5)  # fmt: skip
    return Drawing(figure, title)


def matrix(values: Sequence[Sequence[float]], lines: Sequence[str], columns: Sequence[str], title: str) -> Drawing:
    """Draw percentages as a table whose cells are the darker the larger they are."""
    values = np.array(values, dtype=float)
    with rc_context(STYLE):
        figure = _figure(1.0 * len(columns) + 2.4, 0.32 * len(lines) + 0.7)
        ax = figure.add_subplot()
        ax.imshow(values, cmap="Blues", vmin=0, vmax=105, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            ax.text(column, row, f"{value:.1f}", ha="center", va="center", color="white" if value > 55 else INK)
        ax.set_xticks(range(len(columns)), columns)
        ax.set_yticks(range(len(lines)), lines)
        ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        for side in ax.spines.values():
            side.set_visible(False)
    return Drawing(figure, title)


def pairs(points: Sequence[tuple[str, float, float]], labels: tuple[str, str], title: str) -> Drawing:
    """Draw one point for each relaxation with its name: tightness against result."""
    with rc_context(STYLE):
        figure = _figure(4.8, 3.2)
        ax = figure.add_subplot()
        wide, high = (np.ptp([point[i] for point in points]) for i in (1, 2))
        for name, x, y in points:
            ax.plot(x, y, "o", color=LINES.get(name, (INK, "-"))[0], markersize=7)
            # Below the point where the name would run into the next one.
            crowded = any(0 < a - x < 0.25 * wide and abs(b - y) < 0.1 * high for _, a, b in points)
            ax.annotate(name, (x, y), textcoords="offset points", xytext=(7, -13 if crowded else 4))
        ax.margins(0.2)
        ax.set_xlabel(labels[0])
        ax.set_ylabel(labels[1])
        ax.grid(color=UNDECIDED, linewidth=0.6)
    return Drawing(figure, title)


def region_and_bounds(
    heading: str,
    corners: Sequence[tuple[float, float]],
    ends: tuple[float, float],
    bars: Sequence[tuple[str, float, float]],
    exact: tuple[float, float],
    chosen: str,
    title: str,
) -> Drawing:
    """Draw one relaxation's region over the ReLU, and beside it the bounds of an output by every relaxation.

    Parameters
    ----------
    corners
        Of the region; two of them for a stable neuron, whose region is a line.
    ends
        l and u.
    bars
        (relaxation, lower bound, upper bound).
    exact
        The output's smallest and largest value.
    chosen
        The relaxation whose bar stands out.
    """
    lower, upper = ends
    with rc_context(STYLE):
        figure = _figure(9.0, 3.6)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
        left.fill(*np.array(corners).T, facecolor="#c9d6e4", edgecolor=CERTIFIED, linewidth=1.4)
        points = [lower, *([0.0] if lower < 0 < upper else []), upper]
        left.plot(points, np.maximum(points, 0), color=ATTACKED, linewidth=2.2)
        left.axhline(0, color=MUTED, linewidth=0.5, zorder=0)
        left.axvline(0, color=MUTED, linewidth=0.5, zorder=0)
        left.set_xlim(-3.1, 3.1)
        left.set_ylim(-1.6, 3.1)
        left.set_aspect("equal")
        left.set_xlabel("$h$")
        left.set_ylabel("$z$", rotation=0)
        left.set_title(heading)
        heights = -np.arange(len(bars))
        for y, (name, low, high) in zip(heights, bars, strict=True):
            mark = name == chosen
            right.plot([low, high], [y, y], color=CERTIFIED if mark else MUTED, linewidth=7 if mark else 4,
                       solid_capstyle="butt")  # fmt: skip
        right.axvspan(*exact, color=ATTACKED, alpha=0.3, linewidth=0)
        right.set_yticks(heights, [bar[0] for bar in bars])
        right.set_ylim(heights[-1] - 0.6, 0.6)
        right.set_title("bounds of the output; the band is its exact range")
    return Drawing(figure, title)
