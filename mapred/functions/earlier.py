"""Pickles that an earlier version of mapred made: they name modules that lie elsewhere now."""

from __future__ import annotations

import pickle
from typing import IO, Any

_MOVED = {
    "mapred.api": "mapred.client.api",
    "mapred.attempts": "mapred.model.failure",
    "mapred.cells": "mapred.arrow.objects",
    "mapred.commands": "mapred.functions.commands",
    "mapred.copying": "mapred.functions.copying",
    "mapred.dataset.sources": "mapred.dataset.readers",
    "mapred.dataset.walks": "mapred.dataset.local_listing",
    "mapred.formats.files": "mapred.formats.whole_files",
    "mapred.functions": "mapred.functions.transport",
    "mapred.generators": "mapred.functions.generators",
    "mapred.handles": "mapred.client.run_handle",
    "mapred.instances": "mapred.functions.instances",
    "mapred.keying": "mapred.model.shuffle",
    "mapred.model": "mapred.model.spec",
    "mapred.parameters": "mapred.functions.parameters",
    "mapred.pickling": "mapred.functions.pickling",
    "mapred.resources": "mapred.model.resources",
    "mapred.scheduling": "mapred.client.scheduling",
    "mapred.seeds": "mapred.model.seeds",
    "mapred.signatures": "mapred.functions.signatures",
    "mapred.task": "mapred.functions.task",
    "mapred.writing.files": "mapred.writing.parquet_files",
}


def module_now(module: str) -> str:
    """Where what a pickle names lies now."""
    return _MOVED.get(module, module)


def misses_moved(error: Exception) -> bool:
    """Whether a pickle could not be loaded as it may name a module of mapred that has moved."""
    return isinstance(error, (AttributeError, ImportError)) and "mapred." in str(error)


def load(file: IO[bytes]) -> Any:
    """The value of the next pickle, with every name looked up where it lies now."""
    return _Unpickler(file).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module_now(module), name)
