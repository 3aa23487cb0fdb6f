"""The folder of a dataset that runs write."""

from __future__ import annotations

from mapred import storage
from mapred.storage import Store


def open_store(uri: str) -> Store:
    """Open the store of a dataset, whose local files follow the umask, unlike those of a run."""
    return storage.open_store(uri, dataset=True)
