"""Private names of other packages, and why nothing public does: no other module may use one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mapred.process.lazy import Lazy

# Workers cannot wait for what public modules load beside these classes: `pyarrow.acero` and
# `Table.group_by` load pandas and every file system, `pyarrow.parquet` the latter and OpenSSL.
acero: Any = Lazy("pyarrow._acero")
parquet_files: Any = Lazy("pyarrow._parquet")
_by_value: Any = Lazy("cloudpickle.cloudpickle")

# The library of numpy whose handle finds the BLAS that it was linked with.
NUMPY_CORE = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")


def strip_protocol(filesystem: Any, uri: str) -> str:
    """Return the path of a URI in a file system of fsspec's.

    The public `fsspec.core.strip_protocol` asks the class that is registered for the scheme, which
    is not always that of a file system that a user made.
    """
    path: str = filesystem._strip_protocol(uri)
    return path


def call_oss(filesystem: Any, request: str, *arguments: Any, **options: Any) -> Any:
    """Send a request by ossfs, whose public methods ask for no object as it is now."""
    return filesystem._call_oss(request, *arguments, **options)


# cloudpickle's own choice between copying and naming follows a registry of the whole process, and
# leaves out classes that can be imported. A pickler that decides for each object needs the steps.


def is_importable(value: Any) -> bool:
    """Whether a function or class is found by its name in its module."""
    return bool(_by_value._lookup_module_and_qualname(value))


def reduce_class(cls: type) -> Any:
    """How a class is copied by value."""
    return _by_value._dynamic_class_reduce(cls)


def reduce_function(pickler: Any, function: Callable[..., Any]) -> Any:
    """How `pickler`, one of cloudpickle's, copies a function by value."""
    return _by_value.Pickler._dynamic_function_reduce(pickler, function)


def fill_class(cls: type, state: Any) -> None:
    """Give a copied class its attributes."""
    _by_value._class_setstate(cls, state)


# The modules by which pickles name the function that makes a number of numpy, before 2.0 and since.
NUMPY_SCALARS = ("numpy.core.multiarray", "numpy._core.multiarray")
