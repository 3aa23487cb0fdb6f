"""Whether the file of an imported module is still what was imported."""

from __future__ import annotations

import ast
import os
import sys
import time
import types
import weakref
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import Any

from mapred.functions.modules.imports import walk_code
from mapred.functions.modules.local import LocalModule

_PLAIN = (int, float, complex, str, bytes, bool, type(None))
# By name: the content of the file that a module was made from, and its spec, which
# `importlib.reload` replaces.
_noted: dict[str, tuple[weakref.ref[ModuleSpec], bytes]] = {}


def note(module: types.ModuleType, text: bytes) -> None:
    if module.__spec__ is not None:
        _noted[module.__name__] = weakref.ref(module.__spec__), text


def differs(source: LocalModule) -> bool:
    """Whether the content of a module's file now is not what this process imported.

    Python keeps no copy of what it imports: a file that was not touched since this process
    began is what it was, and one that was is compared with the functions and constants in memory.
    """
    module = sys.modules.get(source.name)
    if module is None:
        return False
    spec, noted = _noted.get(source.name, (None, b""))
    if spec is not None and spec() is module.__spec__:
        return noted != source.text
    if _is_newer_than_process(source.file) and (
        _compiled_before(module, source.file) or _has_other_code(module, source.text)
    ):
        return True
    note(module, source.text)
    return False


def _is_newer_than_process(file: str) -> bool:
    try:
        status = os.stat(file)
    except OSError:
        return False  # in an archive
    return max(status.st_ctime, status.st_mtime) >= _process_start() - 1


def _process_start() -> float:
    """Return the time when this process began; 0 where the system does not say."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError, ValueError, IndexError):
        return 0.0
    return time.time() - since_boot + ticks / os.sysconf("SC_CLK_TCK")


def _compiled_before(module: types.ModuleType, file: str) -> bool:
    """Whether Python compiled the file when it had another time or size than now."""
    spec = module.__spec__
    if not isinstance(spec, ModuleSpec) or type(spec.loader) is not SourceFileLoader:
        return False
    cached = spec.cached
    if not cached or sys.dont_write_bytecode or not os.access(os.path.dirname(cached), os.W_OK):
        return False
    try:
        with open(cached, "rb") as compiled:
            head = compiled.read(16)
        status = os.stat(file)
    except OSError:
        return False
    now = (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    by_time = len(head) == 16 and not any(head[4:8])
    return by_time and now != (
        int.from_bytes(head[8:12], "little"),
        int.from_bytes(head[12:], "little"),
    )


def _has_other_code(module: types.ModuleType, text: bytes) -> bool:
    """Whether the functions and constants of a module are not those of a text."""
    file = str(module.__file__)
    try:
        tree = ast.parse(text, file)
        code = compile(tree, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return True
    if type(getattr(module, "__loader__", None)) is SourceFileLoader:
        names = {inner.co_name for inner in code.co_consts if isinstance(inner, types.CodeType)}
        if not set(_live_code(module, file, names)) <= set(walk_code(code)):
            return True
    return bool(find_patched_constants(module, tree))


def find_patched_constants(module: types.ModuleType, tree: ast.Module) -> list[str]:
    """Return the constants at a module's top level whose value in memory is not the text's."""
    own = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    written: dict[str, list[Any]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            written.setdefault(node.id, []).append(node)
    patched = []
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if len(targets) != 1 or not isinstance(targets[0], ast.Name):
            continue
        name = targets[0].id
        if name in own or len(written[name]) > 1:
            continue
        with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            now = vars(module).get(name)
            if isinstance(value, _PLAIN) and (type(now) is not type(value) or now != value):
                patched.append(name)
    return patched


def _live_code(module: types.ModuleType, file: str, names: set[str]) -> Iterator[types.CodeType]:
    """Yield the code of a module's functions and methods; others than `names` a reload left behind."""
    values = [value for name, value in vars(module).items() if name in names]
    for value in tuple(values):
        if isinstance(value, type) and value.__module__ == module.__name__:
            values += vars(value).values()
    for value in values:
        for inner in (value, *(getattr(value, name, None) for name in ("__func__", "fget"))):
            if isinstance(inner, types.FunctionType) and inner.__code__.co_filename == file:
                yield inner.__code__
