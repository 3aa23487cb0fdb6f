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
    waiting, seen = list(names), set()
    modules: dict[str, tuple[LocalModule, bytes]] = {}
    while waiting:
        name = waiting.pop()
        module = None if name in seen else find(name)
        seen.add(name)
        if module is None:
            continue
        text = source(module)
        modules[name] = module, text
        parent = name.rpartition(".")[0]
        package = name if module.folders else parent
        if parent:
            waiting.append(parent)
        if text:
            imported = imports.of_module(module.name, module.file, text, package)
            waiting += [name for name in imported if _may_be_local(name, modules)]
    return dict(sorted(modules.items()))


def _may_be_local(name: str, modules: Mapping[str, object]) -> bool:
    top = name.partition(".")[0]
    return top in modules or "." not in name or find(top) is not None


def _whole_packages(
    modules: Mapping[str, tuple[LocalModule, bytes]],
) -> dict[str, tuple[LocalModule, bytes]]:
    """Return these modules with all others of their packages, which code may import by a text."""
    whole, waiting = dict(modules), [module for module, _ in modules.values()]
    while waiting:
        for name in _inside(waiting.pop()):
            module = find(name) if name not in whole else None
            if module is not None:
                with suppress(FunctionError):  # a file that nobody may need
                    whole[name] = module, source(module)
                    waiting.append(module)
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
    """Pack the local modules that `names` lead to for a worker's `install`; empty for none.

    A `FunctionError` names a file that is no longer what this process imported.
    """
    modules = closure(names)
    if not modules:
        return b""
    for module, text in modules.values():
        if module.kind in ("source", "package") and is_stale(module, text):
            refuse(module)
    whole = _whole_packages(modules).values()
    # In the order of `importing.Source`.
    sources = [
        (module.name, module.kind, module.file, module.folders, text) for module, text in whole
    ]
    files = [entry for module, text in whole for entry in data.beside(module, text)]
    packed = pickle.dumps((1, sources, files, sorted(_needs(modules))), protocol=5)
    importing.made_here(packed)
    return packed


def is_stale(module: LocalModule, text: bytes) -> bool:
    """Whether a module's file changed since it was imported; under autoreload it may."""
    return changes.differs(module, text) and not reloads()


def reloads() -> bool:
    """Whether IPython reloads modules by itself as their files change."""
    if "IPython.extensions.autoreload" not in sys.modules:
        return False
    from IPython import get_ipython  # whose user has it loaded

    magics = getattr(get_ipython(), "magics_manager", None)
    autoreload = magics.registry.get("AutoreloadMagics") if magics else None
    return bool(autoreload and autoreload._reloader.enabled)


def refuse(module: LocalModule) -> None:
    raise FunctionError(
        f"{module.file} is no longer what was imported as {module.name}: a worker would run other "
        f"code than this process has; importlib.reload({module.name}) or restart Python, and run again"
    )


def source(module: LocalModule) -> bytes:
    """Return the source of a module; of an extension and a folder, nothing."""
    if module.kind not in ("source", "package"):
        return b""
    try:
        with open(module.file, "rb") as file:
            return file.read()
    except OSError as error:
        with suppress(AttributeError, OSError, ImportError):
            # In a zip file, which its loader can read.
            return bytes(spec_of(module.name).loader.get_data(module.file))
        raise FunctionError(
            f"the source of {module.name} cannot be read, so it cannot be sent to workers: {error}"
        ) from error


def packages(names: Collection[str]) -> set[str]:
    """Return the top-level names that the local modules import first thing, whatever happens."""
    return {name.partition(".")[0] for name in _needs(closure(names))}


def _needs(modules: Mapping[str, tuple[LocalModule, bytes]]) -> set[str]:
    own = {name.partition(".")[0] for name in modules}
    names = {name for _, text in modules.values() for name in imports.find_unconditional(text)}
    return {name for name in names if name.partition(".")[0] not in own}
