"""How many threads numeric libraries start in a worker: as many as the task's whole cores."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from contextlib import suppress

import pyarrow

from mapred.process.lazy import Lazy
from mapred.process.private import NUMPY_CORE

ctypes = Lazy("ctypes")  # needed only where a task's cores differ from those at the start

# Libraries that go by OpenMP's number where their own variable is not set, and those that do not.
_LIKE_OPENMP = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_BY_THEMSELVES = ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")
# What numpy's BLAS has read, if numpy is loaded already: this module is before a task's variables.
_AT_START = os.environ.get("OPENBLAS_NUM_THREADS")
_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
    "MKL_Set_Num_Threads",
    "bli_thread_set_num_threads",
)


@functools.lru_cache(maxsize=1)
def limit(cpu: float) -> None:
    """Give the libraries of this process the threads of `cpu` cores.

    What the user's variables say of one wins. Torch and scipy are not loaded yet, and read them.
    """
    count = max(1, int(cpu))
    pyarrow.set_cpu_count(count)
    for name, value in variables(count, os.environ).items():
        os.environ.setdefault(name, value)
    blas = os.environ["OPENBLAS_NUM_THREADS"]
    if blas != _AT_START:
        with suppress(ValueError):
            _limit_blas(int(blas))


def variables(count: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what tells libraries that are loaded later; `known` may hold OpenMP's number."""
    openmp = environment.get("OMP_NUM_THREADS", str(count))
    # OpenMP takes a number for each level of nesting, and others one number alone.
    blas = dict.fromkeys(_LIKE_OPENMP, openmp.split(",")[0])
    return {"OMP_NUM_THREADS": openmp, **blas, **dict.fromkeys(_BY_THEMSELVES, str(count))}


def _limit_blas(count: int) -> None:
    """Tell the BLAS that numpy has loaded already, which reads no variable any more."""
    for name in NUMPY_CORE:
        module = sys.modules.get(name)
        if module is None or not module.__file__:
            continue
        # A library's handle finds the functions of those that it was linked with.
        library = ctypes.CDLL(module.__file__)
        for setter in _SETTERS:
            if hasattr(library, setter):
                getattr(library, setter)(ctypes.c_int(count))
        return
