"""The folder of a dataset that runs write."""

from __future__ import annotations

from mapred import storage
from mapred.storage import Store


def open_store(uri: str) -> Store:
    """The store of a dataset; a local one is as open as the umask says, unlike a run's."""
    return storage.open_store(uri, dataset=True)
