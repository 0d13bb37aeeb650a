"""Rules that every notebook keeps."""

import ast

import nbformat
import pytest

from tightrope import paths

NOTEBOOKS = sorted(paths.NOTEBOOKS.rglob("*.ipynb"))
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
