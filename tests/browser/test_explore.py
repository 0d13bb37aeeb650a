"""The explorer in a real browser: in JupyterLab and in Voila, every control moved, numbers and picture read.

Run by `make browser`; conftest.py says what it needs and where screenshots go.
"""

import json
import os
import re
import shutil
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

    def start(*command: str) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
        own["JUPYTERLAB_SETTINGS_DIR"] = str(settings(tmp_path / "settings"))
        # A copy: the page may save the notebook.
        shutil.copy(NOTEBOOK, tmp_path)
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
    """The notebook as a page."""
    pytest.importorskip("voila", reason="needs the extra `browser`")
    url = serve("voila", "certify.ipynb", "--no-browser", "--port={port}", "--Voila.ip=127.0.0.1")
    began = time.monotonic()
    page.goto(url)
    walk(page, screenshots, "voila", began)


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
    shown_or_failed = "div[role=status], p[role=alert], [data-mime-type='application/vnd.jupyter.stderr']"
    page.wait_for_selector(shown_or_failed)
    failure = page.locator("[data-mime-type='application/vnd.jupyter.stderr']")
    assert not failure.count(), failure.first.inner_text()[-2000:]
    print(f"\n{name}: first picture after {time.monotonic() - began:.1f} s")
    settle(page)
    print(f"{name}: complete after {time.monotonic() - began:.1f} s")
    shot(page, screenshots / f"{name}-0-first.png")
    first = shown(page)
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
    choose(page, "method", "reduced-dual")
    refused = changed(page, without, f"{name}: a method that refuses the order")
    assert refused[0].startswith("order: 1+cuts goes with")
    shot(page, screenshots / f"{name}-3-refused.png")
    choose(page, "method", "cascade")
    assert changed(page, refused, f"{name}: and back") == without


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
            line = settle(page)
            now = shown(page)
            print(f"{what}: {time.monotonic() - began:.1f} s ({line})")
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
