"""The README: its code runs as it is, its numbers are those of the committed rows."""

import contextlib
import hashlib
import io
import re
from itertools import pairwise

import pytest
import yaml
from click.testing import CliRunner

from tests.notebook_outputs import NUMBER, step, words
from tightrope import paths
from tightrope.cli import main
from tightrope.workbench import cases, published
from tightrope.workbench import compare as comparing
from tightrope.workbench.records import Store

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")


#: Relative: what a solver or an attack found is another number on another processor. Less than a unit in the last digit
#: that is shown counts for nothing.
TOLERANCE = 0.02
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
QUESTIONS = re.findall(r"^\| .*? \| `(tr\..*?)` \| (.*?) \| .*\|$", README, re.MULTILINE)
COMMANDS = [text for _, text in BLOCKS if text.startswith("$ ")]


def assert_agree(stored: str, now: str) -> None:
    """Words are the same, numbers within the tolerance; seconds are only there."""
    stored, now = (re.sub(r"(?m)^seconds +[\d.e-]+$", "seconds", text) for text in (stored, now))
    assert words(stored) == words(now), now
    for old, new in zip(NUMBER.findall(stored), NUMBER.findall(now), strict=True):
        allowed = max(float(step(old)), TOLERANCE * abs(float(old)))
        assert abs(float(old) - float(new)) <= allowed, f"{old} stored, {new} now:\n{now}"


@pytest.fixture(scope="module")
def example():
    """What the first block defines, and what it prints."""
    (code,) = [text for language, text in BLOCKS if language == "python"]
    names, said = {}, io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "README.md", "exec"), names)
    return names, said.getvalue()


def test_the_example_prints_what_stands_below_it(example):
    """Five lines and a seed, and a table."""
    (language, code), (_, shown) = next(pair for pair in pairwise(BLOCKS) if pair[0][0] == "python")
    assert language == "python" and len([line for line in code.splitlines() if line]) <= 6
    assert_agree(shown, example[1])
    assert shown.startswith("label 0, predicted 0: certified")


@pytest.mark.parametrize(("code", "answer"), QUESTIONS, ids=lambda text: text[:40])
def test_each_question_has_its_answer(example, code, answer, tmp_path, monkeypatch):
    """One line of Python for each row of the table."""
    monkeypatch.chdir(tmp_path)
    found = eval(code, dict(example[0]))
    if answer == "its SHA-256":
        assert hashlib.sha256((tmp_path / "image.cert").read_bytes()).hexdigest() == found
    else:
        assert_agree(answer, re.fullmatch(r"<\w+: (.*)>", repr(found))[1])


@pytest.mark.parametrize("block", COMMANDS, ids=lambda text: text.split()[2])
def test_each_command_prints_what_stands_below_it(block, monkeypatch, tmp_path):
    """From the repository's folder; what it writes is a file that is proven."""
    if ".onnx" in block:
        pytest.importorskip("onnx")
    monkeypatch.chdir(paths.ROOT)
    command, shown = block.split("\n", 1)
    certificate = str(tmp_path / "image-0.cert")
    words = [certificate if word == "image-0.cert" else word for word in command.split()]
    assert words[:2] == ["$", "tightrope"]
    done = CliRunner().invoke(main, words[2:])
    assert done.exit_code == 0, done.output
    assert_agree(shown, done.stdout)
    if certificate in words:
        said = CliRunner().invoke(main, ["verify", certificate]).stdout
        assert_agree(re.search(r"`(PROVEN .*?)`", README)[1], said.splitlines()[0].split(": ", 1)[1])


def test_every_block_is_one_of_these():
    """Python with its output, commands with theirs, and commands of make, which CONTRIBUTING.md explains."""
    makefile = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    rest = [text for language, text in BLOCKS if language != "python" and text not in COMMANDS]
    outputs = [after[1] for before, after in pairwise(BLOCKS) if before[0] == "python"]
    for text in (text for text in rest if text not in outputs):
        for line in text.splitlines():
            target = re.match(r"make (\w+) ", line)
            known = (
                re.search(rf"^{target[1]}:", makefile, re.MULTILINE) if target else line.startswith(("cd ", "source "))
            )
            assert known, line
    assert {"make reproduce", "make test"} <= set(re.findall(r"^make \w+", README, re.MULTILINE))
    assert len(QUESTIONS) >= 9 and len(COMMANDS) >= 2


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
    with Store(tmp_path / "records.sqlite", folder=paths.RESULTS) as store:
        lines = comparing.compare(results, store)
        table = comparing.paper_table(results, lines, store) if key else comparing.summary_table(lines)
    assert block.strip() == table.to_markdown().strip(), f"paste the output of `tightrope compare --markdown {key}`"


def test_the_papers_stand_by_title_and_link():
    """Those that are reproduced, as CITATION.cff has them, with the page of each."""
    references = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    said, keys = " ".join(README.split()), [paper.key for paper in published.papers()]
    for reference in references:
        assert f"*{reference['title']}*" in said and f"]({reference['url']})" in said
        assert all(author["family-names"] in said for author in reference["authors"])
    assert all(f"(papers/{key}/README.md)" in said for key in keys) and len(keys) == len(references)


def test_pictures_and_pages_exist():
    """No link into the repository is dead."""
    for target in re.findall(r"\]\(([^)#]+)\)|(?:href|src)=\"([^\"#]+)\"", README):
        target = "".join(target)
        if not target.startswith("http"):
            assert (paths.ROOT / target).is_file(), target
