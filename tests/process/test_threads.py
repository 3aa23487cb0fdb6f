"""Numeric libraries of a worker start as many threads as the task has cores."""

from __future__ import annotations

import os
from typing import Any

import pytest

import mapred
from mapred.process import threads


def test_openmp_decides_for_those_that_go_by_it() -> None:
    found = threads.variables(4, {})
    assert set(found.values()) == {"4"}
    found = threads.variables(4, {"OMP_NUM_THREADS": "2,1"})
    assert found["OMP_NUM_THREADS"] == "2,1"
    assert found["MKL_NUM_THREADS"] == found["OPENBLAS_NUM_THREADS"] == "2"
    assert found["POLARS_MAX_THREADS"] == "4"


def counts(item: int) -> dict[str, int]:
    """The threads of each library, loaded as late as a user's function does."""
    import numpy as np
    import pyarrow
    from threadpoolctl import threadpool_info

    found = {"pyarrow": pyarrow.cpu_count(), "openmp": int(os.environ["OMP_NUM_THREADS"])}
    np.ones((8, 8)) @ np.ones((8, 8))
    try:
        import scipy.linalg

        scipy.linalg.inv(np.eye(8))
    except ImportError:
        pass
    for library in threadpool_info():
        name = "scipy" if "scipy.libs" in library["filepath"] else "numpy"
        found[name] = library["num_threads"]
    for name, function in (("polars", "thread_pool_size"), ("torch", "get_num_threads")):
        try:
            found[name] = getattr(__import__(name), function)()
        except ImportError:
            pass
    return found


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"cpu": 2}, 2),
        pytest.param({}, 1, marks=pytest.mark.slow),
        pytest.param({"cpu": 0.5}, 1, marks=pytest.mark.slow),
    ],
)
def test_libraries_have_the_threads_of_the_cores(asked: dict[str, Any], expected: int) -> None:
    pytest.importorskip("threadpoolctl")
    run = mapred.run(counts, mapred.array(1), resources=mapred.Resources(**asked), progress="none")
    (found,) = run.result()
    # OpenBLAS starts no more threads than the machine has processors.
    assert found.pop("scipy", expected) in (expected, os.cpu_count())
    assert set(found.values()) == {expected}, found
    assert {"numpy", "pyarrow"} <= found.keys()


@pytest.mark.slow
def test_what_the_user_says_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("threadpoolctl")
    monkeypatch.setenv("POLARS_MAX_THREADS", "3")
    asked = mapred.Resources(env={"OMP_NUM_THREADS": "2"})
    (found,) = mapred.run(counts, mapred.array(1), resources=asked, progress="none").result()
    assert found.pop("polars", 3) == 3
    assert found.pop("pyarrow") == 1
    assert set(found.values()) == {2}


def blas_threads(item: int) -> int:
    import ctypes
    import sys

    module = sys.modules.get("numpy._core._multiarray_umath")
    file = (module or sys.modules["numpy.core._multiarray_umath"]).__file__
    library = ctypes.CDLL(file)
    for setter in threads._SETTERS:
        getter = setter.replace("_set_", "_get_")
        if hasattr(library, getter):
            return int(getattr(library, getter)())
    return 0


def test_the_blas_that_is_loaded_already_is_told() -> None:
    asked = mapred.Resources(cpu=2)
    (found,) = mapred.run(blas_threads, mapred.array(1), resources=asked, progress="none").result()
    assert found in (0, 2)
    assert mapred.run(blas_threads, mapred.array(1), progress="none").result()[0] in (0, 1)
