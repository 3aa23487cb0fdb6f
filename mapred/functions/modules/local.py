"""Which modules are the user's own, and where their files lie."""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import importlib.util
import os
import site
import sys
from collections.abc import Sequence
from typing import Any

import cloudpickle

from mapred.errors import FunctionError
from mapred.model.frozen import dataclass
from mapred.process import definitions

MAIN = ("__main__", "__mp_main__")
_SITES = {"site-packages", "dist-packages"}


@dataclass(frozen=True)
class LocalModule:
    """A local module: `source`, `package`, `namespace` (a folder without `__init__.py`), or
    `binary` (an extension or a file of bytecode).
    """

    name: str
    kind: str
    file: str
    folders: tuple[str, ...] = ()

    @functools.cached_property
    def text(self) -> bytes:
        """Its source; of an extension and a folder, nothing."""
        if self.kind not in ("source", "package"):
            return b""
        try:
            with open(self.file, "rb") as stream:
                return stream.read()
        except OSError as error:
            with contextlib.suppress(AttributeError, OSError, ImportError):
                # In a zip file, which its loader can read.
                return bytes(spec_of(self.name).loader.get_data(self.file))
            raise FunctionError(
                f"the source of {self.name} cannot be read, so it cannot be sent to workers: {error}"
            ) from error


def find(name: str) -> LocalModule | None:
    """Return the user's own module of this name, imported or not; None for all others."""
    top = name.partition(".")[0]
    module = sys.modules.get(name)
    if (
        name in MAIN
        or name in definitions.partial
        or (module is None and (top in sys.stdlib_module_names or top in sys.builtin_module_names))
    ):
        return None
    spec = spec_of(name)
    file = getattr(module, "__file__", None) or getattr(spec, "origin", None)
    folders = getattr(module, "__path__", None) or getattr(spec, "submodule_search_locations", None)
    return _classify_module(name, file, tuple(map(str, folders or ())))


def _classify_module(name: str, file: Any, folders: tuple[str, ...]) -> LocalModule | None:
    if not isinstance(file, str) or not os.path.dirname(file):
        here = [folder for folder in folders if not is_installed(folder + os.sep)]
        return LocalModule(name, "namespace", "", tuple(here)) if here else None
    file = os.path.abspath(file)
    if is_installed(file):
        return None
    if file.endswith((*importlib.machinery.EXTENSION_SUFFIXES, ".pyc")):
        return LocalModule(name, "binary", file)
    return LocalModule(name, "package" if folders else "source", file, folders)


def spec_of(name: str) -> Any:
    """Return where a module comes from, or would come from; nothing is imported."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__spec__", None)
    parent = name.rpartition(".")[0]
    folders: Sequence[str] | None = None
    if parent:
        package = find(parent)
        if package is None or not package.folders:
            return None
        folders = package.folders
    for finder in sys.meta_path:
        look = getattr(finder, "find_spec", None)
        with contextlib.suppress(Exception):  # other packages' finders, given a mere name
            spec = look(name, folders) if look else None
            if spec is not None:
                return spec
    return None


def has_source(name: str) -> bool:
    """Whether a process elsewhere could import a module by its name, from a file or a package."""
    module = sys.modules.get(name)
    if module is None or name in sys.builtin_module_names or name.startswith("_cython"):
        return module is not None
    if getattr(module, "__spec__", None) is not None or getattr(module, "__file__", None):
        return True
    top = sys.modules.get(name.partition(".")[0])
    return top is not module and getattr(top, "__spec__", None) is not None


def is_installed(file: str) -> bool:
    """Whether a file lies in the standard library or among installed packages."""
    return _is_installed(os.path.dirname(file))


@functools.lru_cache(maxsize=4096)
def _is_installed(folder: str) -> bool:
    real = os.path.realpath(folder) + os.sep
    if real.startswith(_install_folders()) or _SITES.intersection(real.split(os.sep)):
        return True
    return any(
        real.startswith(entry + os.sep) for entry in _pip_target_folders(tuple(map(str, sys.path)))
    )


@functools.lru_cache(maxsize=1)
def _install_folders() -> tuple[str, ...]:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    prefixes = (sys.exec_prefix, sys.base_exec_prefix)
    paths = {os.path.join(prefix, sys.platlibdir, version) for prefix in prefixes}
    paths.add(os.path.dirname(os.__file__))
    paths |= {*site.getsitepackages(), site.getusersitepackages()}
    paths.add(os.path.abspath(f"{__file__}/../../.."))
    # Pods unpack packages into a folder of their own: where this one lies, all others do.
    paths.add(os.path.dirname(os.path.dirname(os.path.abspath(cloudpickle.__file__))))
    return tuple(os.path.realpath(path) + os.sep for path in paths if path)


@functools.lru_cache(maxsize=16)
def _pip_target_folders(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folders of the import path that an installer has filled, as by `pip --target`."""
    folders = []
    for entry in filter(os.path.isabs, path):
        with contextlib.suppress(OSError):
            if any(name.endswith(".dist-info") for name in os.listdir(entry)):
                folders.append(os.path.realpath(entry))
    return tuple(folders)
