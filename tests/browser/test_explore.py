"""The explorer in a real browser: in JupyterLab and in Voila, every control moved, numbers and picture read.

Run by `make browser`; conftest.py says what it needs and where screenshots go.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tightrope import paths

pytestmark = pytest.mark.browser

NOTEBOOK = paths.NOTEBOOKS / "explore" / "certify.ipynb"
#: Seconds that any step may take on a busy machine; how long it took is printed, not asserted.
PATIENCE = 120
#: Seconds in which Voila runs the notebook before the page is opened.
WARM = 10
VOILA = (
    "voila",
    NOTEBOOK.name,
    "--no-browser",
    "--port={port}",
    "--Voila.ip=127.0.0.1",
    "--preheat_kernel=True",
    "--pool_size=1",
)


@pytest.fixture(scope="module")
def page(open_browser):
    """A page of a fresh browser."""
    context = open_browser(1300, 1100)
    context.set_default_timeout(PATIENCE * 1000)
    return context.new_page()


@pytest.fixture
def serve(tmp_path):
    """Start a server on a free port with a configuration of its own, and end it afterwards."""
    started = []

    def start(*command: str, network: str = "") -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
        own["JUPYTERLAB_SETTINGS_DIR"] = str(settings(tmp_path / "settings"))
        # A copy: the page may save the notebook.
        text = NOTEBOOK.read_text(encoding="utf-8")
        (tmp_path / NOTEBOOK.name).write_text(text.replace("digits/mondeq-16", network) if network else text)
        log = open(tmp_path / "server.log", "wb")
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port, folder=tmp_path) for part in command)],
            env=os.environ | own | {"TIGHTROPE_OFFLINE": "1"},
            cwd=tmp_path,
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
        process.wait(timeout=30)
        log.close()


def settings(folder: Path) -> Path:
    """JupyterLab keeps every cell in the page, also those out of sight, and asks for no news."""
    for name, content in (
        ("notebook-extension/tracker", {"windowingMode": "none"}),
        ("apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False}),
    ):
        file = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    return folder


def test_voila(page, serve, screenshots):
    """The notebook as a page; Voila runs it before anybody asks for it."""
    pytest.importorskip("voila", reason="needs the extra `browser`")
    url = serve(*VOILA)
    time.sleep(WARM)
    began = time.monotonic()
    page.goto(url)
    walk(page, screenshots, "voila", began)


@pytest.mark.published
def test_mnist_in_voila(page, serve, screenshots):
    """The paper's network: bounds come one by one, and a control that is moved does not wait for the solve before."""
    pytest.importorskip("voila", reason="needs the extra `browser`")
    url = serve(*VOILA, network="chen2021-mondeq/mnist-87")
    time.sleep(WARM)
    began = time.monotonic()
    page.goto(url)
    first = opened(page, "mnist", began)
    assert "image 0 (a 7" in first[1]
    for count in (2, 1, 2):  # 0.15 -> 0.1 -> 0.08 -> 0.05
        press(page, "epsilon (pixel)", "ArrowLeft", count)
        first = changed(page, first, f"mnist: epsilon {count} down")
    choose(page, "norm", "2")
    ball = changed(page, first, "mnist: norm 2, clipped")
    page.get_by_label("clip to pixels in [0, 1]").click()
    ball = changed(page, ball, "mnist: norm 2")
    shot(page, screenshots / "mnist-1-l2.png")
    choose(page, "norm", "1")  # a minute for its bounds, at least
    part = started(page, ball)
    choose(page, "norm", "2")
    assert changed(page, part, "mnist: back from a solve that runs") == ball
    press(page, "image", "ArrowRight", 1)
    other = changed(page, ball, "mnist: image")
    assert "image 1 (a 2" in other[1]
    shot(page, screenshots / "mnist-2-image.png")


def test_jupyterlab(page, serve, screenshots):
    """The notebook in the laboratory, all cells run by its own command."""
    url = serve("jupyter", "lab", "--no-browser", "--expose-app-in-browser", "--ip=127.0.0.1", "--port={port}",
                "--allow-root", "--IdentityProvider.token=", "--ServerApp.root_dir={folder}")  # fmt: skip
    page.goto(f"{url}/lab/tree/certify.ipynb?reset")
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
    walk(page, screenshots, "jupyterlab", began)


def walk(page, screenshots: Path, name: str, began: float) -> None:
    """Move every control; each time the picture or the numbers change, and back they are what they were."""
    first = opened(page, name, began)
    shot(page, screenshots / f"{name}-0-first.png")
    assert first[0] == "falsified: a point of the region does not have the true label" and "image 0 (a 0" in first[1]

    press(page, "epsilon (pixel)", "ArrowLeft", 4)  # 0.15 -> 0.05
    small = changed(page, first, f"{name}: epsilon")
    assert small[0].startswith("certified: ")
    shot(page, screenshots / f"{name}-1-epsilon.png")
    choose(page, "norm", "2")
    other = changed(page, small, f"{name}: norm")
    choose(page, "norm", "infinity")
    assert changed(page, other, f"{name}: norm back") == small
    page.get_by_label("clip to pixels in [0, 1]").click()
    ball = changed(page, small, f"{name}: clip")
    press(page, "image", "ArrowRight", 2)
    image = changed(page, ball, f"{name}: image")
    assert "image 2 (a 0" in image[1]
    for control, text in (("network", "digits/mondeq-32"), ("ellipse of", "3"), ("and of", "5"),
                          ("method", "interior-point"), ("order", "1+cuts"), ("method", "cascade")):  # fmt: skip
        choose(page, control, text)
        image = changed(page, image, f"{name}: {control} {text}", picture_only=control in ("ellipse of", "and of"))
    shot(page, screenshots / f"{name}-2-others.png")
    page.get_by_label("outer ellipsoid").click()
    without = changed(page, image, f"{name}: ellipsoid")
    assert "log det" in image[1] and "log det" not in without[1]
    choose(page, "method", "clarabel")  # the order follows: 1 is all that it takes
    other = changed(page, without, f"{name}: a method of one order")
    choose(page, "method", "cascade")
    assert changed(page, other, f"{name}: and back") != other
    shot(page, screenshots / f"{name}-3-methods.png")


def opened(page, name: str, began: float) -> tuple[str, str, str]:
    """What is shown when the first answer is complete."""
    shown_or_failed = "div[role=status], p[role=alert], [data-mime-type='application/vnd.jupyter.stderr']"
    page.wait_for_selector(shown_or_failed)
    failure = page.locator("[data-mime-type='application/vnd.jupyter.stderr']")
    assert not failure.count(), failure.first.inner_text()[-2000:]
    print(f"\n{name}: first picture after {time.monotonic() - began:.1f} s")
    settle(page)
    print(f"{name}: complete after {time.monotonic() - began:.1f} s")
    return shown(page)


def started(page, before: tuple) -> tuple[str, str, str]:
    """Wait until something of a new answer is shown, but not all."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        now = shown(page)
        if now != before and page.locator("small[aria-live=polite]").first.inner_text().endswith("..."):
            return now
        time.sleep(0.05)
    raise AssertionError("nothing was shown while it was computed")


def shown(page) -> tuple[str, str, str]:
    """Headline or message, all numbers, and the address-free picture."""
    return tuple(
        page.evaluate("""async () => {
        const said = document.querySelector('div[role=status], p[role=alert]');
        const texts = [said.innerText, said.parentElement.innerText];  // before anything is awaited
        const image = document.querySelector('img.widget-image, .widget-image img');
        const hidden = !image || getComputedStyle(image).display === 'none';
        const bytes = hidden ? '' : new Uint8Array(await (await fetch(image.src)).arrayBuffer());
        const digest = hidden ? '' : [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].join();
        return [...texts, digest];
    }""")
    )


def settle(page) -> str:
    """Wait until nothing is computed; return the line that says how long it took."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        line = page.locator("small[aria-live=polite]").first.inner_text()
        if not line.endswith("..."):
            return line
        time.sleep(0.05)
    raise AssertionError(f"still {line!r}")


def changed(page, before: tuple, what: str, picture_only: bool = False) -> tuple[str, str, str]:
    """Wait until what is shown differs and is complete."""
    end = time.monotonic() + PATIENCE
    began = time.monotonic()
    while time.monotonic() < end:
        now = shown(page)
        if now != before:
            seen = time.monotonic() - began
            line = settle(page)
            now = shown(page)
            print(f"{what}: changed after {seen:.1f} s, complete after {time.monotonic() - began:.1f} s ({line})")
            assert now[2] != before[2]
            return now
        time.sleep(0.05)
    raise AssertionError(f"{what}: nothing changed")


def press(page, description: str, key: str, times: int) -> None:
    """Move a slider by keys, as a reader without a mouse does."""
    handle = control(page, description).locator(".noUi-handle").first
    handle.focus()
    for _ in range(times):
        handle.press(key)


def choose(page, description: str, text: str) -> None:
    """Choose from a drop-down."""
    control(page, description).locator("select").select_option(label=text)


def control(page, description: str):
    """The widget with a description beside it."""
    label = page.locator(".widget-label, .jupyter-widget-label").filter(
        has_text=re.compile(f"^{re.escape(description)}$")
    )
    return page.locator(".widget-inline-hbox, .jupyter-widget-inline-hbox").filter(has=label).first


def shot(page, path: Path) -> None:
    """Keep a picture of the explorer."""
    page.locator("div[role=status], p[role=alert]").first.scroll_into_view_if_needed()
    page.screenshot(path=path)
    print(f"screenshot {path}")
