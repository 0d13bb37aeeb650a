"""Folders are found from the package or from TIGHTROPE_HOME, or missed by name."""

import pytest

from tightrope import paths
from tightrope.errors import MissingDataError


def test_root_is_the_repository():
    """The root holds this test, and the other folders hang off it."""
    assert (paths.ROOT / "tests" / "test_paths.py").is_file()
    assert paths.MODELS.parent == paths.RESULTS.parent == paths.DATA
    assert all(folder.parent == paths.ROOT for folder in (paths.FIGURES, paths.NOTEBOOKS, paths.PAPERS))


def test_home_variable_wins(tmp_path, monkeypatch):
    """TIGHTROPE_HOME names another copy."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.json").write_text("[]")
    monkeypatch.setenv("TIGHTROPE_HOME", str(tmp_path))
    assert paths.find_root() == tmp_path.resolve()


def test_wrong_home_is_named(tmp_path, monkeypatch):
    """A folder that is no copy of the repository is an error that says so, and what to set."""
    monkeypatch.setenv("TIGHTROPE_HOME", str(tmp_path))
    with pytest.raises(MissingDataError, match=rf"{tmp_path.name}.*set TIGHTROPE_HOME"):
        paths.find_root()


def test_installation_away_from_the_repository_is_named(tmp_path, monkeypatch):
    """A package installed elsewhere finds no repository around it."""
    monkeypatch.delenv("TIGHTROPE_HOME", raising=False)
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site-packages" / "tightrope" / "paths.py"))
    with pytest.raises(MissingDataError, match="pip install -e"):
        paths.find_root()
