"""The pattern of every explorer: controls, a function from their state to a picture and numbers, nothing else.

Moving a control hands the new state to one worker thread. The thread asks `stages` for answers, shows each as it
comes, and drops what it is doing at the next yield as soon as the state has changed: a slider that is moved five times
costs at most two solves. Finished views are kept, so going back costs nothing.

Only sliders, drop-downs, check boxes, an Image and HTML, joined by `observe`: Output, interact and interactive_output
can leave a kernel that runs without a browser waiting for ever.
"""

import html
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import ipywidgets as W

from tightrope.errors import TightropeError

MISS = object()
#: Seconds between pictures of an answer that is not complete; drawing one takes a few tenths of that.
BETWEEN = 0.6


@dataclass(frozen=True, eq=False)
class View:
    """What an explorer shows for one state: a picture, the same in numbers, and one line of plain text.

    Attributes
    ----------
    png : bytes
    html : str
        Everything that the picture shows, in words and numbers; no times.
    text : str
        The outcome in one line, the same on every machine: it is what a test of the saved notebook compares.
    """

    png: bytes
    html: str
    text: str


@dataclass(frozen=True, eq=False)
class Still:
    """A picture that stays in the saved notebook, where a widget would be gone."""

    png: bytes
    title: str

    def __repr__(self) -> str:
        return f"<picture: {self.title}>"

    def _repr_png_(self) -> bytes:
        return self.png


class Memo:
    """The `size` most recently used results, by key; usable from several threads."""

    def __init__(self, size: int = 64):
        self._size = size
        self._kept: OrderedDict[Hashable, object] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> object:
        """Return what is kept under `key`, or MISS."""
        with self._lock:
            if key not in self._kept:
                return MISS
            self._kept.move_to_end(key)
            return self._kept[key]

    def put(self, key: Hashable, value: object) -> object:
        """Keep `value` and return it."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return value

    def of(self, key: Hashable, compute: Callable[[], object]) -> object:
        """Return what is kept under `key`, computed now if there is nothing."""
        found = self.get(key)
        return self.put(key, compute()) if found is MISS else found


def rounded(state: Mapping[str, object], digits: int = 6) -> tuple:
    """A key for a state: numbers that differ by less than a slider's step are the same."""
    return tuple((name, round(v, digits) if isinstance(v, float) else v) for name, v in sorted(state.items()))


class Explorer:
    """Controls, a picture, numbers and a line that says how long it took.

    Parameters
    ----------
    title
        What is explored.
    controls
        Widgets with a `value`, by the name that `stages` knows them by.
    stages
        State -> answers, each more complete than the one before, the last one complete; None where there is nothing new
        to see but a good place to stop. A :class:`TightropeError` is shown to the reader, as it is written for one.
    render
        Answer -> :class:`View`.
    background
        Whether a moved control is answered by the worker thread (in front of a browser) or before `control.value = ...`
        returns (in tests). The first view is always computed at once, so that a run without a browser has it.
    """

    def __init__(
        self,
        title: str,
        controls: Mapping[str, W.Widget],
        stages: Callable[[dict], Iterable[object]],
        render: Callable[[object], View],
        *,
        background: bool = True,
    ):
        self.title, self.controls = title, dict(controls)
        self._stages, self._render, self._background = stages, render, background
        self._views = Memo(128)
        self._lock = threading.Lock()
        self._pending: dict | None = None
        self._worker: threading.Thread | None = None
        self.view: View | None = None
        self.image = W.Image(format="png", layout=W.Layout(width="1080px", max_width="100%", object_fit="contain"))
        self.html, self.status = W.HTML(), W.HTML()
        rows = W.Layout(display="flex", flex_flow="row wrap", grid_gap="4px 12px")
        self.widget = W.VBox([W.Box(list(self.controls.values()), layout=rows), self.status, self.image, self.html])
        self._answer(self.state)
        for control in self.controls.values():
            control.observe(self._changed, "value")

    @property
    def state(self) -> dict:
        """The values of the controls by name."""
        return {name: control.value for name, control in self.controls.items()}

    @property
    def still(self) -> Still:
        """The picture shown now, to be kept in the saved notebook."""
        return Still(self.view.png, self.title)

    def wait(self, seconds: float = 60.0) -> bool:
        """Wait until every move of a control has been answered; return whether that is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self._lock:
                worker = self._worker
            if worker is None:
                return True
            worker.join(max(0.0, end - time.monotonic()))
        return False

    def __repr__(self) -> str:
        return f"{self.title}: {self.view.text if self.view else 'nothing to show'}"

    def _repr_mimebundle_(self, **options) -> dict:
        bundle = self.widget._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return {**(data or {}), "text/plain": repr(self)}

    # ---------------------------------------------------------------------------------------------- answering

    def _changed(self, change) -> None:
        if not self._background:
            self._answer(self.state)
            return
        with self._lock:
            self._pending = self.state
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="explorer", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        """Answer the newest state until there is none newer."""
        while True:
            with self._lock:
                state, self._pending = self._pending, None
                if state is None:
                    self._worker = None
                    return
            self._answer(state)

    def _overtaken(self) -> bool:
        with self._lock:
            return self._pending is not None

    def _answer(self, state: dict) -> None:
        key, began = rounded(state), time.perf_counter()
        kept = self._views.get(key)
        if kept is not MISS:
            self._show(kept, "kept from before")
            return
        self.status.value = _small("computing ...")
        newest, shown = None, began
        try:
            for answer in self._closing(self._stages(state)):
                if self._overtaken():
                    return
                if answer is None:
                    continue
                newest = answer
                if time.perf_counter() - shown > BETWEEN:
                    self._show(self._render(newest), f"{time.perf_counter() - began:.2f} s so far ...")
                    shown = time.perf_counter()
            view = self._render(newest)
        except TightropeError as error:
            if self.view is None:  # the first state is the notebook's own, not the reader's
                raise
            self._show(View(b"", f"<p role='alert'>{html.escape(str(error))}</p>", str(error)), "no answer")
            return
        except Exception as error:  # a thread that dies would leave the reader waiting
            if threading.current_thread() is not self._worker:
                raise
            text = f"{type(error).__name__}: {error}"
            self._show(View(b"", f"<p role='alert'>{html.escape(text)}</p>", text), "failed")
            return
        self._views.put(key, view)
        self._show(view, f"{time.perf_counter() - began:.2f} s")

    @staticmethod
    def _closing(answers: Iterable[object]) -> Iterator[object]:
        """Yield the answers; close their generator even when the reader has moved on."""
        try:
            yield from answers
        finally:
            if hasattr(answers, "close"):
                answers.close()

    def _show(self, view: View, status: str) -> None:
        if view is not self.view:
            self.view = view
            self.image.value, self.html.value = view.png, view.html
            self.image.layout.display = None if view.png else "none"
        self.status.value = _small(status)


def _small(text: str) -> str:
    return f"<small aria-live='polite'>{html.escape(text)}</small>"


# ------------------------------------------------------------------------------------------------- controls

_STYLE = {"description_width": "105px"}
_WIDTH = "345px"  # three to a row beside the picture
#: Radii in pixel units: eight to a decade, from what no image notices to what no network withstands.
RADII = tuple(round(m * 10.0**d, 6) for d in (-3, -2, -1, 0) for m in (1, 1.5, 2, 3, 4, 5, 6, 8))


def radius_slider(value: float, description: str = "epsilon (pixel)") -> W.SelectionSlider:
    """A slider over RADII and `value`; it answers when it is let go."""
    value = round(float(value), 6)
    options = [(f"{radius:g}", radius) for radius in sorted({*RADII, value})]
    return W.SelectionSlider(options=options, value=value, description=description, continuous_update=False,
                             style=_STYLE, layout=W.Layout(width=_WIDTH))  # fmt: skip


def number_slider(value: int, largest: int, description: str) -> W.IntSlider:
    """A slider over 0..largest."""
    return W.IntSlider(value=value, min=0, max=max(largest, value), description=description, continuous_update=False,
                       style=_STYLE, layout=W.Layout(width=_WIDTH))  # fmt: skip


def choice(value: object, options: Iterable, description: str) -> W.Dropdown:
    """A drop-down; `options` are values or (text, value) pairs."""
    return W.Dropdown(options=list(options), value=value, description=description, style=_STYLE,
                      layout=W.Layout(width=_WIDTH))  # fmt: skip


def check(value: bool, description: str) -> W.Checkbox:
    """A check box."""
    return W.Checkbox(value=value, description=description, style=_STYLE, layout=W.Layout(width=_WIDTH))
