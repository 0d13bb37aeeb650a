"""The README: its code runs as it is, its numbers are those of the committed rows."""

import ast
import contextlib
import io
import re

import pytest

from tightrope import paths
from tightrope.workbench import cases, published, runner
from tightrope.workbench import compare as comparing
from tightrope.workbench.records import Store

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_prints_what_stands_below_it():
    """Ten lines, a verdict, and bounds to three decimals."""
    ((code, shown),) = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 10
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "README.md", "exec"), {})
    (verdict, bounds), (expected, values) = (text.split(maxsplit=1) for text in (said.getvalue(), shown))
    assert verdict == expected == "certified"
    for (label, bound), (other, value) in zip(ast.literal_eval(bounds), ast.literal_eval(values), strict=True):
        assert label == other and bound == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize("key", ["", *(paper.key for paper in published.papers())])
def test_the_results_are_those_of_the_committed_rows(tmp_path, monkeypatch, key):
    """`tightrope compare --markdown` writes the table from data/results alone: no network and no image is read."""
    monkeypatch.setenv("TIGHTROPE_DATA", str(tmp_path))
    monkeypatch.setenv("TIGHTROPE_OFFLINE", "1")
    for read in (cases.dataset, cases.entry, cases.network_sha256):
        read.cache_clear()
    text = (paths.PAPERS / key / "README.md").read_text(encoding="utf-8") if key else README
    block = re.search(r"<!-- results: .*?-->\n(.*?)\n?<!-- end of results -->", text, re.DOTALL).group(1)
    results = [result for result in published.results() if key in ("", result.paper)]
    defaults = {result.key: runner.defaults(result) for result in results if result.runnable}
    with Store(tmp_path / "records.sqlite", folder=paths.RESULTS) as store:
        lines = comparing.compare(results, store, defaults)
        table = comparing.paper_table(results, lines, store) if key else comparing.summary_table(lines)
    assert block.strip() == table.to_markdown().strip(), f"paste the output of `tightrope compare --markdown {key}`"


def test_pictures_and_pages_exist():
    """No link into the repository is dead."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (paths.ROOT / target).is_file(), target
