"""The pattern of every explorer: controls, a function from their state to a picture and numbers, nothing else.

Moving a control hands the new state to one worker thread. The thread asks `stages` for answers and shows each as it
comes; until the first one the old answer stays, dimmed, under a clock. When the state changes again, or the reader
presses Stop, `stop` says True: the solve that runs ends at its next iteration, and a slider that is moved five times
costs at most two solves. Finished views are kept, so going back costs nothing. The first answer is shown as soon as
there is one; the rest of it is the thread's work too. A state without an answer keeps the last picture, under an alert.

Only sliders, drop-downs, check boxes, a button, an Image and HTML, joined by `observe`: Output, interact and
interactive_output can leave a kernel that runs without a browser waiting for ever.
"""

import html
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from numbers import Real
from typing import Annotated, Any, get_origin

import ipywidgets as W

from tightrope.errors import StoppedError, TightropeError

MISS = object()
#: Seconds between pictures of an answer that is not complete; drawing one takes a few tenths of that.
BETWEEN = 0.6
#: Seconds that a notebook waits for an answer at most.
PATIENCE = 3600.0
#: Controls of how a question is answered; the others are the question.
PROOF = ("method", "order", "ellipse", "i", "j", "relaxation", "rate", "count")
#: An old answer is dimmed. Where a widget is alive, the picture that a saved notebook keeps of its first state is not
#: shown: of all pictures only it (:class:`Still`) has a width without a height.
_STYLE = "<style>.tightrope-old {opacity: .35} .jp-RenderedImage img[width]:not([height]) {display: none}</style>"
_ALERT = "margin:4px 0;padding:4px 10px;border:1px solid #a1281f;border-left-width:6px"


@dataclass(frozen=True, eq=False)
class View:
    """What an explorer shows for one state: a picture, and all that it shows in words and numbers, without times.

    `text` is the outcome in one line, the same on every machine: a test of the saved notebook compares it.
    """

    png: bytes
    html: str
    text: str


@dataclass(frozen=True, eq=False)
class Still:
    """A picture that stays in the saved notebook, where a widget would be gone, and its outcome in one line."""

    png: bytes
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_png_(self) -> tuple[bytes, dict]:
        return self.png, {"width": _width(self.png)}


def _width(png: bytes) -> int:
    """Return how wide a picture is shown, if there is room, so that the text of all pictures has one size."""
    return int.from_bytes(png[16:20], "big") * 3 // 4


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


def rounded(state: Mapping[str, object]) -> tuple:
    """A key for a state: numbers that differ by less than a slider's step are the same."""
    return tuple((name, round(v, 6) if isinstance(v, float) else v) for name, v in sorted(state.items()))


class Explorer:
    """Controls, a picture, numbers and a line that says how long it took.

    Parameters
    ----------
    title, controls
        What is explored; widgets with a `value`, or what has `parts` that are, by the name that `stages` knows them by.
    stages
        (state, stop) -> answers, each more complete than the one before, the last one complete; None where there is
        nothing new to see but a good place to stop. `stop` is for long solves (:data:`tightrope.solvers.report.Stop`):
        it says True once nobody waits for this answer any more. A :class:`TightropeError` is shown to the reader, as it
        is written for one.
    render
        Answer -> :class:`View`. An answer may say in words, as its `progress`, how far it has come.
    follow
        Name of a drop-down -> the options that it has in a state.
    background
        Whether the worker thread answers (in front of a browser), all but the first picture, or the caller does: then
        everything is there when `Explorer(...)` or `control.value = ...` returns (in tests).
    """

    def __init__(
        self,
        title: str,
        controls: Mapping[str, W.Widget],
        stages: Callable[[dict, Callable[[], bool]], Iterable[object]],
        render: Callable[[Any], View],
        *,
        follow: Mapping[str, Callable[[dict], Iterable]] | None = None,
        background: bool = True,
    ):
        self.title, self.controls = title, dict(controls)
        self._stages, self._render, self._background = stages, render, background
        self._follow = {name: options for name, options in (follow or {}).items() if name in self.controls}
        self._following = self._stopped = False
        self._asked: tuple[float, str] | None = None  # since when, and how far: for the clock
        self._views = Memo(128)
        self._lock, self._drawing = threading.Lock(), threading.Lock()
        self._waiting: object = None  # the newest answer, while it is not shown
        self._pending: dict | None = None
        self._worker: threading.Thread | None = None
        self.view: View | None = None
        self.image = W.Image(
            format="png", layout=W.Layout(max_width="min(1080px, calc(100% - 4px))", object_fit="contain")
        )
        self.html, self.status, self.alert = W.HTML(), W.HTML(), W.HTML()
        self.stop = W.Button(description="Stop", disabled=True, layout=W.Layout(width="80px"))
        self.stop.on_click(self._pressed)
        line = W.HBox([self.stop, self.status], layout=W.Layout(align_items="center"))
        shown = [line, self.alert, self.image, self.html, W.HTML(_STYLE)]
        self.widget = W.VBox([*_groups(self.controls), *shown])
        self._error: Exception | None = None
        self._adapt()
        self._first()
        for control in self.controls.values():
            control.observe(self._changed, "value")

    @property
    def state(self) -> dict:
        """The values of the controls by name."""
        return {name: control.value for name, control in self.controls.items()}

    @property
    def still(self) -> Still:
        """The complete picture, to be kept in the saved notebook; waits for it, and raises what went wrong."""
        self.wait(PATIENCE)
        if self._error is not None:
            raise self._error
        return Still(self.view.png, repr(self))

    def wait(self, seconds: float = 60.0) -> bool:
        """Wait until all there is to answer has been answered; return whether that is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self._lock:
                worker = self._worker
            if worker is None:
                return True
            worker.join(max(0.0, end - time.monotonic()))
        return False

    def __repr__(self) -> str:
        said = str(self._error) if self._error else self.view.text if self.view else "nothing to show"
        return f"{self.title}: {said}"

    def _repr_mimebundle_(self, **options) -> dict:
        bundle = self.widget._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        # Shown where widgets do not run; no outcome, as the answer may not be complete when the cell is.
        return {**(data or {}), "text/plain": f"{self.title}: the controls need a running kernel"}

    # ---------------------------------------------------------------------------------------------- answering

    def _first(self) -> None:
        """Answer the first state: errors and the first picture here, the rest in the worker."""
        if not self._background:
            self._answer(self.state)
            return
        state, began = self.state, time.perf_counter()
        answers = iter(self._stages(state, self._overtaken))
        answer = next(answer for answer in answers if answer is not None)
        view = self._render(answer)
        self._show(view)
        self._compute(began, getattr(answer, "progress", ""))
        self._start(partial(self._finish, state, answers, began, answer, view))

    def _changed(self, change) -> None:
        if self._following:
            return
        self._adapt()
        if not self._background:
            self._answer(self.state)
            return
        state = self.state
        kept = self._views.get(rounded(state))
        with self._lock:  # the worker writes its own status only while nothing newer is asked
            self._pending, self._stopped = state, False
            if kept is MISS:
                self._compute(time.perf_counter())
                self._dim(True)
            else:  # at once, though the worker may need a moment to leave what it does
                self._show(kept, "kept from before")
            if self._worker is None:
                self._start()

    def _adapt(self) -> None:
        """Give each drop-down that follows the others the options that it has in this state."""
        self._following = True
        try:
            for name, options_of in self._follow.items():
                control, options = self.controls[name], list(options_of(self.state))
                value = control.value if control.value in options else options[0]
                if list(control.options) != options:
                    control.options = options
                control.value, control.disabled = value, len(options) == 1
        finally:
            self._following = False

    def _pressed(self, button) -> None:
        """Stop what is computed, or go on with it."""
        with self._lock:
            self._stopped = not self._stopped and self._worker is not None
            if self._stopped:
                return  # the worker sees it, and says so
            self._pending = self.state
            self._compute(time.perf_counter())
            if self._worker is None:
                self._start()

    def _start(self, first: Callable[[], None] | None = None) -> None:
        """Start the worker, and the clock beside it."""
        worker = threading.Thread(target=self._work, args=(first,), name="explorer", daemon=True)
        self._worker = worker  # which ends by taking itself away
        worker.start()
        threading.Thread(target=self._clock, args=(worker,), daemon=True).start()

    def _clock(self, worker: threading.Thread) -> None:
        while worker.is_alive():
            worker.join(1.0)
            with self._lock:
                if worker is self._worker and self._asked is not None:
                    self._compute(*self._asked)
            self._catch_up()  # what came soon after the answer before, and is followed by a long solve

    def _work(self, first: Callable[[], None] | None = None) -> None:
        """Do `first`, then answer the newest state until there is none newer."""
        if first is not None:
            first()
        while True:
            with self._lock:
                state, self._pending = self._pending, None
                if state is None:
                    self._worker = None
                    return
            self._answer(state)

    def _overtaken(self) -> bool:
        with self._lock:
            return self._stopped or self._pending is not None

    def _answer(self, state: dict) -> None:
        began, kept = time.perf_counter(), self._views.get(rounded(state))
        if kept is not MISS:
            self._error = None
            self._show(kept, "kept from before")
            return
        with self._lock:
            if self._pending is not None:
                return
            self._compute(began)
            self._dim(True)
        self._finish(state, self._stages(state, self._overtaken), began)

    def _finish(
        self, state: dict, answers: Iterable[object], began: float, newest: object = None, view: View | None = None
    ) -> None:
        """Show the answers as they come, keep the last one; `view` is that of `newest`, if it is shown already."""
        shown, self._error = time.perf_counter(), None
        try:
            for answer in answers:
                if self._overtaken():
                    self._leave(began)
                    return
                if answer is None:
                    continue
                newest, view = answer, None
                self._waiting = newest
                if time.perf_counter() - shown > BETWEEN:
                    view = self._catch_up()
                    shown = time.perf_counter()
                self._compute(began, getattr(answer, "progress", ""))
            with self._drawing:
                self._waiting = None
                view = view or self._render(newest)
        except StoppedError:  # the state has changed, or the reader has seen enough
            self._leave(began)
            return
        except TightropeError as error:
            if self.view is None:  # the first state is the notebook's own, not the reader's
                raise
            self._refuse(error, str(error), "no answer")
            return
        except Exception as error:  # a thread that dies would leave the reader waiting
            if threading.current_thread() is not self._worker:
                raise
            self._refuse(error, f"{type(error).__name__}: {error}", "failed")
            return
        self._views.put(rounded(state), view)
        self._show(view, f"{time.perf_counter() - began:.2f} s")

    def _catch_up(self) -> View | None:
        """Show the answer that waits, if there is one."""
        with self._drawing:
            answer, self._waiting = self._waiting, None
            if answer is None or self._overtaken():
                return None
            view = self._render(answer)
            self._show(view)
            return view

    def _show(self, view: View, status: str = "") -> None:
        """Show a view; with a status it is the whole answer, and nothing is computed any more."""
        if view is not self.view:
            self.view = view
            self.image.value, self.html.value = view.png, view.html
            self.image.layout.display = None if view.png else "none"
            self.image.layout.width = f"{_width(view.png)}px"
        self._dim(False)
        self.alert.value = ""
        if status:
            self._idle(status)

    def _refuse(self, error: Exception, text: str, status: str) -> None:
        """Keep the last picture, and say above it why there is no new one."""
        self._error = error
        self._dim(True)
        self._idle(status)
        self.alert.value = f"<p role='alert' style='{_ALERT}'>{html.escape(text)}</p>"

    def _leave(self, began: float) -> None:
        """Say that the reader has stopped it; where the state has changed, the next answer says what it says."""
        with self._lock:
            if self._stopped and self._pending is None:
                self._idle(f"stopped after {time.perf_counter() - began:.0f} s; this is not the whole answer")
                self.stop.description, self.stop.disabled = "Go on", False

    def _compute(self, began: float, progress: str = "") -> None:
        """Say what is computed, and for how long."""
        self._asked = began, progress
        parts = ["computing", *([progress] if progress else []), f"{time.perf_counter() - began:.0f} s ..."]
        self.status.value = _small(", ".join(parts))
        self.stop.description, self.stop.disabled = "Stop", not self._background

    def _idle(self, status: str) -> None:
        self._asked = None
        self.alert.value, self.status.value = "", _small(status)
        self.stop.description, self.stop.disabled = "Stop", True

    def _dim(self, old: bool) -> None:
        for part in (self.image, self.html):
            (part.add_class if old else part.remove_class)("tightrope-old")


def explores(
    title: str,
    render: Callable[[Any], View] = lambda view: view,
    *,
    follow: Mapping[str, Callable[[dict], Iterable]] | None = None,
    unused: Callable[[Mapping], Iterable[str]] = lambda values: (),
    start: Callable[[dict], dict] = dict,
) -> Callable[[Callable], Callable[..., Explorer]]:
    """Turn a function of parameters and `stop`, which yields answers, into one that returns an :class:`Explorer`.

    This one takes the parameters but `stop`, and by name `controls`, which of them can be moved, and `background`. A
    parameter that can be moved is annotated with its control, value -> widget, such as ``Annotated[float,
    radius_slider]``. A number that is given becomes an int, float, bool or text, as the default is. A function without
    `stop` returns its one answer; one with `parts` gets a :class:`Memo` for what does not have to be solved again.

    Parameters
    ----------
    unused
        Values -> parameters that mean nothing beside the values of others, and get no control.
    start
        Values that are given -> those that the controls start at.
    """

    def decorate(stages: Callable) -> Callable[..., Explorer]:
        known = signature(stages).parameters
        asked = [one for name, one in known.items() if name not in ("stop", "parts")]
        makers = {one.name: one.annotation.__metadata__[0] for one in asked if get_origin(one.annotation) is Annotated}
        plain = [one.replace(annotation=one.annotation.__origin__) if one.name in makers else one for one in asked]
        more = {"controls": tuple(makers), "background": True}
        added = [Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in more.items()]
        shown = Signature([*plain, *added], return_annotation=Explorer)

        @wraps(stages)
        def explorer(*values: object, **named: object) -> Explorer:
            given = shown.bind(*values, **named)
            given.apply_defaults()
            fixed = start({one.name: _like(one.default, given.arguments[one.name]) for one in asked})
            wanted = set(given.arguments["controls"]) - set(unused(fixed))
            moved = {name: make(fixed[name]) for name, make in makers.items() if name in wanted}
            options = {name: lambda state, of=of: of({**fixed, **state}) for name, of in (follow or {}).items()}
            kept = {"parts": Memo(512)} if "parts" in known else {}

            def answers(state: dict, stop: Callable[[], bool]) -> Iterator[object]:
                if "stop" in known:
                    yield from stages(**{**fixed, **state}, **kept, stop=stop)
                else:
                    yield stages(**{**fixed, **state})

            background = given.arguments["background"]
            return Explorer(title, moved, answers, render, follow=options, background=background)

        vars(explorer)["__signature__"] = shown  # what help() and Shift-Tab show
        return explorer

    return decorate


def _like(default: object, value: object) -> object:
    """Return a number as the type of a default value; 2.0 is the text "2"."""
    if not isinstance(value, Real) or default is None:
        return value
    return f"{value:g}" if isinstance(default, str) else type(default)(value)


def _groups(controls: Mapping[str, W.Widget]) -> list[W.Widget]:
    """The controls of the question, then those of the proof; under a heading each if there are both."""
    proof = [control for name, control in controls.items() if name in PROOF]
    groups = {"question": [control for control in controls.values() if control not in proof], "proof": proof}
    columns = "repeat(auto-fill, minmax(345px, 1fr))"
    layout = W.Layout(grid_template_columns=columns, grid_gap="0 12px", max_width="1080px")
    boxes = []
    for title, own in groups.items():
        if own and all(groups.values()):
            boxes.append(W.HTML(f"<small><b>{title}</b></small>"))
        widgets = [part for control in own for part in getattr(control, "parts", (control,))]
        boxes += [W.GridBox(widgets, layout=layout)] if own else []
    return boxes


def _small(text: str) -> str:
    return f"<small aria-live='polite'>{html.escape(text)}</small>"
