"""Drawings of `jovanovic2022-paradox` about training: results of several seeds, paths on landscapes of bounds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context

from tightrope.figures.drawing import INK, STYLE, UNDECIDED, Drawing
from tightrope.figures.paradox import LINES, _figure, _line


def spreads(panels: Mapping[str, Mapping[str, Sequence[float]]], label: str, title: str) -> Drawing:
    """Draw one point for each seed and a bar at their mean, a column for each training, a panel for each network."""
    with rc_context(STYLE):
        figure = _figure(0.75 * sum(len(part) + 1 for part in panels.values()) + 0.6, 3.3)
        widths = [len(part) for part in panels.values()]
        axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
        for ax, (heading, columns) in zip(axes, panels.items(), strict=True):
            for at, (name, values) in enumerate(columns.items()):
                colour = LINES.get(name, (INK, "-"))[0]
                beside = at + 0.12 * np.linspace(-1, 1, len(values)) if len(values) > 1 else [at]
                ax.plot(beside, values, "o", color=colour, markersize=5, alpha=0.8)
                ax.plot([at - 0.3, at + 0.3], [np.mean(values)] * 2, color=colour, linewidth=2)
            ax.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
            ax.set_xlim(-0.6, len(columns) - 0.4)
            ax.set_title(heading)
            ax.grid(axis="y", color=UNDECIDED, linewidth=0.6)
        axes[0].set_ylabel(label)
    return Drawing(figure, title)


def ascents(
    landscapes: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    paths: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
) -> Drawing:
    """Draw bounds along a shift of the weights and the steps of gradient ascent on them.

    Parameters
    ----------
    landscapes
        Relaxation -> (shifts, bounds); nan breaks a curve.
    paths
        Relaxation -> (shifts, bounds) of the steps, the start first.
    """
    with rc_context(STYLE):
        figure = _figure(6.4, 3.6)
        ax = figure.add_subplot()
        for name, (x, y) in landscapes.items():
            ax.plot(x, y, linewidth=1.4, label=name, **_line(name))
        for name, (x, y) in paths.items():
            colour = _line(name)["color"]
            ax.plot(x, y, "o", color=colour, markersize=3.5, alpha=0.55)
            ax.plot(x[:1], y[:1], "o", color="white", markeredgecolor=colour, markersize=7)
            ax.plot(x[-1:], y[-1:], "*", color=colour, markeredgecolor=INK, markeredgewidth=0.6, markersize=13)
        ax.set_xlabel(r"$\delta$")
        ax.set_ylabel("lower bound of one output")
        ax.legend(frameon=False, title="circle: start, star: end")
    return Drawing(figure, title)
