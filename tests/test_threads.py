"""How many threads factorisations use."""

import pytest
from threadpoolctl import threadpool_info

from tightrope.errors import InputError
from tightrope.threads import LARGE, THREADS_VARIABLE, lapack_threads, one_blas_thread


def blas() -> int:
    """The most threads of a BLAS; a library that was loaded after the first limit keeps its own."""
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


def test_only_large_matrices_get_the_threads_that_are_asked_for(monkeypatch):
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    with one_blas_thread():
        for asked, expected in ((None, 1), ("2", 2)):
            if asked:
                monkeypatch.setenv(THREADS_VARIABLE, asked)
            with lapack_threads(LARGE):
                assert blas() == 1
            with lapack_threads(LARGE + 1):
                assert blas() == expected
        assert blas() == 1
        monkeypatch.setenv(THREADS_VARIABLE, "none")
        with pytest.raises(InputError, match="1 or more"):
            lapack_threads(1)
