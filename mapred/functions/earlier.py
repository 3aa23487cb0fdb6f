"""Pickles that an earlier version of mapred made: they name modules that lie elsewhere now."""

from __future__ import annotations

import pickle
from typing import IO, Any

# What lay at the top of the package, and lies in one of its packages by the same name.
_NESTED = {
    "client": "api audit history retention scheduling",
    "functions": "commands copying generators instances parameters pickling signatures task",
    "model": "resources seeds",
    "process": "secrecy",
    "runfolder": "failures",
    "worker": "keyed turns",
}
# What has another name now.
_RENAMED = {
    "mapred.arrays": "mapred.arrow.buffers",
    "mapred.attempts": "mapred.model.failure",
    "mapred.cells": "mapred.arrow.objects",
    "mapred.dataset.pins": "mapred.dataset.schema",
    "mapred.dataset.remotes": "mapred.dataset.remote_listing",
    "mapred.dataset.sources": "mapred.dataset.readers",
    "mapred.dataset.walks": "mapred.dataset.local_listing",
    "mapred.formats.arrow": "mapred.formats.ipc",
    "mapred.formats.files": "mapred.formats.whole_files",
    "mapred.formats.reading": "mapred.formats.base",
    "mapred.formats.records": "mapred.formats.lines",
    "mapred.formats.streams": "mapred.formats.compression",
    "mapred.formats.tabular": "mapred.formats.tables",
    "mapred.frames": "mapred.arrow.to_frames",
    "mapred.functions": "mapred.functions.transport",
    "mapred.handles": "mapred.client.run_handle",
    "mapred.keying": "mapred.model.shuffle",
    "mapred.shuffle.asking": "mapred.shuffle.arguments",
    "mapred.shuffle.collecting": "mapred.shuffle.map_side",
    "mapred.shuffle.files": "mapred.shuffle.part_files",
    "mapred.shuffle.heavy": "mapred.shuffle.skew",
    "mapred.shuffle.merging": "mapred.shuffle.reduce_side",
    "mapred.shuffle.ordering": "mapred.shuffle.sorting",
    "mapred.shuffle.texts": "mapred.arrow.encoding",
    "mapred.unifying": "mapred.arrow.schemas",
    "mapred.worker": "mapred.worker.tasks",
    "mapred.writing.files": "mapred.writing.parquet_files",
}
_MOVED = _RENAMED | {
    f"mapred.{name}": f"mapred.{package}.{name}"
    for package, names in _NESTED.items()
    for name in names.split()
}
# What one module held and several hold now: names by their old module and their new one.
_DIVIDED = {
    ("mapred.history", "mapred.client.lookup"): "open",
    ("mapred.model", "mapred.model.records"): "Commit GivenUp Outcome Output Span StoredFile",
    ("mapred.model", "mapred.model.spec"): "Format Job Stage",
    ("mapred.model", "mapred.model.status"): "RunStatus StageStatus TaskTime",
}


def module_now(module: str, name: str) -> str:
    """Return the module where a name of an old pickle lies now."""
    for (before, now), names in _DIVIDED.items():
        if module == before and name in names.split():
            return now
    return _MOVED.get(module, module)


def misses_moved(error: Exception) -> bool:
    """Whether loading a pickle failed as if it named a module of mapred that has moved."""
    return isinstance(error, (AttributeError, ImportError)) and "mapred." in str(error)


def load(file: IO[bytes]) -> Any:
    """Return the value of the next pickle, with every name looked up where it lies now."""
    return _Unpickler(file).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module_now(module, name), name)
