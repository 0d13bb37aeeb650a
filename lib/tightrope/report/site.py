"""Writing the report: its pages, their style sheet, pictures and notebooks, in one folder that can be moved."""

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jinja2
import markupsafe

import tightrope
from tightrope import files, paths
from tightrope.cells import number
from tightrope.errors import InputError
from tightrope.report import api, notebooks
from tightrope.report.contents import PROOFS, SYMBOLS, TIME, chapters, peers, soundness
from tightrope.workbench import published
from tightrope.workbench.compare import AGREEMENTS, compare
from tightrope.workbench.published import PROFILES, Result
from tightrope.workbench.records import Store

SITE = paths.FIGURES / "site" / "index.html"  # where `make report` puts the page of all results
GALLERY = paths.NOTEBOOKS / "index.ipynb"  # stands in its place in JupyterLab
API = "api/index.html"
MARK = '<meta name="generator" content="Tightrope">'  # by which a folder is known as a report


@dataclass(frozen=True)
class Site:
    """A written report: the page to open, printed numbers by agreement, pages, and bytes of the whole folder.

    `api` says whether the pages of the library's API are among them.
    """

    index: Path
    counts: Counter
    pages: int
    size: int
    api: bool


@dataclass(frozen=True)
class _Source:
    """A notebook or a text, and the page that is made of it."""

    path: Path
    page: str
    what: str

    @property
    def origin(self) -> Path:
        """Where it lies in the repository, which is where its links start; an executed copy lies elsewhere."""
        stored = paths.ROOT / Path(self.page).with_suffix(".ipynb")
        return stored if stored.is_file() else self.path


def write(folder: Path | None = None) -> Site:
    """Write the report to a folder, or figures/site; an earlier one in it is replaced when the new one is complete.

    A folder with files in it that are not a report is refused.
    """
    folder = Path(folder or paths.FIGURES / "site").absolute()
    with files.access(folder, "written"):
        _check(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as partial_folder:
            fresh = Path(partial_folder) / folder.name
            counts = _write_pages(fresh)
            if folder.exists():
                shutil.rmtree(folder)
            fresh.replace(folder)
    written = [path for path in folder.rglob("*") if path.is_file()]
    pages = sum(path.suffix == ".html" for path in written)
    size = sum(path.stat().st_size for path in written)
    return Site(folder / "index.html", counts, pages, size, (folder / API).is_file())


def _write_pages(folder: Path) -> Counter:
    """Write everything; return the printed numbers by agreement."""
    results = published.results()
    with Store(read_only=True) as store:
        found = chapters(published.papers(), results, compare(results, store), store)
    sources = {result.key: _notebook(result) for result in results if result.runnable}
    stored = sorted((paths.NOTEBOOKS / "explore").glob("*.ipynb"))
    explorers = [_Source(path, f"notebooks/explore/{path.stem}.html", "stored outputs") for path in stored]
    texts = {chapter.paper.key: paths.PAPERS / chapter.paper.key / "README.md" for chapter in found}
    readmes = {key: _Source(text, f"papers/{key}.html", "") for key, text in texts.items() if text.is_file()}
    pages = {source.origin.resolve(): source.page for source in (*sources.values(), *explorers, *readmes.values())}
    pages |= dict.fromkeys((SITE.resolve(), GALLERY.resolve()), "index.html")
    render = _renderer(folder)
    titles_of = {chapter.paper.key: chapter.paper.title for chapter in found}
    for key, readme in readmes.items():
        text = readme.path.read_text(encoding="utf-8")
        body = notebooks.markdown(text, partial(_link, pages, readme))
        render("page.html.j2", readme.page, title=f"{titles_of[key]}: claims, notation, errata", body=body, about="")
    titles = {}
    for source in (*sources.values(), *explorers):
        place = Path(source.page)
        page = notebooks.notebook(source.path, place.stem, partial(_link, pages, source))
        for name, data in page.files.items():
            _write(folder / place.parent / name, data)
        titles[source.page] = page.title
        render("page.html.j2", source.page, title=page.title, body=page.body, about=f"Notebook, {source.what}.")
    for chapter in found:
        for picture in (picture for section in chapter.sections for picture in section.pictures):
            for file in picture.files:
                _write(folder / "figures" / chapter.paper.key / file.name, file.read_bytes())
    _write(folder / "style.css", (Path(__file__).parent / "templates" / "style.css").read_bytes())
    counts = sum((chapter.counts for chapter in found), Counter())
    render(
        "index.html.j2",
        "index.html",
        chapters=found,
        counts=counts,
        kinds=(*AGREEMENTS[:-1], TIME, AGREEMENTS[-1]),
        symbols=SYMBOLS,
        proofs=PROOFS,
        sources=sources,
        explorers=[(source.page, titles[source.page]) for source in explorers],
        readmes=readmes,
        soundness=soundness(),
        peers=peers(),
        api=API if api.write(folder / "api") else "",
        commit=commit(),
        version=tightrope.__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return counts


def commit() -> str:
    """The commit that the repository is at, and whether files were changed since; empty where git does not say."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(paths.ROOT), *arguments], capture_output=True, text=True, timeout=30)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("log", "-1", "--format=%h, %cs")
        changed = bool(head) and bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return head + (", with changes that are not committed" if changed else "")


def _check(folder: Path) -> None:
    """Refuse to replace what is not a report."""
    index = folder / "index.html"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"folder: {folder} is a file.")
    if folder.is_dir() and any(folder.iterdir()):
        if not (index.is_file() and MARK in index.read_text(encoding="utf-8", errors="replace")):
            raise InputError(f"folder: {folder} has files in it that are not a report; name an empty folder.")


def _notebook(result: Result) -> _Source:
    """The executed notebook of a result, at the paper's sizes if there is one; else the stored one."""
    page = f"notebooks/{result.paper}/{result.name}.html"
    sizes = {"paper": "executed at the paper's sizes", "quick": "executed in the quick profile"}
    for profile in reversed(PROFILES):
        executed = paths.FIGURES / "executed" / result.paper / f"{result.name}.{profile}.ipynb"
        if executed.is_file():
            return _Source(executed, page, sizes[profile])
    return _Source(result.notebook, page, "stored outputs of the quick profile")


def _link(pages: Mapping[Path, str], source: _Source, url: str) -> str | None:
    """Where a relative link of a text leads on the site: to the page that is made of its target, if there is one."""
    parts = urlsplit(url)
    target = pages.get((source.origin.parent / unquote(parts.path)).resolve())
    if target is None:
        return None
    return "../" * source.page.count("/") + target + (f"#{parts.fragment}" if parts.fragment else "")


def _renderer(folder: Path) -> Callable[..., Path]:
    """A function (template, page, **values) -> path that writes a page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tightrope.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"coded": _coded, "number": number}

    def render(template: str, page: str, **values) -> Path:
        text = environment.get_template(template).render(root="../" * page.count("/"), mark=MARK, **values)
        return _write(folder / page, text.encode())

    return render


def _coded(text: str) -> markupsafe.Markup:
    """Text in which `commands` are marked as such.

    Examples
    --------
    >>> _coded("a < b: `tightrope list`")
    Markup('a &lt; b: <code>tightrope list</code>')
    """
    return markupsafe.Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(markupsafe.escape(text))))


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
