"""Controls of the explorers, and how they say what they found: a headline, lines, a table."""

import html
from collections.abc import Iterable
from typing import Annotated

import ipywidgets as W
from traitlets import Any, HasTraits

from tightrope import paths, zoo
from tightrope.cells import numeric
from tightrope.errors import InputError, UnknownNameError
from tightrope.networks import MonDEQ
from tightrope.regions import parse_norm
from tightrope.workbench.tables import SHORT, Table

NORMS = (("1", "1"), ("2", "2"), ("infinity", "inf"))

_STYLE = {"description_width": "105px"}
_WIDTH = "345px"  # three to a row beside the picture
#: Radii in pixel units: eight to a decade, from what no image notices to what no network withstands.
RADII = tuple(round(m * 10.0**d, 6) for d in (-3, -2, -1, 0) for m in (1, 1.5, 2, 3, 4, 5, 6, 8))


def radius_slider(value: float, description: str = "epsilon (pixel)") -> W.SelectionSlider:
    """A slider over RADII and `value`; it answers when it is let go, as all sliders here do."""
    value = round(float(value), 6)
    options = [(f"{radius:g}", radius) for radius in sorted({*RADII, value})]
    return W.SelectionSlider(options=options, value=value, continuous_update=False, **_look(description))


def number_slider(value: int, largest: int, description: str) -> W.IntSlider:
    """A slider over 0..largest, or to the value if that is larger."""
    if value < 0:
        raise InputError(f"{description}: expected a number from 0 on, got {value}.")
    return W.IntSlider(value, 0, max(largest, value), continuous_update=False, **_look(description))


def real_slider(value: float, least: float, most: float, step: float, description: str) -> W.FloatSlider:
    """A slider over real numbers."""
    ends = {"min": min(least, value), "max": max(most, value), "step": step}
    return W.FloatSlider(value, **ends, continuous_update=False, **_look(description))


def choice(value: object, options: Iterable, description: str) -> W.Dropdown:
    """A drop-down; `options` are values or (text, value) pairs, and the value must be one of them."""
    options = list(options)
    values = [one[1] if isinstance(one, tuple) else one for one in options]
    if value not in values:
        raise UnknownNameError(description, value, values)
    return W.Dropdown(options=options, value=value, **_look(description))


def check(value: bool, description: str) -> W.Checkbox:
    """A check box."""
    return W.Checkbox(value, **_look(description))


def _look(description: str) -> dict:
    return {"description": description, "style": _STYLE, "layout": W.Layout(width=_WIDTH)}


class NetworkControl(HasTraits):
    """A network in two steps: whose it is, a paper's or a data set's (its name begins with that), and which one.

    It has a `value` and `options`, whole names, as one drop-down would; `parts` are the two that are shown.
    """

    value = Any()

    def __init__(self, value: str, names: Iterable[str]):
        self.options = sorted(names)
        if value not in self.options:
            raise UnknownNameError("network", value, self.options)
        families = list(dict.fromkeys(map(_family, self.options)))
        self._family, self._own = choice(_family(value), families, "networks of"), W.Dropdown(**_look("network"))
        self._family.disabled = len(families) == 1
        self._last: dict[str, str] = {}
        self.parts = (self._family, self._own)
        super().__init__(value=value)
        self._show()
        self.observe(lambda change: self._show(), "value")
        self._family.observe(lambda change: self._offer(), "value")
        self._own.observe(lambda change: self._take(), "value")

    def _show(self) -> None:
        """Let both parts say what the value is."""
        self._family.value = _family(self.value)
        self._offer()

    def _take(self) -> None:
        """Take the network that is chosen, unless it is only being offered."""
        if not self._offering:
            self.value = self._own.value

    def _offer(self) -> None:
        """Offer the networks of the family; if the value is of another one, it is the one chosen last, or the first."""
        names = [name for name in self.options if _family(name) == self._family.value]
        chosen = self.value if self.value in names else self._last.get(self._family.value, names[0])
        self._last[self._family.value] = chosen
        self._offering = True
        self._own.options = [(name.partition("/")[2] or name, name) for name in names]  # which chooses the first
        self._own.value, self._own.disabled = chosen, len(names) == 1
        self._offering = False
        self.value = chosen


def _family(name: str) -> str:
    return name.partition("/")[0]


def network_choice(value: str, more: Iterable[str] = ()) -> NetworkControl:
    """The networks whose files are here, `value`, and more."""
    return NetworkControl(value, {*filter(zoo.available, zoo.names()), value, *more})


def mondeq_choice(value: str) -> NetworkControl:
    """The monDEQs among them: the paper's and those of data/models (other papers' networks have layers)."""
    folders = {folder.name for folder in paths.PAPERS.iterdir()} - {"chen2021-mondeq"}
    here = filter(zoo.available, (name for name in zoo.names() if name.split("/")[0] not in folders))
    return NetworkControl(value, {*(n for n in here if isinstance(zoo.get(n).network, MonDEQ)), value})


def norm_choice(value: str, among: Iterable[tuple[str, str]] = NORMS) -> W.Dropdown:
    """Norms by their usual names, and `value`."""
    among, value = list(among), f"{parse_norm(value):g}"
    return choice(value, [*among, *([] if value in dict(among).values() else [(value, value)])], "norm")


def norm_name(norm: object) -> str:
    """What a norm of these is called: "L2", "L-infinity"."""
    return f"L{'-infinity' if norm == 'inf' else norm}"


def clip_check(value: bool) -> W.Checkbox:
    """Whether the ball is cut to the pixel range."""
    return check(value, "clip to pixels in [0, 1]")


#: Parameters of many an explorer, with their controls (:func:`tightrope.explorers.explorer.explores`).
ImageNumber = Annotated[int, lambda value: number_slider(value, 99, "image")]
MonDEQName = Annotated[str, mondeq_choice]
NormName = Annotated[object, norm_choice]
Radius = Annotated[float, radius_slider]
Clip = Annotated[bool, clip_check]


# ------------------------------------------------------------------------------------------------- what is said


#: Behind a verdict, in white; everything else has the colours of the page, light or dark.
OTHER = "#57606a"
_BADGE = "color:#fff;border-radius:4px;padding:1px 8px"


def still_open(answer: object) -> str:
    """The line that says what of an answer is still computed, its `open`; empty when nothing is."""
    left = getattr(answer, "open", "")
    return f"still open: {left}" if left else ""


def page(headline: str, lines: Iterable[str], table: Table, colour: str = "") -> str:
    """A headline, lines of text and a table as HTML; with a colour, a badge of what is before the headline's colon."""
    cells = table.cells()
    sides = ["right" if own else "left" for own in numeric(cells)]

    def row(line: list[str], tag: str) -> str:
        shown = ""
        for cell, side in zip(line, sides, strict=True):
            wrap = "nowrap" if len(cell) <= SHORT else "normal"
            style = f"padding:1px 10px;text-align:{side};white-space:{wrap}"
            shown += f"<{tag} style='{style}'>{html.escape(cell)}</{tag[:2]}>"
        return f"<tr>{shown}</tr>"

    heads, *rows = (row(line, "td" if i else "th scope='col'") for i, line in enumerate(cells))
    text = "".join(f"<div>{html.escape(line)}</div>" for line in lines if line and line != headline)
    word, colon, rest = headline.partition(":") if colour else ("", "", headline)
    badge = f"<span style='background:{colour};{_BADGE}'>{html.escape(word)}</span>" if word else ""
    return (
        f"<div role='status' style='font-weight:bold'>{badge}{colon}{html.escape(rest)}</div>{text}"
        "<table style='border-collapse:collapse;line-height:1.35'>"
        f"<thead>{heads}</thead><tbody>{''.join(rows)}</tbody></table>"
    )
