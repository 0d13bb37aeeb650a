"""A browser: Debian's chromium, driven by Playwright of the extra `browser`; without them the tests are skipped.

Screenshots go to the folder named by the environment variable TIGHTROPE_SCREENSHOTS, or to pytest's temporary folder.
"""

import os
import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def open_browser(tmp_path_factory):
    """A function (width, height, **options) -> context of a fresh browser, closed when the module is done."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    with playwright.sync_playwright() as driver:
        contexts = []

        def launch(width: int, height: int, **options):
            context = driver.chromium.launch_persistent_context(
                str(tmp_path_factory.mktemp("profile")),
                executable_path=CHROMIUM,
                headless=True,
                args=FLAGS,
                viewport={"width": width, "height": height},
                **options,
            )
            contexts.append(context)
            return context

        yield launch
        for context in contexts:
            context.close()


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory) -> Path:
    """Where screenshots go."""
    named = os.environ.get("TIGHTROPE_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
