"""The package without its repository: what `pip install .` leaves on a machine, used from another folder."""

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tightrope import __version__, paths
from tightrope.networks import FeedForward

pytest.importorskip("setuptools", minversion="77", reason="building needs setuptools 77")
pytestmark = pytest.mark.long

PROPERTY = """
(declare-const X_0 Real) (declare-const Y_0 Real)
(assert (<= X_0 1)) (assert (>= X_0 -1)) (assert (>= Y_0 1.1))
"""
ABSOLUTE = FeedForward.dense(([[1.0], [-1.0]], [[1.0, 1.0]]), ([0.0, 0.0], [0.0]))  # |x|
LIBRARY = """
import tightrope
network = tightrope.load("absolute.npz")
print(tightrope.__file__)
print(round(tightrope.lipschitz_bound(network, tightrope.Ball([0.5], 1.0, "inf")).value, 3))
"""
EXAMPLE = re.search(r"\n```python\n(.*?)\n```\n", (paths.ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of an installation, with networks and a property of one's own."""
    place = tmp_path_factory.mktemp("installed")
    source = place / "source"
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(paths.ROOT / "lib", source / "lib", ignore=leave)
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(paths.ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(place / "site")]
    subprocess.run([*pip, *options, str(source)], check=True, capture_output=True, timeout=120)
    shutil.rmtree(source)
    ABSOLUTE.to_npz(place / "absolute.npz")
    rng = np.random.default_rng(0)
    sizes = (64, 10, 10)
    W = [rng.normal(size=(b, a)) / a for a, b in pairwise(sizes)]
    FeedForward.dense(W, [np.zeros(10), np.eye(10)[0]]).to_npz(place / "digits.npz")
    (place / "small.vnnlib").write_text(PROPERTY, encoding="utf-8")
    return place


def python(place: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run Python in the folder, where the installed package comes before the repository's."""
    environment = {name: value for name, value in os.environ.items() if name != "TIGHTROPE_HOME"}
    environment |= {"PYTHONPATH": str(place / "site"), **variables}
    return subprocess.run(
        [sys.executable, *arguments], cwd=place, env=environment, capture_output=True, text=True, timeout=120
    )


def command(place: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run the installed `tightrope`."""
    return python(place, "-m", "tightrope.cli", *arguments, **variables)


def test_version_and_help(installed):
    """They need nothing."""
    assert command(installed, "--version").stdout.split()[-1] == __version__
    assert "certify" in command(installed, "--help").stdout


def test_the_library(installed):
    """Regions, networks and verifiers, from the installed copy."""
    done = python(installed, "-c", LIBRARY)
    assert done.returncode == 0, done.stderr
    where, value = done.stdout.split()
    assert Path(where).is_relative_to(installed / "site") and float(value) == 1.0


def test_the_example_of_the_readme(installed):
    """The five lines need no repository."""
    done = python(installed, "-c", EXAMPLE[1])
    assert done.stdout.startswith("label 0, predicted 0: certified\n"), done.stderr


def test_certify_a_network_of_ones_own(installed):
    """A property, and an image of the data set that comes with scikit-learn."""
    done = command(installed, "certify", "--network", "absolute.npz", "--property", "small.vnnlib")
    assert (done.returncode, "certified" in done.stdout) == (0, True), done.stderr
    image = ("--image", "digits:0", "--epsilon-pixel", "0.001")
    done = command(installed, "certify", "--network", "digits.npz", *image)
    assert (done.returncode, "predicted 0" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("arguments", [("list",), ("compare",), ("run", "--all"), ("report",), ("data",)])
def test_what_needs_the_repository_says_so(installed, arguments):
    """In one line, with what to do."""
    done = command(installed, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "TIGHTROPE_HOME" in done.stderr


def test_a_clone_named_by_its_variable_is_used(installed):
    """TIGHTROPE_HOME gives an installation the repository's networks."""
    named = ("certify", "--network", "digits/relu-16", "--image", "digits:0", "--epsilon-pixel", "0.001")
    assert "TIGHTROPE_HOME" in command(installed, *named).stderr
    done = command(installed, *named, TIGHTROPE_HOME=str(paths.ROOT))
    assert (done.returncode, "digits:0, label 0" in done.stdout) == (0, True), done.stderr


def test_templates_are_in_the_wheel(installed):
    """Everything of the package that is not Python."""
    inside = paths.ROOT / "lib" / "tightrope"
    files = [path for path in inside.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert files
    missing = [path for path in files if not (installed / "site" / "tightrope" / path.relative_to(inside)).is_file()]
    assert not missing
