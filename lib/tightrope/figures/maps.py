"""Maps: matrices, relations between relaxations, and regions of the plane."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from tightrope.figures import drawing
from tightrope.figures.drawing import ATTACKED, CERTIFIED, INK, MUTED, Drawing, Labels, Named, Points
from tightrope.outward import at_most

#: Node -> place; the tighter, the higher.
PLACES: Mapping[str, tuple[float, float]] = {
    "Lagrangian dual": (0.0, 4.0),
    "optimal relaxation, dual": (2.1, 4.0),
    "optimal relaxation, primal": (4.5, 4.0),
    "LP-LAST": (0.4, 3.0),
    "LP-GREEDY": (0.0, 2.0),
    "Wong & Kolter, chord": (1.45, 1.45),
    "Wong & Kolter, 0 or 1": (2.6, 2.1),
    "CROWN": (2.6, 3.0),
    "DeepPoly": (3.6, 3.0),
    "Fast-Lin": (0.0, 0.6),
    "DeepZ": (1.3, 0.6),
    "Box": (4.6, 0.6),
}


def matrix(
    values: Sequence[Sequence[float]],
    lines: Sequence[str],
    columns: Sequence[str],
    title: str,
    labels: Labels,
    own: Sequence[tuple[int, int]] = (),
) -> Drawing:
    """Draw percentages as a table whose cells are the darker the larger they are; `own` cells have a frame."""
    values = np.array(values, dtype=float)
    with drawing.canvas(1.0 * len(columns) + 2.4, 0.32 * len(lines) + 0.7) as figure:
        ax = figure.add_subplot()
        ax.imshow(values, cmap="Blues", vmin=0, vmax=105, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            ax.text(column, row, f"{value:.1f}", ha="center", va="center", color="white" if value > 55 else INK)
        for row in range(1, len(lines)):  # a gap between networks of different kinds
            if lines[row].split(", ")[0] != lines[row - 1].split(", ")[0]:
                ax.axhline(row - 0.5, color="white", linewidth=5)
        for row, column in own:
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ATTACKED, linewidth=2))
        ax.set_xticks(range(len(columns)), columns)
        ax.set_yticks(range(len(lines)), lines)
        ax.set(xlabel=labels[0], ylabel=labels[1])
        ax.xaxis.set_label_position("top")
        ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        ax.spines[:].set_visible(False)
    return Drawing(figure, title)


def pair_matrices(matrices: Mapping[str, np.ndarray], title: str) -> Drawing:
    """Draw symmetric (K, K) matrices of upper bounds of pairs side by side; a pair without a number stays white."""
    shown = {name: np.where(np.eye(len(L), dtype=bool), np.nan, L) for name, L in matrices.items()}
    if len(shown) == 2:
        first, second = shown.values()
        with np.errstate(invalid="ignore"):
            shown["the second over the first"] = 100 * (second / first - 1)
    with drawing.canvas(4.6 * len(shown), 4.7) as figure:
        panels = drawing.grid(figure, len(shown), len(shown))
        for number, (axes, (name, L)) in enumerate(zip(panels, shown.items(), strict=True)):
            difference = number == len(matrices)
            low, high = (np.nanmin(L), np.nanmax(L)) if np.isfinite(L).any() else (0, 1)
            half, colours = 0.5 * (high - low), "Oranges" if difference else "Blues"
            image = axes.imshow(L, cmap=colours, vmin=low - half, vmax=high + half)
            for i, j in np.argwhere(np.isfinite(L)):
                text = f"{L[i, j]:z.3f}".replace("0.", ".") if difference else at_most(L[i, j], 3)
                axes.text(j, i, text, ha="center", va="center", fontsize=6.5)
            bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.7)
            bar.set_label("percent more" if difference else "constant of $F_i - F_j$, at most")
            bar.ax.set_xlim(low, high if high > low else low + 1)
            axes.set(xticks=range(len(L)), yticks=range(len(L)), title=name, xlabel="label j")
        panels[0].set_ylabel("label i")
        figure.supxlabel("symmetric, and blank on the diagonal: a label has no constant against itself", fontsize=8)
    return Drawing(figure, title)


def relation_map(arrows: Sequence[tuple[str, str, str, bool]], title: str) -> Drawing:
    """Draw nodes and arrows (tighter, looser, kind, whether it was seen to hold)."""
    with drawing.canvas(7.2, 4.3) as figure:
        axes = figure.add_subplot()
        frame = dict(boxstyle="round,pad=0.3", facecolor="white", edgecolor=INK, linewidth=0.8)
        look = dict(ha="center", va="center", fontsize=8.5, zorder=2, bbox=frame)
        boxes = {name: axes.text(*place, name.replace(", ", ",\n"), **look) for name, place in PLACES.items()}
        axes.set(xlim=(-0.8, 5.1), ylim=(0.2, 4.5))
        figure.draw_without_rendering()  # which gives the boxes their sizes: arrows end at them
        for tighter, looser, kind, holds in arrows:
            style, line, colour = ("<->", "--", MUTED) if kind == "equal" else ("-|>", "-", CERTIFIED)
            ends = dict(patchA=boxes[tighter].get_bbox_patch(), patchB=boxes[looser].get_bbox_patch())
            look = dict(arrowstyle=style, linestyle=line, color=colour if holds else ATTACKED, linewidth=1.3)
            arrow = dict(shrinkA=1, shrinkB=1, **ends, **look)
            axes.annotate("", PLACES[looser], PLACES[tighter], zorder=1, arrowprops=arrow)
        axes.axis("off")
        handles = [
            Line2D([], [], color=CERTIFIED, label="never looser (tail) than (head)"),
            Line2D([], [], color=MUTED, linestyle="--", label="equal"),
        ]
        if not all(holds for *_, holds in arrows):
            handles.append(Line2D([], [], color=ATTACKED, label="contradicted by a measurement"))
        drawing.legend(figure, handles, 3, fontsize=8, loc="outside lower center")
    return Drawing(figure, title)


def _cross(axes: Axes) -> None:
    """Draw both coordinate axes through 0, at one scale."""
    axes.axhline(0, color=MUTED, linewidth=0.5, zorder=0)
    axes.axvline(0, color=MUTED, linewidth=0.5, zorder=0)
    axes.set_aspect("equal")


def relu_regions(panels: Sequence[tuple[str, Points]], lower: float, upper: float, title: str) -> Drawing:
    """Draw the region of each relaxation, (heading, corners), over the ReLU."""
    columns = min(4, len(panels))
    with drawing.canvas(2.25 * columns, 1.9 * -(-len(panels) // columns) + 0.7) as figure:
        axes = drawing.grid(figure, len(panels), columns, sharex=True, sharey=True)
        for number, (ax, (heading, corners)) in enumerate(zip(axes, panels, strict=True)):
            ax.tick_params(labelbottom=number + columns >= len(panels))  # the last one of its column
            ax.fill(*np.array(corners).T, facecolor="#c9d6e4", edgecolor=CERTIFIED, linewidth=1.2)
            ax.plot([lower, 0, upper], [0, 0, upper], color=ATTACKED, linewidth=2.0)
            _cross(ax)
            ax.set_title(heading)
            ax.set_xlabel("$h$", labelpad=0)
            if not number % columns:
                ax.set_ylabel("$z$", rotation=0)
            ax.set_xticks([lower, 0, upper], ["$l$", "0", "$u$"])
            ax.set_yticks([0, upper], ["0", "$u$"])
        handles = [
            Patch(facecolor="#c9d6e4", edgecolor=CERTIFIED, label="the relaxation's region"),
            Line2D([], [], color=ATTACKED, linewidth=2.0, label="$z$ = ReLU$(h)$"),
        ]
        drawing.legend(figure, handles, 2)
    return Drawing(figure, title)


def envelope_panels(panels: Sequence[dict], title: str) -> Drawing:
    """Draw activations with their convex hulls: x, value, below, above (arrays), name, lower, upper."""
    with drawing.canvas(7.2, 1.9 * -(-len(panels) // 4) + 0.4) as figure:
        for axes, panel in zip(drawing.grid(figure, len(panels), 4), panels, strict=True):
            axes.fill_between(panel["x"], panel["below"], panel["above"], color="#bcd0e4", linewidth=0)
            for name, colour in (("below", CERTIFIED), ("above", CERTIFIED), ("value", ATTACKED)):
                axes.plot(panel["x"], panel[name], color=colour, linewidth=1.2)
            axes.set(title=panel["name"], xticks=[panel["x"][0], panel["x"][-1]])
            axes.set_xlabel("$x$", labelpad=-6)
            axes.locator_params(axis="y", nbins=3)
        handles = [
            Line2D([], [], color=ATTACKED, linewidth=1.2, label="the function"),
            Patch(facecolor="#bcd0e4", edgecolor=CERTIFIED, label="its optimal convex relaxation"),
        ]
        drawing.legend(figure, handles, 2)
    return Drawing(figure, title)


def region_and_bounds(
    heading: str,
    corners: Points,
    ends: tuple[float, float],
    bars: Named,
    exact: tuple[float, float],
    chosen: str,
    title: str,
) -> Drawing:
    """Draw one relaxation's region over the ReLU, and beside it the bounds of an output by every relaxation.

    The corners of a stable neuron's region are two, those of a line; `ends` are l and u; bars are (relaxation, lower
    bound, upper bound), and that of the chosen relaxation stands out; `exact` is the output's range.
    """
    lower, upper = ends
    with drawing.canvas(9.0, 3.6) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
        left.fill(*np.array(corners).T, facecolor="#c9d6e4", edgecolor=CERTIFIED, linewidth=1.4)
        points = [lower, *([0.0] if lower < 0 < upper else []), upper]
        left.plot(points, np.maximum(points, 0), color=ATTACKED, linewidth=2.2)
        _cross(left)
        left.set(xlim=(-3.1, 3.1), ylim=(-1.6, 3.1), xlabel="$h$", title=heading)
        left.set_ylabel("$z$", rotation=0)
        heights = -np.arange(len(bars))
        for y, (name, low, high) in zip(heights, bars, strict=True):
            look = dict(color=CERTIFIED, linewidth=7) if name == chosen else dict(color=MUTED, linewidth=4)
            right.plot([low, high], [y, y], solid_capstyle="butt", **look)
        right.axvspan(*exact, color=ATTACKED, alpha=0.3, linewidth=0)
        right.set_yticks(heights, [bar[0] for bar in bars])
        right.set(ylim=(heights[-1] - 0.6, 0.6), title="bounds of the output; the band is its exact range")
    return Drawing(figure, title)
