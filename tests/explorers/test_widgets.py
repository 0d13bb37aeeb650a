"""Explorers without a browser: a control is set, the numbers and the picture are read."""

import inspect
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tightrope import datasets, zoo
from tightrope.errors import InputError, MissingDataError, UnknownNameError
from tightrope.explorers import View, attack, certify, constants, lipschitz, sizes
from tightrope.explorers.certify import COLOURS
from tightrope.explorers.controls import OTHER, choice, number_slider, radius_slider
from tightrope.explorers.explorer import Explorer, Memo, rounded
from tightrope.networks import Dense, FeedForward
from tightrope.question import Verdict
from tightrope.solvers.report import end_if

PNG = b"\x89PNG"
at_once = partial(certify, background=False, ellipse=False)


def answers(ellipse=False, **asked):
    """All that is yielded for a state of the certificate's explorer."""
    return certify.__wrapped__(**asked, ellipse=ellipse, parts=Memo(), stop=lambda: False)


def show(text):
    """The smallest view."""
    return View(PNG + text.encode(), f"<b>{text}</b>", text)


def square(state, stop):
    """The smallest stages."""
    yield state["n"] ** 2


@pytest.fixture(scope="module")
def explorer():
    """The certificate of a digit, answered at once."""
    return at_once()


# ------------------------------------------------------------------------------------------------ the pattern


def test_a_moved_slider_changes_numbers_and_picture():
    explorer = Explorer("square", {"n": number_slider(2, 9, "n")}, square, lambda n: show(str(n)), background=False)
    assert "<b>4</b>" in explorer.html.value and repr(explorer) == "square: 4"
    explorer.controls["n"].value = 3
    assert "<b>9</b>" in explorer.html.value and bytes(explorer.image.value) == PNG + b"9"
    assert repr(explorer.still) == "square: 9" and explorer.still._repr_png_()[0] == PNG + b"9"


def test_the_text_of_all_pictures_has_one_size(explorer):
    """A picture of 9 inches is shown at 1012 pixels, alive and saved, where there is room."""
    assert explorer.image.layout.width == "1012px" and explorer.still._repr_png_()[1] == {"width": 1012}


def test_what_was_answered_is_not_computed_again():
    asked = []

    def stages(state, stop):
        asked.append(state["n"])
        yield state["n"]

    explorer = Explorer("", {"n": number_slider(1, 9, "n")}, stages, lambda n: show(str(n)), background=False)
    for value in (2, 1, 2):
        explorer.controls["n"].value = value
    assert asked == [1, 2] and "kept" in explorer.status.value and "<b>2</b>" in explorer.html.value


def test_a_late_answer_is_dropped_and_states_in_between_are_skipped():
    """1 is computed when 2, 3 and 4 arrive: 1 stops at its next yield, 2 and 3 are never asked for."""
    asked, started, go_on = [], threading.Event(), threading.Event()

    def stages(state, stop):
        asked.append(state["n"])
        if state["n"] == 1:
            started.set()
            assert go_on.wait(30)
        yield None
        asked.append(-state["n"])
        yield state["n"]

    explorer = Explorer("", {"n": number_slider(0, 9, "n")}, stages, lambda n: show(str(n)))
    explorer.controls["n"].value = 1
    assert started.wait(30)
    for value in (2, 3, 4):
        explorer.controls["n"].value = value
    assert not explorer.wait(0.01)
    go_on.set()
    assert explorer.wait(30)
    assert asked == [0, 0, 1, 4, -4] and "<b>4</b>" in explorer.html.value


def test_the_first_picture_is_there_before_the_answer_is_complete():
    """And `still` waits for the complete one; a single answer is drawn once."""
    go_on, drawn = threading.Event(), []

    def stages(state, stop):
        yield "part"
        assert go_on.wait(30)
        yield "all"

    def draw(text):
        drawn.append(text)
        return show(text)

    explorer = Explorer("two", {"n": number_slider(0, 9, "n")}, stages, draw)
    assert "<b>part</b>" in explorer.html.value and "computing" in explorer.status.value
    assert "running kernel" in explorer._repr_mimebundle_()["text/plain"]
    threading.Timer(0.1, go_on.set).start()
    assert repr(explorer.still) == "two: all" and "<b>all</b>" in explorer.html.value
    assert drawn == ["part", "all"]
    drawn.clear()
    assert repr(Explorer("one", {"n": number_slider(2, 9, "n")}, square, lambda n: draw(str(n))).still) == "one: 4"
    assert drawn == ["4"]


def test_a_solve_that_nobody_waits_for_ends():
    """1 solves until it is told to stop, which the move to 2 does; its answer is not kept."""
    asked, started = [], threading.Event()

    def stages(state, stop):
        asked.append(state["n"])
        while state["n"] == 1 and len(asked) < 3:
            started.set()
            end_if(stop)
            time.sleep(0.001)
        yield state["n"]

    explorer = Explorer("", {"n": number_slider(0, 9, "n")}, stages, lambda n: show(str(n)))
    for value in (1, 2):
        explorer.controls["n"].value = value
        assert started.wait(30)
    assert explorer.wait(30) and asked == [0, 1, 2] and "<b>2</b>" in explorer.html.value
    explorer.controls["n"].value = 1
    assert explorer.wait(30) and asked == [0, 1, 2, 1] and "<b>1</b>" in explorer.html.value


def test_what_is_kept_is_shown_while_a_solve_runs():
    go_on = threading.Event()

    def stages(state, stop):
        if state["n"] == 1:
            assert go_on.wait(30)
        yield state["n"]

    explorer = Explorer("", {"n": number_slider(0, 9, "n")}, stages, lambda n: show(str(n)))
    assert explorer.wait(30)
    explorer.controls["n"].value = 1
    assert "computing" in explorer.status.value
    explorer.controls["n"].value = 0
    assert "kept" in explorer.status.value and "<b>0</b>" in explorer.html.value
    go_on.set()
    assert explorer.wait(30) and "<b>0</b>" in explorer.html.value


def test_errors_are_told_to_the_reader_but_not_hidden_at_the_start():
    def stages(state, stop):
        if state["n"]:
            raise InputError("n: write 0 & nothing else")
        yield 0

    explorer = Explorer("", {"n": number_slider(0, 9, "n")}, stages, lambda n: show(str(n)))
    explorer.controls["n"].value = 5
    assert explorer.wait(30) and "write 0 &amp; nothing else" in explorer.alert.value
    assert bytes(explorer.image.value) == PNG + b"0" and "tightrope-old" in explorer.image._dom_classes  # the last one
    assert repr(explorer) == ": n: write 0 & nothing else"
    explorer.controls["n"].value = 0
    assert explorer.wait(30) and "<b>0</b>" in explorer.html.value and not explorer.alert.value
    assert "tightrope-old" not in explorer.image._dom_classes
    with pytest.raises(InputError, match="nothing else"):
        Explorer("", {"n": number_slider(1, 9, "n")}, stages, lambda n: show(str(n)))


def test_an_error_after_the_first_picture_is_told_and_ends_a_run():
    def stages(state, stop):
        yield 1
        raise InputError("the second half")

    explorer = Explorer("", {"n": number_slider(1, 9, "n")}, stages, lambda n: show(str(n)))
    with pytest.raises(InputError, match="second half"):
        _ = explorer.still
    assert "the second half" in explorer.alert.value


def test_an_unexpected_error_does_not_end_the_explorer():
    def stages(state, stop):
        yield 1 / state["n"]

    explorer = Explorer("", {"n": number_slider(1, 9, "n")}, stages, lambda n: show(str(n)))
    explorer.controls["n"].value = 0
    assert explorer.wait(30) and "ZeroDivisionError" in explorer.alert.value
    explorer.controls["n"].value = 2
    assert explorer.wait(30) and "0.5" in explorer.html.value


def test_the_old_answer_is_dimmed_under_a_clock_that_ticks_until_a_part_of_the_new_one_is_there():
    """That part is shown though a long solve follows it at once."""
    begin, go_on = threading.Event(), threading.Event()

    class Part:
        progress = "3 of 9 labels"

    def stages(state, stop):
        if state["n"]:
            assert begin.wait(30)
            yield Part()
            assert go_on.wait(30)
        yield state["n"]

    def until(condition):
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    explorer = Explorer("", {"n": number_slider(0, 9, "n")}, stages, lambda n: show(type(n).__name__))
    assert explorer.wait(30) and explorer.stop.disabled
    explorer.controls["n"].value = 1
    seen = {explorer.status.value}
    until(lambda: seen.add(explorer.status.value) or len(seen) == 2)
    assert all(text.endswith("s ...</small>") for text in seen)
    assert "tightrope-old" in explorer.image._dom_classes and not explorer.stop.disabled
    begin.set()
    until(lambda: "tightrope-old" not in explorer.html._dom_classes)
    assert "Part" in explorer.html.value and not explorer.stop.disabled
    until(lambda: "3 of 9 labels" in explorer.status.value)
    go_on.set()
    assert explorer.wait(30) and "int" in explorer.html.value and explorer.stop.disabled


def test_stop_ends_the_solve_and_go_on_takes_it_up():
    asked = []

    def stages(state, stop):
        asked.append(state["n"])
        while state["n"] == 1 and len(asked) < 3:
            end_if(stop)
            time.sleep(0.001)
        yield state["n"]

    explorer = Explorer("", {"n": number_slider(0, 9, "n")}, stages, lambda n: show(str(n)))
    assert explorer.wait(30)
    explorer.controls["n"].value = 1
    explorer.stop.click()
    assert explorer.wait(30) and "stopped" in explorer.status.value and "<b>0</b>" in explorer.html.value
    assert explorer.stop.description == "Go on" and asked == [0, 1]
    explorer.stop.click()
    assert explorer.wait(30) and "<b>1</b>" in explorer.html.value and explorer.stop.description == "Stop"


def test_options_follow_another_control():
    """One option that is left is no choice; a value that is no option any more gives way to the first."""
    made = {"kind": choice("a", "ab", "kind"), "order": choice(2, (1, 2), "order")}
    asked = []

    def stages(state, stop):
        asked.append((state["kind"], state["order"]))
        yield 0

    follow = {"order": lambda state: {"a": (1, 2), "b": (3,)}[state["kind"]]}
    explorer = Explorer("", made, stages, lambda n: show(str(n)), follow=follow, background=False)
    explorer.controls["kind"].value = "b"
    assert explorer.controls["order"].options == (3,) and explorer.controls["order"].disabled
    explorer.controls["kind"].value = "a"
    assert asked == [("a", 2), ("b", 3), ("a", 1)] and not explorer.controls["order"].disabled


def test_controls_stand_in_two_groups():
    """Question and proof, if there are both."""
    both = at_once(controls=("image", "method", "order"))
    headings = [part.value for part in both.widget.children if "<b>" in getattr(part, "value", "")]
    assert [text for text in headings if "small" in text] == [
        "<small><b>question</b></small>",
        "<small><b>proof</b></small>",
    ]
    one = Explorer("", {"n": number_slider(0, 9, "n")}, square, lambda n: show(str(n)), background=False)
    assert not [part for part in one.widget.children if "question" in getattr(part, "value", "")]


def test_badges_are_readable_and_everything_else_has_the_colours_of_the_page():
    """White on each badge, contrast at least 4.5; no other colour of text, so dark themes show it in light."""

    def luminance(colour):
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for colour in (*COLOURS.values(), OTHER):
        assert (1.05) / (luminance(colour) + 0.05) >= 4.5, colour
    text = at_once(epsilon_pixel=0.15).html.value
    assert re.findall("(?<![-a-z])color:([^;']*)", text) == ["#fff"]


def test_memo_forgets_the_oldest():
    memo = Memo(2)
    for key in "aba":
        memo.of(key, lambda key=key: key)
    memo.put("c", "c")
    assert memo.of("a", lambda: "new") == "a" and memo.of("b", lambda: "new") == "new"


def test_keys_and_sliders():
    assert rounded({"x": 0.1 + 0.2, "n": 1}) == rounded({"n": 1, "x": 0.3})
    slider = radius_slider(0.033)
    assert slider.value == 0.033 and not slider.continuous_update
    assert choice("a", ["a", "b"], "").value == "a"


# ------------------------------------------------------------------------------------------------ certificates


def test_the_certificate_of_a_digit(explorer):
    """Small radius certified, large radius attacked, bounds above attacks, and the way back from memory."""
    explorer.controls["epsilon_pixel"].value = 0.05
    assert "certified</span>: no point" in explorer.html.value and bytes(explorer.image.value).startswith(PNG)
    before = bytes(explorer.image.value)
    explorer.controls["epsilon_pixel"].value = 0.2
    assert "falsified</span>: a point" in explorer.html.value and bytes(explorer.image.value) != before
    assert repr(explorer).startswith("certificate: image 0 (a 0, seen as a 0): falsified")
    explorer.controls["epsilon_pixel"].value = 0.05
    assert bytes(explorer.image.value) == before


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("network", "digits/mondeq-32", "image 0 (a 0"),
        ("image", 1, "image 1 (a 5, seen as a 9)"),
        ("norm", "2", "certified"),
        ("norm", "1", "certified"),
        ("clip", False, "certified"),
        ("method", "interior-point", "certified"),
    ],
)
def test_every_control_is_answered(explorer, name, value, said):
    old = explorer.controls[name].value
    explorer.controls[name].value = value
    text, alert = explorer.html.value, explorer.alert.value
    explorer.controls[name].value = old
    assert said in text and not alert


def test_the_ellipse_holds_the_sampled_outputs():
    state = dict(network="digits/mondeq-16", image=0, norm="inf", epsilon_pixel=0.05, clip=True, method="cascade",
                 ellipse=True, i=3, j=-2)  # fmt: skip
    *_, answer = [answer for answer in answers(**state) if answer is not None]
    assert answer.pair == (3, 9) and answer.ellipsoid.contains(answer.cloud).all() and not answer.open
    assert answer.verdict is Verdict.CERTIFIED
    for k in answer.targets:
        assert answer.nominal[k] - 1e-9 <= answer.attack_margin[k] <= answer.decision(k).bound < 0


def test_a_verdict_needs_every_label():
    state = dict(
        network="digits/mondeq-16", image=0, norm="inf", epsilon_pixel=0.1, clip=False, method="interior-point"
    )
    stages = answers(**state)
    part = [next(stages) for _ in range(3)][-1]
    assert 0 < len(part.decisions) < 9 and part.verdict is None and part.open == "bounds"
    *_, answer = stages
    assert answer.verdict is Verdict.CERTIFIED
    unknown = replace(answer.decisions[9], verdict=Verdict.UNKNOWN)
    assert replace(answer, decisions={**answer.decisions, 9: unknown}).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("method", ["cascade", "interior-point"])
def test_a_fixpoint_bounds_every_label_before_any_relaxation(method):
    """It gives way to a relaxation's bound, but for what it alone proves; to the cascade's only if that is better."""
    state = dict(network="digits/mondeq-16", image=0, norm="1", epsilon_pixel=0.5, clip=True, method=method)
    first, *_, last = [answer for answer in answers(**state) if answer is not None]
    assert not first.decisions and first.verdict is Verdict.CERTIFIED and first.open == "bounds"
    for k in first.targets:
        assert first.nominal[k] <= first.attack_margin[k] <= first.decision(k).bound < 0
        assert first.decision(k).reason == "by a zonotope fixpoint"
        own = last.decisions[k].bound
        assert last.decision(k).bound == (min(own, first.decision(k).bound) if method == "cascade" else own)
        assert last.by_enclosure(k) == (last.decision(k).bound != own)
    weak = replace(last.decisions[3], verdict=Verdict.UNKNOWN, bound=1.0)
    kept = replace(last, decisions={**last.decisions, 3: weak})
    decision = kept.decision(3)
    assert decision.bound == first.decision(3).bound and kept.verdict is Verdict.CERTIFIED
    assert "fixpoint" in decision.reason


def test_a_label_that_an_attack_reaches_is_falsified_by_it():
    """Whatever bounds it; the image's own label by the image."""
    state = dict(network="digits/mondeq-16", image=0, norm="inf", epsilon_pixel=0.15, clip=True, method="cascade")
    *_, answer = [answer for answer in answers(**state) if answer is not None]
    reached = [k for k in answer.targets if answer.verdict_of(k) is Verdict.FALSIFIED]
    assert reached and {answer.decision(k).by for k in reached} == {"attack"} and answer.progress == "9 of 9 labels"
    *_, wrong = [answer for answer in answers(**{**state, "image": 1}) if answer is not None]
    assert wrong.decision(wrong.predicted).reason == "at the image itself"


def test_orders_that_cannot_be_asked_for_are_not_offered(monkeypatch):
    """Order 2 is for tiny networks; other methods than Shor's relaxation have one order; MOSEK needs a licence."""
    explorer = at_once(epsilon_pixel=0.01)
    assert explorer.controls["order"].options == ("1", "1+bounds", "1+cuts")
    assert "mosek" not in explorer.controls["method"].options
    explorer.controls["method"].value = "branch-and-bound"
    assert explorer.controls["order"].options == ("1",) and explorer.controls["order"].disabled
    monkeypatch.setenv("MOSEKLM_LICENSE_FILE", "somewhere")
    assert "mosek" in at_once(epsilon_pixel=0.01).controls["method"].options


def test_methods_follow_the_network():
    """Those for layers are offered with layers, and refused without."""
    explorer = at_once("digits/fc-pgd", epsilon_pixel=0.01, method="lp-greedy")
    assert {"lp-greedy", "crown"} <= set(explorer.controls["method"].options)
    explorer.controls["network"].value = "digits/mondeq-16"
    assert explorer.controls["method"].value == "cascade" and "crown" not in explorer.controls["method"].options
    with pytest.raises(UnknownNameError, match="lp-greedy"):
        at_once(method="lp-greedy")


def test_a_network_is_chosen_in_two_steps():
    """First whose it is, then which; the value is the whole name, and one move is one change of it."""
    control = at_once("digits/fc-pgd", epsilon_pixel=0.01).controls["network"]
    family, own = control.parts
    assert (family.value, own.value, own.label) == ("digits", "digits/fc-pgd", "fc-pgd")
    assert {value.split("/")[0] for _, value in own.options} == {"digits"}
    seen = []
    control.observe(lambda change: seen.append(change["new"]), "value")
    family.value = "mnist"
    assert seen == [own.value] == [control.value] and control.value.startswith("mnist/")
    own.value = own.options[1][1]
    control.value = "digits/mondeq-16"
    assert seen[1:] == [seen[1], "digits/mondeq-16"] and seen[1].startswith("mnist/")
    assert (family.value, own.value) == ("digits", "digits/mondeq-16")
    family.value = "mnist"
    assert control.value == seen[1]  # the one that was chosen there last
    assert set(control.options) >= {seen[0], *(value for _, value in own.options)}


def test_an_explorer_takes_what_its_function_does():
    """By name or place, numbers of any kind as the defaults are, and which of them can be moved."""
    known = inspect.signature(constants).parameters
    assert list(known) == ["network", "image", "norm", "epsilon_pixel", "clip", "seed", "controls", "background"]
    assert known["image"].annotation is int and known["controls"].default == tuple(known)[:5]
    explorer = sizes("digits/mondeq-16", np.int64(1), 2.0, controls=("norm",), background=False)
    assert explorer.state == {"norm": "2"} and "L2 ball around image 1" in explorer.view.text
    with pytest.raises(TypeError, match="imagge"):
        sizes(imagge=1)


def test_the_attack_explorer():
    explorer = attack(epsilon_pixel=0.15, background=False)
    assert "attack found" in repr(explorer)
    explorer.controls["epsilon_pixel"].value = 0.01
    assert "no attack found" in explorer.html.value and bytes(explorer.image.value).startswith(PNG)


@pytest.mark.parametrize(("norm", "clip"), [("inf", False), ("2", True)])
def test_the_explorer_of_constants(norm, clip):
    """Everything that is proven is above every Jacobian; tighter knowledge gives smaller constants."""
    explorer = constants(norm=norm, clip=clip, background=False)
    values = dict(re.findall(r"<td[^>]*>([^<]*)</td><td[^>]*>(?:upper|lower)</td><td[^>]*>([^<]*)</td>",
                             explorer.html.value))  # fmt: skip
    values = {name: float(value) for name, value in values.items()}
    assert list(values) == list(lipschitz.ROWS)
    closed, everywhere, order_1, cuts, sampled = values.values()
    assert sampled <= cuts <= order_1 * 1.001 and order_1 <= everywhere * 1.001 and everywhere <= closed
    before = explorer.view
    explorer.controls["epsilon_pixel"].value = 0.001
    assert explorer.view is not before and "0 of 16 units may switch" in explorer.html.value


def test_the_explorer_of_sizes():
    """The sizes of Table 1, and the reason where a model is not built for a ball."""
    explorer = sizes(background=False)
    assert "text-align:right;white-space:nowrap'>81</td>" in explorer.html.value  # 1 + 64 + 16
    assert "not built" not in explorer.html.value and "built for" not in explorer.html.value
    explorer.controls["norm"].value = "2"
    assert explorer.view.text.startswith("L2 ball around image 0: ")
    explorer.controls["clip"].value = True
    assert "the printed model is built for unclipped" in explorer.html.value


def test_explorers_of_mondeqs_refuse_layers(monkeypatch):
    names = constants(background=False).controls["network"].options
    assert "digits/mondeq-32" in names and not [name for name in names if name.startswith("salman2019")]
    layered = zoo.Entry(FeedForward((Dense(np.eye(2), np.zeros(2)),)), "digits", "")
    monkeypatch.setattr("tightrope.explorers.certification.entry", lambda name: layered)
    for make in (constants, sizes):
        with pytest.raises(InputError, match="has layers"):
            make(background=False)


def test_controls_that_are_left_out_keep_their_value():
    explorer = at_once(image=2, controls=("norm", "epsilon_pixel"))
    assert list(explorer.controls) == ["norm", "epsilon_pixel"] and "image 2" in repr(explorer)


def test_bad_parameters_are_refused():
    with pytest.raises(UnknownNameError, match="network"):
        at_once("digits/mondeq-61")
    with pytest.raises(InputError, match="out of range"):
        at_once(image=1000)


def test_a_network_without_its_data_says_so(monkeypatch, tmp_path):
    """And is not among the choices."""
    monkeypatch.delenv("TIGHTROPE_DATA", raising=False)
    monkeypatch.setattr("tightrope.datasets.cache_folder", lambda: tmp_path)
    assert "chen2021-mondeq/mnist-87" not in at_once().controls["network"].options
    state = dict(network="chen2021-mondeq/mnist-87", image=0, norm="inf", epsilon_pixel=0.05, clip=True)
    monkeypatch.setattr("tightrope.explorers.certification.entry", zoo.get)
    monkeypatch.setattr("tightrope.explorers.certification.dataset", datasets.load)
    with pytest.raises(MissingDataError):
        list(attack.__wrapped__(**state, parts=Memo(), stop=lambda: False))


def test_an_explorer_imports_no_package_that_takes_seconds():
    """PyTorch, CVXPY, scikit-learn and pandas have no part in what the reader waits for."""
    script = (
        "import sys; from tightrope.explorers import certify; repr(certify(epsilon_pixel=0.05).still);"
        "print(*{name.split('.')[0] for name in sys.modules} & {'torch', 'cvxpy', 'sklearn', 'pandas', 'foolbox'})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.published
def test_the_papers_network_is_among_the_choices():
    explorer = certify("chen2021-mondeq/mnist-87", 0, "inf", 0.01, ellipse=False, background=False)
    assert "certified</span>: no point" in explorer.html.value
    assert np.isin("digits/mondeq-16", explorer.controls["network"].options)


@pytest.mark.published
def test_feedforward_networks_are_explored_with_their_own_input():
    """The region is in the units of the zoo's entry; the ellipse of a network that is too large is refused."""
    name = "salman2019-barrier/nor-cnn-wide-1"
    if not zoo.available(name):
        pytest.skip(f"not on this machine: {name}; run `make data` or set TIGHTROPE_DATA")
    state = dict(network=name, image=0, norm="inf", epsilon_pixel=0.01, clip=True, method="cascade", ellipse=True)
    *_, answer = answers(**state)
    assert answer.region.radius == 0.01 and answer.verdict is Verdict.CERTIFIED
    assert answer.ellipsoid is None and "at most 300 hidden neurons" in answer.note


def test_a_network_of_ones_own_is_explored():
    """An entry instead of a name: its input as stated, and no list of networks."""
    own = zoo.own("data/models/elsewhere/digits-mlp.pt", "digits", "none")
    explorer = certify(own, 10, "inf", 0.1, ellipse=False, background=False)
    assert "network" not in explorer.controls
    assert "falsified; of 9 other labels 8 proven below, 1 reached" in repr(explorer.still)
