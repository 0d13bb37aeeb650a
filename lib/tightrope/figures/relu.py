"""Drawings of chen2020-lipschitz: bounds and times over a family of networks, and certified ratios."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tightrope.figures.drawing import INK, STYLE, Drawing

#: Distinguishable with any colour vision, and by their markers in grey; every method keeps its own.
LOOK = {
    "product Shor": ("#1f4e79", "o", "-"),
    "HR-2, at most": ("#2a9d8f", "s", "-"),
    "HR-2, at least": ("#2a9d8f", "s", ":"),
    "HR-1": ("#2a9d8f", "D", "-"),
    "SHOR": ("#6b7280", "v", "-"),
    "Shor of LipOpt's QCQP": ("#9aa0a6", "v", ":"),
    "LipOpt-3": ("#e08a3c", "^", "-"),
    "LipOpt-4": ("#b5451f", "<", "-"),
    "LBS": ("#1b1f24", ".", "--"),
    "ascent": ("#1b1f24", "x", "--"),
    "exact": ("#1b1f24", "*", "-"),
}


def _look(name: str) -> dict:
    colour, marker, style = LOOK.get(name.split(" (")[0], (INK, "+", "-"))  # "LipOpt-3 (1 draw)"
    return dict(color=colour, marker=marker, linestyle=style, markersize=4.5, linewidth=1.3)


def sweeps(panels: Sequence[Mapping], title: str) -> Drawing:
    """Draw medians with a band between the quartiles, two panels to a row.

    Parameters
    ----------
    panels
        title, x, y (labels), log (of the y axis), series: name -> (x, lower quartile, median, upper quartile).
    """
    rows = -(-len(panels) // 2)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.0 * rows + 0.5))
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, 2, squeeze=False).ravel()
        shown = {}
        for axes, panel in zip(grid, panels, strict=False):
            for name, points in panel["series"].items():
                x, low, half, high = zip(*points, strict=True)
                (line,) = axes.plot(x, half, label=name, **_look(name))
                if any(a < b for a, b in zip(low, high, strict=True)):
                    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.13, linewidth=0)
                shown.setdefault(name, line)
            axes.set_xticks(sorted({point[0] for points in panel["series"].values() for point in points}))
            axes.set_title(panel["title"])
            axes.set_xlabel(panel["x"])
            axes.set_ylabel(panel["y"])
            if panel["log"]:
                axes.set_yscale("log")
            else:
                axes.set_ylim(bottom=0)
        for axes in grid[len(panels) :]:
            axes.axis("off")
        wide = len(shown) if len(shown) <= 8 else -(-len(shown) // 2)
        figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=max(1, wide), frameon=False,
                      fontsize=8.5, columnspacing=1.3)  # fmt: skip
    return Drawing(figure, title)


def ratio_curves(
    series: Mapping[str, Sequence[tuple[float, float]]],
    printed: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
) -> Drawing:
    """Draw percent certified against the radius; printed numbers as marks without a line.

    Parameters
    ----------
    series, printed
        Name -> (epsilon, percent).
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.8))
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for name, points in series.items():
            axes.plot(*zip(*points, strict=True), label=name, **_look(name.split(", paper")[0].split(", images")[0]))
        for (name, points), marker in zip(printed.items(), "PX*", strict=False):
            axes.plot(*zip(*points, strict=True), linestyle="none", marker=marker, color=INK, markersize=6,
                      markerfacecolor="none", label=name)  # fmt: skip
        axes.set_xlabel("radius epsilon, L-infinity")
        axes.set_ylabel("percent certified")
        axes.set_ylim(0, 101)
        axes.legend(frameon=False, fontsize=8.5)
    return Drawing(figure, title)


def pair_matrices(matrices: Mapping[str, np.ndarray], title: str) -> Drawing:
    """Draw symmetric (K, K) matrices of constants of pairs side by side; a pair without a number stays white."""
    with rc_context(STYLE):
        figure = Figure(figsize=(4.6 * len(matrices), 4.4))
        FigureCanvasAgg(figure)
        grid = figure.subplots(1, len(matrices), squeeze=False).ravel()
        for axes, (name, L) in zip(grid, matrices.items(), strict=True):
            shown = np.where(np.eye(len(L), dtype=bool), np.nan, L)
            low, high = (np.nanmin(shown), np.nanmax(shown)) if np.isfinite(shown).any() else (0, 1)
            axes.imshow(shown, cmap="Blues", vmin=low - 0.5 * (high - low), vmax=high + 0.5 * (high - low))
            for i, j in np.argwhere(np.isfinite(shown)):
                axes.text(j, i, f"{shown[i, j]:#.3g}", ha="center", va="center", fontsize=6.5)
            axes.set_xticks(range(len(L)))
            axes.set_yticks(range(len(L)))
            axes.set_title(name)
            axes.set_xlabel("label")
        grid[0].set_ylabel("label")
    return Drawing(figure, title)
