"""The report in a real browser, opened from disk: two widths, light and dark, its filter, its links."""

import pytest

from tightrope.report import site

pytestmark = pytest.mark.browser

WIDE, NARROW = 1280, 390
SHOWN = "tr[data-agreement]:visible, .absent > ul > li:visible"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> site.Site:
    """The report of this repository."""
    return site.write(tmp_path_factory.mktemp("report") / "site")


@pytest.fixture(scope="module", params=[WIDE, NARROW], ids=["wide", "narrow"])
def page(request, open_browser, written):
    """The index; every request that is not for a file of the report is an error."""
    context = open_browser(request.param, 1000, color_scheme="light" if request.param == WIDE else "dark")
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith("file:") or page.errors.append(asked.url))
    return page


def test_nothing_sticks_out(page, written, screenshots):
    """No page is wider than the window, whatever its tables and formulas are."""
    folder = written.index.parent
    for path in [written.index, *sorted((folder / "notebooks").rglob("*.html")), *sorted(folder.glob("papers/*.html"))]:
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        width, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= window, path
        if path == written.index:
            page.screenshot(path=screenshots / f"report-{window}.png")
            for image in page.locator("img").all():  # they are loaded when they come into view
                image.scroll_into_view_if_needed()
                page.wait_for_function("image => image.complete", arg=image.element_handle())
                assert image.evaluate("image => image.naturalWidth") > 100
            page.locator(".result").first.scroll_into_view_if_needed()
            page.screenshot(path=screenshots / f"report-{window}-results.png")
    assert not page.errors


def test_the_filter_shows_what_is_asked_for(page, written, screenshots):
    page.goto(written.index.as_uri())
    count = page.locator("#shown")
    all_lines = sum(written.counts.values())
    assert count.inner_text() == f"{all_lines} shown"
    for kind, expected in written.counts.items():
        if kind == "not run":  # results without any number are counted too
            continue
        button = page.get_by_role("button", name=f"{kind} {expected}")
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert count.inner_text() == f"{expected} of {all_lines} shown"
        assert page.locator(SHOWN).count() == expected
        button.click()
    words = page.locator("#words")
    words.fill("linf-0.05 pgd")
    texts = page.locator(SHOWN).all_inner_texts()
    assert any("L-infinity 0.05, PGD" in text for text in texts) and len(texts) < all_lines
    page.screenshot(path=screenshots / f"report-{page.viewport_size['width']}-filter.png")
    words.fill("no such words")
    assert page.locator(SHOWN).count() == 0 and count.inner_text() == f"0 of {all_lines} shown"
    words.fill("")
    assert count.inner_text() == f"{all_lines} shown" and not page.errors


def test_a_number_of_the_table_leads_to_its_reason(page, written):
    page.goto(written.index.as_uri())
    link = page.locator(".grid a").first
    line = page.locator(f"[id='{link.get_attribute('href')[1:]}']")
    assert not line.is_visible()
    link.click()
    line.wait_for(state="visible")
    assert line.get_attribute("data-agreement") in link.inner_text()
