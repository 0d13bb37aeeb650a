"""One BLAS thread for the structured solvers.

Their matrices are small (about 100 x 1000); on a machine where something else runs too, BLAS threads that wait for each
other make an iteration several times slower than one thread does. Parallelism belongs to the cases of a sweep.
"""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def single_thread() -> AbstractContextManager:
    """A context in which BLAS uses one thread."""
    return _controller().limit(limits=1, user_api="blas")
