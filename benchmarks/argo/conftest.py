"""The cluster for the tests of these benchmarks, few tasks each."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from testbed.cluster import access


@pytest.fixture(scope="session")
def cluster() -> Iterator[access.Cluster]:
    """Started if need be; the environment says how to reach its bucket."""
    found = access.cluster()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in found.storage.environment.items():
            patch.setenv(name, value)
        yield found
