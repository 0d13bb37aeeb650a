"""One thread for BLAS, one for PyTorch; for LAPACK on large matrices as many as are asked for.

The matrices of the structured solvers are small (about 100 x 1000); on a machine where something else runs too, BLAS
threads that wait for each other make an iteration several times slower than one thread does. PyTorch splits sums among
its threads, and the last bits of a result depend on their number. Parallelism belongs to the cases of a sweep.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

from threadpoolctl import ThreadpoolController

from tightrope.errors import InputError

#: The threads of factorisations of matrices with more rows than LARGE, 1 if it is not set; digits depend on it.
THREADS_VARIABLE = "TIGHTROPE_LAPACK_THREADS"
LARGE = 1500


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Return a context, which is a decorator of functions too, in which BLAS uses one thread."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


def lapack_threads(rows: int) -> AbstractContextManager:
    """Return a context for a factorisation of a matrix of so many rows: THREADS_VARIABLE says how many threads."""
    given = os.environ.get(THREADS_VARIABLE, "1")
    if not given.isdigit() or int(given) < 1:
        raise InputError(f"{THREADS_VARIABLE}: got {given!r}; write a number of threads, 1 or more.")
    if rows <= LARGE or int(given) == 1:
        return nullcontext()
    return _controller().limit(limits=int(given), user_api="blas")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Return a context in which PyTorch uses one thread on the CPU."""
    import torch  # seconds, which the solvers do without

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
