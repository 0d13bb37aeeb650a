"""Drawings of salman2019-barrier: bounds of the robust error, the map of relaxations, envelopes, gaps of radii."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tightrope.figures.drawing import ATTACKED, CERTIFIED, INK, MUTED, STYLE, UNDECIDED, Drawing

RELAXED, GREEDY_ONLY = "#7fa3c7", "#bcd0e4"  # between certified and undecided: certified by LP-ALL, by LP-GREEDY


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def error_bars(bars: Sequence[tuple], title: str) -> Drawing:
    """Draw one bar per line of Table 1: what is known of the images, from wrong labels to LP-GREEDY's certificates.

    Parameters
    ----------
    bars
        (label, test error, PGD, exact lower, exact upper, LP-ALL, LP-GREEDY), in percent of the images.
    """
    parts = [
        ("wrong label", INK), ("attacked by PGD", ATTACKED), ("attacked by others", "#f0c29a"), ("open", UNDECIDED),
        ("certified exactly", CERTIFIED), ("by LP-ALL too", RELAXED), ("by LP-GREEDY too", GREEDY_ONLY),
    ]  # fmt: skip
    with rc_context(STYLE):
        figure = _figure(7.2, 0.36 * len(bars) + 1.2)
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
        handles = [Patch(color=colour, label=name) for name, colour in parts]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return Drawing(figure, title)


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


def relation_map(arrows: Sequence[tuple[str, str, str, bool]], title: str) -> Drawing:
    """Draw nodes and arrows (tighter, looser, kind, whether it was seen to hold)."""
    with rc_context(STYLE):
        figure = _figure(7.2, 4.3)
        axes = figure.add_subplot()
        for tighter, looser, kind, holds in arrows:
            style = "<->" if kind == "equal" else "-|>"
            colour = ATTACKED if not holds else MUTED if kind == "equal" else CERTIFIED
            axes.annotate("", PLACES[looser], PLACES[tighter], zorder=1,
                          arrowprops=dict(arrowstyle=style, color=colour, shrinkA=15, shrinkB=15, linewidth=1.3,
                                          linestyle="--" if kind == "equal" else "-"))  # fmt: skip
        for name, (x, y) in PLACES.items():
            axes.text(x, y, name.replace(", ", ",\n"), ha="center", va="center", fontsize=8.5, zorder=2,
                      bbox=dict(boxstyle="round,pad=0.3", facecolor="white", edgecolor=INK, linewidth=0.8))  # fmt: skip
        axes.set_xlim(-0.8, 5.1)
        axes.set_ylim(0.2, 4.5)
        axes.axis("off")
        handles = [
            Line2D([], [], color=CERTIFIED, label="never looser (tail) than (head)"),
            Line2D([], [], color=MUTED, linestyle="--", label="equal"),
            Line2D([], [], color=ATTACKED, label="contradicted by a measurement"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return Drawing(figure, title)


def envelope_panels(panels: Sequence[dict], title: str) -> Drawing:
    """Draw activations with their convex hulls: x, value, below, above (arrays), name, lower, upper."""
    columns = 4
    lines = -(-len(panels) // columns)
    with rc_context(STYLE):
        figure = _figure(7.2, 1.9 * lines)
        for number, panel in enumerate(panels):
            axes = figure.add_subplot(lines, columns, number + 1)
            axes.fill_between(panel["x"], panel["below"], panel["above"], color="#bcd0e4", linewidth=0)
            axes.plot(panel["x"], panel["below"], color=CERTIFIED, linewidth=1.2)
            axes.plot(panel["x"], panel["above"], color=CERTIFIED, linewidth=1.2)
            axes.plot(panel["x"], panel["value"], color=ATTACKED, linewidth=1.2)
            axes.set_title(panel["name"])
            axes.set_xticks([panel["x"][0], panel["x"][-1]])
            axes.locator_params(axis="y", nbins=3)
    return Drawing(figure, title)


def gap_bars(gaps: Sequence[tuple], title: str) -> Drawing:
    """Draw median gaps with intervals: (network, method, median, low, high, images), in percent."""
    networks = list(dict.fromkeys(gap[0] for gap in gaps))
    methods = list(dict.fromkeys(gap[1] for gap in gaps))
    colours = dict(zip(("lp-greedy", "lp-last", "lp-all"), (ATTACKED, RELAXED, CERTIFIED), strict=True))
    with rc_context(STYLE):
        figure = _figure(7.2, 3.4)
        axes = figure.add_subplot()
        for network, method, middle, low, high, _ in gaps:
            x = networks.index(network) + 0.26 * (methods.index(method) - (len(methods) - 1) / 2)
            axes.bar(x, middle, width=0.24, color=colours[method])
            axes.plot([x, x], [low, high], color=INK, linewidth=1)
        for level, name in ((50, "1.5×"), (400, "5×")):
            if level < 1.1 * axes.get_ylim()[1]:
                axes.axhline(level, color=MUTED, linewidth=0.8, linestyle="--")
                axes.text(1.01, level, name, va="center", ha="left", color=MUTED, transform=axes.get_yaxis_transform())
        axes.set_xlim(-1, len(networks) - 0.4)
        names = [network.split("/")[-1] for network in networks]
        axes.set_xticks(
            range(len(networks)),
            names,
            rotation=30 if len(names) > 4 else 0,
            ha="right" if len(names) > 4 else "center",
        )
        axes.set_ylabel("median gap to PGD, %")
        handles = [Patch(color=colours[method], label=method.upper()) for method in methods]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return Drawing(figure, title)
