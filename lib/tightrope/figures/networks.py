"""What is seen of one image and a network: the attack, the outer ellipsoid of the outputs, the certificate."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from tightrope.figures.drawing import ATTACKED, CERTIFIED, INK, MUTED, Drawing, canvas, legend

#: The mark of the image itself, and a legend below its axes.
IMAGE = dict(markerfacecolor="white", markeredgecolor=INK, markersize=5)
BELOW = dict(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1))


def adversarial_example(
    original: np.ndarray, attacked: np.ndarray | None, shape: tuple[int, int], row: Mapping
) -> Drawing:
    """Draw an image, its attack, their difference, and the scores of all labels.

    Both are (p0,) pixels of the shape (height, width); `attacked` is None if no attack succeeded. The row is that of
    Figure 2: label, attack_label, scores, attack_scores, epsilon_pixel, norm.
    """
    with canvas(9.6, 2.9) as figure:
        panels = figure.subplots(1, 5, width_ratios=[1, 1, 1, 0.05, 1.3])
        _image(panels[0], original.reshape(shape), f"original: {row['predicted']}")
        if attacked is None:
            for axes in panels[1:4]:
                axes.axis("off")
            panels[1].text(0.5, 0.5, "no attack found", ha="center", va="center", transform=panels[1].transAxes)
        else:
            _image(panels[1], attacked.reshape(shape), f"attacked: {row['attack_label']}")
            _difference(figure, panels[2], panels[3], (attacked - original).reshape(shape))
        _scores(panels[4], row)
    return Drawing(figure, "original, attacked image, difference and scores")


def outer_ellipses(panels: Sequence[Mapping]) -> Drawing:
    """Draw outer ellipsoids on two labels: boundary, threshold line, sampled outputs and attacks.

    Panels have title, labels (the true one, another), ellipse (count, 2), and points (count, 2), possibly none:
    samples, attacks, published_border, published_attack.
    """
    with canvas(4.3 * len(panels), 5.0) as figure:
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _ellipse(axes, panel)
        y, k = panels[0]["labels"]
        hollow = dict(markerfacecolor="none", markeredgecolor=INK)
        looks = [
            ("-", "outer ellipsoid (proven)", dict(color=CERTIFIED, linewidth=1.6)),
            ("--", f"$F_{k} = F_{y}$", dict(color=INK, linewidth=1)),
            (".", "sampled outputs", dict(color=MUTED, markersize=6)),
            ("x", "attacks, and on the way there", dict(color=ATTACKED, markersize=6, markeredgewidth=1.6)),
        ]
        if any(len(panel["published_border"]) for panel in panels):
            looks.append(("+", "published: border points", dict(color="#2a9d8f", markersize=6)))
            looks.append(("o", "published: attacks", dict(markersize=6, **hollow)))
        handles = [axes.plot([], [], style, label=label, **look)[0] for style, label, look in looks]
        legend(figure, handles, 3, handlelength=1.6, columnspacing=1.6)
    return Drawing(figure, "outer ellipsoids on two labels")


def certificate(
    pixels: np.ndarray,
    attacked: np.ndarray | None,
    shape: tuple[int, int],
    titles: tuple[str, str],
    margins: Sequence[tuple],
    label: int,
    projection: Mapping,
) -> Drawing:
    """Draw an image, its attack, what is known of each margin, and the outputs at two labels.

    The images are (p0,) pixels of the shape (height, width), the second None without an attack, with a title each.
    Margins are (label k, nominal F_k - F_y, largest one found, proven upper bound, verdict or None), the last three or
    None, and y the true label. The projection has names of the two labels; center (2,), cloud (n, 2), attack (2,),
    boundary (m, 2), each or None; true, the axis of the true label or None; note.
    """
    with canvas(9, 4.2, **{"figure.constrained_layout.use": False}) as figure:  # fixed: quick, and nothing jumps
        edges = dict(left=0.01, right=0.99, bottom=0.17, top=0.92, wspace=0.25, hspace=0.2)
        grid = figure.add_gridspec(2, 3, width_ratios=[1, 2.2, 2], **edges)
        places = ((0, 0), (1, 0), np.s_[:, 1], np.s_[:, 2])
        before, after, bars, outputs = (figure.add_subplot(grid[place]) for place in places)
        _image(before, pixels.reshape(shape), titles[0])
        if attacked is None:
            _image(after, np.zeros(shape), "")
            after.text(0.5, 0.5, titles[1], ha="center", va="center", color=MUTED, transform=after.transAxes)
        else:
            _image(after, attacked.reshape(shape), titles[1])
        _margins(bars, margins, label)
        _outputs(outputs, projection)
    return Drawing(figure, "image, attack, margins and outputs")


def _image(axes: Axes, pixels: np.ndarray, title: str, **look: object) -> AxesImage:
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set(visible=True, linewidth=0.6)
    return axes.imshow(pixels, **{"cmap": "gray_r", "vmin": 0, "vmax": 1, "interpolation": "nearest", **look})


def _difference(figure: Figure, axes: Axes, beside: Axes, change: np.ndarray) -> None:
    limit = float(np.abs(change).max()) or 1.0
    shown = _image(axes, change, "change of each pixel", cmap="RdBu_r", vmin=-limit, vmax=limit)
    bar = figure.colorbar(shown, cax=beside, ticks=[-limit, 0, limit])
    bar.ax.set_yticklabels([f"\N{MINUS SIGN}{limit:.2g}", "0", f"{limit:.2g}"], fontsize=8)
    bar.outline.set_visible(False)
    beside.set_box_aspect(20)


def _scores(axes, row: Mapping) -> None:
    labels = np.arange(len(row["scores"]))
    after = row["attack_scores"]
    axes.barh(labels - 0.2, row["scores"], height=0.4, color=CERTIFIED, label="original")
    if after is not None:
        axes.barh(labels + 0.2, after, height=0.4, color=ATTACKED, label="attacked")
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set_yticks(labels, [str(k) for k in labels])
    for tick, k in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if k in (row["label"], row["attack_label"]) else "normal")
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set(ylabel="label", title="score of each label")
    axes.spines["left"].set_visible(False)
    axes.legend(**BELOW, ncols=2)


def _ellipse(axes, panel: Mapping) -> None:
    y, k = panel["labels"]
    ellipse = panel["ellipse"]
    axes.fill(*ellipse.T, facecolor=CERTIFIED, alpha=0.08, zorder=1)
    axes.plot(*ellipse.T, color=CERTIFIED, linewidth=1.6, zorder=2)
    axes.plot(*panel["samples"].T, ".", color=MUTED, markersize=2.5, zorder=3)
    axes.plot(*panel["published_border"].T, "+", color="#2a9d8f", markersize=4, alpha=0.6, zorder=2)
    axes.plot(*panel["published_attack"].T, "o", markerfacecolor="none", markeredgecolor=INK, markersize=5, zorder=6)
    axes.plot(*panel["attacks"].T, "x", color=ATTACKED, markersize=5, markeredgewidth=1.4, zorder=5)
    # One scale on both axes, and the threshold line in sight.
    low, high = ellipse.min(0), ellipse.max(0)
    centre, half = (low + high) / 2, 0.58 * float((high - low).max())
    gap = centre[0] - centre[1]  # how far the centre is below the line
    shift = max(0.0, gap / 2 - 0.8 * half) / 1.8
    half += shift
    axes.set_xlim(centre[0] - shift - half, centre[0] - shift + half)
    axes.set_ylim(centre[1] + shift - half, centre[1] + shift + half)
    ends = np.array([min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])])
    axes.fill_between(ends, ends, ends[1], color=ATTACKED, alpha=0.08, linewidth=0, zorder=0)
    axes.plot(ends, ends, "--", color=INK, linewidth=1, zorder=2)
    axes.set_box_aspect(1)
    axes.set(xlabel=f"score of label {y}, the true one", ylabel=f"score of label {k}", title=panel["title"])


def _margins(axes, margins: Sequence[tuple], label: int) -> None:
    """A bar from the largest margin found to the proven bound: the true maximum is inside."""
    colours = {"certified": CERTIFIED, "falsified": ATTACKED}
    axes.axvline(0, color=INK, linewidth=1)
    for y, (_, nominal, found, bound, verdict) in enumerate(margins):
        colour = colours.get(verdict, "#9aa1ab")
        low = nominal if found is None else found
        if bound is not None:
            axes.barh(y, max(bound - low, 0.0), left=low, height=0.62, color=colour)
            axes.plot([bound, bound], [y - 0.4, y + 0.4], color=colour, linewidth=2.2)
        if found is not None:
            axes.plot(found, y, "x", color=INK if verdict != "falsified" else ATTACKED, markersize=6, markeredgewidth=2)
        axes.plot(nominal, y, "o", **IMAGE)
    axes.set_yticks(range(len(margins)), [str(row[0]) for row in margins])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(margins) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.set(ylabel="label k", title=f"margin $F_k - F_{label}$ over the region")
    axes.spines["left"].set_visible(False)
    handles = [
        *axes.plot([], [], "o", **IMAGE, label="at the image"),
        *axes.plot([], [], "x", color=INK, markersize=6, markeredgewidth=2, label="largest found"),
        *axes.plot([], [], "|", color=INK, markersize=9, markeredgewidth=2.2, label="proven bound"),
    ]
    axes.legend(handles=handles, **BELOW, ncols=3, columnspacing=1.2, handletextpad=0.3)


def _outputs(axes, projection: Mapping) -> None:
    """Outputs at two labels: sampled ones, the ellipse that provably holds all, and where the labels tie."""
    axes.set_title("outputs at two labels")
    if note := projection.get("note"):
        axes.text(0.5, 1.0, note, ha="center", va="top", fontsize=8, color=MUTED, transform=axes.transAxes, wrap=True)
    if projection.get("center") is None:
        axes.axis("off")
        return
    x, y = projection["names"]
    axes.set(xlabel=f"$F$ of {x}", ylabel=f"$F$ of {y}")
    cloud, boundary, found = (projection.get(name) for name in ("cloud", "boundary", "attack"))
    if cloud is not None:
        axes.plot(*cloud.T, ".", color=MUTED, markersize=2.5, zorder=2)
    if boundary is not None:
        axes.fill(*boundary.T, facecolor=CERTIFIED, alpha=0.12, zorder=1)
        axes.plot(*boundary.T, color=CERTIFIED, linewidth=1.6, zorder=3)
    axes.plot(*projection["center"], "o", **IMAGE, zorder=4)
    if found is not None:
        axes.plot(*found, "x", color=ATTACKED, markersize=7, markeredgewidth=2, zorder=4)
    axes.margins(0.12)
    axes.autoscale_view()
    left, right, bottom, top = *axes.get_xlim(), *axes.get_ylim()
    tie = np.array([min(left, bottom), max(right, top)])
    axes.plot(tie, tie, "--", color=INK, linewidth=1)
    if projection.get("true") is not None:  # where the true label does not win
        reach = max(tie[1], top) if projection["true"] == 0 else min(tie[0], bottom)
        axes.fill_between(tie, tie, [reach, reach], color=ATTACKED, alpha=0.1, linewidth=0, zorder=0)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
