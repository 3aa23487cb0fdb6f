"""The archive of local modules that goes with a run: their sources, and small files beside them."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress

from mapred.errors import FunctionError
from mapred.functions.modules import changes, data, importing, imports
from mapred.functions.modules.local import LocalModule, find, spec_of


def closure(names: Iterable[str]) -> dict[str, tuple[LocalModule, bytes]]:
    """Return the local modules among `names`, and those that they import, each with its source."""
    todo, asked = list(names), set()
    known: dict[str, tuple[LocalModule, bytes]] = {}
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
            asked_for = imports.of_module(found.name, found.file, text, package)
            todo += [each for each in asked_for if _worth(each, known)]
    return dict(sorted(known.items()))


def _worth(name: str, known: Mapping[str, object]) -> bool:
    """Whether a name may be a local module; most are names in installed ones."""
    top = name.partition(".")[0]
    return top in known or "." not in name or find(top) is not None


def _whole(known: Mapping[str, tuple[LocalModule, bytes]]) -> dict[str, tuple[LocalModule, bytes]]:
    """Return these modules with all others of their packages, which code may import by a text."""
    whole, todo = dict(known), [found for found, _ in known.values()]
    while todo:
        for name in _inside(todo.pop()):
            found = find(name) if name not in whole else None
            if found is not None:
                with suppress(FunctionError):  # a file that nobody may need
                    whole[name] = found, source(found)
                    todo.append(found)
    return dict(sorted(whole.items()))


def _inside(package: LocalModule) -> Iterator[str]:
    for folder in package.folders if package.kind == "package" else ():
        for entry in os.scandir(folder) if os.path.isdir(folder) else ():
            stem, suffix = os.path.splitext(entry.name)
            if entry.is_dir(follow_symlinks=False):
                is_module = os.path.exists(os.path.join(entry.path, "__init__.py"))
            else:
                is_module = suffix == ".py" and not stem.startswith("__")
            if is_module and stem.isidentifier():
                yield f"{package.name}.{stem}"


def archive(names: Collection[str]) -> bytes:
    """Return the local modules that `names` lead to, as a worker's `install` takes them; empty for
    none.

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
    whole = _whole(known).values()
    modules = [
        importing.Source(found.name, found.kind, found.file, found.folders, text)
        for found, text in whole
    ]
    files = [entry for found, text in whole for entry in data.beside(found, text)]
    needs = sorted(_needs(known))
    packed = pickle.dumps((1, [tuple(each) for each in modules], files, needs), protocol=5)
    importing.made_here(packed)
    return packed


def is_stale(found: LocalModule, text: bytes) -> bool:
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


def refuse(found: LocalModule) -> None:
    raise FunctionError(
        f"{found.file} is no longer what was imported as {found.name}: a worker would run other "
        f"code than this process has; importlib.reload({found.name}) or restart Python, and run again"
    )


def source(found: LocalModule) -> bytes:
    """Return the source of a module; of an extension and a folder, nothing."""
    if found.kind not in ("source", "package"):
        return b""
    try:
        with open(found.file, "rb") as file:
            return file.read()
    except OSError as error:
        with suppress(AttributeError, OSError, ImportError):
            # A zip file, of which the loader knows how to read.
            return bytes(spec_of(found.name).loader.get_data(found.file))
        raise FunctionError(
            f"the source of {found.name} cannot be read, so it cannot be sent to workers: {error}"
        ) from error


def binaries(names: Collection[str]) -> list[LocalModule]:
    """Return the extensions and files of bytecode among the local modules that `names` lead to."""
    return [found for found, _ in closure(names).values() if found.kind == "binary"]


def packages(names: Collection[str]) -> set[str]:
    """Return the top-level names that the local modules import first thing, whatever happens."""
    return {name.partition(".")[0] for name in _needs(closure(names))}


def _needs(known: Mapping[str, tuple[LocalModule, bytes]]) -> set[str]:
    own = {name.partition(".")[0] for name in known}
    found = {name for _, text in known.values() for name in imports.find_unconditional(text)}
    return {name for name in found if name.partition(".")[0] not in own}
