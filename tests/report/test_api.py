"""Pages of the API: which modules have one, and what is done where pdoc is not installed."""

import importlib.util

import pytest

import tightrope
from tightrope.report import api


def test_every_module_of_the_library_has_a_page():
    """Commands, printed results, explorers and the report are no library."""
    names = api.modules()
    assert names[0] == "tightrope" and len(names) == len(set(names))
    assert {"tightrope.networks", "tightrope.verifiers.robustness", "tightrope.checker.relu"} <= set(names)
    assert not [name for name in names if name.split(".")[1:2] in (["cli"], ["results"], ["explorers"], ["report"])]


def test_without_pdoc_nothing_is_written(tmp_path, monkeypatch):
    """The report says so by name."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not api.write(tmp_path) and not list(tmp_path.iterdir())
    assert "pdoc is not installed" in api.MISSING


def test_the_working_set_is_documented(tmp_path, monkeypatch):
    """Also the names that are imported only when they are asked for."""
    pytest.importorskip("pdoc", reason="pdoc is not installed")
    monkeypatch.setattr(api, "modules", lambda: ["tightrope", "tightrope.networks"])
    assert api.write(tmp_path)
    page = (tmp_path / "tightrope.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in tightrope.__all__)
    assert 'href="../index.html"' in page and "src=" not in page
    assert 'id="MonDEQModule"' in (tmp_path / "tightrope/networks.html").read_text(encoding="utf-8")


@pytest.mark.long
def test_every_module_has_its_page_without_a_warning(tmp_path):
    """Warnings are errors here: pdoc warns of an annotation that it cannot read."""
    pytest.importorskip("pdoc", reason="pdoc is not installed")
    assert api.write(tmp_path) and (tmp_path / "tightrope" / "verifiers" / "methods.html").is_file()
