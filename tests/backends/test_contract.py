"""Every backend passes the shipped contract."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from mapred.backends.dask import Dask
from mapred.backends.inline import Inline
from mapred.backends.local import Local
from mapred.testing import BackendContract


class TestLocal(BackendContract):
    kills = True

    @pytest.fixture
    def backend(self) -> Any:
        return Local(workers=2)


@pytest.mark.slow
class TestDask(BackendContract):
    """A scheduler and workers in processes of their own."""

    kills = True

    @pytest.fixture
    def backend(self, dask_scheduler: str) -> Any:
        return Dask(dask_scheduler)


class TestInline(BackendContract):
    @pytest.fixture
    def backend(self) -> Any:
        return Inline()


class TestThreads(BackendContract):
    @pytest.fixture
    def backend(self) -> Iterator[Any]:
        with ThreadPoolExecutor(2) as pool:
            yield pool


@pytest.mark.slow
class TestProcessPool(BackendContract):
    @pytest.fixture
    def backend(self) -> Iterator[Any]:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            yield pool
