"""One thread for BLAS, one for PyTorch.

The matrices of the structured solvers are small (about 100 x 1000); on a machine where something else runs too, BLAS
threads that wait for each other make an iteration several times slower than one thread does. PyTorch splits sums among
its threads, and the last bits of a result depend on their number. Parallelism belongs to the cases of a sweep.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Return a context, which is a decorator of functions too, in which BLAS uses one thread."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


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
