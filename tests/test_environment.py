"""pyproject.toml, requirements.lock, environment.yml and the Makefile describe the same installation."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tightrope import __version__, paths
from tightrope.workbench import published

PROMISED = "jupyterlab papermill numpy scipy cvxpy mosek torch foolbox matplotlib ipywidgets pytest nbval".split()
# Modules whose package has another name.
PACKAGES = {"IPython": "ipython", "yaml": "pyyaml", "sklearn": "scikit-learn", "flint": "python-flint"}
# Declared for notebooks, as solvers of CVXPY, and as checks.
NOT_IMPORTED = {
    *("ipykernel", "jupyterlab", "clarabel", "scs"),
    *("hypothesis", "import-linter", "mypy", "nbval", "packaging", "pytest", "pytest-xdist", "ruff"),
}
NIGHTLY = ["make data", "make test", "make test-long"]


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def requirements(project) -> list[Requirement]:
    return [Requirement(line) for line in project["dependencies"]]


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    """Name -> pinned version."""
    lines = (paths.ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9._-]+==[a-z0-9.]+( ; .*)?", pin) for pin in pins), "only exact public versions"
    return {canonicalize_name(pin.split("==")[0]): pin.split("==")[1].split(" ")[0] for pin in pins}


def test_promised_packages_are_named(requirements):
    """The packages that the README promises are dependencies by name, each with a lower bound."""
    assert set(PROMISED) <= {requirement.name for requirement in requirements}
    assert all(">=" in str(requirement.specifier) for requirement in requirements)


def test_every_dependency_is_locked_within_its_range(requirements, lock):
    """The lock pins each dependency to a version that pyproject.toml allows."""
    outside = {
        str(requirement): lock.get(canonicalize_name(requirement.name))
        for requirement in requirements
        if lock.get(canonicalize_name(requirement.name)) not in requirement.specifier
    }
    assert not outside, f"run `make lock`: {outside}"


def test_lock_fits_any_index(lock):
    """No index, no host, no folder, no local version: torch 2.13.0 is what this index calls it."""
    text = (paths.ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host| @ |\+", text)
    assert lock["torch"] == "2.13.0"


def test_conda_environment_installs_the_same(project):
    """environment.yml has an allowed Python, pip, and pyproject.toml under the lock, nothing of its own."""
    environment = yaml.safe_load((paths.ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, installed = environment["dependencies"]
    assert environment["name"] == project["name"]
    assert python.split("=")[0] == "python" and pip == "pip"
    assert python.split("=")[1] in SpecifierSet(project["requires-python"])
    makefile = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    assert "-c requirements.lock -e '.[onnx]'" in makefile
    assert installed == {"pip": ["-c requirements.lock", "-e .[onnx]"]}


def test_every_import_is_a_dependency_and_no_other(project):
    """What lib imports is declared, in the main list or an extra; what is declared there is imported."""
    imported = set()
    for path in (paths.ROOT / "lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.partition(".")[0])
    imported -= {*sys.stdlib_module_names, "tightrope"}
    packages = {PACKAGES.get(name, name) for name in imported}
    lines = [*project["dependencies"], *project["optional-dependencies"]["onnx"]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    assert packages <= declared, "imported and not declared"
    assert declared - packages <= NOT_IMPORTED, "declared and not imported"


def test_version_changelog_and_citation_agree():
    """The newest released version is the package's, with its date, in all three."""
    changelog = (paths.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert changelog.index("## [Unreleased]") < changelog.index(f"## [{released[0][0]}]")
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], str(citation["date-released"])) == released[0]
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "MIT"
    assert {"title", "message", "authors"} <= citation.keys()
    # Between releases the version is the next one's, in development.
    release, _, development = __version__.partition(".dev")
    assert release == released[0][0] if not development else release > released[0][0]


def test_citation_names_the_papers():
    """One reference for each paper that is reproduced, with its title."""
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    titles = {reference["title"] for reference in citation["references"]}
    assert titles == {paper.title for paper in published.papers()}


@pytest.mark.parametrize(("name", "commands"), [("test", ["make test"]), ("nightly", NIGHTLY)])
def test_workflows_call_the_makefile(name, commands):
    """What a public forge runs is what a person runs."""
    workflow = yaml.safe_load((paths.ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    run = [step["run"] for step in job["steps"] if "run" in step]
    assert [line for line in run if line.startswith("make ")] == commands


def test_version_is_the_packages_own(project):
    """The version stands in one place."""
    assert project["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", __version__)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_every_command():
    """`make help` shows each command with a line of explanation."""
    text = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=paths.ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[1] for line in shown.splitlines()] == commands
    assert {"setup", "reproduce", "test", "lab", "data", "bench", "format", "lint", "lock"} < set(commands)
