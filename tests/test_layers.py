"""The layers and the budget of third-party imports (import-linter), and that the contracts bite."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tightrope import paths

LINT = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]


def lint(folder: Path) -> subprocess.CompletedProcess:
    """Run the contracts of the pyproject.toml in ``folder`` on the package in its lib/."""
    environment = os.environ | {
        "PYTHONPATH": str(folder / "lib"),
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "200",
    }
    return subprocess.run(
        LINT, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False
    )


def test_contracts_are_kept():
    """Each module imports only from modules below it, heavy packages only through their door."""
    result = lint(paths.ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("errors.py", "from tightrope import paths", "modules further down this list BROKEN"),
        ("paths.py", "import torch.nn", "torch: .* BROKEN"),
        ("datasets.py", "import cvxpy", "cvxpy, .* BROKEN"),
        ("datasets.py", "from matplotlib import pyplot", "matplotlib: .* BROKEN"),
        ("helpers.py", "", "helpers"),  # a module without a place
    ],
)
def test_contracts_bite(tmp_path, module, line, contract):
    """A copy of the package with one forbidden line, or an unplaced module, is refused."""
    shutil.copy(paths.ROOT / "pyproject.toml", tmp_path)
    package = tmp_path / "lib" / "tightrope"
    package.mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "paths.py", "image_files.py", "datasets.py"):
        shutil.copy(paths.ROOT / "lib" / "tightrope" / name, package)
    assert lint(tmp_path).returncode == 0
    with open(package / module, "a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")
    result = lint(tmp_path)
    assert result.returncode != 0
    assert re.search(contract, result.stdout), result.stdout + result.stderr
