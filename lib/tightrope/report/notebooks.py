"""Notebooks and Markdown as HTML that needs no network: formulas become MathML, pictures become files.

nbconvert's own pages load MathJax, require.js and the widgets from a content network; here they would be empty without
one. Its `basic` template gives the cells alone, and what is around them is the report's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import ExtractOutputPreprocessor

from tightrope import files
from tightrope.errors import CorruptDataError

#: A link as it is written -> where it leads on the site, or None for nowhere.
Links = Callable[[str], str | None]
_WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Page:
    """The inside of a page, and the files that it shows, by name."""

    title: str
    body: str
    files: dict[str, bytes]


class _Renderer(IPythonRenderer):
    """nbconvert's renderer; formulas are MathML, which browsers draw by themselves, and no link leads nowhere."""

    def __init__(self, links: Links):
        super().__init__(escape=False, exclude_anchor_links=True)
        self._links = links

    def block_math(self, body: str) -> str:
        return f'<span class="formula">{mathml(body, "block")}</span>'

    def inline_math(self, body: str) -> str:
        return mathml(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        target = url if url.startswith(("https:", "http:", "mailto:", "#")) else self._links(url)
        return text if target is None else super().link(text, target, title)


def mathml(tex: str, display: str) -> str:
    """A formula as MathML; as TeX, marked as code, where it cannot be read.

    Examples
    --------
    >>> mathml("x < 1", "inline").startswith("<math")
    True
    """
    try:
        return convert(tex.strip(), display=display)
    except Exception:  # whatever a parser of TeX may raise: the formula is still there to be read
        return f"<code>{IPythonRenderer().escape_html(tex)}</code>"


def markdown(text: str, links: Links) -> str:
    """Markdown with formulas as HTML."""
    return MarkdownWithMath(renderer=_Renderer(links)).render(text)


def notebook(path: Path, name: str, links: Links) -> Page:
    """A notebook with its outputs; its pictures' names begin with `name`, and `links` says where relative ones lead."""
    try:
        content = _without_widgets(nbformat.reads(files.read_text(path), as_version=4))
    except (ValueError, AttributeError, KeyError, nbformat.ValidationError) as error:
        found = f"{path} is not a notebook ({type(error).__name__})"
        raise CorruptDataError(f"{found}. Run it again, or restore it.") from error
    exporter = _exporter()
    exporter.register_filter("markdown2html", lambda text: markdown(text, links))
    body, resources = exporter.from_notebook_node(content, {"unique_key": name})
    return Page(_title(content, path), body, dict(resources.get("outputs") or {}))


@cache
def _exporter() -> HTMLExporter:
    """One for all notebooks: its templates take longer to compile than a notebook to render."""
    exporter = HTMLExporter(
        template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True, exclude_anchor_links=True
    )
    pattern = "{unique_key}.{cell_index}-{index}{extension}"
    exporter.register_preprocessor(ExtractOutputPreprocessor(output_filename_template=pattern), enabled=True)
    return exporter


def _without_widgets(content: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Widgets need a kernel: leave their text; let the text of a picture be what it is called."""
    content.metadata.pop("widgets", None)
    for cell in content.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            data.pop(_WIDGET, None)
            if "image/png" in data:
                text = data.get("text/plain", "picture").strip("<>")
                output.metadata["image/png"] = {**output.metadata.get("image/png", {}), "alt": text}
    return content


def _title(content: nbformat.NotebookNode, path: Path) -> str:
    lines = (line for cell in content.cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    return next((line[2:].strip() for line in lines if line.startswith("# ")), path.stem)
