"""Pickles whose classes and functions have one identity everywhere they are loaded.

What lies in a module with a file is named, and imported where the pickle is loaded; what
`__main__`, a notebook's cells and modules without a file define is copied.
"""

from __future__ import annotations

import collections
import functools
import importlib
import io
import pickle
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, Any, NoReturn

import cloudpickle
from cloudpickle import cloudpickle as by_value

from mapred.errors import FunctionError
from mapred.functions import copying, earlier, generators, plain_numbers
from mapred.functions.modules import changes, imports, local, shipping
from mapred.model.checking import safe_text
from mapred.process import definitions, interrupts, private

PLAIN = frozenset((int, float, str, bytes, bool, type(None)))
_STATELESS = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)


def dumps(value: Any, modules: set[str] | None = None) -> bytes:
    """Return the pickle of a value; `modules` receives the names of the modules that it refers to."""
    sink = io.BytesIO()
    pickler = Pickler(sink, sent=modules is not None)
    pickler.dump(value)
    if modules is not None:
        modules |= pickler.modules
    return sink.getvalue()


def is_plain(value: Any) -> bool:
    """Whether a value is of Python's plain types, or a flat collection of such."""
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind is dict:
        return PLAIN.issuperset(map(type, value)) and PLAIN.issuperset(map(type, value.values()))
    return kind in (list, tuple) and PLAIN.issuperset(map(type, value))


def homes() -> dict[int, tuple[str, str]]:
    """Return the objects at the top of local modules, by their id: module and name."""
    places: dict[int, tuple[str, str]] = {}
    for name, module in list(sys.modules.items()):
        if local.find(name) is not None:
            for key, value in list(getattr(module, "__dict__", {}).items()):
                if not key.startswith("__") and not isinstance(value, _STATELESS):
                    places.setdefault(id(value), (name, key))
    return places


def can_be_copied(value: Any) -> bool:
    """Whether a value can be pickled: what holds a lock or a connection cannot."""
    try:
        dumps(value)
    except Exception:
        return False
    return True


class Refused(FunctionError):
    """A pickle that names more than plain values, where pickles are not allowed."""


# Names that plain values have in a pickle; to call what they name does nothing else.
_PLAIN_NAMES = {
    "builtins": {"complex", "set", "frozenset", "range", "slice"},
    "collections": {"Counter", "OrderedDict"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
}
_plain_alone: ContextVar[bool] = ContextVar("mapred_plain_alone", default=False)


class _PlainUnpickler(pickle.Unpickler):
    """Loads plain values, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if name in _PLAIN_NAMES.get(module, ()):
            return super().find_class(module, name)
        if (module, name) in plain_numbers.STAND_INS:
            return plain_numbers.STAND_INS[module, name]
        raise Refused(
            f"a pickle names {module}.{name}, and the run was opened with allow_pickle=False, as "
            "the author of a pickle can run code where it is loaded; if you trust everyone who can "
            "write to the run's root: mapred.open(…, allow_pickle=True)"
        )


@contextmanager
def plain_alone(on: bool) -> Iterator[None]:
    """Have `load` refuse, where `on`, whatever is more than a plain value."""
    token = _plain_alone.set(on)
    try:
        yield
    finally:
        _plain_alone.reset(token)


def load_plain(file: IO[bytes]) -> Any:
    """Return the value of the next pickle in a file, which must be of plain types."""
    return _PlainUnpickler(file).load()


def load(file: IO[bytes]) -> Any:
    """Return the value of the next pickle in a file."""
    if _plain_alone.get():
        return load_plain(file)
    start = file.tell()
    try:
        try:
            value = pickle.load(file)
        except (AttributeError, ImportError) as error:
            if not earlier.misses_moved(error):
                raise
            file.seek(start)
            value = earlier.load(file)
        copying.complete_models()
    except BaseException as error:
        _raise(error)
    return value


def _raise(error: BaseException) -> NoReturn:
    """Raise what a value's own code raised; what would end the process, as an `Exception`."""
    if isinstance(error, Exception) or interrupts.is_real(error):
        raise error
    raise pickle.PickleError(f"{type(error).__name__}: {safe_text(str, error)}") from error


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, but the user's modules are named, not copied, and code keeps its file's name.

    `modules` are the names that it met, and `codes` what was copied, by its file. What
    is `sent` to workers must be what its file says. `homes` are objects by their id, to name where
    they cannot be copied: a worker that imports their module makes its own.
    """

    def __init__(
        self,
        file: IO[bytes],
        protocol: int = 5,
        *,
        sent: bool = True,
        homes: Mapping[int, tuple[str, str]] | None = None,
    ) -> None:
        self.codes: dict[str, list[types.CodeType]] = {}
        self.modules: set[str] = set()
        self._sent, self._copied, self._homes = sent, dict[str, bool](), homes or {}
        # The pickler written in C looks its table up once, when it is made.
        self.dispatch_table = collections.ChainMap(
            {
                types.CodeType: self._reduce_code,
                functools.cached_property: copying.reduce_cached_property,
                **generators.reducers(),
            },
            cloudpickle.Pickler.dispatch_table,
        )
        super().__init__(file, protocol=protocol)

    def dump(self, value: Any) -> None:
        try:
            super().dump(value)
        except BaseException as error:
            _raise(error)

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is types.ModuleType:
            if not self._copies(obj.__name__) or obj.__name__ in local.MAIN:
                return NotImplemented
            state = {k: v for k, v in vars(obj).items() if k not in ("__builtins__", "__loader__")}
            return by_value.dynamic_subimport, (obj.__name__, state)
        is_class = issubclass(kind, type)
        if not (is_class or kind is types.FunctionType or kind is copying.CACHED):
            if id(obj) in self._homes and not can_be_copied(obj):
                module, name = self._homes[id(obj)]
                self.modules.add(module)
                return _attribute, (module, name)
            # Of a class that has `__module__` among its slots, it is a descriptor.
            if isinstance(kind.__module__, str):
                self.modules.add(kind.__module__)
            return NotImplemented
        named = private.is_importable(obj)
        if named and not self._copies(obj.__module__):
            return super().reducer_override(obj) if kind is not copying.CACHED else NotImplemented
        if is_class:
            made = private.reduce_class(obj) if named else super().reducer_override(obj)
            return copying.without_validators(obj, made)
        if kind is copying.CACHED:
            return copying.reduce_cached(obj)
        if copying.is_dispatcher(obj):
            return copying.reduce_dispatcher(obj)
        return self._reduce_function(obj)

    def _copies(self, name: Any) -> bool:
        """Whether what a module defines is copied rather than named."""
        if not isinstance(name, str):
            return False
        if name not in self._copied:
            self.modules.add(name)
            self._copied[name] = _is_copied(name, self._sent)
        return self._copied[name]

    def _reduce_function(self, func: types.FunctionType) -> tuple[Any, ...]:
        globals_ = func.__globals__
        package = globals_.get("__package__")
        self.modules.update(imports.find_imports(func.__code__, package))
        make, arguments, (state, slots), *rest = private.reduce_function(self, func)
        # cloudpickle looks for what functions read, and not bodies of classes.
        for read in imports.class_body_globals(func.__code__) & globals_.keys():
            slots["__globals__"].setdefault(read, globals_[read])
        name = globals_.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        at_home = module is not None and vars(module) is globals_
        if at_home and _has_state(slots["__globals__"]) and not self._copies(name):
            # It reads and sets what its module holds, like every other function there.
            slots["__globals__"] = {}
            arguments = (arguments[0], _Globals(str(name)), *arguments[2:])
        return (make, arguments, (state, slots), *rest)

    def _reduce_code(self, code: types.CodeType) -> tuple[Any, ...]:
        make, parts = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
        self.codes.setdefault(code.co_filename, []).append(code)
        return make, tuple(code.co_filename if p == "<dynamic-code>" else p for p in parts)


class _Globals:
    """The variables of a module, as a pickle names them."""

    def __init__(self, module: str) -> None:
        self.module = module

    def __reduce__(self) -> tuple[Any, ...]:
        return _globals_of, (self.module,)


def _attribute(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _globals_of(module: str) -> dict[str, Any]:
    return vars(importlib.import_module(module))


def _has_state(values: dict[str, Any]) -> bool:
    return not all(isinstance(value, _STATELESS) for value in values.values())


def _is_copied(name: str, sent: bool) -> bool:
    if name in local.MAIN or name in definitions.partial or not local.has_source(name):
        return True
    if not sent:
        return False
    module = local.find(name)
    if module is None or module.kind not in ("source", "package"):
        return False
    if not changes.differs(module):
        return False
    if not shipping.reloads():
        shipping.refuse(module)
    warnings.warn(
        f"{module.file} changed since {name} was imported: workers get a copy of what this process "
        "has, whose classes are not those of the module; run the cell again to have it reloaded",
        UserWarning,
        stacklevel=2,
    )
    return True
