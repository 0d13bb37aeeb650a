"""Curves and points: bounds against sparsity, radius or steps, one look for each method and relaxation."""

from collections.abc import Mapping, Sequence

import numpy as np

from tightrope.figures import drawing
from tightrope.figures.drawing import ATTACKED, CERTIFIED, INK, MUTED, UNDECIDED, Curves, Drawing, Labels, Named, Points
from tightrope.outward import at_least, at_most

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
    "not falsified": ("#e08a3c", "-"),
    "exact": (INK, "-"),
    "1+cuts": ("#c9a0dc", "--"),
    "1+bounds": ("#2a9d8f", (0, (3, 3))),
    "order 1": ("#4a90d9", ":"),
    "zonotope": ("#2e8b57", "-."),
    "interval": ("#6b7280", (0, (1, 1))),
}
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

#: Printed numbers, beside the marks of ours.
HOLLOW = {"markerfacecolor": "none", "markersize": 8, "linestyle": "none"}


def _line(name: str) -> dict:
    return dict(zip(("color", "linestyle"), LINES.get(name.split(", ")[0], (INK, "-")), strict=True))


def _colour(name: str) -> str:
    return _line(name)["color"]


def _look(name: str) -> dict:
    colour, marker, style = LOOK.get(name.split(" (")[0], (INK, "+", "-"))  # "LipOpt-3 (1 draw)"
    return dict(color=colour, marker=marker, linestyle=style, markersize=4.5, linewidth=1.3)


def curves(
    panels: Mapping[str, Curves],
    labels: Labels,
    title: str,
    marks: Mapping[str, Sequence[tuple[float, float, float]]] | None = None,
    shared: bool = False,
    columns: int = 3,
    names: str = "above",
) -> Drawing:
    """Draw curves, one for each relaxation, in one panel or several side by side, with one y axis if it is shared.

    Panels are heading -> curves, marks are heading -> (x, value before, value after) of jumps. The names of the curves
    are in one legend "above", or for each panel "below" it or at the "ends" of its curves. A curve that stands for
    several has the look of the one that its name begins with.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with drawing.canvas(
        (4.1 if names == "ends" else 3.4) * columns + (1.4 if columns == 1 else 0), 2.7 * rows + 0.4
    ) as figure:
        axes = drawing.grid(figure, len(panels), columns, sharey=shared)
        handles = {}
        for ax, (heading, lines) in zip(axes, panels.items(), strict=True):
            for number, (name, (x, y)) in enumerate(lines.items()):
                handles[name] = ax.plot(x, y, linewidth=drawing.over(number, len(lines)), **_line(name))[0]
            for x, before, after in (marks or {}).get(heading, ()):
                handles["jump"] = ax.plot([x, x], [before, after], "o:", color=INK, markersize=2.5, linewidth=0.7)[0]
            ax.set(title=heading, xlabel=labels[0])
            ax.locator_params(axis="x", nbins=5)  # long numbers do not run into each other
            if names == "below":
                shown_here = zip(*((handles[name], name) for name in lines), strict=True)
                ax.legend(
                    *shown_here, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False, fontsize=7.5
                )
            elif names == "ends" and len(lines) > 1:
                drawing.name_ends(ax, {name: (x[-1], y[-1]) for name, (x, y) in lines.items()})
        for ax in axes[::columns]:
            ax.set_ylabel(labels[1])
        shown = {name: line for name, line in handles.items() if name == "jump" or names == "above"}
        if shown:
            most = {1: 3, 2: 4}.get(columns, 7)
            drawing.legend(figure, shown, -(-len(shown) // -(-len(shown) // most)))
    return Drawing(figure, title)


def sweeps(panels: Sequence[Mapping], title: str) -> Drawing:
    """Draw medians with a band between the quartiles, two panels to a row, each named at its end.

    Panels have title, x, y (labels), log (of the y axis), series: name -> (x, lower quartile, median, upper quartile),
    and may have printed: name -> (x, value).
    """
    with drawing.canvas(9.0, 3.1 * -(-len(panels) // 2) + 0.5) as figure:
        figure.get_layout_engine().set(hspace=0.08)
        for axes, panel in zip(drawing.grid(figure, len(panels), 2), panels, strict=True):
            band = False
            for number, (name, points) in enumerate(panel["series"].items()):
                x, low, half, high = zip(*points, strict=True)
                wide = {"linewidth": drawing.over(number, len(panel["series"]))}
                (line,) = axes.plot(x, half, label=name, **_look(name) | wide)
                if any(a < b for a, b in zip(low, high, strict=True)):
                    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.13, linewidth=0)
                    band = True
            axes.set_xticks(sorted({point[0] for points in panel["series"].values() for point in points}))
            for name, marks in panel.get("printed", {}).items():
                axes.plot(*zip(*marks, strict=True), **_look(name) | HOLLOW)
            about = " (band: quartiles of the draws)" if band else ""
            axes.set(title=panel["title"], xlabel=panel["x"] + about, ylabel=panel["y"])
            if panel["log"]:
                axes.set_yscale("log")
                drawing.plain_log(axes.yaxis)
            else:
                axes.set_ylim(bottom=0)
            drawing.name_ends(axes, {name: (own[-1][0], own[-1][2]) for name, own in panel["series"].items()})
        if any(panel.get("printed") for panel in panels):
            mark = axes.plot(
                [], [], marker="s", color=MUTED, label="hollow: printed, of the paper's own draws", **HOLLOW
            )
            drawing.legend(figure, mark, 1)
    return Drawing(figure, title)


def ratio_curves(
    series: Mapping[str, Points], printed: Mapping[str, Points], title: str, pixels: bool = False
) -> Drawing:
    """Draw percent certified against the radius, name -> (epsilon, percent); printed numbers as marks alone."""
    with drawing.canvas(6.4, 3.8) as figure:
        axes = figure.add_subplot()
        for number, (name, points) in enumerate(series.items()):
            method = max((known for known in LOOK if name.startswith(known)), key=len, default=name)
            more = {"linewidth": drawing.over(number, len(series)), "markersize": 4 + 1.2 * (len(series) - number)}
            more |= {"linestyle": "--"} if name.endswith(", box") else {}
            axes.plot(*zip(*points, strict=True), label=name, markerfacecolor="none", **_look(method) | more)
        for (name, points), marker in zip(printed.items(), "PX*", strict=False):
            hollow = dict(color=INK, markersize=6, markerfacecolor="none")
            axes.plot(*zip(*points, strict=True), linestyle="none", marker=marker, label=name, **hollow)
        least = min(percent for points in (*series.values(), *printed.values()) for _, percent in points)
        bottom = 10 * ((least - 5) // 10) if least > 20 else -3
        axes.set_xlabel("radius epsilon, L-infinity" + (", pixels in [0, 1]" if pixels else ""))
        axes.set_ylabel("percent certified" + (f" (axis from {bottom:.0f})" if bottom > 0 else ""))
        axes.set_ylim(bottom, 103)
        drawing.legend(figure, dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True)), 2)
    return Drawing(figure, title)


def spreads(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    label: str,
    title: str,
    printed: Mapping[str, Mapping[str, float]] | None = None,
) -> Drawing:
    """Draw one point for each seed and a bar at their mean, a column for each training, a panel for each network.

    Printed numbers are panel -> training -> value.
    """
    widths = [len(part) for part in panels.values()]
    with drawing.canvas(min(13.0, 0.75 * sum(width + 1 for width in widths) + 0.6), 3.3) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths, sharey=True)[0]
        for ax, (heading, columns) in zip(axes, panels.items(), strict=True):
            for at, (name, values) in enumerate(columns.items()):
                colour = _colour(name)
                beside = at + 0.12 * np.linspace(-1, 1, len(values)) if len(values) > 1 else [at]
                ax.plot(beside, values, "o", color=colour, markersize=5, alpha=0.8)
                ax.plot([at - 0.3, at + 0.3], [np.mean(values)] * 2, color=colour, linewidth=2)
                if (known := (printed or {}).get(heading, {}).get(name)) is not None:
                    ax.plot(at, known, "s", color=INK, **HOLLOW)
            ax.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
            ax.set(xlim=(-0.6, len(columns) - 0.4), title=heading)
            ax.grid(axis="y", color=UNDECIDED, linewidth=0.6)
        axes[0].set_ylabel(label)
        handles = [
            *axes[0].plot([], [], "o", color=MUTED, markersize=5, label="one seed"),
            *axes[0].plot([], [], color=MUTED, linewidth=2, label="their mean"),
        ]
        if printed:
            handles += axes[0].plot([], [], "s", color=INK, label="printed", **HOLLOW)
        drawing.legend(figure, handles, 3)
    return Drawing(figure, title)


def ascents(landscapes: Curves, paths: Curves, jumps: Sequence[tuple[float, float, float]], title: str) -> Drawing:
    """Draw bounds along a shift of the weights and the steps of gradient ascent on them.

    Both are of relaxations, over the shifts; a path has the start first. Jumps are (shift, value before, after).
    """
    with drawing.canvas(6.4, 3.6) as figure:
        ax = figure.add_subplot()
        for name, (x, y) in landscapes.items():
            ax.plot(x, y, linewidth=1.4, label=name, **_line(name))
        for name, (x, y) in paths.items():
            colour = _colour(name)
            ax.plot(x, y, "o", color=colour, markersize=3.5, alpha=0.55)
            ax.plot(x[-1:], y[-1:], "*", color=colour, markeredgecolor=INK, markeredgewidth=0.6, markersize=13)
            ax.plot(x[:1], y[:1], "o", color="none", markeredgecolor=INK, markersize=10)
        for x, before, after in jumps:
            ax.plot([x, x], [before, after], "o:", color=INK, markersize=2.5, linewidth=0.7)
        ax.set(xlabel=r"shift $\delta$ of the first layer's weights", ylabel="lower bound of one output")
        handles, hollow = ax.get_legend_handles_labels()[0], dict(color="none", markeredgecolor=INK)
        handles += ax.plot([], [], "o", color=MUTED, markersize=3.5, label="step")
        handles += ax.plot([], [], "o", markersize=10, label="start", **hollow)
        handles += ax.plot([], [], "*", markersize=13, label="end", **hollow)
        handles += ax.plot([], [], "o:", color=INK, markersize=2.5, linewidth=0.7, label="jump") if jumps else []
        drawing.legend(figure, handles, len(handles))
    return Drawing(figure, title)


def pairs(points: Named, labels: Labels, title: str, printed: Named = ()) -> Drawing:
    """Draw one point for each relaxation with its name, tightness against result; printed ones hollow."""
    with drawing.canvas(4.8, 3.2) as figure:
        ax = figure.add_subplot()
        wide, high = (np.ptp([point[i] for point in points] or [0.0]) for i in (1, 2))
        for name, x, y in printed:
            ax.plot(x, y, "s", color=_colour(name), markerfacecolor="none", markersize=7)
        if printed:
            ax.plot([], [], "o", color=MUTED, label="ours")
            ax.plot([], [], "s", color=MUTED, markerfacecolor="none", label="printed")
            ax.legend(frameon=False)
        for name, x, y in points:
            ax.plot(x, y, "o", color=_colour(name), markersize=7)
            # Below the point where the name would run into the next one.
            crowded = any(0 < a - x < 0.25 * wide and abs(b - y) < 0.1 * high for _, a, b in points)
            ax.annotate(name, (x, y), textcoords="offset points", xytext=(7, -13 if crowded else 4))
        ax.margins(0.2)
        ax.set(xlabel=labels[0], ylabel=labels[1])
        ax.grid(color=UNDECIDED, linewidth=0.6)
    return Drawing(figure, title)


def order_axis(bounds: Mapping[str, float], attained: float, plane: Mapping | None = None) -> Drawing:
    """Draw upper bounds of one margin against the order, from loose to tight, above what an attack attains.

    The plane, if any, has axes (x, y) of n points each, and on their grid (n, n) the margin and `inside`, negative in
    the region.
    """
    with drawing.canvas(9.6 if plane else max(6.6, 0.85 * len(bounds)), 3.4) as figure:
        panels = figure.subplots(1, 2, width_ratios=[1, 1.9])[::-1] if plane else [figure.add_subplot()]
        axes = panels[0]
        shown = {order: bound for order, bound in bounds.items() if np.isfinite(bound)}
        places = [list(bounds).index(order) for order in shown]
        axes.plot(places, np.minimum.accumulate(list(shown.values())), color=UNDECIDED, linewidth=1.2, zorder=1)
        for place, bound in zip(places, shown.values(), strict=True):
            axes.plot(place, bound, "v", color=CERTIFIED if bound < 0 else MUTED, markersize=8)
            beside = dict(textcoords="offset points", ha="center", fontsize=8, bbox=dict(fc="white", lw=0, pad=0.6))
            axes.annotate(at_most(bound, 3), (place, bound), (0, 8 if bound >= 0 else -15), **beside)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.axhline(attained, color=ATTACKED, linewidth=1.2, linestyle="--")
        said = f"attained by a point: {at_least(attained, 3)}"
        axes.text(0.01, 0.03, said, color="#a8551a", fontsize=8, transform=axes.transAxes)
        axes.set_yscale("symlog", linthresh=10 ** np.ceil(np.log10(max(0.1, abs(attained)))))
        axes.yaxis.set_major_formatter("{x:g}")
        low, high = axes.get_ylim()
        axes.set_xticks(range(len(bounds)), list(bounds))
        axes.set_xlim(-0.5, max(1, len(bounds)) - 0.5)
        axes.set_ylim(min(low, 2 * min(attained, -0.05)), 2 * max(high, 0.1))
        axes.set(xlabel="order of the relaxation, processor seconds", ylabel="largest $F_k - F_y$, at most")
        axes.set_title("below 0 the label is out of reach; line: best bound so far")
        if plane:
            x, y = plane["axes"]
            axes = panels[1]
            axes.contourf(x, y, plane["margin"], [-np.inf, 0, np.inf], colors=["#dbe6f1", "#f6dcc3"])
            axes.contour(x, y, plane["inside"], [0], colors=[INK], linewidths=1.6)
            axes.set(xlabel="$x_1$", ylabel="$x_2$", title="region; other label in orange", aspect="equal")
    return Drawing(figure, "bounds against the order")
