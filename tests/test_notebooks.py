"""Rules that every notebook keeps."""

import ast
import re
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from tightrope import paths
from tightrope.report import gallery
from tightrope.report.site import GALLERY, SITE
from tightrope.workbench import published

NOTEBOOKS = sorted(paths.NOTEBOOKS.rglob("*.ipynb"))
RESULTS = {result.notebook: result for result in published.results() if result.runnable}
LINK = re.compile(r"""\]\(([^)\s]+)\)|src="([^"]+)\"""")
#: Cells with these can leave a kernel that runs without a browser waiting for ever.
HANGING = {"Output", "interact", "interactive", "interactive_output", "interact_manual"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_without_a_browser(path):
    """No Output, no interact; what they need is imported from the library; no saved widget state."""
    notebook = nbformat.read(path, as_version=4)
    names = set()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                names |= {getattr(node, name) for name in ("id", "attr", "module") if hasattr(node, name)}
                names |= {alias.name for alias in getattr(node, "names", ()) if isinstance(alias, ast.alias)}
    assert not names & (HANGING | {"ipywidgets"})
    assert "widgets" not in notebook.metadata


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_link_of_a_notebook_is_broken(path):
    """Files of the repository, or places of the report, which `make report` writes."""
    report = {f"{result.paper}-{result.name}" for result in RESULTS.values()} | {""}
    for cell in nbformat.read(path, as_version=4).cells:
        for found in LINK.finditer(cell.source) if cell.cell_type == "markdown" else ():
            link = urlsplit(found[1] or found[2])
            if link.scheme != "https":
                target = (path.parent / unquote(link.path)).resolve()
                assert link.fragment in report if target == SITE.resolve() else target.is_file(), found[0]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_begins_at_the_papers_size(path):
    """Claim and links, what is found, then the drawing and the printed numbers from kept rows, before any parameter."""
    first, finding, shown, seen, *rest = nbformat.read(path, as_version=4).cells
    papers = {paper.key: paper for paper in published.papers()}
    assert first.source.endswith(gallery.links(RESULTS[path], papers, published.results()))
    assert finding.source.startswith("## ") and seen.cell_type == "markdown" and seen.source
    assert shown.source.endswith(".at_paper_size()") and shown.outputs
    assert any("parameters" in cell.metadata.get("tags", ()) for cell in rest)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_stored_table_is_empty(path):
    """Nor has it two columns of one name, or numbers that do not stand to the right."""
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", ()):
            lines = output.get("data", {}).get("text/markdown", "").splitlines()
            assert len(lines) != 2, cell.source
            if lines and lines[0].startswith("|"):
                head, rule, *rows = ([part.strip() for part in line.strip("|").split("|")] for line in lines)
                assert len(set(head)) == len(head), cell.source
                for side, column in zip(rule, zip(*rows, strict=True), strict=True):
                    assert side == "---:" or not all(re.fullmatch(r"-?[\d.]+", one) for one in column), cell.source


def test_the_gallery_is_what_its_command_writes():
    """`make gallery`; it leads to every notebook, by question and by paper."""
    written = nbformat.read(GALLERY, as_version=4)
    assert [cell.source for cell in written.cells] == [cell.source for cell in gallery.gallery().cells]
    questions, *papers = written.cells[1:]
    for path in set(NOTEBOOKS) - {GALLERY}:
        link = f"({path.relative_to(paths.NOTEBOOKS).as_posix()})"
        assert questions.source.count(link) == 1, link
        assert path not in RESULTS or sum(paper.source.count(link) for paper in papers) == 1
