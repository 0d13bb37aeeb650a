"""The report: complete, without a broken link, and quiet on the network."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from click.testing import CliRunner

from tightrope import cli, paths
from tightrope.errors import CorruptDataError, InputError
from tightrope.report import api, contents, notebooks, site
from tightrope.workbench import compare, published
from tightrope.workbench.published import Cell, Paper, Result
from tightrope.workbench.records import Store

#: Attributes that a browser follows.
FOLLOWED = {"href", "src", "srcset", "poster", "data", "action"}


class _Reader(HTMLParser):
    """What a page points at, and which places in it can be pointed at."""

    def __init__(self, page: Path):
        super().__init__()
        self.links, self.loads, self.places, self.tags, self.pictures = [], [], [], [], []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs).get("alt", ""))
        for name, value in attrs:
            if name == "id":
                self.places.append(value)
            elif name in FOLLOWED:
                (self.links if tag == "a" else self.loads).append(value)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> site.Site:
    """The report of this repository; of the API some pages, where pdoc is installed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(api, "modules", lambda: ["tightrope", "tightrope.cells", "tightrope.verifiers.constants"])
        return site.write(tmp_path_factory.mktemp("report") / "site")


@pytest.fixture(scope="module")
def pages(written) -> dict[Path, _Reader]:
    return {page: _Reader(page) for page in sorted(written.index.parent.rglob("*.html"))}


def test_no_link_is_broken(pages):
    """Every href and src, and every place in a page that one leads to."""
    broken, checked = [], 0
    for page, reader in pages.items():
        for link in (*reader.links, *reader.loads):
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto"):
                continue
            assert not parts.scheme, f"{page}: {link}"
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            checked += 1
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in pages[target].places):
                broken.append(f"{page.name}: {link}")
    assert not broken
    assert checked > 50


def test_nothing_is_loaded_from_a_network(written, pages):
    loads = [link for reader in pages.values() for link in reader.loads]
    assert loads and not [link for link in loads if "//" in link or link.startswith("data:")]
    style = (written.index.parent / "style.css").read_text(encoding="utf-8")
    assert "url(" not in style and "@import" not in style
    for page in pages:
        for script in re.findall(r"<script.*?</script>", page.read_text(encoding="utf-8"), re.S):
            assert "src=" not in script.split(">")[0] and "http" not in script


def test_pictures_are_said_in_words_and_the_contents_can_be_skipped(written, pages):
    """No two pictures of the page of results are called the same; its first link leads past the contents."""
    for page, reader in pages.items():
        assert all(reader.pictures), page
    index = pages[written.index]
    assert len(index.pictures) == len(set(index.pictures)) >= 30
    assert index.links[0].removeprefix("#") in index.places
    assert index.tags.index("nav") > index.tags.index("a")


def test_places_in_a_page_are_unique(pages):
    for page, reader in pages.items():
        assert len(reader.places) == len(set(reader.places)), page


def test_every_result_and_every_printed_number_is_there(written, pages):
    """As many numbers as `compare` has, each once, and a page for each notebook."""
    index = pages[written.index]
    results = published.results()
    for result in results:
        assert f"{result.paper}-{result.name}" in index.places
        for cell in result.cells:
            assert f"{result.paper}-{cell.id.replace('/', '-')}" in index.places
        if result.runnable:
            assert f"notebooks/{result.paper}/{result.name}.html" in index.links
    with Store() as store:
        lines = compare.compare(results, store)
    times = [line for line in lines if line.cell.kind == "timing" and line.agreement != "not run"]
    # A drawing without a printed number is a line of `compare`, and no number here.
    drawn = [result for result in results if result.runnable and not result.cells]
    assert sum(written.counts.values()) == len(lines) - len(drawn) and written.counts["time"] == len(times)
    for word in ("disagrees", "looser", "tighter"):
        assert written.counts[word] == sum(line.agreement == word for line in lines if line not in times)


def test_every_agreement_is_explained(written):
    """The legend has a badge and words for each."""
    legend = re.search(r'<dl class="legend">.*?</dl>', written.index.read_text(encoding="utf-8"), re.DOTALL)[0]
    for word in compare.AGREEMENTS:
        assert f'class="badge {word.replace(" ", "-")}"' in legend


def test_numbers_with_certificates_are_marked(written):
    """Proven where every certified row behind a number has one, else computed; the legend says so."""
    text = written.index.read_text(encoding="utf-8")
    results = [published.find("table-2-certified-ratio"), published.find("table-3-lipschitz-bounds")]
    with Store() as store:
        lines = compare.compare(results, store)
    for line in lines:
        start = text.index(f'<tr id="{line.result.paper}-{line.cell.id.replace("/", "-")}"')
        row = text[start : text.index("</tr>", start)]
        assert re.findall(r'class="proof (\w+)"', row) == [line.proof] * bool(line.proof)
    assert {line.proof for line in lines} >= {"", "proven"}
    assert all(f"<dt>{mark} {word}</dt>" in text for word, mark in contents.PROOFS.items())


def test_it_opens_quickly(written):
    """The index is text; pictures are files of their own."""
    assert written.index.stat().st_size < 2e6
    assert "base64" not in written.index.read_text(encoding="utf-8")
    assert written.pages == len(list(written.index.parent.rglob("*.html")))


def test_formulas_are_drawn_by_the_browser(pages):
    """MathML; no dollar sign of TeX is left in the text of a notebook."""
    drawn = 0
    for page, reader in pages.items():
        drawn += reader.tags.count("math")
        if "notebooks" in page.parts:
            body = re.sub(r"<(pre|code|annotation)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)
            assert "$" not in body, page
    assert drawn > 20


def test_a_report_replaces_a_report_and_nothing_else(written, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a report"):
        site.write(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="is a file"):
        site.write(tmp_path / "thesis.tex")
    site._check(written.index.parent)  # a report may be replaced
    site._check(tmp_path / "nothing there")


def test_the_command(monkeypatch, written, tmp_path):
    asked = []
    monkeypatch.setattr("tightrope.report.write", lambda folder: asked.append(folder) or written)
    done = CliRunner().invoke(cli.main, ["report", "--output", str(tmp_path / "site")])
    assert done.exit_code == 0 and "index.html" in done.output and " MB" in done.output
    assert asked == [tmp_path / "site"]


# ------------------------------------------------------------------------------------------------ contents


@pytest.fixture
def section(tmp_path):
    """A result of four numbers, one of them a time, without rows and drawings."""
    cells = (
        Cell("table-9/l2/sdp", 24, "deterministic", unit="%", interval=(16, 34)),
        Cell("table-9/l2/pgd", 82, "bound", side="upper", unit="%"),
        Cell("table-9/seconds", 1350, "timing"),
        Cell("table-9/linf/sdp", 3, "bound", side="upper"),
    )
    result = Result("paper", "table-9-nothing", "Table 9", "Nothing", "deterministic", cells)
    lines = [
        compare.Comparison(result, cells[0], 24.0, "reproduced", "", "paper", "proven"),
        compare.Comparison(result, cells[1], 75, "disagrees", "a reason", "paper"),
        compare.Comparison(result, cells[2], 3.21, "reproduced", f"mean; {compare.TIMING}", "paper"),
        compare.Comparison(result, cells[3], 2.00001, "not run", "quick only", "quick"),
    ]
    figures = tmp_path / "figures"
    with Store(tmp_path / "rows.sqlite") as store:
        (chapter,) = contents.chapters([Paper("paper", "A title", "")], [result], lines, store, figures)
    assert sum(chapter.counts.values()) == 4
    return chapter.sections[0]


def test_a_time_is_shown_and_not_judged(section):
    (time,) = section.times
    assert (time.cell.text, time.ours) == ("1350", "3.21")
    assert time.agreement == "time" and time.reason == "mean"
    assert section.counts == {"reproduced": 1, "disagrees": 1, "not run": 1, "time": 1}


def test_numbers_keep_interval_profile_and_reason(section):
    first, second, last = section.lines
    assert (first.cell.text, first.cell.interval, first.ours) == ("24", (16, 34), "24")
    assert section.notes == ((("disagrees", "a reason"), (second,)),) and second.reason == "a reason"
    assert (last.profile, last.agreement, first.profile) == ("quick", "not run", "paper")
    assert last.ours == "2.001"  # a bound is rounded outward
    assert (first.proof, second.proof) == ("proven", "")


def test_lines_are_laid_out_as_a_table(section):
    grid = section.grid
    assert grid.columns == ("sdp", "pgd") and [row for row, _ in grid.rows] == ["l2", "linf"]
    assert grid.rows[1][1][1] is None and grid.rows[0][1][1].reason == "a reason"
    assert grid.unit == ""  # not all are percent


def test_drawings_of_the_papers_size_come_first(tmp_path):
    png = paths.FIGURES.parent / "figures" / "chen2021-mondeq" / "table-2-certified-ratio.paper.png"
    for name in ("table-9-nothing.quick", "table-9-extra.quick", "table-90-other.quick"):
        (tmp_path / f"{name}.png").write_bytes(png.read_bytes())
    own, extra = contents.pictures(tmp_path, "table-9-nothing")
    assert own.files[0].name == "table-9-nothing.quick.png" and extra.profile == "quick"
    assert own.width > own.height > 100
    (tmp_path / "table-9-nothing.paper.png").write_bytes(png.read_bytes())
    (tmp_path / "table-9-nothing.paper.csv").write_text("a")
    (own,) = contents.pictures(tmp_path, "table-9-nothing")
    assert own.profile == "paper" and [file.suffix for file in own.files] == [".png", ".csv"]


def test_rows_tell_where_numbers_come_from(tmp_path):
    result = Result("paper", "table-9-nothing", "Table 9", "Nothing", "deterministic")
    with Store(tmp_path / "rows.sqlite") as store:
        assert contents._origin(result, store) is None
        for image in range(3):
            case = {"paper": "paper", "result": result.name, "profile": "paper", "image": image}
            store.put(case, {"seconds": 1.5})
        origin = contents._origin(result, store)
    assert (origin.profile, origin.count, origin.seconds) == ("paper", 3, 4.5)
    assert len(origin.made_by) == 1 and "processors; tightrope" in origin.made_by[0] and "numpy" in origin.made_by[0]


# ------------------------------------------------------------------------------------------------ notebooks


def test_a_notebook_page_needs_no_kernel(tmp_path):
    """Widgets leave their text, pictures become files with a name, links lead to pages or nowhere."""
    output = nbformat.v4.new_output
    code = nbformat.v4.new_code_cell(
        "draw()",
        outputs=[
            output("display_data", {"text/plain": "<drawing: bars>", "image/png": "iVBORw0KGgo="}),
            output("display_data", {"text/plain": "controls", "application/vnd.jupyter.widget-view+json": {}}),
        ],
    )
    text = "# A < B\n\n[there](other.ipynb), [lost](gone.md), [out](https://example.org); $x_1 < 2$\n\n$$ a & b $$"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text), code], metadata={"widgets": {"s": 1}})
    path = tmp_path / "book.ipynb"
    nbformat.write(book, path)
    page = notebooks.notebook(path, "book", {"other.ipynb": "other.html"}.get)
    assert page.title == "A < B"
    (name,) = page.files
    assert f'src="{name}"' in page.body and 'alt="drawing: bars"' in page.body
    assert '<a href="other.html">there</a>' in page.body and "lost" in page.body and "gone.md" not in page.body
    assert "https://example.org" in page.body and page.body.count("<math") == 2 and "$" not in page.body
    assert "controls" in page.body and "<script" not in page.body


def test_a_formula_that_cannot_be_read_stays(monkeypatch):
    def fail(*_, **__):
        raise IndexError

    monkeypatch.setattr(notebooks, "convert", fail)
    assert notebooks.mathml("a < b", "inline") == "<code>a &lt; b</code>"


@pytest.mark.parametrize("text", ["{", "{}", "[1]"])
def test_a_damaged_notebook_is_named(tmp_path, text):
    """An executed copy that was cut off, for instance."""
    path = tmp_path / "cut.ipynb"
    path.write_text(text)
    with pytest.raises(CorruptDataError, match=r"cut\.ipynb is not a notebook"):
        notebooks.notebook(path, "cut", lambda url: None)


def test_comparisons_with_exact_answers_are_counted(tmp_path, written):
    """Those of the committed file; nothing is said without one."""
    assert contents.soundness(tmp_path / "soundness.json") == ""
    (tmp_path / "soundness.json").write_text('{"total": {"comparisons": 1234567, "wrong": 0, "cases": 1}, "runs": []}')
    said = contents.soundness(tmp_path / "soundness.json")
    assert said == "1,234,567 comparisons with exact answers, 0 wrong"
    assert contents.soundness() in written.index.read_text(encoding="utf-8")


def test_other_verifiers_are_shown_as_measured(tmp_path, written):
    """Those of the committed file; nothing is shown without one."""
    assert contents.peers(tmp_path / "peers.json") is None
    page = written.index.read_text(encoding="utf-8")
    table = contents.peers()
    assert table.about in page
    for name, *numbers in table.rows:
        assert f'<th scope="row">{name}</th>' + "".join(f'<td class="number">{one}</td>' for one in numbers) in page
