"""Importing the user's modules from the sources that came with a run."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import importlib.util
import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import FrameType, ModuleType
from typing import NamedTuple

from mapred.errors import FunctionError
from mapred.model.coding import UPGRADE
from mapred.process.lazy import tempfile

# Code of these modules calls the user's: what is imported below them, they import.
_LOADERS = (
    "mapred.worker.context",
    "mapred.worker.tasks",
    "mapred.functions.pickling",
    "mapred.runfolder.outputs",
    "mapred.runfolder.tabular",
)


class Source(NamedTuple):
    """A module on its way: `kind` is `source`, `package`, `namespace` or `binary`."""

    name: str
    kind: str
    file: str
    folders: tuple[str, ...]
    text: bytes

    @property
    def place(self) -> str:
        """Its file below the folder of unpacked modules."""
        path = self.name.replace(".", "/")
        return f"{path}/__init__.py" if self.kind == "package" else f"{path}.py"


class _Shipment(NamedTuple):
    digest: str
    modules: dict[str, Source]
    data: list[tuple[str, str, bytes]]


class _Finder:
    """Serves modules by name: from the file that they came from where it is the same, else unpacked."""

    def __init__(self) -> None:
        self.sources: dict[str, tuple[Source, _Shipment]] = {}
        self.served: dict[str, bytes] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.sources:
            return None
        source, shipment = self.sources[name]
        self.served[name] = source.text
        if source.kind == "namespace":
            return _namespace_spec(source, shipment)
        if source.kind == "binary":
            return _binary_spec(source)
        file = source.file
        if not _holds(file, source.text):
            file = os.path.join(_unpack(shipment), source.place)
        folders = [os.path.dirname(file)] if source.kind == "package" else None
        loader = SourceFileLoader(name, file)
        return importlib.util.spec_from_file_location(
            name, file, loader=loader, submodule_search_locations=folders
        )


_ahead, _behind = _Finder(), _Finder()
# Archives that this process, or the one that it was forked from, made of its own modules.
_made: set[str] = set()
_installed: set[str] = set()
# Folders that hold all files of an archive.
_complete: set[str] = set()


def made_here(archive: bytes) -> None:
    _made.add(hashlib.sha256(archive).hexdigest())


def is_known(digest: str) -> bool:
    """Whether this process has the modules of the archive with this SHA-256."""
    return digest in _made or digest in _installed


def install(archive: bytes) -> None:
    """Have the modules of an archive imported from it, instead of what else has their names.

    In the user's own session those that it can import itself go first.
    """
    digest = hashlib.sha256(archive).hexdigest()
    if not archive or is_known(digest):
        return
    if _is_session():
        offer(archive)
        return
    _installed.clear()
    _installed.add(digest)
    shipment = _open_archive(archive, digest)
    stale = [name for name, source in shipment.modules.items() if _is_other(name, source)]
    if stale:
        # What was imported from it holds on to the old one.
        for name in {*stale, *_ahead.served}:
            sys.modules.pop(name, None)
        _ahead.served.clear()
    _ahead.sources = {name: (source, shipment) for name, source in shipment.modules.items()}
    if _ahead not in sys.meta_path:
        sys.meta_path.insert(0, _ahead)


def offer(archive: bytes) -> None:
    """Have the modules of an archive imported from it where nothing else has their names."""
    digest = hashlib.sha256(archive).hexdigest()
    if not archive or is_known(digest):
        return
    _installed.add(digest)
    shipment = _open_archive(archive, digest)
    for name, source in shipment.modules.items():
        _behind.sources[name] = source, shipment
    if _behind not in sys.meta_path:
        sys.meta_path.append(_behind)


def required_modules(archive: bytes) -> tuple[str, ...]:
    """Return what the modules of an archive import first thing, but for each other."""
    return tuple(pickle.loads(archive)[3]) if archive else ()


def merge_archives(before: bytes, after: bytes) -> bytes:
    """Return two archives as one; where both have a module, the later's."""
    if not before or not after:
        return before or after
    (_, old, data, first), (version, new, more, then) = map(pickle.loads, (before, after))
    names = {entry[0] for entry in new}
    kept = [entry for entry in old if entry[0] not in names]
    files = [entry for entry in data if entry[0] not in names]
    packed = pickle.dumps((version, kept + new, files + more, sorted({*first, *then})), protocol=5)
    if not kept:
        made_here(packed)
    return packed


def refuse_while_importing() -> None:
    """Raise where a run would start while a worker or a reader of results imports a module.

    A worker that started one would have workers that start one, and so on.
    """
    module = _importer()
    if module is not None:
        raise FunctionError(
            f"the module {module} starts a run when it is imported, and workers import it: put "
            'the lines that start runs under `if __name__ == "__main__":`, or into a function'
        )


def _importer() -> str | None:
    """Return the module whose import by this package leads to this call."""
    frame: FrameType | None = sys._getframe(1)
    module = None
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            module = module or str(frame.f_globals.get("__name__"))
        elif module and frame.f_globals.get("__name__") in _LOADERS:
            return module
        frame = frame.f_back
    process = sys.modules.get("multiprocessing.process")
    if process is not None and getattr(process.current_process(), "_inheriting", False):
        return "__main__"
    return None


def _is_session() -> bool:
    process = sys.modules.get("multiprocessing.process")
    child = process is not None and process.parent_process() is not None
    return "mapred.client.job" in sys.modules and not child


def _is_other(name: str, source: Source) -> bool:
    """Whether a module of this process has the name of a source, and came from something else."""
    module = sys.modules.get(name)
    if module is None or source.kind == "namespace":
        return False
    if source.kind == "binary":
        return getattr(module, "__file__", None) != source.file
    return _ahead.served.get(name) != source.text


def _open_archive(archive: bytes, digest: str) -> _Shipment:
    version, *rest = pickle.loads(archive)
    if version != 1:
        raise FunctionError(
            "the modules of the run were made by a newer mapred: their format is "
            f"{version}, and this one reads 1; {UPGRADE}"
        )
    modules, data, _ = rest
    return _Shipment(digest, {entry[0]: Source(*entry) for entry in modules}, data)


def _namespace_spec(source: Source, shipment: _Shipment) -> ModuleSpec:
    folders = [folder for folder in source.folders if os.path.isdir(folder)]
    if len(folders) < len(source.folders):
        folders.append(os.path.join(_unpack(shipment), source.name.replace(".", "/")))
    # Python's own finder makes a path that `importlib.resources` can read.
    spec = PathFinder.find_spec(source.name, [os.path.dirname(folder) for folder in folders])
    if spec is not None and spec.loader is None:
        return spec
    spec = ModuleSpec(source.name, None, is_package=True)
    spec.submodule_search_locations = folders
    return spec


def _binary_spec(source: Source) -> ModuleSpec | None:
    if os.path.exists(source.file):
        return importlib.util.spec_from_file_location(source.name, source.file)
    raise ImportError(
        f"{source.name} is a compiled module, {source.file}, which is on the machine that made the "
        "run alone; build a wheel of it and install that on the workers: in the image, or by "
        "mapred.Argo(packages=[…])",
        name=source.name,
    )


def _holds(file: str, text: bytes) -> bool:
    with suppress(OSError), open(file, "rb") as stream:
        return stream.read() == text
    return False


def _unpack(shipment: _Shipment) -> str:
    """Return the folder of an archive's files, made by whichever process needs it first."""
    folder = os.path.join(_own_folder(), shipment.digest[:32])
    if folder in _complete and os.path.isdir(folder):
        return folder
    sources = shipment.modules.values()
    files = {s.place: s.text for s in sources if s.kind in ("source", "package")}
    for package, path, content in shipment.data:
        files[os.path.join(package.replace(".", "/"), path)] = content
    for path, content in files.items():
        _write_file(os.path.join(folder, path), content)
    _complete.add(folder)
    return folder


def _write_file(file: str, content: bytes) -> None:
    if _holds(file, content):
        return
    os.makedirs(os.path.dirname(file), exist_ok=True)
    part = f"{file}.{os.getpid()}"
    with open(part, "wb") as stream:
        stream.write(content)
    os.replace(part, file)


@functools.lru_cache(maxsize=1)
def _own_folder() -> str:
    """Return a folder for temporary files that nobody else may write to."""
    folder = os.path.join(tempfile.gettempdir(), f"mapred-modules-{os.getuid()}")
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    status = os.lstat(folder)
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        return tempfile.mkdtemp(prefix="mapred-modules-")
    return folder
