"""Fixtures and marks of the tests. The environment of tests and notebooks is set in the conftest.py above."""

import matplotlib
import numpy as np
import pytest
from hypothesis import settings

from tightrope import datasets

# No windows. Not by MPLBACKEND: kernels would inherit it and lose the inline figures that nbval expects.
matplotlib.use("Agg")

# The same examples in every run, and no time limits; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("repeatable")

MNIST_TEST = ("mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz")
MONDEQ = ("chen2021-mondeq/deq_MNIST_SingleFcNet_m=20.mat",)


def pytest_runtest_setup(item):
    """Skip `published` tests without their files: MNIST's test split and the paper's monDEQ, unless named.

    `@pytest.mark.published("folder/file", ...)` names other files.
    """
    marker = item.get_closest_marker("published")
    if marker is None:
        return
    missing = [file for file in marker.args or MNIST_TEST + MONDEQ if not datasets.available(file)]
    if missing:
        pytest.skip(f"not on this machine: {', '.join(missing)}; run `make data` or set TIGHTROPE_DATA")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20210)
