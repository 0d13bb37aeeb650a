"""Bars: shares of images, sizes of problems, bounds of the robust error, gaps of radii; and bounds of one number."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tightrope.figures.drawing import ATTACKED, CERTIFIED, INK, MUTED, UNDECIDED, Drawing, canvas, legend, plain_log
from tightrope.outward import at_least, at_most, outward

RELAXED, GREEDY_ONLY = "#7fa3c7", "#bcd0e4"  # between certified and undecided: certified by LP-ALL, by LP-GREEDY
Parts = Sequence[tuple[str, str]]  # names and colours


def _name_bars(axes: Axes, places: Iterable, names: Iterable[str], label: str, **text: object) -> None:
    """Name the bars at the left, without ticks, and say below what their lengths are."""
    axes.set_yticks(list(places), list(names), **text)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label)


def _patches(parts: Parts) -> list:
    return [Patch(color=colour, label=name) for name, colour in parts]


def stacked_ratios(bars: Sequence[tuple], title: str, together: int = 1) -> Drawing:
    """Draw one bar per setting: certified, undecided, attacked.

    Bars are (label, certified, attacked, images, printed certified %, printed not attacked %), the last two or None;
    `together` of them that follow each other stand closer together.
    """
    parts = [("certified", CERTIFIED), ("undecided", UNDECIDED), ("attacked", ATTACKED)]
    with canvas(7.2, 0.44 * len(bars) + 1.4) as figure:
        axes = figure.add_subplot()
        heights = -np.arange(len(bars)) - 0.4 * (np.arange(len(bars)) // together) * (together > 1)
        line = dict(color=INK, linewidth=1.2, clip_on=False, zorder=5)
        for y, (_, certified, attacked, images, robust, unattacked) in zip(heights, bars, strict=True):
            left = 0.0
            for count, (_, colour) in zip((certified, images - certified - attacked, attacked), parts, strict=True):
                width = 100 * count / images
                axes.barh(y, width, left=left, height=0.66, color=colour, edgecolor="white", linewidth=0.8)
                marks = (p for p in (robust, unattacked) if p is not None)
                if width >= 1 and all(abs(mark - left - width / 2) > 0.8 for mark in marks):
                    ink = "white" if colour == CERTIFIED else INK
                    beside = dict(ha="center", va="center", fontsize=8.5 if width >= 4 else 6.5, color=ink)
                    axes.text(left + width / 2, y, f"{width:.0f}", **beside)
                left += width
            for printed, marker, side in ((robust, "v", 0.40), (unattacked, "^", -0.40)):
                if printed is not None:  # a line through the bar, with a mark that says which column it is
                    axes.plot([printed, printed], [y - 0.36, y + 0.36], color="white", linewidth=3, zorder=4)
                    axes.plot([printed, printed], [y - 0.36, y + 0.36], **line)
                    axes.plot(printed, y + side, marker, markersize=6, **line)
        _name_bars(axes, heights, [bar[0] for bar in bars], "percent of the images")
        axes.set(xlim=(0, 100), ylim=(heights[-1] - 0.6, 0.6))
        axes.spines["left"].set_visible(False)
        handles = _patches(parts)
        for place, marker, label in ((4, "v", "printed: certified"), (5, "^", "printed: not attacked")):
            if any(bar[place] is not None for bar in bars):
                handles += axes.plot([], [], marker, color=INK, markersize=6, label=label)
        legend(figure, handles, 5, handlelength=1.0, columnspacing=1.4)
    return Drawing(figure, title)


def _shares(axes: Axes, bars: Mapping[str, Sequence[float]], parts: Parts, label: str, edge: float) -> None:
    """Draw bars from 0 to 100 percent, name -> the ends of all parts but the last; edges between them are white."""
    for y, ends in enumerate(bars.values()):
        for (_, colour), (left, end) in zip(parts, pairwise((0.0, *ends, 100.0)), strict=True):
            axes.barh(-y, end - left, left=left, height=0.7, color=colour, edgecolor="white", linewidth=edge)
    _name_bars(axes, -np.arange(len(bars)), bars, label)
    axes.set_xlim(0, 100)
    axes.spines["left"].set_visible(False)


def error_bars(bars: Sequence[tuple], title: str, printed: Mapping[str, tuple[float, float]]) -> Drawing:
    """Draw one bar per line of Table 1: what is known of the images, from wrong labels to LP-GREEDY's certificates.

    Bars are (label, test error, PGD, exact lower, exact upper, LP-ALL, LP-GREEDY), in percent of the images; printed
    are a label's lower and upper bound of the mixed-integer program.
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
    with canvas(7.2, 0.42 * len(bars) + 1.4) as figure:
        axes = figure.add_subplot()
        label = "percent of the images of the exact verifier, the first test images"
        _shares(axes, {name: ends for name, *ends in bars}, parts, label, 0.5)
        handles = _patches(parts)
        for end, (marker, side) in enumerate((("^", -0.45), ("v", 0.45))):
            marks = [(printed[name][end], side - y) for y, (name, *_) in enumerate(bars) if name in printed]
            if marks:
                of = ("at least", "at most")[end]
                look = dict(color=INK, markersize=4, linestyle="", clip_on=False, label=f"printed: {of}")
                handles += axes.plot(*np.array(marks).T, marker, **look)
        legend(figure, handles, 4, fontsize=8)
    return Drawing(figure, title)


def barrier_bars(bars: Sequence[tuple], title: str) -> Drawing:
    """Draw one bar per line of Table 1: which relaxation certifies how much, with LP-ALL's limit as a thick line.

    Bars are (label, note at the right end, attacked, then what is not certified by the exact verifier, 1+cuts, order 1,
    LP-ALL, LP-LAST, LP-GREEDY), in percent of the images.
    """
    parts = [
        ("attacked", ATTACKED),
        ("open", UNDECIDED),
        ("certified by branch and bound", "#0d2b46"),
        ("by 1+cuts", CERTIFIED),
        ("by order 1", "#3f7cb0"),
        ("by LP-ALL too", RELAXED),
        ("by LP-LAST too", "#a3bfdb"),
        ("by LP-GREEDY too", GREEDY_ONLY),
    ]
    with canvas(7.6, 0.4 * len(bars) + 1.5) as figure:
        axes = figure.add_subplot()
        label = "percent of the first test images; right: how many, and seconds of order 1 for an open one"
        _shares(axes, {name: ends for name, _, *ends in bars}, parts, label, 0.4)
        for y, (_, note, *own) in enumerate(bars):
            axes.plot([own[4], own[4]], [-y - 0.45, -y + 0.45], color=INK, linewidth=2.2, zorder=5, clip_on=False)
            axes.text(101, -y, note, va="center", ha="left", color=MUTED, fontsize=8)
        barrier = axes.plot([], [], color=INK, linewidth=2.2, label="the barrier: LP-ALL")
        legend(figure, [*_patches(parts), *barrier], 3, fontsize=8)
    return Drawing(figure, title)


def gap_bars(gaps: Sequence[tuple], title: str) -> Drawing:
    """Draw median gaps with intervals: (network, method, median, low, high, images), in percent."""
    families: dict[str, dict[str, None]] = {}  # by training, with a little space between
    for network, *_ in gaps:
        families.setdefault(network.split("-")[0].split(" ")[0], {})[network] = None
    methods = list(dict.fromkeys(gap[1] for gap in gaps))
    colours = {"lp-greedy": ATTACKED, "lp-last": RELAXED, "lp-all": CERTIFIED}
    places, place = {}, 0.0
    for networks in families.values():
        places |= {network: place + number for number, network in enumerate(networks)}
        place += len(networks) + 0.6
    with canvas(7.2, 0.3 * place + 1.2) as figure:
        axes = figure.add_subplot()
        for network, method, middle, low, high, _ in gaps:
            y = places[network] + 0.27 * (methods.index(method) - (len(methods) - 1) / 2)
            axes.barh(y, middle, height=0.25, color=colours[method])
            axes.plot([low, high], [y, y], color=INK, linewidth=0.9)
        for ratio, name in {1.5: "PGD needs 1.5 times\nthe certified radius", 5.0: "5 times"}.items():
            level = 100 * (1 - 1 / ratio)
            axes.axvline(level, color=MUTED, linewidth=0.8, linestyle="--")
            axes.text(level, -1, name, va="bottom", ha="center", color=MUTED, fontsize=8)
        axes.set(xlim=(0, 100), ylim=(place - 0.8, -0.9))
        names = (network.split("/")[-1] for network in places)
        _name_bars(axes, places.values(), names, "median gap to PGD, percent of PGD's radius", fontsize=8)
        interval = Line2D([], [], color=INK, linewidth=0.9, label="95 % bootstrap interval")
        legend(figure, [*_patches([(method.upper(), colours[method]) for method in methods]), interval], 4)
    return Drawing(figure, title)


def problem_sizes(bars: Sequence[tuple[str, int, int, int, int]]) -> Drawing:
    """Draw the sizes of some models on a logarithmic axis.

    Bars are (model, rows of the PSD matrix as printed, rows here, rows that are factored densely, rows of the Schur
    complement).
    """
    parts = [
        ("PSD matrix, printed formula", UNDECIDED),
        ("PSD matrix", MUTED),
        ("of it, factored densely", CERTIFIED),
        ("Schur complement", ATTACKED),
    ]
    with canvas(8.4, 0.95 * max(1, len(bars)) + 1.1) as figure:
        axes = figure.add_subplot()
        for place, (_, *counts) in enumerate(bars):
            for part, (count, (_, colour)) in enumerate(zip(counts, parts, strict=True)):
                y = place + 0.2 * (part - 1.5)
                axes.barh(y, count, height=0.18, color=colour)
                axes.annotate(f"{count}", (count, y), (4, 0), textcoords="offset points", va="center", fontsize=8)
        largest = max((max(counts) for _, *counts in bars), default=10)
        axes.set(xscale="log", xlim=(1, 3 * largest), ylim=(len(bars) - 0.5, -0.5))
        _name_bars(axes, range(len(bars)), [name for name, *_ in bars], "rows")
        legend(figure, _patches(parts), 4, fontsize=8)
    return Drawing(figure, "sizes of the models")


def between(groups: Mapping[str, Sequence[tuple[str, str, float]]]) -> str:
    """Say between which bounds the number of each group of :func:`bounds` lies; empty where a side is missing."""
    said = []
    for heading, group in groups.items():
        ends = {side: [value for _, s, value in group if s == side] for side in ("lower", "upper")}
        if ends["lower"] and ends["upper"]:
            said.append(f"between {at_least(max(ends['lower']))} and {at_most(min(ends['upper']))} ({heading})")
    return ", ".join(said)


def bounds(
    groups: Mapping[str, Sequence[tuple[str, str, float]]],
    title: str,
    printed: Mapping[str, Sequence[tuple[str, float]]] | None = None,
) -> Drawing:
    """Draw bounds of one number in each group, side by side; on logarithmic axes where they are far apart.

    Groups are title -> (name, "upper", "lower" or another word for a number that bounds nothing, value); printed
    numbers, title -> (name, value), stand in the line of their name.
    """
    marks = {"upper": ("v", CERTIFIED), "lower": ("^", ATTACKED)}
    printed = printed or {}
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
                near = (p for n, p in printed.get(heading, ()) if n == name)
                left = any(value < p < 1.25 * value for p in near)  # where the printed number's mark is in the way
                beside = dict(textcoords="offset points", va="bottom", ha="right" if left else "left", fontsize=7.5)
                axes.annotate(outward(side)(value), (value, y), (-6 if left else 6, 2), **beside)
            for name, value in printed.get(heading, ()):
                axes.plot(value, -names.index(name), "s", color=INK, markerfacecolor="none", markersize=8)
            values = [value for *_, value in (*group, *printed.get(heading, ()))]
            if max(values) > 4 * min(values):
                axes.set(xscale="log", xlim=(0.85 * min(values), 2.2 * max(values)))
                plain_log(axes.xaxis)
            else:
                axes.set_xlim(0, 1.25 * max(values))
            axes.minorticks_off()
            axes.set(ylim=(-len(names) + 0.4, 0.6), title=heading)
            axes.grid(axis="y", color=UNDECIDED, linewidth=0.6)
            _name_bars(axes, -np.arange(len(names)), names, "Lipschitz constant")
        sides = {side for group in groups.values() for _, side, _ in group}
        looks = {
            "proven: at most": ("v", dict(color=CERTIFIED), "upper" in sides),
            "attained: at least": ("^", dict(color=ATTACKED), "lower" in sides),
            "proves nothing": ("x", dict(color=MUTED), bool(sides - set(marks))),
            "printed": ("s", dict(color=INK, markerfacecolor="none"), any(printed.values())),
        }
        used = {name: (marker, look) for name, (marker, look, there) in looks.items() if there}
        handles = [Line2D([], [], marker=m, linestyle="", label=name, **look) for name, (m, look) in used.items()]
        handles += [Patch(color=UNDECIDED, alpha=0.6, label="the constant is here")] * set(marks).issubset(sides)
        legend(figure, handles, len(handles), columnspacing=1.4)
    return Drawing(figure, title)
