"""The archive of local modules that goes with a run: their sources, and small files beside them."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress

from mapred.errors import FunctionError
from mapred.functions.modules import changes, data, importing, imports
from mapred.functions.modules.local import LocalModule, find


def closure(names: Iterable[str]) -> dict[str, LocalModule]:
    """Return the local modules among `names`, and those that they import."""
    waiting, seen = list(names), set()
    modules: dict[str, LocalModule] = {}
    while waiting:
        name = waiting.pop()
        module = None if name in seen else find(name)
        seen.add(name)
        if module is None:
            continue
        modules[name] = module
        parent = name.rpartition(".")[0]
        package = name if module.folders else parent
        if parent:
            waiting.append(parent)
        if module.text:
            imported = imports.of_module(module.name, module.file, module.text, package)
            waiting += [name for name in imported if _may_be_local(name, modules)]
    return dict(sorted(modules.items()))


def _may_be_local(name: str, modules: Mapping[str, object]) -> bool:
    top = name.partition(".")[0]
    return top in modules or "." not in name or find(top) is not None


def _whole_packages(modules: Mapping[str, LocalModule]) -> dict[str, LocalModule]:
    """Return these modules with all others of their packages, which code may import by a text."""
    whole, waiting = dict(modules), list(modules.values())
    while waiting:
        for name in _inside(waiting.pop()):
            module = find(name) if name not in whole else None
            if module is not None:
                with suppress(FunctionError):  # it cannot be read, and nobody may need it
                    _ = module.text
                    whole[name] = module
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
    for module in modules.values():
        if module.kind in ("source", "package") and changes.differs(module) and not reloads():
            refuse(module)
    whole = _whole_packages(modules).values()
    # The fields of an `importing.Source`, in their order.
    sources = [(m.name, m.kind, m.file, m.folders, m.text) for m in whole]
    files = [entry for module in whole for entry in data.beside(module)]
    packed = pickle.dumps((1, sources, files, sorted(_needs(modules))), protocol=5)
    importing.made_here(packed)
    return packed


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


def packages(names: Collection[str]) -> set[str]:
    """Return the top-level names that the local modules import first thing, whatever happens."""
    return {name.partition(".")[0] for name in _needs(closure(names))}


def _needs(modules: Mapping[str, LocalModule]) -> set[str]:
    own = {name.partition(".")[0] for name in modules}
    names = {name for m in modules.values() for name in imports.find_unconditional(m.text)}
    return {name for name in names if name.partition(".")[0] not in own}
