"""The explorers in a real browser: every control moved, numbers and picture read, in JupyterLab and in Voila.

Run by `make browser`; conftest.py says what it needs and where screenshots go. Each page is watched: an error on its
console, a request to another machine, text that cannot be read or a part that sticks out fails the test.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from tightrope import paths

pytestmark = pytest.mark.browser

#: Seconds that any step may take on a busy machine; how long it took is printed, not asserted.
PATIENCE = 240
#: Seconds in which Voila runs the notebook before the page is opened.
WARM = 10
NOTEBOOKS = (
    "explore/barrier",
    "explore/certify",
    "explore/lipschitz",
    "explore/relaxations",
    "explore/your-network",
    "chen2020-lipschitz/table-1-random-networks",
    "chen2021-mondeq/figure-2-adversarial-example",
    "jovanovic2022-paradox/figure-1-relu-relaxations",
    "salman2019-barrier/figure-2-nonlinearities",
)
#: Controls that need not change the answer: linear bounds decide every label before Shor's relaxation is asked.
IDLE = {("explore/your-network", "order")}
#: Voila's own template asks for its icons elsewhere; the page does without.
VOILAS_ICONS = "fontawesome|ERR_NAME_NOT_RESOLVED|ERR_INTERNET_DISCONNECTED"
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
#: An explorer: the box that has a Stop button in its line of status.
EXPLORER = ".widget-vbox:has(> .widget-hbox > button)"
CONTROLS = ".widget-gridbox > .widget-inline-hbox, .widget-gridbox > .widget-checkbox"
STATUS = "small[aria-live=polite]"


@pytest.fixture
def serve(tmp_path):
    """Start JupyterLab or Voila on a free port, on a copy of the notebooks and with a configuration of its own."""
    started = []

    def start(*command: str, theme: str = LIGHT, network: str = "") -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
        own["JUPYTERLAB_SETTINGS_DIR"] = str(settings(tmp_path / "settings", theme))
        shutil.copytree(paths.NOTEBOOKS, tmp_path / "notebooks")  # the page may save them
        if network:
            page = tmp_path / "notebooks" / "explore" / "certify.ipynb"
            page.write_text(page.read_text(encoding="utf-8").replace("digits/mondeq-16", network), encoding="utf-8")
        log = open(tmp_path / "server.log", "wb")
        process = subprocess.Popen(
            [sys.executable, "-m", *command, f"--port={port}"],
            env=os.environ | own | {"TIGHTROPE_OFFLINE": "1"},
            cwd=tmp_path / "notebooks",
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        started.append((process, log))
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and process.poll() is None:
            try:
                urllib.request.urlopen(f"{url}/static/favicon.ico", timeout=2).close()
                return url
            except urllib.error.HTTPError:
                return url  # it answers
            except OSError:
                time.sleep(0.2)
        raise AssertionError((tmp_path / "server.log").read_text(errors="replace")[-2000:])

    yield start
    for process, log in started:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:  # kernels that solve are waited for
            process.kill()
            process.wait()
        log.close()


def settings(folder: Path, theme: str) -> Path:
    """JupyterLab keeps every cell in the page, also those out of sight, and asks for no news."""
    for name, content in (
        ("notebook-extension/tracker", {"windowingMode": "none"}),
        ("apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False}),
        ("apputils-extension/themes", {"theme": theme}),
    ):
        file = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    return folder


@pytest.fixture
def watched(open_browser):
    """Open a page of some width; `page.faults` are its console's errors and its requests to other machines."""

    def new(width: int):
        context = open_browser(width, 1100)
        context.set_default_timeout(PATIENCE * 1000)
        page = context.new_page()
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda said: said.type == "error" and page.faults.append(said.text))
        own = re.compile(r"(http|ws)://127\.0\.0\.1:|data:|blob:|about:")
        page.on("request", lambda asked: own.match(asked.url) or page.faults.append(asked.url))
        return page

    return new


def voila(serve, page, name: str, network: str = "") -> float:
    """Open a notebook as a page of Voila, which runs it before anybody asks for it; return when it was opened."""
    pytest.importorskip("voila", reason="needs the extra `browser`")
    options = ("--no-browser", "--Voila.ip=127.0.0.1", "--preheat_kernel=True", "--pool_size=1")
    url = serve("voila", f"{name}.ipynb", *options, network=network)
    time.sleep(WARM)
    began = time.monotonic()
    page.goto(url)
    return began


def lab(serve, page, name: str, theme: str) -> float:
    """Open a notebook in JupyterLab and run all its cells by its own command; return when they were started."""
    options = ("--no-browser", "--expose-app-in-browser", "--ip=127.0.0.1", "--allow-root")
    url = serve("jupyter", "lab", *options, "--IdentityProvider.token=", theme=theme)
    page.goto(f"{url}/doc/tree/{name}.ipynb?reset")
    page.wait_for_selector(".jp-Notebook")
    page.evaluate("""async () => {
        const app = window.jupyterapp;
        while (!app.shell.currentWidget?.context?.sessionContext) await new Promise(done => setTimeout(done, 100));
        const session = app.shell.currentWidget.context.sessionContext;
        await session.ready;
        await session.session.kernel.info;
    }""")
    began = time.monotonic()
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    return began


# --------------------------------------------------------------------------------------------- what is tested


def test_certify_in_voila(serve, watched, screenshots):
    """The verdicts of the page on certifying: falsified, certified, an order that follows its method."""
    page = watched(1280)
    explorer, *_ = opened(page, "voila", voila(serve, page, "explore/certify"))
    first = shown(explorer)
    assert first[0] == "falsified: a point of the region does not have the true label" and "image 0 (a 0" in first[1]
    press(explorer, "epsilon (pixel)", "ArrowLeft", 4)  # 0.15 -> 0.05
    small = changed(explorer, first, "epsilon")
    assert small[0].startswith("certified: ")
    choose(explorer, "norm", "2")
    other = changed(explorer, small, "norm")
    choose(explorer, "norm", "infinity")
    assert changed(explorer, other, "norm back") == small
    explorer.get_by_label("outer ellipsoid").click()
    without = changed(explorer, small, "ellipsoid")
    assert "log det" in small[1] and "log det" not in without[1]
    choose(explorer, "method", "clarabel")  # the order follows: 1 is all that it takes
    control(explorer, "order").locator("select:disabled").wait_for()
    explorer.get_by_role("button", name="Stop").click()
    explorer.get_by_role("button", name="Go on").wait_for()
    assert "this is not the whole answer" in explorer.locator(STATUS).inner_text()
    choose(explorer, "method", "cascade")
    settled(explorer, without)
    assert shown(explorer) == without
    good(page, screenshots / "voila-certify", VOILAS_ICONS)


@pytest.mark.published
def test_mnist_in_voila(serve, watched, screenshots):
    """The paper's network: bounds come one by one, Stop ends a solve, a control that is moved does not wait for it."""
    page = watched(1280)
    explorer, *_ = opened(page, "mnist", voila(serve, page, "explore/certify", network="chen2021-mondeq/mnist-87"))
    first = shown(explorer)
    assert "image 0 (a 7" in first[1]
    for count in (2, 1, 2):  # 0.15 -> 0.1 -> 0.08 -> 0.05
        press(explorer, "epsilon (pixel)", "ArrowLeft", count)
        first = changed(explorer, first, f"mnist: epsilon {count} down")
    choose(explorer, "norm", "2")
    ball = changed(explorer, first, "mnist: norm 2")
    choose(explorer, "norm", "1")  # a minute for its bounds, at least
    started(explorer, ball)
    explorer.get_by_role("button", name="Stop").click()
    explorer.get_by_role("button", name="Go on").wait_for()
    stopped = shown(explorer)
    assert "this is not the whole answer" in explorer.locator(STATUS).inner_text()
    explorer.get_by_role("button", name="Go on").click()
    started(explorer, stopped)
    choose(explorer, "norm", "2")
    assert changed(explorer, stopped, "mnist: back from a solve that runs") == ball
    good(page, screenshots / "voila-mnist", VOILAS_ICONS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_control_changes_the_answer(serve, watched, screenshots, name):
    """In JupyterLab, light, at 1,280 pixels: each control of each explorer, and back."""
    page = watched(1280)
    for explorer in opened(page, name, lab(serve, page, name, LIGHT)):
        for i in range(explorer.locator(CONTROLS).count()):
            moved(explorer, explorer.locator(CONTROLS).nth(i), name)
    good(page, screenshots / f"light-{name.replace('/', '-')}")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_dark_and_narrow(serve, watched, screenshots, name):
    """In JupyterLab, dark, at 800 pixels."""
    page = watched(800)
    opened(page, name, lab(serve, page, name, DARK))
    assert page.evaluate("document.body.dataset.jpThemeLight") == "false"
    stills = page.locator(".jp-RenderedImage img[width]").all()
    assert stills and not any(still.is_visible() for still in stills), "beside a live explorer"
    good(page, screenshots / f"dark-{name.replace('/', '-')}")


# ---------------------------------------------------------------------------------- reading and moving a page


def opened(page, name: str, began: float) -> list:
    """The explorers of a page, when their first answers are complete."""
    failure = page.locator("[data-mime-type='application/vnd.jupyter.stderr']")
    page.locator(EXPLORER).first.wait_for()
    print(f"\n{name}: first picture after {time.monotonic() - began:.1f} s")
    if page.locator(".jp-Notebook").count():
        page.wait_for_function("() => !document.querySelector('.jp-Notebook .jp-mod-busy, .jp-mod-pending')")
        end = time.monotonic() + PATIENCE
        while re.search(r"\[\*\]", " ".join(page.locator(".jp-InputPrompt").all_inner_texts())):
            assert time.monotonic() < end, "cells still run"
            time.sleep(0.2)
    assert not failure.count(), failure.first.inner_text()[-2000:]
    found = page.locator(EXPLORER).all()
    for explorer in found:
        settle(explorer)
    print(f"{name}: complete after {time.monotonic() - began:.1f} s")
    return found


def shown(explorer) -> tuple[str, str, str]:
    """Headline or message, all numbers, and the address-free picture."""
    return tuple(
        explorer.evaluate("""async box => {
        const said = box.querySelector('p[role=alert]') || box.querySelector('div[role=status]');
        const texts = [said.innerText, said.parentElement.innerText];  // before anything is awaited
        const image = box.querySelector('img.widget-image, .widget-image img');
        const hidden = !image || getComputedStyle(image).display === 'none';
        const bytes = hidden ? '' : new Uint8Array(await (await fetch(image.src)).arrayBuffer());
        const digest = hidden ? '' : [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].join();
        return [...texts, digest];
    }""")
    )


def settle(explorer) -> str:
    """Wait until nothing is computed; return the line that says how long it took."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        line = explorer.locator(STATUS).first.inner_text()
        if line and not line.endswith("..."):
            return line
        time.sleep(0.05)
    raise AssertionError(f"still {line!r}")


def started(explorer, before: tuple) -> None:
    """Wait until something of a new answer is shown, but not all."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if shown(explorer) != before and explorer.locator(STATUS).first.inner_text().endswith("..."):
            return
        time.sleep(0.05)
    raise AssertionError("nothing was shown while it was computed")


def changed(explorer, before: tuple, what: str, patience: float = PATIENCE) -> tuple[str, str, str]:
    """Wait until what is shown differs and is complete."""
    began = time.monotonic()
    while time.monotonic() < began + patience:
        if shown(explorer) != before:
            seen = time.monotonic() - began
            now, line = shown(explorer), settle(explorer)
            while (now, line) != (now := shown(explorer), line := settle(explorer)):  # numbers, picture, status come
                time.sleep(0.3)  # one by one
            print(f"{what}: changed after {seen:.1f} s, complete after {time.monotonic() - began:.1f} s ({line})")
            return now
        time.sleep(0.05)
    raise AssertionError(f"{what}: nothing changed")


def moved(explorer, one, name: str) -> None:
    """Move a control, until the answer is another one, and back, when it is the first again.

    Not where a control that follows this one has lost its value on the way.
    """
    own = one.inner_text().replace("\u200b", "").strip().splitlines()[0]
    if (name, own) in IDLE:
        return
    before, what, values = shown(explorer), f"{name}: {own}", chosen(explorer)
    if one.locator("select").count():
        select = one.locator("select")
        if select.is_disabled():
            return
        first = select.evaluate("box => box.selectedIndex")
        others = [i for i in range(select.locator("option").count()) if i != first]
        for i in sorted(others, key=lambda i: (i < first, abs(i - first))):  # neighbours in a list are alike
            select.select_option(index=i)
            if answered(explorer, before):
                break
        restore = partial(select.select_option, index=first)
    elif one.locator("input[type=checkbox]").count():
        restore = one.locator("input[type=checkbox]").click
        restore()
    else:
        handle = one.locator(".noUi-handle").first
        handle.focus()
        place = handle.get_attribute("aria-valuetext")
        handle.press("ArrowRight")
        right = handle.get_attribute("aria-valuetext") != place
        if not right:  # it stands at its right end
            handle.press("ArrowLeft")
        restore = partial(handle.press, "ArrowLeft" if right else "ArrowRight")
    if one.locator("select").count():  # the first part of an answer will do
        end = time.monotonic() + PATIENCE
        while (other := shown(explorer)) == before:
            assert time.monotonic() < end, f"{what}: nothing changed"
            time.sleep(0.05)
    else:
        other = changed(explorer, before, what)
    restore()
    back = changed(explorer, other, f"{what}, back")
    assert back[:2] == before[:2] or chosen(explorer) != values


def chosen(explorer) -> list[str]:
    """What all drop-downs say."""
    return explorer.evaluate("box => [...box.querySelectorAll('select')].map(one => one.value)")


def settled(explorer, before: tuple) -> bool:
    """Whether the complete answer is another one."""
    time.sleep(0.5)
    settle(explorer)
    return shown(explorer) != before


def answered(explorer, before: tuple) -> bool:
    """Whether something else is shown, complete or not: a network of another size may take minutes."""
    time.sleep(2)  # until it is asked for
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        line = explorer.locator(STATUS).first.inner_text()
        if shown(explorer) != before:
            return True
        if line and not line.endswith("..."):
            return False
        time.sleep(0.05)
    raise AssertionError(f"still {line!r}")


def press(explorer, description: str, key: str, times: int) -> None:
    """Move a slider by keys, as a reader without a mouse does."""
    handle = control(explorer, description).locator(".noUi-handle").first
    handle.focus()
    for _ in range(times):
        handle.press(key)


def choose(explorer, description: str, text: str) -> None:
    """Choose from a drop-down."""
    control(explorer, description).locator("select").select_option(label=text)


def control(explorer, description: str):
    """The widget with a description beside it."""
    label = explorer.page.locator(".widget-label").filter(has_text=re.compile(f"^{re.escape(description)}$"))
    return explorer.locator(".widget-inline-hbox").filter(has=label).first


def good(page, path: Path, known: str = "(?!)") -> None:
    """Keep pictures of the explorers; all text can be read, nothing sticks out, no other fault than known ones."""
    for i, explorer in enumerate(page.locator(EXPLORER).all()):
        explorer.scroll_into_view_if_needed()
        file = path.with_name(f"{path.name}-{i}.png")
        explorer.screenshot(path=file)
        print(f"screenshot {file}")
        wide = explorer.evaluate("box => [box.scrollWidth, box.clientWidth]")
        assert wide[0] <= wide[1], f"it is {wide[0]} pixels wide, in {wide[1]}"
    assert not (faint := page.evaluate(FAINT)), faint[:10]
    assert not (faults := [fault for fault in page.faults if not re.search(known, fault)]), faults


#: Texts in the outputs whose contrast with what is behind them is below 4.5 (WCAG 2, AA), with that contrast.
FAINT = """() => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
    const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
    const behind = one => {
        for (; one; one = one.parentElement) {
            const colour = parse(getComputedStyle(one).backgroundColor);
            if (colour.length < 4 || colour[3] > 0.99) return colour;
        }
        return [255, 255, 255];
    };
    const faint = [];
    for (const area of document.querySelectorAll('.jp-OutputArea-output, .jp-MarkdownOutput, .widget-vbox')) {
        const walker = document.createTreeWalker(area, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const text = walker.currentNode.textContent.trim(), one = walker.currentNode.parentElement;
            if (!text || !one.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
            if (one.closest('style, script, button:disabled, select:disabled, math, mjx-container, svg')) continue;
            const [a, b] = [luminance(parse(getComputedStyle(one).color)), luminance(behind(one))];
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (contrast < 4.5) faint.push([text.slice(0, 60), Math.round(contrast * 100) / 100]);
        }
    }
    return faint;
}"""
