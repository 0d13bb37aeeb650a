"""What tests and notebooks share: one thread, no downloads, and how nbval compares."""

import functools
import os
import tempfile

from tests import notebook_outputs

# Before numpy and torch are imported; the kernels that nbval and papermill start inherit it.
os.environ["TIGHTROPE_OFFLINE"] = "1"
os.environ.setdefault("TIGHTROPE_CERTIFICATES", os.path.join(tempfile.gettempdir(), "tightrope-tests", "certificates"))
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_collectstart(collector):
    """Tell nbval what not to compare: rendered tables repeat the text, and warnings are not results."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("text/html", "stderr")


def pytest_itemcollected(item):
    """Let nbval compare the numbers of its cells within tolerances."""
    if hasattr(item, "compare_outputs"):
        item.compare_outputs = functools.partial(notebook_outputs.compare_outputs, item)
