"""A user's function, made into bytes that a worker can load, and called.

Functions travel by cloudpickle: those of `__main__` and of a notebook as copies, those of
modules by name; the sources of local modules go with them.
"""

from __future__ import annotations

import functools
import inspect
import io
import linecache
import pickle
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

from mapred.errors import FunctionError, RecordError
from mapred.functions import excerpts, pickling
from mapred.functions.commands import Command
from mapred.functions.modules import imports, shipping
from mapred.functions.modules.importing import install
from mapred.model.checking import safe_text
from mapred.model.coding import check_version
from mapred.process.lazy import metadata
from mapred.reducers import Reducer

CLOSURE_WARNING = 10 * 2**20
CLOSURE_LIMIT = 100 * 2**20
_SOURCE_LIMIT = 2**20
_PLACE = "a stored function"
_VERSION = 4  # the place of the version in what stands before a function


def dump(function: Any, modules: set[str] | None = None) -> bytes:
    """Return the pickle of a function (or reducer); a `FunctionError` names what has none.

    `modules` receives the names of the modules that it refers to, where the caller ships the
    local ones among them; else the pickle holds those.
    """
    try:
        pickler, data = _pickle_function(function)
    except RecursionError as error:
        raise FunctionError(f"{name_of(function)} cannot be pickled: it nests too deep") from error
    except FunctionError:
        raise
    except Exception as error:
        culprits = ", ".join(_unpicklable(function)) or "the function itself"
        raise FunctionError(
            f"{name_of(function)} cannot be sent to a worker: {culprits}: {safe_text(str, error)}; "
            "make it inside the function, or give the function a class that makes it once"
        ) from error
    if len(data) > CLOSURE_WARNING:
        sizes = ", ".join(f"{name} ({size:,} bytes)" for name, size in _largest(function))
        message = f"{name_of(function)} carries {len(data):,} bytes: {sizes or 'its closure'}"
        remedy = "write that data to a file and read it in the function, or pass it as the dataset"
        if len(data) > CLOSURE_LIMIT:
            raise FunctionError(f"{message}; the limit is {CLOSURE_LIMIT:,} bytes: {remedy}")
        warnings.warn(f"{message}; {remedy}", UserWarning, stacklevel=4)
    archive = b"" if modules is not None else shipping.archive(pickler.modules)
    if modules is not None:
        modules |= pickler.modules
    named = [module.file for module in shipping.closure(pickler.modules).values() if module.text]
    texts = _sources(pickler.codes.keys() | named)
    digests = {name: excerpts.digest(text) for name, text in texts.items()}
    for name in pickler.codes.keys() & texts.keys() - set(named):
        texts[name] = excerpts.excerpt(texts[name], pickler.codes[name])
    head = (texts, tuple(sorted(pickler.modules)), archive, digests)
    return pickle.dumps(head, protocol=5) + data


def _pickle_function(function: Any) -> tuple[pickling.Pickler, bytes]:
    """Return the pickle; what cannot be copied and lies at the top of a local module is named."""
    sink = io.BytesIO()
    pickler = pickling.Pickler(sink)
    try:
        pickler.dump(function)
    except FunctionError:
        raise
    except Exception:
        homes = pickling.homes()
        if not homes:
            raise
        sink = io.BytesIO()
        pickler = pickling.Pickler(sink, homes=homes)
        pickler.dump(function)
    return pickler, sink.getvalue()


def _sources(filenames: Iterable[str]) -> dict[str, str]:
    """Return the text of each file that functions came from, notebook cells included."""
    filenames = list(filenames)
    for name in filenames:
        linecache.checkcache(name)  # It may have been edited, and loaded again, since it was read.
    texts = {name: "".join(linecache.getlines(name)) for name in filenames}
    return {name: text for name, text in texts.items() if 0 < len(text) < _SOURCE_LIMIT}


class _TextUnpickler(pickle.Unpickler):
    """Loads texts, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not a text")


def texts_of(data: bytes) -> dict[str, str]:
    """Return the source that a pickle of `dump` holds, by the names of its files; no code runs."""
    head = _TextUnpickler(io.BytesIO(data)).load()
    texts = head if isinstance(head, dict) else head[0]
    return {str(name): str(text) for name, text in texts.items()}


def digests_of(data: bytes) -> dict[str, str]:
    """Return the digest of each file that a pickle of `dump` came from; no code runs."""
    head = _TextUnpickler(io.BytesIO(data)).load()
    if isinstance(head, tuple) and len(head) > 3:
        return dict(head[3])
    texts = head if isinstance(head, dict) else head[0]
    return {name: excerpts.digest(text) for name, text in texts.items()}


def is_portable(data: bytes) -> bool:
    """Whether a pickle of `dump` holds names alone, and no code, which is of one version."""
    return b"cloudpickle" not in data


def load(data: bytes, where: str = _PLACE) -> Any:
    """Return the function of a pickle; a class becomes an instance, made once per process."""
    function = unpickle(data, where)
    return function() if makes_callables(function) else function


def unpickle(data: bytes, where: str = _PLACE) -> Any:
    """Return what was pickled; a `FunctionError` says why it cannot be loaded.

    What a newer mapred stored at the place `where` is a `RecordError`.
    """
    file = io.BytesIO(data)
    try:
        texts, _, archive = _read_head(file, where)
        for name, text in texts.items():
            # Where the file has changed since, tracebacks show the source that runs.
            excerpts.place(name, text)
        install(archive)
        return pickling.load(file)
    except (FunctionError, RecordError):
        raise
    except Exception as error:
        raise FunctionError(
            f"the function cannot be loaded in the worker (Python {sys.version.split()[0]}): "
            f"{type(error).__name__}: {safe_text(str, error)}"
        ) from error


def prove(function: bytes, reducer: bytes, archive: bytes) -> None:
    """Load the code of a run as its workers will; nothing is made or called."""
    install(archive)
    for data in filter(None, (function, reducer)):
        unpickle(data)


def _read_head(
    file: IO[bytes], where: str = _PLACE
) -> tuple[dict[str, str], tuple[str, ...] | None, bytes]:
    """Return what stands before a function: sources of copied code, names of modules, their archive.

    The digests of the files follow, and the version of the format where it is not the first one.
    In runs of mapred 0.1 it was the sources alone.
    """
    head = pickle.load(file)
    if isinstance(head, tuple) and len(head) > _VERSION:
        check_version(head[_VERSION], where)
    return (head, None, b"") if isinstance(head, dict) else head[:3]


def packages_of(data: bytes) -> dict[str, str]:
    """Return names and versions of the installed packages that a pickle of `dump` refers to."""
    names = _read_head(io.BytesIO(data))[1] or ()
    tops = {name.split(".")[0] for name in names} | shipping.packages(names)
    tops -= sys.stdlib_module_names
    return versions_of(tops - {"mapred", "__main__"})


def versions_of(modules: Iterable[str]) -> dict[str, str]:
    """Return names and versions of the installed packages that bring these modules."""
    names = {name for module in modules for name in _packages_with(module)}
    return {name: metadata.version(name) for name in sorted(names)}


@functools.lru_cache(maxsize=256)
def _packages_with(module: str) -> tuple[str, ...]:
    try:
        metadata.version(module)
    except metadata.PackageNotFoundError:
        # To ask which package brings `sklearn` reads the files of all of them.
        return tuple(metadata.packages_distributions().get(module, ()))
    return (module,)


def makes_callables(function: Any) -> bool:
    """Whether this is a class whose instances are called; `int` and the like are functions."""
    return inspect.isclass(function) and any("__call__" in vars(c) for c in function.__mro__)


def name_of(function: Any) -> str:
    """Return a readable name for messages and runs."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    if isinstance(function, Command | Reducer):
        return function.name
    target = function if hasattr(function, "__qualname__") else type(function)
    return str(target.__qualname__).replace("<locals>.", "")


def _references(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the variables that a function drags along: its closure, the globals it names."""
    target: Any = function
    values: dict[str, Any] = {}
    while isinstance(target, functools.partial):
        values.update({f"argument {i}": value for i, value in enumerate(target.args)})
        values.update(target.keywords)
        target = target.func
    if isinstance(target, types.MethodType):
        values["self"] = target.__self__
        target = target.__func__
    if isinstance(target, types.FunctionType):
        values.update(imports.variables(target))
    else:
        values.update(getattr(target, "__dict__", {}))
    return {n: v for n, v in values.items() if not isinstance(v, types.ModuleType)}


def _unpicklable(function: Callable[..., Any]) -> list[str]:
    return [
        f"the variable {name!r} ({type(value).__name__})"
        for name, value in _references(function).items()
        if not pickling.can_be_copied(value)
    ]


def _largest(function: Callable[..., Any]) -> list[tuple[str, int]]:
    sizes = {name: len(pickling.dumps(v, set())) for name, v in _references(function).items()}
    return sorted(sizes.items(), key=lambda pair: -pair[1])[:5]
