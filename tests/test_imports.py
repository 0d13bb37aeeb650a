"""What is imported before it is needed: each command, kernel and worker pays for it."""

import subprocess
import sys

import pytest

import tightrope
from tightrope.verifiers import distortion, robustness

#: Packages that take a tenth of a second or more, by those of their modules that are seen in `sys.modules`.
DEAR = {
    "IPython",
    "cvxpy",
    "distributed",
    "foolbox",
    "jupyter_client",
    "matplotlib",
    "mosek",
    "nbconvert",
    "nbformat",
    "numpy",
    "pandas",
    "papermill",
    "pooch",
    "rich",
    "scipy",
    "scipy.stats",
    "sklearn",
    "torch",
}
#: What rows, tables and drawings are made with.
DRAWN = {"matplotlib", "numpy", "scipy"}


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        ("tightrope", set()),
        ("tightrope.cli", set()),
        ("tightrope.workbench.executor", set()),
        ("tightrope.workbench.registry", set()),
        ("tightrope.results.chen2021_mondeq", DRAWN),
        ("tightrope.results.chen2020_lipschitz", DRAWN),
        ("tightrope.results.jovanovic2022_paradox", DRAWN | {"torch"}),
        ("tightrope.results.salman2019_barrier", DRAWN | {"torch"}),
    ],
)
def test_a_package_is_imported_when_it_is_needed(module, needed):
    """In a new process, as a command does."""
    code = f"import sys, {module}; print(*sorted({DEAR!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= needed


def test_the_working_set_is_listed_and_found():
    """Every name, where completion looks for it; another one is no attribute."""
    assert set(tightrope.__all__) < set(dir(tightrope))
    for name in tightrope.__all__:
        assert callable(getattr(tightrope, name)) and getattr(tightrope, name).__doc__
    assert tightrope.certify is robustness.certify and tightrope.attack is robustness.attack
    assert tightrope.minimum_distortion is distortion.minimum_distortion
    code = "import tightrope; print(tightrope.networks.FeedForward is tightrope.FeedForward)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"
    with pytest.raises(AttributeError, match="'tightrope' has no attribute 'certfy'"):
        _ = tightrope.certfy
