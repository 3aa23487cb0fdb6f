"""Pickles that an earlier version of mapred made: they name modules that lie elsewhere now."""

from __future__ import annotations

import pickle
from typing import IO, Any

_MOVED = {
    "mapred.api": "mapred.client.api",
    "mapred.arrays": "mapred.arrow.buffers",
    "mapred.attempts": "mapred.model.failure",
    "mapred.audit": "mapred.client.audit",
    "mapred.cells": "mapred.arrow.objects",
    "mapred.commands": "mapred.functions.commands",
    "mapred.copying": "mapred.functions.copying",
    "mapred.dataset.pins": "mapred.dataset.schema",
    "mapred.dataset.remotes": "mapred.dataset.remote_listing",
    "mapred.dataset.sources": "mapred.dataset.readers",
    "mapred.dataset.walks": "mapred.dataset.local_listing",
    "mapred.failures": "mapred.runfolder.failures",
    "mapred.formats.arrow": "mapred.formats.ipc",
    "mapred.formats.files": "mapred.formats.whole_files",
    "mapred.formats.reading": "mapred.formats.base",
    "mapred.formats.records": "mapred.formats.lines",
    "mapred.formats.streams": "mapred.formats.compression",
    "mapred.formats.tabular": "mapred.formats.tables",
    "mapred.frames": "mapred.arrow.to_frames",
    "mapred.functions": "mapred.functions.transport",
    "mapred.generators": "mapred.functions.generators",
    "mapred.handles": "mapred.client.run_handle",
    "mapred.history": "mapred.client.history",
    "mapred.instances": "mapred.functions.instances",
    "mapred.keyed": "mapred.worker.keyed",
    "mapred.keying": "mapred.model.shuffle",
    "mapred.parameters": "mapred.functions.parameters",
    "mapred.pickling": "mapred.functions.pickling",
    "mapred.resources": "mapred.model.resources",
    "mapred.retention": "mapred.client.retention",
    "mapred.scheduling": "mapred.client.scheduling",
    "mapred.secrecy": "mapred.process.secrecy",
    "mapred.seeds": "mapred.model.seeds",
    "mapred.shuffle.asking": "mapred.shuffle.arguments",
    "mapred.shuffle.collecting": "mapred.shuffle.map_side",
    "mapred.shuffle.files": "mapred.shuffle.part_files",
    "mapred.shuffle.heavy": "mapred.shuffle.skew",
    "mapred.shuffle.merging": "mapred.shuffle.reduce_side",
    "mapred.shuffle.ordering": "mapred.shuffle.sorting",
    "mapred.shuffle.texts": "mapred.arrow.encoding",
    "mapred.signatures": "mapred.functions.signatures",
    "mapred.task": "mapred.functions.task",
    "mapred.turns": "mapred.worker.turns",
    "mapred.unifying": "mapred.arrow.schemas",
    "mapred.worker": "mapred.worker.tasks",
    "mapred.writing.files": "mapred.writing.parquet_files",
}
# What one module held and several hold now.
_DIVIDED = {
    "mapred.history": {"open": "mapred.client.lookup"},
    "mapred.model": {
        "Commit": "mapred.model.records",
        "GivenUp": "mapred.model.records",
        "Outcome": "mapred.model.records",
        "Output": "mapred.model.records",
        "Span": "mapred.model.records",
        "StoredFile": "mapred.model.records",
        "Format": "mapred.model.spec",
        "Job": "mapred.model.spec",
        "Stage": "mapred.model.spec",
        "RunStatus": "mapred.model.status",
        "StageStatus": "mapred.model.status",
        "TaskTime": "mapred.model.status",
    },
}


def module_now(module: str, name: str) -> str:
    """Return the module that has what a pickle names."""
    return _DIVIDED.get(module, {}).get(name) or _MOVED.get(module, module)


def misses_moved(error: Exception) -> bool:
    """Whether a pickle could not be loaded as it may name a module of mapred that has moved."""
    return isinstance(error, (AttributeError, ImportError)) and "mapred." in str(error)


def load(file: IO[bytes]) -> Any:
    """Return the value of the next pickle, with every name looked up where it lies now."""
    return _Unpickler(file).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module_now(module, name), name)
