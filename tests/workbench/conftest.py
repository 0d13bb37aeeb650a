"""A repository to run in."""

import pytest

from tightrope import paths


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folders that a run reads, linked elsewhere, so that a test writes nothing into the real ones."""
    for name in ("data", "papers", "notebooks"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "registry.json").symlink_to(paths.DATA / "registry.json")
    (tmp_path / "data" / "models").symlink_to(paths.MODELS)
    for name in ("papers", "notebooks"):
        for folder in (paths.ROOT / name).iterdir():
            (tmp_path / name / folder.name).symlink_to(folder)
    monkeypatch.setenv("TIGHTROPE_HOME", str(tmp_path))
    return tmp_path
