"""The way from notebook to notebook: the gallery, notebooks/index.ipynb, and the line of links in each first cell.

``python -m tightrope.report.gallery`` (`make gallery`) writes both from the printed results and the kept rows.
"""

from collections import Counter
from collections.abc import Mapping
from os.path import relpath
from pathlib import Path

import nbformat

from tightrope import files, paths
from tightrope.report.site import GALLERY, SITE
from tightrope.workbench import published
from tightrope.workbench.compare import SYMBOLS, compare, tallies
from tightrope.workbench.paper_size import drawn
from tightrope.workbench.published import Paper, Result
from tightrope.workbench.records import Store

_PARADOX = "jovanovic2022-paradox"
#: Question -> folder of notebooks -> those that answer it, by what their names begin with.
QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "Is this image robust, and who can prove it?": {
        "explore": "certify",
        "chen2021-mondeq": "table-2- figure-2-",
        "salman2019-barrier": "table-1-",
    },
    "What of a network of mine?": {"explore": "your-network"},
    "How large is the Lipschitz constant?": {
        "explore": "lipschitz",
        "chen2020-lipschitz": "table-1- table-2- figure-1- poster-",
        "chen2021-mondeq": "table-3-",
    },
    "What do one constant or one ellipsoid certify?": {
        "chen2020-lipschitz": "table-3- table-4-",
        "chen2021-mondeq": "figure-1-",
    },
    "How tight is a relaxation?": {
        "explore": "barrier relaxations",
        "salman2019-barrier": "figure-",
        _PARADOX: "figure-1- figure-2- figure-8- figure-9- table-3- table-4-",
        "chen2021-mondeq": "table-1-",
    },
    "Why do loose relaxations train better?": {
        _PARADOX: "table-1- table-2- table-7- table-8- table-9- table-10- table-11- table-12- table-13- table-14-"
    },
    "What makes a relaxation hard to train with?": {
        _PARADOX: "figure-3- figure-4- figure-5- figure-6- figure-7- figure-10- table-5- table-6-"
    },
}
_HEAD = """# Tightrope: every result

Each notebook begins at the paper's size: the drawing, and every printed number beside ours. Then it can be tried in
seconds, on data that is in the repository, and explored by hand. After `make report` the [page of all results]({site})
is here too."""


def links(result: Result, papers: Mapping[str, Paper], results: tuple[Result, ...]) -> str:
    """Return the line that ends a notebook's first cell: paper, errata, the notebooks before and after, the report."""
    paper, folder = papers[result.paper], result.notebook.parent
    own = [one for one in results if one.paper == result.paper and one.runnable]
    at = own.index(result)
    parts = [
        f"*{paper.authors}*: [{paper.title}]({paper.link})",
        f"[errata]({_to(folder, paths.PAPERS / result.paper / 'README.md')})",
    ]
    parts += [f"previous: [{own[at - 1].number}]({own[at - 1].name}.ipynb)"] if at else []
    parts += [f"next: [{own[at + 1].number}]({own[at + 1].name}.ipynb)"] if at + 1 < len(own) else []
    parts += [f"[all results]({_to(folder, GALLERY)})"]
    parts += [f"[report]({_to(folder, SITE)}#{result.paper}-{result.name})"]
    return " · ".join(parts)


def gallery() -> nbformat.NotebookNode:
    """Return the notebook that leads to all others, by question and by paper."""
    results = tuple(result for result in published.results() if result.runnable)
    with Store(read_only=True) as store:
        counts = tallies(compare(results, store))
    explore = sorted((paths.NOTEBOOKS / "explore").glob("*.ipynb"))
    names = {result.key: f"{result.number} of {result.paper}" for result in results}
    names |= {f"explore/{path.stem}": _heading(path, "# ").removeprefix("Explore: ") for path in explore}
    cells = [_HEAD.format(site=_to(paths.NOTEBOOKS, SITE)), "## By question\n\n" + _questions(names)]
    for paper in published.papers():
        own = [result for result in results if result.paper == paper.key]
        rows = [_row(result, counts[result.key]) for result in own]
        errata = _to(paths.NOTEBOOKS, paths.PAPERS / paper.key / "README.md")
        head = f"## {paper.title}\n\n*{paper.authors}*: [paper]({paper.link}), [errata]({errata})"
        legend = " ".join(f"{symbol} {word}," for word, symbol in SYMBOLS.items()).rstrip(",")
        table = "| | result | what it shows | printed numbers |\n|---|---|---|---|\n"
        cells.append(f"{head}\n\n{table}" + "\n".join(rows) + f"\n\n{legend}.")
    made = [nbformat.v4.new_markdown_cell(source, id=f"index-{number}") for number, source in enumerate(cells)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel})


def _questions(names: Mapping[str, str]) -> str:
    lines = ["| question | notebooks |", "|---|---|"]
    for question, wanted in QUESTIONS.items():
        begins = tuple(f"{folder}/{name}" for folder, own in wanted.items() for name in own.split())
        found = [key for key in names if key.startswith(begins)]
        lines.append(f"| {question} | " + ", ".join(f"[{names[key]}]({key}.ipynb)" for key in found) + " |")
    return "\n".join(lines)


def _row(result: Result, count: Counter) -> str:
    link = f"{result.key}.ipynb"
    pictures = drawn(result.name, paths.FIGURES / result.paper)[:1]
    image = "".join(f'<img src="{_to(paths.NOTEBOOKS, path)}" width="220" alt="{result.number}">' for path in pictures)
    agreed = ", ".join(f"{count[word]}&nbsp;{symbol}" for word, symbol in SYMBOLS.items() if count[word])
    finding = _heading(result.notebook, "## ")  # at the paper's size
    return f"| {image} | [{result.number}: {result.title}]({link}) | {finding} | {agreed or 'none'} |"


def _heading(path: Path, mark: str) -> str:
    """Return the first heading of a notebook with this mark: "# " is its title, "## " what it finds."""
    cells = (cell for cell in files.read_json(path)["cells"] if cell["cell_type"] == "markdown")
    lines = ("".join(cell["source"]).split("\n", 1)[0] for cell in cells)
    return next(line.removeprefix(mark) for line in lines if line.startswith(mark))


def _to(folder: Path, target: Path) -> str:
    return Path(relpath(target, folder)).as_posix()


def write() -> None:
    """Write the gallery, and the links of every notebook."""
    results, papers = published.results(), {paper.key: paper for paper in published.papers()}
    for result in results:
        if result.runnable:
            notebook = nbformat.read(result.notebook, as_version=4)
            text = notebook.cells[0].source
            claim = "\n\n".join(part for part in text.split("\n\n") if "[all results](" not in part)
            notebook.cells[0].source = f"{claim}\n\n{links(result, papers, results)}"
            if notebook.cells[0].source != text:
                nbformat.write(notebook, result.notebook)
    nbformat.write(gallery(), GALLERY)


if __name__ == "__main__":
    write()
