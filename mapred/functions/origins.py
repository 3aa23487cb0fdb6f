"""Where a function of a run came from, and whether its source has changed since."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import pickle
import sys
import time
import tokenize
import types
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import field, replace
from typing import Any

from mapred.functions import excerpts, transport
from mapred.functions.commands import Command
from mapred.functions.modules import imports, local
from mapred.model import layout
from mapred.model.coding import read
from mapred.model.frozen import dataclass
from mapred.model.spec import Job
from mapred.reducers import Reducer
from mapred.storage import Store

_MAIN = "__main__"


@dataclass(frozen=True)
class Origin:
    """The place of a function: `qualname` in `module`, empty where no name leads to it.

    `file` is the one that defined it; a notebook's cells have names of files that do not exist, and
    for them `texts` has the digest of the source of the function and of all in `__main__` that it
    uses. `python` is the version that pickled it, at `time` in seconds since the epoch.
    """

    name: str
    module: str = ""
    qualname: str = ""
    file: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    time: float = 0.0

    @property
    def local(self) -> bool:
        """Whether it is the user's own, in a file that is there."""
        module = sys.modules.get(self.module)
        installed = module is not None and self.module != _MAIN
        own = local.find(self.module) is not None if installed else self.module != "builtins"
        return bool(self.qualname) and own and os.path.isfile(self.file)


def of(function: Any, bound: Collection[str] = ()) -> Origin:
    """Return the origin of a function, or of the one that a reducer calls.

    Parameters that are `bound` are so again when the run is resumed; other arguments of a
    `partial`, or an object that is called, are more than a name leads to.
    """
    python = ".".join(map(str, sys.version_info[:2]))
    target = _unwrap(function)
    if target is None:
        return Origin(transport.name_of(function), python=python, time=time.time())
    # What is written in C may lack either.
    module = str(getattr(target, "__module__", None) or "builtins")
    qualname = str(getattr(target, "__qualname__", "<unknown>"))
    file = _file_of(target)
    named = "<" not in qualname and _is_plain_reference(function, bound)
    return Origin(
        name=transport.name_of(function),
        module=module,
        qualname=qualname if named else "",
        file=file,
        texts=dict(_source_digests(target)) if module == _MAIN and not os.path.isfile(file) else {},
        python=python,
        time=time.time(),
    )


def recorded_origin(job: Job, path: str | None) -> Origin | None:
    """Return what job.json says of a function's origin; None for a run of an earlier version."""
    values = job.code.get(path or "")
    if values is None:
        return None
    origin = read(Origin, values, f"{layout.JOB}: code of {path}")
    # Its name becomes part of lines that people paste.
    is_name = all(part.isidentifier() for part in origin.qualname.split("."))
    return origin if is_name else replace(origin, qualname="")


def find_outdated(store: Store, job: Job) -> dict[str, tuple[str, ...]]:
    """Return the files or names that changed of the source of `fn` and `reduce`; no code runs."""
    changes = {}
    for option, path in (("fn", job.function), ("reduce", job.reduce)):
        origin = recorded_origin(job, path)
        if path is None or origin is None:
            continue
        with suppress(FileNotFoundError):
            data = store.read(path)
            if hashlib.sha256(data).hexdigest() == job.digests[path]:
                changes[option] = find_changes(origin, data)
    return {option: names for option, names in changes.items() if names}


def find_changes(origin: Origin, data: bytes) -> tuple[str, ...]:
    """Return the files, or names in `__main__`, that changed since a function was pickled as `data`.

    Empty where nothing has, or where that cannot be known from here.
    """
    try:
        digests = transport.digests_of(data)
    except pickle.UnpicklingError:
        return ()
    changes = [
        name
        for name, digest in digests.items()
        if name.endswith(".py") and os.path.isfile(name) and excerpts.digest(_read(name)) != digest
    ]
    in_cell = origin.module == _MAIN and not os.path.isfile(origin.file)
    current = current_of(origin) if in_cell else None
    if current is not None:
        texts = dict(_source_digests(current))
        changes += [name for name, digest in texts.items() if origin.texts.get(name) != digest]
    return tuple(dict.fromkeys(changes))


def current_of(origin: Origin) -> Any:
    """Return the function that has the name now in a module loaded here; None if there is none."""
    target: Any = sys.modules.get(origin.module)
    for part in origin.qualname.split("."):
        # Not by `getattr`, which may run code: names come from a run's folder.
        target = inspect.getattr_static(target, part, None)
    target = _unwrap(target) if callable(target) else None
    if target is None or target.__qualname__ != origin.qualname:
        return None
    # A script and a notebook may each have a function of that name.
    elsewhere = os.path.isfile(origin.file) and not _is_same_file(_file_of(target), origin.file)
    return None if elsewhere else target


def can_import(origin: Origin) -> bool:
    """Whether `import` of the module finds the file here; nothing is imported to find out."""
    spec = local.spec_of(origin.module)
    return spec is not None and spec.origin is not None and _is_same_file(spec.origin, origin.file)


def _file_of(target: Any) -> str:
    """Return the file that defined a function or class; of a cell, a name that is not a file's."""
    try:
        file = inspect.getfile(target)
    except (TypeError, OSError):
        return ""
    return os.path.abspath(file) if os.path.exists(file) else file


def _is_same_file(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _unwrap(function: Any) -> Any:
    """Return the function or class itself, out of what was made of it; None where there is none."""
    if isinstance(function, Command):
        return None
    if isinstance(function, Reducer):
        return _unwrap(function.step)
    if isinstance(function, functools.partial):
        return _unwrap(function.func)
    if inspect.isclass(function) and function.__module__ == "mapred.functions.parameters":
        return function.__mro__[1]
    if not hasattr(function, "__qualname__"):
        function = type(function)
    return inspect.unwrap(function)


def _is_plain_reference(function: Any, bound: Collection[str]) -> bool:
    """Whether the function is what its name leads to, and nothing more."""
    if isinstance(function, Reducer):
        return _is_plain_reference(function.step, bound)
    if isinstance(function, functools.partial):
        rest = function.args or function.keywords.keys() - set(bound)
        return not rest and _is_plain_reference(function.func, bound)
    return hasattr(function, "__qualname__") and getattr(function, "__self__", None) is None


def _source_digests(target: Any) -> Iterator[tuple[str, str]]:
    """Yield names and digests of the source of a function and of all in `__main__` that it uses."""
    waiting, seen = [target], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen or getattr(value, "__module__", None) != _MAIN:
            continue
        seen.add(id(value))
        with suppress(OSError, TypeError):
            text = inspect.getsource(value)
            yield value.__qualname__, hashlib.sha256(text.encode(errors="replace")).hexdigest()
            waiting += _iter_references(value)


def _iter_references(target: Any) -> Iterator[Any]:
    """Yield the functions and classes that the code of a function or class names."""
    if inspect.isclass(target):
        for member in vars(target).values():
            member = getattr(member, "__func__", member)
            if isinstance(member, types.FunctionType):
                yield from _iter_references(member)
        yield from target.__bases__
    elif isinstance(target, types.FunctionType):
        for _, value in imports.variables(target):
            value = _unwrap(value) if callable(value) else None
            if isinstance(value, types.FunctionType) or inspect.isclass(value):
                yield value


def _read(file: str) -> str:
    try:
        with tokenize.open(file) as stream:
            return stream.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""
