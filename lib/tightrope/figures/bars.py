"""Bars: shares of images, sizes of problems, bounds of the robust error, gaps of radii; and bounds of one number."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.patches import Patch

from tightrope.figures.drawing import ATTACKED, CERTIFIED, INK, MUTED, UNDECIDED, Drawing, canvas, legend
from tightrope.outward import outward

RELAXED, GREEDY_ONLY = "#7fa3c7", "#bcd0e4"  # between certified and undecided: certified by LP-ALL, by LP-GREEDY


def stacked_ratios(bars: Sequence[tuple], title: str, together: int = 1) -> Drawing:
    """Draw one bar per setting: certified, undecided, attacked.

    Bars are (label, certified, attacked, images, printed certified %, printed not attacked %), the last two or None;
    `together` of them that follow each other stand closer together.
    """
    with canvas(7.2, 0.44 * len(bars) + 1.4) as figure:
        axes = figure.add_subplot()
        heights = -np.arange(len(bars)) - 0.4 * (np.arange(len(bars)) // together) * (together > 1)
        line = dict(color=INK, linewidth=1.2, clip_on=False, zorder=5)
        for y, (_, certified, attacked, images, robust, unattacked) in zip(heights, bars, strict=True):
            left = 0.0
            undecided = images - certified - attacked
            for count, colour in ((certified, CERTIFIED), (undecided, UNDECIDED), (attacked, ATTACKED)):
                width = 100 * count / images
                axes.barh(y, width, left=left, height=0.66, color=colour, edgecolor="white", linewidth=0.8)
                if width >= 6:
                    dark = colour == CERTIFIED
                    axes.text(
                        left + width / 2,
                        y,
                        f"{width:.0f}",
                        ha="center",
                        va="center",
                        fontsize=8.5,
                        color="white" if dark else INK,
                    )
                left += width
            for printed, marker, side in ((robust, "v", 0.40), (unattacked, "^", -0.40)):
                if printed is not None:  # a line through the bar, with a mark that says which column it is
                    axes.plot([printed, printed], [y - 0.36, y + 0.36], color="white", linewidth=3, zorder=4)
                    axes.plot([printed, printed], [y - 0.36, y + 0.36], **line)
                    axes.plot(printed, y + side, marker, markersize=6, **line)
        axes.set_yticks(heights, [bar[0] for bar in bars])
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, 100)
        axes.set_ylim(heights[-1] - 0.6, 0.6)
        axes.set_xlabel("percent of the images")
        axes.spines["left"].set_visible(False)
        kinds = (("certified", CERTIFIED), ("undecided", UNDECIDED), ("attacked", ATTACKED))
        handles = [Patch(color=colour, label=name) for name, colour in kinds]
        for place, marker, label in ((4, "v", "printed: certified"), (5, "^", "printed: not attacked")):
            if any(bar[place] is not None for bar in bars):
                handles += axes.plot([], [], marker, color=INK, markersize=6, label=label)
        legend(figure, handles, 5, handlelength=1.0, columnspacing=1.4)
    return Drawing(figure, title)


def error_bars(bars: Sequence[tuple], title: str) -> Drawing:
    """Draw one bar per line of Table 1: what is known of the images, from wrong labels to LP-GREEDY's certificates.

    Bars are (label, test error, PGD, exact lower, exact upper, LP-ALL, LP-GREEDY), in percent of the images.
    """
    parts = [
        ("wrong label", INK),
        ("attacked by PGD", ATTACKED),
        ("attacked by others", "#f0c29a"),
        ("open", UNDECIDED),
        ("certified exactly", CERTIFIED),
        ("by LP-ALL too", RELAXED),
        ("by LP-GREEDY too", GREEDY_ONLY),
    ]
    with canvas(7.2, 0.36 * len(bars) + 1.2) as figure:
        axes = figure.add_subplot()
        heights = -np.arange(len(bars))
        for y, (_, *ends) in zip(heights, bars, strict=True):
            left = 0.0
            for (_, colour), end in zip(parts, (*ends, 100.0), strict=True):
                axes.barh(y, end - left, left=left, height=0.7, color=colour, edgecolor="white", linewidth=0.5)
                left = end
        axes.set_yticks(heights, [bar[0] for bar in bars])
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, 100)
        axes.set_xlabel("percent of the images of the exact verifier, the first test images")
        axes.spines["left"].set_visible(False)
        legend(figure, [Patch(color=colour, label=name) for name, colour in parts], 4, fontsize=8)
    return Drawing(figure, title)


def gap_bars(gaps: Sequence[tuple], title: str) -> Drawing:
    """Draw median gaps with intervals: (network, method, median, low, high, images), in percent."""
    networks = list(dict.fromkeys(gap[0] for gap in gaps))
    methods = list(dict.fromkeys(gap[1] for gap in gaps))
    colours = dict(zip(("lp-greedy", "lp-last", "lp-all"), (ATTACKED, RELAXED, CERTIFIED), strict=True))
    with canvas(7.2, 3.4) as figure:
        axes = figure.add_subplot()
        for network, method, middle, low, high, _ in gaps:
            x = networks.index(network) + 0.26 * (methods.index(method) - (len(methods) - 1) / 2)
            axes.bar(x, middle, width=0.24, color=colours[method])
            axes.plot([x, x], [low, high], color=INK, linewidth=1)
        for level, name in ((100 / 3, "1.5×"), (80, "5×")):  # 100 (1 - 1 / ratio)
            if level < 1.1 * axes.get_ylim()[1]:
                axes.axhline(level, color=MUTED, linewidth=0.8, linestyle="--")
                axes.text(1.01, level, name, va="center", ha="left", color=MUTED, transform=axes.get_yaxis_transform())
        axes.set_xlim(-1, len(networks) - 0.4)
        names = [network.split("/")[-1] for network in networks]
        turned = dict(rotation=30, ha="right") if len(names) > 4 else dict(rotation=0, ha="center")
        axes.set_xticks(range(len(networks)), names, **turned)
        axes.set_ylabel("median gap to PGD, %")
        legend(figure, [Patch(color=colours[method], label=method.upper()) for method in methods], 3, fontsize=9)
    return Drawing(figure, title)


def problem_sizes(bars: Sequence[tuple[str, int, int, int, int]]) -> Drawing:
    """Draw the sizes of some models on a logarithmic axis.

    Bars are (model, rows of the PSD matrix as printed, rows here, rows that are factored densely, rows of the Schur
    complement).
    """
    kinds = (
        ("PSD matrix, printed formula", UNDECIDED),
        ("PSD matrix", MUTED),
        ("of it, factored densely", CERTIFIED),
        ("Schur complement", ATTACKED),
    )
    with canvas(8.4, 0.95 * max(1, len(bars)) + 1.1) as figure:
        axes = figure.add_subplot()
        for place, (_, *counts) in enumerate(bars):
            for part, (count, (_, colour)) in enumerate(zip(counts, kinds, strict=True)):
                y = place + 0.2 * (part - 1.5)
                axes.barh(y, count, height=0.18, color=colour)
                axes.annotate(f"{count}", (count, y), (4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_xscale("log")
        axes.set_xlim(1, 3 * max((max(counts) for _, *counts in bars), default=10))
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.set_yticks(range(len(bars)), [name for name, *_ in bars])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("rows")
        legend(figure, [Patch(color=colour, label=name) for name, colour in kinds], 4, fontsize=8)
    return Drawing(figure, "sizes of the models")


def bounds(groups: Mapping[str, Sequence[tuple[str, str, float]]], title: str) -> Drawing:
    """Draw bounds of one number in each group, side by side; on logarithmic axes where they are far apart.

    Groups are title -> (name, "upper", "lower" or another word for a number that bounds nothing, value).
    """
    marks = {"upper": ("v", CERTIFIED), "lower": ("^", ATTACKED)}
    names = list(dict.fromkeys(name for group in groups.values() for name, _, _ in group))
    with canvas(9.0, 0.34 * len(names) + 1.2) as figure:
        panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
        for axes, (heading, group) in zip(panels, groups.items(), strict=True):
            proven = {side: [value for _, s, value in group if s == side] for side in marks}
            if proven["lower"] and proven["upper"]:  # the constant lies here
                axes.axvspan(max(proven["lower"]), min(proven["upper"]), color=UNDECIDED, alpha=0.6, linewidth=0)
            for name, side, value in group:
                y = -names.index(name)
                marker, colour = marks.get(side, ("x", MUTED))
                axes.plot(value, y, marker, color=colour, markersize=7)
                beside = dict(textcoords="offset points", va="center", fontsize=8)
                axes.annotate(outward(side)(value), (value, y), (7, 0), **beside)
            values = [value for _, _, value in group]
            if max(values) > 4 * min(values):
                axes.set_xscale("log")
                axes.set_xlim(0.85 * min(values), 2.2 * max(values))
            else:
                axes.set_xlim(0, 1.25 * max(values))
            axes.set_ylim(-len(names) + 0.4, 0.6)
            axes.minorticks_off()
            axes.set_title(heading)
            axes.grid(axis="y", color=UNDECIDED, linewidth=0.6)
        panels[0].set_yticks(-np.arange(len(names)), names)
        for axes in panels:
            axes.tick_params(axis="y", length=0)
    return Drawing(figure, title)
