"""The archive of local modules that goes with a run: their sources, and small files beside them."""

from __future__ import annotations

import ast
import functools
import os
import pickle
import sys
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.machinery import SourceFileLoader

from mapred.errors import FunctionError
from mapred.modules import changes, importing
from mapred.modules.local import Found, find, imported

_DATA_FILE, _DATA_ALL, _DATA_COUNT = 256 * 1024, 4 * 2**20, 1000
_NOT_DATA = (".py", ".pyc", ".pyo", ".so", ".pyd")


def closure(names: Iterable[str]) -> dict[str, tuple[Found, bytes]]:
    """The local modules among `names`, and those that they import, each with its source."""
    todo, asked = list(names), set()
    known: dict[str, tuple[Found, bytes]] = {}
    while todo:
        name = todo.pop()
        if name in asked:
            continue
        asked.add(name)
        found = find(name)
        if found is None:
            continue
        text = source(found)
        known[name] = found, text
        parent = name.rpartition(".")[0]
        package = name if found.folders else parent
        if parent:
            todo.append(parent)
        if text:
            todo += [each for each in _imports(found, text, package) if _worth(each, known)]
    return dict(sorted(known.items()))


def _worth(name: str, known: Mapping[str, object]) -> bool:
    """Whether a name may be a local module; most are names in installed ones."""
    top = name.partition(".")[0]
    return top in known or "." not in name or find(top) is not None


def archive(names: Collection[str]) -> bytes:
    """The local modules that `names` lead to, as a worker's `install` takes them; empty for none.

    A `FunctionError` names a file that is no longer what this process imported.
    """
    if not names:
        return b""
    known = closure(names)
    if not known:
        return b""
    for found, text in known.values():
        if found.kind in ("source", "package") and is_stale(found, text):
            refuse(found)
    modules = [
        importing.Source(found.name, found.kind, found.file, found.folders, text)
        for found, text in known.values()
    ]
    data = [
        entry for found, _ in known.values() if found.kind == "package" for entry in _data(found)
    ]
    needs = sorted(_needs(known))
    packed = pickle.dumps((1, [tuple(each) for each in modules], data, needs), protocol=5)
    importing.made_here(packed)
    return packed


def is_stale(found: Found, text: bytes) -> bool:
    """Whether a module's file changed since it was imported; under autoreload it may."""
    return changes.differs(found, text) and not reloads()


def reloads() -> bool:
    """Whether IPython reloads modules by itself as their files change."""
    if "IPython.extensions.autoreload" not in sys.modules:
        return False
    from IPython import get_ipython

    magics = getattr(get_ipython(), "magics_manager", None)
    found = magics.registry.get("AutoreloadMagics") if magics else None
    return bool(found and found._reloader.enabled)


def refuse(found: Found) -> None:
    raise FunctionError(
        f"{found.file} is no longer what was imported as {found.name}: a worker would run other "
        f"code than this process has; importlib.reload({found.name}) or restart Python, and run again"
    )


def source(found: Found) -> bytes:
    """The source of a module; of an extension and a folder, nothing."""
    if found.kind not in ("source", "package"):
        return b""
    try:
        with open(found.file, "rb") as file:
            return file.read()
    except OSError as error:
        module = sys.modules.get(found.name)
        with suppress(AttributeError, OSError, ImportError):
            # A zip file, of which the loader knows how to read.
            return bytes(module.__loader__.get_data(found.file))  # type: ignore[union-attr]
        raise FunctionError(
            f"the source of {found.name} cannot be read, so it cannot be sent to workers: {error}"
        ) from error


def _imports(found: Found, text: bytes, package: str) -> tuple[str, ...]:
    return _imported_by(found.name, found.file, text, package)


@functools.lru_cache(maxsize=4096)
def _imported_by(name: str, file: str, text: bytes, package: str) -> tuple[str, ...]:
    try:
        code = _code(name, file, text)
    except (SyntaxError, ValueError):
        return ()
    return tuple(dict.fromkeys(imported(code, package)))


def _code(name: str, file: str, text: bytes) -> types.CodeType:
    """The compiled module, as Python keeps it beside the file where it does."""
    if os.path.exists(file):
        code = SourceFileLoader(name, file).get_code(name)
        assert code is not None
        return code
    return compile(text, file, "exec", dont_inherit=True)


def _data(found: Found) -> Iterator[tuple[str, str, bytes]]:
    """The small files in a package's own folders: package, path below it, content."""
    left, count = _DATA_ALL, 0
    for folder in found.folders:
        for place, folders, names in os.walk(folder):
            below = os.path.relpath(place, folder)
            hidden = [each for each in folders if each.startswith((".", "__pycache__"))]
            inner = [each for each in folders if os.path.exists(f"{place}/{each}/__init__.py")]
            folders[:] = sorted(set(folders).difference(hidden, inner))
            for name in sorted(names):
                count += 1
                if count > _DATA_COUNT:
                    return
                file = os.path.join(place, name)
                if name.startswith(".") or name.endswith(_NOT_DATA):
                    continue
                with suppress(OSError):
                    if os.path.getsize(file) <= min(_DATA_FILE, left):
                        with open(file, "rb") as opened:
                            content = opened.read()
                        left -= len(content)
                        yield found.name, os.path.normpath(os.path.join(below, name)), content


def binaries(names: Collection[str]) -> list[Found]:
    """The extensions and files of bytecode among the local modules that `names` lead to."""
    return [found for found, _ in closure(names).values() if found.kind == "binary"]


def packages(names: Collection[str]) -> set[str]:
    """The top-level names that the local modules import first thing, whatever happens."""
    return {name.partition(".")[0] for name in _needs(closure(names))}


def _needs(known: Mapping[str, tuple[Found, bytes]]) -> set[str]:
    own = {name.partition(".")[0] for name in known}
    found = {name for _, text in known.values() for name in _first_imports(text)}
    return {name for name in found if name.partition(".")[0] not in own}


@functools.lru_cache(maxsize=1024)
def _first_imports(text: bytes) -> frozenset[str]:
    names: list[str] = []
    with suppress(SyntaxError, ValueError):
        for node in ast.parse(text).body:
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.append(str(node.module))
    return frozenset(names)
