"""Pages of the library's API, made from the docstrings by pdoc where that is installed."""

import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import tightrope

#: What is no library: the commands, the printed results and their explorers, the report itself.
LEFT_OUT = ("cli", "explorers", "report", "results")
MISSING = "API pages are left out: pdoc is not installed (pip install pdoc)"


def modules() -> list[str]:
    """Return the names of the modules that have a page."""
    found = pkgutil.walk_packages(tightrope.__path__, "tightrope.")
    inner = [one.name for one in found if not any(part.startswith("_") for part in one.name.split("."))]
    return ["tightrope", *(name for name in inner if name.split(".")[1] not in LEFT_OUT)]


def write(folder: Path) -> bool:
    """Write a page for each module into an empty folder, index.html first; say whether pdoc is there to do it."""
    if importlib.util.find_spec("pdoc") is None:
        return False
    import pdoc.doc
    import pdoc.render

    templates = Path(__file__).parent / "templates" / "api"  # without a logo, with the way back to the report
    pdoc.render.configure(docformat="numpy", show_source=False, search=False, template_directory=templates)
    known = {name: importlib.import_module(name) for name in modules()}
    for module in known.values():  # pdoc looks for the names that are imported when they are asked for
        vars(module).update({name: getattr(module, name) for name in getattr(module, "__all__", ())})
    pages = {name: pdoc.doc.Module(module) for name, module in known.items()}
    for name, page in pages.items():
        file = folder / f"{name.replace('.', '/')}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_places_once(pdoc.render.html_module(page, pages)), encoding="utf-8")
    (folder / "index.html").write_text(pdoc.render.html_index(pages), encoding="utf-8")
    return True


def _places_once(page: str) -> str:
    """Return a page whose headings have a place of their own only where none before has its name: "examples".

    Examples
    --------
    >>> _places_once('<h6 id="examples">a</h6><h6 id="examples">b</h6>')
    '<h6 id="examples">a</h6><h6>b</h6>'
    """
    seen: set[str] = set()

    def once(heading: re.Match) -> str:
        first = heading[2] not in seen
        seen.add(heading[2])
        return heading[0] if first else f"<{heading[1]}"

    return re.sub(r'<(h\d) id="([^"]*)"', once, page)
