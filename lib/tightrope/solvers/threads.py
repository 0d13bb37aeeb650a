"""One BLAS thread for the structured solvers.

Their matrices are small (about 100 x 1000); on a machine where something else runs too, BLAS threads that wait for each
other make an iteration several times slower than one thread does. Parallelism belongs to the cases of a sweep.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def single_thread() -> Iterator[None]:
    """A context, or a decorator of functions, in which BLAS uses one thread."""
    with _controller().limit(limits=1, user_api="blas"):
        yield
