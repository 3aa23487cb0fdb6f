"""What is loaded at its first use: modules that cost a start too much, and names of packages.

pyarrow and numpy take longer to load than a small task takes to run, and some of pyarrow's modules
load pandas. A module of this package that needs one of them in functions alone takes it from here.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import glob
    import pathlib
    import shlex
    import shutil
    import tempfile
    from importlib import metadata

    import fsspec
    import numpy as np
    import pandas as pd
    import polars as pl
    import psutil
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pcsv
    import pyarrow.dataset as ds
    import pyarrow.json as pjson
    import pyarrow.parquet as pq

__all__ = [
    "Lazy",
    "ds",
    "fsspec",
    "glob",
    "metadata",
    "names_of",
    "np",
    "pa",
    "pathlib",
    "pc",
    "pcsv",
    "pd",
    "pjson",
    "pl",
    "pq",
    "psutil",
    "shlex",
    "shutil",
    "tempfile",
]


class Lazy(types.ModuleType):
    """Stands for a module, and loads it when one of its names is asked for."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)
        return value


if not TYPE_CHECKING:
    ds = Lazy("pyarrow.dataset")
    fsspec = Lazy("fsspec")
    glob = Lazy("glob")
    metadata = Lazy("importlib.metadata")  # which parses mail headers
    np = Lazy("numpy")
    pa = Lazy("pyarrow")
    pathlib = Lazy("pathlib")
    pc = Lazy("pyarrow.compute")
    pcsv = Lazy("pyarrow.csv")
    pd = Lazy("pandas")
    pjson = Lazy("pyarrow.json")
    pl = Lazy("polars")
    pq = Lazy("pyarrow.parquet")
    psutil = Lazy("psutil")
    shlex = Lazy("shlex")
    shutil = Lazy("shutil")
    tempfile = Lazy("tempfile")


def names_of(package: str, where: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose modules, by their names in it, have these names."""
    modules = {name: f"{package}.{module}" for module, names in where.items() for name in names}

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
